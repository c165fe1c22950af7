"""Halving beside a full random search of the same candidates: results and costs.

    python benchmarks/halving.py FOLDER [--sets NAME ...] [--samples N] [--candidates N]

FOLDER holds data sets as .npz files: X, y (integers for classes), cat (which columns
are categories), test (which rows to leave out).  Both searches run in this process, one
after the other, on the same splits.  Cost is counted in epochs of all fits, and in
seconds of CPU time, which other processes disturb less than the clock.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from scipy.stats import loguniform
from sklearn.compose import make_column_transformer
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.model_selection import HalvingSearchCV, RandomizedSearchCV

SETS = (
    "abalone", "adult", "california_housing", "concrete", "cpu_act", "electricity",
    "higgs_7k", "kin8nm", "letter", "magic_telescope", "optdigits", "phoneme",
)  # fmt: skip
EPOCHS = 200
SPACE = {
    "hidden_layer_sizes": [(32,), (64,), (128,), (64, 64), (128, 64), (32, 32, 32)],
    "learning_rate_init": loguniform(3e-4, 3e-2),
    "alpha": loguniform(1e-6, 1e-1),
    "activation": ["relu", "tanh", "gelu"],
    "batch_size": [32, 64, 128, 256],
    "dropout": [0.0, 0.1, 0.3],
}


def load(path, n_samples):
    """(X, y, columns of categories) of some training samples."""
    with np.load(path) as file:
        kept = np.flatnonzero(~file["test"])
        kept = np.random.default_rng(0).permutation(kept)[:n_samples]
        X, y, categories = file["X"][kept], file["y"][kept], file["cat"]
    if y.dtype.kind == "f":
        y = (y - y.mean()) / y.std()
    return X.astype(np.float32), y, np.flatnonzero(categories)


def searches(y, categories, n_candidates):
    """name -> search."""
    numbers = {
        "max_iter": EPOCHS, "learning_rate": "cosine", "n_iter_no_change": np.inf,
        "random_state": 0,
    }  # fmt: skip
    classifies = y.dtype.kind in "iu"
    network = MLPClassifier(**numbers) if classifies else MLPRegressor(**numbers)
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = make_column_transformer(
        (encoder, categories), remainder=StandardScaler(), sparse_threshold=0
    )
    name = type(network).__name__.lower()
    space = {f"{name}__{parameter}": values for parameter, values in SPACE.items()}
    splitter = StratifiedKFold if classifies else KFold
    how = {
        "cv": splitter(3, shuffle=True, random_state=0), "random_state": 0,
        "refit": False,
    }  # fmt: skip
    model = make_pipeline(columns, network)
    return {
        "all": RandomizedSearchCV(model, space, n_iter=n_candidates, **how),
        "halving": HalvingSearchCV(model, space, n_candidates=n_candidates, **how),
    }


def epochs_of(search):
    """Of all fits together."""
    results = search.cv_results_
    if not isinstance(search, HalvingSearchCV):
        return len(results["params"]) * search.n_splits_ * EPOCHS
    reached = np.zeros(search.n_candidates, int)
    np.maximum.at(reached, results["candidate"], results["n_resources"])
    return reached.sum() * search.n_splits_


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--candidates", type=int, default=48)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print(
        "| | score, all | score, halving | lost % | epochs % | CPU % | CPU s | time % |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    within = 0
    for name in arguments.sets:
        X, y, categories = load(arguments.folder / f"{name}.npz", arguments.samples)
        scores, epochs, cpu, wall = {}, {}, {}, {}
        for search in searches(y, categories, 2).values():
            search.fit(X, y)  # compiles, or loads what is compiled
        for how, search in searches(y, categories, arguments.candidates).items():
            started, cpu_started = time.perf_counter(), time.process_time()
            search.fit(X, y)
            wall[how] = time.perf_counter() - started
            cpu[how] = time.process_time() - cpu_started
            scores[how], epochs[how] = search.best_score_, epochs_of(search)
        lost = 100 * (1 - scores["halving"] / scores["all"])
        within += lost <= 1
        shares = [100 * each["halving"] / each["all"] for each in (epochs, cpu, wall)]
        print(
            f"| {name} | {scores['all']:.4f} | {scores['halving']:.4f} | {lost:.1f} | "
            f"{shares[0]:.0f} | {shares[1]:.0f} | {cpu['all']:.1f}, "
            f"{cpu['halving']:.1f} | {shares[2]:.0f} |",
            flush=True,
        )
    print(f"\nWithin 1 % on {within} of {len(arguments.sets)}.")


if __name__ == "__main__":
    main()
