"""Successive halving and Hyperband: few epochs for all candidates, more for the best.

A *bracket* is a sequence of *rungs*.  At each rung all candidates that are left are
trained up to an epoch and scored; the best of them, one in `factor`, climb to the next.
In between they are paused.  Later brackets begin with fewer candidates and more epochs,
for candidates that are slow to show what they are worth.

References
----------
Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter
optimization" (2016).
Li, Jamieson, DeSalvo, Rostamizadeh and Talwalkar, "Hyperband: a novel bandit-based
approach to hyperparameter optimization", JMLR 18 (2018).
"""

import math
import threading
import time
from collections import deque
from typing import NamedTuple

from fastmlp.engine.pieces import Failure, Pausable, side_by_side

__all__ = ["Halving", "Result", "Rung", "plan"]


class Rung(NamedTuple):
    """So many candidates are trained up to the end of this epoch."""

    n_candidates: int
    n_epochs: int


class Result(NamedTuple):
    """What a candidate was worth at a rung."""

    bracket: int
    rung: int
    n_epochs: int
    candidate: int  # its position among all
    score: float  # to be high; NaN if there is none

    @property
    def merit(self):
        """What to compare results of one rung by, to be high: there are no ties."""
        return -math.inf if math.isnan(self.score) else self.score, -self.candidate


def plan(n_candidates, n_epochs, *, min_epochs=1, factor=3, n_brackets=1):
    """The rungs of each bracket.

    A bracket has rungs until about one candidate is left.  Brackets are of about the
    same work, unless there are too few candidates for it.

    Parameters
    ----------
    n_candidates : int
        Of all brackets.
    n_epochs : int
        Of the last rung.
    min_epochs : int, default=1
        Of the first rung, at least; at most `n_epochs`.
    factor : float, default=3
        Above 1: one candidate in so many climbs to the next rung, which has so many
        times the epochs.
    n_brackets : int or None, default=1
        None for as many as there are rungs.

    Returns
    -------
    list of list of Rung
        The bracket with the fewest epochs first; those of its last rung are `n_epochs`.

    Examples
    --------
    >>> for bracket in plan(39, 81, n_brackets=2):
    ...     print([tuple(rung) for rung in bracket])
    [(27, 3), (9, 9), (3, 27), (1, 81)]
    [(12, 9), (4, 27), (2, 81)]
    """
    affordable = int(math.log(n_epochs / min_epochs, factor) + 1e-9)
    useful = round(math.log(n_candidates, factor))
    # a small factor would give the same number of epochs again
    epochs = sorted(
        {round(n_epochs / factor**i) for i in range(min(affordable, useful) + 1)}
    )
    n_brackets = min(n_brackets or len(epochs), len(epochs))
    climbs = [len(epochs) - 1 - i for i in range(n_brackets)]
    shares = [factor**n / (n + 1) for n in climbs]
    counts = [max(1, round(n_candidates * s / sum(shares))) for s in shares[1:]]
    counts.insert(0, n_candidates - sum(counts))
    return [
        [
            Rung(math.ceil(count / factor**i - 1e-9), of_rung)
            for i, of_rung in enumerate(epochs[first:])
        ]
        for first, count in enumerate(counts)
    ]


class _Stage:
    """The candidates of a rung: who waits, and who is best of those with a score.

    Who is sure to climb enters the next rung before all others have been scored, so
    that no thread waits for the last of them.

    Parameters
    ----------
    rung : Rung
    n_kept : int
        How many climb on.

    Attributes
    ----------
    waiting : deque
        Candidates that have not begun.
    """

    def __init__(self, rung, n_kept):
        self.waiting = deque()
        self._n_kept = n_kept
        self._n_expected, self._n_ranked = rung.n_candidates, 0
        self._entered = set()
        self._kept = []  # results, best first

    def enter(self, candidates):
        """Candidates that are new here will have to begin."""
        new = [each for each in candidates if each not in self._entered]
        self._entered.update(new)
        self.waiting.extend(new)

    def enter_from(self, below):
        """The same for those that are sure to climb from the rung below."""
        self.enter(result.candidate for result in below._sure())
        if below._n_ranked == below._n_expected:  # some may have had no score
            self._n_expected = len(self._entered)

    def rank(self, result):
        """Take note of a result; returns those that cannot climb any more."""
        self._n_ranked += 1
        self._kept.append(result)
        self._kept.sort(key=lambda r: r.merit, reverse=True)
        dropped = []
        while self._kept and (
            len(self._kept) > self._n_kept or math.isnan(self._kept[-1].score)
        ):
            dropped.append(self._kept.pop())
        return dropped

    def _sure(self):
        """Results that are among the best whatever the scores to come are."""
        n_to_come = self._n_expected - self._n_ranked
        return self._kept[: max(0, self._n_kept - n_to_come)]


