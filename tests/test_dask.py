"""Training on a dask cluster: the same bits for any workers, close to local fits."""

import os
import pickle
import signal

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits, make_friedman1
from sklearn.metrics import accuracy_score, r2_score

dask = pytest.importorskip("dask", reason="needs dask")
distributed = pytest.importorskip("distributed", reason="needs distributed")
dd = pytest.importorskip("dask.dataframe", reason="needs dask[dataframe]")
da = pytest.importorskip("dask.array", reason="needs dask")

from fastmlp import (  # noqa: E402
    MLPClassifier,
    MLPRegressor,
    TabularMLPClassifier,
    TabularMLPRegressor,
)
from fastmlp.dask import (  # noqa: E402
    DaskMLPClassifier,
    DaskMLPRegressor,
    DaskTabularMLPClassifier,
    DaskTabularMLPRegressor,
)

#: Of sockets that dask leaves to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def processes():
    """A cluster of two processes."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


def digits(n=900):
    X, y = load_digits(return_X_y=True)
    return (X[:n] / 16).astype(np.float32), y[:n]


def in_chunks(array, *sizes):
    """A dask array with chunks of so many rows."""
    chunks = (sizes,) if array.ndim == 1 else (sizes, array.shape[1:])
    return da.from_array(array, chunks=chunks)


def assert_same(one, other):
    """The same bits of weights and moments."""
    one, other = one.to_local(), other.to_local()
    assert one.loss_curve_ == other.loss_curve_
    for a, b in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_,
                    strict=True):  # fmt: skip
        np.testing.assert_array_equal(a, b)
    for name in ("first_moment", "second_moment"):
        for a, b in zip(*(m._optimizer_state[name][0] for m in (one, other)),
                        strict=True):  # fmt: skip
            np.testing.assert_array_equal(a, b)


def test_bits_do_not_depend_on_the_cluster_nor_on_a_worker_that_is_lost(
    client, processes
):
    X, y = digits()
    X, y = in_chunks(X, 400, 200, 300), in_chunks(y, 400, 200, 300)
    settings = {"max_iter": 6, "random_state": 0, "dropout": 0.1, "ema_decay": 0.9}
    settings["rounds_per_epoch"] = 2
    here = DaskMLPClassifier(client=client, **settings).fit(X, y)
    killed = []

    def kill(state):
        if state.epoch == 3:
            pids = processes.run(os.getpid)
            killed.append(pids.popitem()[1])
            os.kill(killed[0], signal.SIGKILL)

    there = DaskMLPClassifier(client=processes, callbacks=[kill], **settings).fit(X, y)
    assert killed
    assert killed[0] not in processes.run(os.getpid).values()
    assert_same(here, there)
    other = DaskMLPClassifier(client=client, **settings | {"random_state": 1})
    assert other.fit(X, y).loss_ != here.loss_


def test_as_good_as_a_local_fit(client):
    X, y = digits(1797)
    settings = {"max_iter": 30, "random_state": 0}
    local = MLPClassifier(**settings).fit(X[:1200], y[:1200])
    model = DaskMLPClassifier(rounds_per_epoch=2, **settings)
    model.fit(in_chunks(X[:1200], 400, 500, 300), in_chunks(y[:1200], 400, 500, 300))
    expected = local.score(X[1200:], y[1200:])
    assert model.score(X[1200:], y[1200:]) > expected - 0.02
    assert model.n_iter_ == local.n_iter_ == 30
    assert model.t_ == local.t_
    assert len(model.loss_curve_) == 30
    assert abs(model.loss_ - local.loss_) < 0.3 * local.loss_


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_one_shard_is_trained_as_locally(client, solver):
    """One round of one shard an epoch: nothing is averaged, and no rate is changed."""
    X, y = digits(300)
    settings = {"max_iter": 5, "random_state": 0, "shuffle": False, "solver": solver}
    local = MLPClassifier(**settings).fit(X, y)
    for n_rounds in (1, 2):
        model = DaskMLPClassifier(rounds_per_epoch=n_rounds, **settings)
        model.fit(in_chunks(X, 300), in_chunks(y, 300))
        assert_same_weights(model, local, rtol=0 if n_rounds == 1 else 1e-5)


def assert_same_weights(model, local, rtol):
    for a, b in zip(model.coefs_, local.coefs_, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


def test_an_average_after_each_step_is_one_step_of_all(client):
    """Plain gradient descent: the mean of steps is the step of the mean."""
    X, y = digits(300)
    settings = {
        "max_iter": 3, "random_state": 0, "shuffle": False, "solver": "sgd",
        "momentum": 0.0, "learning_rate_init": 0.1, "batch_size": 300, "alpha": 10.0,
        "precision": "float64",
    }  # fmt: skip
    weights = np.linspace(0.5, 2, 300)
    local = MLPClassifier(**settings).fit(X, y, weights)
    model = DaskMLPClassifier(rounds_per_epoch="step", **settings)
    sizes = 150, 90, 60
    model.fit(*(in_chunks(array, *sizes) for array in (X, y, weights)))
    assert_same_weights(model, local, rtol=1e-9)


def frames(n=600, seed=0):
    """A table with a category, a missing number and text, and two targets."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({
        "size": rng.normal(50, 20, n),
        "age": np.where(rng.random(n) < 0.1, np.nan, rng.integers(0, 100, n)),
        "city": rng.choice(["Bern", "Basel", "Chur"], n),
        "kind": pd.Categorical(rng.integers(0, 4, n)),
    })  # fmt: skip
    z = X["size"] / 20 + (X["city"] == "Bern") * 2 + np.nan_to_num(X["age"]) / 50
    return X, z, np.where(z > z.median(), "high", "low")


