"""Scales of features and targets: standardizing them, and saying that they need it."""

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array, issparse

from fastmlp.data.samples import compressed_rows, entries_of

__all__ = ["Scaling", "Standardization", "unscaled_columns", "wild_columns"]

#: Rows that a look at the scales of X is content with.
_ROWS_TO_LOOK_AT = 500

#: Rows that are converted to float64 together.
_ROWS_AT_ONCE = 4096

#: Columns differ wildly if the largest is at least so large, and so many times the
#: smallest. Scaled data, indicators, pixels and term frequencies are below it.
_LARGE, _WILD_RATIO = 100.0, 1000.0

#: Outside of this range, root mean squares are not what a network expects.
_SMALLEST, _LARGEST = 0.1, 10.0

#: Columns that a message names.
_MOST_NAMES = 3


class Scaling(NamedTuple):
    """The affine map to mean 0 and standard deviation 1, column by column.

    Attributes
    ----------
    mean, scale : ndarray of shape (n_columns,)
        float64. What is constant has the scale 1.
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, X, sample_weight=None):
        """The one of some data.

        Parameters
        ----------
        X : ndarray or sparse matrix of shape (n_samples, n_columns)
            Sparse X, in compressed rows, keeps its zeros: it is divided, not shifted.
        sample_weight : ndarray of shape (n_samples,), default=None
        """
        n_samples = X.shape[0]
        weights = np.ones(n_samples) if sample_weight is None else sample_weight
        weights = weights / weights.sum()
        with np.errstate(over="ignore", invalid="ignore"):
            if issparse(X):
                of_entries = np.repeat(weights, np.diff(X.indptr))
                mean = _sums_of_columns(X, of_entries, lambda entries: entries)
                variance = _sums_of_columns(X, of_entries, np.square) - mean**2
            else:
                mean = _weighted_sum(X, weights, lambda rows: rows)
                variance = _weighted_sum(X, weights, lambda rows: (rows - mean) ** 2)
            scale = np.sqrt(np.maximum(variance, 0))
        # constant up to the rounding of its numbers
        resolution = np.finfo(X.dtype if X.dtype.kind == "f" else np.float64).eps
        scale[scale <= 10 * resolution * np.abs(mean)] = 1.0
        shift = np.zeros(X.shape[1]) if issparse(X) else mean
        is_too_large = ~(np.isfinite(scale) & np.isfinite(mean))
        if is_too_large.any():  # its squares are beyond float64
            shift[is_too_large] = 0.0
            scale[is_too_large] = _largest(X)[is_too_large]
        return cls(shift, scale)

    def apply(self, X):
        """(X - mean) / scale, in the floating-point type of X.

        Sparse X stays sparse, unless a mean is to be subtracted from it.
        """
        X = compressed_rows(X) if issparse(X) else X
        if issparse(X) and not self.mean.any():
            columns, entries = entries_of(X)
            entries = (entries / self.scale[columns]).astype(X.dtype)
            return csr_array((entries, columns, X.indptr.copy()), X.shape)
        if issparse(X):
            X = X.toarray()
        dtype = X.dtype if X.dtype.kind == "f" else np.float64
        scaled = np.empty(X.shape, dtype)
        for start in range(0, len(X), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            scaled[rows] = (X[rows] - self.mean) / self.scale
        return scaled

    def undo(self, outputs):
        """Outputs * scale + mean, in the dtype of `outputs`."""
        with np.errstate(over="ignore"):
            return (outputs * self.scale + self.mean).astype(outputs.dtype)


class Standardization(NamedTuple):
    """What ``standardize=True`` does to features and targets; nothing where it is None.

    Attributes
    ----------
    X, y : Scaling or None
    """

    X: Scaling | None = None
    y: Scaling | None = None

    @classmethod
    def read(cls, attributes):
        """The one that the fitted attributes of an estimator hold."""
        pairs = [
            [attributes.get(f"{data}_{part}_") for part in Scaling._fields]
            for data in cls._fields
        ]
        return cls(*(None if pair[0] is None else Scaling(*pair) for pair in pairs))

    def attributes(self):
        """The fitted attributes that hold it."""
        return {
            f"{data}_{part}_": array
            for data, scaling in zip(self._fields, self, strict=True)
            if scaling is not None
            for part, array in zip(Scaling._fields, scaling, strict=True)
        }

    def scale_X(self, X):
        """X as the network takes it."""
        return X if self.X is None else self.X.apply(X)

    def scale_y(self, y):
        """Targets, of one or two dimensions, as the network takes them."""
        if self.y is None:
            return y
        return self.y.apply(y.reshape(len(y), -1)).reshape(y.shape)

    def unscale(self, outputs):
        """Predictions, from what the network's outputs are."""
        return outputs if self.y is None else self.y.undo(outputs)


