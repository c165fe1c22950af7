"""Training steps of small networks: strips of samples in the lanes of vectors.

The lanes hold samples, and a *strip* of the batch stays with one thread until its
gradient is summed (docs/internals/strips.md):

1. strips  a thread carries each of its strips through all layers, forward and back,
           and sums the gradient of all weights over it, a few panels at a time;
2. slices  after a barrier, each thread adds up the strips' gradients for its slices of
           the parameters, in order, and updates them;

and, if the norm of the gradient is clipped, the updates after one more.  How a batch is
cut into strips depends only on the network and the batch size, so that the order of
every sum is the same for any number of threads.
"""

import numpy as np

from fastmlp.compilation import jit
from fastmlp.kernels.activations import RELU_CODE
from fastmlp.kernels.buffers import Buffer, of_thread, round_up
from fastmlp.kernels.gathering import gather_transposed
from fastmlp.kernels.job import inputs_mask, layer_of, layer_of_piece
from fastmlp.kernels.layers import dense, scale
from fastmlp.kernels.losses import evaluate
from fastmlp.kernels.masks import multiply_by_masks, row_key
from fastmlp.kernels.panels import Panel, clear_units, panel_at, width_at
from fastmlp.kernels.products import ADD
from fastmlp.kernels.simd import advance, cast, panel_width, pointer, vector_lanes
from fastmlp.kernels.team import ROWS, TILES, UPDATES, forget_pieces, next_piece
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
    "BLOCK_PANELS",
    "slices_of",
    "slices_phase",
    "strips_buffers",
    "strips_phase",
    "update_slices_phase",
]

#: Weights that one thread adds up and updates at a time.
_SLICE = 512

#: Panels that go through all layers before their gradient is summed.
BLOCK_PANELS = 4


def _mask_buffers(sizes):
    """Buffers of `_drop`: keys of the dropout masks of a panel's samples."""
    if not sizes.masks:
        return []
    parts = {"mask_keys": sizes.shape.width}
    return [Buffer("mask_keys", parts, np.uint32, copies=sizes.n_threads)]


@jit
def _drop(job, step, i, workspace, offset, panel, thread):
    """Multiply the inputs of layer i, or their deltas, by the dropout mask."""
    key, keep = inputs_mask(job, step, i)
    if keep < 1.0:
        units = layer_of(job, i).fan_in
        numbers = panel_at(workspace, offset, units, panel)
        keys = pointer(job.mask_keys, np.uint32(0))
        keys = advance(keys, thread * job.mask_keys_size)
        for r in range(panel.width):
            keys[r] = row_key(key, panel.first + r)
        for unit in range(units):
            row = advance(numbers, unit * panel.width)
            multiply_by_masks(row, keys, unit, panel.width, keep)


@jit
def _backward(job, step, i, workspace, parameters, panel, thread, full):
    """Compute the deltas of a panel of the layer before layer i from those of i."""
    layer, before = layer_of(job, i), layer_of(job, i - 1)
    kept = cast(1, step.rule.scale)
    if full is not None:
        keep = inputs_mask(job, step, i)[1]
        kept = cast(keep, kept)
    dense.backward_panel(layer, before, workspace, parameters, panel, kept, full)
    deltas = panel_at(workspace, before.deltas, layer.fan_in, panel)
    if full is not None:
        if before.activation == RELU_CODE:  # what was dropped is 0, so is its delta
            factor = cast(1.0 / keep, kept)
            for j in range(layer.fan_in * panel.width):
                deltas[j] *= factor
        else:
            _drop(job, step, i, workspace, before.deltas, panel, thread)
    clear_units(deltas, layer.fan_in, panel.width)


def _loss_buffers(sizes):
    """Buffers of `_losses_and_deltas`; its raw outputs are in the workspace."""
    targets = sizes.n_targets * sizes.shape.width
    return [
        Buffer("sample_losses", {"sample_losses": sizes.batch_rows}),
        of_thread(sizes, loss_targets=targets),
    ]


