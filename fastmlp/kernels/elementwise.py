"""exp, log, tanh and relatives as polynomials that vectorise.

One source for float32 and float64: constants and polynomial degrees follow the
type of the argument.  There are no branches and no calls, so the compiler turns
loops over these functions into vector code.  NaN gives NaN.

The range reductions are those of Cody and Waite, "Software Manual for the
Elementary Functions" (1980); the coefficients are Chebyshev interpolants of the
remainders, computed with 60 digits.  Errors stay below 1 unit in the last place
for exp and 3 for the others (tests/test_elementwise.py holds this), unless said
otherwise.  Results below the smallest normal number may be flushed to zero.
"""

from fastmlp.compilation import jit
from fastmlp.kernels.simd import (
    absolute,
    cast,
    constant,
    copy_sign,
    fused_multiply_add,
    polynomial,
    power_of_two,
    scale_by_power_of_two,
    split_float,
)

__all__ = [
    "cosine_and_sine_of_turns",
    "cosine_of_turns",
    "exp",
    "expm1_of_negative",
    "log",
    "log1p_exp_minus",
    "logistic",
    "logistic_and_rest",
    "normal_cdf",
    "normal_cdf_and_density",
    "power",
    "tanh",
]

_LOG2_E = constant(1.44269504088896340736, 1.44269504088896340736)
# ln 2 = high + low; the high part has so few bits that n * high is exact
_LN2_HIGH = constant(0.693145751953125, 0.6931471803691238)
_LN2_LOW = constant(1.42860682031e-6, 1.908214929270587816144e-10)
# adding it rounds to an integer, which then stands in the lowest bits
_SHIFT = constant(1.5 * 2**23, 1.5 * 2**52)
# beyond these the result is 0 or infinity
_EXP_LOWEST = constant(-104.0, -746.0)
_EXP_HIGHEST = constant(89.0, 710.0)
# beyond this 1 + e**-x is 1
_NO_MORE = constant(87.0, 708.0)
# the smallest normal numbers
_SMALLEST = constant(2.0**-126, 2.0**-1022)
# beyond this tanh is 1
_TANH_HIGHEST = constant(10.0, 20.0)

#: (e**r - 1 - r) / r**2 on [-ln(2)/2, ln(2)/2]
_EXP_TAIL = polynomial(
    (0.5000000013, 0.1666666668, 0.04166646493, 0.008333310925, 0.001393365,
     0.0001989099082),
    (0.5, 0.16666666666666670991, 0.041666666666666669755, 0.0083333333333261351258,
     0.0013888888888883748305, 0.00019841269874820625271, 0.000024801587325547741216,
     2.755725540020642443e-6, 2.7557273643110295328e-7, 2.5105217004720745164e-8,
     2.0914686968086877233e-9),
)  # fmt: skip

#: (artanh(s)/s - 1) / s**2 as a function of s**2, for log: s**2 up to 0.0295
_LOG_TAIL = polynomial(
    (0.3333333328, 0.2000006094, 0.142754083, 0.1166529097),
    (0.33333333333333333232, 0.20000000000000438803, 0.14285714285401615007,
     0.11111111195900234665, 0.090908978154423766, 0.076931201029067389396,
     0.066343798342803063431, 0.065433835049740868565),
)  # fmt: skip

#: the same for log1p: s**2 up to 1/9
_LOG1P_TAIL = polynomial(
    (0.3333333366, 0.1999985317, 0.14296179, 0.108532879, 0.1161216461),
    (0.33333333333333333443, 0.19999999999999761253, 0.14285714285800049646,
     0.11111111099118385279, 0.090909099489813571913, 0.076922719824302746434,
     0.066675893157246279183, 0.0586713953065159873, 0.05422589197440007411,
     0.037460718977753836504, 0.078152889004614252231),
)  # fmt: skip


#: e**(x**2) erfc(x) as a function of s = (x - k)/(x + k), for x from 0 to _ERFC_HIGHEST
_ERFC_CENTRE = constant(2.5, 3.5)
_ERFC_HIGHEST = constant(4.2, 6.5)
_SCALED_ERFC = polynomial(
    (0.2108063647, -0.3717367554, 0.2517131058, -0.1250319392, 0.03992571073,
     -0.00400537985, -0.002684998653, 0.0008698710158, 0.0003356170773),
    (0.15529365560889429489, -0.28926504483276733837, 0.23313048160025148226,
     -0.16133852476452876217, 0.094427806909156533725, -0.045436761182122143502,
     0.016976760933345551405, -0.0042422386488582392276, 0.00026738499865080150505,
     0.00028855579185590351704, -0.0001080827628826868514, -4.6756300931650270953e-6,
     0.000013327734120725059297, -1.6515273554812604289e-6, -1.4818494983730560747e-6,
     5.1685811981792891902e-7, 3.8483164543960688206e-7, 6.1939433203319212985e-8),
)  # fmt: skip

#: sin(2 pi s) / s as a function of s**2, up to 1/16
_SINE_OF_TURNS = polynomial(
    (6.283185307, -41.34170212, 81.60522617, -76.70427988, 42.0097793, -14.3939663),
    (6.2831853071795864769, -41.341702240399760228, 81.605249276075050968,
     -76.70585975306072309, 42.058693944828701411, -15.094642572701974217,
     3.8199524348668090197, -0.71811892189106583204, 0.10418309087064648376,
     -0.011683082881307492416),
)  # fmt: skip
_SQRT_HALF = constant(0.70710678118654752440, 0.70710678118654752440)
_DENSITY_AT_0 = constant(0.39894228040143267794, 0.39894228040143267794)


