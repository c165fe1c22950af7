"""Searches: scikit-learn's results number for number, by another way."""

import inspect
import pickle
import re
import subprocess
import sys
import tempfile
import threading
import warnings
import weakref

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
from joblib.parallel import ThreadingBackend
from processes import run
from scipy.stats import loguniform
from sklearn import model_selection
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.decomposition import PCA
from sklearn.exceptions import FitFailedWarning
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.fixes import parse_version

import fastmlp.model_selection
from fastmlp import (
    MLPClassifier,
    MLPEnsembleClassifier,
    MLPEstimator,
    MLPRegressor,
    TabularMLPClassifier,
    TabularMLPRegressor,
)
from fastmlp.exceptions import UnusedParameterWarning
from fastmlp.model_selection import GridSearchCV, RandomizedSearchCV, prefixes
from fastmlp.model_selection import evaluation as evaluating
from fastmlp.model_selection import scikit_learn as seam

rng = np.random.default_rng(0)
N = 66
X = rng.standard_normal((N, 5))
y = rng.permutation(np.repeat([0, 1], N // 2))
X[:, 0] += 2 * y
THREE = y + (X[:, 1] > 0.5)
WORDS = np.array(["no", "yes", "perhaps"])[THREE]
LABELS = np.column_stack([y, THREE > 1])
NUMBERS = X @ [1, -1, 2, 0, 0.5] + 0.1 * rng.standard_normal(N)
WEIGHTS = rng.uniform(0.5, 2, N)
GROUPS = np.arange(N) % 4
FRAME = pd.DataFrame(X, columns=list("abcde")).astype({"b": np.float32})

SMALL = {"hidden_layer_sizes": (4,), "max_iter": 3, "random_state": 0}
MODEL = MLPClassifier(**SMALL, learning_rate_init=0.05)
NUMBER_MODEL = MLPRegressor(**SMALL, learning_rate_init=0.05)
PIPE = Pipeline([("scale", StandardScaler()), ("mlp", MODEL)])
GRID = {"alpha": [1e-4, 1.0], "hidden_layer_sizes": [(4,), (3, 3)]}
FEW = {"alpha": [1e-4, 1.0]}


def of_mlp(grid):
    return {f"mlp__{name}": values for name, values in grid.items()}


def with_mlp(*steps, model=MODEL, **how):
    return Pipeline([*zip("abcdef", steps, strict=False), ("mlp", model)], **how)


class Otherwise(TransformerMixin, BaseEstimator):
    """Gives the samples that it is fitted to something else than others."""

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def fit_transform(self, X, y=None):
        return 2 * self.fit(X, y).transform(X)

    def transform(self, X):
        return X - 1


def hits(estimator, X, y):
    return float(np.mean(estimator.predict(X) == y))


def two_scores(estimator, X, y):
    return {"hits": hits(estimator, X, y), "size": len(estimator.coefs_[0][0])}


def last_of_equals(results):
    return len(results["params"]) - 1


def assert_same_results(ours, theirs):
    assert list(ours) == list(theirs)
    for name, expected in theirs.items():
        if "_time" in name:
            continue
        if name == "params":
            assert list(map(str, ours[name])) == list(map(str, expected))
            continue
        assert type(ours[name]) is type(expected), name
        assert ours[name].dtype == expected.dtype, name
        if expected.dtype == object:
            assert str(ours[name]) == str(expected), name
        else:
            np.testing.assert_array_equal(ours[name], expected, err_msg=name)


def bits(search):
    model = search.best_estimator_
    model = model[-1] if isinstance(model, Pipeline) else model
    return [array.tobytes() for array in model.coefs_ + model.intercepts_]


def assert_same(ours, theirs):
    """Two searches that are fitted, one of this package."""
    assert_same_results(ours.cv_results_, theirs.cv_results_)
    for name in ("best_index_", "best_score_", "n_splits_", "multimetric_"):
        assert hasattr(ours, name) == hasattr(theirs, name), name
        assert getattr(ours, name, None) == getattr(theirs, name, None), name
    assert str(ours.scorer_) == str(theirs.scorer_)
    if hasattr(theirs, "best_params_"):
        assert str(ours.best_params_) == str(theirs.best_params_)
    if hasattr(theirs, "best_estimator_"):
        assert bits(ours) == bits(theirs)
        assert ours.refit_time_ > 0
    # nothing of the way there is left
    assert vars(ours).keys() == vars(theirs).keys()


def searches(estimator, grid, **options):
    """(ours, scikit-learn's)"""
    options = {"cv": 3, **options}
    return (
        GridSearchCV(estimator, grid, n_jobs=2, **options),
        model_selection.GridSearchCV(estimator, grid, **options),
    )


@pytest.fixture
def only_ours(monkeypatch):
    """A search fails that takes scikit-learn's way."""

    def refuse(*_):
        raise AssertionError("scikit-learn's way")

    monkeypatch.setattr(evaluating, "as_scikit_learn", refuse)
    found = []
    original = evaluating.Evaluations.__call__

    def counted(self, calls):
        found.append(True)
        return original(self, calls)

    monkeypatch.setattr(evaluating.Evaluations, "__call__", counted)
    yield
    assert found


OPTIONS = {
    "defaults": (MODEL, GRID, {}, {}),
    "several grids": (MODEL, [FEW, {"solver": ["sgd"], "momentum": [0, 0.5]}], {}, {}),
    "train scores": (MODEL, FEW, {"return_train_score": True}, {}),
    "list of scorers": (
        MODEL,
        GRID,
        {"scoring": ["accuracy", "roc_auc", "neg_log_loss"], "refit": "roc_auc"},
        {},
    ),
    "dict of scorers": (
        MODEL,
        FEW,
        {
            "scoring": {"a": "f1", "b": make_scorer(accuracy_score), "c": hits},
            "refit": "c",
            "return_train_score": True,
        },
        {},
    ),
    "function": (MODEL, FEW, {"scoring": hits, "return_train_score": True}, {}),
    "function of several": (
        MODEL,
        GRID,
        {"scoring": two_scores, "refit": "size", "return_train_score": True},
        {},
    ),
    "no refit": (MODEL, FEW, {"refit": False}, {}),
    "refit by function": (MODEL, GRID, {"refit": last_of_equals}, {}),
    "several, no refit": (MODEL, FEW, {"refit": False, "scoring": ["f1"]}, {}),
    "shuffled splits": (
        MODEL,
        FEW,
        {"cv": model_selection.ShuffleSplit(2, random_state=1)},
        {},
    ),
    "masks and negative indices": (
        MODEL,
        FEW,
        {"cv": [(GROUPS > 0, GROUPS == 0), (np.arange(-40, 0), [1])]},
        {},
    ),
    "groups": (
        MODEL,
        FEW,
        {"cv": model_selection.LeaveOneGroupOut()},
        {"groups": GROUPS},
    ),
    "sample weights": (MODEL, FEW, {}, {"sample_weight": WEIGHTS}),
    "validation set": (
        MODEL,
        {"early_stopping": [False, True], "alpha": [0.1]},
        {},
        {"X_val": X[:9], "y_val": y[:9]},
    ),
    "early stopping": (
        clone(MODEL).set_params(early_stopping=True, scoring="roc_auc"),
        FEW,
        {},
        {},
    ),
    "lbfgs": (clone(MODEL).set_params(solver="lbfgs"), FEW, {}, {}),
    "standardize": (MODEL, {"standardize": [False, True]}, {}, {}),
    "other order": (MODEL, FEW, {}, {"X": np.asfortranarray(X)}),
    "float32": (MODEL, FEW, {}, {"X": X.astype(np.float32)}),
    "integers": (MODEL, FEW, {}, {"X": (3 * X).astype(int)}),
    "lists": (MODEL, FEW, {}, {"X": X.tolist(), "y": y.tolist()}),
    "frame": (MODEL, FEW, {}, {"X": FRAME, "y": pd.Series(y)}),
    "compressed rows": (MODEL, FEW, {}, {"X": sp.csr_array(X * (X > 0))}),
    "compressed columns": (MODEL, FEW, {}, {"X": sp.csc_matrix(X * (X > 0))}),
    "words": (MODEL, FEW, {"return_train_score": True}, {"y": WORDS}),
    "objects": (MODEL, FEW, {}, {"y": WORDS.astype(object)}),
    "floats": (MODEL, FEW, {}, {"y": THREE.astype(float)}),
    "labels": (MODEL, FEW, {}, {"y": LABELS}),
    "regression": (NUMBER_MODEL, GRID, {"return_train_score": True}, {"y": NUMBERS}),
    "several outputs": (
        NUMBER_MODEL,
        FEW,
        {"scoring": "neg_mean_absolute_error"},
        {"y": np.column_stack([NUMBERS, y])},
    ),
    "task by y": (MLPEstimator(task="classification", **SMALL), FEW, {}, {}),
    "pipeline": (PIPE, of_mlp(GRID), {"return_train_score": True}, {}),
    "settings of steps": (
        PIPE,
        {"scale__with_mean": [True, False], **of_mlp(GRID)},
        {"scoring": ["accuracy", "roc_auc"], "refit": "accuracy"},
        {},
    ),
    "steps to replace": (
        PIPE,
        {"scale": ["passthrough", StandardScaler(), PCA(2, random_state=0)]},
        {},
        {},
    ),
    "the last step to replace": (
        PIPE,
        {"mlp": [MODEL, MLPClassifier(activation="tanh", **SMALL)]},
        {},
        {},
    ),
    "a lambda": (
        with_mlp(FunctionTransformer()),
        {"a__func": [None, lambda X: X**2]},
        {},
        {},
    ),
    "only the last step": (with_mlp(), of_mlp(FEW), {"return_train_score": True}, {}),
    "steps that see y": (
        with_mlp(StandardScaler(), SelectKBest()),
        {"b__k": [1, 3], "mlp__alpha": [1e-4, 1.0]},
        {},
        {},
    ),
    "fitted otherwise than transformed": (
        with_mlp(Otherwise()),
        of_mlp(FEW),
        {"return_train_score": True},
        {},
    ),
    "frames between steps": (
        with_mlp(StandardScaler().set_output(transform="pandas")),
        of_mlp(FEW),
        {},
        {"X": FRAME},
    ),
    "a function sees the pipeline": (
        PIPE,
        of_mlp(FEW),
        {"scoring": lambda pipe, X, y: pipe["scale"].mean_[0] + hits(pipe, X, y)},
        {},
    ),
    "weights of a step": (PIPE, of_mlp(FEW), {}, {"mlp__sample_weight": WEIGHTS}),
    "weights of another step": (
        PIPE,
        of_mlp(FEW),
        {},
        {"scale__sample_weight": WEIGHTS},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.usefixtures("only_ours")
def test_results_are_scikit_learns(name):
    estimator, grid, options, data = OPTIONS[name]
    data = {"X": X, "y": y, **data}
    ours, theirs = searches(estimator, grid, **options)
    assert_same(ours.fit(**data), theirs.fit(**data))


@pytest.mark.usefixtures("only_ours")
def test_a_random_search_is_scikit_learns():
    options = {"n_iter": 5, "cv": 3, "random_state": 3}
    grid = [{"alpha": loguniform(1e-4, 1)}, {"hidden_layer_sizes": [(3,), (5,)]}]
    ours = RandomizedSearchCV(MODEL, grid, n_jobs=2, **options).fit(X, y)
    theirs = model_selection.RandomizedSearchCV(MODEL, grid, **options).fit(X, y)
    assert_same(ours, theirs)


@pytest.mark.parametrize("n_jobs", [None, 1, 3, 4, -1])
@pytest.mark.usefixtures("only_ours")
def test_the_number_of_threads_changes_nothing(n_jobs):
    ours, theirs = searches(PIPE, of_mlp(GRID))
    assert_same(ours.set_params(n_jobs=n_jobs).fit(X, y), theirs.fit(X, y))


TABLE = pd.DataFrame({"number": X[:, 0], "word": WORDS}).mask(rng.random((N, 2)) < 0.1)
OF_SEVERAL = {
    "table": (
        TabularMLPClassifier(
            hidden_layer_sizes=(8,), n_members=2, max_iter=4, random_state=0
        ),
        {"dropout": [0.0, 0.3]},
        TABLE,
    ),
    "pipeline": (
        with_mlp(
            FunctionTransformer(lambda table: table[["word", "number"]]),
            model=TabularMLPRegressor(
                hidden_layer_sizes=(8,), n_members=1, max_iter=4, random_state=0
            ),
        ),
        {"mlp__tune": [False, 1], "mlp__activation": ["relu", "none such"]},
        TABLE,
    ),
    "ensemble": (
        MLPEnsembleClassifier(**SMALL, n_estimators=2, cv=3),
        {"solver": ["adam", "lbfgs"], "alpha": [1e-4, 1.0]},
        X,
    ),
}


@pytest.mark.parametrize("name", OF_SEVERAL)
@pytest.mark.usefixtures("only_ours")
@pytest.mark.filterwarnings("ignore")
def test_results_of_several_networks_are_scikit_learns(name):
    model, grid, X = OF_SEVERAL[name]
    ours, theirs = searches(model, grid, return_train_score=True)
    weights = {} if name == "pipeline" else {"sample_weight": WEIGHTS}
    ours.fit(X, y, **weights)
    theirs.fit(X, y, **weights)
    assert_same_results(ours.cv_results_, theirs.cv_results_)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


KINDS = [
    MODEL,
    TabularMLPClassifier("fast", max_iter=3, n_members=2, random_state=0),
    MLPEnsembleClassifier((4,), n_estimators=2, max_iter=3, random_state=0),
]


@pytest.mark.parametrize("first", range(3))
@pytest.mark.usefixtures("only_ours")
@pytest.mark.filterwarnings("ignore")
def test_kinds_of_networks_compete_in_a_pipeline(first):
    kinds = KINDS[first:] + KINDS[:first]
    ours, theirs = searches(PIPE, {"mlp": kinds}, refit=False)
    assert_same_results(ours.fit(X, y).cv_results_, theirs.fit(X, y).cv_results_)
    assert np.isfinite(ours.cv_results_["mean_test_score"]).all()


def test_as_many_threads_as_are_asked_for(monkeypatch):
    asked = []

    def note(works, n_threads, *rest):
        asked.append(n_threads)
        return side_by_side(works, n_threads, *rest)

    side_by_side = evaluating.side_by_side
    monkeypatch.setattr(evaluating, "side_by_side", note)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    search = GridSearchCV(MODEL, FEW, cv=2, refit=False)
    search.fit(X, y)
    search.set_params(n_jobs=2).fit(X, y)
    with joblib.parallel_config(n_jobs=2):
        search.set_params(n_jobs=None).fit(X, y)
    assert asked == [1, 2, 2]
    with pytest.raises(ValueError, match="n_jobs"):
        search.set_params(n_jobs=0).fit(X, y)


# --- what fails ----------------------------------------------------------------------


def outcome(search, data):
    """(what it raises, what it warns of), without what tracebacks say."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            search.fit(**data)
            error = None
        except Exception as raised:
            error = raised
    told = {
        (each.category, re.sub(r"  File .*\n(    .*\n)*", "", str(each.message)))
        for each in caught
    }
    return error and (type(error), str(error).partition("Traceback")[0]), told


def broken(estimator, X, y):
    raise ZeroDivisionError("broken")


def half_broken(estimator, X, y):
    return hits(estimator, X, y) if estimator.alpha < 0.5 else broken(estimator, X, y)


FAILURES = {
    "a fit": (MODEL, {"alpha": [1e-4, -1.0]}, {}, {}),
    "a fit, another score": (MODEL, {"alpha": [1e-4, -1.0]}, {"error_score": -3}, {}),
    "a fit, several scores": (
        MODEL,
        {"alpha": [-1.0, 1e-4]},
        {"scoring": ["f1", "accuracy"], "refit": "f1", "return_train_score": True},
        {},
    ),
    "a fit, a function of several": (
        MODEL,
        {"alpha": [-1.0, 1e-4]},
        {"scoring": two_scores, "refit": "hits"},
        {},
    ),
    "a fit, raised": (MODEL, {"alpha": [-1.0]}, {"error_score": "raise"}, {}),
    "all fits": (MODEL, {"alpha": [-1.0, -2.0]}, {}, {}),
    "some rows": (MODEL, FEW, {}, {"X": np.where(np.arange(N) == 3, np.nan, X.T).T}),
    "a step": (PIPE, {"scale__with_mean": [True, "no"]}, {}, {}),
    "a score": (MODEL, FEW, {"scoring": half_broken}, {}),
    "a score, raised": (
        MODEL,
        FEW,
        {"scoring": half_broken, "error_score": "raise"},
        {},
    ),
    "some scores": (
        MODEL,
        FEW,
        {"scoring": {"a": "accuracy", "b": half_broken}, "refit": "a"},
        {},
    ),
    "scores that are no numbers": (MODEL, FEW, {"scoring": lambda *_: "high"}, {}),
    "no such parameter": (MODEL, {"beta": [1]}, {}, {}),
    "no such argument": (MODEL, FEW, {}, {"colour": 3}),
    "an argument of ours": (MODEL, FEW, {}, {"X": X.tolist(), "rows": [3]}),
    "no such step": (PIPE, {"nothing__alpha": [1]}, {}, {}),
    "unseen classes": (
        MODEL,
        FEW,
        {"cv": [(np.flatnonzero(THREE < 2), np.flatnonzero(THREE > 0))]},
        {"y": THREE},
    ),
    "splits that do not fit": (MODEL, FEW, {"cv": [([0, 99], [1])]}, {}),
    "no candidates": (MODEL, [], {}, {}),
    "no splits": (MODEL, FEW, {"cv": []}, {}),
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_fails_is_told_as_scikit_learn_does(name):
    estimator, grid, options, data = FAILURES[name]
    data = {"X": X, "y": y, **data}
    ours, theirs = searches(estimator, grid, **options)
    told, expected = outcome(ours, data), outcome(theirs, data)
    assert told[0] == expected[0]
    assert told[1] == expected[1]
    if expected[0] is None:
        assert_same(ours, theirs)


def test_the_warning_of_failed_fits_has_their_traceback():
    search = GridSearchCV(MODEL, {"alpha": [1.0, -1.0]}, cv=2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        search.fit(X, y)
    (text,) = (str(w.message) for w in caught if w.category is FitFailedWarning)
    assert "2 fits failed out of a total of 4" in text
    assert "InvalidParameterError: The 'alpha' parameter" in text
    assert "in_pieces.py" in text


# --- what is shared ------------------------------------------------------------------


class Counting(TransformerMixin, BaseEstimator):
    """Notes what it does, as a whole."""

    done = []

    def __init__(self, factor=1.0):
        self.factor = factor

    def fit(self, X, y=None):
        self.done.append("fit")
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        self.done.append(f"transform {len(X)}")
        return self.factor * X


@pytest.fixture
def counted():
    Counting.done.clear()
    return Counting.done


@pytest.mark.usefixtures("only_ours")
def test_steps_are_fitted_once_for_each_split_and_setting(counted):
    grid = {"a__factor": [1.0, 2.0], "mlp__alpha": [1e-4, 1e-2, 1.0]}
    search, _ = searches(with_mlp(Counting()), grid, refit=False)
    search.fit(X, y)
    assert counted.count("fit") == 3 * 2
    assert counted.count(f"transform {N // 3}") == 3 * 2  # to be scored
    counted.clear()
    search.set_params(scoring=hits).fit(X, y)  # which may look into the pipeline
    assert counted.count("fit") == 3 * 2
    assert counted.count(f"transform {N // 3}") == 3 * 6


@pytest.mark.usefixtures("only_ours")
def test_steps_are_fitted_again_if_there_is_no_room(counted, monkeypatch):
    monkeypatch.setattr(prefixes, "_MOST_BYTES", 1)
    ours, theirs = searches(with_mlp(Counting()), of_mlp(GRID), refit=False)
    ours.set_params(n_jobs=1).fit(X, y)
    assert counted.count("fit") > 3 * 3
    assert_same(ours, theirs.fit(X, y))


@pytest.mark.usefixtures("only_ours")
def test_models_are_dropped_when_they_are_scored():
    models, most = weakref.WeakSet(), []

    def score(model, X, y):
        models.add(model)
        most.append(len(models))
        return 0.0

    grid = {"alpha": np.linspace(0.1, 1, 20).tolist()}
    search, _ = searches(MODEL, grid, scoring=score, refit=False)
    search.fit(X, y)
    assert len(most) == 60
    assert max(most) < 10


def memory_map(X):
    with tempfile.TemporaryFile() as file:  # the map outlives it
        whole = np.memmap(file, X.dtype, "w+", shape=X.shape)
    whole[:] = X
    return whole


@pytest.mark.parametrize("form", [np.asarray, memory_map, sp.csr_array])
@pytest.mark.usefixtures("only_ours")
def test_x_is_read_where_it_is(form, monkeypatch):
    """No fit gets rows of it: see `rows` of `_pieces_of_fit`."""
    seen = []
    original = MLPClassifier._pieces_of_fit

    def note(self, X, y, *rest, checked=None, **how):
        seen.append(checked)
        return original(self, X, y, *rest, checked=checked, **how)

    monkeypatch.setattr(MLPClassifier, "_pieces_of_fit", note)
    whole = form(X)
    ours, theirs = searches(MODEL, FEW, refit=False)
    ours.fit(whole, y)
    assert len(seen) == 6
    numbers = [X.data if sp.issparse(X) else X for X in (whole, *seen)]
    assert all(np.shares_memory(each, numbers[0]) for each in numbers)
    assert_same_results(ours.cv_results_, theirs.fit(whole, y).cv_results_)


# --- threads -------------------------------------------------------------------------


@pytest.mark.usefixtures("only_ours")
def test_threads_have_the_configuration_of_their_caller():
    seen = set()

    def score(model, X, y):
        config = sklearn.get_config()
        seen.add((config["assume_finite"], config["skip_parameter_validation"]))
        return threading.current_thread() is threading.main_thread()

    search, _ = searches(MODEL, FEW, scoring=score, refit=False)
    with sklearn.config_context(assume_finite=True):
        search.fit(X, y)
    assert seen == {(True, False)}
    assert not search.cv_results_["mean_test_score"].any()
    with sklearn.config_context(skip_parameter_validation=True):
        search.set_params(param_grid={"alpha": [-1e-9]}).fit(X, y)


@pytest.mark.usefixtures("only_ours")
def test_callbacks_are_called():
    epochs = []
    model = clone(MODEL).set_params(
        callbacks=[lambda state: epochs.append(state.epoch)]
    )
    GridSearchCV(model, FEW, cv=3, refit=False).fit(X, y)
    assert sorted(epochs) == sorted([1, 2, 3] * 6)


INTERRUPTED = """
import os, signal, threading, warnings
import numpy as np
from fastmlp import MLPClassifier
from fastmlp.model_selection import GridSearchCV
from fastmlp.model_selection.progress import Progress

X = np.random.default_rng(0).standard_normal((90, 4))
y = (X[:, 0] > 0) * 1
endless = {"max_iter": [10**9], "tol": [0.0], "n_iter_no_change": [10**9]}
note = Progress.note

def search_until(n_done):
    left = [n_done]

    def note_and_interrupt(*arguments):
        note(*arguments)
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGINT)

    def interrupt(state):
        if n_done == 0:
            os.kill(os.getpid(), signal.SIGINT)

    Progress.note = note_and_interrupt
    grid = [{"alpha": [2.0], "callbacks": [[interrupt]], **endless}]
    if n_done:
        grid.insert(0, {"alpha": [1.0]})
    model = MLPClassifier((3,), max_iter=2, random_state=0)
    search = GridSearchCV(model, grid, cv=3, n_jobs=2)
    warnings.simplefilter("always")
    with warnings.catch_warnings(record=True) as caught:
        try:
            search.fit(X, y)
        except KeyboardInterrupt as error:
            print(f"KeyboardInterrupt({error})")
    print(*(w.message for w in caught if "interrupted" in str(w.message)))
    if hasattr(search, "cv_results_"):
        results = search.cv_results_
        scores = [results[f"split{i}_test_score"] for i in range(3)]
        print(np.isfinite(scores).sum(), results["rank_test_score"])
    if hasattr(search, "best_params_"):
        print(search.best_params_, search.predict(X).shape)
    print(threading.active_count())

for n_done in (3, 2, 0):
    search_until(n_done)
"""

TOLD = """\
Search interrupted by user: 1 of 2 candidates are complete. cv_results_ has NaN for \
the 3 fits that are missing. The best of these candidates is fitted to all samples now.
3 [1 2]
{'alpha': 1.0} (90,)
1
KeyboardInterrupt(Search interrupted by user: 0 of 2 candidates are complete. \
cv_results_ has NaN for the 4 fits that are missing.)

2 [1 1]
1
KeyboardInterrupt()

1
"""


def test_an_interrupt_keeps_what_is_done(tmp_path):
    assert run(INTERRUPTED, tmp_path) == TOLD


@pytest.mark.parametrize("when", ["before a fit is done", "no score"])
@pytest.mark.filterwarnings("ignore:One or more of the test scores")
def test_an_interrupt_with_nothing_to_choose_from_is_raised(when, monkeypatch):
    search, _ = searches(MODEL, FEW, scoring=lambda *_: np.nan, error_score=0.0)
    search.set_params(n_jobs=1)
    search.fit(X, y)

    def interrupt(*_):
        raise KeyboardInterrupt

    def note(self, candidate, split, result):
        if candidate == split == 1:
            interrupt()

    if when == "no score":
        monkeypatch.setattr(evaluating.Progress, "note", note)
    else:
        monkeypatch.setattr(evaluating.Progress, "begin", interrupt)
    with pytest.raises(KeyboardInterrupt):
        search.fit(X, y)
    if when == "no score":
        assert np.isnan(search.cv_results_["mean_test_score"]).all()
    else:
        assert not hasattr(search, "cv_results_")  # that of another fit


# --- what is told --------------------------------------------------------------------


@pytest.mark.parametrize("verbose", [1, 2, 3, 10])
@pytest.mark.parametrize("scoring", [None, ["accuracy", "f1"]])
@pytest.mark.parametrize("train", [False, True])
def test_lines_are_scikit_learns(verbose, scoring, train, capsys):
    options = {"scoring": scoring, "refit": False, "return_train_score": train}
    told = []
    for search in searches(MODEL, GRID, verbose=verbose, **options):
        search.set_params(n_jobs=1).fit(X, y)
        lines = re.sub(r" *[0-9.]+s$", "", capsys.readouterr().out, flags=re.M)
        told.append(sorted(lines.splitlines()))  # a fit may begin before one is told of
    assert told[0] == told[1]


@pytest.mark.usefixtures("only_ours")
def test_progress_shows_the_best_score(capsys):
    pytest.importorskip("tqdm")
    search, _ = searches(MODEL, GRID, verbose="progress")
    search.fit(X, y)
    told = capsys.readouterr()
    assert told.out == ""
    assert "12/12" in told.err
    assert f"best score={search.best_score_:.4g}" in told.err
    assert search.verbose == "progress"
    search.set_params(scoring=["f1", "accuracy"], refit="accuracy").fit(X, y)
    assert f"best score={search.best_score_:.4g}" in capsys.readouterr().err


def test_without_tqdm_progress_is_lines(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr("fastmlp.training.progress.find_spec", lambda name: None)
    search, _ = searches(MODEL, FEW, verbose="progress", refit=False)
    with pytest.warns(UserWarning, match="needs tqdm"):
        search.fit(X, y)
    assert capsys.readouterr().out.count(" END ") == 6


def test_what_has_no_effect_is_told():
    search, _ = searches(MODEL, FEW, pre_dispatch=1)
    with pytest.warns(UnusedParameterWarning, match="pre_dispatch=1"):
        search.fit(X, y)
    search = GridSearchCV(LogisticRegression(), {"C": [1, 2]}, verbose="progress")
    with pytest.warns(UnusedParameterWarning, match="verbose='progress'"):
        search.fit(X, y)
    with pytest.raises(ValueError, match="verbose"):
        search.set_params(verbose="much").fit(X, y)


# --- scikit-learn's way ---------------------------------------------------------------


class Own(MLPClassifier):
    """Has a fit of its own."""

    def fit(self, X, y):
        return super().fit(-X, y)


class OwnPipeline(Pipeline):
    """Might do anything."""


THEIRS = {
    "another estimator": (LogisticRegression(), {"C": [0.1, 1]}),
    "a fit of its own": (Own(**SMALL), FEW),
    "a pipeline of its own": (OwnPipeline([("mlp", MODEL)]), of_mlp(FEW)),
    "another last step": (with_mlp(model=LogisticRegression()), {"mlp__C": [1, 2]}),
    "one candidate": (PIPE, {"mlp": [MODEL, LogisticRegression()]}),
    "a checkpoint": (PIPE, {"mlp": [clone(MODEL).set_params(checkpoint="of.npz")]}),
    "steps as a whole": (PIPE, {"steps": [PIPE.steps]}),
}


@pytest.fixture
def only_theirs(monkeypatch):
    def refuse(*_):
        raise AssertionError("our way")

    monkeypatch.setattr(evaluating.Evaluations, "_in_order", refuse)


@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.usefixtures("only_theirs")
def test_anything_else_is_searched_as_before(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    estimator, grid = THEIRS[name]
    ours, theirs = searches(estimator, grid, cv=2, refit=False)
    ours.set_params(n_jobs=None).fit(X, y)
    assert_same_results(ours.cv_results_, theirs.fit(X, y).cv_results_)


@pytest.mark.usefixtures("only_theirs")
def test_a_checkpoint_has_one_owner(tmp_path):
    model = clone(MODEL).set_params(checkpoint=str(tmp_path / "state.npz"))
    search = GridSearchCV(model, FEW, cv=2, refit=False).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    search.set_params(estimator=MODEL, param_grid={"checkpoint": [model.checkpoint]})
    assert np.isfinite(search.fit(X, y).cv_results_["mean_test_score"]).all()


class Elsewhere(ThreadingBackend):
    """A backend that joblib does not come with."""


@pytest.mark.usefixtures("only_theirs")
def test_a_backend_of_others_is_used():
    joblib.register_parallel_backend("elsewhere", Elsewhere)
    search, _ = searches(MODEL, FEW, refit=False)
    with joblib.parallel_config("elsewhere"):
        search.fit(X, y)


class Recorder:
    """A callback of scikit-learn: the names of tasks that have ended."""

    def __init__(self):
        self.tasks = []

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        self.tasks.append((context.estimator_name, context.task_name))

    def teardown(self, estimator, context):
        pass


@pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.9"),
    reason="scikit-learn has no callbacks before 1.9",
)
@pytest.mark.parametrize("owner", ["search", "pipeline", "step"])
@pytest.mark.usefixtures("only_theirs")
def test_scikit_learns_callbacks_go_its_way(owner):
    told = []
    for search in searches(clone(PIPE), of_mlp(FEW), refit=False):
        pipeline = search.estimator
        owners = {"search": search, "pipeline": pipeline, "step": pipeline["mlp"]}
        recorder = Recorder()
        owners[owner].set_callbacks(recorder)
        search.set_params(n_jobs=1).fit(X, y)
        told.append(recorder.tasks)
    assert told[0] == told[1] != []


def test_another_scikit_learn_goes_its_way(monkeypatch):
    """One whose inside is not known."""
    monkeypatch.setattr(seam, "_WITHOUT_EFFECT", set())
    ours, theirs = searches(PIPE, of_mlp(FEW))
    assert_same(ours.set_params(n_jobs=1).fit(X, y), theirs.fit(X, y))
    monkeypatch.setattr(seam, "_fit_and_score", None)
    assert_same(ours.fit(X, y), theirs)
    assert seam.with_parallel(lambda candidates: None, len) is None


# --- what they are -------------------------------------------------------------------


@pytest.mark.parametrize("ours", [GridSearchCV, RandomizedSearchCV])
def test_they_are_scikit_learns(ours):
    theirs = getattr(model_selection, ours.__name__)
    assert issubclass(ours, theirs)
    assert str(inspect.signature(ours)) == str(inspect.signature(theirs))


def test_names_are_imported_when_they_are_asked_for():
    script = (
        "import sys, fastmlp\n"
        "assert 'fastmlp.model_selection' not in sys.modules\n"
        "fastmlp.model_selection.GridSearchCV\n"
        "assert 'numba' not in sys.modules\n"
        "assert 'fastmlp.engine.pieces' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    names = set(fastmlp.model_selection.__all__)
    assert names <= {*dir(fastmlp.model_selection)}
    assert all(hasattr(fastmlp.model_selection, name) for name in names)
    with pytest.raises(AttributeError, match="Grid"):
        fastmlp.model_selection.Grid  # noqa: B018


def test_a_fitted_search_can_be_pickled():
    search = GridSearchCV(PIPE, of_mlp(FEW), cv=2).fit(X, y)
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.predict_proba(X), search.predict_proba(X))
    assert again.score(X, y) == search.score(X, y)
    assert not hasattr(clone(search), "cv_results_")


@pytest.mark.usefixtures("only_ours")
def test_metadata_is_routed():
    with sklearn.config_context(enable_metadata_routing=True):
        model = clone(MODEL).set_fit_request(sample_weight="w")
        model.set_score_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight="w")
        splits = model_selection.GroupKFold(3)
        given = {"w": WEIGHTS, "groups": GROUPS}
        other = {"sample_weight": 1 / WEIGHTS}
        weighted = make_scorer(accuracy_score).set_score_request(sample_weight="w")
        pipeline = with_mlp(scaler, model=model)
        for estimator, grid, scoring, more in (
            (model, FEW, None, other),
            (pipeline, of_mlp(FEW), None, other),
            (pipeline, of_mlp(FEW), weighted, {}),
            (pipeline, of_mlp(FEW), {"a": weighted, "b": "f1"}, {}),
        ):
            refit = "a" if isinstance(scoring, dict) else True
            options = {"scoring": scoring, "cv": splits, "refit": refit}
            ours, theirs = searches(estimator, grid, return_train_score=True, **options)
            ours.fit(X, y, **given, **more)
            assert_same(ours, theirs.fit(X, y, **given, **more))


@pytest.mark.usefixtures("only_ours")
def test_each_candidate_gets_the_metadata_that_it_asks_for():
    with sklearn.config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=True)
        models = [
            clone(MODEL)
            .set_fit_request(sample_weight=asks)
            .set_score_request(sample_weight=True)
            for asks in (True, False)
        ]
        weights = np.where(y, 100 * WEIGHTS, WEIGHTS)
        for order in (models, models[::-1]):
            pipeline = with_mlp(scaler, model=models[0])
            ours, theirs = searches(pipeline, {"mlp": order}, refit=False)
            ours.fit(X, y, sample_weight=weights)
            assert_same(ours, theirs.fit(X, y, sample_weight=weights))


@pytest.mark.usefixtures("only_ours")
def test_a_validation_set_can_go_through_the_steps():
    """`transform_input` of a pipeline."""
    with sklearn.config_context(enable_metadata_routing=True):
        model = clone(MODEL).set_fit_request(X_val=True, y_val=True)
        pipeline = with_mlp(StandardScaler(), model=model, transform_input=["X_val"])
        ours, theirs = searches(pipeline, of_mlp(FEW))
        given = {"X_val": X[:9], "y_val": y[:9]}
        assert_same(ours.fit(X, y, **given), theirs.fit(X, y, **given))
