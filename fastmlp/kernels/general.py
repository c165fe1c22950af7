"""Training steps with all that scikit-learn's network does not have.

Any activation for any layer, dropout, losses with parameters, other rules to update, L1
and decoupled penalties, clipped gradients, averaged weights, a rate for every step. The
phases are those of `fastmlp.kernels.passes`, whose products serve here, with three
differences:

- activations are computed together with their derivatives, which wait, times the mask
  of dropout, for the deltas to come back: these are only multiplied by them;
- a gradient is made whole, penalties included, before a rule sees it;
- if the norm of all of it is to be clipped, it is kept, and the weights are updated
  in a third phase.

All this is compiled only if a fit asks for it, so that others wait no longer.
"""

import math

import numpy as np

from fastmlp.compilation import jit
from fastmlp.kernels.activations import activate_any, activate_with_derivative
from fastmlp.kernels.dense import (
    GRADIENT_ROWS,
    backward,
    forward,
    panels,
    sum_products,
    width_at,
)
from fastmlp.kernels.gathering import gather
from fastmlp.kernels.job import begin_step, job_at, layer_of, model_of, sum_of
from fastmlp.kernels.losses import output_activation
from fastmlp.kernels.masks import mask_key, mask_of, multiply_by_mask, row_key
from fastmlp.kernels.optimizers import GRADIENT_CODE, any_update
from fastmlp.kernels.passes import (
    losses_and_deltas,
    pieces_of,
    to_output_major,
)
from fastmlp.kernels.processor import flush_denormals, restore_denormals
from fastmlp.kernels.products import ADD, sum_of_rows
from fastmlp.kernels.simd import (
    absolute,
    advance,
    cast,
    panel_width,
    pointer,
    tile_rows,
    vector_lanes,
)
from fastmlp.kernels.sparse import (
    masked_sparse_forward,
    sparse_forward,
    sum_sparse_products,
    transpose_batch,
)
from fastmlp.kernels.team import (
    ROWS,
    TILES,
    UPDATES,
    forget_pieces,
    next_piece,
    wait_for_team,
)
from fastmlp.kernels.transposing import transpose

__all__ = [
    "predict_general",
    "train_general",
]


# --- phase 1: rows ----------------------------------------------------------------


@jit
def _drop(matrix, first_row, rows, key, keep):
    """Multiply rows of a matrix by the mask of dropout."""
    like = matrix.data[0]
    full_width = panel_width(like)
    for column in range(0, matrix.columns, full_width):
        width = width_at(column, matrix.columns, like)
        panel = advance(matrix.data, column * matrix.rows + first_row * width)
        for r in range(rows):
            numbers = advance(panel, r * width)
            multiply_by_mask(numbers, row_key(key, first_row + r), column, width, keep)


@jit
def _activate(c, derivatives, first_row, rows, activation):
    """C <- g(C), and its derivatives; the padding of C stays zero."""
    like = c.data[0]
    full_width = panel_width(like)
    for column in range(0, c.columns, full_width):
        width = width_at(column, c.columns, like)
        offset = column * c.rows + first_row * width
        panel = advance(c.data, offset)
        count = rows * width
        activate_with_derivative(
            activation, panel, advance(derivatives.data, offset), count
        )
        for r in range(rows):
            for j in range(c.columns - column, width):
                panel[r * width + j] = cast(0, like)


@jit
def _multiply(target, factors, first_row, rows):
    """Rows of a matrix times those of another, number by number."""
    like = target.data[0]
    for column in range(0, target.columns, panel_width(like)):
        width = width_at(column, target.columns, like)
        offset = column * target.rows + first_row * width
        numbers, others = advance(target.data, offset), advance(factors.data, offset)
        for i in range(rows * width):
            numbers[i] *= others[i]


@jit
def _inputs_of(job, workspace, layer):
    return panels(workspace, layer.inputs, layer.fan_in, job.capacity)


@jit
def _outputs_of(job, workspace, layer):
    return panels(workspace, layer.outputs, layer.fan_out, job.capacity)


@jit
def _weights_of(parameters, layer):
    return panels(parameters, layer.weights, layer.fan_out, layer.weight_rows)


@jit
def _key(job, step, layer):
    return mask_key(job.seed, job.n_updates + step, layer)


