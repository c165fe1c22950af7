"""What is held out."""

import tracemalloc
from itertools import islice

import numpy as np
import pytest
from sklearn.model_selection import KFold, StratifiedKFold

from fastmlp.training.folds import splits


def of_scikit_learn(n_samples, n_folds, random_state, codes):
    """`splits`, by scikit-learn's classes."""
    by_class = codes is not None and np.bincount(codes).max() >= n_folds
    splitter = StratifiedKFold if by_class else KFold
    while True:
        folds = splitter(n_folds, shuffle=True, random_state=random_state)
        for _, held_out in folds.split(np.zeros(n_samples), codes):
            yield held_out


@pytest.mark.filterwarnings("ignore:The least populated class")
@pytest.mark.parametrize("n_samples", [3, 20, 77, 1000, 70_001])
@pytest.mark.parametrize("n_classes", [None, 1, 2, 5, 30])
def test_parts_are_those_of_scikit_learn(n_classes, n_samples):
    """With the same seed, two rounds and the beginning of a third."""
    codes = None
    if n_classes is not None:  # some of them rare, the first not in the first sample
        rng = np.random.default_rng(n_classes)
        drawn = (n_classes * rng.random(n_samples) ** 3).astype(int)
        codes = np.unique(drawn, return_inverse=True)[1]
    for n_folds in (2, min(5, n_samples), min(8, n_samples)):
        expected, found = (
            list(islice(of(n_samples, n_folds, seed, codes), 2 * n_folds + 1))
            for of, seed in (
                (of_scikit_learn, np.random.RandomState(4)),
                (splits, np.random.RandomState(4)),
            )
        )
        for held_out, by in zip(found, expected, strict=True):
            np.testing.assert_array_equal(held_out, by)


def test_parts_of_many_samples_take_little_memory():
    codes = np.random.default_rng(0).integers(0, 4, 1_000_000)
    for given in (codes, None):
        tracemalloc.start()
        try:
            held_out = next(splits(len(codes), 8, np.random.RandomState(0), given))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert len(held_out) == len(codes) // 8
        assert peak < len(codes) * codes.itemsize  # one array of indices
