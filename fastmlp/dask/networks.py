"""`MLPClassifier` and `MLPRegressor` on a dask cluster."""

import numpy as np
from sklearn.utils.validation import _check_sample_weight

from fastmlp.dask.collections import is_frame
from fastmlp.dask.estimator import DaskClassifier, DaskRegressor, on_cluster
from fastmlp.dask.shards import weights_of_classes
from fastmlp.data.scaling import Standardization
from fastmlp.engine.pieces import run_alone
from fastmlp.estimators.mlp import MLPClassifier, MLPRegressor
from fastmlp.estimators.prediction import dtype_of_outputs
from fastmlp.training.rounds import Shard
from fastmlp.training.sharded import ShardedFit

__all__ = ["DaskMLPClassifier", "DaskMLPRegressor"]

_OF_SAMPLE = (
    "those that `early_stopping` holds out are some of them, and warnings go by them"
)


def ready_shard(part, model, binarizer, scaling):
    """A shard of a network, ready for training.

    Parameters
    ----------
    part : tuple
        X, y and sample_weight.
    model : MLPClassifier or MLPRegressor
        Not fitted, but for the names of features.
    binarizer : LabelBinarizer or None
        Of all labels.
    scaling : fastmlp.data.scaling.Standardization
    """
    X, y, sample_weight = part
    X, y, _ = model._checked_samples(
        X, y, None, classifies=binarizer is not None, reset=False
    )
    if sample_weight is not None:
        sample_weight = _check_sample_weight(sample_weight, X)
    targets = model._targets(y, binarizer, scaling)
    if binarizer is not None:
        sample_weight = weights_of_classes(model.class_weight, y, sample_weight)
    return Shard(scaling.scale_X(X), targets.values, sample_weight)


class _TrainsOnCluster:
    """An estimator whose samples are a sample, and which trains on shards."""

    def train_on(self, cluster, sample, validation):
        """Fit.

        Parameters
        ----------
        cluster : fastmlp.dask.shards.Cluster
        sample : tuple
            X, y and sample_weight.
        validation : dict
            Further arguments of `fit`.
        """
        self.cluster = cluster
        X, y, sample_weight = sample
        run_alone(
            self._pieces_of_checked_fit(
                X, y, {"sample_weight": sample_weight, **validation},
                classes=cluster.facts.classes,
            )
        )  # fmt: skip

    def _scaling(self, X, y, sample_weight, classifies, continues):
        """Of all samples."""
        found = super()._scaling(X, y, sample_weight, classifies, continues)
        if continues:
            return found
        facts = self.cluster.facts
        return Standardization(
            found.X and facts.X.scaling(), found.y and facts.y.scaling()
        )

    def _fit_of(self, settings, *data, identity, **how):
        shards = self.cluster.shards
        parameters = self.get_params(deep=False) | {"callbacks": None, "scoring": None}
        model = self._local_class(**parameters)
        model.n_features_in_ = self.n_features_in_
        if hasattr(self, "feature_names_in_"):
            model.feature_names_in_ = self.feature_names_in_
        shards.prepare(
            ready_shard, model, identity.get("_label_binarizer"),
            Standardization.read(identity),
        )  # fmt: skip
        return ShardedFit(
            shards, self.cluster.n_rounds, settings, *data, identity=identity, **how
        )

    def _with_model(self, model):
        copy = super()._with_model(model)
        del copy.cluster
        copy.__class__ = self._local_class  # for callbacks that keep it
        return copy


class _ClassifierOnCluster(_TrainsOnCluster, MLPClassifier):
    _local_class = MLPClassifier


class _RegressorOnCluster(_TrainsOnCluster, MLPRegressor):
    _local_class = MLPRegressor


class _DaskNetwork:
    """What both estimators share."""

    @property
    def _scales_X(self):
        return self.standardize

    def _refuse_parameters(self):
        if self.solver == "lbfgs":
            raise ValueError(
                "solver='lbfgs' needs all samples at each step, which are in shards: "
                "use another solver, such as 'adam'"
            )
        if self.checkpoint is not None:
            raise ValueError("checkpoint is not supported on a cluster")

    def _dtype(self, local, method, X):
        if method == "predict" and self._classifies:
            return local.classes_.dtype
        dtypes = X.dtypes if is_frame(X) else [X.dtype]
        is_single = all(dtype == np.float32 for dtype in dtypes)
        of_X = np.float32 if is_single else np.float64
        return dtype_of_outputs(of_X, local.coefs_[0].dtype)


@on_cluster(MLPClassifier, _ClassifierOnCluster, _OF_SAMPLE)
class DaskMLPClassifier(_DaskNetwork, DaskClassifier):
    """`MLPClassifier` that trains on a dask cluster.

    Each partition of the data is a shard. In each round, every shard trains for some
    steps from common weights, which are then averaged, weighted by rows, and so are the
    moments of the optimizer. Results depend on the seed and the shards, and not on how
    many workers there are, nor on which of them are lost: dask then does the round
    again.

    Parameters
    ----------
    %(parameters)s

    Attributes
    ----------
    client_ : distributed.Client
        The client that is used.

    See Also
    --------
    MLPClassifier : The same in one process; all of its fitted attributes are here, too.

    Notes
    -----
    ``batch_size`` is the number of rows of a step of all shards together. Each takes
    the share that it has of all rows, but 8 rows at least. Gradients of fewer rows are
    noisier. For 'adam' and 'adamw', how much is measured in each round, and the
    averaged squares of gradients are corrected to those of all rows of a step. The
    learning rate of 'rmsprop' and 'lion' is multiplied by the square root of the number
    of shards.

    ``solver='lbfgs'`` and ``checkpoint`` are not supported.

    References
    ----------
    Stich, "Local SGD converges fast and communicates little", ICLR (2019).

    Lin, Stich, Patel and Jaggi, "Don't use large mini-batches, use local SGD", ICLR
    (2020).

    Examples
    --------
    >>> import dask.array as da
    >>> from dask.distributed import Client
    >>> from sklearn.datasets import make_classification
    >>> from fastmlp.dask import DaskMLPClassifier
    >>> X, y = make_classification(400, random_state=0)
    >>> X, y = da.from_array(X, chunks=(100, 20)), da.from_array(y, chunks=100)
    >>> with Client(processes=False, dashboard_address=":0"):
    ...     model = DaskMLPClassifier(max_iter=100, tol=0.01, random_state=0).fit(X, y)
    ...     model.predict_proba(X).compute().shape
    (400, 2)
    >>> type(model.to_local()).__name__
    'MLPClassifier'
    """

    @property
    def _is_multilabel(self):
        return self._label_binarizer.y_type_.startswith("multilabel")

    def _n_columns(self, local):
        return local.n_outputs_ if self._is_multilabel else 1


@on_cluster(MLPRegressor, _RegressorOnCluster, _OF_SAMPLE)
class DaskMLPRegressor(_DaskNetwork, DaskRegressor):
    """`MLPRegressor` that trains on a dask cluster.

    See `DaskMLPClassifier` for how it does.

    Parameters
    ----------
    %(parameters)s

    Attributes
    ----------
    client_ : distributed.Client
        The client that is used.

    See Also
    --------
    MLPRegressor : The same in one process; all of its fitted attributes are here, too.
    """

    @property
    def _scales_y(self):
        return self.standardize
