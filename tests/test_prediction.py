"""Prediction of a few rows: buffers that are used again, and the predictor."""

import copy
import pickle
import threading

import numpy as np
import pytest
from data import random_network
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import fastmlp
from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.engine.jobs import PredictionJob, ReusableJob
from fastmlp.engine.network import Network
from fastmlp.engine.threads import Team

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 30))


def fitted(n_classes=3, dtype=np.float64, **settings):
    y = np.arange(len(X)) % n_classes
    settings = {"max_iter": 3, "random_state": 0, **settings}
    return MLPClassifier((25, 9), **settings).fit(X.astype(dtype), y)


def test_written_weights_count():
    model = fitted()
    before = model.predict_proba(X)
    model.coefs_[1][3, 2] += 1.0
    changed = model.predict_proba(X)
    assert (before != changed).any()
    model.coefs_[1][3, 2] -= 1.0
    model.intercepts_ = [b.astype(np.float32) for b in model.intercepts_]
    model.coefs_ = [np.asfortranarray(w) for w in model.coefs_]
    np.testing.assert_allclose(model.predict_proba(X), before, rtol=1e-6)
    model.coefs_ = [np.repeat(w, 2, axis=1)[:, ::2] for w in model.coefs_]
    np.testing.assert_allclose(model.predict_proba(X), before, rtol=1e-6)
    model.coefs_[0] = model.coefs_[0][:-1]
    with pytest.raises(ValueError, match="shape"):
        model.predict_proba(X)


def test_prediction_leaves_nothing_behind():
    model = fitted()
    attributes = set(vars(model))
    size = len(pickle.dumps(model))
    model.predict(X)
    assert set(vars(model)) == attributes
    assert len(pickle.dumps(model)) == size
    assert vars(clone(model)).keys() == vars(MLPClassifier()).keys()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layouts_of_few_rows(dtype):
    model = fitted(dtype=dtype)
    rows = X.astype(dtype)
    expected = model.predict_proba(rows)
    assert expected.dtype == dtype
    wide = np.zeros((2 * len(X), 40), dtype)
    wide[::2, 5:35] = rows
    for same in (np.asfortranarray(rows), wide[::2, 5:35], csr_array(rows)):
        np.testing.assert_array_equal(model.predict_proba(same), expected)
    swapped = rows.astype(rows.dtype.newbyteorder())
    np.testing.assert_allclose(model.predict_proba(swapped), expected, rtol=1e-6)
    for i in range(3):
        row = model.predict_proba(rows[i : i + 1])
        np.testing.assert_array_equal(row, expected[i : i + 1])


def test_what_validation_would_refuse_is_refused():
    model = fitted()
    for bad, message in (
        (np.full((1, 30), np.nan), "NaN"),
        (np.full((2, 30), np.inf), "infinity"),
        (X[:, :-1], "features"),
        (X[0], "2D"),
        (X[:0], "0 sample"),
        (np.zeros((1, 1, 30)), "dim"),
    ):
        with pytest.raises(ValueError, match=message):
            model.predict_proba(bad)


@pytest.mark.parametrize("fast", [False, True])
def test_many_threads_predict_with_one_model(fast):
    model = fitted()
    expected = model.predict_proba(X)
    predict = model.predictor() if fast else model.predict_proba
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(200):
            rows = rng.integers(0, len(X), rng.integers(1, 5))
            if not np.array_equal(predict(X[rows]), expected[rows]):
                wrong.append(rows)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_predictor_of_a_classifier(n_classes, precision):
    model = fitted(n_classes, precision=precision)
    predict = model.predictor()
    expected = model.predict_proba(X)
    np.testing.assert_array_equal(predict(X), expected)
    np.testing.assert_array_equal(predict(X[7]), expected[7])
    np.testing.assert_array_equal(predict(X[::2]), expected[::2])
    np.testing.assert_array_equal(predict(X.tolist()), expected)
    integers = np.ones((1, 30), int)
    np.testing.assert_array_equal(
        predict(integers), model.predict_proba(integers.astype(float))
    )


@pytest.mark.parametrize("n_targets", [1, 2])
def test_predictor_of_a_regressor(n_targets):
    y = X[:, :n_targets] if n_targets > 1 else X[:, 0]
    model = MLPRegressor(hidden_layer_sizes=(8,), max_iter=3, random_state=0).fit(X, y)
    predict = model.predictor()
    np.testing.assert_array_equal(predict(X), model.predict(X))
    np.testing.assert_array_equal(predict(X[3]), model.predict(X)[3])


