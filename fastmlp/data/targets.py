"""What y means: which labels or numbers, which loss, and how well outputs fit them."""

from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.metrics import d2_pinball_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.multiclass import unique_labels

from fastmlp.tables.losses import BINARY, LOSSES

__all__ = [
    "PLAIN_LABELS",
    "Targets",
    "are_indicators",
    "class_targets",
    "labels_of",
    "number_targets",
    "quantile_score",
]

#: Kinds of dtypes that can only be labels: truth values, integers, text.
PLAIN_LABELS = "biuU"


class Targets(NamedTuple):
    """Targets as the kernels take them.

    Attributes
    ----------
    loss : str
        Row of `fastmlp.tables.losses`.
    values : ndarray of shape (n_samples, n_targets)
        Numbers, 0 and 1 for labels, or for ``log_loss`` the number of the class.
    n_outputs : int
        Output units.
    kind : str
        What outputs stand for: "numbers", "quantiles" of one number, "classes" or
        "labels".
    only_class : bool, default=False
        Whether there is but one class, which every prediction therefore is.
    parameters : tuple of float, default=()
        Of the loss.
    smoothing : float, default=0.0
        Share of a label that is spread over it and its opposite.
    """

    loss: str
    values: np.ndarray
    n_outputs: int
    kind: str
    only_class: bool = False
    parameters: tuple = ()
    smoothing: float = 0.0

    def for_kernels(self):
        """The values that the loss is told."""
        if self.smoothing == 0:
            return self.values
        return self.values * (1 - self.smoothing) + self.smoothing / 2

    def of(self, samples):
        """The targets of some of the samples."""
        return self._replace(values=self.values[samples])

    def score(self, outputs, weights=None):
        """Accuracy or R^2 (of a list of quantiles: D^2) of the network's predictions.

        Parameters
        ----------
        outputs : ndarray of shape (n_samples, n_outputs)
        weights : ndarray of shape (n_samples,), default=None

        Returns
        -------
        float
            What ``accuracy_score`` or ``r2_score`` of scikit-learn give, in a
            fraction of the time, which would exceed that of a small epoch; NaN if a
            prediction is a number that is not finite.

        Raises
        ------
        ValueError
            If the samples weigh nothing.
        """
        y = self.values
        if weights is not None:
            # by a power of two, which changes no bit: then their sum is in range
            exponent = np.frexp(np.abs(weights).max())[1]
            weights = weights / np.ldexp(1.0, exponent - 1)
        if weights is not None and weights.sum() == 0:
            raise ValueError(
                "The samples that early_stopping holds out have no weight: sample "
                "weights must contain more numbers that are not zero."
            )
        if self.only_class:
            return 1.0
        if self.kind == "classes":
            return float(np.average(outputs.argmax(axis=1) == y[:, 0], weights=weights))
        if self.kind == "labels":
            hits = ((outputs > 0.5) == y).all(axis=1)
            return float(np.average(hits, weights=weights))
        if not np.isfinite(outputs).all():
            return float("nan")
        if self.kind == "quantiles":
            return quantile_score(y[:, 0], outputs, self.parameters, weights)
        # float32 cannot hold the squares of numbers that it holds; what is too far off
        # even for float64 scores minus infinity or NaN
        y, outputs = y.astype(np.float64), outputs.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = np.average(y, axis=0, weights=weights)
            errors = np.average((y - outputs) ** 2, axis=0, weights=weights)
            variances = np.average((y - mean) ** 2, axis=0, weights=weights)
            # of a constant target: 1 if it was met, else 0
            constant = variances == 0
            ratio = np.where(
                constant, errors > 0, errors / np.where(constant, 1, variances)
            )
        return float(np.mean(1 - ratio))


def quantile_score(y, predictions, quantiles, sample_weight=None):
    """The mean of D^2 over quantiles: 1 less the ratio of losses to those of constants.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
    predictions : ndarray of shape (n_samples, n_quantiles)
    quantiles : sequence of float
    sample_weight : array-like of shape (n_samples,), default=None
    """
    return float(
        np.mean([
            d2_pinball_score(y, column, alpha=q, sample_weight=sample_weight)
            for q, column in zip(quantiles, predictions.T, strict=True)
        ])
    )  # fmt: skip


def number_targets(y, loss, *, huber_delta=1.0, quantile=0.5, name="y"):
    """Targets of a regression.

    Parameters
    ----------
    y : ndarray of shape (n_samples,) or (n_samples, n_targets)
    loss : str
        Row of `fastmlp.tables.losses`.
    huber_delta : float, default=1.0
    quantile : float or sequence of float, default=0.5
        A sequence makes an output of each.
    name : str, default="y"
        Of the argument, for messages.

    Raises
    ------
    ValueError
        If y has no numbers, or is sparse, or if a number is out of the range of the
        loss, or if several quantiles of several targets are asked for.
    """
    if issparse(y):
        raise ValueError(f"a regression needs a dense {name}, got a sparse one")
    if y.dtype.kind not in "fiub":
        raise ValueError(
            f"a regression needs a {name} of numbers, got the dtype {y.dtype}"
        )
    is_in_range = LOSSES[loss].is_in_range
    if is_in_range is not None and not np.all(is_in_range(y)):
        raise ValueError(
            f"Some value(s) of {name} are out of the valid range of the loss "
            f"{loss!r}: {LOSSES[loss].range}"
        )
    values = y.reshape(-1, 1) if y.ndim == 1 else y
    kind, parameters = "numbers", ()
    if loss == "huber":
        parameters = (float(huber_delta),)
    elif loss == "quantile" and np.ndim(quantile) == 0:
        parameters = (float(quantile),) * values.shape[1]
    elif loss == "quantile":
        if values.shape[1] > 1:
            raise ValueError(
                "a list of quantiles needs one target, got "
                f"{values.shape[1]}; give one quantile for all of them"
            )
        kind, parameters = "quantiles", tuple(map(float, quantile))
        values = np.repeat(values, len(parameters), axis=1)
    return Targets(loss, values, values.shape[1], kind, parameters=parameters)


