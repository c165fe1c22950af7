"""Shards of a data set on a dask cluster, and the tasks of a training.

A task is a function of a shard, a state and a seed, so that dask may do it again, and
anywhere.  The state goes through the client after each round: what a lost worker held
is computed again from there, and not from the start.
"""

import math
import warnings
from functools import reduce
from typing import NamedTuple

import dask
import numpy as np
from dask.distributed import get_worker
from sklearn.utils.class_weight import compute_sample_weight

from fastmlp.dask.collections import joined, partitions_of, shards_of
from fastmlp.data.moments import Moments, merged
from fastmlp.estimators.base import NetworkEstimator
from fastmlp.training.rounds import total_of

__all__ = ["Cluster", "Facts", "Shards", "same", "weights_of_classes"]

#: Share of the rows that have another class than if classes were alike in all shards.
_MOST_DISTANCE = 0.2

#: Contributions that a task adds up.
_FAN_IN = 16


class Facts(NamedTuple):
    """What is to be known of samples before a fit.

    Attributes
    ----------
    n_samples : int
    classes : ndarray or None
        Labels of a classification, sorted; None for several labels at once.
    counts : ndarray or None
        Samples of each class.
    first : ndarray or None
        The first sample of each class.
    X, y : Moments or None
        Of the columns, if they are needed.
    """

    n_samples: int
    classes: np.ndarray | None = None
    counts: np.ndarray | None = None
    first: np.ndarray | None = None
    X: Moments | None = None
    y: Moments | None = None

    def merge(self, other):
        """Those of both, the samples of `other` behind these."""
        classes = counts = first = None
        if self.classes is not None:
            every = np.concatenate([self.classes, other.classes])
            classes, where = np.unique(every, return_inverse=True)
            counts = np.zeros(len(classes), np.int64)
            np.add.at(counts, where, np.concatenate([self.counts, other.counts]))
            first = np.full(len(classes), np.iinfo(np.int64).max)
            firsts = np.concatenate([self.first, other.first + self.n_samples])
            np.minimum.at(first, where, firsts)
        return Facts(
            self.n_samples + other.n_samples, classes, counts, first,
            self.X and self.X.merge(other.X), self.y and self.y.merge(other.y),
        )  # fmt: skip


def look(part, classifies, scales_X, scales_y):
    """The `Facts` of a shard.

    Parameters
    ----------
    part : tuple
        X, y and sample_weight.
    classifies : bool
    scales_X, scales_y : bool
        Whether moments are needed.
    """
    X, y, sample_weight = part
    n = X.shape[0]
    for name, other in (("y", y), ("sample_weight", sample_weight)):
        if other is not None and len(other) != n:
            raise ValueError(
                f"a partition of X has {n} rows, and that of {name} has {len(other)}"
            )
    facts = Facts(n)
    if not n:
        return facts
    if classifies and (y.ndim == 1 or y.shape[1] == 1):
        try:
            classes, first, counts = np.unique(
                y.ravel(), return_index=True, return_counts=True
            )
        except TypeError as error:
            raise ValueError(
                f"y has missing values, or labels of several types: {error}"
            ) from error
        facts = facts._replace(classes=classes, counts=counts, first=first)
    if scales_X:
        # of what is no number, the fit will say so
        checked = NetworkEstimator._checked_as_a_whole(X)
        if checked is not None:
            facts = facts._replace(X=Moments.of(checked, sample_weight))
    if scales_y:
        numbers = y.reshape(n, -1).astype(np.float64)
        facts = facts._replace(y=Moments.of(numbers, sample_weight))
    return facts


def weights_of_classes(class_weight, y, sample_weight):
    """Weights of samples times those of their classes.

    Parameters
    ----------
    class_weight : dict or None
        Of classes of which there may be no sample, too.
    y : ndarray
    sample_weight : ndarray of shape (n_samples,) or None
    """
    if class_weight is None:
        return sample_weight
    here = set(np.unique(y).tolist())
    some = {label: w for label, w in class_weight.items() if label in here}
    weights = compute_sample_weight(some or None, y)
    return weights if sample_weight is None else weights * sample_weight


def take(part, rows):
    """Some rows of a shard: X, y and sample_weight."""
    X, y, sample_weight = part
    X = X.iloc[rows] if hasattr(X, "iloc") else X[rows]
    return X, y[rows], None if sample_weight is None else sample_weight[rows]


def same(value):
    """The value: a task that holds it, and can do so again."""
    return value


