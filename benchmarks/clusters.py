"""Training on a dask cluster of local processes, beside training in one process.

    python -m benchmarks.clusters [FOLDER] [--sets NAME ...] [--epochs N] [--seeds N]
                                  [--partitions N] [--workers N] [--only TABLE]

FOLDER holds more data sets as .npz files: X, y (integers for classes), cat (which
columns are categories), test (which rows to leave out).

accuracy: on test rows, means over seeds, for numbers of rounds per epoch; then with
partitions that are sorted by class.
tables: the same of the estimators for tables.
workers: seconds of a fit for numbers of workers, and whether all have the same bits.
lost: the same when a worker is killed in the middle of the fit.
"""

import argparse
import os
import signal
import time
import warnings
from pathlib import Path

import dask.array as da
import numpy as np
from dask.distributed import Client, LocalCluster
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits, make_classification
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fastmlp import MLPClassifier, TabularMLPClassifier
from fastmlp.dask import DaskMLPClassifier, DaskTabularMLPClassifier

ROUNDS = (4, 8, 16)
MOST_ROWS = 50_000

GENERATED = {
    "digits": lambda: load_digits(return_X_y=True),
    "20 clusters": lambda: make_classification(
        20_000, 30, n_informative=12, n_classes=5, n_clusters_per_class=4,
        class_sep=1.2, random_state=0,
    ),
    "noisy labels": lambda: make_classification(
        20_000, 20, n_informative=8, flip_y=0.2, n_clusters_per_class=3,
        random_state=1,
    ),
}  # fmt: skip


def sets(folder, names):
    """Yield (name, (X, y, X of test rows, y of test rows), columns of categories)."""
    for name, make in GENERATED.items():
        if not names or name in names:
            X, y = make()
            A, B, y, z = train_test_split(X, y, random_state=0, stratify=y)
            yield name, (A, y, B, z), []
    paths = {path.stem: path for path in Path(folder).glob("*.npz")} if folder else {}
    for name in names or paths:
        if name not in paths:
            continue
        with np.load(paths[name]) as file:
            X, y, test, cat = (file[key] for key in ("X", "y", "test", "cat"))
        rng = np.random.default_rng(0)
        train, held_out = (
            rng.permutation(np.flatnonzero(rows))[:MOST_ROWS] for rows in (~test, test)
        )
        yield name, (X[train], y[train], X[held_out], y[held_out]), np.flatnonzero(cat)


def encoded(split, categories):
    """Numbers scaled, categories as indicators; float32."""
    A, y, B, z = split
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    encode = make_column_transformer(
        (encoder, categories), remainder=StandardScaler()
    ).fit(A)
    return (encode.transform(A).astype(np.float32), y,
            encode.transform(B).astype(np.float32), z)  # fmt: skip


