"""Any container of rows and columns, read column by column or cell by cell.

What a library is asked is public, and no library is imported for it: a data frame can
only be one of pandas if somebody has imported pandas.
"""

import sys
from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_array

from fastmlp.data.cells import (
    DATES,
    DURATIONS,
    FLAGS,
    MISSING,
    NUMBERS,
    TEXT,
    is_missing,
    key_of,
    key_of_time,
    kind_of_type,
    number_of,
)

__all__ = [
    "Column",
    "labels_of",
    "numbers_of",
    "read",
    "refuse_infinity",
    "said",
    "wrong_kind",
    "wrong_type",
]

#: Sparse X whose numbers would take more bytes than this is not made dense.
_MOST_BYTES = 2 * 2**30


class Column(NamedTuple):
    """A column, whatever it was read from.

    Attributes
    ----------
    kind : str
        As in `fastmlp.data.cells`.
    values : ndarray of shape (n_rows,)
        Numbers, 1.0 for true, or microseconds, with NaN for what is missing. Of text,
        the integer that stands for the level, or -1.
    levels : list, default=()
        The keys of text, or of a dtype of categories.
    has_order : bool, default=False
        Whether levels are in an order that the user has given.
    """

    kind: str
    values: np.ndarray
    levels: list = ()
    has_order: bool = False


def said(name):
    """A column, at the start of a message."""
    return f"Column {name!r}"


def read(X):
    """The table that X is.

    Parameters
    ----------
    X : object
        Data frame, array, list of rows, or sparse matrix.

    Returns
    -------
    table
        With `names`, `shape`, ``column(j, name)`` and ``cells()``; and `dtype` and
        ``rows(which)`` if all columns are numbers of one dtype, which is None if not.

    Raises
    ------
    ValueError
        If it has no rows, no columns, or not two dimensions.
    """
    table = _table_of(X)
    for count, what in zip(table.shape, ("sample", "feature"), strict=True):
        if not count:
            raise ValueError(
                f"Found array with 0 {what}(s) (shape={table.shape}) while a minimum "
                "of 1 is required."
            )
    return table


def _table_of(X):
    if isinstance(X, np.ndarray):
        return _array_table(X)
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    if pandas is not None and isinstance(X, pandas.DataFrame):
        return _PandasTable(X)
    if polars is not None and isinstance(X, polars.DataFrame):
        return _PolarsTable(X)
    if issparse(X):
        return _SparseTable(X)
    frame = _other_frame(X)
    if frame is not None:
        return _OtherTable(frame)
    return _array_table(_array_of(X))


def _other_frame(X):
    """X as a data frame of narwhals, which newer scikit-learns import, or None."""
    narwhals = sys.modules.get("narwhals.stable.v2")
    if narwhals is None or not narwhals.dependencies.is_into_dataframe(X):
        return None
    return narwhals.from_native(X)


def _array_of(X):
    """What is neither an array nor a data frame, as an array."""
    if not isinstance(X, list | tuple):
        return check_array(X, dtype=None, ensure_all_finite=False, ensure_min_samples=0)
    array = np.asarray(X)
    if array.dtype.kind in "USV":  # numbers would have become text beside text
        return np.array(X, dtype=object)
    return array


def _array_table(X):
    if X.dtype.kind == "V":
        raise ValueError(f"X is a structured array with the fields {X.dtype.names}")
    if X.ndim != 2 or X.dtype.kind == "c" or isinstance(X, np.matrix):
        check_array(X, dtype=None, ensure_all_finite=False)  # refuses it, in its words
    if isinstance(X, np.ma.MaskedArray) and X.mask.any():
        if X.dtype.kind not in "fiub":
            return _CellTable(X.astype(object).filled(None))
        X = X.astype(X.dtype if X.dtype.kind == "f" else np.float64).filled(np.nan)
    return _NumberTable(X) if X.dtype.kind in "fiu" else _CellTable(X)


class _NumberTable:
    """An array of numbers."""

    names = None

    def __init__(self, X):
        self.X = X
        self.shape = X.shape
        self.dtype = X.dtype

    def rows(self, which):
        return self.X[which]

    def column(self, j, name):
        return _read_array(self.X[:, j], name)

    def cells(self):
        return self.X.tolist()


class _SparseTable(_NumberTable):
    """A sparse matrix, whose rows are made dense as they are read."""

    def __init__(self, X):
        if X.dtype.kind not in "fiub":
            raise ValueError(f"Sparse X must have real numbers, not {X.dtype}")
        size = 4 * X.shape[0] * X.shape[1]
        if size > _MOST_BYTES:
            raise ValueError(
                f"Sparse X of shape {X.shape} would take {size / 2**30:.1f} GiB of "
                "memory, for it is made dense: take fewer columns (such as with "
                "TruncatedSVD), or an estimator that trains on sparse X, such as "
                "MLPClassifier"
            )
        X = X.tocsr()
        super().__init__(X.astype(np.float32) if X.dtype.kind == "b" else X)

    def rows(self, which):
        return self.X[which].toarray()

    def column(self, j, name):
        return _read_array(self.X[:, [j]].toarray()[:, 0], name)

    def cells(self):
        return self.X.toarray().tolist()


