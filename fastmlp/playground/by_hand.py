"""Back-propagation by hand: all numbers of one step on one mini-batch.

With A the activations (X for the first layer), W the weights, b the biases, n samples,
as in the tutorial:

    Z = A W + b,                       A_next = M * g(Z)
    D of the output = dL/dZ,           D = (D_next W_next^T) * M * g'(Z)
    dW = (A^T D + alpha W + l1 sign(W)) / n,     db = 1^T D / n

in float64, from the functions of the tables. M is the mask of dropout: 0, or 1 / (1 -
dropout). With class weights, D and the loss of a sample are times its weight, and n is
the sum of the weights.

The step is the first of a fit that starts from the network shown, as one does after a
weight has been set by hand: no momentum yet, and an average that is the weights. The
kernels make it; tests compare the gradients with theirs.
"""

import warnings
from copy import deepcopy
from typing import NamedTuple

import numpy as np

from fastmlp.playground.trainer import untrained
from fastmlp.tables.activations import ACTIVATIONS
from fastmlp.tables.losses import LOSSES
from fastmlp.tables.optimizers import DECAY_OF_ADAMW, OPTIMIZERS
from fastmlp.training.optimizer import Optimizer

__all__ = ["Step", "formulas", "step_by_hand"]


class Step(NamedTuple):
    """The numbers of a step; of the lists, one item for each layer."""

    pre_activations: list  # (n, units)
    activations: list  # of hidden layers (n, units), masked, then the raw outputs
    masks: list  # of hidden layers, (n, units); empty without dropout
    deltas: list  # dL/dZ of each sample, (n, units)
    losses: np.ndarray  # of each sample
    gradients: list  # like the weights
    bias_gradients: list  # like the biases
    after: tuple  # (weights, biases) after the step; not finite if it fails
    averages: tuple  # of both; empty without a moving average


@np.errstate(all="ignore")  # the page says what is not finite
def step_by_hand(experiment, snapshot, X, y, weights=None):
    """The step of an experiment on the samples X, y.

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
    masks = _masks(experiment, len(y))
    inputs, pre_activations = [a], []
    for layer, (coef, intercept) in enumerate(
        zip(coefs, snapshot.intercepts, strict=True)
    ):
        z = inputs[-1] @ coef + intercept
        pre_activations.append(z)
        a = row.value(z)
        inputs.append(a * masks[layer] if layer < len(masks) else a)
    inputs[-1] = pre_activations[-1]  # raw: the loss knows the output activation
    delta = loss.delta(pre_activations[-1], targets, *parameters)
    deltas = [delta * weights[:, None]]
    for layer in range(len(coefs) - 2, -1, -1):
        delta = deltas[0] @ coefs[layer + 1].T * row.derivative(pre_activations[layer])
        deltas.insert(0, delta * masks[layer] if masks else delta)
    n = weights.sum()
    penalties = [experiment.alpha * w + experiment.l1 * np.sign(w) for w in coefs]
    after = _after(experiment, snapshot, X, y, weights)
    share = 1 - experiment.ema_decay
    averages = tuple(
        [old + share * (new - old) for old, new in zip(*parts, strict=True)]
        for parts in zip((coefs, snapshot.intercepts), after, strict=True)
    )
    return Step(
        pre_activations,
        inputs[1:],
        masks,
        deltas,
        loss.value(pre_activations[-1], targets, *parameters) * weights,
        [
            (a.T @ d + penalty) / n
            for a, d, penalty in zip(inputs, deltas, penalties, strict=False)
        ],
        [d.sum(axis=0) / n for d in deltas],
        after,
        averages if experiment.ema_decay > 0 else (),
    )


def formulas(experiment):
    """Formulas of a step in LaTeX, from the tables, and numbers of the update.

    Returns
    -------
    dict
        "activation", "loss", "update": texts; "numbers": name -> number.
    """
    model = experiment.make_estimator()
    found = {
        "activation": ACTIVATIONS[experiment.activation].formula,
        "loss": LOSSES[experiment.loss_row].formula,
        "update": "",
        "numbers": {},
    }
    if experiment.solver == "lbfgs":
        return found
    optimizer = Optimizer.of(model)
    row = OPTIMIZERS[optimizer.name]
    found["update"] = row.formula
    rate = np.ravel(optimizer.rates(0, 1 / experiment.max_iter, 1)["rate"])[0]
    found["numbers"] = {"η": float(rate)} | {
        name: getattr(model, name)
        for name in row.parameters
        if not isinstance(getattr(model, name), bool)
    }
    if experiment.solver == "adamw":
        found["update"] = r"$w \leftarrow (1 - \eta \lambda)\, w$ <br> " + row.formula
        found["numbers"]["λ"] = DECAY_OF_ADAMW
    return found


def _masks(experiment, n):
    """What dropout multiplies the activations of hidden layers by, in a first step.

    The numbers of `fastmlp.kernels.masks`, in NumPy.
    """
    if experiment.dropout == 0:
        return []
    draws = np.random.RandomState(experiment.seed)
    seed, keep = draws.randint(2**31 - 1), 1 - experiment.dropout
    masks = []
    with np.errstate(over="ignore"):
        for layer, units in enumerate(experiment.hidden_layer_sizes, start=1):
            key = np.uint64(seed)
            for number in (0, 0, layer):  # the second is that of the step
                key = _mixed(key + np.uint64(number) + np.uint64(0x9E3779B97F4A7C15))
            rows = _mixed(key + np.arange(n, dtype=np.uint64)).astype(np.uint32)
            columns = np.arange(units, dtype=np.uint32) * np.uint32(0x9E3779B9)
            x = rows[:, None] + columns
            x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
            x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
            x ^= x >> np.uint32(16)
            masks.append((x < keep * 2**32) / keep)
    return masks


def _mixed(x):
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _after(experiment, snapshot, X, y, weights):
    """(weights, biases) after the step, which is a fit of one batch and one epoch."""
    model = experiment.make_estimator().set_params(
        shuffle=False, early_stopping=False, ema_decay=None
    )
    if experiment.task == "classification":
        # without a weight, samples of all classes: the batch may have not all of them
        every = np.arange(experiment.n_classes)
        X, y = np.concatenate([X, X[:1].repeat(len(every), 0)]), np.append(y, every)
        weights = np.append(weights, np.zeros(len(every)))
        model.set_params(class_weight=None)
    if experiment.solver != "lbfgs":
        model.set_params(batch_size=len(y))
    untrained(model, X, y)
    model.set_params(warm_start=True, callbacks=[lambda state: True])
    model.coefs_, model.intercepts_ = map(deepcopy, snapshot[1:])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(X, y, weights)
    except ValueError:  # weights that are not finite
        return tuple([np.full_like(a, np.nan) for a in part] for part in snapshot[1:])
    return model.coefs_, model.intercepts_
