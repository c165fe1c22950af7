"""Options of training steps that scikit-learn lacks."""

from dataclasses import dataclass

__all__ = ["StepOptions"]


@dataclass(frozen=True)
class StepOptions:
    """Options of `fastmlp.engine.jobs.TrainingJob` that scikit-learn lacks.

    Parameters
    ----------
    loss_parameters : sequence of float, default=()
        The parameters that the loss's row of `fastmlp.tables.losses` names.
    dropout : sequence of float, default=()
        Dropout rate of the inputs of each layer, first layer first; () for none.
    seed : int, default=0
        Of the dropout masks.
    l1 : float, default=0.0
        Penalty ``l1 * sum of |weights|``, divided by the batch's weight.
    weight_decay : float, default=0.0
        Decoupled weight decay: each step subtracts this share, times the learning
        rate, of the weights.
    clip_norm : float, default=0.0
        Largest norm of the gradient of all parameters; 0 for no clipping.
    average_decay : float, default=0.0
        Decay of the moving average of the parameters, if the network keeps one.
    """

    loss_parameters: tuple = ()
    dropout: tuple = ()
    seed: int = 0
    l1: float = 0.0
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    average_decay: float = 0.0
