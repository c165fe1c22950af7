"""Compiling kernels before they are needed."""

import numpy as np
from scipy.sparse import csr_array

from fastmlp.jobs import PredictionJob, TrainingJob
from fastmlp.network import Network
from fastmlp.shuffling import shuffle_once
from fastmlp.threads import Team

__all__ = ["compile_kernels"]


def compile_kernels(precisions=("float32", "float64"), *, sparse=False):
    """Compile, or load from the cache, the kernels of the given precisions.

    Parameters
    ----------
    precisions : collection of str
        Of "float32" and "float64".
    sparse : bool, default=False
        Whether for sparse X, instead of dense X.
    """
    shuffle_once()
    for precision in precisions:
        network = Network((1, 1, 1), precision, trainable=True, n_moments=2)
        network.write([np.zeros((1, 1))] * 2, [np.zeros(1)] * 2)
        with Team(1) as alone:
            for batch_size in (1,) if sparse else (1, 16):  # in tiles, in strips
                y = np.zeros((batch_size, 1))
                X = csr_array(y) if sparse else y
                training = TrainingJob(
                    network, X, y, batch_size=batch_size, activation="relu",
                    loss="squared_error", optimizer="gradient",
                )  # fmt: skip
                training.refresh()
                training.run(alone, 0, 1)
            for dtype in ("float32", "float64"):
                PredictionJob(
                    network, X, activation="relu", output_activation="identity",
                    dtype=dtype,
                ).run(alone)  # fmt: skip
