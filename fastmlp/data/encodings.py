"""How one column of a table becomes numbers of a matrix, and how that is found in fit.

Each encoding reads a column as a whole (``of_column``) or a cell (``of_cell``), which
for a few rows takes a fraction of the time; scaled, both give the same numbers.
"""

from typing import NamedTuple

import numpy as np

from fastmlp.data.cells import (
    DATES,
    FLAGS,
    MISSING,
    NUMBERS,
    TEXT,
    is_missing,
    key_of,
    kind_of_type,
    number_of,
)
from fastmlp.data.frames import (
    labels_of,
    numbers_of,
    refuse_infinity,
    wrong_kind,
    wrong_type,
)

__all__ = [
    "CATEGORY",
    "CYCLES",
    "FLAG",
    "NUMBER",
    "SAMPLE_ROWS",
    "Dates",
    "Encoded",
    "Facts",
    "Fitted",
    "Labels",
    "Measure",
    "Presence",
    "fit_column",
    "fit_measure",
]

#: Kinds of encoded columns.
NUMBER, FLAG, CATEGORY = 0, 1, 2

#: Rows of which quantiles are taken.
SAMPLE_ROWS = 100_000

#: Numbers are kept within this many times the spread of their column: float32 can
#: square them.
_FARTHEST = 1e15

#: Scales that float32 can hold, with room for products.
_SMALLEST_SCALE, _LARGEST_SCALE = 1e-20, 1e20

#: With at most so many levels, or rows, all levels have a code, and none is an
#: identifier.
_FEW = 32

#: A column of text is an identifier if more than this share of its values differ.
_SHARE_OF_IDENTIFIERS = 0.95

#: Levels that have a code of their own.
_MOST_LEVELS = 1000

_DAY = 86_400e6


class Encoded(NamedTuple):
    """A column of the matrix.

    Attributes
    ----------
    kind : int
    levels : int, default=0
        Codes of a category, with 0.
    has_missing : bool, default=False
    center, scale : float, default=0.0, 1.0
        What the network subtracts and multiplies with.
    own_center, own_scale : float, default=0.0, 1.0
        What has been subtracted and multiplied with before, in float64.
    low, high : float, default=-1e15, 1e15
        Limits of what is in the matrix.
    """

    kind: int
    levels: int = 0
    has_missing: bool = False
    center: float = 0.0
    scale: float = 1.0
    own_center: float = 0.0
    own_scale: float = 1.0
    low: float = -_FARTHEST
    high: float = _FARTHEST


class Fitted(NamedTuple):
    """What is done with a column.

    Attributes
    ----------
    kind : str
        In a word.
    note : str
        In a sentence.
    encoding : object, default=None
        None of a column that is dropped.
    """

    kind: str
    note: str
    encoding: object = None


class Facts(NamedTuple):
    """What is to be known of a column of numbers.

    Attributes
    ----------
    n_missing : int
    smallest, largest : float
        Of those that are not missing; NaN if all are.
    sample : ndarray
        Some of them, or all.
    is_single : bool
        Whether float32 can hold them.
    """

    n_missing: int
    smallest: float
    largest: float
    sample: np.ndarray
    is_single: bool

    @classmethod
    def of(cls, values):
        """Those of an array."""
        known = values
        if values.dtype.kind == "f":
            missing = np.isnan(values)
            known = values[~missing] if missing.any() else values
        is_single = values.dtype.kind == "f" and values.itemsize <= 4
        if not len(known):
            return cls(len(values), np.nan, np.nan, known, is_single)
        sample = known
        if len(known) > SAMPLE_ROWS:
            chance = np.random.default_rng(0)
            sample = known[chance.integers(0, len(known), SAMPLE_ROWS)]
        smallest, largest = float(known.min()), float(known.max())
        return cls(len(values) - len(known), smallest, largest, sample, is_single)

    def scaling(self):
        """(center, scale): the median, and 1 / the range of the half around it."""
        largest = max(-self.smallest, self.largest)
        unit = 2.0**-8 if largest > 1e300 else 1.0  # differences are to be in range
        sample = self.sample.astype(np.float64) * unit
        lower, center, upper = np.percentile(sample, [25, 50, 75])
        with np.errstate(over="ignore", divide="ignore"):
            scale = 1 / (upper - lower)
            if not np.isfinite(scale):
                scale = 2 / np.float64(self.largest * unit - self.smallest * unit)
        return float(center / unit), float(scale * unit)


