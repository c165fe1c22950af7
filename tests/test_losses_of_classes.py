"""Losses that users register for classifiers: functions of the logarithm of p."""

import ctypes
import math
import pickle
import sys

import cloudpickle
import numpy as np
import pytest
from data import problem
from own_functions import assert_all_that_fits_can_do
from scipy.special import log_expit
from sklearn.base import clone

import fastmlp
from fastmlp import (
    MLPClassifier,
    MLPEstimator,
    MLPRegressor,
    TabularMLPClassifier,
)
from fastmlp.model_selection import GridSearchCV
from fastmlp.tables.losses import CLASSIFICATION_LOSSES, LOSSES


def own_log(log_p):
    return -log_p


def own_log_slope(log_p):
    return -1.0


def poly1(log_p):
    """-log p + 1 - p."""
    return -log_p - math.expm1(log_p)


def poly1_slope(log_p):
    return -1 - math.exp(log_p)


def cross_entropy(log_p):
    """The generalised one, (1 - p**q) / q with q = 0.7."""
    return -math.expm1(0.7 * log_p) / 0.7


def cross_entropy_slope(log_p):
    return -math.exp(0.7 * log_p)


def own_focal(log_p):
    return -math.expm1(log_p) * -math.expm1(log_p) * -log_p


def own_focal_slope(log_p):
    p, rest = math.exp(log_p), -math.expm1(log_p)
    return rest * (2 * p * log_p - rest)


FUNCTIONS = {
    "own_log": (own_log, own_log_slope),
    "poly1": (poly1, poly1_slope),
    "cross_entropy": (cross_entropy, cross_entropy_slope),
    "own_focal": (own_focal, own_focal_slope),
}


@pytest.fixture(scope="module")
def rows():
    for name, functions in FUNCTIONS.items():
        fastmlp.register_loss(name, *functions, task="classification")
    names = [prefix + name for name in FUNCTIONS for prefix in ("", "binary_")]
    return {name: LOSSES[name] for name in names}


@pytest.fixture(autouse=True)
def registered(rows):
    """Each test finds all of them; for none being left, see conftest."""
    LOSSES.update(rows)
    CLASSIFICATION_LOSSES.update(FUNCTIONS)


def forget(name):
    CLASSIFICATION_LOSSES.discard(name)
    for prefix in ("", "binary_"):
        LOSSES.pop(prefix + name, None)


# --- values and derivatives -----------------------------------------------------------


def log_softmax(z):
    """More precise than SciPy's for an output far above the others."""
    z = z - z.max(axis=1, keepdims=True)
    is_top = np.arange(z.shape[1]) == z.argmax(axis=1)[:, np.newaxis]
    others = np.exp(z).sum(axis=1, where=~is_top, keepdims=True)
    return z - np.log1p(others)


def loss_in_numpy(name, z, y, smoothing=0.0):
    """(loss of each sample, derivatives by z) in NumPy; y: classes, or labels."""
    value, slope = map(np.vectorize, FUNCTIONS[name])
    if y.ndim == 1:
        log_p = log_softmax(z)
        y = (1 - smoothing) * (np.arange(z.shape[1]) == y[:, None])
        y = y + smoothing / z.shape[1]
        h = np.where(y > 0, y * slope(log_p), 0)
        others = h.sum(axis=1, keepdims=True) - h
        deltas = -np.expm1(log_p) * h - np.exp(log_p) * others
        return np.where(y > 0, y * value(log_p), 0).sum(axis=1), deltas
    y = y * (1 - smoothing) + smoothing / 2
    log_p, log_q = log_expit(z), log_expit(-z)
    loss = y * value(log_p) + (1 - y) * value(log_q)
    deltas = y * slope(log_p) * np.exp(log_q) - (1 - y) * slope(log_q) * np.exp(log_p)
    return loss.sum(axis=1), deltas


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_reference_by_differences(name):
    """Its derivatives are those of its losses."""
    rng = np.random.default_rng(0)
    for y, smoothing in (
        (rng.integers(0, 4, 9), 0.0), (rng.integers(0, 4, 9), 0.2),
        (rng.integers(0, 2, (9, 4)), 0.0), (rng.integers(0, 2, (9, 4)), 0.2),
    ):  # fmt: skip
        z = rng.normal(0, 3, (9, 4))
        deltas = loss_in_numpy(name, z, y, smoothing)[1]
        for j in range(4):
            move = 1e-5 * (np.arange(4) == j)
            above, below = (
                loss_in_numpy(name, z + sign * move, y, smoothing)[0]
                for sign in (1, -1)
            )
            np.testing.assert_allclose(deltas[:, j], (above - below) / 2e-5, atol=1e-8)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_rows_against_numpy_however_small_p_is(name, precision):
    """In both precisions, for outputs so far apart that p is no number."""
    rng, tolerance = np.random.default_rng(0), {"float32": 2e-6, "float64": 1e-12}
    dtype = np.dtype(precision)
    for spread in (0.1, 3.0, 30.0, 300.0, 3000.0):
        for n_outputs in (2, 3, 17):
            z = rng.normal(0, spread, (40, n_outputs)).astype(dtype)
            for y, smoothing in (
                (rng.integers(0, n_outputs, 40), 0.0),
                (rng.integers(0, n_outputs, 40), 0.125),
                (rng.integers(0, 2, (40, n_outputs)), 0.125),
                (rng.integers(0, 2, (40, n_outputs)), 0.0),
            ):
                row = LOSSES[name if y.ndim == 1 else f"binary_{name}"]
                given = y.reshape(40, -1).astype(dtype)
                parameters = (smoothing,)
                if y.ndim == 2:
                    given = (y * (1 - smoothing) + smoothing / 2).astype(dtype)
                    parameters = ()
                losses, deltas = call_block(row, z, given, parameters)
                assert np.isfinite(losses).all()
                assert np.isfinite(deltas).all()
                expected = loss_in_numpy(name, np.float64(z), y, smoothing)
                for found, exact in zip((losses, deltas), expected, strict=True):
                    np.testing.assert_allclose(
                        found,
                        exact,
                        rtol=tolerance[precision],
                        atol=1e-15 if smoothing else 1e-30,  # sums that cancel
                    )