@jit
def _first_layer(job, workspace, parameters, scratch, first, tiles, start, rows, step,
                 sparse):  # fmt: skip
    """The raw outputs of the first layer."""
    like = scratch[0]
    layer = layer_of(job, 0)
    weights, c = _weights_of(parameters, layer), _outputs_of(job, workspace, layer)
    biases = advance(parameters, layer.biases)
    keep, key = pointer(job.keep, 0.0)[0], _key(job, step, 0)
    if sparse is not None:
        masked_sparse_forward(
            job, weights, biases, c, first, rows, start, key, keep, scratch
        )
    else:
        a = _inputs_of(job, workspace, layer)
        gather(job, a, first, first + rows, start - first, False, like)
        if keep < 1.0:
            _drop(a, first, rows, key, keep)
        forward(a, weights, biases, c, first, tiles, job.depth, cast(0, tiles), True)


@jit
def _carry_rows(job, workspace, model, scratch, start, rows, first, step, sparse):
    """A block of rows of the batch, from row `first` on, forward and backward."""
    like = scratch[0]
    mr = tile_rows(like)
    count = min(job.block_rows, rows - first)
    tiles = (count + mr - 1) // mr
    last = job.n_layers - 1
    keep = pointer(job.keep, 0.0)
    _first_layer(
        job, workspace, model.parameters, scratch, first, tiles, start + first, count,
        step, sparse,
    )  # fmt: skip
    for i in range(1, job.n_layers):
        before, layer = layer_of(job, i - 1), layer_of(job, i)
        a = _inputs_of(job, workspace, layer)
        derivatives = panels(workspace, before.derivatives, layer.fan_in, job.capacity)
        _activate(a, derivatives, first, tiles * mr, before.activation)
        if keep[i] < 1.0:
            key = _key(job, step, i)
            _drop(a, first, count, key, keep[i])
            _drop(derivatives, first, count, key, keep[i])
        forward(
            a, _weights_of(model.parameters, layer),
            advance(model.parameters, layer.biases),
            _outputs_of(job, workspace, layer), first, tiles, job.depth,
            cast(0, tiles), True,
        )  # fmt: skip
    outputs = _outputs_of(job, workspace, layer_of(job, last))
    losses_and_deltas(job, outputs, scratch, start, first, tiles * mr, rows, True)
    for i in range(last, 0, -1):
        layer, before = layer_of(job, i), layer_of(job, i - 1)
        deltas = panels(workspace, before.deltas, layer.fan_in, job.capacity)
        backward(
            panels(workspace, layer.deltas, layer.fan_out, job.capacity),
            panels(
                model.transposed, layer.transposed, layer.fan_in, layer.transposed_rows
            ),
            _inputs_of(job, workspace, layer), deltas, first, tiles, job.depth,
            cast(0, tiles),
        )  # fmt: skip
        derivatives = panels(workspace, before.derivatives, layer.fan_in, job.capacity)
        _multiply(deltas, derivatives, first, tiles * mr)


@jit
def _mask_entries(job, n_features, key, keep, like):
    """Dropout for the entries of a sparse batch, which are sorted by feature."""
    feature_starts = pointer(job.feature_starts, 0)
    entry_rows = pointer(job.entry_rows, np.int32(0))
    entry_values = pointer(job.entry_values, like)
    for k in range(n_features):
        for i in range(feature_starts[k], feature_starts[k + 1]):
            entry_values[i] *= mask_of(row_key(key, entry_rows[i]), k, keep, like)


@jit
def _rows_phase(job, workspace, model, scratch, start, rows, step, thread, sparse):
    """Phase 1: blocks of rows of the batch forward and backward."""
    like = scratch[0]
    if thread == 0:
        forget_pieces(job, TILES)
        if sparse is not None:
            n_features = layer_of(job, 0).fan_in
            transpose_batch(job, n_features, start, rows, like)
            keep = pointer(job.keep, 0.0)[0]
            if keep < 1.0:
                _mask_entries(job, n_features, _key(job, step, 0), keep, like)
    n_pieces = (rows + job.block_rows - 1) // job.block_rows
    piece = next_piece(job, ROWS, thread, n_pieces)
    while piece >= 0:
        first = piece * job.block_rows
        _carry_rows(job, workspace, model, scratch, start, rows, first, step, sparse)
        piece = next_piece(job, ROWS, thread, n_pieces)


