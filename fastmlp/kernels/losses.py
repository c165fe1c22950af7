"""Kernels of losses per sample and their derivatives, and of output activations.

A loss is computed from the raw outputs z of the network (logits), never from clipped
probabilities.  Blocks of outputs are stored *output-major*: output j of row r is at
``z[j*rows + r]``, so that sums over the outputs of a row become vector
operations over rows.

Scale: the loss of a sample, summed over its outputs (for the squared error and its
relatives: the mean over them).  Deltas are its exact derivatives with respect to z.

Losses with parameters are compiled only if a fit needs them.
"""

from fastmlp.compilation import jit
from fastmlp.compilation.dispatching import dispatch
from fastmlp.kernels.elementwise import (
    exp,
    expm1_of_negative,
    log,
    log1p_exp_minus,
    logistic,
    power,
)
from fastmlp.kernels.gathering import gather_column
from fastmlp.kernels.simd import absolute, advance, call_address, cast, pointer
from fastmlp.tables.losses import LOSSES, OUTPUT_ACTIVATIONS

__all__ = [
    "KERNELS",
    "OUTPUT_KERNELS",
    "any_loss_and_deltas",
    "evaluate",
    "output_activation",
]


@jit
def _largest_of(z, n_outputs, rows, largest):
    """largest[r] = the largest output of row r."""
    for r in range(rows):
        largest[r] = z[r]
    for j in range(1, n_outputs):
        column = advance(z, j * rows)
        for r in range(rows):
            largest[r] = column[r] if column[r] > largest[r] else largest[r]


@jit
def _exponentials(z, n_outputs, rows):
    """z_j <- exp(z_j - m) with m = max z; returns m and the sum, one per row.

    Both are stored after z.  Each loop runs over all rows, so that it vectorises.
    """
    largest = advance(z, n_outputs * rows)
    total = advance(largest, rows)
    _largest_of(z, n_outputs, rows, largest)
    for r in range(rows):
        total[r] = cast(0, z[0])
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


#: Name of an output activation -> (z, n_outputs, rows), see `output_activation`.
OUTPUT_KERNELS = {
    "identity": _identity,
    "logistic": _logistic,
    "softmax": _softmax,
    "exp": _exp,
}

#: output_activation(code, z, n_outputs, rows): output-major z, in place.  There must be
#: room for 2*rows more numbers after z.
output_activation = dispatch(
    [(row.code, OUTPUT_KERNELS[row.name]) for row in OUTPUT_ACTIVATIONS.values()]
)


@jit
def _softmax_log_loss(z, targets, n_outputs, rows, losses, parameters):
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
def _log_loss_of(z, y, parameter):
    """log(1 + exp z) - y z, and its derivative 1 / (1 + exp(-z)) - y."""
    size = -z if z < cast(0, z) else z
    positive = cast(0, z) if z < cast(0, z) else z
    return log1p_exp_minus(size) + positive - y * z, logistic(z) - y


@jit
def _squared_error_of(z, y, parameter):
    """(z - y)**2 / 2, and its derivative z - y."""
    error = z - y
    return cast(0.5, z) * error * error, error


@jit
def _poisson_of(z, y, parameter):
    """y log(y / mu) - y + mu with mu = exp z, and its derivative mu - y."""
    mean = exp(z)
    zero = cast(0, z)
    # 0 log 0 = 0; log needs a positive argument even if its result is not used
    log_y = log(y if y > zero else cast(1, z))
    return y * (log_y - z) - y + mean, mean - y


@jit
def _absolute_error_of(z, y, parameter):
    """|z - y|, and its derivative, taken as 0 at z = y."""
    error = z - y
    zero, one = cast(0, z), cast(1, z)
    sign = one if error > zero else -one
    return absolute(error), error if error == zero else sign


@jit
def _huber_of(z, y, delta):
    """(z - y)**2 / 2 up to |z - y| = delta, linear beyond."""
    error = z - y
    size = absolute(error)
    half = cast(0.5, z)
    bounded = -delta if error < -delta else error
    bounded = delta if error > delta else bounded
    inner = half * error * error
    return delta * (size - half * delta) if size > delta else inner, bounded


@jit
def _quantile_of(z, y, q):
    """q (y - z) if y > z, else (q - 1) (y - z)."""
    error = y - z
    zero = cast(0, z)
    slope = q if error > zero else q - cast(1, z)
    return slope * error, error if error == zero else -slope


@jit
def _gamma_of(z, y, parameter):
    """log(mu / y) + y / mu - 1 with mu = exp z, and its derivative 1 - y / mu."""
    ratio = y * exp(-z)
    one = cast(1, z)
    return z - log(y) + ratio - one, one - ratio


@jit
def _focal_of(z, y, gamma):
    """-y (1 - p)**gamma log p - (1 - y) p**gamma log(1 - p), with p = 1/(1 + exp(-z)).

    The derivative of -(1 - p)**gamma log p is (1 - p)**gamma (gamma p log p - (1 - p)).
    """
    zero, one = cast(0, z), cast(1, z)
    tail = log1p_exp_minus(absolute(z))
    log_p = (z if z < zero else zero) - tail
    log_q = (-z if z > zero else zero) - tail
    p, q = logistic(z), logistic(-z)
    easy, hard = power(q, gamma), power(p, gamma)
    other = one - y
    loss = -y * easy * log_p - other * hard * log_q
    slope = y * easy * (gamma * p * log_p - q) - other * hard * (gamma * q * log_q - p)
    return loss, slope


