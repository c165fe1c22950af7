"""Warnings of fastmlp, each with a class of its own to filter it by."""

__all__ = ["ScaleWarning", "TaskWarning", "UnusedParameterWarning"]


class ScaleWarning(UserWarning):
    """Features or targets are of a scale that a network can hardly learn from.

    Either the columns of X differ wildly in scale, or the loss of a fit never fell
    below that of always predicting the same (the mean of y, or the shares of the
    classes). The message names the columns and the cure: ``standardize=True``, or a
    scaler in a Pipeline.
    """


class TaskWarning(UserWarning):
    """`MLPEstimator` took numbers in y for class labels, and may be wrong.

    Say ``task="regression"`` or ``task="classification"``.
    """


class UnusedParameterWarning(UserWarning):
    """A parameter was set that has no effect together with the others."""
