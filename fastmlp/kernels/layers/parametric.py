"""Activation functions with a parameter for each unit, behind a Dense layer.

With Z the pre-activations, g the function, a a number for each unit (1 at first) and D
the derivatives of the loss with respect to A:

    forward     A = Z + a (g(Z) - Z)
    backward    D <- D * (1 + a (g'(Z) - 1))
    gradient    da = 1^T (D * (g(Z) - Z))

So a unit is linear where its parameter is 0.  On the way forward, two more matrices are
kept: the derivatives, and what g exceeds its argument by; on the way back, the second
one becomes D * (g(Z) - Z).

References
----------
Holzmüller, Grinsztajn and Steinwart, "Better by default: strong pre-tuned MLPs and
boosted trees on tabular data" (2024).
"""

from fastmlp.compilation import jit
from fastmlp.kernels.activations import activate_parametric, parametric_values
from fastmlp.kernels.buffers import of_thread
from fastmlp.kernels.layers.dense import sum_deltas
from fastmlp.kernels.layers.layer import deltas_of, derivatives_of, outputs_of
from fastmlp.kernels.panels import multiply_panels, panels, width_at
from fastmlp.kernels.simd import advance, cast, panel_width, tile_rows, vector_lanes
from fastmlp.kernels.updating import make_gradient, rule_for, update_parameters

__all__ = [
    "alpha_buffers",
    "backward",
    "forward",
    "predict",
    "sum_alphas",
    "update_alphas",
]


def alpha_buffers(sizes):
    """Sums for the parameters of a panel of units."""
    return [of_thread(sizes, alpha_sums=sizes.shape.width)]


@jit
def _excess_of(job, workspace, layer):
    """What activations exceed pre-activations by; then that times the deltas."""
    return panels(workspace, layer.excess, layer.fan_out, job.capacity)


@jit
def forward(job, workspace, parameters, layer, first_row, tiles):
    """From pre-activations to activations, for `tiles` tiles of rows."""
    c, rows = outputs_of(job, workspace, layer), tiles * tile_rows(workspace)
    derivatives = derivatives_of(job, workspace, layer)
    excess = _excess_of(job, workspace, layer)
    for column in range(0, c.columns, panel_width(c.data)):
        width = width_at(column, c.columns, c.data)
        offset = column * c.rows + first_row * width
        activate_parametric(
            layer.activation,
            advance(c.data, offset),
            advance(derivatives.data, offset),
            advance(excess.data, offset),
            advance(parameters, layer.alphas + column),
            rows,
            width,
        )


@jit
def backward(job, workspace, layer, first_row, tiles):
    """From D to the deltas of the layer."""
    deltas, rows = deltas_of(job, workspace, layer), tiles * tile_rows(workspace)
    multiply_panels(_excess_of(job, workspace, layer), deltas, first_row, rows)
    multiply_panels(deltas, derivatives_of(job, workspace, layer), first_row, rows)


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


@jit
def predict(parameters, layer, c, first_row, rows):
    """C <- C + a (g(C) - C) for `rows` rows."""
    for column in range(0, c.columns, panel_width(c.data)):
        width = width_at(column, c.columns, c.data)
        panel = advance(c.data, column * c.rows + first_row * width)
        alphas = advance(parameters, layer.alphas + column)
        parametric_values(layer.activation, panel, alphas, rows, width)
