"""Work in pieces: one alone, many side by side, closed and interrupted."""

import threading
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from processes import run
from sklearn.base import clone

from fastmlp import MLPClassifier, MLPEnsembleClassifier, TabularMLPClassifier
from fastmlp.engine import pieces
from fastmlp.engine.network import Network
from fastmlp.engine.pieces import (
    Failure,
    Pausable,
    finish,
    run_alone,
    side_by_side,
)
from fastmlp.engine.threads import Team, threads_for_prediction

rng = np.random.default_rng(0)
X = rng.standard_normal((400, 13))
y = (X[:, 0] + 0.3 * rng.standard_normal(400) > 0) * 1
WEIGHTS = rng.uniform(0.5, 2, 400)
SETTINGS = [
    {},
    {"solver": "lbfgs"},
    {"early_stopping": True, "random_state": 1},
    {"precision": "float32", "dropout": 0.2},
    {"hidden_layer_sizes": (70, 60, 50), "n_jobs": 3},
    {"solver": "sgd", "hidden_layer_sizes": (30, 20), "max_iter": 20},
    {"early_stopping": True, "scoring": "roc_auc"},
]


def models():
    every = {"hidden_layer_sizes": (9,), "max_iter": 6, "random_state": 0}
    return [MLPClassifier(**every | settings) for settings in SETTINGS]


def bits(model):
    return [array.tobytes() for array in model.coefs_ + model.intercepts_]


@pytest.fixture(autouse=True)
def no_convergence_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def results_of(works, n_threads, **options):
    found = {}
    side_by_side(works, n_threads, found.__setitem__, **options)
    return found


@pytest.mark.parametrize("n_threads", [1, 2, 3, 5])
def test_fits_side_by_side_are_those_alone(n_threads):
    together = models()
    found = results_of((m._pieces_of_fit(X, y) for m in together), n_threads)
    assert [found[i] for i in range(len(found))] == together
    for model, alone in zip(together, models(), strict=True):
        assert bits(model) == bits(alone.fit(X, y))


SEVERAL = {
    "table": TabularMLPClassifier(
        hidden_layer_sizes=(8,), n_members=2, max_iter=4, random_state=0
    ),
    "tuned table": TabularMLPClassifier(
        hidden_layer_sizes=(8,), n_members=2, max_iter=4, random_state=0, tune=2
    ),
    "ensemble": MLPEnsembleClassifier(
        (5,), n_estimators=3, cv=2, selection="greedy", max_iter=4, random_state=0
    ),
    "ensemble by lbfgs": MLPEnsembleClassifier(
        (5,), n_estimators=2, bootstrap=True, solver="lbfgs", random_state=0
    ),
}


def test_fits_of_several_networks_side_by_side_are_those_alone():
    """Their networks train side by side if they are alone, else in turn."""
    alone = [clone(model).fit(X, y).predict_proba(X) for model in SEVERAL.values()]
    for n_threads in (1, 2, 3, 5):
        fitted = [clone(model) for model in SEVERAL.values()]
        works = (
            model._pieces_of_checked_fit(X, y, {}, is_one_of_many=True)
            for model in fitted
        )
        results = results_of(works, n_threads)
        assert {position: results[position] for position in sorted(results)} == dict(
            enumerate(fitted)
        )
        for model, expected in zip(fitted, alone, strict=True):
            assert model.predict_proba(X).tobytes() == expected.tobytes()


@pytest.mark.parametrize("form", [np.asarray, np.float32, sp.csr_matrix])
@pytest.mark.parametrize("settings", [*SETTINGS, {"standardize": True}], ids=str)
def test_rows_of_a_matrix_are_those_rows(form, settings):
    whole = form(X * (abs(X) > 0.5))
    if sp.issparse(whole) and "standardize" in settings:
        settings = {}
    rows = np.flatnonzero(rng.random(len(y)) < 0.7)
    for weights in (None, WEIGHTS[rows]):
        options = {"hidden_layer_sizes": (9,), "max_iter": 6, "random_state": 0}
        expected = MLPClassifier(**options | settings)
        expected.fit(whole[rows], y[rows], weights)
        model = MLPClassifier(**options | settings)
        run_alone(model._pieces_of_fit(whole, y[rows], weights, rows=rows))
        assert bits(model) == bits(expected)
        assert (model.t_, model.n_features_in_) == (expected.t_, 13)


