"""What becomes of a gradient: penalties, clipping, the update, and averages of weights.

`update_parameters` is told where some parameters begin and how many there are; who
sums their gradient (`fastmlp.kernels.passes`, `fastmlp.kernels.strips`) knows how they
are laid out.  Whatever a fit asks for beyond the rule of its optimizer is one more
sweep over numbers that are in the first-level cache, and nothing if it does not.

With s the gradient of the losses, summed over the batch, a step is

    g = (s + l2 w + l1 sign w) scale       (of biases: s scale)
    w <- decay w                           decoupled weight decay
    w <- w - ...                           the rule, told g
    average <- average + share (w - average)

If the norm of the whole gradient is to be clipped, g is made and kept first
(`make_gradient`), and the rest follows when all of it is there.
"""

import math
from typing import NamedTuple

from fastmlp.compilation import jit
from fastmlp.kernels.optimizers import update
from fastmlp.kernels.simd import absolute, advance, cast

__all__ = [
    "Model",
    "Rule",
    "clipped",
    "make_gradient",
    "penalty_of",
    "sum_of",
    "sum_of_squares",
    "update_parameters",
]


class Model(NamedTuple):
    """Pointers to the arrays of all layers."""

    parameters: object
    transposed: object
    first_moment: object
    second_moment: object
    average: object
    penalties: object  # of parts of the weights, before the update
    gradients: object  # laid out like the parameters: of each strip, or to be clipped
    squares: object  # of parts of a gradient that may be clipped


class Rule(NamedTuple):
    """How a gradient becomes an update."""

    optimizer: int
    l2: object
    l1: object
    scale: object
    decay: object  # what weights are multiplied by
    share: object  # of the new parameters in their average; 0 for no average
    rates: object  # tuple, see `optimizers.update`


@jit
def sum_of(numbers, count):
    """Sum in float64, four at a time, in an order that only depends on `count`."""
    a = b = c = d = 0.0
    whole = count // 4 * 4
    for i in range(0, whole, 4):
        a += numbers[i]
        b += numbers[i + 1]
        c += numbers[i + 2]
        d += numbers[i + 3]
    for i in range(whole, count):
        a += numbers[i]
    return (a + b) + (c + d)


@jit(flags=("reassoc", "contract"))
def sum_of_squares(x, count):
    """Sum of x[i]**2: in vectors, in an order that only depends on `count`."""
    total = cast(0, x[0])
    for i in range(count):
        total += x[i] * x[i]
    return total


@jit(flags=("reassoc", "contract"))
def _sum_of_sizes(x, count):
    """Sum of abs(x[i]), likewise."""
    total = cast(0, x[0])
    for i in range(count):
        total += absolute(x[i])
    return total


@jit
def penalty_of(w, count, rule):
    """l2/2 times the sum of squared weights plus l1 times that of their sizes."""
    zero = cast(0, w[0])
    penalty = zero
    if rule.l2 > zero:
        penalty += cast(0.5, zero) * rule.l2 * sum_of_squares(w, count)
    if rule.l1 > zero:
        penalty += rule.l1 * _sum_of_sizes(w, count)
    return penalty


@jit
def _add_penalties(w, sums, count, l2, l1, decay):
    """sums <- sums + l2 w + l1 sign w, and then w <- decay w."""
    zero = cast(0, w[0])
    for i in range(count):
        sign = l1 if w[i] > zero else zero
        sign = -l1 if w[i] < zero else sign
        sums[i] += l2 * w[i] + sign
        w[i] *= decay


@jit
def update_parameters(model, rule, place, count, sums, are_weights):
    """The update of `count` parameters from `place` on.

    sums : their gradient, summed over the batch; may be overwritten.
    are_weights : whether penalties and decay are for them.
    """
    zero, one = cast(0, sums[0]), cast(1, sums[0])
    w = advance(model.parameters, place)
    l2 = zero
    if are_weights:
        l2 = rule.l2
        if rule.l1 > zero or rule.decay != one:
            _add_penalties(w, sums, count, l2, rule.l1, rule.decay)
            l2 = zero
    update(
        rule.optimizer, w, sums, advance(model.first_moment, place),
        advance(model.second_moment, place), count, l2, rule.scale, rule.rates,
    )  # fmt: skip
    if rule.share > zero:
        average = advance(model.average, place)
        for i in range(count):
            average[i] += rule.share * (w[i] - average[i])


@jit
def make_gradient(model, rule, place, count, sums, are_weights):
    """Make sums the gradient, penalties included; returns the sum of its squares."""
    zero = cast(0, sums[0])
    if are_weights:
        w = advance(model.parameters, place)
        _add_penalties(w, sums, count, rule.l2, rule.l1, cast(1, zero))
    for i in range(count):
        sums[i] *= rule.scale
    return sum_of_squares(sums, count)


@jit
def clipped(rule, squares, clip_norm):
    """The rule for a gradient that has been made, as short as it is to be.

    squares : of all of the gradient.
    """
    norm = math.sqrt(squares)
    factor = clip_norm / norm if norm > clip_norm else 1.0
    if norm == math.inf:  # a step of 0 would hide that numbers are too large
        factor = math.nan
    like = rule.scale
    zero = cast(0, like)
    return Rule(
        rule.optimizer, zero, zero, cast(factor, like), rule.decay, rule.share,
        rule.rates,
    )  # fmt: skip
