"""One layer: fused forward product, fused backward product, gradient and update.

Matrices are in column panels, see `fastmlp.kernels.simd`; R rows is what the
buffer holds, which may be more than are in use.  With A the activations that
enter the layer (batch x fan_in), W its weights (fan_in x fan_out), b its biases
and D the deltas dL/dz of what leaves it (batch x fan_out):

    forward     Z = A W + b,  then g(Z)
    backward    D_before = (D W^T) * g'(A)
    gradient    dW = A^T D,   db = 1^T D
"""

from typing import NamedTuple

import numpy as np

from fastmlp.compilation import jit
from fastmlp.kernels.activations import RELU_CODE, activate, multiply_by_derivative
from fastmlp.kernels.optimizers import update
from fastmlp.kernels.products import (
    ADD,
    FROM_BIAS,
    FROM_OUTPUT,
    MASK,
    RELU,
    product,
    transposed_product,
)
from fastmlp.kernels.simd import (
    advance,
    cast,
    panel_width,
    record_at,
    tile_rows,
    vector_lanes,
)
from fastmlp.kernels.transposing import transpose

__all__ = [
    "GRADIENT_ROWS",
    "LAYER",
    "Model",
    "Panels",
    "Rule",
    "activate_panels",
    "backward",
    "forward",
    "layer_at",
    "panels",
    "sum_of_squares",
    "sum_products",
    "update_biases",
    "update_tiles",
    "update_weights",
    "width_at",
]

_FIELDS = (
    "fan_in",
    "fan_out",
    "weights",  # in the arrays of parameters and moments: panels of
    "weight_rows",  # this many rows, fan_in rounded up to whole tiles
    "biases",  # likewise in the arrays of parameters
    "transposed",  # in the array of transposed weights: panels of
    "transposed_rows",  # this many rows, fan_out rounded up to whole vectors
    "inputs",  # in the workspace: what enters the layer,
    "outputs",  # what leaves it,
    "deltas",  # and the derivatives of the loss by its pre-activations
    "penalties",  # in the array of penalties: the first of its tiles
    # what only `fastmlp.kernels.general` looks at:
    "activation",  # code of what follows the layer
    "derivatives",  # in the workspace: of that
)

#: Where a layer's numbers stand: sizes, and offsets counted in elements.
LAYER = np.dtype([(name, np.int64) for name in _FIELDS])

layer_at = record_at(LAYER)

#: Rows of a batch that a gradient tile sums before it adds to memory.
GRADIENT_ROWS = 256


class Panels(NamedTuple):
    """A matrix in column panels."""

    data: object  # pointer to the first element
    columns: int
    rows: int  # of the buffer: the distance of two panels, in rows


class Model(NamedTuple):
    """Pointers to the arrays of all layers."""

    parameters: object
    transposed: object
    first_moment: object
    second_moment: object
    penalties: object  # sums of squares of parts of the weights, before the update


class Rule(NamedTuple):
    """How a gradient becomes an update, see `fastmlp.kernels.optimizers`."""

    optimizer: int
    l2: object
    scale: object
    rates: object  # tuple, see `optimizers.update`


@jit
def panels(base, offset, columns, rows):
    """The matrix at `base + offset`."""
    return Panels(advance(base, offset), columns, rows)


@jit
def width_at(column, columns, like):
    """Width of the panel that starts at `column` of a matrix of `columns`."""
    lanes = vector_lanes(like)
    rest = (columns - column + lanes - 1) // lanes * lanes
    return min(panel_width(like), rest)


@jit
def _multiply(a, b, c, extra, extra_rows, first_row, tiles, depth, start, finish):
    """C = A B for `tiles` tiles of rows from `first_row` on.

    a, b, c : Panels.  b.rows may exceed a.columns.
    extra : biases (extra_rows = 1) or panels like C's (extra_rows = c.rows).
    depth : panels of A that are summed before C is stored (blocks A and B in the
        caches; the order of summation does not depend on it).
    start, finish : modes of `product` for the first and the last such block.
    """
    like = c.data[0]
    full_width = panel_width(like)
    lanes = vector_lanes(like)
    segments = a.columns // full_width
    tail_length = a.columns - segments * full_width
    tail_width = (tail_length + lanes - 1) // lanes * lanes
    tail = advance(a.data, segments * full_width * a.rows + first_row * tail_width)
    for s in range(0, max(segments, 1), depth):
        end = min(s + depth, segments)
        is_last = end == segments
        mode = start if s == 0 else FROM_OUTPUT
        if is_last:
            mode |= finish
        block = advance(a.data, (s * a.rows + first_row) * full_width)
        for column in range(0, c.columns, full_width):
            width = width_at(column, c.columns, like)
            extra_first = 0 if extra_rows == 1 else first_row
            product(
                width // lanes,
                tiles,
                advance(c.data, column * c.rows + first_row * width),
                block,
                end - s,
                a.rows * full_width,
                tail,
                tail_width,
                tail_length if is_last else 0,
                advance(b.data, column * b.rows + s * full_width * width),
                advance(extra, column * extra_rows + extra_first * width),
                mode,
            )


@jit
def forward(a, weights, biases, c, first_row, tiles, depth, activation, keeps_zero):
    """C = g(A W + b) for `tiles` tiles of rows; the padding of C is zero.

    activation : code of g; keeps_zero : whether g(0) = 0.
    """
    finish = RELU if activation == RELU_CODE else 0
    one, start = cast(1, tiles), cast(FROM_BIAS, tiles)
    _multiply(a, weights, c, biases, one, first_row, tiles, depth, start, finish)
    if activation != RELU_CODE:
        rows = tiles * tile_rows(c.data[0])
        activate_panels(c, first_row, rows, activation, keeps_zero)


