"""Vector micro-kernels: with `fastmlp.kernels.processor` the only file with LLVM IR.

Everything here is a numba *intrinsic*, a function whose machine code we emit
ourselves.  Generic LLVM vectors are used throughout, so the code is right on
every target; the table `_tile_shapes` only decides what is fast.

Column panels
-------------
A matrix of R rows and C columns is stored as panels of ``panel_width`` (NR)
columns.  Panel p holds columns p*NR ... in R rows of its own width, one after
the other; all panels but the last are NR wide, the last is as wide as its
columns need, rounded up to whole vectors.  Element (r, c) is at

    p*NR*R + r*width(p) + (c - p*NR),        p = c // NR.

The columns that round up the last panel are called padding and hold zeros.

The blocked products follow Goto and van de Geijn, "Anatomy of high-performance
matrix multiplication" (ACM TOMS 34(3), 2008); the tile shapes follow Low et al.,
"Analytical modeling is enough for high-performance BLIS" (ACM TOMS 43(2), 2016).
"""

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.numpy_support import from_dtype

from fastmlp.kernels.processor import features

__all__ = [
    "ADD",
    "FROM_BIAS",
    "FROM_OUTPUT",
    "INSTRUCTION_SET",
    "MASK",
    "RELU",
    "TileShape",
    "advance",
    "cast",
    "constant",
    "fused_multiply_add",
    "panel_width",
    "pointer",
    "polynomial",
    "prefetch",
    "product",
    "record_at",
    "scale_by_power_of_two",
    "split_float",
    "tile_rows",
    "tile_shape",
    "transpose",
    "vector_lanes",
    "weighted_sum",
]

INT = ir.IntType(64)


# --- The register tile ----------------------------------------------------------------


class TileShape(NamedTuple):
    """Shape of the register tile: `rows` x (`vectors` vectors of `lanes` numbers)."""

    rows: int
    vectors: int
    lanes: int

    @property
    def width(self):
        """Columns of a full panel."""
        return self.vectors * self.lanes


def _tile_shapes():
    """(instruction set, float32 tile, float64 tile) for the processor.

    Accumulators, one row of B and a broadcast element of A fill the registers:
    32 of them on AVX-512 and ARM64, 16 elsewhere.  Rows divide the lanes, so
    that a tile of a weight gradient never crosses a panel of activations.
    """
    triple, _, available = features()
    if "avx512f" in available:
        return "avx512", TileShape(8, 3, 16), TileShape(8, 3, 8)
    if "avx2" in available and "fma" in available:
        return "avx2", TileShape(4, 3, 8), TileShape(4, 3, 4)
    if triple.startswith(("aarch64", "arm64")):
        return "neon", TileShape(4, 4, 4), TileShape(2, 6, 2)
    return "generic", TileShape(4, 3, 4), TileShape(2, 4, 2)


INSTRUCTION_SET, _FLOAT32_TILE, _FLOAT64_TILE = _tile_shapes()


def tile_shape(dtype):
    """The register tile for a NumPy dtype or numba type, float32 or float64."""
    name = dtype.name if isinstance(dtype, types.Type) else np.dtype(dtype).name
    return {"float32": _FLOAT32_TILE, "float64": _FLOAT64_TILE}[name]


def _shape_constant(read):
    """An intrinsic f(like) -> int, a compile-time constant of the type of `like`."""

    @intrinsic
    def constant(typing_context, like):
        dtype = like.dtype if isinstance(like, types.CPointer) else like

        def codegen(context, builder, signature, arguments):
            return INT(read(tile_shape(dtype)))

        return types.int64(like), codegen

    return constant


vector_lanes = _shape_constant(lambda shape: shape.lanes)
panel_width = _shape_constant(lambda shape: shape.width)
tile_rows = _shape_constant(lambda shape: shape.rows)


# --- Pointers --------------------------------------------------------------------
# Kernels work on typed pointers: unlike slices of arrays they carry no reference
# counts, which threads would fight over.


