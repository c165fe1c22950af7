"""Fits that are watched or end early: callbacks, limits of time, what is shown."""

import pickle
import sys
import time
import warnings

import numpy as np
import pytest
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning
from test_checkpoint import Crash, X, crash_at, learnt, model_of, y

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.exceptions import UnusedParameterWarning


@pytest.mark.parametrize(
    ("solver", "ema_decay"), [("adam", None), ("adam", 0.9), ("lbfgs", None)]
)
def test_callbacks_are_told_of_each_epoch(solver, ema_decay):
    states, outputs = [], []

    def look(state):
        states.append(state)
        outputs.append(state.estimator.predict_proba(X))

    model = model_of(solver=solver, ema_decay=ema_decay, callbacks=[look])
    own = {} if solver == "lbfgs" else {"X_val": X, "y_val": y}
    model.fit(X, y, **own)
    assert [state.epoch for state in states] == list(range(1, 10))
    assert states[-1].loss == model.loss_
    seconds = [0, *(state.seconds for state in states)]
    assert np.all(np.diff(seconds) > 0)
    scores = model.validation_scores_ if own else [None] * 9
    assert [state.validation_score for state in states] == scores
    one = model_of(solver=solver, ema_decay=ema_decay, max_iter=4).fit(X, y)
    np.testing.assert_array_equal(outputs[3], one.predict_proba(X))
    np.testing.assert_array_equal(outputs[-1], model.predict_proba(X))


def test_a_model_of_an_epoch_is_asked_for_in_that_epoch_and_kept():
    states, models = [], []

    def look(state):
        states.append(state)
        if state.epoch == 3:
            models.append(state.estimator)

    model_of(callbacks=[look]).fit(X, y)
    with pytest.raises(AttributeError, match="the weights of epoch 2 are gone"):
        states[1].estimator  # noqa: B018
    assert states[2].estimator is models[0]
    kept = pickle.loads(pickle.dumps(models[0]))  # though `look` cannot be pickled
    whole = model_of(max_iter=3).fit(X, y)
    np.testing.assert_array_equal(kept.predict_proba(X), whole.predict_proba(X))


def test_callbacks_see_no_weights_that_are_not_finite():
    """The fit begins anew in float64."""
    epochs = []

    def look(state):
        assert np.isfinite(state.estimator.predict(X)).all()
        epochs.append(state.epoch)

    settings = {"solver": "sgd", "early_stopping": True, "max_iter": 3}
    model = model_of(cls=MLPRegressor, callbacks=[look], **settings)
    with pytest.warns(UserWarning, match="done again in float64"):
        model.fit(X * 1e5, y * 1e5)
    assert epochs == [1, 2, 3]


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_only_true_ends_a_fit(solver):
    for answer in (1, "stop", None, False):
        model = model_of(solver=solver, callbacks=[lambda state, a=answer: a])
        assert model.fit(X, y).n_iter_ == 9
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", UnusedParameterWarning)
        told = []
        model = model_of(
            solver=solver, callbacks=[lambda s: s.epoch == 3, told.append]
        ).fit(X, y)
    assert model.n_iter_ == len(told) == 3


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_an_error_of_a_callback_leaves_the_estimator_as_it_was(solver):
    model = model_of(solver=solver, callbacks=[crash_at(3)])
    for was_fitted in (False, True):
        if was_fitted:
            model.set_params(callbacks=None).fit(X, y)
            model.set_params(callbacks=[crash_at(2)])
        before = learnt(model)
        with pytest.raises(Crash):
            model.fit(X[:, :4], y)
        np.testing.assert_equal(learnt(model), before)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_callback_may_raise_what_ends_loops_elsewhere(solver):
    """SciPy ends in silence if a callback of its own raises StopIteration."""

    def exhausted(state):
        if state.epoch == 2:
            next(iter(()))

    model = model_of(solver=solver, callbacks=[exhausted])
    with pytest.raises(StopIteration):
        model.fit(X, y)
    assert not hasattr(model, "coefs_")
    model.set_params(callbacks=[lambda state: state.epoch == 2])
    assert model.fit(X, y).n_iter_ == 2


def test_scorers_and_callbacks_see_the_network_of_this_fit_not_of_the_last():
    sizes = []
    model = model_of().fit(X, y).set_params(
        early_stopping=True, scoring="f1", hidden_layer_sizes=(3,), activation=["elu"],
        callbacks=[lambda state: sizes.append(state.estimator.coefs_[0].shape)],
    ).fit(X[:, :5], y)  # fmt: skip
    assert sizes == [(5, 3)] * model.n_iter_


