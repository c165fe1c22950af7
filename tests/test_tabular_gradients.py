"""Derivatives of models for tables, with respect to their columns."""

import warnings

import numpy as np
import pandas as pd
import pytest
import reference
from sklearn.exceptions import NotFittedError
from test_encoding import COLUMNS, TABLES, forward, network_for
from test_encoding import table as table_for

from fastmlp import TabularMLPClassifier, TabularMLPRegressor
from fastmlp.engine.differentiation import DerivativesJob, EncodedNetwork
from fastmlp.engine.threads import Team
from fastmlp.tables.encodings import NUMBER, encode, slopes_of_encoding
from fastmlp.tables.losses import OUTPUT_ACTIVATIONS

SMALL = {"n_members": 2, "max_iter": 8, "hidden_layer_sizes": (16,), "random_state": 0}

#: Places of columns of the table below.
SIZE, CITY, GARDEN, BUILT, FLOOR, LEASE, STREET, ALWAYS = range(8)


@pytest.fixture(scope="module")
def table():
    """(X, y): columns of all kinds; numbers in float64, which a fit scales itself."""
    n, rng = 240, np.random.default_rng(0)
    lease = rng.integers(0, 10**6, n)
    X = pd.DataFrame({
        "size": rng.uniform(20, 200, n),
        "city": rng.choice(["Bern", "Basel", "Chur"], n),
        "garden": rng.random(n) < 0.5,
        "built": pd.Timestamp("2024-01-01") + pd.to_timedelta(lease[::-1], "s"),
        "floor": rng.integers(0, 7, n).astype(np.float32),
        "lease": pd.to_timedelta(lease, "s"),
        "street": rng.choice([f"street {i}" for i in range(15)], n),
        "always": 1.0,
    })  # fmt: skip
    y = X["size"] / 50 + (X["city"] == "Bern") + np.sin(X["floor"]) + lease / 1e6
    for column in ("size", "city", "built"):
        X.loc[rng.random(n) < 0.1, column] = None
    return X, y.to_numpy()


# --- the pieces, in float64 -----------------------------------------------------------


@pytest.mark.compiler
@pytest.mark.parametrize("activation", ["mish", "selu", "logistic"])
def test_the_kernel_against_numpy(activation):
    """By what the Encoding gives, with its own records and with these handed over."""
    rng = np.random.default_rng(0)
    slope = reference.ACTIVATIONS[activation][1]
    for name, n, n_cotangents in (
        ("all kinds", 37, 2),
        ("many", 5, 1),
        ("flags", 1, 3),
    ):
        columns = TABLES[name]
        X = table_for(columns, n)
        network, groups = network_for(columns, (9, 17, 3))
        v = rng.standard_normal((n, n_cotangents, 3))
        zs, inputs, raw = forward(columns, X, network, groups, activation)
        expected = v @ groups["weights"][2].T
        for i in (1, 0):
            slopes = 1 + groups["alphas"][i] * (slope(zs[i]) - 1)
            expected = (expected * slopes[:, np.newaxis]) @ groups["weights"][i].T
        job = DerivativesJob(network, X, v, activation=activation, n_threads=2)
        with Team(2) as team:
            np.testing.assert_allclose(job.run(team), expected, rtol=1e-9, atol=1e-10)
        own = ("factors", "cosines", "tables")
        rest = {name: arrays for name, arrays in groups.items() if name not in own}
        handed = EncodedNetwork(
            network.architecture[1:], rest, activation=activation,
            precision="float64", n_jobs=2,
        )  # fmt: skip
        np.testing.assert_allclose(handed.raw_outputs(inputs[0]), raw, atol=1e-10)
        found = handed.derivatives(inputs[0], v)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)


def test_slopes_of_the_encoding_by_differences():
    network, groups = network_for(COLUMNS, (2, 1))
    first = network.architecture[0]
    X = np.clip(table_for(COLUMNS, 200), -50, 50)  # too far off, differences are 0
    factors, cosines, tables = (
        groups[name][0] for name in ("factors", "cosines", "tables")
    )
    sizes = first.n_cosines, first.n_embedded
    slopes = slopes_of_encoding(COLUMNS, X, factors, cosines, *sizes)
    is_number = [column.kind == NUMBER for column in COLUMNS]
    step = 1e-6 * np.array(is_number)
    above, below = (
        encode(COLUMNS, X + s * step, factors, cosines, tables, *sizes) for s in (1, -1)
    )
    expected = (above - below) / 2e-6
    close = np.isclose(slopes, expected, rtol=1e-6, atol=1e-7)
    assert close.mean() > 0.999  # but at the few kinks of ramps
    of_numbers = np.repeat(is_number, first.counts)
    assert np.abs(expected[:, of_numbers]).max() > 1
    assert (slopes[:, ~of_numbers] == 0).all()


# --- models ---------------------------------------------------------------------------

