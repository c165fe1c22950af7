"""The state of a saved estimator, and the checks when it is loaded.

A file may be damaged, or come from another version or another person. Kernels compute
addresses from the shapes of weights, so shapes and types are checked before a kernel
uses them.
"""

import math
import sys
from itertools import pairwise
from numbers import Integral, Real
from pickle import PicklingError
from types import FunctionType

import numpy as np
from sklearn.preprocessing import LabelBinarizer

from fastmlp.tables.activations import ACTIVATIONS
from fastmlp.tables.fitted import PARAMETERS, FittedModel
from fastmlp.tables.losses import OUTPUT_ACTIVATIONS
from fastmlp.tables.optimizers import OPTIMIZERS
from fastmlp.tables.registered import (
    check_registered,
    functions_of_registered,
    values_of_registered,
)
from fastmlp.training.schedules import SCHEDULES

__all__ = [
    "FORMAT_VERSION",
    "attributes_of",
    "bare_copy",
    "expect",
    "expect_one_of",
    "shape_of_numbers",
    "state_of",
]

#: Parameters that may be functions, or contain some.
_FUNCTIONS = ("learning_rate", "scoring", "callbacks")

#: Packages (joblib brings its own cloudpickle) that store functions by value.
_BY_VALUE = frozenset({"cloudpickle", "dill", "_dill"})

#: Format of `state_of`; 0 had no version, and scikit-learn's LabelBinarizer; in 0 and
#: 1, the optimizer's beta_1 and beta_2 had the names of `_OLD_NAMES`.
FORMAT_VERSION = 2

_OLD_NAMES = {"decay_1": "beta_1", "decay_2": "beta_2"}

_VERSION = "_format_version"

#: What is stored of activations and losses that users have registered: some values of
#: each, and for packages that store functions by value, the functions.
_REGISTERED, _REGISTERED_FUNCTIONS = "_registered", "_registered_functions"

#: Attributes that are stored for a LabelBinarizer.
_BINARIZER = ("classes_", "y_type_", "sparse_input_", "neg_label", "pos_label")

#: Numbers in the state of an optimizer.
_RATES = (
    "learning_rate_init", "power_t", "learning_rate", "beta_1", "beta_2", "epsilon"
)  # fmt: skip


def state_of(attributes):
    """The attributes of an estimator as arrays and plain values, with a version.

    Parameters
    ----------
    attributes : dict
        Of the estimator, by name. Parameters are kept as the user set them.

    Returns
    -------
    dict
    """
    state = {**attributes, _VERSION: FORMAT_VERSION}
    for name in _FUNCTIONS:
        value = state.get(name)
        if isinstance(value, list | tuple):
            state[name] = type(value)(_to_pickle(each, name) for each in value)
        elif value is not None:
            state[name] = _to_pickle(value, name)
    registered = values_of_registered(state)
    if registered:
        state[_REGISTERED] = registered
        if _stores_by_value():
            state[_REGISTERED_FUNCTIONS] = functions_of_registered(state)
    binarizer = state.get("_label_binarizer")
    if binarizer is not None:
        state["_label_binarizer"] = {
            name: getattr(binarizer, name) for name in _BINARIZER
        }
    return state


def _stores_by_value():
    """Whether we are asked by a package that stores functions by value."""
    frame = sys._getframe()
    while frame is not None:
        if _BY_VALUE.intersection(frame.f_globals.get("__name__", "").split(".")):
            return True
        frame = frame.f_back
    return False


def _to_pickle(value, parameter):
    """Wrap a function that pickle cannot find by name, for a clear error message."""
    if not isinstance(value, FunctionType):
        return value
    found = sys.modules.get(value.__module__)
    for part in value.__qualname__.split("."):
        found = getattr(found, part, None)
    return value if found is value else _NamelessFunction(value, parameter)


class _NamelessFunction:
    """A lambda or nested function in the state of an estimator.

    Copying works, and so do packages that store functions by value (cloudpickle, and so
    joblib's and dask's workers). pickle stores only names, and cannot.
    """

    def __init__(self, function, parameter):
        self.function = function
        self._parameter = parameter

    def __deepcopy__(self, memo):
        return self.function

    def __reduce__(self):
        if _stores_by_value():
            return _identity, (self.function,)
        name = self.function.__qualname__
        raise PicklingError(
            f"pickle cannot store {name!r}, which is in the parameter "
            f"{self._parameter!r}: pickle only stores functions that it can import by "
            "name. Define it with def at the top level of a module, set the parameter "
            "to None before you save the model, or save the model with cloudpickle"
        )


def _identity(function):
    return function


def _from_pickle(value):
    return value.function if isinstance(value, _NamelessFunction) else value


def bare_copy(estimator):
    """A shallow copy that does not check fitted attributes."""
    model = object.__new__(type(estimator))
    vars(model).update(vars(estimator))
    return model


