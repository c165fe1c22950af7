"""Threads of the operating system, and calls that no signal handler disturbs.

Python runs signal handlers in the main thread, between any two lines of Python. What a
handler raises there (Ctrl-C: KeyboardInterrupt) ends whatever the main thread is doing,
and is lost, or worse, if that is a callback from C. Foreign code that cannot bear it
runs in another thread, for which the main thread waits.
"""

import _thread
import os
import sys
import threading
from functools import cache
from importlib import import_module

__all__ = ["lazily", "new_lock", "start_thread", "undisturbed"]

#: Bytes of stack for foreign code: a compiler needs more than some systems give.
_STACK_BYTES = 16 * 2**20


def _original(name):
    """A function of `_thread`, also after gevent has replaced it by its own.

    Threads of gevent take turns: one that waits inside a kernel would wait for ever.
    """
    monkey = sys.modules.get("gevent.monkey")
    return monkey.get_original("_thread", name) if monkey else getattr(_thread, name)


def start_thread(function, *arguments):
    """Start a thread by one call into C, which an interrupt cannot cut in two.

    Raises
    ------
    RuntimeError
        If the system has no thread to give.
    """
    _original("start_new_thread")(function, arguments)


def new_lock():
    """A lock that is taken; plain ones wake up faster than events."""
    lock = _original("allocate_lock")()
    lock.acquire()
    return lock


def _is_main_thread():
    """Whether this is the thread in which signal handlers run.

    After a fork, Python 3.11 still has the number of the parent's main thread.
    """
    number = threading.get_native_id()
    if sys.platform == "linux":
        return number == os.getpid()
    return number == threading.main_thread().native_id


def undisturbed(function, *arguments):
    """Call a function where no signal handler can raise into it.

    Returns what it returns, or raises what it raises. If a handler raised something
    meanwhile, that is raised instead, once the function has returned.
    """
    if not _is_main_thread():
        return function(*arguments)  # signal handlers run in the main thread only
    results, errors, raised = [], [], []  # of the function, and by handlers
    ended = new_lock()

    def call():
        try:
            results.append(function(*arguments))
        except BaseException as error:
            errors.append(error)
        ended.release()

    stack_bytes = threading.stack_size(_STACK_BYTES)
    try:
        start_thread(call)
    except RuntimeError:  # no thread to be had
        call()
    finally:
        threading.stack_size(stack_bytes)
    while not (results or errors):
        try:
            ended.acquire()
        except BaseException as error:
            raised = [error]
    if raised or errors:  # popped: its traceback would keep it alive
        raise (raised or errors).pop()
    return results[0]


@cache
def lazily(module):
    """A module of fastmlp that needs kernels, imported when it is first asked for.

    An interrupt must not cut its import in two.
    """
    return undisturbed(import_module, f"fastmlp.{module}")
