"""What pipelines do to columns, without the checks of each step.

A step is called with a `Row` or a `Table`, and gives a new array of shape
(n_rows, n_features), which the next one may write to. Arithmetic is in the order and
the precision of scikit-learn's.

Attributes of all of them: `origins`, for each feature the columns of X that it is made
of; `is_sparse`, whether scikit-learn has a sparse matrix there (it then multiplies by
the reciprocals of scales).
"""

from itertools import groupby
from typing import NamedTuple

import numpy as np

from fastmlp.data.cells import is_missing
from fastmlp.inference.rows import codes_of_numbers, is_finite, picker

__all__ = [
    "Bins",
    "Cell",
    "Cells",
    "Elementwise",
    "Imputed",
    "Indicated",
    "Join",
    "Linear",
    "Missing",
    "Mixed",
    "Numbers",
    "OfColumns",
    "OneHot",
    "Selected",
    "Values",
    "joined",
]


class Cell(NamedTuple):
    """A column of X as it is, for steps that take categories.

    Attributes
    ----------
    column : int
    fills : tuple of (missing, value)
        What stands for what, one replacement after the other.
    tells_missing : bool
        Instead, whether the cell is missing.
    """

    column: int
    fills: tuple = ()
    tells_missing: bool = False


class _Step:
    """What has features to take some of."""

    is_sparse = False

    def select(self, indices):
        """Some of the features, as a step."""
        return Selected(self, indices)

    def numbers(self):
        """The step that makes an array."""
        return self


class Cells:
    """Columns of X before any step has made numbers of them.

    Parameters
    ----------
    cells : sequence of Cell
    """

    is_sparse = False

    def __init__(self, cells):
        self.cells = tuple(cells)
        self.origins = [(cell.column,) for cell in self.cells]

    def select(self, indices):
        """Some of the columns."""
        return Cells(self.cells[i] for i in indices)

    def numbers(self):
        """The step that makes an array of them."""
        parts = [
            Missing([cell.column for cell in run])
            if tells_missing
            else Cells(run)._plain_numbers()
            for tells_missing, run in groupby(self.cells, lambda c: c.tells_missing)
        ]
        return parts[0] if len(parts) == 1 else Join(parts)

    def _plain_numbers(self):
        step = Numbers([cell.column for cell in self.cells])
        for k in range(max((len(cell.fills) for cell in self.cells), default=0)):
            pairs = [
                cell.fills[k] if k < len(cell.fills) else (None, np.nan)
                for cell in self.cells
            ]
            for missing in {_as_number(missing) for missing, _ in pairs}:
                values = [
                    value if _as_number(empty) in {missing} else np.nan
                    for empty, value in pairs
                ]
                step = Imputed(step, np.array(values, np.float64), missing)
        return step


def _as_number(missing):
    """What stands for a missing number, the NaN that is `np.nan` for all NaN."""
    return np.nan if is_missing(missing) else missing


class Mixed:
    """Columns of several kinds, before a step takes them together.

    Parameters
    ----------
    parts : sequence of steps
    is_sparse : bool
    """

    def __init__(self, parts, is_sparse=False):
        self.parts, self.is_sparse = parts, is_sparse
        self.origins = [origin for part in parts for origin in part.origins]
        self._places = [(part, i) for part in parts for i in range(len(part.origins))]

    def select(self, indices):
        """Some of the features; those of one part stay of its kind."""
        if not any(isinstance(part, Cells) for part in self.parts):
            return Selected(self.numbers(), indices)  # in the dtype of all together
        runs = []
        for index in indices:
            part, i = self._places[index]
            if runs and runs[-1][0] is part:
                runs[-1][1].append(i)
            else:
                runs.append((part, [i]))
        return joined([part.select(some) for part, some in runs], self.is_sparse)

    def numbers(self):
        """The step that makes one array."""
        return Join([part.numbers() for part in self.parts], self.is_sparse)


def joined(parts, is_sparse=False):
    """Steps beside each other, as one; `is_sparse` says what they are together."""
    parts = [
        each
        for part in parts
        for each in (part.parts if isinstance(part, Mixed) else [part])
        if each.origins or isinstance(each, OneHot)  # which gives a dtype, and errors
    ]
    if len(parts) == 1 and parts[0].is_sparse == is_sparse:
        return parts[0]
    if parts and all(isinstance(part, Cells) for part in parts):
        return Cells(cell for part in parts for cell in part.cells)
    return Mixed(parts, is_sparse)


