"""Successive halving: the plan, the climb of made-up candidates, and the search."""

import math
import threading
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
