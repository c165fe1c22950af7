"""The work that everyone does: networks, batches, data."""

from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np

#: Share of the held-out digits to classify correctly.
ACCURACY = 0.97


class Workload(NamedTuple):
    """A network and the mini-batches that it is trained on, or rows to predict."""

    name: str
    units: tuple
    batch_size: int
    steps: int  # of an epoch
    kind: str = "train"  # or "predict", or "accuracy": train until it is reached
    activation: str = "relu"
    loss: str = "log_loss"  # or "binary_log_loss" (each output by itself), ...
    dtype: str = "float32"
    shuffle: bool = True
    n_rows: int = 0  # to predict

    @property
    def n_samples(self):
        """Samples to train on."""
        return self.batch_size * self.steps

    @property
    def operations(self):
        """Floating-point operations of one training step, or of one prediction.

        A multiplication and an addition for each weight and row: forward, gradient
        and, but for the first layer, backward. Activations, losses and the optimizer
        do not count.
        """
        weights = [a * b for a, b in pairwise(self.units)]
        if self.kind == "predict":
            return 2 * self.n_rows * sum(weights)
        return 2 * self.batch_size * (3 * sum(weights) - weights[0])

    @property
    def network(self):
        """The sizes of the layers: "20 features, 100 units, 2 outputs"."""
        n_features, *hidden, n_outputs = self.units
        runs = [(units, len(list(run))) for units, run in groupby(hidden)]
        layers = " + ".join(
            f"{n} × {units}" if n > 1 else f"{units}" for units, n in runs
        )
        outputs = {"log_loss": "classes", "squared_error": "targets"}
        return (
            f"{n_features} features, {layers} units, "
            f"{n_outputs} {outputs.get(self.loss, 'outputs')}"
        )

    @property
    def description(self):
        """What it is, in words: the network, and what is done with it."""
        if self.kind == "predict":
            rows = "one row" if self.n_rows == 1 else f"{self.n_rows:,} rows"
            return f"predict {rows}: {self.network}"
        words = f"{self.network}, batch {self.batch_size:,}"
        if self.kind == "accuracy":
            return f"digits to {ACCURACY:.0%}: {words}"
        if self.activation != "relu":
            words += f", {self.activation}"
        if self.dtype != "float32":
            words += f", {self.dtype}"
        return words

    @property
    def label(self):
        """The name, for command lines, and the description."""
        return f"{self.name}: {self.description}"


def _train(name, units, batch_size, steps, **settings):
    return Workload(name, units, batch_size, steps, **settings)


_TAB = (54, 256, 256, 7)

#: Two classes are one logistic output in scikit-learn and fastmlp: networks with two
#: outputs therefore predict two labels at once, by two logistic outputs.
WORKLOADS = [
    _train("tiny", (2, 8, 2), 32, 100, loss="binary_log_loss"),
    _train("small", (20, 100, 2), 200, 50, loss="binary_log_loss"),
    _train("tab", _TAB, 256, 40),
    _train("mnist", (784, 256, 128, 10), 128, 40),
    _train("large", (784, 1024, 1024, 10), 512, 6),
    _train("odd 1", (37, 77, 51, 33, 3), 113, 50),
    _train("odd 2", (16, *[64] * 6, 4), 128, 50),
    _train("odd 3", (3001, 64, 5), 100, 40),
    _train("large tanh", (784, 1024, 1024, 10), 512, 6, activation="tanh"),
    _train("tab logistic", _TAB, 256, 40, activation="logistic"),
    _train("tab float64", _TAB, 256, 40, dtype="float64"),
    _train(
        "SimpleChains",
        (4, 32, 16, 4),
        10_000,
        1,
        activation="tanh",
        loss="squared_error",
        shuffle=False,
    ),
    Workload("to accuracy", (64, 100, 10), 32, 44, kind="accuracy"),
    Workload("predict 100,000", _TAB, 256, 4, kind="predict", n_rows=100_000),
    Workload("predict 1", _TAB, 256, 4, kind="predict", n_rows=1),
]

BY_NAME = {workload.name: workload for workload in WORKLOADS}
BY_LABEL = {workload.label: workload for workload in WORKLOADS}


def problem(workload):
    """(X, y) to train on: random, for the time of a step does not depend on them."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((workload.n_samples, workload.units[0]))
    X = X.astype(workload.dtype)
    n_outputs = workload.units[-1]
    if workload.loss == "squared_error":
        return X, rng.standard_normal((len(X), n_outputs)).astype(workload.dtype)
    if workload.loss == "binary_log_loss":
        return X, rng.integers(0, 2, (len(X), n_outputs))
    return X, rng.permutation(np.arange(len(X)) % n_outputs)


def digits():
    """(X, X_test, y, y_test): scikit-learn's handwritten digits, scaled."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    return train_test_split(X, y, test_size=0.2, random_state=0, stratify=y)


def rows_to_predict(workload):
    """X to predict."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((workload.n_rows, workload.units[0]))
    return X.astype(workload.dtype)