def class_targets(y, binarizer, loss="log_loss", *, gamma=2.0, smoothing=0.0):
    """Targets of a classification, given what binarizes its labels.

    Parameters
    ----------
    y : ndarray
        Labels.
    binarizer : sklearn.preprocessing.LabelBinarizer
    loss : str, default='log_loss'
        'log_loss', 'focal', or one that a user has registered.
    gamma : float, default=2.0
        Of the focal loss.
    smoothing : float, default=0.0
        Share of a label that is spread over all of them.

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
        codes = _codes_of(y, classes).reshape(-1, 1)
        if loss == "log_loss" and smoothing == 0:
            return Targets("log_loss", codes, len(classes), "classes")
        if LOSSES[loss].registered is not None:
            parameters = (float(smoothing),)
            return Targets(loss, codes, len(classes), "classes", parameters=parameters)
        # without its exponent, the focal loss is the log loss of smoothed targets
        parameters = (float(gamma) if loss == "focal" else 0.0, float(smoothing))
        return Targets("focal", codes, len(classes), "classes", parameters=parameters)
    if multilabel and are_indicators(y) and y.shape[1] == len(classes):
        values = y.astype(bool)
    elif multilabel or y.dtype.kind not in PLAIN_LABELS:
        # whatever stands for "yes", 1 or another number that is not 0
        values = binarizer.transform(y).astype(bool)
    else:  # the same, in a fraction of the time
        values = (y == classes[-1]).reshape(-1, 1) & (len(classes) > 1)
    parameters = (float(gamma),) if loss == "focal" else ()
    return Targets(
        BINARY + loss, values, values.shape[1], "labels", len(classes) == 1, parameters,
        float(smoothing),
    )  # fmt: skip


def are_indicators(y):
    """Whether it is seen at a glance that y has a column of 0 and 1 for each label."""
    return (
        type(y) is np.ndarray
        and y.ndim == 2
        and y.shape[1] > 1
        and y.dtype.kind in "biu"
        and bool(((y == 0) | (y == 1)).all())
    )


def _plain_binarizer(y):
    """``LabelBinarizer().fit(y)`` for labels that need no looking at.

    That takes longer than some epochs of a small network. None for other labels, and
    if there are so many classes that scikit-learn warns of it.
    """
    if are_indicators(y):
        classes, kind = np.arange(y.shape[1]), "multilabel-indicator"
    elif y.ndim != 1 or y.dtype.kind not in PLAIN_LABELS:
        return None
    else:
        classes = np.unique(y)
        kind = "multiclass" if len(classes) > 2 else "binary"
        if 2 * len(classes) > len(y):
            return None
    binarizer = LabelBinarizer()
    binarizer.y_type_ = kind
    binarizer.sparse_input_ = False
    binarizer.classes_ = classes
    return binarizer


def _are_known(y, classes):
    """Whether it is seen at a glance that all labels are among some classes, sorted."""
    if not (
        y.ndim == 1 == np.ndim(classes)
        and isinstance(classes, np.ndarray)
        and y.dtype.kind == classes.dtype.kind
        and y.dtype.kind in PLAIN_LABELS
    ):
        return False
    if _are_consecutive(classes):
        return bool(len(y) and y.min() >= classes[0] and y.max() <= classes[-1])
    places = np.minimum(classes.searchsorted(y), len(classes) - 1)
    return bool((classes[places] == y).all())


def _are_consecutive(classes):
    """Whether sorted classes are whole numbers without a gap."""
    first, last = classes[0], classes[-1]
    return classes.dtype.kind in "iu" and int(last) - int(first) == len(classes) - 1


def _codes_of(y, classes):
    """Where labels are among sorted classes, of which they are."""
    if y.dtype.kind in "iu" and _are_consecutive(classes):
        # to search for them takes longer than some steps of training
        return np.subtract(y, classes[0], dtype=np.int64)
    return np.searchsorted(classes, y)


def labels_of(y, known=None, old=None, *, exactly=False):
    """What binarizes the labels y: fitted to them, or `known` if they are known.

    Parameters
    ----------
    y : ndarray
        Labels.
    known : LabelBinarizer, default=None
        The one of the previous fit, if this one continues it.
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
        return _plain_binarizer(y) or LabelBinarizer().fit(y)
    if not exactly and _are_known(y, old):
        return known
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
