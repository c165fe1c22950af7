"""Masks of dropout: random numbers that are counted, not drawn.

Whether the input `column` of row `row` is kept in a step is a function of these numbers
and the seed alone, so that it does not matter which thread asks, nor in which order
(Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
The mixing functions are Steele, Lea and Flood's for 64 bits ("Fast splittable
pseudorandom number generators", OOPSLA 2014) and one of the kind of MurmurHash3's for
32, with constants that Wellons found ("Prospecting for hash functions", 2018).
"""

import numpy as np

from fastmlp.compilation import jit
from fastmlp.kernels.simd import cast

__all__ = [
    "mask_key",
    "mask_of",
    "multiply_by_mask",
    "multiply_by_masks",
    "row_key",
]


@jit
def _mix(x):
    x = np.uint64(x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = np.uint64(x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.uint64(x ^ (x >> np.uint64(31)))


@jit
def mask_key(seed, step, layer):
    """What the masks of a layer's inputs in a step start from."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    key = _mix(np.uint64(seed) + golden)
    key = _mix(np.uint64(key + np.uint64(step)) + golden)
    return _mix(np.uint64(key + np.uint64(layer)) + golden)


@jit
def row_key(key, row):
    """32 bits for a row."""
    return np.uint32(_mix(np.uint64(key + np.uint64(row))))


@jit
def _is_kept(key, column, threshold):
    x = np.uint32(key + np.uint32(np.uint32(column) * np.uint32(0x9E3779B9)))
    x = np.uint32(np.uint32(x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D))
    x = np.uint32(np.uint32(x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B))
    x = np.uint32(x ^ (x >> np.uint32(16)))
    return x < threshold


@jit
def _threshold_of(keep):
    """The share of 2**32 below which numbers are kept."""
    return np.uint32(min(keep * 4294967296.0, 4294967295.0))


@jit
def mask_of(key, column, keep, like):
    """1 / keep if the input of the row with this key is kept, else 0."""
    kept = _is_kept(key, column, _threshold_of(keep))
    return cast(1.0 / keep, like) if kept else cast(0, like)


@jit
def multiply_by_mask(numbers, key, first_column, count, keep):
    """numbers[i] times the mask of column first_column + i, for i < count."""
    threshold = _threshold_of(keep)
    zero, scale = cast(0, numbers[0]), cast(1.0 / keep, numbers[0])
    for i in range(count):
        factor = scale if _is_kept(key, first_column + i, threshold) else zero
        numbers[i] *= factor


@jit
def multiply_by_masks(numbers, keys, column, count, keep):
    """numbers[i] times the mask of a column in the row of keys[i], for i < count."""
    threshold = _threshold_of(keep)
    zero, scale = cast(0, numbers[0]), cast(1.0 / keep, numbers[0])
    for i in range(count):
        numbers[i] *= scale if _is_kept(keys[i], column, threshold) else zero
