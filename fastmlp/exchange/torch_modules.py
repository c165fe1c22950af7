"""Modules of PyTorch that compute what fitted estimators do.

Each is told all its sizes by the arrays that it is made of.
"""

from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from fastmlp.data.scaling import Scaling
from fastmlp.engine.registration import check_counterpart
from fastmlp.exchange.networks import Dense, counterpart_of, outputs_of
from fastmlp.tables.activations import ACTIVATIONS as ACTIVATION_ROWS

__all__ = [
    "ACTIVATIONS",
    "OUTPUT_ACTIVATIONS",
    "BothClasses",
    "Exp",
    "Mean",
    "Scale",
    "Standardize",
    "TabularNetworks",
    "activation_of",
    "linear",
    "parts_of",
]

#: Row of `fastmlp.tables.activations` -> a function that makes its module.
ACTIVATIONS = {
    "identity": nn.Identity, "relu": nn.ReLU, "tanh": nn.Tanh, "logistic": nn.Sigmoid,
    "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "selu": nn.SELU, "gelu": nn.GELU,
    "silu": nn.SiLU, "mish": nn.Mish, "softsign": nn.Softsign,
    "hard_swish": nn.Hardswish,
    # PyTorch's is the identity from 20 on, where float64 still sees a difference
    "softplus": partial(nn.Softplus, threshold=40),
}  # fmt: skip


class OwnActivation(nn.Module):
    """An activation that a user has registered.

    Parameters
    ----------
    name : str
    function : callable
        Of a tensor.
    """

    def __init__(self, name, function):
        super().__init__()
        self.name, self.function = name, function

    def forward(self, z):
        """The function."""
        return self.function(z)

    def extra_repr(self):
        """Its name, for `print`."""
        return self.name


def activation_of(name):
    """A module of an activation.

    Raises
    ------
    ValueError
        If it is a user's own, and there is nothing for PyTorch, or not the same.
    """
    function = counterpart_of(name, "torch")
    if function is None:
        return ACTIVATIONS[name]()

    def of_array(z):
        with torch.no_grad():
            return function(torch.tensor(z)).numpy()

    check_counterpart(ACTIVATION_ROWS[name], "torch", of_array)
    return OwnActivation(name, function)


def linear(weights, biases):
    """The module of a layer, from arrays (fan_in, fan_out) and (fan_out,)."""
    module = nn.Linear(*weights.shape, dtype=torch.tensor(weights[:0]).dtype)
    with torch.no_grad():
        module.weight.copy_(torch.tensor(weights.T.copy()))
        module.bias.copy_(torch.tensor(biases))
    return module


class Exp(nn.Module):
    """e^z."""

    def forward(self, z):
        """e^z."""
        return torch.exp(z)


#: Row of `fastmlp.tables.losses.OUTPUT_ACTIVATIONS` -> what makes its module.
OUTPUT_ACTIVATIONS = {
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "softmax": partial(nn.Softmax, dim=-1),
    "exp": Exp,
}


class _Affine(nn.Module):
    """Holds the mean and the scale of columns, in float64."""

    def __init__(self, mean, scale):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("scale", torch.tensor(scale))

    def extra_repr(self):
        """Its sizes, for `print`."""
        return f"{len(self.mean)}"


class Standardize(_Affine):
    """(X - mean) / scale, in the dtype of X."""

    def forward(self, X):
        """(X - mean) / scale."""
        return ((X - self.mean) / self.scale).to(X.dtype)


class Scale(_Affine):
    """z * scale + mean, in the dtype of z."""

    def forward(self, z):
        """z * scale + mean."""
        return (z * self.scale + self.mean).to(z.dtype)


class BothClasses(nn.Module):
    """[1 - p, p], from the probability p of the second class."""

    def forward(self, p):
        """[1 - p, p]."""
        return torch.cat([1 - p, p], dim=1)


_ACTIVATION_MODULES = {name: make() for name, make in ACTIVATIONS.items()}