@jit
def activate_panels(c, first_row, rows, activation, keeps_zero):
    """C <- g(C) for `rows` rows; the padding of C stays zero."""
    if activation == 0:
        return
    like = c.data[0]
    for column in range(0, c.columns, panel_width(like)):
        width = width_at(column, c.columns, like)
        panel = advance(c.data, column * c.rows + first_row * width)
        activate(activation, panel, rows * width)
        if not keeps_zero:
            for r in range(rows):
                for j in range(c.columns - column, width):
                    panel[r * width + j] = cast(0, like)


@jit
def backward(deltas, transposed, a, before, first_row, tiles, depth, activation):
    """D_before = (D W^T) * g'(A) for `tiles` tiles of rows.

    a : the activations that the layer saw; `before`, the result, is laid out alike.
    """
    like = a.data[0]
    finish = MASK if activation == RELU_CODE else 0
    start = cast(0, tiles)
    _multiply(
        deltas, transposed, before, a.data, a.rows, first_row, tiles, depth, start,
        finish,
    )  # fmt: skip
    if activation == 0 or activation == RELU_CODE:
        return
    rows = tiles * tile_rows(like)
    for column in range(0, a.columns, panel_width(like)):
        width = width_at(column, a.columns, like)
        offset = column * a.rows + first_row * width
        multiply_by_derivative(
            activation,
            advance(before.data, offset),
            advance(a.data, offset),
            rows * width,
        )


@jit
def sum_products(sums, vectors, tiles, a, a_width, d, width, rows):
    """sums = A^T D over the rows of a batch, in blocks that are added up."""
    for first in range(0, rows, GRADIENT_ROWS):
        transposed_product(
            vectors,
            tiles,
            sums,
            advance(a, first * a_width),
            a_width,
            min(GRADIENT_ROWS, rows - first),
            advance(d, first * width),
            sums,  # no biases: never read
            0 if first == 0 else ADD,
        )


@jit(flags=("reassoc", "contract"))
def sum_of_squares(x, count):
    """Sum of x[i]**2: in vectors, in an order that only depends on `count`."""
    total = cast(0, x[0])
    for i in range(count):
        total += x[i] * x[i]
    return total


@jit
def update_biases(layer, column, width, model, rule, sums):
    """The update of the biases of one panel, from the sums of their deltas."""
    like = sums[0]
    biases = layer.biases + column
    update(
        rule.optimizer,
        advance(model.parameters, biases),
        sums,
        advance(model.first_moment, biases),
        advance(model.second_moment, biases),
        width,
        cast(0, like),
        rule.scale,
        rule.rates,
    )


@jit
def update_weights(layer, column, width, tile, tiles, model, rule, sums):
    """The update of `tiles` tiles of one panel, from the sums of their gradient.

    Returns a pointer to the new weights.
    """
    like = sums[0]
    mr = tile_rows(like)
    offset = layer.weights + column * layer.weight_rows + tile * mr * width
    weights = advance(model.parameters, offset)
    if rule.l2 > cast(0, like):
        n_tiles = layer.weight_rows // mr
        index = layer.penalties + column // panel_width(like) * n_tiles + tile
        for i in range(tiles):
            model.penalties[index + i] = sum_of_squares(
                advance(weights, i * mr * width), mr * width
            )
    update(
        rule.optimizer,
        weights,
        sums,
        advance(model.first_moment, offset),
        advance(model.second_moment, offset),
        tiles * mr * width,
        rule.l2,
        rule.scale,
        rule.rates,
    )
    return weights


@jit
def update_tiles(
    layer, column, first_tile, last_tile, model, a, deltas, rows, rule, scratch
):
    """Gradient of some weights of one panel, and their update while it is in L1.

    The owner of a tile is the only one to write it, and sums over the whole batch
    in one order: weights do not depend on who owns what.

    column : first column of the panel; first_tile, last_tile : tiles of MR rows of
        W.  The owner of tile 0 also has the panel's biases.
    model : `Model`, all arrays of parameters.
    a, deltas : what entered the layer and the deltas, of which `rows` rows count.
    rule : `Rule`.
    scratch : panel_width**2 numbers for the sums, then a 1.
    """
    like = a.data[0]
    full_width = panel_width(like)
    mr = tile_rows(like)
    width = width_at(column, layer.fan_out, like)
    vectors = width // vector_lanes(like)
    d = advance(deltas.data, column * deltas.rows)

    if first_tile == 0:
        one = advance(scratch, full_width * full_width)
        sum_products(scratch, vectors, 1, one, 0, d, width, rows)
        update_biases(layer, column, width, model, rule, scratch)

    tile = first_tile
    while tile < last_tile:
        # the tiles whose rows stand in one panel of A
        feature = tile * mr
        panel_start = feature // full_width * full_width
        a_width = width_at(panel_start, a.columns, like)
        tiles = min(last_tile - tile, (a_width + panel_start - feature) // mr)
        a_tile = advance(a.data, panel_start * a.rows + feature - panel_start)
        sum_products(scratch, vectors, tiles, a_tile, a_width, d, width, rows)
        weights = update_weights(
            layer, column, width, tile, tiles, model, rule, scratch
        )
        if layer.transposed >= 0:
            target = layer.transposed + panel_start * layer.transposed_rows
            for i in range(tiles):
                transpose(
                    advance(
                        model.transposed,
                        target + column * a_width + feature + i * mr - panel_start,
                    ),
                    a_width,
                    advance(weights, i * mr * width),
                    width,
                )
        tile += tiles
