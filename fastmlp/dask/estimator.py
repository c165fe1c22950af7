"""What estimators on a dask cluster share: parameters, client, predictions, scores."""

import copy
import math
from functools import partial
from numbers import Integral

import numpy as np
from dask.distributed import Client, default_client
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from fastmlp.dask.collections import (
    by_partition,
    computed,
    is_collection,
    is_frame,
    joined,
    partitions_of,
    shards_of,
)
from fastmlp.dask.shards import Cluster, Shards, same
from fastmlp.data.moments import Moments, merged
from fastmlp.data.targets import quantile_score
from fastmlp.estimators.settings import StoresParameters, constructor_of
from fastmlp.training.rounds import EVERY_STEP

__all__ = ["DaskClassifier", "DaskEstimator", "DaskRegressor", "on_cluster"]

#: Parameters besides those of the local estimator, and their defaults.
_OWN = {
    "client": None,
    "rounds_per_epoch": 8,
    "n_shards": None,
    "sample_size": 100_000,
}

_TEXT = """\
    **parameters
        Those of `%(local)s`, with the same defaults, and the following ones.
    client : distributed.Client, default=None
        The cluster. None for the client that was made last.
    rounds_per_epoch : int or 'step', default=8
        How often in an epoch the weights of all shards are averaged. 'step' is after
        every step: as near to local training as it gets, and slow.
    n_shards : int, default=None
        How many shards there are at most; neighbouring partitions are joined. None
        makes a shard of each partition. Results depend on the shards.
    sample_size : int, default=100_000
        Rows, of all partitions, that the client gathers: %(sample)s."""


def on_cluster(local, trains_as, sample):
    """Class decorator: an estimator with the parameters of a local one.

    Parameters
    ----------
    local : type
        What `to_local` gives.
    trains_as : type
        The local class, but for where it trains.
    sample : str
        What the rows that the client gathers are for.
    """

    def decorate(cls):
        cls._local_class, cls._training_class = local, trains_as
        cls.__init__ = constructor_of(local, _OWN)
        cls._parameter_constraints = {
            **local._parameter_constraints,
            "client": [HasMethods(["submit", "gather"]), None],
            "rounds_per_epoch": [
                Interval(Integral, 1, None, closed="left"),
                StrOptions({EVERY_STEP}),
            ],
            "n_shards": [Interval(Integral, 1, None, closed="left"), None],
            "sample_size": [Interval(Integral, 2, None, closed="left")],
        }
        if cls.__doc__:  # Python -OO has none
            text = _TEXT.replace("%(local)s", local.__name__)
            cls.__doc__ = cls.__doc__.replace(
                "    %(parameters)s", text.replace("%(sample)s", sample)
            )
        return cls

    return decorate