@intrinsic
def pointer(typing_context, address, like):
    """The integer `address` as a pointer to numbers of the type of `like`."""

    def codegen(context, builder, signature, arguments):
        return builder.inttoptr(
            arguments[0], context.get_value_type(signature.return_type)
        )

    return types.CPointer(like)(address, like), codegen


@intrinsic
def advance(typing_context, pointer, count):
    """``pointer + count`` elements."""

    def codegen(context, builder, signature, arguments):
        return builder.gep(arguments[0], [arguments[1]])

    return pointer(pointer, types.int64), codegen


@intrinsic
def prefetch(typing_context, pointer):
    """Ask for the cache line at `pointer`; touches nothing, whatever the address."""

    def codegen(context, builder, signature, arguments):
        byte_pointer = ir.IntType(8).as_pointer()
        flag = ir.IntType(32)
        # to read, to be kept in all caches, data
        parameters = [byte_pointer, flag, flag, flag]
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), parameters),
            "llvm.prefetch.p0",
        )
        address = builder.bitcast(arguments[0], byte_pointer)
        builder.call(function, [address, flag(0), flag(3), flag(1)])
        return context.get_dummy_value()

    return types.void(pointer), codegen


def record_at(dtype):
    """An intrinsic f(address) that sees the bytes there as a record of `dtype`."""
    record = from_dtype(np.dtype(dtype))

    @intrinsic
    def record_view(typing_context, address):
        def codegen(context, builder, signature, arguments):
            return builder.inttoptr(arguments[0], context.get_value_type(record))

        return record(address), codegen

    return record_view


# --- Scalar operations that vectorise --------------------------------------------


@intrinsic
def cast(typing_context, value, like):
    """`value` as the type of `like` (so that float32 code stays float32).

    Also keeps a literal integer from being a type of its own, for which numba would
    compile the function that it is passed to once more.
    """

    def codegen(context, builder, signature, arguments):
        return context.cast(builder, arguments[0], value, like)

    return like(value, like), codegen


def constant(float32, float64):
    """An intrinsic f(like): one of two constants, by the type of `like`."""

    @intrinsic
    def chosen(typing_context, like):
        def codegen(context, builder, signature, arguments):
            number = float32 if like == types.float32 else float64
            return context.get_constant(like, number)

        return like(like), codegen

    return chosen


def polynomial(float32, float64):
    """An intrinsic f(x): c[0] + c[1] x + c[2] x**2 + ... by Horner's rule.

    float32, float64 : the coefficients, lowest first, for x of either type.
    """

    @intrinsic
    def evaluate(typing_context, x):
        coefficients = float32 if x == types.float32 else float64

        def codegen(context, builder, signature, arguments):
            first, *others = (context.get_constant(x, c) for c in coefficients[::-1])
            total = first
            for c in others:
                total = _multiply_add(builder, total, arguments[0], c)
            return total

        return x(x), codegen

    return evaluate


def _multiply_add(builder, a, b, c):
    """a*b + c: one instruction where the target has it, else two."""
    kind = a.type
    name = f"llvm.fmuladd.{_type_name(kind)}"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [kind] * 3), name
    )
    return builder.call(function, [a, b, c])


def _broadcast(builder, number, lanes):
    """A vector of `lanes` times `number`."""
    undefined = ir.Constant(ir.VectorType(number.type, lanes), ir.Undefined)
    i32 = ir.IntType(32)
    first = builder.insert_element(undefined, number, i32(0))
    of_first = ir.Constant(ir.VectorType(i32, lanes), [i32(0)] * lanes)
    return builder.shuffle_vector(first, undefined, of_first)


def _type_name(kind):
    if isinstance(kind, ir.VectorType):
        return f"v{kind.count}{_type_name(kind.element)}"
    return "f32" if isinstance(kind, ir.FloatType) else "f64"


@intrinsic
def fused_multiply_add(typing_context, a, b, c):
    """a*b + c, rounded once where the processor can (and then always)."""

    def codegen(context, builder, signature, arguments):
        return _multiply_add(builder, *arguments)

    return (a(a, a, a), codegen) if a == b == c else None