def call_block(row, z, y, parameters):
    """(losses, deltas) by what kernels call, in the precision of z."""
    n_samples, n_outputs = z.shape
    arrays = [np.ascontiguousarray(z.T), np.ascontiguousarray(y.T)]
    arrays += [np.empty(n_samples, z.dtype), np.array([*parameters, 0.0], z.dtype)]
    kinds = [ctypes.c_void_p] * 4 + [ctypes.c_int64] * 2
    block = ctypes.CFUNCTYPE(None, *kinds)(row.code_for(z.dtype))
    block(*(a.ctypes.data for a in arrays), n_outputs, n_samples)
    return arrays[2], arrays[0].T


def test_outputs_that_are_no_numbers_are_noticed():
    z = np.array([[0.0, np.nan, 1.0], [0.0, np.inf, 1.0], [0.0, 2.0, 1.0]])
    for name, y in (("poly1", np.zeros((3, 1))), ("binary_poly1", np.ones((3, 3)))):
        losses = LOSSES[name].value(z, y)
        assert np.isnan(losses[0])
        assert np.isfinite(losses[2])
        assert np.isnan(LOSSES[name].delta(z, y)[0]).any()


# --- registration ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "slope", "error", "message"),
    [
        (own_log, lambda log_p: -1.001, ValueError, r"wrong at log_p = -.*: it gives"),
        (lambda p: -math.log(p), lambda p: -1 / p, ValueError, "nan at log_p = -"),
        (lambda x: math.exp(-x), lambda x: -math.exp(-x), ValueError, "log_p = -1000"),
        (lambda x: x, lambda x: 1.0, ValueError, "check its sign"),
        (lambda x, y: x, lambda x: 1.0, TypeError, "must be a function of 1 number"),
    ],
)
def test_what_is_wrong_is_refused(function, slope, error, message):
    with pytest.raises(error, match=message):
        fastmlp.register_loss("other", function, slope, task="classification")
    assert not {"other", "binary_other"} & {*LOSSES, *CLASSIFICATION_LOSSES}


def test_names_that_are_taken_and_settings_of_regressions():
    fastmlp.register_loss("poly1", poly1, poly1_slope, task="classification")  # again
    with pytest.raises(ValueError, match="another loss is registered as 'poly1'"):
        fastmlp.register_loss("poly1", own_log, own_log_slope, task="classification")
    for name in ("binary_poly1", "poly1"):
        with pytest.raises(ValueError, match=f"another loss is registered as '{name}'"):
            fastmlp.register_loss(name, lambda z, y: (z - y) ** 2, lambda z, y: 1.0)
    with pytest.raises(ValueError, match="another loss is registered as 'binary_poly1"):
        fastmlp.register_loss("binary_poly1", poly1, poly1_slope, task="classification")
    with pytest.raises(ValueError, match="one of fastmlp's own"):
        fastmlp.register_loss("focal", own_log, own_log_slope, task="classification")
    for setting, value in (("targets", "positive"), ("output_activation", "exp")):
        with pytest.raises(ValueError, match=f"{setting}='{value}' is for task='regr"):
            fastmlp.register_loss(
                "other", own_log, own_log_slope, task="classification",
                **{setting: value},
            )  # fmt: skip
    with pytest.raises(ValueError, match="task must be among"):
        fastmlp.register_loss("other", own_log, own_log_slope, task="labels")
    X, y = problem("binary")[1:]
    with pytest.raises(ValueError, match="'loss' parameter of MLPRegressor"):
        MLPRegressor("poly1").fit(X, y)
    with pytest.raises(ValueError, match="does not fit a regression task"):
        MLPEstimator(loss="poly1", task="regression").fit(X, y)


