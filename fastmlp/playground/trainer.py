"""A fit that can be watched: run, pause, single epochs, and back in time."""

import threading
import time
import warnings
from typing import NamedTuple

import numpy as np

from fastmlp.tables.fitted import parameters_of

__all__ = ["Edit", "Snapshot", "Trainer", "untrained"]

#: Weights of so many epochs are kept at most; then those of every second, fourth, ...
_MOST_SNAPSHOTS = 2000

#: Epochs in a second at most, so that there is something to watch.
_EPOCHS_PER_SECOND = 60


class Snapshot(NamedTuple):
    """The network after an epoch."""

    epoch: int
    coefs: list
    intercepts: list


class Edit(NamedTuple):
    """A weight (or bias, which has no `start`) that was set by hand after an epoch."""

    epoch: int
    layer: int
    start: int | None
    end: int
    value: float

    def apply(self, coefs, intercepts):
        """Set it in the weights or biases of a network."""
        if self.start is None:
            intercepts[self.layer][self.end] = self.value
        else:
            coefs[self.layer][self.start, self.end] = self.value

    def code(self):
        """The line of Python that does so."""
        if self.start is None:
            return f"model.intercepts_[{self.layer}][{self.end}] = {self.value!r}"
        place = f"{self.start}, {self.end}"
        return f"model.coefs_[{self.layer}][{place}] = {self.value!r}"