class _Format(NamedTuple):
    """An IEEE 754 binary format and its integer twin."""

    integer: ir.IntType
    mantissa_bits: int
    bias: int


_FORMATS = {
    types.float32: _Format(ir.IntType(32), 23, 127),
    types.float64: _Format(ir.IntType(64), 52, 1023),
}


@intrinsic
def scale_by_power_of_two(typing_context, x, shifted, shift):
    """x * 2**n where ``shifted = shift + n`` and shift is 1.5 * 2**mantissa_bits.

    The power is applied in two halves, so results that are subnormal (where
    they are not flushed) or near the overflow threshold are right.
    """
    if x not in _FORMATS or not x == shifted == shift:
        return None
    integer, mantissa_bits, bias = _FORMATS[x]

    def codegen(context, builder, signature, arguments):
        x, shifted, shift = arguments

        def power(n):
            bits = builder.shl(builder.add(n, integer(bias)), integer(mantissa_bits))
            return builder.bitcast(bits, x.type)

        n = builder.sub(
            builder.bitcast(shifted, integer), builder.bitcast(shift, integer)
        )
        half = builder.ashr(n, integer(1))
        scaled = builder.fmul(x, power(half))
        return builder.fmul(scaled, power(builder.sub(n, half)))

    return x(x, x, x), codegen


@intrinsic
def split_float(typing_context, x):
    """(mantissa, exponent) with x = mantissa * 2**exponent, mantissa in [0.70, 1.41].

    For positive normal x; both parts have the type of x.
    """
    if x not in _FORMATS:
        return None
    integer, mantissa_bits, _ = _FORMATS[x]
    # sqrt(1/2) rounded down to a few bits: the offset that centres the mantissa
    centre = int(np.array(np.sqrt(0.5), x.name).view(f"i{integer.width // 8}"))

    def codegen(context, builder, signature, arguments):
        value = arguments[0]
        bits = builder.bitcast(value, integer)
        exponent = builder.ashr(
            builder.sub(bits, integer(centre)), integer(mantissa_bits)
        )
        mantissa = builder.sub(bits, builder.shl(exponent, integer(mantissa_bits)))
        parts = [
            builder.bitcast(mantissa, value.type),
            builder.sitofp(exponent, value.type),
        ]
        return context.make_tuple(builder, signature.return_type, parts)

    return types.UniTuple(x, 2)(x), codegen


# --- The product of panels ---------------------------------------------------------

#: What `product` starts its accumulators from (zero if neither is given) ...
FROM_BIAS = 1  # the row of biases at `extra`
FROM_OUTPUT = 2  # what the output holds
#: ... and does with them before it stores them
RELU = 4  # max(0, .)
MASK = 8  # zero where the array at `extra`, laid out like the output, is zero
ADD = 16  # add what the output holds


@intrinsic
def product(
    typing_context,
    vectors,
    tiles,
    output,
    full,
    row_stride,
    k_stride,
    segments,
    jump,
    tail,
    tail_row_stride,
    tail_length,
    b,
    extra,
    mode,
):
    """One panel of C = A B: `tiles` tiles of MR rows, `vectors` vectors wide.

    output : panel of C at its first row; MR*tiles rows, each `vectors` vectors.
    full, row_stride, k_stride, segments, jump :
        A's full segments: element (r, s*NR + j) of A is
        ``full[s*jump + r*row_stride + j*k_stride]`` for s < segments, j < NR.
    tail, tail_row_stride, tail_length :
        the rest: element (r, segments*NR + j) is
        ``tail[r*tail_row_stride + j*k_stride]`` for j < tail_length.
    b : panel of B, one row of `vectors` vectors for each column of A.
    extra : row of biases (FROM_BIAS) or the array that masks (MASK).
    mode : sum of the constants above.

    Strides, lengths and jumps count elements; all pointers are to one type;
    nothing need be aligned.  Sums run over the columns of A in order, one fused
    multiply-add each, so an element never depends on the tile that it is in.
    """
    dtype = output.dtype
    shape = tile_shape(dtype)
    number = types.int64
    signature = types.void(
        number, number, output, output, number, number, number, number,
        output, number, number, output, output, number,
    )  # fmt: skip

    def codegen(context, builder, signature, arguments):
        scalar = context.get_value_type(dtype)
        vectors, *rest = arguments
        done = builder.append_basic_block("product.done")
        switch = builder.switch(vectors, done)
        for count in range(1, shape.vectors + 1):
            block = builder.append_basic_block(f"product.{count}")
            switch.add_case(INT(count), block)
            with builder.goto_block(block):
                _call_tiles(builder, scalar, shape, count, rest)
                builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return signature, codegen