class _CellTable:
    """An array of objects, text, flags, dates or durations."""

    names = None
    dtype = None

    def __init__(self, X):
        self.X = X
        self.shape = X.shape

    def column(self, j, name):
        return _read_array(self.X[:, j], name)

    def cells(self):
        return [list(row) for row in self.X]


class _Frame:
    """A data frame."""

    dtype = None

    def __init__(self, X, names):
        self.X = X
        self.shape = X.shape
        self.names = _checked_names(names)


def _checked_names(names):
    """Names of columns, or None if they are not text."""
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1}, key=str)
        raise ValueError(f"X has several columns with the same name: {twice}")
    types = {type(name) for name in names}
    if not any(issubclass(cls, str) for cls in types):
        return None
    if len(types) > 1:
        raise TypeError(
            "Feature names are only supported if all input features have string names, "
            f"but your input has {sorted(cls.__qualname__ for cls in types)} as "
            "feature name / column name types. If you want feature names to be stored "
            "and validated, you must convert them all to strings, by using "
            "X.columns = X.columns.astype(str) for example. Otherwise you can remove "
            "feature / column names from your input data, or convert them all to a "
            "non-string data type."
        )
    return names


class _PandasTable(_Frame):
    def __init__(self, X):
        super().__init__(X, X.columns.tolist())

    def column(self, j, name):
        column = self.X.iloc[:, j]
        dtype = column.dtype
        if isinstance(dtype, np.dtype):
            return _read_array(column.to_numpy(), name)
        what = type(dtype).__name__
        if what == "CategoricalDtype":
            levels = dtype.categories.tolist()
            return _read_category(column.cat.codes.to_numpy(), levels, name)
        if what == "DatetimeTZDtype":
            return _read_array(column.to_numpy(dtype="M8[us]"), name)
        if what == "PeriodDtype":
            return _read_array(column.dt.to_timestamp().to_numpy(), name)
        if what == "SparseDtype":
            return _read_array(np.asarray(column), name)
        if dtype.kind in "fiub" and what != "IntervalDtype":
            return _read_nullable(column, dtype)
        return _read_objects(column.to_numpy(dtype=object).tolist(), name)

    def cells(self):
        return self.X.to_numpy(dtype=object).tolist()


def _read_nullable(column, dtype):
    """A column of pandas or Arrow in which numbers or flags may be missing."""
    single = dtype.kind == "f" and dtype.itemsize <= 4
    if dtype.kind in "iu" and not column.isna().any():
        values = column.to_numpy(dtype=dtype.numpy_dtype)
    else:
        as_dtype = np.float32 if single else np.float64
        values = column.to_numpy(dtype=as_dtype, na_value=np.nan)
    return Column(FLAGS if dtype.kind == "b" else NUMBERS, values)


class _PolarsTable(_Frame):
    def __init__(self, X):
        super().__init__(X, X.columns)

    def column(self, j, name):
        polars = sys.modules["polars"]
        column = self.X.to_series(j)
        dtype = column.dtype
        what = type(dtype).__name__
        if what == "Decimal" or what.endswith("Int128"):
            column = column.cast(polars.Float64)
        elif what == "Boolean":
            return Column(FLAGS, column.cast(polars.Float64).to_numpy())
        elif what == "Enum":
            codes = column.to_physical().cast(polars.Int64).fill_null(-1)
            return _read_category(codes.to_numpy(), dtype.categories.to_list(), name)
        elif not (dtype.is_numeric() or what in ("Date", "Datetime", "Duration")):
            return _read_objects(column.to_list(), name)
        return _read_array(column.to_numpy(), name)

    def cells(self):
        return self.X.rows()


class _OtherTable(_Frame):
    """A data frame that narwhals knows: an Arrow table, or one of Modin and so on."""

    def __init__(self, X):
        super().__init__(X, list(X.columns))

    def column(self, j, name):
        column = self.X[:, j]
        what = str(column.dtype)
        read = _read_objects(column.to_list(), name)
        if read.kind == NUMBERS and what == "Float32":
            read = read._replace(values=read.values.astype(np.float32))
        if what.startswith(("Categorical", "Enum")):
            return Column(TEXT, *labels_of(read, name))
        return read

    def cells(self):
        return self.X.rows()


