"""Compile kernels before they are needed."""

import numpy as np
from scipy.sparse import csr_array

from fastmlp.engine.jobs import PredictionJob, TrainingJob
from fastmlp.engine.network import Network
from fastmlp.engine.shuffling import shuffle_once
from fastmlp.engine.threads import Team

__all__ = ["compile_kernels"]

#: Settings of steps in the plain kernel and in the full one, see `passes.train_steps`.
_PLAIN = {"activation": "relu", "loss": "squared_error"}
_FULL = {**_PLAIN, "activation": "gelu"}


def compile_kernels(precisions=("float32", "float64"), *, sparse=False, general=False):
    """Compile, or load from the cache, the kernels of the given precisions.

    Parameters
    ----------
    precisions : collection of str
        "float32", "float64" or both.
    sparse : bool, default=False
        Compile the kernels for sparse X instead of those for dense X.
    general : bool, default=False
        Compile the kernels for stored derivatives, for dropout and for losses with
        parameters, instead of those for plain fits.
    """
    shuffle_once()
    for precision in precisions:
        network = Network((1, 1, 1), precision, optimizer="gradient")
        network.write([np.zeros((1, 1))] * 2, [np.zeros(1)] * 2)
        with Team(1) as alone:
            for batch_size in (1,) if sparse else (1, 16):  # tiles, strips
                y = np.zeros((batch_size, 1))
                X = csr_array(y) if sparse else y
                training = TrainingJob(
                    network, X, y, batch_size=batch_size,
                    **(_FULL if general else _PLAIN),
                )  # fmt: skip
                training.refresh()
                training.run(alone, 0, 1)
            for dtype in ("float32", "float64"):
                PredictionJob(
                    network, X, activation="relu", output_activation="identity",
                    dtype=dtype,
                ).run(alone)  # fmt: skip
