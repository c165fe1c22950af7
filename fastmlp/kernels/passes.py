"""The whole network: training steps in two phases, and prediction.

A training step is

1. rows   each thread carries its rows of the mini-batch through all layers
          forward and all layers backward;
2. (barrier)
3. tiles  each thread sums its pieces of all weight gradients over the whole batch
          and updates the weights while the piece is in L1;
4. (barrier)

so that the order of every sum is the same for any number of threads.  If the norm of
the gradient is clipped, the pieces are kept, and the weights are updated in a third
phase.  Small networks train in strips instead, see `fastmlp.kernels.strips`.

Options that do not change the data flow (rules, penalties, rates, averages) are
branches at run time, taken once per piece.  Options that do are choices at compile
time: arguments that are None or True.  So a fit compiles only what it needs.

Kernels never raise and allocate nothing.  One record, `fastmlp.kernels.job.JOB`, filled
by `fastmlp.jobs`, tells them where everything is.
"""

from fastmlp.compilation import jit
from fastmlp.kernels.activations import RELU_CODE
from fastmlp.kernels.dense import (
    activate_panels,
    activate_panels_of_any,
    activate_panels_with_derivatives,
    backward,
    drop,
    forward,
    multiply_panels,
    panels,
    sum_deltas,
    sum_products,
    width_at,
)
from fastmlp.kernels.gathering import gather
from fastmlp.kernels.job import (
    begin_step,
    inputs_mask,
    job_at,
    layer_of,
    model_of,
    penalties_of,
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
    drop_entries,
    masked_sparse_forward,
    sparse_forward,
    sum_sparse_products,
    transpose_batch,
)
from fastmlp.kernels.strips import slices_phase, strips_phase, update_slices_phase
from fastmlp.kernels.team import (
    ROWS,
    TILES,
    UPDATES,
    forget_pieces,
    next_piece,
    wait_for_team,
)
from fastmlp.kernels.transposing import transpose
from fastmlp.kernels.updating import (
    clipped,
    make_gradient,
    penalty_of,
    sum_of,
    update_parameters,
)

__all__ = [
    "from_output_major",
    "losses_and_deltas",
    "predict",
    "refresh_transposed",
    "to_output_major",
    "train_steps",
]


# --- phase 1: rows --------------------------------------------------------------------


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
def _derivatives_of(job, workspace, layer):
    return panels(workspace, layer.derivatives, layer.fan_out, job.capacity)


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
    job, outputs, scratch, start, first_row, rows, batch_rows, parametric
):
    """Sample losses of some rows; their raw outputs become the output deltas.

    parametric : True if the loss has parameters, else None.
    """
    like = scratch[0]
    n_outputs, n_targets = outputs.columns, job.n_targets
    z = scratch
    targets = advance(z, (n_outputs + 2) * rows)
    order = pointer(job.order, 0)
    all_targets = pointer(job.targets, like)
    for r in range(rows):
        # rows that round the batch up to whole tiles are ignored
        position = min(first_row + r, batch_rows - 1)
        y = advance(all_targets, order[start + position] * n_targets)
        for j in range(n_targets):
            targets[j * rows + r] = y[j]
    to_output_major(outputs, first_row, rows, z)
    losses = advance(pointer(job.sample_losses, like), first_row)
    if parametric is None:
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
def _forward(job, workspace, parameters, i, first, tiles, stored):
    """Forward pass of layer i; the last layer's outputs stay raw."""
    layer = layer_of(job, i)
    c = _outputs_of(job, workspace, layer)
    a, biases = _inputs_of(job, workspace, layer), advance(parameters, layer.biases)
    weights, activation = _weights_of(parameters, layer), layer.activation
    forward(a, weights, biases, c, first, tiles, job.depth, activation)
    if activation != 0 and activation != RELU_CODE:
        _activate(job, workspace, layer, c, first, tiles, stored)


@jit
def _activate(job, workspace, layer, c, first, tiles, stored):
    rows = tiles * tile_rows(c.data[0])
    if stored is not None and layer.derivatives >= 0:
        derivatives = _derivatives_of(job, workspace, layer)
        activate_panels_with_derivatives(c, derivatives, first, rows, layer)
        return
    activate_panels(c, first, rows, layer)


