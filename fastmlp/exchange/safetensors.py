"""Estimators in files of the format safetensors: data, and no code."""

import inspect
import json
from itertools import chain

from fastmlp.estimators.tabular_model import TabularModel
from fastmlp.exchange.networks import ESTIMATORS
from fastmlp.persistence.plain import from_plain, to_plain
from fastmlp.persistence.tensors import read_tensors, write_tensors

__all__ = ["load_safetensors", "save_safetensors"]

_CLASSES = {cls.__name__: cls for cls in ESTIMATORS}

#: Parameters that say what a fit writes on this machine: no file shall choose that.
_OF_THIS_MACHINE = ("checkpoint",)


def save_safetensors(model, file):
    """Write an estimator as a safetensors file: arrays and plain values, no pickle.

    Parameters
    ----------
    model : estimator of fastmlp
        Fitted or not.
    file : str, path-like or file object
        Where to write it, in binary.

    Raises
    ------
    TypeError
        If the model is of another class.
    ValueError
        If a parameter is invalid, or is a function or another object that is no plain
        value, such as one of `callbacks` or a ``RandomState``.

    See Also
    --------
    load_safetensors : The way back.

    Notes
    -----
    The file has all that a pickle would have (weights, parameters, the state of the
    optimizer, curves), but for the parameter `checkpoint`. Weights are there under the
    names of attributes, such as ``coefs_.0``, for any program that reads safetensors.

    Examples
    --------
    >>> import io
    >>> from sklearn.datasets import load_iris
    >>> import fastmlp
    >>> X, y = load_iris(return_X_y=True)
    >>> model = fastmlp.MLPClassifier(max_iter=300, random_state=0).fit(X, y)
    >>> file = io.BytesIO()  # or "model.safetensors"
    >>> fastmlp.save_safetensors(model, file)
    """
    name = type(model).__name__
    if _CLASSES.get(name) is not type(model):
        raise TypeError(f"expected one of {', '.join(_CLASSES)}, got {name}")
    tensors, texts = {}, {"estimator": name}
    state, members = _without_members(model)
    texts["state"] = _as_json(_plain(state, "", tensors))
    if members is not None:
        plain = [
            _plain(_without_members(member)[0], f"estimators_.{i}.", tensors)
            for i, member in enumerate(members)
        ]
        texts["estimators"] = _as_json(plain)
        texts["member"] = type(members[0]).__name__
    if hasattr(file, "write"):
        write_tensors(file, tensors, texts)
        return
    with open(file, "wb") as stream:
        write_tensors(stream, tensors, texts)


def _without_members(model):
    """(the state, the estimators whose predictions the model averages, or None)."""
    model._validate_params()
    state = dict(model.__getstate__())
    members = state.pop("estimators_", None)
    if members is not None:
        state.pop("members_", None)  # of a tuned model: those that its estimators have
    return state, members


def _plain(state, prefix, tensors):
    """A state as JSON has it; names of its arrays begin with the prefix."""
    return {
        key: to_plain(value, f"{prefix}{key}", tensors)
        for key, value in state.items()
        if key not in _OF_THIS_MACHINE
    }


def _as_json(plain):
    return json.dumps(plain, allow_nan=False)


def load_safetensors(file):
    """Read an estimator that `save_safetensors` has written.

    Nothing in the file is run, and everything is checked before kernels use it: the
    file may come from a stranger.

    Parameters
    ----------
    file : str, path-like or file object
        Where to read it from, in binary.

    Returns
    -------
    estimator of fastmlp

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no such file, or damaged, or written by a newer version of fastmlp.

    See Also
    --------
    save_safetensors : Writes it.

    Examples
    --------
    >>> import io
    >>> import fastmlp
    >>> file = io.BytesIO()  # or "model.safetensors"
    >>> fastmlp.save_safetensors(fastmlp.MLPRegressor(alpha=0.1), file)
    >>> _ = file.seek(0)
    >>> fastmlp.load_safetensors(file)
    MLPRegressor(alpha=0.1)
    """
    if hasattr(file, "read"):
        return _load(file)
    with open(file, "rb") as stream:
        return _load(stream)


def _load(stream):
    try:
        tensors, texts = read_tensors(stream)
        cls = _CLASSES[texts["estimator"]]
        state = _state(cls, json.loads(texts["state"]), tensors)
        members = [
            (member, _state(member, plain, tensors))
            for plain in json.loads(texts.get("estimators", "[]"))
            for member in [_CLASSES[texts["member"]]]
        ]
        if tensors:
            raise ValueError(f"it has arrays of no use: {[*tensors]!r:.80}")
    except OSError:
        raise
    except Exception as error:  # of any kind
        raise ValueError(
            f"this is a damaged model, or not one of save_safetensors: {error!r:.400}"
        ) from error
    if "estimators" in texts:
        state["estimators_"] = [_restored(*each) for each in members]
        if issubclass(cls, TabularModel):
            every = (getattr(each, "members_", []) for each in state["estimators_"])
            state["members_"] = [*chain.from_iterable(every)]
    return _restored(cls, state)


def _state(cls, plain, tensors):
    """The state of an estimator, from JSON."""
    state = {name: from_plain(value, tensors) for name, value in plain.items()}
    _check_names(cls, state)
    return state


def _restored(cls, state):
    """The estimator with a state, which it checks."""
    model = object.__new__(cls)
    model.__setstate__(state)
    model._validate_params()
    return model


def _check_names(cls, state):
    """Raise an error if attributes would stand in the way of those of the class."""
    parameters = inspect.signature(cls).parameters.keys() - _OF_THIS_MACHINE
    for name in state.keys() - parameters:
        if hasattr(cls, name) or name in _OF_THIS_MACHINE:
            raise ValueError(f"no state has {name!r:.80}")
