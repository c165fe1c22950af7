"""The first layer of a network for tables, and parametric activations."""

from itertools import product

import numpy as np
import pytest
import reference
from data import random_targets
from numba.core.runtime import _nrt_python, rtsys
from scipy.sparse import csr_array
from test_general import RATES, masks_for

from fastmlp.engine.jobs import PredictionJob, TrainingJob
from fastmlp.engine.network import Network
from fastmlp.engine.options import StepOptions
from fastmlp.engine.threads import Team
from fastmlp.kernels.layers.dense import Dense
from fastmlp.kernels.layers.encoding import Encoding
from fastmlp.tables.activations import ACTIVATIONS
from fastmlp.tables.encodings import (
    EMBEDDING,
    FLAG,
    N_FREQUENCIES,
    NUMBER,
    ONE_HOT,
    Column,
    encode,
    levels_of,
    quantile_knots,
    scaled,
)
from fastmlp.training.lbfgs import minimize_loss

pytestmark = pytest.mark.compiler

DTYPES = ("float32", "float64")

ONE_HOT_VALUES = np.array([[0.0, 1.6], [-0.3, 0.7], [0.0, 1.0]])

#: One of each kind, in an order that mixes them.
COLUMNS = (
    Column(ONE_HOT, n_levels=4, values=ONE_HOT_VALUES),
    Column(NUMBER, center=0.3, scale=1.7, has_missing=True),
    Column(EMBEDDING, n_levels=5),
    Column(FLAG),
    Column(NUMBER, center=-1.0, scale=0.4),
    Column(EMBEDDING, n_levels=2),
    Column(NUMBER, scale=0.9, is_piecewise=True),
)


def one_hot(n_levels):
    values = np.random.default_rng(n_levels).normal(0, 1, (n_levels - 1, 2))
    return Column(ONE_HOT, n_levels=n_levels, values=values)


def by_quantiles(n_knots, **form):
    x = np.random.default_rng(n_knots).standard_cauchy(n_knots).astype("f")
    return Column(NUMBER, knots=quantile_knots(x), **form)


#: Some without numbers, or without tables; inputs that straddle panels of any width.
TABLES = {
    "all kinds": COLUMNS,
    "a number": (Column(NUMBER),),
    "numbers": tuple(Column(NUMBER, 0.1 * i, 1.0, i % 2 > 0) for i in range(9)),
    "quantiles": (
        by_quantiles(2),
        by_quantiles(7, has_missing=True, is_piecewise=True),
        by_quantiles(300),
        by_quantiles(1),
    ),
    "flags": (Column(FLAG),) * 3,
    "a one-hot code": (one_hot(130),),
    "categories": (one_hot(1), Column(EMBEDDING, n_levels=1), one_hot(2), one_hot(30)),
    "embeddings": tuple(Column(EMBEDDING, n_levels=n) for n in (3, 40, 1, 7, 2)),
    "many": 3 * (one_hot(6), *COLUMNS),
}


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
                X[rng.random(n_samples) < 0.02, j] = np.inf
        else:
            X[:, j] = rng.integers(0, column.n_levels, n_samples)
            unknown = np.nan, -1, 0.5, column.n_levels, column.n_levels + 0.5, -np.inf
            chosen = rng.random(n_samples) < 0.1
            X[chosen, j] = rng.choice(unknown, chosen.sum())
    return X


def network_for(
    columns, widths, dtype="float64", *, n_cosines=3, n_embedded=8, rates=None,
    is_parametric=True, optimizer="gradient", seed=3, averaged=False,
):  # fmt: skip
    """A network with random parameters, and these, by group, as they can be read.

    rates : of each group; None for 1.
    """
    rates = {} if rates is None else {f"{name}_rate": r for name, r in rates.items()}
    of_dense = {k: rates.pop(k) for k in list(rates) if k[:2] in ("we", "bi", "al")}
    first = Encoding(columns, n_cosines, n_embedded, **rates)
    units = first.fan_out, *widths
    layers = [first]
    for i, (fan_in, fan_out) in enumerate(zip(units, widths, strict=False)):
        last = i == len(widths) - 1
        layers.append(
            Dense(fan_in, fan_out, is_parametric=is_parametric and not last, **of_dense)
        )
    network = Network(layers, dtype, optimizer=optimizer, averaged=averaged)
    rng = np.random.default_rng(seed)
    groups = {
        name: [rng.normal(0, 0.5, np.shape(array)) for array in group]
        for name, group in zip(network.groups, network.read(), strict=True)
    }
    groups["weights"] = [w / np.sqrt(len(w)) for w in groups["weights"]]
    network.write(*groups.values())
    if averaged:
        network.write(*groups.values(), array="average")
    return network, groups


