"""Samples that training does not see: their loss, their score, the best weights.

Losses here are plain NumPy, from raw outputs in float64: once an epoch, for few
samples, that is quick enough, and nothing more has to be compiled.
"""

import numpy as np
from sklearn.metrics import get_scorer
from sklearn.utils.multiclass import type_of_target

from fastmlp.tables.losses import LOSSES, OUTPUT_ACTIVATIONS, predicts_exponentials
from fastmlp.training.functions import name_of, number_returned

__all__ = [
    "Validation",
    "loss_of",
    "loss_of_constant",
    "loss_of_predictions",
    "scorer_of",
]

#: Numbers that the loss of a constant prediction is computed from, at most.
_MOST_NUMBERS = 1_000_000

#: Scorers of two classes, and what they are called for more.
_FOR_SEVERAL_CLASSES = {
    "roc_auc": "roc_auc_ovr",
    "f1": "f1_macro",
    "precision": "precision_macro",
    "recall": "recall_macro",
    "jaccard": "jaccard_macro",
}


def loss_of(outputs, targets, sample_weight=None):
    """The mean loss of raw outputs, without penalties.

    Parameters
    ----------
    outputs : ndarray of shape (n_samples, n_outputs)
    targets : fastmlp.data.targets.Targets
        Of these samples.
    sample_weight : ndarray of shape (n_samples,), default=None
    """
    with np.errstate(over="ignore", invalid="ignore"):
        losses = LOSSES[targets.loss].value(
            outputs.astype(np.float64), targets.for_kernels(), *targets.parameters
        )
        return float(np.average(losses, weights=sample_weight))


def loss_of_predictions(predictions, targets, sample_weight=None):
    """The mean loss of predictions, such as means of those of several networks.

    Parameters
    ----------
    predictions : ndarray of shape (n_samples, n_outputs)
        What the network's output activation gives.
    targets : fastmlp.data.targets.Targets
        Of these samples.
    sample_weight : ndarray of shape (n_samples,), default=None
    """
    activation = OUTPUT_ACTIVATIONS[LOSSES[targets.loss].output_activation]
    outputs = activation.inverse(predictions.astype(np.float64))
    return loss_of(outputs, targets, sample_weight)


def loss_of_constant(targets, sample_weight=None):
    """The mean loss of always predicting the same, without penalties.

    That is the mean of the targets, the shares of the classes, or the quantiles.

    Parameters
    ----------
    targets : fastmlp.data.targets.Targets
    sample_weight : ndarray of shape (n_samples,), default=None

    Returns
    -------
    float
        Of some of the samples if there are very many.
    """
    step = 1 + len(targets.values) * targets.n_outputs // _MOST_NUMBERS
    targets = targets.of(slice(None, None, step))
    weights = None if sample_weight is None else sample_weight[::step]
    values = targets.for_kernels().astype(np.float64)
    tiny = np.finfo(np.float64).tiny
    with np.errstate(over="ignore", invalid="ignore"):
        if targets.kind == "classes":
            classes = values[:, 0].astype(int)
            shares = np.bincount(classes, weights, targets.n_outputs)
            z = np.log(np.maximum(shares / shares.sum(), tiny))
        elif targets.loss == "quantile":
            pairs = zip(values.T, targets.parameters, strict=True)
            z = np.array([np.quantile(column, q) for column, q in pairs])
        else:
            z = np.average(values, axis=0, weights=weights)
            if targets.kind == "labels":
                z = np.log(np.maximum(z, tiny)) - np.log(np.maximum(1 - z, tiny))
            elif predicts_exponentials(targets.loss):
                z = np.log(np.maximum(z, tiny))
        outputs = np.broadcast_to(z, (len(values), targets.n_outputs))
        return loss_of(outputs, targets, weights)