# --- phases 2 and 3: the gradient, and what is made of it -----------------------------


@jit
def _all_pieces(job, like):
    total = 0
    for i in range(job.n_layers):
        n_panels, n_groups = pieces_of(layer_of(job, i), like)
        total += n_panels * n_groups
    return total


@jit
def _place_of(job, piece, like):
    """(number of the layer, first column, first row of weights) of a piece."""
    full_width = panel_width(like)
    i = 0
    layer = layer_of(job, 0)
    n_panels, n_groups = pieces_of(layer, like)
    while piece >= n_panels * n_groups:
        piece -= n_panels * n_groups
        i += 1
        layer = layer_of(job, i)
        n_panels, n_groups = pieces_of(layer, like)
    return i, piece // n_groups * full_width, piece % n_groups * full_width


@jit
def _make_gradient(w, sums, count, l1, l2, scale):
    """sums <- (sums + l2 w + l1 sign w) scale."""
    zero = cast(0, scale)
    for i in range(count):
        sign = l1 if w[i] > zero else zero
        sign = -l1 if w[i] < zero else sign
        sums[i] = (sums[i] + l2 * w[i] + sign) * scale


@jit(flags=("reassoc", "contract"))
def _sums_of(x, count):
    """(sum of squares, sum of absolute values), in an order that `count` decides."""
    squares = sizes = cast(0, x[0])
    for i in range(count):
        squares += x[i] * x[i]
        sizes += absolute(x[i])
    return squares, sizes


@jit
def _sum_piece(job, workspace, layer, number, column, row, rows, sums, biases, sparse):
    """The gradient of the losses by some weights and, if row is 0, biases."""
    like = sums[0]
    full_width, mr = panel_width(like), tile_rows(like)
    width = width_at(column, layer.fan_out, like)
    vectors = width // vector_lanes(like)
    tiles = (min(full_width, layer.fan_in - row) + mr - 1) // mr
    d = advance(panels(workspace, layer.deltas, layer.fan_out, job.capacity).data,
                column * job.capacity)  # fmt: skip
    if row == 0:
        for first in range(0, rows, GRADIENT_ROWS):
            block = min(GRADIENT_ROWS, rows - first)
            mode = cast(0 if first == 0 else ADD, rows)
            sum_of_rows(vectors, biases, advance(d, first * width), block, mode)
    if sparse is not None and number == 0:
        sum_sparse_products(
            job, row, min(tiles * mr, layer.fan_in - row), tiles * mr, width, d, sums
        )
    else:
        a = _inputs_of(job, workspace, layer)
        a_width = width_at(row, layer.fan_in, like)
        a_tile = advance(a.data, row * a.rows)
        sum_products(sums, vectors, tiles, a_tile, a_width, d, width, rows)


@jit
def _update_piece(job, model, rule, rate, layer, column, row, gradient, biases, factor):
    """The update of the weights of a piece and, if row is 0, of its biases."""
    like = gradient[0]
    full_width, mr = panel_width(like), tile_rows(like)
    width = width_at(column, layer.fan_out, like)
    height = (min(full_width, layer.fan_in - row) + mr - 1) // mr * mr
    offset = layer.weights + column * layer.weight_rows + row * width
    decay = cast(1.0 - rate * job.weight_decay, like)
    if row == 0:
        place = layer.biases + column
        _apply(job, model, rule, place, width, cast(1, like), biases, factor)
    _apply(job, model, rule, offset, height * width, decay, gradient, factor)
    if layer.transposed >= 0:
        a_width = width_at(row, layer.fan_in, like)
        target = layer.transposed + row * layer.transposed_rows + column * a_width
        weights = advance(model.parameters, offset)
        for i in range(0, height, mr):
            to = advance(model.transposed, target + i)
            transpose(to, a_width, advance(weights, i * width), width)