def job_for(network, X, y, activation="tanh", **settings):
    job = TrainingJob(
        network, X, y, batch_size=settings.pop("batch_size", X.shape[0]),
        activation=activation, loss=settings.pop("loss", "squared_error"), **settings,
    )  # fmt: skip
    job.refresh()
    return job


# --- The reference, in NumPy ----------------------------------------------------------


def encoded(columns, X, network, groups):
    """The outputs of the Encoding."""
    first = network.architecture[0]
    return encode(
        columns, X, groups["factors"][0], groups["cosines"][0], groups["tables"][0],
        first.n_cosines, first.n_embedded,
    )  # fmt: skip


def forward(columns, X, network, groups, activation, masks=None):
    """(pre-activations, inputs) of all Dense layers, and raw outputs."""
    a = encoded(columns, X, network, groups)
    zs, inputs = [], []
    g = reference.ACTIVATIONS[activation][0]
    for i, (w, b) in enumerate(zip(groups["weights"], groups["biases"], strict=True)):
        inputs.append(a if masks is None else a * masks[1 + i])
        zs.append(inputs[-1] @ w + b)
        alpha = groups["alphas"][i] if i < len(groups.get("alphas", ())) else 1.0
        a = zs[-1] + alpha * (g(zs[-1]) - zs[-1])
    return zs, inputs, zs[-1]


def loss_of(columns, X, y, network, groups, activation, *, loss="squared_error",
            weights=None, l2=0.0, l1=0.0, masks=None):  # fmt: skip
    weights = np.ones(len(X)) if weights is None else weights
    outputs = forward(columns, X, network, groups, activation, masks)[-1]
    penalty = sum(l2 / 2 * (w**2).sum() + l1 * abs(w).sum() for w in groups["weights"])
    losses = reference.LOSSES[loss][0](outputs, y)
    return ((weights * losses).sum() + penalty) / weights.sum()


def gradient_of(columns, X, y, network, groups, activation, *, loss="squared_error",
                weights=None, l2=0.0, l1=0.0, masks=None):  # fmt: skip
    """Of `loss_of`, by group, by back-propagation."""
    weights = np.ones(len(X)) if weights is None else weights
    zs, inputs, outputs = forward(columns, X, network, groups, activation, masks)
    g, slope = reference.ACTIVATIONS[activation]
    found = {name: [None] * len(group) for name, group in groups.items()}
    d = reference.LOSSES[loss][1](outputs, y) * (weights / weights.sum())[:, None]
    for i in range(len(zs) - 1, -1, -1):
        w = groups["weights"][i]
        penalty = (l2 * w + l1 * np.sign(w)) / weights.sum()
        found["weights"][i] = inputs[i].T @ d + penalty
        found["biases"][i] = d.sum(axis=0)
        d = d @ w.T * (1 if masks is None else masks[1 + i])
        if i > 0:
            z, alpha = zs[i - 1], 1.0
            if "alphas" in groups:
                alpha = groups["alphas"][i - 1]
                found["alphas"][i - 1] = (d * (g(z) - z)).sum(axis=0)
            d = d * (1 + alpha * (slope(z) - 1))
    bare = {**groups, "factors": [np.ones_like(groups["factors"][0])]}
    e = encoded(columns, X, network, bare)
    found["factors"][0] = (d * e).sum(axis=0)
    by_columns = gradient_of_columns(columns, X, d * groups["factors"][0], network,
                                     groups["cosines"][0])  # fmt: skip
    found["cosines"][0], found["tables"][0] = by_columns
    return found


