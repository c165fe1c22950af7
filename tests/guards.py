"""Memory between pages that nobody may touch, and whole jobs on it.

A read or a store one number outside of a buffer kills the process.  Each layer's
weights, biases, activations and deltas are a buffer of their own, and so is each
thread's share: kernels are told the distance from one to the next, however long it is.
Buffers are only as aligned as their numbers are: kernels need no more.
"""

import ctypes
import faulthandler
import mmap
import os
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from random import Random
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import reference
import scipy.sparse

from fastmlp import jobs, network, samples
from fastmlp.extras import Extras
from fastmlp.jobs import PredictionJob, TrainingJob
from fastmlp.kernels.simd import tile_shape
from fastmlp.network import Network, address_of, round_up
from fastmlp.tables.activations import ACTIVATIONS
from fastmlp.tables.losses import LOSSES, OUTPUT_ACTIVATIONS
from fastmlp.tables.optimizers import OPTIMIZERS

DTYPES = (np.float32, np.float64)
ENDS = (True, False)  # where a buffer is next to a forbidden page: its end, its start
LAYOUTS = ("C", "F", "reversed", "strided")
#: By which kernels steps go: "all" are compiled for stored derivatives, for masks and
#: for losses with parameters; to compile every choice by itself would take too long.
WAYS = {"tiles": 0, "one strip": 1, "three strips": 3, "sparse": 0, "all tiles": 0,
        "all strips": 3, "all sparse": 0}  # fmt: skip

#: Activations and losses that need no choice at compile time.
PLAIN = (
    [name for name, row in ACTIVATIONS.items() if not row.stores_derivatives],
    [name for name, row in LOSSES.items() if not row.is_parametric],
)

#: The buffers that jobs use, by the names of their addresses.
_OF_NETWORK = ["X", "parameters", "workspace", "scratch", "order"]
_OF_TRAINING = [*_OF_NETWORK, "first_moment", "second_moment", "penalties", "targets",
                "sample_weights", "sample_losses"]  # fmt: skip
USED = {
    "tiles": [*_OF_TRAINING, "transposed"],
    "three strips": [*_OF_TRAINING, "gradients"],
    "sparse": [*_OF_TRAINING, "transposed", "row_starts", "column_indices",
               "feature_starts", "entry_rows", "entry_values"],
    "prediction": [*_OF_NETWORK, "outputs"],
}  # fmt: skip


@contextmanager
def tight(strips=0, depth=1):
    """Buffers without a number to spare; samples are always fetched ahead.

    strips : that a batch is cut into; depth : panels that a product sums at once.
    """
    with (
        patch.object(jobs, "strips_of", lambda *_: strips),
        patch.object(jobs, "panels_at_once", lambda _: depth),
        patch.object(jobs, "_SCRATCH_GAP", 0),
        patch.object(jobs, "_LEAST_BLOCK_ROWS", 1),
        patch.object(jobs, "_MOST_BLOCK_ROWS", 48),
        patch.object(samples, "_NEAR_BYTES", -1),
        patch.object(
            jobs._Job, "_capacity", lambda job, n: round_up(n, job.network.shape.rows)
        ),
    ):
        yield


