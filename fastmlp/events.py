"""What is told of a fit while it runs."""

import time

__all__ = ["Events", "Several", "TimeLimit"]


class Events:
    """What is told of the epochs of a fit; by default nobody listens."""

    #: Whether somebody may look at the network after an epoch.
    looks = False

    def begin(self):
        """An epoch begins."""

    def end(self, epoch, loss, score=None):
        """An epoch has ended, and what its score was; true to stop the fit."""
        return False

    def close(self):
        """The fit is over."""


class Several(Events):
    """Passes everything on to several listeners; each can stop the fit."""

    def __init__(self, listeners):
        self._listeners = listeners
        self.looks = any(listener.looks for listener in listeners)

    def begin(self):
        for listener in self._listeners:
            listener.begin()

    def end(self, epoch, loss, score=None):
        # all of them are told, whoever says stop
        stops = [each.end(epoch, loss, score) for each in self._listeners]
        return any(stops)

    def close(self):
        for listener in self._listeners:
            listener.close()


class TimeLimit(Events):
    """Stops a fit when so many seconds are over."""

    def __init__(self, seconds):
        self._end = time.perf_counter() + seconds
        self.is_over = False

    def end(self, epoch, loss, score=None):
        self.is_over = time.perf_counter() > self._end
        return self.is_over