def scorer_of(scoring, as_estimator, X, y, sample_weight):
    """What scores the model of an epoch, or None for what needs no model.

    Parameters
    ----------
    scoring : None, str or callable
        None and "loss" need none; else a scorer of scikit-learn or its name.
    as_estimator : callable
        From a `FittedModel` to an estimator that predicts with it.
    X, y, sample_weight : array-like
        As the estimator's `score` takes them.

    Returns
    -------
    callable or None
        From a `FittedModel`, and whether this is the first epoch, to a float. Raises a
        ValueError if the scorer returns no number, or NaN in the first epoch.

    Raises
    ------
    ValueError
        If the scorer is for two classes, and there are more.
    """
    if scoring is None or scoring == "loss":
        return None
    if isinstance(scoring, str) and scoring in _FOR_SEVERAL_CLASSES:
        other = _FOR_SEVERAL_CLASSES[scoring]
        if type_of_target(y) == "multiclass":
            raise ValueError(
                f"scoring={scoring!r} is for two classes, y has {len(np.unique(y))}: "
                f"use scoring={other!r}"
            )
    scorer = get_scorer(scoring)
    weights = {} if sample_weight is None else {"sample_weight": sample_weight}

    def score(model, is_first):
        estimator = as_estimator(model)
        vars(estimator).pop("feature_names_in_", None)  # X is an array here
        with np.errstate(over="ignore", invalid="ignore"):
            result = scorer(estimator, X, y, **weights)
        number = number_returned(result, scoring, "scoring")
        if is_first and np.isnan(number):
            raise ValueError(
                f"scoring={name_of(scoring)} gave NaN in the first epoch, for "
                "predictions that are finite: it cannot score these validation "
                "samples, which may all be of one class. Choose another scorer, such "
                "as scoring='loss', or validate on other samples."
            )
        return number

    return score


class Validation:
    """Samples to validate on, and the best weights that the score on them saw.

    Parameters
    ----------
    job : fastmlp.engine.jobs.PredictionJob
        Of the network in training, on these samples, with raw outputs.
    targets : fastmlp.data.targets.Targets
        Of these samples.
    sample_weight : ndarray of shape (n_samples,) or None
    output_activation : str
        Name of what makes predictions of raw outputs.
    scoring : None, "loss" or callable, default=None
        None for accuracy or R^2, "loss" for the loss, negative; else a function from
        the fitted model, and whether this is the first epoch, to a score, which is NaN
        without asking it if there are predictions that are not finite.
    model : callable, default=None
        Gives the fitted model as it is now.
    in_float64 : callable, default=None
        Gives the raw outputs of some of these samples (a mask), which float32 cannot
        hold.
    dtype : dtype, default=float64
        Of predictions, which may not hold what the raw outputs are.
    array : str, default="parameters"
        What predicts, in the network's arena.
    keeps_best : bool, default=True
        Whether `restore` is to bring back the best weights.
    continues : bool, default=False
        Whether this fit continues an earlier one. If no epoch is then better than
        before, the last weights stay, as in scikit-learn: otherwise a fit that is
        continued again and again would never get anywhere.
    """

    def __init__(
        self, job, targets, sample_weight, output_activation, *, scoring=None,
        model=None, in_float64=None, dtype=np.float64, array="parameters",
        keeps_best=True, continues=False,
    ):  # fmt: skip
        self.job = job
        self._targets = targets
        self._sample_weight = sample_weight
        self._predictions_of = OUTPUT_ACTIVATIONS[output_activation].value
        self._scoring = scoring
        self._model = model
        self._in_float64 = in_float64
        self._dtype = dtype
        self._parameters = job.network.arena.arrays[array]
        self._keeps_best = keeps_best
        starts = keeps_best and not continues
        self.best = self._parameters.copy() if starts else None

    def evaluate(self, team, is_first=False):
        """(score, loss) of the network as it is now, after the first epoch or later."""
        outputs = self.job.run(team)
        predictions, beyond = self._predict(outputs)
        if beyond.any() and self._in_float64 and np.isfinite(self._parameters).all():
            outputs[beyond] = self._in_float64(beyond)
            predictions, beyond = self._predict(outputs)
        score = self._targets.score(predictions, self._sample_weight)
        loss = loss_of(outputs, self._targets, self._sample_weight)
        if self._scoring == "loss":
            score = -loss
        elif self._scoring is not None:
            score = float("nan")
            if not beyond.any():
                score = self._scoring(self._model(), is_first)
        return score, loss

    def _predict(self, outputs):
        """(predictions of raw outputs, which samples have one that is not finite)."""
        with np.errstate(over="ignore", invalid="ignore"):
            predictions = self._predictions_of(outputs).astype(self._dtype, copy=False)
        return predictions, ~np.isfinite(predictions).all(axis=1)

    def keep(self):
        """Remember these weights."""
        if self._keeps_best:
            self.best = self._parameters.copy()

    def restore(self):
        """Put back the weights that were kept last (or the initial ones)."""
        if self._keeps_best and self.best is not None:
            self._parameters[:] = self.best
