"""One layer: fused forward product, fused backward product, and gradient.

Matrices are stored in column panels, see `fastmlp.kernels.simd`.  A buffer may hold
more rows than are in use.  A is the layer's input activations (batch x fan_in), W its
weights (fan_in x fan_out), b its biases, Z its pre-activations and D its deltas, dL/dZ
(batch x fan_out):

    forward     Z = A W + b,  then g(Z)
    backward    D_before = (D W^T) * g'(A)
    gradient    dW = A^T D,   db = 1^T D
"""

from typing import NamedTuple

import numpy as np

from fastmlp.compilation import jit
from fastmlp.kernels.activations import (
    RELU_CODE,
    activate,
    activate_any,
    activate_with_derivative,
    multiply_by_derivative,
)
from fastmlp.kernels.masks import multiply_by_mask, row_key
from fastmlp.kernels.products import (
    ADD,
    FROM_BIAS,
    FROM_OUTPUT,
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
    record_at,
    tile_rows,
    vector_lanes,
)

__all__ = [
    "LAYER",
    "Panels",
    "activate_panels",
    "activate_panels_of_any",
    "activate_panels_with_derivatives",
    "backward",
    "drop",
    "forward",
    "layer_at",
    "multiply_panels",
    "panels",
    "sum_deltas",
    "sum_products",
    "width_at",
]

_FIELDS = (
    "fan_in",
    "fan_out",
    "weights",  # in the arrays of parameters and moments: panels of
    "weight_rows",  # this many rows, fan_in rounded up to whole tiles
    "biases",  # likewise in the arrays of parameters and moments
    "transposed",  # in the array of transposed weights: panels of
    "transposed_rows",  # this many rows, fan_out rounded up to whole vectors
    "inputs",  # in the workspace: activations that enter the layer,
    "outputs",  # activations that leave it,
    "deltas",  # derivatives of the loss with respect to its pre-activations
    "activation",  # code of its activation function; 0 for the output layer
    "keeps_zero",  # whether that function is 0 at 0
    "derivatives",  # in the workspace: of that function; -1 if they are not stored
)

#: A layer's sizes, and the offsets of its arrays, counted in elements.
LAYER = np.dtype([(name, np.int64) for name in _FIELDS])

layer_at = record_at(LAYER)

#: Rows of a batch that a gradient tile sums before it adds them to memory.
_GRADIENT_ROWS = 256


class Panels(NamedTuple):
    """A matrix in column panels."""

    data: object  # pointer to the first element
    columns: int
    rows: int  # of the buffer: the distance between two panels, in rows


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
    """C = A B for `tiles` tiles of rows, starting at `first_row`.

    a, b, c : Panels.  b.rows may exceed a.columns.
    extra : biases (extra_rows = 1) or panels like C's (extra_rows = c.rows).
    depth : panels of A that are summed before C is stored.  This blocks A and B for the
        caches; the order of summation does not depend on it.
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
def forward(a, weights, biases, c, first_row, tiles, depth, activation):
    """C = A W + b, or max(0, A W + b), for `tiles` tiles of rows.

    activation : its code; only ReLU is applied here.  The padding of C is 0.
    """
    finish = RELU if activation == RELU_CODE else 0
    one, start = cast(1, tiles), cast(FROM_BIAS, tiles)
    _multiply(a, weights, c, biases, one, first_row, tiles, depth, start, finish)


@jit
def _clear_padding(c, column, first_row, rows, width):
    """Write zeros after the last column of a panel."""
    like = c.data[0]
    panel = advance(c.data, column * c.rows + first_row * width)
    for r in range(rows):
        for j in range(c.columns - column, width):
            panel[r * width + j] = cast(0, like)


@jit
def activate_panels(c, first_row, rows, layer):
    """C <- g(C) for `rows` rows; the padding of C stays zero.

    layer : its activation's derivative must be a function of the activation.
    """
    like = c.data[0]
    for column in range(0, c.columns, panel_width(like)):
        width = width_at(column, c.columns, like)
        panel = advance(c.data, column * c.rows + first_row * width)
        activate(layer.activation, panel, rows * width)
        if not layer.keeps_zero:
            _clear_padding(c, column, first_row, rows, width)


@jit
def activate_panels_of_any(c, first_row, rows, layer):
    """Like `activate_panels`, for every activation."""
    like = c.data[0]
    for column in range(0, c.columns, panel_width(like)):
        width = width_at(column, c.columns, like)
        panel = advance(c.data, column * c.rows + first_row * width)
        activate_any(layer.activation, panel, rows * width)
        if not layer.keeps_zero:
            _clear_padding(c, column, first_row, rows, width)


@jit
def activate_panels_with_derivatives(c, derivatives, first_row, rows, layer):
    """C <- g(C), and write g'(C) into panels of the same layout.

    layer : its activation's derivative is not a function of the activation.
    """
    like = c.data[0]
    for column in range(0, c.columns, panel_width(like)):
        width = width_at(column, c.columns, like)
        offset = column * c.rows + first_row * width
        activate_with_derivative(
            layer.activation,
            advance(c.data, offset),
            advance(derivatives.data, offset),
            rows * width,
        )
        if not layer.keeps_zero:
            _clear_padding(c, column, first_row, rows, width)


@jit
def drop(matrix, first_row, rows, key, keep):
    """Multiply rows of a matrix by the dropout mask."""
    like = matrix.data[0]
    for column in range(0, matrix.columns, panel_width(like)):
        width = width_at(column, matrix.columns, like)
        panel = advance(matrix.data, column * matrix.rows + first_row * width)
        for r in range(rows):
            numbers = advance(panel, r * width)
            multiply_by_mask(numbers, row_key(key, first_row + r), column, width, keep)


@jit
def multiply_panels(target, factors, first_row, rows):
    """Multiply rows of a matrix elementwise by those of another."""
    like = target.data[0]
    for column in range(0, target.columns, panel_width(like)):
        width = width_at(column, target.columns, like)
        offset = column * target.rows + first_row * width
        numbers, others = advance(target.data, offset), advance(factors.data, offset)
        for i in range(rows * width):
            numbers[i] *= others[i]


@jit
def backward(deltas, transposed, a, before, first_row, tiles, depth, activation, keep):
    """D_before = (D W^T) * g'(A) for `tiles` tiles of rows.

    a : the layer's input activations; `before`, the result, has the same layout.
    activation : code of g, or 0 if derivatives are stored: g' is then not applied.
    keep : the number by which dropout divided the activations, or 1.
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
            keep,
            rows * width,
        )


@jit
def sum_products(sums, vectors, tiles, a, a_width, d, width, rows):
    """sums = A^T D over the rows of a batch, block by block."""
    for first in range(0, rows, _GRADIENT_ROWS):
        transposed_product(
            vectors,
            tiles,
            sums,
            advance(a, first * a_width),
            a_width,
            min(_GRADIENT_ROWS, rows - first),
            advance(d, first * width),
            sums,  # no biases: never read
            0 if first == 0 else ADD,
        )


@jit
def sum_deltas(sums, vectors, d, width, rows):
    """sums = 1^T D over the rows of a batch, block by block."""
    for first in range(0, rows, _GRADIENT_ROWS):
        block = min(_GRADIENT_ROWS, rows - first)
        mode = cast(0 if first == 0 else ADD, rows)
        sum_of_rows(vectors, sums, advance(d, first * width), block, mode)
