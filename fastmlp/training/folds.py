"""What several networks are trained on, what they hold out, and how they predict it."""

import warnings

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold

__all__ = ["bootstrap", "mean_of_held_out", "score_of_held_out", "splits"]


def splits(n_samples, n_folds, random_state, codes=None):
    """Yield samples to hold out, again and again with new folds.

    Parameters
    ----------
    n_samples, n_folds : int
    random_state : numpy.random.RandomState
    codes : ndarray of shape (n_samples,), default=None
        Numbers of their classes, which are to be in all folds alike.
    """
    by_class = codes is not None and np.bincount(codes).max() >= n_folds
    splitter = StratifiedKFold if by_class else KFold
    while True:
        folds = splitter(n_folds, shuffle=True, random_state=random_state)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of rare classes
            indices = np.arange(n_samples)
            yield from (held_out for _, held_out in folds.split(indices, codes))


def bootstrap(n_samples, random_state):
    """(samples drawn with replacement, sorted; samples that were not drawn).

    Parameters
    ----------
    n_samples : int
    random_state : numpy.random.RandomState

    References
    ----------
    Breiman, "Bagging predictors", Machine Learning 24 (1996).
    """
    drawn = np.sort(random_state.randint(0, n_samples, n_samples))
    return drawn, np.setdiff1d(np.arange(n_samples), drawn)


def mean_of_held_out(predictions, held_out, n_samples, weights=None):
    """For each sample, the mean of the predictions of networks that held it out.

    Parameters
    ----------
    predictions : sequence of ndarray of shape (n_held_out, n_outputs)
        Of each network.
    held_out : sequence of ndarray of shape (n_held_out,)
        Indices of the samples that these are of.
    n_samples : int
    weights : sequence of float, default=None
        Of the networks.

    Returns
    -------
    ndarray of shape (n_samples, n_outputs)
        In the dtype of the predictions; NaN for samples that nobody held out.
    """
    weights = np.ones(len(predictions)) if weights is None else weights
    shape = n_samples, predictions[0].shape[1]
    total, weight_of = np.zeros(shape), np.zeros((n_samples, 1))
    for outputs, samples, weight in zip(predictions, held_out, weights, strict=True):
        total[samples] += weight * outputs
        weight_of[samples] += weight
    with np.errstate(invalid="ignore"):
        return (total / weight_of).astype(predictions[0].dtype, copy=False)


def score_of_held_out(outputs, targets, sample_weight=None):
    """The score of what `mean_of_held_out` gives, see `Targets.score`; NaN for none.

    Parameters
    ----------
    outputs : ndarray of shape (n_samples, n_outputs)
    targets : fastmlp.data.targets.Targets
    sample_weight : ndarray of shape (n_samples,), default=None
    """
    known = ~np.isnan(outputs).any(axis=1)
    weights = None if sample_weight is None else sample_weight[known]
    if not known.any() or (weights is not None and not weights.any()):
        return float("nan")
    return targets.of(known).score(outputs[known], weights)
