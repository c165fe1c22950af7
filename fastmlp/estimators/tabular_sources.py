"""Tables that are read from a source: encoded once, into a file that kernels read."""

import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from scipy.sparse import issparse

from fastmlp.sources.source import located

__all__ = ["EncodedSource", "encoded_source"]

#: Decides which parts of a source are looked at.
_SEED = 0


class EncodedSource:
    """The matrix of a table, its targets and weights.

    Attributes
    ----------
    columns : fastmlp.data.columns.Columns
    Z : ndarray of shape (n_rows, n_encoded), float32
        In memory or, if it is larger than the buffer, in a file that is mapped.
    y : ndarray
    sample_weight : ndarray or None
    """

    def __init__(self, columns, Z, y, sample_weight):
        self.columns, self.Z = columns, Z
        self.y, self.sample_weight = y, sample_weight


@contextmanager
def encoded_source(source, columns, *, fits=True):
    """Context manager: the `EncodedSource` of a source, whose file is there until then.

    Parameters
    ----------
    source : fastmlp.sources.source.Source
    columns : fastmlp.data.columns.Columns
    fits : bool, default=True
        Whether to fit them first: to as many rows of the source as its buffer holds, of
        parts in random order.
    """
    if fits:
        columns.fit(_some_rows(source))
    with tempfile.TemporaryDirectory(prefix="fastmlp-") as folder:
        path = Path(folder) / "Z"
        ys, weights, n_rows = [], [], 0
        with open(path, "wb") as file:
            for chunk in source.chunks("Ty"):
                with located(chunk.where):
                    Z = columns.transform(chunk.X)
                Z.tofile(file)
                ys.append(chunk.y)
                weights.append(chunk.sample_weight)
                n_rows += len(Z)
        if not n_rows:
            raise ValueError(f"{source!r} has no rows")
        shape = n_rows, len(columns.kinds_)
        if n_rows <= source.shuffle_buffer:
            Z = np.fromfile(path, np.float32).reshape(shape)
        else:
            Z = np.asarray(np.memmap(path, np.float32, "r", shape=shape))
        joined = None if weights[0] is None else np.concatenate(weights)
        encoded = EncodedSource(columns, Z, np.concatenate(ys), joined)
        del Z
        try:
            yield encoded
        finally:
            del encoded.Z  # before the file, which some systems keep until then


def _some_rows(source):
    """A table of some rows of a source."""
    order = None  # of all rows their own
    if source.n_parts is not None and not source.fits_buffer:
        order = np.random.default_rng(_SEED).permutation(source.n_parts)
    tables, n_rows = [], 0
    for part in source.parts(order, "T"):
        for chunk in part.read():
            table = chunk.X[: source.shuffle_buffer - n_rows]
            tables.append(table)
            n_rows += table.shape[0]
            if n_rows >= source.shuffle_buffer:
                return _stacked(tables)
    if not tables:
        raise ValueError(f"{source!r} has no rows")
    return _stacked(tables)


def _stacked(tables):
    if len(tables) == 1 or isinstance(tables[0], np.ndarray):
        return np.concatenate(tables) if len(tables) > 1 else tables[0]
    if issparse(tables[0]):
        raise ValueError("TabularMLP* take no sparse rows of a source")
    import pandas

    return pandas.concat(tables, ignore_index=True)