def _call_tiles(builder, scalar, shape, vectors, arguments):
    """All tiles of a panel `vectors` wide, as many as possible by tall tiles.

    A narrow tile has too few accumulators to keep the multipliers busy; where the
    panel is narrow, several tiles on top of each other fill the registers instead.
    """
    (tiles, output, full, row_stride, k_stride, segments, jump,
     tail, tail_row_stride, tail_length, b, extra, mode) = arguments  # fmt: skip
    plain = _tile_function(builder.module, scalar, shape, vectors, shape.rows)
    stack = shape.vectors // vectors
    if stack == 1:
        builder.call(plain, arguments)
        return
    tall = _tile_function(builder.module, scalar, shape, vectors, stack * shape.rows)
    stacks = builder.sdiv(tiles, INT(stack))
    builder.call(tall, [stacks, *arguments[1:]])
    done = builder.mul(stacks, INT(stack))
    done_rows = builder.mul(done, INT(shape.rows))
    done_elements = builder.mul(done_rows, INT(vectors * shape.lanes))
    has_bias = builder.icmp_signed("!=", builder.and_(mode, INT(FROM_BIAS)), INT(0))
    builder.call(
        plain,
        [
            builder.sub(tiles, done),
            builder.gep(output, [done_elements]),
            builder.gep(full, [builder.mul(done_rows, row_stride)]),
            row_stride, k_stride, segments, jump,
            builder.gep(tail, [builder.mul(done_rows, tail_row_stride)]),
            tail_row_stride, tail_length, b,
            builder.select(has_bias, extra, builder.gep(extra, [done_elements])),
            mode,
        ],
    )  # fmt: skip


