"""Sources of arrays on disk, and of what a function gives."""

import os
from functools import partial

import numpy as np

from fastmlp.sources.source import Part, Source, Table, located, rows_at_once

__all__ = ["from_batches", "from_npy"]


def from_npy(
    X, y=None, sample_weight=None, *, shuffle_buffer=100_000, chunk_rows=None,
    dtype=None,
):  # fmt: skip
    """Rows of arrays that are on disk.

    Parameters
    ----------
    X : path or array-like of shape (n_samples, n_features)
        The path of an .npy file, which is mapped into memory; or what has a shape and a
        dtype and gives rows when it is sliced, such as an array of zarr or a data set
        of h5py.
    y : path or array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
        The target. None for a source to predict.
    sample_weight : path or array-like of shape (n_samples,), default=None
        Weights of the samples.
    shuffle_buffer : int, default=100_000
        Rows that are in memory, and shuffled, together.
    chunk_rows : int, default=None
        Rows that are read together, and in the order of the file. None for the chunks
        that the array itself has, or else for a fiftieth of the buffer.
    dtype : {"float32", "float64"}, default=None
        Of X in memory. None for float32 if X has that, else float64.

    Returns
    -------
    fastmlp.sources.Source
        To be given to `fit` instead of X and y.

    Raises
    ------
    ValueError
        If the files cannot be read, or if the numbers of rows differ.
    """
    return _Arrays(X, y, sample_weight, shuffle_buffer, chunk_rows, dtype)


def from_batches(batches, *, shuffle_buffer=100_000, feature_names=None, dtype=None):
    """Rows that a function gives, such as those of a database or a simulation.

    Parameters
    ----------
    batches : callable
        Each call gives an iterator of (X, y) or (X, y, sample_weight), with as many
        rows in each as it likes: one call is one epoch. The first call is only looked
        at: it counts the rows and finds the classes. A call for the next epoch may
        begin before an epoch is over. X may be sparse.
    shuffle_buffer : int, default=100_000
        Rows that are in memory, and shuffled, together. They are taken in the order in
        which they come.
    feature_names : sequence of str, default=None
        Names of the columns of X.
    dtype : {"float32", "float64"}, default=None
        Of X in memory. None for float32 if all X have that, else float64.

    Returns
    -------
    fastmlp.sources.Source
        To be given to `fit` instead of X and y.
    """
    if not callable(batches):
        raise TypeError(
            "from_batches takes a function that gives a new iterator for each epoch, "
            f"got {type(batches).__name__}: from_batches(lambda: my_batches())"
        )
    return _Batches(batches, shuffle_buffer, feature_names, dtype)


def dtype_of(wanted, *found):
    """The dtype of X in memory: the one that is wanted, or else one that holds it."""
    if wanted is not None:
        if wanted not in ("float32", "float64", np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64, got {wanted!r}")
        return np.dtype(wanted)
    is_single = all(dtype == np.float32 for dtype in found)
    return np.dtype(np.float32 if is_single else np.float64)


def _opened(array, name):
    """(array, what it is called in messages)."""
    if not isinstance(array, str | os.PathLike):
        if not (hasattr(array, "shape") and hasattr(array, "dtype")):
            array = np.asarray(array)
        return array, name
    path = os.fspath(array)
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False), repr(path)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path!r} cannot be read as an .npy file ({error})") from None


class _Arrays(Table):
    def __init__(self, X, y, sample_weight, shuffle_buffer, chunk_rows, dtype):
        self._X, self._where = _opened(X, "X")
        if len(self._X.shape) != 2:
            raise ValueError(
                f"{self._where} must have two dimensions, its shape is {self._X.shape}"
            )
        n_rows, n_features = map(int, self._X.shape)
        self._others = []
        for array, name in ((y, "y"), (sample_weight, "sample_weight")):
            array, where = (None, name) if array is None else _opened(array, name)
            if array is not None and array.shape[0] != n_rows:
                raise ValueError(
                    f"{self._where} has {n_rows} rows, {where} has {array.shape[0]}"
                )
            self._others.append((array, where))
        super().__init__(
            shuffle_buffer,
            n_features=n_features,
            dtype=dtype_of(dtype, self._X.dtype),
        )
        self.has_targets = y is not None
        if chunk_rows is None:
            own = getattr(self._X, "chunks", None)
            chunk_rows = own[0] if own else max(1, self.shuffle_buffer // 50)
        self._chunk_rows = int(chunk_rows)
        starts = range(0, n_rows, self._chunk_rows)
        self._set_rows([min(self._chunk_rows, n_rows - start) for start in starts])
        self._step = rows_at_once(n_features, self.dtype.itemsize)
        self.identity = ("npy", n_rows, n_features, str(self._X.dtype))

    def _name(self):
        return f"from_npy({self._where})"

    def _read(self, number, what):
        first = int(self._starts[number])
        n_rows = int(self._starts[number + 1]) - first
        for start, end in self._slices(n_rows, self._step):
            rows = slice(first + start, first + end)
            where = f"rows {rows.start} to {rows.stop - 1} of {self._where}"
            with located(where):
                X = None if what == "y" else np.asarray(self._X[rows])
                others = (
                    np.asarray(a[rows]) if "y" in what and a is not None else None
                    for a, _ in self._others
                )
                chunk = self._checked(X, *others, where, what)
            yield chunk


class _Batches(Source):
    repeats = False

    def __init__(self, batches, shuffle_buffer, feature_names, dtype):
        names = None if feature_names is None else [str(name) for name in feature_names]
        super().__init__(
            shuffle_buffer,
            n_features=None if names is None else len(names),
            feature_names=names,
            dtype=None if dtype is None else dtype_of(dtype),
        )
        self._batches = batches
        self.identity = ("batches", names)

    def _name(self):
        return f"from_batches({getattr(self._batches, '__qualname__', self._batches)})"

    def _made(self):
        """The batches of a call; what goes wrong in it, with a note of where."""
        n_batches = 0
        try:
            for batch in self._batches():
                yield batch
                n_batches += 1
        except Exception as error:
            error.add_note(f"raised by {self._name()}, behind {n_batches} batches")
            raise

    def parts(self, order=None, what="Xy"):
        first = 0
        for number, batch in enumerate(self._made()):
            where = f"batch {number} of {self._name()}"
            with located(where):
                if what in ("X", "T") and not isinstance(batch, tuple | list):
                    batch = batch, None
                if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
                    raise ValueError(
                        "each batch must be (X, y) or (X, y, sample_weight), got "
                        f"{type(batch).__name__}"
                    )
                X, y, weights = (*batch, None)[:3]
                chunk = self._checked(X, y, weights, where, what)
            if len(chunk):
                yield Part(first, len(chunk), partial(iter, (chunk,)))
                first += len(chunk)
