"""Derivatives with respect to the inputs, integrated gradients, hidden activations."""

import warnings

import numpy as np
import pandas as pd
import pytest
import reference
from data import problem, random_network
from scipy.sparse import csc_array, csr_array
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastmlp
from fastmlp import (
    HiddenFeatures,
    MLPClassifier,
    MLPEnsembleClassifier,
    MLPEnsembleRegressor,
    MLPEstimator,
    MLPRegressor,
)
from fastmlp.engine.differentiation import input_derivatives
from fastmlp.tables.activations import ACTIVATIONS

RNG = np.random.default_rng(0)


def numerical(function, X, step=1e-5):
    """Central differences of a function of X by its features, on the last axis."""
    slopes = []
    for j in range(X.shape[1]):
        move = np.zeros(X.shape[1])
        move[j] = step
        slopes.append((function(X + move) - function(X - move)) / (2 * step))
    return np.stack(slopes, axis=-1)


def fitted(task, n_samples=61, **settings):
    name, X, y = problem(task, n_samples)
    if task == "counts":
        settings["loss"] = "poisson"
    settings = {
        "hidden_layer_sizes": (11, 5), "activation": "tanh", "precision": "float64",
        "max_iter": 20, "random_state": 0, **settings,
    }  # fmt: skip
    return getattr(fastmlp, name)(**settings).fit(X, y), X, y


def predictions_of(model, X):
    return getattr(model, "predict_proba", model.predict)(X)


def raw_of(model, X):
    """Raw outputs in NumPy, in the units of y; two columns for two classes."""
    if model.standardize:
        X = (X - model.X_mean_) / model.X_scale_
    value = reference.ACTIVATIONS[model.activation][0]
    for w, b in zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True):
        X = value(X @ w + b)
    z = X @ model.coefs_[-1] + model.intercepts_[-1]
    if hasattr(model, "y_scale_"):
        z = z * model.y_scale_ + model.y_mean_
    if hasattr(model, "classes_") and z.shape[1] == 1:
        return np.hstack([-z, z])
    return z if hasattr(model, "classes_") or z.shape[1] > 1 else z.ravel()


# --- the kernel -----------------------------------------------------------------------


def derivatives_in_numpy(coefs, intercepts, X, cotangents, activation):
    value, slope = reference.ACTIVATIONS[activation]
    z = [X @ coefs[0] + intercepts[0]]
    for w, b in zip(coefs[1:], intercepts[1:], strict=True):
        z.append(value(z[-1]) @ w + b)
    d = cotangents
    for w, before in zip(coefs[:0:-1], z[-2::-1], strict=True):
        d = (d @ w.T) * slope(before)[:, np.newaxis]
    return d @ coefs[0].T


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_kernel_against_numpy(activation):
    for units, n, n_cotangents in (
        ((1, 1), 1, 1), ((3, 2), 7, 3), ((9, 17, 2), 35, 1), ((40, 33, 5, 1), 130, 2),
        ((70, 8, 8, 8, 19), 6, 19),
    ):  # fmt: skip
        network = random_network(units)
        X = RNG.standard_normal((n, units[0]))
        v = RNG.standard_normal((n, n_cotangents, units[-1]))
        expected = derivatives_in_numpy(*network, X, v, activation)
        for precision, tolerance in (("float64", 1e-12), ("float32", 3e-5)):
            results = [
                input_derivatives(
                    network, given, v, activation=activation, precision=precision,
                    n_jobs=n_jobs,
                )
                for n_jobs in (1, 3)
                for given in (X, np.asfortranarray(X)[::1], np.repeat(X, 2, 0)[::2])
            ]  # fmt: skip
            assert results[0].dtype == precision
            for result in results:
                assert result.tobytes() == results[0].tobytes()
            scale = np.abs(expected).max()
            np.testing.assert_allclose(results[0], expected, atol=tolerance * scale)


def test_activations_of_several_layers():
    names = "relu", "gelu", "logistic"
    coefs, intercepts = random_network((6, 8, 7, 9, 2))
    X, v = RNG.standard_normal((20, 6)), RNG.standard_normal((20, 1, 2))

    def outputs(X):
        a = X
        for name, w, b in zip(names, coefs[:-1], intercepts[:-1], strict=True):
            a = reference.ACTIVATIONS[name][0](a @ w + b)
        return (v[:, 0] * (a @ coefs[-1] + intercepts[-1])).sum(axis=1)

    result = input_derivatives(
        (coefs, intercepts), X, v, activation=names, precision="float64", n_jobs=None
    )
    np.testing.assert_allclose(result[:, 0], numerical(outputs, X), atol=1e-8)


