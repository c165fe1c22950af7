"""The whole network: training steps in two phases, and prediction.

A training step is

1. rows   each thread carries its rows of the mini-batch through all layers
          forward and all layers backward;
2. (barrier)
3. tiles  each thread sums its tiles of all weight gradients over the whole batch
          and updates the weights while the tile is in L1;
4. (barrier)

so that every number is summed in one order whatever the number of threads.  Small
networks go another way, `fastmlp.kernels.strips`; what scikit-learn does not know
(dropout, other activations, ...) stands in `fastmlp.kernels.general`.

Kernels never raise and allocate nothing.  They are told where everything is by
one record, `fastmlp.kernels.job.JOB`, that `fastmlp.jobs` fills.
"""

from fastmlp.compilation import jit
from fastmlp.kernels.dense import (
    backward,
    forward,
    panels,
    update_tiles,
    width_at,
)
from fastmlp.kernels.gathering import gather
from fastmlp.kernels.job import (
    begin_step,
    job_at,
    layer_of,
    model_of,
    penalty_of,
    sum_of,
)
from fastmlp.kernels.losses import (
    any_loss_and_deltas,
    loss_and_deltas,
    output_activation,
)
from fastmlp.kernels.processor import flush_denormals, restore_denormals
from fastmlp.kernels.simd import (
    advance,
    cast,
    panel_width,
    pointer,
    tile_rows,
    vector_lanes,
)
from fastmlp.kernels.sparse import (
    sparse_forward,
    sparse_update_tiles,
    transpose_batch,
)
from fastmlp.kernels.strips import slices_phase, strips_phase
from fastmlp.kernels.team import (
    ROWS,
    TILES,
    forget_pieces,
    next_piece,
    wait_for_team,
)

__all__ = [
    "from_output_major",
    "losses_and_deltas",
    "pieces_of",
    "predict",
    "refresh_transposed",
    "to_output_major",
    "train_steps",
]


@jit
def _first_layer(
    job, workspace, parameters, first, tiles, start, rows, in_order, like, sparse
):
    """The first layer forward: `rows` rows, the samples from position `start` on."""
    layer = layer_of(job, 0)
    weights = panels(parameters, layer.weights, layer.fan_out, layer.weight_rows)
    biases = advance(parameters, layer.biases)
    c = panels(workspace, layer.outputs, layer.fan_out, job.capacity)
    activation = job.activation if job.n_layers > 1 else 0
    if sparse is None:
        a = panels(workspace, layer.inputs, layer.fan_in, job.capacity)
        gather(job, a, first, first + rows, start - first, in_order, like)
        forward(
            a, weights, biases, c, first, tiles, job.depth, activation, job.keeps_zero
        )
    else:
        sparse_forward(
            job, weights, biases, c, first, rows, start, in_order, activation,
            job.keeps_zero,
        )  # fmt: skip


@jit
def _other_layers(job, workspace, parameters, first_row, tiles):
    """All layers but the first forward; the last one stays raw outputs."""
    last = job.n_layers - 1
    for i in range(1, job.n_layers):
        layer = layer_of(job, i)
        forward(
            panels(workspace, layer.inputs, layer.fan_in, job.capacity),
            panels(parameters, layer.weights, layer.fan_out, layer.weight_rows),
            advance(parameters, layer.biases),
            panels(workspace, layer.outputs, layer.fan_out, job.capacity),
            first_row,
            tiles,
            job.depth,
            job.activation if i < last else 0,
            job.keeps_zero,
        )


@jit
def to_output_major(matrix, first_row, rows, z):
    """z[j*rows + r] = element (first_row + r, j), in the type of z."""
    like = matrix.data[0]
    full_width = panel_width(like)
    for column in range(0, matrix.columns, full_width):
        width = width_at(column, matrix.columns, like)
        panel = advance(matrix.data, column * matrix.rows + first_row * width)
        for j in range(min(full_width, matrix.columns - column)):
            target = advance(z, (column + j) * rows)
            for r in range(rows):
                target[r] = cast(panel[r * width + j], z[0])


@jit
def from_output_major(z, matrix, first_row, rows):
    """The inverse of `to_output_major`."""
    like = matrix.data[0]
    full_width = panel_width(like)
    for column in range(0, matrix.columns, full_width):
        width = width_at(column, matrix.columns, like)
        panel = advance(matrix.data, column * matrix.rows + first_row * width)
        for j in range(min(full_width, matrix.columns - column)):
            source = advance(z, (column + j) * rows)
            for r in range(rows):
                panel[r * width + j] = source[r]


