"""Training steps of small networks: strips of samples in the lanes of vectors.

In `fastmlp.kernels.passes` the lanes of a vector hold units, and every thread reads all
activations of a batch for its part of the gradient.  In a network with few units, that
wastes lanes, and threads wait for each other's activations longer than they compute.
Here the lanes hold samples, and a *strip* of the batch stays with one thread until its
gradient is summed:

1. strips  a thread carries each of its strips through all layers, forward and
           backward, and sums the gradient of all weights over the strip, a few
           panels at a time;
2. (barrier)
3. slices  each thread adds up the strips' gradients for its slices of the
           parameters, in order, and updates them;
4. (barrier)

and, if the norm of the gradient is clipped, the updates in a third phase.

How a batch is cut into strips depends only on the network and the batch size, so that
the order of every sum is the same for any number of threads.

A panel holds as many samples as a panel of `fastmlp.kernels.simd` has columns; its
rows are features or units.  With A^T the activations that enter a layer (fan_in x
samples), W its weights in their usual panels and D the deltas:

    forward     Z^T = W^T A^T + b,  then g(Z^T)
    backward    D_before^T = (W D^T) * g'(A^T)
    gradient    dW = A^T D,   db = 1^T D

so the products of `fastmlp.kernels.products` are used with their roles exchanged: they
need no transposed copy of the weights, but one of the deltas.
"""

from typing import NamedTuple

import numpy as np

from fastmlp.compilation import jit
from fastmlp.kernels.activations import (
    RELU_CODE,
    activate,
    activate_with_derivative,
    multiply_by_derivative,
)
from fastmlp.kernels.dense import width_at
from fastmlp.kernels.gathering import gather_column, gather_turned
from fastmlp.kernels.job import inputs_mask, layer_of
from fastmlp.kernels.losses import any_loss_and_deltas, loss_and_deltas
from fastmlp.kernels.masks import multiply_by_masks, row_key
from fastmlp.kernels.products import (
    ADD,
    FROM_BIAS,
    MASK,
    RELU,
    product,
    sum_of_rows,
    transposed_product,
)
from fastmlp.kernels.simd import (
    advance,
    cast,
    panel_width,
    pointer,
    tile_rows,
    vector_lanes,
)
from fastmlp.kernels.team import ROWS, TILES, UPDATES, forget_pieces, next_piece
from fastmlp.kernels.transposing import transpose_blocks
from fastmlp.kernels.updating import (
    clipped,
    make_gradient,
    penalty_of,
    sum_of,
    update_parameters,
)

__all__ = [
    "BLOCK_PANELS",
    "MASK_KEYS",
    "SLICE",
    "slices_phase",
    "strips_phase",
    "unit_rows",
    "update_slices_phase",
]

#: Weights that one thread adds up and updates at a time: at least those of a tile,
#: because the array of penalties has one element per tile.
SLICE = 512

#: Room of a thread for keys of dropout masks: at least one for each sample of a panel,
#: in whole cache lines.
MASK_KEYS = 64

#: Panels that go through all layers before their gradient is summed.
BLOCK_PANELS = 4


class Panel(NamedTuple):
    """Some samples of the mini-batch, side by side."""

    number: int  # in its strip
    width: int  # room for this many samples: whole vectors
    first: int  # position of its first sample in the batch


def unit_rows(units, lanes):
    """Rows of a panel of `units` units: two more for the loss, in whole vectors."""
    return (units + 2 + lanes - 1) // lanes * lanes


_unit_rows = jit(unit_rows)


@jit
def _panel_size(units, like):
    """Numbers in a full panel."""
    return _unit_rows(units, vector_lanes(like)) * panel_width(like)


@jit
def _at(workspace, offset, units, panel):
    """Where a panel of the activations or deltas of `units` units begins."""
    return advance(workspace, offset + panel.number * _panel_size(units, workspace[0]))


