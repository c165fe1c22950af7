"""Random configurations of networks for tables, and an ensemble of the best of them."""

import math
import time
from dataclasses import dataclass, field

import numpy as np

from fastmlp.training.selection import greedy_weights
from fastmlp.training.tabular import TabularFit

__all__ = ["Candidate", "Tuning"]

#: Configurations that compete with each other, the members that each trains for that,
#: and of how many one then trains all members.
_BATCH, _FIRST_MEMBERS, _KEPT = 9, 2, 3

#: What a member may take, of the time that others have taken for such work; and what
#: all members of a batch may.
_CAUTION, _CAUTION_FOR_BATCH = 1.3, 1.1


@dataclass
class Candidate:
    """A configuration.

    Parameters
    ----------
    fit : fastmlp.training.tabular.TabularFit
    is_base : bool, default=False
        Whether it is what tuning starts from, which counts as it is.

    Attributes
    ----------
    score : float
        On held-out samples, in the mean over its members.
    n_members : int
        That were trained.
    seconds : float
        That they took, of all threads together.
    is_complete : bool
        Whether all members were trained to the end.
    weight : float
        In the ensemble.
    """

    fit: TabularFit
    is_base: bool = False
    score: float = math.nan
    n_members: int = 0
    seconds: float = 0.0
    is_complete: bool = False
    weight: float = 0.0

    def note(self):
        """Take note of members that are trained to the end; the rest may follow."""
        members = [m for m in self.fit.members if m.is_complete or self.is_base]
        self.n_members = len(members)
        self.seconds = sum(member.seconds for member in self.fit.members)
        if members:
            self.score = float(np.mean([member.score for member in members]))
        finite = all(member.network.is_finite() for member in members)
        self.is_complete = finite and len(members) == self.fit.n_members


