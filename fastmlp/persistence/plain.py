"""States of saved estimators as JSON, and arrays that it refers to.

In JSON, a list is a list, and an object has one name, which says what it stands for:

    {"tuple": [...]}
    {"dict": [[key, value], ...]}
    {"tensor": name}                an array of numbers or truth values
    {"text": [...]}                 an array of text, in one dimension
    {"objects": [...]}              an array of any such values, in one dimension
    {"float": "nan"}                or "inf", "-inf"
"""

import math
from numbers import Integral, Real

import numpy as np

__all__ = ["from_plain", "to_plain"]

#: Characters of an array of text, counting all as long as the longest.
_MOST_CHARACTERS = 2**24


def to_plain(value, name, tensors):
    """A value as JSON has it.

    Parameters
    ----------
    value : object
        Of a state, see `fastmlp.persistence.saving.state_of`.
    name : str
        Its own, for messages and for names of arrays.
    tensors : dict of str to ndarray
        Arrays of numbers are added to it.

    Raises
    ------
    ValueError
        If it is none that can be stored.
    """
    if value is None or isinstance(value, bool | np.bool_):
        return None if value is None else bool(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        return number if math.isfinite(number) else {"float": str(number)}
    if isinstance(value, list | tuple):
        parts = [to_plain(part, f"{name}.{i}", tensors) for i, part in enumerate(value)]
        return parts if isinstance(value, list) else {"tuple": parts}
    if isinstance(value, dict):
        return {
            "dict": [
                [to_plain(key, name, tensors), to_plain(v, f"{name}.{key}", tensors)]
                for key, v in value.items()
            ]
        }
    if isinstance(value, np.ndarray):
        return _plain_array(value, name, tensors)
    raise ValueError(
        f"{name} is a {type(value).__name__}, and only arrays and plain values can be "
        "stored. If it is a parameter, set it to another value before, such as None"
    )


def _plain_array(array, name, tensors):
    kind = array.dtype.kind
    if kind in "fiub" and array.itemsize <= 8 and (array.size or array.shape == (0,)):
        if name in tensors:
            raise ValueError(f"there are two arrays that would have the name {name}")
        tensors[name] = array
        return {"tensor": name}
    if kind in "UO" and array.ndim == 1:
        what = "text" if kind == "U" else "objects"
        return {what: to_plain(array.tolist(), name, tensors)}
    raise ValueError(
        f"{name} is an array of dtype {array.dtype} and shape {array.shape}, which "
        "cannot be stored"
    )


def from_plain(value, tensors):
    """The inverse of `to_plain`.

    Parameters
    ----------
    value : object
        From JSON.
    tensors : dict of str to ndarray
        Arrays are taken out of it: each can be used once.

    Raises
    ------
    Exception
        Of any kind, if it is nothing that `to_plain` gives.
    """
    if isinstance(value, list):
        return [from_plain(part, tensors) for part in value]
    if not isinstance(value, dict):
        return value
    ((what, content),) = value.items()
    if what == "tensor":
        return tensors.pop(content)
    if what == "float":
        return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[content]
    parts = from_plain(content, tensors)
    if not isinstance(parts, list):
        raise ValueError(f"no {what} is made of {content!r:.80}")
    if what == "tuple":
        return tuple(parts)
    if what == "dict":
        return dict(parts)
    if what == "text":
        if not all(isinstance(part, str) for part in parts):
            raise ValueError("an array of text has something else")
        if len(parts) * max(map(len, parts), default=0) > _MOST_CHARACTERS:
            raise ValueError("an array of text would take too much memory")
        return np.array(parts, str)
    if what == "objects":
        array = np.empty(len(parts), object)
        for i, part in enumerate(parts):  # which may be lists
            array[i] = part
        return array
    raise ValueError(f"there is no {what!r:.80}")
