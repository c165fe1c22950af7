"""Compiling kernels before they are needed."""

from itertools import product

import numpy as np
from scipy.sparse import csr_array

from fastmlp.general_jobs import GeneralTrainingJob
from fastmlp.jobs import PredictionJob, TrainingJob
from fastmlp.network import Network
from fastmlp.shuffling import shuffle_once
from fastmlp.threads import Team

__all__ = ["compile_kernels"]


def compile_kernels(precisions=("float32", "float64"), *, sparse=False, general=False):
    """Compile, or load from the cache, the kernels of the given precisions.

    Parameters
    ----------
    precisions : collection of str
        Of "float32" and "float64".
    sparse : bool, default=False
        Whether for sparse X, instead of dense X.
    general : bool, default=False
        Whether the kernels for what scikit-learn has not, instead of the plain ones.
    """
    shuffle_once()
    make_job = GeneralTrainingJob if general else TrainingJob
    activations = ("gelu", "relu") if general else ("relu",)
    for precision in precisions:
        network = Network((1, 1, 1), precision, trainable=True, n_moments=2)
        network.write([np.zeros((1, 1))] * 2, [np.zeros(1)] * 2)
        with Team(1) as alone:
            for batch_size in (1,) if sparse or general else (1, 16):  # tiles, strips
                y = np.zeros((batch_size, 1))
                X = csr_array(y) if sparse else y
                training = make_job(
                    network, X, y, batch_size=batch_size, activation=activations[0],
                    loss="squared_error", optimizer="gradient",
                )  # fmt: skip
                training.refresh()
                training.run(alone, 0, 1)
            for dtype, activation in product(("float32", "float64"), activations):
                PredictionJob(
                    network, X, activation=activation, output_activation="identity",
                    dtype=dtype,
                ).run(alone)  # fmt: skip