@jit
def _first_layer_forward(
    job, workspace, parameters, scratch, first, tiles, step, rows, sparse, stored, masks
):
    """Forward pass of the first layer: `rows` rows of the batch, from row `first`."""
    layer = layer_of(job, 0)
    start = step.start + first
    if sparse is None:
        a = _inputs_of(job, workspace, layer)
        gather(job, a, first, first + rows, step.start, False, scratch[0])
        if masks is not None:
            key, keep = inputs_mask(job, step, 0)
            if keep < 1.0:
                drop(a, first, rows, key, keep)
        _forward(job, workspace, parameters, cast(0, first), first, tiles, stored)
    else:
        weights, c = _weights_of(parameters, layer), _outputs_of(job, workspace, layer)
        biases = advance(parameters, layer.biases)
        if masks is None:
            sparse_forward(job, weights, biases, c, first, rows, start, False)
        else:
            key, keep = inputs_mask(job, step, 0)
            masked_sparse_forward(
                job, weights, biases, c, first, rows, start, key, keep, scratch
            )
        if layer.activation != 0:
            _activate(job, workspace, layer, c, first, tiles, stored)


@jit
def _backward(job, workspace, transposed, i, first, tiles, step, rows, stored, masks):
    """Compute the deltas of the layer before layer i from those of layer i."""
    layer, before = layer_of(job, i), layer_of(job, i - 1)
    a = _inputs_of(job, workspace, layer)
    deltas = panels(workspace, before.deltas, layer.fan_in, job.capacity)
    activation, kept = before.activation, cast(1, a.data[0])
    if stored is not None and before.derivatives >= 0:
        activation = cast(0, activation)
    if masks is not None:
        key, keep = inputs_mask(job, step, i)
        kept = cast(keep, kept)
    backward(
        panels(workspace, layer.deltas, layer.fan_out, job.capacity),
        panels(transposed, layer.transposed, layer.fan_in, layer.transposed_rows),
        a, deltas, first, tiles, job.depth, activation, kept,
    )  # fmt: skip
    if stored is not None and before.derivatives >= 0:
        derivatives = _derivatives_of(job, workspace, before)
        multiply_panels(deltas, derivatives, first, tiles * tile_rows(kept))
    if masks is not None and keep < 1.0:
        drop(deltas, first, rows, key, keep)


@jit
def _carry_rows(
    job, workspace, model, scratch, step, first, sparse, stored, masks, parametric
):
    """Forward and backward pass of a block of rows, starting at row `first`."""
    mr = tile_rows(scratch[0])
    rows = min(job.block_rows, step.rows - first)
    tiles = (rows + mr - 1) // mr
    last = job.n_layers - 1
    _first_layer_forward(
        job, workspace, model.parameters, scratch, first, tiles, step, rows, sparse,
        stored, masks,
    )  # fmt: skip
    for i in range(1, job.n_layers):
        if masks is not None:
            key, keep = inputs_mask(job, step, i)
            if keep < 1.0:
                a = _inputs_of(job, workspace, layer_of(job, i))
                drop(a, first, rows, key, keep)
        _forward(job, workspace, model.parameters, i, first, tiles, stored)
    outputs = _outputs_of(job, workspace, layer_of(job, last))
    losses_and_deltas(
        job, outputs, scratch, step.start, first, tiles * mr, step.rows, parametric
    )
    for i in range(last, 0, -1):
        _backward(
            job, workspace, model.transposed, i, first, tiles, step, rows, stored, masks
        )


@jit
def _rows_phase(
    job, workspace, model, scratch, step, thread, sparse, stored, masks, parametric
):
    """Phase 1: forward and backward passes of blocks of rows of the batch."""
    like = scratch[0]
    if thread == 0:
        forget_pieces(job, TILES)
        if sparse is not None:
            n_features = layer_of(job, 0).fan_in
            transpose_batch(job, n_features, step.start, step.rows, like)
            if masks is not None:
                key, keep = inputs_mask(job, step, 0)
                if keep < 1.0:
                    drop_entries(job, n_features, key, keep, like)
    n_pieces = (step.rows + job.block_rows - 1) // job.block_rows
    piece = next_piece(job, ROWS, thread, n_pieces)
    while piece >= 0:
        first = piece * job.block_rows
        _carry_rows(
            job, workspace, model, scratch, step, first, sparse, stored, masks,
            parametric,
        )  # fmt: skip
        piece = next_piece(job, ROWS, thread, n_pieces)


# --- phases 2 and 3: tiles, and updates -----------------------------------------------


@jit
def _place_of(job, piece, like):
    """(number of the layer, first column, first row of weights) of a piece.

    A piece is the part of one panel of the weights in as many rows as a panel of
    activations has columns; the first piece of each panel includes its biases.
    """
    full_width = panel_width(like)
    i = 0
    layer = layer_of(job, 0)
    n_groups = (layer.fan_in + full_width - 1) // full_width
    n_pieces = (layer.fan_out + full_width - 1) // full_width * n_groups
    while piece >= n_pieces:
        piece -= n_pieces
        i += 1
        layer = layer_of(job, i)
        n_groups = (layer.fan_in + full_width - 1) // full_width
        n_pieces = (layer.fan_out + full_width - 1) // full_width * n_groups
    return i, piece // n_groups * full_width, piece % n_groups * full_width


