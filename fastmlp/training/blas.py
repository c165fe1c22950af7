"""BLAS on one thread, for solvers of SciPy: the same bits on any machine, and no waits.

L-BFGS-B calls BLAS on vectors of as many elements as a network has parameters.  Of long
ones, OpenBLAS adds up parts on several threads, and the sum depends on how many these
are.  Its threads also wait in loops, on cores that others compute on.
"""

import threading
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController  # of scikit-learn

from fastmlp.native_threads import undisturbed

__all__ = ["one_thread_of_blas"]

#: Who holds it has limited BLAS, in the whole process.
_limited = threading.Lock()


@cache
def _controller():
    """What knows the libraries; to find them takes as long as some fits."""
    return ThreadpoolController()


@contextmanager
def one_thread_of_blas():
    """Context manager: BLAS has one thread, in the whole process.

    If another thread is inside, that one's limit holds, as long as it is: whoever runs
    fits side by side is inside for all of them.
    """
    if not _limited.acquire(blocking=False):
        yield
        return
    try:
        with undisturbed(_controller).limit(limits=1, user_api="blas"):
            yield
    finally:
        _limited.release()
