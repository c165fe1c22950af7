"""Training beyond scikit-learn's network, against the reference."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import reference
from data import random_network, random_targets
from scipy import sparse

from fastmlp import MLPRegressor
from fastmlp.engine import jobs
from fastmlp.engine.jobs import PredictionJob, TrainingJob
from fastmlp.engine.network import Network
from fastmlp.engine.options import StepOptions
from fastmlp.engine.threads import Team
from fastmlp.tables.activations import ACTIVATIONS
from fastmlp.tables.losses import LOSSES

RATES = {"rate": 0.05, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-8}


@pytest.fixture(params=[0, 1, 3], ids=["tiles", "one strip", "three strips"])
def cut(request, monkeypatch):
    """How steps cut their batch, whatever is worthwhile."""
    monkeypatch.setattr(jobs, "strips_of", lambda network, batch_size: request.param)
    return request.param


def general_job(
    units, X, y, *, optimizer="gradient", loss="squared_error", dtype="float64",
    averaged=False, activation="tanh", batch_size=None, options=None, **settings,
):  # fmt: skip
    """A job on a network with random weights."""
    network = Network(units, dtype, optimizer=optimizer, averaged=averaged)
    network.write(*random_network(units))
    if averaged:
        network.write(*random_network(units), array="average")
    parameters = reference.parameters_of(loss, units[-1])
    job = TrainingJob(
        network, X, y, batch_size=batch_size or X.shape[0], activation=activation,
        loss=loss, **settings,
        options=StepOptions(loss_parameters=parameters, **(options or {})),
    )  # fmt: skip
    job.refresh()
    return job


def data_for(units, loss, n_samples):
    X = np.random.default_rng(1).standard_normal((n_samples, units[0]))
    return X, random_targets(loss, n_samples, units[-1])


def masks_for(job, step, n_rows, seed, dropout):
    """The masks of dropout of a step, in NumPy."""
    mask = np.uint64(2**64 - 1)

    def mix(x):
        with np.errstate(over="ignore"):
            x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9) & mask
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB) & mask
            return x ^ (x >> np.uint64(31))

    golden = np.uint64(0x9E3779B97F4A7C15)
    masks = []
    with np.errstate(over="ignore"):
        for layer, rate in enumerate(dropout):
            key = np.uint64(seed)
            for number in (0, step, layer):
                key = mix(key + np.uint64(number) + golden)
            rows = mix(key + np.arange(n_rows, dtype=np.uint64)).astype(np.uint32)
            columns = np.arange(job.network.units[layer], dtype=np.uint32)
            x = rows[:, None] + columns * np.uint32(0x9E3779B9)
            x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
            x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
            x ^= x >> np.uint32(16)
            masks.append((x < (1 - rate) * 2**32) / (1 - rate))
    return masks


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_by_central_differences(loss, activation, cut):
    """Of the reference's loss, by every parameter of a small network."""
    units = (3, 5, 4, 2)
    X, y = data_for(units, loss, 13)
    weights = np.random.default_rng(2).uniform(0.5, 2, 13)
    settings = {"l2": 0.3, "l1": 0.2}
    job = general_job(
        units, X, y, loss=loss, activation=activation, sample_weight=weights, l2=0.3,
        options={"l1": 0.2},
    )  # fmt: skip
    with Team(1) as team:
        value = job.run(team, 0, 1) / 13
    loss_of = partial(
        reference.loss_of, X, y, activation=activation, loss=loss, weights=weights,
        parameters=reference.parameters_of(loss, 2), **settings,
    )  # fmt: skip
    coefs, intercepts = random_network(units)
    np.testing.assert_allclose(value, loss_of(coefs, intercepts), rtol=1e-12)
    gradient = job.network.read(array="gradient")
    h = 1e-6
    for arrays, slopes in zip((coefs, intercepts), gradient, strict=True):
        for array, slope in zip(arrays, slopes, strict=True):
            for index in np.ndindex(array.shape):
                kept = array[index]
                array[index] = kept + h
                above = loss_of(coefs, intercepts)
                array[index] = kept - h
                below = loss_of(coefs, intercepts)
                array[index] = kept
                expected = (above - below) / (2 * h)
                np.testing.assert_allclose(slope[index], expected, rtol=1e-6, atol=1e-7)