class Memory:
    """Buffers whose ends, or else whose starts, are next to a forbidden page."""

    def __init__(self, at_end):
        self._at_end = at_end
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

    @contextmanager
    def in_use(self, team=None):
        """All addresses that kernels get, and what the team shares, are in here."""
        if team is not None:
            team.shared = self.held(team.shared)
        with (
            patch.object(jobs, "address_of", self.address_of),
            patch.object(network, "address_of", self.address_of),
        ):
            yield

    def network(self, units, dtype, weights, *, adjoining=False, **settings):
        """A network; strips want the biases to adjoin the weights."""
        made = Network(units, dtype, **settings)
        layers, lanes = made.layers, made.shape.lanes
        biases = round_up(layers["fan_out"], lanes)
        sizes = np.array([layers["weight_rows"] * biases, biases])
        self._parameters = sizes.sum(axis=0) if adjoining else sizes.T.ravel()
        arrays = made.arena.arrays
        for name in ("average", "second_moment", "first_moment", "parameters"):
            if arrays[name].size:
                arrays[name], starts, _ = self.buffers(self._parameters, dtype)
        if adjoining:
            layers["weights"], layers["biases"] = starts, starts + sizes[0]
        else:
            layers["weights"], layers["biases"] = starts.reshape(-1, 2).T
        if made.trainable:
            sizes = (biases * round_up(layers["fan_in"], lanes))[1:]
            arrays["transposed"], starts, _ = self.buffers(sizes, dtype)
            layers["transposed"][1:] = starts
        made.write(*weights)
        return made

    def training_job(
        self, units, X, y, *weights, dtype, optimizer, strips, choices=None, **settings
    ):
        """`data.training_job`, to be run in `in_use`.

        choices : what kernels are compiled for; None for what is needed.
        """
        made = self.network(
            units, dtype, weights, adjoining=strips > 0, trainable=True,
            n_moments=OPTIMIZERS[optimizer].n_moments, averaged=True,
        )  # fmt: skip
        place, sizes = TrainingJob._place_layers, []

        def note_sizes(job, of_layers):
            stored = np.array(of_layers[1:])[job._stored]
            sizes[:] = [*of_layers, *of_layers[1:-1], *stored]
            return place(job, of_layers)

        with patch.object(TrainingJob, "_place_layers", note_sizes):
            job = TrainingJob(made, X, y, optimizer=optimizer, **settings)
        job._choices = choices or job._choices
        job.rates = self.copy_of(job.rates)
        n, copies = made.n_layers, job._n_threads if strips else 1
        workspace, starts, stride = self.buffers(sizes, dtype, copies)
        job.layers["inputs"], job.layers["outputs"] = starts[:n], starts[1 : n + 1]
        job.layers["deltas"] = [*starts[n + 1 : 2 * n], starts[n]]
        job.layers["derivatives"][job._stored] = starts[2 * n :]
        job._set(workspace=workspace, workspace_size=stride if strips else 0)
        gradients, _, stride = self.buffers(self._parameters, dtype, max(strips, 1))
        job._set(gradients=gradients, gradients_size=stride)
        n_pieces = job._records["n_pieces"][0]
        job._set(squares=np.zeros(n_pieces, dtype), penalties=np.zeros(n_pieces, dtype))
        self._finish(job, dtype)
        job.refresh()
        return job

    def prediction_job(self, made, X, *, dtype, **settings):
        """A `PredictionJob`, to be run in `in_use`."""
        job = PredictionJob(made, X, dtype=dtype, **settings)
        sizes = np.array(job._widths()) * job._records["capacity"]
        workspace, starts, stride = self.buffers(sizes, made.dtype, job._n_threads)
        job.layers["inputs"], job.layers["outputs"] = starts[:-1], starts[1:]
        job._set(workspace=workspace, workspace_size=stride)
        self._finish(job, dtype)
        job._integers = job._records.view(np.int64)
        return job

    def _finish(self, job, scratch_dtype):
        """What training and prediction have in common."""
        size = job._records["scratch_size"]
        scratch, (start,), stride = self.buffers(size, scratch_dtype, job._n_threads)
        job._set(scratch=scratch[start:], scratch_size=stride, layers=job.layers)
        job._records = self.held(job._records)
        job.address = address_of(job._records)


# --- Cases ----------------------------------------------------------------------------


def note(case):
    """Write down what is tried: a process that is killed cannot say it."""
    Path("case").write_text(str(case))


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
            X = rng.standard_normal((n_samples(rows), case.units[0]))
            memory = Memory(case.at_end)
            yield case, memory, memory.of_layout(case.layout, X.astype(case.other))


def extras_for(case):
    """Everything that steps can do; dropout if that is compiled."""
    rates = (0.3 if case.left_out else 0.0,) * (len(case.units) - 1)
    return Extras(
        loss_parameters=reference.parameters_of(case.loss, case.units[-1]),
        dropout=rates if "all" in case.way else (),
        l1=case.l2, weight_decay=0.1, clip_norm=case.left_out, average_decay=0.9,
    )  # fmt: skip


def choices_for(case):
    """What kernels are compiled for, see `fastmlp.kernels.passes.train_steps`."""
    sparse = True if case.layout == "sparse" else None
    ways = (None, None, True) if WAYS[case.way] else (True, sparse, None)
    return *ways, *[True if "all" in case.way else None] * 3


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
