"""What several networks are trained on, what they hold out, and how they predict it."""

from itertools import repeat

import numpy as np

__all__ = ["bootstrap", "mean_of_held_out", "score_of_held_out", "splits"]


#: Samples that are sorted together.
_ROWS_AT_ONCE = 65_536


def _class_sizes(codes):
    """Number of each class -> its samples, in the order of their first ones."""
    sizes = {}
    for start in range(0, len(codes), _ROWS_AT_ONCE):
        classes, first, counts = np.unique(
            codes[start : start + _ROWS_AT_ONCE], return_index=True, return_counts=True
        )
        for i in np.argsort(first):
            code = int(classes[i])
            sizes[code] = sizes.get(code, 0) + int(counts[i])
    return sizes


def _folds(n_samples, n_folds, random_state, codes, sizes):
    """The number of each sample's fold, in the smallest dtype.

    To the sample what scikit-learn's KFold, or StratifiedKFold for `codes` of classes,
    draw, in a tenth of the memory.

    sizes : of the classes, see `_class_sizes`.
    """
    dtype = np.min_scalar_type(n_folds)
    fold_of = np.empty(n_samples, dtype)
    if codes is None:
        order = np.arange(n_samples, dtype=np.min_scalar_type(n_samples))
        random_state.shuffle(order)
        for fold, samples in enumerate(np.array_split(order, n_folds)):
            fold_of[samples] = fold
        return fold_of
    numbers, start = np.arange(n_folds, dtype=dtype), 0
    for code, size in sizes.items():
        end = start + size
        # by turns, in the order of classes
        counts = [len(range(start + (i - start) % n_folds, end, n_folds))
                  for i in range(n_folds)]  # fmt: skip
        folds = numbers.repeat(counts)
        random_state.shuffle(folds)
        fold_of[codes == code] = folds
        start = end
    return fold_of


def splits(n_samples, n_folds, random_state, codes=None):
    """Yield samples to hold out, again and again with new folds.

    Parameters
    ----------
    n_samples, n_folds : int
    random_state : numpy.random.RandomState
    codes : ndarray of shape (n_samples,), default=None
        Numbers of their classes, which are to be in all folds alike.

    Raises
    ------
    ValueError
        With scikit-learn's words, if there are more folds than samples.
    """
    if n_folds > n_samples:
        raise ValueError(
            f"Cannot have number of splits n_splits={n_folds} greater than the number"
            f" of samples: n_samples={n_samples}."
        )
    sizes = {} if codes is None else _class_sizes(codes)
    if max(sizes.values(), default=0) < n_folds:
        codes = None
    while True:
        fold_of = _folds(n_samples, n_folds, random_state, codes, sizes)
        for fold in range(n_folds):
            yield np.flatnonzero(fold_of == fold)


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
    predictions : iterable of ndarray of shape (n_held_out, n_outputs)
        Of each network.
    held_out : iterable of ndarray of shape (n_held_out,)
        Indices of the samples that these are of.
    n_samples : int
    weights : sequence of float, default=None
        Of the networks.

    Returns
    -------
    ndarray of shape (n_samples, n_outputs)
        In the dtype of the predictions; NaN for samples that nobody held out.
    """
    # one network at a time and in place: of many samples, each array takes much memory
    total = None
    weights = repeat(1.0) if weights is None else map(float, weights)
    for outputs, samples, weight in zip(predictions, held_out, weights, strict=False):
        if total is None:
            total = np.zeros((n_samples, outputs.shape[1]), outputs.dtype)
            weight_of = np.zeros((n_samples, 1), outputs.dtype)
        total[samples] += weight * outputs
        weight_of[samples] += weight
    with np.errstate(invalid="ignore"):
        total /= weight_of
    return total


def score_of_held_out(outputs, targets, sample_weight=None):
    """The score of what `mean_of_held_out` gives, see `Targets.score`; NaN for none.

    Parameters
    ----------
    outputs : ndarray of shape (n_samples, n_outputs)
    targets : fastmlp.data.targets.Targets
    sample_weight : ndarray of shape (n_samples,), default=None
    """
    known = ~np.isnan(outputs).any(axis=1)
    if not known.all():
        outputs, targets = outputs[known], targets.of(known)
        sample_weight = None if sample_weight is None else sample_weight[known]
    if not len(outputs) or (sample_weight is not None and not sample_weight.any()):
        return float("nan")
    return targets.score(outputs, sample_weight)