SHAPES = [(1, 1), (3, 2), (17, 33, 5), (40, 16, 8, 24, 3), (9, 100, 47, 1)]


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("units", SHAPES)
def test_gradient_of_odd_shapes_with_dropout(units, kind, n_threads, cut):
    """Each layer with another activation."""
    if cut and kind is not np.asarray:
        pytest.skip("sparse samples do not go in strips")
    names = ["silu", "softplus", "leaky_relu"][: len(units) - 2]
    dropout = [0.2, 0.5, 0.3, 0.1][: len(units) - 1]
    for n_samples in (1, 6, 7, 65, 301):
        X, y = data_for(units, "huber", n_samples)
        X *= np.random.default_rng(3).random(X.shape) < 0.4
        job = general_job(
            units, kind(X), y, loss="huber", activation=names, n_threads=n_threads,
            options={"dropout": tuple(dropout), "seed": 7},
        )  # fmt: skip
        with Team(n_threads) as team:
            value = job.run(team, 0, 1, n_updates=11) / n_samples
        settings = {
            "activation": names, "loss": "huber",
            "parameters": reference.parameters_of("huber", units[-1]),
            "masks": masks_for(job, 11, n_samples, 7, dropout),
        }  # fmt: skip
        network = random_network(units)
        expected = reference.loss_of(X, y, *network, **settings)
        np.testing.assert_allclose(value, expected, rtol=1e-11)
        result = job.network.read(array="gradient")
        exact = reference.gradient_of(X, y, *network, **settings)
        for arrays, references in zip(result, exact, strict=True):
            for array, by in zip(arrays, references, strict=True):
                np.testing.assert_allclose(array, by, rtol=1e-9, atol=1e-11)


ALL_AT_ONCE = {"l1": 0.05, "weight_decay": 0.1, "clip_norm": 0.2, "dropout": (0.1,) * 3}


