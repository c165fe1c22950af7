"""Copy weights from the user's arrays into column panels."""

import numpy as np

from fastmlp.compilation import jit
from fastmlp.kernels.layers.layer import layer_at
from fastmlp.kernels.panels import copy_strided, width_at
from fastmlp.kernels.simd import advance, cast, panel_width, pointer

__all__ = ["pack_layer"]


@jit
def _pack(
    layer, to, kind, weights, row_stride, column_stride, per_output, per_output_stride
):
    """Implement `pack_layer` for numbers of the type of `kind`."""
    layer = layer_at(layer)
    weights, per_output = pointer(weights, kind), pointer(per_output, kind)
    full_width = panel_width(to)
    for k in range(min(layer.fan_in, layer.weight_rows)):
        for column in range(0, layer.fan_out, full_width):
            width = width_at(column, layer.fan_out, to)
            copy_strided(
                advance(to, layer.weights + column * layer.weight_rows + k * width),
                advance(weights, k * row_stride + column * column_stride),
                column_stride,
                min(full_width, layer.fan_out - column),
            )
    to = advance(to, layer.per_output)
    for j in range(layer.fan_out):
        to[j] = cast(per_output[j * per_output_stride], to[0])


@jit(entry=True)
def pack_layer(
    layer, parameters, precision, weights, row_stride, column_stride, per_output,
    stride, is_double,
):  # fmt: skip
    """Copy the parameters of a layer from the user's arrays into panels.

    layer, parameters : addresses of a LAYER and of the network's parameters.
    precision : a number of the parameters' type.
    weights, row_stride, column_stride, per_output, stride :
        addresses, and strides in elements, of (fan_in, fan_out) weights, if the layer
        has any, and fan_out other numbers; float64 if `is_double`, else float32.
    """
    to = pointer(parameters, precision)
    if is_double:
        _pack(
            layer, to, np.float64(0), weights, row_stride, column_stride, per_output,
            stride,
        )  # fmt: skip
    else:
        _pack(
            layer, to, np.float32(0), weights, row_stride, column_stride, per_output,
            stride,
        )  # fmt: skip
