"""What all kernels are told, as one record, and what makes a training step one."""

from typing import NamedTuple

import numpy as np

from fastmlp.compilation import jit
from fastmlp.kernels.dense import LAYER, Model, Rule, layer_at
from fastmlp.kernels.optimizers import ADAM_CODE, GRADIENT_CODE, adam_rate
from fastmlp.kernels.simd import cast, pointer, record_at

__all__ = [
    "JOB",
    "Step",
    "begin_step",
    "job_at",
    "layer_of",
    "model_of",
    "penalty_of",
    "sum_of",
]

_INTEGERS = (
    # the network
    "layers",  # address of n_layers records LAYER
    "n_layers",
    "parameters",  # addresses of arrays, see dense.Model
    "transposed",
    "first_moment",
    "second_moment",
    "penalties",
    "n_penalties",
    "activation",  # codes
    "keeps_zero",
    "loss",
    "output_activation",
    "optimizer",
    # buffers
    "workspace",  # address of activations and deltas
    "workspace_size",  # elements from one thread's to the next (0: shared)
    "capacity",  # rows of its panels
    "sample_losses",  # address of a number for each row of a batch, whole vectors
    "scratch",  # address
    "scratch_size",  # elements of each thread
    "block_rows",  # rows that go through all layers together
    "depth",  # panels summed before a product stores, see dense
    "strips",  # of a whole batch, see strips
    "gradients",  # address of sums, laid out like the parameters, of each strip
    "gradients_size",  # elements from one strip's to the next
    # the data
    "X",  # address of sample 0, feature 0
    "X_is_double",
    "is_far",  # whether it pays to fetch shuffled samples ahead
    "row_stride",  # in elements
    "column_stride",
    "row_starts",  # of sparse X, see sparse: X is the address of its entries' numbers
    "column_indices",
    "feature_starts",  # address of n_features + 2 int64: the batch sorted by feature
    "entry_rows",  # addresses of n_entries numbers
    "entry_values",
    "n_entries",
    "order",  # address of the samples' indices in the order of the epoch, or 0
    "targets",  # address of n_samples x n_targets numbers
    "n_targets",
    "sample_weights",  # address, or 0
    "n_samples",
    "batch_size",
    "outputs",  # address of n_samples x n_outputs predictions
    # the team
    "n_threads",
    "team",  # address of the array that they share, see team
    "spins",  # turns of a waiting loop before it gives up its core
    # what only `fastmlp.kernels.general` looks at:
    "loss_parameters",  # address of numbers
    "rates",  # address of a float64 for each step of the epoch
    "keep",  # address of a float64 for each layer: the share of its inputs to keep
    "seed",  # of the masks that choose them
    "n_updates",  # steps before this epoch
    "average",  # address of averaged parameters, or 0
    "squares",  # address of a number for each piece of the gradient
)
_FLOATS = (
    "l2",
    "learning_rate",
    "decay_1",  # momentum, or Adam's beta_1
    "decay_2",  # Adam's beta_2
    "epsilon",
    "beta_1_power",  # beta**t, t the number of updates done; grows with them
    "beta_2_power",
    "total_weight",  # of all samples, for the optimizer that only takes the gradient
    "loss_sum",  # grows by the sum over steps of (loss of batch) * (rows of batch)
    # what only `fastmlp.kernels.general` looks at:
    "l1",
    "weight_decay",
    "clip_norm",  # 0 for none
    "average_decay",
)

#: All that a kernel needs to know.  Addresses are of the kernel's precision.
JOB = np.dtype(
    [(name, np.int64) for name in _INTEGERS] + [(name, np.float64) for name in _FLOATS]
)

job_at = record_at(JOB)
_LAYER_BYTES = LAYER.itemsize


@jit
def layer_of(job, i):
    """The record of layer i."""
    return layer_at(job.layers + i * _LAYER_BYTES)


@jit
def model_of(job, like):
    """Pointers to all arrays of parameters."""
    return Model(
        pointer(job.parameters, like),
        pointer(job.transposed, like),
        pointer(job.first_moment, like),
        pointer(job.second_moment, like),
        pointer(job.penalties, like),
    )


@jit
def _total_weight(job, start, rows, like):
    """Sum of the sample weights of a batch (its size if there are none)."""
    if job.sample_weights == 0:
        return float(rows)
    order = pointer(job.order, 0)
    sample_weights = pointer(job.sample_weights, like)
    total = 0.0
    for position in range(start, start + rows):
        total += sample_weights[order[position]]
    return total


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


class Step(NamedTuple):
    """A mini-batch and what is to be done with its gradient."""

    start: int  # position of its first sample
    rows: int
    rule: object  # dense.Rule
    l2: float
    loss_scale: float  # from the sum of its losses to its part of `loss_sum`
    power_1: float  # beta_1**t and beta_2**t after the update
    power_2: float


@jit
def begin_step(job, step, rate, power_1, power_2, like):
    """Step number `step` of an epoch.

    rate : learning rate; power_1, power_2 : beta**t before it.
    """
    start = step * job.batch_size
    rows = min(job.batch_size, job.n_samples - start)
    l2 = job.l2
    if job.optimizer == GRADIENT_CODE:
        weight = job.total_weight
        share = job.n_samples
        l2 = l2 if step == 0 else 0.0
    else:
        weight = _total_weight(job, start, rows, like)
        share = rows
    # a batch without weight has no loss and no gradient
    scale = 1.0 / weight if weight != 0 else 0.0
    if job.optimizer == ADAM_CODE:
        power_1 *= job.decay_1
        power_2 *= job.decay_2
        rate = adam_rate(rate, power_1, power_2)
    rates = (
        cast(rate, like),
        cast(job.decay_1, like),
        cast(job.decay_2, like),
        cast(job.epsilon, like),
        cast(1.0 - job.decay_1, like),
        cast(1.0 - job.decay_2, like),
    )
    rule = Rule(job.optimizer, cast(l2, like), cast(scale, like), rates)
    return Step(start, rows, rule, l2, share * scale, power_1, power_2)


@jit
def penalty_of(job, model, l2):
    """l2/2 times the sum of the squared weights before the update."""
    return 0.5 * l2 * sum_of(model.penalties, job.n_penalties) if l2 > 0 else 0.0
