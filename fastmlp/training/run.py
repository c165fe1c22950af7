"""The loop of a stochastic fit: epochs, mini-batches, stopping, history."""

import math
import time
from dataclasses import dataclass, field
from queue import Empty

import numpy as np
from sklearn.utils import check_random_state

from fastmlp.engine.jobs import TrainingJob
from fastmlp.engine.shuffling import Shuffler
from fastmlp.training.events import Events

__all__ = ["History", "Run", "Stopping", "TimeIsUp", "run_steps"]

#: Seconds that a kernel may run before Python gets a say (Ctrl-C, progress).
_CHUNK_SECONDS = 0.1

#: So many samples NumPy shuffles once in the time that our kernel takes to get ready.
_FEW_TO_SHUFFLE = 15_000


class Stopping:
    """Decides when a fit has stopped improving, as scikit-learn does.

    Parameters
    ----------
    tol : float
        An epoch improves if its loss is below the best one less `tol`, or its
        validation score at least the best one plus `tol`.
    patience : float
        Epochs in a row without improvement that are let pass.
    by_score : bool, default=False
        Whether what counts is a score, to be high, or a loss, to be low.
    best : float, default=None
        The best loss or score so far; None for none.
    count : int, default=0
        Epochs without improvement so far.
    """

    def __init__(self, tol, patience, *, by_score=False, best=None, count=0):
        self.tol = tol
        self.patience = patience
        self.by_score = by_score
        self.best = best
        if best is None:
            self.best = -np.inf if by_score else np.inf
        self.count = count

    def update(self, value):
        """Note an epoch's loss or score; returns whether it is the best so far."""
        if self.by_score:
            failed, best = value < self.best + self.tol, value > self.best
        else:
            failed, best = value > self.best - self.tol, value < self.best
        self.count = self.count + 1 if failed else 0
        if best:  # not if it is NaN
            self.best = value
        return best

    @property
    def exhausted(self):
        """Whether patience is at its end."""
        return self.count > self.patience

    @property
    def message(self):
        """What to say when it is."""
        what = "Validation score" if self.by_score else "Training loss"
        return (
            f"{what} did not improve more than tol={self.tol:f}"
            f" for {self.patience} consecutive epochs."
        )


@dataclass
class History:
    """What happened in a fit."""

    loss_curve: list = field(default_factory=list)
    validation_scores: list = field(default_factory=list)
    validation_losses: list = field(default_factory=list)
    finished: bool = False  # before the last epoch: no improvement, or told to stop
    out_of_time: bool = False
    interrupted: bool = False  # by Ctrl-C
    finite: bool = True  # weights and biases


class TimeIsUp(Exception):
    """The seconds that a fit may take are over."""


def run_steps(job, rates, n_threads, deadline=math.inf, first=0):
    """All steps of a job, in pieces of about `_CHUNK_SECONDS`: see `engine.pieces`.

    Parameters
    ----------
    job : fastmlp.engine.jobs.TrainingJob
    rates : dict
        Keyword arguments of `job.run`.
    n_threads : int
        Threads that a piece can use.
    deadline : float, default=inf
        When to give up, by ``time.perf_counter``.
    first : int, default=0
        Steps that were done before.

    Returns
    -------
    float
        The sum of the losses of the batches, each times its rows.

    Raises
    ------
    TimeIsUp
        Behind the deadline, if there are steps left.
    """
    total = 0.0
    step = first
    chunk = job.steps_per_chunk
    while step < job.n_steps:
        end = min(step + chunk, job.n_steps)
        team = yield n_threads
        started = time.perf_counter()
        if started > deadline and step > 0:
            raise TimeIsUp
        total = job.run(team, step, end, **rates)
        seconds = time.perf_counter() - started
        # a slow machine makes the chunk shorter at once, a fast one longer slowly
        chunk = _next_chunk(chunk, end - step, seconds)
        step = end
    job.steps_per_chunk = chunk
    return total


def _next_chunk(chunk, n_steps, seconds):
    """Steps of a chunk after one in which `n_steps` steps took some seconds."""
    return max(1, min(2 * chunk, int(n_steps * _CHUNK_SECONDS / max(seconds, 1e-9))))


def _shuffler(job, random_state, once=False):
    """A function that shuffles the samples of the job for the next epoch.

    If there is but one batch, its order stays: the same bits for any shuffle, and
    memory that is read in order.  The draws are made all the same.

    once : whether there is but one epoch.
    """
    order = job.order if job.n_steps > 1 else job.order.copy()
    if once and len(order) < _FEW_TO_SHUFFLE:
        return lambda: random_state.shuffle(order)
    return Shuffler(random_state, order)