def _read_array(values, name):
    """A column that is an array of one dtype."""
    kind = values.dtype.kind
    if kind == "b":
        return Column(FLAGS, values.astype(np.float64))
    if kind in "fiu":
        size = {"f": (2, 4, 8)}.get(kind)
        if size and values.dtype.itemsize not in size:
            values = values.astype(np.float64)  # what kernels and NumPy's tools know
        return Column(NUMBERS, values)
    if kind in "mM":
        counts = values.astype(f"{kind}8[us]").view(np.int64)
        numbers = counts.astype(np.float64)
        numbers[np.isnat(values)] = np.nan
        return Column(DATES if kind == "M" else DURATIONS, numbers)
    return _read_objects(values.astype(object).tolist(), name)


def _read_category(codes, levels, name):
    """A column of a dtype that has its levels, in an order."""
    _kind_of_cells(levels, name)  # refuses what no column may have
    places, keys = _factorized(levels, name)
    places = np.append(places, -1)  # of what is missing
    return Column(TEXT, places[codes.astype(np.intp)], keys, has_order=True)


def _read_objects(cells, name):
    """A column of which nothing is known but its cells, in a list."""
    kind = _kind_of_cells(cells, name)
    if kind == TEXT:
        return Column(TEXT, *_factorized(cells, name))
    if kind == MISSING:
        return Column(MISSING, np.full(len(cells), np.nan))
    return Column(kind, np.array([number_of(cell) for cell in cells], np.float64))


def _kind_of_cells(cells, name):
    kinds = {cls: kind_of_type(cls) for cls in set(map(type, cells))}
    for cls, kind in kinds.items():
        if kind is None:
            raise wrong_type(name, cls)
    found = set(kinds.values()) - {MISSING}
    if len(found) > 1:
        found = {kind for kind in found if _is_there(kind, kinds, cells)}
    if found == {NUMBERS, FLAGS}:
        return NUMBERS
    if len(found) > 1:
        return TEXT
    return found.pop() if found else MISSING


def _is_there(kind, kinds, cells):
    """Whether there are cells of a kind that are more than its NaN or NaT."""
    return any(kinds[type(cell)] == kind and not is_missing(cell) for cell in cells)


def _factorized(cells, name):
    """(position of the level of each cell, or -1, and the keys of levels)."""
    unique = {cell: i for i, cell in enumerate(dict.fromkeys(cells))}
    keys = {}
    code_of = np.full(len(unique), -1)
    for cell, i in unique.items():
        if not is_missing(cell):  # keys of several cells may be equal
            code_of[i] = keys.setdefault(key_of(cell), len(keys))
    codes = np.fromiter(map(unique.__getitem__, cells), np.intp, len(cells))
    refuse_infinity(name, keys)
    return code_of[codes], list(keys)


def labels_of(column, name):
    """(position of the level of each row, or -1, and the keys of levels)."""
    if column.kind == TEXT:
        return column.values, column.levels
    numbers, codes = np.unique(column.values, return_inverse=True)
    numbers = numbers[~np.isnan(numbers)].tolist()  # NaN is the last of them
    codes[codes == len(numbers)] = -1
    refuse_infinity(name, numbers)
    if column.kind in (DATES, DURATIONS):
        numbers = [key_of_time(number, column.kind) for number in numbers]
    return codes, numbers


def numbers_of(column, kind, name):
    """The values of a column that is to have numbers, dates or durations.

    Raises
    ------
    ValueError
        If it has others.
    """
    values = column.values
    if column.kind == TEXT:
        used = np.unique(column.values[column.values >= 0])
        text = [column.levels[i] for i in used if isinstance(column.levels[i], str)]
        if text:
            raise wrong_kind(name, kind, TEXT, text[0])
        numbers = [np.nan if isinstance(k, str) else k for k in column.levels]
        values = np.array([*numbers, np.nan], np.float64)[column.values]
    found = NUMBERS if column.kind in (FLAGS, TEXT) else column.kind
    if found != kind and not np.isnan(values).all():
        example = values[~np.isnan(values)][0]
        if found in (DATES, DURATIONS):
            example = key_of_time(example, found)
        raise wrong_kind(name, kind, found, example)
    refuse_infinity(name, values)
    return values


def wrong_kind(name, kind, found, example):
    """The error that a column has something else than it had in fit."""
    return ValueError(
        f"{said(name)} had {kind} in fit, and has {found} now (such as {example!r})"
    )


def wrong_type(name, cls):
    """The error that a column has what no column may have."""
    return ValueError(
        f"{said(name)} has values of type {cls.__name__}: a column may have numbers, "
        "text, true and false, dates, and durations"
    )


def refuse_infinity(name, values):
    """Raise ValueError if there is an infinite number among values or keys."""
    if isinstance(values, np.ndarray):
        is_infinite = values.dtype.kind == "f" and np.isinf(values).any()
    else:
        is_infinite = np.inf in values or -np.inf in values
    if is_infinite:
        raise ValueError(
            f"{said(name)} contains infinity, or a number that is too large for "
            "float64. Replace it, or leave its rows out."
        )
