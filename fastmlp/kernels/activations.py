"""Activations a = g(z) of the hidden layers: a table of values and derivatives.

Derivatives are functions of the activation, g'(z) = d(g(z)), so the backward
pass needs no pre-activations.
"""

from collections.abc import Callable
from typing import NamedTuple

from fastmlp.compilation import jit
from fastmlp.kernels import elementwise
from fastmlp.kernels.simd import cast
from fastmlp.kernels.tables import dispatch

__all__ = ["ACTIVATIONS", "RELU_CODE", "activate", "multiply_by_derivative"]


class Activation(NamedTuple):
    """One row of the table."""

    name: str
    code: int
    formula: str
    value: Callable  # z -> a
    derivative: Callable  # a -> g'(z)
    keeps_zero: bool  # g(0) = 0: the padding of a panel stays zero by itself
    gain: float  # numerator of the Glorot bound, see fastmlp.initialization


@jit
def _identity(z):
    return z


@jit
def _identity_derivative(a):
    return cast(1, a)


@jit
def _relu(z):
    return cast(0, z) if z < cast(0, z) else z


@jit
def _relu_derivative(a):
    return cast(0, a) if a == cast(0, a) else cast(1, a)


@jit
def _tanh_derivative(a):
    return cast(1, a) - a * a


@jit
def _logistic_derivative(a):
    return a * (cast(1, a) - a)


#: `relu` is also fused into the matrix product, see `fastmlp.kernels.dense`.
RELU_CODE = 1

_ROWS = (
    Activation("identity", 0, "a = z", _identity, _identity_derivative, True, 6.0),
    Activation("relu", RELU_CODE, "a = max(0, z)", _relu, _relu_derivative, True, 6.0),
    Activation("tanh", 2, "a = tanh z", elementwise.tanh, _tanh_derivative, True, 6.0),
    Activation(
        "logistic", 3, "a = 1 / (1 + exp(-z))",
        elementwise.logistic, _logistic_derivative, False, 2.0,
    ),
)  # fmt: skip

#: name -> row
ACTIVATIONS = {row.name: row for row in _ROWS}


def _activate_with(value):
    @jit
    def activate(z, count):
        for i in range(count):
            z[i] = value(z[i])

    return activate


def _multiply_with(derivative):
    @jit
    def multiply(deltas, activations, count):
        for i in range(count):
            deltas[i] = deltas[i] * derivative(activations[i])

    return multiply


#: activate(code, z, count): z[i] <- g(z[i]) for i < count.
activate = dispatch([(row.code, _activate_with(row.value)) for row in _ROWS])

#: multiply_by_derivative(code, deltas, activations, count):
#: deltas[i] <- deltas[i] * g'(z[i]), from activations[i] = g(z[i]).
multiply_by_derivative = dispatch(
    [(row.code, _multiply_with(row.derivative)) for row in _ROWS]
)