def _weighted_sum(X, weights, function):
    """Sum of function(rows), each row times its weight, in float64."""
    total = np.zeros(X.shape[1])
    for start in range(0, len(X), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        total += weights[rows] @ function(X[rows].astype(np.float64))
    return total


def _sums_of_columns(X, weights, function):
    """Sum of function(entries), each times its weight, of each column of sparse X."""
    columns, entries = entries_of(X)
    sums = np.bincount(columns, weights * function(entries), X.shape[1])
    return sums.astype(np.float64, copy=False)  # without entries they are integers


def _largest(X):
    """The largest absolute value of each column."""
    if not issparse(X):
        return np.abs(X).max(axis=0)
    columns, entries = entries_of(X)
    largest = np.zeros(X.shape[1])
    np.maximum.at(largest, columns, np.abs(entries))
    return largest


def _sizes(X):
    """Root mean square of each column of X, of some of its rows."""
    with np.errstate(over="ignore"):
        if issparse(X):
            sizes = _sums_of_columns(X, 1 / X.shape[0], np.square)
        else:
            X = X[:: max(1, len(X) // _ROWS_TO_LOOK_AT)]
            rows = X.astype(np.float64)
            sizes = np.einsum("ij,ij->j", rows, rows) / len(rows)
    np.sqrt(sizes, out=sizes)
    is_too_large = ~np.isfinite(sizes)
    if is_too_large.any():  # its squares are
        sizes[is_too_large] = _largest(X)[is_too_large]
    return sizes


def _named(columns, sizes, names):
    """Some columns of X, and how large their numbers are, for a message."""
    order = sorted(columns, key=lambda j: -sizes[j])
    some = ", ".join(
        f"{j if names is None else repr(str(names[j]))} ({sizes[j]:.3g})"
        for j in order[:_MOST_NAMES]
    )
    more = f" and {len(order) - _MOST_NAMES} more" if len(order) > _MOST_NAMES else ""
    return f"{'columns' if len(order) > 1 else 'column'} {some}{more}"


def wild_columns(X, names=None):
    """What to say of columns that are far larger than others, or None.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (n_samples, n_features)
    names : sequence of str, default=None
        Of the features.
    """
    sizes = _sizes(X)
    if not len(sizes) or sizes.max() < _LARGE:
        return None
    smallest = sizes.min(where=sizes > 0, initial=np.inf)
    large = np.flatnonzero(sizes >= max(_LARGE, _WILD_RATIO * smallest))
    if not len(large):
        return None
    return (
        f"{_named(large, sizes, names)}, beside values of {smallest:.3g} in others "
        "(root mean squares)"
    )


def unscaled_columns(X, names=None):
    """What to say of columns whose numbers are very large or very small, or None."""
    sizes = _sizes(X)
    outside = (sizes > _LARGEST) | ((sizes > 0) & (sizes < _SMALLEST))
    # a few small ones are features that are seldom there
    if not (sizes > _LARGEST).any() and outside.mean() <= 0.5:
        return None
    return f"{_named(np.flatnonzero(outside), sizes, names)} (root mean squares)"
