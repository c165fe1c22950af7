"""Activation functions in networks with an Encoding; they may have parameters.

With Z the pre-activations, g the function, a a number for each unit (1 at first) and D
the derivatives of the loss with respect to A:

    forward     A = (1 - a) Z + a g(Z)
    backward    D <- D * (1 - a + a g'(Z))
    gradient    da = 1^T (D * (g(Z) - Z))

So a unit is linear where its parameter is 0, and where it is 1, this is g to the last
bit.  On the way forward, two more matrices are kept: the derivatives, and what g
exceeds its argument by; on the way back, the second one becomes D * (g(Z) - Z).

Layers without such parameters keep their derivatives too, whatever the function is: so
that only one kernel for each function has to be compiled.

References
----------
Holzmüller, Grinsztajn and Steinwart, "Better by default: strong pre-tuned MLPs and
boosted trees on tabular data" (2024).
"""

from fastmlp.compilation import jit
from fastmlp.kernels.activations import activate_any, activate_any_with_derivative
from fastmlp.kernels.buffers import of_thread
from fastmlp.kernels.layers.dense import (
    add_products,
    hand_back,
    sum_deltas,
    weights_of,
)
from fastmlp.kernels.layers.layer import (
    deltas_of,
    derivatives_of,
    inputs_of,
    outputs_of,
)
from fastmlp.kernels.panels import clear_columns, multiply_panels, panels, width_at
from fastmlp.kernels.simd import advance, cast, panel_width, tile_rows, vector_lanes
from fastmlp.kernels.updating import make_gradient, rule_for, update_parameters

__all__ = [
    "alpha_buffers",
    "backward",
    "backward_layer",
    "forward",
    "forward_layer",
    "numbers_of_block",
    "predict",
    "sum_alphas",
    "update_alphas",
]


def alpha_buffers(sizes):
    """Sums for the parameters of a panel of units."""
    if sizes.encoding is None:
        return []
    return [of_thread(sizes, alpha_sums=sizes.shape.width)]


@jit
def _excess_of(job, workspace, layer):
    """What activations exceed pre-activations by; then that times the deltas."""
    return panels(workspace, layer.excess, layer.fan_out, job.capacity)


@jit
def _copy(source, target, count):
    for i in range(count):
        target[i] = source[i]


@jit
def forward(job, workspace, parameters, layer, first_row, tiles):
    """From pre-activations to activations, for `tiles` tiles of rows."""
    c, rows = outputs_of(job, workspace, layer), tiles * tile_rows(workspace)
    derivatives = derivatives_of(job, workspace, layer)
    excess = _excess_of(job, workspace, layer)
    for column in range(0, c.columns, panel_width(c.data)):
        width = width_at(column, c.columns, c.data)
        offset = column * c.rows + first_row * width
        z, slopes = advance(c.data, offset), advance(derivatives.data, offset)
        g = z
        if layer.alphas >= 0:
            g = advance(excess.data, offset)
            _copy(z, g, rows * width)
        activate_any_with_derivative(layer.activation, g, slopes, rows * width)
        if layer.alphas >= 0:
            alphas = advance(parameters, layer.alphas + column)
            _mix(z, slopes, g, alphas, rows, width)
        elif not layer.maps_zero_to_zero:
            clear_columns(c, column, first_row, rows, width)


@jit
def _mix(z, slopes, g, alphas, rows, width):
    """z <- (1 - a) z + a g, slopes <- 1 - a + a slopes, g <- g - z."""
    one = cast(1, z[0])
    for r in range(rows):
        for j in range(width):
            i, rest = r * width + j, one - alphas[j]
            linear, curved = z[i], g[i]
            z[i] = rest * linear + alphas[j] * curved
            slopes[i] = rest + alphas[j] * slopes[i]
            g[i] = curved - linear


