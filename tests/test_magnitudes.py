"""Numbers that hurt: a finite model or the right error, and as fast as others."""

import pickle
import re
import warnings
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from processes import run
from sklearn import neural_network
from test_simd import call_flush, call_restore

import fastmlp
import fastmlp.training.lbfgs
import fastmlp.training.run
from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.data.targets import Targets

# what hurts is not scaled
pytestmark = pytest.mark.filterwarnings("ignore::fastmlp.exceptions.ScaleWarning")

SETTINGS = {"hidden_layer_sizes": (12,), "max_iter": 3, "random_state": 0}
NOT_FINITE = "Solver produced non-finite parameter weights"
RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 5))
LABELS = np.arange(60) % 3


def is_finite(model):
    return all(np.isfinite(a).all() for a in model.coefs_ + model.intercepts_)


def fitted_or_refused(model, X, y):
    """The model, or None if the fit said that its weights became NaN or infinite."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Numbers became too large for float")
        try:
            model.fit(X, y)
        except ValueError as error:
            assert NOT_FINITE in str(error)  # noqa: PT017
            assert not hasattr(model, "coefs_")
            return None
    assert is_finite(model)
    return model


# --- magnitudes ----------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "float64", "auto"])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize(
    ("magnitude", "dtype"), [(1e-300, "d"), (1e-30, "f"), (1e30, "f"), (1e300, "d")]
)
def test_any_magnitude_of_X_and_y(magnitude, dtype, solver, precision):
    """A finite model or the right error, and no other warning, such as numpy's."""
    data = (X * magnitude).astype(dtype)
    settings = {**SETTINGS, "solver": solver, "precision": precision}
    model = fitted_or_refused(MLPClassifier(**settings), data, LABELS)
    if model is not None:
        probabilities = model.predict_proba(data)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    for scale in (0, 1e-300, 1e30, 1e300):
        for loss, early in (
            ("squared_error", False), ("squared_error", True), ("poisson", True)
        ):  # fmt: skip
            y = (np.abs(X[:, 0]) * scale).astype("d" if scale > 1e38 else dtype)
            model = MLPRegressor(
                loss, early_stopping=early and solver != "lbfgs", **settings
            )
            if fitted_or_refused(model, data, y) is not None:
                predictions = model.predict(data)
                assert not np.isnan(predictions).any()
                assert np.isfinite(predictions).all() or loss == "poisson"


@pytest.mark.parametrize("rate", [1e10, 1e45, 1e100, 1e300])
@pytest.mark.parametrize("precision", ["float32", "float64", "auto"])
@pytest.mark.parametrize("dtype", ["f", "d"])
def test_weights_that_the_model_cannot_hold_are_refused(dtype, precision, rate):
    """Those of float32 X become float32, whatever they are computed in."""
    settings = {**SETTINGS, "max_iter": 1, "precision": precision}
    for solver in ("sgd", "adam"):
        for estimator, y in ((MLPClassifier, LABELS), (MLPRegressor, X[:, :3] * 1e6)):
            model = estimator(solver=solver, learning_rate_init=rate, **settings)
            model = fitted_or_refused(model, X.astype(dtype), y)
            in_float32 = dtype == "f" or precision == "float32"
            assert (model is None) == (in_float32 and rate > 1e38)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize(("solver", "hurts"), [("adam", 1), ("sgd", 0), ("sgd", 1)])
def test_what_float32_cannot_hold_is_fitted_as_if_in_float64(
    solver, hurts, early_stopping
):
    """From the start, with what was drawn at random before."""
    data = [X, X[:, 0]]
    data[hurts] = data[hurts] * 1e25
    settings = {**SETTINGS, "solver": solver, "early_stopping": early_stopping,
                "learning_rate_init": 1e-30}  # fmt: skip
    states = np.random.RandomState(7), np.random.RandomState(7)
    model = MLPRegressor(**{**settings, "random_state": states[0]})
    with pytest.warns(UserWarning, match="too large for float32, so that all was done"):
        model.fit(*data)
    assert model.precision_ == "float64"
    settings["random_state"] = states[1]
    expected = MLPRegressor(precision="float64", **settings).fit(*data)
    assert model.loss_curve_ == expected.loss_curve_
    scores = model.validation_scores_, expected.validation_scores_
    np.testing.assert_array_equal(*map(np.array, scores))
    np.testing.assert_array_equal(model.predict(X), expected.predict(X))
    assert states[0].randint(10**9) == states[1].randint(10**9)


