"""Random configurations of networks for tables, and an ensemble of the best of them."""

import math
import time
from dataclasses import dataclass, field

import numpy as np

from fastmlp.training.selection import greedy_weights
from fastmlp.training.tabular import TabularFit

__all__ = ["Candidate", "Tuning"]

#: Configurations that compete with each other, and the members that each trains for
#: that: all of them up to a share of the epochs, at which the learning rate of
#: "coslog4" comes down to 0; then one in `_FINALISTS` to the end.  One in `_WINNERS`
#: trains all members.
_BATCH, _FIRST_MEMBERS = 12, 2
_FIRST_SHARE, _FINALISTS, _WINNERS = 7 / 15, 2, 3

#: Samples beyond which no network is paused.
_MOST_SAMPLES_TO_PAUSE = 100_000

#: What a member may take, of the time that others have taken for such work; and what
#: all members of a batch may.
_CAUTION, _CAUTION_FOR_BATCH = 1.3, 1.1


@dataclass
class Candidate:
    """A configuration.

    Parameters
    ----------
    fit : fastmlp.training.tabular.TabularFit

    Attributes
    ----------
    score : float
        On held-out samples, in the mean over its members.
    n_members, n_epochs : int
        That were trained, and up to which epoch: those that were trained to the end, if
        there are any.
    seconds : float
        That they took, of all threads together.
    is_complete : bool
        Whether all members were trained to the end.
    weight : float
        In the ensemble.
    """

    fit: TabularFit
    score: float = math.nan
    n_members: int = 0
    n_epochs: int = 0
    seconds: float = 0.0
    is_complete: bool = False
    weight: float = 0.0

    def note(self):
        """Take note of the members so far; others may follow."""
        complete = [m for m in self.fit.members if m.is_complete]
        members = complete or self.fit.members
        self.n_members = len(members)
        self.n_epochs = max((len(m.history.loss_curve) for m in members), default=0)
        self.seconds = sum(member.seconds for member in self.fit.members)
        if members:
            self.score = float(np.mean([member.score for member in members]))
        finite = all(member.network.is_finite() for member in members)
        self.is_complete = finite and len(complete) == self.fit.n_members


@dataclass
class Tuning:
    """Successive halving of random configurations: first over epochs, then networks.

    In each batch, all configurations train a few networks, each validated on a fold of
    its own, for some of the epochs; the better ones to the end; and the best of these
    those of the other folds, too.  Of all that have, a greedy selection makes an
    ensemble.

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
    training_ends : callable, default=None
        Called after the training of each network, or a part of it, with the best score
        of a configuration so far.

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
    training_ends: object = None
    interrupted: bool = False
    candidates: list = field(default_factory=list)

    @property
    def n_trainings(self):
        """Trainings of networks, or parts of them, if there is time for all."""
        batches = [_BATCH] * (self.n_candidates // _BATCH)
        batches.append(self.n_candidates % _BATCH)
        return sum(
            self._n_first * (n + _one_in(_FINALISTS, n))
            + self._n_rest * _one_in(_WINNERS, n)
            for n in batches
        )

    @property
    def _n_first(self):
        """Members by which candidates are compared."""
        return min(_FIRST_MEMBERS, self.base.n_members)

    @property
    def _n_rest(self):
        """All others."""
        return self.base.n_members - self._n_first

    def run(self):
        """Try all candidates, or as many as there is time for, and weigh them.

        In pieces: see `fastmlp.engine.pieces`.
        """
        self.candidates = [Candidate(self.base)]
        self.candidates[0].note()
        try:
            while (n := 1 + self.n_candidates - len(self.candidates)) > 0:
                if not (yield from self._compete(min(n, _BATCH))):
                    break
        except KeyboardInterrupt:
            if self.base.is_one_of_many:
                raise
            self.interrupted = True
        finally:
            for candidate in self.candidates:
                candidate.fit.close()
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
        first = range(self._n_first)
        rest = range(self._n_first, self.base.n_members)
        in_time = yield from self._train(batch, first, _first_epochs(self.base))
        finalists = self._best(batch, _one_in(_FINALISTS, len(batch)))
        in_time &= yield from self._train(finalists, first)
        winners = self._best(finalists, _one_in(_WINNERS, len(batch)))
        return (yield from self._train(winners, rest)) and in_time

    def _best(self, candidates, n):
        """The best candidates, which go on; the others, and what diverged, do not."""
        losses = np.array([self._loss_of(candidate) for candidate in candidates])
        ranked = [i for i in losses.argsort(kind="stable") if np.isfinite(losses[i])]
        for i in set(range(len(candidates))).difference(ranked[:n]):
            candidates[i].fit.close()
        return [candidates[i] for i in ranked[:n]]

    def _loss_of(self, candidate):
        """What a candidate is compared by, to be low; NaN if there is nothing."""
        candidate.note()
        if self.loss is None:
            return -candidate.score
        predictions = self.predict_held_out(candidate.fit)
        if predictions is None:
            return math.nan
        known = np.flatnonzero(~np.isnan(predictions).any(axis=1))
        return self.loss(predictions[known], known) if len(known) else math.nan

    def _is_time_for(self, batch):
        """Whether the best of a batch are likely to be done before the deadline."""
        n = len(batch)
        share = min(1.0, _first_epochs(self.base) / self.base.recipe.n_epochs)
        compared = n * share + _one_in(_FINALISTS, n) * (1 - share)
        members = self._n_first * compared + self._n_rest * _one_in(_WINNERS, n)
        cost = sum(_cost(candidate.fit) for candidate in batch) / n * members
        n_threads = 1 if self.base.is_one_of_many else self.base.n_threads
        expected = _CAUTION_FOR_BATCH * self._seconds_per_cost() * cost / n_threads
        return time.perf_counter() + expected < self.deadline

    def _train(self, candidates, positions, n_epochs=math.inf):
        """Train members, up to an epoch; returns whether there was time for all."""
        seconds = self._seconds_per_cost()
        in_time = True

        def works():
            nonlocal in_time
            for candidate in candidates:
                for work in candidate.fit.works(positions, n_epochs):
                    expected = _CAUTION * seconds * _cost(candidate.fit)
                    if time.perf_counter() + expected > self.deadline:
                        in_time = False
                        return
                    yield work

        yield from self.base.train(works(), self._tell)
        return in_time

    def _tell(self):
        if self.training_ends is not None:
            scores = [c.score for c in self.candidates if math.isfinite(c.score)]
            self.training_ends(max(scores, default=math.nan))

    def _seconds_per_cost(self):
        spent = [
            (member.seconds, len(member.history.loss_curve) * candidate.fit.n_weights)
            for candidate in self.candidates
            for member in candidate.fit.members
        ]
        seconds, costs = map(sum, zip(*spent, strict=True))
        return seconds / max(1, costs)

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


def _one_in(share, n):
    """One in so many of n candidates, and at least one."""
    return math.ceil(n / share)


def _first_epochs(fit):
    """Up to which epoch candidates are trained to be compared for the first time.

    For many samples to the end: each network that is paused has a list of them.
    """
    if len(fit.X) > _MOST_SAMPLES_TO_PAUSE:
        return math.inf
    return max(1, round(_FIRST_SHARE * fit.recipe.n_epochs))


def _cost(fit):
    """Of a member's training: multiplications, but for a factor."""
    return fit.recipe.n_epochs * fit.n_weights