def test_arrays_in_and_out(client):
    """Unequal and empty chunks, a class that is missing in some, two targets."""
    X, y = digits(600)
    order = np.argsort(y == 3, kind="stable")  # the last chunk has all of a class
    X, y = X[order], y[order]
    names = np.array([f"digit {label}" for label in y])
    sizes = 200, 0, 330, 70
    collections = [in_chunks(a, *sizes) for a in (X, names, np.ones(600))]
    model = DaskMLPClassifier(max_iter=8, random_state=0).fit(*collections)
    assert model.classes_.tolist() == np.unique(names).tolist()
    lazy, local = model.predict(collections[0]), model.to_local()
    assert type(local) is MLPClassifier
    assert isinstance(lazy, da.Array)
    assert (lazy.chunks, lazy.dtype) == ((sizes,), local.classes_.dtype)
    np.testing.assert_array_equal(lazy.compute(), local.predict(X))
    lazy = model.predict_proba(collections[0])
    assert (lazy.chunks, lazy.dtype) == ((sizes, (10,)), np.float32)
    np.testing.assert_array_equal(lazy.compute(), local.predict_proba(X))
    np.testing.assert_array_equal(model.predict(X), local.predict(X))
    weights = np.linspace(0, 1, 600)
    expected = accuracy_score(names, local.predict(X), sample_weight=weights)
    found = model.score(*collections[:2], in_chunks(weights, *sizes))
    assert found == pytest.approx(expected)

    Y = np.column_stack([y, -y]).astype(float)
    regressor = DaskMLPRegressor(max_iter=4, standardize=True, random_state=0)
    regressor.fit(collections[0].astype(float), in_chunks(Y, *sizes))
    lazy = regressor.predict(collections[0])
    assert lazy.chunks == (sizes, (2,))
    expected = regressor.predict(X)
    np.testing.assert_array_equal(lazy.compute(), expected)
    found = regressor.score(collections[0], in_chunks(Y, *sizes))
    assert found == pytest.approx(r2_score(Y, expected))
    several = in_chunks(np.column_stack([y > 4, y % 2 == 0]).astype(int), *sizes)
    model = DaskMLPClassifier(max_iter=2, random_state=0).fit(collections[0], several)
    assert model.predict(collections[0]).compute().shape == (600, 2)
    assert 0 <= model.score(collections[0], several) <= 1