#: See `fastmlp.exchange.networks.outputs_of`.
_XP = SimpleNamespace(
    clip=torch.clip, where=torch.where, isnan=torch.isnan, sqrt=torch.sqrt,
    cos=torch.cos, einsum=torch.einsum,
    concatenate=lambda tensors, axis: torch.cat(tensors, dim=axis),
    astype=lambda x, name: x.to(getattr(torch, name)),
    take=lambda tables, rows: tables[:, rows],
    activation=lambda name: (
        counterpart_of(name, "torch") or _ACTIVATION_MODULES[name]
    ),
    output_activation={name: make() for name, make in OUTPUT_ACTIVATIONS.items()}.get,
)  # fmt: skip


class _Record(nn.Module):
    """A named tuple whose arrays are tensors of a module.

    Parameters
    ----------
    values : NamedTuple
    trained : collection of str
        Fields that are parameters; other arrays are buffers.
    """

    def __init__(self, values, trained):
        super().__init__()
        self._type = type(values)
        for name, value in values._asdict().items():
            if not isinstance(value, np.ndarray):
                setattr(self, name, value)
            elif name in trained:
                setattr(self, name, nn.Parameter(torch.tensor(value)))
            else:
                self.register_buffer(name, torch.tensor(value))

    def values(self):
        """The named tuple, with tensors."""
        return self._type(*(getattr(self, name) for name in self._type._fields))


class TabularNetworks(nn.Module):
    """The networks of an estimator for tables; gives the mean of their predictions.

    Parameters
    ----------
    form : fastmlp.exchange.networks.NetworkForm
    columns : fastmlp.data.columns.Columns
        What makes a matrix of a table.
    """

    def __init__(self, form, columns):
        super().__init__()
        self._columns = columns
        self._form = form._replace(
            classes=None, outputs=None, limits=None, encoder=None, layers=()
        )
        self.layers = nn.ModuleList(
            _Record(layer, Dense._fields) for layer in form.layers
        )
        self.encoder = form.encoder and _Record(form.encoder, _TRAINED)
        self.scale = form.outputs and Scale(*form.outputs)
        self.limits = form.limits and _Record(_Limits(*form.limits), ())

    def encode(self, X):
        """A table as the tensor that the module takes.

        Parameters
        ----------
        X : data frame, array-like or sparse matrix of shape (n_samples, n_features)
            As for `predict` of the estimator.

        Returns
        -------
        torch.Tensor of shape (n_samples, n_encoded), float32
        """
        return torch.tensor(self._columns.transform(X))

    def forward(self, X):
        """Predictions for what `encode` gives, in its dtype."""
        if not self.layers:  # there is but one class
            return torch.ones_like(X[:, :1])
        form = self._form._replace(
            layers=tuple(layer.values() for layer in self.layers),
            encoder=self.encoder.values(),
        )
        predictions = outputs_of(_XP, form, X)
        if self.scale is not None:
            predictions = self.scale(predictions)
        if self.limits is not None:
            predictions = torch.clip(predictions, *self.limits.values())
        return predictions.to(X.dtype)


class Mean(nn.Module):
    """The weighted mean of what several modules give, in float64 until the end.

    Parameters
    ----------
    modules : list of nn.Module
    shares : list of float
        Weights of the modules, with the sum 1.
    limits : tuple of ndarray or None
        (lowest, highest) of the mean.
    """

    def __init__(self, modules, shares, limits):
        super().__init__()
        self.members = nn.ModuleList(modules)
        self.register_buffer("shares", torch.tensor(shares, dtype=torch.float64))
        self.limits = limits and _Record(_Limits(*limits), ())

    def encode(self, X):
        """A table as the tensor that the modules take, if they take tables."""
        return self.members[0].encode(X)

    def forward(self, X):
        """The mean of what the modules give."""
        pairs = zip(self.shares, self.members, strict=True)
        mean = sum(share * member(X) for share, member in pairs)
        if self.limits is not None:
            mean = torch.clip(mean, *self.limits.values())
        return mean.to(X.dtype)


#: Fields of an Encoder that are trained.
_TRAINED = ("tables", "frequencies", "phases", "wave_weights", "wave_biases")


