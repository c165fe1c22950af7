"""Vector micro-kernels: products of matrices in column panels.

Everything here is a numba *intrinsic* that emits its own LLVM IR: a tile of
accumulators stays in registers while a loop over k multiplies rows of B by
broadcast elements of A.  The layout is described in `fastmlp.kernels.simd`.

The blocked products follow Goto and van de Geijn, "Anatomy of high-performance
matrix multiplication" (ACM TOMS 34(3), 2008); the tile shapes follow Low et al.,
"Analytical modeling is enough for high-performance BLIS" (ACM TOMS 43(2), 2016).
"""

from functools import partial
from math import gcd

from fastmlp.compilation.toolkit import intrinsic, ir, types
from fastmlp.kernels.simd import (
    INT,
    Vectors,
    broadcast,
    converted,
    function_of,
    multiply_add,
    repeat,
    switch_on_width,
    tile_shape,
    type_name,
    when,
)

__all__ = [
    "ADD",
    "FROM_BIAS",
    "FROM_OUTPUT",
    "MASK",
    "RELU",
    "product",
    "product_of_row",
    "sum_of_rows",
    "sums_over_lanes",
    "transposed_product",
    "weighted_sum",
]

# --- The product of panels ------------------------------------------------------------

#: What `product` starts its accumulators from (zero if neither is given) ...
FROM_BIAS = 1  # the row of biases at `extra`
FROM_OUTPUT = 2  # the values in the output
#: ... and does with them before it stores them
RELU = 4  # max(0, .)
MASK = 8  # zero where the array at `extra`, laid out like the output, is zero
ADD = 16  # add the values in the output

#: Multiply-adds that are unrolled in the loop over a whole segment.
_UNROLLED_PRODUCTS = 100


