"""The shuffle before each epoch: identical to NumPy's, several times faster."""

import ctypes
from contextlib import nullcontext
from functools import cache

import numpy as np

from fastmlp.engine.arena import address_of
from fastmlp.kernels.shuffling import STATE_WORDS, shuffle

__all__ = ["Shuffler", "shuffle_once"]

#: NumPy shuffles fewer numbers than this: a kernel is not worthwhile.
_LEAST_NUMBERS = 1000


def _words_of(generator):
    """What is at the address of the state of a generator, as an array."""
    address = generator.ctypes.state_address
    return np.ctypeslib.as_array((ctypes.c_uint32 * STATE_WORDS).from_address(address))


@cache
def _knows_layout():
    """Whether states look as our kernel expects, which NumPy does not promise."""
    generator = np.random.MT19937(0)
    words, state = _words_of(generator), generator.state["state"]
    return np.array_equal(words[:-1], state["key"]) and words[-1] == state["pos"]


def _state_words(random_state):
    """The state of a generator as an array, or None if its layout is not known."""
    generator = getattr(random_state, "_bit_generator", None)
    if not isinstance(generator, np.random.MT19937) or not _knows_layout():
        return None
    return _words_of(generator)


class Shuffler:
    """A function that does what ``random_state.shuffle(numbers)`` does.

    Parameters
    ----------
    random_state : numpy.random.RandomState
        Its state changes in the same way, too.
    numbers : ndarray of int64, contiguous
        Shuffled in place.

    Attributes
    ----------
    addresses : tuple of int or None
        First arguments of `fastmlp.kernels.shuffling.shuffle_numbers`: the generator's
        state, the numbers, their count, room.  For a caller that holds `lock`, and only
        as long as this object lives.  None if our kernel cannot shuffle so.
    lock : context manager
        Of the generator.
    """

    def __init__(self, random_state, numbers):
        self._random_state, self._numbers = random_state, numbers
        self.addresses, self.lock = None, nullcontext()
        words = _state_words(random_state) if len(numbers) < 2**32 else None
        if words is not None:
            self._words, self._room = words, np.empty(STATE_WORDS, np.uint32)
            # `words` are in its memory
            self._generator = random_state._bit_generator
            self.lock = self._generator.lock
            self.addresses = (
                address_of(words), address_of(numbers), len(numbers),
                address_of(self._room),
            )  # fmt: skip

    def __call__(self):
        if self.addresses is None or len(self._numbers) < _LEAST_NUMBERS:
            self._random_state.shuffle(self._numbers)
        else:
            with self.lock:
                shuffle(*self.addresses)


def shuffle_once():
    """Shuffle something, so that the kernel is compiled."""
    Shuffler(np.random.RandomState(0), np.arange(_LEAST_NUMBERS))()
