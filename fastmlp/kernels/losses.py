"""Losses of one sample, their derivatives, and the output activations.

A loss works on the raw outputs z of the network (logits), never on clipped
probabilities.  Blocks of outputs are stored *output-major*: number j of row r at
``z[j*rows + r]``, so that sums over the outputs of a row become vector
operations over rows.

Scale: the loss of a sample, summed over its outputs (for the squared error: the
mean over them); deltas are the exact derivatives of that number by z.
"""

from collections.abc import Callable
from typing import NamedTuple

from fastmlp.compilation import jit
from fastmlp.kernels.elementwise import exp, log, log1p_exp_minus, logistic
from fastmlp.kernels.simd import advance, cast
from fastmlp.kernels.tables import dispatch

__all__ = ["LOSSES", "OUTPUT_ACTIVATIONS", "loss_and_deltas", "output_activation"]


class OutputActivation(NamedTuple):
    """One row: what turns raw outputs into predictions."""

    name: str
    code: int
    formula: str
    apply: Callable  # (z, n_outputs, rows), see output_activation


class Loss(NamedTuple):
    """One row: a loss together with its canonical output activation."""

    name: str
    code: int
    formula: str
    output_activation: str
    evaluate: Callable  # (z, targets, n_outputs, rows, losses), see loss_and_deltas


@jit
def _exponentials(z, n_outputs, rows):
    """z_j <- exp(z_j - m) with m = max z; returns m and the sum, one per row.

    Both stand behind z.  Sweeps over all rows at once, so that they vectorise.
    """
    largest = advance(z, n_outputs * rows)
    total = advance(largest, rows)
    for r in range(rows):
        largest[r] = z[r]
        total[r] = cast(0, z[0])
    for j in range(1, n_outputs):
        column = advance(z, j * rows)
        for r in range(rows):
            largest[r] = column[r] if column[r] > largest[r] else largest[r]
    for j in range(n_outputs):
        column = advance(z, j * rows)
        for r in range(rows):
            column[r] = exp(column[r] - largest[r])
            total[r] += column[r]
    return largest, total


@jit
def _softmax(z, n_outputs, rows):
    _, total = _exponentials(z, n_outputs, rows)
    for j in range(n_outputs):
        column = advance(z, j * rows)
        for r in range(rows):
            column[r] /= total[r]


@jit
def _logistic(z, n_outputs, rows):
    for i in range(n_outputs * rows):
        z[i] = logistic(z[i])


@jit
def _identity(z, n_outputs, rows):
    pass


@jit
def _exp(z, n_outputs, rows):
    for i in range(n_outputs * rows):
        z[i] = exp(z[i])


_OUTPUT_ROWS = (
    OutputActivation("identity", 0, "z", _identity),
    OutputActivation("logistic", 1, "1 / (1 + exp(-z))", _logistic),
    OutputActivation("softmax", 2, "exp z_j / sum_k exp z_k", _softmax),
    OutputActivation("exp", 3, "exp z", _exp),
)

#: name -> row
OUTPUT_ACTIVATIONS = {row.name: row for row in _OUTPUT_ROWS}

#: output_activation(code, z, n_outputs, rows): output-major z in place.  Behind z
#: there must be room for 2*rows more numbers.
output_activation = dispatch([(row.code, row.apply) for row in _OUTPUT_ROWS])


@jit
def _softmax_log_loss(z, targets, n_outputs, rows, losses):
    """log sum_j exp z_j - z_t, where targets[r] is the class t of row r."""
    one = cast(1, z[0])
    zero = cast(0, one)
    for r in range(rows):
        losses[r] = zero
    for j in range(n_outputs):
        column = advance(z, j * rows)
        label = cast(j, one)
        for r in range(rows):
            losses[r] = column[r] if targets[r] == label else losses[r]
    largest, total = _exponentials(z, n_outputs, rows)
    for r in range(rows):
        losses[r] = log(total[r]) + (largest[r] - losses[r])
        total[r] = one / total[r]
    for j in range(n_outputs):
        column = advance(z, j * rows)
        label = cast(j, one)
        for r in range(rows):
            hit = one if targets[r] == label else zero
            column[r] = column[r] * total[r] - hit


@jit
def _log_loss_of(z, y):
    """log(1 + exp z) - y z, and its derivative 1 / (1 + exp(-z)) - y."""
    size = -z if z < cast(0, z) else z
    positive = cast(0, z) if z < cast(0, z) else z
    return log1p_exp_minus(size) + positive - y * z, logistic(z) - y


@jit
def _squared_error_of(z, y):
    """(z - y)**2 / 2, and its derivative z - y."""
    error = z - y
    return cast(0.5, z) * error * error, error


@jit
def _poisson_of(z, y):
    """y log(y / mu) - y + mu with mu = exp z, and its derivative mu - y."""
    mean = exp(z)
    zero = cast(0, z)
    # 0 log 0 = 0; the logarithm wants a positive number even if it is not used
    log_y = log(y if y > zero else cast(1, z))
    return y * (log_y - z) - y + mean, mean - y


def _sum_over_outputs(loss_of, mean):
    """A block's losses and deltas from the scalar (z, y) -> (loss, derivative)."""

    @jit
    def evaluate(z, targets, n_outputs, rows, losses):
        share = cast(1, z[0])
        if mean:
            share /= cast(n_outputs, share)
        for r in range(rows):
            losses[r] = cast(0, share)
        for j in range(n_outputs):
            column = advance(z, j * rows)
            y = advance(targets, j * rows)
            for r in range(rows):
                loss, derivative = loss_of(column[r], y[r])
                losses[r] += share * loss
                column[r] = share * derivative

    return evaluate


_ROWS = (
    Loss("squared_error", 0, "mean_j (z_j - y_j)^2 / 2", "identity",
         _sum_over_outputs(_squared_error_of, mean=True)),
    Loss("log_loss", 1, "log sum_j exp z_j - z_t", "softmax", _softmax_log_loss),
    Loss("binary_log_loss", 2, "sum_j log(1 + exp z_j) - y_j z_j", "logistic",
         _sum_over_outputs(_log_loss_of, mean=False)),
    Loss("poisson", 3, "sum_j y_j log(y_j / exp z_j) - y_j + exp z_j", "exp",
         _sum_over_outputs(_poisson_of, mean=False)),
)  # fmt: skip

#: name -> row
LOSSES = {row.name: row for row in _ROWS}

#: loss_and_deltas(code, z, targets, n_outputs, rows, losses): a block of `rows`
#: rows, all arrays output-major.  z becomes the deltas; losses[r] the loss of row
#: r.  Behind z there must be room for 2*rows more numbers.  The targets of
#: log_loss are one class number per row.
loss_and_deltas = dispatch([(row.code, row.evaluate) for row in _ROWS])
