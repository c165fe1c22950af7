"""Searches: fastmlp's own, scikit-learn's over fastmlp, scikit-learn's over its MLP.

    python benchmarks/grid_search.py [grid|random|threads ...] [--repeats N]

grid: 12 candidates of a pipeline, 5 folds, 10,000 x 20.  random: 200 random candidates,
3 folds, 2,000 x 20.  Both with two threads, or two processes.  Each search runs in a
process of its own, in turn, with kernels that are compiled already ("cold": in an empty
cache, which the process, or both workers, have to fill).  threads: fits per second of a
search on one thread and on two, in turn in one process.

CPU seconds are those of the process and its workers, and depend less than seconds do on
what else runs on the machine.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

#: Of the table: name, whose search, whose network, and whether the cache is empty.
CONTESTANTS = {
    "fastmlp.model_selection": ("fastmlp", "fastmlp", False),
    "fastmlp.model_selection, cold": ("fastmlp", "fastmlp", True),
    "scikit-learn's search over fastmlp": ("sklearn", "fastmlp", False),
    "scikit-learn's search over fastmlp, cold": ("sklearn", "fastmlp", True),
    "scikit-learn": ("sklearn", "sklearn", False),
}

#: The last step of the pipeline.
_MLP = "mlpclassifier__"


def grid_of(n_candidates=None):
    """Parameters to try: a grid, or distributions."""
    if n_candidates is None:
        return {
            f"{_MLP}hidden_layer_sizes": [(20,), (100,), (50, 50)],
            f"{_MLP}alpha": [1e-4, 1e-2],
            f"{_MLP}learning_rate_init": [1e-3, 1e-2],
        }
    from scipy.stats import loguniform

    return {
        f"{_MLP}hidden_layer_sizes": [(20,), (100,), (50, 50)],
        f"{_MLP}alpha": loguniform(1e-5, 1.0),
        f"{_MLP}learning_rate_init": loguniform(1e-3, 1e-1),
    }


def cpu_seconds():
    """Of this process and of those that it has waited for."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure(case, search, network, n_candidates):
    """(seconds, CPU seconds, best score, best parameters) in this process."""
    from joblib.externals.loky import get_reusable_executor
    from sklearn.datasets import make_classification
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if search == "fastmlp":
        from fastmlp.model_selection import GridSearchCV, RandomizedSearchCV
    else:
        from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
    if network == "fastmlp":
        from fastmlp import MLPClassifier
    else:
        from sklearn.neural_network import MLPClassifier
    n_samples = 10_000 if case == "grid" else 2_000
    X, y = make_classification(
        n_samples, 20, n_informative=10, n_classes=3, class_sep=0.7, random_state=0
    )
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(random_state=0))
    if case == "grid":
        made = GridSearchCV(pipeline, grid_of(), cv=5, n_jobs=2)
    else:
        made = RandomizedSearchCV(
            pipeline, grid_of(n_candidates), n_iter=n_candidates, cv=3, n_jobs=2,
            random_state=0,
        )  # fmt: skip
    used, started = cpu_seconds(), time.perf_counter()
    made.fit(X, y)
    seconds = time.perf_counter() - started
    if search == "sklearn":  # only workers that have ended count
        get_reusable_executor().shutdown(wait=True)
    parameters = ", ".join(
        f"{value:.3g}" if isinstance(value, float) else str(value)
        for value in made.best_params_.values()
    )
    return seconds, cpu_seconds() - used, made.best_score_, parameters


def run(case, contestant, n_candidates):
    """What `measure` returns, in a process of its own."""
    search, network, is_cold = CONTESTANTS[contestant]
    command = [
        sys.executable, __file__, "--measure", case, search, network, str(n_candidates),
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as empty:
        environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
        if is_cold:
            environment["FASTMLP_CACHE_DIR"] = empty
        output = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, env=environment
        )
    seconds, cpu, score, parameters = output.stdout.strip().split("\t")
    return float(seconds), float(cpu), float(score), parameters


def compare(case, repeats, n_candidates, chosen):
    """Print a table of all contestants."""
    warm = [name for name in chosen if not CONTESTANTS[name][2]]
    run(case, warm[0], 2)  # compiles
    results = {name: [] for name in chosen}
    for _ in range(repeats):
        for name, found in results.items():
            found.append(run(case, name, n_candidates))
    middle = {
        name: [median(each[i] for each in found) for i in (0, 1)]
        for name, found in results.items()
    }
    base = middle[warm[0]]
    print(f"\n{case}: medians of {repeats}\n")
    print("| | seconds | ratio | CPU seconds | ratio | score | best parameters |")
    print("|---|---:|---:|---:|---:|---:|---|")
    for name, (seconds, cpu) in middle.items():
        score, parameters = results[name][0][2:]
        print(
            f"| {name} | {seconds:.1f} | {seconds / base[0]:.2f} | {cpu:.1f} | "
            f"{cpu / base[1]:.2f} | {score:.4f} | {parameters} |"
        )


def threads(repeats):
    """Print fits per second of searches on one and on two threads."""
    import warnings

    import numpy as np

    from benchmarks.workloads import BY_NAME, problem
    from fastmlp import MLPClassifier
    from fastmlp.model_selection import GridSearchCV

    warnings.simplefilter("ignore")
    print(f"\nthreads: medians of {repeats}\n")
    print("| network | fits | epochs | fits/s, 1 thread | 2 threads | ratio | of CPU |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, epochs in (("tiny", 200), ("tab", 5)):
        workload = BY_NAME[name]
        X, y = problem(workload)
        model = MLPClassifier(
            workload.units[1:-1], batch_size=workload.batch_size, max_iter=epochs,
            tol=0, n_iter_no_change=epochs, random_state=0,
        )  # fmt: skip
        alphas = np.logspace(-5, 0, 8).tolist()
        search = GridSearchCV(model, {"alpha": alphas}, cv=3, refit=False)
        search.set_params(n_jobs=2).fit(X, y)  # compiles
        found = {1: [], 2: []}
        for _ in range(repeats):
            for n_threads, times in found.items():
                used, started = cpu_seconds(), time.perf_counter()
                search.set_params(n_jobs=n_threads).fit(X, y)
                times.append(
                    (time.perf_counter() - started, cpu_seconds() - used)
                )  # fmt: skip
        n_fits = 3 * len(alphas)
        (one, cpu_one), (two, cpu_two) = (
            map(median, zip(*times, strict=True)) for times in found.values()
        )
        print(
            f"| {name}: {workload.network}, {len(X) * 2 // 3:,} rows | {n_fits} | "
            f"{epochs} | {n_fits / one:.1f} | {n_fits / two:.1f} | {one / two:.2f} | "
            f"{cpu_two / cpu_one:.2f} |"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cases = ("grid", "random", "threads")
    parser.add_argument("cases", nargs="*", metavar="case", help=", ".join(cases))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--candidates", type=int, default=200, help="random ones")
    parser.add_argument("--without", nargs="*", default=[], choices=[*CONTESTANTS])
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        *what, n_candidates = arguments.measure
        print(*measure(*what, int(n_candidates)), sep="\t")
        return
    chosen = [name for name in CONTESTANTS if name not in arguments.without]
    for case in arguments.cases or cases:
        if case == "threads":
            threads(arguments.repeats)
        else:
            compare(case, arguments.repeats, arguments.candidates, chosen)


if __name__ == "__main__":
    main()
