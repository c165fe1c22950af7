"""Shuffle exactly as `numpy.random.RandomState.shuffle` does, number for number.

The generator is the Mersenne Twister MT19937 (Matsumoto and Nishimura, ACM TOMACS
8(1), 1998).  To draw an index up to a bound, its numbers are masked to as many bits as
the bound has, until one is not above the bound (rejection sampling).
"""

import numpy as np

from fastmlp.compilation import jit
from fastmlp.kernels.simd import advance, pointer

__all__ = ["STATE_WORDS", "shuffle", "shuffle_numbers"]

#: uint32 in the generator's state: its key, then how many of its words are used up.
STATE_WORDS = 625

_WORDS = STATE_WORDS - 1
_SHIFT = 397  # a new word depends on its successor and on the word this far ahead
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


@jit
def shuffle_numbers(state, numbers, count, picks):
    """Shuffle ``numbers[:count]`` in place (Fisher-Yates, from the end).

    state, numbers, picks : addresses of STATE_WORDS uint32, of `count` int64 and of
        room for STATE_WORDS uint32.
    count : below 2**32.
    """
    key = pointer(state, np.uint32(0))
    picks = pointer(picks, np.uint32(0))
    numbers = pointer(numbers, 0)
    used_up = advance(key, _WORDS)
    used = np.int64(used_up[0])
    i = count - 1
    mask = np.int64(1)
    while mask < i:
        mask = 2 * mask + 1
    while i > 0:
        if used == _WORDS:
            _renew(key)
            used = 0
        # First draw the picks for as many places as there are words for, while the
        # bounds i have as many bits as the mask. Up to half of the draws are above i:
        # the next draw overwrites them, because a branch could not be predicted.
        last = i
        n = 0
        while used < _WORDS and i > mask >> 1:
            drawn = _tempered(key[used]) & np.uint32(mask)
            used += 1
            picks[n] = drawn
            is_pick = np.int64(np.int64(drawn) <= i)
            n += is_pick
            i -= is_pick
        for k in range(n):
            j = np.int64(picks[k])
            moved = numbers[j]
            numbers[j] = numbers[last - k]
            numbers[last - k] = moved
        if i <= mask >> 1:
            mask >>= 1
    used_up[0] = np.uint32(used)


@jit(entry=True)
def shuffle(state, numbers, count, picks):
    """`shuffle_numbers`, for Python."""
    shuffle_numbers(state, numbers, count, picks)