@jit
def backward(job, workspace, layer, first_row, tiles):
    """From D to the deltas of the layer."""
    deltas, rows = deltas_of(job, workspace, layer), tiles * tile_rows(workspace)
    if layer.alphas >= 0:
        multiply_panels(_excess_of(job, workspace, layer), deltas, first_row, rows)
    multiply_panels(deltas, derivatives_of(job, workspace, layer), first_row, rows)


@jit
def forward_layer(job, workspace, parameters, layer, first_row, tiles):
    """A Dense layer as a whole: products, then `forward` if it has an activation."""
    a, c = inputs_of(job, workspace, layer), outputs_of(job, workspace, layer)
    weights, biases = (
        weights_of(parameters, layer),
        advance(parameters, layer.per_output),
    )
    none = cast(0, layer.activation)
    add_products(a, weights, biases, c, first_row, tiles, job.depth, none)
    if layer.derivatives >= 0:
        forward(job, workspace, parameters, layer, first_row, tiles)


@jit
def backward_layer(job, workspace, transposed, layer, before, first_row, tiles):
    """The deltas of the layer before a Dense layer, without dropout."""
    none, deltas = cast(0, first_row), deltas_of(job, workspace, before)
    hand_back(job, workspace, transposed, layer, deltas, first_row, tiles, none)
    if before.derivatives >= 0:
        backward(job, workspace, before, first_row, tiles)


@jit
def sum_alphas(job, workspace, model, step, scratch, layer, column, clips):
    """The gradient of the parameters of a panel of units, to be applied or kept.

    Returns the sum of its squares if it is kept.
    """
    rule, place = rule_for(step.rule, layer.alphas_rate, 0.0), layer.alphas + column
    sums = advance(scratch, job.alpha_sums)
    if clips:
        sums = advance(model.gradients, place)
    excess = _excess_of(job, workspace, layer)
    width = width_at(column, layer.fan_out, sums)
    d = advance(excess.data, column * excess.rows)
    sum_deltas(sums, width // vector_lanes(sums), d, width, step.rows)
    if clips:
        return make_gradient(model, rule, place, width, sums)
    update_parameters(model, rule, place, width, sums)
    return cast(0, rule.scale)


@jit
def update_alphas(model, rule, layer, column):
    """Update the parameters of a panel of units by the gradient that was kept."""
    rule, place = rule_for(rule, layer.alphas_rate, 0.0), layer.alphas + column
    width = width_at(column, layer.fan_out, rule.scale)
    update_parameters(model, rule, place, width, advance(model.gradients, place))


#: Rows that `predict` mixes at once.
_ROWS = 16


def numbers_of_block(shape):
    """Numbers of the buffer `kept` of `predict`."""
    return _ROWS * shape.width


@jit
def predict(parameters, layer, c, first_row, rows, kept):
    """C <- (1 - a) C + a g(C) for `rows` rows; C <- g(C) if there are no parameters.

    kept : room for `numbers_of_block`.
    """
    for column in range(0, c.columns, panel_width(c.data)):
        width = width_at(column, c.columns, c.data)
        panel = advance(c.data, column * c.rows + first_row * width)
        if layer.alphas < 0:
            activate_any(layer.activation, panel, rows * width)
            if not layer.maps_zero_to_zero:
                clear_columns(c, column, first_row, rows, width)
            continue
        alphas = advance(parameters, layer.alphas + column)
        for first in range(0, rows, _ROWS):
            count, z = min(_ROWS, rows - first), advance(panel, first * width)
            _copy(z, kept, count * width)
            activate_any(layer.activation, kept, count * width)
            _mix_values(z, kept, alphas, count, width)


@jit
def _mix_values(z, g, alphas, rows, width):
    """z <- (1 - a) z + a g, with the bits of `_mix`."""
    one = cast(1, z[0])
    for r in range(rows):
        for j in range(width):
            i, rest = r * width + j, one - alphas[j]
            z[i] = rest * z[i] + alphas[j] * g[i]
