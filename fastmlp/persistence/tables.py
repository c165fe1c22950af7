"""The state of a saved model for tables, and the checks when it is loaded.

As that of other models (`fastmlp.persistence.saving`), it holds arrays and plain values
only, and all that a kernel computes addresses from is checked before.
"""

import math
from dataclasses import asdict
from inspect import signature
from numbers import Integral, Real

import numpy as np

from fastmlp.data.cells import DATES, DURATIONS, FLAGS, NUMBERS, TEXT
from fastmlp.data.columns import Columns
from fastmlp.data.encodings import (
    CATEGORY,
    CYCLES,
    FLAG,
    NUMBER,
    Dates,
    Encoded,
    Fitted,
    Labels,
    Measure,
    Presence,
)
from fastmlp.persistence.saving import (
    attributes_of,
    expect,
    expect_one_of,
    shape_of_numbers,
    state_of,
)
from fastmlp.tables import encodings
from fastmlp.tables.activations import ACTIVATIONS
from fastmlp.tables.losses import OUTPUT_ACTIVATIONS
from fastmlp.tables.recipes import SHAPES, Recipe

__all__ = ["attributes_of_tables", "state_of_tables"]

#: How a column may be encoded: name of a class -> (class, kinds of its cells, kinds of
#: its columns of the matrix).
_ENCODINGS = {
    cls.__name__: (cls, cells, kinds)
    for cls, cells, kinds in (
        (Measure, (NUMBERS, DURATIONS), (NUMBER,)),
        (Dates, (DATES,), (NUMBER,)),
        (Labels, (), (FLAG, CATEGORY)),
        (Presence, (NUMBERS, FLAGS, TEXT, DATES, DURATIONS), (FLAG,)),
    )
}

#: Kinds of the matrix's columns -> those that the network may be told of them.
_TOLD = {
    NUMBER: (encodings.NUMBER,),
    FLAG: (encodings.FLAG,),
    CATEGORY: (encodings.ONE_HOT, encodings.EMBEDDING),
}

#: Fitted attributes that are those of the columns.
_OF_COLUMNS = ("columns_", "n_features_in_", "feature_names_in_")

#: Of anything that is counted.
_TOO_MANY = 2**31


# --- to a state -----------------------------------------------------------------------


def _plain_encoding(encoding):
    if encoding is None:
        return None
    plain = {"type": type(encoding).__name__}
    for name in signature(type(encoding)).parameters:
        value = getattr(encoding, name)
        if name == "encoded":
            value = value[0]._asdict()
        elif name == "codes":  # not every format has keys of all types
            value = [*map(list, value.items())]
        plain[name] = value
    return plain


def _plain_columns(columns):
    encoding_of = {j: encoding for j, _, _, encoding in columns.encodings_}
    names = getattr(columns, "feature_names_in_", None)
    return {
        "names": None if names is None else names.tolist(),
        "columns": [
            {
                "kind": column.kind,
                "note": column.note,
                "encoding": _plain_encoding(encoding_of.get(j)),
            }
            for j, column in enumerate(columns.columns_)
        ],
    }


def state_of_tables(attributes):
    """The attributes of an estimator for tables as arrays and plain values.

    Parameters
    ----------
    attributes : dict
        By name.

    Returns
    -------
    dict
    """
    state = {name: attributes[name] for name in attributes if name not in _OF_COLUMNS}
    if "_columns" in state:
        state["_columns"] = _plain_columns(state["_columns"])
    if "_encoded" in state:
        state["_encoded"] = [column._asdict() for column in state["_encoded"]]
        state["_recipe_used"] = asdict(state["_recipe_used"])
    return state_of(state)


# --- from a state ---------------------------------------------------------------------


def _checked(value, kind, what):
    """A value of a type: a whole number from 0 on, a finite number, or any other."""
    is_number = not isinstance(value, bool | np.bool_) and isinstance(
        value, {int: Integral, float: Real}.get(kind, ())
    )
    if kind is float:
        expect(is_number and math.isfinite(value), f"{what} is {value!r:.80}")
    elif kind is int:
        expect(is_number and 0 <= value < _TOO_MANY, f"{what} is {value!r:.80}")
    elif kind is not object:
        expect(isinstance(value, kind), f"{what} is {value!r:.80}")
    return value


def _has_default(cls, name):
    defaults = getattr(cls, "_field_defaults", None)  # of a named tuple
    return hasattr(cls, name) if defaults is None else name in defaults


def _record(cls, values):
    """A named tuple or dataclass, of values of the types that its fields have.

    Fields that have a default may be missing, as in files of a version without them.
    """
    expect(isinstance(values, dict), f"there is no {cls.__name__}")
    kinds = cls.__annotations__
    needed = {name for name in kinds if not _has_default(cls, name)}
    has_all = needed <= values.keys() <= kinds.keys()
    expect(has_all, f"a {cls.__name__} has other fields")
    for name, value in values.items():
        _checked(value, kinds[name], name)
    return cls(**values)


def _encoding(plain):
    """The encoding of a column."""
    if plain is None:
        return None
    values = {**plain}
    name = values.pop("type")
    expect_one_of(name, tuple(_ENCODINGS))
    cls, cells, kinds = _ENCODINGS[name]
    if "encoded" in values:
        values["encoded"] = _record(Encoded, values["encoded"])
        kind = values["encoded"].kind
        expect(kind in kinds, f"a column of kind {kind} is encoded as {name}")
    if "cells" in values:
        expect_one_of(values["cells"], cells)
    if cls is Labels:
        values["codes"] = dict(_checked(values["codes"], list, "codes"))
        for key, code in values["codes"].items():
            _checked(key, str | int | float, "a level")
            _checked(code, float, "a code")
        _checked(values["missing"], float, "a code")
    for cycle in values.get("cycles", ()):
        expect_one_of(cycle, tuple(CYCLES))
    return cls(**values)


