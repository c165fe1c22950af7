"""Activations a = g(z) of the hidden layers: a table of values and derivatives.

Most derivatives are functions of the activation, g'(z) = d(g(z)), so that the backward
pass needs no pre-activations. Where they are not, they are computed from z on the way
forward, and stored until the deltas come back.
"""

from collections.abc import Callable
from typing import NamedTuple

from fastmlp.compilation import jit
from fastmlp.kernels import elementwise
from fastmlp.kernels.elementwise import (
    expm1_of_negative,
    log1p_exp_minus,
    logistic,
    normal_cdf,
    normal_density,
)
from fastmlp.kernels.simd import absolute, cast, constant
from fastmlp.kernels.tables import dispatch

__all__ = [
    "ACTIVATIONS",
    "RELU_CODE",
    "activate",
    "activate_any",
    "activate_with_derivative",
    "multiply_by_derivative",
]


class Activation(NamedTuple):
    """One row of the table."""

    name: str
    code: int
    formula: str
    value: Callable  # z -> a
    derivative: Callable | None  # a -> g'(z)
    slope: Callable | None = None  # z -> g'(z), where that is no function of a
    keeps_zero: bool = True  # g(0) = 0: the padding of a panel stays zero by itself
    gain: float = 6.0  # numerator of the Glorot bound, see fastmlp.initialization
    #: row of `fastmlp.initialization.INITIALIZATIONS` that suits it; None: as
    #: scikit-learn's, which knows it
    initialization: str | None = None
    reference: str = ""

    @property
    def stores_derivatives(self):
        """Whether derivatives are computed on the way forward."""
        return self.derivative is None


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


#: `relu` is also fused into the matrix product, see `fastmlp.kernels.layers.dense`.
RELU_CODE = 1


@jit
def _leaky_relu(z):
    return cast(0.01, z) * z if z < cast(0, z) else z


@jit
def _leaky_relu_derivative(a):
    return cast(0.01, a) if a < cast(0, a) else cast(1, a)


@jit
def _elu(z):
    zero = cast(0, z)
    negative = expm1_of_negative(z if z < zero else zero)
    return negative if z < zero else z


@jit
def _elu_derivative(a):
    zero, one = cast(0, a), cast(1, a)
    return a + one if a < zero else one


_SELU_SCALE = constant(1.0507009873554804934, 1.0507009873554804934)
_SELU_ALPHA = constant(1.6732632423543772848, 1.6732632423543772848)


@jit
def _selu(z):
    zero, scale = cast(0, z), _SELU_SCALE(z)
    negative = scale * _SELU_ALPHA(z) * expm1_of_negative(z if z < zero else zero)
    return negative if z < zero else scale * z


@jit
def _selu_derivative(a):
    scale = _SELU_SCALE(a)
    return a + scale * _SELU_ALPHA(a) if a < cast(0, a) else scale


@jit
def _softplus(z):
    zero = cast(0, z)
    return (z if z > zero else zero) + log1p_exp_minus(absolute(z))


@jit
def _softplus_derivative(a):
    return -expm1_of_negative(-a)


@jit
def _softsign(z):
    return z / (cast(1, z) + absolute(z))


@jit
def _softsign_derivative(a):
    rest = cast(1, a) - absolute(a)
    return rest * rest


@jit
def _gelu(z):
    return z * normal_cdf(z)


@jit
def _gelu_slope(z):
    share = normal_cdf(z)
    return share + z * normal_density(z)


@jit
def _silu(z):
    return z * logistic(z)


@jit
def _silu_slope(z):
    return logistic(z) * (cast(1, z) + z * logistic(-z))


@jit
def _mish(z):
    # tanh(log(1 + e)) = w/(w + 2) with e = e**z and w = e**2 + 2 e
    two, highest = cast(2, z), cast(22, z)  # beyond it the tanh is 1
    e = elementwise.exp(highest if z > highest else z)
    w = e * (e + two)
    return z * (w / (w + two))


@jit
def _mish_slope(z):
    one, two, four = cast(1, z), cast(2, z), cast(4, z)
    highest = cast(22, z)
    bounded = highest if z > highest else z
    e = elementwise.exp(bounded)
    w = e * (e + two)
    slope = four * ((w + one) / (w + two)) / (w + two)  # 1 - tanh**2
    return w / (w + two) + bounded * slope * (e / (e + one))


@jit
def _hard_swish(z):
    zero, six = cast(0, z), cast(6, z)
    share = z + cast(3, z)
    share = zero if share < zero else share
    share = six if share > six else share
    return z * share * cast(1 / 6, z)


