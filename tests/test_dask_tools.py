"""Tools that are there already, on a dask cluster: joblib's backend and dask-ml."""

import warnings

import joblib
import numpy as np
import pytest
import sklearn.model_selection
from sklearn.datasets import load_iris
from sklearn.linear_model import SGDClassifier

import fastmlp.model_selection
from fastmlp import MLPClassifier, MLPRegressor

distributed = pytest.importorskip("distributed", reason="needs distributed")
da = pytest.importorskip("dask.array", reason="needs dask")

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def dask_ml():
    """The package, if it can be imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import dask_ml.model_selection
            import dask_ml.wrappers
        except ImportError as error:
            pytest.skip(f"needs dask-ml: {error}")
    return dask_ml


def iris():
    X, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    return X[order], y[order]


@pytest.mark.parametrize("room", [sklearn.model_selection, fastmlp.model_selection])
def test_searches_within_the_backend_of_joblib(client, room):
    X, y = iris()
    search = room.GridSearchCV(
        MLPClassifier(max_iter=20, random_state=0), {"alpha": [1e-4, 10.0]}, cv=2
    )
    expected = search.fit(X, y).cv_results_["mean_test_score"]
    with joblib.parallel_config("dask"):
        found = search.fit(X, y).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("ignore")
def test_wrappers_of_dask_ml(client, dask_ml):
    """`Incremental` is partial_fit of each block in turn, and predicts lazily."""
    X, y = iris()
    lazy = da.from_array(X, chunks=(50, 4)), da.from_array(y, chunks=50)
    model = MLPClassifier(random_state=0)
    wrapped = dask_ml.wrappers.Incremental(
        model, assume_equal_chunks=True, shuffle_blocks=False
    )
    wrapped.fit(*lazy, classes=[0, 1, 2])
    for start in (0, 50, 100):
        rows = slice(start, start + 50)
        model.partial_fit(X[rows], y[rows], classes=[0, 1, 2])
    np.testing.assert_array_equal(wrapped.estimator_.coefs_[0], model.coefs_[0])
    np.testing.assert_array_equal(wrapped.predict(lazy[0]).compute(), model.predict(X))

    wrapped = dask_ml.wrappers.ParallelPostFit(MLPRegressor(max_iter=5))
    predicted = wrapped.fit(X, y).predict(lazy[0])
    assert isinstance(predicted, da.Array)
    np.testing.assert_allclose(predicted.compute(), wrapped.estimator.predict(X))


@pytest.mark.filterwarnings("ignore")
def test_hyperband_of_dask_ml(client, dask_ml):
    X, y = iris()
    lazy = da.from_array(X, chunks=(50, 4)), da.from_array(y, chunks=50)

    def search(model):
        found = dask_ml.model_selection.HyperbandSearchCV(
            model, {"alpha": [1e-5, 1e-4, 1e-3]}, max_iter=4, random_state=0
        )
        return found.fit(*lazy, classes=[0, 1, 2])

    try:
        search(SGDClassifier())
    except Exception as error:  # not of our estimators
        pytest.skip(f"dask-ml fails with this dask or scikit-learn: {error}")
    found = search(MLPClassifier(learning_rate_init=0.01, random_state=0))
    assert 0 < found.best_score_ <= 1
    assert found.best_estimator_.n_iter_ == 1
