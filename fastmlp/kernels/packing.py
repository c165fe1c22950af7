"""Copy weights from the user's arrays into column panels."""

import numpy as np

from fastmlp.compilation import jit
from fastmlp.kernels.dense import layer_at, width_at
from fastmlp.kernels.simd import advance, cast, copy_row, panel_width, pointer

__all__ = ["pack_layer"]


@jit
def _pack(layer, parameters, weights, row_stride, column_stride, biases, stride):
    """Implement `pack_layer` for numbers of one type."""
    like = parameters[0]
    full_width = panel_width(like)
    for k in range(layer.fan_in):
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
    to = advance(parameters, layer.biases)
    for j in range(layer.fan_out):
        to[j] = cast(biases[j * stride], like)


@jit(entry=True)
def pack_layer(
    layer, parameters, precision, weights, row_stride, column_stride, biases, stride,
    is_double,
):  # fmt: skip
    """Copy the weights and biases of a layer from the user's arrays into panels.

    layer, parameters : addresses of a LAYER and of the network's parameters.
    precision : a number of the parameters' type.
    weights, row_stride, column_stride, biases, stride :
        addresses, and strides in elements, of (fan_in, fan_out) weights and fan_out
        biases, both float64 if `is_double`, else both float32.
    """
    layer = layer_at(layer)
    to = pointer(parameters, precision)
    if is_double:
        like = np.float64(0)
        _pack(
            layer, to, pointer(weights, like), row_stride, column_stride,
            pointer(biases, like), stride,
        )  # fmt: skip
    else:
        like = np.float32(0)
        _pack(
            layer, to, pointer(weights, like), row_stride, column_stride,
            pointer(biases, like), stride,
        )  # fmt: skip
