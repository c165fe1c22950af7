"""Small seeded problems, and networks to go with them, for all tests."""

from itertools import pairwise

import numpy as np
from sklearn.datasets import (
    make_classification,
    make_multilabel_classification,
    make_regression,
)

from fastmlp.engine.jobs import TrainingJob
from fastmlp.engine.network import Network
from fastmlp.tables.losses import LOSSES


def random_network(units, seed=0, scale=1.0):
    """Weights and biases in float64, of a size that keeps activations around 1."""
    rng = np.random.default_rng(seed)
    coefs, intercepts = [], []
    for fan_in, fan_out in pairwise(units):
        coefs.append(scale * rng.standard_normal((fan_in, fan_out)) / np.sqrt(fan_in))
        intercepts.append(scale * rng.standard_normal(fan_out) / 2)
    return coefs, intercepts


def random_targets(loss, n_samples, n_outputs, seed=0):
    """Targets as kernels take them, in float64."""
    rng = np.random.default_rng(seed)
    if loss in ("log_loss", "focal"):
        return rng.integers(0, n_outputs, (n_samples, 1)).astype(float)
    if loss in ("binary_log_loss", "binary_focal"):
        return rng.integers(0, 2, (n_samples, n_outputs)).astype(float)
    if loss == "poisson":
        return rng.poisson(1.5, (n_samples, n_outputs)).astype(float)
    if loss == "gamma":
        return rng.gamma(2, 0.7, (n_samples, n_outputs)) + 0.01
    return rng.standard_normal((n_samples, n_outputs))


def training_job(
    units,
    X,
    targets,
    coefs,
    intercepts,
    *,
    dtype="float64",
    optimizer="gradient",
    activation="relu",
    loss="squared_error",
    batch_size=None,
    **settings,
):
    """A job on a fresh network with the given weights."""
    assert loss in LOSSES
    network = Network(units, dtype, optimizer=optimizer)
    network.write(coefs, intercepts)
    job = TrainingJob(
        network,
        X,
        targets,
        batch_size=batch_size or len(X),
        activation=activation,
        loss=loss,
        **settings,
    )
    job.refresh()
    return job


def problem(task, n_samples=203, dtype=np.float64):
    """(name of the estimator, X, y)."""
    if task == "multilabel":
        X, y = make_multilabel_classification(n_samples, 9, n_classes=4, random_state=0)
        return "MLPClassifier", (X / 10).astype(dtype), y
    if task in ("binary", "multiclass"):
        X, y = make_classification(
            n_samples, 9, n_informative=6, n_classes=5 if task == "multiclass" else 2,
            random_state=0,
        )  # fmt: skip
        return "MLPClassifier", X.astype(dtype), y
    n_targets = 3 if task == "multioutput" else 1
    X, y = make_regression(n_samples, 9, n_targets=n_targets, random_state=0)
    if task == "counts":
        y = np.random.default_rng(0).poisson(np.exp(y / y.std()))
    return "MLPRegressor", X.astype(dtype), y / (1 if task == "counts" else 100)