def gradient_of_columns(columns, X, d, network, cosines):
    """By all cosines and tables; d : deltas of what columns give, without factors."""
    first, place, number = network.architecture[0], 0, 0
    by_cosines, by_tables = [np.zeros(0)], [np.zeros(0)]
    for column, x, n in zip(columns, X.T, first.counts, strict=True):
        of_column, place = d[:, place : place + n], place + n
        if column.kind == NUMBER and first.n_cosines:
            z = scaled(column, x)[:, None]
            own = cosines.reshape(-1, first.n_cosines + 3, N_FREQUENCIES)[number]
            frequencies, phases, v = own[0], own[1], own[2:-1]
            of_cosines = of_column[:, 1 : 1 + first.n_cosines]
            q = np.sin(2 * np.pi * z * frequencies + phases) * (of_cosines @ v)
            if column.is_piecewise:  # ramps are not trained
                q[:] = 0
            biases = np.zeros(N_FREQUENCIES)
            biases[: first.n_cosines] = of_cosines.sum(axis=0)
            waves = np.cos(2 * np.pi * z * frequencies + phases)
            if column.is_piecewise:
                waves = np.clip(z * frequencies + phases, 0, 1)
            by_cosines += [
                -2 * np.pi * (z * q).sum(axis=0), -q.sum(axis=0),
                (of_cosines.T @ waves).ravel(), biases,
            ]  # fmt: skip
            number += 1
        if column.kind == EMBEDDING:
            by_table = np.zeros((column.n_levels, n))
            np.add.at(by_table, levels_of(x, column.n_levels), of_column)
            by_tables.append(by_table.ravel())
    return np.concatenate(by_cosines), np.concatenate(by_tables)


def assert_close(result, exact, rtol, atol=0.0):
    """result : as `Network.read` returns it; atol : in units of the largest number."""
    for arrays, (name, references) in zip(result, exact.items(), strict=True):
        for array, by in zip(arrays, references, strict=True):
            size = max(1, np.abs(by).max(initial=0))
            np.testing.assert_allclose(
                array, by, rtol=rtol, atol=size * atol, err_msg=name
            )


# --- Gradients ------------------------------------------------------------------------


def test_the_reference_by_central_differences():
    """Its gradient is that of its loss, by every parameter."""
    X = table(COLUMNS, 29)
    ramps = slice(2 * 5 * N_FREQUENCIES, (2 * 5 + 2) * N_FREQUENCIES)  # not trained
    y = random_targets("squared_error", 29, 2)
    network, groups = network_for(COLUMNS, (4, 3, 2), n_cosines=2, n_embedded=3)
    more = {"weights": np.random.default_rng(1).uniform(0.5, 2, 29), "l2": 0.3}
    settings = {"activation": "mish", "l1": 0.2, **more}
    data = COLUMNS, X, y, network, groups
    gradient = gradient_of(*data, **settings)
    h = 1e-6
    for name, arrays in groups.items():
        for array, slopes in zip(arrays, gradient[name], strict=True):
            for index in np.ndindex(array.shape):
                if name == "cosines" and index[0] in range(*ramps.indices(10**6)):
                    continue
                kept = array[index]
                array[index] = kept + h
                above = loss_of(*data, **settings)
                array[index] = kept - h
                below = loss_of(*data, **settings)
                array[index] = kept
                expected = (above - below) / (2 * h)
                assert slopes[index] == pytest.approx(expected, rel=1e-5, abs=1e-8)


