"""Events of a running fit, and listeners that can stop it."""

import time

__all__ = ["Events", "Listeners", "TimeLimit"]


class Events:
    """Listener to the epochs of a fit; this base class ignores them."""

    #: Whether the listener may look at the network after an epoch.
    reads_weights = False

    def train_begins(self):
        """Called when training begins, or begins anew in float64."""

    def begin(self, epoch):
        """Called when an epoch begins."""

    def end(self, epoch, loss, score=None):
        """Called when an epoch has ended; returns whether to stop the fit."""
        return False

    def close(self):
        """Called when the fit is over."""


class Listeners(Events):
    """Pass events to several listeners; each can stop the fit."""

    def __init__(self, listeners):
        self._listeners = listeners
        self.reads_weights = any(listener.reads_weights for listener in listeners)

    def train_begins(self):
        for listener in self._listeners:
            listener.train_begins()

    def begin(self, epoch):
        for listener in self._listeners:
            listener.begin(epoch)

    def end(self, epoch, loss, score=None):
        # call all of them, even if one stops the fit
        stops = [each.end(epoch, loss, score) for each in self._listeners]
        return any(stops)

    def close(self):
        for listener in self._listeners:
            listener.close()


class TimeLimit(Events):
    """Stop a fit after `seconds` seconds."""

    def __init__(self, seconds):
        self._end = time.perf_counter() + seconds
        self.is_over = False

    def end(self, epoch, loss, score=None):
        self.is_over = time.perf_counter() > self._end
        return self.is_over