def test_predictor_is_of_now():
    model = fitted()
    predict = model.predictor()
    before = predict(X)
    model.set_params(max_iter=9).fit(X, np.arange(len(X)) % 4)
    np.testing.assert_array_equal(predict(X), before)


def test_predictor_says_what_is_wrong():
    predict = fitted().predictor()
    for bad in (X[:, :-1], X[0, :-1], np.zeros((1, 1, 30)), 1.0):
        with pytest.raises(ValueError, match=r"expected \(n_samples, 30\)"):
            predict(bad)
    with pytest.raises(NotFittedError):
        fastmlp.MLPEstimator().predictor()


def test_a_predictor_can_be_copied_and_a_job_cannot():
    predict = fitted().predictor()
    expected = predict(X)
    for another in (pickle.loads(pickle.dumps(predict)), copy.deepcopy(predict)):
        np.testing.assert_array_equal(another(X), expected)
    job = PredictionJob(
        Network((3, 2), "float32"), np.zeros((1, 3)), activation="relu",
        output_activation="identity",
    )  # fmt: skip
    with pytest.raises(TypeError, match="pickle the estimator"):
        pickle.dumps(job)


@pytest.mark.parametrize("fitted_on", [np.float32, np.float64])
@pytest.mark.parametrize("asked_with", [np.float32, np.float64])
def test_predictor_gives_the_same_numbers_and_dtype(fitted_on, asked_with):
    model = fitted(dtype=fitted_on)
    rows = X.astype(asked_with)
    fast, plain = model.predictor()(rows), model.predict_proba(rows)
    assert fast.dtype == plain.dtype
    np.testing.assert_array_equal(fast, plain)
    model.coefs_ = [np.round(w * 4).astype(np.float16) for w in model.coefs_]
    np.testing.assert_array_equal(model.predictor()(rows), model.predict_proba(rows))


def test_weights_without_a_fit():
    """The attributes that prediction needs, set by hand, are enough."""
    model = MLPRegressor()
    model.coefs_, model.intercepts_ = [np.ones((2, 1))], [np.zeros(1)]
    model.n_layers_, model.n_outputs_, model.out_activation_ = 2, 1, "identity"
    np.testing.assert_array_equal(model.predict([[1.0, 2.0]]), [3.0])
    np.testing.assert_array_equal(model.predict(np.array([[1.0, 2.0]])), [3.0])


def test_an_estimator_that_cannot_be_hashed():
    class Equal(MLPClassifier):
        __hash__ = None

    model = Equal((5,), max_iter=1).fit(X, np.arange(len(X)) % 3)
    assert model.predict(X).shape == (len(X),)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_job_is_used_again_for_few_rows_and_many(dtype):
    network = Network((30, 9, 2), "float32")
    network.write(*random_network((30, 9, 2)))
    settings = {"activation": "tanh", "output_activation": "identity", "dtype": dtype}
    job = ReusableJob(network, 4, dtype, **settings)
    rows = X.astype(dtype)
    with Team(1) as alone:
        expected = PredictionJob(network, rows, **settings).run(alone)
    results = []
    for n in (1, 4, 3, 60, 2, 5, 1):
        results.append(job.outputs_for(rows[:n]))
        results.append(job.outputs_for(rows[-n:]))
        np.testing.assert_array_equal(results[-2], expected[:n])
        np.testing.assert_array_equal(results[-1], expected[-n:])
    np.testing.assert_array_equal(results[0], expected[:1])  # nobody has changed it
    strided = np.repeat(rows[:4], 2, axis=1)[::-1, ::2]
    np.testing.assert_array_equal(job.outputs_for(strided), expected[3::-1])


def test_a_job_looks_only_at_what_kernels_can_read():
    network = Network((3, 2), "float32")
    job = ReusableJob(
        network, 1, "float64", activation="relu", output_activation="identity"
    )
    for bad in (
        np.zeros((3, 3)).T[:, :2],
        np.zeros((2, 4)),
        np.zeros((1, 4)),
        np.zeros((2, 3), int),
        np.zeros((4, 3))[::2],
        np.zeros((2, 3), ">f8"),
        np.zeros(3),
    ):
        with pytest.raises(ValueError, match=r"contiguous|features"):
            job.outputs_for(bad)
