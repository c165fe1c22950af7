"""The estimators: parameters, checks, labels; no numerics."""

from importlib import import_module

from fastmlp.estimators.mlp import MLPClassifier, MLPEstimator, MLPRegressor

__all__ = ["MLPClassifier", "MLPEstimator", "MLPRegressor"]

for _class in (MLPClassifier, MLPEstimator, MLPRegressor):
    _class.__module__ = __name__  # what saved models name, wherever the code stands


def __getattr__(name):
    if name in ("MLPEnsembleClassifier", "MLPEnsembleRegressor"):  # when first used
        return getattr(import_module("fastmlp.estimators.ensembles"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
