"""The members of a model for tables: what each trains on, and all their trainings."""

import math
import sys
import time
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from fastmlp.engine.network import Network
from fastmlp.engine.pieces import Failure, in_turn, side_by_side
from fastmlp.engine.threads import resolve_threads, threads_that_pay
from fastmlp.training.folds import mean_of_held_out, splits
from fastmlp.training.member import Member, job_for, layers_for

__all__ = ["TabularFit", "temperature_of"]

#: Fewest samples of which some are held out.
_LEAST_TO_SPLIT = 20

#: Samples that the temperature is found by, at most.
_MOST_TO_CALIBRATE = 50_000

#: If time is limited: for how long epochs are tried to guess their time, and what share
#: of the limit is planned for.
_TRIAL_SECONDS = 0.2
_PLANNED_SHARE = 0.85
#: Rather than fewer epochs than these, there are fewer members.
_LEAST_EPOCHS = 24


def to_calibrate(sizes):
    """Which samples of some parts are enough to find the temperature by.

    Parameters
    ----------
    sizes : sequence of int
        Of the parts.

    Yields
    ------
    slice
        Of each part: together, every second, third, ... sample of all.
    """
    step = 1 + sum(sizes) // _MOST_TO_CALIBRATE
    start = 0
    for size in sizes:
        yield slice(-start % step, None, step)
        start += size


def temperature_of(outputs, codes, weights=None):
    """What to divide raw outputs by, for the least log loss of held-out samples.

    Parameters
    ----------
    outputs : ndarray of shape (n_samples, n_classes)
    codes : ndarray of shape (n_samples,)
        Numbers of their classes.
    weights : ndarray of shape (n_samples,), default=None

    Returns
    -------
    float

    References
    ----------
    Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks" (2017).
    """
    rows = np.arange(len(codes))
    # as if one sample more were of every class alike: without that, a few samples that
    # are all predicted right would ask for certainty
    share = 1 / (1 + len(codes))

    def loss(logarithm):
        losses = -log_softmax(outputs / math.exp(logarithm), axis=1)
        hits = np.average(losses[rows, codes], weights=weights)
        return (1 - share) * hits + share * losses.mean()

    found = minimize_scalar(loss, bounds=(math.log(0.2), math.log(5)), method="bounded")
    return math.exp(found.x)


