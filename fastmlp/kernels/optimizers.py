"""Update rules, applied to a tile of weights while its gradient is in the cache.

All rules see the regularised mean gradient g = (s + l2 w) scale, where s is the
gradient summed over the batch, l2 the strength of the L2 penalty and scale one
over the total weight of the batch.
"""

import math

from fastmlp.compilation import jit
from fastmlp.compilation.dispatching import dispatch
from fastmlp.kernels.simd import cast, fused_multiply_add
from fastmlp.tables.optimizers import OPTIMIZERS

__all__ = [
    "ADAM_CODE",
    "GRADIENT_CODE",
    "KERNELS",
    "adam_rate",
    "update",
]


@jit
def _gradient_of(w, sums, l2, scale):
    return fused_multiply_add(l2, w, sums) * scale


@jit
def _add_gradient(w, sums, first, second, count, l2, scale, rates):
    """first <- first + g; the weights do not change."""
    for i in range(count):
        first[i] += _gradient_of(w[i], sums[i], l2, scale)


@jit
def _sgd(w, sums, first, second, count, l2, scale, rates):
    """w <- w - rate g."""
    rate = rates[0]
    for i in range(count):
        w[i] -= rate * _gradient_of(w[i], sums[i], l2, scale)


@jit
def _momentum(w, sums, first, second, count, l2, scale, rates):
    """v <- mu v - rate g; w <- w + v."""
    rate, mu = rates[0], rates[1]
    for i in range(count):
        step = rate * _gradient_of(w[i], sums[i], l2, scale)
        v = mu * first[i] - step
        first[i] = v
        w[i] += v


@jit
def _nesterov(w, sums, first, second, count, l2, scale, rates):
    """v <- mu v - rate g; w <- w + mu v - rate g."""
    rate, mu = rates[0], rates[1]
    for i in range(count):
        step = rate * _gradient_of(w[i], sums[i], l2, scale)
        v = mu * first[i] - step
        first[i] = v
        w[i] += mu * v - step


@jit
def _adam(w, sums, first, second, count, l2, scale, rates):
    """m <- b1 m + (1-b1) g; v <- b2 v + (1-b2) g^2; w <- w - rate m/(sqrt v + eps)."""
    rate, beta_1, beta_2, epsilon, rest_1, rest_2 = rates
    for i in range(count):
        g = _gradient_of(w[i], sums[i], l2, scale)
        m = beta_1 * first[i] + rest_1 * g
        v = beta_2 * second[i] + rest_2 * g * g
        first[i] = m
        second[i] = v
        w[i] -= rate * m / (math.sqrt(v) + epsilon)


@jit
def _rmsprop(w, sums, first, second, count, l2, scale, rates):
    """v <- b2 v + (1-b2) g^2; w <- w - rate g/(sqrt v + eps)."""
    rate, _, beta_2, epsilon, _, rest_2 = rates
    for i in range(count):
        g = _gradient_of(w[i], sums[i], l2, scale)
        v = beta_2 * first[i] + rest_2 * g * g
        first[i] = v
        w[i] -= rate * g / (math.sqrt(v) + epsilon)


@jit
def _lion(w, sums, first, second, count, l2, scale, rates):
    """w <- w - rate sign(b1 m + (1-b1) g); m <- b2 m + (1-b2) g."""
    rate, beta_1, beta_2, _, rest_1, rest_2 = rates
    zero = cast(0, rate)
    for i in range(count):
        g = _gradient_of(w[i], sums[i], l2, scale)
        m = first[i]
        direction = beta_1 * m + rest_1 * g
        first[i] = beta_2 * m + rest_2 * g
        # a direction of 0 or NaN is the step itself
        step = rate if direction > zero else direction
        w[i] -= -rate if direction < zero else step


@jit
def adam_rate(rate, beta_1_power, beta_2_power):
    """rate sqrt(1 - b2^t) / (1 - b1^t): Adam's learning rate with bias correction.

    References
    ----------
    Kingma and Ba, "Adam: a method for stochastic optimization" (2015), section 2.
    """
    return rate * math.sqrt(1.0 - beta_2_power) / (1.0 - beta_1_power)


#: Not an optimizer: adds up the gradients of batches.
GRADIENT_CODE = OPTIMIZERS["gradient"].code
ADAM_CODE = OPTIMIZERS["adam"].code

#: Name of a row of `fastmlp.tables.optimizers` -> its rule, see `update`.
KERNELS = {
    "gradient": _add_gradient,
    "sgd": _sgd,
    "momentum": _momentum,
    "nesterov": _nesterov,
    "adam": _adam,
    "rmsprop": _rmsprop,
    "lion": _lion,
}

#: update(code, w, sums, first, second, count, l2, scale, rates): `count` weights.
#: first and second are the arrays of state that the row names, if it names any.
#: rates is a tuple (rate, momentum or beta_1, beta_2, epsilon, 1 - beta_1,
#: 1 - beta_2) of w's type; the last two are passed because computing them in float32
#: would lose digits if the betas are close to 1.
update = dispatch([(row.code, KERNELS[row.name]) for row in OPTIMIZERS.values()])
