"""Jobs for the workloads, without estimators around them."""

from itertools import pairwise

import numpy as np

from fastmlp.engine.jobs import TrainingJob
from fastmlp.engine.network import Network
from fastmlp.engine.threads import Team

ADAM = {"rate": 1e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}


def training_job(workload, n_threads=1, *, optimizer="adam", averaged=False, **options):
    """A shuffled `TrainingJob` of a workload, with options that replace its own."""
    from .workloads import problem

    rng = np.random.default_rng(0)
    network = Network(
        workload.units, workload.dtype, optimizer=optimizer, averaged=averaged
    )
    shapes = list(pairwise(workload.units))
    network.write(
        [rng.uniform(-1, 1, (a, b)) * np.sqrt(2 / (a + b)) for a, b in shapes],
        [np.zeros(b) for _, b in shapes],
    )
    X, y = problem(workload)
    job = TrainingJob(
        network,
        X,
        y.reshape(len(X), -1),
        batch_size=workload.batch_size,
        n_threads=n_threads,
        **{
            "activation": workload.activation,
            "loss": workload.loss,
            **options,
        },
    )
    if workload.shuffle:
        rng.shuffle(job.order)
    job.refresh()
    return job


class Steps:
    """Runs training steps of a workload by a team of its own.

    rate : learning rate of all steps, or of each.
    options : of `training_job`.
    """

    def __init__(self, workload, n_threads, *, rate=ADAM["rate"], **options):
        self.job = training_job(workload, n_threads, **options)
        self.team = Team(n_threads)
        self._rates = {**ADAM, "rate": rate}
        self.epoch()

    def epoch(self):
        """All steps of an epoch."""
        self.job.run(self.team, 0, self.job.n_steps, **self._rates)

    def close(self):
        """End the threads."""
        self.team.close()
