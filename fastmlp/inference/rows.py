"""What a predictor reads: one row of cells, or a table, in numbers and codes."""

import math
import warnings
from itertools import chain
from operator import itemgetter

import numpy as np
from scipy.linalg.blas import ddot

from fastmlp.data.cells import (
    DATES,
    DURATIONS,
    FLAGS,
    MISSING,
    TEXT,
    is_missing,
    kind_of_type,
    number_of,
)
from fastmlp.data.frames import refuse_infinity, said, wrong_type

__all__ = ["Lookup", "Row", "Rows", "Table", "is_finite", "picker"]


def is_finite(X):
    """Whether all numbers are finite; it may say no where they are very large."""
    numbers = X.ravel()
    return math.isfinite(ddot(numbers, numbers))


def picker(places):
    """A function that takes a sequence, and gives the tuple of its items there."""
    if len(places) == 1:
        return itemgetter(slice(places[0], places[0] + 1))
    return itemgetter(*places)


class Lookup(dict):
    """The code of each category that a column may have.

    Parameters
    ----------
    codes : dict
        Of the categories.
    unknown : int or None
        The code of others; None makes them an error.
    missing : int or None
        The code of a cell that is missing.
    name : str or int
        Of the column, for messages.
    step : str
        What looks them up, for messages.
    warns : bool, default=False
        Whether there is a warning of others.
    """

    def __init__(self, codes, unknown, missing, name, step, warns=False):
        super().__init__(codes)
        self.unknown, self.missing = unknown, missing
        self.name, self.step, self.warns = name, step, warns

    def __missing__(self, cell):
        if is_missing(cell):
            if self.missing is None:
                raise ValueError(
                    f"{said(self.name)} is missing, and {self.step} has no category "
                    "for that. Put a SimpleImputer before it, or fit the pipeline on "
                    "data with missing values."
                )
            return self.missing
        if isinstance(cell, float):
            refuse_infinity(self.name, [cell])
        if self.unknown is None:
            known = ", ".join(map(repr, list(self)[:5]))
            raise ValueError(
                f"{said(self.name)} has the category {cell!r}, which {self.step} does "
                f"not know: it has {known}{', ...' if len(self) > 5 else ''}. An "
                "encoder with handle_unknown='ignore' takes others, too."
            )
        if self.warns:
            warnings.warn(
                f"{said(self.name)} has the category {cell!r}, which {self.step} does "
                "not know.",
                stacklevel=2,
            )
        return self.unknown


class MissingLookup(dict):
    """The codes of whether a cell is missing.

    Parameters
    ----------
    lookup : Lookup
        Of True and False.
    """

    def __init__(self, lookup):
        super().__init__()
        self._lookup = lookup

    def __missing__(self, cell):
        return self._lookup[is_missing(cell)]


def _number(cell, name):
    """A cell where the pipeline takes a number."""
    kind = kind_of_type(type(cell))
    if kind is None:
        raise wrong_type(name, type(cell))
    if kind == TEXT:
        try:
            return float(cell)
        except (TypeError, ValueError):
            raise _no_number(name, kind, cell) from None
    if kind in (DATES, DURATIONS) and not is_missing(cell):
        raise _no_number(name, kind, cell)
    return number_of(cell)


def _no_number(name, kind, cell):
    return ValueError(
        f"{said(name)} has {kind} (such as {cell!r}) where the pipeline takes numbers"
    )


class Row:
    """One row.

    Parameters
    ----------
    cells : list, tuple, or ndarray of float32 or float64
    names : sequence
        Of all columns.
    """

    is_row, n_rows = True, 1

    def __init__(self, cells, names):
        self.cells, self.names = cells, names

    def numbers(self, columns, pick, together):
        """Some columns as a new array of shape (1, n_columns), NaN where missing."""
        if isinstance(self.cells, np.ndarray):
            X = self.cells.take(columns)[np.newaxis]
            if not is_finite(X):
                _refuse_infinity(X, columns, self.names)
            return X
        cells = pick(self.cells)
        try:
            X = np.fromiter(map(float, cells), np.float64, len(cells))[np.newaxis]
        except (TypeError, ValueError, OverflowError):
            X = _as_numbers([self.cells], columns, self.names)
        if not is_finite(X):
            _refuse_infinity(X, columns, self.names)
        return X

    def codes(self, columns, lookups):
        """The code of the cell of each column."""
        cells = self.cells
        try:
            return [lookup[cells[j]] for j, lookup in zip(columns, lookups)]  # noqa: B905
        except TypeError:
            _refuse_types([cells], columns, self.names)
            raise

    def is_missing(self, j):
        """Whether a cell is, as an array of shape (1,)."""
        return np.array([is_missing(self.cells[j])])