def _restore_network(attributes, version):
    """Restore and check the fitted attributes of a network, in place.

    version : the format of the state that they are from.
    """
    if attributes.get("_label_binarizer") is not None:
        attributes["_label_binarizer"] = _binarizer(attributes["_label_binarizer"])
    optimizer = attributes.get("_optimizer_state")
    if version < 2 and optimizer is not None:
        attributes["_optimizer_state"] = {
            _OLD_NAMES.get(name, name): value for name, value in optimizer.items()
        }
    if "coefs_" in attributes:
        _check_fitted(attributes)
    if "estimators_" in attributes:
        _check_ensemble(attributes)


def _restore_registered(attributes):
    """Register what came with a model; raise an error if something is missing here."""
    functions = attributes.pop(_REGISTERED_FUNCTIONS, ())
    values = attributes.pop(_REGISTERED, {})
    if functions:
        from fastmlp.engine import registration

        registers = {
            "activation": registration.register_activation,
            "loss": registration.register_loss,
        }
        for kind, name, function, derivative, options in functions:
            registers[kind](name, function, derivative, **options)
    try:
        wanted = {
            kind: {str(name): [float(v) for v in rows[name]] for name in rows}
            for kind, rows in values.items()
            if kind in ("activation", "loss")
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"this is a damaged model: {error}") from error
    check_registered(wanted)


def attributes_of(state, defaults, restore=_restore_network):
    """The attributes of an estimator, from its state.

    Parameters
    ----------
    state : dict
        From `state_of`, of this version or an older one.
    defaults : dict
        Parameters of the estimator and their defaults, for parameters that did not
        exist in the version that wrote the state.
    restore : callable, default=_restore_network
        Restores and checks fitted attributes in place, given them and the format of the
        state; may raise errors of any kind.

    Returns
    -------
    dict

    Raises
    ------
    ValueError
        If the state is damaged, or written by a newer version.
    """
    if not isinstance(state, dict):
        raise ValueError(
            f"the state of an estimator is a dict, not {type(state).__name__}"
        )
    attributes = {**defaults, **state}
    for name in attributes.keys() & set(_FUNCTIONS):  # wrapped in a shallow copy
        value = attributes[name]
        is_list = isinstance(value, list | tuple)
        attributes[name] = (
            type(value)(map(_from_pickle, value)) if is_list else _from_pickle(value)
        )
    version = attributes.pop(_VERSION, 0)
    if not isinstance(version, int) or version < 0:
        raise ValueError(f"{version!r} is not a format version of a saved model")
    if version > FORMAT_VERSION:
        raise ValueError(
            f"the model was saved in format {version} by a newer fastmlp; this version "
            f"reads formats up to {FORMAT_VERSION}: upgrade fastmlp to load it"
        )
    _restore_registered(attributes)
    try:
        restore(attributes, version)
    except Exception as error:  # of any kind
        raise ValueError(
            f"this is a damaged model, or not a model of fastmlp: {error}"
        ) from error
    return attributes


def _binarizer(values):
    """The LabelBinarizer with these attributes."""
    if isinstance(values, LabelBinarizer):  # format 0
        values = vars(values)
    binarizer = LabelBinarizer(
        neg_label=values["neg_label"], pos_label=values["pos_label"]
    )
    for name in ("classes_", "y_type_", "sparse_input_"):
        setattr(binarizer, name, values[name])
    expect(isinstance(binarizer.classes_, np.ndarray), "the classes are not an array")
    expect(binarizer.classes_.ndim == 1, "the classes have several dimensions")
    return binarizer


def expect(condition, otherwise):
    """Raise a ValueError with a message, unless a condition holds."""
    if not condition:
        raise ValueError(otherwise)


def shape_of_numbers(value):
    """The shape of an array of real numbers; a ValueError if it is none."""
    array = np.asarray(value)
    expect(array.dtype.kind in "fiu", f"weights have dtype {array.dtype}")
    return array.shape


def _shapes(pair):
    """Shapes of all weights and biases, one pair per layer."""
    coefs, intercepts = pair
    for layers in pair:
        expect(
            isinstance(layers, list | tuple), f"layers are in a {type(layers).__name__}"
        )
    return [
        (shape_of_numbers(coef), shape_of_numbers(intercept))
        for coef, intercept in zip(coefs, intercepts, strict=True)
    ]


