"""Memory between pages that nobody may touch, and whole jobs on it.

A read or a store one number outside of a buffer kills the process.  The buffers are
those that layers and kernels declare (`fastmlp.kernels.buffers`): `Memory.arena` stands
for `Arena`, so that a new buffer is guarded as soon as it is declared.
Each part of a buffer is between pages of its own, and so is each thread's copy: kernels
are told the distance from one to the next, however long it is.  Buffers are only as
aligned as their numbers are: kernels need no more.
"""

import ctypes
import faulthandler
import functools
import mmap
import os
from contextlib import contextmanager
from itertools import product
from random import Random
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import reference
import scipy.sparse
from data import random_network

from fastmlp.data import samples
from fastmlp.engine import jobs, network
from fastmlp.engine.arena import address_of
from fastmlp.engine.jobs import PredictionJob, ReusableJob, TrainingJob
from fastmlp.engine.network import Network, architecture_of
from fastmlp.engine.options import StepOptions
from fastmlp.kernels.buffers import round_up
from fastmlp.kernels.layers.dense import Dense
from fastmlp.kernels.layers.encoding import Encoding
from fastmlp.kernels.layers.scale import Scale
from fastmlp.kernels.passes import FOR_TABLES
from fastmlp.kernels.simd import tile_shape
from fastmlp.tables.activations import ACTIVATIONS
from fastmlp.tables.encodings import EMBEDDING, FLAG, NUMBER, ONE_HOT, Column
from fastmlp.tables.losses import LOSSES, OUTPUT_ACTIVATIONS
from fastmlp.tables.optimizers import OPTIMIZERS

DTYPES = (np.float32, np.float64)
ENDS = (True, False)  # where a buffer is next to a forbidden page: its end, its start
LAYOUTS = ("C", "F", "reversed", "strided")
#: By which kernels steps go: "all" is the full one, of which all is asked: stored
#: derivatives, dropout, losses with parameters and, if X is dense, a Scale as the first
#: layer.  "all encoded" is for an Encoding.
WAYS = {"tiles": 0, "one strip": 1, "three strips": 3, "sparse": 0, "all tiles": 0,
        "all strips": 3, "all sparse": 0, "all encoded": 0}  # fmt: skip

#: Fields of LAYER that lead to parameters.
PARAMETERS = ("weights", "per_output")

_LONGEST_CASE = 1000

#: Activations and losses that need no choice at compile time.
PLAIN = (
    [name for name, row in ACTIVATIONS.items() if not row.stores_derivatives],
    [name for name, row in LOSSES.items() if not row.is_parametric],
)


@contextmanager
def tight(strips=0, depth=1, most_rows=48):
    """Buffers without a number to spare; samples are always fetched ahead.

    strips : that a batch is cut into; depth : panels that a product sums at once;
    most_rows : of a block.
    """
    with (
        patch.object(jobs, "strips_of", lambda *_: strips),
        patch.object(jobs, "panels_at_once", lambda _: depth),
        patch.object(jobs, "_LEAST_BLOCK_ROWS", 1),
        patch.object(jobs, "_MOST_BLOCK_ROWS", most_rows),
        patch.object(samples, "_NEAR_BYTES", -1),
        patch.object(
            jobs.Job, "_capacity", lambda job, n: round_up(n, job.network.shape.rows)
        ),
    ):
        yield


