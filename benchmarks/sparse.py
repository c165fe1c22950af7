"""One epoch on a sparse matrix, beside scikit-learn: seconds, and memory on top.

    python benchmarks/sparse.py [--repeats N]

100,000 x 20,000 with 10 entries a row, 100 hidden units, Adam, batches of 200.  Each
fit runs in a process of its own, in turn; its memory is the highest resident size
during the fit less that before it (sampled every 5 ms, Linux only).
"""

import argparse
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from statistics import median

import numpy as np
from scipy.sparse import csr_matrix

SHAPE = (100_000, 20_000)
ENTRIES_OF_A_ROW = 10


def problem():
    """Random X, and y from the sign of a sum over half of its columns."""
    rng = np.random.default_rng(0)
    count = SHAPE[0] * ENTRIES_OF_A_ROW
    starts = np.arange(0, count + 1, ENTRIES_OF_A_ROW, dtype=np.int32)
    columns = rng.integers(0, SHAPE[1], count, dtype=np.int32)
    X = csr_matrix((rng.standard_normal(count), columns, starts), SHAPE)
    X.sum_duplicates()
    return X, np.asarray(X[:, : SHAPE[1] // 2].sum(axis=1)).ravel() > 0


def resident():
    """Bytes of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def measure(library):
    """(seconds, bytes on top) of one epoch in this process."""
    if library == "fastmlp":
        from fastmlp import MLPClassifier
    else:
        from sklearn.neural_network import MLPClassifier
    warnings.simplefilter("ignore")
    X, y = problem()
    MLPClassifier((10,), max_iter=1).fit(X[:300], y[:300])  # compiles
    highest = before = resident()
    done = threading.Event()

    def watch():
        nonlocal highest
        while not done.wait(0.005):
            highest = max(highest, resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    MLPClassifier((100,), max_iter=1, random_state=0).fit(X, y)
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    return seconds, highest - before


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(*measure(arguments.measure))
        return
    results = {"fastmlp": [], "scikit-learn": []}
    for _ in range(arguments.repeats):
        for library, of_library in results.items():
            command = [sys.executable, __file__, "--measure", library]
            output = subprocess.run(command, check=True, capture_output=True, text=True)
            of_library.append([float(x) for x in output.stdout.split()])
    print("| | seconds (median) | memory on top |\n|---|---:|---:|")
    for library, of_library in results.items():
        seconds, memory = (median(column) for column in zip(*of_library, strict=True))
        print(f"| {library} | {seconds:.2f} | {memory / 1e6:.0f} MB |")
    ratios = [
        theirs[0] / ours[0] for ours, theirs in zip(*results.values(), strict=True)
    ]
    print(f"ratio {median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})")


if __name__ == "__main__":
    main()
