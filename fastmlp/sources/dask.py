"""Collections of dask as sources: each partition is computed when it is read."""

import numpy as np

from fastmlp.data.inputs import numbers_only
from fastmlp.sources.arrays import dtype_of
from fastmlp.sources.source import Table, located

__all__ = ["from_dask"]


def from_dask(
    data, target=None, *, columns=None, sample_weight=None, shuffle_buffer=100_000,
    dtype=None,
):  # fmt: skip
    """Rows of a data frame or an array of dask.

    Partitions are computed one after the other, by the scheduler that is set in dask.

    Parameters
    ----------
    data : dask.dataframe.DataFrame or dask.array.Array
        A frame with the columns of X and the target; or X, in blocks of rows.
    target : str, dask.array.Array or dask.dataframe.Series, default=None
        The column of a frame; for an array, y in blocks of the same rows. None for a
        source to predict.
    columns : sequence of str, default=None
        Columns of X, of a frame. None for all others.
    sample_weight : str, dask.array.Array or dask.dataframe.Series, default=None
        The column of the weights; for an array, the weights.
    shuffle_buffer : int, default=100_000
        Rows that are in memory, and shuffled, together. Partitions are read in random
        order until so many rows are there.
    dtype : {"float32", "float64"}, default=None
        Of X in memory. None for float32 if all of X has that, else float64.

    Returns
    -------
    fastmlp.sources.Source
        To be given to `fit` instead of X and y. Partitions whose sizes dask does not
        know are counted, which computes them once.

    Raises
    ------
    ValueError
        If a column is missing, or if blocks do not match.
    """
    how = {"shuffle_buffer": shuffle_buffer, "dtype": dtype}
    if hasattr(data, "partitions") and hasattr(data, "columns"):
        return _Frame(data, target, columns, sample_weight, **how)
    if columns is not None:
        raise ValueError("columns are for a frame; X is an array")
    return _Blocks(data, target, sample_weight, **how)


class _Frame(Table):
    def __init__(self, frame, target, columns, weight, shuffle_buffer, dtype):
        others = [name for name in (target, weight) if name is not None]
        known = [*frame.columns]
        if columns is None:
            columns = [name for name in known if name not in others]
        missing = [name for name in (*columns, *others) if name not in known]
        if missing:
            raise ValueError(f"the frame has no columns {missing}, it has {known}")
        if not columns:
            raise ValueError(f"the frame has no columns besides {others}")
        self._columns_of_X, self._target, self._weight = [*columns], target, weight
        types = [getattr(frame.dtypes[name], "name", None) for name in columns]
        found = [np.float32 if name == "float32" else None for name in types]
        super().__init__(
            shuffle_buffer,
            n_features=len(columns),
            feature_names=[str(name) for name in columns],
            dtype=dtype_of(dtype, *found),
        )
        self.has_targets = target is not None
        self._frame = frame[[*columns, *others]]
        self._set_rows([*frame.map_partitions(len, meta=("n", int)).compute()])
        self.identity = ("dask", self._starts, self.feature_names, others)

    def _name(self):
        return "from_dask(a frame)"

    def _read(self, number, what):
        where = f"partition {number} of the frame"
        others = (self._target, self._weight) if "y" in what else (None, None)
        names = [] if what == "y" else [*self._columns_of_X]
        names += [name for name in others if name is not None]
        part = self._frame.partitions[number][names].compute()
        X = None
        with located(where):
            if "X" in what:
                frame = numbers_only(part[self._columns_of_X])
                X = frame.to_numpy(dtype=self.dtype, na_value=np.nan)
            elif "T" in what:
                X = part[self._columns_of_X]
            y, weights = (
                None if name is None else part[name].to_numpy() for name in others
            )
        yield self._checked(X, y, weights, where, what)


class _Blocks(Table):
    def __init__(self, X, y, weights, shuffle_buffer, dtype):
        if not (hasattr(X, "blocks") and getattr(X, "ndim", 0) == 2):
            raise ValueError(
                "from_dask takes a frame or an array of dask of two dimensions, got "
                f"{type(X).__name__}"
            )
        if X.numblocks[1] != 1:
            X = X.rechunk({1: -1})
        self._arrays = [X]
        for name, array in (("target", y), ("sample_weight", weights)):
            if array is not None and hasattr(array, "to_dask_array"):
                array = array.to_dask_array()
            if array is not None and not hasattr(array, "blocks"):
                raise ValueError(f"{name} must be an array of dask, like X")
            self._arrays.append(array)
        if any(np.isnan(size) for size in X.chunks[0]):
            sizes = [len(X.blocks[i].compute()) for i in range(X.numblocks[0])]
        else:
            sizes = [*X.chunks[0]]
        for name, array in zip(("target", "sample_weight"), self._arrays[1:],
                               strict=True):  # fmt: skip
            if array is None:
                continue
            own = array.chunks[0]
            differ = [a != b for a, b in zip(own, sizes, strict=False) if a == a]
            if len(own) != len(sizes) or any(differ):
                raise ValueError(
                    f"{name} has blocks of {own} rows, X of {tuple(sizes)}: rechunk it"
                )
        super().__init__(
            shuffle_buffer, n_features=int(X.shape[1]), dtype=dtype_of(dtype, X.dtype)
        )
        self.has_targets = y is not None
        self._set_rows(sizes)
        self.identity = ("dask", self._starts, self.n_features, str(X.dtype))

    def _name(self):
        return "from_dask(an array)"

    def _read(self, number, what):
        where = f"block {number} of the array"
        X, *others = (
            None if array is None else array.blocks[number] for array in self._arrays
        )
        X = None if what == "y" else X.compute()
        others = (
            array.compute() if "y" in what and array is not None else None
            for array in others
        )
        yield self._checked(X, *others, where, what)
