"""Matrices in column panels, and panels of samples: where their numbers are.

Column panels are described in `fastmlp.kernels.simd`: the lanes of a vector hold
columns, which are features or units, and rows are samples.  A buffer may hold more rows
than are in use.

A panel of samples, for `fastmlp.kernels.strips`, is the transpose of that: the lanes
hold samples, and its rows are features or units.
"""

from typing import NamedTuple

from fastmlp.compilation import jit
from fastmlp.kernels.masks import multiply_by_mask, row_key
from fastmlp.kernels.simd import advance, cast, copy_row, panel_width, vector_lanes

__all__ = [
    "Panel",
    "Panels",
    "clear_columns",
    "clear_units",
    "copy_strided",
    "drop",
    "even",
    "from_output_major",
    "multiply_panels",
    "panel_at",
    "panel_size",
    "panels",
    "scale_rows",
    "to_output_major",
    "unit_rows",
    "width_at",
]


class Panels(NamedTuple):
    """A matrix in column panels."""

    data: object  # pointer to the first element
    columns: int
    rows: int  # of the buffer: the distance between two panels, in rows


@jit
def panels(base, offset, columns, rows):
    """The matrix at `base + offset`."""
    return Panels(advance(base, offset), columns, rows)


@jit
def width_at(column, columns, like):
    """Width of the panel that starts at `column` of a matrix of `columns`."""
    lanes = vector_lanes(like)
    rest = (columns - column + lanes - 1) // lanes * lanes
    return min(panel_width(like), rest)


@jit
def copy_strided(target, source, stride, count):
    """target[j] = source[j*stride] for j < count, converted to the target's type."""
    if stride == 1:
        copy_row(target, source, count)
    else:
        for j in range(count):
            target[j] = cast(source[j * stride], target[0])


@jit
def clear_columns(c, column, first_row, rows, width):
    """Write zeros after the last column of a panel."""
    like = c.data[0]
    panel = advance(c.data, column * c.rows + first_row * width)
    for r in range(rows):
        for j in range(c.columns - column, width):
            panel[r * width + j] = cast(0, like)


@jit
def drop(matrix, first_row, rows, key, keep):
    """Multiply rows of a matrix by the dropout mask."""
    like = matrix.data[0]
    for column in range(0, matrix.columns, panel_width(like)):
        width = width_at(column, matrix.columns, like)
        panel = advance(matrix.data, column * matrix.rows + first_row * width)
        for r in range(rows):
            numbers = advance(panel, r * width)
            multiply_by_mask(numbers, row_key(key, first_row + r), column, width, keep)


@jit
def scale_rows(matrix, first_row, rows, factor):
    """Multiply rows of a matrix by a number."""
    like = matrix.data[0]
    for column in range(0, matrix.columns, panel_width(like)):
        width = width_at(column, matrix.columns, like)
        numbers = advance(matrix.data, column * matrix.rows + first_row * width)
        for i in range(rows * width):
            numbers[i] *= factor


@jit
def multiply_panels(target, factors, first_row, rows):
    """Multiply rows of a matrix elementwise by those of another."""
    like = target.data[0]
    for column in range(0, target.columns, panel_width(like)):
        width = width_at(column, target.columns, like)
        offset = column * target.rows + first_row * width
        numbers, others = advance(target.data, offset), advance(factors.data, offset)
        for i in range(rows * width):
            numbers[i] *= others[i]


@jit
def to_output_major(matrix, first_row, rows, z):
    """z[j*rows + r] = element (first_row + r, j), in the type of z."""
    like = matrix.data[0]
    full_width = panel_width(like)
    for column in range(0, matrix.columns, full_width):
        width = width_at(column, matrix.columns, like)
        panel = advance(matrix.data, column * matrix.rows + first_row * width)
        for j in range(min(full_width, matrix.columns - column)):
            target = advance(z, (column + j) * rows)
            for r in range(rows):
                target[r] = cast(panel[r * width + j], z[0])


@jit
def from_output_major(z, matrix, first_row, rows):
    """The inverse of `to_output_major`."""
    like = matrix.data[0]
    full_width = panel_width(like)
    for column in range(0, matrix.columns, full_width):
        width = width_at(column, matrix.columns, like)
        panel = advance(matrix.data, column * matrix.rows + first_row * width)
        for j in range(min(full_width, matrix.columns - column)):
            source = advance(z, (column + j) * rows)
            for r in range(rows):
                panel[r * width + j] = source[r]


# --- Panels of samples ----------------------------------------------------------------


class Panel(NamedTuple):
    """Some samples of the mini-batch, side by side."""

    number: int  # in its strip
    width: int  # room for this many samples: whole vectors
    first: int  # position of its first sample in the batch


def unit_rows(units, lanes):
    """Rows of a panel of `units` units: two more for the loss, in whole vectors."""
    return (units + 2 + lanes - 1) // lanes * lanes


_unit_rows = jit(unit_rows)


@jit
def even(units):
    """Rows of a panel of units that products compute; the odd one is zeros."""
    return (units + 1) // 2 * 2


@jit
def panel_size(units, like):
    """Numbers in a full panel."""
    return _unit_rows(units, vector_lanes(like)) * panel_width(like)


@jit
def panel_at(workspace, offset, units, panel):
    """Where a panel of the activations or deltas of `units` units begins."""
    return advance(workspace, offset + panel.number * panel_size(units, workspace))


@jit
def clear_units(deltas, units, width):
    """Clear the rows that round the units up to whole vectors."""
    lanes = vector_lanes(deltas[0])
    for i in range(units * width, (units + lanes - 1) // lanes * lanes * width):
        deltas[i] = cast(0, deltas[0])
