"""Derivatives of a fitted network's outputs with respect to its inputs."""

import numpy as np

from fastmlp.engine.jobs import Job, PredictionJob
from fastmlp.engine.network import Network
from fastmlp.engine.threads import Team, threads_for_prediction
from fastmlp.kernels import differentiating, passes
from fastmlp.kernels.buffers import Buffer, Sizes, round_up
from fastmlp.kernels.layers.encoding import Encoding
from fastmlp.tables.encodings import FLAG, Column

__all__ = ["DerivativesJob", "EncodedNetwork", "input_derivatives"]


class DerivativesJob(Job):
    """See `input_derivatives`; of a network with an Encoding, by what that gives."""

    def __init__(self, network, X, cotangents, *, activation, n_threads):
        super().__init__(network, X, activation, n_threads)
        n_samples, self._n_cotangents, n_outputs = cotangents.shape
        shape, dtype = network.shape, network.dtype
        declared = self._declared_workspace()
        own = {
            key: round_up(n, shape.lanes)
            for key, n in declared.items()
            if not isinstance(n, tuple)
        }
        rows_of_thread = -(-n_samples // n_threads)
        block_rows = self._block_rows(rows_of_thread, sum(own.values()))
        capacity = self._capacity(block_rows)
        sizes = Sizes(
            shape=shape,
            n_threads=n_threads,
            n_features=network.units[0],
            n_outputs=n_outputs,
            block_rows=block_rows,
            encoding=network.encoding,
        )
        parts = {key: n * capacity for key, n in own.items()}
        self._allocate([
            Buffer("workspace", parts, copies=n_threads),
            *differentiating.differentiation_buffers(sizes),
        ])  # fmt: skip
        self._place(declared)
        targets = np.require(cotangents, dtype, ["C_CONTIGUOUS", "ALIGNED"])
        self._set(
            transposed=network.arena.arrays["transposed"],
            targets=targets,
            n_targets=self._n_cotangents * n_outputs,
            capacity=capacity,
            block_rows=block_rows,
        )

    def run(self, team):
        """Compute; returns an array (n_samples, n_cotangents, n_features)."""
        network = self.network
        n_samples, encoded = len(self._kept["targets"]), network.encoded
        n_features = network.units[1 if encoded else 0]
        shape = n_samples, self._n_cotangents, n_features
        derivatives = np.empty(shape, network.dtype)
        self._join(team)
        self._set(outputs=derivatives)
        passes.refresh_transposed(self.address, self.precision)

        def differentiate(thread, job=self):  # keeps memory alive in a thread
            differentiating.differentiate(job.address, job.precision, thread, encoded)

        team.run(differentiate)
        return derivatives


def input_derivatives(parameters, X, cotangents, *, activation, precision, n_jobs):
    """Derivatives of weighted sums of raw outputs, for each row of X.

    Parameters
    ----------
    parameters : tuple of lists of ndarray
        Weights (fan_in, fan_out) and biases (fan_out,) of all layers.
    X : ndarray of shape (n_samples, n_features)
        float32 or float64.
    cotangents : ndarray of shape (n_samples, n_cotangents, n_outputs)
        The weights of the raw outputs in each sum.
    activation : str or sequence of str
        Of the hidden layers.
    precision : {'float32', 'float64'}
    n_jobs : int or None
        Number of threads.

    Returns
    -------
    ndarray of shape (n_samples, n_cotangents, n_features)
        In the precision of the computation.
    """
    weights, _ = parameters
    units = [len(weights[0]), *(w.shape[1] for w in weights)]
    network = Network(units, precision, differentiable=True)
    network.write(*parameters)
    return _derivatives(network, X, cotangents, activation, n_jobs)


def _derivatives(network, X, cotangents, activation, n_jobs):
    # a pass back costs as much as one forward
    n_passes = 1 + cotangents.shape[1]
    n_threads = threads_for_prediction(n_jobs, network, len(X), n_passes)
    job = DerivativesJob(
        network, X, cotangents, activation=activation, n_threads=n_threads
    )
    with Team(n_threads) as team:
        return job.run(team)


class EncodedNetwork:
    """The layers of a network for tables that come after its Encoding.

    Their inputs are what that gives: not only for rows of a table, but also between
    these.

    Parameters
    ----------
    layers : sequence of fastmlp.kernels.layers.dense.Dense
    groups : dict of str to list of ndarray
        Their parameters: group -> arrays, see `Network.read`.
    activation : str
        Of the hidden layers.
    precision : {'float32', 'float64'}
    n_jobs : int or None
        Number of threads.
    """

    def __init__(self, layers, groups, *, activation, precision, n_jobs):
        n_inputs = layers[0].fan_in
        passed_on = Encoding((Column(FLAG),) * n_inputs, n_cosines=0)
        network = Network([passed_on, *layers], precision, differentiable=True)
        none = [np.zeros(0, network.dtype)]
        own = {"factors": [np.ones(n_inputs)], "cosines": none, "tables": none}
        groups = {**groups, **own}
        network.write(*(groups[group] for group in network.groups))
        self._network, self._n_jobs = network, n_jobs
        self._activation = [activation] * (len(layers) - 1)

    def raw_outputs(self, E):
        """What the output units give for inputs E, in float64.

        Parameters
        ----------
        E : ndarray of shape (n_samples, n_inputs)

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
        """
        n_threads = threads_for_prediction(self._n_jobs, self._network, len(E))
        job = PredictionJob(
            self._network, E, activation=self._activation, dtype=np.float64,
            output_activation="identity", n_threads=n_threads,
        )  # fmt: skip
        with Team(n_threads) as team:
            return job.run(team)

    def derivatives(self, E, cotangents):
        """Derivatives of weighted sums of raw outputs by the inputs.

        Parameters
        ----------
        E : ndarray of shape (n_samples, n_inputs)
        cotangents : ndarray of shape (n_samples, n_cotangents, n_outputs)

        Returns
        -------
        ndarray of shape (n_samples, n_cotangents, n_inputs)
            In the precision of the computation.
        """
        return _derivatives(
            self._network, E, cotangents, self._activation, self._n_jobs
        )
