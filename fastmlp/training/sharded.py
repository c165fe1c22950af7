"""Fits whose samples are elsewhere, in shards: the loops are those of other fits.

What they hold is a sample: rows of all shards, from which columns, labels and scales
are found, and some of which validate.
"""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np

from fastmlp.engine.network import Network
from fastmlp.engine.threads import threads_for_training
from fastmlp.training.fitting import Fit, decay_of
from fastmlp.training.member import job_for, network_for, optimizer_for
from fastmlp.training.optimizer import Optimizer
from fastmlp.training.rounds import RoundsJob
from fastmlp.training.samples import Samples
from fastmlp.training.tabular import TabularFit

__all__ = ["ShardedFit", "ShardedTabularFit"]

#: Parameters that a shard does not need: some are functions, which may not pickle.
_NOT_FOR_SHARDS = {
    "callbacks", "checkpoint", "class_weight", "random_state", "scoring", "time_limit",
}  # fmt: skip

#: Members whose rounds are in progress at a time.
_MEMBERS_AT_A_TIME = 16


class NetworkPlan:
    """How a shard trains the network of a `Fit`.

    Parameters
    ----------
    settings : fastmlp.estimators.settings.Settings
    units : list of int
    precision : str
    targets : fastmlp.data.targets.Targets
        Without values.
    """

    def __init__(self, settings, units, precision, targets):
        kept = vars(settings).items()
        self._settings = {n: value for n, value in kept if n not in _NOT_FOR_SHARDS}
        self._units, self._precision = units, precision
        self._targets = targets._replace(values=None)

    def network(self):
        """The network, without weights."""
        settings = SimpleNamespace(**self._settings)
        return Network(
            self._units,
            self._precision,
            optimizer=self.optimizer().name,
            averaged=settings.ema_decay is not None,
        )

    def optimizer(self):
        """The optimizer, at the start of the training."""
        return Optimizer.of(SimpleNamespace(**self._settings))

    def job(
        self, network, shard, *, samples, batch_size, penalty, decay, seed, n_threads
    ):
        """The steps of a round: see `fastmlp.training.rounds.Training`."""
        changed = {"random_state": seed, "n_jobs": n_threads}
        changed |= {name: self._settings[name] * penalty for name in ("alpha", "l1")}
        settings = SimpleNamespace(**self._settings | changed)
        settings.weight_decay = decay * decay_of(settings)
        targets = self._targets._replace(values=shard.values)
        fit = Fit(
            settings,
            Samples(shard.X, targets, shard.sample_weight, None, None, None),
            hidden=self._units[1:-1],
            precision=self._precision,
            identity={},
        )
        fit.network = network
        job, _ = fit._make_job(batch_size, samples)
        return job


class ShardedFit(Fit):
    """A `Fit` to shards.

    Parameters
    ----------
    shards : object
        See `fastmlp.training.rounds.RoundsJob`; and ``shards.rows_of(samples)`` gives,
        for indices in the sample, the rows of each shard.
    n_rounds : int or "step"
    *data, **how
        As for `Fit`; the samples are those of the sample.
    """

    def __init__(self, shards, n_rounds, settings, *data, **how):
        super().__init__(settings, *data, **how)
        self._shards, self._n_rounds = shards, n_rounds

    _is_in_memory = False

    @property
    def n_samples(self):
        return sum(self._shards.sizes)

    def _batch_size(self, n_samples):
        # of all samples, and not only of those in the sample
        n_held_out = self.samples.n_samples - n_samples
        return super()._batch_size(self.n_samples - n_held_out)

    def _make_job(self, batch_size, samples=None):
        settings = self.settings
        held_out = np.arange(0)
        if samples is not None:
            held_out = np.setdiff1d(np.arange(self.samples.n_samples), samples)
        job = RoundsJob(
            self.network,
            self._shards,
            NetworkPlan(
                settings, self._units, self._identity.precision_, self.samples.targets
            ),
            self._shards.rows_of(held_out),
            batch_size,
            self._n_rounds,
            settings.max_iter,
            int(self.random_state.randint(2**31 - 1)),
            settings.shuffle,
        )
        n_threads = threads_for_training(settings.n_jobs, self.network, batch_size)
        return job, n_threads


class MemberPlan:
    """How a shard trains a member of a `TabularFit`.

    Parameters
    ----------
    columns, recipe
        See `fastmlp.training.member.Member`.
    targets : fastmlp.data.targets.Targets
        Without values.
    """

    def __init__(self, columns, targets, recipe):
        self._columns, self._recipe = columns, recipe
        self._targets = targets._replace(values=None)

    def network(self):
        """The network, without weights."""
        return network_for(self._columns, self._targets.n_outputs, self._recipe)

    def optimizer(self):
        """The optimizer, at the start of the training."""
        return optimizer_for(self._recipe)

    def job(
        self, network, shard, *, samples, batch_size, penalty, decay, seed, n_threads
    ):
        """The steps of a round: see `fastmlp.training.rounds.Training`."""
        recipe = replace(self._recipe, decay=decay * self._recipe.decay)
        return job_for(
            network, shard.X, self._targets._replace(values=shard.values),
            shard.sample_weight, recipe, samples=samples, batch_size=batch_size,
            seed=seed, n_threads=n_threads,
        )  # fmt: skip


@dataclass
class ShardedTabularFit(TabularFit):
    """A `TabularFit` to shards.

    Parameters
    ----------
    shards : object
        See `ShardedFit`.
    n_rounds : int or "step"
    """

    shards: object = None
    n_rounds: object = 1

    def _plan_threads(self):
        """A thread for each member that waits for its rounds."""
        super()._plan_threads()
        self.n_threads = min(self.n_members, _MEMBERS_AT_A_TIME)
        self._at_a_time, self._threads_of_member = self.n_threads, 1
        self.shards.at_a_time = self.n_threads

    def _make_job(
        self, network, X, targets, sample_weight, recipe, *, samples, batch_size, seed,
        n_threads,
    ):  # fmt: skip
        held_out = np.setdiff1d(np.arange(len(X)), samples)
        n_rows = sum(self.shards.sizes)
        return RoundsJob(
            network, self.shards, MemberPlan(self.columns, targets, recipe),
            self.shards.rows_of(held_out), min(recipe.batch_size, n_rows),
            self.n_rounds, recipe.n_epochs, seed,
        )  # fmt: skip
