"""Numba kernels: the numerical core.  Nothing here knows of estimators."""
