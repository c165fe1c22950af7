"""The loop of a stochastic fit: epochs, mini-batches, stopping, history."""

import math
import time
from dataclasses import dataclass, field

import numpy as np

from fastmlp.events import Events
from fastmlp.shuffling import shuffler
from fastmlp.threads import Team

__all__ = ["History", "Stopping", "TimeIsUp", "run_steps", "train"]

#: Seconds that a kernel may run before Python gets a say (Ctrl-C, progress).
_CHUNK_SECONDS = 0.1


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
class TrainingState:
    """All that decides how a fit continues: what a checkpoint keeps."""

    job: object
    optimizer: object
    stopping: object
    random_state: object
    validation: object
    history: object


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


def run_steps(job, team, rates, deadline=math.inf):
    """All steps of a job, in pieces of about `_CHUNK_SECONDS`.

    Parameters
    ----------
    job : fastmlp.jobs.TrainingJob
    team : fastmlp.threads.Team
    rates : dict
        Keyword arguments of `job.run`.
    deadline : float, default=inf
        When to give up, by ``time.perf_counter``.

    Returns
    -------
    float
        The mean loss of the batches, weighted by their rows.

    Raises
    ------
    TimeIsUp
        Behind the deadline, if there are steps left.
    """
    total = 0.0
    step = 0
    chunk = job.steps_per_chunk
    while step < job.n_steps:
        end = min(step + chunk, job.n_steps)
        started = time.perf_counter()
        if started > deadline and step > 0:
            raise TimeIsUp
        total = job.run(team, step, end, **rates)
        seconds = time.perf_counter() - started
        # a slow machine makes the chunk shorter at once, a fast one longer slowly
        chunk = max(
            1, min(2 * chunk, int((end - step) * _CHUNK_SECONDS / max(seconds, 1e-9)))
        )
        step = end
    job.steps_per_chunk = chunk
    return total / job.n_samples


def _run_epoch(job, team, optimizer, ends, deadline):
    before = optimizer.n_updates
    job.steps_done = 0
    rates = optimizer.rates(*ends, job.n_steps)
    try:
        return run_steps(job, team, rates, deadline)
    finally:
        optimizer.n_updates = before + job.steps_done


def _shuffler(job, random_state):
    """A function that shuffles the samples of the job for the next epoch.

    If there is but one batch, its order stays: the same bits for any shuffle, and
    memory that is read in order.  The draws are made all the same.
    """
    order = job.order if job.n_steps > 1 else job.order.copy()
    return shuffler(random_state, order)


def train(
    job,
    optimizer,
    stopping,
    *,
    n_threads,
    max_iter,
    shuffle,
    random_state,
    n_seen=0,
    incremental=False,
    validation=None,
    events=None,
    say=None,
    deadline=math.inf,
    checkpoint=None,
    gives_up=False,
):
    """Train a network until it stops improving.

    Parameters
    ----------
    job : fastmlp.jobs.TrainingJob
        Network, data and buffers.
    optimizer : fastmlp.optimizer.Optimizer
        Its schedule and number of updates continue.
    stopping : Stopping
    n_threads : int
        Threads to run on.
    max_iter : int
        Epochs at most: of all calls, if `incremental`.
    shuffle : bool
        Whether to shuffle the samples before each epoch.
    random_state : numpy.random.RandomState
        Source of the shuffles.
    n_seen : int, default=0
        Samples that have been trained on before, for the schedule.
    incremental : bool, default=False
        Whether this is one epoch of many calls.
    validation : fastmlp.validation.Validation, default=None
        Is evaluated after each epoch. If `stopping` goes by a score, that is the one,
        and the best weights are those of the end.
    events : fastmlp.events.Events, default=None
        Is told of epochs and can stop the fit.
    say : callable, default=None
        Called with a line of text for each event, as scikit-learn prints them.
    deadline : float, default=inf
        When to end, by ``time.perf_counter``.
    checkpoint : fastmlp.checkpoint.Checkpoint, default=None
        Keeps what is needed to resume, and may have it from an earlier run.
    gives_up : bool, default=False
        Whether to end, and tell nobody of the epoch, if a loss is not finite: since all
        will be done again in float64.

    Returns
    -------
    History
    """
    history = History()
    events = events or Events()
    state = TrainingState(job, optimizer, stopping, random_state, validation, history)
    if checkpoint is not None:
        checkpoint.restore(state)
    mix = _shuffler(job, random_state) if shuffle else lambda: None
    first = len(history.loss_curve) + 1
    if incremental:  # epochs of other calls count, as far as they are known
        done, epochs = optimizer.n_updates / (job.n_steps * max_iter), 1
    else:
        done, epochs = 0.0, max_iter
    if history.finished:  # before it was interrupted
        epochs = 0
    job.refresh()
    try:
        with Team(n_threads) as team:
            for epoch in range(first, epochs + 1):
                events.begin()
                mix()
                ends = done + (epoch - 1) / max_iter, done + epoch / max_iter
                loss = _run_epoch(job, team, optimizer, ends, deadline)
                history.loss_curve.append(np.float64(loss))
                if gives_up and not math.isfinite(loss):
                    break
                if say:
                    say(f"Iteration {epoch}, loss = {loss:.8f}")
                score = None
                if validation is not None:
                    score, validation_loss = validation.evaluate(
                        team, is_first=not history.validation_scores
                    )
                    history.validation_scores.append(score)
                    history.validation_losses.append(validation_loss)
                    if say:
                        say(f"Validation score: {score:f}")
                if not stopping.by_score:
                    stopping.update(loss)
                elif stopping.update(score):
                    validation.keep()
                optimizer.schedule.epoch_ends(n_seen + epoch * job.n_samples)
                optimizer.schedule.waits(stopping.count, stopping.patience)
                if stopping.exhausted:
                    stops, what = optimizer.schedule.stops_on_plateau()
                    if say:
                        say(f"{stopping.message} {what}")
                    history.finished = stops
                    if not stops:
                        stopping.count = 0
                history.finished |= bool(events.end(epoch, loss, score))
                if checkpoint is not None:
                    checkpoint.keep(state)
                if history.finished:
                    break
                if time.perf_counter() > deadline:
                    raise TimeIsUp
                lost = not math.isfinite(loss) and not job.network.is_finite()
                if lost and not stopping.by_score:
                    break  # nothing can mend the weights: do not waste the time
    except KeyboardInterrupt:
        history.interrupted = True
    except TimeIsUp:
        history.out_of_time = True
    if stopping.by_score and (history.loss_curve or not history.out_of_time):
        validation.restore()
    history.finite = job.network.is_finite()
    return history
