"""Column panels, and vector operations that numba lacks.

Everything here is a numba *intrinsic*, a function that emits its own LLVM IR.  It
uses generic LLVM vectors throughout, so the code is correct on every target; the table
`_TILE_SHAPES` only affects speed.

A matrix of R rows and C columns is stored as *column panels* of ``panel_width`` (NR)
columns: element (r, c) is at ``p*NR*R + r*width(p) + (c - p*NR)`` with p = c // NR.
The last panel is as wide as its number of columns, rounded up to whole vectors; the
columns that round it up, called padding, hold zeros.  See docs/internals/layouts.md.
"""

from typing import NamedTuple

import numpy as np

from fastmlp.compilation.target import instruction_set
from fastmlp.compilation.toolkit import cgutils, from_dtype, intrinsic, ir, types
from fastmlp.kernels.processor import INT, call

__all__ = [
    "INSTRUCTION_SET",
    "INT",
    "TileShape",
    "Vectors",
    "absolute",
    "advance",
    "broadcast",
    "call_address",
    "cast",
    "constant",
    "converted",
    "copy_row",
    "copy_sign",
    "function_of",
    "fused_multiply_add",
    "multiply_add",
    "panel_width",
    "pointer",
    "polynomial",
    "power_of_two",
    "prefetch",
    "record_at",
    "repeat",
    "scale_by_power_of_two",
    "split_float",
    "switch_on_width",
    "tile_rows",
    "tile_shape",
    "type_name",
    "vector_lanes",
    "when",
]

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


#: Tiles of float32 and of float64.  Accumulators, one row of B and a broadcast element
#: of A fill the registers: 32 of them on AVX-512 and ARM64, 16 elsewhere.  The number
#: of rows divides that of lanes, so that a tile of a weight gradient never crosses a
#: panel of activations.
_TILE_SHAPES = {
    "avx512": (TileShape(8, 3, 16), TileShape(8, 3, 8)),
    "avx2": (TileShape(4, 3, 8), TileShape(4, 3, 4)),
    "neon": (TileShape(4, 4, 4), TileShape(2, 6, 2)),
    "generic": (TileShape(4, 3, 4), TileShape(2, 4, 2)),
}

INSTRUCTION_SET = instruction_set()
_FLOAT32_TILE, _FLOAT64_TILE = _TILE_SHAPES[INSTRUCTION_SET]


def tile_shape(dtype):
    """The register tile for a NumPy dtype or numba type, float32 or float64."""
    name = dtype.name if hasattr(dtype, "name") else np.dtype(dtype).name
    return {"float32": _FLOAT32_TILE, "float64": _FLOAT64_TILE}[name]


def _shape_constant(read):
    """An intrinsic f(like): an integer, set at compile time by the type of `like`."""

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
# Kernels use typed pointers: unlike array slices, they have no reference counts, which
# threads would contend for.


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
    """Prefetch the cache line at `pointer`; never faults, whatever the address."""

    def codegen(context, builder, signature, arguments):
        byte_pointer = ir.IntType(8).as_pointer()
        address = builder.bitcast(arguments[0], byte_pointer)
        # for reading, kept in all cache levels, data
        flags = map(ir.IntType(32), (0, 3, 1))
        call(builder, ir.VoidType(), "llvm.prefetch.p0", address, *flags)
        return context.get_dummy_value()

    return types.void(pointer), codegen


@intrinsic
def call_address(typing_context, address, arguments):
    """Call the function of C at an address; it returns nothing.

    arguments : tuple of pointers and integers.
    """

    def codegen(context, builder, signature, values):
        parts = [
            builder.extract_value(values[1], i) for i in range(len(signature.args[1]))
        ]
        kind = ir.FunctionType(ir.VoidType(), [part.type for part in parts])
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), parts)
        return context.get_dummy_value()

    return types.void(types.int64, arguments), codegen


@intrinsic
def copy_row(typing_context, target, source, count):
    """target[:count] = source[:count], then zeros up to the next whole vector.

    Numbers are converted to the target's type; the source is not read beyond `count`.
    """
    kind, other = target.dtype, source.dtype
    lanes = tile_shape(kind).lanes

    def codegen(context, builder, signature, arguments):
        target, source, count = arguments
        scalar, stored = (context.get_value_type(t) for t in (kind, other))
        numbers = Vectors(builder, scalar, lanes)
        others = Vectors(builder, scalar, lanes, stored)

        def whole(state):
            to, start = state
            numbers.store(others.load(start), to)
            return [builder.gep(to, [INT(lanes)]), builder.gep(start, [INT(lanes)])]

        def rest(state):
            to, start = state
            left = builder.srem(count, INT(lanes))
            numbers.store(others.load_first(start, left), to)
            return state

        state = repeat(
            builder, builder.sdiv(count, INT(lanes)), [target, source], whole
        )
        has_rest = builder.icmp_signed("!=", builder.srem(count, INT(lanes)), INT(0))
        when(builder, has_rest, state, rest)
        return context.get_dummy_value()

    return types.void(target, source, types.int64), codegen


