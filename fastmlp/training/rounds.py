"""Training on shards: rounds of local steps from common weights, and their average.

In each *round*, every shard of the samples trains for some steps, all from the same
weights.  Then the weights, and what the optimizer keeps of gradients, are averaged.
Nothing here knows where a shard is: what it contributes depends on its samples, the
weights and the seed alone, so that it may be computed anywhere, and again.

References
----------
Stich, "Local SGD converges fast and communicates little", ICLR (2019).

Lin, Stich, Patel and Jaggi, "Don't use large mini-batches, use local SGD", ICLR (2020).
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from fastmlp.engine.pieces import run_alone
from fastmlp.engine.threads import resolve_threads, threads_that_pay
from fastmlp.training.noise import Squares, rate_factors, variance_ratio
from fastmlp.training.run import run_steps

__all__ = [
    "EVERY_STEP",
    "Contribution",
    "Round",
    "RoundsJob",
    "Shard",
    "State",
    "Training",
    "total_of",
]

#: The number of rounds that stands for one after each step.
EVERY_STEP = "step"

#: Rules whose steps are the larger, the less noise gradients have, but of whose state
#: it cannot be told apart as of Adam's: their rates are as if all were noise.
_ADAPTIVE = {"rmsprop", "lion"}

#: Rows of a mini-batch of a shard, at least: of fewer, each takes far longer.
_LEAST_BATCH_ROWS = 8

#: What a generator of random numbers is for.
_SHUFFLE, _DROPOUT = 0, 1


class Shard(NamedTuple):
    """Samples that train together, ready for the kernels.

    Attributes
    ----------
    X : ndarray or sparse matrix of shape (n_samples, n_columns)
    values : ndarray of shape (n_samples, n_targets)
        See `fastmlp.data.targets.Targets`.
    sample_weight : ndarray of shape (n_samples,) or None
    """

    X: object
    values: np.ndarray
    sample_weight: np.ndarray | None


class State(NamedTuple):
    """What training changes, in a layout that does not depend on the CPU.

    Attributes
    ----------
    vectors : ndarray of shape (n_vectors, n_parameters)
        The parameters, what the optimizer keeps, and their moving average, if there is
        one: `Network.vectors`.
    n_updates : int
        Steps so far.
    noise : float
        See `fastmlp.training.noise.Squares`.
    """

    vectors: np.ndarray
    n_updates: int = 0
    noise: float = 1.0

    @classmethod
    def of(cls, network, n_updates, noise=1.0):
        """The one of a network."""
        shape = len(network.vectors), network.n_parameters
        vectors = np.empty(shape, network.dtype)
        for name, vector in zip(network.vectors, vectors, strict=True):
            network.read(array=name, out=network.split(vector))
        return cls(vectors, n_updates, noise)

    def write(self, network):
        """Write it to a network, whose job is then to be refreshed."""
        for name, vector in zip(network.vectors, self.vectors, strict=True):
            network.write(*network.split(vector), array=name)


class Contribution(NamedTuple):
    """What shards add to a round: sums over shards.

    Attributes
    ----------
    vectors : ndarray of float64 or None
        Those of their `State`, times their weight. None if nothing was trained.
    n_updates : float
        Likewise.
    weight : float
        Rows that were trained on, or the sum of their sample weights.
    loss : float
        Sum, over batches, of loss times number of rows.
    gradient : ndarray of float64 or 0
        Of the first steps, times their weight; of Adam only.
    """

    vectors: np.ndarray | None = None
    n_updates: float = 0.0
    weight: float = 0.0
    loss: float = 0.0
    gradient: np.ndarray | float = 0.0

    def __add__(self, other):
        if self.vectors is None or other.vectors is None:
            vectors = other.vectors if self.vectors is None else self.vectors
        else:
            vectors = self.vectors + other.vectors
        return Contribution(
            vectors,
            self.n_updates + other.n_updates,
            self.weight + other.weight,
            self.loss + other.loss,
            self.gradient + other.gradient,
        )

    def mean(self, before):
        """The `State` after a round, of all contributions; `before` if there is none.

        before : State
        """
        if self.vectors is None:
            return before
        vectors = (self.vectors / self.weight).astype(before.vectors.dtype)
        return State(vectors, round(self.n_updates / self.weight))


def total_of(contributions):
    """The sum of contributions, in their order."""
    total = Contribution()
    for each in contributions:
        total += each
    return total


class Round(NamedTuple):
    """Which round it is.

    Attributes
    ----------
    epoch : int
        From 1.
    number : int
        In the epoch, from 0.
    rate : float or None
        The learning rate; None if it changes with every step.
    """

    epoch: int
    number: int
    rate: float | None


@dataclass(frozen=True)
class Training:
    """What all rounds of a training have in common.

    Parameters
    ----------
    plan : object
        ``plan.network()`` gives a network, ``plan.optimizer()`` an optimizer, and
        ``plan.job(network, shard, samples=, batch_size=, penalty=, decay=, seed=,
        n_threads=)`` the steps.
        `penalty` and `decay` are factors on penalties of weights and on their decay.
    excluded : list of ndarray of int
        Of each shard, rows that are not to be trained on.
    batch_rows : list of int
        Rows of the mini-batches of each shard.
    variance_ratio : float
        See `fastmlp.training.noise.variance_ratio`.
    n_rounds : int
        Of an epoch.
    max_iter : int
        Epochs.
    seed : int
    shuffle : bool, default=True
    """

    plan: object
    excluded: list
    batch_rows: list
    variance_ratio: float
    n_rounds: int
    max_iter: int
    seed: int
    shuffle: bool = True

    def contribution(self, position, shard, state, which, n_threads=1):
        """What a shard adds to a round.

        Parameters
        ----------
        position : int
            Of the shard.
        shard : Shard
        state : State
            Before the round.
        which : Round
        n_threads : int, default=1
            At most.
        """
        samples = self._samples(position, len(shard.values), which)
        weight = float(len(samples))
        if shard.sample_weight is not None:
            weight = float(shard.sample_weight[samples].sum())
        if not weight > 0:
            return Contribution()
        network = self.plan.network()
        rows = self.batch_rows[position]
        pays = max(1, int(threads_that_pay(network, rows)))
        n_threads = resolve_threads(
            min(n_threads, pays), pays, -(-rows // network.shape.rows)
        )
        optimizer = self.plan.optimizer()
        optimizer.n_updates = state.n_updates
        if which.rate is not None:
            optimizer.schedule.rate = which.rate
        is_corrected = corrects(optimizer.name, self.variance_ratio)
        n_steps = -(-len(samples) // rows)
        factors = np.ones(n_steps)
        if is_corrected:
            factors = rate_factors(
                state.noise, optimizer.beta_2, state.n_updates, n_steps
            )
        elif optimizer.name in _ADAPTIVE:
            factors *= math.sqrt(self.variance_ratio)
        job = self.plan.job(
            network,
            shard,
            samples=samples,
            batch_size=rows,
            # penalties are divided by the rows of a batch
            penalty=rows / sum(self.batch_rows),
            decay=1 / factors.mean(),  # which is multiplied with the rate
            seed=self._seed(_DROPOUT, position, which.epoch, which.number),
            n_threads=n_threads,
        )
        state.write(network)
        job.refresh()
        start, end = (
            (which.epoch - 1 + number / self.n_rounds) / self.max_iter
            for number in (which.number, which.number + 1)
        )
        rates = optimizer.rates(start, end, n_steps)
        rates["rate"] = rates["rate"] * factors
        loss, gradient = run_alone(
            self._steps(job, rates, n_threads, state if is_corrected else None)
        )
        after = State.of(network, state.n_updates + n_steps)
        return Contribution(
            weight * after.vectors.astype(np.float64),
            weight * after.n_updates,
            weight,
            loss,
            weight * gradient,
        )

    @staticmethod
    def _steps(job, rates, n_threads, before=None):
        """All steps of a job: (loss, gradient of the first one), if `before` is given.

        before : State
        """
        if before is None:
            return (yield from run_steps(job, rates, n_threads)), 0.0
        team = yield n_threads
        loss = job.run(team, 0, 1, **rates)
        gradient = _first_gradient(job.network, before, rates["beta_1"])
        if job.n_steps > 1:
            loss = yield from run_steps(job, rates, n_threads, first=1)
        return loss, gradient

    def _samples(self, position, n_rows, which):
        """The samples of a round, in the order in which to train on them."""
        order = np.arange(n_rows)
        if self.shuffle:
            seed = self._seed(_SHUFFLE, position, which.epoch)
            order = np.random.default_rng(seed).permutation(n_rows)
        if len(self.excluded[position]):
            trains = np.ones(n_rows, bool)
            trains[self.excluded[position]] = False
            order = order[trains[order]]
        rows = self.batch_rows[position]
        n_steps = -(-len(order) // rows) if rows else 0
        first, last = (
            n_steps * number // self.n_rounds * rows
            for number in (which.number, which.number + 1)
        )
        return order[first:last]

    def _seed(self, purpose, *numbers):
        sequence = np.random.SeedSequence([purpose, self.seed, *numbers])
        return int(sequence.generate_state(1)[0] >> 1)


def batch_rows_of(sizes, batch_size):
    """Rows of the mini-batches of each shard: their shares of a whole mini-batch.

    All shards then take as many steps in an epoch, up to rounding.

    Parameters
    ----------
    sizes : list of int
        Rows of each shard.
    batch_size : int
        Rows of a step, of all shards together.
    """
    n = sum(sizes)
    least = min(_LEAST_BATCH_ROWS, batch_size)
    return [min(size, max(least, round(batch_size * size / n))) for size in sizes]


def corrects(rule, ratio):
    """Whether `Squares` are kept, of shards whose gradients have a ratio of variances.

    rule : str
        Name of a row of `fastmlp.tables.optimizers`.
    """
    return rule == "adam" and ratio > 1


def _first_gradient(network, before, beta_1):
    """The gradient of one step of Adam since a `State`."""
    first = network.vectors.index("first_moment")
    moment = State.of(network, 0).vectors[first].astype(np.float64)
    return (moment - beta_1 * before.vectors[first]) / (1 - beta_1)


@dataclass
class RoundsJob:
    """The rounds of a training, as a `Run` sees steps: see `TrainingJob`.

    Parameters
    ----------
    network : fastmlp.engine.network.Network
        Has the state between two epochs, or where an error left the training.
    shards : object
        ``shards.sizes``: rows of each. ``shards.run(training)`` gives a function from
        (state, round) to the `Contribution` of all shards.
    plan : object
        See `Training`.
    excluded : list of ndarray of int
    batch_size : int
        Rows of a step, of all shards together.
    n_rounds : int or "step"
        Of an epoch; or as many as there are steps.
    max_iter : int
    seed : int
    shuffle : bool, default=True

    Attributes
    ----------
    n_samples : int
        To train on.
    n_steps : int
        Rounds of an epoch.
    steps_done : int
        Steps of each shard since the epoch began.
    """

    network: object
    shards: object
    plan: object
    excluded: list
    batch_size: int
    n_rounds: object
    max_iter: int
    seed: int
    shuffle: bool = True
    steps_done: int = 0
    steps_per_chunk: int = 1
    order: np.ndarray = field(default_factory=lambda: np.arange(0))
    _epoch: int = 0
    _loss: float = 0.0

    def __post_init__(self):
        sizes = [
            size - len(without)
            for size, without in zip(self.shards.sizes, self.excluded, strict=True)
        ]
        self.n_samples = sum(sizes)
        rows = batch_rows_of(sizes, self.batch_size)
        most = max(
            math.ceil(size / each)
            for size, each in zip(sizes, rows, strict=True)
            if each
        )
        wanted = most if self.n_rounds == EVERY_STEP else self.n_rounds
        self.n_steps = min(wanted, most)
        ratio = variance_ratio(sizes, rows)
        training = Training(
            self.plan, self.excluded, rows, ratio, self.n_steps, self.max_iter,
            self.seed, self.shuffle,
        )  # fmt: skip
        is_corrected = corrects(self.network.optimizer, ratio)
        self._squares = Squares(ratio) if is_corrected else None
        self._round = self.shards.run(training)

    def refresh(self):
        """Nothing: what is derived from weights, each contribution derives anew."""

    def run(self, team, first, last, *, rate=0.0, n_updates=0, **settings):
        """Rounds first..last of the epoch, see `TrainingJob.run`."""
        if first == 0:
            self._epoch, self._loss, self.steps_done = self._epoch + 1, 0.0, 0
        noise = 1.0 if self._squares is None else self._squares.noise
        state = State.of(self.network, n_updates + self.steps_done, noise)
        rate = None if isinstance(rate, np.ndarray) else float(rate)
        for number in range(first, last):
            total = self._round(state, Round(self._epoch, number, rate))
            state = self._after(state, total, settings)
            state.write(self.network)  # here, in case that the next is interrupted
            self.steps_done = state.n_updates - n_updates
            self._loss += total.loss
        return self._loss

    def _after(self, before, total, settings):
        """The `State` after a round.

        before : State
        total : Contribution
        settings : dict
            Of the steps.
        """
        after = total.mean(before)
        if self._squares is None or total.vectors is None:
            return after
        second = self.network.vectors.index("second_moment")
        after.vectors[second] = self._squares.corrected(
            before.vectors[second].astype(np.float64),
            total.vectors[second] / total.weight,
            total.gradient / total.weight,
            settings["beta_2"] ** (after.n_updates - before.n_updates),
        )
        return after._replace(noise=self._squares.noise)