@dataclass
class TabularFit:
    """Several networks, trained on the same table.

    Parameters
    ----------
    columns : sequence of fastmlp.tables.encodings.Column
    X : ndarray of shape (n_samples, n_columns), float32
    targets : fastmlp.data.targets.Targets
    sample_weight : ndarray of shape (n_samples,) or None
    recipe : fastmlp.tables.recipes.Recipe
    n_members : int
    score_for : callable
        From indices of samples, of X or else of X_val, None for all, to a function from
        their raw outputs to a score, to be high.
    random_state : numpy.random.RandomState
    n_folds : int
        One of so many parts of the samples is held out.
    X_val : ndarray, default=None
        Samples to be held out instead.
    n_jobs : int or None
    time_limit : float, default=inf
        Seconds.
    events : fastmlp.training.events.Events, default=None
    is_one_of_many : bool, default=False
        Whether other fits run beside this one: networks are then trained one after the
        other, on the threads that this one is given, and Ctrl-C ends all of it.

    Attributes
    ----------
    held_out : list of ndarray
        Indices of the samples that each was not trained on; None for a validation set.
    interrupted : bool
        By Ctrl-C.
    """

    columns: object
    X: np.ndarray
    targets: object
    sample_weight: object
    recipe: object
    n_members: int
    score_for: object
    random_state: np.random.RandomState
    n_folds: int = 5
    X_val: object = None
    n_jobs: object = None
    time_limit: float = math.inf
    events: object = None
    is_one_of_many: bool = False
    interrupted: bool = False

    def run(self):
        """Train all members, in pieces: see `fastmlp.engine.pieces`."""
        self.deadline = time.perf_counter() + self.time_limit
        self._plan_threads()
        if math.isfinite(self.time_limit):
            yield from self._plan_time()
        self.held_out = self._parts()
        self._draw_seeds()
        try:
            yield from self.train(self.works(range(self.n_members)))
        except KeyboardInterrupt:
            if self.is_one_of_many or not self.members:
                raise
            self.interrupted = True

    def train(self, works, on_done=lambda: None):
        """Do trainings, in pieces; what the first one that fails raises is raised.

        works : iterable
            See `works`.
        on_done : callable
            Called after each of them.
        """

        def on_result(_, result):
            if isinstance(result, Failure):
                raise result.error
            on_done()

        if self.is_one_of_many:
            yield from in_turn(works, on_result)
        else:
            side_by_side(works, self.n_threads, on_result)

    def close(self):
        """Forget what only training needs of members that are paused."""
        for member in self._begun.values():
            member.end()

    def like(self, recipe, columns):
        """Networks of another recipe, none trained yet: samples are held out alike."""
        other = replace(self, recipe=recipe, columns=columns, events=None)
        other.deadline, other.held_out = self.deadline, self.held_out
        other._plan_threads()
        other._draw_seeds()
        return other

    @property
    def members(self):
        """Those that have been trained, or are paused, in the order of `held_out`.

        Not those that were cut, by Ctrl-C or the deadline, before half of the epochs
        that another one has.
        """
        return [self._begun[position] for position in self._positions()]

    def _positions(self):
        epochs = {i: len(m.history.loss_curve) for i, m in self._begun.items()}
        least = max(epochs.values(), default=0) / 2
        return sorted(position for position, n in epochs.items() if n >= least)

    def outputs_of_held_out(self):
        """List of (raw outputs, indices of the samples) of members that have any.

        Instead of indices, there is None for the validation set.
        """
        found = [(self._begun[i].held_out, self.held_out[i]) for i in self._positions()]
        return [
            (own.outputs, samples)
            for own, samples in found
            if own is not None and own.outputs is not None
        ]

    def predict_held_out(self, predictions_of):
        """What the members predict of samples that they were not trained on.

        Parameters
        ----------
        predictions_of : callable
            Of raw outputs.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs) or None
            Means over the members that were not trained on a sample; NaN if all were.
            Of the validation set, if there is one. None if nothing was held out.
        """
        found = self.outputs_of_held_out()
        if not found:
            return None
        outputs, samples = zip(*found, strict=True)
        predictions = map(predictions_of, outputs)
        if self.X_val is not None:
            return sum(predictions) / len(outputs)
        return mean_of_held_out(predictions, samples, len(self.X))

    def works(self, positions, n_epochs=math.inf):
        """Trainings of some members, in pieces: see `fastmlp.engine.pieces`.

        Up to the end of an epoch, if there is one given: then they can go on later.
        """
        return (self._work(position, n_epochs) for position in positions)

    def _work(self, position, n_epochs):
        member = self._begun.get(position)
        if member is None:
            member = self._member(self.held_out[position], self._seeds[position])
        try:
            yield from member.train(n_epochs)
        finally:
            self._begun[position] = member  # whatever has ended it

    def _draw_seeds(self):
        seeds = self.random_state.randint(2**31, size=self.n_members)
        self._seeds = list(map(int, seeds))
        self._begun = {}

    def _parts(self):
        """What each member is not trained on."""
        n = len(self.X)
        if self.X_val is not None:
            return [None] * self.n_members
        if n < _LEAST_TO_SPLIT:
            return [np.arange(0)] * self.n_members
        codes = None
        if self.targets.kind == "classes":
            codes = self.targets.values[:, 0]
        held_out = splits(n, min(self.n_folds, n), self.random_state, codes)
        return [next(held_out) for _ in range(self.n_members)]

    def _plan_threads(self):
        """How many threads there are, and how many a member can use."""
        layers = layers_for(self.columns, self.targets.n_outputs, self.recipe)
        network = Network(layers, "float32")
        self.n_weights = network.n_weights
        pays = max(1, int(threads_that_pay(network, self.recipe.batch_size)))
        self.n_threads = resolve_threads(
            self.n_jobs, self.n_members * pays, self.n_members * pays
        )
        self._at_a_time = 1
        if not self.is_one_of_many:
            self._at_a_time = min(self.n_members, self.n_threads)
        self._threads_of_member = min(pays, self.n_threads)

    def _member(self, held_out, seed, samples=None, n_threads=None):
        held = None
        if samples is None:
            trains = np.ones(len(self.X), bool)
            if held_out is not None:
                trains[held_out] = False
            samples = np.flatnonzero(trains)
        if held_out is None:
            rows = np.arange(len(self.X_val))
            held = self.X_val, rows, self.score_for(None)
        elif len(held_out):
            held = self.X, held_out, self.score_for(held_out)
        return Member(
            self.columns, self.X, self.targets, self.sample_weight, self.recipe,
            samples, held, seed=seed, n_threads=n_threads or self._threads_of_member,
            deadline=self.deadline, events=self.events, make_job=self._make_job,
        )  # fmt: skip

    def _make_job(self, *data, **how):
        """What runs the steps of a member."""
        return job_for(*data, **how)

    def _plan_time(self):
        """Fewer epochs, or fewer members, so that all ends within the limit."""
        n = len(self.X)
        rows = np.arange(min(n, 20 * self.recipe.batch_size))
        n_threads = 1 if self.is_one_of_many else self.n_threads // self._at_a_time
        trial = self._member((), 0, rows, n_threads)
        trial.run.deadline = math.inf
        trial.run.max_iter = sys.maxsize  # a few epochs may take less than the trial
        trial.run.begin()
        epochs = 0
        yield from trial.run.epoch()  # which compiles kernels, or loads them
        started = time.perf_counter()
        while time.perf_counter() - started < _TRIAL_SECONDS:
            yield from trial.run.epoch()
            epochs += 1
        an_epoch = (time.perf_counter() - started) / epochs * n / len(rows)
        left = _PLANNED_SHARE * (self.deadline - time.perf_counter())
        rounds = math.ceil(self.n_members / self._at_a_time)
        affordable = left / (rounds * an_epoch)
        while affordable < min(_LEAST_EPOCHS, self.recipe.n_epochs) and rounds > 1:
            rounds -= 1
            self.n_members = rounds * self._at_a_time
            affordable = left / (rounds * an_epoch)
        n_epochs = max(1, min(self.recipe.n_epochs, int(affordable)))
        self.recipe = replace(self.recipe, n_epochs=n_epochs)