def record_at(dtype):
    """An intrinsic f(address): the bytes there, viewed as a record of `dtype`."""
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

    Also gives a literal integer the type of `like`: numba would otherwise compile the
    function that it is passed to once more, for the literal.
    """

    def codegen(context, builder, signature, arguments):
        return context.cast(builder, arguments[0], value, like)

    return like(value, like), codegen


def constant(float32, float64):
    """An intrinsic f(like): one of two constants, chosen by the type of `like`."""

    @intrinsic
    def chosen(typing_context, like):
        def codegen(context, builder, signature, arguments):
            number = float32 if like == types.float32 else float64
            return context.get_constant(like, number)

        return like(like), codegen

    return chosen


def polynomial(float32, float64):
    """An intrinsic f(x): c[0] + c[1] x + c[2] x**2 + ...

    First pairs of terms, independently, then Horner's rule in x**2 (one level of
    Estrin's scheme).  With Horner's rule in x, each operation would wait for the last.

    float32, float64 : the coefficients for x of each type, lowest order first.
    """

    @intrinsic
    def evaluate(typing_context, x):
        coefficients = float32 if x == types.float32 else float64

        def codegen(context, builder, signature, arguments):
            (x_value,) = arguments
            terms = [context.get_constant(x, c) for c in coefficients]
            last = terms[-1:] if len(terms) % 2 else []
            pairs = zip(terms[1::2], terms[::2], strict=False)
            terms = [multiply_add(builder, b, x_value, a) for b, a in pairs] + last
            square = builder.fmul(x_value, x_value)
            *others, total = terms
            for term in reversed(others):
                total = multiply_add(builder, total, square, term)
            return total

        return x(x), codegen

    return evaluate


def multiply_add(builder, a, b, c):
    """a*b + c: fused where the target can, else two instructions."""
    return call(builder, a.type, f"llvm.fmuladd.{type_name(a.type)}", a, b, c)


def broadcast(builder, number, lanes):
    """A vector with `number` in each of `lanes` lanes."""
    undefined = ir.Constant(ir.VectorType(number.type, lanes), ir.Undefined)
    i32 = ir.IntType(32)
    first = builder.insert_element(undefined, number, i32(0))
    of_first = ir.Constant(ir.VectorType(i32, lanes), [i32(0)] * lanes)
    return builder.shuffle_vector(first, undefined, of_first)


def converted(builder, value, kind):
    """A number or vector as one of type `kind`, which may be the same."""
    if value.type == kind:
        return value
    scalar = kind.element if isinstance(kind, ir.VectorType) else kind
    convert = builder.fptrunc if isinstance(scalar, ir.FloatType) else builder.fpext
    return convert(value, kind)


def type_name(kind):
    """LLVM's abbreviation of a type, such as "f32" or "v8f32"."""
    if isinstance(kind, ir.VectorType):
        return f"v{kind.count}{type_name(kind.element)}"
    return "f32" if isinstance(kind, ir.FloatType) else "f64"


@intrinsic
def fused_multiply_add(typing_context, a, b, c):
    """a*b + c, rounded once if the CPU can do that (and then always)."""

    def codegen(context, builder, signature, arguments):
        return multiply_add(builder, *arguments)

    return (a(a, a, a), codegen) if a == b == c else None


class _Format(NamedTuple):
    """An IEEE 754 binary format and the integer type of the same size."""

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

    The power is applied in two halves, so that results are correct even if they are
    subnormal (unless flushed) or close to overflow.
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
def power_of_two(typing_context, shifted):
    """2**n where ``shifted`` = n + 1.5 * 2**mantissa_bits, if 2**n is normal."""
    if shifted not in _FORMATS:
        return None
    integer, mantissa_bits, bias = _FORMATS[shifted]

    def codegen(context, builder, signature, arguments):
        # n is in the lowest bits; all others are shifted out
        bits = builder.bitcast(arguments[0], integer)
        exponent = builder.shl(bits, integer(mantissa_bits))
        one = integer(bias << mantissa_bits)
        return builder.bitcast(builder.add(exponent, one), arguments[0].type)

    return shifted(shifted), codegen


def _of_llvm(name, n_arguments):
    """An intrinsic for one of LLVM's functions, on numbers of one type."""

    @intrinsic
    def function(typing_context, *numbers):
        if len(set(numbers)) != 1 or len(numbers) != n_arguments:
            return None

        def codegen(context, builder, signature, arguments):
            (values,) = arguments
            parts = cgutils.unpack_tuple(builder, values)
            kind = parts[0].type
            return call(builder, kind, f"llvm.{name}.{type_name(kind)}", *parts)

        return numbers[0](types.StarArgTuple(numbers)), codegen

    return function


#: |x|, and |x| with the sign of y
absolute = _of_llvm("fabs", 1)
copy_sign = _of_llvm("copysign", 2)


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


