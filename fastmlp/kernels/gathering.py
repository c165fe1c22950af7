"""Copy samples of X (float32 or float64, any strides) into the kernels' buffers."""

import numpy as np

from fastmlp.compilation import jit
from fastmlp.kernels.panels import copy_strided, width_at
from fastmlp.kernels.simd import (
    advance,
    cast,
    copy_row,
    panel_width,
    pointer,
    prefetch,
    tile_rows,
    vector_lanes,
)
from fastmlp.kernels.transposing import transpose_blocks

__all__ = ["gather", "gather_column", "gather_transposed"]

_ROWS_AHEAD = 6  # how many samples ahead of the copied one to prefetch
_CACHE_LINE = 64  # bytes


@jit
def _fetch(job, sample, n_features):
    """Prefetch a shuffled sample: the CPU cannot predict where the next one is."""
    if job.is_far == 0 or job.column_stride != 1:
        return
    itemsize = 8 if job.X_is_double else 4
    start = job.X + sample * job.row_stride * itemsize
    for line in range(0, n_features * itemsize, _CACHE_LINE):
        prefetch(pointer(start + line, 0))


@jit
def _gather_row(source, stride, a, row):
    """Copy one sample into row `row` of the panels `a`, converted to their type."""
    full_width = panel_width(a.data)
    for column in range(0, a.columns, full_width):
        width = width_at(column, a.columns, a.data)
        count = min(full_width, a.columns - column)
        to = advance(a.data, column * a.rows + row * width)
        copy_strided(to, advance(source, column * stride), stride, count)


@jit
def gather(job, a, first, last, start, in_order):
    """Fill rows first..last of the panels `a` with the samples at `start` onwards.

    in_order : whether positions are sample indices, or positions in the epoch's order.
    """
    order = pointer(job.order, 0)
    singles = pointer(job.X, np.float32(0))
    doubles = pointer(job.X, np.float64(0))
    stride = job.column_stride
    for row in range(first, last):
        if not in_order and row + _ROWS_AHEAD < last:
            _fetch(job, order[start + row + _ROWS_AHEAD], a.columns)
        sample = start + row if in_order else order[start + row]
        offset = sample * job.row_stride
        if job.X_is_double:
            _gather_row(advance(doubles, offset), stride, a, row)
        else:
            _gather_row(advance(singles, offset), stride, a, row)


@jit
def gather_column(column, order, stride, count, width, target):
    """target[r] = column[order[r]*stride], r < width; past `count`, the last one."""
    like = target[0]
    known = min(count, width)
    for r in range(known):
        target[r] = cast(column[order[r] * stride], like)
    for r in range(known, width):
        target[r] = target[known - 1]


@jit
def _turn(samples, order, job, n_features, count, width, target, rows):
    """Implement `gather_transposed`; samples : pointer to sample 0."""
    like = target[0]
    lanes = vector_lanes(like)
    row_stride, column_stride = job.row_stride, job.column_stride
    if column_stride == 1 and 2 * n_features > lanes:
        row_size = (n_features + lanes - 1) // lanes * lanes
        for first in range(0, width, lanes):
            for r in range(lanes):
                sample = order[min(first + r, count - 1)]
                if first + r + _ROWS_AHEAD < count:
                    _fetch(job, order[first + r + _ROWS_AHEAD], n_features)
                x = advance(samples, sample * row_stride)
                copy_row(advance(rows, r * row_size), x, n_features)
            to = advance(target, first)
            transpose_blocks(row_size // lanes, to, width, rows, row_size)
        return
    mr = tile_rows(like)
    for j in range(n_features):
        column, to = advance(samples, j * column_stride), advance(target, j * width)
        gather_column(column, order, row_stride, count, width, to)
    for i in range(n_features * width, (n_features + mr - 1) // mr * mr * width):
        target[i] = cast(0, like)


@jit
def gather_transposed(job, start, count, width, n_features, target, rows):
    """target[j*width + r] = feature j of the sample at position start + r, r < width.

    After `count` samples, the last one is repeated.  The rows that round the features
    up to whole tiles are set to zero.
    rows : room for as many samples as a vector has lanes, each in whole vectors.
    """
    order = advance(pointer(job.order, 0), start)
    if job.X_is_double:
        samples = pointer(job.X, np.float64(0))
        _turn(samples, order, job, n_features, count, width, target, rows)
    else:
        samples = pointer(job.X, np.float32(0))
        _turn(samples, order, job, n_features, count, width, target, rows)
