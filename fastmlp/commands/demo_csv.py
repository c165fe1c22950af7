"""The demo's CSV files: what each column is, and what is made of it."""

import codecs
import csv
import difflib
import io
import itertools
import random
import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime

import numpy as np

__all__ = ["MOST_CATEGORIES", "Column", "Data", "DataError", "load_csv"]

#: Of one column that become a feature each; what is rarer is pooled.
MOST_CATEGORIES = 50

#: Numbers in a target with more distinct values than this are a regression.
_MOST_CLASSES = 20

_FEWEST_ROWS = 10
_FEWEST_ROWS_OF_A_CLASS = 4  # three for training, one for the test
_MOST_ROWS = 100_000
_LARGEST_NUMBER = 1e30  # larger ones are taken as missing

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}

#: Lines by which the delimiter is recognised.
_HEAD = 100

#: Different fields of a column by which its decimal sign is recognised.
_ENOUGH = 5000

#: What stands for a missing value in any column, and also among numbers.
_MISSING = {"", "na", "n/a", "#n/a", "nan", "null", "?"}
_MARKERS = {"none", "nil", "-", "--", ".", "missing", "unknown", "not available"}

#: Numbers by their decimal sign, with the signs that may group their digits.
_NUMBERS = {
    sign: re.compile(
        rf"[+-]?(?:(?:[1-9]\d{{0,2}}(?:[{other} '\xa0\u202f]\d{{3}})+|\d+)"
        rf"(?:[{sign}]\d*)?|[{sign}]\d+)(?:e[+-]?\d+)?",
        re.ASCII | re.IGNORECASE,
    )
    for sign, other in (".,", ",.")
}

#: Formats of dates; of those that fit equally well the first is taken.
_DATES = {
    "%Y-%m-%d": "year-month-day",
    "%Y/%m/%d": "year/month/day",
    "%Y.%m.%d": "year.month.day",
    "%Y%m%d": "yearmonthday",
    "%Y-%m": "year-month",
    "%d.%m.%Y": "day.month.year",
    "%d.%m.%y": "day.month.year",
    "%m/%d/%Y": "month/day/year",
    "%d/%m/%Y": "day/month/year",
    "%m/%d/%y": "month/day/year",
    "%d/%m/%y": "day/month/year",
    "%m-%d-%Y": "month-day-year",
    "%d-%m-%Y": "day-month-year",
    "%d %b %Y": "day month year",
    "%d %B %Y": "day month year",
    "%d-%b-%Y": "day-month-year",
    "%d-%b-%y": "day-month-year",
    "%b %d, %Y": "month day, year",
    "%B %d, %Y": "month day, year",
}

_DATE_AND_TIME = re.compile(
    r"(?P<date>.*?\d)(?:(?:T|,? +)(?P<hour>\d{1,2}):\d\d(?::\d\d(?:[.,]\d+)?)?"
    r"\s*(?P<half>[AP]M)?\s*(?:Z|UTC|GMT|[+-]\d\d:?\d\d)?)?",
    re.ASCII | re.IGNORECASE,
)

#: Names of columns that count or key the rows.
_NAMES_OF_IDENTIFIERS = re.compile(r"(?:^|[\W_])(?i:id)$|[a-z]I[dD]$")


class DataError(ValueError):
    """The data cannot be read or used; the message says why, in one line."""


@dataclass
class Column:
    """What was made of a column, and how many of its values will be imputed."""

    name: str
    use: str
    n_imputed: int = 0


@dataclass
class Data:
    """A data set.

    Attributes
    ----------
    name : str
    X : ndarray of shape (n_samples, n_features)
        Numbers, NaN where they are missing, and strings in `categories`.
    y : ndarray of shape (n_samples,)
        Numbers, or positions in `labels`.
    classifies : bool
        Whether y consists of classes.
    categories : tuple of int
        Columns of X.
    labels : tuple of str
        Names of the classes.
    columns : tuple of Column
        What was made of the columns of a file.
    notes : tuple of str
        What else the user should know.
    image_shape : tuple of int or None
        Height and width, if rows of X are images.
    """

    name: str
    X: np.ndarray
    y: np.ndarray
    classifies: bool
    categories: tuple = ()
    labels: tuple = ()
    columns: tuple = ()
    notes: tuple = ()
    image_shape: tuple | None = None


