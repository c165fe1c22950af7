"""Estimators that train on a dask cluster; needs the extra ``dask``."""

from fastmlp.dask.networks import DaskMLPClassifier, DaskMLPRegressor
from fastmlp.dask.tabular import DaskTabularMLPClassifier, DaskTabularMLPRegressor

__all__ = [
    "DaskMLPClassifier",
    "DaskMLPRegressor",
    "DaskTabularMLPClassifier",
    "DaskTabularMLPRegressor",
]
