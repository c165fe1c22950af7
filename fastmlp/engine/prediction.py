"""Fitted networks, packed and ready to predict."""

import numpy as np

from fastmlp.data.samples import kernels_can_read
from fastmlp.engine.ensemble import Ensemble
from fastmlp.engine.jobs import PredictionJob, ReusableJob
from fastmlp.engine.network import Network
from fastmlp.engine.threads import Team, threads_for_prediction

__all__ = ["PackedEnsemble", "PackedModel"]

#: Most parameters of a network whose buffers are kept for the next prediction.
_KEPT_PARAMETERS = 1_000_000

#: Most rows, and most numbers, that the buffers of `PackedModel` hold at a time.
_ROWS = 64
_NUMBERS = 2**22


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
        units = tuple(units)
        self._key = units, activation, output_activation, precision, n_jobs
        names = {"activation": activation, "output_activation": output_activation}
        self._names, self._n_jobs = names, n_jobs
        self._network = Network(units, precision)
        self._jobs = {}  # by the type of numbers in X, and the dtype of the outputs

    def __reduce__(self):
        # jobs hold addresses in this process, and packing depends on the CPU
        return _outputs_with, (self._key, *self._network.read())

    def write(self, *parameters):
        """Check and pack parameters, see `Network.write`."""
        self._network.write(*parameters)

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

    def _job_for(self, kind, dtype):
        if (kind, dtype) not in self._jobs:
            rows = max(1, min(_ROWS, _NUMBERS // max(self._network.units)))
            self._jobs[kind, dtype] = ReusableJob(
                self._network, rows, kind, dtype=dtype, **self._names
            )
        return self._jobs[kind, dtype]

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
            job = self._job_for(X.dtype.type, dtype)
            if len(X) <= job.n_rows or kernels_can_read(X):
                return job.outputs_for(X)
        job = PredictionJob(
            self._network, X, n_threads=n_threads, dtype=dtype, **self._names
        )
        with Team(n_threads) as team:
            return job.run(team)


class PackedEnsemble:
    """Mean outputs of several networks for rows of X.

    If all have the same form, weight and scaling (none), few rows take but one call.
    Must not be used by several threads at the same time.

    Parameters
    ----------
    models : sequence of PackedModel
        With weights written; not shared with others.
    scalings : sequence of fastmlp.data.scaling.Standardization
        Of the inputs and outputs of each.
    weights : ndarray of shape (n_models,)
        Of the models in the mean.
    """

    def __init__(self, models, scalings, weights):
        self._models, self._scalings, self._weights = models, scalings, weights
        is_scaled = any(part is not None for scaling in scalings for part in scaling)
        is_uneven = len({model._key for model in models}) > 1 or len({*weights}) > 1
        self._goes_together = not (is_scaled or is_uneven)
        self._together = None

    def __reduce__(self):
        return PackedEnsemble, (self._models, self._scalings, self._weights)

    def copy(self):
        """A copy with the same weights."""
        models = [model.copy() for model in self._models]
        return PackedEnsemble(models, self._scalings, self._weights)

    def __call__(self, X, dtype):
        """Compute outputs of shape (n_samples, n_outputs), of a dtype, for dense X."""
        if self._goes_together and len(X) <= _ROWS:
            if self._together is None:
                self._together = self._ensemble()
            mean = self._together(X, self._models[0]._key[-1])
        else:
            total = 0.0
            parts = zip(self._models, self._scalings, self._weights, strict=True)
            for model, scaling, weight in parts:
                outputs = model(scaling.scale_X(X), np.float64)
                total = total + weight * scaling.unscale(outputs)
            mean = total / self._weights.sum()
        return mean.astype(dtype, copy=False)

    def _ensemble(self):
        """The models as one."""
        units, activation, output_activation, precision, _ = self._models[0]._key
        if isinstance(activation, str):
            activation = (activation,) * (len(units) - 2)
        members = [
            dict(zip(model._network.groups, model._network.read(), strict=True))
            for model in self._models
        ]
        return Ensemble(
            units, members, activation, output_activation, precision=precision
        )


def _outputs_with(key, *parameters):
    outputs = PackedModel(*key)
    outputs.write(*parameters)
    return outputs
