"""Callbacks that are objects, set the learning rate, or ask for gradients."""

import pickle

import numpy as np
import pytest
import reference
from data import problem
from test_checkpoint import Crash, X, crash_at, learnt, model_of, y

from fastmlp import Callback, MLPClassifier, MLPEnsembleClassifier, MLPRegressor


class Diary(Callback):
    """Writes down what it is told."""

    def __init__(self):
        self.lines = []

    def on_train_begin(self, state):
        self.lines.append(("train begins", state.epoch, state.loss))

    def on_epoch_begin(self, state):
        self.lines.append(("begin", state.epoch, state.loss))

    def on_epoch_end(self, state):
        self.lines.append(("end", state.epoch, state.loss))
        return state.epoch == 3

    def on_train_end(self, state):
        self.lines.append(("train ends", state.epoch, state.loss))
        self.final = state.estimator


class Halving(Callback):
    """Divides the rate by 2 where an epoch begins, from the third on."""

    def on_epoch_begin(self, state):
        if state.epoch > 2:
            state.learning_rate = state.learning_rate / 2


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_objects_are_told_of_all_that_happens(solver):
    diary, plain = Diary(), []
    model = model_of(solver=solver, callbacks=[diary, plain.append]).fit(X, y)
    losses = [state.loss for state in plain]
    expected = [("train begins", 0, None)]
    for epoch, loss in enumerate(losses, 1):
        expected += [("begin", epoch, None), ("end", epoch, loss)]
    assert diary.lines == [*expected, ("train ends", 3, losses[-1])]
    np.testing.assert_array_equal(diary.final.predict_proba(X), model.predict_proba(X))
    assert diary.final.callbacks is None
    assert "epoch=3, loss=0." in repr(plain[-1])


def test_any_object_with_one_of_the_methods_will_do():
    class Ends:
        def on_epoch_end(self, state):
            return state.epoch == 2

    assert model_of(callbacks=[Ends()]).fit(X, y).n_iter_ == 2
    for wrong in (Callback, "on_epoch_end", object()):
        with pytest.raises(
            ValueError, match="objects with methods such as on_epoch_en"
        ):
            model_of(callbacks=[wrong]).fit(X, y)
    model = pickle.loads(pickle.dumps(model_of(callbacks=[Halving()]).fit(X, y)))
    assert isinstance(model.callbacks[0], Halving)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_rate_that_is_set_is_that_of_the_steps(solver):
    rates = []
    settings = {"solver": solver, "learning_rate_init": 0.02}
    factors = [1, 1, 0.5, 0.25, 0.125, *[0.5**k for k in range(4, 8)]]
    look = rates.append
    model = model_of(
        **settings, callbacks=[Halving(), lambda state: look(state.learning_rate)]
    ).fit(X, y)
    np.testing.assert_allclose(rates, 0.02 * np.array(factors))
    same = model_of(
        **settings, learning_rate=lambda done: factors[int(9 * done + 1e-9)]
    )
    np.testing.assert_array_equal(model.coefs_[0], same.fit(X, y).coefs_[0])
    for n_jobs in (1, 3):
        again = model_of(**settings, callbacks=[Halving()], n_jobs=n_jobs).fit(X, y)
        np.testing.assert_array_equal(model.coefs_[1], again.coefs_[1])
    # what is continued, continues with it
    model.set_params(callbacks=None).partial_fit(X, y)
    assert model._optimizer_state["learning_rate"] == rates[-1]


def test_a_checkpoint_has_the_rate(tmp_path):
    settings = {"learning_rate_init": 0.02}
    whole = model_of(**settings, callbacks=[Halving()]).fit(X, y)
    model = model_of(tmp_path / "file", **settings)
    with pytest.raises(Crash):
        model.set_params(callbacks=[Halving(), crash_at(6)]).fit(X, y)
    model.set_params(callbacks=[Halving()]).fit(X, y)
    np.testing.assert_equal(model.coefs_, whole.coefs_)


