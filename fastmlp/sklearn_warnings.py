"""Warnings that scikit-learn's multi-layer perceptrons give, too.

They are attributed to scikit-learn's module, so that a filter which silences them there
(``filterwarnings("ignore", category=ConvergenceWarning, module="sklearn")``) still
works when the import line is changed. Warnings are attributed to the name of the
module that gives them: this one takes the name.
"""

import warnings

# Not public in scikit-learn, but the only way to its own warning.
from sklearn.utils.optimize import _check_optimize_result

__all__ = ["check_optimize_result", "warn_as_sklearn"]

__name__ = "sklearn.neural_network._multilayer_perceptron"


def warn_as_sklearn(message, category=UserWarning):
    """Give a warning in scikit-learn's name."""
    warnings.warn(message, category, stacklevel=1)


def check_optimize_result(result, max_iter):
    """Iterations of L-BFGS; warns, as scikit-learn does, if it has not converged."""

    def caller():  # whose caller the warning is attributed to
        return _check_optimize_result("lbfgs", result, max_iter)

    return caller()