# --- estimators -----------------------------------------------------------------------

TASKS = "binary", "multiclass", "multilabel", "regression", "multioutput", "counts"


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_derivatives_of_predictions_and_of_raw_outputs(task, standardize):
    model, X, _ = fitted(task, standardize=standardize)
    X = X * 1.5
    gradients = model.input_gradients(X)
    expected = numerical(lambda X: predictions_of(model, X), X)
    assert gradients.shape == expected.shape
    tolerance = 1e-7 * np.abs(expected).max()
    np.testing.assert_allclose(gradients, expected, atol=tolerance)
    raw = model.input_gradients(X, of="raw")
    expected = numerical(lambda X: raw_of(model, X), X)
    np.testing.assert_allclose(raw, expected, atol=1e-7 * np.abs(expected).max())
    singles = model.set_params(n_jobs=2).input_gradients(X.astype(np.float32))
    assert singles.dtype == np.float64  # as predictions: the weights are
    for sparse in (csr_array, csc_array):
        if not standardize:
            np.testing.assert_array_equal(model.input_gradients(sparse(X)), gradients)


@pytest.mark.parametrize("task", ["multiclass", "counts"])
def test_in_float32(task):
    wide, X, _ = fitted(task)
    narrow = clone(wide).set_params(precision="float32", max_iter=1)
    narrow.fit(X.astype(np.float32), problem(task, len(X))[2])
    narrow.coefs_ = [w.astype(np.float32) for w in wide.coefs_]
    narrow.intercepts_ = [b.astype(np.float32) for b in wide.intercepts_]
    for of in ("prediction", "raw"):
        expected = wide.input_gradients(X, of=of)
        got = narrow.input_gradients(X.astype(np.float32), of=of)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())


def test_targets_of_classes():
    X, y = problem("multiclass", 61)[1:]
    names = np.array(["d", "b", "e", "a", "c"])[y]
    model = MLPClassifier((8,), max_iter=10, random_state=0).fit(X, names)
    everything = model.input_gradients(X)
    assert everything.shape == (61, 5, 9)
    np.testing.assert_array_equal(
        model.input_gradients(X, target="c"), everything[:, 2]
    )
    np.testing.assert_allclose(everything.sum(axis=1), 0, atol=1e-6)
    own = everything[np.arange(61), np.searchsorted(model.classes_, names)]
    np.testing.assert_array_equal(model.input_gradients(X, target=names), own)
    np.testing.assert_array_equal(model.input_gradients(X, target=list(names)), own)
    for target, message in (
        ("f", "target 'f' is not among the classes"),
        (3, "target 3 is not among the classes"),
        (names[:-1], r"target has shape \(60,\)"),
        (names[:, None], r"target has shape \(61, 1\)"),
    ):
        with pytest.raises(ValueError, match=message):
            model.input_gradients(X, target=target)
    with pytest.raises(ValueError, match="of must be 'prediction' or 'raw', got 'log"):
        model.input_gradients(X, of="logit")
    with pytest.raises(NotFittedError):
        MLPRegressor().input_gradients(X)
    with pytest.raises(ValueError, match="features"):
        model.input_gradients(X[:, 1:])


def test_targets_of_numbers():
    model, X, _ = fitted("multioutput")
    everything = model.input_gradients(X)
    assert everything.shape == (61, 3, 9)
    np.testing.assert_array_equal(model.input_gradients(X, 2), everything[:, 2])
    columns = np.arange(61) % 3
    np.testing.assert_array_equal(
        model.input_gradients(X, columns), everything[np.arange(61), columns]
    )
    with pytest.raises(ValueError, match="target 3 is not among the outputs"):
        model.input_gradients(X, 3)
    model, X, _ = fitted("regression")
    np.testing.assert_array_equal(model.input_gradients(X, 0), model.input_gradients(X))
    linear = MLPRegressor(hidden_layer_sizes=(), max_iter=2).fit(X, X[:, 0])
    for row in linear.input_gradients(X):
        np.testing.assert_allclose(row, linear.coefs_[0][:, 0], rtol=1e-6)


