"""Kinds of layers: one file per kind, with its declarations and its kernels."""
