"""Compile kernels before they are needed."""

import numpy as np
from scipy.sparse import csr_array

from fastmlp.engine.jobs import PredictionJob, TrainingJob
from fastmlp.engine.network import Network
from fastmlp.engine.options import StepOptions
from fastmlp.engine.shuffling import shuffle_once
from fastmlp.engine.threads import Team

__all__ = ["compile_kernels"]

_PLAIN = {"activation": "relu", "loss": "squared_error"}

#: Choices at compile time for what scikit-learn lacks: stored derivatives, dropout
#: masks, losses with parameters, and several of them.
_GENERAL = (
    {**_PLAIN, "activation": "gelu"},
    {**_PLAIN, "options": StepOptions(dropout=(0.0, 0.5))},
    {**_PLAIN, "loss": "huber", "options": StepOptions(loss_parameters=(1.0,))},
    {
        "activation": "gelu",
        "loss": "huber",
        "options": StepOptions(dropout=(0.0, 0.5), loss_parameters=(1.0,)),
    },
)


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
                for settings in _GENERAL if general else (_PLAIN,):
                    training = TrainingJob(
                        network, X, y, batch_size=batch_size, **settings
                    )  # fmt: skip
                    training.refresh()
                    training.run(alone, 0, 1)
            for dtype in ("float32", "float64"):
                PredictionJob(
                    network, X, activation="relu", output_activation="identity",
                    dtype=dtype,
                ).run(alone)  # fmt: skip
