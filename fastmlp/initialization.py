"""Initial weights."""

from itertools import pairwise

import numpy as np

__all__ = ["glorot_uniform"]


def glorot_uniform(units, gain, random_state, dtype):
    """Weights and biases drawn from U(-b, b), b = sqrt(gain / (fan_in + fan_out)).

    The draws come in scikit-learn's order (weights, then biases, layer by layer),
    so the same seed gives the same network.

    Parameters
    ----------
    units : sequence of int
        Units of every layer.
    gain : float
        6, or 2 for logistic units.
    random_state : numpy.random.RandomState
        Source of the draws; advanced.
    dtype : dtype
        What the draws, made in float64, are rounded to.

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
