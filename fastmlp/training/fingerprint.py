"""A digest of values of any kind, by which fits and networks are recognised."""

import hashlib
from functools import partial

import numpy as np
from scipy.sparse import issparse

__all__ = ["fingerprint"]


def _feed(digest, value):
    """Update a digest with a value: arrays, plain values, callables, containers."""
    if isinstance(value, np.generic):
        value = value.item()
    elif isinstance(value, np.random.RandomState):
        value = value.get_state()
    elif issparse(value):
        parts = value.indptr, value.indices, value.data
        value = [value.format, value.shape, *parts]
    elif isinstance(value, dict):
        value = [[name, value[name]] for name in sorted(value, key=str)]
    elif callable(value):
        value = _name_of(value)
    if isinstance(value, int | float):  # 1, 1.0, True and numpy's are the same number
        is_whole = value == value // 1
        digest.update(repr(int(value) if is_whole else float(value)).encode())
    elif value is None or isinstance(value, str):
        digest.update(repr(value).encode())
    elif isinstance(value, list | tuple):
        digest.update(f"{len(value)} values".encode())
        for part in value:
            _feed(digest, part)
    else:
        array = np.asarray(value)
        digest.update(f"{array.dtype} {array.shape}".encode())
        if array.dtype == object:
            digest.update(repr(array.tolist()).encode())
        elif array.nbytes:
            array = np.atleast_1d(array)
            for start in range(0, len(array), 4096):
                rows = np.ascontiguousarray(array[start : start + 4096])
                digest.update(rows.view(np.uint8))
    digest.update(b"\n")


def _name_of(function):
    """All that is compared of a callable: its name, or that of its class."""
    while isinstance(function, partial):
        function = function.func
    if not hasattr(function, "__qualname__"):
        function = type(function)
    return f"{getattr(function, '__module__', None)}.{function.__qualname__}"


def fingerprint(*values):
    """A digest that distinguishes parameters and data from others.

    Parameters
    ----------
    *values : object
        Arrays, sparse matrices, plain values, random states, callables (compared by
        name only), and lists and dicts of these.
    """
    digest = hashlib.sha256()
    _feed(digest, [*values])
    return digest.hexdigest()
