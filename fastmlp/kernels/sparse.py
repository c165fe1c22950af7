"""The first layer of a network with sparse input: O(non-zeros x units).

X is in compressed sparse row (CSR) format: the entries of sample s are
``row_starts[s]`` to ``row_starts[s + 1]``, each a column index and a value.  With X_B
the rows of a batch, W the weights, b the biases and D the deltas:

    forward     Z = X_B W + b     sums of rows of W, one for each entry of a sample
    gradient    dW = X_B^T D      sums of rows of D, one for each entry of a feature

For the gradient, the entries of the batch are first sorted by feature.  If the entries
of a sample are in column order, they are summed in the same order as in the dense
kernels of `fastmlp.kernels.layers.dense`, where zeros add nothing: results are bitwise
equal (gradients for batches of up to 256 rows, which the dense kernels sum in one
block).
"""

import numpy as np

from fastmlp.compilation import jit
from fastmlp.kernels.buffers import Buffer, of_thread
from fastmlp.kernels.masks import mask_of, row_key
from fastmlp.kernels.panels import width_at
from fastmlp.kernels.products import weighted_sum
from fastmlp.kernels.simd import (
    advance,
    cast,
    panel_width,
    pointer,
    vector_lanes,
)

__all__ = [
    "batch_buffers",
    "drop_entries",
    "masked_sparse_forward",
    "sample_buffers",
    "sparse_forward",
    "sum_sparse_products",
    "transpose_batch",
]


@jit
def _sample_at(job, position, in_order):
    return position if in_order else pointer(job.order, 0)[position]


@jit
def _sum_entries(numbers, indices, count, weights, biases, c, row, column):
    """A row of the panel of C that begins at `column`, from the entries of a sample."""
    width = width_at(column, c.columns, c.data)
    weighted_sum(
        width // vector_lanes(c.data),
        advance(c.data, column * c.rows + row * width), advance(biases, column),
        numbers, indices, count, advance(weights.data, column * weights.rows),
        weights.rows,
    )  # fmt: skip


@jit
def sparse_forward(job, weights, biases, c, first_row, rows, start, in_order):
    """C = X_B W + b for `rows` rows of C, starting at `first_row`.

    start : position of the sample for `first_row`.
    in_order : whether positions are sample indices, or positions in the epoch's order.
    """
    row_starts = pointer(job.row_starts, 0)
    column_indices = pointer(job.column_indices, np.int32(0))
    doubles = pointer(job.X, np.float64(0))
    singles = pointer(job.X, np.float32(0))
    for column in range(0, c.columns, panel_width(c.data)):
        for r in range(rows):
            sample = _sample_at(job, start + r, in_order)
            begin = row_starts[sample]
            count = row_starts[sample + 1] - begin
            indices = advance(column_indices, begin)
            row = first_row + r
            if job.X_is_double:
                numbers = advance(doubles, begin)
                _sum_entries(numbers, indices, count, weights, biases, c, row, column)
            else:
                numbers = advance(singles, begin)
                _sum_entries(numbers, indices, count, weights, biases, c, row, column)


@jit
def _entry_at(job, i, like):
    if job.X_is_double:
        return cast(pointer(job.X, np.float64(0))[i], like)
    return cast(pointer(job.X, np.float32(0))[i], like)


def sample_buffers(sizes):
    """Buffers of `masked_sparse_forward`, if X is sparse and there is dropout."""
    if not (sizes.sparse and sizes.masks):
        return []
    return [of_thread(sizes, entries=sizes.sample_entries)]


