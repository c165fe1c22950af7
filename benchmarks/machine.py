"""What the machine can do at most: multiply-adds and bytes per second."""

import threading
import time

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fastmlp.kernels.simd import (
    INSTRUCTION_SET,
    INT,
    broadcast,
    multiply_add,
    tile_shape,
)

__all__ = ["bandwidth", "fma_peak"]

# independent sums: enough to hide the latency of multiply-adds, and all in registers
_CHAINS = 24 if INSTRUCTION_SET in ("avx512", "neon") else 12
_TURNS = 50_000


@intrinsic
def _fma_chains(typing_context, turns, x):
    """`turns` times a multiply-add of x to each of _CHAINS vectors."""
    lanes = tile_shape(x).lanes

    def codegen(context, builder, signature, arguments):
        turns, x = arguments
        vector = broadcast(builder, x, lanes)
        before = builder.block
        turn, after = (builder.append_basic_block(n) for n in ("turn", "after"))
        builder.branch(turn)
        builder.position_at_end(turn)
        i = builder.phi(INT)
        sums = [builder.phi(vector.type) for _ in range(_CHAINS)]
        updated = [multiply_add(builder, s, vector, vector) for s in sums]
        next_i = builder.add(i, INT(1))
        i.add_incoming(INT(0), before)
        i.add_incoming(next_i, turn)
        for phi, value in zip(sums, updated, strict=True):
            phi.add_incoming(vector, before)
            phi.add_incoming(value, turn)
        builder.cbranch(builder.icmp_signed("<", next_i, turns), turn, after)
        builder.position_at_end(after)
        total = updated[0]
        for value in updated[1:]:
            total = builder.fadd(total, value)
        return builder.extract_element(total, ir.IntType(32)(0))

    return x(types.int64, x), codegen


@numba.njit(nogil=True)
def _multiply_add(turns, x):
    return _fma_chains(turns, x)


@numba.njit(nogil=True, fastmath={"reassoc", "nsz", "contract"})
def _read(numbers):
    total = numbers[0]
    for i in range(numbers.size):
        total += numbers[i]
    return total


def _seconds(work, n_threads):
    """Wall time of ``work(number)`` in so many threads at once."""
    barrier = threading.Barrier(n_threads + 1)

    def run(number):
        barrier.wait()
        work(number)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n_threads)]
    for thread in threads:
        thread.start()
    barrier.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


def fma_peak(n_threads=1, dtype="float32", repeats=9):
    """Floating-point operations per second of multiply-adds in registers.

    The median of some short measurements: what the cores give at the time.
    """
    x = np.dtype(dtype).type(0.999)
    _multiply_add(1, x)
    turns = 20 * _TURNS
    operations = 2 * _CHAINS * tile_shape(dtype).lanes * turns * n_threads
    times = [
        _seconds(lambda number: _multiply_add(turns, x), n_threads)
        for _ in range(repeats)
    ]
    return operations / float(np.median(times))


def bandwidth(n_bytes, n_threads=1, repeats=9):
    """Bytes per second of reading the same `n_bytes` per thread again and again."""
    arrays = [np.ones(n_bytes // 8) for _ in range(n_threads)]
    _read(arrays[0][:1])
    turns = max(1, int(2e8 // n_bytes))

    def work(number):
        for _ in range(turns):
            _read(arrays[number])

    times = [_seconds(work, n_threads) for _ in range(repeats)]
    return n_bytes * turns * n_threads / float(np.median(times))
