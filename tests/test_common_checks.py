"""scikit-learn's common checks, over all estimators and over solvers."""

import pytest
from sklearn.base import is_regressor
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastmlp import (
    HiddenFeatures,
    MLPClassifier,
    MLPEnsembleClassifier,
    MLPEnsembleRegressor,
    MLPEstimator,
    MLPRegressor,
    TabularMLPClassifier,
    TabularMLPRegressor,
)

# the checks' data are not scaled, and their classes are numbers in floats
pytestmark = [
    pytest.mark.filterwarnings(f"ignore::fastmlp.exceptions.{name}")
    for name in ("ScaleWarning", "TaskWarning")
]

ESTIMATORS = [
    *(cls(solver=solver, max_iter=100) for cls in (MLPClassifier, MLPRegressor)
      for solver in ("adam", "sgd", "lbfgs")),
    *(MLPEstimator(solver=solver, task=task, max_iter=100)
      for task, solver in (("auto", "adam"), ("auto", "lbfgs"),
                           ("classification", "adam"), ("regression", "lbfgs"))),
    MLPClassifier((), solver="lbfgs", n_jobs=2, max_iter=100),
    HiddenFeatures(MLPClassifier((5,), solver="lbfgs", random_state=0)),
    MLPEnsembleClassifier(n_estimators=2, max_iter=30),
    MLPEnsembleRegressor(
        hidden_layer_sizes=(), n_estimators=2, solver="lbfgs", bootstrap=True
    ),
    TabularMLPClassifier("fast", n_members=1, max_iter=16, random_state=0),
    TabularMLPRegressor("fast", n_members=1, random_state=0),
]  # fmt: skip


def expected_failures(estimator):
    """What scikit-learn itself expects to fail, and what task="auto" is for."""
    failures = {}
    estimator = getattr(estimator, "estimator", estimator)
    draws = getattr(estimator, "bootstrap", False)
    if getattr(estimator, "solver", "adam") != "lbfgs" or draws:
        reason = "batches and draws of repeated samples differ from those of weights"
        for data in ("dense", "sparse"):
            name = f"check_sample_weight_equivalence_on_{data}_data"
            failures[name] = reason
    if getattr(estimator, "task", None) == "auto":
        failures["check_classifiers_regression_target"] = "it learns the regression"
    return failures


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failures)
def test_common_check(estimator, check):
    check(estimator)


def test_regressors_are_among_them():
    assert sum(is_regressor(estimator) for estimator in ESTIMATORS) == 6
