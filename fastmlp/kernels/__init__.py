"""Numba kernels: the numerical core.  Nothing here depends on estimators."""
