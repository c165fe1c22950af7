"""Support for scikit-learn's callbacks (scikit-learn 1.9 and later)."""

import sklearn
from sklearn.utils.fixes import parse_version

from fastmlp.training.events import Events

__all__ = ["CallbackEvents", "CallbackSupport"]

if parse_version(sklearn.__version__) >= parse_version("1.9"):
    from sklearn.callback import CallbackSupportMixin as CallbackSupport
else:

    class CallbackSupport:
        """Placeholder for ``sklearn.callback.CallbackSupportMixin``."""


class CallbackEvents(Events):
    """Pass the epochs (iterations of 'lbfgs') of a fit to scikit-learn's callbacks.

    The fit is the root of scikit-learn's tree of tasks, each epoch a child.

    Parameters
    ----------
    estimator : object
        The estimator that is being fitted.
    X, y, sample_weight : object
        The data as the user gave them.
    model : callable
        Returns the current fitted attributes that predict needs.
    task : str, default="epoch"
        Name of a child task.
    """

    def __init__(self, estimator, X, y, sample_weight, model, task="epoch"):
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._arguments = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._model = model
        self._task = task
        self._child = None
        self._left = estimator.max_iter
        self._root = estimator._init_callback_context(max_subtasks=self._left)
        self.reads_weights = bool(getattr(estimator, "_skl_callbacks", ()))
        self._root.call_on_fit_task_begin(**self._arguments)

    def begin(self, epoch):
        # a fit that starts again in float64 may have more epochs than max_iter
        if self.reads_weights and self._left > 0 and self._child is None:
            self._left -= 1
            self._child = self._root.subcontext(task_name=self._task)
            self._child.call_on_fit_task_begin(
                **self._arguments, reconstruction_attributes=self._model
            )

    def end(self, epoch, loss, score=None):
        child, self._child = self._child, None
        return child is not None and child.call_on_fit_task_end(
            **self._arguments, reconstruction_attributes=self._model
        )

    def close(self):
        if self._child is not None:  # begun and not finished
            self.end(None, None)
        self._root.call_on_fit_task_end(
            **self._arguments, reconstruction_attributes=self._model
        )