CASES = {
    "two classes": (TabularMLPClassifier, {}),
    "three classes": (TabularMLPClassifier, {"numeric_embedding": None}),
    "labels": (TabularMLPClassifier, {"activation": "relu"}),
    "number": (TabularMLPRegressor, {}),
    "numbers": (TabularMLPRegressor, {"activation": "silu"}),
    "quantiles": (TabularMLPRegressor, {"loss": "quantile", "quantile": [0.2, 0.7]}),
    "exponential": (TabularMLPRegressor, {"loss": "gamma"}),
    "ramps": (TabularMLPRegressor, {"numeric_embedding": "piecewise"}),
    "by ranks": (TabularMLPRegressor, {"numeric_scaling": "quantile"}),
    "tuned": (TabularMLPRegressor, {"tune": 2}),
}


def targets_for(case, y):
    return {
        "two classes": np.where(y > 3, "dear", "cheap"),
        "three classes": np.digitize(y, [2, 3]),
        "labels": np.column_stack([y > 2, y > 3]).astype(int),
        "numbers": np.column_stack([y, -1000 * y]),
        "exponential": np.exp(y),
    }.get(case, y)


def predictions_in_numpy(model, Z):
    """Of a fitted model, in float64, for the matrix that its Columns make of X."""
    if hasattr(model, "estimators_"):
        pairs = zip(model.weights_, model.estimators_, strict=True)
        return sum(weight * predictions_in_numpy(each, Z) for weight, each in pairs)
    recipe, total = model._recipe_used, 0.0
    g = reference.ACTIVATIONS[recipe.activation][0]
    for member in model.members_:
        groups = {name: [np.float64(a) for a in member[name]] for name in member}
        a = encode(
            model._encoded, Z, groups["factors"][0], groups["cosines"][0],
            groups["tables"][0], recipe.n_cosines, recipe.n_embedded,
        )  # fmt: skip
        layers = list(zip(groups["weights"], groups["biases"], strict=True))
        for i, (w, b) in enumerate(layers[:-1]):
            z = a @ w + b
            alpha = groups["alphas"][i] if "alphas" in groups else 1.0
            a = z + alpha * (g(z) - z)
        raw = (a @ layers[-1][0] + layers[-1][1]) / model.temperature_
        total = total + OUTPUT_ACTIVATIONS[model.out_activation_].value(raw)
    return total / len(model.members_)


@pytest.fixture(scope="module")
def fits(table):
    X, y = table
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            case: cls(**{**SMALL, **settings}).fit(X, targets_for(case, y))
            for case, (cls, settings) in CASES.items()
        }


@pytest.mark.parametrize("case", CASES)
def test_gradients_by_differences_of_predictions(case, fits, table):
    """In the units of X; of a reference in float64, which predicts the same."""
    X, model = table[0].iloc[:80], fits[case]
    if case == "ramps":  # whose kinks are where the data are
        X = X.assign(floor=X["floor"] + np.float32(0.3))
    shown = getattr(model, "predict_proba", model.predict)(X).reshape(len(X), -1)
    Z = model._columns.transform(X).astype(np.float64)
    own = getattr(model, "_scale", 1.0), getattr(model, "_center", 0.0)

    def predictions(Z):
        outputs = predictions_in_numpy(model, Z) * own[0] + own[1]
        if hasattr(model, "_lowest"):
            outputs = np.clip(outputs, model._lowest, model._highest)
        return outputs

    np.testing.assert_allclose(predictions(Z), shown, atol=2e-5 * np.ptp(shown))
    gradients = model.input_gradients(X)
    gradients = gradients.reshape(len(X), shown.shape[1], X.shape[1])
    for j, units in ((SIZE, 1.0), (FLOOR, 1.0), (LEASE, 1e6)):
        place = model._columns.columns_[j].positions[0]
        moved = np.zeros(Z.shape[1])
        moved[place] = 1e-6
        slope = (predictions(Z + moved) - predictions(Z - moved)) / 2e-6
        slope *= units * model._columns._own_scale[place]
        missing = np.isnan(Z[:, place])
        assert (np.isnan(gradients[:, :, j]) == missing[:, np.newaxis]).all()
        size = np.abs(slope[~missing]).max()
        assert size > 0
        close = np.isclose(gradients[:, :, j], slope, rtol=1e-3, atol=1e-4 * size)
        kinks = {"ramps": 0.1, "labels": 0.01, "tuned": 0.01}.get(case, 0.0)
        assert close[~missing].mean() >= 1 - kinks
    assert np.isnan(Z[:, 0]).any()
    assert np.isnan(gradients[:, :, [CITY, GARDEN, BUILT, STREET]]).all()
    assert (gradients[:, :, ALWAYS] == 0).all()