@jit
def _clear_padding(deltas, units, width):
    """Clear the rows that round the units up to whole vectors."""
    lanes = vector_lanes(deltas[0])
    for i in range(units * width, (units + lanes - 1) // lanes * lanes * width):
        deltas[i] = cast(0, deltas[0])


@jit
def _forward(layer, workspace, parameters, panel, stored):
    """Z^T = g(W^T A^T + b) for a panel."""
    like = workspace[0]
    mr, full_width = tile_rows(like), panel_width(like)
    fan_in, fan_out, activation = layer.fan_in, layer.fan_out, layer.activation
    a = _at(workspace, layer.inputs, fan_in, panel)
    c = _at(workspace, layer.outputs, fan_out, panel)
    mode = (FROM_BIAS | RELU) if activation == RELU_CODE else FROM_BIAS
    for column in range(0, fan_out, full_width):
        transposed_product(
            panel.width // vector_lanes(like),
            (min(full_width, fan_out - column) + mr - 1) // mr,
            advance(c, column * panel.width),
            advance(parameters, layer.weights + column * layer.weight_rows),
            width_at(column, fan_out, like),
            fan_in,
            a,
            advance(parameters, layer.biases + column),
            mode,
        )
    if activation == RELU_CODE or activation == 0:
        return
    if stored is not None and layer.derivatives >= 0:
        derivatives = _at(workspace, layer.derivatives, fan_out, panel)
        activate_with_derivative(activation, c, derivatives, fan_out * panel.width)
        return
    activate(activation, c, fan_out * panel.width)


@jit
def _drop(job, step, i, workspace, offset, panel, thread):
    """Multiply the inputs of layer i, or their deltas, by the dropout mask."""
    key, keep = inputs_mask(job, step, i)
    if keep < 1.0:
        units = layer_of(job, i).fan_in
        numbers = _at(workspace, offset, units, panel)
        keys = advance(pointer(job.mask_keys, np.uint32(0)), thread * MASK_KEYS)
        for r in range(panel.width):
            keys[r] = row_key(key, panel.first + r)
        for unit in range(units):
            row = advance(numbers, unit * panel.width)
            multiply_by_masks(row, keys, unit, panel.width, keep)


@jit
def _backward(job, step, i, workspace, parameters, panel, thread, stored, masks):
    """D_before^T = (W D^T) * g'(A^T) for a panel, from layer i to the one before."""
    like = workspace[0]
    layer, before = layer_of(job, i), layer_of(job, i - 1)
    mr, full_width = tile_rows(like), panel_width(like)
    fan_in, fan_out = layer.fan_in, layer.fan_out
    activation, kept = before.activation, cast(1, like)
    a = _at(workspace, layer.inputs, fan_in, panel)
    deltas_before = _at(workspace, before.deltas, fan_in, panel)
    weights = advance(parameters, layer.weights)
    segments = fan_out // full_width
    tail = segments * full_width
    product(
        panel.width // vector_lanes(like),
        (fan_in + mr - 1) // mr,
        deltas_before,
        weights,
        segments,
        layer.weight_rows * full_width,
        advance(weights, tail * layer.weight_rows),
        width_at(tail, fan_out, like),
        fan_out - tail,
        _at(workspace, layer.deltas, fan_out, panel),
        a,
        MASK if activation == RELU_CODE else 0,
    )
    count = fan_in * panel.width
    if masks is not None:
        kept = cast(inputs_mask(job, step, i)[1], like)
    if stored is not None and before.derivatives >= 0:
        derivatives = _at(workspace, before.derivatives, fan_in, panel)
        for j in range(count):
            deltas_before[j] *= derivatives[j]
        activation = cast(0, activation)
    if activation != RELU_CODE and activation != 0:
        multiply_by_derivative(activation, deltas_before, a, kept, count)
    if masks is not None:
        _drop(job, step, i, workspace, before.deltas, panel, thread)
    _clear_padding(deltas_before, fan_in, panel.width)


@jit
def _losses_and_deltas(job, workspace, targets, panel, step, parametric):
    """Sample losses of a panel; its raw outputs become the output deltas."""
    like = workspace[0]
    layer = layer_of(job, job.n_layers - 1)
    n_outputs, n_targets = layer.fan_out, job.n_targets
    z = _at(workspace, layer.outputs, n_outputs, panel)
    losses = advance(pointer(job.sample_losses, like), panel.first)
    order = advance(pointer(job.order, 0), step.start + panel.first)
    all_targets = pointer(job.targets, like)
    width, count = panel.width, step.rows - panel.first
    for j in range(n_targets):
        y = advance(all_targets, j)
        gather_column(y, order, n_targets, count, width, advance(targets, j * width))
    if parametric is None:
        loss_and_deltas(job.loss, z, targets, n_outputs, width, losses)
    else:
        parameters = pointer(job.loss_parameters, like)
        any_loss_and_deltas(job.loss, z, targets, n_outputs, width, losses, parameters)
    if job.sample_weights != 0:
        sample_weights = pointer(job.sample_weights, like)
        for r in range(width):
            weight = sample_weights[order[min(r, count - 1)]]
            losses[r] *= weight
            for j in range(n_outputs):
                z[j * width + r] *= weight
    _clear_padding(z, n_outputs, width)


@jit
def _carry_panel(
    job, workspace, parameters, scratch, panel, step, thread, stored, masks, parametric
):
    """Forward and backward pass of a panel through all layers."""
    layer = layer_of(job, 0)
    a = _at(workspace, layer.inputs, layer.fan_in, panel)
    start, count = step.start + panel.first, step.rows - panel.first
    gather_turned(job, start, count, panel.width, layer.fan_in, a, scratch)
    for i in range(job.n_layers):
        layer = layer_of(job, i)
        if masks is not None:
            _drop(job, step, i, workspace, layer.inputs, panel, thread)
        _forward(layer, workspace, parameters, panel, stored)
    _losses_and_deltas(job, workspace, scratch, panel, step, parametric)
    for i in range(job.n_layers - 1, 0, -1):
        _backward(job, step, i, workspace, parameters, panel, thread, stored, masks)


@jit
def _turn_deltas(d, d_size, column, fan_out, samples, turned):
    """Transpose the deltas of one panel of units: a row of vectors per sample."""
    like = turned[0]
    lanes, full_width = vector_lanes(like), panel_width(like)
    width = width_at(column, fan_out, like)
    for first in range(0, samples, full_width):
        panel_samples = width_at(first, samples, like)
        source = advance(d, first // full_width * d_size + column * panel_samples)
        target = advance(turned, first * width)
        for unit in range(0, width, lanes):
            transpose_blocks(
                panel_samples // lanes,
                advance(target, unit),
                width,
                advance(source, unit * panel_samples),
                panel_samples,
            )


@jit
def _sum_gradients(job, workspace, turned, sums, samples, mode):
    """Sum the gradients over `samples` samples, laid out like the parameters.

    turned : room for the deltas of one panel of units.
    """
    like = workspace[0]
    mr, full_width, lanes = tile_rows(like), panel_width(like), vector_lanes(like)
    panels = samples // full_width
    rest = samples - panels * full_width
    rest_width = (rest + lanes - 1) // lanes * lanes
    for i in range(job.n_layers):
        layer = layer_of(job, i)
        fan_in, fan_out = layer.fan_in, layer.fan_out
        a, a_size = advance(workspace, layer.inputs), _panel_size(fan_in, like)
        d, d_size = advance(workspace, layer.deltas), _panel_size(fan_out, like)
        for column in range(0, fan_out, full_width):
            vectors = width_at(column, fan_out, like) // lanes
            _turn_deltas(d, d_size, column, fan_out, samples, turned)
            product(
                vectors,
                (fan_in + mr - 1) // mr,
                advance(sums, layer.weights + column * layer.weight_rows),
                a,
                panels,
                a_size,
                advance(a, panels * a_size),
                rest_width,
                rest,
                turned,
                turned,  # no biases, no mask: never read
                mode,
            )
            biases = advance(sums, layer.biases + column)
            sum_of_rows(vectors, biases, turned, samples, mode)


@jit
def _strips_of(job, step, like):
    """(vectors of samples, number of strips) of a mini-batch."""
    lanes = vector_lanes(like)
    vectors = (step.rows + lanes - 1) // lanes
    return vectors, min(job.strips, vectors)


@jit
def _carry_strip(
    job, workspace, model, scratch, step, strip, thread, stored, masks, parametric
):
    """Sum the gradients over a strip of the batch."""
    like = workspace[0]
    lanes, full_width = vector_lanes(like), panel_width(like)
    panel_scratch = advance(scratch, job.block_rows * full_width)
    sums = advance(model.gradients, strip * job.gradients_size)
    vectors, strips = _strips_of(job, step, like)
    first = vectors * strip // strips * lanes
    last = min(vectors * (strip + 1) // strips * lanes, step.rows)
    for block in range(first, last, job.block_rows):
        samples = min(job.block_rows, last - block)
        for r in range(0, samples, full_width):
            panel = Panel(r // full_width, width_at(r, samples, like), block + r)
            _carry_panel(
                job, workspace, model.parameters, panel_scratch, panel, step, thread,
                stored, masks, parametric,
            )  # fmt: skip
        mode = 0 if block == first else ADD
        _sum_gradients(job, workspace, scratch, sums, samples, cast(mode, samples))


@jit
def strips_phase(
    job, workspace, model, scratch, step, thread, stored, masks, parametric
):
    """Phase 1: forward and backward passes of strips, and their gradients.

    scratch : room for the deltas of a panel of units, then for the targets of a panel
        of samples, or for some of its samples.
    """
    if thread == 0:
        forget_pieces(job, TILES)
    _, strips = _strips_of(job, step, workspace[0])
    strip = next_piece(job, ROWS, thread, strips)
    while strip >= 0:
        _carry_strip(
            job, workspace, model, scratch, step, strip, thread, stored, masks,
            parametric,
        )  # fmt: skip
        strip = next_piece(job, ROWS, thread, strips)


@jit
def _add(target, source, count):
    for i in range(count):
        target[i] += source[i]


@jit
def _slice_at(job, piece):
    """(offset, number of weights, number of biases) of a slice.

    The last slice of a layer includes its biases, which follow the weights.
    """
    number = piece
    i = 0
    layer = layer_of(job, 0)
    n_slices = (layer.biases - layer.weights + SLICE - 1) // SLICE
    while number >= n_slices:
        number -= n_slices
        i += 1
        layer = layer_of(job, i)
        n_slices = (layer.biases - layer.weights + SLICE - 1) // SLICE
    place = layer.weights + number * SLICE
    if number < n_slices - 1:
        return place, SLICE, 0
    return place, layer.biases - place, layer.fan_out


@jit
def _update_slice(model, rule, place, n_weights, n_biases, sums):
    """Update a slice, given the sums of its gradient."""
    lanes, zero = vector_lanes(sums[0]), cast(0, sums[0])
    n_biases = (n_biases + lanes - 1) // lanes * lanes
    is_alike = rule.l2 == zero and rule.l1 == zero and rule.decay == cast(1, zero)
    if is_alike:  # weights and biases
        update_parameters(model, rule, place, n_weights + n_biases, sums, False)
    else:
        update_parameters(model, rule, place, n_weights, sums, True)
        sums, place = advance(sums, n_weights), place + n_weights
        update_parameters(model, rule, place, n_biases, sums, False)


@jit
def slices_phase(job, model, step, thread):
    """Phase 2: add up the strips' gradients of slices of the parameters; apply them.

    If the norm is clipped, keep them instead, in place of the first strip's.
    """
    like = step.rule.scale
    clips, rule, lanes = job.clip_norm > 0, step.rule, vector_lanes(like)
    if thread == 0:
        forget_pieces(job, UPDATES if clips else ROWS)
    strips = _strips_of(job, step, like)[1]
    piece = next_piece(job, TILES, thread, job.n_pieces)
    while piece >= 0:
        place, n_weights, n_biases = _slice_at(job, piece)
        count = n_weights + (n_biases + lanes - 1) // lanes * lanes
        sums = advance(model.gradients, place)
        for strip in range(1, strips):
            _add(sums, advance(sums, strip * job.gradients_size), count)
        model.penalties[piece] = penalty_of(
            advance(model.parameters, place), n_weights, rule
        )
        if clips:
            squares = make_gradient(model, rule, place, n_weights, sums, True)
            sums, place = advance(sums, n_weights), place + n_weights
            squares += make_gradient(model, rule, place, n_biases, sums, False)
            model.squares[piece] = squares
        else:
            _update_slice(model, rule, place, n_weights, n_biases, sums)
        piece = next_piece(job, TILES, thread, job.n_pieces)


@jit
def update_slices_phase(job, model, step, thread):
    """Phase 3, if the norm of the gradient is clipped: the updates."""
    if thread == 0:
        forget_pieces(job, ROWS)
    rule = clipped(step.rule, sum_of(model.squares, job.n_pieces), job.clip_norm)
    piece = next_piece(job, UPDATES, thread, job.n_pieces)
    while piece >= 0:
        place, n_weights, n_biases = _slice_at(job, piece)
        sums = advance(model.gradients, place)
        _update_slice(model, rule, place, n_weights, n_biases, sums)
        piece = next_piece(job, UPDATES, thread, job.n_pieces)