class _Limits(NamedTuple):
    lowest: np.ndarray
    highest: np.ndarray


# --- the way back ---------------------------------------------------------------------

#: Modules that do not change predictions.
_WITHOUT_EFFECT = (nn.Dropout, nn.AlphaDropout, nn.Flatten, nn.Identity)

#: Settings that do not change what an activation computes (of Softplus, hardly).
_SETTINGS_WITHOUT_EFFECT = ("training", "inplace", "threshold")


class Parts(NamedTuple):
    """What a sequential network is made of, as NumPy's arrays.

    Attributes
    ----------
    weights, biases : list of ndarray
        Of shapes (fan_in, fan_out) and (fan_out,), in float32 or float64.
    activations : list of str
        Of the hidden layers.
    output : str
        Row of `OUTPUT_ACTIVATIONS`.
    X, y : fastmlp.data.scaling.Scaling or None
    """

    weights: list
    biases: list
    activations: list
    output: str
    X: Scaling | None
    y: Scaling | None


def _modules_of(network):
    for module in network:
        if isinstance(module, nn.Sequential):
            yield from _modules_of(module)
        elif not isinstance(module, _WITHOUT_EFFECT):
            yield module


def _settings_of(module):
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and name not in _SETTINGS_WITHOUT_EFFECT
    }


def _activation_of(module):
    """The row of `ACTIVATIONS` that a module is."""
    if isinstance(module, OwnActivation):
        return module.name
    for name, make in ACTIVATIONS.items():
        row = make()
        if type(row) is type(module) and _settings_of(row) == _settings_of(module):
            return name
    known = ", ".join(type(make()).__name__ for make in ACTIVATIONS.values())
    raise ValueError(
        f"no estimator has the module {module} there: between Linear layers, there can "
        f"be one of {known}, with the default settings"
    )


def _array_of(tensor, dtype):
    return tensor.detach().cpu().to(dtype).numpy()


def _scaling_of(module):
    return Scaling(*(_array_of(x, torch.float64) for x in (module.mean, module.scale)))


def _take(modules, place, *kinds):
    """Take the first or the last module off a list, if it is of one of these kinds."""
    return modules.pop(place) if modules and isinstance(modules[place], kinds) else None


def parts_of(network):
    """The `Parts` of a sequential network.

    Raises
    ------
    ValueError
        If it has others.
    """
    modules = [*_modules_of(network)]
    X, y = _take(modules, 0, Standardize), _take(modules, -1, Scale)
    _take(modules, -1, BothClasses)
    last = _take(modules, -1, nn.Softmax, nn.LogSoftmax, nn.Sigmoid, Exp)
    output = {nn.Sigmoid: "logistic", Exp: "exp", type(None): "identity"}.get(
        type(last), "softmax"
    )
    if output == "softmax" and last.dim not in (None, 1, -1):
        raise ValueError(f"{last} is not over the outputs of a sample")
    if not (modules and isinstance(modules[-1], nn.Linear)):
        what = modules[-1] if modules else "nothing"
        raise ValueError(f"a Linear layer has to give the outputs, not {what}")
    dtype = modules[-1].weight.dtype
    dtype = torch.float64 if dtype == torch.float64 else torch.float32
    weights, biases, activations = [], [], []
    for module in modules:
        if not isinstance(module, nn.Linear):
            if len(activations) == len(weights):
                raise ValueError(f"there is no Linear layer right before {module}")
            activations.append(_activation_of(module))
            continue
        if len(activations) < len(weights):
            activations.append("identity")
        if weights and len(biases[-1]) != module.in_features:
            raise ValueError(f"{len(biases[-1])} numbers go into {module}")
        weights.append(_array_of(module.weight, dtype).T.copy())
        has_biases = module.bias is not None
        zeros = np.zeros(module.out_features, weights[-1].dtype)
        biases.append(_array_of(module.bias, dtype).copy() if has_biases else zeros)
    X, y = (module and _scaling_of(module) for module in (X, y))
    return Parts(weights, biases, activations, output, X, y)