def _tile_heights(shape, vectors, lowest):
    """Rows of the register tiles for a panel of `vectors` vectors, tallest first.

    A narrow panel leaves registers for more rows: with too few accumulators, each
    multiply-add would wait for the one before.  Shorter tiles take the rows that are
    left over; any multiple of `lowest` can be cut into these heights.
    """
    heights = {shape.rows, lowest}
    if vectors < shape.vectors:
        tall = shape.rows * shape.vectors // vectors
        while gcd(tall, shape.rows) < max(1, shape.rows // 2):
            tall -= 1
        heights |= {tall, gcd(tall, shape.rows)}
    return sorted(heights, reverse=True)


def _call_tile(
    builder, scalars, shape, emit, height, vectors, parameters, count, arguments
):
    """Call the function of `count` tiles, each `height` rows by `vectors` vectors."""
    kinds = ".".join(map(type_name, scalars))
    function = function_of(
        builder.module,
        f"fastmlp.{emit.__name__}.{kinds}.{height}x{vectors * shape.lanes}",
        [INT, *parameters],
        partial(emit, scalars, shape, vectors, height),
    )
    builder.call(function, [count, *arguments])


def _call_tiles(
    builder, vectors, rows, lowest, scalars, shape, emit, parameters, arguments
):
    """Cover `rows` rows with tiles of the right heights.

    vectors : of the panel; each possible number of them has tiles of its own.
    rows, lowest : see `_tile_heights`.
    scalars : the types of C, A and B.
    emit : emits the LLVM function of a tile, given ``scalars, shape, vectors, rows``,
        the builder, a number of tiles and other `parameters`, which are types.
    arguments(row, width) : those parameters, for tiles that start at this row.
    """

    def for_width(vectors):
        width = vectors * shape.lanes
        left, row = rows, INT(0)
        for height in _tile_heights(shape, vectors, lowest):
            count = builder.sdiv(left, INT(height))
            _call_tile(
                builder, scalars, shape, emit, height, vectors, parameters, count,
                arguments(row, width),
            )  # fmt: skip
            done = builder.mul(count, INT(height))
            left, row = builder.sub(left, done), builder.add(row, done)

    switch_on_width(builder, vectors, shape, for_width)


def _has(builder, mode, flag):
    """Whether a flag is part of the mode."""
    return builder.icmp_signed("!=", builder.and_(mode, INT(flag)), INT(0))


@intrinsic
def product(
    typing_context, vectors, rows, output, full, segments, jump, tail, tail_width,
    tail_length, b, extra, mode, even,
):  # fmt: skip
    """One panel of C = A B: `rows` rows, `vectors` vectors wide.

    output : panel of C at its first row; `rows` rows, each `vectors` vectors.
    full, segments, jump :
        A's full panels at its first row: element (r, s*NR + j) of A is
        ``full[s*jump + r*NR + j]`` for s < segments, j < NR.
    tail, tail_width, tail_length :
        A's last panel: element (r, segments*NR + j) is
        ``tail[r*tail_width + j]`` for j < tail_length.
    b : panel of B, one row of `vectors` vectors for each column of A.
    extra : row of biases (FROM_BIAS) or the array that masks (MASK).
    mode : sum of the constants above.
    even : True if there may be any even number of rows; None, for less code, if they
        fill whole tiles.

    Strides, lengths and jumps count elements; nothing needs to be aligned.  Sums run
    over the columns of A in order, one fused multiply-add each, so an element does not
    depend on the tile that it is in.

    The type of the output is the one to compute in, and its tile decides the layout of
    all panels.  A and B may be stored as other types; `extra` is of the output's.
    """
    shape = tile_shape(output.dtype)
    number = types.int64
    signature = types.void(
        number, number, output, full, number, number, full, number, number, b, output,
        number, even,
    )  # fmt: skip
    kinds = output.dtype, full.dtype, b.dtype
    lowest = shape.rows if even == types.none else 2

    def codegen(context, builder, signature, arguments):
        scalars = [context.get_value_type(kind) for kind in kinds]
        (vectors, rows, c, full, segments, jump, tail, tail_width, tail_length, b,
         extra, mode, _) = arguments  # fmt: skip
        has_bias = _has(builder, mode, FROM_BIAS)
        c_ptr, a_ptr, b_ptr = (kind.as_pointer() for kind in scalars)

        def arguments_at(row, width):
            done = builder.mul(row, INT(width))
            return [
                builder.gep(c, [done]),
                builder.gep(full, [builder.mul(row, INT(shape.width))]),
                segments, jump,
                builder.gep(tail, [builder.mul(row, tail_width)]),
                tail_width, tail_length, b,
                builder.select(has_bias, extra, builder.gep(extra, [done])),
                mode,
            ]  # fmt: skip

        _call_tiles(
            builder, vectors, rows, lowest, scalars, shape, _product,
            [c_ptr, a_ptr, INT, INT, a_ptr, INT, INT, b_ptr, c_ptr, INT], arguments_at,
        )  # fmt: skip
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def product_of_row(
    typing_context, vectors, output, full, segments, jump, tail, tail_length, b, extra,
    mode,
):  # fmt: skip
    """One panel of the only row of C = A B; arguments as of `product`.

    There is nothing to use twice: B is read once, at the speed of the cache that it is
    in.  Sums are those of `product`, to the last bit.
    """
    shape = tile_shape(output.dtype)
    number = types.int64
    signature = types.void(
        number, output, full, number, number, full, number, b, output, number
    )
    kinds = output.dtype, full.dtype, b.dtype

    def codegen(context, builder, signature, arguments):
        scalars = [context.get_value_type(kind) for kind in kinds]
        vectors, c, full, segments, jump, tail, tail_length, b, extra, mode = arguments
        c_ptr, a_ptr, b_ptr = (kind.as_pointer() for kind in scalars)

        def for_width(vectors):
            _call_tile(
                builder, scalars, shape, _product, 1, vectors,
                [c_ptr, a_ptr, INT, INT, a_ptr, INT, INT, b_ptr, c_ptr, INT], INT(1),
                [c, full, segments, jump, tail, INT(0), tail_length, b, extra, mode],
            )  # fmt: skip

        switch_on_width(builder, vectors, shape, for_width)
        return context.get_dummy_value()

    return signature, codegen


def _product(
    scalars, shape, vectors, rows, builder, tiles, output, full, segments, jump, tail,
    tail_width, tail_length, b, extra, mode,
):  # fmt: skip
    """Emit the function of `product` for one tile size."""
    scalar, width = scalars[0], vectors * shape.lanes
    memory, *operands = (Vectors(builder, scalar, shape.lanes, s) for s in scalars)
    places = [m * width + v * shape.lanes for m in range(rows) for v in range(vectors)]
    # steps over k to unroll: all of a segment's if they are few
    steps = max(
        d
        for d in range(1, shape.width + 1)
        if shape.width % d == 0 and (d == 1 or d * len(places) <= _UNROLLED_PRODUCTS)
    )

    def multiply(count, a_rows, b_row, sums):
        """sums += A[:, k] B[k, :] for k < count, unrolled."""
        for k in range(count):
            a_column = [builder.gep(a, [INT(k)]) for a in a_rows]
            b_k = builder.gep(b_row, [INT(k * width)])
            sums = _add_outer_product(*operands, a_column, b_k, sums)
        return sums

    def segment(state):
        a_segment, b_segment, *sums = state

        def some_steps(state):
            a, b_row, *sums = state
            a_rows = [builder.gep(a, [INT(m * shape.width)]) for m in range(rows)]
            sums = multiply(steps, a_rows, b_row, sums)
            return [
                builder.gep(a, [INT(steps)]),
                builder.gep(b_row, [INT(steps * width)]),
                *sums,
            ]

        state = [a_segment, b_segment, *sums]
        if steps == shape.width:
            state = some_steps(state)
        else:
            state = repeat(builder, INT(shape.width // steps), state, some_steps)
        return [builder.gep(a_segment, [jump]), *state[1:]]

    def tail_step(state):
        a, b_row, *sums = state
        a_rows = [
            builder.gep(a, [builder.mul(tail_width, INT(m))]) for m in range(rows)
        ]
        sums = multiply(1, a_rows, b_row, sums)
        return [builder.gep(a, [INT(1)]), builder.gep(b_row, [INT(width)]), *sums]

    def tile(state):
        c, full_tile, tail_tile, extra_tile = state
        sums = [memory.zero] * len(places)
        sums = when(
            builder, _has(builder, mode, FROM_BIAS), sums,
            lambda sums: [memory.load(extra, p % width) for p in places],
        )  # fmt: skip
        sums = when(
            builder, _has(builder, mode, FROM_OUTPUT), sums,
            lambda sums: [memory.load(c, p) for p in places],
        )  # fmt: skip
        _, b_row, *sums = repeat(builder, segments, [full_tile, b, *sums], segment)
        _, _, *sums = repeat(builder, tail_length, [tail_tile, b_row, *sums], tail_step)
        sums = _add_and_rectify(memory, sums, c, places, mode)
        sums = when(
            builder, _has(builder, mode, MASK), sums,
            lambda s: _zero_where(
                memory, "==", [memory.load(extra_tile, p) for p in places], s
            ),
        )  # fmt: skip
        for value, place in zip(sums, places, strict=True):
            memory.store(value, c, place)
        return [
            builder.gep(c, [INT(rows * width)]),
            builder.gep(full_tile, [INT(rows * shape.width)]),
            builder.gep(tail_tile, [builder.mul(tail_width, INT(rows))]),
            builder.gep(extra_tile, [INT(rows * width)]),
        ]

    repeat(builder, tiles, [output, full, tail, extra], tile)


def _add_outer_product(a, b, a_column, b_row, sums):
    """sums + (column of A) (row of B), a list row by row.

    a, b : `Vectors` of their types.
    a_column : addresses of the numbers.  Each is loaded just before it is used: with
        one more register in use, the accumulators would not fit.
    """
    vectors = len(sums) // len(a_column)
    b_vectors = [b.load(b_row, v * b.lanes) for v in range(vectors)]
    products = []
    for m, address in enumerate(a_column):
        element = a.broadcast(address)
        for v, b_vector in enumerate(b_vectors):
            i = m * vectors + v
            products.append(multiply_add(b.builder, element, b_vector, sums[i]))
    return products


def _add_stored(memory, sums, base, places):
    """sums + the values stored at these offsets from `base`."""
    return [
        memory.builder.fadd(s, memory.load(base, p))
        for s, p in zip(sums, places, strict=True)
    ]


def _add_and_rectify(memory, sums, base, places, mode):
    """The sums after ADD and RELU, as far as they are in the mode."""
    builder = memory.builder
    sums = when(
        builder, _has(builder, mode, ADD), sums,
        lambda sums: _add_stored(memory, sums, base, places),
    )  # fmt: skip
    return when(
        builder, _has(builder, mode, RELU), sums,
        lambda sums: _zero_where(memory, "<", sums, sums),
    )  # fmt: skip


def _zero_where(memory, predicate, tested, sums):
    """Zero where `tested` is "<" or "==" (the predicate) zero, else the sums.

    NaN is neither: a NaN among the sums stays, and where NaN is tested, the sum stays.
    """
    builder = memory.builder
    return [
        builder.select(builder.fcmp_ordered(predicate, x, memory.zero), memory.zero, s)
        for x, s in zip(tested, sums, strict=True)
    ]


@intrinsic
def transposed_product(
    typing_context, vectors, rows, output, a, a_width, length, b, extra, mode, even
):
    """One panel of C = A^T B: `rows` rows, `vectors` vectors wide.

    output : panel of C at its first row; `rows` rows, each `vectors` vectors.
    a, a_width, length : element (k, r) of A is ``a[k*a_width + r]``, k < length.
    b : panel of B, `length` rows of `vectors` vectors.
    extra : one number for each row of C to start from (FROM_BIAS).
    mode : sum of FROM_BIAS, RELU and ADD.

    Sums run over k in order, one fused multiply-add each.  On `even` and on types, see
    `product`.
    """
    shape = tile_shape(output.dtype)
    number = types.int64
    signature = types.void(
        number, number, output, a, number, number, b, output, number, even
    )
    kinds = output.dtype, a.dtype, b.dtype
    lowest = shape.rows if even == types.none else 2

    def codegen(context, builder, signature, arguments):
        scalars = [context.get_value_type(kind) for kind in kinds]
        vectors, rows, c, a, a_width, length, b, extra, mode, _ = arguments
        c_ptr, a_ptr, b_ptr = (kind.as_pointer() for kind in scalars)

        def arguments_at(row, width):
            return [
                builder.gep(c, [builder.mul(row, INT(width))]), builder.gep(a, [row]),
                a_width, length, b, builder.gep(extra, [row]), mode,
            ]  # fmt: skip

        _call_tiles(
            builder, vectors, rows, lowest, scalars, shape, _transposed_product,
            [c_ptr, a_ptr, INT, INT, b_ptr, c_ptr, INT], arguments_at,
        )  # fmt: skip
        return context.get_dummy_value()

    return signature, codegen


def _transposed_product(
    scalars, shape, vectors, rows, builder, tiles, output, a, a_width, length, b, extra,
    mode,
):  # fmt: skip
    """Emit the function of `transposed_product` for one tile size."""
    scalar, width = scalars[0], vectors * shape.lanes
    memory, *operands = (Vectors(builder, scalar, shape.lanes, s) for s in scalars)
    places = [m * width + v * shape.lanes for m in range(rows) for v in range(vectors)]

    def step(state):
        a_row, b_row, *sums = state
        a_column = [builder.gep(a_row, [INT(m)]) for m in range(rows)]
        sums = _add_outer_product(*operands, a_column, b_row, sums)
        return [builder.gep(a_row, [a_width]), builder.gep(b_row, [INT(width)]), *sums]

    def row_biases(extra_tile):
        biases = [
            memory.broadcast(builder.gep(extra_tile, [INT(m)])) for m in range(rows)
        ]
        return [bias for bias in biases for _ in range(vectors)]

    def tile(state):
        c, a_tile, extra_tile = state
        sums = [memory.zero] * len(places)
        sums = when(
            builder, _has(builder, mode, FROM_BIAS), sums,
            lambda _: row_biases(extra_tile),
        )  # fmt: skip
        _, _, *sums = repeat(builder, length, [a_tile, b, *sums], step)
        sums = _add_and_rectify(memory, sums, c, places, mode)
        for value, place in zip(sums, places, strict=True):
            memory.store(value, c, place)
        return [
            builder.gep(c, [INT(rows * width)]),
            builder.gep(a_tile, [INT(rows)]),
            builder.gep(extra_tile, [INT(rows)]),
        ]

    repeat(builder, tiles, [output, a, extra], tile)


@intrinsic
def sums_over_lanes(
    typing_context, output, full, segments, jump, tail, tail_vectors, b
):
    """output[u] = sum over k of a[u, k] b[k], for as many u as a vector has lanes.

    It is for products whose result is narrower than a vector: the lanes hold numbers
    that are added.

    full, segments, jump :
        a's full panels at its first row: element (u, s*NR + k) is
        ``full[s*jump + u*NR + k]`` for s < segments, k < NR.
    tail, tail_vectors : a's last panel, of so many vectors; none if that is 0.
    b : for each number of a row of a.

    Each lane sums in order, one fused multiply-add each; then the lanes are added.
    """
    shape = tile_shape(output.dtype)
    number = types.int64
    signature = types.void(output, full, number, number, full, number, b)
    kinds = output.dtype, full.dtype, b.dtype

    def codegen(context, builder, signature, arguments):
        scalars = [context.get_value_type(kind) for kind in kinds]
        c_ptr, a_ptr, b_ptr = (kind.as_pointer() for kind in scalars)
        function = function_of(
            builder.module,
            f"fastmlp._sums_over_lanes.{'.'.join(map(type_name, scalars))}",
            [c_ptr, a_ptr, INT, INT, a_ptr, INT, b_ptr],
            partial(_sums_over_lanes, scalars, shape),
        )
        builder.call(function, arguments)
        return context.get_dummy_value()

    return signature, codegen


def _sums_over_lanes(
    scalars, shape, builder, output, full, segments, jump, tail, tail_vectors, b
):
    """Emit the function of `sums_over_lanes`."""
    lanes, units = shape.lanes, range(shape.lanes)
    memory, of_a, of_b = (Vectors(builder, scalars[0], lanes, s) for s in scalars)

    def add_products(a_rows, b, sums):
        factor = of_b.load(b)
        return [
            multiply_add(builder, of_a.load(row), factor, total)
            for row, total in zip(a_rows, sums, strict=True)
        ]

    def segment(state):
        a, b, *sums = state
        for v in range(shape.vectors):
            rows = [builder.gep(a, [INT(u * shape.width + v * lanes)]) for u in units]
            sums = add_products(rows, builder.gep(b, [INT(v * lanes)]), sums)
        return [builder.gep(a, [jump]), builder.gep(b, [INT(shape.width)]), *sums]

    def tail_step(state):
        a, b, *sums = state
        rows = [builder.gep(a, [builder.mul(tail_width, INT(u))]) for u in units]
        sums = add_products(rows, b, sums)
        return [builder.gep(a, [INT(lanes)]), builder.gep(b, [INT(lanes)]), *sums]

    tail_width = builder.mul(tail_vectors, INT(lanes))
    sums = [memory.zero] * lanes
    _, b, *sums = repeat(builder, segments, [full, b, *sums], segment)
    _, _, *sums = repeat(builder, tail_vectors, [tail, b, *sums], tail_step)
    memory.store(_added_lanes(builder, sums, lanes), output)


def _added_lanes(builder, vectors, lanes):
    """A vector whose lane u is the sum of the lanes of ``vectors[u]``."""
    step = 1
    while len(vectors) > 1:
        # lanes in groups of `step`: those of one vector and of the next in turn
        first = [
            i if i // step % 2 == 0 else lanes + i - step for i in range(lanes)
        ]  # fmt: skip
        second = [i + step for i in first]
        masks = [
            ir.Constant(ir.VectorType(ir.IntType(32), lanes), chosen)
            for chosen in (first, second)
        ]
        vectors = [
            builder.fadd(*(builder.shuffle_vector(x, y, mask) for mask in masks))
            for x, y in zip(vectors[::2], vectors[1::2], strict=True)
        ]
        step *= 2
    return vectors[0]


#: Rows that `sum_of_rows` adds in parallel, so that additions overlap.
_SUMS_AT_ONCE = 4


@intrinsic
def sum_of_rows(typing_context, vectors, output, b, length, mode):
    """output[j] = sum over k < length of b[k, j], a panel `vectors` vectors wide.

    mode : 0, or ADD.  The order of the sums depends only on the length.
    """
    shape = tile_shape(output.dtype)
    number = types.int64

    def codegen(context, builder, signature, arguments):
        vectors, c, b, length, mode = arguments
        scalar = context.get_value_type(output.dtype)
        memory = Vectors(builder, scalar, shape.lanes)

        def emit(count):
            places = [v * shape.lanes for v in range(count)]

            def add_rows(rows):
                def turn(state):
                    row, *sums = state
                    sums = list(sums)
                    for k in range(rows):
                        start = builder.gep(row, [INT(k * count * shape.lanes)])
                        i = k * count
                        sums[i : i + count] = _add_stored(
                            memory, sums[i : i + count], start, places
                        )
                    return [builder.gep(row, [INT(rows * count * shape.lanes)]), *sums]

                return turn

            sums = [memory.zero] * (count * _SUMS_AT_ONCE)
            whole = builder.sdiv(length, INT(_SUMS_AT_ONCE))
            left = builder.srem(length, INT(_SUMS_AT_ONCE))
            row, *sums = repeat(builder, whole, [b, *sums], add_rows(_SUMS_AT_ONCE))
            _, *sums = repeat(builder, left, [row, *sums], add_rows(1))
            while len(sums) > count:
                half = len(sums) // 2
                sums = [
                    builder.fadd(x, y)
                    for x, y in zip(sums[:half], sums[half:], strict=True)
                ]
            sums = when(
                builder, _has(builder, mode, ADD), sums,
                lambda sums: _add_stored(memory, sums, c, places),
            )  # fmt: skip
            for value, place in zip(sums, places, strict=True):
                memory.store(value, c, place)

        switch_on_width(builder, vectors, shape, emit)
        return context.get_dummy_value()

    return types.void(number, output, output, number, number), codegen


# --- Sparse rows ----------------------------------------------------------------------


@intrinsic
def weighted_sum(
    typing_context, vectors, output, start, values, indices, count, table, limit
):
    """output[j] = start[j] + sum over i of values[i] * table[indices[i], j].

    For j in `vectors` whole vectors and i < `count`; the rows of `table` have the same
    width.  The values, float32 or float64, are converted to the type of the table.
    Sums run in order, one fused multiply-add each.  Indices are int32; one that is
    negative or not below `limit` is read as 0, so that no access is out of bounds.
    """
    shape = tile_shape(output.dtype)
    number = types.int64
    signature = types.void(
        number, output, output, values, indices, number, output, number
    )

    def codegen(context, builder, signature, arguments):
        scalar = context.get_value_type(output.dtype)
        weight = context.get_value_type(values.dtype)
        vectors, *rest = arguments
        ptr = scalar.as_pointer()
        parameters = [
            ptr, ptr, weight.as_pointer(), ir.IntType(32).as_pointer(), INT, ptr, INT
        ]  # fmt: skip
        kinds = f"{type_name(scalar)}.{type_name(weight)}"

        def emit(count):
            function = function_of(
                builder.module,
                f"fastmlp.weighted_sum.{kinds}.{count * shape.lanes}",
                parameters,
                partial(_weighted_sum, scalar, shape.lanes, count),
            )
            builder.call(function, rest)

        switch_on_width(builder, vectors, shape, emit)
        return context.get_dummy_value()

    return signature, codegen


def _weighted_sum(
    scalar, lanes, vectors, builder, output, start, values, indices, count, table, limit
):
    """Emit the function of `weighted_sum` for one width."""
    memory = Vectors(builder, scalar, lanes)
    places = [v * lanes for v in range(vectors)]

    def add_entry(state):
        value, index, *sums = state
        row = builder.zext(builder.load(index), INT)
        is_inside = builder.icmp_unsigned("<", row, limit)
        row = builder.select(is_inside, row, INT(0))
        number = converted(builder, builder.load(value), scalar)
        entry = builder.gep(table, [builder.mul(row, INT(vectors * lanes))])
        number = broadcast(builder, number, lanes)
        sums = [
            multiply_add(builder, number, memory.load(entry, p), s)
            for s, p in zip(sums, places, strict=True)
        ]
        return [builder.gep(value, [INT(1)]), builder.gep(index, [INT(1)]), *sums]

    sums = [memory.load(start, p) for p in places]
    _, _, *sums = repeat(builder, count, [values, indices, *sums], add_entry)
    for value, place in zip(sums, places, strict=True):
        memory.store(value, output, place)
