"""One pass over a source: how many rows, which classes, means and deviations."""

import hashlib

import numpy as np
from scipy.sparse import issparse, vstack

from fastmlp.data.moments import Moments, joined

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


class _Mixing:
    """How much of the spread of targets lies between groups of rows."""

    def __init__(self):
        self._group, self._n_rows, self._sums = None, 0, {}  # of the group at hand
        self._between, self._squares = 0.0, 0.0
        self._n_all, self._all = 0, {}

    def add(self, group, n_rows, sums, squares):
        """Add rows of a group: the sums of what they are, and of the squares of that.

        sums : by label, the number of rows; or by column.
        """
        if group != self._group:
            self._close()
            self._group = group
        self._n_rows += n_rows
        self._squares += squares
        for key, number in sums.items():
            self._sums[key] = self._sums.get(key, 0.0) + number

    def _close(self):
        if self._n_rows:
            squares = sum(number**2 for number in self._sums.values())
            self._between += squares / self._n_rows
            self._n_all += self._n_rows
            for key, number in self._sums.items():
                self._all[key] = self._all.get(key, 0.0) + number
        self._n_rows, self._sums = 0, {}

    def share(self):
        """From 0, well mixed, to 1, sorted."""
        self._close()
        mean = sum(number**2 for number in self._all.values()) / self._n_all
        spread = self._squares - mean
        if not spread > 1e-9 * self._squares:  # constant, or too large
            return 0.0
        return max(0.0, (self._between - mean) / spread)


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
    X_moments, y_moments : fastmlp.data.moments.Moments or None
    digest : str
        Of the targets and weights.
    unevenness : float
        How much of the spread of targets is expected to lie between blocks: 0 if the
        rows of each are like all others, 1 if the rows are sorted.
    """

    def __init__(self):
        self.n_rows, self.weight = 0, 0.0
        self.task = self.classes = self.counts = self.weights = None
        self.X = self.y = self.sample_weight = None
        self.X_moments = self.y_moments = None
        self.digest = ""
        self.unevenness = 0.0


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
    with_X = scales or source.n_rows is None
    targets, features = _OfTargets(task_of, scales), _OfFeatures(scales)
    # the rows that are shuffled together: parts in random order, or neighbours
    is_table, buffer = source.n_parts is not None, source.shuffle_buffer
    for place, chunk in _with_places(source, "Xy" if with_X else "y"):
        targets.add(chunk, place if is_table else place // buffer)
        if with_X:
            features.add(chunk)
    found = targets.found
    n_rows = found.n_rows
    if n_rows == 0:
        raise ValueError(
            f"{source!r} gave no rows. If it was made by from_batches: each call must "
            "give a new iterator, not one that has been used up"
        )
    if found.weight == 0:
        raise ValueError("sample_weight sums to zero: at least one sample must count")
    targets.finish()
    if n_rows > buffer:
        parts_of_a_block = buffer * source.n_parts / n_rows if is_table else 1.0
        found.unevenness = targets.mixing.share() / max(1.0, parts_of_a_block)
    source.n_rows = n_rows
    if source.dtype is None:
        source.dtype = np.result_type(*features.dtypes)
    if not with_X:
        for chunk in next(source.parts(what="X")).read():
            features.add(chunk)
    found.X = features.rows.rows().astype(source.dtype)
    found.X_moments = features.moments
    return found


class _OfTargets:
    """What a pass finds out about targets and weights: `found`, and how mixed it is."""

    def __init__(self, task_of, scales):
        self._task_of, self._scales = task_of, scales
        self.found, self.mixing = Summary(), _Mixing()
        self._y, self._weights = _Thinned(_TARGETS), None
        self._digest, self._counts = hashlib.sha256(), {}
        self._classifies = self._columns = self._shift = None

    def add(self, chunk, group):
        """Look at some rows, of those that come together with others of the group."""
        found, y, weights = self.found, chunk.y, chunk.sample_weight
        if found.n_rows == 0:
            found.task, self._classifies = self._task_of(y)
            self._columns = y.shape[1:]
            self._weights = None if weights is None else _Thinned(_TARGETS)
        if y.shape[1:] != self._columns:
            raise ValueError(
                f"{chunk.where}: the target has the shape {y.shape}, rows before had "
                f"{self._columns[0] if self._columns else 1} columns"
            )
        if (weights is None) != (self._weights is None):
            raise ValueError(f"{chunk.where}: some rows have weights, others have none")
        found.n_rows += len(y)
        found.weight += float(len(y) if weights is None else weights.sum())
        self._y.add(y)
        _feed(self._digest, y)
        if weights is not None:
            self._weights.add(weights)
            _feed(self._digest, weights)
        if self._classifies:
            sums = _count(self._counts, y, weights, chunk.where)
            squares = sum(sums.values())
        else:
            sums, squares = self._add_numbers(y, weights, chunk.where)
        self.mixing.add(group, len(y), sums, squares)

    def _add_numbers(self, y, weights, where):
        """({column: sum}, sum of squares) of targets of a regression."""
        if y.dtype.kind not in "fiub":
            raise ValueError(
                f"{where}: a regression needs a target of numbers, got {y.dtype}"
            )
        y = y.reshape(len(y), -1)
        if self._scales:
            own = Moments.of(y, weights)
            self.found.y_moments = joined(self.found.y_moments, own)
        with np.errstate(over="ignore", invalid="ignore"):
            if self._shift is None:
                self._shift = y.mean(axis=0, dtype=np.float64)
            y = y - self._shift
            return dict(enumerate(y.sum(axis=0))), float((y**2).sum())

    def finish(self):
        """Set what all rows are needed for."""
        found = self.found
        found.y, found.digest = self._y.rows(), self._digest.hexdigest()
        if self._weights is not None:
            found.sample_weight = self._weights.rows()
        if self._classifies:
            _set_classes(found, self._counts, self._columns)


class _OfFeatures:
    """What a pass finds out about X: dtypes, some rows, and moments if asked for."""

    def __init__(self, scales):
        self._scales = scales
        self.dtypes, self.rows, self.moments = set(), _Thinned(_ROWS_OF_X), None

    def add(self, chunk):
        """Look at some rows."""
        X = chunk.X
        self.dtypes.add(X.dtype)
        self.rows.add(X)
        if self._scales and issparse(X):
            raise ValueError(
                f"{chunk.where}: standardize=True cannot scale sparse rows of a "
                "source. Scale them before, by MaxAbsScaler for example"
            )
        if self._scales:
            own = Moments.of(X, chunk.sample_weight)
            self.moments = joined(self.moments, own)


def _with_places(source, what):
    """Yield (number of the first row of its part, chunk) of all chunks."""
    for part in source.parts(what=what):
        for chunk in part.read():
            yield part.first_row, chunk


def _feed(digest, array):
    if array.dtype.kind == "U":  # whose width differs from chunk to chunk
        digest.update("\0".join(array.ravel().tolist()).encode())
    else:
        digest.update(np.ascontiguousarray(array).view(np.uint8))


def _count(counts, y, weights, where):
    """Add rows of one label each to {label: [count, weight]}; or check several.

    Returns {label, or column: number of rows}.
    """
    if y.ndim == 2:
        if not np.isin(y, (0, 1)).all():
            raise ValueError(
                f"{where}: a target of several columns must have a 0 or a 1 in each, "
                "for labels of which several can be there"
            )
        return dict(enumerate(y.sum(axis=0, dtype=float)))
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
    return dict(zip(labels.tolist(), numbers.tolist(), strict=True))


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