class Measure:
    """Numbers, or durations.

    Parameters
    ----------
    cells : str
        Kind of the cells.
    encoded : Encoded
    """

    def __init__(self, cells, encoded):
        self.cells = cells
        self.encoded = (encoded,)
        self._takes_floats = cells == NUMBERS
        self._scaling = (
            encoded.own_center, encoded.own_scale, encoded.low, encoded.high
        )  # fmt: skip

    def of_column(self, column, name):
        """Arrays of numbers, one of each encoded column; not scaled yet."""
        return [numbers_of(column, self.cells, name)]

    def of_cell(self, cell, name):
        """A sequence of numbers, one of each encoded column; scaled."""
        is_plain = type(cell) is float and self._takes_floats
        number = cell if is_plain else self._number(cell, name)
        center, scale, low, high = self._scaling
        scaled = (number - center) * scale
        if low <= scaled <= high or scaled != scaled:
            return (scaled,)
        refuse_infinity(name, (number,))
        return (low if scaled < low else high,)

    def _number(self, cell, name):
        kind = kind_of_type(type(cell))
        if kind == self.cells or (kind == FLAGS and self.cells == NUMBERS):
            return number_of(cell)
        if _is_absent(cell, name):
            return np.nan
        raise wrong_kind(name, self.cells, kind, cell)


class Dates(Measure):
    """Dates: the instant, and where it is in the day, the week and the year.

    Parameters
    ----------
    encoded : Encoded
        The instant, in microseconds.
    cycles : tuple of str
        Those that are encoded, by sine and cosine.
    """

    def __init__(self, encoded, cycles):
        super().__init__(DATES, encoded)
        self._takes_floats = True  # instants, see `of_cell`
        self.cycles = cycles
        self.encoded += (Encoded(FLAG),) * (2 * len(cycles))

    def of_column(self, column, name):
        return self.with_cycles(super().of_column(column, name)[0])

    def of_cell(self, cell, name):
        instant = self._number(cell, name)
        numbers = [*super().of_cell(instant, name)]
        for cycle in self.cycles:
            angle = 2 * np.pi * CYCLES[cycle](np.float64(instant))
            is_known = angle == angle
            numbers.append(float(np.sin(angle)) if is_known else 0.0)
            numbers.append(float(np.cos(angle)) if is_known else 0.0)
        return numbers

    def with_cycles(self, instants):
        """The columns of an array of instants."""
        columns = [instants]
        for cycle in self.cycles:
            angles = 2 * np.pi * CYCLES[cycle](instants)
            columns += [np.nan_to_num(np.sin(angles)), np.nan_to_num(np.cos(angles))]
        return columns


def _part_of_day(instants):
    return instants % _DAY / _DAY


