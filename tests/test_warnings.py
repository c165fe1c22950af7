"""What is said, and when: guesses, options without effect, data that are not scaled."""

import multiprocessing
import os
import sys
import warnings

import numpy as np
import pytest
from processes import run
from scipy.sparse import csr_array
from sklearn.datasets import load_diabetes, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

from fastmlp import MLPClassifier, MLPEstimator, MLPRegressor
from fastmlp.compilation import patience
from fastmlp.data.scaling import wild_columns
from fastmlp.estimators.parameters import SOLVERS_OF
from fastmlp.exceptions import ScaleWarning, TaskWarning, UnusedParameterWarning

X, y = load_iris(return_X_y=True)
SHORT = {"max_iter": 2, "random_state": 0}


def warned(function, category=UserWarning):
    """The messages of a category, of a function that may warn of more."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        function()
    return [str(w.message) for w in seen if w.category is category]


# --- the task -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (np.arange(150) % 30, "30 different numbers, "),
        (np.arange(150) // 15 * 1.0, "whole numbers of the dtype float64"),
    ],
)
def test_numbers_that_are_taken_for_labels_are_spoken_of(target, reason):
    with pytest.warns(TaskWarning, match=f"y has {reason}.*set task='regression'"):
        model = MLPEstimator(**SHORT).fit(X, target)
    assert model.task_ == "classification"
    with pytest.warns(TaskWarning, match=r"10 different numbers in 30 samples"):
        MLPEstimator(**SHORT).fit(X[:30], np.arange(30) % 10)


@pytest.mark.parametrize(
    "target",
    [y, y.astype(str), y > 0, (y > 0) * 1.0, y + 0.5, np.stack([y > 0, y > 1], 1)],
    ids=["few", "words", "bools", "0.0 and 1.0", "fractions", "labels"],
)
def test_nothing_is_said_of_a_target_without_a_doubt(target):
    assert warned(lambda: MLPEstimator(**SHORT).fit(X, target), TaskWarning) == []


def test_nothing_is_said_of_a_task_that_was_chosen():
    many = np.arange(150)
    for task in ("classification", "regression"):
        model = MLPEstimator(task=task, **SHORT)
        assert warned(lambda model=model: model.fit(X, many), TaskWarning) == []
    model = MLPEstimator(**SHORT)
    first = warned(lambda: model.partial_fit(X, many, classes=many), TaskWarning)
    again = warned(lambda: model.partial_fit(X, many), TaskWarning)
    assert first == again == []


# --- scales ---------------------------------------------------------------------------


def test_columns_of_wildly_different_scale_are_named():
    wine = load_wine(as_frame=True)
    with pytest.warns(
        ScaleWarning, match=r"column 'proline' \(810\).*standardize=True"
    ):
        MLPClassifier(**SHORT).fit(wine.data, wine.target)
    sparse = csr_array(wine.data.to_numpy())
    with pytest.warns(ScaleWarning, match=r"column 12 \(810\).*StandardScaler"):
        MLPClassifier(**SHORT).fit(sparse, wine.target)
    scaled = StandardScaler().fit_transform(wine.data)
    for model, data in (
        (MLPClassifier(**SHORT), scaled),
        (MLPClassifier(standardize=True, **SHORT), wine.data),
    ):
        assert not warned(lambda m=model, d=data: m.fit(d, wine.target), ScaleWarning)


def test_data_that_need_no_scaling_are_not_spoken_of():
    rng = np.random.default_rng(0)
    digits = load_digits().data
    rare = (rng.random((1000, 5)) < [0.5, 0.1, 0.01, 0.003, 0]).astype(float)
    standard = StandardScaler().fit_transform(rare)
    for data in (X, digits, digits / 16, rare, standard, rng.random((50, 3)) * 1e6):
        assert wild_columns(data) is None
        assert wild_columns(csr_array(data)) is None
    assert "columns 1 (1e+04), 0 (1e+03)" in wild_columns(
        np.full((9, 3), [1e3, 1e4, 1])
    )
    many = np.hstack([np.full((9, 5), 1e5), np.ones((9, 1))])
    assert "and 2 more, beside values of 1" in wild_columns(many)


@pytest.mark.parametrize(
    ("model", "data", "words"),
    [
        (
            MLPRegressor(random_state=0),
            load_diabetes(return_X_y=True),
            ["the mean of y", "y is not scaled: mean 152", "X is not scaled",
             "TransformedTargetRegressor", "standardize=True"],
        ),
        (
            MLPClassifier(solver="sgd", random_state=0),
            (load_digits().data * 1e6, load_digits().target),
            ["the shares of the classes", "X is not scaled: columns 59 (1.28e+07)"],
        ),
        (
            MLPClassifier(solver="sgd", learning_rate_init=100.0, random_state=0),
            (load_digits().data / 16, load_digits().target),
            ["lower learning_rate_init (now 100.0)"],
        ),
        (
            MLPRegressor(loss="absolute_error", solver="sgd", learning_rate_init=99.0,
                         random_state=0),
            (X, X[:, 0]),
            ["lower learning_rate_init"],
        ),
    ],
    ids=["y", "X", "rate", "absolute"],
)  # fmt: skip
def test_a_fit_that_is_no_better_than_a_constant_says_so(model, data, words):
    (message,) = warned(lambda: model.fit(*data), ScaleWarning)
    assert message.startswith("The loss never fell below")
    for word in words:
        assert word in message


def test_a_fit_that_learns_says_nothing():
    scaled = StandardScaler().fit_transform(X)
    for model, target in (
        (MLPClassifier(random_state=0), y),
        (MLPClassifier(random_state=0, alpha=10.0), y),  # the loss is mostly penalty
        (MLPClassifier(random_state=0, max_iter=12), y),  # too few steps to tell
        (MLPRegressor(random_state=0), X[:, 0]),
        (MLPRegressor(random_state=0, loss="quantile", quantile=[0.1, 0.9]), X[:, 0]),
        (MLPClassifier(random_state=0), np.zeros(150)),
    ):
        found = warned(lambda m=model, t=target: m.fit(scaled, t), ScaleWarning)
        assert found == []


def test_predictions_that_are_not_finite_are_spoken_of():
    model = MLPRegressor(loss="poisson", **SHORT).fit(X, y)
    model.coefs_[-1] *= 1e6
    with pytest.warns(ScaleWarning, match=r"\d+ of 150 predictions are not finite"):
        assert np.isinf(model.predict(X)).any()


# --- options without effect -----------------------------------------------------------

#: For each parameter a value that is not its default.
OTHER = {
    "batch_size": 10, "learning_rate": "cosine", "learning_rate_init": 0.1,
    "shuffle": False, "early_stopping": True, "validation_fraction": 0.5,
    "n_iter_no_change": 3, "restore_best_weights": False, "scoring": "loss",
    "power_t": 0.9, "momentum": 0.1, "nesterovs_momentum": False, "beta_1": 0.1,
    "beta_2": 0.1, "epsilon": 0.1, "max_fun": 99,
}  # fmt: skip
SOLVERS = ["adam", "adamw", "sgd", "rmsprop", "lion", "lbfgs"]


@pytest.mark.parametrize("solver", SOLVERS)
def test_parameters_that_a_solver_ignores(solver):
    """By what they do: a fit with another value has other weights, or it is warned."""
    settings = SHORT if solver == "lbfgs" else {**SHORT, "batch_size": 50}
    plain = MLPClassifier(solver=solver, **settings).fit(X, y)
    needs = {
        "power_t": {"learning_rate": "invscaling"},
        "validation_fraction": {"early_stopping": True},
        "restore_best_weights": {"early_stopping": True},
        "scoring": {"early_stopping": True},
    }
    assert OTHER.keys() <= SOLVERS_OF.keys()
    for name, value in OTHER.items():
        model = MLPClassifier(solver=solver, **{**settings, name: value})
        messages = warned(lambda m=model: m.fit(X, y), UnusedParameterWarning)
        told = any(f"{name}={value!r} has no effect" in text for text in messages)
        same = all(map(np.array_equal, model.coefs_, plain.coefs_))
        assert len(messages) == told
        if name in needs or name in ("n_iter_no_change", "max_fun"):
            # not by itself, or not so soon
            assert told == (name in needs or solver not in SOLVERS_OF[name]), name
        else:
            assert told == same, name
        if name in needs and solver in SOLVERS_OF[name]:
            model.set_params(**needs[name])
            messages = warned(lambda m=model: m.fit(X, y), UnusedParameterWarning)
            assert messages == [], name


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor, MLPEstimator])
def test_defaults_are_not_spoken_of(estimator, solver):
    model = estimator(solver=solver, **SHORT)
    assert not warned(lambda: model.fit(X, y), UnusedParameterWarning)


def test_other_parameters_without_effect():
    cases = {
        "focal_gamma=3.0 has no effect without loss='focal'": (
            MLPClassifier(focal_gamma=3.0, **SHORT)
        ),
        "huber_delta=3.0 has no effect without loss='huber'": (
            MLPRegressor(huber_delta=3.0, **SHORT)
        ),
        "quantile=0.9 has no effect without loss='quantile'": (
            MLPRegressor(quantile=0.9, **SHORT)
        ),
        "learning_rate='adaptive' has no effect with solver='adam'": (
            MLPClassifier(learning_rate="adaptive", **SHORT)
        ),
        "dropout=0.5 has no effect on a network without hidden layers": (
            MLPClassifier((), dropout=0.5, **SHORT)
        ),
    }
    for text, model in cases.items():
        (message,) = warned(lambda m=model: m.fit(X, y), UnusedParameterWarning)
        assert message.startswith(text)
    model = MLPClassifier(scoring="loss", **SHORT)
    fit = lambda: model.fit(X, y, X_val=X, y_val=y)  # noqa: E731
    assert warned(fit, UnusedParameterWarning) == []
    model.set_params(early_stopping=True, validation_fraction=0.2)
    assert "if fit is given X_val" in warned(fit, UnusedParameterWarning)[0]


def test_partial_fit_says_what_it_ignores(tmp_path):
    called = []
    model = MLPClassifier(
        callbacks=[called.append], checkpoint=tmp_path / "file", time_limit=9.0
    )
    messages = warned(
        lambda: model.partial_fit(X, y, classes=[0, 1, 2]), UnusedParameterWarning
    )
    assert [m.split("=")[0] for m in messages] == [
        "callbacks", "checkpoint", "time_limit",
    ]  # fmt: skip
    assert called == os.listdir(tmp_path) == []


# --- whose warnings they are ----------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_filters_for_scikit_learns_warnings_match(solver):
    model = MLPClassifier(solver=solver, **SHORT)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=ConvergenceWarning, module="sklearn")
        model.fit(X, y)


# --- waiting for a compiler -----------------------------------------------------------

COMPILES = """
import logging, sys, time
from fastmlp.compilation import patience
logging.basicConfig(level="INFO", stream=sys.stdout, format="logged: %(message)s")
patience._SECONDS = 0.1
for _ in range(3):
    with patience.explained_wait(), patience.explained_wait():
        time.sleep(0.06)
time.sleep(0.1)
"""


def test_a_wait_for_the_compiler_is_explained_once(tmp_path):
    printed = run(COMPILES, tmp_path, environment={"FASTMLP_QUIET": None})
    assert printed.count("logged: fastmlp: compiling kernels") == 1
    assert run(COMPILES, tmp_path, environment={"FASTMLP_QUIET": "1"}) == ""


def test_where_the_wait_is_explained(monkeypatch, capsys):
    monkeypatch.delenv("FASTMLP_QUIET", raising=False)
    patience._explain()
    assert capsys.readouterr().err == ""  # neither a terminal nor a notebook
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    patience._explain()
    assert "compiling kernels" in capsys.readouterr().err
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: "a worker has one")
    patience._explain()
    assert capsys.readouterr().err == ""


def test_a_short_wait_is_not_spoken_of(monkeypatch):
    told = []
    monkeypatch.setattr(patience, "_explain", lambda: told.append(True))
    monkeypatch.setattr(patience._Wait, "is_explained", False)
    monkeypatch.setattr(patience._Wait, "seconds", 0.0)
    with patience.explained_wait():
        pass
    assert told == []
    assert 0 < patience._Wait.seconds < 1