@pytest.mark.parametrize("restores", [False, True])
def test_the_weights_of_the_best_epoch_or_of_the_last(restores):
    scores = iter([1, 2, 5, 3, 4, 1, 2, 3, 4])
    model = model_of(
        early_stopping=True, restore_best_weights=restores,
        scoring=lambda *args: next(scores),
    ).fit(X[:150], y[:150], X_val=X[150:], y_val=y[150:])  # fmt: skip
    plain = model_of(max_iter=3 if restores else 9).fit(X[:150], y[:150])
    np.testing.assert_equal(model.coefs_, plain.coefs_)
    assert (model.best_validation_score_, model.n_iter_) == (5, 9)


@pytest.mark.parametrize(
    ("settings", "n_rows"),
    [({}, 203), ({"batch_size": 1}, 60_000), ({"solver": "lbfgs"}, 20_000)],
    ids=["epochs", "middle of an epoch", "lbfgs"],
)
def test_a_limit_of_time_ends_a_fit_soon(settings, n_rows):
    rng = np.random.default_rng(0)
    data = rng.standard_normal((n_rows, 5)), rng.integers(0, 2, n_rows)
    settings = {
        "max_iter": 10**6, "max_fun": 10**6, "tol": 0.0, "n_iter_no_change": np.inf,
        **settings,
    }  # fmt: skip
    model_of(**{**settings, "max_iter": 1}).fit(data[0][:99], data[1][:99])
    started = time.perf_counter()
    with pytest.warns(ConvergenceWarning, match="time_limit of 0.2 seconds"):
        model = model_of(**settings, time_limit=0.2).fit(*data)
    assert 0.2 <= time.perf_counter() - started < 3
    assert model.predict(data[0]).shape == (n_rows,)


def test_partial_fit_takes_no_notice_of_a_limit_of_time():
    limited, whole = model_of(time_limit=1e-9, batch_size=1), model_of(batch_size=1)
    for model in (limited, whole):
        model.partial_fit(X, y, classes=[0, 1])
    np.testing.assert_equal(learnt(limited), learnt(whole))


@pytest.mark.parametrize("early_stopping", [False, True])
def test_progress_shows_a_live_line(capfd, early_stopping):
    pytest.importorskip("tqdm")
    model_of(verbose="progress", early_stopping=early_stopping).fit(X, y)
    output, line = capfd.readouterr()
    assert "9/9" in line
    assert "loss=" in line
    assert "rows/s=" in line
    assert ("validation=" in line) == early_stopping
    assert output == ""


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("verbose", [True, 1, 2, np.True_, "progress"])
def test_lines_are_printed_as_by_scikit_learn(
    verbose, early_stopping, capsys, monkeypatch
):
    settings = {
        "hidden_layer_sizes": (8,), "random_state": 0, "n_iter_no_change": 2,
        "tol": 0.01, "early_stopping": early_stopping,
    }  # fmt: skip
    model = MLPClassifier(precision="float64", verbose=verbose, **settings)
    if verbose == "progress":
        monkeypatch.setitem(sys.modules, "tqdm", None)
        with pytest.warns(UserWarning, match="'progress' needs tqdm"):
            model.fit(X, y)
    else:
        model.fit(X, y)
    ours = capsys.readouterr().out
    neural_network.MLPClassifier(verbose=True, **settings).fit(X, y)
    assert ours == capsys.readouterr().out
    assert "did not improve more than" in ours


@pytest.mark.parametrize("solver", ["adam", "sgd", "rmsprop", "lion"])
def test_fits_that_go_on_know_the_weights_that_are_averaged(solver):
    settings = {"solver": solver, "ema_decay": 0.7, "l1": 0.1, "batch_size": len(X)}
    whole, pieces = model_of(**settings).fit(X, y), model_of(**settings)
    for _ in range(9):
        pieces.partial_fit(X, y, classes=[0, 1])
        pieces = pickle.loads(pickle.dumps(pieces))
    np.testing.assert_equal(pieces.coefs_, whole.coefs_)
    settings |= {"solver": "sgd", "momentum": 0.0, "warm_start": True}
    whole = model_of(**{**settings, "max_iter": 18}).fit(X, y)
    pieces = model_of(**settings).fit(X, y).fit(X, y)
    np.testing.assert_equal(pieces.coefs_, whole.coefs_)
