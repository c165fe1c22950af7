"""Derivatives of a network's outputs with respect to its inputs.

With Z the raw outputs of a row of X, and v a number for each of them (a cotangent), a
backward pass gives the derivatives of v·Z by the inputs of that row.  It goes through
the first layer as well, unlike that of a training step; of an Encoding, it goes to
what that gives.  Each row goes by itself, so that the bits do not depend on the number
of threads.
"""

from fastmlp.compilation import jit
from fastmlp.kernels.buffers import of_thread
from fastmlp.kernels.gathering import gather
from fastmlp.kernels.job import job_at, layer_of
from fastmlp.kernels.layers import dense, encoding, parametric
from fastmlp.kernels.layers.layer import deltas_of, inputs_of, outputs_of
from fastmlp.kernels.panels import from_output_major, width_at
from fastmlp.kernels.processor import flush_denormals, restore_denormals
from fastmlp.kernels.simd import advance, cast, panel_width, pointer, tile_rows
from fastmlp.kernels.team import ROWS, next_piece

__all__ = ["differentiate", "differentiation_buffers"]


def differentiation_buffers(sizes):
    """Buffers of `differentiate`, but the workspace that layers declare."""
    return [
        of_thread(sizes, raw_outputs=sizes.n_outputs * sizes.block_rows),
        *encoding.encoding_buffers(sizes),
    ]


@jit
def _read_cotangents(job, outputs, z, number, first, count, rows):
    """Cotangents `number` of samples first..first + count, in panels.

    They replace the raw outputs: they are the deltas of the last layer.  Rows that fill
    up the last tile have none.
    """
    source = advance(pointer(job.targets, z[0]), number * outputs.columns)
    for r in range(rows):
        row = advance(source, (first + r) * job.n_targets)
        for j in range(outputs.columns):
            z[j * rows + r] = row[j] if r < count else cast(0, z[0])
    from_output_major(z, outputs, cast(0, rows), rows)


@jit
def _store_derivatives(job, panels, n_cotangents, number, first, count):
    """Copy rows of panels to the derivatives for cotangents `number`."""
    like, columns = panels.data[0], panels.columns
    full_width = panel_width(like)
    target = advance(pointer(job.outputs, like), number * columns)
    for column in range(0, columns, full_width):
        width = width_at(column, columns, like)
        source = advance(panels.data, column * panels.rows)
        for r in range(count):
            to = advance(target, (first + r) * n_cotangents * columns + column)
            for j in range(min(full_width, columns - column)):
                to[j] = source[r * width + j]


@jit(entry=True)
def differentiate(job_address, precision, thread, encoded):
    """Derivatives of v·Z by the inputs, for blocks of samples, by one thread.

    The cotangents v are the job's targets, one or more per sample; the derivatives, as
    many vectors of features per sample, are its outputs.

    encoded : True if the first layer is an Encoding, else None; derivatives are then by
        its outputs.
    """
    control = flush_denormals()
    job = job_at(job_address)
    parameters = pointer(job.parameters, precision)
    transposed = pointer(job.transposed, precision)
    workspace = pointer(job.workspace, precision)
    workspace = advance(workspace, thread * job.workspace_size)
    scratch = advance(pointer(job.scratch, precision), thread * job.scratch_size)
    z = advance(scratch, job.raw_outputs)
    mr, top, one = tile_rows(precision), cast(0, thread), cast(1, precision)
    first_layer, last = layer_of(job, 0), layer_of(job, job.n_layers - 1)
    inputs = inputs_of(job, workspace, first_layer)
    n_cotangents = job.n_targets // last.fan_out
    n_pieces = (job.n_samples + job.block_rows - 1) // job.block_rows
    piece = next_piece(job, ROWS, thread, n_pieces)
    while piece >= 0:
        first = piece * job.block_rows
        count = min(job.block_rows, job.n_samples - first)
        tiles = (count + mr - 1) // mr
        gather(job, inputs, top, count, first, True)
        if encoded is not None:
            values = advance(scratch, job.encoding_values)
            encoding.scale_numbers(job, workspace, values, first_layer, top, count)
            encoding.forward(
                job, workspace, parameters, values, first_layer, top, count
            )
        for i in range(job.n_layers):
            layer = layer_of(job, i)
            if encoded is None:
                dense.forward(job, workspace, parameters, layer, top, tiles, True)
            elif i > 0:
                parametric.forward_layer(job, workspace, parameters, layer, top, tiles)
        for number in range(n_cotangents):
            outputs = outputs_of(job, workspace, last)
            _read_cotangents(job, outputs, z, number, first, count, tiles * mr)
            for i in range(job.n_layers - 1, 0, -1):
                layer, before = layer_of(job, i), layer_of(job, i - 1)
                if encoded is None:
                    dense.backward(
                        job, workspace, transposed, layer, before, top, tiles, one, True
                    )
                else:
                    parametric.backward_layer(
                        job, workspace, transposed, layer, before, top, tiles
                    )
            if encoded is None:
                # where the inputs were, which nobody needs any more
                none, results = cast(0, thread), inputs
                dense.hand_back(
                    job, workspace, transposed, first_layer, results, top, tiles, none
                )
            else:
                results = deltas_of(job, workspace, first_layer)
            _store_derivatives(job, results, n_cotangents, number, first, count)
        piece = next_piece(job, ROWS, thread, n_pieces)
    restore_denormals(control)
