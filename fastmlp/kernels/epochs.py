"""Epochs that follow each other in one call, as long as none of them may be the last.

A tiny network trains for an epoch in less time than Python takes to begin the next one,
and than threads take to hand the GIL over.  So where nobody looks between two epochs,
thread 0 does here what Python would do: it notes the loss, decides by the rule of
`fastmlp.training.run.Stopping` whether to go on, and shuffles.  Python then notes each
epoch by the same rule.
"""

import math

from fastmlp.compilation import jit
from fastmlp.kernels.shuffling import shuffle_numbers
from fastmlp.kernels.simd import advance, pointer
from fastmlp.kernels.team import wait_for_team

__all__ = ["EPOCH_NUMBERS", "begin_next_epoch"]

#: Numbers of an epoch: beta_1**t and beta_2**t before it, then its `loss_sum`.
EPOCH_NUMBERS = 3


@jit
def _may_be_last(job, loss):
    """Whether the fit may end after an epoch with that loss."""
    failed = loss > job.best_loss - job.tol
    job.no_improvement = job.no_improvement + 1 if failed else 0
    if loss < job.best_loss:
        job.best_loss = loss
    return job.no_improvement > job.patience or not math.isfinite(loss)


@jit
def begin_next_epoch(job, thread):
    """Get ready for another epoch of this call; returns whether there is one.

    All threads of the team call it at the end of an epoch.
    """
    if job.n_epochs <= 1:
        return False
    if thread == 0:
        epoch = advance(pointer(job.epochs, 0.0), job.epochs_done * EPOCH_NUMBERS)
        epoch[2] = job.loss_sum
        job.epochs_done += 1
        is_last = _may_be_last(job, job.loss_sum / job.n_samples)
        job.goes_on = 0 if is_last or job.epochs_done == job.n_epochs else 1
        if job.goes_on != 0:
            epoch = advance(epoch, EPOCH_NUMBERS)
            job.beta_1_power, job.beta_2_power, job.loss_sum = epoch[0], epoch[1], 0.0
            job.n_updates += (job.n_samples + job.batch_size - 1) // job.batch_size
            if job.generator != 0:
                shuffle_numbers(job.generator, job.shuffled, job.n_samples, job.picks)
    return wait_for_team(job) and job.goes_on != 0