def test_a_network_that_is_sure_has_small_derivatives_but_not_none():
    model, X, _ = fitted("multiclass")
    model.coefs_[-1] *= 30
    X = X[model.predict_proba(X).max(axis=1) > 1 - 1e-9][:5]
    assert len(X)
    labels = model.predict(X)
    gradients = model.input_gradients(X, target=labels)
    assert (np.abs(gradients).max(axis=1) > 0).all()
    assert np.abs(gradients).max() < 1e-5
    # against p (1 - p), with 1 - p from the other classes
    p = model.predict_proba(X)
    own = np.searchsorted(model.classes_, labels)
    rows = np.arange(len(X))
    raw = model.input_gradients(X, of="raw")
    others = p.copy()
    others[rows, own] = 0
    expected = p[rows, own][:, None] * (
        others.sum(axis=1)[:, None] * raw[rows, own]
        - (others[:, :, None] * raw).sum(axis=1)
    )
    np.testing.assert_allclose(gradients, expected, rtol=1e-7)


def test_what_only_float64_can_hold():
    model = MLPRegressor(hidden_layer_sizes=(3,), activation="identity", max_iter=1)
    model.fit(RNG.standard_normal((20, 2)), RNG.standard_normal(20))
    model.coefs_ = [np.full((2, 3), 1e25), np.full((3, 1), 1e25)]
    with np.errstate(over="raise"):
        gradients = model.input_gradients(np.ones((4, 2)))
    np.testing.assert_allclose(gradients, 3e50, rtol=1e-6)


def test_an_ensemble_has_the_mean_of_its_members():
    settings = {"n_estimators": 3, "max_iter": 15, "random_state": 0,
                "standardize": True, "precision": "float64"}  # fmt: skip
    X, y = problem("multiclass", 61)[1:]
    model = MLPEnsembleClassifier(
        (9,), "silu", bootstrap=True, selection="greedy", **settings
    ).fit(X, y)
    expected = numerical(model.predict_proba, X)
    np.testing.assert_allclose(model.input_gradients(X), expected, atol=1e-7)
    np.testing.assert_array_equal(
        model.input_gradients(X, target=3), model.input_gradients(X)[:, 3]
    )
    with pytest.raises(ValueError, match="no raw outputs"):
        model.input_gradients(X, of="raw")
    X, y = problem("regression", 61)[1:]
    model = MLPEnsembleRegressor(**settings).fit(X, y)
    gradients = model.input_gradients(X)
    np.testing.assert_allclose(
        gradients, np.mean([m.input_gradients(X) for m in model.estimators_], axis=0)
    )
    np.testing.assert_array_equal(model.input_gradients(X, of="raw"), gradients)
    parts = model.integrated_gradients(X, X.mean(axis=0), n_steps=200)
    change = model.predict(X) - model.predict(X.mean(axis=0, keepdims=True))
    np.testing.assert_allclose(parts.sum(axis=1), change, atol=0.02)


def test_data_frames_and_tasks_by_y():
    X, y = problem("binary", 61)[1:]
    frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
    model = MLPEstimator(max_iter=5, random_state=0).fit(frame, y)
    plain = MLPEstimator(max_iter=5, random_state=0).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        of_frame = model.integrated_gradients(frame, n_steps=3)
        np.testing.assert_array_equal(model.input_gradients(frame, 1),
                                      plain.input_gradients(X, 1))  # fmt: skip
    np.testing.assert_array_equal(of_frame, plain.integrated_gradients(X, n_steps=3))
    model = MLPEstimator(max_iter=5, random_state=0).fit(X, X[:, 0])
    assert model.input_gradients(X).shape == X.shape


# --- integrated gradients -------------------------------------------------------------


@pytest.mark.parametrize("task", ["binary", "multiclass", "multioutput", "counts"])
def test_integrated_gradients_are_complete(task, monkeypatch):
    model, X, _ = fitted(task, standardize=True)
    baseline = X.mean(axis=0)
    for of, outputs in (("prediction", predictions_of), ("raw", raw_of)):
        parts = model.integrated_gradients(X, baseline, of=of)
        change = outputs(model, X) - outputs(model, baseline[np.newaxis])
        np.testing.assert_allclose(parts.sum(axis=-1), change, atol=1e-6)
    monkeypatch.setattr("fastmlp.estimators.gradients.NUMBERS_AT_ONCE", 1000)
    np.testing.assert_array_equal(
        model.integrated_gradients(X, baseline, of="raw"), parts
    )
    column = model.integrated_gradients(X, np.tile(baseline, (61, 1)), 0, of="raw")
    expected = parts[:, 0] if parts.ndim == 3 else parts
    np.testing.assert_allclose(column, expected, atol=1e-12)
    for settings, message in (
        ({"baseline": np.zeros(4)}, r"baseline has shape \(4,\)"),
        ({"n_steps": 0}, "n_steps must be a whole number > 0, got 0"),
        ({"of": None}, "of must be"),
    ):
        with pytest.raises(ValueError, match=message):
            model.integrated_gradients(X, **settings)


