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


class Halving:
    """Candidates on their way through rungs.

    The results do not depend on the number of threads: at each rung, all that climb to
    it are trained side by side before any of them climbs on.  A candidate that cannot
    be among the best of its rung any more is closed at once: no more are paused than
    are going to climb.

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
        """All rungs of a bracket; candidates that were best are the first to climb."""
        counts = [rung.n_candidates for rung in rungs[1:]] + [0]
        for rung, n_kept in enumerate(counts):
            where = bracket, rung, rungs[rung].n_epochs
            candidates = self._climb(where, candidates, n_kept)

    def _climb(self, where, candidates, n_kept):
        """Train candidates up to a rung; returns the best of them, best first."""
        kept = []
        left = {}  # works of each candidate
        ranking = threading.Lock()

        def finished(candidate):
            with ranking:
                left[candidate] -= 1
                if left[candidate]:
                    return None
                score = float(self._candidates[candidate].score())
                result = Result(*where, candidate, score)
                self._has_score |= not math.isnan(score)
                kept.append(result)
                kept.sort(key=lambda r: r.merit, reverse=True)
                while len(kept) > n_kept or (kept and math.isnan(kept[-1].score)):
                    self._candidates[kept.pop().candidate].close()
            return result

        def in_time(candidate, work):
            """A work that is left where it is at the deadline."""
            is_done = yield from Pausable(work).until(self._is_over)
            return finished(candidate) if is_done else None

        def works():
            for candidate in candidates:
                own = self._candidates[candidate].advance(where[-1])
                left[candidate] = len(own)
                for work in own:
                    yield in_time(candidate, work)

        def on_result(_, result):
            if isinstance(result, Failure):
                raise result.error
            if result is not None:
                self.results.append(result)
                self._on_result(result)

        side_by_side(works(), self._n_threads, on_result, self._prepare)
        return [result.candidate for result in kept]

    def _is_over(self):
        if self._has_score and time.perf_counter() > self._deadline:
            self.is_late = True
        return self.is_late
