"""One pass over a source: how many rows, which classes, means and deviations."""

import hashlib

import numpy as np
from scipy.sparse import issparse, vstack

from fastmlp.data.scaling import Moments

__all__ = ["Summary", "held_out_rows", "summarize"]

#: Rows of X, and targets, that are kept for a look at their scales.
_ROWS_OF_X, _TARGETS = 1000, 50_000

#: Classes that a look at a target is content with: more are no classes.
_MOST_CLASSES = 100_000


def held_out_rows(first, n_rows, share, seed):
    """Which of some rows of a source are held out: a mask.

    A row's number alone decides (the mix function of SplitMix64), so that nothing has
    to be kept.

    first : number of the first row.
    share : of the rows that are held out.
    """
    x = np.arange(first, first + n_rows, dtype=np.uint64)
    x += np.uint64((seed * 0x9E3779B97F4A7C15 + 1) % 2**64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return (x >> np.uint64(11)) < np.uint64(round(share * 2**53))


class _Thinned:
    """Every k-th of the rows that come, with k such that there are not too many."""

    def __init__(self, most):
        self._most, self._step, self._next = most, 1, 0
        self._kept, self._n_kept, self._n_seen = [], 0, 0

    def add(self, rows):
        n_rows = rows.shape[0]
        start = self._next - self._n_seen
        if start < n_rows:
            own = rows[start :: self._step]
            self._kept.append(own.copy())
            self._n_kept += own.shape[0]
            self._next += own.shape[0] * self._step
        self._n_seen += n_rows
        while self._n_kept > self._most:
            whole = self.rows()[::2]
            self._kept, self._n_kept = [whole], whole.shape[0]
            self._step *= 2
            self._next = self._n_kept * self._step

    def rows(self):
        if issparse(self._kept[0]):
            return vstack(self._kept, format="csr")
        return np.concatenate(self._kept)


class Summary:
    """What a pass over a source has found.

    Attributes
    ----------
    n_rows : int
    task : object
        What `task_of` made of the first targets.
    classes : ndarray or None
        Of a classification: the labels that occur, sorted; of several labels at once,
        a matrix of as many columns.
    counts, weights : ndarray or None
        Rows of each class, and the sum of their weights.
    weight : float
        Sum of all weights.
    X, y, sample_weight : ndarray or None
        Of some rows from all over the source; those of X are others.
    X_moments, y_moments : fastmlp.data.scaling.Moments or None
    digest : str
        Of the targets and weights, and of X if it was read.
    """

    def __init__(self):
        self.n_rows, self.weight = 0, 0.0
        self.task = self.classes = self.counts = self.weights = None
        self.X = self.y = self.sample_weight = None
        self.X_moments = self.y_moments = None
        self.digest = ""


def summarize(source, task_of, *, scales=False):
    """A `Summary` of a source, and its number of rows and dtype are known then.

    Parameters
    ----------
    source : fastmlp.sources.source.Source
    task_of : callable
        From the first targets to (task, whether that is a classification).
    scales : bool, default=False
        Whether the moments of X and of numeric targets are needed.

    Raises
    ------
    ValueError
        If there are no rows, or if any of them is not what it must be.
    """
    found = Summary()
    with_X = scales or source.n_rows is None
    of_X, of_y, of_weights = _Thinned(_ROWS_OF_X), _Thinned(_TARGETS), None
    digest, counts, dtypes = hashlib.sha256(), {}, set()
    classifies = n_columns = None
    for chunk in source.chunks("Xy" if with_X else "y"):
        y, weights = chunk.y, chunk.sample_weight
        if found.n_rows == 0:
            found.task, classifies = task_of(y)
            n_columns = y.shape[1:]
            of_weights = None if weights is None else _Thinned(_TARGETS)
        if y.shape[1:] != n_columns:
            raise ValueError(
                f"{chunk.where}: the target has the shape {y.shape}, rows before had "
                f"{n_columns[0] if n_columns else 1} columns"
            )
        if (weights is None) != (of_weights is None):
            raise ValueError(f"{chunk.where}: some rows have weights, others have none")
        found.n_rows += len(chunk)
        found.weight += float(len(y) if weights is None else weights.sum())
        for array in (y, weights):
            if array is not None:
                _feed(digest, array)
        of_y.add(y)
        if weights is not None:
            of_weights.add(weights)
        if classifies:
            _count(counts, y, weights, chunk.where)
        elif y.dtype.kind not in "fiub":
            raise ValueError(
                f"{chunk.where}: a regression needs a target of numbers, got {y.dtype}"
            )
        elif scales:
            found.y_moments = Moments.of(y.reshape(len(y), -1), weights).added_to(
                found.y_moments
            )
        if with_X:
            dtypes.add(chunk.X.dtype)
            of_X.add(chunk.X)
            if scales and issparse(chunk.X):
                raise ValueError(
                    f"{chunk.where}: standardize=True cannot scale sparse rows of a "
                    "source. Scale them before, by MaxAbsScaler for example"
                )
            if scales:
                own = Moments.of(chunk.X, weights)
                found.X_moments = own.added_to(found.X_moments)
    if found.n_rows == 0:
        raise ValueError(
            f"{source!r} gave no rows. If it was made by from_batches: each call must "
            "give a new iterator, not one that has been used up"
        )
    if found.weight == 0:
        raise ValueError("sample_weight sums to zero: at least one sample must count")
    if source.n_rows is not None and source.repeats and source.n_rows != found.n_rows:
        raise ValueError(f"{source!r} gave {found.n_rows} rows")
    source.n_rows = found.n_rows
    if source.dtype is None:
        source.dtype = np.result_type(*dtypes)
    if not with_X:
        for chunk in next(source.parts(what="X")).read():
            of_X.add(chunk.X)
    found.X, found.y = of_X.rows().astype(source.dtype), of_y.rows()
    found.sample_weight = None if of_weights is None else of_weights.rows()
    found.digest = digest.hexdigest()
    if classifies:
        _set_classes(found, counts, n_columns)
    return found


def _feed(digest, array):
    if array.dtype.kind == "U":  # whose width differs from chunk to chunk
        digest.update("\0".join(array.ravel().tolist()).encode())
    else:
        digest.update(np.ascontiguousarray(array).view(np.uint8))


def _count(counts, y, weights, where):
    """Add rows of one label each to {label: [count, weight]}; or check several."""
    if y.ndim == 2:
        if not np.isin(y, (0, 1)).all():
            raise ValueError(
                f"{where}: a target of several columns must have a 0 or a 1 in each, "
                "for labels of which several can be there"
            )
        return
    labels, codes = np.unique(y, return_inverse=True)
    numbers = np.bincount(codes, minlength=len(labels))
    sums = np.bincount(codes, weights, len(labels))
    for label, number, weight in zip(labels.tolist(), numbers, sums, strict=True):
        known = counts.setdefault(label, [0, 0.0])
        known[0] += int(number)
        known[1] += float(weight)
    if len(counts) > _MOST_CLASSES:
        raise ValueError(
            f"{where}: the target has more than {_MOST_CLASSES} different values so "
            "far; a classification needs labels"
        )


def _set_classes(found, counts, n_columns):
    if n_columns:
        found.classes = np.repeat([[0], [1]], n_columns[0], axis=1)
        return
    try:
        labels = sorted(counts)
    except TypeError as error:
        raise ValueError("the target mixes text and numbers") from error
    found.classes = np.array(labels, dtype=found.y.dtype if
                             found.y.dtype.kind != "U" else None)  # fmt: skip
    found.counts = np.array([counts[label][0] for label in labels])
    found.weights = np.array([counts[label][1] for label in labels])
