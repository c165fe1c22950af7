"""Derivatives of a fitted network's outputs with respect to its inputs."""

import numpy as np

from fastmlp.engine.jobs import Job
from fastmlp.engine.network import Network
from fastmlp.engine.threads import Team, threads_for_prediction
from fastmlp.kernels import differentiating, passes
from fastmlp.kernels.buffers import Buffer, Sizes, round_up

__all__ = ["DerivativesJob", "input_derivatives"]


class DerivativesJob(Job):
    """See `input_derivatives`."""

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
        n_samples, n_features = len(self._kept["targets"]), self.network.units[0]
        shape = n_samples, self._n_cotangents, n_features
        derivatives = np.empty(shape, self.network.dtype)
        self._join(team)
        self._set(outputs=derivatives)
        passes.refresh_transposed(self.address, self.precision)

        def differentiate(thread, job=self):  # keeps memory alive in a thread
            differentiating.differentiate(job.address, job.precision, thread)

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
    # a pass back costs as much as one forward
    n_passes = 1 + cotangents.shape[1]
    n_threads = threads_for_prediction(n_jobs, network, len(X), n_passes)
    job = DerivativesJob(
        network, X, cotangents, activation=activation, n_threads=n_threads
    )
    with Team(n_threads) as team:
        return job.run(team)