def test_a_rate_that_has_no_effect_is_refused():
    def set_to(rate):
        def set_it(state):
            state.learning_rate = rate

        return set_it

    before = model_of().fit(X, y)
    attributes = learnt(before)
    for settings, rate, message in (
        ({"solver": "lbfgs"}, 0.1, "solver='lbfgs' has none"),
        ({"learning_rate": "cosine"}, 0.1, "learning_rate='cosine' gives the rate"),
        ({"solver": "sgd", "learning_rate": "invscaling"}, 0.1, "='invscaling' gives"),
        ({"learning_rate": lambda done: 1.0}, 0.1, "learning_rate='callable' gives"),
        ({}, -0.1, "must be finite and >= 0, got -0.1"),
        ({}, np.nan, "must be finite and >= 0, got nan"),
        ({}, "small", "must return a number"),
    ):
        before.set_params(**{"solver": "adam", "learning_rate": "constant", **settings})
        with pytest.raises(ValueError, match=message):
            before.set_params(callbacks=[set_to(rate)]).fit(X, y)
        np.testing.assert_equal(learnt(before), attributes)
    states = []
    model_of(solver="lbfgs", callbacks=[states.append]).fit(X, y)
    assert states[0].learning_rate is None
    with pytest.raises(
        AttributeError, match=r"epoch 1 is over: set state\.learning_rate"
    ):
        states[0].learning_rate = 0.1


def norms_in_numpy(model, X, y):
    """Of an MLPClassifier for two classes with tanh and alpha."""
    parameters = [*zip(model.coefs_, model.intercepts_, strict=True)]
    layers = [X]
    for w, b in parameters[:-1]:
        layers.append(np.tanh(layers[-1] @ w + b))
    z = layers[-1] @ parameters[-1][0] + parameters[-1][1]
    d = reference.OUTPUT_ACTIVATIONS["logistic"](z) - y[:, np.newaxis]
    norms = []
    for (w, _), a in zip(parameters[::-1], layers[::-1], strict=True):
        gradient = (a.T @ d + model.alpha * w) / len(X)
        norms.append(np.sqrt((gradient**2).sum() + (d.mean(axis=0) ** 2).sum()))
        d = (d @ w.T) * (1 - a**2)
    return norms[::-1]


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_norms_of_gradients(solver):
    found, expected = [], []

    def look(state):
        found.append(state.gradient_norms)
        expected.append(norms_in_numpy(state.estimator, X, y))

    settings = {"solver": solver, "activation": "tanh", "precision": "float64",
                "alpha": 0.5, "max_iter": 4}  # fmt: skip
    dropout = {} if solver == "lbfgs" else {"dropout": 0.2}
    model = model_of(**settings, **dropout, callbacks=[look]).fit(X, y)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert found[0].shape == (3,)
    plain = model_of(**settings, **dropout).fit(X, y)
    np.testing.assert_array_equal(model.coefs_[0], plain.coefs_[0])
    states = []
    model_of(callbacks=[states.append], max_iter=1).fit(X, y)
    with pytest.raises(AttributeError, match=r"ask for state\.gradient_norms within"):
        states[0].gradient_norms  # noqa: B018


def test_norms_of_the_samples_that_are_trained_on():
    norms = []
    settings = {"early_stopping": True, "max_iter": 2, "loss": "huber", "l1": 0.01,
                "standardize": True, "ema_decay": 0.5}  # fmt: skip
    _, A, b = problem("regression")
    MLPRegressor(
        **settings, callbacks=[lambda state: norms.append(state.gradient_norms)],
        random_state=0,
    ).fit(A, b)  # fmt: skip
    assert np.shape(norms) == (2, 2)
    assert np.isfinite(norms).all()


def test_members_of_an_ensemble_have_their_own_rates():
    seen = []
    model = MLPEnsembleClassifier(
        (5,), n_estimators=2, max_iter=4, n_jobs=2, random_state=0,
        callbacks=[Halving(), lambda state: seen.append(state.learning_rate)],
    ).fit(X, y)  # fmt: skip
    assert sorted(seen) == sorted([0.001, 0.001, 0.0005, 0.00025] * 2)
    alone = MLPClassifier(
        (5,), max_iter=4, callbacks=[Halving()],
        random_state=model.estimators_[1].random_state,
    ).fit(X, y)  # fmt: skip
    np.testing.assert_array_equal(alone.coefs_[0], model.estimators_[1].coefs_[0])
