"""Dense: units, each connected to all inputs of the layer.

With A the inputs (batch x fan_in), W the weights (fan_in x fan_out), b the biases, Z
the pre-activations and D the deltas, dL/dZ (batch x fan_out):

    forward     Z = A W + b,  then g(Z)
    backward    D_before = (D W^T) * g'(A)
    gradient    dW = A^T D,   db = 1^T D

The layer before may be of any kind: g' is then the derivative of its outputs with
respect to what its deltas belong to.

In the first half of this file, matrices are in column panels.  In the second half, for
strips, they are panels of samples, and the products are transposed.  They need no
transposed copy of the weights, but one of the deltas.
"""

from dataclasses import dataclass

from fastmlp.compilation import jit
from fastmlp.kernels.activations import (
    RELU_CODE,
    activate,
    activate_any,
    activate_with_derivative,
    multiply_by_derivative,
)
from fastmlp.kernels.layers.layer import (
    Layer,
    Parameter,
    deltas_of,
    derivatives_of,
    inputs_of,
    outputs_of,
)
from fastmlp.kernels.panels import (
    clear_columns,
    even,
    multiply_panels,
    panel_at,
    panel_size,
    panels,
    width_at,
)
from fastmlp.kernels.products import (
    ADD,
    FROM_BIAS,
    FROM_OUTPUT,
    MASK,
    RELU,
    product,
    product_of_row,
    sum_of_rows,
    sums_over_lanes,
    transposed_product,
)
from fastmlp.kernels.simd import (
    advance,
    cast,
    copy_row,
    panel_width,
    tile_rows,
    vector_lanes,
)
from fastmlp.kernels.transposing import transpose_blocks

__all__ = [
    "Dense",
    "activate_outputs",
    "activate_panels_of_any",
    "add_products",
    "add_products_of_row",
    "backward",
    "backward_panel",
    "forward",
    "forward_panel",
    "gradient_panels",
    "hand_back",
    "sum_deltas",
    "sum_products",
    "transpose_weights",
    "weights_of",
]

#: A layer has few units if a vector has so many times as many lanes, or more.
_LANES_OF_FEW = 4

#: Rows of a batch that a gradient tile sums before it adds them to memory.
_GRADIENT_ROWS = 256


@dataclass(frozen=True)
class Dense(Layer):
    """`fan_out` units with `fan_in` inputs each.

    weights_rate, biases_rate, alphas_rate : factors on the learning rate.
    is_parametric : whether the activation function has a parameter for each unit, see
        `fastmlp.kernels.layers.parametric`; only after an Encoding.
    """

    fan_in: int
    fan_out: int
    weights_rate: float = 1.0
    biases_rate: float = 1.0
    alphas_rate: float = 1.0
    is_parametric: bool = False

    def parameters(self):
        """Weights and biases; `training.initialization` draws the first ones."""
        shape = self.fan_in, self.fan_out
        declared = [
            Parameter("weights", "weights", shape, rate=self.weights_rate, decay=1.0),
            Parameter("per_output", "biases", shape[1:], rate=self.biases_rate),
        ]
        if self.is_parametric:
            rate = self.alphas_rate
            declared.append(Parameter("alphas", "alphas", shape[1:], 1.0, rate))
        return declared

    def workspace(self, stored):
        """Activations, deltas, and what is kept of activations that need it."""
        kept = ["outputs", "deltas"]
        if stored:  # always after an Encoding
            kept.append("derivatives")
        if self.is_parametric:
            kept.append("excess")
        return dict.fromkeys(kept, self.fan_out)


# --- Units in the lanes of a vector ---------------------------------------------------


@jit
def weights_of(parameters, layer):
    """The weights of a layer."""
    return panels(parameters, layer.weights, layer.fan_out, layer.weight_rows)


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
                width // lanes, tiles * tile_rows(c.data),
                advance(c.data, column * c.rows + first_row * width),
                block, end - s, a.rows * full_width,
                tail, tail_width, tail_length if is_last else 0,
                advance(b.data, column * b.rows + s * full_width * width),
                advance(extra, column * extra_rows + extra_first * width), mode, None,
            )  # fmt: skip


@jit
def add_products(a, weights, biases, c, first_row, tiles, depth, activation):
    """C = A W + b, or max(0, A W + b), for `tiles` tiles of rows.

    activation : its code; only ReLU is applied here.  The padding of C is 0.
    """
    finish = RELU if activation == RELU_CODE else 0
    one, start = cast(1, tiles), cast(FROM_BIAS, tiles)
    _multiply(a, weights, c, biases, one, first_row, tiles, depth, start, finish)


