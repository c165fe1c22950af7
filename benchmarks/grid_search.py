"""A grid search over a pipeline, beside scikit-learn: seconds and what is found.

    python benchmarks/grid_search.py [--repeats N] [--samples N]

12 candidates, 5 folds, two processes.  Each search runs in a process of its own, in
turn: fastmlp with kernels that are compiled already, scikit-learn, and fastmlp with an
empty cache, which the parent and both workers have to fill.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from statistics import median

from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

GRID = {
    "mlpclassifier__hidden_layer_sizes": [(20,), (100,), (50, 50)],
    "mlpclassifier__alpha": [1e-4, 1e-2],
    "mlpclassifier__learning_rate_init": [1e-3, 1e-2],
}


def measure(library, n_samples):
    """(seconds, best score, best parameters) of one search in this process."""
    if library.startswith("fastmlp"):
        from fastmlp import MLPClassifier
    else:
        from sklearn.neural_network import MLPClassifier
    X, y = make_classification(
        n_samples, 20, n_informative=10, n_classes=3, class_sep=0.7, random_state=0
    )
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(random_state=0))
    started = time.perf_counter()
    search = GridSearchCV(pipeline, GRID, cv=5, n_jobs=2).fit(X, y)
    seconds = time.perf_counter() - started
    return seconds, search.best_score_, list(search.best_params_.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(*measure(arguments.measure, arguments.samples), sep="\t")
        return

    def run(library, cache=None):
        environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
        if cache is not None:
            environment["FASTMLP_CACHE_DIR"] = cache
        command = [
            sys.executable, __file__, "--measure", library,
            "--samples", str(arguments.samples),
        ]  # fmt: skip
        output = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, env=environment
        )
        seconds, *found = output.stdout.strip().split("\t")
        return float(seconds), found

    run("fastmlp")  # compiles
    seconds = {"fastmlp": [], "scikit-learn": [], "fastmlp, cold cache": []}
    found = {}
    for _ in range(arguments.repeats):
        for library, of_library in seconds.items():
            if library.endswith("cold cache"):
                with tempfile.TemporaryDirectory() as empty:
                    result, found[library] = run(library, empty)
            else:
                result, found[library] = run(library)
            of_library.append(result)
    print("| | seconds (median) | ratio | score | best parameters |")
    print("|---|---:|---:|---:|---|")
    theirs = median(seconds["scikit-learn"])
    for library, of_library in seconds.items():
        ours = median(of_library)
        score, parameters = found[library]
        print(
            f"| {library} | {ours:.1f} | {theirs / ours:.1f} | {float(score):.4f} | "
            f"{parameters} |"
        )


if __name__ == "__main__":
    main()
