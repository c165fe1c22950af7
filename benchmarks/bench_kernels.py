"""Kernels by themselves: how near they come to what the processor can do."""

import time

import numba
import numpy as np

from fastmlp.kernels import dense, simd
from fastmlp.kernels.activations import ACTIVATIONS, activate
from fastmlp.kernels.optimizers import OPTIMIZERS, update
from fastmlp.network import Network

from .machine import fma_peak

#: rows, features, units
SHAPES = ["128x784x256", "256x256x256", "512x1024x1024", "200x20x100", "113x77x51"]


@numba.njit(error_model="numpy", nogil=True)
def _forward(c, a, weights, bias, rows, depth, fan_in, fan_out, weight_rows, like):
    tiles = rows // simd.tile_rows(like)
    dense.forward(
        dense.panels(simd.pointer(a, like), 0, fan_in, rows),
        dense.panels(simd.pointer(weights, like), 0, fan_out, weight_rows),
        simd.pointer(bias, like),
        dense.panels(simd.pointer(c, like), 0, fan_out, rows),
        0,
        tiles,
        depth,
        1,
        True,
    )


@numba.njit(error_model="numpy", nogil=True)
def _activate(code, z, count, like):
    activate(code, simd.pointer(z, like), count)


@numba.njit(error_model="numpy", nogil=True)
def _update(code, w, s, m, v, count, like):
    rate = simd.cast(1e-9, like)
    rates = (rate, rate, rate, rate, rate, rate)
    update(
        code, simd.pointer(w, like), simd.pointer(s, like), simd.pointer(m, like),
        simd.pointer(v, like), count, rate, rate, rates,
    )  # fmt: skip


class Product:
    """The fused forward product of one layer, one thread, beside numpy's BLAS."""

    params = (SHAPES, ["float32", "float64"])
    param_names = ("rows x features x units", "dtype")

    def setup(self, shape, dtype):
        rows, fan_in, fan_out = map(int, shape.split("x"))
        rng = np.random.default_rng(0)
        self.like = np.dtype(dtype).type(0)
        network = Network((fan_in, fan_out), dtype)
        tile = network.shape
        rows = -(-rows // tile.rows) * tile.rows
        self.operations = 2 * rows * fan_in * fan_out
        room = [fan_in + tile.width, fan_out + tile.width]
        self.arrays = [rng.random(rows * n).astype(dtype) for n in room]
        a, c = self.arrays
        weights = network.arena.arrays["parameters"]
        weights[:] = rng.random(weights.size)
        self.network = network
        layer = network.layers[0]
        start = int(layer["biases"]) * weights.itemsize
        self.arguments = (
            c.ctypes.data, a.ctypes.data, weights.ctypes.data,
            weights.ctypes.data + start, rows, 7, fan_in, fan_out,
            int(layer["weight_rows"]), self.like,
        )  # fmt: skip
        self.a = rng.random((rows, fan_in)).astype(dtype)
        self.b = rng.random((fan_in, fan_out)).astype(dtype)
        self.time_product(shape, dtype)

    def time_product(self, shape, dtype):
        _forward(*self.arguments)

    def time_numpy(self, shape, dtype):
        self.a @ self.b

    def track_fraction_of_peak(self, shape, dtype):
        fractions = []
        for _ in range(9):
            peak = fma_peak(1, dtype, repeats=1)
            count = max(1, int(5e-3 * peak / self.operations))
            started = time.perf_counter()
            for _ in range(count):
                _forward(*self.arguments)
            seconds = time.perf_counter() - started
            fractions.append(count * self.operations / seconds / peak)
        return float(np.median(fractions))

    track_fraction_of_peak.unit = "of the FMA peak"


class Elementwise:
    """Activations and update rules on 4096 numbers."""

    params = ([*ACTIVATIONS, *OPTIMIZERS], ["float32", "float64"])
    param_names = ("function", "dtype")

    def setup(self, name, dtype):
        rng = np.random.default_rng(0)
        self.like = np.dtype(dtype).type(0)
        self.arrays = [rng.random(4096).astype(dtype) for _ in range(4)]
        addresses = [array.ctypes.data for array in self.arrays]
        if name in ACTIVATIONS:
            code = ACTIVATIONS[name].code
            self.call = lambda: _activate(code, addresses[0], 4096, self.like)
        else:
            code = OPTIMIZERS[name].code
            self.call = lambda: _update(code, *addresses, 4096, self.like)
        self.call()

    def time_4096(self, name, dtype):
        self.call()