def load_csv(path, target, *, delimiter=None):
    """A data set from a CSV file with a header.

    Columns in which most values are numbers become numbers, the rest of their values
    missing.  Dates become years, months, days (and hours).  Other columns become
    categories.  Identifiers and constant or empty columns are left out.  The target is
    a regression if it consists of numbers, more than 20 different ones.

    Parameters
    ----------
    path : str
        The file, in UTF-8 (or UTF-16 with its mark at the start).
    target : str
        Name of the column to predict.
    delimiter : str, default=None
        One character.  None recognises commas, semicolons, tabs and pipes.

    Returns
    -------
    Data
        Its `columns` say what was made of each.

    Raises
    ------
    DataError
        If the file cannot be read, or there is no such target, or nothing to learn.
    """
    header, rows, notes = _read(path, delimiter)
    names = [name or f"(column {i})" for i, name in enumerate(header, 1)]
    if target not in names:
        raise DataError(f"{path} has no column {target!r}; {_hint(target, names)}")
    _check_number_of_rows(path, len(rows))
    unnamed = set(names) - set(header)
    fields = {name: [row[i].strip() for row in rows] for i, name in enumerate(names)}
    signs = _decimal_signs(fields)

    known, y, labels, use = _read_target(path, target, fields[target], signs[target])
    _check_number_of_rows(path, len(y), f" with a value in {target!r}")
    if len(y) < len(rows):
        notes.append(f"rows without a {target!r} left out: {len(rows) - len(y)}")
    if labels:
        y, labels, known = _frequent_classes(path, target, y, labels, known, notes)
        use = f"classification, {len(labels)} classes{use}"

    columns = [Column(target, f"target: {use}")]
    features = []
    for name in fields:
        if name == target:
            continue
        column, made = _use_column(
            name, [fields[name][i] for i in known], signs[name], name in unnamed
        )
        columns.append(column)
        features += made
    if not features:
        why = "; ".join(f"{column.name}: {column.use}" for column in columns[1:6])
        raise DataError(
            f"{path} has no features besides {target!r}" + (f" ({why})" if why else "")
        )
    X = np.empty((len(y), len(features)), dtype=object)
    for i, feature in enumerate(features):
        X[:, i] = feature
    return Data(
        path,
        X,
        y,
        classifies=bool(labels),
        categories=tuple(i for i, f in enumerate(features) if f.dtype == object),
        labels=labels,
        columns=tuple(columns),
        notes=tuple(notes),
    )


def _check_number_of_rows(path, n, which=""):
    if n < _FEWEST_ROWS:
        raise DataError(
            f"{path} has too few rows{which}: {n}; at least {_FEWEST_ROWS} are needed"
        )


# --- the file ------------------------------------------------------------------------


def _read(path, delimiter):
    """Names of columns, at most `_MOST_ROWS` rows, and notes about the file."""
    reader = None
    try:
        with open(path, "rb") as binary:
            start = binary.peek()
            if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                encoding = "utf-16"
            else:
                encoding = "utf-8-sig"
                if b"\0" in start:
                    raise DataError(f"{path} is not a text file")
            file = io.TextIOWrapper(binary, encoding=encoding, newline="")
            head = list(itertools.islice(file, _HEAD))
            n_before = 0
            if head and (match := re.fullmatch(r'"?sep=(.)"?\s*', head[0])):
                delimiter = delimiter or match[1]
                head, n_before = head[1:], 1
            if not any(line.strip(" \r\n" + "".join(_DELIMITERS)) for line in head):
                raise DataError(f"{path} is empty")
            notes = []
            if delimiter is None:
                delimiter = _recognise_delimiter(path, head)
                notes.append(f"separated by {_DELIMITERS[delimiter]}s")
            reader = _rows(itertools.chain(head, file), delimiter)
            header, rows, n_rows = _sample(path, reader, n_before)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        where = f" after line {reader.line_num}" if reader else ""
        raise DataError(
            f"cannot read {path}: byte 0x{error.object[error.start]:02x}{where} is not "
            f"{'UTF-16' if encoding == 'utf-16' else 'UTF-8'}; save the file as UTF-8"
        ) from error
    except csv.Error as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if n_rows > len(rows):
        notes.append(f"{len(rows)} of its {n_rows} rows, drawn at random")
    return header, rows, notes