@jit
def losses_and_deltas(
    job, outputs, scratch, start, first_row, rows, batch_rows, general
):
    """Sample losses of some rows; their raw outputs become the output deltas.

    general : None if the loss is one of those without parameters, else True.
    """
    like = scratch[0]
    n_outputs, n_targets = outputs.columns, job.n_targets
    z = scratch
    targets = advance(z, (n_outputs + 2) * rows)
    order = pointer(job.order, 0)
    all_targets = pointer(job.targets, like)
    for r in range(rows):
        # rows that round the batch up to whole tiles count for nothing
        position = min(first_row + r, batch_rows - 1)
        y = advance(all_targets, order[start + position] * n_targets)
        for j in range(n_targets):
            targets[j * rows + r] = y[j]
    to_output_major(outputs, first_row, rows, z)
    losses = advance(pointer(job.sample_losses, like), first_row)
    if general is None:
        loss_and_deltas(job.loss, z, targets, n_outputs, rows, losses)
    else:
        parameters = pointer(job.loss_parameters, like)
        any_loss_and_deltas(job.loss, z, targets, n_outputs, rows, losses, parameters)
    if job.sample_weights != 0:
        sample_weights = pointer(job.sample_weights, like)
        for r in range(rows):
            position = min(first_row + r, batch_rows - 1)
            weight = sample_weights[order[start + position]]
            losses[r] *= weight
            for j in range(n_outputs):
                z[j * rows + r] *= weight
    from_output_major(z, outputs, first_row, rows)


@jit
def _carry_rows(
    job, workspace, parameters, transposed, scratch, start, rows, first, sparse
):
    """A block of rows of the batch, from row `first` on, forward and backward."""
    like = scratch[0]
    mr = tile_rows(like)
    count = min(job.block_rows, rows - first)
    tiles = (count + mr - 1) // mr
    _first_layer(
        job, workspace, parameters, first, tiles, start + first, count, False,
        like, sparse,
    )  # fmt: skip
    _other_layers(job, workspace, parameters, first, tiles)
    layer = layer_of(job, job.n_layers - 1)
    outputs = panels(workspace, layer.outputs, layer.fan_out, job.capacity)
    losses_and_deltas(job, outputs, scratch, start, first, tiles * mr, rows, None)
    for i in range(job.n_layers - 1, 0, -1):
        layer = layer_of(job, i)
        before = layer_of(job, i - 1)
        backward(
            panels(workspace, layer.deltas, layer.fan_out, job.capacity),
            panels(transposed, layer.transposed, layer.fan_in, layer.transposed_rows),
            panels(workspace, layer.inputs, layer.fan_in, job.capacity),
            panels(workspace, before.deltas, layer.fan_in, job.capacity),
            first,
            tiles,
            job.depth,
            job.activation,
        )


@jit
def _rows_phase(
    job, workspace, parameters, transposed, scratch, start, rows, thread, sparse
):
    """Phase 1: blocks of rows of the batch forward and backward."""
    if thread == 0:
        forget_pieces(job, TILES)
        if sparse is not None:
            transpose_batch(job, layer_of(job, 0).fan_in, start, rows, scratch[0])
    n_pieces = (rows + job.block_rows - 1) // job.block_rows
    piece = next_piece(job, ROWS, thread, n_pieces)
    while piece >= 0:
        _carry_rows(
            job, workspace, parameters, transposed, scratch, start, rows,
            piece * job.block_rows, sparse,
        )  # fmt: skip
        piece = next_piece(job, ROWS, thread, n_pieces)


@jit
def pieces_of(layer, like):
    """(panels of the weights, groups of their rows): a piece of phase 2 is one each.

    A group has as many rows as a panel of activations has columns.
    """
    full_width = panel_width(like)
    return (
        (layer.fan_out + full_width - 1) // full_width,
        (layer.fan_in + full_width - 1) // full_width,
    )