class Halving:
    """Candidates on their way through rungs.

    The results do not depend on the number of threads: a candidate climbs as soon as it
    is sure to be among the best of its rung, whatever the scores to come are.  One that
    cannot be among them any more is closed at once: no more are paused than are going
    to climb.

    Parameters
    ----------
    candidates : sequence
        Each has ``advance(n_epochs)``, which returns one or more works (see
        `engine.pieces`) that train it up to the end of that epoch, or less far if it
        has come to its end; ``score()``, to be high, or NaN, which is called when they
        are done; and ``close()``, which forgets what only training needs, and may be
        called again.  All three are called in a thread that trains, at the end also in
        the caller's.
    brackets : list of list of Rung
        See `plan`; the first candidates are those of the first bracket.
    n_threads : int
    deadline : float, default=inf
        When to end, by ``time.perf_counter``, if there is a score by then.
    on_result : callable, default=None
        Called with each `Result`, in the caller's thread.
    prepare : callable, default=None
        Called once in each thread that trains, for each rung.

    Attributes
    ----------
    results : list of Result
        By bracket, rung and candidate.
    is_late : bool
        Whether the deadline came before the end.
    is_interrupted : bool
        Whether Ctrl-C did.
    """

    def __init__(
        self, candidates, brackets, n_threads, *, deadline=math.inf, on_result=None,
        prepare=None,
    ):  # fmt: skip
        self._candidates = candidates
        self._brackets = brackets
        self._n_threads = n_threads
        self._deadline = deadline
        self._on_result = on_result or (lambda result: None)
        self._prepare = prepare
        self._has_score = False
        self.results = []
        self.is_late = self.is_interrupted = False

    def run(self):
        """Train all candidates, or until there is no more time.

        Raises
        ------
        KeyboardInterrupt
            If it comes before there is a result.
        Exception
            What a candidate raises.
        """
        first = 0
        try:
            for number, rungs in enumerate(self._brackets):
                candidates = range(first, first + rungs[0].n_candidates)
                self._climb_all(number, rungs, candidates)
                first = candidates.stop
        except KeyboardInterrupt:
            if not self.results:
                raise
            self.is_interrupted = True
        finally:
            for candidate in self._candidates:
                candidate.close()
            self.results.sort()
        return self

    def best(self):
        """The best `Result` of those that got furthest; None if none has a score."""
        scored = [result for result in self.results if not math.isnan(result.score)]
        return max(scored, key=lambda r: (r.n_epochs, r.merit), default=None)

    def _climb_all(self, bracket, rungs, candidates):
        """All rungs of a bracket, several candidates side by side."""
        counts = [rung.n_candidates for rung in rungs[1:]] + [0]
        stages = [_Stage(*each) for each in zip(rungs, counts, strict=True)]
        stages[0].enter(candidates)
        left = {}  # works of each candidate
        ranking = threading.Lock()

        def begin():
            """(number of a rung, candidate) that may begin now, or None."""
            with ranking:
                for number, stage in enumerate([] if self.is_late else stages):
                    if number > 0:
                        stage.enter_from(stages[number - 1])
                    if stage.waiting:
                        return number, stage.waiting.popleft()
            return None

        def finished(number, candidate):
            with ranking:
                left[candidate] -= 1
                if left[candidate]:
                    return None
                score = float(self._candidates[candidate].score())
                where = bracket, number, rungs[number].n_epochs
                result = Result(*where, candidate, score)
                self._has_score |= not math.isnan(score)
                for dropped in stages[number].rank(result):
                    self._candidates[dropped.candidate].close()
            return result

        def in_time(number, candidate, work):
            """A work that is left where it is at the deadline."""
            is_done = yield from Pausable(work).until(self._is_over)
            return finished(number, candidate) if is_done else None

        def works(found):
            while found is not None:
                number, candidate = found
                own = self._candidates[candidate].advance(rungs[number].n_epochs)
                left[candidate] = len(own)
                for work in own:
                    yield in_time(number, candidate, work)
                found = begin()

        def on_result(_, result):
            if isinstance(result, Failure):
                raise result.error
            if result is not None:
                self.results.append(result)
                self._on_result(result)

        # more than once only if at some time it was open who would climb next
        while (found := begin()) is not None:
            side_by_side(works(found), self._n_threads, on_result, self._prepare)

    def _is_over(self):
        if self._has_score and time.perf_counter() > self._deadline:
            self.is_late = True
        return self.is_late