class DaskEstimator(StoresParameters, BaseEstimator):
    """Training and prediction; not for use by itself."""

    #: Whether moments of the columns of X, and of y, are needed.
    _scales_X = _scales_y = False
    _classifies = False

    # --- what it is made of -----------------------------------------------------------

    @property
    def client_(self):
        """The client of dask that is used.

        Raises
        ------
        ValueError
            If there is none.
        """
        client = self.client
        if client is None:
            try:
                client = default_client()
            except ValueError as error:
                raise ValueError(
                    f"{type(self).__name__} needs a cluster: make a client first, such "
                    "as by dask.distributed.Client(), or give one as client="
                ) from error
        if isinstance(client, Client) and client.asynchronous:
            raise ValueError("client= is asynchronous, and must be an ordinary client")
        return client

    def to_local(self):
        """The same model without a cluster, fitted or not.

        Returns
        -------
        estimator
            Of the class without ``Dask`` in its name. Arrays are shared.
        """
        model = self._local_class(**self._local_parameters())
        vars(model).update(vars(self).get("_attributes", {}))
        return model

    def _local_parameters(self):
        parameters = self.get_params(deep=False)
        return {name: value for name, value in parameters.items() if name not in _OWN}

    def __getattr__(self, name):
        attributes = vars(self).get("_attributes", {})
        if name in attributes:
            return attributes[name]
        raise AttributeError(
            f"{type(self).__name__!r} object has no attribute {name!r}"
        )

    def __dir__(self):
        return [*super().__dir__(), *vars(self).get("_attributes", {})]

    def __sklearn_is_fitted__(self):
        return "_attributes" in vars(self)

    def __sklearn_clone__(self):
        # a client cannot be copied
        parameters = self.get_params(deep=False)
        client = parameters.pop("client")
        return type(self)(client=client, **copy.deepcopy(parameters))

    def __getstate__(self):
        return super().__getstate__() | {"client": None}

    # --- training ---------------------------------------------------------------------

    def fit(
        self, X, y, sample_weight=None, *, X_val=None, y_val=None,
        sample_weight_val=None,
    ):  # fmt: skip
        """Fit to dask collections, on the cluster.

        Parameters
        ----------
        X : dask array or data frame of shape (n_samples, n_features)
            What a partition may hold is what the local estimator takes.
        y : dask array, series or data frame of shape (n_samples[, n_outputs])
            In partitions like those of X.
        sample_weight : dask array or series of shape (n_samples,), default=None
            Weights of the samples.
        X_val, y_val : array-like or dask collection, default=None
            A validation set. The client gathers it, and evaluates it after each epoch.
        sample_weight_val : array-like or dask collection, default=None
            Weights of these samples.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        TypeError
            If X, y or sample_weight is not a dask collection.
        ValueError
            If parameters or data are invalid. The estimator is then what it was before.
        """
        self._validate_params()
        self._refuse_parameters()
        shards = Shards(
            self.client_,
            X,
            y,
            sample_weight,
            n_shards=self.n_shards,
            n_jobs=self.n_jobs,
        )
        facts = shards.look(
            classifies=self._classifies,
            scales_X=self._scales_X,
            scales_y=self._scales_y,
        )
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        sample = shards.sample(self.sample_size, seed, facts.first)
        validation = {
            "X_val": computed(X_val),
            "y_val": computed(y_val),
            "sample_weight_val": computed(sample_weight_val),
        }
        model = self._training_class(**self._local_parameters())
        parameters = {*model.get_params(deep=False)}
        self._balance(model, facts)
        if getattr(self, "warm_start", False):
            vars(model).update(vars(self).get("_attributes", {}))
        model.train_on(
            Cluster(shards, facts, self.rounds_per_epoch), sample, validation
        )
        self._attributes = {
            name: value
            for name, value in vars(model).items()
            if name not in parameters | {"cluster"}
        }
        return self

    def _refuse_parameters(self):
        """Raise ValueError for parameters that a cluster has no use for."""

    def _balance(self, model, facts):
        """Weights of classes by all samples, not by those of a shard or the sample."""
        if getattr(self, "class_weight", None) != "balanced":
            return
        if facts.classes is None:
            raise ValueError(
                "class_weight='balanced' needs one label for each sample: for several, "
                "give sample_weight"
            )
        weights = facts.n_samples / (len(facts.classes) * facts.counts)
        model.class_weight = dict(
            zip(facts.classes.tolist(), weights.tolist(), strict=True)
        )

    # --- prediction -------------------------------------------------------------------

    def _predict(self, method, X):
        """What a method of the local model gives, lazily if X is a collection."""
        check_is_fitted(self)
        local = self.to_local()
        if not is_collection(X):
            return getattr(local, method)(X)
        local.n_jobs = 1  # a worker has as many partitions in work as threads
        example = self._example(local, method, X)
        function = partial(_predict_rows, local, method, np.asarray(example))
        return by_partition(function, X, example)

    def _example(self, local, method, X):
        """Predictions of no rows."""
        names = None
        if method == "predict_proba":
            names = local.classes_
        elif self._n_columns(local) > 1:
            names = range(self._n_columns(local))
        values = np.empty(
            (0,) if names is None else (0, len(names)), self._dtype(local, method, X)
        )
        if not is_frame(X):
            return values
        import pandas as pd

        index = X._meta.index[:0]
        if names is None:
            return pd.Series(values, index=index)
        return pd.DataFrame(values, index=index, columns=list(names))

    def _n_columns(self, local):
        """How many numbers `predict` gives for a row."""
        return local.n_outputs_

    def predict(self, X):
        """Predict classes, or numbers.

        Parameters
        ----------
        X : dask array or data frame of shape (n_samples, n_features)
            Or what the local estimator takes, which is then predicted here.

        Returns
        -------
        dask array, series or data frame of shape (n_samples,) or (n_samples, n_outputs)
            An array for an array, else a series or a data frame with the index of X;
            not computed yet.
        """
        return self._predict("predict", X)

    def score(self, X, y, sample_weight=None):
        """Return the accuracy, or R^2; of a list of quantiles, the mean of their D^2.

        Parameters
        ----------
        X : dask array or data frame of shape (n_samples, n_features)
        y : dask array, series or data frame of shape (n_samples[, n_outputs])
        sample_weight : dask array or series of shape (n_samples,), default=None
            Or all three as the local estimator takes them, which then scores.

        Returns
        -------
        score : float
        """
        check_is_fitted(self)
        local = self.to_local()
        if not is_collection(X):
            return local.score(X, y, sample_weight)
        local.n_jobs = 1
        client = self.client_
        parts = client.compute(shards_of(partitions_of(X, y, sample_weight)))
        held = client.submit(same, local, pure=False)
        scored = client.map(self._score_part, [held] * len(parts), parts, pure=False)
        found = [part for part in client.gather(scored) if part is not None]
        if not found:
            raise ValueError("Found no samples: all partitions of X are empty.")
        return self._score_of(found)


