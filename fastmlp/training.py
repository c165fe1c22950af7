"""The fit loop: epochs, mini-batches, stopping, history."""

import time
from dataclasses import dataclass, field

import numpy as np

from fastmlp.threads import Team

__all__ = ["History", "Rates", "Stopping", "run_epoch", "train"]

#: Seconds that a kernel may run before Python gets a say (Ctrl-C, progress).
_CHUNK_SECONDS = 0.1


class Stopping:
    """Decides when the loss has stopped improving, as scikit-learn does.

    Parameters
    ----------
    tol : float
        An epoch improves if its loss is below the best one less `tol`.
    patience : float
        Epochs in a row without improvement that are let pass.
    """

    def __init__(self, tol, patience):
        self.tol = tol
        self.patience = patience
        self.best_loss = np.inf
        self.count = 0

    def update(self, loss):
        """Note the loss of an epoch; returns whether patience is at its end."""
        self.count = self.count + 1 if loss > self.best_loss - self.tol else 0
        if loss < self.best_loss:  # not if it is NaN
            self.best_loss = loss
        return self.count > self.patience

    @property
    def message(self):
        """What to say when it is."""
        return (
            f"Training loss did not improve more than tol={self.tol:f}"
            f" for {self.patience} consecutive epochs."
        )


@dataclass
class Rates:
    """The optimizer's constants, see `fastmlp.jobs.TrainingJob.run`."""

    decay_1: float = 0.0
    decay_2: float = 0.0
    epsilon: float = 0.0


@dataclass
class History:
    """What happened in a fit."""

    loss_curve: list = field(default_factory=list)
    n_updates: int = 0  # steps of the optimizer
    converged: bool = False  # the loss stopped improving before the last epoch
    interrupted: bool = False  # by Ctrl-C
    finite: bool = True  # weights and biases


def run_epoch(job, team, schedule, rates, history):
    """All mini-batches of one epoch, in pieces of about `_CHUNK_SECONDS`.

    Returns
    -------
    float
        The mean loss of the batches, weighted by their rows.
    """
    total = 0.0
    step = 0
    chunk = job.steps_per_chunk
    while step < job.n_steps:
        end = min(step + chunk, job.n_steps)
        started = time.perf_counter()
        total += job.run(
            team,
            step,
            end,
            rate=schedule.rate,
            decay_1=rates.decay_1,
            decay_2=rates.decay_2,
            epsilon=rates.epsilon,
            n_updates=history.n_updates,
        )
        history.n_updates += end - step
        seconds = time.perf_counter() - started
        # a slow machine makes the chunk shorter at once, a fast one longer slowly
        chunk = max(
            1, min(2 * chunk, int((end - step) * _CHUNK_SECONDS / max(seconds, 1e-9)))
        )
        step = end
    job.steps_per_chunk = chunk
    return total / job.n_samples


def train(
    job,
    *,
    n_threads,
    schedule,
    stopping,
    rates,
    max_iter,
    shuffle,
    random_state,
    on_epoch=None,
    say=None,
):
    """Train a network until its loss stops improving.

    Parameters
    ----------
    job : TrainingJob
        Network, data and buffers.
    n_threads : int
        Threads to run on.
    schedule : object
        One of `fastmlp.schedules`.
    stopping : Stopping
    rates : Rates
    max_iter : int
        Epochs at most.
    shuffle : bool
        Whether to shuffle the samples before each epoch.
    random_state : numpy.random.RandomState
        Source of the shuffles.
    on_epoch : callable, default=None
        Called with the number of epochs done and the loss after each one.
    say : callable, default=None
        Called with a line of text for each event, as scikit-learn prints them.

    Returns
    -------
    History
    """
    history = History()
    say = say or (lambda line: None)
    job.refresh()
    try:
        with Team(n_threads) as team:
            for epoch in range(1, max_iter + 1):
                if shuffle:
                    random_state.shuffle(job.order)
                loss = run_epoch(job, team, schedule, rates, history)
                history.loss_curve.append(loss)
                say(f"Iteration {epoch}, loss = {loss:.8f}")
                if on_epoch is not None:
                    on_epoch(epoch, loss)
                if not np.isfinite(loss) and not job.network.is_finite():
                    break  # nothing can mend the weights: do not waste the time
                exhausted = stopping.update(loss)
                schedule.epoch_ends(epoch * job.n_samples)
                if exhausted:
                    stops, what = schedule.stops_on_plateau()
                    say(f"{stopping.message} {what}")
                    if stops:
                        history.converged = True
                        break
                    stopping.count = 0
    except KeyboardInterrupt:
        history.interrupted = True
    history.finite = job.network.is_finite()
    return history
