"""The first layer of a network for tables, and parametric activations."""

import numpy as np
import pytest

from fastmlp.engine.jobs import TrainingJob
from fastmlp.engine.network import Network
from fastmlp.engine.threads import Team
from fastmlp.kernels.layers.dense import Dense
from fastmlp.kernels.layers.encoding import Encoding
from fastmlp.tables.activations import ACTIVATIONS
from fastmlp.tables.encodings import (
    EMBEDDING,
    FLAG,
    NUMBER,
    ONE_HOT,
    Column,
    encode,
)

pytestmark = pytest.mark.compiler

ONE_HOT_VALUES = np.array([[0.0, 1.6], [-0.3, 0.7], [0.0, 1.0]])

#: One of each kind, in an order that mixes them.
COLUMNS = (
    Column(ONE_HOT, n_levels=4, values=ONE_HOT_VALUES),
    Column(NUMBER, center=0.3, scale=1.7, has_missing=True),
    Column(EMBEDDING, n_levels=5),
    Column(FLAG),
    Column(NUMBER, center=-1.0, scale=0.4),
    Column(EMBEDDING, n_levels=2),
)


def table(columns, n_samples, seed=0):
    """X for these columns: missing, unknown and huge values are among them."""
    rng = np.random.default_rng(seed)
    X = np.empty((n_samples, len(columns)))
    for j, column in enumerate(columns):
        if column.kind in (NUMBER, FLAG):
            X[:, j] = rng.standard_normal(n_samples)
            X[rng.random(n_samples) < 0.2, j] = np.nan
            if column.kind == NUMBER:
                X[rng.random(n_samples) < 0.05, j] *= 1e6
        else:
            X[:, j] = rng.integers(0, column.n_levels, n_samples)
    return X


def network_for(
    columns, widths, dtype="float64", *, n_cosines=3, n_embedded=8, rates=(1, 1, 1),
    is_parametric=True, alphas_rate=1.0, n_moments=1, seed=3, averaged=False,
):  # fmt: skip
    """A network with random parameters, and these as `Network.read` returns them."""
    first = Encoding(columns, n_cosines, n_embedded, *rates)
    units = first.fan_out, *widths
    layers = [first]
    for i, (fan_in, fan_out) in enumerate(zip(units, widths, strict=False)):
        last = i == len(widths) - 1
        layers.append(
            Dense(
                fan_in, fan_out, alphas_rate=alphas_rate,
                is_parametric=is_parametric and not last,
            )
        )  # fmt: skip
    network = Network(
        layers, dtype, trainable=True, n_moments=n_moments, averaged=averaged
    )
    rng = np.random.default_rng(seed)
    groups = [
        [rng.normal(0, 0.5, np.shape(array)) for array in group]
        for group in network.read()
    ]
    network.write(*groups)
    if averaged:
        network.write(*groups, array="average")
    return network, groups


def activations_of(X, columns, network, groups, activation):
    """Raw outputs by NumPy."""
    named = dict(zip(network.groups, groups, strict=True))
    first = network.architecture[0]
    a = encode(
        columns, X, named["factors"][0], named["cosines"][0], named["tables"][0],
        first.n_cosines, first.n_embedded,
    )  # fmt: skip
    alphas = iter(named.get("alphas", ()))
    g = ACTIVATIONS[activation].value
    for i, (w, b) in enumerate(zip(named["weights"], named["biases"], strict=True)):
        a = a @ w + b
        if i < len(named["weights"]) - 1:
            alpha = next(alphas) if "alphas" in named else 1.0
            a = a + alpha * (g(a) - a)
    return a


def loss_of(X, y, columns, network, groups, activation):
    outputs = activations_of(X, columns, network, groups, activation)
    return 0.5 * np.mean(np.sum((outputs - y) ** 2, axis=1) / y.shape[1])


def job_for(network, X, y, activation, **settings):
    job = TrainingJob(
        network, X, y, batch_size=settings.pop("batch_size", len(X)),
        activation=activation, loss="squared_error",
        optimizer=settings.pop("optimizer", "gradient"), **settings,
    )  # fmt: skip
    job.refresh()
    return job


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_by_central_differences(activation):
    X = table(COLUMNS, 29)
    y = np.random.default_rng(1).standard_normal((29, 2))
    network, groups = network_for(COLUMNS, (7, 5, 2))
    job = job_for(network, X, y, activation)
    with Team(1) as team:
        value = job.run(team, 0, 1) / len(X)

    def loss_now():
        return loss_of(X, y, COLUMNS, network, groups, activation)

    np.testing.assert_allclose(value, loss_now(), rtol=1e-10)
    gradient = network.read(array="first_moment")
    h = 1e-6
    for arrays, slopes in zip(groups, gradient, strict=True):
        for array, slope in zip(arrays, slopes, strict=True):
            for index in np.ndindex(array.shape):
                kept = array[index]
                array[index] = kept + h
                above = loss_now()
                array[index] = kept - h
                below = loss_now()
                array[index] = kept
                expected = (above - below) / (2 * h)
                np.testing.assert_allclose(slope[index], expected, rtol=1e-5, atol=1e-8)