def in_partitions(X, y, n):
    """Dask arrays of so many chunks."""
    rows = -(-len(X) // n)
    return da.from_array(X, chunks=(rows, -1)), da.from_array(y, chunks=rows)


def cluster_of(n_workers):
    """Local processes of one thread each."""
    return LocalCluster(
        n_workers=n_workers, threads_per_worker=1, processes=True,
        dashboard_address=":0",
    )  # fmt: skip


def row(*cells):
    """A row of a table in Markdown."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def header(*cells):
    """Its head."""
    row(*cells)
    row("---", *("---:" for _ in cells[1:]))


def mean_accuracy(model, data, test, n_seeds, **settings):
    """The mean over seeds, on test rows."""
    scores = [
        model(**settings, random_state=seed).fit(*data).score(*test)
        for seed in range(n_seeds)
    ]
    return np.mean(scores)


def print_accuracy(options, local, model, rounds, encode, settings, is_sorted=False):
    """The table of accuracies against rounds per epoch."""
    header("data set", "local", *(f"{n} per epoch" for n in rounds))
    for name, split, categories in sets(options.folder, options.sets):
        A, y, *test = encoded(split, categories) if encode else split
        how = dict(settings)
        if not encode:
            how["categorical_features"] = list(categories)
        alone = mean_accuracy(local, (A, y), test, options.seeds, **how)
        if is_sorted:
            order = np.argsort(y, kind="stable")
            A, y = A[order], y[order]
        lazy = in_partitions(A, y, options.partitions)
        found = [
            mean_accuracy(model, lazy, test, options.seeds, rounds_per_epoch=n, **how)
            for n in rounds
        ]
        row(name, f"{alone:.4f}", *(f"{accuracy:.4f}" for accuracy in found))


def timed(model, *data):
    """(fitted model, seconds)."""
    started = time.perf_counter()
    model.fit(*data)
    return model, time.perf_counter() - started


def problem_to_time():
    """A problem that takes some seconds to fit."""
    return make_classification(200_000, 50, n_informative=20, random_state=0)


def same_bits(one, other):
    """Whether two models have the same weights."""
    pairs = zip(one.coefs_, other.coefs_, strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def print_workers(options):
    """The table of times against workers."""
    X, y = problem_to_time()
    X = X.astype(np.float32)
    settings = {
        "hidden_layer_sizes": (200, 100), "batch_size": 1024, "random_state": 0,
        "max_iter": options.epochs,
    }  # fmt: skip
    MLPClassifier(**settings | {"max_iter": 1}).fit(X, y)
    header("", "seconds", "same bits")
    for n_jobs in (1, None):
        _, seconds = timed(MLPClassifier(n_jobs=n_jobs, **settings), X, y)
        name = "one thread" if n_jobs else "all threads"
        row(f"one process, {name}", f"{seconds:.1f}", "")
    first = None
    for n_workers in (1, 2, 4):
        with cluster_of(n_workers) as cluster, Client(cluster) as client:
            lazy = [each.persist() for each in in_partitions(X, y, options.partitions)]
            how = settings | {"rounds_per_epoch": 4}
            DaskMLPClassifier(**how | {"max_iter": 1}).fit(*lazy)  # kernels are loaded
            model, seconds = timed(DaskMLPClassifier(client=client, **how), *lazy)
        first = first or model
        row(f"{n_workers} workers", f"{seconds:.1f}", same_bits(model, first))


def print_lost(options):
    """What a lost worker costs."""
    X, y = problem_to_time()
    X = X.astype(np.float32)
    header("4 workers", "seconds", "same bits")
    first = None
    for kills in (False, True):
        with cluster_of(4) as cluster, Client(cluster) as client:
            lazy = in_partitions(X, y, options.partitions)

            def kill(state, client=client, kills=kills):
                if kills and state.epoch == options.epochs // 2:
                    os.kill(client.run(os.getpid).popitem()[1], signal.SIGKILL)

            model = DaskMLPClassifier(
                batch_size=1024,
                max_iter=options.epochs,
                random_state=0,
                callbacks=[kill],
            )
            model, seconds = timed(model, *lazy)
        first = first or model
        name = "one is killed halfway" if kills else "none is lost"
        row(name, f"{seconds:.1f}", same_bits(model, first))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--sets", nargs="+")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--only", choices=["accuracy", "tables", "workers", "lost"])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    settings = {"max_iter": options.epochs}
    wanted = [options.only] if options.only else ["accuracy", "workers", "lost"]
    if {"accuracy", "tables"} & {*wanted}:
        with cluster_of(options.workers) as cluster, Client(cluster):
            if "accuracy" in wanted:
                how = MLPClassifier, DaskMLPClassifier
                print_accuracy(options, *how, ROUNDS, True, settings)
                print("\nPartitions sorted by class:\n")
                print_accuracy(options, *how, ROUNDS, True, settings, is_sorted=True)
            if "tables" in wanted:
                print_accuracy(
                    options, TabularMLPClassifier, DaskTabularMLPClassifier, (4, 8),
                    False, {"preset": "fast", "n_members": 2},
                )  # fmt: skip
    for name, function in (("workers", print_workers), ("lost", print_lost)):
        if name in wanted:
            print()
            function(options)


if __name__ == "__main__":
    main()
