"""Single cells of a table: which kind of value they hold, and that value itself.

Kinds are those of columns too. Cells are told apart by their types alone, and types of
pandas by their names: it need not be there.
"""

import math
import uuid
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from numbers import Real

import numpy as np

__all__ = [
    "DATES",
    "DURATIONS",
    "FLAGS",
    "MISSING",
    "NUMBERS",
    "TEXT",
    "is_missing",
    "key_of",
    "key_of_time",
    "kind_of_type",
    "number_of",
]

NUMBERS, FLAGS, TEXT = "numbers", "true or false", "text"
DATES, DURATIONS, MISSING = "dates", "durations", "missing values"

#: In this order, for a class may derive from one further down: so do np.timedelta64
#: from np.number, and bool from Real.
_KINDS = (
    ((bool, np.bool_), FLAGS),
    ((str, bytes, uuid.UUID), TEXT),
    ((date, np.datetime64), DATES),
    ((timedelta, time, np.timedelta64), DURATIONS),
    ((Real, Decimal), NUMBERS),
)

_OF_PANDAS = {
    "NAType": MISSING,
    "NaTType": MISSING,
    "Period": DATES,
    "Interval": TEXT,
}

_EPOCH = datetime(1970, 1, 1)
_DAY = 86_400 * 10**6


@lru_cache(1024)
def kind_of_type(cls):
    """The kind of cells of a type, or None if a column may have no such cells."""
    if cls is type(None) or cls is np.ma.core.MaskedConstant:
        return MISSING
    if cls.__module__.startswith("pandas") and cls.__name__ in _OF_PANDAS:
        return _OF_PANDAS[cls.__name__]
    for classes, kind in _KINDS:
        if issubclass(cls, classes):
            return kind
    return None


def is_missing(value):
    """Whether a cell is None, NaN, or what pandas or NumPy have for it."""
    if kind_of_type(type(value)) == MISSING:
        return True
    return bool(value != value)


def number_of(value):
    """What a cell of numbers, flags, dates or durations is in float64.

    Returns
    -------
    float
        NaN if it is missing, infinite if it is out of range; of a date, microseconds
        since 1970 (UTC); of a duration, microseconds.
    """
    kind = kind_of_type(type(value))
    if kind in (NUMBERS, FLAGS):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if kind == MISSING or value != value:
        return math.nan
    return float(_microseconds(value))


def _microseconds(value):
    if isinstance(value, np.datetime64):
        return value.astype("M8[us]").astype(np.int64)
    if isinstance(value, np.timedelta64):
        return value.astype("m8[us]").astype(np.int64)
    if hasattr(value, "start_time"):  # pandas.Period
        value = value.start_time
    if hasattr(value, "asm8"):  # pandas.Timestamp, pandas.Timedelta
        return _microseconds(value.asm8)
    if isinstance(value, time):
        value = datetime.combine(_EPOCH, value.replace(tzinfo=None)) - _EPOCH
    elif isinstance(value, datetime):
        offset = value.utcoffset() or timedelta()
        value = value.replace(tzinfo=None) - _EPOCH - offset
    elif isinstance(value, date):
        return (value.toordinal() - _EPOCH.toordinal()) * _DAY
    return value // timedelta(microseconds=1)


def key_of(value):
    """What a cell that is not missing is known by, as a level of a category.

    Returns
    -------
    str, int or float
        Equal for what is equal in another library, or in another dtype.
    """
    kind = kind_of_type(type(value))
    if kind == TEXT:
        if isinstance(value, bytes):
            return value.decode("utf-8", "backslashreplace")
        return str(value)
    if kind in (NUMBERS, FLAGS):
        if isinstance(value, np.generic):
            value = value.item()
        return value if isinstance(value, int) else number_of(value)
    return key_of_time(number_of(value), kind)


def key_of_time(microseconds, kind):
    """What a date or a duration is known by."""
    dtype = "M8[us]" if kind == DATES else "m8[us]"
    return str(np.int64(microseconds).view(dtype))