def untrained(model, X, y):
    """Give an estimator its initial weights, as if it had been fitted for no epoch.

    Parameters
    ----------
    model : MLPClassifier or MLPRegressor
    X, y : array-like
        The training data.

    Returns
    -------
    model : object
        The estimator itself.
    """
    settings = model.get_params()
    # an epoch of steps that are too small to change a number
    model.set_params(
        solver="sgd", learning_rate="constant", learning_rate_init=1e-38, momentum=0.0,
        max_iter=1, alpha=0.0, l1=0.0, dropout=0.0, batch_size=len(y),
        callbacks=[lambda state: True],  # asked for, the end is no reason to warn
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    return model.set_params(**settings)


class Trainer:
    """Fits the estimator of an experiment in a thread of its own.

    Parameters
    ----------
    experiment : fastmlp.playground.experiment.Experiment
    is_racing : bool, default=False
        Whether epochs follow each other as fast as they can.
    changed : callable
        Called without arguments, from that thread, whenever there is something new.

    Attributes
    ----------
    snapshots : list of Snapshot
        The first is of epoch 0, before training.
    losses : list of (float, float)
        Of the training and of the test samples, from epoch 0 on.
    state : {"paused", "running", "finished", "failed"}
    seconds : list of float
        Of training until the end of each epoch, waits and pictures apart.
    changed_from : int
        The first epoch whose losses are others than they were, after an edit.
    edits : list of Edit
        What was set by hand.
    error : str
        If it failed.
    """

    def __init__(self, experiment, changed=lambda: None, *, is_racing=False):
        self.experiment = experiment
        self.data = experiment.make_data()
        if experiment.task == "classification":
            missing = experiment.n_classes - len(np.unique(self.data.y))
            if missing:
                raise ValueError(
                    f"{missing} of the classes have no training sample: raise the "
                    "share for training, or take another seed"
                )
        self.state = "paused"
        self.error = ""
        self.edits = []
        self.changed_from = 0
        self._model = untrained(experiment.make_estimator(), self.data.X, self.data.y)
        self.snapshots = [self._snapshot(0, self._model)]
        self.losses = [self._losses_of(self.snapshots[0])]
        self.seconds = [0.0]
        self._woken = 0.0  # when the epoch that is running began
        self._changed = changed
        self._least_seconds = 0 if is_racing else 1 / _EPOCHS_PER_SECOND
        self._every = 1  # of so many epochs, one is kept
        self._pending = []  # edits that the thread has not seen yet
        self._before = 0  # epochs before the fit that is running
        self._may = threading.Condition()
        self._left = 0  # epochs to go: a number, or infinite
        self._is_closed = False
        self._thread = threading.Thread(target=self._fit, daemon=True)
        self._thread.start()

    @staticmethod
    def _snapshot(epoch, model):
        copies = ([a.copy() for a in group] for group in parameters_of(model))
        return Snapshot(epoch, *copies)

    # --- what the page asks for -------------------------------------------------------

    def run(self):
        """Train on until the end, or until it is paused."""
        self._go_on(np.inf)

    def step(self, epochs=1):
        """Train for some epochs more, then pause."""
        self._go_on(self._left + epochs if self._left < np.inf else epochs)

    def pause(self):
        """Stop after the epoch that is running."""
        with self._may:
            self._left = 0
            self._may.notify_all()

    def _go_on(self, epochs):
        with self._may:
            if self.state in ("paused", "running"):
                self._left, self.state = epochs, "running"
                self._may.notify_all()
        self._changed()

    def edit(self, layer, start, end, value):
        """Set a weight, or a bias if `start` is None, and pause.

        Raises
        ------
        ValueError
            If there is no such weight, the value is no number, or training is over.
        """
        sizes = [coef.shape for coef in self.snapshots[0].coefs]
        fits = (
            all(type(n) is int for n in (layer, end))
            and 0 <= layer < len(sizes)
            and 0 <= end < sizes[layer][1]
            and (start is None or (type(start) is int and 0 <= start < sizes[layer][0]))
        )
        if not fits:
            raise ValueError("there is no such weight")
        if type(value) not in (int, float) or not abs(value) <= 1e6:
            raise ValueError("a weight must be a number from -1e6 to 1e6")
        # as the weights hold it, so that code with this number gives these bits
        value = float(np.float32(value))
        with self._may:
            if self.state in ("finished", "failed"):
                raise ValueError("training has ended: reset it to set a weight")
            self._left = 0
            self._pending.append((layer, start, end, value))
            self._may.notify_all()

    def close(self):
        """End the fit, and wait for its thread."""
        with self._may:
            self._is_closed = True
            self._may.notify_all()
        self._thread.join()

    @property
    def epoch(self):
        """Epochs so far."""
        return len(self.losses) - 1

    def at(self, epoch):
        """The last snapshot that is not of a later epoch."""
        found = self.snapshots[0]
        for snapshot in self.snapshots:
            if snapshot.epoch > epoch:
                break
            found = snapshot
        return found

    # --- the thread -------------------------------------------------------------------

    def _fit(self):
        data, model = self.data, self._model.set_params(callbacks=[self._after_epoch])
        try:
            while not self._is_closed:
                self._apply_edits()
                self._wait()
                if self._pending or self._is_closed:
                    continue
                model.set_params(warm_start=bool(self.edits))
                self._before = self.epoch
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # the page shows what happens
                    model.fit(data.X, data.y)
                if self._has_ended():
                    return
            self._end("finished")
        except Exception as error:
            self._end("failed", str(error))

    def _has_ended(self):
        """Whether a fit came to its own end, and not to that of an edit."""
        with self._may:
            if self._pending:
                return False
            self.state = "finished"
        self._changed()
        return True

    def _end(self, state, error=""):
        with self._may:
            self.state, self.error = state, error
        self._changed()

    def _apply_edits(self):
        """Set what was set by hand; the next fit goes on from there."""
        while self._pending:
            edit = Edit(self.epoch, *self._pending.pop(0))
            edit.apply(*parameters_of(self._model))
            self.edits.append(edit)
            self.snapshots[-1] = self._snapshot(edit.epoch, self._model)
            self.losses[-1] = self._losses_of(self.snapshots[-1])
            self.changed_from = edit.epoch
        self._changed()

    def _after_epoch(self, state):
        """The callback of the fit: keep what there is, and wait if it is to wait."""
        seconds = time.perf_counter() - self._woken
        snapshot = self._snapshot(self._before + state.epoch, state.estimator)
        self.seconds.append(self.seconds[-1] + seconds)
        self.losses.append(self._losses_of(snapshot))
        if len(self.snapshots) >= _MOST_SNAPSHOTS:
            self._every *= 2
        kept = (each for each in self.snapshots if each.epoch % self._every == 0)
        self.snapshots = [*kept, snapshot]
        with self._may:
            self._left -= 1
        self._changed()
        time.sleep(0)  # lets other threads have a turn
        with self._may:  # who asks for a pause need not wait, too
            self._may.wait_for(self._is_asked_to_stop, self._least_seconds)
        self._wait()
        is_last = snapshot.epoch >= self.experiment.max_iter  # without a warning
        return self._is_closed or bool(self._pending) or is_last

    def _is_asked_to_stop(self):
        return self._left <= 0 or self._is_closed or bool(self._pending)

    def _wait(self):
        """Until there are epochs to train for, or the fit is to end."""
        with self._may:
            if self._left <= 0 and not (self._is_closed or self._pending):
                self._left, self.state = 0, "paused"
                self._changed()
                self._may.wait_for(
                    lambda: self._left > 0 or self._is_closed or self._pending
                )
            if self._left > 0:
                self.state = "running"
        self._woken = time.perf_counter()

    def _losses_of(self, snapshot):
        """(loss of the training samples, of the test samples), without penalties."""
        from fastmlp.playground.pictures import loss_of

        data, experiment = self.data, self.experiment
        pairs = ((data.X, data.y), (data.X_test, data.y_test))
        return tuple(loss_of(experiment, snapshot, X, y) for X, y in pairs)
