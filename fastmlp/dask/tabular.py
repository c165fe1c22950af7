"""`TabularMLPClassifier` and `TabularMLPRegressor` on a dask cluster."""

import numpy as np
from sklearn.utils.validation import _check_sample_weight

from fastmlp.dask.estimator import DaskClassifier, DaskRegressor, on_cluster
from fastmlp.dask.shards import weights_of_classes
from fastmlp.estimators.tabular import TabularMLPClassifier, TabularMLPRegressor
from fastmlp.tables.recipes import PRESETS
from fastmlp.training.rounds import Shard
from fastmlp.training.sharded import ShardedTabularFit

__all__ = ["DaskTabularMLPClassifier", "DaskTabularMLPRegressor"]

_OF_SAMPLE = (
    "what is done with each column is found from these, as are the first weights, and "
    "those that a network is not trained on, but validated, are some of them"
)

#: Fitted attributes for each training sample: the client does not know all of these.
_FOR_EACH_SAMPLE = "oof_decision_function_", "oof_prediction_"


def ready_shard(part, model, state):
    """A shard of a table, ready for training.

    Parameters
    ----------
    part : tuple
        X, y and sample_weight.
    model : TabularMLPClassifier or TabularMLPRegressor
        Not fitted.
    state : dict
        Fitted attributes that are known before training.
    """
    X, y, sample_weight = part
    Z = state["_columns"].transform(X)
    y = model._checked_targets(y)
    if sample_weight is not None:
        sample_weight = _check_sample_weight(sample_weight, Z, ensure_non_negative=True)
    class_weight = getattr(model, "class_weight", None)
    # of the recipe, the values do not depend
    targets = model._targets(y, state, PRESETS[model.preset].classes)
    return Shard(Z, targets.values, weights_of_classes(class_weight, y, sample_weight))


class _TrainsOnCluster:
    """An estimator whose samples are a sample, and which trains on shards."""

    def train_on(self, cluster, sample, validation):
        """Fit: see `fastmlp.dask.networks`."""
        self.cluster = cluster
        X, y, sample_weight = sample
        self.fit(X, y, sample_weight, **validation)
        if not cluster.shards.is_sample_whole:
            for name in _FOR_EACH_SAMPLE:
                vars(self).pop(name, None)
        self._fitted = [name for name in self._fitted if name in vars(self)]

    def _state_for(self, y, sample_weight):
        state = super()._state_for(y, sample_weight)
        facts = self.cluster.facts
        if facts.y is not None:  # numbers: by all samples
            state |= {"_lowest": facts.y.low, "_highest": facts.y.high}
            center, scale = facts.y.mean, facts.y.spread
            if self.loss in ("poisson", "gamma"):
                center, scale = np.zeros_like(center), np.where(center > 0, center, 1.0)
            scale[scale == 0] = 1.0
            state |= {"_center": center, "_scale": scale}
        return state

    def _recipe(self, n_samples, n_numbers):
        return super()._recipe(self.cluster.facts.n_samples, n_numbers)

    def _progress(self, n_members, recipe, n_samples):
        return super()._progress(n_members, recipe, self.cluster.facts.n_samples)

    def _train(self, state, *data):
        model = self._local_class(**self.get_params(deep=False) | {"scoring": None})
        self.cluster.shards.prepare(ready_shard, model, state)
        return super()._train(state, *data)

    def _fit_of(self, *data, **how):
        return ShardedTabularFit(
            *data, **how, shards=self.cluster.shards, n_rounds=self.cluster.n_rounds
        )


class _ClassifierOnCluster(_TrainsOnCluster, TabularMLPClassifier):
    _local_class = TabularMLPClassifier


class _RegressorOnCluster(_TrainsOnCluster, TabularMLPRegressor):
    _local_class = TabularMLPRegressor


class _DaskTabular:
    """What both estimators share."""

    def _refuse_parameters(self):
        for name in ("tune", "time_limit"):
            if getattr(self, name):
                raise ValueError(f"{name} is not supported on a cluster")


@on_cluster(TabularMLPClassifier, _ClassifierOnCluster, _OF_SAMPLE)
class DaskTabularMLPClassifier(_DaskTabular, DaskClassifier):
    """`TabularMLPClassifier` that trains on a dask cluster.

    Its networks train side by side, and each of them as `DaskMLPClassifier` does.

    Parameters
    ----------
    %(parameters)s

    Attributes
    ----------
    client_ : distributed.Client
        The client that is used.

    See Also
    --------
    TabularMLPClassifier : The same in one process; its fitted attributes are here, too.

    Notes
    -----
    A level of a category, or a missing value in a column, that is in no row of the
    sample is treated as unknown. All classes are known, whichever partition they are
    in.

    Out-of-fold predictions are only set if the sample has all rows. ``tune`` and
    ``time_limit`` are not supported.
    """

    def _n_columns(self, local):
        return local.n_outputs_ if local._is_multilabel else 1

    def _dtype(self, local, method, X):
        if method == "predict_proba":
            return np.dtype(np.float64)
        return np.dtype(int) if local._is_multilabel else local.classes_.dtype


@on_cluster(TabularMLPRegressor, _RegressorOnCluster, _OF_SAMPLE)
class DaskTabularMLPRegressor(_DaskTabular, DaskRegressor):
    """`TabularMLPRegressor` that trains on a dask cluster.

    See `DaskTabularMLPClassifier` for how it does.

    Parameters
    ----------
    %(parameters)s

    Attributes
    ----------
    client_ : distributed.Client
        The client that is used.

    See Also
    --------
    TabularMLPRegressor : The same in one process; its fitted attributes are here, too.
    """

    _scales_y = True

    def _dtype(self, local, method, X):
        return np.dtype(np.float64)