class Numbers(_Step):
    """Columns of X as numbers, infinite ones refused.

    Parameters
    ----------
    columns : list of int
    together : list of int, default=None
        Columns that scikit-learn makes one array of, which gives the dtype.
    """

    def __init__(self, columns, together=None):
        self.columns, self.together = columns, together or columns
        self.origins = [(j,) for j in columns]
        self._pick = picker(columns)

    def __call__(self, data):
        return data.numbers(self.columns, self._pick, self.together)

    def select(self, indices):
        return Numbers([self.columns[i] for i in indices], self.together)


class Missing(_Step):
    """Whether cells of columns of X are missing: 1 or 0."""

    def __init__(self, columns):
        self.columns = columns
        self.origins = [(j,) for j in columns]

    def __call__(self, data):
        columns = [data.is_missing(j) for j in self.columns]
        return np.column_stack(columns).astype(np.float64)

    def select(self, indices):
        return Missing([self.columns[i] for i in indices])


class Selected(_Step):
    """Some of the features."""

    def __init__(self, source, indices):
        self.source, self.indices = source, np.array(indices, np.intp)
        self.origins = [source.origins[i] for i in indices]
        self.is_sparse = source.is_sparse

    def __call__(self, data):
        return self.source(data)[:, self.indices]


class Elementwise(_Step):
    """Functions of each number, one after the other.

    Parameters
    ----------
    source : step
    operations : sequence of (ufunc, constants, casts)
        Of constants, one for each feature or None, and whether they are first cast to
        the dtype of the numbers.
    """

    def __init__(self, source, operations):
        if isinstance(source, Elementwise):
            source, operations = source.source, [*source.operations, *operations]
        self.source, self.operations = source, list(operations)
        self.origins, self.is_sparse = source.origins, source.is_sparse
        self._of_dtype = {
            np.dtype(dtype): [
                (function, *_cast(constants, dtype if casts else None))
                for function, constants, casts in self.operations
            ]
            for dtype in (np.float32, np.float64)
        }

    def __call__(self, data):
        X = self.source(data)
        operations = self._of_dtype.get(X.dtype)
        if operations is None:
            X = X.astype(np.float64)
            operations = self._of_dtype[X.dtype]
        for function, *constants in operations:
            function(X, *constants, out=X)
        return X

    def select(self, indices):
        operations = [
            (function, None if constants is None else constants[indices], casts)
            for function, constants, casts in self.operations
        ]
        return Elementwise(self.source.select(indices), operations)


class OfColumns(_Step):
    """Functions of each number, in the dtype of its column of a data frame.

    Parameters
    ----------
    cells : Cells
    functions : tuple of ufunc
    """

    def __init__(self, cells, functions):
        self.cells, self.functions = cells, functions
        self.origins = cells.origins
        every = range(len(self.origins))
        operations = [(function, None, False) for function in functions]
        self._together = Elementwise(cells.numbers(), operations)
        self._each = Join(
            [Elementwise(cells.select([i]).numbers(), operations) for i in every]
        )

    def __call__(self, data):
        is_of_one_dtype = data.is_row or data.X.dtype is not None
        return (self._together if is_of_one_dtype else self._each)(data)


def _cast(constants, dtype):
    if constants is None:
        return ()
    if dtype is not None:
        constants = constants.astype(dtype, copy=False)
    return (constants[np.newaxis],)  # for a row, NumPy is faster with equal shapes


def _floats(X):
    return X if X.dtype.kind == "f" else X.astype(np.float64)


class Imputed(_Step):
    """What is missing, filled in.

    Parameters
    ----------
    source : step
    statistics : ndarray of shape (n_features,)
        NaN where nothing is filled in.
    missing : number, default=NaN
        What stands for a number that is missing.
    """

    def __init__(self, source, statistics, missing=np.nan):
        self.source, self.statistics, self.missing = source, statistics, missing
        self._is_nan = bool(np.isnan(missing))
        self.origins, self.is_sparse = source.origins, source.is_sparse

    def __call__(self, data):
        X = _floats(self.source(data))
        if not np.isnan(self.missing):
            np.copyto(X, self.statistics, "same_kind", self.missing == X)
        elif not is_finite(X):
            np.copyto(X, self.statistics, "same_kind", np.isnan(X))
        return X

    def select(self, indices):
        source = self.source.select(indices)
        return Imputed(source, self.statistics[indices], self.missing)