def train_shard(training, position, shard, state, which, n_side_by_side, n_jobs):
    """See `fastmlp.training.rounds.Training.contribution`."""
    n_threads = max(1, get_worker().state.nthreads // n_side_by_side)
    if n_jobs is not None and n_jobs > 0:
        n_threads = min(n_threads, n_jobs)
    return training.contribution(position, shard, state, which, n_threads)


def add_up(contributions):
    """See `fastmlp.training.rounds.total_of`."""
    return total_of(contributions)


class Shards:
    """Samples on a cluster.

    Parameters
    ----------
    client : distributed.Client
    X, y, sample_weight : dask collections
        See `fastmlp.dask.collections.partitions_of`.
    n_shards : int or None
    n_jobs : int or None
        Threads of a task at most.

    Attributes
    ----------
    sizes : list of int
        Rows of each shard, since `look`. Those without rows are left out.
    at_a_time : int
        Trainings whose rounds are in progress together.
    """

    def __init__(self, client, X, y, sample_weight=None, *, n_shards=None, n_jobs=None):
        self._client, self._n_jobs = client, n_jobs
        partitions = partitions_of(X, y, sample_weight)
        self._parts = client.compute(shards_of(partitions, n_shards))
        self._ready = None
        self.at_a_time = 1

    def look(self, **how):
        """The `Facts` of all samples: see the function of this name.

        Raises
        ------
        ValueError
            If there are no samples.
        """
        found = self._client.gather(self._client.map(look, self._parts, **how))
        filled = [i for i, facts in enumerate(found) if facts.n_samples]
        if not filled:
            raise ValueError("Found no samples: all partitions of X are empty.")
        self._parts = [self._parts[i] for i in filled]
        found = [found[i] for i in filled]
        self.sizes = [facts.n_samples for facts in found]
        self._starts = np.cumsum([0, *self.sizes])
        self._warn_of_sorted(found)
        if how["scales_X"]:  # those that the fit will refuse have none
            moments = [facts.X for facts in found if facts.X is not None]
            X = merged(moments) if moments else None
            found = [facts._replace(X=None) for facts in found]
            return reduce(Facts.merge, found)._replace(X=X)
        return reduce(Facts.merge, found)

    @staticmethod
    def _warn_of_sorted(found):
        """Say that shards have other classes than all samples, if they do."""
        whole = reduce(Facts.merge, (facts._replace(X=None, y=None) for facts in found))
        if whole.classes is None or len(found) == 1:
            return
        shares = whole.counts / whole.n_samples
        distance = 0.0  # of the shares of classes, mean over rows
        for facts in found:
            own = np.zeros(len(shares))
            own[np.searchsorted(whole.classes, facts.classes)] = facts.counts
            own -= facts.n_samples * shares
            # what chance makes of few rows is no reason to warn
            chance = np.sqrt(facts.n_samples * shares * (1 - shares)).sum()
            distance += max(0.0, np.abs(own).sum() - chance) / 2 / whole.n_samples
        if distance > _MOST_DISTANCE:
            warnings.warn(
                "The partitions have different classes, as if rows were sorted by them:"
                " averages of weights are then poor. Shuffle the rows over partitions, "
                "or raise rounds_per_epoch.",
                UserWarning,
                stacklevel=4,
            )

    def sample(self, size, seed, wanted=None):
        """Rows of all shards, in their order: as many of each as its share.

        Parameters
        ----------
        size : int
            All rows, if there are no more.
        seed : int
        wanted : ndarray of int, default=None
            Rows, counted over all shards, that are to be among them.

        Returns
        -------
        X, y, sample_weight
        """
        n = sum(self.sizes)
        wanted = np.arange(0) if wanted is None else wanted
        self._sampled = []
        for position, (rows, start) in enumerate(
            zip(self.sizes, self._starts, strict=False)
        ):
            chosen = np.arange(rows)
            if n > size:
                rng = np.random.default_rng([seed, position])
                chosen = rng.choice(rows, max(1, size * rows // n), replace=False)
                here = wanted[(wanted >= start) & (wanted < start + rows)] - start
                chosen = np.union1d(chosen, here)
            self._sampled.append(chosen)
        parts = self._client.gather(
            self._client.map(take, self._parts, self._sampled, pure=False)
        )
        return tuple(joined(list(column)) for column in zip(*parts, strict=True))

    @property
    def is_sample_whole(self):
        """Whether the sample has all samples."""
        return sum(map(len, self._sampled)) == sum(self.sizes)

    def rows_of(self, samples):
        """For samples of the sample, their rows in each shard."""
        ends = np.cumsum([0, *map(len, self._sampled)])
        places = np.searchsorted(samples, ends)
        return [
            rows[samples[a:b] - end]
            for rows, a, b, end in zip(
                self._sampled, places[:-1], places[1:], ends[:-1], strict=True
            )
        ]

    def prepare(self, function, *common):
        """Make each shard ready for training, and forget what it was made of.

        Parameters
        ----------
        function : callable
            From a shard's (X, y, sample_weight), and what is common to all, to a
            `fastmlp.training.rounds.Shard`.
        """
        client = self._client
        held = [client.submit(same, each, pure=False) for each in common]
        self._ready = [
            client.submit(function, part, *held, pure=False) for part in self._parts
        ]
        self._parts = None

    def run(self, training):
        """A function that does a round: see `fastmlp.training.rounds.RoundsJob`.

        Parameters
        ----------
        training : fastmlp.training.rounds.Training
        """
        client = self._client
        n_workers = max(1, len(client.nthreads()))
        n_side_by_side = math.ceil(len(self.sizes) * self.at_a_time / n_workers)
        held = client.submit(same, training, pure=False)

        def do(state, which):
            # dask warns of large ones, which would be of no use here
            with dask.config.set(
                {"distributed.admin.large-graph-warning-threshold": "1TB"}
            ):
                before = client.submit(same, state, pure=False)
            totals = [
                client.submit(
                    train_shard, held, position, shard, before, which,
                    n_side_by_side, self._n_jobs, pure=False,
                )
                for position, shard in enumerate(self._ready)
            ]  # fmt: skip
            while len(totals) > 1:
                totals = [
                    client.submit(add_up, totals[start : start + _FAN_IN], pure=False)
                    for start in range(0, len(totals), _FAN_IN)
                ]
            return totals[0].result()

        return do


class Cluster(NamedTuple):
    """Where a local estimator is to train.

    Attributes
    ----------
    shards : Shards
    facts : Facts
        Of all samples.
    n_rounds : int or "step"
        Of an epoch.
    """

    shards: Shards
    facts: Facts
    n_rounds: object