def _columns(plain, caller):
    """The `Columns` that `_plain_columns` has told."""
    names, columns = plain["names"], _checked(plain["columns"], list, "columns")
    if names is not None:
        expect(len(names) == len(columns), f"{len(names)} names of {len(columns)}")
        for name in names:
            _checked(name, str, "a name")
    fitted = [_record(Fitted, column) for column in columns]
    fitted = [each._replace(encoding=_encoding(each.encoding)) for each in fitted]
    return Columns(caller=caller).lay_out(names, fitted)


def _recipe(plain):
    recipe = _record(Recipe, plain)
    for width in (*recipe.widths, recipe.n_embedded):
        expect(_checked(width, int, "a width") > 0, "a layer has no units")
    expect_one_of(recipe.activation, tuple(ACTIVATIONS))
    expect_one_of(recipe.scaling, ("robust", "quantile"))
    expect_one_of(recipe.embedding, ("cosines", "piecewise"))
    expect_one_of(recipe.rate_shape, tuple(SHAPES))
    expect_one_of(recipe.strength_shape, tuple(SHAPES))
    return recipe


def _told(encoded, columns):
    """What the network was told of each column of the matrix, which has to fit it."""
    told = [_record(encodings.Column, column) for column in encoded]
    expect(len(told) == len(columns.kinds_), "the network has other columns")
    for column, kind, levels in zip(told, columns.kinds_, columns.levels_, strict=True):
        fits = column.kind in _TOLD[kind] and column.n_levels == levels
        expect(fits, "the network has columns of other kinds")
        if column.values is not None:
            shape_of_numbers(column.values)
        if column.knots is not None:
            shape_of_numbers(column.knots)
    return tuple(told)


def _check_members(attributes):
    """Raise an error if networks cannot have these parameters."""
    from fastmlp.training.member import layers_for  # for kernels, which take a while

    n_outputs = attributes["n_outputs_"]
    layers = layers_for(attributes["_encoded"], n_outputs, attributes["_recipe_used"])
    expected = {}
    for layer in layers:
        for parameter in layer.parameters():
            expected.setdefault(parameter.group, []).append(parameter.shape)
    for member in attributes["members_"]:
        found = {
            group: [shape_of_numbers(array) for array in arrays]
            for group, arrays in member.items()
        }
        expect(found == expected, f"parameters have the shapes {found!r:.400}")


def _check_outputs(attributes):
    """Raise an error if what is done with outputs does not fit their number."""
    n_outputs = attributes["n_outputs_"]
    expect(_checked(n_outputs, int, "n_outputs_") > 0, "there are no outputs")
    members = _checked(attributes["members_"], list, "members_")
    if "classes_" in attributes:
        shape = np.shape(attributes["classes_"])
        expect(shape == (n_outputs,), f"{n_outputs} outputs, and classes of {shape}")
        _checked(attributes["_is_multilabel"], bool, "_is_multilabel")
    else:
        for name in ("_center", "_scale", "_lowest", "_highest"):
            shape = shape_of_numbers(attributes[name])
            expect(shape in ((1,), (n_outputs,)), f"{name} has shape {shape}")
    if members and "estimators_" not in attributes:
        temperature = _checked(attributes["temperature_"], float, "temperature_")
        expect(temperature > 0, f"temperature_ is {temperature}")
        expect_one_of(attributes["out_activation_"], tuple(OUTPUT_ACTIVATIONS))


def _check_alike(one, others):
    """Raise an error if an estimator cannot take the matrix that others take."""
    expect(one.get("members_") and "estimators_" not in one, "an estimator is not one")
    for name in ("kinds_", "levels_"):
        pair = (getattr(each["_columns"], name) for each in (one, others))
        expect(np.array_equal(*pair), f"an estimator has other {name}")
    for name in ("n_outputs_", "out_activation_"):
        expect(one[name] == others[name], f"an estimator has another {name}")


def _restore(attributes, parameters, caller):
    """Restore and check fitted attributes, in place."""
    columns = attributes["_columns"] = _columns(attributes["_columns"], caller)
    for name in _OF_COLUMNS:
        if hasattr(columns, name):
            attributes[name] = getattr(columns, name)
    _check_outputs(attributes)
    if "estimators_" in attributes:  # which have been checked, each by itself
        weights = attributes["weights_"]
        shape = shape_of_numbers(weights)
        expect(shape == (len(attributes["estimators_"]),), f"weights of {shape}")
        expect(np.isfinite(weights).all(), "weights are not finite")
        for estimator in attributes["estimators_"]:
            expect(type(estimator).__name__ == caller, "an estimator of another kind")
            _check_alike(vars(estimator), attributes)
    elif attributes["members_"]:
        attributes["_recipe_used"] = _recipe(attributes["_recipe_used"])
        attributes["_encoded"] = _told(attributes["_encoded"], columns)
        _check_members(attributes)
    fitted = _checked(attributes["_fitted"], list, "_fitted")
    is_known = set(fitted) <= attributes.keys() - parameters
    expect(is_known, f"_fitted is {fitted!r:.400}")


def attributes_of_tables(state, defaults, caller):
    """The attributes of an estimator for tables, from its state.

    Parameters
    ----------
    state : dict
        From `state_of_tables`.
    defaults : dict
        Parameters of the estimator, and their defaults.
    caller : str
        Name of its class.

    Returns
    -------
    dict

    Raises
    ------
    ValueError
        If the state is damaged, or written by a newer version.
    """

    def restore(attributes, _):
        if "members_" in attributes:
            _restore(attributes, defaults.keys(), caller)

    return attributes_of(state, defaults, restore)