@jit
def _tiles_at(layer, row, like):
    """Number of tiles of weights in the piece that begins at `row`."""
    mr = tile_rows(like)
    return (min(panel_width(like), layer.fan_in - row) + mr - 1) // mr


@jit
def _sum_piece(job, workspace, number, column, row, rows, sums, biases, sparse):
    """The gradient of the losses with respect to a piece, summed over the batch."""
    like = sums[0]
    layer = layer_of(job, number)
    width = width_at(column, layer.fan_out, like)
    vectors = width // vector_lanes(like)
    tiles = _tiles_at(layer, row, like)
    deltas = panels(workspace, layer.deltas, layer.fan_out, job.capacity)
    d = advance(deltas.data, column * deltas.rows)
    if row == 0:
        sum_deltas(biases, vectors, d, width, rows)
    if sparse is not None and number == 0:
        height = tiles * tile_rows(like)
        features = min(height, layer.fan_in - row)
        sum_sparse_products(job, row, features, height, width, d, sums)
        return
    a = _inputs_of(job, workspace, layer)
    a_width = width_at(row, layer.fan_in, like)
    a_piece = advance(a.data, row * a.rows)
    sum_products(sums, vectors, tiles, a_piece, a_width, d, width, rows)


@jit
def _update_piece(model, rule, layer, column, row, sums, biases):
    """Update a piece, and the transposed copy of its weights."""
    like = sums[0]
    mr = tile_rows(like)
    width = width_at(column, layer.fan_out, like)
    tiles = _tiles_at(layer, row, like)
    if row == 0:
        update_parameters(model, rule, layer.biases + column, width, biases, False)
    place = layer.weights + column * layer.weight_rows + row * width
    update_parameters(model, rule, place, tiles * mr * width, sums, True)
    if layer.transposed >= 0:
        a_width = width_at(row, layer.fan_in, like)
        target = layer.transposed + row * layer.transposed_rows + column * a_width
        weights = advance(model.parameters, place)
        for i in range(tiles):
            to = advance(model.transposed, target + i * mr)
            transpose(to, a_width, advance(weights, i * mr * width), width)


@jit
def _tiles_phase(job, workspace, model, step, scratch, thread, sparse):
    """Phase 2: the gradients of pieces of the parameters, to be applied or kept."""
    like = scratch[0]
    clips = job.clip_norm > 0
    if thread == 0:
        forget_pieces(job, UPDATES if clips else ROWS)
    full_width, mr, rule = panel_width(like), tile_rows(like), step.rule
    piece = next_piece(job, TILES, thread, job.n_pieces)
    while piece >= 0:
        number, column, row = _place_of(job, piece, like)
        layer = layer_of(job, number)
        width = width_at(column, layer.fan_out, like)
        count = _tiles_at(layer, row, like) * mr * width
        place = layer.weights + column * layer.weight_rows + row * width
        sums, biases = scratch, advance(scratch, full_width * full_width)
        if clips:
            sums = advance(model.gradients, place)
            biases = advance(model.gradients, layer.biases + column)
        _sum_piece(job, workspace, number, column, row, step.rows, sums, biases, sparse)
        model.penalties[piece] = penalty_of(
            advance(model.parameters, place), count, rule
        )
        if clips:
            squares = make_gradient(model, rule, place, count, sums, True)
            if row == 0:
                place = layer.biases + column
                squares += make_gradient(model, rule, place, width, biases, False)
            model.squares[piece] = squares
        else:
            _update_piece(model, rule, layer, column, row, sums, biases)
        piece = next_piece(job, TILES, thread, job.n_pieces)


@jit
def _updates_phase(job, model, step, thread):
    """Phase 3, if the norm of the gradient is clipped: the updates."""
    like = step.rule.scale
    if thread == 0:
        forget_pieces(job, ROWS)
    rule = clipped(step.rule, sum_of(model.squares, job.n_pieces), job.clip_norm)
    piece = next_piece(job, UPDATES, thread, job.n_pieces)
    while piece >= 0:
        number, column, row = _place_of(job, piece, like)
        layer = layer_of(job, number)
        width = width_at(column, layer.fan_out, like)
        place = layer.weights + column * layer.weight_rows + row * width
        _update_piece(
            model, rule, layer, column, row, advance(model.gradients, place),
            advance(model.gradients, layer.biases + column),
        )  # fmt: skip
        piece = next_piece(job, UPDATES, thread, job.n_pieces)