@dataclass
class Run:
    """A stochastic fit in progress: all that decides how it continues.

    `train` runs it to its end, in pieces. Who wants to do something between epochs
    calls `begin`, then `epoch` until it returns False, then `end`.

    Parameters
    ----------
    job : fastmlp.engine.jobs.TrainingJob or None
        Network, data and buffers; None if there are `blocks`.
    optimizer : fastmlp.training.optimizer.Optimizer
        Its schedule and number of updates continue.
    stopping : Stopping
    random_state : numpy.random.RandomState
        Source of the shuffles.
    max_iter : int
        Epochs at most: of all calls, if `incremental`.
    n_threads : int, default=1
        Threads that it can use.
    shuffle : bool, default=True
        Whether to shuffle the samples before each epoch.
    n_seen : int, default=0
        Samples that have been trained on before, for the schedule.
    incremental : bool, default=False
        Whether this is one epoch of many calls.
    validation : fastmlp.training.validation.Validation, default=None
        Is evaluated after each epoch. If `stopping` goes by a score, that is the one,
        and the best weights are those of the end.
    events : fastmlp.training.events.Events
        Is told of epochs and can stop the fit.
    log : callable, default=None
        Called with a line of text for each event, as scikit-learn prints them.
    deadline : float, default=inf
        When to end, by ``time.perf_counter``.
    checkpoint : fastmlp.training.checkpoint.Checkpoint, default=None
        Keeps what is needed to resume, and may have it from an earlier run.
    gives_up : bool, default=False
        Whether to end, and tell nobody of the epoch, if a loss is not finite: since all
        will be done again in float64.
    blocks : fastmlp.training.stream.Blocks, default=None
        Gives a job for each of the blocks that an epoch then has.
    is_one_of_many : bool, default=False
        Whether Ctrl-C is to end other fits, too, and not only this one early.

    Attributes
    ----------
    history : History
    """

    job: object
    optimizer: object
    stopping: Stopping
    random_state: np.random.RandomState
    max_iter: int
    n_threads: int = 1
    shuffle: bool = True
    n_seen: int = 0
    incremental: bool = False
    validation: object = None
    events: Events = field(default_factory=Events)
    log: object = None
    deadline: float = math.inf
    checkpoint: object = None
    gives_up: bool = False
    blocks: object = None
    is_one_of_many: bool = False
    history: History = field(default_factory=History)

    def train(self):
        """Train until the network stops improving, in pieces: see `engine.pieces`.

        Returns
        -------
        History
        """
        self.begin()
        try:
            go_on = self._epochs if self._is_unwatched() else self.epoch
            while (yield from go_on()):
                pass
        except KeyboardInterrupt:
            if self.is_one_of_many:
                raise
            self.history.interrupted = True
        except TimeIsUp:
            self.history.out_of_time = True
        return self.end()

    @property
    def network(self):
        """What is trained."""
        return self._whole.network

    @property
    def n_steps(self):
        """Steps of an epoch."""
        return self._whole.n_steps

    @property
    def n_samples(self):
        """Samples of an epoch."""
        return self._whole.n_samples

    @property
    def _whole(self):
        """What has all samples of an epoch."""
        return self.job if self.blocks is None else self.blocks

    def begin(self):
        """Resume from the checkpoint, if there is one, and get ready."""
        self.events.train_begins()  # a file may have another rate than is set here
        if self.checkpoint is not None:
            self.checkpoint.restore(self)
        self._shuffle = None
        if self.shuffle and self.blocks is None:
            self._shuffle = _shuffler(self.job, self.random_state, self.incremental)
        # epochs of other calls count for the schedule, as far as they are known
        self._epochs_before, self._last_epoch = 0.0, self.max_iter
        if self.incremental:
            self._epochs_before = self.optimizer.n_updates / self.n_steps
            self._last_epoch = 1
        if self.blocks is None:
            self.job.refresh()

    def epoch(self):
        """Train for one epoch, unless there is none left, in pieces.

        Returns
        -------
        bool
            Whether another epoch should follow.

        Raises
        ------
        TimeIsUp
            If the deadline has passed: then, too, no epoch should follow.
        """
        history = self.history
        epoch = len(history.loss_curve) + 1
        if history.finished or epoch > self._last_epoch:
            return False
        self.events.begin(epoch)
        if self._shuffle:
            self._shuffle()
        loss = yield from self._run_steps(epoch)
        history.loss_curve.append(np.float64(loss))
        if self.gives_up and not math.isfinite(loss):
            return False
        if self.log:  # formatting takes longer than some steps
            self.log(f"Iteration {epoch}, loss = {loss:.8f}")
        score = yield from self._evaluate()
        return self._goes_on(epoch, loss, score)

    def _goes_on(self, epoch, loss, score=None):
        """Draw the consequences of an epoch; returns whether another should follow."""
        history = self.history
        self._update_stopping(loss, score)
        self.optimizer.schedule.epoch_ends(self.n_seen + epoch * self.n_samples)
        self._stop_or_slow_down()
        history.finished |= bool(self.events.end(epoch, loss, score))
        if self.checkpoint is not None:
            self.checkpoint.keep(self)
        if history.finished:
            return False
        if time.perf_counter() > self.deadline:
            raise TimeIsUp
        if self.stopping.by_score or math.isfinite(loss):
            return True
        return self.network.is_finite()  # nothing can mend weights that are not

    def _is_unwatched(self):
        """Whether nobody looks, and no setting changes, between two epochs.

        Others may draw from the global generator meanwhile, which a call of the kernel
        would keep them from.
        """
        can_shuffle = self._shuffle is None or (
            getattr(self._shuffle, "addresses", None) is not None
            and self.random_state is not check_random_state(None)
        )
        return (
            can_shuffle
            and isinstance(self.job, TrainingJob)
            and type(self.events) is Events
            and self.validation is self.log is self.checkpoint is None
            and self.deadline == math.inf
            and self.optimizer.is_steady
        )

    def _epochs(self):
        """`epoch`, for as many epochs as a chunk has room for, in one call."""
        job, history, optimizer = self.job, self.history, self.optimizer
        done = len(history.loss_curve)
        chunk = job.steps_per_chunk
        most = min(chunk // job.n_steps, self._last_epoch - done)
        if most < 2 or history.finished:
            return (yield from self.epoch())
        if self._shuffle:
            self._shuffle()
        stopping, goes_on = self.stopping, False
        team = yield self.n_threads
        started = time.perf_counter()
        job.loss_sums, job.steps_done = [], 0
        try:
            job.run_epochs(
                team,
                most,
                self._shuffle,
                tol=stopping.tol,
                patience=stopping.patience,
                best_loss=stopping.best,
                no_improvement=stopping.count,
                **optimizer.rates(0.0, 0.0, job.n_steps),
            )
        finally:  # after an interrupt, too: the weights are those of the last one
            optimizer.n_updates += job.steps_done
            losses = [total / job.n_samples for total in job.loss_sums]
            history.loss_curve += map(np.float64, losses)
            for loss in losses[:-1]:  # after which the fit does not end
                stopping.update(loss)
            if losses and not (self.gives_up and not math.isfinite(losses[-1])):
                goes_on = self._goes_on(len(history.loss_curve), losses[-1])
        seconds = time.perf_counter() - started
        job.steps_per_chunk = _next_chunk(chunk, job.steps_done, seconds)
        return goes_on

    def end(self):
        """Choose the weights that remain; returns the history."""
        history = self.history
        if self.stopping.by_score and (history.loss_curve or not history.out_of_time):
            self.validation.restore()
        history.finite = self.network.is_finite()
        return history

    def _run_steps(self, epoch):
        """All mini-batches of an epoch; returns their mean loss."""
        ends = (
            (self._epochs_before + done) / self.max_iter for done in (epoch - 1, epoch)
        )
        rates = self.optimizer.rates(*ends, self.n_steps)
        if self.blocks is None:
            total = yield from self._run_job(rates)
        else:
            total = yield from self._run_blocks(rates)
        return total / self.n_samples

    def _run_job(self, rates):
        """All mini-batches of the job; returns the sum of their losses times rows."""
        job, optimizer = self.job, self.optimizer
        n_updates = optimizer.n_updates
        job.steps_done = 0
        try:
            return (yield from run_steps(job, rates, self.n_threads, self.deadline))
        finally:
            optimizer.n_updates = n_updates + job.steps_done

    def _run_blocks(self, rates):
        """The same for all blocks of an epoch that have not been done."""
        blocks, rate = self.blocks, rates["rate"]
        while blocks.n_done < blocks.n_blocks:
            try:
                self.job = job = blocks.next_job(self.deadline)
            except Empty:
                raise TimeIsUp from None
            if self.shuffle:
                _shuffler(job, self.random_state, once=True)()
            own = {**rates, "n_updates": self.optimizer.n_updates}
            if isinstance(rate, np.ndarray):
                first = blocks.n_done * blocks.steps_of_a_block
                own["rate"] = rate[first : first + job.n_steps]
            blocks.total += yield from self._run_job(own)
            self.job = job = None  # its arrays are filled again
            blocks.n_done += 1
            is_last = blocks.n_done == blocks.n_blocks
            if self.checkpoint is not None and not is_last:
                self.checkpoint.keep(self)
        total = blocks.total
        blocks.n_done, blocks.total = 0, 0.0
        return total

    def _evaluate(self):
        """The score on the validation set, if there is one."""
        if self.validation is None:
            return None
        history = self.history
        is_first = not history.validation_scores
        team = yield self.n_threads
        score, loss = self.validation.evaluate(team, is_first=is_first)
        history.validation_scores.append(score)
        history.validation_losses.append(loss)
        self._log(f"Validation score: {score:f}")
        return score

    def _update_stopping(self, loss, score):
        if not self.stopping.by_score:
            self.stopping.update(loss)
        elif self.stopping.update(score):
            self.validation.keep()

    def _stop_or_slow_down(self):
        """When there was no improvement for long: end, or take smaller steps."""
        stopping, schedule = self.stopping, self.optimizer.schedule
        schedule.on_no_improvement(stopping.count, stopping.patience)
        if stopping.exhausted:
            stops, what = schedule.stops_on_plateau()
            self._log(f"{stopping.message} {what}")
            self.history.finished = stops
            if not stops:
                stopping.count = 0

    def _log(self, line):
        if self.log:
            self.log(line)
