"""From gradient to update: penalties, clipping, update rules, averages of weights.

`update_parameters` gets the offset of some parameters and their number; the callers,
which sum their gradient (`fastmlp.kernels.passes`, `fastmlp.kernels.strips`), know the
layout.  Each option that a fit uses beyond its optimizer's rule costs one more pass
over numbers in the L1 cache; options that it does not use cost nothing.

With s the gradient of the losses, summed over the batch, a step is

    g = (s + l2 w + l1 sign w) scale       (of biases: s scale)
    w <- decay w                           decoupled weight decay
    w <- w - ...                           the update rule, given g
    average <- average + share (w - average)

If the norm of the whole gradient is clipped, g is computed and kept first
(`make_gradient`); the rest follows when all of g is known.
"""

import math
from typing import NamedTuple

from fastmlp.compilation import jit
from fastmlp.kernels.buffers import Buffer
from fastmlp.kernels.optimizers import update
from fastmlp.kernels.simd import absolute, advance, cast

__all__ = [
    "Model",
    "Rule",
    "clipped",
    "make_gradient",
    "penalty_of",
    "rule_for",
    "rules_for",
    "step_buffers",
    "sum_of",
    "update_parameters",
]


def step_buffers(sizes):
    """What the functions below return for each piece of the parameters."""
    squares = sizes.pieces if sizes.clips else 0
    return [
        Buffer("penalties", {"penalties": sizes.pieces}),
        Buffer("squares", {"squares": squares}),
    ]


class Model(NamedTuple):
    """Pointers to the arrays of all layers."""

    parameters: object
    transposed: object
    first_state: object  # of the optimizer's rule
    second_state: object
    average: object
    penalties: object  # of pieces of the weights, before the update
    gradients: object  # of each strip, or to be clipped; laid out like the parameters
    squares: object  # sums of squares of pieces of a gradient to be clipped


class Rule(NamedTuple):
    """How a gradient becomes an update."""

    optimizer: int
    rate: float  # the learning rate
    shrinkage: float  # 1 - decay
    l2: object
    l1: object
    scale: object
    decay: object  # factor for the weights, from decoupled weight decay
    share: object  # weight of the new parameters in their average; 0 for no average
    rates: object  # tuple, see `optimizers.update`


@jit
def rule_for(rule, rate, decay):
    """The rule for an array of parameters.

    rate, decay : factors on the learning rate and on the decay; no penalties if 0.
    """
    like = rule.scale
    l2 = l1 = cast(0, like)
    kept = cast(1, like)
    if decay != 0:
        l2, l1, kept = rule.l2, rule.l1, cast(1.0 - rule.shrinkage * decay, like)
    rates = (cast(rule.rate * rate, like),) + rule.rates[1:]  # noqa: RUF005
    return Rule(
        rule.optimizer, rule.rate, rule.shrinkage, l2, l1, rule.scale, kept,
        rule.share, rates,
    )  # fmt: skip


@jit
def rules_for(rule, layer):
    """The rules for a layer's weights, and for its numbers per output."""
    return (
        rule_for(rule, layer.weights_rate, layer.weights_decay),
        rule_for(rule, layer.per_output_rate, 0.0),
    )


@jit
def sum_of(numbers, count):
    """Sum in float64, four at a time, in an order that depends only on `count`."""
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
def _sum_of_squares(x, count):
    """Sum of x[i]**2, vectorised, in an order that depends only on `count`."""
    total = cast(0, x[0])
    for i in range(count):
        total += x[i] * x[i]
    return total


@jit(flags=("reassoc", "contract"))
def _sum_of_sizes(x, count):
    """Sum of abs(x[i]), vectorised, in an order that depends only on `count`."""
    total = cast(0, x[0])
    for i in range(count):
        total += absolute(x[i])
    return total


@jit
def penalty_of(w, count, rule):
    """l2/2 times the sum of squared weights plus l1 times that of absolute weights."""
    zero = cast(0, rule.scale)
    penalty = zero
    if rule.l2 > zero:
        penalty += cast(0.5, zero) * rule.l2 * _sum_of_squares(w, count)
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
def update_parameters(model, rule, place, count, sums):
    """Update `count` parameters, starting at `place`, by the rule for them.

    sums : their gradient, summed over the batch; may be overwritten.
    """
    zero, one = cast(0, rule.scale), cast(1, rule.scale)
    w = advance(model.parameters, place)
    l2 = rule.l2
    if rule.l1 > zero or rule.decay != one:
        _add_penalties(w, sums, count, l2, rule.l1, rule.decay)
        l2 = zero
    update(
        rule.optimizer, w, sums, advance(model.first_state, place),
        advance(model.second_state, place), count, l2, rule.scale, rule.rates,
    )  # fmt: skip
    if rule.share > zero:
        average = advance(model.average, place)
        for i in range(count):
            average[i] += rule.share * (w[i] - average[i])


@jit
def make_gradient(model, rule, place, count, sums):
    """Turn sums into the gradient, penalties included; return its sum of squares."""
    zero = cast(0, rule.scale)
    if rule.l2 > zero or rule.l1 > zero:
        w = advance(model.parameters, place)
        _add_penalties(w, sums, count, rule.l2, rule.l1, cast(1, zero))
    for i in range(count):
        sums[i] *= rule.scale
    return _sum_of_squares(sums, count)


@jit
def clipped(rule, squares, clip_norm):
    """The rule that clips and applies a gradient from `make_gradient`.

    squares : sum of the squares of the whole gradient.
    """
    norm = math.sqrt(squares)
    factor = clip_norm / norm if norm > clip_norm else 1.0
    if norm == math.inf:  # a factor of 0 would hide the overflow
        factor = math.nan
    like = rule.scale
    zero = cast(0, like)
    return Rule(
        rule.optimizer, rule.rate, rule.shrinkage, zero, zero, cast(factor, like),
        rule.decay, rule.share, rule.rates,
    )  # fmt: skip
