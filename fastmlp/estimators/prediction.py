"""Fitted estimators as packed models, and the fastest way to predict a few rows."""

from weakref import WeakKeyDictionary

import numpy as np

from fastmlp.data.inputs import numbers_only
from fastmlp.engine.jobs import PredictionJob
from fastmlp.engine.network import Network, units_of
from fastmlp.engine.prediction import PackedModel
from fastmlp.engine.threads import Team, threads_for_prediction
from fastmlp.tables.activations import resolve_activations
from fastmlp.tables.fitted import parameters_of

__all__ = [
    "Predictor",
    "activations_of",
    "dtype_of_outputs",
    "packed_model",
    "packed_snapshot",
]


def dtype_of_outputs(*dtypes):
    """The dtype of predictions, float32 or float64, given those of X and weights."""
    single = np.result_type(*dtypes) == np.float32
    return np.dtype(np.float32 if single else np.float64)


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
    n_jobs : int or None
        Number of threads for many rows.
    output_activation : str, default=None
        None for that of the estimator.
    """

    def __init__(self, estimator, precision, n_jobs, output_activation=None):
        self._estimator = estimator
        activation = estimator.activation
        self._key = (
            tuple(units_of(estimator.coefs_)),
            activation if isinstance(activation, str) else tuple(activation),
            output_activation or estimator.out_activation_,
            precision,
            n_jobs,
        )

    def _idle_of_estimator(self):
        try:
            return _idle.setdefault(self._estimator, {})
        except TypeError:  # a subclass that is not hashable
            return {}

    def __enter__(self):
        idle = self._idle_of_estimator()
        self._outputs = idle.pop(self._key, None) or PackedModel(*self._key)
        self._outputs.write(*parameters_of(self._estimator))
        return self._outputs

    def __exit__(self, *exception):
        idle = self._idle_of_estimator()
        if len(idle) > 1:  # for other settings, or of another fit
            idle.clear()
        if self._outputs.is_small:
            idle[self._key] = self._outputs


def packed_snapshot(estimator, n_jobs):
    """A `PackedModel` of its own, with the weights of a fitted estimator as of now."""
    model = PackedModel(
        units_of(estimator.coefs_),
        estimator.activation,
        estimator.out_activation_,
        getattr(estimator, "precision_", None) or estimator._precision(),
        n_jobs,
    )
    model.write(*parameters_of(estimator))
    return model


def activations_of(estimator, layer, X, precision, n_jobs):
    """What a hidden layer of a fitted estimator gives for X.

    The predictions of the network that ends there.

    Parameters
    ----------
    estimator : fastmlp.estimators.perceptron.MultiLayerPerceptron
    layer : int
        From 0.
    X : ndarray or sparse matrix of shape (n_samples, n_features)
        As the network takes it.
    precision : {'float32', 'float64'}
    n_jobs : int or None

    Returns
    -------
    ndarray of shape (n_samples, n_units)
    """
    weights, biases = parameters_of(estimator)
    network = Network(units_of(weights[: layer + 1]), precision)
    network.write(weights[: layer + 1], biases[: layer + 1])
    rows = resolve_activations(estimator.activation, len(weights) - 1)
    n_threads = threads_for_prediction(n_jobs, network, X.shape[0])
    job = PredictionJob(
        network,
        X,
        activation=[row.name for row in rows[:layer]],
        last_activation=rows[layer].name,
        output_activation="identity",
        dtype=dtype_of_outputs(X.dtype, weights[0].dtype),
        n_threads=n_threads,
    )
    with Team(n_threads) as team:
        return job.run(team)


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
    outputs : PackedModel or fastmlp.engine.prediction.PackedEnsemble
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