class Rows:
    """Several rows.

    Parameters
    ----------
    cells : sequence of list or tuple
    names : sequence
        Of all columns.
    """

    is_row = False

    def __init__(self, cells, names):
        self.cells, self.names, self.n_rows = cells, names, len(cells)

    def numbers(self, columns, pick, together):
        """Some columns as a new array of shape (n_rows, n_columns), NaN if missing."""
        shape = self.n_rows, len(columns)
        cells = chain.from_iterable(map(pick, self.cells))
        try:
            X = np.fromiter(map(float, cells), np.float64, math.prod(shape))
        except (TypeError, ValueError, OverflowError):
            X = _as_numbers(self.cells, columns, self.names)
        X = X.reshape(shape)
        if not is_finite(X):
            _refuse_infinity(X, columns, self.names)
        return X

    def codes(self, columns, lookups):
        """The codes of the cells of each column, as arrays of shape (n_rows,)."""
        try:
            return [
                np.array([lookup[row[j]] for row in self.cells], np.intp)
                for j, lookup in zip(columns, lookups, strict=True)
            ]
        except TypeError:
            _refuse_types(self.cells, columns, self.names)
            raise

    def is_missing(self, j):
        """Whether each cell of a column is, as an array of shape (n_rows,)."""
        return np.array([is_missing(row[j]) for row in self.cells])


def _as_numbers(rows, columns, names):
    """Some columns of rows of cells that are not all Python's numbers."""
    return np.array([[_number(row[j], names[j]) for j in columns] for row in rows])


def _refuse_infinity(X, columns, names):
    for k, j in enumerate(columns):
        refuse_infinity(names[j], X[:, k])


def _refuse_types(rows, columns, names):
    for row in rows:
        for j in columns:
            if kind_of_type(type(row[j])) is None:
                raise wrong_type(names[j], type(row[j])) from None


class Table:
    """An array, a data frame or a sparse matrix.

    Parameters
    ----------
    X : table
        What `fastmlp.data.frames.read` gives.
    places : sequence of int
        Where each column is in it.
    names : sequence
        Of all columns.
    """

    is_row = False

    def __init__(self, X, places, names):
        self.X, self.places, self.names = X, places, names
        self.n_rows = X.shape[0]

    def _column(self, j):
        return self.X.column(self.places[j], self.names[j])

    def numbers(self, columns, pick, together):
        """Some columns as a new array of shape (n_rows, n_columns), NaN if missing."""
        if self.X.dtype is not None:
            X = self.X.rows(slice(None))[:, [self.places[j] for j in columns]]
            dtype = X.dtype
        else:
            present = [j for j in together if self.places[j] is not None]
            numbers = {j: self._numbers_of(j) for j in present}
            X = np.column_stack([numbers[j] for j in columns])
            dtype = np.result_type(*numbers.values())
        X = X.astype(np.float32 if dtype == np.float32 else np.float64, copy=False)
        if not is_finite(X):
            _refuse_infinity(X, columns, self.names)
        return X

    def _numbers_of(self, j):
        column, name = self._column(j), self.names[j]
        if column.kind == TEXT:
            numbers = [_number(level, name) for level in column.levels]
            return np.array([*numbers, np.nan])[column.values]
        if column.kind in (DATES, DURATIONS) and not np.isnan(column.values).all():
            example = column.values[~np.isnan(column.values)][0]
            dtype = "M8[us]" if column.kind == DATES else "m8[us]"
            raise _no_number(name, column.kind, str(np.int64(example).astype(dtype)))
        return column.values

    def codes(self, columns, lookups):
        """The codes of the cells of each column, as arrays of shape (n_rows,)."""
        pairs = zip(columns, lookups, strict=True)
        return [self._codes_of(j, lookup) for j, lookup in pairs]

    def _codes_of(self, j, lookup):
        column = self._column(j)
        if column.kind == TEXT:
            codes = [lookup[level] for level in column.levels]
            if (column.values < 0).any():
                codes.append(lookup[None])
            return np.array(codes, np.intp)[column.values]
        if column.kind in (DATES, DURATIONS):
            raise ValueError(f"{said(self.names[j])} has {column.kind}")
        return codes_of_numbers(column.values, lookup)

    def is_missing(self, j):
        """Whether each cell of a column is, as an array of shape (n_rows,)."""
        column = self._column(j)
        if column.kind == TEXT:
            return column.values < 0
        if column.kind in (FLAGS, MISSING) or column.values.dtype.kind == "f":
            return np.isnan(column.values)
        return np.zeros(self.n_rows, bool)


def codes_of_numbers(numbers, lookup):
    """The codes of numbers as categories, in an array of shape (n_rows,)."""
    return np.fromiter(map(lookup.__getitem__, numbers.tolist()), np.intp, len(numbers))
