"""What X may be, and messages that say which column is not, and what to do."""

from contextlib import contextmanager
from datetime import date, timedelta

import numpy as np
from scipy.sparse import issparse

from fastmlp.data.samples import compressed_rows, entries_of

__all__ = ["check_numbers", "explained", "numbers_only"]

#: Kinds of dtypes that are numbers.
_NUMBERS = "fiub"

#: Columns that a message names.
_MOST_NAMES = 5


def numbers_only(X):
    """X, or an error if what would be converted to numbers are none.

    Parameters
    ----------
    X : object
        As the user gave it: array, list, sparse matrix or data frame.

    Returns
    -------
    object
        X, or if that is a list of numbers the array of them.

    Raises
    ------
    ValueError
        If there is text, a date or a duration in X, or if X is a structured array.
    """
    if isinstance(X, list | tuple):
        try:
            array = np.asarray(X)
        except ValueError:
            return X  # ragged: it will be refused
        if array.dtype.kind in _NUMBERS:
            return array
        _look_at(array)
        return X
    if issparse(X):
        return X
    columns = getattr(X, "columns", None)
    if columns is not None and hasattr(X, "dtypes"):
        dtypes = getattr(X.dtypes, "values", X.dtypes)
        for name, dtype in zip(columns, dtypes, strict=True):
            if not _is_of_numbers(dtype):
                _look_at_column(repr(name), np.asarray(X[name]))
    elif isinstance(X, np.ndarray):
        _look_at(X)
    return X


def _is_of_numbers(dtype):
    """Whether a column of a data frame has numbers, seen at a glance."""
    if hasattr(dtype, "is_numeric"):
        return dtype.is_numeric()
    return getattr(dtype, "kind", "O") in _NUMBERS


def _look_at(X):
    if X.dtype.kind == "V":
        raise ValueError(
            f"X is a structured array with the fields {X.dtype.names}; fastmlp takes a "
            "plain array of numbers: numpy.lib.recfunctions.structured_to_unstructured "
            "makes one"
        )
    if X.dtype.kind in _NUMBERS or X.ndim != 2:
        return
    for j in range(X.shape[1]):
        _look_at_column(j, X[:, j])


def _look_at_column(name, values):
    kind = values.dtype.kind
    if kind in _NUMBERS:
        return
    what = {"U": "text", "S": "text", "M": "dates", "m": "durations"}.get(kind)
    example = values[:1].tolist()
    if what is None:  # objects
        for value in values.tolist():
            if isinstance(value, str | bytes):
                what, example = "text", [value]
            elif isinstance(value, date | np.datetime64):
                what, example = "dates", [value]
            elif isinstance(value, timedelta | np.timedelta64):
                what, example = "durations", [value]
            if what:
                break
        else:
            return
    cure = {
        "text": (
            "Encode it first: make_pipeline(make_column_transformer((OneHotEncoder("
            f"handle_unknown='ignore'), [{name}]), remainder=StandardScaler()), model)."
            " "
            "Numbers that were read as text: X.astype(float)"
        ),
        "dates": "Replace them by numbers, such as the year, the month and the weekday",
        "durations": "Replace them by a number of seconds or days",
    }[what]
    example = f" (such as {example[0]!r})" if example else ""
    raise ValueError(f"X has {what} in column {name}{example}. {cure}.")


@contextmanager
def explained(X):
    """Say where, and what to do, when X turns out to have missing or infinite values.

    Parameters
    ----------
    X : object
        As the user gave it.
    """
    try:
        yield
        return
    except ValueError as error:
        reason = str(error).partition("\n")[0]
        if not reason.startswith(("Input X contains NaN", "Input X contains infinity")):
            raise
        missing = "NaN" in reason
        where = _where(X, np.isnan if missing else np.isinf)
        cure = (
            "Fill them in first, in the same Pipeline: make_pipeline(SimpleImputer(), "
            "StandardScaler(), model)"
            if missing
            else "Replace them, or leave these rows out"
        )
        message = f"{reason.rstrip('.')}{where}. {cure}."
    raise ValueError(message)


def _where(X, is_bad):
    """Columns in which there are such values, and how many, for a message."""
    try:
        names = list(getattr(X, "columns", range(np.shape(X)[1])))
        if issparse(X):
            columns, entries = entries_of(compressed_rows(X))
            counts = np.bincount(columns[is_bad(entries)], minlength=X.shape[1])
        else:
            counts = is_bad(np.asarray(X, dtype=np.float64)).sum(axis=0)
    except (TypeError, ValueError):  # whatever X is, the reason has been said
        return ""
    order = np.flatnonzero(counts)
    some = ", ".join(f"{names[j]!r} ({counts[j]})" for j in order[:_MOST_NAMES])
    more = f" and {len(order) - _MOST_NAMES} more" if len(order) > _MOST_NAMES else ""
    plural = "columns" if len(order) > 1 else "column"
    return f": {counts.sum()} values, in {plural} {some}{more}" if len(order) else ""


def check_numbers(array, n_dimensions, name):
    """Raise an error unless `array` is an array of real numbers.

    Parameters
    ----------
    array : object
        Weights or biases, possibly set by the user.
    n_dimensions : int
    name : str
        Name of the array in the message.

    Raises
    ------
    ValueError
    """
    if not isinstance(array, np.ndarray):
        raise ValueError(
            f"{name} must be a NumPy array of numbers, not {type(array).__name__}"
        )
    if array.dtype.kind not in "fiu" or array.ndim != n_dimensions:
        raise ValueError(
            f"{name} must be an array of real numbers in {n_dimensions} dimension(s); "
            f"it has dtype {array.dtype} and shape {array.shape}"
        )