@jit
def add_products_of_row(a, weights, biases, c, activation):
    """`add_products` for one row, the first."""
    like = c.data[0]
    full_width, lanes = panel_width(like), vector_lanes(like)
    segments = a.columns // full_width
    tail = segments * full_width
    mode = (FROM_BIAS | RELU) if activation == RELU_CODE else FROM_BIAS
    for column in range(0, c.columns, full_width):
        product_of_row(
            width_at(column, c.columns, like) // lanes,
            advance(c.data, column * c.rows),
            a.data, segments, a.rows * full_width,
            advance(a.data, tail * a.rows), a.columns - tail,
            advance(weights.data, column * weights.rows),
            advance(biases, column), mode,
        )  # fmt: skip


@jit
def forward(job, workspace, parameters, layer, first_row, tiles, full):
    """C = g(A W + b) for `tiles` tiles of rows; without an activation, C = A W + b.

    full : see `fastmlp.kernels.passes.train_steps`.
    """
    c = outputs_of(job, workspace, layer)
    a, weights = inputs_of(job, workspace, layer), weights_of(parameters, layer)
    biases, activation = advance(parameters, layer.per_output), layer.activation
    add_products(a, weights, biases, c, first_row, tiles, job.depth, activation)
    if activation != 0 and activation != RELU_CODE:
        activate_outputs(job, workspace, layer, c, first_row, tiles, full)


@jit
def activate_outputs(job, workspace, layer, c, first_row, tiles, full):
    """C <- g(C) for `tiles` tiles of rows; write g'(C) too if the layer stores that."""
    rows = tiles * tile_rows(c.data)
    if full is not None and layer.derivatives >= 0:
        derivatives = derivatives_of(job, workspace, layer)
        _activate_panels_with_derivatives(c, derivatives, first_row, rows, layer)
        return
    _activate_panels(c, first_row, rows, layer)


def _activate_panels_by(activate):
    """C <- g(C) for `rows` rows; the padding of C stays zero."""

    @jit
    def activate_panels(c, first_row, rows, layer):
        like = c.data[0]
        for column in range(0, c.columns, panel_width(like)):
            width = width_at(column, c.columns, like)
            panel = advance(c.data, column * c.rows + first_row * width)
            activate(layer.activation, panel, rows * width)
            if not layer.maps_zero_to_zero:
                clear_columns(c, column, first_row, rows, width)

    return activate_panels


_activate_panels = _activate_panels_by(activate)
activate_panels_of_any = _activate_panels_by(activate_any)


@jit
def _activate_panels_with_derivatives(c, derivatives, first_row, rows, layer):
    """C <- g(C), and write g'(C) into panels of the same layout.

    layer : its activation's derivative is not a function of the activation.
    """
    like = c.data[0]
    for column in range(0, c.columns, panel_width(like)):
        width = width_at(column, c.columns, like)
        offset = column * c.rows + first_row * width
        z, slopes = advance(c.data, offset), advance(derivatives.data, offset)
        activate_with_derivative(layer.activation, z, slopes, rows * width)
        if not layer.maps_zero_to_zero:
            clear_columns(c, column, first_row, rows, width)


@jit
def hand_back(job, workspace, transposed, layer, result, first_row, tiles, finish):
    """D W^T for `tiles` tiles of rows.

    result : where to: mostly where the deltas of the layer before will be.
    finish : MASK for zeros where the layer's inputs are 0, else 0.
    """
    a = inputs_of(job, workspace, layer)
    _multiply(
        deltas_of(job, workspace, layer),
        panels(transposed, layer.transposed, layer.fan_in, layer.transposed_rows),
        result, a.data, a.rows, first_row, tiles, job.depth, cast(0, tiles), finish,
    )  # fmt: skip


@jit
def backward(job, workspace, transposed, layer, before, first_row, tiles, keep, full):
    """D_before = (D W^T) * g'(A) for `tiles` tiles of rows.

    before : the layer before.
    keep : the number by which dropout divided the activations A, or 1.
    """
    a, result = inputs_of(job, workspace, layer), deltas_of(job, workspace, before)
    activation, rows = before.activation, tiles * tile_rows(a.data)
    finish = MASK if activation == RELU_CODE else 0
    hand_back(job, workspace, transposed, layer, result, first_row, tiles, finish)
    if full is not None and before.derivatives >= 0:
        derivatives = derivatives_of(job, workspace, before)
        multiply_panels(result, derivatives, first_row, rows)
    elif activation != 0 and activation != RELU_CODE:
        _multiply_by_derivatives(activation, result, a, first_row, rows, keep)


