"""Successive halving: the plan, the climb of made-up candidates, and the search."""

import math
import threading
import time
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from joblib.parallel import ThreadingBackend
from processes import run
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.metrics import get_scorer
from sklearn.model_selection import GroupKFold, KFold, ParameterSampler
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from fastmlp import (
    MLPClassifier,
    MLPEnsembleClassifier,
    MLPRegressor,
    TabularMLPClassifier,
)
from fastmlp.exceptions import UnusedParameterWarning
from fastmlp.model_selection import HalvingSearchCV
from fastmlp.training import halving
from fastmlp.training.halving import Halving, Rung, plan

# --- the plan ------------------------------------------------------------------------


def test_a_plan_of_one_bracket():
    assert plan(27, 200) == [[(27, 7), (9, 22), (3, 67), (1, 200)]]
    assert plan(20, 200, min_epochs=50) == [[(20, 67), (7, 200)]]
    assert plan(9, 100, min_epochs=100) == [[(9, 100)]]
    assert plan(1, 100) == [[(1, 100)]]
    assert plan(16, 16, factor=2) == [[(16, 1), (8, 2), (4, 4), (2, 8), (1, 16)]]


def test_brackets_take_about_the_same_work():
    brackets = plan(1000, 81, n_brackets=None)
    assert [rungs[0].n_epochs for rungs in brackets] == [1, 3, 9, 27, 81]
    work = [sum(n * epochs for n, epochs in rungs) for rungs in brackets]
    assert max(work) < 1.1 * min(work)


@given(
    st.integers(1, 500), st.integers(1, 500), st.integers(1, 500),
    st.floats(1.1, 10), st.none() | st.integers(1, 9),
)  # fmt: skip
def test_any_plan_is_one(n_candidates, n_epochs, min_epochs, factor, n_brackets):
    brackets = plan(
        n_candidates, n_epochs, min_epochs=min(min_epochs, n_epochs), factor=factor,
        n_brackets=n_brackets,
    )  # fmt: skip
    assert sum(rungs[0].n_candidates for rungs in brackets) == n_candidates
    assert len(brackets) <= (n_brackets or 500)
    for rungs in brackets:
        counts, epochs = zip(*rungs, strict=True)
        assert epochs[-1] == n_epochs
        assert epochs[0] >= min(min_epochs, n_epochs)
        assert sorted(set(epochs)) == list(epochs)
        assert counts[-1] >= 1
        assert sorted(counts, reverse=True) == list(counts)


# --- the climb -----------------------------------------------------------------------


class Climber:
    """Worth its quality, times the share of its epochs; it has two runs."""

    live = set()

    def __init__(self, quality, log):
        self.quality, self.log = quality, log
        self.epochs, self.is_closed = [0, 0], False

    def advance(self, n_epochs):
        return [self.run(i, n_epochs) for i in range(2)]

    def run(self, i, n_epochs):
        self.live.add(self)
        while self.epochs[i] < n_epochs:
            yield 1
            self.epochs[i] += 1

    def score(self):
        assert not self.is_closed
        self.log.append((self.quality, *self.epochs, len(self.live)))
        return self.quality * (1 + self.epochs[0] / 100)

    def close(self):
        self.is_closed = True
        self.live.discard(self)


QUALITIES = [5, 1, 8, 8, 2, 7, 3, math.nan, 6, 4]
RUNGS = [(10, 2), (4, 5), (2, 9)]


def climb(qualities, brackets, n_threads=2, kind=Climber, **options):
    log = []
    climbers = [kind(quality, log) for quality in qualities]
    brackets = [[Rung(*rung) for rung in rungs] for rungs in brackets]
    try:
        return Halving(climbers, brackets, n_threads, **options).run(), log
    finally:
        assert all(climber.is_closed for climber in climbers)
        assert not Climber.live


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_the_best_climb(n_threads):
    found, log = climb(QUALITIES, [RUNGS], n_threads)
    climbed = [(r.rung, r.n_epochs, r.candidate) for r in found.results]
    assert climbed == [
        *((0, 2, i) for i in range(10)),
        *((1, 5, i) for i in (2, 3, 5, 8)),
        *((2, 9, i) for i in (2, 3)),
    ]
    assert all(a == b for _, a, b, _ in log)  # both runs are there
    # those that run, and of the others only those that may climb
    assert max(n_live for *_, n_live in log) <= 4 + 1 + n_threads
    best = found.best()
    assert (best.candidate, best.score) == (2, 8 * 1.09)  # of two, the first
    assert (found.is_late, found.is_interrupted) == (False, False)


