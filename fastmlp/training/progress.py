"""What is told of a fit at the ends of its epochs: functions of the user, and a bar."""

import time
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np

from fastmlp.training.events import Events

__all__ = [
    "EpochState",
    "FunctionCallbacks",
    "MembersProgress",
    "Progress",
    "shows_progress",
]


def shows_progress(verbose):
    """Whether the parameter asks for a live line, and there is tqdm to draw it.

    Without tqdm the losses are printed, as with ``verbose=True``.
    """
    return isinstance(verbose, str) and find_spec("tqdm") is not None


class EpochState(SimpleNamespace):
    """What a function in `callbacks` is given.

    Attributes
    ----------
    epoch : int
        Epochs of this fit so far, or iterations of 'lbfgs'.
    loss : float
        Of this epoch.
    validation_score : float or None
        With early_stopping, or a validation set.
    seconds : float
        Since the fit began.
    estimator : object
        A copy with the weights of this epoch and without the callbacks, to predict
        with, to keep, or to pickle; made when it is first asked for.

    Raises
    ------
    AttributeError
        If `estimator` is first asked for when the epoch is over.
    """

    @property
    def estimator(self):
        if self._estimator is None:
            if self._make_estimator is None:
                raise AttributeError(
                    f"the weights of epoch {self.epoch} are gone: ask for "
                    "state.estimator within the callback, and keep that"
                )
            self._estimator = self._make_estimator()
        return self._estimator


class FunctionCallbacks(Events):
    """Calls functions at the ends of epochs; any that returns True stops the fit.

    Parameters
    ----------
    functions : sequence of callable
        Of an `EpochState`.
    make_estimator : callable
        Gives a copy of the estimator with the weights as they are now.
    """

    reads_weights = True

    def __init__(self, functions, make_estimator):
        self._functions = functions
        self._make_estimator = make_estimator
        self._started = time.perf_counter()

    def end(self, epoch, loss, score=None):
        state = EpochState(
            epoch=epoch,
            loss=float(loss),
            validation_score=None if score is None else float(score),
            seconds=time.perf_counter() - self._started,
            _estimator=None,
            _make_estimator=self._make_estimator,
        )
        try:
            answers = [function(state) for function in self._functions]
        finally:
            state._make_estimator = None
        return any(isinstance(a, bool | np.bool_) and a for a in answers)


class Progress(Events):
    """One live line: epoch, loss, validation score, rows per second, time left.

    Parameters
    ----------
    n_epochs : int
        At most.
    n_samples : int
        Rows of an epoch; 0 for no line.
    waits : callable, default=None
        Gives the seconds so far that training waited for rows of a source, and that
        what reads them waited for training; the line then says which of the two waits.
        None if there is no source.

    Attributes
    ----------
    listeners : list of Events
        Itself, or nobody.
    """

    def __init__(self, n_epochs, n_samples, waits=None):
        self.listeners = [self] if n_samples else []
        self._waits, self._before = waits, (0.0, 0.0, 0.0)
        if not n_samples:
            return
        from tqdm.auto import tqdm

        self._n_samples = n_samples
        self._line = tqdm(total=n_epochs, unit="epoch", leave=True)

    def end(self, epoch, loss, score=None):
        line = self._line
        done, seconds = line.n + 1, line.format_dict["elapsed"]
        figures = {"loss": f"{loss:.4g}"}
        if score is not None:
            figures["validation"] = f"{score:.4g}"
        figures["rows/s"] = f"{done * self._n_samples / max(seconds, 1e-9):.3g}"
        if self._waits is not None:
            figures["waits"] = self._who_waits(seconds)
        line.set_postfix(figures, refresh=False)
        line.update()
        return False

    def _who_waits(self, seconds):
        """Whether training or reading waited in this epoch, and for how much of it."""
        now = (*self._waits(), seconds)
        training, reading, whole = np.subtract(now, self._before)
        self._before = now
        who = "training" if training > reading else "reading"
        return f"{who} {min(1, max(training, reading) / max(whole, 1e-9)):.0%}"

    def close(self):
        if self.listeners:
            self._line.close()


class MembersProgress:
    """A line for each member of an ensemble that is done, or one live line for all.

    Parameters
    ----------
    n_members : int
    verbose : bool, int or str
        As the estimators have it.
    """

    def __init__(self, n_members, verbose):
        self._n_members, self._prints = n_members, bool(verbose)
        self._n_done, self._line = 0, None
        if shows_progress(verbose):
            from tqdm.auto import tqdm

            self._line = tqdm(total=n_members, unit="member", leave=True)

    def member_ends(self, member):
        """Tell of a member that has been fitted."""
        self._n_done += 1
        score = getattr(member, "best_validation_score_", None)
        if self._line is not None:
            self._line.set_postfix({"loss": f"{member.loss_:.4g}"}, refresh=False)
            self._line.update()
        elif self._prints:
            validated = "" if score is None else f", validation score: {score:f}"
            print(
                f"Member {self._n_done} of {self._n_members}: {member.n_iter_} epochs, "
                f"loss = {member.loss_:.8f}{validated}"
            )

    def close(self):
        """The live line ends."""
        if self._line is not None:
            self._line.close()
