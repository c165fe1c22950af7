"""The estimators: parameters, checks, labels; no numerics."""

from fastmlp.estimators.mlp import MLPClassifier, MLPEstimator, MLPRegressor

__all__ = ["MLPClassifier", "MLPEstimator", "MLPRegressor"]

for _class in (MLPClassifier, MLPEstimator, MLPRegressor):
    _class.__module__ = __name__  # what saved models name, wherever the code stands
