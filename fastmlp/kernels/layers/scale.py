"""Scale: each feature of the network's inputs times a trainable factor.

With X the inputs (batch x n), s the factors (n) and D the derivatives of the loss with
respect to the scaled inputs:

    forward     Y = X s
    backward    nothing: no layer comes before
    gradient    ds = 1^T (D * X)

So X is the derivative by which the next layer's backward pass multiplies what it hands
over, and the gradient is a sum of deltas, like that of biases: see
`fastmlp.kernels.layers.dense`.
"""

from dataclasses import dataclass

from fastmlp.compilation import jit
from fastmlp.kernels.layers.layer import Layer, Parameter, inputs_of, outputs_of
from fastmlp.kernels.panels import panel_at, width_at
from fastmlp.kernels.simd import advance, panel_width, tile_rows

__all__ = ["Scale", "forward", "forward_panel", "is_scale"]


@dataclass(frozen=True)
class Scale(Layer):
    """A factor for each of `n_features` inputs; only as the first layer of a network.

    rate : factor on the learning rate.
    """

    n_features: int
    rate: float = 1.0

    has_activation = False
    takes_sparse = False

    @property
    def fan_in(self):
        """Inputs: features."""
        return self.n_features

    fan_out = fan_in

    def parameters(self):
        """The factors: 1 at first, and not to be shrunk towards 0."""
        shape = (self.n_features,)
        return [Parameter("per_output", "factors", shape, initial=1.0, rate=self.rate)]

    def workspace(self, stored):
        """Scaled inputs, and deltas; the derivatives of the former are the inputs."""
        n = self.n_features
        return {"outputs": n, "deltas": n, "derivatives": "inputs"}


@jit
def is_scale(layer):
    """Whether a layer is a Scale and not Dense: it has no weights."""
    return layer.weight_rows == 0


@jit
def forward(job, workspace, parameters, layer, first_row, tiles):
    """C = A s for `tiles` tiles of rows, in column panels."""
    a, c = inputs_of(job, workspace, layer), outputs_of(job, workspace, layer)
    rows = tiles * tile_rows(c.data)
    for column in range(0, c.columns, panel_width(c.data)):
        width = width_at(column, c.columns, c.data)
        offset = column * c.rows + first_row * width
        x, y = advance(a.data, offset), advance(c.data, offset)
        factors = advance(parameters, layer.per_output + column)
        for r in range(rows):
            for j in range(width):
                y[r * width + j] = x[r * width + j] * factors[j]


@jit
def forward_panel(layer, workspace, parameters, panel):
    """C^T = s A^T for a panel of samples."""
    mr, width = tile_rows(workspace), panel.width
    x = panel_at(workspace, layer.inputs, layer.fan_in, panel)
    y = panel_at(workspace, layer.outputs, layer.fan_out, panel)
    factors = advance(parameters, layer.per_output)
    # the rows that round the features up to whole tiles are 0, and so are their factors
    for j in range((layer.fan_out + mr - 1) // mr * mr):
        for r in range(width):
            y[j * width + r] = x[j * width + r] * factors[j]
