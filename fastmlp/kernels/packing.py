"""Copy weights from the user's arrays into column panels."""

import numpy as np

from fastmlp.compilation import jit
from fastmlp.kernels.layers.layer import layer_at
from fastmlp.kernels.panels import width_at
from fastmlp.kernels.simd import advance, cast, copy_row, panel_width, pointer

__all__ = ["pack_layer"]


@jit
def _pack(
    layer, parameters, like, weights, row_stride, column_stride, per_output, stride
):
    """Implement `pack_layer` for numbers of one type."""
    full_width = panel_width(like)
    for k in range(min(layer.fan_in, layer.weight_rows)):
        for column in range(0, layer.fan_out, full_width):
            width = width_at(column, layer.fan_out, like)
            row = advance(weights, k * row_stride + column * column_stride)
            to = advance(
                parameters, layer.weights + column * layer.weight_rows + k * width
            )
            columns = min(full_width, layer.fan_out - column)
            if column_stride == 1:
                copy_row(to, row, columns)
            else:
                for j in range(columns):
                    to[j] = cast(row[j * column_stride], like)
    to = advance(parameters, layer.per_output)
    for j in range(layer.fan_out):
        to[j] = cast(per_output[j * stride], like)


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
    layer = layer_at(layer)
    to = pointer(parameters, precision)
    if is_double:
        kind = np.float64(0)
        _pack(
            layer, to, precision, pointer(weights, kind), row_stride, column_stride,
            pointer(per_output, kind), stride,
        )  # fmt: skip
    else:
        kind = np.float32(0)
        _pack(
            layer, to, precision, pointer(weights, kind), row_stride, column_stride,
            pointer(per_output, kind), stride,
        )  # fmt: skip
