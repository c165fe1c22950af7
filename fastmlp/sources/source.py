"""What `fit` can read rows from that are not in memory, part by part."""

from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse, vstack

from fastmlp.data.samples import compressed_rows, entries_of

__all__ = ["Chunk", "Part", "Source", "Table", "located", "rows_at_once"]

#: Bytes of X that are read and converted together.
_CHUNK_BYTES = 8 * 2**20
_MOST_ROWS = 65536

#: Columns that a message names.
_MOST_NAMES = 5


class Chunk(NamedTuple):
    """Some rows, as they were read."""

    X: object  # ndarray of two dimensions, matrix of compressed rows, table, or None
    y: object  # ndarray, or None
    sample_weight: object  # ndarray, or None
    where: str  # what they were read from, for messages

    def __len__(self):
        return (self.y if self.X is None else self.X).shape[0]

    def rows(self, which):
        """The chunk of some of its rows: a slice, or a mask."""
        arrays = (None if a is None else a[which] for a in self[:3])
        return Chunk(*arrays, self.where)


class Part(NamedTuple):
    """Rows of a source that are read together: a row group, a partition, a slice."""

    first_row: int  # in the order of the source
    n_rows: int
    read: object  # callable: gives an iterator of `Chunk`s


def rows_at_once(n_features, itemsize):
    """Rows of a chunk: enough to be quick, few enough to stay in a cache."""
    return max(1, min(_MOST_ROWS, _CHUNK_BYTES // max(1, n_features * itemsize)))


@contextmanager
def located(where):
    """Say in every ValueError what was being read."""
    try:
        yield
    except ValueError as error:
        message = str(error)
        if where in message:
            raise
        raise ValueError(f"{where}: {message}") from error


class Source:
    """Rows for `fit`, `predict` and others that need not fit the memory.

    Made by `from_parquet`, `from_dask`, `from_npy` and `from_batches`; not for use by
    itself.

    Attributes
    ----------
    n_rows : int or None
        None until the rows have been counted.
    shuffle_buffer : int
        Rows that are in memory, and shuffled, together.
    feature_names : list of str or None
    n_features : int or None
        None until a chunk has been read.
    dtype : dtype or None
        Of X, float32 or float64; None until all has been seen.
    """

    #: Whether it gives the same rows each time.
    repeats = True
    #: Whether `load` finds targets.
    has_targets = True
    #: What it was made of and how large that is: another source has other values.
    identity = ()

    def __init__(
        self, shuffle_buffer, *, n_features=None, feature_names=None, dtype=None
    ):
        is_whole = isinstance(shuffle_buffer, int | np.integer)
        if not is_whole or isinstance(shuffle_buffer, bool) or shuffle_buffer < 1:
            raise ValueError(
                "shuffle_buffer must be a number of rows, 1 or more, got "
                f"{shuffle_buffer!r}"
            )
        self.shuffle_buffer = int(shuffle_buffer)
        self.feature_names = feature_names
        self.n_features = n_features
        self.dtype = dtype
        self.n_rows = None

    def __array__(self, *_, **__):
        raise TypeError(
            f"{self!r} is not an array. fit, predict and predict_proba of MLP* and "
            "TabularMLP* take it, fit also as X_val; everything else takes arrays: "
            "source.load() reads all of its rows"
        )

    def __repr__(self):
        rows = "" if self.n_rows is None else f": {self.n_rows} rows"
        return f"<{self._name()}{rows}>"

    def _name(self):
        return type(self).__name__

    @property
    def fits_buffer(self):
        """Whether all rows can be in memory at once, and stay there."""
        known = self.repeats and self.n_rows is not None
        return known and 0 < self.n_rows <= self.shuffle_buffer

    @property
    def n_parts(self):
        """Number of parts, or None if they only come in turn."""
        return None

    def parts(self, order=None, what="Xy"):
        """Iterate over the parts.

        order : sequence of int, default=None
            Numbers of the parts, if they need not come in turn.
        what : {"Xy", "X", "y", "Ty", "T"}
            What to read of each row: y goes with the weight, T is X as a table of any
            columns.
        """
        raise NotImplementedError

    def chunks(self, what="Xy"):
        """Iterate over all rows in their order, as `Chunk`."""
        for part in self.parts(what=what):
            yield from part.read()

    def load(self):
        """Read all rows into memory.

        Returns
        -------
        X : ndarray or sparse matrix of shape (n_rows, n_features)
        y : ndarray or None
        sample_weight : ndarray or None

        Raises
        ------
        ValueError
            If the rows cannot be read, or if there are none.
        """
        chunks = [*self.chunks("Xy" if self.has_targets else "X")]
        if not chunks:
            raise ValueError(f"{self!r} has no rows")
        matrices, ys, weights, _ = zip(*chunks, strict=True)
        stack = vstack if issparse(matrices[0]) else np.concatenate
        X = stack(matrices)
        if self.dtype is not None:
            X = X.astype(self.dtype, copy=False)
        y = None if ys[0] is None else np.concatenate(ys)
        return X, y, None if weights[0] is None else np.concatenate(weights)

    def _checked(self, X, y, sample_weight, where, what="Xy"):
        """A `Chunk` of what was read, or a ValueError that says where it is wrong."""
        n_rows = None
        with located(where):
            if "X" in what:
                X = self._checked_features(X)
            if X is not None:
                n_rows = X.shape[0]
            if "y" not in what:
                return Chunk(X, None, None, where)
            y = _checked_target(y)
            n_rows = len(y) if n_rows is None else n_rows
            if len(y) != n_rows:
                raise ValueError(f"X has {n_rows} rows, y has {len(y)}")
            if sample_weight is not None:
                sample_weight = _checked_weights(sample_weight, n_rows)
        return Chunk(X, y, sample_weight, where)

    def _checked_features(self, X):
        if issparse(X):
            X = compressed_rows(X)
        elif not isinstance(X, np.ndarray):
            X = np.asarray(X)
        if X.ndim != 2:
            raise ValueError(f"X must have two dimensions, it has {X.ndim}")
        if self.n_features is None:
            self.n_features = X.shape[1]
        if X.shape[1] != self.n_features:
            raise ValueError(
                f"X has {X.shape[1]} features, the rows before have {self.n_features}"
            )
        if X.dtype.kind not in "fiub":
            raise ValueError(f"X must have numbers, it has the dtype {X.dtype}")
        wanted = self.dtype
        if wanted is None:
            wanted = np.float32 if X.dtype == np.float32 else np.float64
        with np.errstate(over="ignore"):
            X = X.astype(wanted, copy=False)
        self._check_finite(X)
        return X

    def _check_finite(self, X):
        numbers = X.data if issparse(X) else X
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(numbers.sum()) or np.isfinite(numbers).all():
                return
        if issparse(X):
            columns, entries = entries_of(X)
            counts = np.bincount(columns[~np.isfinite(entries)], minlength=X.shape[1])
        else:
            counts = (~np.isfinite(X)).sum(axis=0)
        what = "NaN" if np.isnan(numbers).any() else "infinity"
        raise ValueError(
            f"Input X contains {what}: {counts.sum()} values, in "
            f"{self._columns(np.flatnonzero(counts))}. Fill them in before, or leave "
            "these rows out"
        )

    def _columns(self, numbers):
        """Names of some columns, for a message."""
        names = self.feature_names or range(self.n_features)
        some = ", ".join(repr(names[j]) for j in numbers[:_MOST_NAMES])
        n_more = len(numbers) - _MOST_NAMES
        more = f" and {n_more} more" if n_more > 0 else ""
        return f"column{'s' if len(numbers) > 1 else ''} {some}{more}"


class Table(Source):
    """A source of parts that can be read in any order.

    Subclasses implement ``_read(number, what)``, an iterator of `Chunk`.
    """

    def _set_rows(self, rows_of_parts):
        """Say how many rows each part has."""
        self._starts = np.concatenate([[0], np.cumsum(rows_of_parts, dtype=np.int64)])
        self.n_rows = int(self._starts[-1])
        if self.n_rows == 0:
            raise ValueError(f"{self._name()}: there are no rows")

    @property
    def n_parts(self):
        return len(self._starts) - 1

    def parts(self, order=None, what="Xy"):
        for i in range(self.n_parts) if order is None else order:
            first, end = self._starts[i : i + 2]
            if end > first:
                n_rows = int(end - first)
                yield Part(int(first), n_rows, partial(self._all_of, i, n_rows, what))

    def _all_of(self, number, expected, what):
        """The chunks of a part, or an error if it has not as many rows as it had."""
        n_rows, where = 0, self._name()
        for chunk in self._read(int(number), what):
            where = chunk.where
            n_rows += len(chunk)
            yield chunk
        if n_rows != expected:
            raise ValueError(
                f"{where}: {n_rows} rows were read, there were {expected} when the "
                "source was made: it has changed since"
            )

    @staticmethod
    def _slices(n_rows, step):
        """Starts and ends of slices of `step` rows."""
        return pairwise([*range(0, n_rows, step), n_rows])


def _checked_target(y):
    if y is None:
        raise ValueError("there is no target, which fit needs")
    y = np.asarray(y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim not in (1, 2):
        raise ValueError(f"the target must have one or two dimensions, it has {y.ndim}")
    if y.dtype.kind == "O":
        y = _labels(y)
    if y.dtype.kind not in "fiubU":
        raise ValueError(f"the target must be numbers or text, its dtype is {y.dtype}")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        count = int((~np.isfinite(y)).sum())
        what = "missing values (NaN)" if np.isnan(y).any() else "infinite values"
        raise ValueError(f"the target has {count} {what}. Leave these rows out")
    return y


def _labels(y):
    """Objects as an array of text or numbers."""
    missing = sum(value is None or value != value for value in y.ravel().tolist())
    if missing:
        raise ValueError(f"the target has {missing} missing values. Leave them out")
    kinds = {type(value) for value in y.ravel().tolist()}
    if all(issubclass(kind, str) for kind in kinds):
        return y.astype(str)
    plain = np.array(y.tolist())
    if plain.dtype.kind not in "fiubU" or len({issubclass(k, str) for k in kinds}) > 1:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise ValueError(f"the target has values of these types: {names}")
    return plain


def _checked_weights(weights, n_rows):
    weights = np.asarray(weights)
    if weights.ndim == 2 and weights.shape[1] == 1:
        weights = weights[:, 0]
    if weights.dtype.kind not in "fiub":
        raise ValueError(f"sample_weight must be numbers, it has {weights.dtype}")
    if weights.shape != (n_rows,):
        raise ValueError(
            f"sample_weight has the shape {weights.shape}, X has {n_rows} rows"
        )
    weights = weights.astype(np.float64, copy=False)
    if not np.isfinite(weights).all():
        raise ValueError("sample_weight has values that are missing or infinite")
    return weights
