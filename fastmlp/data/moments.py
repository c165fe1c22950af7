"""Means and variances of columns that are in several places: computed apart, merged."""

from dataclasses import dataclass
from functools import reduce

import numpy as np
from scipy.sparse import issparse

from fastmlp.data.samples import compressed_rows, entries_of
from fastmlp.data.scaling import Scaling

__all__ = ["Moments", "Spread", "joined", "merged"]

#: Rows that are converted to float64 together.
_ROWS_AT_ONCE = 4096


class Spread:
    """How far arrays that come one after the other differ, element by element.

    References
    ----------
    West, "Updating mean and variance estimates: an improved method", Communications of
    the ACM 22 (1979): what an update adds is never below 0.
    """

    def __init__(self):
        self._weight = self._mean = self._squares = 0.0

    def add(self, array, weight=1.0):
        """Take note of an array."""
        self._weight += weight
        difference = array - self._mean
        self._mean = self._mean + weight / self._weight * difference
        self._squares = self._squares + weight * difference * (array - self._mean)

    def deviation(self):
        """The standard deviation of the arrays so far."""
        return np.sqrt(self._squares / self._weight)


@dataclass
class Moments:
    """What is to be known of the columns of some samples to scale them.

    Attributes
    ----------
    weight : float
        Of all samples.
    mean, squares : ndarray of shape (n_columns,)
        The mean, and the sum of squared differences from it.
    low, high : ndarray of shape (n_columns,)
        The smallest and the largest number.
    resolution : float
        The rounding of the numbers.
    is_sparse : bool, default=False
        Whether zeros are to stay zeros.
    """

    weight: float
    mean: np.ndarray
    squares: np.ndarray
    low: np.ndarray
    high: np.ndarray
    resolution: float
    is_sparse: bool = False

    @classmethod
    def of(cls, X, sample_weight=None):
        """Those of an array or a sparse matrix.

        Parameters
        ----------
        X : ndarray or sparse matrix of shape (n_samples, n_columns)
        sample_weight : ndarray of shape (n_samples,), default=None
        """
        weights = np.ones(X.shape[0]) if sample_weight is None else sample_weight
        total = float(weights.sum())
        share = weights / (total or 1.0)
        kind = X.dtype if X.dtype.kind == "f" else np.float64
        with np.errstate(over="ignore", invalid="ignore"):
            if issparse(X):
                mean, squares, low, high = _of_sparse(compressed_rows(X), share)
            else:
                mean = np.zeros(X.shape[1])
                for part in _slices(X):
                    mean += share[part] @ X[part].astype(np.float64)
                squares = np.zeros(X.shape[1])
                for part in _slices(X):
                    squares += share[part] @ (X[part] - mean) ** 2
                low, high = X.min(axis=0), X.max(axis=0)
            return cls(
                total, mean, total * squares, low.astype(np.float64),
                high.astype(np.float64), float(np.finfo(kind).eps), issparse(X),
            )  # fmt: skip

    def merge(self, other):
        """Those of both together.

        References
        ----------
        Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for
        computing sample variances" (1979).
        """
        total = self.weight + other.weight
        share = other.weight / total if total else 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            difference = other.mean - self.mean
            return Moments(
                total,
                self.mean + share * difference,
                self.squares + other.squares + self.weight * share * difference**2,
                np.minimum(self.low, other.low),
                np.maximum(self.high, other.high),
                max(self.resolution, other.resolution),
                self.is_sparse,
            )

    @property
    def spread(self):
        """The standard deviation of each column."""
        with np.errstate(invalid="ignore"):
            return np.sqrt(self.squares / (self.weight or 1.0))

    def scaling(self):
        """The map to mean 0 and standard deviation 1, see `Scaling.of`."""
        mean, scale = self.mean, self.spread
        scale[scale <= 10 * self.resolution * np.abs(mean)] = 1.0
        shift = np.zeros_like(mean) if self.is_sparse else mean.copy()
        is_too_large = ~(np.isfinite(scale) & np.isfinite(mean))
        shift[is_too_large] = 0.0
        scale[is_too_large] = np.maximum(-self.low, self.high)[is_too_large]
        return Scaling(shift, scale)


def joined(before, more):
    """`Moments` of what came before, None for nothing, and of more."""
    return more if before is None else before.merge(more)


def merged(several):
    """One `Moments` of all, merged in their order."""
    return reduce(joined, several)


def _slices(X):
    return (
        slice(start, start + _ROWS_AT_ONCE)
        for start in range(0, X.shape[0], _ROWS_AT_ONCE)
    )


def _of_sparse(X, share):
    """(mean, variance, smallest, largest) of each column; zeros count."""
    columns, entries = entries_of(X)
    of_entries = np.repeat(share, np.diff(X.indptr))
    n = X.shape[1]
    mean = np.bincount(columns, of_entries * entries, n)
    variance = np.bincount(columns, of_entries * entries**2, n) - mean**2
    low, high = np.zeros(n), np.zeros(n)
    np.minimum.at(low, columns, entries)
    np.maximum.at(high, columns, entries)
    return mean, np.maximum(variance, 0), low, high
