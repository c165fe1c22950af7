"""Kernels stay inside of the arrays that they are given."""

import os
import sys
from functools import partial
from itertools import product
from types import SimpleNamespace

import guards
import numba
import numpy as np
import pytest
import test_simd
from data import random_network, random_targets
from processes import run

from fastmlp.compilation import jit
from fastmlp.engine.arena import address_of
from fastmlp.engine.differentiation import DerivativesJob
from fastmlp.engine.jobs import PredictionJob
from fastmlp.engine.network import Network
from fastmlp.engine.options import StepOptions
from fastmlp.engine.threads import Team
from fastmlp.kernels import products, simd
from fastmlp.kernels.buffers import round_up
from fastmlp.kernels.job import JOB, SCRATCH
from fastmlp.kernels.layers.encoding import COLUMN
from fastmlp.kernels.products import ADD, FROM_BIAS, FROM_OUTPUT, MASK, RELU
from fastmlp.kernels.shuffling import shuffle
from fastmlp.kernels.simd import tile_shape
from fastmlp.tables.activations import ACTIVATIONS
from fastmlp.tables.encodings import EMBEDDING, NUMBER, ONE_HOT

pytestmark = pytest.mark.slow

#: Small steps, so that no loss overflows: one that is not a number equals nothing.
RATES = {"rate": 0.001, "beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-8}


@pytest.mark.compiler
@pytest.mark.parametrize("is_inner", [False, True])
def test_no_kernel_indexes_an_array(is_inner):
    """The compiler refuses one that does, so that no index needs to be checked.

    Kernels get addresses, which the sweeps below are for.
    """

    @jit
    def number_of(numbers, i):
        return numbers[i]

    @jit(entry=True)
    def number_at(numbers, i):
        if is_inner:
            return number_of(numbers, i)
        return numbers[i]

    @jit(entry=True)
    def number_behind(address, i):
        if is_inner:
            return number_of(simd.pointer(address, 0.0), i)
        return simd.pointer(address, 0.0)[i]

    numbers = np.array([1.0, 2.0, 3.0])
    with pytest.raises(numba.TypingError, match=r"array.*: kernels take addresses"):
        number_at(numbers, 2)
    assert number_behind(numbers.ctypes.data, 2) == 3


# --- Addresses: pages without access around all that they lead to ---------------------


@numba.njit(error_model="numpy")
def call_product(vectors, rows, c, full, segments, jump, tail, length, b, extra, mode,
                 like):  # fmt: skip
    """`products.product`; c, full, tail, b and extra are addresses."""
    lanes = simd.vector_lanes(like)
    products.product(
        vectors, rows, simd.pointer(c, like), simd.pointer(full, like), segments, jump,
        simd.pointer(tail, like), (length + lanes - 1) // lanes * lanes, length,
        simd.pointer(b, like), simd.pointer(extra, like), mode, True,
    )  # fmt: skip


@numba.njit(error_model="numpy")
def call_copy_row(target, source, count, like, other):
    simd.copy_row(simd.pointer(target, like), simd.pointer(source, other), count)


def sweep_products():
    """Tiles of all heights and widths, with all that they start and end with."""
    for dtype, at_end in product(guards.DTYPES, guards.ENDS):
        shape, like = tile_shape(dtype), dtype(0)
        # a narrow panel has tiles as tall as all the vectors of a wide one allow
        whole = (shape.rows * n for n in (2, 3, 2 * shape.vectors + 1))
        heights = {2, shape.rows + 2, *whole}
        for vectors, rows, length in product(
            range(1, shape.vectors + 1), heights, (0, *guards.edges(dtype))
        ):
            guards.note((vectors, rows, length, dtype, at_end))
            memory = guards.Memory(at_end)

            def held(n, memory=memory, dtype=dtype):
                return address_of(memory.held(np.ones(n, dtype)))

            width = vectors * shape.lanes
            segments, rest = divmod(length, shape.width)
            full, (start,), jump = memory.buffers([rows * shape.width], dtype, segments)
            a = address_of(full) + int(start) * full.itemsize
            tail = held(rows * round_up(rest, shape.lanes))
            b, c, mask, bias = (held(n * width) for n in (length, rows, rows, 1))
            for mode in [*test_simd.MODES.values(), FROM_OUTPUT | MASK]:
                extra = mask if mode & MASK else bias
                call_product(
                    vectors, rows, c, a, segments, jump, tail, rest, b, extra, mode,
                    like,
                )  # fmt: skip
            biases = held(rows)
            for a_width in (rows, rows + 3):
                a = held(max(0, length * a_width - a_width + rows))
                for mode in (0, ADD, FROM_BIAS, FROM_BIAS | RELU):
                    test_simd.multiply_transposed(
                        rows, length, width, a, a_width, b, c, biases, mode, like, like
                    )
            for mode in (0, ADD):
                test_simd.call_sum_of_rows(vectors, bias, b, length, mode, like)
        for length in (0, *guards.edges(dtype)):
            guards.note(("sums over lanes", length, dtype, at_end))
            sum_over_lanes(guards.Memory(at_end), length, dtype)


def sum_over_lanes(memory, length, dtype):
    """`products.sums_over_lanes` of that many numbers, in whole vectors."""
    shape, like = tile_shape(dtype), dtype(0)

    def held(n):
        return address_of(memory.held(np.ones(n, dtype)))

    segments, rest = divmod(length, shape.width)
    vectors = round_up(rest, shape.lanes) // shape.lanes
    n_full = shape.lanes * shape.width
    full, (start,), jump = memory.buffers([n_full], dtype, segments)
    a = address_of(full) + int(start) * full.itemsize
    tail = held(shape.lanes * vectors * shape.lanes)
    b = held(segments * shape.width + vectors * shape.lanes)
    test_simd.call_sums_over_lanes(
        held(shape.lanes), a, segments, jump, tail, vectors, b, like, like
    )


def sweep_rows():
    """Rows that are copied, turned, and summed."""
    for dtype, other, at_end in product(guards.DTYPES, guards.DTYPES, guards.ENDS):
        shape, memory, like = tile_shape(dtype), guards.Memory(at_end), dtype(0)
        mr, lanes = shape.rows, shape.lanes

        def held(n, kind=dtype, value=1, memory=memory):
            return address_of(memory.held(np.full(n, value, kind)))

        for n in range(1, 2 * lanes + 2):
            target, source = held(round_up(n, lanes)), held(n, other)
            call_copy_row(target, source, n, like, other(0))
        for vectors, gap in product(range(1, shape.vectors + 1), (0, 3)):
            width = vectors * lanes
            target = held((width - 1) * (mr + gap) + mr)
            test_simd.call_transpose(target, mr + gap, held(mr * width), width, like)
            target = held((width - 1) * (lanes + gap) + lanes)
            source = held((lanes - 1) * (width + gap) + width)
            test_simd.call_transpose_blocks(
                vectors, target, lanes + gap, source, width + gap, like
            )
            table, output, start = held(3 * width), held(width), held(width)
            for n, index in product((0, 1, 5), (0, 2, 3, -1, 2**31 - 1)):
                values, indices = held(n, other), held(n, np.int32, index)
                test_simd.call_weighted_sum(
                    vectors, output, start, values, indices, n, table, 3, like, other(0)
                )


def sweep_training():
    """Steps of every form, with all that they can be told: the bits of other memory."""
    rng = np.random.default_rng(0)
    for case, memory, X in guards.cases(guards.WAYS, lambda rows: 2 * rows + 1):
        n, strips = X.shape[0], guards.WAYS[case.way]
        names = "dtype", "activation", "loss", "optimizer", "l2", "n_threads"
        settings = {name: vars(case)[name] for name in names}
        settings["batch_size"] = case.rows
        settings["samples"] = rng.permutation(n)[: n - case.left_out]
        if case.left_out:
            settings["sample_weight"] = rng.uniform(size=n)
        y = random_targets(case.loss, n, case.units[-1])
        data = case.layers, X, y, case.weights
        settings["options"] = guards.extras_for(case)
        settings["choices"] = guards.choices_for(case)
        with guards.tight(strips, case.depth), Team(case.n_threads) as team:
            plain = guards.training_job(*data, **settings)
            expected = plain.run(team, 0, plain.n_steps, **RATES)
            assert np.isfinite(expected)
            with memory.in_use(team):
                job = memory.training_job(*data, **settings)
                assert job.run(team, 0, job.n_steps, **RATES) == expected
        for a, b in zip(plain.network.read(), job.network.read(), strict=True):
            assert [x.tobytes() for x in a] == [x.tobytes() for x in b]


def sweep_prediction():
    """Samples of every form, chosen ones, and plain ones by themselves."""
    ways = "dense", "sparse", "all dense", "all sparse", "all encoded"
    for case, memory, X in guards.cases(ways):
        settings = {
            "activation": case.activation, "output_activation": case.output_activation,
            "n_threads": case.n_threads, "dtype": np.result_type(case.other),
        }  # fmt: skip
        if "FASTMLP_TEST_DTYPES" in os.environ:  # fewer kernels to compile
            settings["dtype"] = np.result_type(case.dtype)
        if case.left_out:
            settings["samples"] = np.arange(X.shape[0])[::-1]
        n_members = 1 + case.rows % 3
        with guards.tight(depth=case.depth), Team(case.n_threads) as team:
            network, settings["array"] = networks_for(case, n_members)
            expected = PredictionJob(network, X, **settings).run(team).tobytes()
            with memory.in_use(team):
                network, settings["array"] = networks_for(case, n_members)
                job = memory.prediction_job(network, X, **settings)
                assert memory.copy_of(job.run(team)).tobytes() == expected
                if case.layout == "C" and not case.left_out:
                    settings["n_threads"] = 1
                    rows = len(X), len(X) - 1
                    few, many = (
                        memory.reusable_job(network, n, X.dtype, **settings)
                        for n in rows
                    )
                    assert few.outputs_for(X).tobytes() == expected
                    assert memory.copy_of(many.outputs_for(X)).tobytes() == expected


def sweep_differentiation():
    """Derivatives by the inputs, of no, one or several sums of outputs."""
    rng = np.random.default_rng(0)
    for case, memory, X in guards.cases(["dense", "all encoded"]):
        n_cotangents = case.rows % 3
        v = rng.standard_normal((len(X), n_cotangents, case.units[-1]))
        settings = {
            "activation": rng.choice(list(ACTIVATIONS)), "n_threads": case.n_threads
        }  # fmt: skip

        def job_of(case=case, X=X, v=v, settings=settings):
            network = Network(case.layers, case.dtype, differentiable=True)
            network.write(*case.weights)
            return DerivativesJob(network, X, v, **settings)

        with guards.tight(0, case.depth), Team(case.n_threads) as team:
            expected = job_of().run(team).tobytes()
            with memory.in_use(team):
                job = job_of()
                memory._finish(job)
                assert memory.copy_of(job.run(team)).tobytes() == expected


def networks_for(case, n_members):
    """(network, parameters of so many of its form)."""
    network = Network(case.layers, case.dtype)
    stack = network.stack(n_members)
    for i, array in enumerate(stack):
        weights, *others = case.weights
        network.write([w / (1 + i) for w in weights], *others, array=array)
    return network, stack


def sweep_writing():
    """Weights of every layout into panels."""
    for dtype, kind, at_end in product(guards.DTYPES, guards.DTYPES, guards.ENDS):
        edges = guards.edges(dtype)
        for *units, layout in product(edges, edges, guards.LAYOUTS):
            guards.note((units, dtype, kind, layout, at_end))
            memory, coef = (
                guards.Memory(at_end),
                random_network(units)[0][0].astype(kind),
            )
            weights = memory.of_layout(layout, coef)
            biases = memory.of_layout(layout, coef[:1])[0]
            with memory.in_use():
                network = Network(units, dtype)
                network.write([weights], [biases])
            for written, (read,) in zip((coef, coef[0]), network.read(), strict=True):
                np.testing.assert_array_equal(read, written.astype(dtype))


def sweep_shuffling():
    """Some numbers, and more than the generator has words."""
    for at_end, size in product(guards.ENDS, (0, 1, 2, 3, 255, 256, 623, 625, 5000)):
        guards.note((at_end, size))
        memory, theirs = guards.Memory(at_end), np.random.RandomState(0)
        _, key, position, *_ = theirs.get_state()
        state = memory.held(np.array([*key, position], np.uint32))
        numbers, room = memory.held(np.arange(size)), memory.held(state)
        shuffle(address_of(state), address_of(numbers), size, address_of(room))
        expected = np.arange(size)
        theirs.shuffle(expected)
        np.testing.assert_array_equal(numbers, expected)


#: What jobs read that they were given, and write for their caller.
GIVEN = {"X", "order", "targets", "sample_weights", "row_starts", "column_indices",
         "outputs"}  # fmt: skip

#: Fields of a JOB for the arrays of a network.
OF_NETWORK = {"parameters", "transposed", "first_state", "second_state", "average"}


def places_of(job, memory):
    """(name, records, fields, indices) of all that leads to a buffer.

    An offset of a layer is named after the kind of layer and the field.
    """
    record, layers = job._records, memory.copy_of(job.layers)
    for name in {*GIVEN, *OF_NETWORK, *job.arena.arrays}:
        array = job._kept.get(name)
        if array is not None and array.size:
            yield name, record, [name], 0
    for part in job.arena.starts["scratch"]:
        yield part, record, [part], 0
    if job.network.encoding:
        yield from places_of_columns(job.network, memory, layers)
    if type(job) is PredictionJob:  # its activations are in two buffers, in turn
        for part in job.arena.starts["workspace"]:
            if part in JOB.names:
                yield f"{part} of a prediction", record, [part], 0
        yield "samples of a prediction", layers, ["inputs"], 0
        return
    transposed = [(i, "transposed") for i in job.network.arena.starts["transposed"]]
    for i, field in (*transposed, *job.arena.starts["workspace"], *job.network.sizes):
        if field in ("cosines", "tables"):
            continue  # each column knows where its own are
        is_parameter = field in guards.PARAMETERS
        fields = guards.PARAMETERS if is_parameter and memory._adjoining else [field]
        kind = type(job.network.architecture[i]).__name__
        yield f"{field} of {kind}", layers, fields, i


def places_of_columns(network, memory, layers):
    """Likewise, of what the records of columns lead to, and of these."""
    yield "columns", layers, ["columns"], 0
    columns = memory.copy_of(network._columns[0])
    kinds = [column.kind for column in network.encoding.columns]
    for kind, field in (
        (NUMBER, "parameters"), (EMBEDDING, "parameters"), (ONE_HOT, "values")
    ):  # fmt: skip
        having = [i for i, other in enumerate(kinds) if other == kind]
        yield f"{field} of kind {kind}", columns, [field], having[-memory._at_end]


def sweep_one_number_further():
    """A buffer that begins one number further kills: none has any to spare."""
    dtype = np.float32
    shape = tile_shape(dtype)
    # strips have room for two more units of each layer, rounded up to whole vectors
    units, n = [2 * shape.width - 2] * 3, 2 * shape.rows * shape.lanes
    declared, noticed = set(), set()
    ways = [way for way in guards.WAYS if way != "one strip"]
    ways += ["prediction", "encoded prediction"]
    for at_end, way, clip in product(guards.ENDS, ways, (0.0, 1.0)):
        strips = guards.WAYS.get(way, 0)
        memory = guards.Memory(at_end, adjoining=strips > 0)
        layout = "sparse" if "sparse" in way else "C"
        # an Encoding writes no padding
        inputs = 2 * shape.width if guards.is_encoded(way) else units[0]
        layers, weights = guards.network_for([inputs, *units[1:]], way)
        X = memory.of_layout(layout, np.ones((n, layers[0].fan_in), dtype))
        common = {"samples": np.arange(n), "n_threads": 1}
        # an Encoding computes up to 128 rows at once
        most_rows = 128 if guards.is_encoded(way) else 48
        with (
            guards.tight(strips, most_rows=most_rows),
            Team(1) as team,
            memory.in_use(team),
        ):
            if "prediction" in way:
                network = Network(layers, dtype)
                network.write(*weights)
                job = memory.prediction_job(
                    network, X, dtype=dtype, activation="tanh",
                    output_activation="softmax", **common,
                )  # fmt: skip
                job.run(team)
                again = partial(team.run, job._predict)
            else:
                case = SimpleNamespace(way=way, layout=layout)
                drops = guards.dropout_for(layers, 0.5) if "all" in way else ()
                job = memory.training_job(
                    layers, X, np.zeros((n, 1)), weights, dtype=dtype, batch_size=n,
                    activation="gelu" if "all" in way else "tanh", loss="log_loss",
                    optimizer="adam", l2=0.1, sample_weight=np.ones(n),
                    choices=guards.choices_for(case),
                    options=StepOptions(dropout=drops, clip_norm=clip), **common,
                )  # fmt: skip
                again = partial(job.run, team, 0, 1, **RATES)
            again()  # here, so that no copy of this process has to load the kernel
            assert not guards.dies(again)
            for name, records, fields, i in places_of(job, memory):
                guards.note((way, at_end, clip, name, i))
                declared.add((name, at_end))
                wide = name in ("order", "row_starts", "feature_starts")
                step = (8 if wide else 4) if records.dtype == JOB else 1
                if fields[0] in SCRATCH:
                    step = 1
                step = {"values": 8, "columns": COLUMN.itemsize}.get(fields[0], step)
                for field in fields:
                    records[field][i] += step if at_end else -step
                if guards.dies(again):
                    noticed.add((name, at_end))
                for field in fields:
                    records[field][i] -= step if at_end else -step
    assert declared == noticed, f"numbers to spare: {declared - noticed}"


SWEEPS = """
    import faulthandler, os, sys
    faulthandler.enable()
    import test_bounds
    for name in sys.argv[1:]:
        vars(test_bounds)["sweep_" + name]()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs mprotect")
@pytest.mark.parametrize(
    "names",
    ["training", "prediction differentiation products rows writing shuffling"],
)
def test_kernels_stay_between_guard_pages(names, tmp_path, monkeypatch):
    """Else they are killed; and they give the numbers that they give elsewhere."""
    if "FASTMLP_TEST_DTYPES" in os.environ:  # in a process of their own already, which
        monkeypatch.chdir(tmp_path)  # has compiled most of these kernels
        for name in names.split():
            globals()[f"sweep_{name}"]()
        return
    try:
        run(SWEEPS, tmp_path, seconds=300, arguments=names.split())
    except pytest.fail.Exception as failure:
        failure.add_note(f"tried last: {(tmp_path / 'case').read_text()}")
        raise


@pytest.mark.skipif(sys.platform == "win32", reason="needs mprotect")
@pytest.mark.long
def test_a_buffer_one_number_further_is_noticed(tmp_path):
    run(SWEEPS, tmp_path, seconds=300, arguments=["one_number_further"])
