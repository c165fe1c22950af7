"""What is told of a fit at the ends of its epochs: functions of the user, and a bar."""

import time
from importlib.util import find_spec

import numpy as np

from fastmlp.training.events import Events

__all__ = [
    "Callback",
    "EpochState",
    "FunctionCallbacks",
    "MembersProgress",
    "Progress",
    "TuningProgress",
    "is_callback",
    "shows_progress",
]


def shows_progress(verbose):
    """Whether the parameter asks for a live line, and there is tqdm to draw it.

    Without tqdm the losses are printed, as with ``verbose=True``.
    """
    return isinstance(verbose, str) and find_spec("tqdm") is not None


class EpochState:
    """What callbacks are given.

    Attributes
    ----------
    epoch : int
        Epochs of this fit so far, or iterations of 'lbfgs'; where an epoch begins, its
        number.
    loss : float or None
        Of this epoch; None before one has ended.
    validation_score : float or None
        With early_stopping, or a validation set.
    seconds : float
        Since the fit began.
    learning_rate : float or None
        Of the steps that follow, before a bias correction of Adam. It can be set. None
        for 'lbfgs', which has none.
    gradient_norms : ndarray of shape (n_layers,)
        Of each layer, the Euclidean norm of the gradient of the training loss, with
        penalties and without dropout, for the weights of now. Computed when it is first
        asked for, which takes about as long as an epoch.
    estimator : object
        A copy with the weights of now and without the callbacks, to predict with, to
        keep, or to pickle; made when it is first asked for.

    Raises
    ------
    AttributeError
        If one of the last three is first asked for, or set, when training has gone on.
    """

    def __init__(self, epoch, loss, validation_score, seconds, fit):
        self.epoch, self.loss = epoch, loss
        self.validation_score, self.seconds = validation_score, seconds
        self._fit = fit
        self._rate = fit.learning_rate
        self._made = {}

    def __repr__(self):
        values = (
            f"{name}={getattr(self, name)!r}"
            for name in (
                "epoch",
                "loss",
                "validation_score",
                "seconds",
                "learning_rate",
            )
        )
        return f"EpochState({', '.join(values)})"

    def _make(self, name, make):
        if name not in self._made:
            if self._fit is None:
                raise AttributeError(
                    f"the weights of epoch {self.epoch} are gone: ask for "
                    f"state.{name} within the callback, and keep that"
                )
            self._made[name] = make()
        return self._made[name]

    @property
    def estimator(self):
        return self._make("estimator", lambda: self._fit.as_estimator())

    @property
    def gradient_norms(self):
        return self._make("gradient_norms", lambda: self._fit.gradient_norms())

    @property
    def learning_rate(self):
        return self._rate if self._fit is None else self._fit.learning_rate

    @learning_rate.setter
    def learning_rate(self, rate):
        if self._fit is None:
            raise AttributeError(
                f"epoch {self.epoch} is over: set state.learning_rate within the "
                "callback"
            )
        self._fit.set_learning_rate(rate)
        self._rate = self._fit.learning_rate

    def close(self):
        """Training goes on: what has not been asked for is gone."""
        self._rate, self._fit = self._fit.learning_rate, None


class Callback:
    """Base class of objects in `callbacks`; its methods do nothing.

    Each method is given an object with ``epoch``, ``loss``, ``validation_score``,
    ``seconds``, ``learning_rate`` (which can be set), ``gradient_norms`` and
    ``estimator`` (a copy that can predict). A plain function in `callbacks` stands for
    `on_epoch_end`.

    See Also
    --------
    MLPClassifier : Has the parameter `callbacks`.

    Examples
    --------
    >>> from fastmlp import Callback, MLPRegressor
    >>> class Warmup(Callback):
    ...     def on_epoch_begin(self, state):
    ...         state.learning_rate = 0.001 * min(1, state.epoch / 5)
    >>> model = MLPRegressor(callbacks=[Warmup()])
    """

    def on_train_begin(self, state):
        """Training begins; or begins anew in float64, after an overflow.

        Parameters
        ----------
        state : object
            See above.
        """

    def on_epoch_begin(self, state):
        """An epoch, or an iteration of 'lbfgs', begins.

        Parameters
        ----------
        state : object
            See above; ``epoch`` is the number of the epoch that begins.
        """

    def on_epoch_end(self, state):
        """An epoch, or an iteration of 'lbfgs', has ended.

        Parameters
        ----------
        state : object
            See above.

        Returns
        -------
        bool or None
            True to end the fit.
        """

    def on_train_end(self, state):
        """The fit is over, and the weights are those that remain.

        Not called if it ends with an error.

        Parameters
        ----------
        state : object
            See above.
        """


#: Methods of a callback that is an object.
_HOOKS = "on_train_begin", "on_epoch_begin", "on_epoch_end", "on_train_end"


def is_callback(value):
    """Whether something can be in the parameter `callbacks`."""
    return callable(value) or any(callable(getattr(value, h, None)) for h in _HOOKS)


class FunctionCallbacks(Events):
    """Calls functions and objects of the user; any that returns True stops the fit.

    Parameters
    ----------
    callbacks : sequence of callable or object
        Functions of an `EpochState`, or objects with methods as a `Callback` has them.
    fit : object
        With `learning_rate`, `set_learning_rate`, `gradient_norms` and `as_estimator`.
    """

    reads_weights = True

    def __init__(self, callbacks, fit):
        self._hooks = {hook: [] for hook in _HOOKS}
        for callback in callbacks:
            found = {h: getattr(callback, h) for h in _HOOKS if hasattr(callback, h)}
            for hook, function in (found or {"on_epoch_end": callback}).items():
                # what does nothing need not be called
                if getattr(function, "__func__", None) is not getattr(Callback, hook):
                    self._hooks[hook].append(function)
        self._fit = fit
        self._started = time.perf_counter()
        self._last = 0, None, None

    def _call(self, hook, epoch, loss=None, score=None):
        """What the functions of a hook return."""
        functions = self._hooks[hook]
        if not functions:
            return []
        state = EpochState(
            epoch,
            None if loss is None else float(loss),
            None if score is None else float(score),
            time.perf_counter() - self._started,
            self._fit,
        )
        try:
            return [function(state) for function in functions]
        finally:
            state.close()

    def train_begins(self):
        self._call("on_train_begin", 0)

    def begin(self, epoch):
        self._call("on_epoch_begin", epoch)

    def end(self, epoch, loss, score=None):
        self._last = epoch, loss, score
        answers = self._call("on_epoch_end", epoch, loss, score)
        return any(isinstance(a, bool | np.bool_) and a for a in answers)

    def close(self):
        self._call("on_train_end", *self._last)


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


class TuningProgress:
    """One live line: trainings of all configurations, best score, time left.

    Parameters
    ----------
    n_trainings : int
        Of networks, or parts of that, at most.
    """

    def __init__(self, n_trainings):
        from tqdm.auto import tqdm

        self._line = tqdm(total=n_trainings, unit="training", leave=True)

    def training_ends(self, best_score):
        """Tell of one of them."""
        self._line.set_postfix({"best score": f"{best_score:.4g}"}, refresh=False)
        self._line.update()

    def close(self):
        """The live line ends."""
        self._line.close()