# --- steps ----------------------------------------------------------------------------


@jit(entry=True)
def train_steps(
    job_address, precision, thread, first_step, last_step, tiles, sparse, strips,
    stored, masks, parametric,
):  # fmt: skip
    """Mini-batches first_step..last_step of an epoch, by one thread of the team.

    All threads of the team make this call at the same time, each with its own number
    `thread`.  The job's loss_sum grows by the sum over batches of
    (mean loss + penalties / (weight of the batch)) * (rows of the batch).
    The optimizer that only sums the gradient does so over all samples; loss_sum then
    grows by the loss of all samples, times their number.

    precision : a number of the type to compute in, float32 or float64.

    The other arguments are True or None.  Code that None excludes is not compiled:

    tiles : whether to use the phases above;
    sparse : if so, whether X is sparse;
    strips : whether to use the phases of `fastmlp.kernels.strips`;
    stored : whether some activation's derivative is not a function of the activation;
    masks : whether dropout is used;
    parametric : whether the loss has parameters.
    """
    control = flush_denormals()
    job = job_at(job_address)
    like = precision
    workspace = advance(pointer(job.workspace, like), thread * job.workspace_size)
    scratch = advance(pointer(job.scratch, like), thread * job.scratch_size)
    full_width = panel_width(like)
    outputs_scratch = advance(scratch, full_width * full_width + full_width)
    model = model_of(job, like)
    sample_losses = pointer(job.sample_losses, like)
    power_1, power_2 = job.beta_1_power, job.beta_2_power
    loss_sum = job.loss_sum
    for number in range(first_step, last_step):
        step = begin_step(job, number, power_1, power_2, like)
        power_1, power_2 = step.power_1, step.power_2
        if tiles is not None:
            _rows_phase(
                job, workspace, model, outputs_scratch, step, thread, sparse, stored,
                masks, parametric,
            )  # fmt: skip
        if strips is not None:
            strips_phase(
                job, workspace, model, scratch, step, thread, stored, masks, parametric
            )
        if not wait_for_team(job):
            break
        if thread == 0:
            loss_sum += sum_of(sample_losses, step.rows) * step.loss_scale
        if tiles is not None:
            _tiles_phase(job, workspace, model, step, scratch, thread, sparse)
        if strips is not None:
            slices_phase(job, model, step, thread)
        if not wait_for_team(job):
            break
        if job.clip_norm > 0:
            if tiles is not None:
                _updates_phase(job, model, step, thread)
            if strips is not None:
                update_slices_phase(job, model, step, thread)
            if not wait_for_team(job):
                break
        if thread == 0:
            loss_sum += penalties_of(job, model, step.rule) * step.loss_scale
    if thread == 0:
        job.loss_sum = loss_sum
        job.beta_1_power, job.beta_2_power = power_1, power_2
    restore_denormals(control)


# --- prediction -----------------------------------------------------------------------


@jit
def _predict_rows(job, workspace, parameters, z, first, like, sparse):
    """Predict a block of samples, starting at sample `first`."""
    mr = tile_rows(like)
    rows = min(job.block_rows, job.n_samples - first)
    tiles = (rows + mr - 1) // mr
    # rows that fill up the last tile are never stored
    top, in_order = cast(0, tiles), job.order == 0
    for i in range(job.n_layers):
        layer = layer_of(job, i)
        weights, c = _weights_of(parameters, layer), _outputs_of(job, workspace, layer)
        biases = advance(parameters, layer.biases)
        fused = layer.activation if layer.activation == RELU_CODE else 0
        if sparse is not None and i == 0:
            sparse_forward(job, weights, biases, c, top, rows, first, in_order)
            fused = cast(0, fused)
        else:
            a = _inputs_of(job, workspace, layer)
            if i == 0:
                gather(job, a, top, rows, first, in_order, like)
            forward(a, weights, biases, c, top, tiles, job.depth, fused)
        if layer.activation != fused:
            activate_panels_of_any(c, top, tiles * mr, layer)
    layer = layer_of(job, job.n_layers - 1)
    n_outputs, stride = layer.fan_out, tiles * mr
    to_output_major(_outputs_of(job, workspace, layer), top, stride, z)
    output_activation(job.output_activation, z, n_outputs, stride)
    predictions = advance(pointer(job.outputs, z[0]), first * n_outputs)
    for r in range(rows):
        for j in range(n_outputs):
            predictions[r * n_outputs + j] = z[j * stride + r]


@jit(entry=True)
def predict(job_address, precision, output_type, thread, sparse):
    """Predict blocks of samples, and write the results to the job's outputs.

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