class Memory:
    """Buffers whose ends, or else whose starts, are next to a forbidden page.

    adjoining : whether all parameters of a layer are one buffer, as strips want it.
    """

    def __init__(self, at_end, adjoining=False):
        self._at_end = at_end
        self._adjoining = adjoining
        self._blocks = []
        self._copies = {}
        self._protect = ctypes.CDLL(None).mprotect

    def buffers(self, sizes, dtype, copies=1):
        """Buffers of so many numbers, all of them several times.

        Returns
        -------
        array, starts, stride
            Where in the array each buffer starts, and how far it is to the next copy.
        """
        dtype = np.dtype(dtype)
        page = mmap.PAGESIZE // dtype.itemsize
        starts, guards, place = [], [], 0
        for size in map(int, sizes):
            guards.append(place)
            room = round_up(size, page)
            starts.append(place + page + (room - size if self._at_end else 0))
            place += page + room
        size = (copies * place + page) * dtype.itemsize
        block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        first = ctypes.addressof(ctypes.c_char.from_buffer(block))
        guards = [copy * place + guard for copy in range(copies) for guard in guards]
        for guard in [*guards, copies * place]:
            where = ctypes.c_void_p(first + guard * dtype.itemsize)
            assert self._protect(where, mmap.PAGESIZE, 0) == 0
        self._blocks.append((first, first + size, block))
        return np.frombuffer(block, dtype), np.array(starts, np.int64), place

    def held(self, array):
        """A copy in a buffer of its own."""
        raw, (start,), _ = self.buffers([array.nbytes], np.uint8)
        copy = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        copy[...] = array
        return copy

    def of_layout(self, layout, X):
        """A copy whose last number, or else its first, is next to a forbidden page."""
        if layout == "sparse":  # arrays that jobs copy
            return scipy.sparse.csr_array(np.where(X > 0.5, X, 0))
        if layout == "F":
            return self.held(X.T.copy()).T
        if layout == "reversed":
            return self.held(X[::-1, ::-1].copy())[::-1, ::-1]
        if layout == "strided":
            wide = np.zeros((2 * len(X) - 1, 3 * X.shape[1] - 2), X.dtype)
            wide[::2, ::3] = X
            return self.held(wide)[::2, ::3]
        return self.held(X)

    def address_of(self, array):
        """The address of an array here, or of its copy here."""
        address = address_of(array)
        if any(first <= address < last for first, last, _ in self._blocks):
            return address
        assert array.flags.c_contiguous
        self._copies[address] = self.held(array)
        return address_of(self._copies[address])

    def copy_of(self, array):
        """What `address_of` made kernels see in place of an array."""
        return self._copies[address_of(array)]

    def arena(self, buffers, dtype):
        """`fastmlp.engine.arena.Arena`, with each part of each copy by itself."""
        arena = SimpleNamespace(arrays={}, starts={}, strides={})
        for name, parts, kind, copies, packed in buffers:
            groups = {}  # of parts that are one buffer
            for part in parts:
                together = packed and self._adjoining
                groups.setdefault(part[0] if together else part, []).append(part)
            sizes = [sum(parts[part] for part in group) for group in groups.values()]
            array, starts, stride = self.buffers(sizes, kind or dtype, copies)
            first = int(starts[0]) if sizes else len(array)
            arena.arrays[name] = array[first:]
            arena.strides[name] = stride if copies > 1 else 0
            arena.starts[name] = places = {}
            for group, start in zip(groups.values(), starts, strict=True):
                place = int(start) - first
                for part in group:
                    places[part] = place
                    place += parts[part]
        return arena

    @contextmanager
    def in_use(self, team=None):
        """All addresses that kernels get, and what the team shares, are in here."""
        if team is not None:
            team.shared = self.held(team.shared)
        with (
            patch.object(jobs, "address_of", self.address_of),
            patch.object(jobs, "Arena", self.arena),
            patch.object(network, "address_of", self.address_of),
            patch.object(network, "Arena", self.arena),
        ):
            yield

    def training_job(self, *data, choices=None, **settings):
        """`training_job` below, to be run in `in_use`."""
        job = training_job(*data, choices=choices, **settings)
        job.rates = self.copy_of(job.rates)
        self._finish(job)
        job.refresh()
        return job

    def prediction_job(self, made, X, **settings):
        """A `PredictionJob`, to be run in `in_use`."""
        job = PredictionJob(made, X, **settings)
        self._finish(job)
        return job

    def reusable_job(self, made, n_rows, dtype_of_X, **settings):
        """A `ReusableJob`, to be run in `in_use`."""
        job = ReusableJob(made, n_rows, dtype_of_X, **settings)
        job._rows, job._results = map(self.copy_of, (job._rows, job._results))
        self._finish(job)
        job._integers = job._records.view(np.int64)
        return job

    def _finish(self, job):
        """What training and prediction have in common."""
        job._set(layers=job.layers)
        job._records = self.held(job._records)
        job.address = address_of(job._records)


def training_job(layers, X, y, weights, *, dtype, optimizer, choices=None, **settings):
    """A job on a new network with everything that one can have.

    choices : what kernels are compiled for; None for what is needed.
    """
    made = Network(layers, dtype, optimizer=optimizer, averaged=True)
    made.write(*weights)
    job = TrainingJob(made, X, y, **settings)
    job._choices = choices or job._choices
    job.refresh()
    return job


# --- Cases ----------------------------------------------------------------------------


def note(case):
    """Write down what is tried: a process that is killed cannot say it.

    Over what was tried before, in a file that stays open: there are thousands of them.
    """
    os.pwrite(_case_file(os.getcwd()), str(case).ljust(_LONGEST_CASE).encode(), 0)


@functools.cache
def _case_file(folder):
    return os.open(os.path.join(folder, "case"), os.O_WRONLY | os.O_CREAT)


def edges(dtype):
    """Units and features around the edges of vectors and panels."""
    lanes, width = tile_shape(dtype).lanes, tile_shape(dtype).width
    around = {n + i for n in (lanes, width) for i in (-1, 0, 1)}
    return sorted({1, *around, 2 * width + 3})


def batches(dtype):
    """Rows of a batch around the edges of tiles, of strips and of their blocks."""
    shape = tile_shape(dtype)
    rows = range(1, 2 * shape.rows + 2)
    return sorted({*rows, *edges(dtype), 4 * shape.width + 1, 300})


