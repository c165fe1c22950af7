"""What `partial_fit` leaves for its next call: to make it takes longer than a step."""

import numpy as np

__all__ = ["KeptJobs", "key_of_job"]

#: How many are kept for an estimator, and how large they may be.
_MOST_JOBS, _MOST_BYTES, _MOST_WEIGHTS = 2, 2**22, 100_000


def key_of_job(settings, samples, units, precision, activations, optimizer):
    """What a call must have in common with another to use its network and job.

    Parameters
    ----------
    settings : fastmlp.estimators.settings.Settings
    samples : fastmlp.training.samples.Samples
    units : sequence of int
        Of all layers.
    precision : str
    activations : sequence
        Rows of the table, of the hidden layers.
    optimizer : str
        Name of the rule.

    Returns
    -------
    tuple or None
        None if they are too large to keep, or if there is more to a job than its rows.
    """
    X, targets = samples.X, samples.targets
    if (
        type(X) is not np.ndarray
        or X.nbytes > _MOST_BYTES
        or samples.sample_weight is not None
        or samples.rows is not None
        or settings.ema_decay is not None
        or settings.input_dropout
        or np.any(settings.dropout)
        or np.dot(units[:-1], units[1:]) > _MOST_WEIGHTS
    ):
        return None
    return (
        X.shape, X.dtype, *units, precision, optimizer, targets.loss,
        targets.parameters, *activations, settings.batch_size, settings.alpha,
        settings.l1, settings.solver, settings.weight_decay, settings.clip_norm,
        settings.n_jobs,
    )  # fmt: skip


class KeptJobs:
    """Jobs with their networks, by key, of one estimator; whoever uses one takes it."""

    def __init__(self):
        self._jobs = {}
        self._seeded = {}  # seed -> (a RandomState, its state at the beginning)

    def __len__(self):
        return len(self._jobs)

    def take(self, key):
        """(job, threads that it was made for), or None."""
        return self._jobs.pop(key, None)

    def keep(self, key, job, n_threads):
        """Leave a job for the next call."""
        if len(self._jobs) >= _MOST_JOBS:
            self._jobs.clear()
        self._jobs[key] = job, n_threads

    def random_state(self, seed):
        """A RandomState with this seed; to set its state takes less time than to seed.

        One at a time: that of the call before is the same object.
        """
        if seed not in self._seeded:
            random_state = np.random.RandomState(seed)
            self._seeded = {seed: (random_state, random_state.get_state(legacy=False))}
            return random_state
        random_state, start = self._seeded[seed]
        random_state.set_state(start)
        return random_state
