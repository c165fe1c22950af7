"""The columns of a table, made ready for a network: one narrow matrix of float32.

What is in its columns, `Columns` says in arrays that kernels can read: numbers, flags,
and codes of categories.
"""

import warnings
from typing import NamedTuple

import numpy as np

from fastmlp.data.encodings import (
    SAMPLE_ROWS,
    Facts,
    Measure,
    fit_column,
    fit_measure,
)
from fastmlp.data.frames import read, refuse_infinity

__all__ = ["Columns", "InputColumn", "in_columns"]

#: Rows that are converted together.
_ROWS_AT_ONCE = 4096

#: So many rows are read cell by cell: it takes less time than asking a library.
_FEW_ROWS = 8

#: A number whose difference to any of its size float64 can hold.
_FAR = 1e300

#: Names that a message lists.
_MOST_NAMES = 5


class InputColumn(NamedTuple):
    """What is done with a column of X.

    Attributes
    ----------
    name : str or int
        Its name, or where there are none, its index.
    kind : str
        "number", "duration", "date", "flag", "category", "presence"; or, if it is
        dropped, "constant", "empty" or "identifier".
    positions : tuple of int
        Its columns in the matrix.
    note : str
        A sentence.
    """

    name: object
    kind: str
    positions: tuple
    note: str