def _rows(lines, delimiter):
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=delimiter != " ")


def _recognise_delimiter(path, lines):
    """The delimiter by which most rows have as many fields as the header."""
    fits = {}
    for delimiter in _DELIMITERS:
        n_fields = [len(row) for row in _rows(lines, delimiter) if any(row)]
        n_header = n_fields.pop(0) if n_fields else 0
        if n_header > 1:
            alike = n_fields.count(n_header) / max(1, len(n_fields))
            fits[delimiter] = alike, n_header
    if not fits:
        raise DataError(
            f"the header of {path} has no comma, semicolon, tab or pipe between "
            "columns; give their separator with --delimiter"
        )
    best = max(fits.values())
    chosen = [delimiter for delimiter, fit in fits.items() if fit == best]
    if len(chosen) > 1:
        names = " or ".join(f"{_DELIMITERS[each]}s" for each in chosen)
        raise DataError(
            f"the columns of {path} may be separated by {names}; say which with "
            "--delimiter"
        )
    return chosen[0]


def _sample(path, reader, n_before):
    """The header, at most `_MOST_ROWS` rows, all equally likely, and their number."""
    header, rows, n_rows = None, [], 0
    draw = random.Random(0)
    for row in reader:
        if not any(map(str.strip, row)):
            continue
        if header is None:
            header = [name.strip() for name in row]
            names = [name for name in header if name]
            if len(set(names)) < len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise DataError(f"{path} has two columns of the same name, {twice!r}")
            continue
        if len(row) != len(header):
            line = reader.line_num + n_before
            raise DataError(
                f"{path}, line {line}: {len(row)} fields, the header has {len(header)} "
                f"(separated by {reader.dialect.delimiter!r}; --delimiter changes that)"
            )
        n_rows += 1
        if len(rows) < _MOST_ROWS:
            rows.append(row)
        elif (i := draw.randrange(n_rows)) < _MOST_ROWS:
            rows[i] = row
    if header is None:
        raise DataError(f"{path} is empty")
    return header, rows, n_rows


def _hint(target, names):
    """Names that may have been meant, or all of them."""
    folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(target.casefold(), folded, 3)
    if near:
        return "did you mean " + " or ".join(repr(folded[name]) for name in near) + "?"
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return f"it has {', '.join(names[:20])}{more}"


# --- values --------------------------------------------------------------------------


def _is_missing(field):
    return field.casefold() in _MISSING


def _number(field, sign):
    """A float, NaN if the field is none; `sign` is the decimal sign."""
    field = field.strip(" $€£%\xa0").replace("\N{MINUS SIGN}", "-")
    if not _NUMBERS[sign].fullmatch(field):
        return np.nan
    field = re.sub(r"[ '\xa0\u202f]", "", field)
    if sign == ",":
        field = field.translate({ord("."): None, ord(","): "."})
    else:
        field = field.replace(",", "")
    value = float(field)
    return value if abs(value) <= _LARGEST_NUMBER else np.nan


def _numbers(fields, sign):
    values = {field: _number(field, sign) for field in set(fields)}
    return np.array([values[field] for field in fields])


def _decimal_signs(columns):
    """For each column the sign, "." or ",", with which more of it are numbers.

    "1,234" may be either; what such a column leaves open the others decide, a point if
    they do not agree.
    """
    counts = {}
    for name, fields in columns.items():
        some = list(itertools.islice(dict.fromkeys(fields), _ENOUGH))
        counts[name] = [np.isfinite(_numbers(some, sign)).sum() for sign in ".,"]
    points = any(point > comma for point, comma in counts.values())
    commas = any(point < comma for point, comma in counts.values())
    usual = "," if commas and not points else "."
    return {
        name: usual if point == comma else "." if point > comma else ","
        for name, (point, comma) in counts.items()
    }