@jit
def _apply(job, model, rule, place, count, decay, gradient, factor):
    """The update of `count` parameters from `place` on."""
    like = gradient[0]
    w = advance(model.parameters, place)
    if decay != cast(1, like):
        for i in range(count):
            w[i] *= decay
    any_update(
        rule.optimizer, w, gradient, advance(model.first_moment, place),
        advance(model.second_moment, place), count, cast(0, like), factor, rule.rates,
    )  # fmt: skip
    if job.average != 0:
        average = advance(pointer(job.average, like), place)
        share = cast(1.0 - job.average_decay, like)
        for i in range(count):
            average[i] += share * (w[i] - average[i])


@jit
def _is_penalised(job, step):
    """Whether penalties count in a step: once, if only the gradient is wanted."""
    return job.optimizer != GRADIENT_CODE or step.start == 0


@jit
def _tiles_phase(job, workspace, model, step, rate, scratch, thread, sparse):
    """Phase 2: gradients of pieces of the weights, applied or kept."""
    like = scratch[0]
    if thread == 0:
        forget_pieces(job, UPDATES if job.clip_norm > 0 else ROWS)
    full_width, mr = panel_width(like), tile_rows(like)
    squares = pointer(job.squares, like)
    l1, rule = cast(job.l1 if _is_penalised(job, step) else 0.0, like), step.rule
    all_pieces = _all_pieces(job, like)
    piece = next_piece(job, TILES, thread, all_pieces)
    while piece >= 0:
        number, column, row = _place_of(job, piece, like)
        layer = layer_of(job, number)
        width = width_at(column, layer.fan_out, like)
        count = (min(full_width, layer.fan_in - row) + mr - 1) // mr * mr * width
        place = layer.weights + column * layer.weight_rows + row * width
        gradient, biases = scratch, advance(scratch, full_width * full_width)
        if job.clip_norm > 0:
            kept = pointer(job.gradients, like)
            gradient, biases = (
                advance(kept, place),
                advance(kept, layer.biases + column),
            )
        _sum_piece(
            job, workspace, layer, number, column, row, step.rows, gradient, biases,
            sparse,
        )  # fmt: skip
        w = advance(model.parameters, place)
        if rule.l2 > cast(0, like) or l1 > cast(0, like):
            of_squares, of_sizes = _sums_of(w, count)
            half = cast(0.5, like)
            model.penalties[piece] = half * rule.l2 * of_squares + l1 * of_sizes
        _make_gradient(w, gradient, count, l1, rule.l2, rule.scale)
        if row == 0:
            zero = cast(0, like)
            _make_gradient(w, biases, width, zero, zero, rule.scale)
        if job.clip_norm > 0:
            of_squares, _ = _sums_of(gradient, count)
            if row == 0:
                of_squares += _sums_of(biases, width)[0]
            squares[piece] = of_squares
        else:
            _update_piece(
                job, model, rule, rate, layer, column, row, gradient, biases,
                cast(1, like),
            )  # fmt: skip
        piece = next_piece(job, TILES, thread, all_pieces)


@jit
def _updates_phase(job, model, rule, rate, thread, like):
    """Phase 3: the updates, by a gradient whose norm is known and bounded."""
    if thread == 0:
        forget_pieces(job, ROWS)
    all_pieces = _all_pieces(job, like)
    norm = math.sqrt(sum_of(pointer(job.squares, like), all_pieces))
    factor = job.clip_norm / norm if norm > job.clip_norm else 1.0
    if norm == math.inf:  # a step of 0 would hide that numbers are too large
        factor = math.nan
    gradients = pointer(job.gradients, like)
    piece = next_piece(job, UPDATES, thread, all_pieces)
    while piece >= 0:
        number, column, row = _place_of(job, piece, like)
        layer = layer_of(job, number)
        width = width_at(column, layer.fan_out, like)
        place = layer.weights + column * layer.weight_rows + row * width
        _update_piece(
            job, model, rule, rate, layer, column, row, advance(gradients, place),
            advance(gradients, layer.biases + column), cast(factor, like),
        )  # fmt: skip
        piece = next_piece(job, UPDATES, thread, all_pieces)