class Columns:
    """The columns of a table, and how they become a matrix.

    Parameters
    ----------
    categorical_features : array-like of bool, int or str, "from_dtype" or None, \
            default="from_dtype"
        Columns of numbers that are codes of categories: a mask, indices or names. With
        "from_dtype", those whose dtype in a data frame says so. Text is always a
        category, and what is true or false a flag.
    caller : str, default="Columns"
        Name of the estimator, for messages.

    Attributes
    ----------
    kinds_ : ndarray of shape (n_encoded,), int8
        Of each column of the matrix: 0 a number, NaN if missing; 1 a flag, -1 or 1, and
        0 if it is missing or unknown, or a sine or cosine; 2 the code of a category.
    levels_ : ndarray of shape (n_encoded,), int32
        Codes of a category, with 0, which stands for unknown levels; 0 for others.
    has_missing_ : ndarray of shape (n_encoded,), bool
        Whether numbers were missing in fit.
    center_, scale_ : ndarray of shape (n_encoded,)
        What is to be done with numbers: scale * (number - center).
    columns_ : list of InputColumn
    encodings_ : list of tuple
        Of each column that is not dropped: its index in X, its name, the first of its
        columns in the matrix, and its encoding, see `fastmlp.data.encodings`.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,), object
        If X has names.
    """

    def __init__(self, categorical_features="from_dtype", *, caller="Columns"):
        self.categorical_features = categorical_features
        self.caller = caller

    def fit(self, X):
        """Find out what is in the columns.

        Parameters
        ----------
        X : data frame, array, list of rows, or sparse matrix
            Of shape (n_rows, n_features).

        Returns
        -------
        Columns
            Itself.

        Raises
        ------
        ValueError
            If a column has infinite numbers, or what no column may have, or if no
            column is left.
        """
        table = read(X)
        n_features = table.shape[1]
        names = table.names or range(n_features)
        declared = _declared(self.categorical_features, table)
        from_dtype = declared is None
        if from_dtype:
            declared = np.zeros(n_features, dtype=bool)
        if table.dtype is not None:
            fitted = _fit_matrix(table, declared)
        else:
            fitted = [
                fit_column(table.column(j, name), name, declared[j], from_dtype)
                for j, name in enumerate(names)
            ]
        return self.lay_out(table.names, fitted)

    def lay_out(self, names, fitted):
        """Give encoded columns their places, side by side.

        Parameters
        ----------
        names : list of str or None
        fitted : list of fastmlp.data.encodings.Fitted
            What is done with each column of X.

        Returns
        -------
        Columns
            Itself, as after `fit`.
        """
        self.n_features_in_ = len(fitted)
        vars(self).pop("feature_names_in_", None)
        if names:
            self.feature_names_in_ = np.array(names, dtype=object)
        names = list(names or range(len(fitted)))
        self.columns_, self.encodings_, encoded = [], [], []
        for j, (name, column) in enumerate(zip(names, fitted, strict=True)):
            start = len(encoded)
            if column.encoding is not None:
                self.encodings_.append((j, name, start, column.encoding))
                encoded += column.encoding.encoded
            positions = tuple(range(start, len(encoded)))
            self.columns_.append(InputColumn(name, column.kind, positions, column.note))
        if not encoded:
            some = "; ".join(
                f"{column.name!r}: {column.kind}"
                for column in self.columns_[:_MOST_NAMES]
            )
            raise ValueError(
                f"No column of X says anything, so all were dropped ({some})"
            )
        self.kinds_ = np.array([e.kind for e in encoded], np.int8)
        self.levels_ = np.array([e.levels for e in encoded], np.int32)
        self.has_missing_ = np.array([e.has_missing for e in encoded], bool)
        self.center_ = np.array([e.center for e in encoded], np.float64)
        self.scale_ = np.array([e.scale for e in encoded], np.float64)
        self._own_center = np.array([e.own_center for e in encoded], np.float64)
        self._own_scale = np.array([e.own_scale for e in encoded], np.float64)
        self._low = np.array([e.low for e in encoded], np.float64)
        self._high = np.array([e.high for e in encoded], np.float64)
        are_numbers = (type(encoding) is Measure for *_, encoding in self.encodings_)
        self._are_numbers = all(are_numbers)
        self._read = [j for j, *_ in self.encodings_]
        # with no number beyond this, none is out of its limits, scaled or not
        with np.errstate(over="ignore"):
            limits = (1 - 1e-9) * np.minimum(-self._low, self._high) / self._own_scale
        limits = np.minimum(limits, _FAR)  # where differences do not overflow
        self._usual = float((limits - np.abs(self._own_center)).min())
        self._are_as_given = (
            self._are_numbers
            and len(encoded) == self.n_features_in_
            and bool((self._own_scale == 1).all() and (self._own_center == 0).all())
        )
        return self

    def transform(self, X):
        """The matrix of a table.

        Parameters
        ----------
        X : data frame, array, list of rows, or sparse matrix
            Of shape (n_rows, n_features). Columns of a data frame may be in another
            order than in fit.

        Returns
        -------
        ndarray of shape (n_rows, n_encoded), float32
            In C order. X itself if it is that already.

        Raises
        ------
        ValueError
            If a column is missing, or is not of the kind that it had in fit.
        """
        table = read(X)
        places = self._places(table)
        n_rows = table.shape[0]
        if table.dtype is not None and self._are_numbers:
            return self._transform_numbers(table, places)
        if n_rows <= _FEW_ROWS:
            return self._transform_cells(table.cells(), places)
        matrix = np.empty((n_rows, len(self.kinds_)), np.float32)
        for j, name, start, encoding in self.encodings_:
            column = table.column(places[j], name)
            for k, numbers in enumerate(encoding.of_column(column, name), start):
                matrix[:, k] = self.scaled(numbers.astype(np.float64), k)
        return matrix

    def transform_row(self, row):
        """The matrix of one row, given as a sequence of its cells.

        Parameters
        ----------
        row : list, tuple or ndarray of shape (n_features,)
            In the order of columns in fit.

        Returns
        -------
        ndarray of shape (1, n_encoded), float32

        Raises
        ------
        ValueError
            If there are more or fewer cells than in fit, or if one is of a kind that
            its column has not.
        """
        if len(row) != self.n_features_in_:
            raise ValueError(
                f"the row has {len(row)} cells, but {self.caller} is expecting "
                f"{self.n_features_in_} features as input."
            )
        if isinstance(row, np.ndarray) and row.dtype.kind in "fiu":
            if self._are_numbers and type(row) is np.ndarray:
                return self._transform_row_of_numbers(row)
            row = row.tolist()  # of a masked array: with None for what is missing
        return self._transform_cells([row], range(len(row)))

    def _transform_cells(self, cells, places):
        matrix = []
        for row in cells:
            numbers = []
            for j, name, _, encoding in self.encodings_:
                numbers += encoding.of_cell(row[places[j]], name)
            matrix.append(numbers)
        return np.array(matrix, np.float32)

    def _transform_row_of_numbers(self, row):
        """`_transform_numbers` for one row; soon done if all is in the usual range."""
        numbers = row
        if not (self._are_as_given and row.dtype == np.float32):
            numbers = row[self._read].astype(np.float64)
        if not np.fmax.reduce(np.abs(numbers)) <= self._usual:  # or all are missing
            return self._transform_numbers(read(row[np.newaxis]), range(len(row)))
        if numbers.dtype == np.float64:
            numbers = ((numbers - self._own_center) * self._own_scale).astype("f")
        return numbers[np.newaxis]

    def _transform_numbers(self, table, places):
        """The matrix of numbers of one dtype, a block of rows at a time."""
        if self._are_as_given and self._can_be_used(table.X):
            return table.X
        which = [places[j] for j in self._read]
        matrix = np.empty((table.shape[0], len(which)), np.float32)
        for rows in _blocks(table.shape[0]):
            numbers = table.rows(rows)[:, which].astype(np.float64)
            for k in np.flatnonzero(np.isinf(numbers).any(axis=0)):
                refuse_infinity(self.encodings_[k][1], numbers[:, k])
            matrix[rows] = self.scaled(numbers)
        return matrix

    def _can_be_used(self, X):
        """Whether X is the matrix, with no number out of range."""
        if not (
            isinstance(X, np.ndarray)
            and X.dtype == np.float32
            and X.flags.c_contiguous
            and X.flags.aligned
        ):
            return False
        smallest, largest = _extremes(X.__getitem__, X.shape)
        return not ((smallest < self._low) | (largest > self._high)).any()

    def scaled(self, numbers, k=slice(None)):
        """Numbers in float64, as those of encoded columns k in the matrix."""
        with np.errstate(over="ignore"):  # it is then clipped
            scaled = (numbers - self._own_center[k]) * self._own_scale[k]
        return np.clip(scaled, self._low[k], self._high[k])

    def _places(self, table):
        """Where columns of fit are in a table.

        Checks names and numbers of columns, with scikit-learn's messages.
        """
        known = getattr(self, "feature_names_in_", None)
        if known is not None and table.names:
            if table.names == known.tolist():
                return range(len(known))
            return _places_by_name(known.tolist(), table.names)
        if known is not None:
            warnings.warn(
                f"X does not have valid feature names, but {self.caller} was fitted "
                "with feature names",
                stacklevel=3,
            )
        elif table.names:
            warnings.warn(
                f"X has feature names, but {self.caller} was fitted without feature "
                "names",
                stacklevel=3,
            )
        if table.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {table.shape[1]} features, but {self.caller} is expecting "
                f"{self.n_features_in_} features as input."
            )
        return range(self.n_features_in_)

    def summary(self):
        """What is done with each column, in a table to be read.

        Returns
        -------
        str
        """
        head = ("column", "kind", "makes", "what is done with it")
        rows = [
            (str(column.name), column.kind, str(len(column.positions)), column.note)
            for column in self.columns_
        ]
        return in_columns(head, *rows)


