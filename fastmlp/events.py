"""What is told of a fit while it runs."""

__all__ = ["Events"]


class Events:
    """What is told of the epochs of a fit; by default nobody listens."""

    #: Whether somebody may look at the network after an epoch.
    looks = False

    def begin(self):
        """An epoch begins."""

    def end(self, epoch, loss):
        """An epoch has ended; true to stop the fit."""
        return False

    def close(self):
        """The fit is over."""