@jit
def _multiply_by_derivatives(activation, deltas, a, first_row, rows, keep):
    """D <- D * g'(A), for g' a function of the activations."""
    like = a.data[0]
    for column in range(0, a.columns, panel_width(like)):
        width = width_at(column, a.columns, like)
        offset = column * a.rows + first_row * width
        d, outputs = advance(deltas.data, offset), advance(a.data, offset)
        multiply_by_derivative(activation, d, outputs, keep, rows * width)


@jit
def sum_products(sums, vectors, tiles, a, a_width, d, width, rows):
    """sums = A^T D over the rows of a batch, block by block."""
    for first in range(0, rows, _GRADIENT_ROWS):
        transposed_product(
            vectors, tiles * tile_rows(sums), sums,
            advance(a, first * a_width), a_width, min(_GRADIENT_ROWS, rows - first),
            advance(d, first * width),
            sums, 0 if first == 0 else ADD, None,  # no biases: never read
        )  # fmt: skip


@jit
def sum_deltas(sums, vectors, d, width, rows):
    """sums = 1^T D over the rows of a batch, block by block."""
    for first in range(0, rows, _GRADIENT_ROWS):
        block = min(_GRADIENT_ROWS, rows - first)
        mode = cast(0 if first == 0 else ADD, rows)
        sum_of_rows(vectors, sums, advance(d, first * width), block, mode)


@jit
def transpose_weights(parameters, transposed, layer):
    """Write the transposed copy of a layer's weights that `backward` reads."""
    full_width = panel_width(parameters)
    for column in range(0, layer.fan_out, full_width):
        width = width_at(column, layer.fan_out, parameters)
        panel = advance(parameters, layer.weights + column * layer.weight_rows)
        for k in range(layer.fan_in):
            start = k // full_width * full_width
            k_width = width_at(start, layer.fan_in, parameters)
            place = layer.transposed + start * layer.transposed_rows + k - start
            to = advance(transposed, place)
            for c in range(width):
                to[(column + c) * k_width] = panel[k * width + c]


# --- Samples in the lanes of a vector -------------------------------------------------


@jit
def forward_panel(layer, workspace, parameters, panel, full):
    """C^T = g(W^T A^T + b) for a panel of samples; an odd row is followed by zeros."""
    full_width = panel_width(workspace)
    fan_in, fan_out, activation = layer.fan_in, layer.fan_out, layer.activation
    a = panel_at(workspace, layer.inputs, fan_in, panel)
    c = panel_at(workspace, layer.outputs, fan_out, panel)
    mode = (FROM_BIAS | RELU) if activation == RELU_CODE else FROM_BIAS
    for column in range(0, fan_out, full_width):
        transposed_product(
            panel.width // vector_lanes(workspace),
            even(min(full_width, fan_out - column)),
            advance(c, column * panel.width),
            advance(parameters, layer.weights + column * layer.weight_rows),
            width_at(column, fan_out, workspace), fan_in, a,
            advance(parameters, layer.per_output + column), mode, True,
        )  # fmt: skip
    if activation == RELU_CODE or activation == 0:
        return
    if full is not None and layer.derivatives >= 0:
        derivatives = panel_at(workspace, layer.derivatives, fan_out, panel)
        activate_with_derivative(activation, c, derivatives, fan_out * panel.width)
        return
    activate(activation, c, fan_out * panel.width)


@jit
def backward_panel(layer, before, workspace, parameters, panel, keep, full):
    """D_before^T = (W D^T) * g'(A^T) for a panel of samples; see `backward`.

    Rows that round the units up to whole vectors are not cleared.
    """
    full_width = panel_width(workspace)
    fan_in, fan_out, activation = layer.fan_in, layer.fan_out, before.activation
    a = panel_at(workspace, layer.inputs, fan_in, panel)
    result = panel_at(workspace, before.deltas, fan_in, panel)
    weights = advance(parameters, layer.weights)
    segments = fan_out // full_width
    tail = segments * full_width
    product(
        panel.width // vector_lanes(workspace), even(fan_in), result,
        weights, segments, layer.weight_rows * full_width,
        advance(weights, tail * layer.weight_rows), width_at(tail, fan_out, workspace),
        fan_out - tail, panel_at(workspace, layer.deltas, fan_out, panel),
        a, MASK if activation == RELU_CODE else 0, True,
    )  # fmt: skip
    count = fan_in * panel.width
    if full is not None and before.derivatives >= 0:
        derivatives = panel_at(workspace, before.derivatives, fan_in, panel)
        for j in range(count):
            result[j] *= derivatives[j]
    elif activation != RELU_CODE and activation != 0:
        multiply_by_derivative(activation, result, a, keep, count)


