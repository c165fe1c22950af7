"""The record that tells kernels where everything is, and the start of a step."""

from typing import NamedTuple

import numpy as np

from fastmlp.compilation import jit
from fastmlp.kernels.layers.layer import LAYER, layer_at
from fastmlp.kernels.masks import mask_key
from fastmlp.kernels.optimizers import ADAM_CODE, GRADIENT_CODE, adam_rate
from fastmlp.kernels.simd import cast, pointer, record_at
from fastmlp.kernels.updating import Model, Rule, sum_of

__all__ = [
    "JOB",
    "Step",
    "begin_step",
    "inputs_mask",
    "job_at",
    "layer_of",
    "layer_of_piece",
    "model_of",
    "penalties_of",
]

#: Names of the buffers that kernels declare with `buffers.of_thread`.
SCRATCH = (
    "piece_sums",  # see passes
    "piece_row",
    "raw_outputs",
    "loss_targets",
    "entries",  # see sparse
    "transposed_deltas",  # see strips
    "sample_rows",
    "encoding_values",  # see layers.encoding
    "encoding_sums",
    "encoding_row",
    "alpha_sums",  # see layers.parametric
    "pre_activations",
)
_INTEGERS = (
    # the network
    "layers",  # address of n_layers records LAYER
    "n_layers",
    "parameters",  # addresses of arrays, see updating.Model
    "transposed",
    "first_state",  # what the optimizer's rule keeps; 0 for none
    "second_state",
    "average",  # 0 for none
    "penalties",
    "n_pieces",  # of the parameters; each has its own penalty and sum of squares
    "loss",  # codes
    "output_activation",
    "optimizer",
    # buffers
    "workspace",  # address of activations and deltas
    "workspace_size",  # elements from one thread's part to the next (0: shared)
    "capacity",  # rows of its panels
    "sample_losses",  # address of a number for each row of a batch, in whole vectors
    "scratch",  # address
    "scratch_size",  # elements from one thread's part to the next
    *SCRATCH,  # offsets in a thread's part
    "block_rows",  # rows that go through all layers together
    "depth",  # panels summed before a product stores its result, see dense
    "strips",  # into which a full batch is cut, see strips
    "gradients",  # address of the strips' sums, or of a gradient to be clipped; both
    "gradients_size",  # laid out like the parameters; elements from strip to strip
    "squares",  # address of a number for each piece of a gradient to be clipped
    "mask_keys",  # address of keys of dropout masks, see strips
    "mask_keys_size",  # elements from one thread's part to the next
    # the data
    "X",  # address of sample 0, feature 0
    "X_is_double",
    "is_far",  # whether prefetching shuffled samples is worthwhile
    "row_stride",  # in elements
    "column_stride",
    "row_starts",  # of sparse X, see sparse: X is then the address of its values
    "column_indices",
    "feature_starts",  # address of n_features + 2 int64: where a feature's entries are
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
    "n_members",  # networks of one form whose predictions are averaged
    "parameters_size",  # elements from the parameters of one to those of the next
    # the team
    "n_threads",
    "team",  # address of the array that the threads share, see team
    "spins",  # iterations of a waiting loop before it yields its core
    # the steps
    "loss_parameters",  # address of numbers
    "rates",  # address of a float64 per step of the epoch: its learning rate
    "kept_shares",  # address of a float64 per layer: of its inputs, what dropout keeps
    "seed",  # of the dropout masks
    "n_updates",  # steps before this epoch
    # epochs that follow each other, see epochs
    "n_epochs",  # that a call may run; 0 or 1 for steps of one
    "epochs",  # address of EPOCH_NUMBERS float64 for each
    "epochs_done",
    "goes_on",  # whether another one follows
    "generator",  # addresses for shuffling.shuffle_numbers, or 0
    "shuffled",
    "picks",
    "no_improvement",  # epochs in a row, see training.run.Stopping
)
_FLOATS = (
    "l2",
    "beta_1",  # momentum, or Adam's beta_1
    "beta_2",  # Adam's beta_2
    "epsilon",
    "beta_1_power",  # beta**t, t the number of updates so far; each step updates it
    "beta_2_power",
    "total_weight",  # of all samples, for the optimizer that only sums the gradient
    "loss_sum",  # grows by the sum over steps of (loss of batch) * (rows of batch)
    "l1",
    "weight_decay",
    "clip_norm",  # 0 for none
    "average_decay",
    "tol",
    "patience",
    "best_loss",
)

#: All that a kernel needs.  Unless said otherwise, arrays have its precision.
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
def layer_of_piece(job, piece):
    """(number of the layer, number in it) of a piece of all parameters."""
    i = 0
    pieces = layer_of(job, 0).pieces
    while piece >= pieces:
        piece -= pieces
        i += 1
        pieces = layer_of(job, i).pieces
    return i, piece


@jit
def model_of(job, like):
    """Pointers to all arrays of parameters."""
    return Model(
        pointer(job.parameters, like),
        pointer(job.transposed, like),
        pointer(job.first_state, like),
        pointer(job.second_state, like),
        pointer(job.average, like),
        pointer(job.penalties, like),
        pointer(job.gradients, like),
        pointer(job.squares, like),
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


class Step(NamedTuple):
    """A mini-batch, and how its gradient is scaled and applied."""

    number: int  # of the epoch
    start: int  # position of its first sample
    rows: int
    rule: object  # updating.Rule
    loss_scale: float  # factor from the sum of its losses to its part of `loss_sum`
    power_1: float  # beta_1**t and beta_2**t after the update
    power_2: float


@jit
def begin_step(job, number, power_1, power_2, like):
    """Step `number` of an epoch; power_1, power_2 : beta**t before it."""
    start = number * job.batch_size
    rows = min(job.batch_size, job.n_samples - start)
    rate = pointer(job.rates, 0.0)[number]
    shrinkage = rate * job.weight_decay
    l2, l1 = job.l2, job.l1
    if job.optimizer == GRADIENT_CODE:  # penalties count once
        weight = job.total_weight
        share = job.n_samples
        if number > 0:
            l2 = l1 = 0.0
    else:
        weight = _total_weight(job, start, rows, like)
        share = rows
    # a batch whose weights are all zero has no loss and no gradient
    scale = 1.0 / weight if weight != 0 else 0.0
    if job.optimizer == ADAM_CODE:
        power_1 *= job.beta_1
        power_2 *= job.beta_2
        rate = adam_rate(rate, power_1, power_2)
    rates = (
        cast(rate, like),
        cast(job.beta_1, like),
        cast(job.beta_2, like),
        cast(job.epsilon, like),
        cast(1.0 - job.beta_1, like),
        cast(1.0 - job.beta_2, like),
    )
    average_share = 1.0 - job.average_decay if job.average != 0 else 0.0
    rule = Rule(
        job.optimizer, rate, shrinkage, cast(l2, like), cast(l1, like),
        cast(scale, like), cast(1.0 - shrinkage, like), cast(average_share, like),
        rates,
    )  # fmt: skip
    return Step(number, start, rows, rule, share * scale, power_1, power_2)


@jit
def penalties_of(job, model, rule):
    """The penalties of all weights, before the update."""
    zero = cast(0, rule.l2)
    if rule.l2 > zero or rule.l1 > zero:
        return sum_of(model.penalties, job.n_pieces)
    return 0.0


@jit
def inputs_mask(job, step, i):
    """(key of the dropout mask of the inputs of layer i, share that it keeps)."""
    key = mask_key(job.seed, job.n_updates + step.number, i)
    return key, pointer(job.kept_shares, 0.0)[i]