@jit
def _losses_and_deltas(job, workspace, scratch, panel, step, full):
    """Sample losses of a panel; its raw outputs become the output deltas."""
    like, targets = step.rule.scale, advance(scratch, job.loss_targets)
    layer = layer_of(job, job.n_layers - 1)
    n_outputs = layer.fan_out
    z = panel_at(workspace, layer.outputs, n_outputs, panel)
    losses = advance(pointer(job.sample_losses, like), panel.first)
    order = advance(pointer(job.order, 0), step.start + panel.first)
    width, count = panel.width, step.rows - panel.first
    evaluate(job, z, n_outputs, order, count, width, targets, losses, full)
    clear_units(z, n_outputs, width)


def _sample_buffers(sizes):
    """Buffers of `gather_transposed`: a sample for each lane of a vector."""
    lanes = sizes.shape.lanes
    return [of_thread(sizes, sample_rows=round_up(sizes.n_features, lanes) * lanes)]


@jit
def _carry_panel(job, workspace, parameters, scratch, panel, step, thread, full):
    """Forward and backward pass of a panel through all layers."""
    layer = layer_of(job, 0)
    a = panel_at(workspace, layer.inputs, layer.fan_in, panel)
    start, count = step.start + panel.first, step.rows - panel.first
    samples = advance(scratch, job.sample_rows)
    gather_transposed(job, start, count, panel.width, layer.fan_in, a, samples)
    for i in range(job.n_layers):
        layer = layer_of(job, i)
        if full is not None:
            _drop(job, step, i, workspace, layer.inputs, panel, thread)
        if full is not None and scale.is_scale(layer):
            scale.forward_panel(layer, workspace, parameters, panel)
        else:
            dense.forward_panel(layer, workspace, parameters, panel, full)
    _losses_and_deltas(job, workspace, scratch, panel, step, full)
    for i in range(job.n_layers - 1, 0, -1):
        _backward(job, step, i, workspace, parameters, panel, thread, full)


@jit
def _strips_of(job, step, like):
    """(vectors of samples, number of strips) of a mini-batch."""
    lanes = vector_lanes(like)
    vectors = (step.rows + lanes - 1) // lanes
    return vectors, min(job.strips, vectors)


def _strip_buffers(sizes):
    """Buffers of `_carry_strip`: a gradient for each strip, and deltas, transposed."""
    return [
        Buffer("gradients", sizes.parameters, copies=sizes.strips, packed=True),
        of_thread(sizes, transposed_deltas=sizes.block_rows * sizes.shape.width),
    ]