def test_scales_and_class_weights_are_those_of_all_samples(client):
    X, y = make_friedman1(400, random_state=0)
    order = np.argsort(y)  # so that no chunk has the mean of all
    X, y = X[order] * [1, 10, 100, 1, 1, 1, 1, 1, 1, 1], y[order]
    settings = {"max_iter": 1, "standardize": True, "random_state": 0}
    weights = np.linspace(1, 2, 400)
    local = MLPRegressor(**settings).fit(X, y, weights)
    collections = [in_chunks(a, 100, 250, 50) for a in (X, y, weights)]
    model = DaskMLPRegressor(sample_size=50, **settings).fit(*collections)
    for name in ("X_mean_", "X_scale_", "y_mean_", "y_scale_"):
        np.testing.assert_allclose(getattr(model, name), getattr(local, name), 1e-12)
    sparse_X = sparse.random(400, 20, 0.2, format="csr", random_state=0)
    blocks = da.from_array(sparse_X.toarray(), chunks=(200, 20))
    blocks = blocks.map_blocks(sparse.csr_matrix)
    model.fit(blocks, da.from_array(y, chunks=200))
    local = MLPRegressor(**settings).fit(sparse_X, y)
    np.testing.assert_allclose(model.X_scale_, local.X_scale_, 1e-12)
    np.testing.assert_allclose(model.predict(blocks).compute(), model.predict(sparse_X))

    labels = (y > np.quantile(y, 0.9)).astype(int)
    settings = {"max_iter": 1, "shuffle": False, "solver": "sgd", "momentum": 0.0,
                "batch_size": 400, "standardize": True, "random_state": 0}  # fmt: skip
    balanced = MLPClassifier(class_weight="balanced", **settings).fit(X, labels)
    model = DaskMLPClassifier(class_weight="balanced", **settings)
    model.fit(
        in_chunks(X, 100, 300), in_chunks(labels, 100, 300)
    )  # one class in the 1st
    np.testing.assert_allclose(model.coefs_[0], balanced.coefs_[0], 1e-5, 1e-7)
    assert model.to_local().class_weight == "balanced"
    with pytest.warns(UserWarning, match="as if rows were sorted"):
        model.fit(in_chunks(X, 200, 200), in_chunks((y > 14).astype(int), 200, 200))


def test_frames_in_and_out(client):
    X, _, labels = frames()
    X, y = X[["size", "age"]].fillna(0), pd.Series(labels, index=X.index)
    lazy = dd.from_pandas(X, npartitions=3), dd.from_pandas(y, npartitions=3)
    model = DaskMLPClassifier(max_iter=3, random_state=0, n_shards=2).fit(*lazy)
    assert model.feature_names_in_.tolist() == ["size", "age"]
    predicted, local = model.predict(lazy[0]), model.to_local()
    assert isinstance(predicted, dd.Series)
    pd.testing.assert_index_equal(predicted.compute().index, X.index)
    assert predicted.compute().tolist() == local.predict(X).tolist()
    probabilities = model.predict_proba(lazy[0]).compute()
    assert probabilities.columns.tolist() == ["high", "low"]
    np.testing.assert_allclose(probabilities, local.predict_proba(X))
    assert model.score(*lazy) == pytest.approx(local.score(X, y))
    assert model.predict(lazy[0][lazy[0]["size"] < -1e9]).compute().empty


def test_early_stopping_and_validation_sets(client):
    X, y = digits(900)
    collections = in_chunks(X, 300, 600), in_chunks(y, 300, 600)
    settings = {"max_iter": 5, "early_stopping": True, "random_state": 0}
    model = DaskMLPClassifier(**settings).fit(*collections)
    assert len(model.validation_scores_) == 5
    assert model.t_ == 5 * 810  # the rest is held out
    few = DaskMLPClassifier(sample_size=200, **settings).fit(*collections)
    assert 5 * 875 < few.t_ < 5 * 885  # of the sample, a tenth
    held_out = model.set_params(sample_size=100_000).fit(
        *collections, X_val=collections[0][:100], y_val=y[:100]
    )
    assert held_out.t_ == 5 * 900
    assert held_out.best_validation_score_ == held_out.score(X[:100], y[:100])


def test_warm_start_callbacks_copies_and_pickles(client):
    X, y = digits(300)
    collections = in_chunks(X, 150, 150), in_chunks(y, 150, 150)
    kept = []

    def keep(state):
        kept.append(pickle.loads(pickle.dumps(state.estimator)))
        return state.epoch == 2

    model = DaskMLPClassifier(
        client=client, callbacks=[keep], warm_start=True, random_state=0
    )
    model.fit(*collections)
    assert type(kept[-1]) is MLPClassifier
    np.testing.assert_array_equal(kept[-1].predict(X), model.predict(X))
    assert model.fit(*collections).t_ == 4 * 300
    copy = clone(model)
    assert copy.client is client
    assert not hasattr(copy, "classes_")
    model.callbacks = None
    loaded = pickle.loads(pickle.dumps(model))
    assert loaded.client is None
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    fresh = DaskMLPRegressor(alpha=0.5).to_local()
    assert (type(fresh), fresh.alpha) == (MLPRegressor, 0.5)


