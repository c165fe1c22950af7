"""The optimizer of a stochastic fit: rule, rates, schedule, and what it remembers."""

from dataclasses import dataclass

from fastmlp.schedules import SCHEDULES, Constant

__all__ = ["Optimizer"]


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


_MOMENTS = ("first_moment", "second_moment")