def _tile_function(module, scalar, shape, vectors, rows):
    """The LLVM function of `product` for one size of tile, made once a module."""
    lanes, segment_length = shape.lanes, shape.width
    width = vectors * lanes
    name = f"fastmlp.product.{_type_name(scalar)}.{rows}x{width}"
    if name in module.globals:
        return module.globals[name]
    ptr = scalar.as_pointer()
    function = ir.Function(
        module,
        ir.FunctionType(
            ir.VoidType(),
            [INT, ptr, ptr, INT, INT, INT, INT, ptr, INT, INT, ptr, ptr, INT],
        ),
        name,
    )
    function.linkage = "linkonce_odr"
    function.attributes.add("noinline")
    function.attributes.add("nounwind")
    (tiles, output, full, row_stride, k_stride, segments, jump,
     tail, tail_row_stride, tail_length, b, extra, mode) = function.args  # fmt: skip
    vector = ir.VectorType(scalar, lanes)
    alignment = 4 if isinstance(scalar, ir.FloatType) else 8
    zero = ir.Constant(vector, [ir.Constant(scalar, 0.0)] * lanes)
    builder = ir.IRBuilder(function.append_basic_block("entry"))

    def load(base, offset):
        address = builder.gep(base, [INT(offset)])
        loaded = builder.load(builder.bitcast(address, vector.as_pointer()))
        loaded.align = alignment
        return loaded

    def has(flag):
        return builder.icmp_signed("!=", builder.and_(mode, INT(flag)), INT(0))

    def choose(accumulators, flag, change):
        """`change` applied to every accumulator if the mode has `flag`."""
        before = builder.block
        changing = builder.append_basic_block("change")
        after = builder.append_basic_block("unchanged")
        builder.cbranch(has(flag), changing, after)
        builder.position_at_end(changing)
        changed = [change(i, a) for i, a in enumerate(accumulators)]
        builder.branch(after)
        builder.position_at_end(after)
        merged = []
        for old, new in zip(accumulators, changed, strict=True):
            phi = builder.phi(vector)
            phi.add_incoming(old, before)
            phi.add_incoming(new, changing)
            merged.append(phi)
        return merged

    def position(i):
        return (i // vectors) * width + (i % vectors) * lanes

    # for each tile: accumulators of rows x vectors
    entry = builder.block
    tile_head = builder.append_basic_block("tile")
    finish = builder.append_basic_block("finish")
    builder.cbranch(builder.icmp_signed(">", tiles, INT(0)), tile_head, finish)
    builder.position_at_end(tile_head)
    tile = builder.phi(INT, "tile")
    c_tile = builder.phi(ptr, "c")
    full_tile = builder.phi(ptr, "full")
    tail_tile = builder.phi(ptr, "tail")
    extra_tile = builder.phi(ptr, "extra")
    for phi, start in (
        (tile, INT(0)), (c_tile, output), (full_tile, full),
        (tail_tile, tail), (extra_tile, extra),
    ):  # fmt: skip
        phi.add_incoming(start, entry)

    accumulators = [zero] * (rows * vectors)
    accumulators = choose(
        accumulators, FROM_BIAS, lambda i, a: load(extra, (i % vectors) * lanes)
    )
    accumulators = choose(
        accumulators, FROM_OUTPUT, lambda i, a: load(c_tile, position(i))
    )

    # for each segment of A: the full ones, then the tail
    before_segments = builder.block
    segment_head = builder.append_basic_block("segment")
    k_head = builder.append_basic_block("k")
    segment_tail = builder.append_basic_block("segment.next")
    store = builder.append_basic_block("store")
    builder.branch(segment_head)
    builder.position_at_end(segment_head)
    segment = builder.phi(INT, "s")
    segment.add_incoming(INT(0), before_segments)
    segment_a = builder.phi(ptr, "a")
    segment_a.add_incoming(full_tile, before_segments)
    segment_b = builder.phi(ptr, "b")
    segment_b.add_incoming(b, before_segments)
    in_segment = []
    for accumulator in accumulators:
        phi = builder.phi(vector)
        phi.add_incoming(accumulator, before_segments)
        in_segment.append(phi)
    is_tail = builder.icmp_signed("==", segment, segments)
    a = builder.select(is_tail, tail_tile, segment_a)
    stride = builder.select(is_tail, tail_row_stride, row_stride)
    length = builder.select(is_tail, tail_length, INT(segment_length))
    a_rows = [builder.gep(a, [builder.mul(stride, INT(m))]) for m in range(rows)]
    builder.cbranch(builder.icmp_signed(">", length, INT(0)), k_head, segment_tail)

    # for each k: one row of B times one column of A
    builder.position_at_end(k_head)
    k = builder.phi(INT, "k")
    k.add_incoming(INT(0), segment_head)
    a_offset = builder.phi(INT, "a.offset")
    a_offset.add_incoming(INT(0), segment_head)
    b_row = builder.phi(ptr, "b.row")
    b_row.add_incoming(segment_b, segment_head)
    sums = []
    for accumulator in in_segment:
        phi = builder.phi(vector)
        phi.add_incoming(accumulator, segment_head)
        sums.append(phi)
    b_vectors = [load(b_row, v * lanes) for v in range(vectors)]
    updated = list(sums)
    for m in range(rows):
        number = builder.load(builder.gep(a_rows[m], [a_offset]))
        element = _broadcast(builder, number, lanes)
        for v in range(vectors):
            i = m * vectors + v
            updated[i] = _multiply_add(builder, element, b_vectors[v], sums[i])
    next_k = builder.add(k, INT(1), flags=["nsw"])
    next_b = builder.gep(b_row, [INT(width)])
    k.add_incoming(next_k, k_head)
    a_offset.add_incoming(builder.add(a_offset, k_stride, flags=["nsw"]), k_head)
    b_row.add_incoming(next_b, k_head)
    for phi, value in zip(sums, updated, strict=True):
        phi.add_incoming(value, k_head)
    builder.cbranch(builder.icmp_signed("<", next_k, length), k_head, segment_tail)

    builder.position_at_end(segment_tail)
    after_b = builder.phi(ptr)
    after_b.add_incoming(segment_b, segment_head)
    after_b.add_incoming(next_b, k_head)
    after = []
    for before_value, value in zip(in_segment, updated, strict=True):
        phi = builder.phi(vector)
        phi.add_incoming(before_value, segment_head)
        phi.add_incoming(value, k_head)
        after.append(phi)
    segment.add_incoming(builder.add(segment, INT(1)), segment_tail)
    segment_a.add_incoming(builder.gep(segment_a, [jump]), segment_tail)
    segment_b.add_incoming(after_b, segment_tail)
    for phi, value in zip(in_segment, after, strict=True):
        phi.add_incoming(value, segment_tail)
    builder.cbranch(is_tail, store, segment_head)

    builder.position_at_end(store)
    results = choose(
        after, ADD, lambda i, a: builder.fadd(a, load(c_tile, position(i)))
    )
    # written so that NaN stays NaN, in the accumulator and in the mask
    results = choose(
        results,
        RELU,
        lambda i, a: builder.select(builder.fcmp_ordered("<", a, zero), zero, a),
    )
    results = choose(
        results,
        MASK,
        lambda i, a: builder.select(
            builder.fcmp_ordered("==", load(extra_tile, position(i)), zero), zero, a
        ),
    )
    for i, value in enumerate(results):
        address = builder.gep(c_tile, [INT(position(i))])
        stored = builder.store(value, builder.bitcast(address, vector.as_pointer()))
        stored.align = alignment
    next_tile = builder.add(tile, INT(1))
    last_block = builder.block
    for phi, value in (
        (tile, next_tile),
        (c_tile, builder.gep(c_tile, [INT(rows * width)])),
        (full_tile, builder.gep(full_tile, [builder.mul(row_stride, INT(rows))])),
        (tail_tile, builder.gep(tail_tile, [builder.mul(tail_row_stride, INT(rows))])),
        (extra_tile, builder.gep(extra_tile, [INT(rows * width)])),
    ):
        phi.add_incoming(value, last_block)
    builder.cbranch(builder.icmp_signed("<", next_tile, tiles), tile_head, finish)
    builder.position_at_end(finish)
    builder.ret_void()
    return function


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
        row = ir.VectorType(scalar, shape.lanes)
        column = ir.VectorType(scalar, shape.rows)
        alignment = dtype.bitwidth // 8
        index = ir.IntType(32)
        with cgutils.for_range_slice(
            builder, INT(0), columns, INT(shape.lanes), intp=INT
        ) as (start, _):
            lines = []
            for r in range(shape.rows):
                offset = builder.add(start, builder.mul(columns, INT(r)))
                address = builder.gep(source, [offset])
                line = builder.load(builder.bitcast(address, row.as_pointer()))
                line.align = alignment
                lines.append(line)
            for c in range(shape.lanes):
                turned = ir.Constant(column, ir.Undefined)
                for r, line in enumerate(lines):
                    element = builder.extract_element(line, index(c))
                    turned = builder.insert_element(turned, element, index(r))
                offset = builder.mul(builder.add(start, INT(c)), target_stride)
                address = builder.gep(target, [offset])
                stored = builder.store(
                    turned, builder.bitcast(address, column.as_pointer())
                )
                stored.align = alignment
        return context.get_dummy_value()

    number = types.int64
    return types.void(target, number, source, number), codegen


# --- Sparse rows ----------------------------------------------------------------------


@intrinsic
def weighted_sum(
    typing_context, vectors, output, start, values, indices, count, table, limit
):
    """output[j] = start[j] + sum over i of values[i] * table[indices[i], j].

    For j < `vectors` vectors of lanes, i < `count`; `table` has rows of as many
    numbers.  The values, float32 or float64, are converted to the type of the
    table.  Sums run in order, one fused multiply-add each.  An index that is not
    below `limit` (int32, not negative) is read as 0: it can lead nowhere else.
    """
    dtype = output.dtype
    shape = tile_shape(dtype)
    number = types.int64
    signature = types.void(
        number, output, output, values, indices, number, output, number
    )

    def codegen(context, builder, signature, arguments):
        scalar = context.get_value_type(dtype)
        weight = context.get_value_type(values.dtype)
        vectors, *rest = arguments
        done = builder.append_basic_block("weighted_sum.done")
        switch = builder.switch(vectors, done)
        for count in range(1, shape.vectors + 1):
            block = builder.append_basic_block(f"weighted_sum.{count}")
            switch.add_case(INT(count), block)
            with builder.goto_block(block):
                function = _sum_function(
                    builder.module, scalar, weight, shape.lanes, count
                )
                builder.call(function, rest)
                builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return signature, codegen


def _sum_function(module, scalar, weight, lanes, vectors):
    """The LLVM function of `weighted_sum` for one width, made once a module."""
    kinds = f"{_type_name(scalar)}.{_type_name(weight)}"
    name = f"fastmlp.weighted_sum.{kinds}.{vectors * lanes}"
    if name in module.globals:
        return module.globals[name]
    ptr, i32 = scalar.as_pointer(), ir.IntType(32)
    parameters = [ptr, ptr, weight.as_pointer(), i32.as_pointer(), INT, ptr, INT]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), parameters), name)
    function.linkage = "linkonce_odr"
    function.attributes.add("nounwind")
    output, start, values, indices, count, table, limit = function.args
    vector = ir.VectorType(scalar, lanes)
    builder = ir.IRBuilder(function.append_basic_block("entry"))

    def places(base):
        for v in range(vectors):
            address = builder.gep(base, [INT(v * lanes)])
            yield builder.bitcast(address, vector.as_pointer())

    def load(base):
        loaded = [builder.load(place) for place in places(base)]
        for value in loaded:
            value.align = 4 if isinstance(scalar, ir.FloatType) else 8
        return loaded

    first = load(start)
    entry = builder.block
    head, last = (builder.append_basic_block(name) for name in ("entry.i", "store"))
    builder.cbranch(builder.icmp_signed(">", count, INT(0)), head, last)
    builder.position_at_end(head)
    i = builder.phi(INT)
    i.add_incoming(INT(0), entry)
    sums = [builder.phi(vector) for _ in first]
    index = builder.zext(builder.load(builder.gep(indices, [i])), INT)
    inside = builder.icmp_unsigned("<", index, limit)
    row = builder.mul(builder.select(inside, index, INT(0)), INT(vectors * lanes))
    value = builder.load(builder.gep(values, [i]))
    if weight != scalar:
        narrow = isinstance(scalar, ir.FloatType)
        value = (builder.fptrunc if narrow else builder.fpext)(value, scalar)
    value = _broadcast(builder, value, lanes)
    terms = load(builder.gep(table, [row]))
    updated = [
        _multiply_add(builder, value, term, total)
        for term, total in zip(terms, sums, strict=True)
    ]
    following = builder.add(i, INT(1), flags=["nsw"])
    i.add_incoming(following, head)
    for total, before, after in zip(sums, first, updated, strict=True):
        total.add_incoming(before, entry)
        total.add_incoming(after, head)
    builder.cbranch(builder.icmp_signed("<", following, count), head, last)
    builder.position_at_end(last)
    results = [builder.phi(vector) for _ in first]
    for result, before, after in zip(results, first, updated, strict=True):
        result.add_incoming(before, entry)
        result.add_incoming(after, head)
    for place, result in zip(places(output), results, strict=True):
        stored = builder.store(result, place)
        stored.align = 4 if isinstance(scalar, ir.FloatType) else 8
    builder.ret_void()
    return function