def test_tables(client):
    """Categories, missing values, a level and a class in one partition only."""
    X, numbers, labels = frames()
    X.loc[X.index[-1:], "city"] = "Visp"
    labels[-30:] = "rare"
    lazy = dd.from_pandas(X, npartitions=4)
    y = dd.from_pandas(pd.Series(labels), npartitions=4)
    settings = {"preset": "fast", "max_iter": 12, "n_members": 2, "random_state": 0}
    shards = {"rounds_per_epoch": 2, "n_shards": 2}
    model = DaskTabularMLPClassifier(**shards, **settings).fit(lazy, y)
    local = TabularMLPClassifier(**settings).fit(X, labels)
    assert model.classes_.tolist() == ["high", "low", "rare"]
    assert type(model.to_local()) is TabularMLPClassifier
    assert model.to_local().summary() == local.summary()
    assert model.oof_decision_function_.shape == (600, 3)
    assert model.score(lazy, y) > local.score(X, labels) - 0.05
    probabilities = model.predict_proba(lazy).compute()
    np.testing.assert_array_equal(probabilities, model.predict_proba(X))
    quick = settings | {"rounds_per_epoch": 1, "max_iter": 4}
    few = DaskTabularMLPClassifier(sample_size=100, **quick).fit(lazy, y)
    assert few.classes_.tolist() == ["high", "low", "rare"]
    assert not hasattr(few, "oof_decision_function_")

    targets = dd.from_pandas(numbers, npartitions=4)
    settings |= {"rounds_per_epoch": 1, "n_shards": 2, "sample_size": 300}
    regressor = DaskTabularMLPRegressor(**settings).fit(lazy, targets)
    assert regressor.score(lazy, targets) > 0.8
    np.testing.assert_allclose(regressor._center, numbers.mean())
    np.testing.assert_allclose(regressor._scale, numbers.std(ddof=0))
    assert regressor._highest == numbers.max()
    assert isinstance(regressor.to_local(), TabularMLPRegressor)
    again = DaskTabularMLPRegressor(**settings).fit(lazy, targets)
    np.testing.assert_array_equal(again.predict(X), regressor.predict(X))


def test_errors(client):
    X, y = digits(100)
    lazy = in_chunks(X, 50, 50), in_chunks(y, 50, 50)
    with pytest.raises(TypeError, match="X must be a dask array or data frame, not nd"):
        DaskMLPClassifier().fit(X, y)
    with pytest.raises(TypeError, match=r"y must be .*from_array\(y"):
        DaskMLPClassifier().fit(lazy[0], y)
    with pytest.raises(ValueError, match="X has 100 rows, and y has 50"):
        DaskMLPClassifier().fit(lazy[0], lazy[1][:50])
    frame = dd.from_pandas(pd.DataFrame(X), npartitions=3)
    with pytest.raises(ValueError, match="X has 3 partitions, and y has 2"):
        DaskMLPClassifier().fit(frame, lazy[1])
    with pytest.raises(ValueError, match=r"a partition of X has 3\d rows, and that of"):
        DaskMLPClassifier().fit(frame, in_chunks(y, 50, 20, 30))
    with pytest.raises(ValueError, match="no samples"):
        DaskMLPClassifier().fit(lazy[0][:0], lazy[1][:0])
    with pytest.raises(ValueError, match=r"lbfgs.*all samples"):
        DaskMLPClassifier(solver="lbfgs").fit(*lazy)
    with pytest.raises(ValueError, match="checkpoint is not supported"):
        DaskMLPClassifier(checkpoint="file").fit(*lazy)
    with pytest.raises(ValueError, match="tune is not supported"):
        DaskTabularMLPClassifier(tune=True).fit(*lazy)
    with pytest.raises(ValueError, match="'rounds_per_epoch' parameter"):
        DaskMLPClassifier(rounds_per_epoch=0).fit(*lazy)
    bad = X.copy()
    bad[70, 3] = np.nan
    model = DaskMLPClassifier(max_iter=1).fit(*lazy)
    with pytest.raises(ValueError, match=r"NaN.*column 3"):
        model.set_params(sample_size=2).fit(in_chunks(bad, 50, 50), lazy[1])
    assert model.predict(X).shape == (100,)  # as it was


def test_without_a_client(monkeypatch):
    def fail():
        raise ValueError

    monkeypatch.setattr("fastmlp.dask.estimator.default_client", fail)
    with pytest.raises(ValueError, match="needs a cluster: make a client first"):
        _ = DaskMLPClassifier().client_