@jit(entry=True)
def train_general(job_address, precision, thread, first_step, last_step, sparse):
    """Mini-batches first_step..last_step of an epoch, by one thread of the team.

    As `fastmlp.kernels.passes.train_steps`, whose arguments these are.
    """
    control = flush_denormals()
    job = job_at(job_address)
    like = precision
    workspace = pointer(job.workspace, like)
    scratch = advance(pointer(job.scratch, like), thread * job.scratch_size)
    full_width = panel_width(like)
    outputs_scratch = advance(scratch, full_width * full_width + full_width)
    model = model_of(job, like)
    sample_losses = pointer(job.sample_losses, like)
    rates = pointer(job.rates, 0.0)
    power_1, power_2 = job.beta_1_power, job.beta_2_power
    loss_sum = job.loss_sum
    for number in range(first_step, last_step):
        rate = rates[number]
        step = begin_step(job, number, rate, power_1, power_2, like)
        power_1, power_2 = step.power_1, step.power_2
        _rows_phase(
            job, workspace, model, outputs_scratch, step.start, step.rows, number,
            thread, sparse,
        )  # fmt: skip
        if not wait_for_team(job):
            break
        if thread == 0:
            loss_sum += sum_of(sample_losses, step.rows) * step.loss_scale
        _tiles_phase(job, workspace, model, step, rate, scratch, thread, sparse)
        if not wait_for_team(job):
            break
        if job.clip_norm > 0:
            _updates_phase(job, model, step.rule, rate, thread, like)
            if not wait_for_team(job):
                break
        with_penalties = _is_penalised(job, step) and (job.l2 > 0 or job.l1 > 0)
        if thread == 0 and with_penalties:
            loss_sum += sum_of(model.penalties, job.n_penalties) * step.loss_scale
    if thread == 0:
        job.loss_sum = loss_sum
        job.beta_1_power, job.beta_2_power = power_1, power_2
    restore_denormals(control)


# --- prediction -----------------------------------------------------------------------


@jit
def _predict_rows(job, workspace, parameters, z, first, like, sparse):
    """Predictions of a block of samples, from sample `first` on."""
    mr = tile_rows(like)
    rows = min(job.block_rows, job.n_samples - first)
    tiles = (rows + mr - 1) // mr
    top, in_order = cast(0, tiles), job.order == 0
    for i in range(job.n_layers):
        layer = layer_of(job, i)
        weights, c = _weights_of(parameters, layer), _outputs_of(job, workspace, layer)
        biases = advance(parameters, layer.biases)
        if sparse is not None and i == 0:
            sparse_forward(
                job, weights, biases, c, top, rows, first, in_order, cast(0, i), True
            )
        else:
            a = _inputs_of(job, workspace, layer)
            if i == 0:
                gather(job, a, top, rows, first, in_order, like)
            forward(a, weights, biases, c, top, tiles, job.depth, cast(0, i), True)
        if i < job.n_layers - 1:
            for column in range(0, c.columns, panel_width(like)):
                width = width_at(column, c.columns, like)
                panel = advance(c.data, column * c.rows)
                activate_any(layer.activation, panel, tiles * mr * width)
                for r in range(tiles * mr):
                    for j in range(c.columns - column, width):
                        panel[r * width + j] = cast(0, like)
    layer = layer_of(job, job.n_layers - 1)
    n_outputs, stride = layer.fan_out, tiles * mr
    to_output_major(_outputs_of(job, workspace, layer), top, stride, z)
    output_activation(job.output_activation, z, n_outputs, stride)
    predictions = advance(pointer(job.outputs, z[0]), first * n_outputs)
    for r in range(rows):
        for j in range(n_outputs):
            predictions[r * n_outputs + j] = z[j * stride + r]


@jit(entry=True)
def predict_general(job_address, precision, output_type, thread, sparse):
    """`fastmlp.kernels.passes.predict` for any activation of any layer."""
    control = flush_denormals()
    job = job_at(job_address)
    parameters = pointer(job.parameters, precision)
    workspace = advance(pointer(job.workspace, precision), thread * job.workspace_size)
    z = advance(pointer(job.scratch, output_type), thread * job.scratch_size)
    n_pieces = (job.n_samples + job.block_rows - 1) // job.block_rows
    piece = next_piece(job, ROWS, thread, n_pieces)
    while piece >= 0:
        first = piece * job.block_rows
        _predict_rows(job, workspace, parameters, z, first, precision, sparse)
        piece = next_piece(job, ROWS, thread, n_pieces)
    restore_denormals(control)
