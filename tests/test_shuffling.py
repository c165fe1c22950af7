"""The shuffle is NumPy's, number for number."""

import numpy as np
import pytest

from fastmlp.engine import shuffling

SIZES = [0, 1, 2, 3, 4, 5, 255, 256, 257, 623, 624, 625, 1000, 4096, 70_001]


@pytest.mark.parametrize("seed", [0, 1, 12345])
@pytest.mark.parametrize("size", SIZES)
def test_as_numpy_does_it(size, seed, monkeypatch):
    monkeypatch.setattr(shuffling, "_LEAST_NUMBERS", 0)
    ours, theirs = np.random.RandomState(seed), np.random.RandomState(seed)
    a, b = np.arange(size), np.arange(size)
    shuffle = shuffling.Shuffler(ours, a)
    for _ in range(3):
        shuffle()
        theirs.shuffle(b)
        np.testing.assert_array_equal(a, b)
        # anybody else may draw in between
        assert ours.uniform() == theirs.uniform()
    assert ours.randint(2**31) == theirs.randint(2**31)


def test_the_kernel_is_used():
    assert shuffling._state_words(np.random.RandomState(0)) is not None
    assert shuffling._state_words(np.random.mtrand._rand) is not None


def test_another_generator_is_left_to_numpy():
    ours = np.random.RandomState(np.random.PCG64(0))
    theirs = np.random.RandomState(np.random.PCG64(0))
    a, b = np.arange(5000), np.arange(5000)
    shuffling.Shuffler(ours, a)()
    theirs.shuffle(b)
    np.testing.assert_array_equal(a, b)