@pytest.mark.parametrize("solver", ["adam", "adamw", "rmsprop"])
@pytest.mark.parametrize(
    ("precision", "scale", "cure"),
    [
        ("float32", 1e22, "Scale the data, or set precision='float64'"),
        ("float64", 1e200, r"Scale the data\."),
        ("auto", 1e200, r"Scale the data\."),
    ],
)
def test_moments_that_became_infinite_are_spoken_of(precision, scale, cure, solver):
    """They make steps of 0: the model is the initial one."""
    settings = {**SETTINGS, "solver": solver, "precision": precision}
    model = MLPRegressor(**settings)
    wide = "float32" if precision == "float32" else "float64"
    for fit in (model.fit, model.partial_fit):
        with pytest.warns(UserWarning, match=f"too large for {wide}.*{cure}"):
            fit(X, X[:, 0] * scale)
        assert is_finite(model)


def test_a_step_that_float32_cannot_hold_is_one_step():
    model = MLPRegressor(**SETTINGS).partial_fit(X, X[:, 0])
    with pytest.warns(UserWarning, match="too large for float32"):
        model.partial_fit(X * 1e25, X[:, 0])
    assert (model.precision_, model.t_, len(model.loss_curve_)) == ("float64", 120, 2)
    assert is_finite(model)


def test_scores_of_numbers_whose_squares_or_sums_are_out_of_range():
    y, outputs = X[:, :2].astype("f"), X[:, 1:3].astype("f")
    weights = RNG.uniform(size=60)

    def score(y, outputs, weights=None):
        targets = Targets("squared_error", y, y.shape[1], "numbers")
        return targets.score(outputs, weights)

    expected = score(y, outputs, weights)
    for scale in (np.float32(2.0**-70), np.float32(2.0**70)):
        assert score(y * scale, outputs * scale, weights * 2.0**1020) == expected
    far = score(X, X * 1e300)
    assert far == -np.inf


# --- data that say nothing, or too much ----------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_constant_columns_and_one_class(solver, precision):
    constant = X.copy()
    constant[:, 1], constant[:, 3] = 7, 0
    settings = {**SETTINGS, "solver": solver, "precision": precision}
    for data in (constant, constant * 0, scipy.sparse.csr_array(constant * 0)):
        model = MLPClassifier(**settings).fit(data, LABELS)
        assert is_finite(model)
        assert np.isfinite(model.loss_)
        if data is not constant:
            probabilities = model.predict_proba(data)
            assert (probabilities == probabilities[0]).all()
        model.fit(data, np.full(60, "only"))
        assert is_finite(model)
        assert (model.predict(data) == "only").all()


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("task", ["two classes", "three classes", "three labels"])
def test_saturated_outputs(task, precision):
    """Logits of 10,000, right or wrong: probabilities of 0 and 1, a finite loss."""
    y = {"two classes": LABELS > 0, "three classes": LABELS,
         "three labels": X[:, :3] < 0}[task]  # fmt: skip
    settings = {"max_iter": 1, "random_state": 0, "precision": precision}
    model = MLPClassifier((), warm_start=True, **settings).fit(X, y)
    model.coefs_[0][:] = 1e4 * np.eye(5, model.n_outputs_)
    model.intercepts_[0][:] = 0
    probabilities = model.predict_proba(np.sign(X))
    assert set(np.unique(probabilities)) <= {0, 1 / 3, 0.5, 1}
    if task != "three labels":
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-15)
    model.fit(X, y)
    assert 1e3 < model.loss_ < 1e5
    assert is_finite(model)


FADING = """
import time, warnings
import numpy as np
from fastmlp import MLPClassifier

warnings.simplefilter("ignore")
X = np.random.default_rng(0).standard_normal((200, 60))

def seconds(X, precision):
    # without features, weights of the first layer shrink with each step
    model = MLPClassifier((60,), solver="sgd", learning_rate_init=0.2, alpha=20,
                          momentum=0.5, batch_size=20, max_iter=500, tol=0,
                          n_iter_no_change=500, precision=precision, n_jobs=1)
    start = time.process_time()
    model.fit(X, np.arange(200) % 2)
    end = time.process_time()
    for array in model.coefs_[0], model._optimizer_state["first_moment"][0][0]:
        sizes = np.abs(array[array != 0])
        assert len(sizes) == 0 or sizes.min() >= np.finfo(precision).tiny
    return end - start

for precision in ("float32", "float64"):
    zeros = normal = np.inf
    for _ in range(40):  # until none of the two was disturbed by others
        zeros = min(zeros, seconds(X * 0, precision))
        normal = min(normal, seconds(X, precision))
        if zeros <= 1.2 * normal:
            break
    print(zeros / normal)
"""


def test_features_of_zeros_cost_no_more(tmp_path):
    """What fades away never becomes denormal numbers, which many processors hate."""
    ratios = run(FADING, tmp_path).split()
    assert all(float(ratio) <= 1.3 for ratio in ratios), ratios


# --- what is refused -----------------------------------------------------------------


def message_of(function, *arguments):
    with pytest.raises(ValueError, match=r"NaN|infinity") as caught:
        function(*arguments)
    return str(caught.value)