# --- use ------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize(
    ("own", "theirs"), [("own_log", "log_loss"), ("own_focal", "focal")]
)
def test_a_copy_of_a_built_in_one_trains_alike(own, theirs, task):
    X, y = problem(task)[1:]
    for settings in (
        {"solver": "adam", "label_smoothing": 0.1, "hidden_layer_sizes": (70, 40)},
        {"solver": "sgd", "class_weight": "balanced" if task != "multilabel" else None},
        {"solver": "lbfgs", "hidden_layer_sizes": (9,)},
    ):
        settings = {
            "max_iter": 6,
            "random_state": 0,
            "precision": "float64",
            **settings,
        }
        fits = [
            MLPClassifier(loss=loss, n_jobs=n_jobs, **settings).fit(X, y)
            for loss, n_jobs in ((theirs, 1), (own, 1), (own, 3))
        ]
        np.testing.assert_allclose(fits[1].loss_, fits[0].loss_, rtol=1e-9)
        probabilities = fits[0].predict_proba(X)
        np.testing.assert_allclose(fits[1].predict_proba(X), probabilities, rtol=1e-5)
        for w, same in zip(fits[1].coefs_, fits[2].coefs_, strict=True):
            assert w.tobytes() == same.tobytes()
        if settings["solver"] != "lbfgs":
            single = clone(fits[1]).set_params(precision="float32").fit(X, y)
            np.testing.assert_allclose(single.loss_, fits[0].loss_, rtol=1e-3)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_tables_train_alike(task):
    X, y = problem(task)[1:]
    settings = {"n_members": 1, "max_iter": 3, "random_state": 0}
    fits = [
        TabularMLPClassifier("fast", loss=loss, label_smoothing=0.05, **settings)
        .fit(X, y).predict_proba(X)
        for loss in ("own_log", "log_loss")
    ]  # fmt: skip
    np.testing.assert_allclose(*fits, atol=2e-4)


def test_all_that_fits_can_do(tmp_path):
    X, y = problem("multiclass")[1:]
    own = {"loss": "cross_entropy", "random_state": 0}
    assert_all_that_fits_can_do(own, X, y, tmp_path)
    assert MLPEstimator((20,), **own, max_iter=2).fit(X, y).task_ == "classification"
    search = GridSearchCV(
        MLPClassifier((5,), max_iter=3, random_state=0),
        {"loss": ["log_loss", "poly1", "cross_entropy"]}, cv=2, error_score="raise",
    )  # fmt: skip
    assert len(search.fit(X, y).cv_results_["params"]) == 3


def test_saved_models_name_what_is_missing(tmp_path):
    X, y = problem("multiclass")[1:]
    model = MLPClassifier((5,), loss="poly1", max_iter=2, random_state=0).fit(X, y)
    by_name = pickle.dumps(model)
    fastmlp.save_safetensors(model, tmp_path / "model.safetensors")
    np.testing.assert_array_equal(pickle.loads(by_name).coefs_[0], model.coefs_[0])
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        by_value = cloudpickle.dumps(model)
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    forget("poly1")
    loads = (
        lambda: pickle.loads(by_name),
        lambda: fastmlp.load_safetensors(tmp_path / "model.safetensors"),
    )
    for load in loads:
        with pytest.raises(
            ValueError, match=r"^register the loss 'poly1' with fastmlp"
        ):
            load()
    with pytest.raises(ValueError, match="'loss' parameter of MLPClassifier"):
        clone(model).fit(X, y)
    fastmlp.register_loss(
        "poly1", cross_entropy, cross_entropy_slope, task="classification"
    )
    for load in loads:
        with pytest.raises(ValueError, match="'poly1' that is registered here is not"):
            load()
    forget("poly1")
    loaded = pickle.loads(by_value)  # which registers it
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(loaded.fit(X, y).coefs_[0], model.coefs_[0])