def _sum_over_outputs(loss_of, mean, each=False):
    """Make the evaluation of a block from (z, y, parameter) -> (loss, derivative).

    mean : whether the loss of a sample is the mean over its outputs, not the sum.
    each : whether each output has a parameter of its own; else all have the first one.
    """

    @jit
    def evaluate(z, targets, n_outputs, rows, losses, parameters):
        share = cast(1, z[0])
        if mean:
            share /= cast(n_outputs, share)
        for r in range(rows):
            losses[r] = cast(0, share)
        for j in range(n_outputs):
            column = advance(z, j * rows)
            y = advance(targets, j * rows)
            parameter = parameters[j] if each else parameters[0]
            for r in range(rows):
                loss, derivative = loss_of(column[r], y[r], parameter)
                losses[r] += share * loss
                column[r] = share * derivative

    return evaluate


@jit
def _softmax_focal_loss(z, targets, n_outputs, rows, losses, parameters):
    """-sum_j y_j (1 - p_j)**gamma log p_j with p = softmax z and smoothed targets y.

    y_j = (1 - s) [j is the class] + s / n_outputs; parameters = (gamma, s).  With
    h_j = (1 - p_j)**gamma (gamma p_j log p_j / (1 - p_j) - 1), the derivative with
    respect to z_k is y_k h_k - p_k sum_j y_j h_j.
    """
    one, zero = cast(1, z[0]), cast(0, z[0])
    gamma, smoothing = parameters[0], parameters[1]
    low = smoothing / cast(n_outputs, smoothing)
    high = one - smoothing + low
    log_sum = advance(z, n_outputs * rows)
    total = advance(log_sum, rows)
    _log_sum_exp(z, n_outputs, rows, log_sum, total)
    for r in range(rows):
        losses[r] = zero
        total[r] = zero  # from here on sum_j y_j h_j
    for turn in range(2):
        for j in range(n_outputs):
            column = advance(z, j * rows)
            label = cast(j, one)
            for r in range(rows):
                y = high if targets[r] == label else low
                log_p = column[r] - log_sum[r]
                log_p = zero if log_p > zero else log_p  # rounding error
                rest = -expm1_of_negative(log_p)
                ratio = log_p / (rest if rest > zero else one)
                ratio = ratio if rest > zero else -one
                ease = power(rest, gamma) if gamma > zero else one
                p = one - rest
                h = y * ease * (gamma * p * ratio - one)
                if turn == 0:
                    losses[r] -= y * ease * log_p
                    total[r] += h
                else:
                    column[r] = h - p * total[r]


@jit
def _log_sum_exp(z, n_outputs, rows, log_sum, total):
    """log sum_j exp z_j of each row; `total` has room for one number per row."""
    _largest_of(z, n_outputs, rows, log_sum)
    for r in range(rows):
        total[r] = cast(0, z[0])
    for j in range(n_outputs):
        column = advance(z, j * rows)
        for r in range(rows):
            total[r] += exp(column[r] - log_sum[r])
    for r in range(rows):
        log_sum[r] += log(total[r])


#: Name of a row of `fastmlp.tables.losses` -> (z, targets, n_outputs, rows, losses,
#: parameters), see `any_loss_and_deltas`.
KERNELS = {
    "squared_error": _sum_over_outputs(_squared_error_of, mean=True),
    "log_loss": _softmax_log_loss,
    "binary_log_loss": _sum_over_outputs(_log_loss_of, mean=False),
    "poisson": _sum_over_outputs(_poisson_of, mean=False),
    "absolute_error": _sum_over_outputs(_absolute_error_of, mean=True),
    "huber": _sum_over_outputs(_huber_of, mean=True),
    "quantile": _sum_over_outputs(_quantile_of, mean=True, each=True),
    "gamma": _sum_over_outputs(_gamma_of, mean=False),
    "focal": _softmax_focal_loss,
    "binary_focal": _sum_over_outputs(_focal_of, mean=False),
}


@jit
def _call(code, z, targets, n_outputs, rows, losses, parameters):
    call_address(code, (z, targets, losses, parameters, n_outputs, rows))


def _dispatch(rows):
    return dispatch([(row.code, KERNELS[row.name]) for row in rows], _call)


_ROWS = [row for row in LOSSES.values() if row.registered is None]


#: any_loss_and_deltas(code, z, targets, n_outputs, rows, losses, parameters): of `rows`
#: rows, all arrays output-major.  z becomes the deltas, losses[r] the loss of row r.
#: There must be room for 2*rows more numbers after z.  The targets of log_loss are one
#: class number per row.  `parameters` points to those of the loss: room for one, even
#: if there are none.  The code of a loss that a user has registered is an address: see
#: `fastmlp.compilation.functions`.
any_loss_and_deltas = _dispatch(_ROWS)

_loss_and_deltas = _dispatch(row for row in _ROWS if not row.is_parametric)


@jit
def evaluate(job, z, n_outputs, order, count, rows, targets, losses, parametric):
    """Losses of a block of samples, times their weights; raw outputs become deltas.

    z, n_outputs, rows, losses : see `any_loss_and_deltas`.
    order : indices of `count` samples; the last one fills up the rows.
    targets : room for those of the block.
    parametric : True if the loss may have parameters, else None.
    """
    like, n_targets = z[0], job.n_targets
    for j in range(n_targets):
        y = advance(pointer(job.targets, like), j)
        gather_column(y, order, n_targets, count, rows, advance(targets, j * rows))
    parameters = pointer(job.loss_parameters, like)
    if parametric is None:
        _loss_and_deltas(job.loss, z, targets, n_outputs, rows, losses, parameters)
    else:
        any_loss_and_deltas(job.loss, z, targets, n_outputs, rows, losses, parameters)
    if job.sample_weights != 0:
        sample_weights = pointer(job.sample_weights, like)
        for r in range(rows):
            weight = sample_weights[order[min(r, count - 1)]]
            losses[r] *= weight
            for j in range(n_outputs):
                z[j * rows + r] *= weight
