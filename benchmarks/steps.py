"""Time of one training step, beside scikit-learn's, interleaved in one run.

    python benchmarks/steps.py [--repeats N] [WORKLOAD ...]

Both libraries fit the same network to the same float32 data with the same batches
(Adam, ReLU).  The time of a step is the difference of a long and a short fit divided
by the steps between them, so that what a fit costs once does not count.  Each
repeat measures everyone in turn; medians over the repeats and the median, smallest
and largest of the repeats' own ratios are printed as a Markdown table.
"""

import argparse
import os
import platform
import time
import warnings
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import sklearn
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning

import fastmlp


class Workload(NamedTuple):
    """A network, its mini-batch, and how many epochs of how many steps to time."""

    units: tuple
    batch_size: int
    steps: int
    epochs: dict  # of each library


def _epochs(ours, theirs):
    return {"fastmlp": ours, "scikit-learn": theirs}


#: Two classes are one logistic output in scikit-learn and here; "2-8-2" therefore
#: predicts two labels at once, which are two outputs.
WORKLOADS = {
    "2-8-2, batch 32": Workload((2, 8, 2), 32, 100, _epochs(100, 3)),
    "20-100-2, batch 200": Workload((20, 100, 2), 200, 50, _epochs(40, 6)),
    "54-256-256-7, batch 256": Workload((54, 256, 256, 7), 256, 20, _epochs(10, 4)),
    "784-256-128-10, batch 128": Workload((784, 256, 128, 10), 128, 20, _epochs(8, 3)),
}


def problem(workload):
    """Random X and y: the time of a step does not depend on the values."""
    rng = np.random.default_rng(0)
    n_samples = workload.batch_size * workload.steps
    X = rng.standard_normal((n_samples, workload.units[0])).astype(np.float32)
    n_outputs = workload.units[-1]
    if n_outputs == 2:
        return X, rng.integers(0, 2, (n_samples, 2))
    return X, rng.integers(0, n_outputs, n_samples)


def seconds_per_step(estimator, workload, X, y, epochs):
    """(long fit - short fit) / steps between."""
    seconds = []
    for max_iter in (1, 1 + epochs):
        estimator.set_params(max_iter=max_iter)
        started = time.perf_counter()
        estimator.fit(X, y)
        seconds.append(time.perf_counter() - started)
    return (seconds[1] - seconds[0]) / (epochs * workload.steps)


def compare(workload, repeats):
    """Seconds per step of each library, one number per repeat."""
    X, y = problem(workload)
    settings = {
        "hidden_layer_sizes": workload.units[1:-1],
        "batch_size": workload.batch_size,
        "tol": 0.0,
        "n_iter_no_change": np.inf,
        "random_state": 0,
    }
    estimators = {
        "fastmlp": fastmlp.MLPClassifier(**settings),
        "scikit-learn": neural_network.MLPClassifier(**settings),
    }
    results = {name: [] for name in estimators}
    for repeat in range(repeats + 1):
        for name, estimator in estimators.items():
            epochs = workload.epochs[name]
            seconds = seconds_per_step(estimator, workload, X, y, epochs)
            if repeat:  # the first one warms up
                results[name].append(seconds)
    return results


def _processor():
    """The processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def main():
    """Run the workloads named on the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "workloads", nargs="*", metavar="WORKLOAD", help="part of a name"
    )
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    fastmlp.warmup(["float32"])
    print(
        f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"scikit-learn {sklearn.__version__}, fastmlp {fastmlp.__version__}; "
        f"medians of {options.repeats} interleaved repeats\n"
    )
    print("| network, batch | scikit-learn | fastmlp | ratio | smallest, largest |")
    print("|---|---:|---:|---:|---:|")
    for name, workload in WORKLOADS.items():
        if options.workloads and not any(w in name for w in options.workloads):
            continue
        results = compare(workload, options.repeats)
        ours, theirs = results["fastmlp"], results["scikit-learn"]
        ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
        print(
            f"| {name} | {median(theirs) * 1e6:.0f} µs | {median(ours) * 1e6:.1f} µs "
            f"| {median(ratios):.1f} | {min(ratios):.1f}, {max(ratios):.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
