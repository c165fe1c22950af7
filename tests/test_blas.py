"""The solver lbfgs: BLAS on one thread while it runs, and as before afterwards."""

import threading

import numpy as np
import pytest
from sklearn.model_selection import KFold
from threadpoolctl import threadpool_info, threadpool_limits

from fastmlp import MLPEnsembleRegressor, MLPRegressor
from fastmlp.model_selection import GridSearchCV
from fastmlp.training.blas import one_thread_of_blas

X = np.random.default_rng(0).standard_normal((60, 50))
Y = X[:, 0] * X[:, 1]
SMALL = {"hidden_layer_sizes": (4,), "max_iter": 3, "max_fun": 3, "random_state": 0}


def threads():
    """Those of each BLAS."""
    return {e["num_threads"] for e in threadpool_info() if e["user_api"] == "blas"}


@pytest.fixture
def two_threads():
    with threadpool_limits(2, user_api="blas"):
        if threads() != {2}:
            pytest.skip("no BLAS whose threads can be set")
        yield


def ensemble(**parameters):
    return MLPEnsembleRegressor(n_estimators=3, n_jobs=2, **parameters)


def search(**parameters):
    grid = {"solver": ["adam", "lbfgs"], "max_fun": [3, 4]}
    model = MLPRegressor(**parameters)
    return GridSearchCV(model, grid, cv=KFold(2), n_jobs=2, refit=False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model_of", [MLPRegressor, ensemble, search])
def test_fits_by_lbfgs_have_one_thread(model_of, two_threads):
    seen = []

    def note(state):
        seen.append(threads())

    model_of(solver="lbfgs", callbacks=[note], **SMALL).fit(X, Y)
    assert seen
    assert all(each == {1} for each in seen)
    assert threads() == {2}


@pytest.mark.filterwarnings("ignore")
def test_others_leave_blas_as_it_is(two_threads):
    seen = []
    model = MLPRegressor(callbacks=[lambda state: seen.append(threads())], **SMALL)
    GridSearchCV(model, {"alpha": [0.1]}, cv=2, refit=False).fit(X, Y)
    assert set(map(frozenset, seen)) == {frozenset({2})}


def test_who_comes_later_changes_nothing(two_threads):
    """The limit holds until the one that set it leaves, and is not set again."""

    def come_and_go():
        with one_thread_of_blas():
            inside.append(threads())

    inside = []
    with one_thread_of_blas():
        other = threading.Thread(target=come_and_go)
        other.start()
        other.join()
        inside.append(threads())
    assert inside == [{1}, {1}]
    assert threads() == {2}


@pytest.mark.filterwarnings("ignore")
def test_weights_do_not_depend_on_the_threads_of_blas(two_threads):
    """Of 24,000 parameters: OpenBLAS adds up so many on several threads."""
    model = MLPRegressor(
        hidden_layer_sizes=(480,), solver="lbfgs", max_iter=20, random_state=0
    )
    two = model.fit(X, Y).coefs_
    with threadpool_limits(1, user_api="blas"):
        one = model.fit(X, Y).coefs_
    assert [w.tobytes() for w in one] == [w.tobytes() for w in two]
