"""The optimizer of a stochastic fit: update rule, learning rates, schedule, state."""

import math
from dataclasses import dataclass

from fastmlp.tables.optimizers import SOLVERS
from fastmlp.training.functions import number_returned
from fastmlp.training.schedules import Constant, make_schedule

__all__ = ["Optimizer", "OptimizerView"]


@dataclass
class Optimizer:
    """One row of the kernels' table of optimizers, with the settings of its steps.

    Parameters
    ----------
    name : str
        Name of a row of `fastmlp.tables.optimizers`.
    schedule : fastmlp.training.schedules.Constant or other
        The learning rate schedule.
    beta_1 : float, default=0.0
        Momentum, or Adam's beta_1.
    beta_2, epsilon : float, default=0.0
        Adam's beta_2 and epsilon.
    n_updates : int, default=0
        Number of steps so far.
    strength : callable, default=None
        From the fraction of the training so far to a factor on dropout and decay.
    """

    name: str
    schedule: Constant
    beta_1: float = 0.0
    beta_2: float = 0.0
    epsilon: float = 0.0
    n_updates: int = 0
    strength: object = None

    @classmethod
    def of(cls, settings):
        """The optimizer for the parameters of an estimator."""
        solver, schedule = settings.solver, settings.learning_rate
        if solver == "adam" and schedule in ("invscaling", "adaptive"):
            schedule = "constant"  # as in scikit-learn, which ignores these for Adam
        schedule = make_schedule(
            schedule, settings.learning_rate_init, settings.power_t
        )
        if solver == "sgd":
            momentum = settings.momentum
            name = "nesterov" if settings.nesterovs_momentum else "momentum"
            return cls(name if momentum else "sgd", schedule, momentum)
        decays = settings.beta_1, settings.beta_2
        (rule,) = SOLVERS[solver]
        return cls(rule, schedule, *decays, settings.epsilon)

    def fits_state(self, state):
        """Whether a state is of the same solver, so that this fit can use it."""
        names = {self.name, state["name"]}
        return any(names.issubset(rules) for rules in SOLVERS.values())

    @property
    def is_steady(self):
        """Whether `rates` are the same for all epochs, until patience is at its end."""
        return self.schedule.is_steady and self.strength is None

    def rates(self, start, end, n_steps):
        """Keyword arguments of `TrainingJob.run` for the next epoch.

        start, end, n_steps : see `fastmlp.training.schedules.Constant.rates`.
        """
        return {
            "rate": self.schedule.rates(start, end, n_steps),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "n_updates": self.n_updates,
            "strength": 1.0 if self.strength is None else self.strength(start),
        }

    def set_rate(self, rate):
        """Set the learning rate of the steps that follow, as a callback asks.

        Raises
        ------
        ValueError
            If it is no rate, or if the schedule gives the rates.
        """
        schedule = self.schedule
        if not schedule.can_be_set:
            raise ValueError(
                f"a callback cannot set the learning rate: learning_rate="
                f"{schedule.name!r} gives the rate of each epoch. Use "
                "learning_rate='constant'"
            )
        rate = number_returned(rate, "a callback", "learning_rate")
        if not 0 <= rate < math.inf:
            raise ValueError(f"a learning rate must be finite and >= 0, got {rate}")
        schedule.rate = rate

    def state(self, network):
        """The complete state as plain values and arrays, to continue from later.

        Parameters
        ----------
        network : fastmlp.engine.network.Network
            The network whose arrays of state to keep.

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
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "n_updates": self.n_updates,
        }
        for name in network.state:
            state[name] = network.read(array=name)
        if network.averaged:  # predictions use the average
            state["parameters"] = network.read()
        return state

    @classmethod
    def from_state(cls, state, schedule=None):
        """The optimizer with this `state`; see also `write_state`.

        schedule : the current parameter `learning_rate`, used if it is a callable,
            which a state does not keep.
        """
        name = state["schedule"]
        if name == "callable":
            name = schedule if callable(schedule) else "constant"
        schedule = make_schedule(name, state["learning_rate_init"], state["power_t"])
        schedule.rate = state["learning_rate"]
        kept = ("name", "beta_1", "beta_2", "epsilon", "n_updates")
        return cls(schedule=schedule, **{name: state[name] for name in kept})

    @staticmethod
    def write_state(state, network):
        """Write the arrays of `state` to a network."""
        for name in network.state:
            network.write(*state[name], array=name)


class OptimizerView:
    """The state of an optimizer under scikit-learn's names.

    ``learning_rate`` is the rate of the next step (for Adam: that of the last step,
    with bias correction). It can be set for sgd; for Adam, ``learning_rate_init`` can.
    The next `partial_fit` or warm start uses it.

    Parameters
    ----------
    state : dict
        From `Optimizer.state`; assignments modify it.
    """

    def __init__(self, state):
        object.__setattr__(self, "_state", state)

    def __getattr__(self, name):
        if name not in self._state:
            raise AttributeError(f"this optimizer has no {name!r}")
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
        return rate * math.sqrt(1 - state["beta_2"] ** t) / (1 - state["beta_1"] ** t)
