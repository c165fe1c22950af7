"""How many cores, and the team of threads that runs a kernel between barriers.

The threads are ordinary Python threads, each inside a kernel that has released
the GIL; they meet at a barrier of atomics (`fastmlp.kernels.team`).  A team
lives as long as one fit or predict: there is nothing global that a fork, another
fit in another thread, or the end of the interpreter could find half used.
"""

import logging
import multiprocessing
import os
import threading
from contextlib import suppress
from functools import cache

import joblib
import numpy as np
from joblib.parallel import get_active_backend

from fastmlp.kernels.team import ABANDONED, team_size

__all__ = [
    "Team",
    "available_threads",
    "resolve_threads",
    "threads_for_prediction",
    "threads_for_training",
    "threads_that_pay",
]

logger = logging.getLogger("fastmlp")

#: Turns of the waiting loop (tens of nanoseconds each) before a thread that waits
#: at a barrier lets others have its core.  0 where threads outnumber cores.
_SPINS = 2000

#: Floating-point operations that pay for one more thread: of a training step, for
#: its two barriers; of a prediction, for starting the thread.
_WORK_OF_STEP = 1e6
_WORK_OF_PREDICTION = 2e7


@cache
def _cores():
    """Physical cores that this process may use (affinity and CPU quota)."""
    return joblib.cpu_count(only_physical_cores=True)


def available_threads():
    """Threads that a fit may use by default.

    The smallest of the physical cores of this process, ``NUMBA_NUM_THREADS`` and
    ``OMP_NUM_THREADS``; one inside joblib's workers and in processes that
    multiprocessing started, which are parallel already.
    """
    if multiprocessing.parent_process() is not None:
        return 1
    if getattr(get_active_backend()[0], "nesting_level", 0):
        return 1
    limits = [_cores()]
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "")
        if value.isdigit() and int(value) > 0:
            limits.append(int(value))
    return max(1, min(limits))


def resolve_threads(n_jobs, work, most):
    """Threads to use.

    Parameters
    ----------
    n_jobs : int or None
        The user's wish: that many; negative counts back from all cores as in
        joblib; None for as many as pay.
    work : float
        How many threads the work would pay for.
    most : int
        Pieces that the work can be cut into.

    Returns
    -------
    int
        At least 1, at most `most`.
    """
    if n_jobs is None:
        if work < 2:
            return 1  # without even asking how many cores there are
        wanted = min(available_threads(), int(work))
    elif n_jobs < 0:
        wanted = joblib.cpu_count() + 1 + n_jobs
    else:
        wanted = n_jobs
    return max(1, min(wanted, most))


def threads_that_pay(network, batch_size):
    """How many threads the work of a training step pays for."""
    # a multiplication and an addition per weight and row: forward, back, gradient
    return 6 * network.n_weights * batch_size / _WORK_OF_STEP


def threads_for_training(n_jobs, network, batch_size):
    """Threads for the steps of a fit, see `resolve_threads`."""
    work = threads_that_pay(network, batch_size)
    return resolve_threads(n_jobs, work, -(-batch_size // network.shape.rows))


def threads_for_prediction(n_jobs, network, n_samples):
    """Threads to predict `n_samples` rows, see `resolve_threads`."""
    work = 2 * network.n_weights * n_samples / _WORK_OF_PREDICTION
    return resolve_threads(n_jobs, work, -(-n_samples // network.shape.rows))


class Team:
    """Threads that all run the same function, each with its own number.

    Use as a context manager.  If threads cannot be started, the team is smaller
    than asked: read `size` before relying on it.

    Parameters
    ----------
    size : int
        Threads wanted, the caller's own included.

    Attributes
    ----------
    shared : ndarray of int64
        What the threads agree by while they are in a kernel, see
        `fastmlp.kernels.team`.
    """

    def __init__(self, size):
        self.shared = np.zeros(team_size(size), np.int64)
        self._workers = []
        for number in range(1, size):
            worker = _Worker(number, self)
            try:
                worker.start()
            except RuntimeError as error:  # "can't start new thread"
                logger.warning("running with %d threads: %s", number, error)
                break
            self._workers.append(worker)

    @property
    def size(self):
        """Threads that there are, the caller's included."""
        return 1 + len(self._workers)

    @property
    def spins(self):
        """How long a thread should wait at a barrier before it gives up its core."""
        return _SPINS if self.size <= _usable_cores() else 0

    def run(self, function):
        """Call ``function(number)`` in every thread; return when all are done.

        Whatever happens in one thread (an interrupt between two lines of Python,
        say) nobody is left waiting at the barrier, and nothing is raised before
        all threads are out of the kernel.
        """
        self.shared[:] = 0
        errors = []
        try:
            for worker in self._workers:
                worker.begin(function)
            function(0)
        except BaseException as error:
            errors.append(error)
        finally:
            self._gather(errors)
        if errors:
            raise errors[0]

    def _gather(self, errors):
        """Wait until no worker is busy, through any number of interrupts."""
        while True:
            try:
                # the caller has passed all its barriers, or never will: whoever
                # still waits at one waits for nothing
                self.abandon()
                for worker in self._workers:
                    errors += worker.finish()
                return
            except KeyboardInterrupt as error:
                errors.append(error)

    def abandon(self):
        """Let the threads that wait at the barrier leave the kernel."""
        self.shared[ABANDONED] = 1

    def close(self):
        """End the threads; they touch nothing any more when this returns."""
        interrupts = []
        self._gather(interrupts)
        while self._workers:
            try:
                self._workers[-1].close()
                self._workers.pop()
            except KeyboardInterrupt as error:
                interrupts.append(error)
        if interrupts:
            raise interrupts[0]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def _usable_cores():
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Worker(threading.Thread):
    """One thread of a team: waits for a function, calls it, says so.

    The locks only wake the other side up; the truth is in ``_function``, which is
    None when nothing is to be done.  An interrupt can therefore fall between any
    two lines: waking up once too often does no harm, and a waiter looks again.
    """

    def __init__(self, number, team):
        super().__init__(name=f"fastmlp-{number}", daemon=True)
        self._number = number
        self._team = team
        self._function = None
        self._error = None
        self._closed = False
        # plain locks wake up faster than events; taken: nothing to do, not done
        self._todo = threading.Lock()
        self._done = threading.Lock()
        self._todo.acquire()
        self._done.acquire()

    def run(self):
        while not self._closed:
            self._todo.acquire()
            function = self._function
            if function is None:
                continue
            try:
                function(self._number)
            except BaseException as error:
                self._error = error
                self._team.abandon()
            self._function = function = None
            _open(self._done)

    def begin(self, function):
        """Start `function`."""
        self._function = function
        _open(self._todo)

    def finish(self):
        """Wait until the thread is out of its function; returns a list of errors."""
        while self._function is not None:
            if not self._done.acquire(timeout=0.1):
                _open(self._todo)  # in case an interrupt came before `begin` did
        error, self._error = self._error, None
        return [] if error is None else [error]

    def close(self):
        """End the thread."""
        self._closed = True
        _open(self._todo)
        self.join()


def _open(lock):
    """Release a lock, or leave it released."""
    with suppress(RuntimeError):
        lock.release()
