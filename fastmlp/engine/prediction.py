"""Fitted networks, packed and ready to predict."""

from weakref import WeakKeyDictionary

import numpy as np

from fastmlp.data.inputs import numbers_only
from fastmlp.data.samples import kernels_can_read
from fastmlp.engine.jobs import PredictionJob
from fastmlp.engine.network import Network, units_of
from fastmlp.engine.threads import Team, threads_for_prediction

__all__ = ["PackedModel", "Predictor", "dtype_of_outputs", "packed_model"]

#: So many may be copied where that saves setting up a job.
_FEW_NUMBERS = 10_000

#: Most parameters of a network whose buffers are kept for the next prediction.
_KEPT_PARAMETERS = 1_000_000

#: Most rows, and most numbers, that the buffers of `PackedModel` hold at a time.
_ROWS = 64
_NUMBERS = 2**22


def dtype_of_outputs(*dtypes):
    """The dtype of predictions, float32 or float64, given those of X and weights."""
    single = np.result_type(*dtypes) == np.float32
    return np.dtype(np.float32 if single else np.float64)


class PackedModel:
    """Outputs of a network for rows of X.

    Keeps packed weights and buffers, so that a few rows cost little more than their
    arithmetic. Must not be used by several threads at the same time.

    Parameters
    ----------
    units : sequence of int
        Units of each layer.
    activation : str or sequence of str
        Names of rows in the kernels' table, one for all hidden layers or one per layer.
    output_activation : str
        Name of a row in the kernels' table.
    precision : {'float32', 'float64'}
        Precision of the computation.
    n_jobs : int or None
        Number of threads for many rows.
    """

    def __init__(self, units, activation, output_activation, precision, n_jobs):
        if not isinstance(activation, str):
            activation = tuple(activation)
        self._key = units, activation, output_activation, precision, n_jobs
        self._settings = {
            "activation": activation,
            "output_activation": output_activation,
        }
        self._n_jobs = n_jobs
        self._network = Network(units, precision)
        self._jobs = {}  # jobs for a few rows, by the dtype of their outputs

    def __reduce__(self):
        # jobs hold addresses in this process, and packing depends on the CPU
        return _outputs_with, (self._key, *self._network.read())

    def write(self, coefs, intercepts):
        """Check and pack these weights and biases."""
        self._network.write(coefs, intercepts)

    def copy(self):
        """A copy with the same weights."""
        other = PackedModel(*self._key)
        parameters = other._network.arena.arrays["parameters"]
        parameters[:] = self._network.arena.arrays["parameters"]
        return other

    @property
    def is_small(self):
        """Whether the buffers are small enough to keep."""
        return self._network.n_parameters <= _KEPT_PARAMETERS

    def _job_for(self, dtype):
        if dtype not in self._jobs:
            units = self._network.units
            rows = max(1, min(_ROWS, _NUMBERS // max(units)))
            some_rows = np.zeros((rows, units[0]), np.float32)
            self._jobs[dtype] = PredictionJob(
                self._network, some_rows, dtype=dtype, **self._settings
            )
        return self._jobs[dtype]

    def __call__(self, X, dtype):
        """Compute outputs of shape (n_samples, n_outputs).

        Parameters
        ----------
        X : ndarray or sparse matrix of shape (n_samples, n_features)
            float32 or float64.
        dtype : dtype
            Of the outputs, float32 or float64.
        """
        n_threads = threads_for_prediction(self._n_jobs, self._network, X.shape[0])
        if n_threads == 1 and isinstance(X, np.ndarray):
            is_readable = kernels_can_read(X)
            if X.size < _FEW_NUMBERS and not is_readable:
                is_single = X.dtype == np.float32
                X = np.array(X, np.float32 if is_single else np.float64, order="C")
                is_readable = True
            if is_readable:
                return self._job_for(dtype).outputs_for(X)
        job = PredictionJob(
            self._network, X, n_threads=n_threads, dtype=dtype, **self._settings
        )
        with Team(n_threads) as team:
            return job.run(team)


def _outputs_with(key, coefs, intercepts):
    outputs = PackedModel(*key)
    outputs.write(coefs, intercepts)
    return outputs


#: Packed models of each estimator that are not in use. They are only buffers: each call
#: writes the weights again. Not stored in the estimator, because prediction must not
#: change its attributes.
_idle = WeakKeyDictionary()


class packed_model:
    """Context manager: `PackedModel` with the weights of a fitted estimator.

    Weights are packed each time, because they may have been changed in place.

    Parameters
    ----------
    estimator : fastmlp.estimators.perceptron.MultiLayerPerceptron
        Fitted.
    precision : {'float32', 'float64'}
        Precision of the computation.
    """

    def __init__(self, estimator, precision):
        self._estimator = estimator
        activation = estimator.activation
        self._key = (
            tuple(units_of(estimator.coefs_)),
            activation if isinstance(activation, str) else tuple(activation),
            estimator.out_activation_,
            precision,
            estimator.n_jobs,
        )

    def _idle_of_estimator(self):
        try:
            return _idle.setdefault(self._estimator, {})
        except TypeError:  # a subclass that is not hashable
            return {}

    def __enter__(self):
        idle = self._idle_of_estimator()
        self._outputs = idle.pop(self._key, None) or PackedModel(*self._key)
        self._outputs.write(self._estimator.coefs_, self._estimator.intercepts_)
        return self._outputs

    def __exit__(self, *exception):
        idle = self._idle_of_estimator()
        if len(idle) > 1:  # for other settings, or of another fit
            idle.clear()
        if self._outputs.is_small:
            idle[self._key] = self._outputs


def _as_float64(X):
    """X as numbers; refused are text, dates and others that `predict` refuses."""
    if X.dtype.kind == "c":
        raise ValueError(f"Complex data not supported, got an X of dtype {X.dtype}")
    return numbers_only(X).astype(np.float64)


class Predictor:
    """Predict a few rows as fast as possible: see the method `predictor`.

    Several threads may call it at the same time; each then has its own buffers.

    Parameters
    ----------
    outputs : PackedModel
        With the weights written; not shared with others.
    weights : ndarray of shape (n_features, n_units)
        Of the first layer, for the number of features and the dtype of the model.
    finish : callable
        Turns outputs of shape (n_samples, n_outputs) into predictions.
    scaling : fastmlp.data.scaling.Standardization
        Scaling of the inputs and of the outputs.
    """

    def __init__(self, outputs, weights, finish, scaling):
        self._outputs = outputs
        self._idle = [outputs.copy()]
        self.n_features_in_ = weights.shape[0]
        self._dtypes = {
            np.dtype(dtype): dtype_of_outputs(dtype, weights.dtype)
            for dtype in (np.float32, np.float64)
        }
        self._finish = finish
        self._scaling = scaling

    def __call__(self, X):
        """Predict one row (n_features,) or several rows (n_samples, n_features)."""
        X = np.asarray(X)
        is_row = X.ndim == 1
        if is_row:
            X = X[np.newaxis]
        dtype = self._dtypes.get(X.dtype)
        if dtype is None:
            X = _as_float64(X)
            dtype = self._dtypes[X.dtype]
        if X.ndim != 2 or X.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has shape {X.shape}; expected (n_samples, {self.n_features_in_}) "
                f"or ({self.n_features_in_},)"
            )
        try:
            outputs = self._idle.pop()
        except IndexError:  # all are in use by other threads
            outputs = self._outputs.copy()
        results = outputs(self._scaling.scale_X(X), dtype)
        self._idle.append(outputs)
        predictions = self._finish(self._scaling.unscale(results))
        return predictions[0] if is_row else predictions