@jit
def _transpose_deltas(d, d_size, column, fan_out, samples, transposed_deltas):
    """Transpose the deltas of one panel of units: a row of vectors per sample."""
    lanes, full_width = vector_lanes(transposed_deltas), panel_width(transposed_deltas)
    width = width_at(column, fan_out, transposed_deltas)
    for first in range(0, samples, full_width):
        panel_samples = width_at(first, samples, transposed_deltas)
        source = advance(d, first // full_width * d_size + column * panel_samples)
        target = advance(transposed_deltas, first * width)
        for unit in range(0, width, lanes):
            to, start = advance(target, unit), advance(source, unit * panel_samples)
            transpose_blocks(panel_samples // lanes, to, width, start, panel_samples)


@jit
def gradient_panels(layer, workspace, transposed_deltas, sums, samples, mode):
    """dW = A^T D, db = 1^T D over `samples` samples in successive panels.

    transposed_deltas : room for the deltas of one panel of units.
    sums : laid out like the parameters.
    mode : 0, or ADD to add to what is there.
    """
    if _LANES_OF_FEW * layer.fan_out <= vector_lanes(workspace):
        _gradient_of_few(layer, workspace, transposed_deltas, sums, samples, mode)
        return
    full_width, lanes = panel_width(workspace), vector_lanes(workspace)
    n_panels = samples // full_width
    rest = samples - n_panels * full_width
    rest_width = (rest + lanes - 1) // lanes * lanes
    fan_in, fan_out = layer.fan_in, layer.fan_out
    a, a_size = advance(workspace, layer.inputs), panel_size(fan_in, workspace)
    d, d_size = advance(workspace, layer.deltas), panel_size(fan_out, workspace)
    weights, biases = advance(sums, layer.weights), advance(sums, layer.per_output)
    rows = min(even(fan_in), layer.weight_rows)  # a Scale has no weights
    for column in range(0, fan_out, full_width):
        width = width_at(column, fan_out, workspace)
        vectors, panel = width // lanes, advance(weights, column * layer.weight_rows)
        _transpose_deltas(d, d_size, column, fan_out, samples, transposed_deltas)
        if mode == 0:  # rows that round weights up to whole tiles
            for i in range(rows * width, layer.weight_rows * width):
                panel[i] = cast(0, panel[0])
        product(
            vectors, rows, panel,
            a, n_panels, a_size, advance(a, n_panels * a_size), rest_width, rest,
            transposed_deltas,
            transposed_deltas, mode, True,  # no biases, no mask: never read
        )  # fmt: skip
        row = advance(biases, column)
        sum_of_rows(vectors, row, transposed_deltas, samples, mode)


@jit
def _gradient_of_few(layer, workspace, deltas, sums, samples, mode):
    """`gradient_panels` of a layer whose units would leave most lanes of a vector idle.

    deltas : room for those of one unit, and for a vector.
    """
    full_width, lanes = panel_width(workspace), vector_lanes(workspace)
    n_panels = samples // full_width
    first_of_rest = n_panels * full_width
    rest = samples - first_of_rest
    rest_width = (rest + lanes - 1) // lanes * lanes
    fan_in, zero = layer.fan_in, cast(0, workspace[0])
    n_weights = min(fan_in, layer.weight_rows)  # a Scale has none
    a, a_size = advance(workspace, layer.inputs), panel_size(fan_in, workspace)
    d, d_size = advance(workspace, layer.deltas), panel_size(layer.fan_out, workspace)
    weights, biases = advance(sums, layer.weights), advance(sums, layer.per_output)
    results = advance(deltas, first_of_rest + rest_width)
    if mode == 0:
        for i in range(layer.weight_rows * lanes):
            weights[i] = zero
        for j in range(lanes):
            biases[j] = zero
    for j in range(layer.fan_out):
        for p in range(n_panels):
            row = advance(d, p * d_size + j * full_width)
            copy_row(advance(deltas, p * full_width), row, full_width)
        row = advance(d, n_panels * d_size + j * rest_width)
        copy_row(advance(deltas, first_of_rest), row, rest)
        for r in range(samples, first_of_rest + rest_width):
            deltas[r] = zero  # the samples there only fill the vector up
        total = zero
        for r in range(samples):
            total += deltas[r]
        biases[j] += total
        for unit in range(0, n_weights, lanes):
            sums_over_lanes(
                results,
                advance(a, unit * full_width), n_panels, a_size,
                advance(a, n_panels * a_size + unit * rest_width), rest_width // lanes,
                deltas,
            )  # fmt: skip
            for u in range(min(lanes, n_weights - unit)):
                weights[(unit + u) * lanes + j] += results[u]
