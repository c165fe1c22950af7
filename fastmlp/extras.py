"""What a training step may do beyond scikit-learn's."""

from dataclasses import dataclass, field

__all__ = ["Extras"]


@dataclass(frozen=True)
class Extras:
    """What `fastmlp.jobs.TrainingJob` is told beyond loss, optimizer and L2 penalty.

    Parameters
    ----------
    loss_parameters : sequence of float, default=()
        What the loss's row of `fastmlp.kernels.losses.LOSSES` names.
    dropout : sequence of float, default=()
        Share of its inputs that each layer does not see in a step, the first layer
        first; () for none.
    seed : int, default=0
        Of the masks that choose them.
    l1 : float, default=0.0
        Penalty ``l1 * sum of |weights|``, divided by the batch's weight.
    weight_decay : float, default=0.0
        Share of the weights, times the rate, that each step takes away.
    clip_norm : float, default=0.0
        The norm that the gradient of all parameters is shortened to; 0 for none.
    average_decay : float, default=0.0
        Of the average of the parameters over the steps, if the network keeps one.
    """

    loss_parameters: tuple = field(default=())
    dropout: tuple = field(default=())
    seed: int = 0
    l1: float = 0.0
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    average_decay: float = 0.0
