"""The micro-kernel, its epilogues, and what else is made of LLVM IR."""

import numba
import numpy as np
import pytest
from panels import pack, padded_size, unpack

from fastmlp.compilation import target
from fastmlp.kernels import processor, products, simd, transposing
from fastmlp.kernels.products import ADD, FROM_BIAS, FROM_OUTPUT, MASK, RELU
from fastmlp.kernels.simd import tile_shape

pytestmark = pytest.mark.compiler

DTYPES = (np.float32, np.float64)

#: Types to compute in, and of the operands: these may be narrower.
COMPUTED_AND_STORED = (*zip(DTYPES, DTYPES, strict=True), (np.float64, np.float32))


@numba.njit(error_model="numpy")
def multiply_panels(
    rows, depth, columns, a, b, c, extra, extra_rows, mode, even, like, stored
):
    """All panels of C = A B; arguments from a to extra are addresses.

    like, stored : numbers of the type of C, and of that of A and B.
    """
    full, lanes = simd.panel_width(like), simd.vector_lanes(like)
    segments = depth // full
    tail_length = depth - segments * full
    tail_width = (tail_length + lanes - 1) // lanes * lanes
    a = simd.pointer(a, stored)
    for column in range(0, columns, full):
        width = min(full, (columns - column + lanes - 1) // lanes * lanes)
        products.product(
            width // lanes,
            rows,
            simd.advance(simd.pointer(c, like), column * rows),
            a,
            segments,
            rows * full,
            simd.advance(a, segments * full * rows),
            tail_width,
            tail_length,
            simd.advance(simd.pointer(b, stored), column * depth),
            simd.advance(simd.pointer(extra, like), column * extra_rows),
            mode,
            even,
        )


@numba.njit(error_model="numpy")
def multiply_transposed(
    rows, batch, columns, a, a_width, d, c, extra, mode, like, stored
):
    """One panel of C = A^T D, A one panel of width a_width; types as above."""
    lanes = simd.vector_lanes(like)
    c = simd.pointer(c, like)
    products.transposed_product(
        columns // lanes,
        rows,
        c,
        simd.pointer(a, stored),
        a_width,
        batch,
        simd.pointer(d, stored),
        simd.pointer(extra, like),
        mode,
        True,
    )


def address(array):
    return array.ctypes.data


def shapes(dtype):
    """(rows, depth, columns, even) around the edges of tiles and panels."""
    shape = tile_shape(dtype)
    whole = [tiles * shape.rows for tiles in (1, 2, 3, 5)]
    rows = [*((n, None) for n in whole), *((n + 2, True) for n in (0, *whole[::2]))]
    edges = [1, shape.lanes, shape.width - 1, shape.width, shape.width + 1]
    edges.append(2 * shape.width + shape.lanes + 1)
    return [
        (n, depth, columns, even)
        for n, even in rows
        for depth in [*edges, 0]
        for columns in edges
    ]


MODES = {
    "zero": 0,
    "bias": FROM_BIAS,
    "bias, relu": FROM_BIAS | RELU,
    "output": FROM_OUTPUT,
    "mask": MASK,
    "add": ADD,
    "output, relu": FROM_OUTPUT | RELU,
}


@pytest.mark.parametrize(("dtype", "stored"), COMPUTED_AND_STORED)
@pytest.mark.parametrize("mode", MODES)
def test_product_against_numpy(mode, dtype, stored):
    flags = MODES[mode]
    rng = np.random.default_rng(0)
    tolerance = 30 * np.finfo(dtype).eps
    for rows, depth, columns, even in shapes(dtype):
        a = rng.standard_normal((rows, depth)).astype(stored).astype(dtype)
        b = rng.standard_normal((depth, columns)).astype(stored).astype(dtype)
        c = rng.standard_normal((rows, columns)).astype(dtype)
        bias = rng.standard_normal((1, columns)).astype(dtype)
        mask = rng.integers(0, 2, (rows, columns)).astype(dtype)
        expected = a.astype(float) @ b.astype(float)
        extra, extra_rows = pack(bias), 1
        if flags & FROM_BIAS:
            expected = expected + bias
        if flags & (FROM_OUTPUT | ADD):
            expected = expected + c
        if flags & RELU:
            expected = np.maximum(expected, 0)
        if flags & MASK:
            extra, extra_rows = pack(mask), rows
            expected = expected * mask
        packed_a, packed_b = (pack(x).astype(stored) for x in (a, b))
        packed_c = pack(c)
        multiply_panels(
            rows, depth, columns, address(packed_a), address(packed_b),
            address(packed_c), address(extra), extra_rows, flags, even, dtype(0),
            stored(0),
        )  # fmt: skip
        result, padding = unpack(packed_c, rows, columns)
        scale = 1 + np.abs(a).astype(float) @ np.abs(b)
        assert np.abs((result - expected) / scale).max() < tolerance
        assert not padding.any()


@pytest.mark.parametrize(("dtype", "stored"), COMPUTED_AND_STORED)
def test_product_with_transposed_left_side(dtype, stored):
    shape = tile_shape(dtype)
    rng = np.random.default_rng(0)
    for batch in (1, 2, 7, 600):
        for vectors in range(1, shape.vectors + 1):
            width = vectors * shape.lanes
            d = rng.standard_normal((batch, width)).astype(stored)
            for rows in range(2, shape.width + 1, 2):
                a = rng.standard_normal((batch, rows)).astype(stored)
                c = np.full((rows, width), np.nan, dtype)
                expected = a.T.astype(float) @ d.astype(float)
                bias = rng.standard_normal((rows, 1)).astype(dtype)
                for mode, exact in (
                    (0, expected),
                    (ADD, 2 * expected),
                    (FROM_BIAS, expected + bias),
                    (FROM_BIAS | RELU, np.maximum(expected + bias, 0)),
                ):
                    multiply_transposed(
                        rows, batch, width, address(a), rows, address(d), address(c),
                        address(bias), mode, dtype(0), stored(0),
                    )  # fmt: skip
                    np.testing.assert_allclose(
                        c, exact, rtol=0, atol=batch * 20 * np.finfo(dtype).eps
                    )


@numba.njit
def call_sums_over_lanes(output, full, segments, jump, tail, vectors, b, like, stored):
    products.sums_over_lanes(
        simd.pointer(output, like),
        simd.pointer(full, stored),
        segments,
        jump,
        simd.pointer(tail, stored),
        vectors,
        simd.pointer(b, stored),
    )


@pytest.mark.parametrize(("dtype", "stored"), COMPUTED_AND_STORED)
def test_sums_over_lanes(dtype, stored):
    shape = tile_shape(dtype)
    rng = np.random.default_rng(0)
    for segments in (0, 1, 3):
        for vectors in range(shape.vectors):
            full = rng.standard_normal((segments, shape.lanes + 5, shape.width))
            tail = rng.standard_normal((shape.lanes, vectors * shape.lanes))
            full, tail = full.astype(stored), tail.astype(stored)
            a = np.hstack([*full[:, : shape.lanes], tail]).astype(float)
            b = rng.standard_normal(a.shape[1]).astype(stored)
            sums = np.full(shape.lanes, np.nan, dtype)
            call_sums_over_lanes(
                address(sums), address(full), segments, full[0:1].size, address(tail),
                vectors, address(b), dtype(0), stored(0),
            )  # fmt: skip
            np.testing.assert_allclose(
                sums, a @ b, rtol=0, atol=(1 + len(b)) * 5 * np.finfo(dtype).eps
            )


@numba.njit
def call_sum_of_rows(vectors, output, b, length, mode, like):
    products.sum_of_rows(
        vectors, simd.pointer(output, like), simd.pointer(b, like), length, mode
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_sum_of_rows(dtype):
    shape = tile_shape(dtype)
    rng = np.random.default_rng(0)
    for length in (0, 1, 3, 4, 29):
        for vectors in range(1, shape.vectors + 1):
            b = rng.standard_normal((length, vectors * shape.lanes)).astype(dtype)
            output = np.full(vectors * shape.lanes, np.nan, dtype)
            for mode, times in ((0, 1), (ADD, 2)):
                call_sum_of_rows(
                    vectors, address(output), address(b), length, mode, dtype(0)
                )
                np.testing.assert_allclose(
                    output, times * b.sum(axis=0), atol=length * 9 * np.finfo(dtype).eps
                )


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_element_does_not_depend_on_its_tile(dtype):
    """A row has the same bits wherever it stands, and whoever stands beside it."""
    shape = tile_shape(dtype)
    rng = np.random.default_rng(0)
    depth, columns = 2 * shape.width + 3, shape.width + 1
    b = pack(rng.standard_normal((depth, columns)).astype(dtype))
    bias = pack(rng.standard_normal((1, columns)).astype(dtype))
    row = rng.standard_normal((1, depth)).astype(dtype)
    seen = set()
    n_rows = 2 * shape.rows + 2
    for place in range(n_rows):
        a = rng.standard_normal((n_rows, depth)).astype(dtype)
        a[place] = row
        packed_a = pack(a)
        c = np.zeros(padded_size(len(a), columns, dtype), dtype)
        multiply_panels(
            len(a), depth, columns, address(packed_a), address(b), address(c),
            address(bias), 1, FROM_BIAS, True, dtype(0), dtype(0),
        )  # fmt: skip
        seen.add(unpack(c, len(a), columns)[0][place].tobytes())
    assert len(seen) == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("flags", [FROM_BIAS | RELU, MASK])
def test_nan_stays_nan(flags, dtype):
    """Neither epilogue hides a number that is not one."""
    shape = tile_shape(dtype)
    a = pack(np.full((shape.rows, 1), np.nan, dtype))
    b = pack(np.ones((1, 1), dtype))
    c = np.zeros(padded_size(shape.rows, 1, dtype), dtype)
    extra = np.ones_like(c)
    multiply_panels(
        shape.rows, 1, 1, address(a), address(b), address(c), address(extra), 1,
        flags, None, dtype(0), dtype(0),
    )  # fmt: skip
    assert np.isnan(unpack(c, shape.rows, 1)[0]).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_stays_nan_with_a_transposed_left_side(dtype):
    shape = tile_shape(dtype)
    a = np.full(shape.rows, np.nan, dtype)
    d, bias = np.ones(shape.lanes, dtype), np.zeros(shape.rows, dtype)
    c = np.zeros((shape.rows, shape.lanes), dtype)
    multiply_transposed(
        shape.rows, 1, shape.lanes, address(a), shape.rows, address(d), address(c),
        address(bias), FROM_BIAS | RELU, dtype(0), dtype(0),
    )  # fmt: skip
    assert np.isnan(c).all()


@numba.njit
def call_transpose(target, stride, source, columns, like):
    transposing.transpose(
        simd.pointer(target, like), stride, simd.pointer(source, like), columns
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_transpose(dtype):
    shape = tile_shape(dtype)
    for vectors in range(1, shape.vectors + 1):
        columns = vectors * shape.lanes
        source = np.arange(shape.rows * columns, dtype=dtype).reshape(-1, columns)
        target = np.full((columns, shape.width), -1, dtype)
        call_transpose(address(target), shape.width, address(source), columns, dtype(0))
        np.testing.assert_array_equal(target[:, : shape.rows], source.T)
        assert (target[:, shape.rows :] == -1).all()


@numba.njit
def call_transpose_blocks(blocks, target, target_stride, source, source_stride, like):
    transposing.transpose_blocks(
        blocks,
        simd.pointer(target, like),
        target_stride,
        simd.pointer(source, like),
        source_stride,
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_transpose_in_blocks(dtype):
    lanes = tile_shape(dtype).lanes
    for blocks in (0, 1, 3):
        source = np.arange(lanes * (3 * lanes + 5), dtype=dtype).reshape(lanes, -1)
        target = np.full((3 * lanes, lanes + 3), -1, dtype)
        call_transpose_blocks(
            blocks, address(target), lanes + 3, address(source), 3 * lanes + 5, dtype(0)
        )
        columns = blocks * lanes
        np.testing.assert_array_equal(target[:columns, :lanes], source[:, :columns].T)
        assert (target[columns:] == -1).all()
        assert (target[:, lanes:] == -1).all()


@numba.njit
def call_flush():
    return processor.flush_denormals()


@numba.njit
def call_restore(state):
    processor.restore_denormals(state)


@numba.njit
def add(x):
    return x[0] + x[1]


def test_denormals_are_flushed_and_the_state_restored():
    x = np.full(2, 1e-310)
    assert add(x) == 2e-310
    state = call_flush()
    flushed = add(x)
    call_restore(state)
    assert add(x) == 2e-310
    if target.features()[0].startswith(("x86_64", "aarch64", "arm64")):
        assert flushed == 0


@numba.njit
def call_weighted_sum(
    vectors, output, start, values, indices, count, table, limit, like, weight
):
    """Arguments from `output` to `table` but for `count` are addresses."""
    products.weighted_sum(
        vectors,
        simd.pointer(output, like),
        simd.pointer(start, like),
        simd.pointer(values, weight),
        simd.pointer(indices, np.int32(0)),
        count,
        simd.pointer(table, like),
        limit,
    )


@pytest.mark.parametrize("weight", DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_weighted_sum_against_numpy(dtype, weight):
    rng = np.random.default_rng(0)
    shape = tile_shape(dtype)
    for vectors in range(1, shape.vectors + 1):
        width = vectors * shape.lanes
        for count in (0, 1, 2, 7, 40):
            table = rng.standard_normal((9, width)).astype(dtype)
            start = rng.standard_normal(width).astype(dtype)
            values = rng.standard_normal(count).astype(weight)
            indices = rng.integers(0, 9, count).astype(np.int32)
            indices[1::3] = [-1, 9, 2**31 - 1][count % 3]  # read as 0
            output = np.empty(width, dtype)
            arrays = [address(x) for x in (output, start, values, indices)]
            call_weighted_sum(
                vectors, *arrays, count, address(table), 9, dtype(0), weight(0)
            )
            rows = table[np.where((indices < 0) | (indices > 8), 0, indices)]
            expected = start + (values[:, None] * rows.astype(float)).sum(axis=0)
            tolerance = 30 * np.finfo(dtype).eps
            np.testing.assert_allclose(output, expected, rtol=0, atol=3 * tolerance)


@numba.njit
def call_atomics(numbers):
    counter = simd.pointer(numbers, 0)
    before = processor.atomic_add(counter, 3)
    processor.atomic_store(simd.advance(counter, 1), before + 40)
    processor.pause()
    processor.yield_processor()
    return processor.atomic_load(counter) + processor.atomic_load(
        simd.advance(counter, 1)
    )


def test_atomics():
    numbers = np.array([5, 0], np.int64)
    assert call_atomics(address(numbers)) == 8 + 45
    assert numbers.tolist() == [8, 45]


def test_inner_kernels_are_not_for_python():
    from fastmlp.kernels.elementwise import exp

    with pytest.raises(TypeError):
        exp(np.float32(1))
