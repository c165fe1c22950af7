"""Jobs for the workloads, without estimators around them."""

from itertools import pairwise

import numpy as np

from fastmlp.jobs import TrainingJob
from fastmlp.network import Network
from fastmlp.threads import Team

ADAM = {"rate": 1e-3, "decay_1": 0.9, "decay_2": 0.999, "epsilon": 1e-8}


def training_job(workload, n_threads=1):
    """A shuffled `TrainingJob` of a workload."""
    from .workloads import problem

    rng = np.random.default_rng(0)
    network = Network(workload.units, workload.dtype, trainable=True, n_moments=2)
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
        activation=workload.activation,
        loss=workload.loss,
        optimizer="adam",
        n_threads=n_threads,
    )
    if workload.shuffle:
        rng.shuffle(job.order)
    job.refresh()
    return job


class Steps:
    """Runs training steps of a workload by a team of its own."""

    def __init__(self, workload, n_threads):
        self.job = training_job(workload, n_threads)
        self.team = Team(n_threads)
        self.epoch()

    def epoch(self):
        """All steps of an epoch."""
        self.job.run(self.team, 0, self.job.n_steps, **ADAM)

    def close(self):
        """End the threads."""
        self.team.close()
