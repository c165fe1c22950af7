"""Initial weights."""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

__all__ = ["INITIALIZATIONS", "glorot_uniform", "initial_weights"]


def glorot_uniform(units, gain, random_state, dtype):
    """Weights and biases drawn from U(-b, b), b = sqrt(gain / (fan_in + fan_out)).

    Numbers are drawn in scikit-learn's order (weights, then biases, layer by layer), so
    that the same seed gives the same network.

    Parameters
    ----------
    units : sequence of int
        Units of each layer.
    gain : float
        6, or 2 for logistic units.
    random_state : numpy.random.RandomState
        Source of the random numbers; its state advances.
    dtype : dtype
        Of the result; numbers are drawn in float64 and rounded to it.

    Returns
    -------
    coefs : list of ndarray of shape (fan_in, fan_out)
    intercepts : list of ndarray of shape (fan_out,)

    References
    ----------
    Glorot and Bengio, "Understanding the difficulty of training deep feedforward
    neural networks" (AISTATS 2010), equation 16.
    """
    coefs, intercepts = [], []
    for fan_in, fan_out in pairwise(units):
        bound = np.sqrt(gain / (fan_in + fan_out))
        coef = random_state.uniform(-bound, bound, (fan_in, fan_out))
        intercept = random_state.uniform(-bound, bound, fan_out)
        coefs.append(coef.astype(dtype, copy=False))
        intercepts.append(intercept.astype(dtype, copy=False))
    return coefs, intercepts


def _uniform(scale):
    """U(-b, b) with b = sqrt(3 scale(fan_in, fan_out)), of variance `scale`."""

    def draw(random_state, fan_in, fan_out):
        bound = np.sqrt(3 * scale(fan_in, fan_out))
        return random_state.uniform(-bound, bound, (fan_in, fan_out))

    return draw


def _normal(scale):
    def draw(random_state, fan_in, fan_out):
        deviation = np.sqrt(scale(fan_in, fan_out))
        return random_state.normal(0.0, deviation, (fan_in, fan_out))

    return draw


def _orthogonal(random_state, fan_in, fan_out):
    tall = random_state.normal(size=(max(fan_in, fan_out), min(fan_in, fan_out)))
    q, r = np.linalg.qr(tall)
    q *= np.sign(np.diag(r))  # otherwise q is not uniformly distributed
    return q if fan_in >= fan_out else q.T


class Initialization(NamedTuple):
    """One row: the distribution of initial weights."""

    name: str
    formula: str
    draw: Callable  # (random_state, fan_in, fan_out) -> weights
    reference: str


def _glorot(fan_in, fan_out):
    return 2 / (fan_in + fan_out)


def _he(fan_in, fan_out):
    return 2 / fan_in


def _lecun(fan_in, fan_out):
    return 1 / fan_in


_GLOROT = "Glorot and Bengio, AISTATS (2010)"
_HE = "He, Zhang, Ren and Sun, ICCV (2015)"

_ROWS = (
    Initialization("glorot_uniform", "uniform, variance 2 / (fan_in + fan_out)",
                   _uniform(_glorot), _GLOROT),
    Initialization("glorot_normal", "normal, variance 2 / (fan_in + fan_out)",
                   _normal(_glorot), _GLOROT),
    Initialization("he_uniform", "uniform, variance 2 / fan_in", _uniform(_he), _HE),
    Initialization("he_normal", "normal, variance 2 / fan_in", _normal(_he), _HE),
    Initialization("lecun_normal", "normal, variance 1 / fan_in", _normal(_lecun),
                   "LeCun, Bottou, Orr and Müller, Neural Networks: Tricks of the "
                   "Trade (1998)"),
    Initialization("orthogonal", "orthogonal columns (or rows) of length 1",
                   _orthogonal, "Saxe, McClelland and Ganguli, ICLR (2014)"),
)  # fmt: skip

#: name -> row
INITIALIZATIONS = {row.name: row for row in _ROWS}


def initial_weights(units, names, random_state, dtype):
    """Weights drawn from a row of `INITIALIZATIONS` for each layer; biases are 0.

    Parameters
    ----------
    units : sequence of int
        Units of each layer.
    names : sequence of str
        Names of rows of `INITIALIZATIONS`, one per layer of weights.
    random_state : numpy.random.RandomState
        Source of the random numbers; its state advances.
    dtype : dtype
        Of the result; numbers are drawn in float64 and rounded to it.

    Returns
    -------
    coefs : list of ndarray of shape (fan_in, fan_out)
    intercepts : list of ndarray of shape (fan_out,)
    """
    coefs = [
        INITIALIZATIONS[name].draw(random_state, *shape).astype(dtype, copy=False)
        for name, shape in zip(names, pairwise(units), strict=True)
    ]
    return coefs, [np.zeros(fan_out, dtype) for fan_out in units[1:]]