def test_runs_are_continued():
    steps = []

    class Counted(Climber):
        def run(self, i, n_epochs):
            for wanted in super().run(i, n_epochs):
                steps.append(i)
                yield wanted

    climb(QUALITIES, [RUNGS], kind=Counted)
    assert len(steps) == 2 * (10 * 2 + 4 * 3 + 2 * 4)


def test_brackets_follow_each_other():
    found, _ = climb(QUALITIES, [[(6, 2), (2, 9)], [(4, 9)]])
    assert [(r.bracket, r.n_epochs, r.candidate) for r in found.results] == [
        *((0, 2, i) for i in range(6)),
        (0, 9, 2), (0, 9, 3), (1, 9, 6), (1, 9, 7), (1, 9, 8), (1, 9, 9),
    ]  # fmt: skip
    assert found.best().candidate == 2


def test_who_has_no_score_does_not_climb():
    nan = math.nan
    found, _ = climb([nan, 3, nan, nan], [[(4, 1), (3, 2)]])
    assert [r.candidate for r in found.results if r.rung == 1] == [1]
    found, _ = climb([nan, nan], [[(2, 1), (1, 2)]])
    assert {r.rung for r in found.results} == {0}
    assert found.best() is None


def test_who_is_sure_to_climb_waits_for_nobody():
    climbing = threading.Event()

    class Waiting(Climber):
        def run(self, i, n_epochs):
            if n_epochs > 2:
                climbing.set()
            elif (self.quality, i) == (0, 0):
                assert climbing.wait(60)
            yield from super().run(i, n_epochs)

    found, _ = climb([3, 2, 1, 0], [[(4, 2), (2, 5)]], kind=Waiting)
    assert [r.candidate for r in found.results if r.rung == 1] == [0, 1]


def test_time_ends(monkeypatch):
    """In the middle of an epoch; those that got furthest are the best."""
    now = [0]
    clock = SimpleNamespace(perf_counter=lambda: now[0])
    monkeypatch.setattr(halving, "time", clock)

    class Slow(Climber):
        def run(self, i, n_epochs):
            yield from super().run(i, min(n_epochs, 5))
            while n_epochs > 5:
                now[0] += 1
                yield 1

    found, _ = climb([1, 2, 3, 4], [[(4, 2), (2, 9)]], kind=Slow, deadline=3)
    assert found.is_late
    assert [r.candidate for r in found.results] == [0, 1, 2, 3]
    assert found.best().candidate == 3


def test_time_ends_when_there_is_a_score():
    found, _ = climb([math.nan, 1, 2, 3], [[(4, 2), (2, 9)]], deadline=0)
    assert found.is_late
    assert found.best() is not None
    found, _ = climb([1, 2], [[(2, 2)]], deadline=time.perf_counter() + 1000)
    assert not found.is_late


def test_an_interrupt_keeps_results():
    def interrupt(result):
        if result.rung == 1:
            raise KeyboardInterrupt

    found, _ = climb(QUALITIES, [RUNGS], on_result=interrupt)
    assert found.is_interrupted
    assert len(found.results) == 11
    assert found.best().rung == 1


