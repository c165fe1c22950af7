"""Which of several models to average, and how much of each: greedy selection."""

import math

import numpy as np

__all__ = ["greedy_weights"]

#: Samples that models are chosen by, at most.
_MOST_SAMPLES = 20_000

#: Part of a loss by which another has to be lower: more than what rounding changes.
_TOLERANCE = 1e-9


def greedy_weights(predictions, loss, rows=None, *, n_rounds=50):
    """Weights of models whose mean predicts held-out samples with little loss.

    In each round, the model is added whose addition makes the loss of the mean least; a
    model may be added again.  Of all rounds the best one counts, if it is better than
    the mean of all models alike.

    Parameters
    ----------
    predictions : sequence of ndarray of shape (n_samples, ...)
        Of each model; with `rows`, of the samples that it was not trained on.
    loss : callable
        ``loss(predictions, samples)`` gives the loss, to be low, of predictions for the
        samples with these indices.
    rows : sequence of ndarray of int, default=None
        Indices of the samples that each model has predicted, each index once; None for
        all samples.  Where a model was trained on a sample, the predictions of those
        that were not stand in for its own, in turn: so that single models and means are
        compared on the same samples.
    n_rounds : int, default=50

    Returns
    -------
    ndarray of shape (n_models,)
        At least 0, with the sum 1; the same in every run.

    References
    ----------
    Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble selection from libraries of
    models", ICML (2004).
    """
    if rows is None:
        step = _step(len(predictions[0]))
        samples = np.arange(len(predictions[0]))[::step]
        predictions = [each[::step] for each in predictions]
    else:
        predictions, samples = _completed(predictions, rows)
    n_models = len(predictions)
    weights = np.full(n_models, 1 / n_models)
    if not len(samples):
        return weights
    best = loss(sum(predictions) / n_models, samples)
    best = math.inf if math.isnan(best) else best
    counts = np.zeros(n_models, int)
    total = np.zeros(predictions[0].shape)
    for n_added in range(1, n_rounds + 1):
        losses = [loss((total + each) / n_added, samples) for each in predictions]
        # of those that are equal, the one that was taken least often; NaN comes last
        chosen = np.lexsort((counts, losses))[0]
        counts[chosen] += 1
        total += predictions[chosen]
        least = losses[chosen]
        if least < best and not math.isclose(least, best, rel_tol=_TOLERANCE):
            best, weights = least, counts / n_added
    return weights


def _step(n_samples):
    """Every how many samples one is looked at."""
    return 1 + (n_samples - 1) // _MOST_SAMPLES


def _completed(predictions, rows):
    """Predictions of all models for all samples, and the indices of these samples."""
    n_models = len(predictions)
    n_samples = 1 + max(own.max(initial=-1) for own in rows)
    places = np.full((n_models, n_samples), -1)
    for of_model, own in zip(places, rows, strict=True):
        of_model[own] = np.arange(len(own))
    n_own = (places >= 0).sum(axis=0)
    samples = np.flatnonzero(n_own)
    samples = samples[:: _step(len(samples))]
    places, n_own = places[:, samples], n_own[samples]
    full = np.empty((n_models, len(samples), *predictions[0].shape[1:]))
    for of_model, own, place in zip(full, predictions, places, strict=True):
        of_model[place >= 0] = own[place[place >= 0]]
    # those that predict a sample, before those that do not
    order = np.argsort(places < 0, axis=0, kind="stable")
    columns = np.arange(len(samples))
    turns = (np.arange(n_models)[:, np.newaxis] + columns) % n_own
    who = np.where(
        places >= 0, np.arange(n_models)[:, np.newaxis], order[turns, columns]
    )
    return full[who, columns], samples