@pytest.mark.parametrize("options", [{}, ALL_AT_ONCE], ids=["plain", "all"])
@pytest.mark.parametrize("optimizer", reference.OPTIMIZERS)
def test_epochs_against_the_reference(optimizer, options, cut):
    """Rates that change every step, penalties, clipping, dropout and averages."""
    units, n_samples, batch_size = (7, 21, 10, 3), 50, 16
    loss, names = "focal", ("gelu", "elu")
    X, y = data_for(units, loss, n_samples)
    n_threads = 2 if options else 1
    job = general_job(
        units, X, y, loss=loss, activation=names, optimizer=optimizer, averaged=True,
        batch_size=batch_size, l2=0.2, n_threads=n_threads,
        options={**options, "seed": 3, "average_decay": 0.9},
    )  # fmt: skip
    coefs, intercepts = random_network(units)
    average = [a.copy() for a in coefs + intercepts]
    states = [{} for _ in average]
    rates = dict(RATES, beta_1=0.0 if optimizer == "sgd" else RATES["beta_1"])
    done = 0
    with Team(n_threads) as team:
        for epoch in range(3):
            rates["rate"] = np.linspace(0.1, 0.02, job.n_steps) / (epoch + 1)
            loss_value = job.run(team, 0, job.n_steps, n_updates=done, **rates)
            coefs, intercepts, expected = reference.train_epoch(
                X, y, coefs, intercepts, states, job.order, batch_size, optimizer,
                rates, activation=names, loss=loss, l2=0.2, l1=options.get("l1", 0.0),
                parameters=reference.parameters_of(loss, 3),
                weight_decay=options.get("weight_decay", 0.0),
                clip_norm=options.get("clip_norm", np.inf),
                average=average, average_decay=0.9,
                masks_of=lambda step, rows, done=done: masks_for(
                    job, done + step, rows, 3, options.get("dropout", (0.0,) * 3)
                ),
            )  # fmt: skip
            done += job.n_steps
            np.testing.assert_allclose(loss_value / n_samples, expected, rtol=1e-9)
    for array, exact in (("parameters", coefs + intercepts), ("average", average)):
        ours = [a for part in job.network.read(array=array) for a in part]
        for a, b in zip(ours, exact, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
def test_bitwise_equal_for_any_number_of_threads(kind, dtype, cut):
    if cut and kind is not np.asarray:
        pytest.skip("sparse samples do not go in strips")
    units = (30, 70, 50, 4)
    X, y = data_for(units, "quantile", 400)
    X *= np.random.default_rng(3).random(X.shape) < 0.5
    results = []
    for n_threads in (1, 2, 3, 5):
        job = general_job(
            units, kind(X), y, loss="quantile", optimizer="adam", dtype=dtype,
            activation=("mish", "hard_swish"), batch_size=150, averaged=True, l2=0.1,
            n_threads=n_threads, options={**ALL_AT_ONCE, "average_decay": 0.99},
        )  # fmt: skip
        with Team(n_threads) as team:
            losses = [
                job.run(team, 0, job.n_steps, n_updates=3 * epoch, **RATES)
                for epoch in range(4)
            ]
        arrays = job.network.arena.arrays
        bits = [arrays[name].tobytes() for name in ("parameters", "average")]
        results.append((losses, bits))
    assert all(result == results[0] for result in results)


def test_chunks_of_steps_do_not_change_the_result(cut):
    units = (8, 20, 20, 2)
    X, y = data_for(units, "gamma", 90)
    results = []
    for ends in ([9], [2, 3, 9]):
        job = general_job(
            units, X, y, loss="gamma", optimizer="lion", batch_size=10,
            options=ALL_AT_ONCE,
        )  # fmt: skip
        start = 0
        with Team(1) as team:
            for end in ends:
                loss = job.run(team, start, end, **RATES)
                start = end
        results.append((loss, job.network.arena.arrays["parameters"].tobytes()))
    assert results[0] == results[1]


def test_a_share_of_the_inputs_is_dropped_and_the_rest_made_up_for():
    network = Network((1000, 1), "float64", optimizer="sgd")
    job = TrainingJob(
        network, np.ones((100, 1000)), np.zeros((100, 1)), batch_size=100,
        activation="relu", loss="squared_error", options=StepOptions(dropout=(0.3,)),
    )  # fmt: skip
    (mask,) = masks_for(job, 5, 100, 0, (0.3,))
    assert abs((mask > 0).mean() - 0.7) < 0.005
    np.testing.assert_allclose(mask[mask > 0], 1 / 0.7)
    # rows and columns, and neighbours in each, have nothing to do with one another
    centred = mask - 1
    for a, b in ((centred[1:], centred[:-1]), (centred[:, 1:], centred[:, :-1])):
        assert abs((a * b).mean()) < 0.01
    assert np.std(mask.mean(axis=0)) < 0.08


def test_padding_stays_zero(cut):
    """Where it must: in weights; it may hold anything in the activations."""
    units = (3, 5, 2)
    X, y = data_for(units, "absolute_error", 9)
    job = general_job(
        units, X, y, loss="absolute_error", activation="softplus", optimizer="adam",
        options={**ALL_AT_ONCE, "dropout": ()}, l2=0.1,
    )  # fmt: skip
    with Team(1) as team:
        for t in range(5):
            job.run(team, 0, 1, n_updates=t, **RATES)
    parameters = job.network.arena.arrays["parameters"]
    n_parameters = sum(a * b + b for a, b in pairwise(units))
    assert np.count_nonzero(parameters) == n_parameters


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", [*ACTIVATIONS, ("selu", "tanh")])
def test_prediction_against_the_reference(activation, dtype, kind, n_threads):
    units = (11, 19, 30, 3)
    X, _ = data_for(units, "huber", 101)
    network = Network(units, dtype)
    coefs, intercepts = random_network(units)
    network.write(coefs, intercepts)
    job = PredictionJob(
        network, kind(X), activation=activation, output_activation="softmax",
        n_threads=n_threads,
    )  # fmt: skip
    with Team(n_threads) as team:
        result = job.run(team)
    exact = reference.predict(X, coefs, intercepts, activation, "softmax")
    tolerance = 200 * np.finfo(dtype).eps
    np.testing.assert_allclose(result, exact, rtol=tolerance, atol=tolerance)


@pytest.mark.filterwarnings("ignore::fastmlp.exceptions.ScaleWarning")
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_norm_that_float32_cannot_hold_does_not_stop_the_training(solver):
    rng = np.random.default_rng(0)
    times = np.c_[1.7e18 + 1e15 * rng.random(100), rng.standard_normal((100, 2))]
    settings = {"clip_norm": 1.0, "solver": solver, "max_iter": 5, "random_state": 0}
    model = MLPRegressor(**settings)
    with pytest.warns(UserWarning, match="done again in float64"):
        model.fit(times, times[:, 1])
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        MLPRegressor(precision="float32", **settings).fit(times, times[:, 1])
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        MLPRegressor(precision="float64", **settings).fit(times * 1e160, times[:, 1])


def test_settings_that_do_not_fit_are_refused():
    X, y = data_for((3, 4, 2), "huber", 5)
    network = Network((3, 4, 2), "float64", optimizer="sgd")
    settings = {"batch_size": 5, "activation": "relu"}
    for bad in (
        {"loss": "huber"},
        {"loss": "quantile", "options": StepOptions(loss_parameters=(0.5,))},
        {"loss": "gamma", "options": StepOptions(dropout=(0.5,))},
        {"loss": "gamma", "activation": ("relu", "tanh")},
    ):
        with pytest.raises(ValueError, match=r"parameters|dropout|activations"):
            TrainingJob(network, X, y, **{**settings, **bad})
