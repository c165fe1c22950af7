"""Transpose blocks of numbers in registers."""

from functools import partial

from fastmlp.compilation.toolkit import intrinsic, ir, types
from fastmlp.kernels.simd import (
    INT,
    Vectors,
    function_of,
    repeat,
    tile_shape,
    type_name,
)

__all__ = ["transpose", "transpose_blocks"]


@intrinsic
def transpose(typing_context, target, target_stride, source, columns):
    """target[c*target_stride + r] = source[r*columns + c] for r < MR, c < columns.

    `columns` must be a multiple of the lanes of a vector.
    """
    dtype = source.dtype
    shape = tile_shape(dtype)

    def codegen(context, builder, signature, arguments):
        target, target_stride, source, columns = arguments
        scalar = context.get_value_type(dtype)
        rows = Vectors(builder, scalar, shape.lanes)
        turned_rows = Vectors(builder, scalar, shape.rows)

        def some_columns(state):
            source, target = state
            lines = [
                rows.load(builder.gep(source, [builder.mul(columns, INT(r))]))
                for r in range(shape.rows)
            ]
            for c, column in enumerate(_transposed_blocks(builder, lines)):
                place = builder.gep(target, [builder.mul(target_stride, INT(c))])
                turned_rows.store(column, place)
            step = builder.mul(target_stride, INT(shape.lanes))
            return [
                builder.gep(source, [INT(shape.lanes)]),
                builder.gep(target, [step]),
            ]

        count = builder.sdiv(columns, INT(shape.lanes))
        repeat(builder, count, [source, target], some_columns)
        return context.get_dummy_value()

    number = types.int64
    return types.void(target, number, source, number), codegen


@intrinsic
def transpose_blocks(
    typing_context, blocks, target, target_stride, source, source_stride
):
    """target[c*target_stride + r] = source[r*source_stride + c], in square blocks.

    For r < lanes of a vector and c < `blocks` times as many.
    """
    lanes = tile_shape(source.dtype).lanes
    number = types.int64

    def codegen(context, builder, signature, arguments):
        scalar = context.get_value_type(source.dtype)
        ptr = scalar.as_pointer()
        function = function_of(
            builder.module,
            f"fastmlp.transpose_blocks.{type_name(scalar)}",
            [INT, ptr, INT, ptr, INT],
            partial(_transpose_blocks, scalar, lanes),
        )
        builder.call(function, arguments)
        return context.get_dummy_value()

    return types.void(number, source, number, source, number), codegen


def _transpose_blocks(
    scalar, lanes, builder, blocks, target, target_stride, source, source_stride
):
    """Emit the function of `transpose_blocks`."""
    memory = Vectors(builder, scalar, lanes)

    def lines_from(start, stride):
        places = [start]
        while len(places) < lanes:
            places.append(builder.gep(places[-1], [stride]))
        return places

    def block(state):
        target, source = state
        lines = [memory.load(line) for line in lines_from(source, source_stride)]
        columns = _transposed_blocks(builder, lines)
        places = lines_from(target, target_stride)
        for column, place in zip(columns, places, strict=True):
            memory.store(column, place)
        step = builder.mul(target_stride, INT(lanes))
        return [builder.gep(target, [step]), builder.gep(source, [INT(lanes)])]

    repeat(builder, blocks, [target, source], block)


def _transposed_blocks(builder, lines):
    """The columns of some lines (vectors), each a vector with one number per line.

    Several square blocks are transposed at once: off-diagonal quarters swap places, at
    each scale (Eklundh, "A fast computer method for matrix transposing", 1972).
    """
    lanes, rows = lines[0].type.count, len(lines)

    def shuffle(a, b, indices):
        i32 = ir.IntType(32)
        mask = ir.Constant(ir.VectorType(i32, len(indices)), [i32(i) for i in indices])
        return builder.shuffle_vector(a, b, mask)

    half = 1
    while half < rows:
        turned = list(lines)
        for i in range(rows):
            if i & half:
                continue
            a, b = lines[i], lines[i | half]
            turned[i] = shuffle(
                a, b, [c + lanes - half if c & half else c for c in range(lanes)]
            )
            turned[i | half] = shuffle(
                a, b, [c + lanes if c & half else c + half for c in range(lanes)]
            )
        lines = turned
        half *= 2
    return [
        shuffle(
            lines[c % rows], lines[c % rows], range(c - c % rows, c - c % rows + rows)
        )
        for c in range(lanes)
    ]