class DaskClassifier(ClassifierMixin, DaskEstimator):
    """What classifiers have; not for use by itself."""

    _classifies = True

    def predict_proba(self, X):
        """Predict the probability of each class.

        Parameters
        ----------
        X : dask array or data frame of shape (n_samples, n_features)
            Or what the local estimator takes, which is then predicted here.

        Returns
        -------
        dask array or data frame of shape (n_samples, n_classes)
            Columns in the order of ``classes_``; not computed yet.
        """
        return self._predict("predict_proba", X)

    @staticmethod
    def _score_part(local, part):
        """(weight of what is predicted right, weight of all), or None."""
        X, y, sample_weight = part
        if not X.shape[0]:
            return None
        y = y.ravel() if y.ndim == 2 and y.shape[1] == 1 else y
        hits = local.predict(X) == y
        hits = hits.all(axis=1) if hits.ndim == 2 else hits
        weights = np.ones(len(hits)) if sample_weight is None else sample_weight
        return float(weights @ hits), float(weights.sum())

    @staticmethod
    def _score_of(parts):
        hits, weights = zip(*parts, strict=True)
        return math.fsum(hits) / math.fsum(weights)


class DaskRegressor(RegressorMixin, DaskEstimator):
    """What regressors have; not for use by itself."""

    @staticmethod
    def _score_part(local, part):
        """(moments of y, sums of squared errors), or what quantiles need, or None."""
        X, y, sample_weight = part
        if not X.shape[0]:
            return None
        predictions = local.predict(X)
        if local.loss == "quantile" and np.ndim(local.quantile):
            return y, predictions.reshape(len(y), -1), sample_weight
        y = y.reshape(len(y), -1).astype(np.float64)
        weights = np.ones(len(y)) if sample_weight is None else sample_weight
        errors = weights @ (y - predictions.reshape(y.shape)) ** 2
        return Moments.of(y, sample_weight), errors

    def _score_of(self, parts):
        columns = [*zip(*parts, strict=True)]
        if len(columns) == 3:
            y, predictions, weights = (joined(list(column)) for column in columns)
            return quantile_score(y.ravel(), predictions, self.quantile, weights)
        y, errors = merged(columns[0]), sum(columns[1])
        # of a constant target: 1 if it was met, else 0
        constant = y.squares == 0
        ratio = np.where(
            constant, errors > 0, errors / np.where(constant, 1, y.squares)
        )
        return float(np.mean(1 - ratio))


def _predict_rows(local, method, nothing, X):
    """What a method of a local model gives for a partition, which may have no rows."""
    if not X.shape[0]:
        return nothing
    return np.asarray(getattr(local, method)(X), dtype=nothing.dtype)