@dataclass
class Tuning:
    """Successive halving of random configurations, with networks as the resource.

    In each batch, all configurations train a few networks, each validated on a fold of
    its own; the best ones train those of the other folds, too.  Of all that have, a
    greedy selection makes an ensemble.

    Parameters
    ----------
    base : TabularFit
        Trained: the first candidate.
    draw : callable
        Gives (recipe, columns) of another candidate.
    n_candidates : int
        To be drawn.
    predict_held_out : callable
        From a trained fit to predictions of all samples that are held out.
    score : callable
        From means of such predictions for some samples, and indices of these samples,
        to a score, to be high.
    loss : callable, default=None
        Like `score`, but to be low: what configurations are compared by, and the
        ensemble is selected by. None for the negative score.
    deadline : float, default=inf
        By ``time.perf_counter``.
    network_ends : callable, default=None
        Called after the training of each network, with the best score of a
        configuration so far.

    Attributes
    ----------
    candidates : list of Candidate
        In the order in which they were drawn, the base first.
    predictions : ndarray of shape (n_held_out, n_outputs)
        Of the ensemble, for samples that are held out.
    score_of_ensemble : float
        Of these.
    interrupted : bool
        By Ctrl-C.

    References
    ----------
    Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter
    optimization" (2016).

    Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble selection from libraries of
    models" (2004).
    """

    base: TabularFit
    draw: object
    n_candidates: int
    predict_held_out: object
    score: object
    loss: object = None
    deadline: float = math.inf
    network_ends: object = None
    interrupted: bool = False
    candidates: list = field(default_factory=list)

    @property
    def n_networks(self):
        """That are trained if there is time for all."""
        first = min(_FIRST_MEMBERS, self.base.n_members)
        batches = [_BATCH] * (self.n_candidates // _BATCH)
        batches.append(self.n_candidates % _BATCH)
        return sum(
            n * first + _n_kept(n) * (self.base.n_members - first) for n in batches
        )

    def run(self):
        """Try all candidates, or as many as there is time for, and weigh them.

        In pieces: see `fastmlp.engine.pieces`.
        """
        self.candidates = [Candidate(self.base, is_base=True)]
        self.candidates[0].note()
        try:
            while (n := 1 + self.n_candidates - len(self.candidates)) > 0:
                if not (yield from self._compete(min(n, _BATCH))):
                    break
        except KeyboardInterrupt:
            if self.base.is_one_of_many:
                raise
            self.interrupted = True
        for candidate in self.candidates:
            candidate.note()
        try:
            self._weigh(self.deadline)
        except KeyboardInterrupt:
            if self.base.is_one_of_many:
                raise
            self.interrupted = True
            self._weigh(-math.inf)

    def _compete(self, n):
        """A batch of so many; returns whether there may be time for another one."""
        batch = [Candidate(self.base.like(*self.draw())) for _ in range(n)]
        while batch and not self._is_time_for(batch):
            batch.pop()
        if not batch:
            return False
        self.candidates += batch
        first = min(_FIRST_MEMBERS, self.base.n_members)
        in_time = yield from self._train(batch, range(first))
        for candidate in batch:
            candidate.note()
        scored = [c for c in batch if math.isfinite(c.score)]  # others have diverged
        scored.sort(key=self._loss_of)
        kept = scored[: _n_kept(len(batch))]
        rest = range(first, self.base.n_members)
        return (yield from self._train(kept, rest)) and in_time

    def _is_time_for(self, batch):
        """Whether the best of a batch are likely to be done before the deadline."""
        first = min(_FIRST_MEMBERS, self.base.n_members)
        rest = (self.base.n_members - first) * _n_kept(len(batch)) / len(batch)
        cost = sum(_cost(candidate.fit) for candidate in batch) * (first + rest)
        n_threads = 1 if self.base.is_one_of_many else self.base.n_threads
        expected = _CAUTION_FOR_BATCH * self._seconds_per_cost() * cost / n_threads
        return time.perf_counter() + expected < self.deadline

    def _loss_of(self, candidate):
        """What a candidate is compared by, to be low."""
        if self.loss is None:
            return -candidate.score
        predictions = self.predict_held_out(candidate.fit)
        known = np.flatnonzero(~np.isnan(predictions).any(axis=1))
        return self.loss(predictions[known], known)

    def _train(self, candidates, positions):
        """Train members of the candidates; returns whether there was time for all."""
        seconds = self._seconds_per_cost()
        in_time = True

        def works():
            nonlocal in_time
            for candidate in candidates:
                for work in candidate.fit.works(positions):
                    expected = _CAUTION * seconds * _cost(candidate.fit)
                    if time.perf_counter() + expected > self.deadline:
                        in_time = False
                        return
                    yield work

        yield from self.base.train(works(), self._tell)
        return in_time

    def _tell(self):
        if self.network_ends is not None:
            scores = [c.score for c in self.candidates if math.isfinite(c.score)]
            self.network_ends(max(scores, default=math.nan))

    def _seconds_per_cost(self):
        members = sum(len(c.fit.members) * _cost(c.fit) for c in self.candidates)
        return sum(m.seconds for c in self.candidates for m in c.fit.members) / members

    def _weigh(self, deadline):
        complete = [c for c in self.candidates if c.is_complete]
        if not complete:  # of the base, all that there is
            complete = self.candidates[:1]
        every = [self.predict_held_out(candidate.fit) for candidate in complete]
        loss = self.loss or self._negative_score
        weights = greedy_weights(every, loss, deadline=deadline)
        for candidate, weight in zip(complete, weights, strict=True):
            candidate.weight = float(weight)
        self.predictions = sum(w * each for w, each in zip(weights, every, strict=True))
        samples = np.arange(len(self.predictions))
        self.score_of_ensemble = self.score(self.predictions, samples)

    def _negative_score(self, means, samples):
        """NaN if there is none: of samples that lack a class, some scorers say no."""
        try:
            return -self.score(means, samples)
        except ValueError:
            return math.nan


def _n_kept(n):
    """Of so many candidates, those that train all members."""
    return math.ceil(n / _KEPT)


def _cost(fit):
    """Of a member's training: multiplications, but for a factor."""
    return fit.recipe.n_epochs * fit.n_weights