def test_an_interrupt_before_any_result_is_raised():
    class Interrupted(Climber):
        def score(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        climb([1], [[(1, 3)]], kind=Interrupted)


def test_what_a_candidate_raises_is_raised():
    class Failing(Climber):
        def run(self, i, n_epochs):
            yield 1
            raise LookupError("none")

    with pytest.raises(LookupError, match="none"):
        climb([1, 2], [[(2, 3)]], kind=Failing)


def test_threads_are_prepared():
    threads = set()
    climb([1, 2, 3], [[(3, 2)]], prepare=lambda: threads.add(threading.get_ident()))
    assert threading.get_ident() not in threads
    assert len(threads) == 2


# --- the search ----------------------------------------------------------------------

rng = np.random.default_rng(0)
X = rng.standard_normal((90, 5))
numbers = X[:, 0] - X[:, 1] ** 2 + 0.1 * rng.standard_normal(90)
y = np.where(numbers > numbers.mean(), 1, 0)
RATES = {"learning_rate_init": loguniform(1e-3, 1e-1)}
COSINE = {"learning_rate": "cosine", "n_iter_no_change": np.inf}


def network(cls=MLPClassifier, **options):
    return cls(hidden_layer_sizes=(6,), max_iter=16, random_state=0, **options)


def search(model, distributions=RATES, target=y, *, X=X, fit=(), **options):
    options = {"n_candidates": 8, "factor": 2, "cv": 2, "random_state": 0} | options
    return HalvingSearchCV(model, distributions, **options).fit(X, target, **dict(fit))


def rows(found, **chosen):
    """Entries of `cv_results_`, as dicts, without times."""
    results = {k: v for k, v in found.cv_results_.items() if "time" not in k}
    every = [
        {name: column[i] for name, column in results.items()}
        for i in range(len(results["params"]))
    ]
    return [row for row in every if all(row[k] == v for k, v in chosen.items())]


def split_scores(row):
    return [row["split0_test_score"], row["split1_test_score"]]


def scores_of_fits(model, parameters, target=y, X=X, scoring=None):
    """Of plain fits to both splits."""
    found = []
    for train, test in KFold(2).split(X, target):
        fitted = clone(model).set_params(**parameters).fit(X[train], target[train])
        scorer = fitted.score if scoring is None else get_scorer(scoring)
        of = () if scoring is None else (fitted,)
        found.append(scorer(*of, X[test], target[test]))
    return found


@pytest.mark.parametrize(
    "settings",
    [
        COSINE,
        {"n_iter_no_change": 2, "tol": 1e-2},
        {"early_stopping": True, "n_iter_no_change": 3},
        {"solver": "sgd", "learning_rate": "adaptive", "precision": "float64"},
        {"solver": "adamw", "dropout": 0.2, "ema_decay": 0.9, "standardize": True},
        {"solver": "lbfgs"},
    ],
    ids=str,
)
def test_the_scores_are_those_of_plain_fits(settings):
    """At the end; and, with a callback that ends the fit there, at each rung."""
    model = network(**settings)
    found = search(model, cv=KFold(2))
    assert found.n_resources_ == [2, 4, 8, 16]
    assert found.n_candidates_ == [8, 4, 2, 1]
    (last,) = rows(found, iter=3)
    assert split_scores(last) == scores_of_fits(model, last["params"])
    assert found.best_params_ == last["params"]
    if settings.get("early_stopping"):  # a fit that ends has its best weights again
        return
    for row in rows(found, iter=1):
        end = row["n_resources"]
        ends = network(
            callbacks=[lambda state, end=end: state.epoch == end], **settings
        )
        if model.solver == "lbfgs":
            ends = model  # is trained to the end at once
        assert split_scores(row) == scores_of_fits(ends, row["params"])


def test_results_do_not_depend_on_threads():
    several = [search(network(), n_brackets=2, n_jobs=n) for n in (1, 2, 3)]
    for found in several[1:]:
        assert rows(found) == rows(several[0])
        for a, b in zip(
            found.best_estimator_.coefs_, several[0].best_estimator_.coefs_, strict=True
        ):
            assert a.tobytes() == b.tobytes()


def test_the_best_is_fitted_to_all_samples():
    found = search(network())
    best = network().set_params(**found.best_params_).fit(X, y)
    assert found.best_estimator_.n_iter_ == best.n_iter_
    assert found.best_estimator_.coefs_[0].tobytes() == best.coefs_[0].tobytes()
    assert found.best_score_ == found.cv_results_["mean_test_score"][found.best_index_]
    assert found.score(X, y) == best.score(X, y)
    assert not hasattr(search(network(), refit=False), "best_estimator_")
    first = search(network(), refit=lambda results: 0)
    assert first.best_index_ == 0


def test_candidates_are_those_of_a_random_search():
    found = search(network())
    drawn = [*ParameterSampler(RATES, 8, random_state=0)]
    assert [row["params"] for row in rows(found, iter=0)] == drawn
    assert [row["candidate"] for row in rows(found, iter=0)] == [*range(8)]
    for row in rows(found):
        assert row["params"] == drawn[row["candidate"]]
    every = search(network(), {"alpha": [0, 1, 2], "tol": [0]}, n_candidates=3)
    assert sorted(row["param_alpha"] for row in rows(every, iter=0)) == [0, 1, 2]


def test_rungs():
    assert search(network(), min_epochs=7).n_resources_ == [8, 16]
    assert search(network(), factor=4).n_resources_ == [1, 4, 16]
    assert search(network(), n_candidates=2).n_resources_ == [8, 16]
    found = search(network(), n_candidates=20, n_brackets="all")
    assert {row["bracket"] for row in rows(found)} == {0, 1, 2, 3, 4}
    assert found.n_resources_[:5] == [1, 2, 4, 8, 16]
    assert found.n_resources_[-1] == 16
    finals = rows(found, n_resources=16)
    assert found.best_score_ == max(row["mean_test_score"] for row in finals)


def test_other_steps_of_a_pipeline_are_fitted_once():
    fitted = []

    class Counting(StandardScaler):
        def fit(self, X, y=None):
            fitted.append(len(X))
            return super().fit(X, y)

    model = make_pipeline(Counting(), network())
    names = {
        "mlpclassifier__alpha": loguniform(1e-4, 1),
        "counting__with_mean": [True, False],
    }
    found = search(model, names, cv=KFold(2), refit=False)
    both = {row["param_counting__with_mean"] for row in rows(found)}
    assert len(fitted) == 2 * len(both)
    for row in rows(found, iter=3):
        assert split_scores(row) == scores_of_fits(model, row["params"])
    named = search(model, names, cv=KFold(2), refit=False, scoring=_of_pipeline)
    assert [*map(split_scores, rows(named))] == [*map(split_scores, rows(found))]


def _of_pipeline(pipeline, X, y):
    assert len(X) == 45  # as given
    return pipeline.named_steps["mlpclassifier"].score(pipeline[:-1].transform(X), y)


def test_networks_may_be_searched_for():
    """The last step as a whole, of which each has parameters of its own."""
    model = make_pipeline(FunctionTransformer(), network())
    names = {"mlpclassifier": [network(), network(alpha=1.0)]}
    found = search(model, names, n_candidates=2, cv=KFold(2))
    for row in rows(found, n_resources=16):
        assert split_scores(row) == scores_of_fits(model, row["params"])


@pytest.mark.parametrize("form", [np.asarray, np.float32, sp.csr_matrix])
def test_regressions_and_forms_of_X(form):
    model, data = network(MLPRegressor), form(X)
    found = search(
        model, target=numbers, X=data, cv=KFold(2), scoring="neg_mean_squared_error"
    )
    (last,) = rows(found, iter=3)
    expected = scores_of_fits(
        model, last["params"], numbers, X=data, scoring="neg_mean_squared_error"
    )
    assert split_scores(last) == expected


def test_data_frames_have_names():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abcde"))
    found = search(network(), X=frame)
    assert found.feature_names_in_.tolist() == list("abcde")
    assert rows(found) == rows(search(network()))


def test_what_fit_is_given():
    weights = rng.uniform(0, 1, 90)
    found = search(network(), fit={"sample_weight": weights}, scoring="neg_log_loss")
    assert rows(found) != rows(search(network(), scoring="neg_log_loss"))
    groups = np.arange(90) % 3
    found = search(network(), fit={"groups": groups}, cv=GroupKFold(3))
    assert found.n_splits_ == 3


def test_scores_of_what_was_trained_on():
    found = search(network(), return_train_score=True)
    (last,) = rows(found, iter=3)
    train = next(KFold(2).split(X))[0]
    assert 0 <= last["split1_train_score"] <= 1
    best = network().set_params(**found.best_params_)
    found = search(network(), return_train_score=True, cv=KFold(2))
    (last,) = rows(found, iter=3)
    assert last["split0_train_score"] == best.fit(X[train], y[train]).score(
        X[train], y[train]
    )


class _Failing:
    """A schedule that fails at some time."""

    def __init__(self, end):
        self.end = end

    def __call__(self, fraction):
        if fraction >= self.end:
            raise ValueError("no rate")
        return 1 + fraction


def test_candidates_that_fail():
    fails = {"learning_rate": [_Failing(0), _Failing(0.4), _Failing(2)]}
    with pytest.warns(FitFailedWarning), pytest.warns(UserWarning, match="non-finite"):
        found = search(network(), fails, n_candidates=3, min_epochs=2, factor=1.5)
    assert found.n_resources_ == [5, 7, 11, 16]
    for row in rows(found):
        end = 16 * row["params"]["learning_rate"].end
        assert math.isnan(row["mean_test_score"]) == (end < row["n_resources"])
    assert found.n_candidates_ == [3, 2, 1, 1]
    assert found.best_params_["learning_rate"].end == 2
    with pytest.raises(ValueError, match="no rate"):
        search(network(), fails, n_candidates=3, error_score="raise")
    with pytest.raises(ValueError, match="All the"):
        search(network(), {"alpha": [-1.0]}, n_candidates=1)
    with pytest.warns(FitFailedWarning):
        found = search(network(), fails, n_candidates=3, error_score=-1)
    assert min(row["mean_test_score"] for row in rows(found)) == -1


def test_scores_that_are_nan():
    def score(model, X, y):
        return math.nan if model.alpha > 1 else model.score(X, y)

    with pytest.warns(UserWarning, match="non-finite"):
        found = search(
            network(), {"alpha": [0.1, 2.0, 3.0]}, scoring=score, n_candidates=3
        )
    assert {row["param_alpha"] for row in rows(found) if row["iter"] > 0} == {0.1}
    with pytest.warns(UserWarning, match="non-finite"):
        found = search(network(), {"alpha": [2.0]}, scoring=score, n_candidates=1)
    assert found.best_index_ == 0


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (
            network(),
            {"distributions": {"max_iter": [5, 9]}, "n_candidates": 2},
            "max_iter must be the same",
        ),
        (network(time_limit=9), {}, "time_limit of HalvingSearchCV"),
        (network(checkpoint="x.npz"), {}, "no checkpoint"),
        (
            make_pipeline(FunctionTransformer(), network()),
            {
                "distributions": {"mlpclassifier": [network(checkpoint="x.npz")]},
                "n_candidates": 1,
            },
            "no checkpoint",
        ),
        (
            TabularMLPClassifier(),
            {"distributions": {"dropout": [0.1]}, "n_candidates": 1},
            r"TabularMLPClassifier\(tune=N\)",
        ),
        (
            MLPEnsembleClassifier(),
            {"distributions": {"alpha": [0.1]}, "n_candidates": 1},
            "MLPEnsembleClassifier trains several.*RandomizedSearchCV",
        ),
        (network(), {"min_epochs": 17}, "min_epochs=17 is more"),
        (network(), {"target": None}, "needs y"),
        (network(), {"scoring": lambda *_: {"a": 1, "b": 2}}, "one score"),
        (network(), {"factor": 1}, "'factor' parameter"),
        (network().set_params(max_iter=0), {}, "'max_iter' parameter"),
    ],
)
def test_what_is_refused(model, options, message):
    with pytest.raises(ValueError, match=message):
        search(model, **options)