def in_columns(*rows):
    """Rows of strings as lines of text, in which columns are below each other."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
    return "\n".join(lines)


def _places_by_name(known, names):
    """Where each known name is, or an error if they are not the same."""
    unseen = sorted(set(names) - set(known))
    missing = sorted(set(known) - set(names))
    if unseen or missing:
        message = "The feature names should match those that were passed during fit.\n"
        for what, some in (
            ("Feature names unseen at fit time:\n", unseen),
            ("Feature names seen at fit time, yet now missing:\n", missing),
        ):
            if some:
                message += what + "".join(f"- {name}\n" for name in some[:_MOST_NAMES])
                message += "- ...\n" * (len(some) > _MOST_NAMES)
        raise ValueError(message)
    place_of = {name: place for place, name in enumerate(names)}
    return [place_of[name] for name in known]


def _blocks(n_rows):
    """Slices that follow each other."""
    for start in range(0, n_rows, _ROWS_AT_ONCE):
        yield slice(start, min(start + _ROWS_AT_ONCE, n_rows))


def _extremes(rows_of, shape):
    """The smallest and the largest number of each column, not counting NaN."""
    smallest = largest = np.full(shape[1], np.nan)
    for rows in _blocks(shape[0]):
        block = rows_of(rows)
        smallest = np.fmin(smallest, np.fmin.reduce(block, axis=0))
        largest = np.fmax(largest, np.fmax.reduce(block, axis=0))
    return smallest, largest


def _fit_matrix(table, declared):
    """What is to be done with columns of numbers of one dtype."""
    n_rows, n_features = table.shape
    is_float = table.dtype.kind == "f"
    n_missing = np.zeros(n_features, dtype=np.int64)
    if is_float:
        for rows in _blocks(n_rows):
            n_missing += np.isnan(table.rows(rows)).sum(axis=0)
    smallest, largest = _extremes(table.rows, table.shape)
    which = slice(None)
    if n_rows > SAMPLE_ROWS:  # one sample of rows, for columns are far apart in memory
        which = np.sort(np.random.default_rng(0).integers(0, n_rows, SAMPLE_ROWS))
    sample = table.rows(which)
    is_single = is_float and table.dtype.itemsize <= 4
    fitted = []
    for j in range(n_features):
        known = sample[:, j]
        if n_missing[j]:
            known = known[~np.isnan(known)]
        if declared[j] or (not len(known) and n_missing[j] < n_rows):
            # a category; or what there is, is so rare that the sample has none of it
            fitted.append(fit_column(table.column(j, j), j, declared[j], True))
            continue
        facts = Facts(
            int(n_missing[j]), float(smallest[j]), float(largest[j]), known, is_single
        )
        refuse_infinity(j, [facts.smallest, facts.largest])
        fitted.append(fit_measure(facts))
    return fitted


def _declared(categorical_features, table):
    """Which columns the user says are categories; None if it is left to dtypes.

    Messages are those of scikit-learn's HistGradientBoosting.
    """
    if isinstance(categorical_features, str) and categorical_features == "from_dtype":
        return None
    n_features = table.shape[1]
    mask = np.zeros(n_features, dtype=bool)
    if categorical_features is None:
        return mask
    chosen = np.asarray(categorical_features)
    if not chosen.size:
        return mask
    kinds = {type(item).__name__ for item in chosen.ravel().tolist()}
    if kinds not in ({"bool"}, {"int"}, {"str"}):
        raise ValueError(
            "categorical_features must be an array-like of bool, int or str, got: "
            f"{', '.join(sorted(kinds))}."
        )
    if kinds == {"bool"} and chosen.shape != (n_features,):
        raise ValueError(
            "categorical_features set as a boolean mask must have shape "
            f"(n_features,), got: {chosen.shape}"
        )
    if kinds == {"str"}:
        chosen = _indices_of(chosen.ravel().tolist(), table.names)
    elif kinds == {"int"} and not 0 <= chosen.min() <= chosen.max() < n_features:
        raise ValueError(
            "categorical_features set as integer indices must be in [0, n_features - 1]"
        )
    mask[chosen.astype(bool) if kinds == {"bool"} else chosen] = True
    return mask


def _indices_of(chosen, names):
    """Indices of columns that are given by name."""
    if names is None:
        raise ValueError(
            "categorical_features should be passed as an array of integers or as a "
            "boolean mask when the model is fitted on data without feature names."
        )
    for name in chosen:
        if name not in names:
            raise ValueError(
                f"categorical_features has an item value '{name}' which is not a valid "
                "feature name of the training data. Observed feature names: "
                f"{names}"
            )
    return [names.index(name) for name in chosen]
