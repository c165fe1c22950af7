"""Sparse input: right, the same bits as dense input, and never made dense."""

import tracemalloc
import warnings
from itertools import pairwise

import numpy as np
import pytest
import reference
import scipy.sparse
from data import random_network, random_targets, training_job
from hypothesis import given
from hypothesis import strategies as st

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.engine import jobs
from fastmlp.engine.jobs import PredictionJob
from fastmlp.engine.network import Network
from fastmlp.engine.threads import Team

ADAM = {"rate": 0.01, "beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-8}


def random_sparse(n_samples, n_features, density=0.2, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_samples, n_features)).astype(dtype)
    X[rng.uniform(size=X.shape) > density] = 0
    return scipy.sparse.csr_array(X)


def predict(network, X, n_threads=1, **settings):
    job = PredictionJob(
        network, X, activation="tanh", output_activation="softmax",
        n_threads=n_threads, **settings,
    )  # fmt: skip
    with Team(n_threads) as team:
        return job.run(team)


@given(
    st.lists(st.integers(1, 60), min_size=2, max_size=4).map(tuple),
    st.integers(1, 70),
    st.sampled_from([0.0, 0.03, 0.5, 1.0]),
    st.integers(1, 3),
    st.sampled_from(["identity", "logistic", "relu", "tanh"]),
)
def test_gradient_against_the_reference(
    units, n_samples, density, n_threads, activation
):
    X = random_sparse(n_samples, units[0], density)
    y = random_targets("squared_error", n_samples, units[-1])
    coefs, intercepts = random_network(units)
    weights = np.random.default_rng(1).uniform(0.1, 2, n_samples)
    common = {"activation": activation, "loss": "squared_error", "l2": 0.3}
    job = training_job(
        units, X, y, coefs, intercepts, sample_weight=weights, n_threads=n_threads,
        batch_size=min(n_samples, 32), **common,
    )  # fmt: skip
    with Team(n_threads) as team:
        loss = job.run(team, 0, job.n_steps) / n_samples
    arguments = (X.toarray(), y, coefs, intercepts)
    expected = reference.loss_of(*arguments, weights=weights, **common)
    assert loss == pytest.approx(expected, rel=1e-10)
    expected = reference.gradient_of(*arguments, weights=weights, **common)
    result = job.network.read(array="gradient")
    for arrays, references in zip(result, expected, strict=True):
        for array, exact in zip(arrays, references, strict=True):
            scale = max(1, np.abs(exact).max())
            np.testing.assert_allclose(array, exact, rtol=0, atol=1e-11 * scale)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("units", [(50, 7, 3), (30, 2), (33, 70, 30, 2), (1, 1)])
def test_same_bits_as_dense_input_for_any_number_of_threads(
    units, precision, dtype, monkeypatch
):
    monkeypatch.setattr(jobs, "strips_of", lambda *_: 0)  # which sparse X never is
    X = random_sparse(203, units[0], 0.1, dtype=dtype)
    y = random_targets("squared_error", 203, units[-1])
    results = set()
    for data, n_threads in ((X, 1), (X, 2), (X, 3), (X.toarray(), 2)):
        job = training_job(
            units, data, y, *random_network(units), dtype=precision, l2=0.1,
            optimizer="adam", batch_size=32, activation="tanh", n_threads=n_threads,
        )  # fmt: skip
        with Team(n_threads) as team:
            for epoch in range(3):
                job.order[:] = np.random.default_rng(epoch).permutation(203)
                updates = epoch * job.n_steps
                loss = job.run(team, 0, job.n_steps, n_updates=updates, **ADAM)
        outputs = predict(job.network, data, n_threads)
        assert outputs.dtype == dtype
        parameters = job.network.arena.arrays["parameters"]
        results.add((loss, parameters.tobytes(), outputs.tobytes()))
    assert len(results) == 1


def test_a_row_is_predicted_the_same_in_any_batch():
    units = (40, 50, 4)
    network = Network(units, "float32")
    network.write(*random_network(units))
    X = random_sparse(517, 40)
    whole = predict(network, X)
    for rows in (slice(0, 1), slice(5, 12), slice(100, 517)):
        np.testing.assert_array_equal(predict(network, X[rows]), whole[rows])
    np.testing.assert_array_equal(predict(network, X, 3), whole)
    np.testing.assert_array_equal(predict(network, X.toarray()), whole)
    np.testing.assert_array_equal(predict(network, X.tocsc()), whole)
    backwards = X.copy()
    for start, end in pairwise(X.indptr):
        backwards.indices[start:end] = X.indices[start:end][::-1]
        backwards.data[start:end] = X.data[start:end][::-1]
    backwards.has_sorted_indices = False
    np.testing.assert_array_equal(predict(network, backwards), whole)
    some = np.array([3, 500, 77, 77])
    np.testing.assert_array_equal(predict(network, X, samples=some), whole[some])