@jit
def _carry_strip(job, workspace, model, scratch, step, strip, thread, full):
    """Sum the gradients over a strip of the batch."""
    like = step.rule.scale
    lanes, full_width = vector_lanes(like), panel_width(like)
    sums = advance(model.gradients, strip * job.gradients_size)
    transposed_deltas = advance(scratch, job.transposed_deltas)
    vectors, strips = _strips_of(job, step, like)
    first = vectors * strip // strips * lanes
    last = min(vectors * (strip + 1) // strips * lanes, step.rows)
    for block in range(first, last, job.block_rows):
        samples = min(job.block_rows, last - block)
        for r in range(0, samples, full_width):
            panel = Panel(r // full_width, width_at(r, samples, like), block + r)
            _carry_panel(
                job, workspace, model.parameters, scratch, panel, step, thread, full
            )
        mode = cast(0 if block == first else ADD, samples)
        for i in range(job.n_layers):
            layer = layer_of(job, i)
            dense.gradient_panels(
                layer, workspace, transposed_deltas, sums, samples, mode
            )


@jit
def strips_phase(job, workspace, model, scratch, step, thread, full):
    """Phase 1: forward and backward passes of strips, and their gradients."""
    if thread == 0:
        forget_pieces(job, TILES)
    _, strips = _strips_of(job, step, step.rule.scale)
    strip = next_piece(job, ROWS, thread, strips)
    while strip >= 0:
        _carry_strip(job, workspace, model, scratch, step, strip, thread, full)
        strip = next_piece(job, ROWS, thread, strips)


@jit
def _add(target, source, count):
    for i in range(count):
        target[i] += source[i]


def slices_of(layer):
    """Slices of the parameters of a layer, a record LAYER, for the phases below."""
    return max(round_up(layer["per_output"] - layer["weights"], _SLICE) // _SLICE, 1)


def strips_buffers(sizes):
    """All buffers of a step in strips, but the workspace that layers declare."""
    return [
        *_mask_buffers(sizes),
        *_loss_buffers(sizes),
        *_sample_buffers(sizes),
        *_strip_buffers(sizes),
        *step_buffers(sizes),
    ]


@jit
def _slice_at(job, piece):
    """(number of the layer, offset, weights, other numbers) of a slice.

    The last slice of a layer includes its numbers per output, which follow its weights.
    """
    i, piece = layer_of_piece(job, piece)
    layer = layer_of(job, i)
    place = layer.weights + piece * _SLICE
    if piece < layer.pieces - 1:
        return i, place, _SLICE, 0
    return i, place, layer.per_output - place, layer.fan_out


@jit
def _update_slice(model, rules, place, n_weights, n_others, sums):
    """Update a slice, given the sums of its gradient."""
    rule, other = rules
    lanes = vector_lanes(rule.scale)
    n_others = (n_others + lanes - 1) // lanes * lanes
    if (
        rule.l2 == other.l2
        and rule.l1 == other.l1
        and rule.decay == other.decay
        and rule.rates[0] == other.rates[0]
    ):
        update_parameters(model, rule, place, n_weights + n_others, sums)
    else:
        update_parameters(model, rule, place, n_weights, sums)
        sums, place = advance(sums, n_weights), place + n_weights
        update_parameters(model, other, place, n_others, sums)


@jit
def slices_phase(job, model, step, thread):
    """Phase 2: add up the strips' gradients of slices of the parameters; apply them.

    If the norm is clipped, keep them instead, in place of the first strip's.
    """
    like = step.rule.scale
    clips, lanes = job.clip_norm > 0, vector_lanes(like)
    if thread == 0:
        forget_pieces(job, UPDATES if clips else ROWS)
    strips = _strips_of(job, step, like)[1]
    piece = next_piece(job, TILES, thread, job.n_pieces)
    while piece >= 0:
        number, place, n_weights, n_others = _slice_at(job, piece)
        layer = layer_of(job, number)
        count = n_weights + (n_others + lanes - 1) // lanes * lanes
        sums = advance(model.gradients, place)
        for strip in range(1, strips):
            _add(sums, advance(sums, strip * job.gradients_size), count)
        rules = rule, other = rules_for(step.rule, layer)
        weights = advance(model.parameters, place)
        model.penalties[piece] = penalty_of(weights, n_weights, rule)
        if clips:
            squares = make_gradient(model, rule, place, n_weights, sums)
            sums, place = advance(sums, n_weights), place + n_weights
            squares += make_gradient(model, other, place, n_others, sums)
            model.squares[piece] = squares
        else:
            _update_slice(model, rules, place, n_weights, n_others, sums)
        piece = next_piece(job, TILES, thread, job.n_pieces)


@jit
def update_slices_phase(job, model, step, thread):
    """Phase 3, if the norm of the gradient is clipped: the updates."""
    if thread == 0:
        forget_pieces(job, ROWS)
    rule = clipped(step.rule, sum_of(model.squares, job.n_pieces), job.clip_norm)
    piece = next_piece(job, UPDATES, thread, job.n_pieces)
    while piece >= 0:
        number, place, n_weights, n_others = _slice_at(job, piece)
        rules = rules_for(rule, layer_of(job, number))
        sums = advance(model.gradients, place)
        _update_slice(model, rules, place, n_weights, n_others, sums)
        piece = next_piece(job, UPDATES, thread, job.n_pieces)