class Indicated(_Step):
    """1 where a number is missing, else 0.

    Parameters
    ----------
    source : step
    missing : number
        What stands for a number that is missing.
    """

    def __init__(self, source, missing):
        self.source, self.missing = source, missing
        self.origins, self.is_sparse = source.origins, source.is_sparse

    def __call__(self, data):
        X = _floats(self.source(data))
        lacks = np.isnan(X) if np.isnan(self.missing) else self.missing == X
        return lacks.astype(X.dtype)

    def select(self, indices):
        return Indicated(self.source.select(indices), self.missing)


class Join(_Step):
    """Features of several steps beside each other."""

    def __init__(self, parts, is_sparse=False):
        self.parts, self.is_sparse = parts, is_sparse
        self.origins = [origin for part in parts for origin in part.origins]

    def __call__(self, data):
        return np.concatenate([part(data) for part in self.parts], axis=1)


class Linear(_Step):
    """Products with a matrix of shape (n_features, n_components)."""

    def __init__(self, source, matrix):
        self.source, self.matrix = source, matrix
        columns = tuple(sorted({j for origin in source.origins for j in origin}))
        self.origins = [columns] * matrix.shape[1]

    def __call__(self, data):
        return self.source(data) @ self.matrix


class _Coded(_Step):
    """What looks up categories.

    Parameters
    ----------
    source : Cells or step
    lookups : sequence of Lookup
        Of each column of the source.
    dtype : dtype or None
        Of the numbers that it makes, by default that of the source's.
    """

    def __init__(self, source, lookups, dtype):
        self.source, self.lookups = source, lookups
        self.dtype = None if dtype is None else np.dtype(dtype)
        self._columns = None
        if isinstance(source, Cells):
            self._columns = [cell.column for cell in source.cells]

    def _codes(self, data):
        """(codes, dtype): of each column an integer, or of several rows an array."""
        if self._columns is not None:
            return data.codes(self._columns, self.lookups), self.dtype
        X = self.source(data)
        dtype = self.dtype or X.dtype
        if data.is_row:
            pairs = zip(self.lookups, X[0].tolist(), strict=True)
            return [lookup[number] for lookup, number in pairs], dtype
        pairs = zip(X.T, self.lookups, strict=True)
        return [codes_of_numbers(numbers, lookup) for numbers, lookup in pairs], dtype


class OneHot(_Coded):
    """Ones at the places that codes are; nothing is at the last place."""

    def __init__(self, source, lookups, dtype, origins, is_sparse):
        super().__init__(source, lookups, dtype)
        self.origins, self.is_sparse = origins, is_sparse

    def __call__(self, data):
        n_features = len(self.origins)
        codes, dtype = self._codes(data)
        if data.is_row:
            row = np.zeros(n_features + 1, dtype)
            for place in codes:
                row[place] = 1
            return row[np.newaxis, :n_features]
        X = np.zeros((data.n_rows, n_features + 1), dtype)
        every = np.arange(data.n_rows)
        for places in codes:
            X[every, places] = 1
        return X[:, :n_features]


class Values(_Coded):
    """The numbers that codes stand for: `values` has a list of them per column."""

    def __init__(self, source, lookups, dtype, values):
        super().__init__(source, lookups, dtype)
        self.values = values
        self.origins = source.origins

    def __call__(self, data):
        codes, _ = self._codes(data)
        pairs = zip(self.values, codes, strict=True)
        if data.is_row:
            return np.array([[values[code] for values, code in pairs]], self.dtype)
        columns = [np.array(values, self.dtype)[codes] for values, codes in pairs]
        return np.column_stack(columns)


class Bins(_Step):
    """The intervals in which numbers are, as integers; NaN of what is missing.

    Parameters
    ----------
    source : step
    edges : sequence of ndarray
        Between the intervals of each feature.
    dtype : dtype or None
        Of the integers, that of the numbers by default.
    """

    def __init__(self, source, edges, dtype=None):
        self.source, self.edges, self.dtype = source, edges, dtype
        self.origins = source.origins

    def __call__(self, data):
        X = _floats(self.source(data))
        X = X if self.dtype is None else X.astype(self.dtype, copy=False)
        for i, edges in enumerate(self.edges):
            numbers = X[:, i]
            places = np.searchsorted(edges, numbers, side="right")
            X[:, i] = np.where(np.isnan(numbers), np.nan, places)
        return X
