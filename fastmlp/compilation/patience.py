"""Saying, once in a process, that a wait is for kernels that are being compiled."""

import logging
import multiprocessing
import os
import sys
import time
from contextlib import contextmanager

from fastmlp.native_threads import new_lock, start_thread

__all__ = ["explained_wait"]

logger = logging.getLogger("fastmlp")

#: Seconds of compiling, all kernels together, after which something is said.
_SECONDS = 2.0

_MESSAGE = (
    "fastmlp: compiling kernels for this CPU, which takes some ten seconds the "
    "first time; they are kept on disk for the next. fastmlp.warmup() does it ahead of "
    "time; FASTMLP_QUIET=1 hides this line."
)


class _Wait:
    """What this process has waited so far; numba compiles in one thread at a time."""

    depth = 0
    seconds = 0.0
    is_explained = False


@contextmanager
def explained_wait():
    """Tell the user what is going on if kernels are compiled for long.

    A line on a terminal or in a notebook, else a message of the logger ``fastmlp``.
    """
    if _Wait.depth or _Wait.is_explained:  # within another kernel, or told before
        yield
        return
    _Wait.depth = 1
    started = time.perf_counter()
    is_over = new_lock()
    try:
        start_thread(_watch, is_over, _SECONDS - _Wait.seconds)
    except RuntimeError:  # no thread to be had: then nothing is said
        logger.debug("no thread for the message about compiling")
    try:
        yield
    finally:
        is_over.release()
        _Wait.depth = 0
        _Wait.seconds += time.perf_counter() - started


def _watch(is_over, seconds):
    if not is_over.acquire(timeout=max(seconds, 0)) and not _Wait.is_explained:
        _Wait.is_explained = True
        _explain()


def _explain():
    if os.environ.get("FASTMLP_QUIET", "0") not in ("", "0"):
        return
    stream = sys.stderr
    is_seen = stream is not None and (stream.isatty() or "ipykernel" in sys.modules)
    if is_seen and multiprocessing.parent_process() is None:
        print(_MESSAGE, file=stream, flush=True)
    else:
        logger.info(_MESSAGE)
