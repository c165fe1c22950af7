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

Kernels never raise and allocate nothing.  One record, `fastmlp.kernels.job.JOB`, filled
by `fastmlp.engine.jobs`, tells them where everything is.
"""

from fastmlp.compilation import jit
from fastmlp.kernels.activations import RELU_CODE
from fastmlp.kernels.buffers import Buffer, of_thread, round_up
from fastmlp.kernels.epochs import begin_next_epoch
from fastmlp.kernels.gathering import gather
from fastmlp.kernels.job import (
    begin_step,
    inputs_mask,
    job_at,
    layer_of,
    layer_of_piece,
    model_of,
    penalties_of,
)
from fastmlp.kernels.layers import dense, encoding, parametric, scale
from fastmlp.kernels.layers.layer import deltas_of, inputs_of, outputs_of
from fastmlp.kernels.losses import evaluate, output_activation
from fastmlp.kernels.panels import (
    drop,
    from_output_major,
    scale_rows,
    to_output_major,
    width_at,
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
    batch_buffers,
    drop_entries,
    masked_sparse_forward,
    sample_buffers,
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
    rules_for,
    step_buffers,
    sum_of,
    update_parameters,
)

__all__ = [
    "FOR_TABLES",
    "pieces_of",
    "predict",
    "prediction_buffers",
    "refresh_transposed",
    "tiles_buffers",
    "train_steps",
]


# --- phase 1: rows --------------------------------------------------------------------


def loss_buffers(sizes):
    """Buffers of `_losses_and_deltas`."""
    return [
        Buffer("sample_losses", {"sample_losses": sizes.batch_rows}),
        of_thread(
            sizes,
            raw_outputs=(sizes.n_outputs + 2) * sizes.block_rows,
            loss_targets=sizes.n_targets * sizes.block_rows,
        ),
    ]


@jit
def _losses_and_deltas(job, outputs, scratch, step, first, rows, full):
    """Sample losses of some rows; their raw outputs become the output deltas."""
    z, targets = advance(scratch, job.raw_outputs), advance(scratch, job.loss_targets)
    order = advance(pointer(job.order, 0), step.start + first)
    losses = advance(pointer(job.sample_losses, z[0]), first)
    to_output_major(outputs, first, rows, z)
    # rows that round the batch up to whole tiles are ignored
    count, n_outputs = step.rows - first, outputs.columns
    evaluate(job, z, n_outputs, order, count, rows, targets, losses, full)
    from_output_major(z, outputs, first, rows)


@jit
def _first_layer_forward(
    job, workspace, parameters, scratch, first, tiles, step, rows, sparse, full, encoded
):
    """Forward pass of the first layer: `rows` rows of the batch, from row `first`."""
    layer = layer_of(job, 0)
    start = step.start + first
    if sparse is None:
        a = inputs_of(job, workspace, layer)
        gather(job, a, first, first + rows, step.start, False)
        if full is not None and encoded is None:  # codes of categories are no numbers
            key, keep = inputs_mask(job, step, 0)
            if keep < 1.0:
                drop(a, first, rows, key, keep)
        if encoded is not None:
            values = advance(scratch, job.encoding_values)
            encoding.scale_numbers(job, workspace, values, layer, first, rows)
            encoding.forward(job, workspace, parameters, values, layer, first, rows)
        elif full is not None and scale.is_scale(layer):
            scale.forward(job, workspace, parameters, layer, first, tiles)
        else:
            dense.forward(job, workspace, parameters, layer, first, tiles, full)
    else:
        weights = dense.weights_of(parameters, layer)
        biases = advance(parameters, layer.per_output)
        c = outputs_of(job, workspace, layer)
        if full is None:
            sparse_forward(job, weights, biases, c, first, rows, start, False)
        else:
            key, keep = inputs_mask(job, step, 0)
            if keep < 1.0:
                entries = advance(scratch, job.entries)
                masked_sparse_forward(
                    job, weights, biases, c, first, rows, start, key, keep, entries
                )
            else:  # there is no room for masked entries
                sparse_forward(job, weights, biases, c, first, rows, start, False)
        if layer.activation != 0:
            dense.activate_outputs(job, workspace, layer, c, first, tiles, full)


@jit
def _forward(job, workspace, parameters, layer, first, tiles, full, encoded):
    """Forward pass of a layer that is not the first."""
    if encoded is not None:
        parametric.forward_layer(job, workspace, parameters, layer, first, tiles)
        return
    dense.forward(job, workspace, parameters, layer, first, tiles, full)


@jit
def _backward(job, workspace, transposed, i, first, tiles, step, rows, full, encoded):
    """Compute the deltas of the layer before layer i from those of layer i."""
    layer, before = layer_of(job, i), layer_of(job, i - 1)
    kept = cast(1, step.rule.scale)
    if full is not None:
        key, keep = inputs_mask(job, step, i)
        kept = cast(keep, kept)
    if encoded is not None:
        none, deltas = cast(0, first), deltas_of(job, workspace, before)
        dense.hand_back(job, workspace, transposed, layer, deltas, first, tiles, none)
        if full is not None and keep < 1.0:
            drop(deltas, first, rows, key, keep)
        if before.derivatives >= 0:
            parametric.backward(job, workspace, before, first, tiles)
        return
    dense.backward(job, workspace, transposed, layer, before, first, tiles, kept, full)
    if full is not None and keep < 1.0:
        deltas = deltas_of(job, workspace, before)
        if before.activation == RELU_CODE:  # what was dropped is 0, so is its delta
            scale_rows(deltas, first, rows, cast(1.0 / keep, kept))
        else:
            drop(deltas, first, rows, key, keep)


@jit
def _carry_rows(job, workspace, model, scratch, step, first, sparse, full, encoded):
    """Forward and backward pass of a block of rows, starting at row `first`."""
    mr = tile_rows(scratch)
    rows = min(job.block_rows, step.rows - first)
    tiles = (rows + mr - 1) // mr
    last = job.n_layers - 1
    _first_layer_forward(
        job, workspace, model.parameters, scratch, first, tiles, step, rows, sparse,
        full, encoded,
    )  # fmt: skip
    for i in range(1, job.n_layers):
        layer = layer_of(job, i)
        if full is not None:
            key, keep = inputs_mask(job, step, i)
            if keep < 1.0:
                drop(inputs_of(job, workspace, layer), first, rows, key, keep)
        _forward(job, workspace, model.parameters, layer, first, tiles, full, encoded)
    outputs = outputs_of(job, workspace, layer_of(job, last))
    _losses_and_deltas(job, outputs, scratch, step, first, tiles * mr, full)
    for i in range(last, 0, -1):
        _backward(
            job, workspace, model.transposed, i, first, tiles, step, rows, full, encoded
        )


@jit
def _rows_phase(job, workspace, model, scratch, step, thread, sparse, full, encoded):
    """Phase 1: forward and backward passes of blocks of rows of the batch."""
    like = step.rule.scale
    if thread == 0:
        forget_pieces(job, TILES)
        if sparse is not None:
            n_features = layer_of(job, 0).fan_in
            transpose_batch(job, n_features, step.start, step.rows, like)
            if full is not None:
                key, keep = inputs_mask(job, step, 0)
                if keep < 1.0:
                    drop_entries(job, n_features, key, keep, like)
    n_pieces = (step.rows + job.block_rows - 1) // job.block_rows
    piece = next_piece(job, ROWS, thread, n_pieces)
    while piece >= 0:
        first = piece * job.block_rows
        _carry_rows(job, workspace, model, scratch, step, first, sparse, full, encoded)
        piece = next_piece(job, ROWS, thread, n_pieces)


# --- phases 2 and 3: tiles, and updates -----------------------------------------------


def pieces_of(layer, shape):
    """Pieces of the parameters of a layer, a record LAYER, for the phases below.

    A piece is the part of one panel of the weights in as many rows as a panel of
    activations has columns; the first piece of each panel includes the numbers per
    output.  shape : of the register tile.
    """
    if layer["columns"]:  # of an Encoding: see its gradient
        return layer["fan_in"]
    groups = max(round_up(layer["weight_rows"], shape.width) // shape.width, 1)
    return round_up(layer["fan_out"], shape.width) // shape.width * groups


def piece_buffers(sizes):
    """Buffers of `_tiles_phase`: a gradient, of a piece or the whole to be clipped."""
    width = sizes.shape.width
    return [
        of_thread(sizes, piece_sums=width * width, piece_row=width),
        Buffer("gradients", sizes.parameters if sizes.clips else {}, packed=True),
    ]


@jit
def _place_of(job, piece, like):
    """(number of the layer, first column, first row of weights) of a piece."""
    full_width = panel_width(like)
    i, piece = layer_of_piece(job, piece)
    n_groups = max((layer_of(job, i).weight_rows + full_width - 1) // full_width, 1)
    return i, piece // n_groups * full_width, piece % n_groups * full_width


@jit
def _tiles_at(layer, row, like):
    """Number of tiles of weights in the piece that begins at `row`."""
    return min(panel_width(like), layer.weight_rows - row) // tile_rows(like)


@jit
def _sum_piece(job, workspace, number, column, row, rows, sums, row_sums, sparse):
    """The gradient of the losses with respect to a piece, summed over the batch."""
    layer = layer_of(job, number)
    width = width_at(column, layer.fan_out, sums)
    vectors = width // vector_lanes(sums)
    tiles = _tiles_at(layer, row, sums)
    deltas = deltas_of(job, workspace, layer)
    d = advance(deltas.data, column * deltas.rows)
    if row == 0:
        dense.sum_deltas(row_sums, vectors, d, width, rows)
    if sparse is not None and number == 0:
        height = tiles * tile_rows(sums)
        features = min(height, layer.fan_in - row)
        sum_sparse_products(job, row, features, height, width, d, sums)
        return
    a = inputs_of(job, workspace, layer)
    a_width = width_at(row, layer.fan_in, sums)
    a_piece = advance(a.data, row * a.rows)
    dense.sum_products(sums, vectors, tiles, a_piece, a_width, d, width, rows)


@jit
def _update_piece(model, rules, layer, column, row, sums, row_sums):
    """Update a piece, and the transposed copy of its weights."""
    for_weights, for_row = rules
    like = for_row.scale
    mr = tile_rows(like)
    width = width_at(column, layer.fan_out, like)
    tiles = _tiles_at(layer, row, like)
    if row == 0:
        update_parameters(model, for_row, layer.per_output + column, width, row_sums)
    place = layer.weights + column * layer.weight_rows + row * width
    update_parameters(model, for_weights, place, tiles * mr * width, sums)
    if layer.transposed >= 0:
        a_width = width_at(row, layer.fan_in, like)
        target = layer.transposed + row * layer.transposed_rows + column * a_width
        weights = advance(model.parameters, place)
        for i in range(tiles):
            to = advance(model.transposed, target + i * mr)
            transpose(to, a_width, advance(weights, i * mr * width), width)


@jit
def _sum_and_update(
    job, workspace, model, step, scratch, piece, clips, sparse, encoded
):
    """The gradient of a piece of the parameters of a Dense layer, applied or kept."""
    like = step.rule.scale
    number, column, row = _place_of(job, piece, like)
    layer = layer_of(job, number)
    width = width_at(column, layer.fan_out, like)
    count = _tiles_at(layer, row, like) * tile_rows(like) * width
    place = layer.weights + column * layer.weight_rows + row * width
    row_place = layer.per_output + column
    sums, row_sums = advance(scratch, job.piece_sums), advance(scratch, job.piece_row)
    if clips:
        sums = advance(model.gradients, place)
        row_sums = advance(model.gradients, row_place)
    _sum_piece(job, workspace, number, column, row, step.rows, sums, row_sums, sparse)
    rules = for_weights, for_row = rules_for(step.rule, layer)
    weights = advance(model.parameters, place)
    model.penalties[piece] = penalty_of(weights, count, for_weights)
    if clips:
        squares = make_gradient(model, for_weights, place, count, sums)
        if row == 0:
            squares += make_gradient(model, for_row, row_place, width, row_sums)
        model.squares[piece] = squares
    else:
        _update_piece(model, rules, layer, column, row, sums, row_sums)
    if encoded is not None and row == 0 and layer.alphas >= 0:
        squares = parametric.sum_alphas(
            job, workspace, model, step, scratch, layer, column, clips
        )
        if clips:
            model.squares[piece] += squares


@jit
def _tiles_phase(job, workspace, model, step, scratch, thread, sparse, encoded):
    """Phase 2: the gradients of pieces of the parameters, to be applied or kept."""
    clips = job.clip_norm > 0
    if thread == 0:
        forget_pieces(job, UPDATES if clips else ROWS)
    first = 0
    if encoded is not None:
        first = layer_of(job, 0).pieces
    piece = next_piece(job, TILES, thread, job.n_pieces)
    while piece >= 0:
        if encoded is not None and piece < first:
            encoding.sum_and_update(job, workspace, model, step, scratch, piece, clips)
        if piece >= first:
            _sum_and_update(
                job, workspace, model, step, scratch, piece, clips, sparse, encoded
            )
        piece = next_piece(job, TILES, thread, job.n_pieces)


@jit
def _update_kept(job, model, rule, piece, encoded):
    """Update a piece of a Dense layer by the gradient that was kept."""
    like = rule.scale
    number, column, row = _place_of(job, piece, like)
    layer = layer_of(job, number)
    width = width_at(column, layer.fan_out, like)
    place = layer.weights + column * layer.weight_rows + row * width
    _update_piece(
        model, rules_for(rule, layer), layer, column, row,
        advance(model.gradients, place),
        advance(model.gradients, layer.per_output + column),
    )  # fmt: skip
    if encoded is not None and row == 0 and layer.alphas >= 0:
        parametric.update_alphas(model, rule, layer, column)


@jit
def _updates_phase(job, model, step, thread, encoded):
    """Phase 3, if the norm of the gradient is clipped: the updates."""
    if thread == 0:
        forget_pieces(job, ROWS)
    rule = clipped(step.rule, sum_of(model.squares, job.n_pieces), job.clip_norm)
    first = 0
    if encoded is not None:
        first = layer_of(job, 0).pieces
    piece = next_piece(job, UPDATES, thread, job.n_pieces)
    while piece >= 0:
        if encoded is not None and piece < first:
            encoding.update_kept(job, model, rule, piece)
        if piece >= first:
            _update_kept(job, model, rule, piece, encoded)
        piece = next_piece(job, UPDATES, thread, job.n_pieces)


def tiles_buffers(sizes):
    """All buffers of a step in tiles, but the workspace that layers declare."""
    return [
        *loss_buffers(sizes),
        *sample_buffers(sizes),
        *batch_buffers(sizes),
        *encoding.encoding_buffers(sizes),
        *parametric.alpha_buffers(sizes),
        *piece_buffers(sizes),
        *step_buffers(sizes),
    ]


# --- steps ----------------------------------------------------------------------------


@jit
def _run_steps(
    job, like, thread, first_step, last_step, tiles, sparse, strips, full, encoded
):
    """Mini-batches of one epoch; returns whether the team is still there."""
    workspace = advance(pointer(job.workspace, like), thread * job.workspace_size)
    scratch = advance(pointer(job.scratch, like), thread * job.scratch_size)
    model = model_of(job, like)
    sample_losses = pointer(job.sample_losses, like)
    power_1, power_2 = job.beta_1_power, job.beta_2_power
    loss_sum = job.loss_sum
    for number in range(first_step, last_step):
        step = begin_step(job, number, power_1, power_2, like)
        power_1, power_2 = step.power_1, step.power_2
        if tiles is not None:
            _rows_phase(
                job, workspace, model, scratch, step, thread, sparse, full, encoded
            )
        if strips is not None:
            strips_phase(job, workspace, model, scratch, step, thread, full)
        if not wait_for_team(job):
            return False
        if thread == 0:
            loss_sum += sum_of(sample_losses, step.rows) * step.loss_scale
        if tiles is not None:
            _tiles_phase(job, workspace, model, step, scratch, thread, sparse, encoded)
        if strips is not None:
            slices_phase(job, model, step, thread)
        if not wait_for_team(job):
            return False
        if job.clip_norm > 0:
            if tiles is not None:
                _updates_phase(job, model, step, thread, encoded)
            if strips is not None:
                update_slices_phase(job, model, step, thread)
            if not wait_for_team(job):
                return False
        if thread == 0:
            loss_sum += penalties_of(job, model, step.rule) * step.loss_scale
    if thread == 0:
        job.loss_sum = loss_sum
        job.beta_1_power, job.beta_2_power = power_1, power_2
    return True


@jit(entry=True)
def train_steps(
    job_address, precision, thread, first_step, last_step, tiles, sparse, strips, full,
    encoded,
):  # fmt: skip
    """Mini-batches first_step..last_step of an epoch, by one thread of the team.

    If these are all, and the job says so, more epochs follow.

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
    full : whether there may be layers that store derivatives, dropout, a loss with
        parameters, or a Scale as the first layer; None for plain fits;
    encoded : whether it is an Encoding; then activations may be parametric.
    """
    control = flush_denormals()
    job = job_at(job_address)
    while _run_steps(
        job, precision, thread, first_step, last_step, tiles, sparse, strips, full,
        encoded,
    ):  # fmt: skip
        if not begin_next_epoch(job, thread):
            break
    restore_denormals(control)


#: Its last arguments for a network with an Encoding.
FOR_TABLES = (True, None, None, True, True)


# --- prediction -----------------------------------------------------------------------


def prediction_buffers(sizes, widths, dtype):
    """Buffers of `_predict_rows`.

    Samples, and activations of even and of odd layers in two buffers in turn.

    widths : numbers per row of the inputs, then of the activations of each layer.
    dtype : of the predictions.
    """
    inputs, *widths = (sizes.batch_rows * width for width in widths)
    turns = {"inputs": inputs, 0: max(widths[::2]), 1: max(widths[1::2], default=0)}
    if sizes.encoding is not None:
        turns["encoding_values"] = encoding.numbers_of_values(sizes.encoding)
        turns["pre_activations"] = parametric.numbers_of_block(sizes.shape)
    n_outputs = (sizes.n_outputs + 2) * sizes.block_rows
    return [
        Buffer("workspace", turns, copies=sizes.n_threads),
        of_thread(sizes, raw_outputs=n_outputs)._replace(dtype=dtype),
    ]


@jit
def _read_rows(job, workspace, first, rows, encoded):
    """Copy samples first..first + rows to the inputs of the first layer."""
    layer, top = layer_of(job, 0), cast(0, rows)
    a, in_order = inputs_of(job, workspace, layer), job.order == 0
    gather(job, a, top, rows, first, in_order)
    if encoded is not None:
        values = advance(workspace, job.encoding_values)
        encoding.scale_numbers(job, workspace, values, layer, top, rows)


@jit
def _predict_rows(job, workspace, parameters, z, first, rows, like, sparse, encoded):
    """Outputs of a network for samples first..first + rows, in z, output by output.

    One row by itself is not filled up to a tile.  Returns from one output in z to the
    next: the number of rows that are computed.
    """
    mr = tile_rows(like)
    tiles = (rows + mr - 1) // mr
    is_row = rows == 1
    computed = 1 if is_row else tiles * mr
    # rows that fill up the last tile are never stored
    top, in_order = cast(0, tiles), job.order == 0
    for i in range(job.n_layers):
        layer = layer_of(job, i)
        weights = dense.weights_of(parameters, layer)
        c = outputs_of(job, workspace, layer)
        biases = advance(parameters, layer.per_output)
        fused = layer.activation if layer.activation == RELU_CODE else 0
        if encoded is not None:
            fused = cast(0, fused)
        if sparse is not None and i == 0:
            sparse_forward(job, weights, biases, c, top, rows, first, in_order)
            fused = cast(0, fused)
        else:
            a, is_dense = inputs_of(job, workspace, layer), True
            if encoded is None and scale.is_scale(layer):
                is_dense = False
                scale.forward(job, workspace, parameters, layer, top, tiles)
            if encoded is not None and i == 0:
                is_dense = False
                values = advance(workspace, job.encoding_values)
                encoding.forward(job, workspace, parameters, values, layer, top, rows)
            if is_dense and is_row:
                dense.add_products_of_row(a, weights, biases, c, fused)
            elif is_dense:
                dense.add_products(a, weights, biases, c, top, tiles, job.depth, fused)
        if encoded is not None:
            if layer.activation != 0:
                kept = advance(workspace, job.pre_activations)
                parametric.predict(parameters, layer, c, top, computed, kept)
        elif layer.activation != fused:
            dense.activate_panels_of_any(c, top, computed, layer)
    layer = layer_of(job, job.n_layers - 1)
    to_output_major(outputs_of(job, workspace, layer), top, computed, z)
    output_activation(job.output_activation, z, layer.fan_out, computed)
    return computed


@jit
def _store_predictions(job, z, stride, first, rows, member):
    """Add the outputs z of a network to the job's, and make a mean of the sums."""
    n_outputs = layer_of(job, job.n_layers - 1).fan_out
    predictions = advance(pointer(job.outputs, z[0]), first * n_outputs)
    is_last = member == job.n_members - 1
    for r in range(rows):
        for j in range(n_outputs):
            total = z[j * stride + r]
            if member > 0:
                total += predictions[r * n_outputs + j]
            if is_last:
                total /= cast(job.n_members, total)
            predictions[r * n_outputs + j] = total