def _date_parts(field, pattern):
    """(year, month, day, hour or None), or None if the field is no such date."""
    match = _DATE_AND_TIME.fullmatch(field) if len(field) < 50 else None
    if match is None or (pattern == "%Y%m%d" and len(match["date"]) != 8):
        return None
    try:
        date = datetime.strptime(match["date"], pattern)
    except ValueError:
        return None
    if pattern == "%Y%m%d" and not 1900 <= date.year < 2100:
        return None
    if match["hour"] is None:
        return date.year, date.month, date.day, None
    hour = int(match["hour"])
    if match["half"]:
        hour = hour % 12 + 12 * (match["half"].casefold() == "pm")
    return date.year, date.month, date.day, hour


def _dates(counts):
    """The format of a column and its dates by field; (None, {}) if they are not dates.

    Parameters
    ----------
    counts : collections.Counter
        How often each field occurs, without those that are missing.
    """
    fits = {}
    sample = list(counts)[:30]
    for pattern in _DATES:
        n_parsed = sum(_date_parts(field, pattern) is not None for field in sample)
        if n_parsed < 0.8 * len(sample):
            continue
        dates = {field: _date_parts(field, pattern) for field in counts}
        dates = {field: parts for field, parts in dates.items() if parts}
        fits[pattern] = sum(counts[field] for field in dates), dates
    if not fits:
        return None, {}
    n_best = max(n_dates for n_dates, _ in fits.values())
    if n_best < 0.9 * counts.total():
        return None, {}
    best = [pattern for pattern, (n_dates, _) in fits.items() if n_dates == n_best]
    readings = [fits[pattern][1] for pattern in best]
    name = _DATES[best[0]]
    if any(reading != readings[0] for reading in readings):
        name += ", a guess"
    return name, readings[0]


# --- columns -------------------------------------------------------------------------


def _quoted(field):
    return repr(field if len(field) <= 20 else field[:17] + "...")


def _shown(counts, n=3):
    """The most frequent of some fields, with their numbers."""
    shown = [f"{_quoted(field)} ({count})" for field, count in counts.most_common(n)]
    return ", ".join(shown) + (", ..." if len(counts) > n else "")


def _no_numbers(fields, is_number):
    """Counts of those that are neither numbers nor empty."""
    return Counter(
        field for field, is_one in zip(fields, is_number, strict=True)
        if field and not is_one
    )  # fmt: skip


def _are_numbers(counts, n_numbers, others):
    """Whether a column is one of numbers, if it has that many, and these others."""
    usual = _MISSING | _MARKERS
    n_strange = sum(n for field, n in others.items() if field.casefold() not in usual)
    # codes such as "1", "2", "K" are few
    return n_numbers > 9 * n_strange or (
        n_numbers > n_strange and len(counts) > MOST_CATEGORIES
    )


def _use_column(name, fields, sign, is_unnamed):
    """A `Column` and its features: arrays of floats, or of strings (dtype object)."""
    counts = Counter(field for field in fields if not _is_missing(field))
    if not counts:
        return Column(name, "empty: left out"), []
    if len(counts) == 1 and counts.total() == len(fields):
        return Column(name, f"constant ({_quoted(next(iter(counts)))}): left out"), []
    pattern, dates = _dates(counts)
    if dates:
        return _use_dates(name, fields, counts, pattern, dates)
    numbers = _numbers(fields, sign)
    is_number = np.isfinite(numbers)
    others = _no_numbers(fields, is_number)
    if not _are_numbers(counts, is_number.sum(), others):
        return _use_categories(name, fields, counts)
    distinct = np.unique(numbers[is_number])
    if len(distinct) == 1:
        if is_number.all():
            return Column(name, f"constant ({distinct[0]:g}): left out"), []
        return _use_categories(name, fields, counts)  # there or not
    if (
        len(distinct) == len(fields)
        and (distinct == np.floor(distinct)).all()
        and (is_unnamed or _NAMES_OF_IDENTIFIERS.search(name))
    ):
        return Column(name, "identifiers (all different): left out"), []
    use = "numbers"
    if sign == "," and any("," in field for field in counts):
        use += " with decimal commas"
    if others:
        use += f"; taken as missing: {_shown(others)}"
    return Column(name, use, int((~is_number).sum())), [numbers]


