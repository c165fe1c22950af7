"""What y means: which labels or numbers, which loss, and how well outputs fit them."""

from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.multiclass import unique_labels

__all__ = ["Targets", "class_targets", "labels_of", "number_targets"]


class Targets(NamedTuple):
    """Targets as the kernels take them.

    Attributes
    ----------
    loss : str
        Row of `fastmlp.kernels.losses.LOSSES`.
    values : ndarray of shape (n_samples, n_targets)
        Numbers, 0 and 1 for labels, or for ``log_loss`` the number of the class.
    n_outputs : int
        Output units.
    only_class : bool, default=False
        Whether there is but one class, which every prediction therefore is.
    """

    loss: str
    values: np.ndarray
    n_outputs: int
    only_class: bool = False

    def score(self, outputs, samples, sample_weight=None):
        """Accuracy or R^2 of the network's outputs for some of the samples.

        Parameters
        ----------
        outputs : ndarray of shape (len(samples), n_outputs)
        samples : ndarray of int
        sample_weight : ndarray of shape (n_samples,), default=None

        Returns
        -------
        float
            What ``accuracy_score`` or ``r2_score`` of scikit-learn give, in a
            fraction of the time, which would exceed that of a small epoch; NaN if a
            prediction is a number that is not finite.

        Raises
        ------
        ValueError
            If these samples weigh nothing.
        """
        y = self.values[samples]
        weights = None if sample_weight is None else sample_weight[samples]
        if weights is not None and weights.sum() == 0:
            raise ValueError(
                "The samples that early_stopping holds out have no weight: sample "
                "weights must contain more numbers that are not zero."
            )
        if self.only_class:
            return 1.0
        if self.loss == "log_loss":
            return float(np.average(outputs.argmax(axis=1) == y[:, 0], weights=weights))
        if self.loss == "binary_log_loss":
            hits = ((outputs > 0.5) == y).all(axis=1)
            return float(np.average(hits, weights=weights))
        if not np.isfinite(outputs).all():
            return float("nan")
        mean = np.average(y, axis=0, weights=weights)
        errors = np.average((y - outputs) ** 2, axis=0, weights=weights)
        variances = np.average((y - mean) ** 2, axis=0, weights=weights)
        # of a constant target: 1 if it was met, else 0
        constant = variances == 0
        ratio = np.where(
            constant, errors > 0, errors / np.where(constant, 1, variances)
        )
        return float(np.mean(1 - ratio))


def number_targets(y, loss):
    """Targets of a regression.

    Raises
    ------
    ValueError
        If y has no numbers, or is sparse, or if the loss is poisson and a number
        negative.
    """
    if issparse(y):
        raise ValueError("a regression needs a dense y, got a sparse one")
    if y.dtype.kind not in "fiub":
        raise ValueError(f"a regression needs a y of numbers, got the dtype {y.dtype}")
    if loss == "poisson" and np.any(y < 0):
        raise ValueError(
            "Some value(s) of y are out of the valid range of the loss 'poisson': "
            "y must not be negative."
        )
    values = y.reshape(-1, 1) if y.ndim == 1 else y
    return Targets(loss, values, values.shape[1])


def class_targets(y, binarizer):
    """Targets of a classification, given what binarizes its labels.

    Raises
    ------
    ValueError
        If y is a matrix of labels and the labels were single ones, or the reverse.
    """
    classes = binarizer.classes_
    multilabel = binarizer.y_type_.startswith("multilabel")
    if (y.ndim == 2) != multilabel:
        known = "multilabel" if multilabel else "single-label"
        other = "single-label" if multilabel else "multilabel"
        raise ValueError(
            f"The object was not fitted with {other} input, but with {known} input."
        )
    if binarizer.y_type_ == "multiclass":
        codes = np.searchsorted(classes, y).reshape(-1, 1)
        return Targets("log_loss", codes, len(classes))
    # whatever stands for "yes", 1 or another number that is not 0
    values = binarizer.transform(y).astype(bool)
    return Targets("binary_log_loss", values, values.shape[1], len(classes) == 1)


def labels_of(y, known=None, old=None, *, exactly=False):
    """What binarizes the labels y: fitted to them, or `known` if they are known.

    Parameters
    ----------
    y : ndarray
        Labels.
    known : LabelBinarizer, default=None
        The one of the fit that goes on.
    old : ndarray, default=None
        The classes of that fit.
    exactly : bool, default=False
        Whether y must have all the classes that are known.

    Raises
    ------
    ValueError
        If y has other classes than it may.
    """
    if known is None:
        return LabelBinarizer().fit(y)
    classes = unique_labels(y)
    if exactly:
        if set(classes) != set(old):
            raise ValueError(
                "warm_start can only be used where `y` has the same "
                "classes as in the previous call to fit. Previously "
                f"got {old}, `y` has {classes}"
            )
    elif len(np.setdiff1d(classes, old, assume_unique=True)):
        raise ValueError(
            "`y` has classes not in `self.classes_`. "
            f"`self.classes_` has {old}. 'y' has {classes}."
        )
    return known