@jit
def _update_piece(job, workspace, model, rule, scratch, rows, piece, sparse):
    """The gradient of a piece of some layer's weights, and their update."""
    like = scratch[0]
    full_width = panel_width(like)
    i = 0
    layer = layer_of(job, 0)
    n_panels, n_groups = pieces_of(layer, like)
    while piece >= n_panels * n_groups:
        piece -= n_panels * n_groups
        i += 1
        layer = layer_of(job, i)
        n_panels, n_groups = pieces_of(layer, like)
    column = piece // n_groups * full_width
    group_tiles = full_width // tile_rows(like)
    first = piece % n_groups * group_tiles
    last = min(first + group_tiles, layer.weight_rows // tile_rows(like))
    deltas = panels(workspace, layer.deltas, layer.fan_out, job.capacity)
    if sparse is not None and i == 0:
        sparse_update_tiles(
            job, layer, column, first, last, model, deltas, rows, rule, scratch
        )
    else:
        a = panels(workspace, layer.inputs, layer.fan_in, job.capacity)
        update_tiles(layer, column, first, last, model, a, deltas, rows, rule, scratch)


@jit
def _tiles_phase(job, workspace, model, rule, scratch, rows, thread, sparse):
    """Phase 2: the gradients of pieces of the weights, summed and applied."""
    if thread == 0:
        forget_pieces(job, ROWS)
    all_pieces = 0
    for i in range(job.n_layers):
        n_panels, n_groups = pieces_of(layer_of(job, i), scratch[0])
        all_pieces += n_panels * n_groups
    piece = next_piece(job, TILES, thread, all_pieces)
    while piece >= 0:
        _update_piece(job, workspace, model, rule, scratch, rows, piece, sparse)
        piece = next_piece(job, TILES, thread, all_pieces)


@jit(entry=True)
def train_steps(
    job_address, precision, thread, first_step, last_step, tiles, sparse, strips
):
    """Mini-batches first_step..last_step of an epoch, by one thread of the team.

    All threads of the team make this call at once, with their own number
    `thread`.  The job's loss_sum grows by the sum over batches of
    (mean loss + l2/2 |W|^2 / (weight of the batch)) * (rows of the batch).
    The optimizer that only takes the gradient adds up that of all samples, and
    loss_sum grows by the loss of all samples, times their number.

    precision : a number of the type, float32 or float64, to compute in.
    tiles : True, or None for no: whether to go by the two phases above;
    sparse : likewise: if so, whether X is sparse;
    strips : likewise: whether to go by `fastmlp.kernels.strips`.  What is not needed is
        not even compiled.
    """
    control = flush_denormals()
    job = job_at(job_address)
    like = precision
    workspace = advance(pointer(job.workspace, like), thread * job.workspace_size)
    scratch = advance(pointer(job.scratch, like), thread * job.scratch_size)
    one = advance(scratch, panel_width(like) * panel_width(like))
    outputs_scratch = advance(one, vector_lanes(like))
    model = model_of(job, like)
    if tiles is not None:
        one[0] = cast(1, like)
    sample_losses = pointer(job.sample_losses, like)
    power_1, power_2 = job.beta_1_power, job.beta_2_power
    loss_sum = job.loss_sum
    for number in range(first_step, last_step):
        step = begin_step(job, number, job.learning_rate, power_1, power_2, like)
        power_1, power_2 = step.power_1, step.power_2
        if tiles is not None:
            _rows_phase(
                job, workspace, model.parameters, model.transposed, outputs_scratch,
                step.start, step.rows, thread, sparse,
            )  # fmt: skip
        if strips is not None:
            strips_phase(job, workspace, model.parameters, scratch, step, thread)
        if not wait_for_team(job):
            break
        if thread == 0:
            loss_sum += sum_of(sample_losses, step.rows) * step.loss_scale
        if tiles is not None:
            _tiles_phase(
                job, workspace, model, step.rule, scratch, step.rows, thread, sparse
            )
        if strips is not None:
            slices_phase(job, model, step, thread)
        if not wait_for_team(job):
            break
        if thread == 0:
            loss_sum += penalty_of(job, model, step.l2) * step.loss_scale
    if thread == 0:
        job.loss_sum = loss_sum
        job.beta_1_power, job.beta_2_power = power_1, power_2
    restore_denormals(control)


@jit
def _predict_rows(job, workspace, parameters, z, first, like, sparse):
    """Predictions of a block of samples, from sample `first` on."""
    mr = tile_rows(like)
    rows = min(job.block_rows, job.n_samples - first)
    tiles = (rows + mr - 1) // mr
    # the rows that fill up the last tile are never stored
    top = cast(0, tiles)
    in_order = job.order == 0
    _first_layer(
        job, workspace, parameters, top, tiles, first, rows, in_order, like, sparse
    )
    _other_layers(job, workspace, parameters, top, tiles)
    layer = layer_of(job, job.n_layers - 1)
    outputs = panels(workspace, layer.outputs, layer.fan_out, job.capacity)
    n_outputs = outputs.columns
    stride = tiles * mr
    to_output_major(outputs, top, stride, z)
    output_activation(job.output_activation, z, n_outputs, stride)
    predictions = advance(pointer(job.outputs, z[0]), first * n_outputs)
    for r in range(rows):
        for j in range(n_outputs):
            predictions[r * n_outputs + j] = z[j * stride + r]


@jit(entry=True)
def predict(job_address, precision, output_type, thread, sparse):
    """Predictions of blocks of the samples, into the job's outputs.

    output_type : a number of the type of the outputs, float32 or float64; the
        output activation is computed in it.
    sparse : None if X is dense, else True.
    """
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


@jit(entry=True)
def refresh_transposed(job_address, precision):
    """Write the transposed copies of the weights that the backward pass reads."""
    job = job_at(job_address)
    like = precision
    full_width = panel_width(like)
    parameters = pointer(job.parameters, like)
    transposed = pointer(job.transposed, like)
    for i in range(1, job.n_layers):
        layer = layer_of(job, i)
        for column in range(0, layer.fan_out, full_width):
            width = width_at(column, layer.fan_out, like)
            panel = advance(parameters, layer.weights + column * layer.weight_rows)
            for k in range(layer.fan_in):
                start = k // full_width * full_width
                k_width = width_at(start, layer.fan_in, like)
                to = advance(
                    transposed,
                    layer.transposed + start * layer.transposed_rows + k - start,
                )
                for c in range(width):
                    to[(column + c) * k_width] = panel[k * width + c]