def with_one(value, array, container=np.asarray):
    array = array.astype(np.float64)
    array[7] = value
    return container(array)


def state_of(model):
    return {name: pickle.dumps(value) for name, value in vars(model).items()}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("method", ["fit", "partial_fit", "predict"])
@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_NaN_and_infinity_get_scikit_learns_errors(name, method, bad):
    y = LABELS if name == "MLPClassifier" else X[:, 0]
    containers = np.asarray, np.asfortranarray, np.float32, scipy.sparse.csr_array
    cases = [(with_one(bad, X, container), y) for container in containers]
    if method != "predict":
        cases.append((X, with_one(bad, y)))
    models = [
        getattr(module, name)(**SETTINGS).fit(X, y)
        for module in (fastmlp, neural_network)
    ]
    before = state_of(models[0])
    for case in cases:
        data = case[: 1 if method == "predict" else 2]
        messages = [message_of(getattr(model, method), *data) for model in models]
        # of X: where they are, and what to do, follows
        theirs = messages[1].partition("\n")[0].rstrip(".")
        assert messages[0].startswith(theirs)
        if case[0] is not X:
            assert re.search(r": 5 values, in columns 0 \(1\), 1 \(1\)", messages[0])
    if method != "predict":
        with pytest.raises(ValueError, match="Input sample_weight contains"):
            getattr(models[0], method)(X, y, sample_weight=with_one(bad, np.ones(60)))
    assert state_of(models[0]) == before


def test_a_missing_value_of_a_frame_is_refused():
    frame = pd.DataFrame({"a": [1, 2, None], "b": [1.0, 2.0, 3.0]}).astype("Float64")
    model = MLPRegressor(**SETTINGS).fit(frame[:2], [1.0, 2.0])
    for call in (model.predict, lambda X: model.fit(X, [1.0, 2.0, 3.0])):
        assert "Input X contains NaN" in message_of(call, frame)


@pytest.mark.parametrize("precision", ["float32", "float64", "auto"])
@pytest.mark.parametrize("way", ["fit", "warm start", "partial_fit"])
def test_weights_that_overflow_within_an_epoch(way, precision):
    """An error, scikit-learn's, and the estimator is what it was before."""
    settings = {**SETTINGS, "solver": "sgd", "batch_size": 5, "precision": precision}
    y = X[:, :2] * 1e3
    model = MLPRegressor(**settings).fit(X, X[:, :2])
    model.set_params(warm_start=way == "warm start")
    model.set_params(learning_rate_init=1e200)
    if way == "partial_fit":
        model._optimizer.learning_rate = 1e200
    before = state_of(model)
    call = model.partial_fit if way == "partial_fit" else model.fit
    with pytest.raises(ValueError, match=NOT_FINITE) as caught:
        call(X, y)
    assert state_of(model) == before
    theirs = neural_network.MLPRegressor(learning_rate_init=1e200, solver="sgd")
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="Solver") as other:
        theirs.fit(X, y)
    assert str(caught.value) == str(other.value)


# --- the processor's state -----------------------------------------------------------


def control_state():
    """Without the last bits of Intel's: they say what happened, not what is to be."""
    state = call_flush()
    call_restore(state)
    return state & ~0x3F


@pytest.mark.compiler
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("end", [None, ValueError, KeyboardInterrupt])
def test_the_callers_floating_point_state_stays(end, solver, monkeypatch):
    """Denormal numbers are numbers for everybody else, however a fit ends."""
    settings = {**SETTINGS, "solver": solver, "precision": "float32", "n_jobs": 2}
    model = MLPRegressor(**settings).fit(X, X[:, 0])
    tiny, one = np.full(64, 1e-40, np.float32), np.ones(64, np.float32)
    run_steps = fastmlp.training.run.run_steps

    def steps(*arguments):
        loss = yield from run_steps(*arguments)
        if end is not None:
            raise end
        return loss

    for module in (fastmlp.training.run, fastmlp.training.lbfgs):
        monkeypatch.setattr(module, "run_steps", steps)
    with np.errstate(divide="raise", over="warn", under="ignore", invalid="print"):
        errors, state = np.geterr(), control_state()
        with suppress(ValueError), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Training interrupted")
            model.fit(X, X[:, 0])
        assert (np.geterr(), control_state()) == (errors, state)
        model.predict(X)
        model.predictor()(X)
        assert (np.geterr(), control_state()) == (errors, state)
    assert (tiny * one > 0).all()


@pytest.mark.compiler
def test_a_caller_that_flushes_denormals_goes_on_to_do_so():
    state = call_flush()
    try:
        flushing = control_state()
        MLPRegressor(**SETTINGS).fit(X, X[:, 0]).predict(X)
        assert control_state() == flushing
    finally:
        call_restore(state)
