"""Back-propagation by hand: all numbers of one step on one mini-batch.

With A the activations (X for the first layer), W the weights, b the biases, n samples,
as in the tutorial:

    Z = A W + b,                       A_next = g(Z)
    D of the output = dL/dZ,           D = (D_next W_next^T) * g'(Z)
    dW = (A^T D + alpha W + l1 sign(W)) / n,     db = 1^T D / n

in float64, from the functions of the tables. With class weights, D and the loss of a
sample are times its weight, and n is the sum of the weights. Tests compare the numbers
with those of the kernels.
"""

from typing import NamedTuple

import numpy as np

from fastmlp.tables.activations import ACTIVATIONS
from fastmlp.tables.losses import LOSSES

__all__ = ["Step", "step_by_hand"]


class Step(NamedTuple):
    """The numbers of a step; of the lists, one item for each layer."""

    pre_activations: list  # (n, units)
    activations: list  # of hidden layers (n, units), then the raw outputs
    deltas: list  # dL/dZ of each sample, (n, units)
    losses: np.ndarray  # of each sample
    gradients: list  # like the weights
    bias_gradients: list  # like the biases


def step_by_hand(experiment, snapshot, X, y, weights=None):
    """The step of an experiment on the samples X, y.

    Without dropout and the average of weights.

    Parameters
    ----------
    experiment : fastmlp.playground.experiment.Experiment
    snapshot : fastmlp.playground.trainer.Snapshot
        The network before the step.
    X : array of shape (n, n_features)
    y : array of shape (n,)
    weights : array of shape (n,), default=None
        Of the samples.

    Returns
    -------
    Step
    """
    row, loss = ACTIVATIONS[experiment.activation], LOSSES[experiment.loss_row]
    parameters = experiment.loss_parameters
    coefs = [np.asarray(coef, np.float64) for coef in snapshot.coefs]
    weights = np.ones(len(y)) if weights is None else weights
    a, targets = np.asarray(X, np.float64), np.asarray(y, np.float64)[:, None]
    inputs, pre_activations = [a], []
    for coef, intercept in zip(coefs, snapshot.intercepts, strict=True):
        z = inputs[-1] @ coef + intercept
        pre_activations.append(z)
        inputs.append(row.value(z))
    inputs[-1] = pre_activations[-1]  # raw: the loss knows the output activation
    delta = loss.delta(pre_activations[-1], targets, *parameters)
    deltas = [delta * weights[:, None]]
    for coef, z in zip(coefs[:0:-1], pre_activations[-2::-1], strict=True):
        deltas.insert(0, (deltas[0] @ coef.T) * row.derivative(z))
    n = weights.sum()
    penalties = [experiment.alpha * w + experiment.l1 * np.sign(w) for w in coefs]
    return Step(
        pre_activations,
        inputs[1:],
        deltas,
        loss.value(pre_activations[-1], targets, *parameters) * weights,
        [
            (a.T @ d + penalty) / n
            for a, d, penalty in zip(inputs, deltas, penalties, strict=False)
        ],
        [d.sum(axis=0) / n for d in deltas],
    )
