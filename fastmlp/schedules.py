"""Learning rates over time.

A schedule holds `rate`, the rate of the coming epoch, and is told when an epoch
ends and when the loss has stopped improving.
"""

__all__ = ["SCHEDULES", "Adaptive", "Constant", "InverseScaling"]


class Constant:
    """rate = initial.

    Parameters
    ----------
    initial : float
        The first rate.
    power : float, default=0.5
        Exponent of `InverseScaling`; not used by the others.
    """

    name = "constant"

    def __init__(self, initial, power=0.5):
        self.initial = float(initial)
        self.power = power
        self.rate = self.initial

    def epoch_ends(self, n_seen):
        """An epoch is over; `n_seen` samples have been seen since the start."""

    def stops_on_plateau(self):
        """The loss has stopped improving: (whether to stop, what to say)."""
        return True, "Stopping."


class InverseScaling(Constant):
    """rate = initial / (n_seen + 1)**power from the second epoch on."""

    name = "invscaling"

    def epoch_ends(self, n_seen):
        self.rate = self.initial / (n_seen + 1) ** self.power


class Adaptive(Constant):
    """rate = initial until the loss stops improving, then a fifth of it, ..."""

    name = "adaptive"
    smallest = 1e-6

    def stops_on_plateau(self):
        if self.rate <= self.smallest:
            return True, "Learning rate too small. Stopping."
        self.rate /= 5.0
        return False, f"Setting learning rate to {self.rate:f}"


#: name -> class
SCHEDULES = {cls.name: cls for cls in (Constant, InverseScaling, Adaptive)}
