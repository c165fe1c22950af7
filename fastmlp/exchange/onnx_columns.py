"""The columns of a table in an ONNX graph, as `fastmlp.data.columns` encodes them.

Tensors have one type, and no missing values but NaN: what stands for them is said at
`NOT_A_TIME` and `NO_TEXT`. The table is one tensor, or one for each column.
"""

import numpy as np

from fastmlp.data.cells import DATES, DURATIONS, FLAGS, NUMBERS, TEXT
from fastmlp.data.encodings import Dates, Labels, Measure
from fastmlp.data.frames import said

__all__ = ["NOT_A_TIME", "NO_TEXT", "TIMES", "kinds_of", "matrix_of"]

#: Dates and durations, in whole microseconds.
TIMES = "dates or durations"

#: A date or a duration that is missing: what NumPy's NaT is, as a whole number.
NOT_A_TIME = np.iinfo(np.int64).min

#: Text that is missing.
NO_TEXT = ""

_KINDS = {NUMBERS: NUMBERS, FLAGS: NUMBERS, TEXT: TEXT, DATES: TIMES, DURATIONS: TIMES}


def kinds_of(columns):
    """What tensors of the columns that count have in them.

    Parameters
    ----------
    columns : fastmlp.data.columns.Columns
        Fitted.

    Returns
    -------
    dict of int to str
        Index of a column -> NUMBERS, TEXT or TIMES.

    Raises
    ------
    ValueError
        If no tensor can hold a column.
    """
    return {j: _kind_of(encoding, name) for j, name, _, encoding in columns.encodings_}


def _kind_of(encoding, name):
    if not isinstance(encoding, Labels):
        return _KINDS[encoding.cells]
    are_text = {isinstance(level, str) for level in encoding.codes}
    if len(are_text) > 1:
        raise ValueError(
            f"{said(name)} has text and numbers among its levels, which no tensor can "
            "hold: make all of them text before fit"
        )
    if not are_text.pop():
        return NUMBERS
    if NO_TEXT in encoding.codes and encoding.missing != 0:
        raise ValueError(
            f"{said(name)} has empty text as a level, and missing values, too: in a "
            "tensor, empty text is what is missing. Replace one of them before fit"
        )
    return TEXT


def matrix_of(columns, tensors):
    """The matrix that `Columns.transform` makes of a table.

    Parameters
    ----------
    columns : fastmlp.data.columns.Columns
        Fitted.
    tensors : fastmlp.exchange.graphs.Tensor, or dict of int to Tensor
        Of shape (n_rows, n_features), or index of a column -> (n_rows, 1).

    Returns
    -------
    fastmlp.exchange.graphs.Tensor of shape (n_rows, n_encoded), float32

    Raises
    ------
    ValueError
        If a tensor has another type than its column needs.
    """
    kinds, parts, numbers = kinds_of(columns), [], []

    def column(j, name):
        tensor = tensors[j] if isinstance(tensors, dict) else tensors[:, [j]]
        is_right = {
            NUMBERS: tensor.dtype != object,
            TEXT: tensor.dtype == object,
            TIMES: tensor.dtype == np.int64,
        }[kinds[j]]
        if not is_right:
            raise ValueError(
                f"{said(name)} has {kinds[j]}: its tensor cannot be of the type "
                f"{'text' if tensor.dtype == object else tensor.dtype}"
            )
        return tensor.astype(np.float64) if kinds[j] == NUMBERS else tensor

    def take_numbers():
        """Numbers side by side in the matrix, with one node."""
        if not numbers:
            return
        if isinstance(tensors, dict):
            parts.extend(column(j, name) for j, name in numbers)
        else:
            parts.append(tensors[:, [j for j, _ in numbers]].astype(np.float64))
        numbers.clear()

    for j, name, _, encoding in columns.encodings_:
        if type(encoding) is Measure and encoding.cells == NUMBERS:
            numbers.append((j, name))
            continue
        take_numbers()
        x = column(j, name)
        if isinstance(encoding, Labels):
            of_kind = {TEXT: _codes_of_text, NUMBERS: _codes_of_numbers}[kinds[j]]
            parts.append(of_kind(x, encoding.codes, encoding.missing))
        elif isinstance(encoding, Measure):  # of times
            instants = np.where(x == NOT_A_TIME, np.nan, x.astype(np.float64))
            is_date = isinstance(encoding, Dates)
            parts += encoding.with_cycles(instants) if is_date else [instants]
        elif kinds[j] == TEXT:
            parts.append(_look_up(x, {NO_TEXT: -1.0}, 1.0))
        else:
            is_missing = x == NOT_A_TIME if kinds[j] == TIMES else np.isnan(x)
            parts.append(np.where(is_missing, -1.0, 1.0))
    take_numbers()
    return columns.scaled(np.concatenate(parts, axis=1)).astype(np.float32)


def _look_up(x, numbers, default):
    """Numbers for text."""
    found = x.graph.add(
        "LabelEncoder", [x], np.float32, op_domain="ai.onnx.ml", op_version=2,
        keys_strings=[*numbers], values_floats=[*numbers.values()],
        default_float=default,
    )  # fmt: skip
    return found.astype(np.float64)


def _codes_of_text(x, codes, missing):
    return _look_up(x, {NO_TEXT: missing, **codes}, 0.0)


def _codes_of_numbers(x, codes, missing):
    levels = np.array([*codes], np.float64)
    numbers = np.array([*codes.values()])[:, np.newaxis]
    found = (x == levels).astype(np.float64) @ numbers
    return np.where(np.isnan(x), missing, found)
