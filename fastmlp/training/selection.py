"""Which of several models to average, and how much of each: greedy selection."""

import math
import time

import numpy as np

__all__ = ["greedy_weights"]

#: Samples that models are chosen by, at most.
_MOST_SAMPLES = 10_000

#: Share of the models that a selection of many is among.
_SHARE = 0.75

#: Part of a loss by which another has to be lower: more than what rounding changes.
_TOLERANCE = 1e-9


def greedy_weights(
    predictions, loss, rows=None, *, n_bags=20, n_rounds=25, deadline=math.inf
):
    """Weights of models whose mean predicts held-out samples with little loss.

    In each round of a selection, the model is added whose addition makes the loss of
    the mean least; a model may be added again.  Of all rounds the best one counts, if
    it is better than the mean of all models alike.  The weights are those of many
    selections, averaged: a single one is too sure of what may be chance.

    Parameters
    ----------
    predictions : sequence of ndarray of shape (n_samples, n_outputs)
        Of each model; with `rows`, of the samples that it was not trained on.
    loss : callable
        ``loss(predictions, samples)`` gives the loss, to be low, of predictions for the
        samples with these indices, some of which may come several times.
    rows : sequence of ndarray of int, default=None
        Indices of the samples that each model has predicted, each index once; None for
        all samples.  Where a model was trained on a sample, the mean of those that were
        not stands in for it.
    n_bags : int, default=20
        Selections, each among three quarters of the models, and by samples drawn with
        replacement; 1 for one among all models, by all samples.
    n_rounds : int, default=25
        Of each selection.
    deadline : float, default=inf
        By ``time.perf_counter``: after it, no selection begins, and those that are done
        count.

    Returns
    -------
    ndarray of shape (n_models,)
        At least 0, with the sum 1; the same in every run.  All alike if no selection
        was better than that.

    References
    ----------
    Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble selection from libraries of
    models", ICML (2004).
    """
    n_models = len(predictions)
    if rows is None:
        step = _step(len(predictions[0]))
        samples = np.arange(len(predictions[0]))[::step]
        models = np.array([each[::step] for each in predictions], np.float64)
    else:
        models, samples = _completed(predictions, rows)
    weights, is_better, n_done = np.zeros(n_models), False, 0
    rng = np.random.RandomState(0)
    for _ in range(n_bags if len(samples) else 0):
        if time.perf_counter() > deadline:
            break
        n_done += 1
        among, drawn = np.arange(n_models), slice(None)
        if n_bags > 1:
            among = rng.permutation(n_models)[: math.ceil(_SHARE * n_models)]
            drawn = rng.randint(0, len(samples), len(samples))
        found = _selected(models[among][:, drawn], loss, samples[drawn], n_rounds)
        is_better |= found is not None
        weights[among] += 1 / len(among) if found is None else found
    return weights / n_done if is_better else np.full(n_models, 1 / n_models)


def _selected(models, loss, samples, n_rounds):
    """Weights by one selection; None if no round is better than all models alike."""
    best = loss(models.mean(axis=0), samples)
    best = math.inf if math.isnan(best) else best
    weights, taken = None, np.zeros(len(models), int)
    total = np.zeros(models.shape[1:])
    for n_added in range(1, n_rounds + 1):
        losses = [loss((total + each) / n_added, samples) for each in models]
        # of those that are equal, the one that was taken least often; NaN comes last
        chosen = np.lexsort((taken, losses))[0]
        taken[chosen] += 1
        total += models[chosen]
        least = losses[chosen]
        if least < best and not math.isclose(least, best, rel_tol=_TOLERANCE):
            best, weights = least, taken / n_added
    return weights


def _step(n_samples):
    """Every how many samples one is looked at."""
    return max(1, -(-n_samples // _MOST_SAMPLES))


def _completed(predictions, rows):
    """Predictions of all models for all samples, and the indices of these samples."""
    n_samples = 1 + max(own.max(initial=-1) for own in rows)
    has = np.zeros((len(rows), n_samples), bool)
    for of_model, own in zip(has, rows, strict=True):
        of_model[own] = True
    samples = np.flatnonzero(has.any(axis=0))
    samples = samples[:: _step(len(samples))]
    has = has[:, samples, np.newaxis]
    models = np.zeros((len(rows), len(samples), predictions[0].shape[1]))
    for of_model, own, each in zip(models, rows, predictions, strict=True):
        full = np.zeros((n_samples, each.shape[1]))
        full[own] = each
        of_model[:] = full[samples]
    means = models.sum(axis=0) / has.sum(axis=0)
    return np.where(has, models, means), samples
