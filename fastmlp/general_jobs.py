"""Training with what scikit-learn's network does not have."""

from itertools import accumulate

import numpy as np

from fastmlp.extras import Extras
from fastmlp.jobs import TrainingJob
from fastmlp.kernels import general
from fastmlp.kernels.losses import LOSSES
from fastmlp.network import Arena, round_up

__all__ = ["GeneralTrainingJob"]

_SCRATCH_GAP = 16


class GeneralTrainingJob(TrainingJob):
    """As its base, by the kernels of `fastmlp.kernels.general`.

    Parameters
    ----------
    network, X, targets, sample_weight
        See `TrainingJob`.
    extras : fastmlp.extras.Extras, default=Extras()
        What the steps do beyond scikit-learn's.
    **settings
        See `TrainingJob`.

    Attributes
    ----------
    rates : ndarray of shape (n_steps,)
        Learning rates of the steps of the epoch.
    """

    _is_plain_only = False

    def __init__(
        self, network, X, targets, sample_weight=None, *, extras=None, **settings
    ):
        self._extras = extras = extras or Extras()
        row = LOSSES[settings["loss"]]
        n_expected = len(row.parameters)
        if row.parameters == ("q of each output",):
            n_expected = network.units[-1]
        if len(extras.loss_parameters) != n_expected:
            raise ValueError(
                f"the loss {row.name} takes {n_expected} parameters, "
                f"got {extras.loss_parameters}"
            )
        if len(extras.dropout) not in (0, network.n_layers):
            raise ValueError(
                f"{len(extras.dropout)} dropout rates for {network.n_layers} layers"
            )
        super().__init__(network, X, targets, sample_weight, **settings)
        self.rates = np.zeros(self.n_steps)
        factor = 1.0 if sample_weight is None else self._weight_factor
        self._set(
            rates=self.rates,
            loss_parameters=np.array([*extras.loss_parameters, 0.0], network.dtype),
            keep=1.0 - np.array(extras.dropout or [0.0] * network.n_layers),
            seed=extras.seed,
            l1=extras.l1 / factor,
            weight_decay=extras.weight_decay,
            clip_norm=extras.clip_norm,
            average_decay=extras.average_decay,
        )
        if not network.averaged:
            self._set(average=0)

    def _count_strips(self):
        return 0

    def _lay_out_batch(self, n_targets):
        """Room for derivatives, and for all of the gradient if its norm is clipped."""
        network, n_threads = self.network, self._n_threads
        shape = network.shape
        capacity = self._capacity(self.batch_size)
        widths = self._widths()
        hidden = widths[1:-1]
        block_rows = self._block_rows(
            -(-self.batch_size // n_threads), sum(widths) + 2 * sum(hidden)
        )
        most_entries = 0
        if self.sparse:
            most_entries = int(np.diff(self._kept["row_starts"]).max(initial=0))
        outputs = (network.units[-1] + 2 + n_targets) * block_rows
        scratch_size = round_up(
            shape.width**2 + shape.width + max(outputs, most_entries) + _SCRATCH_GAP,
            shape.lanes,
        )
        size = self._place_layers([n * capacity for n in widths])
        starts = [*accumulate((n * capacity for n in hidden), initial=size)]
        self.layers["derivatives"][:-1] = starts[:-1]
        size = starts[-1]
        n_pieces = self._count_pieces()
        clips = self._extras.clip_norm > 0
        buffers = Arena(
            {
                "workspace": size,
                "sample_losses": capacity,
                "scratch": scratch_size * n_threads,
                "gradients": network.arena.arrays["parameters"].size if clips else 0,
                "squares": n_pieces,
            },
            network.dtype,
        )
        self._set(
            **buffers.arrays,
            capacity=capacity,
            scratch_size=scratch_size,
            block_rows=block_rows,
            n_penalties=n_pieces,
        )

    def _count_pieces(self):
        """Pieces of the second phase, see `fastmlp.kernels.passes.pieces_of`."""
        width = self.network.shape.width
        fan_in, fan_out = self.layers["fan_in"], self.layers["fan_out"]
        return int(np.sum(-(-fan_in // width) * -(-fan_out // width)))

    def run(self, team, first_step, last_step, *, rate=0.0, n_updates=0, **rates):
        """As the base's; `rate` may be an array, one for each step of the epoch."""
        self.rates[:] = rate
        self._set(n_updates=n_updates)
        return super().run(
            team, first_step, last_step, rate=0.0, n_updates=n_updates, **rates
        )

    def _steps(self, first_step, last_step):
        def steps(thread, job=self):  # which keeps its memory while a thread is in it
            general.train_general(
                job.address, job.precision, thread, first_step, last_step, job.sparse
            )

        return steps
