"""Several networks of the same form, whose predictions are averaged."""

import numpy as np

from fastmlp.data.samples import kernels_can_read
from fastmlp.engine.jobs import PredictionJob
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
        self._settings = {
            "activation": activation,
            "output_activation": output_activation,
            "dtype": np.float64,
        }
        self._networks = []
        for member in members:
            network = Network(layers, precision)
            groups = {group: list(arrays) for group, arrays in member.items()}
            groups["weights"][-1] = groups["weights"][-1] / temperature
            groups["biases"][-1] = groups["biases"][-1] / temperature
            network.write(*(groups[group] for group in network.groups))
            self._networks.append(network)
        self._jobs = None

    def __call__(self, X, n_jobs=None):
        """The mean of the networks' predictions, of shape (n_samples, n_outputs).

        X : ndarray of shape (n_samples, n_columns), float32 or float64
        n_jobs : number of threads for many rows.
        """
        n_threads = threads_for_prediction(n_jobs, self._networks[0], len(X))
        if n_threads == 1 and len(X) <= _ROWS and kernels_can_read(X):
            outputs = PredictionJob.outputs_of_all(self._jobs_for_few(), X)
            total = sum(outputs[1:], start=outputs[0])
        else:
            total = 0.0
            with Team(n_threads) as team:
                for network in self._networks:
                    job = PredictionJob(
                        network, X, n_threads=n_threads, **self._settings
                    )
                    total += job.run(team)
        return total / len(self._networks)

    def _jobs_for_few(self):
        if self._jobs is None:
            rows = np.zeros((_ROWS, self._networks[0].units[0]), np.float32)
            self._jobs = [
                PredictionJob(network, rows, **self._settings)
                for network in self._networks
            ]
        return self._jobs
