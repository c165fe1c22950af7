"""Dropout masks from a counter-based random number generator.

Whether input `column` of row `row` is kept in a step depends on these numbers and the
seed alone, so it does not matter which thread computes it, nor in which order (Salmon,
Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011).  The
mixing function for 64 bits is Steele, Lea and Flood's ("Fast splittable pseudorandom
number generators", OOPSLA 2014); the one for 32 bits has the form of MurmurHash3's,
with constants found by Wellons ("Prospecting for hash functions", 2018).
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
    """The key of the masks of a layer's inputs in a step."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    key = _mix(np.uint64(seed) + golden)
    key = _mix(np.uint64(key + np.uint64(step)) + golden)
    return _mix(np.uint64(key + np.uint64(layer)) + golden)


@jit
def row_key(key, row):
    """The key of a row, 32 bits."""
    return np.uint32(_mix(np.uint64(key + np.uint64(row))))


@jit
def mask_of(key, column, keep, like):
    """1 / keep if this column of the row with this key is kept, else 0."""
    x = np.uint32(key + np.uint32(np.uint32(column) * np.uint32(0x9E3779B9)))
    x = np.uint32(np.uint32(x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D))
    x = np.uint32(np.uint32(x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B))
    x = np.uint32(x ^ (x >> np.uint32(16)))
    # kept with this probability: x has 32 random bits
    threshold = np.uint32(min(keep * 4294967296.0, 4294967295.0))
    return cast(1.0 / keep, like) if x < threshold else cast(0, like)


@jit
def multiply_by_mask(numbers, key, first_column, count, keep):
    """Multiply numbers[i] by the mask of column first_column + i, for i < count."""
    for i in range(count):
        numbers[i] *= mask_of(key, first_column + i, keep, numbers[i])


@jit
def multiply_by_masks(numbers, keys, column, count, keep):
    """Multiply numbers[i] by a column's mask in the row of keys[i], for i < count."""
    for i in range(count):
        numbers[i] *= mask_of(keys[i], column, keep, numbers[i])