def work(n_pieces, wanted=1, note=lambda team: None):
    for _ in range(n_pieces):
        note((yield wanted))
    return n_pieces


def test_a_work_gets_the_team_that_it_wants():
    sizes = []

    def changing():
        for wanted in (1, 3, 3, 2):
            sizes.append((yield wanted).size)
        return "done"

    assert run_alone(changing()) == "done"
    assert sizes == [1, 3, 3, 2]
    with Team(1) as team:
        assert finish(work(4), team) == 4


def test_the_last_ones_share_the_threads():
    """One each while there are more; a work alone gets all that it wants."""
    sizes = []
    both_run = threading.Barrier(2)

    def short():
        both_run.wait(20)
        yield 9

    def long():
        both_run.wait(20)
        while 2 not in sizes:
            sizes.append((yield 9).size)
        return "shared"

    assert results_of(iter([long(), short()]), 2) == {0: "shared", 1: None}
    assert sizes[-1] == 2
    assert set(sizes) <= {1, 2}


def test_no_more_works_are_made_than_run():
    live, most = set(), []

    def counted(number):
        live.add(number)
        most.append(len(live))
        yield from work(2)
        live.remove(number)

    results_of((counted(i) for i in range(20)), 3)
    assert len(most) == 20
    assert max(most) <= 3


def test_a_failure_is_a_result():
    def failing():
        yield 1
        raise ValueError("no")

    found = results_of(iter([work(3), failing(), work(2)]), 2)
    assert (found[0], found[2]) == (3, 2)
    assert isinstance(found[1], Failure)
    assert str(found[1].error) == "no"


def test_what_makes_works_may_fail():
    def works():
        yield work(1)
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        results_of(works(), 2)


def test_whoever_has_enough_says_so():
    closed, seen = [], []

    def endless():
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    def stop(position, result):
        seen.append((position, result))
        return True

    side_by_side(iter([endless(), work(3), *(work(1) for _ in range(9))]), 2, stop)
    assert seen == [(1, 3)]
    assert closed == [True]


def test_threads_are_prepared_and_predict_alone():
    prepared, threads = [], []
    network = Network((100, 100), "float32")

    def note(team):
        threads.append(threads_for_prediction(None, network, 10**6))

    works = (work(1, note=note) for _ in range(8))
    results_of(works, 2, prepare=lambda: prepared.append(threading.get_ident()))
    assert len(prepared) == 2
    assert set(threads[:6]) == {1}


def test_without_threads_works_come_in_turn(monkeypatch):
    class Alone(Team):
        def __init__(self, size, *how):
            super().__init__(1, *how)

    monkeypatch.setattr(pieces, "Team", Alone)

    def failing():
        yield 1
        raise ValueError

    found = results_of(iter([work(2), failing(), work(1)]), 2)
    assert (found[0], found[2]) == (2, 1)
    assert isinstance(found[1], Failure)


INTERRUPTED = """
import os, signal, sys, threading, time, warnings
import numpy as np
from fastmlp import MLPRegressor
from fastmlp.engine.pieces import side_by_side

warnings.simplefilter("ignore")
X = np.random.default_rng(0).standard_normal((5000, 40)).astype(np.float32)
y = np.sin(X.sum(axis=1))
settings = {"max_iter": 10**6, "max_fun": 10**6, "tol": 0, "n_iter_no_change": 10**6}
endless = [MLPRegressor(solver=solver, **settings) for solver in ("adam", "lbfgs")]
quick = MLPRegressor(hidden_layer_sizes=(5,), max_iter=1)
found = []

def fit(model):
    return model._pieces_of_fit(X, y, is_one_of_many=True)

def note(position, result):
    found.append(position)
    os.kill(os.getpid(), signal.SIGINT)

try:
    side_by_side((fit(m) for m in [*endless, quick]), 3, note)
except KeyboardInterrupt:
    print(found, [hasattr(m, "coefs_") for m in endless], threading.active_count())
"""