class Elsewhere(ThreadingBackend):
    """A backend that joblib does not come with."""


def test_a_backend_of_others_has_no_effect():
    joblib.register_parallel_backend("elsewhere", Elsewhere)
    message = "joblib.parallel_config has no effect"
    with (
        joblib.parallel_config("elsewhere", n_jobs=3),
        pytest.warns(UnusedParameterWarning, match=message),
    ):
        found = search(network())
    assert rows(found) == rows(search(network()))


def test_a_time_limit_gives_the_best_so_far():
    found = search(network(), time_limit=1e-9, n_jobs=1)
    assert found.n_candidates_ == [1]
    assert found.best_estimator_.n_iter_ == 16
    assert found.best_params_ == rows(found)[0]["params"]
    whole = search(network(), time_limit=1000.0)
    assert rows(whole) == rows(search(network()))


def test_it_tells_of_rungs(capsys):
    search(network(), verbose=1, n_brackets=2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert lines[0].startswith("[bracket 1 of 2, rung 1 of 4] candidates: 5, epochs: 2")
    assert lines[-1].startswith(
        "[bracket 2 of 2, rung 3 of 3] candidates: 1, epochs: 16"
    )
    search(network(), {"alpha": [0.5]}, verbose=2, n_candidates=1)
    assert capsys.readouterr().out.startswith("[16 epochs] alpha=0.5; score=")
    search(network(), verbose="progress")
    told = capsys.readouterr()
    assert told.out == ""
    assert "15/15" in told.err


INTERRUPTED = """
import os, signal, warnings
import numpy as np
from fastmlp import MLPRegressor
from fastmlp.model_selection import HalvingSearchCV

X = np.random.default_rng(0).standard_normal((900, 20)).astype(np.float32)
y = np.sin(X.sum(axis=1))

def interrupt(state):
    if state.epoch == 9:
        os.kill(os.getpid(), signal.SIGINT)

def search(**options):
    model = MLPRegressor(max_iter=10**5, n_iter_no_change=10**5, random_state=0)
    rates = {"learning_rate_init": np.linspace(1e-3, 1e-2, 8)}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = HalvingSearchCV(
            model.set_params(**options), rates, n_candidates=8, factor=4, min_epochs=3,
            n_jobs=1, refit=False, random_state=0,
        ).fit(X, y)
    told = [str(w.message) for w in told if "Search" in str(w.message)]
    print(found.n_resources_, found.n_candidates_, told)

search(callbacks=[interrupt], max_iter=30)
try:
    search(callbacks=[lambda state: os.kill(os.getpid(), signal.SIGINT)])
except KeyboardInterrupt:
    print("none")
"""


def test_ctrl_c_keeps_what_has_been_scored(tmp_path):
    first, second = run(INTERRUPTED, tmp_path).splitlines()
    assert first.startswith("[8] [8] ['Search interrupted by user: 8 of 8 candidates")
    assert second == "none"
