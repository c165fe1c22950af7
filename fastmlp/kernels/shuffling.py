"""Shuffling as `numpy.random.RandomState.shuffle` does it, number for number.

The generator is the Mersenne Twister MT19937 (Matsumoto and Nishimura, ACM TOMACS
8(1), 1998); an index below a bound is its next number, cut to as many bits as the
bound has, the first one that is not above the bound.
"""

import numpy as np

from fastmlp.compilation import jit
from fastmlp.kernels.simd import advance, pointer

__all__ = ["STATE_WORDS", "shuffle"]

#: uint32 of the generator's state: its key, then how many words of it are used up.
STATE_WORDS = 625

_WORDS = STATE_WORDS - 1
_SHIFT = 397  # a word comes from its successor and the word so far ahead
_TWIST = 0x9908B0DF


@jit
def _twisted(word, following, ahead):
    mixed = (word & np.uint32(0x80000000)) | (following & np.uint32(0x7FFFFFFF))
    odd = np.uint32(0) - (mixed & np.uint32(1))
    return np.uint32(ahead ^ (mixed >> np.uint32(1)) ^ (odd & np.uint32(_TWIST)))


@jit
def _renew(key):
    """The next 624 words of the state."""
    behind = _WORDS - _SHIFT
    for i in range(behind):
        key[i] = _twisted(key[i], key[i + 1], key[i + _SHIFT])
    for i in range(behind, _WORDS - 1):
        key[i] = _twisted(key[i], key[i + 1], key[i - behind])
    last = _WORDS - 1
    key[last] = _twisted(key[last], key[0], key[last - behind])


@jit
def _tempered(y):
    y ^= y >> np.uint32(11)
    y ^= (y << np.uint32(7)) & np.uint32(0x9D2C5680)
    y ^= (y << np.uint32(15)) & np.uint32(0xEFC60000)
    return np.uint32(y ^ (y >> np.uint32(18)))


@jit(entry=True)
def shuffle(state, numbers, count):
    """Shuffle ``numbers[:count]`` in place, after Fisher and Yates, from the end.

    state, numbers : addresses of STATE_WORDS uint32 and of `count` int64.
    count : below 2**32.
    """
    key = pointer(state, np.uint32(0))
    used_up = advance(key, _WORDS)
    numbers = pointer(numbers, 0)
    used = np.int64(used_up[0])
    i = count - 1
    mask = np.int64(1)
    while mask < i:
        mask = 2 * mask + 1
    while i > 0:
        # as long as the bounds i have as many bits as the mask
        while i > mask >> 1:
            if used == _WORDS:
                _renew(key)
                used = 0
            drawn = np.int64(_tempered(key[used])) & mask
            used += 1
            # half of the draws may be above i: swap with itself then, and stay; no
            # processor could predict a branch
            is_index = drawn <= i
            j = drawn if is_index else i
            moved = numbers[j]
            numbers[j] = numbers[i]
            numbers[i] = moved
            i -= np.int64(is_index)
        mask >>= 1
    used_up[0] = np.uint32(used)
