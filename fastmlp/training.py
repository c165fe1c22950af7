"""The loop of a stochastic fit: epochs, mini-batches, stopping, history."""

import time
from dataclasses import dataclass, field

import numpy as np

from fastmlp.events import Events
from fastmlp.shuffling import shuffler
from fastmlp.threads import Team

__all__ = ["History", "Stopping", "Validation", "run_steps", "train"]

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


class Validation:
    """Samples that are held out, and the best weights that the score on them saw.

    Parameters
    ----------
    job : fastmlp.jobs.PredictionJob
        Of the network in training, on these samples.
    score : callable
        From the outputs of the job, of shape (n_samples, n_outputs), to a float.
    goes_on : bool, default=False
        Whether the fit goes on from where another one ended. If then no epoch is the
        best one, the last weights stay, as with scikit-learn: else a fit that goes on
        again and again would never get away.
    """

    def __init__(self, job, score, *, goes_on=False):
        self.job = job
        self._score = score
        self._parameters = job.network.arena.arrays["parameters"]
        self._best = None if goes_on else self._parameters.copy()

    def score(self, team):
        """The score of the network as it is now."""
        return self._score(self.job.run(team))

    def keep(self):
        """Remember these weights."""
        self._best = self._parameters.copy()

    def restore(self):
        """Put back the weights that were kept last (or the initial ones)."""
        if self._best is not None:
            self._parameters[:] = self._best


@dataclass
class History:
    """What happened in a fit."""

    loss_curve: list = field(default_factory=list)
    validation_scores: list = field(default_factory=list)
    finished: bool = False  # before the last epoch: no improvement, or told to stop
    interrupted: bool = False  # by Ctrl-C
    finite: bool = True  # weights and biases


def run_steps(job, team, rates):
    """All steps of a job, in pieces of about `_CHUNK_SECONDS`.

    Parameters
    ----------
    job : fastmlp.jobs.TrainingJob
    team : fastmlp.threads.Team
    rates : dict
        Keyword arguments of `job.run`.

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
        total = job.run(team, step, end, **rates)
        seconds = time.perf_counter() - started
        # a slow machine makes the chunk shorter at once, a fast one longer slowly
        chunk = max(
            1, min(2 * chunk, int((end - step) * _CHUNK_SECONDS / max(seconds, 1e-9)))
        )
        step = end
    job.steps_per_chunk = chunk
    return total / job.n_samples


def _run_epoch(job, team, optimizer):
    before = optimizer.n_updates
    job.steps_done = 0
    try:
        return run_steps(job, team, optimizer.rates())
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
    validation=None,
    events=None,
    say=None,
):
    """Train a network until it stops improving.

    Parameters
    ----------
    job : fastmlp.jobs.TrainingJob
        Network, data and buffers.
    optimizer : fastmlp.optimizer.Optimizer
        Its schedule and number of updates go on.
    stopping : Stopping
    n_threads : int
        Threads to run on.
    max_iter : int
        Epochs at most.
    shuffle : bool
        Whether to shuffle the samples before each epoch.
    random_state : numpy.random.RandomState
        Source of the shuffles.
    n_seen : int, default=0
        Samples that have been trained on before, for the schedule.
    validation : Validation, default=None
        If given, its score decides and its best weights are those of the end.
    events : fastmlp.events.Events, default=None
        Is told of epochs and can stop the fit.
    say : callable, default=None
        Called with a line of text for each event, as scikit-learn prints them.

    Returns
    -------
    History
    """
    history = History()
    events = events or Events()
    say = say or (lambda line: None)
    job.refresh()
    mix = _shuffler(job, random_state) if shuffle else lambda: None
    try:
        with Team(n_threads) as team:
            for epoch in range(1, max_iter + 1):
                events.begin()
                mix()
                loss = np.float64(_run_epoch(job, team, optimizer))
                history.loss_curve.append(loss)
                say(f"Iteration {epoch}, loss = {loss:.8f}")
                if validation is None:
                    stopping.update(loss)
                else:
                    score = validation.score(team)
                    history.validation_scores.append(score)
                    say(f"Validation score: {score:f}")
                    if stopping.update(score):
                        validation.keep()
                optimizer.schedule.epoch_ends(n_seen + epoch * job.n_samples)
                if stopping.exhausted:
                    stops, what = optimizer.schedule.stops_on_plateau()
                    say(f"{stopping.message} {what}")
                    history.finished = stops
                    if not stops:
                        stopping.count = 0
                history.finished |= bool(events.end(epoch, loss))
                if history.finished:
                    break
                lost = not np.isfinite(loss) and not job.network.is_finite()
                if lost and validation is None:
                    break  # nothing can mend the weights: do not waste the time
    except KeyboardInterrupt:
        history.interrupted = True
    if validation is not None:
        validation.restore()
    history.finite = job.network.is_finite()
    return history
