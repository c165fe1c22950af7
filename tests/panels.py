"""Column panels in plain NumPy, to build and read what kernels work on."""

import numpy as np

from fastmlp.kernels.simd import tile_shape


def round_up(count, multiple):
    return -(-count // multiple) * multiple


def padded_size(rows, columns, dtype):
    """Numbers that a matrix in panels takes."""
    return rows * round_up(columns, tile_shape(dtype).lanes)


def pack(matrix, rows=None, fill=0.0):
    """Panels of a matrix with `rows` rows, the new ones set to `fill`."""
    shape = tile_shape(matrix.dtype)
    rows = len(matrix) if rows is None else rows
    parts = []
    for column in range(0, matrix.shape[1], shape.width):
        part = matrix[:, column : column + shape.width]
        width = round_up(part.shape[1], shape.lanes)
        panel = np.zeros((rows, width), matrix.dtype)
        panel[: len(part), : part.shape[1]] = part
        panel[len(part) :, : part.shape[1]] = fill
        parts.append(panel.ravel())
    return np.concatenate(parts) if parts else np.zeros(0, matrix.dtype)


def unpack(flat, rows, columns):
    """The (rows, columns) matrix, and what stands in its padding."""
    shape = tile_shape(flat.dtype)
    matrix = np.empty((rows, columns), flat.dtype)
    padding = []
    start = 0
    for column in range(0, columns, shape.width):
        count = min(shape.width, columns - column)
        width = round_up(count, shape.lanes)
        panel = flat[start : start + rows * width].reshape(rows, width)
        matrix[:, column : column + count] = panel[:, :count]
        padding.append(panel[:, count:].ravel())
        start += rows * width
    return matrix, np.concatenate(padding)
