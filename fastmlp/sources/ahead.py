"""A thread that makes items ahead of whoever takes them, in buffers that go round."""

import time
from queue import Empty, SimpleQueue

from fastmlp.native_threads import new_lock, start_thread

__all__ = ["Ahead"]

#: Seconds after which one that waits looks whether there is a reason not to.
_LOOK_SECONDS = 0.1


class _Closed(BaseException):
    """Nobody takes items any more."""


class Ahead:
    """Items of an iterator that a thread makes ahead.

    There are as many items at a time as there are buffers. The one that was taken last
    is free to be filled again as soon as the next is taken.

    Parameters
    ----------
    make : callable
        Called in the thread with this object; gives an iterator. For each item it takes
        a `buffer`; within long ones it calls `check`.
    buffers : sequence of object
        At least two, to make one item while another is used.

    Attributes
    ----------
    waited : float
        Seconds that `take` waited for an item.
    idled : float
        Seconds that the thread waited for a buffer.
    """

    def __init__(self, make, buffers):
        self._make = make
        self._free, self._full = SimpleQueue(), SimpleQueue()
        for buffer in buffers:
            self._free.put(buffer)
        self._taken = None  # (buffer,) of the item that was taken last
        self._pending = None  # the buffer of the item that is being made
        self._is_closed = False
        self._ended = None
        self.waited = self.idled = 0.0

    def _start(self):
        self._ended = new_lock()
        try:
            start_thread(self._run)
        except BaseException:  # whoever closes this would wait for ever
            self._ended = None
            raise

    def _run(self):
        try:
            for item in self._make(self):
                self._full.put((item, (self._pending,), None))
            self._full.put((None, None, None))
        except _Closed:
            pass
        except BaseException as error:
            self._full.put((None, None, error))
        finally:
            self._make = self._pending = None
            self._ended.release()

    def check(self):
        """In the thread: go on only if somebody still takes items."""
        if self._is_closed:
            raise _Closed

    def buffer(self):
        """In the thread: a buffer for the next item, as soon as one is free."""
        started = time.perf_counter()
        self._pending = self._free.get()
        self.idled += time.perf_counter() - started
        self.check()
        return self._pending

    def take(self, is_late=lambda: False):
        """The next item, or None behind the last one; raises what the iterator raised.

        Parameters
        ----------
        is_late : callable
            Whether not to wait any longer; then `queue.Empty` is raised.
        """
        if self._ended is None:
            self._start()
        if self._taken is not None:
            (buffer,), self._taken = self._taken, None
            self._free.put(buffer)
        started = time.perf_counter()
        while True:
            try:
                item, buffer, error = self._full.get(timeout=_LOOK_SECONDS)
                break
            except Empty:
                if is_late():
                    raise
        self.waited += time.perf_counter() - started
        self._taken = buffer
        if error is not None:
            raise error
        return item

    def close(self):
        """End the thread, at the latest when it has read the next rows."""
        self._is_closed = True
        self._free.put(None)
        if self._ended is None:
            return
        errors = []
        while True:  # through any number of interrupts: it shall not outlive the fit
            try:
                if self._ended.acquire(timeout=_LOOK_SECONDS):
                    break
            except BaseException as error:
                errors = [error]
        self._ended.release()
        self._taken = None
        while not self._full.empty():  # errors hold tracebacks, and these hold blocks
            self._full.get()
        if errors:
            raise errors.pop()