def entangled(X):
    """The same matrix with its entries out of order, and some in two parts."""
    X = X.tocoo()
    row, column = np.tile(X.coords, 2)
    order = np.random.default_rng(0).permutation(len(row))
    data = np.concatenate([0.25 * X.data, 0.75 * X.data])[order]
    starts = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=X.shape[0]))])
    by_row = np.argsort(row[order], kind="stable")
    indices = column[order][by_row]
    return scipy.sparse.csr_array((data[by_row], indices, starts), shape=X.shape)


@pytest.mark.parametrize(
    "convert",
    [
        scipy.sparse.csr_matrix,
        scipy.sparse.csc_matrix,
        scipy.sparse.csc_array,
        scipy.sparse.coo_array,
        scipy.sparse.lil_array,
        lambda X: scipy.sparse.csr_array(
            (X.data, X.indices.astype(np.int64), X.indptr.astype(np.int64)), X.shape
        ),
        entangled,
    ],
    ids=["csr_matrix", "csc_matrix", "csc", "coo", "lil", "int64", "entangled"],
)  # fmt: skip
def test_formats(convert):
    X = random_sparse(120, 30)
    y = np.arange(120) % 3
    settings = {"max_iter": 5, "random_state": 0, "precision": "float64"}
    expected = MLPClassifier(**settings).fit(X.toarray(), y)
    model = MLPClassifier(**settings).fit(convert(X), y)
    np.testing.assert_allclose(model.loss_curve_, expected.loss_curve_, rtol=1e-12)
    np.testing.assert_allclose(
        model.predict_proba(convert(X)), expected.predict_proba(X.toarray()), rtol=1e-12
    )


def test_the_input_is_left_as_it_was():
    X = entangled(random_sparse(50, 20))
    before = X.copy()
    for array in (X.data, X.indices, X.indptr):
        array.flags.writeable = False
    MLPRegressor(max_iter=2).fit(X, np.arange(50.0)).predict(X)
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(X, name), getattr(before, name))


def test_rows_columns_and_matrices_without_entries():
    thin = random_sparse(60, 30, 0.05).tolil()
    thin[::3] = 0
    thin[:, ::2] = 0
    for X in (thin.tocsr(), scipy.sparse.csr_array((60, 30))):
        settings = {"max_iter": 3, "random_state": 0}
        y = np.arange(60.0)
        sparse, dense = (MLPRegressor(**settings).fit(d, y) for d in (X, X.toarray()))
        np.testing.assert_allclose(sparse.loss_curve_, dense.loss_curve_, rtol=1e-6)


def broken(X, **arrays):
    X = X.copy()
    for name, array in arrays.items():
        setattr(X, name, array)
    return X


def test_invalid_matrices_are_refused():
    X = random_sparse(10, 5)
    network = Network((5, 2), "float32")
    for bad in (
        broken(X, indices=X.indices + 5),
        broken(X, indices=X.indices - 5),
        broken(X, indices=X.indices.astype(np.int64) + 2**32),
        broken(X, indptr=X.indptr[::-1].copy()),
        broken(X, indptr=X.indptr[:-1]),
        broken(X, indptr=X.indptr + 1),
        broken(X, data=X.data[:-1]),
    ):
        with pytest.raises(ValueError, match="not a valid matrix in compressed sparse"):
            predict(network, bad)


@pytest.mark.parametrize("garbage", [-1, 2**31 - 1, 10**6])
def test_indices_that_change_during_a_fit_lead_nowhere_else(garbage):
    X = random_sparse(64, 20)
    y = random_targets("squared_error", 64, 1)
    units = (20, 5, 1)
    job = training_job(
        units, X, y, *random_network(units), optimizer="adam", batch_size=16
    )
    prediction = PredictionJob(
        job.network, X, activation="tanh", output_activation="identity"
    )
    assert X.indices.dtype == np.int32  # else they would have been copied
    X.indices[:] = garbage
    X.indptr[:] = 0
    with Team(1) as alone:
        assert np.isfinite(job.run(alone, 0, job.n_steps, **ADAM))
        assert np.isfinite(prediction.run(alone)).all()


def test_nothing_is_made_dense():
    """100 MB would be far too little for a dense X of any kind, or for its gradient."""
    n_samples, n_features = 3000, 50_000
    rng = np.random.default_rng(0)
    X = scipy.sparse.csr_array(
        (
            np.ones(3 * n_samples),
            rng.integers(0, n_features, 3 * n_samples),
            np.arange(0, 3 * n_samples + 1, 3),
        ),
        shape=(n_samples, n_features),
    )
    y = np.arange(n_samples) % 2
    tracemalloc.start()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MLPClassifier((8,), max_iter=1, early_stopping=True).fit(X, y)
        model.set_params(early_stopping=False).partial_fit(X, y)
        model.predict(X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    parameters = 8 * 8 * n_features
    # initial weights, the model, the best one so far, the optimizer's two moments
    assert peak < 8 * parameters