@jit
def _reduce(x):
    """(q, shifted) with e**x = (1 + q) * 2**n, where shifted = _SHIFT + n."""
    shifted = fused_multiply_add(x, _LOG2_E(x), _SHIFT(x))
    n = shifted - _SHIFT(x)
    r = fused_multiply_add(n, -_LN2_HIGH(x), x)
    r = fused_multiply_add(n, -_LN2_LOW(x), r)
    return fused_multiply_add(r * r, _EXP_TAIL(r), r), shifted


@jit
def exp(x):
    """e**x."""
    x = _EXP_LOWEST(x) if x < _EXP_LOWEST(x) else x
    x = _EXP_HIGHEST(x) if x > _EXP_HIGHEST(x) else x
    q, shifted = _reduce(x)
    return scale_by_power_of_two(q + cast(1, x), shifted, _SHIFT(x))


@jit
def tanh(x):
    """(e**2x - 1) / (e**2x + 1), through t = e**|2x| - 1 as t / (t + 2)."""
    size = absolute(x)
    size = _TANH_HIGHEST(x) if size > _TANH_HIGHEST(x) else size
    q, shifted = _reduce(size + size)
    power = power_of_two(shifted)
    t = fused_multiply_add(q, power, power - cast(1, x))
    return copy_sign(t / (t + cast(2, x)), x)


@jit
def logistic(x):
    """1 / (1 + e**-x)."""
    one = cast(1, x)
    # e**-x from below the precision of 1 to infinity, where the power of two is it too
    x = -_EXP_HIGHEST(x) if x < -_EXP_HIGHEST(x) else x
    x = _NO_MORE(x) if x > _NO_MORE(x) else x
    q, shifted = _reduce(-x)
    return one / (one + (one + q) * power_of_two(shifted))


@jit
def logistic_and_rest(x):
    """(1 / (1 + e**-x), 1 / (1 + e**x)): both precise, also where one is tiny."""
    one = cast(1, x)
    e = exp(-absolute(x))
    larger = one / (one + e)
    smaller = e * larger
    is_negative = x < cast(0, x)
    share = smaller if is_negative else larger
    return share, larger if is_negative else smaller


@jit
def log(x):
    """Natural logarithm of a positive, normal, finite number."""
    mantissa, exponent = split_float(x)
    one = cast(1, x)
    s = (mantissa - one) / (mantissa + one)
    u = s * s
    s = s + s
    tail = fused_multiply_add(exponent, _LN2_LOW(x), s * u * _LOG_TAIL(u))
    return fused_multiply_add(exponent, _LN2_HIGH(x), s + tail)


@jit
def log1p_exp_minus(x):
    """log(1 + e**-x) for x >= 0."""
    e = exp(-x)
    s = e / (e + cast(2, x))
    u = s * s
    s = s + s
    return fused_multiply_add(s * u, _LOG1P_TAIL(u), s)


@jit
def expm1_of_negative(x):
    """e**x - 1 for x <= 0, exact also where x is small."""
    x = -_NO_MORE(x) if x < -_NO_MORE(x) else x
    q, shifted = _reduce(x)
    power = power_of_two(shifted)
    return fused_multiply_add(q, power, power - cast(1, x))


@jit
def power(x, exponent):
    """x**exponent, neither negative; of the smallest normal number if x is less."""
    smallest = _SMALLEST(x)
    return exp(exponent * log(smallest if x < smallest else x))


@jit
def _part_of_turn(x):
    """x without its whole turns: between -1/2 and 1/2; and its absolute value."""
    half = cast(0.5, x)
    t = x - ((x + _SHIFT(x)) - _SHIFT(x))
    size = absolute(t)
    size = half if size > half else size  # where _SHIFT does not round to integers
    return t, size


@jit
def cosine_of_turns(x):
    """The first result of `cosine_and_sine_of_turns`, with the same bits."""
    _, size = _part_of_turn(x)
    s = cast(0.25, x) - size
    return s * _SINE_OF_TURNS(s * s)


@jit
def cosine_and_sine_of_turns(x):
    """(cos(2 pi x), sin(2 pi x)), within 2 units in the last place of 1.

    That is for x as it is: far from 0, it may be rounded itself.  Where neighbouring
    numbers x are half a turn apart or more, results are between -1 and 1, but say
    nothing.  An infinite x gives NaN.
    """
    quarter, half = cast(0.25, x), cast(0.5, x)
    t, size = _part_of_turn(x)
    s = half - size if size > quarter else size
    return cosine_of_turns(x), copy_sign(s * _SINE_OF_TURNS(s * s), t)


@jit
def normal_cdf(x):
    """Share of the standard normal distribution below x, erfc(-x / sqrt 2) / 2.

    To the precision of 1: far below 0 only its size is right.
    """
    share, _ = normal_cdf_and_density(x)
    return share


@jit
def normal_cdf_and_density(x):
    """`normal_cdf`, and its derivative: they share the exponential."""
    zero, one, highest = cast(0, x), cast(1, x), _ERFC_HIGHEST(x)
    size = absolute(x) * _SQRT_HALF(x)
    bounded = highest if size > highest else size
    s = (bounded - _ERFC_CENTRE(x)) / (bounded + _ERFC_CENTRE(x))
    bell = exp(-size * size)
    tail = cast(0.5, x) * bell * _SCALED_ERFC(s)
    # the rest is added: a choice of one of two results would be turned into branches,
    # and loops that are meant to be vectors into loops over numbers
    share = tail + (zero if x < zero else one - tail - tail)
    return share, _DENSITY_AT_0(x) * bell
