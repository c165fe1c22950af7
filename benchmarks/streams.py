"""Fits from Parquet files beside fits from memory: rows a second, loss, memory.

    python -m benchmarks.streams [--rows N] [--sizes GB ...] [--repeats N]

Rows of 50 features in float32, in row groups of 50,000, a buffer of 100,000 rows,
batches of 200.  Speed and loss: networks of three sizes, from memory and from the file
in turn, by the median epoch.  Memory: files of several sizes, each read in a process of
its own for one epoch, whose memory on top of what it had before is the highest resident
size; and whose address space may grow by no more than 1 GB (Linux only).
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from fastmlp import MLPClassifier
from fastmlp.sources import from_parquet

N_FEATURES, ROWS_OF_A_GROUP, BUFFER = 50, 50_000, 100_000
NETWORKS = {"small": (16,), "middle": (100,), "large": (256, 256)}
EPOCHS = 4


def rows(n, seed=0):
    """X, and y from the signs of products of some of its columns."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, N_FEATURES), np.float32)
    return X, ((X[:, 0] * X[:, 1] > 0) * 2 + (X[:, 2] * X[:, 3] + X[:, 4] > 0)) * 1


def table(X, y):
    """X and y as columns."""
    columns = {f"f{j}": np.ascontiguousarray(X[:, j]) for j in range(N_FEATURES)}
    return pa.table(columns | {"y": y.astype(np.int8)})


def epochs_of(model, *data):
    """Seconds of each epoch, and the model."""
    ends = [time.perf_counter()]
    model.set_params(callbacks=[lambda _: ends.append(time.perf_counter())])
    model.fit(*data)
    return np.diff(ends)


def compare_speed(folder, n_rows, repeats):
    """Print rows a second and losses, from memory and from a file."""
    X, y = rows(n_rows)
    path = folder / "speed.parquet"
    parquet.write_table(table(X, y), path, row_group_size=ROWS_OF_A_GROUP)
    print(f"{n_rows} rows, {path.stat().st_size / 1e6:.0f} MB, {EPOCHS} epochs\n")
    print("| network | from memory | from Parquet | share | loss | loss, Parquet |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, hidden in NETWORKS.items():
        seconds, losses = {"memory": [], "Parquet": []}, {}
        for _ in range(repeats):
            for kind, of_kind in seconds.items():
                model = MLPClassifier(hidden, max_iter=EPOCHS, random_state=0, tol=0)
                data = X, y
                if kind == "Parquet":
                    data = (from_parquet(path, target="y", shuffle_buffer=BUFFER),)
                # the first epoch of a stream has the pass before it
                of_kind += epochs_of(model, *data)[1:].tolist()
                losses[kind] = model.loss_
        memory, stream = (n_rows / median(s) for s in seconds.values())
        hidden = " + ".join(map(str, hidden))
        print(
            f"| {name} ({hidden} units) | {memory / 1e3:,.0f} k/s | "
            f"{stream / 1e3:,.0f} k/s | {stream / memory:.0%} | "
            f"{losses['memory']:.4f} | {losses['Parquet']:.4f} |",
            flush=True,
        )


def write_large(path, gigabytes):
    """A file of so many bytes of features; returns the number of its rows."""
    n_groups = max(1, round(gigabytes * 1e9 / (ROWS_OF_A_GROUP * N_FEATURES * 4)))
    writer = None
    for group in range(n_groups):
        part = table(*rows(ROWS_OF_A_GROUP, group))
        writer = writer or parquet.ParquetWriter(path, part.schema)
        writer.write_table(part)
    writer.close()
    return n_groups * ROWS_OF_A_GROUP


def status(name):
    """A number of bytes that Linux keeps of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise KeyError(name)


def measure_memory(path):
    """Print what an epoch takes, in this process, which may not grow by much."""
    X, y = rows(1000)
    small = path.with_name("small.parquet")
    parquet.write_table(table(X, y), small)
    source = from_parquet(small, target="y", shuffle_buffer=500)
    MLPClassifier((16,), max_iter=1).fit(source)  # loads all libraries
    before = status("VmRSS")
    limit = status("VmSize") + 10**9
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    started = time.perf_counter()
    source = from_parquet(path, target="y", shuffle_buffer=BUFFER)
    MLPClassifier((16,), max_iter=1, random_state=0).fit(source)
    seconds = time.perf_counter() - started
    print(json.dumps([status("VmHWM") - before, seconds]))


def compare_memory(folder, sizes):
    """Print the memory of fits to files of several sizes."""
    print("\n| features | rows | memory on top | seconds |\n|---:|---:|---:|---:|")
    for gigabytes in sizes:
        path = folder / "large.parquet"
        n_rows = write_large(path, gigabytes)
        command = [sys.executable, "-m", "benchmarks.streams", "--measure", str(path)]
        output = subprocess.run(command, check=True, capture_output=True, text=True)
        memory, seconds = json.loads(output.stdout)
        print(
            f"| {gigabytes:g} GB | {n_rows:,} | {memory / 1e6:.0f} MB "
            f"| {seconds:.1f} |",
            flush=True,
        )
        path.unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--sizes", type=float, nargs="*", default=[0.2, 1, 4])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.measure:
        measure_memory(arguments.measure)
        return
    with tempfile.TemporaryDirectory() as folder:
        compare_speed(Path(folder), arguments.rows, arguments.repeats)
        compare_memory(Path(folder), arguments.sizes)


if __name__ == "__main__":
    main()
