"""Several networks of the same form, whose predictions are averaged."""

import numpy as np

from fastmlp.engine.jobs import PredictionJob, ReusableJob
from fastmlp.engine.network import Network
from fastmlp.engine.threads import Team, threads_for_prediction

__all__ = ["Ensemble"]

#: Most rows of the buffers that stay for the next prediction.
_ROWS = 64


class Ensemble:
    """Predictions of several networks for rows of X, averaged.

    Keeps packed parameters and buffers, so that a few rows cost little more than their
    arithmetic. Must not be used by several threads at the same time.

    Parameters
    ----------
    layers : sequence of fastmlp.kernels.layers.layer.Layer, or of int
        See `fastmlp.engine.network.architecture_of`.
    members : sequence of dict
        Group of parameters -> list of arrays, as `Network.read` gives them.
    activation : sequence of str
        Of the hidden layers.
    output_activation : str
    temperature : float, default=1.0
        What raw outputs are divided by.
    precision : {'float32', 'float64'}, default='float32'
        Precision of the computation.
    """

    def __init__(
        self, layers, members, activation, output_activation, temperature=1.0,
        precision="float32",
    ):  # fmt: skip
        self._network = network = Network(layers, precision)
        self._n_members = len(members)
        stack = network.stack(len(members))
        for member, array in zip(members, stack, strict=True):
            groups = {group: list(arrays) for group, arrays in member.items()}
            groups["weights"][-1] = groups["weights"][-1] / temperature
            groups["biases"][-1] = groups["biases"][-1] / temperature
            network.write(*(groups[group] for group in network.groups), array=array)
        self._settings = {
            "activation": activation,
            "output_activation": output_activation,
            "dtype": np.float64,
            "array": stack,
        }
        self._job_for_few = ReusableJob(network, _ROWS, network.dtype, **self._settings)

    def __call__(self, X, n_jobs=None):
        """The mean of the networks' predictions, of shape (n_samples, n_outputs).

        X : ndarray of shape (n_samples, n_columns), float32 or float64
        n_jobs : number of threads for many rows.
        """
        if len(X) <= _ROWS:
            return self._job_for_few.outputs_for(X)
        n_threads = threads_for_prediction(
            n_jobs, self._network, len(X), self._n_members
        )
        job = PredictionJob(self._network, X, n_threads=n_threads, **self._settings)
        with Team(n_threads) as team:
            return job.run(team)