@jit(entry=True)
def predict(job_address, precision, output_type, thread, sparse, encoded):
    """Predict blocks of samples, and write the results to the job's outputs.

    These are means over the job's networks, which differ in their parameters only.

    output_type : a number of the type of the outputs, float32 or float64; the
        output activation is computed in it.
    sparse, encoded : see `train_steps`.
    """
    control = flush_denormals()
    job = job_at(job_address)
    parameters = pointer(job.parameters, precision)
    workspace = pointer(job.workspace, precision)
    workspace = advance(workspace, thread * job.workspace_size)
    scratch = advance(pointer(job.scratch, output_type), thread * job.scratch_size)
    z = advance(scratch, job.raw_outputs)
    n_pieces = (job.n_samples + job.block_rows - 1) // job.block_rows
    if job.n_threads == 1:  # then one call may follow another
        forget_pieces(job, ROWS)
    piece = next_piece(job, ROWS, thread, n_pieces)
    while piece >= 0:
        first = piece * job.block_rows
        rows = min(job.block_rows, job.n_samples - first)
        if sparse is None:
            _read_rows(job, workspace, first, rows, encoded)
        for member in range(job.n_members):
            own = advance(parameters, member * job.parameters_size)
            stride = _predict_rows(
                job, workspace, own, z, first, rows, precision, sparse, encoded
            )
            _store_predictions(job, z, stride, first, rows, member)
        piece = next_piece(job, ROWS, thread, n_pieces)
    restore_denormals(control)


@jit(entry=True)
def refresh_transposed(job_address, precision):
    """Write the transposed copies of the weights that backward passes read."""
    job = job_at(job_address)
    parameters = pointer(job.parameters, precision)
    transposed = pointer(job.transposed, precision)
    for i in range(job.n_layers):
        layer = layer_of(job, i)
        if layer.transposed >= 0:
            dense.transpose_weights(parameters, transposed, layer)
