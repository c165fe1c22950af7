"""Initial weights."""

from itertools import pairwise

import numpy as np

from fastmlp.tables.initializations import INITIALIZATIONS

__all__ = ["glorot_uniform", "initial_weights"]


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