def test_of_a_linear_model_they_are_weights_times_differences():
    X = RNG.standard_normal((30, 4))
    model = MLPRegressor(hidden_layer_sizes=(), precision="float64", max_iter=5)
    model.fit(X, X[:, 0])
    expected = (X - 2) * model.coefs_[0][:, 0]
    np.testing.assert_allclose(model.integrated_gradients(X, 2.0, n_steps=1), expected)
    np.testing.assert_allclose(
        model.integrated_gradients(csr_array(X), 2.0, n_steps=7), expected
    )


# --- hidden layers --------------------------------------------------------------------


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_hidden_activations_against_numpy(activation):
    model, X, _ = fitted(
        "multiclass", hidden_layer_sizes=(19, 33, 4), activation=activation, max_iter=2
    )
    a, layers = X, []
    for w, b in zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True):
        a = reference.ACTIVATIONS[activation][0](a @ w + b)
        layers.append(a)
    for layer, expected in enumerate(layers):
        got = model.hidden_activations(X, layer)
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)
        again = clone(model).set_params(n_jobs=3)
        vars(again).update({k: v for k, v in vars(model).items() if k[-1] == "_"})
        for same in (model.hidden_activations(X, layer - 3),
                     model.hidden_activations(csr_array(X), layer),
                     again.hidden_activations(X, layer)):  # fmt: skip
            np.testing.assert_array_equal(same, got)
    for layer in (3, -4, 0.0, None):
        with pytest.raises(ValueError, match="there are 3 hidden layers: a whole"):
            model.hidden_activations(X, layer)


def test_hidden_activations_of_other_models():
    X, y = problem("regression", 61)[1:]
    linear = MLPRegressor(hidden_layer_sizes=(), max_iter=1).fit(X, y)
    with pytest.raises(ValueError, match="there are no hidden layers"):
        linear.hidden_activations(X)
    model = MLPRegressor(standardize=True, max_iter=2, random_state=0).fit(X, y)
    plain = MLPRegressor(max_iter=2, random_state=0)
    Z = (X - model.X_mean_) / model.X_scale_
    plain.fit(Z, (y - model.y_mean_) / model.y_scale_)
    np.testing.assert_array_equal(
        model.hidden_activations(X), plain.hidden_activations(Z)
    )
    singles = model.fit(X.astype(np.float32), y).hidden_activations(np.float32(X))
    assert singles.dtype == np.float32
    with pytest.raises(NotFittedError):
        MLPRegressor().hidden_activations(X)


def test_a_hidden_layer_is_a_step_of_a_pipeline():
    X, y = problem("multiclass")[1:]
    frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
    network = MLPClassifier(
        (30, 7), learning_rate_init=0.01, max_iter=40, random_state=0
    )
    pipeline = make_pipeline(
        StandardScaler().set_output(transform="pandas"), HiddenFeatures(network),
        LogisticRegression(),
    ).fit(frame, y)  # fmt: skip
    assert pipeline.score(frame, y) > 0.6
    names = [f"hiddenfeatures{j}" for j in range(7)]
    assert pipeline[:-1].get_feature_names_out().tolist() == names
    step = pipeline[1].set_output(transform="pandas")
    assert step.feature_names_in_.tolist() == list(frame.columns)
    Z = pipeline[0].transform(frame)
    assert step.transform(Z).columns.tolist() == names
    direct = clone(network).fit(Z, y)
    np.testing.assert_array_equal(step.transform(Z), direct.hidden_activations(Z))
    first = HiddenFeatures(FrozenEstimator(direct), layer=0).fit(Z, y)
    np.testing.assert_array_equal(first.transform(Z), direct.hidden_activations(Z, 0))
    assert first.get_feature_names_out().shape == (30,)
    weighted = HiddenFeatures(network).fit(Z, y, sample_weight=np.arange(len(y)))
    assert (weighted.transform(Z) != direct.hidden_activations(Z)).any()
    with pytest.raises(TypeError, match="estimator must be an MLPClassifier"):
        HiddenFeatures(LogisticRegression()).fit(Z, y)