def check_gradient(
    columns, widths, n_samples, dtype, activation, loss="squared_error", **form
):
    """Against the reference."""
    X = table(columns, n_samples).astype(dtype)
    y = random_targets(loss, n_samples, widths[-1])
    network, groups = network_for(columns, widths, dtype, **form)
    weights = np.random.default_rng(1).uniform(0.5, 2, n_samples)
    job = job_for(
        network, X, y, activation, sample_weight=weights, l2=0.3, loss=loss,
        options=StepOptions(l1=0.2),
    )  # fmt: skip
    with Team(1) as team:
        value = job.run(team, 0, 1) / n_samples
    data = columns, X.astype(float), y, network, groups, activation
    settings = {"loss": loss, "weights": weights, "l2": 0.3, "l1": 0.2}
    tolerance = 3e-5 if dtype == "float32" else 1e-12
    assert value == pytest.approx(loss_of(*data, **settings), rel=10 * tolerance)
    exact = gradient_of(*data, **settings)
    assert_close(network.read(array="gradient"), exact, 0, tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("is_parametric", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_of_every_activation(activation, is_parametric, dtype):
    check_gradient(
        COLUMNS, (33, 7, 3), 45, dtype, activation, "log_loss",
        is_parametric=is_parametric,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_samples", [1, 2, 13, 127, 128, 301])
@pytest.mark.parametrize("columns", TABLES)
def test_gradient_of_odd_shapes(columns, n_samples, dtype):
    for (*widths, activation), is_parametric in product(
        ((1, "relu"), (5, 1, "gelu"), (33, 100, 2, "silu")), (False, True)
    ):
        check_gradient(
            TABLES[columns], widths, n_samples, dtype, activation,
            is_parametric=is_parametric,
        )  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_embedded", [1, 4, 8])
@pytest.mark.parametrize("n_cosines", [0, 1, 3, 15, N_FREQUENCIES])
def test_gradient_of_embeddings_of_any_size(n_cosines, n_embedded, dtype):
    form = {"n_cosines": n_cosines, "n_embedded": n_embedded}
    check_gradient(TABLES["many"], (20, 1), 200, dtype, "selu", **form)


def test_sums_over_a_huge_batch_stay_accurate():
    """In float32: terms are added up in blocks, not one behind the other."""
    columns, n = (*COLUMNS[:2], COLUMNS[3]), 60_000
    X = np.random.default_rng(0).uniform(0.5, 1.5, (n, 3)).astype("f")
    X[:, 0] = np.ceil(X[:, 0])
    X[::2, 1] = np.nan
    y = np.full((n, 1), 100.0)  # deltas of one sign: nothing cancels
    network, groups = network_for(columns, (1,), "float32")
    with Team(1) as team:
        job_for(network, X, y).run(team, 0, 1)
    exact = gradient_of(columns, X.astype(float), y, network, groups, "tanh")
    result = dict(zip(groups, network.read(array="gradient"), strict=True))
    for name in ("factors", "cosines"):
        (array,), (by,) = result[name], exact[name]
        np.testing.assert_allclose(array, by, rtol=3e-6, atol=3e-6 * abs(by).max())


# --- Steps ----------------------------------------------------------------------------

OWN_RATES = {"weights": 0.8, "biases": 0.1, "alphas": 0.5, "factors": 6.0,
             "cosines": 0.2, "tables": 1.5}  # fmt: skip
ALL_AT_ONCE = {"l1": 0.05, "weight_decay": 0.1, "clip_norm": 0.2}


@pytest.mark.parametrize("dropout", [(), (0.0, 0.3, 0.2, 0.1)], ids=["", "dropout"])
@pytest.mark.parametrize("options", [{}, ALL_AT_ONCE], ids=["plain", "all"])
@pytest.mark.parametrize("optimizer", reference.OPTIMIZERS)
def test_epochs_against_the_reference(optimizer, options, dropout):
    """Each array has its own rate; strength and rates change, the last batch is short.

    Only weights are shrunk, and penalised.
    """
    n_samples, batch_size, activation = 50, 16, "selu"
    X, y = table(COLUMNS, n_samples), random_targets("log_loss", n_samples, 3)
    network, groups = network_for(
        COLUMNS, (33, 10, 3), rates=OWN_RATES, averaged=True,
        optimizer=optimizer,
    )  # fmt: skip
    weights = np.random.default_rng(1).uniform(0.5, 1, n_samples)
    weights[7] = 1.0  # the largest one, which jobs divide by
    job = job_for(
        network, X, y, activation, batch_size=batch_size, loss="log_loss",
        sample_weight=weights, l2=0.2, n_threads=2,
        options=StepOptions(dropout=dropout, seed=3, average_decay=0.9, **options),
    )  # fmt: skip
    np.random.default_rng(2).shuffle(job.order)
    keys = [(name, i) for name, group in groups.items() for i in range(len(group))]
    average = {name: [a.copy() for a in group] for name, group in groups.items()}
    states = {key: {} for key in keys}
    rates = dict(RATES, beta_1=0.0 if optimizer == "sgd" else RATES["beta_1"])
    settings = {"l2": 0.2, "l1": options.get("l1", 0.0), "loss": "log_loss"}
    for epoch, strength in enumerate((1.0, 0.4, 0.0)):
        rates["rate"] = np.linspace(0.05, 0.01, job.n_steps) / (epoch + 1)
        done, total = epoch * job.n_steps, 0.0
        with Team(2) as team:
            value = job.run(
                team, 0, job.n_steps, n_updates=done, strength=strength, **rates
            )
        for step, rate in enumerate(rates["rate"]):
            rows = job.order[step * batch_size : (step + 1) * batch_size]
            shares = strength * np.array(dropout or (0.0,) * 4)
            masks = masks_for(job, done + step, len(rows), 3, shares)
            arguments = COLUMNS, X[rows], y[rows], network, groups, activation
            batch = {"weights": weights[rows], "masks": masks, **settings}
            total += len(rows) * loss_of(*arguments, **batch)
            gradient = gradient_of(*arguments, **batch)
            norm = np.sqrt(
                sum((g**2).sum() for part in gradient.values() for g in part)
            )
            share = min(1.0, options.get("clip_norm", np.inf) / norm)
            for name, i in keys:
                w, own = groups[name][i], {**rates, "rate": OWN_RATES[name] * rate}
                if name == "weights":
                    w *= 1 - strength * options.get("weight_decay", 0.0) * rate
                g = share * gradient[name][i]
                w[...] = reference.OPTIMIZERS[optimizer](w, g, states[name, i], **own)
                average[name][i] += 0.1 * (w - average[name][i])
        np.testing.assert_allclose(value, total, rtol=1e-9)
    assert_close(network.read(), groups, 1e-7, 1e-9)
    assert_close(network.read(array="average"), average, 1e-7, 1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("clip_norm", [0.0, 0.1])
def test_bitwise_equal_for_any_number_of_threads_and_runs(clip_norm, dtype):
    columns, n_samples = TABLES["many"], 401
    X, y = table(columns, n_samples), random_targets("log_loss", n_samples, 4)
    results = []
    for n_threads, ends in ((1, [3]), (1, [1, 3]), (2, [3]), (3, [2, 3]), (5, [3])):
        network, _ = network_for(columns, (70, 50, 4), dtype, optimizer="adam")
        job = job_for(
            network, X, y, "selu", batch_size=150, loss="log_loss", l2=0.1,
            n_threads=n_threads,
            options=StepOptions(clip_norm=clip_norm, dropout=(0.0, 0.1, 0.1, 0.1)),
        )  # fmt: skip
        losses = []
        with Team(n_threads) as team:
            for epoch, (start, *_) in product(range(3), [[0, *ends]]):
                for end in ends:
                    loss = job.run(team, start, end, n_updates=3 * epoch, **RATES)
                    start = end
                losses.append(loss)
            prediction = PredictionJob(
                network, X, activation="selu", output_activation="softmax",
                n_threads=n_threads,
            )  # fmt: skip
            outputs = prediction.run(team).tobytes()
        parameters = network.arena.arrays["parameters"]
        results.append((losses, outputs, parameters.tobytes()))
    assert np.isfinite(losses).all()
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_parameters_of_1_change_no_bit_of_a_step(activation, dtype):
    X, y = table(COLUMNS, 40), random_targets("squared_error", 40, 2)
    results = []
    for is_parametric in (True, False):
        network, groups = network_for(
            COLUMNS, (19, 2), dtype, is_parametric=is_parametric, optimizer="sgd"
        )
        if is_parametric:
            groups["alphas"] = [np.ones(19)]
            network.write(*groups.values())
        job = PredictionJob(
            network, X, activation=activation, output_activation="identity"
        )
        with Team(1) as team:
            outputs = job.run(team).tobytes()
            loss = job_for(network, X, y, activation).run(team, 0, 1, rate=0.1)
        news = dict(zip(network.groups, network.read(), strict=True))
        news.pop("alphas", None)
        results.append((outputs, loss, [a.tobytes() for p in news.values() for a in p]))
    assert results[0] == results[1]


def test_padding_stays_zero():
    columns = TABLES["all kinds"]
    X, y = table(columns, 37), random_targets("log_loss", 37, 3)
    for is_parametric in (False, True):
        network, _ = network_for(
            columns, (9, 3), optimizer="adam", is_parametric=is_parametric
        )
        job = job_for(
            network, X, y, "logistic", l2=0.5, loss="log_loss",
            batch_size=10,
        )  # fmt: skip
        with Team(1) as team:
            for epoch in range(5):
                job.run(team, 0, 4, n_updates=4 * epoch, **RATES)
        parameters = network.arena.arrays["parameters"]
        assert np.count_nonzero(parameters) == network.n_parameters


def test_lbfgs_minimises_over_all_parameters():
    X, y = table(COLUMNS, 60), random_targets("squared_error", 60, 1)
    network, groups = network_for(COLUMNS, (3, 1))
    job = job_for(network, X, y, batch_size=30)
    data = COLUMNS, X, y, network
    before = loss_of(*data, groups, "tanh")
    result = minimize_loss(job, Team(1), max_iter=20, max_fun=500, tol=1e-5)
    read = dict(zip(groups, network.read(), strict=True))
    assert result.x.size == network.n_parameters
    assert loss_of(*data, read, "tanh") < 0.8 * before
    for name, arrays in groups.items():
        assert not np.allclose(arrays[0], read[name][0]), name


# --- Prediction -----------------------------------------------------------------------


def predict(network, X, activation="mish", n_threads=1, **settings):
    job = PredictionJob(
        network, X, activation=activation, n_threads=n_threads,
        output_activation="identity", **settings,
    )  # fmt: skip
    with Team(n_threads) as team:
        return job.run(team)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", TABLES)
def test_prediction_against_the_reference(columns, dtype, n_threads):
    """Of X of both types, into outputs of both types, of any layout."""
    columns = TABLES[columns]
    network, groups = network_for(columns, (33, 100, 2), dtype)
    X = table(columns, 301).astype(dtype)
    exact = forward(columns, X.astype(float), network, groups, "mish")[-1]
    wide = np.zeros((2 * len(X), 3 * len(columns)), dtype)
    wide[::2, ::3] = X
    for given, output in product((X, np.asfortranarray(X), wide[::2, ::3]), DTYPES):
        result = predict(network, given, n_threads=n_threads, dtype=output)
        assert result.dtype == output
        tolerance = 1e-12 if output == dtype == "float64" else 2e-5
        np.testing.assert_allclose(result, exact, rtol=tolerance, atol=tolerance)
    with np.errstate(over="ignore"):
        other = X.astype("float64" if dtype == "float32" else "float32")
    result = predict(network, other, dtype=dtype)
    np.testing.assert_allclose(result, exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", TABLES)
def test_a_row_is_predicted_the_same_in_any_batch(columns, dtype):
    """A few rows are encoded one by one; alone, one also has products of its own."""
    columns = TABLES[columns]
    network, _ = network_for(columns, (50, 49, 4), dtype)
    X = table(columns, 517)
    whole = predict(network, X)
    few = [slice(start, start + n) for start in (0, 40) for n in range(1, 9)]
    for part in (*few, slice(100, 517), slice(0, 129)):
        np.testing.assert_array_equal(predict(network, X[part]), whole[part])
    np.testing.assert_array_equal(predict(network, X, n_threads=3), whole)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_numbers_and_codes_without_a_meaning_are(dtype):
    """The inputs of a network, shown by a layer that hands them on."""
    columns = (Column(NUMBER, 1.0, 2.0, has_missing=True), Column(FLAG), one_hot(3),
               Column(EMBEDDING, n_levels=3))  # fmt: skip
    network = Network([Encoding(columns, 0, 1), Dense(6, 6)], dtype)
    _, biases, factors, cosines, _ = network.read()
    values, levels = columns[2].values, [10.0, 20.0, 30.0]
    network.write([np.eye(6)], biases, factors, cosines, [np.array(levels)])

    def inputs(*row):
        return predict(network, np.array([row], dtype), dtype="float64")[0]

    cold, hot = values.T
    np.testing.assert_allclose(
        inputs(1.0, np.nan, 1, 2), [0, 0, 0, hot[0], cold[1], 30], rtol=1e-6
    )
    np.testing.assert_allclose(inputs(np.nan, 5.0, 2, 0)[:3], [0, 1, 5])
    for huge in (1e20, 1e38, np.inf):
        np.testing.assert_allclose(inputs(huge, 0, 0, 0)[:2], [3, 0], rtol=1e-6)
        np.testing.assert_allclose(inputs(-huge, 0, 0, 0)[:2], [-3, 0], rtol=1e-6)
    unknown = inputs(1, 0, 0, 0)
    np.testing.assert_allclose(unknown[3:], [*cold, 10], rtol=1e-6)
    for code in (np.nan, np.inf, -np.inf, -1, -0.0, 0.5, 1.5, 2.999, 3, 1e30, 1e-40):
        np.testing.assert_array_equal(inputs(1, 0, code, code), unknown)


def test_kernels_allocate_nothing():
    X, y = table(COLUMNS, 100), random_targets("squared_error", 100, 2)
    network, _ = network_for(COLUMNS, (7, 2), optimizer="sgd")
    job = job_for(network, X, y, batch_size=30)
    prediction = PredictionJob(
        network, X, activation="tanh", output_activation="identity"
    )
    _nrt_python.memsys_enable_stats()
    with Team(1) as team:
        for is_compiled in (False, True):
            before = rtsys.get_allocation_stats()
            job.run(team, 0, 4, rate=0.1)
            prediction.run(team)
            if is_compiled:
                assert rtsys.get_allocation_stats() == before


# --- Declarations ---------------------------------------------------------------------


def test_what_does_not_fit_together_is_refused():
    first = Encoding(COLUMNS)
    n, number = first.fan_out, (Column(NUMBER),)
    assert Network([first, Dense(n, 2)], "float32").groups == {
        "weights": 1, "biases": 1, "factors": 1, "cosines": 1, "tables": 1
    }  # fmt: skip
    for make, problem in (
        (
            lambda: [Dense(6, len(COLUMNS)), first, Dense(n, 1)],
            "only be the first layer",
        ),
        (lambda: [first, Dense(n, 1, is_parametric=True)], "cannot be parametric"),
        (lambda: [Dense(2, 2, is_parametric=True), Dense(2, 1)], "need an Encoding"),
        (lambda: [Encoding(number, N_FREQUENCIES + 1)], "n_cosines is 17, above 16"),
        (lambda: [Encoding(())], "needs columns that give inputs"),
        (lambda: [Encoding((one_hot(1),))], "needs columns that give inputs"),
        (lambda: [Encoding((Column(EMBEDDING),))], "a category has no levels"),
        (
            lambda: [Encoding((Column(ONE_HOT, n_levels=4, values=np.eye(2)),))],
            r"shape \(2, 2\), expected \(3, 2\)",
        ),
    ):
        with pytest.raises(ValueError, match=problem):
            Network(make(), "float32")
    network, _ = network_for(COLUMNS, (2,))
    X, y = table(COLUMNS, 5), np.zeros((5, 2))
    with pytest.raises(ValueError, match="columns of a table cannot be dropped"):
        job_for(network, X, y, options=StepOptions(dropout=(0.1, 0.0)))
    with pytest.raises(ValueError, match="X is sparse, but the first layer"):
        job_for(network, csr_array(np.nan_to_num(X)), y, batch_size=5)
    job_for(network, X, y, options=StepOptions(dropout=(0.0, 0.1)))