def test_a_unit_of_a_column_is_that_of_the_table(fits, table):
    """By differences of `predict`: a metre, a floor, a second."""
    X, model = table[0].dropna().iloc[:40], fits["number"]
    gradients = model.input_gradients(X)
    for name, j, step in (
        ("size", SIZE, 1.0), ("floor", FLOOR, np.float32(0.05)), ("lease", LEASE, 5000),
    ):  # fmt: skip
        move = pd.to_timedelta(step, "s") if name == "lease" else step
        above, below = (
            model.predict(X.assign(**{name: X[name] + sign * move})) for sign in (1, -1)
        )
        slope = (above - below) / (2 * step)
        size = np.abs(slope).max()
        np.testing.assert_allclose(gradients[:, j], slope, atol=0.05 * size)


def test_outputs_are_chosen_by_labels(fits, table):
    X, model = table[0].iloc[:20], fits["two classes"]
    every = model.input_gradients(X)
    assert every.shape == (20, 2, 8)
    np.testing.assert_array_equal(model.input_gradients(X, "dear"), every[:, 1])
    labels = model.predict(X)
    of_each = every[np.arange(20), np.searchsorted(model.classes_, labels)]
    np.testing.assert_array_equal(model.input_gradients(X, labels), of_each)
    known = ~np.isnan(every[:, 0])  # probabilities add up to 1
    np.testing.assert_allclose(every[:, 0][known], -every[:, 1][known], atol=1e-8)
    with pytest.raises(ValueError, match="'free' is not among the classes"):
        model.input_gradients(X, "free")
    with pytest.raises(ValueError, match="target 2 is not among the outputs"):
        fits["numbers"].input_gradients(X, 2)
    with pytest.raises(NotFittedError):
        TabularMLPClassifier().input_gradients(X)


def test_what_is_cut_off_does_not_change(table):
    X, y = table
    settings = {**SMALL, "max_iter": 40, "n_members": 1}
    model = TabularMLPRegressor(**settings).fit(X, np.where(y > 3, 1.0, 0.0))
    predictions = model.predict(X)
    cut = (predictions == 0) | (predictions == 1)
    assert 0.1 < cut.mean() < 0.9
    gradients = model.input_gradients(X)[:, [FLOOR, LEASE]]
    assert (gradients[cut] == 0).all()
    assert (gradients[~cut] != 0).any()


@pytest.mark.parametrize("case", ["labels", "number", "quantiles", "ramps", "tuned"])
def test_integrated_gradients_are_complete(case, fits, table, monkeypatch):
    """With categories, and with numbers that are missing in either row."""
    X, model = table[0].iloc[:30], fits[case]
    monkeypatch.setattr("fastmlp.estimators.tabular_gradients.NUMBERS_AT_ONCE", 2**18)
    baseline = table[0].iloc[100:130]
    assert X["size"].isna().any()
    assert baseline["size"].isna().any()
    parts = model.integrated_gradients(X, baseline, n_steps=150)
    f = getattr(model, "predict_proba", model.predict)
    change = f(X) - f(baseline)
    assert parts.shape == (*change.shape, 8)
    limit = 0.02 * np.abs(change).max()  # of kinks, as where predictions are cut off
    np.testing.assert_allclose(parts.sum(axis=-1), change, atol=limit)
    assert (parts[..., ALWAYS] == 0).all()
    assert np.abs(parts[..., [CITY, STREET, SIZE]]).min(axis=-1).max() > 0
    of_itself = model.integrated_gradients(X, X, n_steps=2)
    assert (of_itself == 0).all()


def test_a_baseline_is_a_row_or_as_many_as_there_are(fits, table):
    X, model = table[0].iloc[:6], fits["three classes"]
    row = table[0].iloc[[50]]
    parts = model.integrated_gradients(X, row, target=1)
    assert parts.shape == (6, 8)
    repeated = model.integrated_gradients(X, row.iloc[[0] * 6], target=[1] * 6)
    np.testing.assert_array_equal(parts, repeated)
    with pytest.raises(ValueError, match="baseline has 2 rows: expected one, or one"):
        model.integrated_gradients(X, table[0].iloc[:2])
    with pytest.raises(ValueError, match="n_steps must be a whole number"):
        model.integrated_gradients(X, row, n_steps=0)
    with pytest.warns(UserWarning, match="larger n_steps makes them more precise"):
        fits["number"].integrated_gradients(X, row, n_steps=1)


def test_the_same_bits_for_any_number_of_threads(fits, table):
    X, model = pd.concat([table[0]] * 5), fits["three classes"]
    expected = model.input_gradients(X)
    for n_jobs in (1, 3):
        found = model.set_params(n_jobs=n_jobs).input_gradients(X)
        assert found.tobytes() == expected.tobytes()


def test_matrices_and_models_that_hardly_learn():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 3)), rng.integers(0, 2, 60)
    model = TabularMLPClassifier(**SMALL).fit(X, y)
    assert model.input_gradients(X).shape == (60, 2, 3)
    only = TabularMLPClassifier(**SMALL).fit(X, np.zeros(60))
    assert (only.input_gradients(X) == 0).all()
    assert (only.integrated_gradients(X, X[:1]) == 0).all()
