"""Kinds of layers: kernels do what they declare, whatever the first layer is."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
import reference
from data import random_network, random_targets
from scipy.sparse import csr_array
from test_general import RATES, masks_for

from fastmlp.engine import jobs
from fastmlp.engine.jobs import PredictionJob, TrainingJob
from fastmlp.engine.network import Network, architecture_of
from fastmlp.engine.options import StepOptions
from fastmlp.engine.threads import Team
from fastmlp.kernels.layers.dense import Dense
from fastmlp.kernels.layers.scale import Scale
from fastmlp.tables.activations import ACTIVATIONS
from fastmlp.tables.fitted import PARAMETERS
from fastmlp.tables.losses import LOSSES
from fastmlp.training.lbfgs import minimize_loss

pytestmark = pytest.mark.compiler

ODD_NETWORKS = [(1, 1), (3, 2), (17, 33, 5), (49, 7, 100, 5, 2), (100, 1)]


@pytest.fixture(params=[0, 1, 3], ids=["tiles", "one strip", "three strips"])
def cut(request, monkeypatch):
    """How steps cut their batch, whatever is worthwhile."""
    monkeypatch.setattr(jobs, "strips_of", lambda network, batch_size: request.param)
    return request.param


def weights_for(units):
    """Weights, biases, and the factors of a Scale."""
    factors = np.random.default_rng(5).uniform(-2, 2, units[0])
    return *random_network(units), [factors]


def data_for(units, loss, n_samples):
    X = np.random.default_rng(1).standard_normal((n_samples, units[0]))
    return X, random_targets(loss, n_samples, units[-1])


def scaled_job(
    units, X, y, *, loss, dtype="float64", optimizer="gradient", activation="tanh",
    batch_size=None, averaged=False, rate=1.0, options=None, **settings,
):  # fmt: skip
    """A job on a network with a Scale in front of its Dense layers."""
    network = Network(
        [Scale(units[0], rate), *architecture_of(units)], dtype, optimizer=optimizer,
        averaged=averaged,
    )  # fmt: skip
    for array in ("parameters", "average") if averaged else ("parameters",):
        network.write(*weights_for(units), array=array)
    parameters = reference.parameters_of(loss, units[-1])
    job = TrainingJob(
        network, X, y, batch_size=batch_size or len(X), activation=activation,
        loss=loss, **settings,
        options=StepOptions(loss_parameters=parameters, **(options or {})),
    )  # fmt: skip
    job.refresh()
    return job


def assert_close(result, exact, rtol, atol):
    for arrays, references in zip(result, exact, strict=True):
        for array, by in zip(arrays, references, strict=True):
            np.testing.assert_allclose(array, by, rtol=rtol, atol=atol)


@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "gelu"])
@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_by_central_differences(loss, activation, cut):
    """Of the reference's loss, by every parameter of a small network."""
    units = (3, 5, 2)
    X, y = data_for(units, loss, 13)
    weights = np.random.default_rng(2).uniform(0.5, 2, 13)
    job = scaled_job(
        units, X, y, loss=loss, activation=activation, sample_weight=weights, l2=0.3,
        options={"l1": 0.2},
    )  # fmt: skip
    with Team(1) as team:
        value = job.run(team, 0, 1) / 13
    coefs, intercepts, factors = weights_for(units)

    def loss_now():
        return reference.loss_of(
            X, y, coefs, intercepts, factors[0], activation=activation, loss=loss,
            weights=weights, l2=0.3, l1=0.2,
            parameters=reference.parameters_of(loss, 2),
        )  # fmt: skip

    np.testing.assert_allclose(value, loss_now(), rtol=1e-12)
    gradient = job.network.read(array="gradient")
    h = 1e-6
    for arrays, slopes in zip((coefs, intercepts, factors), gradient, strict=True):
        for array, slope in zip(arrays, slopes, strict=True):
            for index in np.ndindex(array.shape):
                kept = array[index]
                array[index] = kept + h
                above = loss_now()
                array[index] = kept - h
                below = loss_now()
                array[index] = kept
                expected = (above - below) / (2 * h)
                np.testing.assert_allclose(slope[index], expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_samples", [1, 2, 13, 301])
@pytest.mark.parametrize("units", ODD_NETWORKS)
def test_gradient_of_odd_shapes(units, n_samples, dtype, cut):
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    for activation, loss in product(("relu", "tanh"), ("squared_error", "log_loss")):
        X, y = data_for(units, loss, n_samples)
        job = scaled_job(units, X, y, loss=loss, dtype=dtype, activation=activation)
        with Team(1) as team:
            value = job.run(team, 0, 1) / n_samples
        coefs, intercepts, factors = weights_for(units)
        network = coefs, intercepts, factors[0]
        settings = {"activation": activation, "loss": loss}
        expected = reference.loss_of(X, y, *network, **settings)
        assert value == pytest.approx(expected, rel=10 * tolerance)
        exact = reference.gradient_of(X, y, *network, **settings)
        scale = max(1, *(abs(a).max() for part in exact for a in part))
        assert_close(job.network.read(array="gradient"), exact, 0, tolerance * scale)


ALL_AT_ONCE = {"l1": 0.05, "weight_decay": 0.1, "clip_norm": 0.2}


@pytest.mark.parametrize(
    "dropout", [(), (0.3, 0.0, 0.2)], ids=["no dropout", "dropout"]
)
@pytest.mark.parametrize("options", [{}, ALL_AT_ONCE], ids=["plain", "all"])
@pytest.mark.parametrize("optimizer", reference.OPTIMIZERS)
def test_epochs_against_the_reference(optimizer, options, dropout, cut):
    """Factors are not shrunk, and have a learning rate of their own."""
    units, n_samples, batch_size = (21, 30, 3), 50, 16
    X, y = data_for(units, "log_loss", n_samples)
    job = scaled_job(
        units, X, y, loss="log_loss", activation="logistic", optimizer=optimizer,
        averaged=True, batch_size=batch_size, l2=0.2, n_threads=2, rate=3.0,
        options={**options, "dropout": dropout, "seed": 3, "average_decay": 0.9},
    )  # fmt: skip
    coefs, intercepts, (factors,) = weights_for(units)
    average = [a.copy() for a in (*coefs, *intercepts, factors)]
    states = [{} for _ in average]
    rates = dict(RATES, beta_1=0.0 if optimizer == "sgd" else RATES["beta_1"])
    with Team(2) as team:
        for epoch in range(3):
            done = epoch * job.n_steps
            rates["rate"] = np.linspace(0.1, 0.02, job.n_steps) / (epoch + 1)
            value = job.run(team, 0, job.n_steps, n_updates=done, **rates)
            coefs, intercepts, (factors,), expected = reference.train_epoch(
                X, y, coefs, intercepts, states, job.order, batch_size, optimizer,
                rates, factors=factors, factor_rate=3.0, activation="logistic",
                loss="log_loss", l2=0.2, l1=options.get("l1", 0.0),
                weight_decay=options.get("weight_decay", 0.0),
                clip_norm=options.get("clip_norm", np.inf),
                average=average, average_decay=0.9,
                masks_of=lambda step, rows, done=done: masks_for(
                    job, done + step, rows, 3, dropout or (0.0,) * 3
                ),
            )  # fmt: skip
            np.testing.assert_allclose(value / n_samples, expected, rtol=1e-9)
    exact = coefs, intercepts, [factors]
    assert_close(job.network.read(), exact, 1e-7, 1e-9)
    averages = average[:2], average[2:4], average[4:]
    assert_close(job.network.read(array="average"), averages, 1e-7, 1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["adam", "nesterov"])
def test_bitwise_equal_for_any_number_of_threads(optimizer, dtype, cut):
    units = (70, 50, 4)
    X, y = data_for(units, "log_loss", 401)
    results = []
    for n_threads in (1, 2, 3, 5):
        job = scaled_job(
            units, X, y, loss="log_loss", optimizer=optimizer, dtype=dtype,
            batch_size=150, l2=0.1, n_threads=n_threads,
        )  # fmt: skip
        with Team(n_threads) as team:
            losses = [
                job.run(team, 0, job.n_steps, n_updates=3 * epoch, **RATES)
                for epoch in range(4)
            ]
            prediction = PredictionJob(
                job.network, X, activation="tanh", output_activation="softmax",
                n_threads=n_threads,
            )  # fmt: skip
            outputs = prediction.run(team).tobytes()
        parameters = job.network.arena.arrays["parameters"]
        results.append((losses, outputs, parameters.tobytes()))
    assert all(result == results[0] for result in results)


def test_padding_stays_zero(cut):
    units = (5, 9, 3)
    X, y = data_for(units, "log_loss", 37)
    job = scaled_job(
        units, X, y, loss="log_loss", activation="logistic", optimizer="adam", l2=0.5,
        batch_size=10,
    )  # fmt: skip
    with Team(1) as team:
        for epoch in range(5):
            job.run(team, 0, job.n_steps, n_updates=epoch * job.n_steps, **RATES)
    parameters = job.network.arena.arrays["parameters"]
    assert np.count_nonzero(parameters) == job.network.n_parameters


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("units", ODD_NETWORKS)
def test_prediction_against_the_reference(units, dtype, n_threads):
    X, _ = data_for(units, "squared_error", 101)
    network = Network([Scale(units[0]), *architecture_of(units)], dtype)
    coefs, intercepts, (factors,) = weights_for(units)
    network.write(coefs, intercepts, [factors])
    tolerance = 200 * np.finfo(dtype).eps
    for activation in ("relu", "gelu"):
        job = PredictionJob(
            network, X, activation=activation, output_activation="softmax",
            n_threads=n_threads,
        )  # fmt: skip
        with Team(n_threads) as team:
            result = job.run(team)
            alone = PredictionJob(
                network, X[9:10], activation=activation, output_activation="softmax",
                n_threads=n_threads,
            )  # fmt: skip
            np.testing.assert_array_equal(alone.run(team), result[9:10])
        exact = reference.predict(X, coefs, intercepts, activation, "softmax", factors)
        np.testing.assert_allclose(result, exact, rtol=tolerance, atol=tolerance)


def test_lbfgs_minimises_over_the_factors_too(cut):
    units = (4, 3, 1)
    X, y = data_for(units, "squared_error", 60)
    job = scaled_job(units, X, y, loss="squared_error", batch_size=30)
    losses = []
    settings = {"activation": "tanh", "loss": "squared_error"}
    for _ in range(2):
        coefs, intercepts, (factors,) = job.network.read()
        losses.append(reference.loss_of(X, y, coefs, intercepts, factors, **settings))
        result = minimize_loss(job, Team(1), max_iter=30, max_fun=500, tol=1e-5)
    assert result.x.size == job.network.n_parameters == 4 + 4 * 3 + 3 + 3 + 1
    assert losses[1] < 0.8 * losses[0]
    assert not np.allclose(factors, weights_for(units)[2][0])


# --- Declarations ---------------------------------------------------------------------


def test_the_attributes_of_a_model_are_what_dense_layers_declare():
    network = Network((3, 4, 2), "float32")
    assert [*network.groups] == [*PARAMETERS]


@dataclass(frozen=True)
class Unusual(Dense):
    """Dense, but with slow weights, and fast biases."""

    decays: bool = True  # whether weights do

    def parameters(self):
        weights, biases = super().parameters()
        return [
            weights._replace(rate=0.5, decay=0.7 if self.decays else 0.0),
            biases._replace(rate=4.0),
        ]


@pytest.mark.parametrize("clip_norm", [0.0, 0.1])
@pytest.mark.parametrize("decays", [True, False])
def test_declared_rates_and_decays_are_applied(decays, clip_norm, cut):
    """One step of plain descent, by hand."""
    units, rate, l2, l1, decay = (30, 2), 0.1, 0.3, 0.2, 0.4
    X, y = data_for(units, "squared_error", 20)
    coefs, intercepts = random_network(units)
    network = Network([Unusual(*units, decays=decays)], "float64", optimizer="sgd")
    network.write(coefs, intercepts)
    job = TrainingJob(
        network, X, y, batch_size=20, activation="relu", loss="squared_error", l2=l2,
        options=StepOptions(l1=l1, weight_decay=decay, clip_norm=clip_norm),
    )  # fmt: skip
    with Team(1) as team:
        loss = job.run(team, 0, 1, rate=rate) / 20
    settings = {"activation": "relu", "loss": "squared_error"}
    settings |= {"l2": l2, "l1": l1} if decays else {}
    expected = reference.loss_of(X, y, coefs, intercepts, **settings)
    assert loss == pytest.approx(expected, rel=1e-12)
    gradient = reference.gradient_of(X, y, coefs, intercepts, **settings)
    norm = np.sqrt(sum((g**2).sum() for (g,) in gradient))
    share = min(1.0, clip_norm / norm) if clip_norm else 1.0
    kept = 1 - 0.7 * rate * decay if decays else 1.0
    news = (
        kept * coefs[0] - 0.5 * rate * share * gradient[0][0],
        intercepts[0] - 4 * rate * share * gradient[1][0],
    )
    assert_close(network.read(), ([new] for new in news), 1e-10, 1e-12)


def test_parameters_are_exchanged_group_by_group():
    network = Network([Scale(3), Dense(3, 4), Dense(4, 2)], "float32")
    assert network.groups == {"weights": 2, "biases": 2, "factors": 1}
    assert network.units == (3, 3, 4, 2)
    np.testing.assert_array_equal(network.read()[2], [np.ones(3)])
    weights, biases, factors = weights_for((3, 4, 2))
    network.write(weights, biases)  # the factors stay
    np.testing.assert_array_equal(network.read()[2], [np.ones(3)])
    network.write(weights, biases, factors)
    assert_close(network.read(), (weights, biases, factors), 1e-6, 0)
    vector = np.concatenate([a.ravel() for part in network.read() for a in part])
    for part, group in zip(network.split(vector), network.read(), strict=True):
        for view, array in zip(part, group, strict=True):
            np.testing.assert_array_equal(view, array)
            assert np.shares_memory(view, vector)


class DecayingBiases(Dense):
    """What no kernel does."""

    def parameters(self):
        return [parameter._replace(decay=1.0) for parameter in super().parameters()]


def test_layers_that_do_not_fit_together_are_refused():
    for layers, problem in (
        ([Dense(3, 4), Dense(5, 2)], "layer 0 gives 4 numbers"),
        ([Dense(3, 4), Scale(4), Dense(4, 2)], "only be the first layer"),
        ([Scale(3)], "last layer must be Dense"),
        ([], "last layer must be Dense"),
    ):
        with pytest.raises(ValueError, match=problem):
            Network(layers, "float32")
    with pytest.raises(ValueError, match="biases cannot decay"):
        Network([DecayingBiases(3, 2)], "float32")
    network = Network([Scale(3), Dense(3, 2)], "float32", optimizer="sgd")
    with pytest.raises(ValueError, match="1 arrays of factors, got 2"):
        network.write([np.zeros((3, 2))], [np.zeros(2)], [np.ones(3)] * 2)
    with pytest.raises(ValueError, match="layer 0 cannot hold factors"):
        network.write([np.zeros((3, 2))], [np.zeros(2)], [np.ones(4)])
    X, y = csr_array(np.eye(3)), np.zeros((3, 2))
    with pytest.raises(ValueError, match="X is sparse, but the first layer, a Scale"):
        TrainingJob(
            network, X, y, batch_size=3, activation="relu", loss="squared_error"
        )
    with pytest.raises(ValueError, match="X is sparse, but the first layer, a Scale"):
        PredictionJob(network, X, activation="relu", output_activation="identity")


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_scale_of_ones_changes_no_prediction(activation):
    units = (30, 25, 3)
    X, _ = data_for(units, "squared_error", 50)
    outputs = []
    for first in ([], [Scale(30)]):
        network = Network([*first, *architecture_of(units)], "float32")
        network.write(*random_network(units))
        job = PredictionJob(
            network, X, activation=activation, output_activation="identity"
        )
        with Team(1) as team:
            outputs.append(job.run(team).tobytes())
    assert outputs[0] == outputs[1]
