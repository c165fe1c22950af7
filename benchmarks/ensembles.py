"""What an ensemble of 8 networks gains over one, and how long its fit takes.

    python benchmarks/ensembles.py [--splits N] [--repeats N]

Errors: on data sets that come with scikit-learn, means over random splits into halves.
The error is the share of wrong classes, or of the variance that is not explained.

Seconds: of 8 networks, each trained on a bootstrap sample, in turn: as an ensemble, as
fits one after the other, and as scikit-learn's BaggingClassifier with two processes,
which have been started before.
"""

import argparse
import time
import warnings
from statistics import median

import numpy as np
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_wine,
    make_classification,
    make_friedman1,
)
from sklearn.ensemble import BaggingClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import scale

from fastmlp import (
    MLPClassifier,
    MLPEnsembleClassifier,
    MLPEnsembleRegressor,
)

N_MEMBERS = 8

SETS = {
    "breast_cancer": lambda: load_breast_cancer(return_X_y=True),
    "digits": lambda: load_digits(return_X_y=True),
    "wine": lambda: load_wine(return_X_y=True),
    "make_classification": lambda: make_classification(
        3000, 20, n_informative=8, n_classes=4, class_sep=0.8, random_state=0
    ),
    "diabetes": lambda: load_diabetes(return_X_y=True),
    "make_friedman1": lambda: make_friedman1(1000, noise=1.0, random_state=0),
}

_STOPPED = {"cv": 8, "early_stopping": True, "scoring": "loss"}

ENSEMBLES = {
    "seeds": {},
    "bootstrap": {"bootstrap": True},
    "folds": {"cv": 8},
    "folds, early stopping": _STOPPED,
    "bootstrap, selection": {"bootstrap": True, "selection": "greedy"},
}


def errors(X, y, n_splits):
    """{what: (error, log loss or NaN)} on test samples, means over splits."""
    classifies = y.dtype.kind in "iu"
    cls = MLPEnsembleClassifier if classifies else MLPEnsembleRegressor
    found = {name: [] for name in ("one network", *ENSEMBLES)}

    def measured(model, X, y):
        error = 1 - model.score(X, y)
        return error, log_loss(y, model.predict_proba(X)) if classifies else np.nan

    for seed in range(n_splits):
        halves = train_test_split(
            X, y, test_size=0.5, random_state=seed, stratify=y if classifies else None
        )
        X_train, X_test, y_train, y_test = halves
        for name, settings in ENSEMBLES.items():
            model = cls(
                n_estimators=N_MEMBERS, max_iter=300, standardize=True,
                random_state=seed, **settings,
            ).fit(X_train, y_train)  # fmt: skip
            found[name].append(measured(model, X_test, y_test))
            if name == "seeds":
                each = [measured(m, X_test, y_test) for m in model.estimators_]
                found["one network"].append(np.mean(each, axis=0))
    return {name: np.mean(values, axis=0) for name, values in found.items()}


def seconds(X, y, n_repeats):
    """{way: median seconds} of ways to fit 8 networks, which take turns."""
    settings = {"max_iter": 50}
    rng = np.random.default_rng(0)

    def loop():
        for seed in range(N_MEMBERS):
            rows = rng.integers(0, len(y), len(y))
            MLPClassifier(random_state=seed, **settings).fit(X[rows], y[rows])

    def ensemble():
        MLPEnsembleClassifier(
            n_estimators=N_MEMBERS, bootstrap=True, random_state=0, **settings
        ).fit(X, y)

    def bagging():
        network = MLPClassifier(**settings)
        BaggingClassifier(network, N_MEMBERS, n_jobs=2, random_state=0).fit(X, y)

    ways = {"ensemble": ensemble, "one after the other": loop, "bagging": bagging}
    found = {name: [] for name in ways}
    for repeat in range(n_repeats + 1):
        for name, fit in ways.items():
            started = time.perf_counter()
            fit()
            if repeat:  # the first loads kernels and starts processes
                found[name].append(time.perf_counter() - started)
    return {name: median(values) for name, values in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")

    print("| error (log loss) |", " | ".join(("one network", *ENSEMBLES)), "|")
    print("|---|" + "---:|" * (1 + len(ENSEMBLES)))
    for name, load in SETS.items():
        cells = [
            f"{error:.4f}" + ("" if np.isnan(loss) else f" ({loss:.3f})")
            for error, loss in errors(*load(), arguments.splits).values()
        ]
        print(f"| {name} |", " | ".join(cells), "|", flush=True)

    print("\n| seconds | ensemble | one after the other | BaggingClassifier |")
    print("|---|---:|---:|---:|")
    for n_samples in (500, 2000, 20_000):
        X, y = make_classification(n_samples, 20, n_informative=8, random_state=0)
        found = seconds(scale(X), y, arguments.repeats)
        cells = [
            f"{value:.2f} ({value / found['ensemble']:.1f})" for value in found.values()
        ]
        print(f"| {n_samples:,} x 20 |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