@jit
def masked_sparse_forward(
    job, weights, biases, c, first_row, rows, start, key, keep, numbers
):
    """Like `sparse_forward`, with the entries multiplied by the dropout mask.

    numbers : room for the entries of any sample.
    """
    like = c.data[0]
    row_starts = pointer(job.row_starts, 0)
    column_indices = pointer(job.column_indices, np.int32(0))
    for r in range(rows):
        sample = _sample_at(job, start + r, False)
        begin = row_starts[sample]
        count = row_starts[sample + 1] - begin
        indices = advance(column_indices, begin)
        mask = row_key(key, first_row + r)
        for i in range(count):
            factor = mask_of(mask, indices[i], keep, like)
            numbers[i] = _entry_at(job, begin + i, like) * factor
        for column in range(0, c.columns, panel_width(like)):
            row = first_row + r
            _sum_entries(numbers, indices, count, weights, biases, c, row, column)


def batch_buffers(sizes):
    """Buffers of `transpose_batch`, if X is sparse."""
    if not sizes.sparse:
        return []
    n = sizes.batch_entries
    return [
        Buffer("feature_starts", {"feature_starts": sizes.n_features + 2}, np.int64),
        Buffer("entry_rows", {"entry_rows": n}, np.int32),
        Buffer("entry_values", {"entry_values": n}),
    ]


@jit
def transpose_batch(job, n_features, start, rows, like):
    """Sort the entries of a batch by feature, and within a feature by row.

    The entries of feature k are then ``feature_starts[k]`` to
    ``feature_starts[k + 1]`` of ``entry_rows`` and ``entry_values``.
    """
    row_starts = pointer(job.row_starts, 0)
    column_indices = pointer(job.column_indices, np.int32(0))
    # places[k] is where the next entry of feature k goes; finally feature_starts[k + 1]
    feature_starts = pointer(job.feature_starts, 0)
    places = advance(feature_starts, 1)
    entry_rows = pointer(job.entry_rows, np.int32(0))
    entry_values = pointer(job.entry_values, like)
    for k in range(n_features + 2):
        feature_starts[k] = 0
    for r in range(rows):
        sample = _sample_at(job, start + r, False)
        for i in range(row_starts[sample], row_starts[sample + 1]):
            # indices were checked, but another thread may change them meanwhile: no
            # access may be out of bounds even then
            k = min(max(np.int64(column_indices[i]), 0), n_features - 1)
            places[k + 1] += 1
    for k in range(n_features):
        places[k + 1] += places[k]
    for r in range(rows):
        sample = _sample_at(job, start + r, False)
        for i in range(row_starts[sample], row_starts[sample + 1]):
            k = min(max(np.int64(column_indices[i]), 0), n_features - 1)
            place = min(places[k], job.n_entries - 1)
            places[k] = place + 1
            entry_rows[place] = np.int32(r)
            entry_values[place] = _entry_at(job, i, like)


@jit
def drop_entries(job, n_features, key, keep, like):
    """Multiply the entries of a batch, sorted by feature, by the dropout mask."""
    feature_starts = pointer(job.feature_starts, 0)
    entry_rows = pointer(job.entry_rows, np.int32(0))
    entry_values = pointer(job.entry_values, like)
    for k in range(n_features):
        for i in range(feature_starts[k], feature_starts[k + 1]):
            entry_values[i] *= mask_of(row_key(key, entry_rows[i]), k, keep, like)


@jit
def sum_sparse_products(job, first, features, rows, width, d, sums):
    """sums = X_B^T D for some features, and zeros in the rows of the padding.

    d : deltas of one panel of units, `width` numbers for each row of the batch.
    """
    like = d[0]
    feature_starts = pointer(job.feature_starts, 0)
    entry_rows = pointer(job.entry_rows, np.int32(0))
    entry_values = pointer(job.entry_values, like)
    for i in range(rows * width):
        sums[i] = cast(0, like)
    for k in range(first, first + features):
        begin, end = feature_starts[k], feature_starts[k + 1]
        if begin < end:
            to = advance(sums, (k - first) * width)
            weighted_sum(
                width // vector_lanes(like), to, to, advance(entry_values, begin),
                advance(entry_rows, begin), end - begin, d, job.batch_size,
            )  # fmt: skip
