"""Kernels of activations a = g(z): a value and a derivative for each row of the table.

Most derivatives are functions of the activation, g'(z) = d(g(z)), so that the backward
pass needs no pre-activations. Where they are not, they are computed from z on the way
forward, and stored until the deltas come back.
"""

from fastmlp.compilation import jit
from fastmlp.compilation.dispatching import dispatch
from fastmlp.kernels import elementwise
from fastmlp.kernels.elementwise import (
    expm1_of_negative,
    log1p_exp_minus,
    logistic_and_rest,
    normal_cdf,
    normal_cdf_and_density,
)
from fastmlp.kernels.simd import absolute, call_address, cast, constant
from fastmlp.tables.activations import ACTIVATIONS, SELU_ALPHA, SELU_SCALE

__all__ = [
    "KERNELS",
    "RELU_CODE",
    "activate",
    "activate_any",
    "activate_any_with_derivative",
    "activate_with_derivative",
    "multiply_by_derivative",
]


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
RELU_CODE = ACTIVATIONS["relu"].code


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


_SELU_SCALE = constant(SELU_SCALE, SELU_SCALE)
_SELU_ALPHA = constant(SELU_ALPHA, SELU_ALPHA)


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
def _gelu_and_derivative(z):
    share, density = normal_cdf_and_density(z)
    return z * share, share + z * density


@jit
def _silu_and_derivative(z):
    share, rest = logistic_and_rest(z)
    return z * share, share * (cast(1, z) + z * rest)


@jit
def _silu(z):
    return _silu_and_derivative(z)[0]


@jit
def _mish_and_derivative(z):
    # tanh(log(1 + e)) = w/(w + 2) with e = e**z and w = e**2 + 2 e
    one, two, four = cast(1, z), cast(2, z), cast(4, z)
    highest = cast(22, z)  # beyond it the tanh is 1
    bounded = highest if z > highest else z
    e = elementwise.exp(bounded)
    w = e * (e + two)
    share = w / (w + two)
    slope = four * ((w + one) / (w + two)) / (w + two)  # 1 - tanh**2
    return z * share, share + bounded * slope * (e / (e + one))


@jit
def _mish(z):
    return _mish_and_derivative(z)[0]


@jit
def _hard_swish(z):
    zero, six = cast(0, z), cast(6, z)
    share = z + cast(3, z)
    share = zero if share < zero else share
    share = six if share > six else share
    return z * share * cast(1 / 6, z)


@jit
def _hard_swish_and_derivative(z):
    zero, one, three = cast(0, z), cast(1, z), cast(3, z)
    slope = (z + z + three) * cast(1 / 6, z)
    slope = zero if z < -three else slope
    return _hard_swish(z), one if z > three else slope


#: Name of a row of `fastmlp.tables.activations` -> (z -> g(z), a -> g'(z)); where g' is
#: no function of a, (z -> g(z), z -> (g(z), g'(z))).
KERNELS = {
    "identity": (_identity, _identity_derivative),
    "relu": (_relu, _relu_derivative),
    "tanh": (elementwise.tanh, _tanh_derivative),
    "logistic": (elementwise.logistic, _logistic_derivative),
    "leaky_relu": (_leaky_relu, _leaky_relu_derivative),
    "elu": (_elu, _elu_derivative),
    "selu": (_selu, _selu_derivative),
    "gelu": (_gelu, _gelu_and_derivative),
    "silu": (_silu, _silu_and_derivative),
    "mish": (_mish, _mish_and_derivative),
    "softplus": (_softplus, _softplus_derivative),
    "softsign": (_softsign, _softsign_derivative),
    "hard_swish": (_hard_swish, _hard_swish_and_derivative),
}


def _activate_with(value, derivative):
    @jit
    def activate(z, count):
        for i in range(count):
            z[i] = value(z[i])

    return activate


def _multiply_with(value, derivative):
    @jit
    def multiply(deltas, activations, keep, count):
        for i in range(count):
            deltas[i] = deltas[i] * derivative(activations[i] * keep)

    return multiply


def _activate_with_derivative(value, value_and_derivative):
    @jit
    def activate(z, derivatives, count):
        for i in range(count):
            a, derivatives[i] = value_and_derivative(z[i])
            z[i] = a

    return activate


def _activate_with_derivative_of_activation(value, derivative):
    @jit
    def activate(z, derivatives, count):
        for i in range(count):
            a = value(z[i])
            derivatives[i] = derivative(a)
            z[i] = a

    return activate


def _activate_any_with_derivative(row):
    if row.stores_derivatives:
        return _activate_with_derivative(*KERNELS[row.name])
    return _activate_with_derivative_of_activation(*KERNELS[row.name])


def _dispatch(make, rows, otherwise=None):
    cases = [(row.code, make(*KERNELS[row.name])) for row in rows]
    return dispatch(cases, otherwise)


@jit
def _call(code, z, count):
    none = cast(0, count)
    call_address(code, (z, z, count, none))


@jit
def _call_for_derivatives(code, z, derivatives, count):
    one = cast(1, count)
    call_address(code, (z, derivatives, count, one))


_ROWS = [row for row in ACTIVATIONS.values() if row.registered is None]
_OF_ACTIVATIONS = [row for row in _ROWS if not row.stores_derivatives]
_STORED = [row for row in _ROWS if row.stores_derivatives]

#: activate(code, z, count): z[i] <- g(z[i]) for i < count; of the rows whose
#: derivatives are functions of the activation.
activate = _dispatch(_activate_with, _OF_ACTIVATIONS)

#: multiply_by_derivative(code, deltas, activations, keep, count):
#: deltas[i] <- deltas[i] * g'(z[i]), from activations[i] * keep = g(z[i]); of the
#: same rows.  keep : what dropout has divided activations by, or 1.
multiply_by_derivative = _dispatch(_multiply_with, _OF_ACTIVATIONS)

#: activate_with_derivative(code, z, derivatives, count): z[i] <- g(z[i]), and
#: derivatives[i] = g'(z[i]); of the other rows, and of functions that users have
#: registered, whose code is an address: see `fastmlp.compilation.functions`.
activate_with_derivative = _dispatch(
    _activate_with_derivative, _STORED, _call_for_derivatives
)

#: activate_any(code, z, count): `activate` for every row.
activate_any = _dispatch(_activate_with, _ROWS, _call)

#: activate_any_with_derivative(code, z, derivatives, count): likewise.
activate_any_with_derivative = dispatch(
    [(row.code, _activate_any_with_derivative(row)) for row in _ROWS],
    _call_for_derivatives,
)