# --- Loops and vectors in LLVM IR -----------------------------------------------------


def repeat(builder, count, state, body):
    """Emit a loop: `count` times ``state = body(state)``; returns the final state."""
    before = builder.block
    turn, after = (builder.append_basic_block(name) for name in ("turn", "after"))
    builder.cbranch(builder.icmp_signed(">", count, INT(0)), turn, after)
    builder.position_at_end(turn)
    i = builder.phi(INT)
    current = [builder.phi(value.type) for value in state]
    following = body(current)
    last = builder.block
    next_i = builder.add(i, INT(1), flags=["nsw"])
    i.add_incoming(INT(0), before)
    i.add_incoming(next_i, last)
    for phi, old, new in zip(current, state, following, strict=True):
        phi.add_incoming(old, before)
        phi.add_incoming(new, last)
    builder.cbranch(builder.icmp_signed("<", next_i, count), turn, after)
    builder.position_at_end(after)
    results = [builder.phi(value.type) for value in state]
    for phi, old, new in zip(results, state, following, strict=True):
        phi.add_incoming(old, before)
        phi.add_incoming(new, last)
    return results


def when(builder, condition, values, change):
    """``change(values)`` if the condition holds, else the values themselves."""
    before = builder.block
    changing, after = (builder.append_basic_block(n) for n in ("change", "unchanged"))
    builder.cbranch(condition, changing, after)
    builder.position_at_end(changing)
    changed = change(values)
    last = builder.block
    builder.branch(after)
    builder.position_at_end(after)
    results = [builder.phi(value.type) for value in values]
    for phi, old, new in zip(results, values, changed, strict=True):
        phi.add_incoming(old, before)
        phi.add_incoming(new, last)
    return results


class Vectors:
    """Loads and stores of vectors, without alignment requirements.

    scalar : the type to compute in.
    stored : the type in memory, from which loads convert; None for the same.
    """

    def __init__(self, builder, scalar, lanes, stored=None):
        self.builder = builder
        self.type = ir.VectorType(scalar, lanes)
        self.lanes = lanes
        self.zero = ir.Constant(self.type, [ir.Constant(scalar, 0.0)] * lanes)
        self._stored = ir.VectorType(stored or scalar, lanes)
        self._alignment = 4 if isinstance(self._stored.element, ir.FloatType) else 8

    def _place(self, base, offset):
        address = self.builder.gep(base, [INT(offset)])
        return self.builder.bitcast(address, self._stored.as_pointer())

    def load(self, base, offset=0):
        """The vector that starts `offset` numbers after `base`."""
        loaded = self.builder.load(self._place(base, offset))
        loaded.align = self._alignment
        return converted(self.builder, loaded, self.type)

    def load_first(self, base, count):
        """The first `count` numbers, then zeros; nothing after them is read."""
        i64 = ir.VectorType(INT, self.lanes)
        places = ir.Constant(i64, [INT(i) for i in range(self.lanes)])
        wanted = broadcast(self.builder, count, self.lanes)
        mask = self.builder.icmp_signed("<", places, wanted)
        zero = ir.Constant(self._stored.element, 0.0)
        loaded = call(
            self.builder, self._stored,
            f"llvm.masked.load.{type_name(self._stored)}.p0",
            self._place(base, 0), ir.IntType(32)(self._alignment), mask,
            ir.Constant(self._stored, [zero] * self.lanes),
        )  # fmt: skip
        return converted(self.builder, loaded, self.type)

    def store(self, value, base, offset=0):
        """Store a vector `offset` numbers after `base`."""
        value = converted(self.builder, value, self._stored)
        self.builder.store(value, self._place(base, offset)).align = self._alignment

    def broadcast(self, address):
        """The number at `address` in all lanes."""
        number = converted(self.builder, self.builder.load(address), self.type.element)
        return broadcast(self.builder, number, self.lanes)


def function_of(module, name, parameters, emit):
    """The LLVM function of that name, made once per module by ``emit(builder, ...)``.

    parameters : types of its arguments, which `emit` gets after the builder.
    """
    if name not in module.globals:
        kind = ir.FunctionType(ir.VoidType(), parameters)
        function = ir.Function(module, kind, name)
        function.linkage = "linkonce_odr"
        function.attributes.add("noinline")
        function.attributes.add("nounwind")
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        emit(builder, *function.args)
        builder.ret_void()
    return module.globals[name]


def switch_on_width(builder, vectors, shape, emit):
    """Branch at run time to the code of ``emit(count)`` with count = `vectors`."""
    done = builder.append_basic_block("done")
    switch = builder.switch(vectors, done)
    for count in range(1, shape.vectors + 1):
        block = builder.append_basic_block(f"vectors.{count}")
        switch.add_case(INT(count), block)
        with builder.goto_block(block):
            emit(count)
            builder.branch(done)
    builder.position_at_end(done)