def _part_of_week(instants):
    return (instants // _DAY + 3) % 7 / 7  # 1970 began on a Thursday


def _part_of_year(instants):
    # by arithmetic alone, which is also exported: years that begin in March, for the
    # day that only some years have is then their last one
    day = (instants // _DAY + 719_468) % 146_097  # of a cycle of 400 years
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day = day - (365 * year + year // 4 - year // 100)
    is_leap = (year % 4 == 0) & ((year % 100 != 0) | (year == 0))
    since_january = np.where(is_leap, day + 60, day + 59)
    return np.where(day < 306, since_january, day - 306) / 365.25


#: Name -> from an instant, in microseconds, to a part of the cycle.
CYCLES = {
    "time of day": _part_of_day,
    "day of week": _part_of_week,
    "day of year": _part_of_year,
}


class Labels:
    """Levels of a category, or the two sides of a flag.

    Parameters
    ----------
    codes : dict
        Number of each level; others are 0.
    missing : float
        Number of what is missing.
    encoded : Encoded
    """

    def __init__(self, codes, missing, encoded):
        self.codes = codes
        self.missing = missing
        self.encoded = (encoded,)

    def of_column(self, column, name):
        codes, keys = labels_of(column, name)
        numbers = [self.codes.get(key, 0.0) for key in keys]
        return [np.array([*numbers, self.missing])[codes]]

    def of_cell(self, cell, name):
        cls = type(cell)
        if cls is not str and kind_of_type(cls) is None:
            raise wrong_type(name, cls)  # a complex number may equal a level
        number = self.codes.get(cell)
        return (self._unusual(cell, name) if number is None else number,)

    def _unusual(self, cell, name):
        if _is_absent(cell, name):
            return self.missing
        key = key_of(cell)
        refuse_infinity(name, [key])
        return self.codes.get(key, 0.0)


class Presence:
    """Whether there is a value at all: 1, and -1 where it is missing.

    Parameters
    ----------
    cells : str
        Kind of the cells.
    """

    encoded = (Encoded(FLAG),)

    def __init__(self, cells):
        self.cells = cells

    def of_column(self, column, name):
        if column.kind == TEXT:
            return [np.where(column.values >= 0, 1.0, -1.0)]
        return [np.where(np.isnan(column.values), -1.0, 1.0)]

    def of_cell(self, cell, name):
        return (-1.0 if _is_absent(cell, name) else 1.0,)


def _is_absent(cell, name):
    """Whether a cell is missing; an error if it is what no cell may be."""
    if kind_of_type(type(cell)) is None:
        raise wrong_type(name, type(cell))
    return is_missing(cell)


def fit_column(column, name, is_declared, from_dtype):
    """What is to be done with a column.

    Parameters
    ----------
    column : Column
    name : str or int
    is_declared : bool
        Whether the user says that it is a category.
    from_dtype : bool
        Whether its dtype may say so.

    Returns
    -------
    Fitted
    """
    if column.kind == MISSING:
        return _dropped("empty", "has only missing values")
    if column.kind == TEXT and not (is_declared or from_dtype):
        is_label = any(isinstance(level, str) for level in column.levels)
    else:
        is_label = column.kind in (TEXT, FLAGS)
    if is_label or is_declared:
        return _fit_labels(column, name)
    kind = NUMBERS if column.kind == TEXT else column.kind
    values = numbers_of(column, kind, name)
    return fit_measure(Facts.of(values), kind, values)


def _dropped(kind, reason):
    return Fitted(kind, f"Dropped: it {reason}.")


def _presence(value, n_missing, cells):
    return Fitted(
        "presence",
        f"Encoded as whether it is there, for all values are {value} but "
        f"{n_missing} that are missing.",
        Presence(cells),
    )


def fit_measure(facts, kind=NUMBERS, values=None):
    """What is to be done with a column of numbers, dates or durations.

    Parameters
    ----------
    facts : Facts
    kind : str, default="numbers"
    values : ndarray, default=None
        Dates, of which cycles are taken.
    """
    if np.isnan(facts.smallest):
        return _dropped("empty", "has only missing values")
    center, scale = facts.scaling()
    if facts.smallest == facts.largest or not 0 < scale < np.inf:
        if facts.n_missing:
            return _presence("the same", facts.n_missing, kind)
        return _dropped("constant", "is constant")
    encoded = _encoded_number(center, scale, facts)
    missing = f"; missing: {facts.n_missing}" if facts.n_missing else ""
    if kind == DATES:
        cycles = tuple(cycle for cycle in CYCLES if _varies(CYCLES[cycle](values)))
        also = f", with sine and cosine of the {', '.join(cycles)}" if cycles else ""
        note = f"Seconds from the median, scaled by quartiles{also}{missing}."
        return Fitted("date", note, Dates(encoded, cycles))
    note = f"Centered at the median, and scaled by quartiles{missing}."
    return Fitted(
        "number" if kind == NUMBERS else "duration", note, Measure(kind, encoded)
    )


def _varies(values):
    return np.fmin.reduce(values) < np.fmax.reduce(values)


def _encoded_number(center, scale, facts):
    has_missing = facts.n_missing > 0
    if facts.is_single and _SMALLEST_SCALE < scale < _LARGEST_SCALE:
        most = float(np.finfo(np.float32).max)
        low = max(center - _FARTHEST / scale, -most)
        high = min(center + _FARTHEST / scale, most)
        return Encoded(NUMBER, 0, has_missing, center, scale, low=low, high=high)
    # float32 would round it, or cannot hold its scale
    return Encoded(NUMBER, 0, has_missing, own_center=center, own_scale=scale)


def _fit_labels(column, name):
    codes, keys = labels_of(column, name)
    n_missing = int((codes < 0).sum())
    counts = np.bincount(codes[codes >= 0], minlength=len(keys))
    n_rows, n_levels = int(counts.sum()), int((counts > 0).sum())
    order = range(len(keys))
    if not column.has_order:
        order = sorted(order, key=lambda i: _rank(keys[i]))
    order = [i for i in order if counts[i]]
    if n_levels == 0:
        return _dropped("empty", "has only missing values")
    if n_levels == 1:
        value = repr(keys[order[0]])
        if n_missing:
            return _presence(value, n_missing, column.kind)
        return _dropped("constant", f"is always {value}")
    if n_levels == 2:
        return _flag(*(keys[i] for i in order), column.kind == FLAGS, n_missing)
    if n_rows > _FEW and n_levels > _SHARE_OF_IDENTIFIERS * n_rows:
        return _dropped(
            "identifier", f"has {n_levels} different values in {n_rows} rows"
        )
    return _category(keys, counts, order, n_missing)


def _rank(key):
    """Numbers by value, before text."""
    return (1, 0, key) if isinstance(key, str) else (0, key, "")


def _flag(first, second, is_bool, n_missing):
    if is_bool:
        first, second = bool(first), bool(second)
    missing = f", and 0 where it is missing ({n_missing})" if n_missing else ""
    return Fitted(
        "flag",
        f"Encoded as -1 for {first!r} and 1 for {second!r}{missing}.",
        Labels({first: -1.0, second: 1.0}, 0.0, Encoded(FLAG)),
    )


def _category(keys, counts, order, n_missing):
    kept = order
    if len(order) > _FEW:
        kept = [i for i in order if counts[i] > 1]
        most = sorted(kept, key=lambda i: -counts[i])[:_MOST_LEVELS]
        kept = [i for i in order if i in set(most)] if len(kept) > len(most) else kept
    codes = {keys[i]: float(code) for code, i in enumerate(kept, 1)}
    n_codes = 1 + len(kept) + (n_missing > 0)
    missing = float(n_codes - 1) if n_missing else 0.0
    note = f"{len(order)} levels"
    if len(kept) < len(order):
        note += f", of which {len(kept)} have a code of their own"
    if n_missing:
        note += f", and one more for what is missing ({n_missing})"
    if _are_numbers_as_text(keys):
        note += (
            "; all are numbers that are text: X.astype(float) would make them numbers"
        )
    encoded = Encoded(CATEGORY, n_codes)
    return Fitted("category", f"{note}.", Labels(codes, missing, encoded))


def _are_numbers_as_text(keys):
    try:
        return all(isinstance(key, str) and np.isfinite(float(key)) for key in keys)
    except ValueError:
        return False
