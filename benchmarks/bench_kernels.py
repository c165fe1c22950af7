"""Kernels by themselves: how near they come to what the processor can do."""

import itertools
import time

import numba
import numpy as np
from threadpoolctl import threadpool_limits

from fastmlp.engine.jobs import panels_at_once
from fastmlp.engine.network import Network
from fastmlp.kernels import simd
from fastmlp.kernels.activations import activate
from fastmlp.kernels.layers.dense import add_products
from fastmlp.kernels.optimizers import update
from fastmlp.kernels.panels import panels
from fastmlp.tables.activations import ACTIVATIONS
from fastmlp.tables.optimizers import OPTIMIZERS

from .machine import fma_peak

#: rows, features, units
SHAPES = ["128x784x256", "256x256x256", "512x1024x1024", "200x20x100", "113x77x51"]


@numba.njit(error_model="numpy", nogil=True)
def _forward(c, a, weights, bias, rows, depth, fan_in, fan_out, weight_rows, like):
    tiles = rows // simd.tile_rows(like)
    add_products(
        panels(simd.pointer(a, like), 0, fan_in, rows),
        panels(simd.pointer(weights, like), 0, fan_out, weight_rows),
        simd.pointer(bias, like),
        panels(simd.pointer(c, like), 0, fan_out, rows),
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


def _rates(shape, dtype):
    """Medians over interleaved repeats: our, numpy's and the peak operations/second."""
    rows, fan_in, fan_out = map(int, shape.split("x"))
    rng = np.random.default_rng(0)
    like = np.dtype(dtype).type(0)
    network = Network((fan_in, fan_out), dtype)
    tile = network.shape
    rows = -(-rows // tile.rows) * tile.rows
    a, c = (
        rng.random(rows * (n + tile.width)).astype(dtype) for n in (fan_in, fan_out)
    )
    weights = network.arena.arrays["parameters"]
    weights[:] = rng.random(weights.size)
    layer = network.layers[0]
    addresses = [array.ctypes.data for array in (c, a, weights)]
    bias = addresses[2] + int(layer["per_output"]) * weights.itemsize
    sizes = rows, panels_at_once(network), fan_in, fan_out, int(layer["weight_rows"])
    A = rng.random((rows, fan_in)).astype(dtype)
    B = rng.random((fan_in, fan_out)).astype(dtype)
    C = np.empty((rows, fan_out), dtype)
    work = {
        "fastmlp": lambda: _forward(*addresses, bias, *sizes, like),
        "numpy": lambda: np.matmul(A, B, out=C),
    }
    operations = 2 * rows * fan_in * fan_out
    rates = {name: [] for name in (*work, "peak")}
    for repeat in range(10):
        rates["peak"].append(fma_peak(1, dtype, repeats=3))
        for name, call in work.items():
            count = max(1, int(3e-3 * rates["peak"][-1] / operations))
            started = time.perf_counter()
            for _ in range(count):
                call()
            seconds = time.perf_counter() - started
            if repeat:  # the first one warms up
                rates[name].append(count * operations / seconds)
    return {name: float(np.median(values)) for name, values in rates.items()}


class Product:
    """The fused forward product of one layer, one thread, beside numpy's BLAS."""

    params = (SHAPES, ["float32", "float64"])
    param_names = ("rows x features x units", "dtype")
    timeout = 300

    def setup_cache(self):
        # numpy on one thread, too
        with threadpool_limits(1):
            return {key: _rates(*key) for key in itertools.product(*self.params)}

    def track_gigaflops(self, rates, shape, dtype):
        return rates[shape, dtype]["fastmlp"] / 1e9

    def track_ratio_to_numpy(self, rates, shape, dtype):
        return rates[shape, dtype]["fastmlp"] / rates[shape, dtype]["numpy"]

    def track_fraction_of_peak(self, rates, shape, dtype):
        return rates[shape, dtype]["fastmlp"] / rates[shape, dtype]["peak"]

    track_gigaflops.unit = "GF/s"
    track_ratio_to_numpy.unit = "times as fast"
    track_fraction_of_peak.unit = "of the FMA peak"


class Elementwise:
    """Activations and update rules, nanoseconds for one number."""

    params = ([*ACTIVATIONS, *OPTIMIZERS], ["float32", "float64"])
    param_names = ("function", "dtype")
    timeout = 300

    def setup_cache(self):
        return {key: self._nanoseconds(*key) for key in itertools.product(*self.params)}

    @staticmethod
    def _nanoseconds(name, dtype, count=4096, turns=50):
        rng = np.random.default_rng(0)
        like = np.dtype(dtype).type(0)
        arrays = [rng.random(count).astype(dtype) for _ in range(4)]
        addresses = [array.ctypes.data for array in arrays]
        if name in ACTIVATIONS:
            kernel, code, used = _activate, ACTIVATIONS[name].code, addresses[:1]
        else:
            kernel, code, used = _update, OPTIMIZERS[name].code, addresses
        times = []
        for _ in range(9):
            started = time.perf_counter()
            for _ in range(turns):
                kernel(code, *used, count, like)
            times.append(time.perf_counter() - started)
        return float(np.median(times)) / turns / count * 1e9

    def track_nanoseconds(self, times, name, dtype):
        return times[name, dtype]

    track_nanoseconds.unit = "ns"
