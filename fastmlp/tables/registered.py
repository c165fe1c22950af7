"""What users have registered: what a model, or a checkpoint, remembers of it."""

import numpy as np

from fastmlp.tables.activations import ACTIVATIONS
from fastmlp.tables.losses import BINARY, LOSSES

__all__ = ["check_registered", "functions_of_registered", "values_of_registered"]

_TABLES = {"activation": ACTIVATIONS, "loss": LOSSES}

#: Where functions are evaluated, to recognise them.
_POINTS = np.array([-3.1, -1.2, -0.3, 0.4, 1.7, 2.9])[:, np.newaxis]


def _names_of(parameters):
    """kind -> names in some parameters that stand for what users have registered."""
    recipe = parameters.get("_recipe_used") or {}
    given = {
        "activation": [parameters.get("activation"), recipe.get("activation")],
        "loss": [parameters.get("loss")],
    }
    found = {}
    for kind, values in given.items():
        for value in values:
            for name in value if isinstance(value, list | tuple) else [value]:
                row = _TABLES[kind].get(name) if isinstance(name, str) else None
                if row is not None and row.registered is not None:
                    found.setdefault(kind, []).append(name)
    return found


def _values_of(kind, name):
    """Some values of a function, as a list."""
    row = _TABLES[kind][name]
    if kind == "loss" and row.is_of_classes:
        row = LOSSES[BINARY + name]  # a function of one output
    arguments = (_POINTS,) if kind == "activation" else (_POINTS, np.ones_like(_POINTS))
    return np.ravel(row.value(*arguments)).tolist()


def values_of_registered(parameters):
    """Some values of each function that a user has registered, to recognise it by.

    Parameters
    ----------
    parameters : dict
        Of an estimator, by name.

    Returns
    -------
    dict
        kind -> name -> list of float; empty if there are none.
    """
    return {
        kind: {name: _values_of(kind, name) for name in names}
        for kind, names in _names_of(parameters).items()
    }


def functions_of_registered(parameters):
    """The functions themselves.

    Returns
    -------
    list of (str, str, callable, callable, dict)
        kind, name, function, derivative, options.
    """
    return [
        (kind, name, row.function, row.derivative, {**row.options, **row.counterparts})
        for kind, names in _names_of(parameters).items()
        for name in names
        for row in [_TABLES[kind][name].registered]
    ]


def check_registered(values):
    """Raise an error unless all functions of a model are registered here.

    Parameters
    ----------
    values : dict
        From `values_of_registered`.

    Raises
    ------
    ValueError
    """
    for kind, rows in values.items():
        for name, expected in rows.items():
            if name not in _TABLES[kind]:
                raise ValueError(
                    f"register the {kind} {name!r} with fastmlp.register_{kind} before "
                    "loading this model"
                )
            if not np.allclose(_values_of(kind, name), expected, rtol=1e-5, atol=1e-7):
                raise ValueError(
                    f"the {kind} {name!r} that is registered here is not that of the "
                    "model: it gives other values. Start a new process, and register "
                    "the one that the model was trained with before loading it"
                )
