"""Dask collections: their partitions as delayed values, and predictions as collections.

Data frames are only looked at if dask's are imported: arrays need no pandas.
"""

import sys
from functools import partial
from itertools import pairwise

import dask.array as da
import numpy as np
from dask.base import is_dask_collection
from dask.delayed import delayed
from scipy import sparse

__all__ = ["by_partition", "computed", "is_collection", "partitions_of", "shards_of"]


def is_collection(data):
    """Whether it is a dask array, data frame or series."""
    return isinstance(data, da.Array) or is_frame(data)


def is_frame(data):
    """Whether it is a dask data frame or series."""
    frames = sys.modules.get("dask.dataframe")
    return frames is not None and isinstance(data, (frames.DataFrame, frames.Series))


def computed(data):
    """What a collection holds; what is none, as it is."""
    return data.compute() if is_dask_collection(data) else data


def _blocks(data, name):
    """A dask array with all of its columns in each block, or a data frame."""
    if not is_collection(data):
        raise TypeError(
            f"{name} must be a dask array or data frame, not {type(data).__name__}: "
            f"dask.array.from_array({name}, chunks=...) or "
            f"dask.dataframe.from_pandas({name}, npartitions=...) makes one"
        )
    if isinstance(data, da.Array) and data.ndim > 1 and data.numblocks[1] > 1:
        data = data.rechunk({1: -1})
    return data


def partitions_of(X, y, sample_weight=None):
    """Tuples of delayed (X, y, sample_weight), one for each partition.

    Parameters
    ----------
    X : dask array or data frame
    y : dask array, series or data frame
    sample_weight : dask array, series or None

    Raises
    ------
    TypeError
        If one of them is not a collection.
    ValueError
        If they have different numbers of rows or partitions.
    """
    X = _blocks(X, "X")
    parts = [_delayed_parts(X)]
    for name, data in (("y", y), ("sample_weight", sample_weight)):
        if data is None and name == "sample_weight":
            parts.append([None] * len(parts[0]))
            continue
        data = _blocks(data, name)
        if isinstance(data, da.Array) and isinstance(X, da.Array):
            data = _in_chunks_of(X, data, name)
        parts.append(_delayed_parts(data))
        if len(parts[-1]) != len(parts[0]):
            raise ValueError(
                f"X has {len(parts[0])} partitions, and {name} has {len(parts[-1])}: "
                "repartition, or rechunk, one of them"
            )
    return [*zip(*parts, strict=True)]


def _in_chunks_of(X, data, name):
    """An array with as many rows in each chunk as X, if these are known."""
    if np.isnan([*X.chunks[0], *data.chunks[0]]).any():
        return data
    if data.shape[0] != X.shape[0]:
        raise ValueError(f"X has {X.shape[0]} rows, and {name} has {data.shape[0]}")
    return data.rechunk({0: X.chunks[0]})


def _delayed_parts(data):
    return [*np.ravel(data.to_delayed())]


def shards_of(partitions, n_shards=None):
    """Delayed (X, y, sample_weight) of shards: each of one partition, or of neighbours.

    Parameters
    ----------
    partitions : list of tuple
        From `partitions_of`.
    n_shards : int, default=None
        How many there are at most; None for one of each partition.
    """
    n = min(n_shards or len(partitions), len(partitions))
    ends = np.arange(n + 1) * len(partitions) // n
    return [
        delayed(_joined_columns)([*zip(*partitions[a:b], strict=True)])
        for a, b in pairwise(ends)
    ]


def _joined_columns(columns):
    X, y, sample_weight = (joined(list(parts)) for parts in columns)
    return X, np.asarray(y), None if sample_weight is None else np.ravel(sample_weight)


def joined(parts):
    """Several arrays, data frames or sparse matrices as one; None for several None."""
    first = parts[0]
    if first is None or len(parts) == 1:
        return first
    if any(sparse.issparse(part) for part in parts):
        return sparse.vstack(parts, format="csr")
    if hasattr(first, "iloc"):
        # dask's, for it unites the levels of categories
        from dask.dataframe.dispatch import concat

        return concat(parts)
    return np.concatenate(parts)


def by_partition(function, X, example):
    """What a function gives for each partition of X, not computed yet.

    Parameters
    ----------
    function : callable
        From a partition to an array.
    X : dask array or data frame
    example : ndarray or pandas.Series or pandas.DataFrame
        A result without rows. Of a data frame, names of columns are those of results.

    Returns
    -------
    dask array, or of a data frame a series or data frame
    """
    X = _blocks(X, "X")
    if is_frame(X):
        return X.map_partitions(partial(_labelled, function, example), meta=example)
    how = {"dtype": example.dtype, "meta": example}
    if example.ndim == 1:
        return X.map_blocks(function, drop_axis=1, **how)
    return X.map_blocks(function, chunks=(X.chunks[0], example.shape[1:]), **how)


def _labelled(function, example, part):
    """The result for a partition that is a data frame, as the example is."""
    names = {} if example.ndim == 1 else {"columns": example.columns}
    return type(example)(function(part), index=part.index, **names)