def cases(ways, n_samples=lambda rows: rows):
    """(case, memory, X) around all edges; the rest is drawn by lot, and all is noted.

    n_samples : function of the rows of a batch.
    """
    random, rng = Random(0), np.random.default_rng(0)
    # test_instruction_sets asks for less: plain kernels, in some of the precisions
    if asked := os.environ.get("FASTMLP_TEST_DTYPES"):
        dtypes = [np.dtype(name).type for name in asked.split()]
        ways = [way for way in ways if "all" not in way]
    else:
        dtypes = DTYPES
    for way, dtype in product(ways, dtypes):
        outer = edges(dtype)
        for hidden, rows in product(edges(dtype), batches(dtype)):
            if "all" in way and random.random() < 0.6:
                continue  # it shares most of its kernels with the other ways
            inner = random.choice(([], [hidden], [hidden], [hidden, 5]))
            activations, losses = (ACTIVATIONS, LOSSES) if "all" in way else PLAIN
            case = SimpleNamespace(
                units=(random.choice(outer), *inner, random.choice(outer)),
                way=way, dtype=dtype, rows=rows, at_end=random.choice(ENDS),
                depth=random.choice((1, 2, 7)), n_threads=random.choice((1, 2)),
                layout="sparse" if "sparse" in way else random.choice(LAYOUTS),
                other=random.choice(DTYPES), activation=random.choice([*activations]),
                output_activation=random.choice([*OUTPUT_ACTIVATIONS]),
                loss=random.choice(sorted(losses)),
                optimizer=random.choice(sorted(OPTIMIZERS)),
                l2=random.choice((0.0, 0.1)), left_out=random.choice((0, 1, 2)),
            )  # fmt: skip
            note(case)
            case.layers, case.weights = network_for(case.units, way)
            X = rng.standard_normal((n_samples(rows), case.layers[0].fan_in))
            if is_encoded(way):
                for j, column in enumerate(case.layers[0].columns):
                    if column.n_levels:
                        X[:, j] = rng.integers(0, column.n_levels, len(X))
            memory = Memory(case.at_end, adjoining=WAYS.get(way, 0) > 0)
            yield case, memory, memory.of_layout(case.layout, X.astype(case.other))


def is_scaled(way):
    """Whether the first layer is a Scale."""
    return "all" in way and "sparse" not in way and not is_encoded(way)


def is_encoded(way):
    """Whether the first layer is an Encoding."""
    return "encoded" in way


def network_for(units, way):
    """(layers, their parameters in the order of `Network.groups`)."""
    layers, weights = architecture_of(units), random_network(units)
    rng = np.random.default_rng(0)
    if is_scaled(way):
        factors = rng.uniform(0.2, 1, units[0])
        return (Scale(units[0], rate=2.0), *layers), (*weights, [factors])
    if is_encoded(way):
        first, last = encoding_for(units[0]), layers[-1]
        inner = [
            Dense(layer.fan_in, layer.fan_out, is_parametric=i != 1)
            for i, layer in enumerate(layers[:-1])
        ]
        layers = first, *inner, last
        rest = [
            rng.uniform(0.2, 1, parameter.shape) / (1 if parameter.initial else 8)
            for layer in layers
            for parameter in layer.parameters()
            if parameter.group not in ("weights", "biases")
        ]
        alphas = [rest[3:]] if len(rest) > 3 else []
        return layers, (*weights, *([array] for array in rest[:3]), *alphas)
    return layers, weights


def encoding_for(n_inputs):
    """An Encoding that gives so many inputs, of columns of as many kinds as fit."""
    values = np.array([[0.0, 1.0], [-0.5, 0.5]])
    kinds = (
        Column(NUMBER, scale=0.5, has_missing=True),
        Column(ONE_HOT, n_levels=3, values=values),
        Column(EMBEDDING, n_levels=4),
        Column(NUMBER),
    )
    columns, left = [], n_inputs
    while left:
        column = kinds[len(columns) % len(kinds)]
        if column.n_inputs(2, 3) > left:
            column = Column(FLAG)
        columns.append(column)
        left -= column.n_inputs(2, 3)
    return Encoding(tuple(columns), 2, 3, 2.0, 0.5, 3.0)


def extras_for(case):
    """Everything that steps can do; dropout in some of the cases that compile it."""
    rates = dropout_for(case.layers, 0.3)
    return StepOptions(
        loss_parameters=reference.parameters_of(case.loss, case.units[-1]),
        dropout=rates if "all" in case.way and case.left_out else (),
        l1=case.l2, weight_decay=0.1, clip_norm=case.left_out, average_decay=0.9,
    )  # fmt: skip


def dropout_for(layers, rate):
    """The rate for each layer, but none for the columns of a table."""
    return (0.0 if isinstance(layers[0], Encoding) else rate, *[rate] * len(layers[1:]))


def choices_for(case):
    """What kernels are compiled for, see `fastmlp.kernels.passes.train_steps`."""
    if is_encoded(case.way):
        return FOR_TABLES
    sparse = True if case.layout == "sparse" else None
    ways = (None, None, True) if WAYS[case.way] else (True, sparse, None)
    return *ways, True if "all" in case.way else None, None


def dies(function):
    """Whether a copy of this process is killed by a signal when it calls it."""
    child = os.fork()
    if child == 0:
        try:
            faulthandler.disable()
            function()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])