@jit
def _hard_swish_slope(z):
    zero, one, three = cast(0, z), cast(1, z), cast(3, z)
    slope = (z + z + three) * cast(1 / 6, z)
    slope = zero if z < -three else slope
    return one if z > three else slope


_ROWS = (
    Activation("identity", 0, "z", _identity, _identity_derivative),
    Activation("relu", RELU_CODE, "max(0, z)", _relu, _relu_derivative),
    Activation("tanh", 2, "tanh z", elementwise.tanh, _tanh_derivative),
    Activation("logistic", 3, "1 / (1 + exp(-z))", elementwise.logistic,
               _logistic_derivative, keeps_zero=False, gain=2.0),
    Activation("leaky_relu", 4, "z if z > 0 else 0.01 z", _leaky_relu,
               _leaky_relu_derivative, initialization="he_uniform",
               reference="Maas, Hannun and Ng, ICML (2013)"),
    Activation("elu", 5, "z if z > 0 else exp(z) - 1", _elu, _elu_derivative,
               initialization="he_uniform",
               reference="Clevert, Unterthiner and Hochreiter, ICLR (2016)"),
    Activation("selu", 6, "1.0507 (z if z > 0 else 1.6733 (exp(z) - 1))", _selu,
               _selu_derivative, initialization="lecun_normal",
               reference="Klambauer, Unterthiner, Mayr and Hochreiter, NIPS (2017)"),
    Activation("gelu", 7, "z Phi(z), Phi the normal distribution", _gelu, None,
               _gelu_slope, initialization="he_uniform",
               reference="Hendrycks and Gimpel, arXiv:1606.08415 (2016)"),
    Activation("silu", 8, "z / (1 + exp(-z))", _silu, None, _silu_slope,
               initialization="he_uniform",
               reference="Elfwing, Uchibe and Doya, Neural Networks 107 (2018)"),
    Activation("mish", 9, "z tanh(log(1 + exp z))", _mish, None, _mish_slope,
               initialization="he_uniform",
               reference="Misra, BMVC (2020)"),
    Activation("softplus", 10, "log(1 + exp z)", _softplus, _softplus_derivative,
               keeps_zero=False, initialization="glorot_uniform",
               reference="Dugas, Bengio, Belisle, Nadeau and Garcia, NIPS (2000)"),
    Activation("softsign", 11, "z / (1 + |z|)", _softsign, _softsign_derivative,
               initialization="glorot_uniform",
               reference="Glorot and Bengio, AISTATS (2010)"),
    Activation("hard_swish", 12, "z min(max(z + 3, 0), 6) / 6", _hard_swish, None,
               _hard_swish_slope, initialization="he_uniform",
               reference="Howard et al., ICCV (2019)"),
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
    def multiply(deltas, activations, keep, count):
        for i in range(count):
            deltas[i] = deltas[i] * derivative(activations[i] * keep)

    return multiply


def _activate_with_slope(value, slope):
    @jit
    def activate(z, derivatives, count):
        # one after the other: LLVM does not vectorise a loop that stores both
        for i in range(count):
            derivatives[i] = slope(z[i])
        for i in range(count):
            z[i] = value(z[i])

    return activate


_OF_ACTIVATIONS = [row for row in _ROWS if not row.stores_derivatives]
_STORED = [row for row in _ROWS if row.stores_derivatives]

#: activate(code, z, count): z[i] <- g(z[i]) for i < count; of the rows whose
#: derivatives are functions of the activation.
activate = dispatch([(row.code, _activate_with(row.value)) for row in _OF_ACTIVATIONS])

#: multiply_by_derivative(code, deltas, activations, keep, count):
#: deltas[i] <- deltas[i] * g'(z[i]), from activations[i] * keep = g(z[i]); of the
#: same rows.  keep : what dropout has divided activations by, or 1.
multiply_by_derivative = dispatch(
    [(row.code, _multiply_with(row.derivative)) for row in _OF_ACTIVATIONS]
)

#: activate_with_derivative(code, z, derivatives, count): z[i] <- g(z[i]), and
#: derivatives[i] = g'(z[i]); of the other rows.
activate_with_derivative = dispatch(
    [(row.code, _activate_with_slope(row.value, row.slope)) for row in _STORED]
)

#: activate_any(code, z, count): `activate` for every row.
activate_any = dispatch([(row.code, _activate_with(row.value)) for row in _ROWS])