def _use_dates(name, fields, counts, pattern, dates):
    """Year, month, day and hour of a column, as far as they vary."""
    parts = np.array(
        [[np.nan if part is None else part for part in dates[field]] if field in dates
         else [np.nan] * 4 for field in fields]
    )  # fmt: skip
    is_date = np.isfinite(parts[:, 0])
    used, features = [], []
    for part, values in zip(("year", "month", "day", "hour"), parts.T, strict=True):
        if len(np.unique(values[np.isfinite(values)])) > 1:
            used.append(part)
            features.append(values)
    if not features:
        return Column(name, "one date only: left out"), []
    use = f"dates ({pattern}), as numbers: {', '.join(used)}"
    if others := Counter({f: n for f, n in counts.items() if f not in dates}):
        use += f"; taken as missing: {_shown(others)}"
    return Column(name, use, int((~is_date).sum())), features


def _use_categories(name, fields, counts):
    """A column of strings, "" where they are missing."""
    n_present = counts.total()
    if len(counts) >= 10 and len(counts) > 0.9 * n_present:
        use = f"identifiers or free text ({len(counts)} different): left out"
        return Column(name, use), []
    use = f"categories ({len(counts)} different), one-hot"
    if len(counts) > MOST_CATEGORIES:
        use += f"; all but the {MOST_CATEGORIES - 1} most frequent are pooled"
    if n_present < len(fields):
        use += f"; {len(fields) - n_present} missing: one more category"
    values = ["" if _is_missing(field) else field for field in fields]
    return Column(name, use), [np.array(values, dtype=object)]


# --- the target ----------------------------------------------------------------------


def _read_target(path, name, fields, sign):
    """Rows that have one, their values, the names of classes, and what it is.

    It is not said how many classes there are: rare ones may be left out.
    """
    counts = Counter(field for field in fields if not _is_missing(field))
    if not counts:
        raise DataError(f"column {name!r} of {path} has no values")
    numbers = _numbers(fields, sign)
    is_number = np.isfinite(numbers)
    others = _no_numbers(fields, is_number)
    if _are_numbers(counts, is_number.sum(), others):
        known = np.flatnonzero(is_number)
        distinct, codes = np.unique(numbers[known], return_inverse=True)
        more = f"; taken as missing: {_shown(others)}" if others else ""
        if len(distinct) > _MOST_CLASSES:
            use = f"regression, {len(distinct)} different numbers{more}"
            return known, numbers[known], (), use
        labels = [str(int(v)) if v == int(v) else str(v) for v in distinct.tolist()]
    else:
        known = np.array([i for i, f in enumerate(fields) if not _is_missing(f)])
        texts = np.array([fields[i] for i in known])
        distinct, codes = np.unique(texts, return_inverse=True)
        labels, more = distinct.tolist(), ""
    return known, codes, tuple(labels), more


def _frequent_classes(path, name, y, labels, known, notes):
    """y, labels and rows without the classes of too few rows; checks what is left."""
    if len(labels) == 1:
        raise DataError(f"column {name!r} of {path} has only one class, {labels[0]!r}")
    counts = np.bincount(y, minlength=len(labels))
    is_frequent = counts >= _FEWEST_ROWS_OF_A_CLASS
    if is_frequent.sum() < 2:
        raise DataError(
            f"column {name!r} of {path} has {len(labels)} different values, fewer than "
            f"two classes of at least {_FEWEST_ROWS_OF_A_CLASS} rows"
        )
    if not is_frequent.all():
        rare = Counter(
            {labels[i]: int(counts[i]) for i in np.flatnonzero(~is_frequent)}
        )
        notes.append(
            f"classes of fewer than {_FEWEST_ROWS_OF_A_CLASS} rows left out: "
            f"{_shown(rare, 5)}"
        )
    keep = is_frequent[y]
    _, codes = np.unique(y[keep], return_inverse=True)
    labels = tuple(np.array(labels)[is_frequent].tolist())
    return codes, labels, known[keep]
