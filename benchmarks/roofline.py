"""How close training steps come to what the CPU can do, as Markdown.

    python -m benchmarks.roofline        (from the top of the repository)

Prints the tables of docs/performance.md: the machine's peaks, every workload against
them on one thread and on all, and how the time of a step grows with batch, width,
depth and samples.
"""

import os
import time
from itertools import pairwise

import numpy as np

from .common import Steps
from .machine import bandwidth, fma_peak
from .workloads import WORKLOADS, Workload

CORES = os.cpu_count() or 1


def seconds_per_step(steps, job_steps, least=0.05):
    """Time of a step, of one run that takes about `least` seconds."""
    started = time.perf_counter()
    steps.epoch()
    once = time.perf_counter() - started
    epochs = max(1, int(least / once))
    started = time.perf_counter()
    for _ in range(epochs):
        steps.epoch()
    return (time.perf_counter() - started) / epochs / job_steps


def measure(workload, threads, repeats=9):
    """{threads: (median seconds per step, median fraction of the peak)}."""
    teams = {n: Steps(workload, n) for n in threads}
    results = {n: [] for n in threads}
    for _ in range(repeats):
        for n, steps in teams.items():
            peak = n * fma_peak(1, workload.dtype, repeats=3)
            seconds = seconds_per_step(steps, workload.steps)
            results[n].append((seconds, workload.operations / seconds / peak))
    for steps in teams.values():
        steps.close()
    return {n: tuple(np.median(values, axis=0)) for n, values in results.items()}


def bytes_per_step(workload):
    """Numbers that a step must at least move between a core's own cache and the rest.

    Weights, moments and transposed weights read and written once; each activation
    and delta written in the first phase and read in the second.
    """
    itemsize = np.dtype(workload.dtype).itemsize
    units = workload.units
    weights = [a * b for a, b in pairwise(units)]
    state = 2 * (3 * sum(weights) + sum(weights[1:])) + sum(weights)
    rows = workload.batch_size * 2 * (sum(units) + sum(units[1:-1]))
    return itemsize * (state + rows)


def print_peaks():
    """The machine: multiply-adds, and reading from each level of the memory."""
    print("| threads | float32 GF/s | float64 GF/s | 256 KiB GB/s | 8 MiB | 256 MiB |")
    print("|---:|---:|---:|---:|---:|---:|")
    for n in sorted({1, CORES}):
        peaks = [fma_peak(n, dtype) / 1e9 for dtype in ("float32", "float64")]
        reads = [bandwidth(size << 10, n) / 1e9 for size in (256, 8 << 10, 256 << 10)]
        print(f"| {n} | " + " | ".join(f"{x:.0f}" for x in (*peaks, *reads)) + " |")


def cell(seconds, fraction):
    """Microseconds of a step, and the fraction of the peak."""
    return f"{seconds * 1e6:,.{0 if seconds >= 1e-4 else 1}f} ({fraction:.0%})"


def millions(count):
    """Three digits of a number of millions, without an exponent."""
    return f"{count / 1e6:,.0f}" if count >= 1e9 else f"{count / 1e6:.3g}"


def print_workloads():
    """Every workload, one thread and all."""
    print(
        "\n| network | MFLOP per step | FLOP/byte | 1 thread, µs (of peak) | "
        f"{CORES} threads, µs (of peak) | speed-up |"
    )
    print("|---|---:|---:|---:|---:|---:|")
    for workload in WORKLOADS:
        if workload.kind != "train":
            continue
        results = measure(workload, sorted({1, CORES}))
        one, all_cores = results[1], results[CORES]
        intensity = workload.operations / bytes_per_step(workload)
        print(
            f"| {workload.description} | {millions(workload.operations)} | "
            f"{intensity:.0f} | {cell(*one)} | {cell(*all_cores)} | "
            f"{one[0] / all_cores[0]:.2f} |",
            flush=True,
        )


def print_growth():
    """The time of a step as one size grows: 64 features, 2 × 256 units, batch 256."""
    base = {"batch": 256, "width": 256, "hidden layers": 2}
    series = {
        "batch": (16, 64, 256, 1024),
        "width": (16, 64, 256, 1024),
        "hidden layers": (1, 2, 4, 8),
    }
    print("\n| one size changed | 1 thread, µs (of peak) |")
    print("|---|---:|")
    for what, values in series.items():
        for value in values:
            sizes = {**base, what: value}
            units = (64, *[sizes["width"]] * sizes["hidden layers"], 8)
            workload = Workload("growth", units, sizes["batch"], 8)
            result = measure(workload, [1], repeats=5)[1]
            print(f"| {what} {value} | {cell(*result)} |", flush=True)


if __name__ == "__main__":
    print_peaks()
    print_workloads()
    print_growth()