def test_an_interrupt_ends_all_that_run(tmp_path):
    assert run(INTERRUPTED, tmp_path) == "[2] [False, False] 1\n"


INTERRUPTED_IN_TURN = """
import os, signal, warnings
import numpy as np
from fastmlp import MLPEnsembleRegressor, MLPRegressor, TabularMLPRegressor
from fastmlp.engine import pieces

class Alone(pieces.Team):  # the system gives no thread
    def __init__(self, size, *how):
        super().__init__(1, *how)

def interrupt(state):
    os.kill(os.getpid(), signal.SIGINT)

def score(known, X, y):
    interrupt(None)
    return 0.0

pieces.Team = Alone
warnings.simplefilter("ignore")
X = np.random.default_rng(0).standard_normal((60, 3))
few = {"hidden_layer_sizes": (4,), "max_iter": 9, "random_state": 0}
asks = {"callbacks": [interrupt], "n_iter_no_change": 99}
for model in (
    MLPRegressor(**few, **asks),
    MLPRegressor(solver="lbfgs", **few, **asks),
    MLPEnsembleRegressor(n_estimators=2, **few, **asks),
    TabularMLPRegressor(n_members=2, scoring=score, **few),
):
    found = []
    fits = (
        model._pieces_of_checked_fit(X, X[:, 0], {}, is_one_of_many=True)
        for _ in range(2)
    )
    try:
        pieces.side_by_side(fits, 2, lambda *result: found.append(result))
    except KeyboardInterrupt:
        print("all", found)
"""


def test_without_threads_an_interrupt_ends_all_as_well(tmp_path):
    assert run(INTERRUPTED_IN_TURN, tmp_path) == 4 * "all []\n"


def test_a_work_rests_between_its_parts():
    taken = []

    def counted():
        try:
            for number in range(5):
                yield 1 + number % 2
                taken.append(number)
        finally:
            taken.append("closed")
        return "all"

    pausable = Pausable(counted())
    assert run_alone(pausable.until(lambda: len(taken) >= 2)) is False
    assert run_alone(pausable.until(lambda: len(taken) >= 2)) is False
    assert (taken, pausable.done) == ([0, 1], False)
    part = pausable.until(lambda: False)
    assert (next(part), part.send(None)) == (1, 2)
    part.close()  # as an interrupt of all that run does
    assert taken == [0, 1, 2]
    assert run_alone(pausable.until(lambda: False)) is True
    assert (taken[2:], pausable.result) == ([2, 3, 4, "closed"], "all")
    assert run_alone(pausable.until(lambda: False)) is True

    pausable = Pausable(counted())
    assert run_alone(pausable.until(lambda: True)) is False  # has not begun
    run_alone(pausable.until(lambda: taken.count(0) == 2))
    pausable.close()
    assert taken[-1] == "closed"


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_fit_that_was_paused_is_that_of_one_go(settings):
    """And the weights of a pause are those of the end of an epoch."""
    options = {"hidden_layer_sizes": (9,), "max_iter": 6, "random_state": 0}
    alone = MLPClassifier(**options | settings).fit(X, y)
    epochs = []
    model = MLPClassifier(callbacks=[epochs.append], **options | settings)
    fit = Pausable(model._pieces_of_fit(X, y))
    for end in range(1, 6):
        n_threads = end % 3 + 1
        found = results_of([fit.until(lambda end=end: len(epochs) >= end)], n_threads)
        if not fit.done:
            assert found == {0: False}
            assert len(epochs) == end
            assert not hasattr(model, "coefs_")
    results_of([fit.until(lambda: False)], 2)
    assert fit.result is model
    assert bits(model) == bits(alone)
