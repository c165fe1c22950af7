"""How many cores, and the team of threads that runs a kernel between barriers.

The threads are ordinary Python threads, each inside a kernel that has released the GIL;
they meet at a barrier of atomics (`fastmlp.kernels.team`).  A team lives as long as one
fit or predict, and nothing is global (docs/internals/threads.md).

A signal handler may raise (Ctrl-C) between any two lines of Python, so nothing here
relies on a line being reached: threads are started by one call into C
(`threading.Thread` waits for its thread in Python, and an interrupt there leaves its
locks in disorder), an idle thread checks every now and then whether its team still
exists, and a thread in a kernel keeps alive all memory that it writes to.  Nobody
enters a kernel before all threads of the team have been seen, alive.
"""

import logging
import multiprocessing
import os
import threading
import time
import warnings
import weakref
from contextlib import suppress
from functools import cache

import joblib
import numpy as np
from joblib.parallel import get_active_backend

from fastmlp.kernels.team import ABANDONED, team_size
from fastmlp.native_threads import new_lock, start_thread

__all__ = [
    "Abandoned",
    "Team",
    "available_threads",
    "limit_threads_of_predictions",
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


#: The most threads for each core that a fit may be told to run.
_THREADS_PER_CORE = 2

#: Seconds in which a thread that was started has to appear.
_START_SECONDS = 5.0

#: Seconds after which a thread without work checks whether its team still exists.
_IDLE_SECONDS = 0.5

#: Seconds to wait until threads that were told to end have ended.
_END_SECONDS = 0.2

#: Of each thread: `most`, the threads that its predictions take unless told.
_of_this_thread = threading.local()


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
        The user's wish: that many, but not more than twice the cores, with a warning;
        negative counts back from all cores as in joblib; None for as many as are
        worthwhile.
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
        limit = _THREADS_PER_CORE * joblib.cpu_count() if n_jobs > 2 else n_jobs
        if n_jobs > limit:
            wanted = limit
            warnings.warn(
                f"n_jobs={n_jobs} is more than this process can use: it runs {limit} "
                f"threads on {limit // _THREADS_PER_CORE} core(s). n_jobs=None takes "
                "as many threads as are worthwhile, n_jobs=-1 all cores.",
                UserWarning,
                stacklevel=1,
            )
    return max(1, min(wanted, most))


def threads_that_pay(network, batch_size):
    """How many threads the work of a training step pays for."""
    # a multiplication and an addition per weight and row: forward, back, gradient
    return 6 * network.n_weights * batch_size / _WORK_OF_STEP


def threads_for_training(n_jobs, network, batch_size):
    """Threads for the steps of a fit, see `resolve_threads`."""
    work = threads_that_pay(network, batch_size)
    return resolve_threads(n_jobs, work, -(-batch_size // network.shape.rows))


def threads_for_prediction(n_jobs, network, n_samples, n_members=1):
    """Threads to predict `n_samples` rows, see `resolve_threads`.

    n_members : networks of this form whose predictions are averaged.
    """
    work = 2 * n_members * network.n_weights * n_samples / _WORK_OF_PREDICTION
    if n_jobs is None:
        work = min(work, getattr(_of_this_thread, "most", work))
    return resolve_threads(n_jobs, work, -(-n_samples // network.shape.rows))


def limit_threads_of_predictions(most):
    """Of predictions that the calling thread makes with ``n_jobs=None``."""
    _of_this_thread.most = most


class Abandoned(BaseException):
    """Nobody waits for this any more: not an error, as GeneratorExit is none."""


class Team:
    """Threads that all run the same function, each with its own number.

    Use as a context manager.  If threads cannot be started or do not appear, the team
    is smaller than asked: read `size` before relying on it.  In the child of a fork,
    which has no threads but the one that forked, the team is that one.

    Parameters
    ----------
    size : int
        Threads wanted, the caller's own included.
    is_abandoned : callable, default=None
        Whether nobody waits any more for what the team does: see `check`.

    Attributes
    ----------
    shared : ndarray of int64
        What the threads agree by while they are in a kernel, see
        `fastmlp.kernels.team`.
    """

    def __init__(self, size, is_abandoned=None):
        self._is_abandoned = is_abandoned
        self.shared = np.zeros(team_size(size), np.int64)
        self._process = os.getpid()
        self._workers = []
        for number in range(1, size):
            worker = _Worker(number, self)
            self._workers.append(worker)
            try:
                worker.start()
            except RuntimeError as error:  # "can't start new thread"
                self._keep(number - 1, error)
                break
        end = time.monotonic() + _START_SECONDS
        for i, worker in enumerate(self._workers):
            if not worker.appears(end):
                self._keep(i, "a thread of its own did not appear")
                break

    def _keep(self, n_workers, reason):
        """Continue with the first workers only."""
        logger.warning("running with %d threads: %s", n_workers + 1, reason)
        for worker in self._workers[n_workers:]:
            worker.dismiss()
        del self._workers[n_workers:]

    @property
    def size(self):
        """Threads that there are, the caller's included."""
        if self._process != os.getpid():  # a fork leaves the workers behind
            self._process = os.getpid()
            self._workers = []
        for i, worker in enumerate(self._workers):
            if worker.has_ended:
                self._keep(i, "a thread has ended")
                break
        return 1 + len(self._workers)

    def check(self):
        """Raise `Abandoned` if nobody waits any more: for pieces that take long."""
        if self._is_abandoned is not None and self._is_abandoned():
            raise Abandoned

    @property
    def spins(self):
        """How long a thread should wait at a barrier before it gives up its core."""
        return _SPINS if self.size <= _usable_cores() else 0

    def run(self, function):
        """Call ``function(number)`` in every thread; return when all are done.

        Whatever happens in one thread (an exception from a signal handler between two
        lines of Python, say) nobody is left waiting at the barrier, and nothing is
        raised before all threads are out of the kernel.
        """
        self.shared[:] = 0
        errors = []
        try:
            for worker in self._workers:
                worker.begin(function)
            function(0)
        except BaseException as error:
            errors = [error]
        finally:
            # the caller has passed all its barriers, or never will: whoever still
            # waits at one waits for nothing
            self.shared[ABANDONED] = 1
            while True:  # no call outside of `try`: a signal handler may raise in it
                try:
                    for worker in self._workers:
                        errors = worker.finish() or errors
                    break
                except BaseException as error:
                    errors = [error]
        if errors:  # popped: its traceback would keep it, and the team, alive
            raise errors.pop()

    def close(self):
        """End the threads; they touch nothing any more when this returns."""
        errors = []
        end = time.monotonic() + _END_SECONDS  # through any number of interrupts
        workers = self._workers if self._process == os.getpid() else []
        while workers:
            try:
                workers[-1].finish()
                workers[-1].close(end)
                workers.pop()
            except BaseException as error:
                errors = [error]
        if errors:
            raise errors.pop()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def _usable_cores():
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Worker:
    """One thread of a team: waits for a function, calls it, says so.

    The locks only wake the other side up; the truth is in ``_function``, which is
    None when nothing is to be done.  An interrupt can therefore fall between any
    two lines: waking up once too often does no harm, and a waiter looks again.
    """

    def __init__(self, number, team):
        self._number = number
        self._shared = team.shared
        self._team = weakref.ref(team)
        self._function = None
        self._error = None
        self._closed = False
        self._thread = None  # as the operating system numbers it
        self.has_ended = False
        # taken: has not appeared, nothing to do, not done, not ended
        self._there, self._todo, self._done, self._ended = (
            new_lock() for _ in range(4)
        )

    def start(self):
        """Start the thread.

        Raises
        ------
        RuntimeError
            If the system has no thread to give.
        """
        start_thread(self._run)

    def appears(self, end):
        """Wait until the thread runs, or the time `end`; whether it is a real one.

        Libraries that replace threads by coroutines, which take turns in one thread,
        replace `_thread` as well.
        """
        self._there.acquire(timeout=max(0.0, end - time.monotonic()))
        return self._thread not in (None, threading.get_native_id())

    def _run(self):
        try:
            self._thread = threading.get_native_id()
            _open(self._there)
            self._serve()
        except BaseException as error:  # a profiler's function, say
            self._error = error
        finally:
            self.has_ended = True
            self._shared[ABANDONED] = 1
            self._function = None
            for lock in (self._there, self._done, self._ended):
                _open(lock)

    def _serve(self):
        while not self._closed:
            is_woken = self._todo.acquire(timeout=_IDLE_SECONDS)
            function = self._function
            if function is not None:
                try:
                    function(self._number)
                except BaseException as error:
                    self._error = error
                    self._shared[ABANDONED] = 1
                self._function = function = None
                _open(self._done)
            elif not is_woken and self._team() is None:
                return

    def begin(self, function):
        """Start `function`."""
        self._function = function
        if self.has_ended:
            self._function = None
            raise RuntimeError("a thread of this fit has ended: fit again")
        _open(self._todo)

    def finish(self):
        """Wait until the thread is out of its function; returns a list of errors."""
        while self._function is not None:
            if not self._done.acquire(timeout=0.1):
                _open(self._todo)  # in case an interrupt came before `begin` did
        error, self._error = self._error, None
        return [] if error is None else [error]

    def dismiss(self):
        """Tell the thread, which is idle or has yet to appear, to end."""
        self._closed = True
        _open(self._todo)

    def close(self, end):
        """End the thread, which is idle; wait for that until the time `end`.

        An interrupt may have kept it from being started, and it can touch nothing any
        more, so there is no need to wait for long.
        """
        self.dismiss()
        if self._ended.acquire(timeout=max(0.0, end - time.monotonic())):
            self._ended.release()


def _open(lock):
    """Release a lock, or leave it released."""
    with suppress(RuntimeError):
        lock.release()