def _check_fitted(attributes):
    """Raise an error if a network cannot have these attributes."""
    shapes = _shapes([attributes[name] for name in PARAMETERS.values()])
    expect(shapes, "there are no layers")
    for weights, biases in shapes:
        expect(len(weights) == 2 and min(weights) > 0, f"weights have shape {weights}")
        expect(
            biases == weights[1:],
            f"biases have shape {biases} in a layer with weights of shape {weights}",
        )
    for (before, _), (after, _) in pairwise(shapes):
        expect(
            before[1] == after[0],
            f"weights of shape {before} are followed by weights of shape {after}",
        )
    n_features, n_outputs = shapes[0][0][0], shapes[-1][0][1]
    for name, value in (
        ("n_features_in_", n_features),
        ("n_outputs_", n_outputs),
        ("n_layers_", len(shapes) + 1),
    ):
        expect(
            attributes[name] == value, f"{name} is {attributes[name]!r}, not {value}"
        )
    if "feature_names_in_" in attributes:
        names = attributes["feature_names_in_"]
        expect(
            np.shape(names) == (n_features,),
            f"feature_names_in_ has shape {np.shape(names)}, not {(n_features,)}",
        )

    for name, size in (("X", n_features), ("y", n_outputs)):
        _check_scaling(attributes, name, size)

    activation = attributes["activation"]
    if not isinstance(activation, str):
        activation = list(activation)
        expect(
            len(activation) == len(shapes) - 1,
            f"{len(activation)} activations for {len(shapes) - 1} hidden layers",
        )
    else:
        activation = [activation]
    for name in activation:
        expect_one_of(name, tuple(ACTIVATIONS))
    expect_one_of(attributes["out_activation_"], tuple(OUTPUT_ACTIVATIONS))
    expect_one_of(attributes.get("precision_", "float64"), ("float32", "float64"))
    expect_one_of(
        attributes.get("task_", "regression"), ("classification", "regression")
    )
    for name, kind in FittedModel.kinds().items():
        missing = name not in attributes
        value = attributes.get(name)
        expect(missing or isinstance(value, kind), f"{name} is {value!r}")
    if (binarizer := attributes.get("_label_binarizer")) is not None:
        _check_classes(binarizer, n_outputs)
    if attributes.get("_optimizer_state") is not None:
        _check_optimizer(attributes["_optimizer_state"], shapes)


def _check_classes(binarizer, n_outputs):
    """Raise an error if classes need another number of outputs."""
    many = binarizer.y_type_ == "multiclass" or "multilabel" in binarizer.y_type_
    n_expected = len(binarizer.classes_) if many else 1
    expect(
        n_outputs == n_expected,
        f"{n_outputs} outputs, but the classes need {n_expected}",
    )


def _check_ensemble(attributes):
    """Raise an error if members, each of which has been checked, do not fit in."""
    members, weights = attributes["estimators_"], attributes["estimator_weights_"]
    expect(isinstance(members, list) and members, "there are no members")
    expect(len({type(member) for member in members}) == 1, "members of several kinds")
    for name in ("n_features_in_", "n_outputs_"):
        sizes = {getattr(member, name, None) for member in members}
        expect(sizes == {attributes[name]}, f"{name} is {sizes} of the members")
    shape = shape_of_numbers(weights)
    expect(shape == (len(members),), f"{len(members)} members, and weights of {shape}")
    expect(np.all(weights >= 0) and np.sum(weights) > 0, "weights are not positive")
    expect(np.isfinite(weights).all(), "weights are not finite")
    if (binarizer := attributes.get("_label_binarizer")) is not None:
        _check_classes(binarizer, attributes["n_outputs_"])


def _check_scaling(attributes, name, size):
    """Raise an error if the stored scaling does not fit `size` columns."""
    parts = [attributes.get(f"{name}_{part}_") for part in ("mean", "scale")]
    if all(part is None for part in parts):
        return
    for part in parts:
        expect(
            shape_of_numbers(part) in ((size,), (1,)),
            f"the scaling of {name} does not have {size} columns",
        )
        expect(np.isfinite(part).all(), f"the scaling of {name} is not finite")
    expect(np.all(parts[1] > 0), f"the scaling of {name} is not positive")


def expect_one_of(value, names):
    """Raise a ValueError unless a value is one of some names."""
    expect(
        isinstance(value, str) and value in names, f"{value!r} is not one of {names}"
    )


def _check_optimizer(state, shapes):
    """Raise an error if this optimizer state does not fit weights of these shapes."""
    expect_one_of(state["name"], tuple(OPTIMIZERS))
    expect_one_of(state["schedule"], (*SCHEDULES, "callable"))
    n_updates = state["n_updates"]
    expect(
        isinstance(n_updates, Integral) and n_updates >= 0,
        f"n_updates is {n_updates!r}",
    )
    for name in _RATES:
        is_number = isinstance(state[name], Real) and math.isfinite(state[name])
        expect(is_number, f"{name} is {state[name]!r}")
    kept = OPTIMIZERS[state["name"]].state
    for name in [*kept, *(["parameters"] if "parameters" in state else [])]:
        expect(
            _shapes(state[name]) == shapes,
            f"the {name} of the optimizer has other shapes than the weights",
        )
