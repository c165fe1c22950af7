"""The optimizer of a stochastic fit: rule, rates, schedule, and what it remembers."""

import math
from dataclasses import dataclass

from fastmlp.schedules import SCHEDULES, Constant

__all__ = ["Optimizer", "OptimizerView"]


@dataclass
class Optimizer:
    """One row of the kernels' table of optimizers, and all that its steps need.

    Parameters
    ----------
    name : str
        Row of `fastmlp.kernels.optimizers.OPTIMIZERS`.
    schedule : fastmlp.schedules.Constant or other
        The learning rate over time.
    decay_1 : float, default=0.0
        Momentum, or Adam's beta_1.
    decay_2, epsilon : float, default=0.0
        Adam's beta_2 and epsilon.
    n_updates : int, default=0
        Steps made so far.
    """

    name: str
    schedule: Constant
    decay_1: float = 0.0
    decay_2: float = 0.0
    epsilon: float = 0.0
    n_updates: int = 0

    @classmethod
    def adam(cls, rate, beta_1, beta_2, epsilon):
        """Adam at a constant rate."""
        return cls("adam", Constant(rate), beta_1, beta_2, epsilon)

    @classmethod
    def sgd(cls, schedule, rate, power, momentum, nesterov):
        """Gradient descent; `schedule` is a name in `fastmlp.schedules.SCHEDULES`."""
        name = "sgd" if momentum == 0 else "nesterov" if nesterov else "momentum"
        return cls(name, SCHEDULES[schedule](rate, power), momentum)

    @property
    def solver(self):
        """What the estimators' parameter `solver` calls it."""
        return "adam" if self.name == "adam" else "sgd"

    def rates(self):
        """Keyword arguments of `fastmlp.jobs.TrainingJob.run` for the next steps."""
        return {
            "rate": self.schedule.rate,
            "decay_1": self.decay_1,
            "decay_2": self.decay_2,
            "epsilon": self.epsilon,
            "n_updates": self.n_updates,
        }

    def state(self, network):
        """Everything as plain values and arrays, to go on from later.

        Parameters
        ----------
        network : fastmlp.network.Network
            Whose moments to keep.

        Returns
        -------
        dict
        """
        schedule = self.schedule
        state = {
            "name": self.name,
            "schedule": schedule.name,
            "learning_rate_init": schedule.initial,
            "power_t": schedule.power,
            "learning_rate": schedule.rate,
            "decay_1": self.decay_1,
            "decay_2": self.decay_2,
            "epsilon": self.epsilon,
            "n_updates": self.n_updates,
        }
        for moment in _MOMENTS[: network.n_moments]:
            state[moment] = network.read(array=moment)
        return state

    @classmethod
    def from_state(cls, state):
        """The optimizer that `state` was taken of; see also `write_moments`."""
        schedule = SCHEDULES[state["schedule"]](
            state["learning_rate_init"], state["power_t"]
        )
        schedule.rate = state["learning_rate"]
        kept = ("name", "decay_1", "decay_2", "epsilon", "n_updates")
        return cls(schedule=schedule, **{name: state[name] for name in kept})

    @staticmethod
    def write_moments(state, network):
        """Put the moments of `state` into a network."""
        for moment in _MOMENTS[: network.n_moments]:
            network.write(*state[moment], array=moment)


class OptimizerView:
    """The state of an optimizer under the names that scikit-learn's has.

    ``learning_rate`` is the rate of the next step (for Adam: that of the last one, with
    the bias of the moments undone). For sgd it can be set, for Adam
    ``learning_rate_init``: the next fit that goes on takes it.

    Parameters
    ----------
    state : dict
        See `Optimizer.state`; changed by assignments.
    """

    def __init__(self, state):
        object.__setattr__(self, "_state", state)

    def __getattr__(self, name):
        if name not in self._state:
            raise AttributeError(f"the optimizer has no {name!r}")
        if name == "learning_rate":
            return self._rate()
        return self._state[name]

    def __setattr__(self, name, value):
        allowed = "learning_rate"
        if self._state["name"] == "adam":
            allowed = "learning_rate_init"
        if name != allowed:
            raise AttributeError(f"only {allowed} of this optimizer can be set")
        self._state[name] = self._state["learning_rate"] = float(value)

    def __dir__(self):
        return [*super().__dir__(), *self._state]

    def _rate(self):
        state = self._state
        rate, t = state["learning_rate"], state["n_updates"]
        if state["name"] != "adam" or t == 0:
            return rate
        return rate * math.sqrt(1 - state["decay_2"] ** t) / (1 - state["decay_1"] ** t)


_MOMENTS = ("first_moment", "second_moment")
