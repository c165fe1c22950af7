"""Why a fit learned nothing: the loss of a constant, and the scale of the data."""

import numpy as np

from fastmlp.data.scaling import unscaled_columns
from fastmlp.tables.losses import predicts_exponentials
from fastmlp.training.validation import loss_of_constant

__all__ = ["EPOCHS_TO_LEARN", "STEPS_TO_LEARN", "why_nothing_was_learnt"]

#: Epochs, and steps (unless training ended by itself), after which a network should be
#: better than a constant.
EPOCHS_TO_LEARN, STEPS_TO_LEARN = 10, 300

#: Below it, classes are known nearly for certain before anything is learned.
_LEAST_ENTROPY = 1e-3


def why_nothing_was_learnt(settings, samples, losses, coefs, batch_size):
    """What to say if a constant would have done as well; None if it would not.

    Parameters
    ----------
    settings : fastmlp.estimators.settings.Settings
    samples : fastmlp.training.samples.Samples
        Those that were trained on.
    losses : list of float
        The loss of each epoch, penalties included.
    coefs : list of ndarray
        Weights of each layer at the end, for the penalties.
    batch_size : int
        Whose weight divides the penalties.

    Returns
    -------
    str or None
    """
    targets = samples.targets
    classifies = targets.kind in ("classes", "labels")
    baseline = loss_of_constant(targets, samples.sample_weight)
    squares = sum(float(np.square(coef).sum()) for coef in coefs)
    sizes = sum(float(np.abs(coef).sum()) for coef in coefs)
    penalty = (settings.alpha / 2 * squares + settings.l1 * sizes) / batch_size
    lowest = min(losses)
    # hardly anything to learn: one class has nearly all the weight
    if baseline <= (_LEAST_ENTROPY if classifies else 0.0):
        return None
    if lowest < baseline:
        return None
    if losses[-1] < 2 * lowest and losses[-1] - penalty < baseline:
        return None  # it is the penalty that keeps the loss up
    constant = "the shares of the classes"
    if not classifies:
        constant = "quantiles" if targets.loss == "quantile" else "the mean of y"
    return (
        f"The loss never fell below {baseline:.4g}, that of always predicting "
        f"{constant}; the lowest was {lowest:.4g}. "
        f"{_reasons(settings, samples, classifies)}"
    )


def _reasons(settings, samples, classifies):
    reasons = []
    if not settings.standardize:
        columns = unscaled_columns(samples.X_given, samples.names)
        if columns is not None:
            reasons.append(f"X is not scaled: {columns}.")
        y = samples.targets.values
        if not classifies and not predicts_exponentials(samples.targets.loss):
            mean, spread = float(np.mean(y)), float(np.std(y))
            if not 0.1 <= spread <= 10 or abs(mean) > 10 * spread:
                reasons.append(
                    f"y is not scaled: mean {mean:.4g}, standard deviation "
                    f"{spread:.4g}."
                )
    if not reasons:
        return (
            "X and y are scaled: lower learning_rate_init (now "
            f"{settings.learning_rate_init}) or the penalties, or train for longer."
        )
    cure = f"make_pipeline(StandardScaler(), {settings.estimator}(...))"
    if not classifies:
        cure = f"TransformedTargetRegressor({cure}, transformer=StandardScaler())"
    return f"{' '.join(reasons)} Set standardize=True, or use {cure}."
