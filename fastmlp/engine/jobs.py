"""The input of the kernels: data, network and settings as one record of addresses.

A job keeps every array alive whose address the record holds, and checks whatever could
make a kernel leave these arrays.
"""

from contextlib import nullcontext

import numpy as np
from scipy.sparse import issparse

from fastmlp.data.samples import (
    compressed_rows,
    dense_fields,
    indices_of,
    kernels_can_read,
    sparse_fields,
)
from fastmlp.engine.arena import Arena, address_of
from fastmlp.engine.options import StepOptions
from fastmlp.engine.threads import threads_that_pay
from fastmlp.kernels import passes, strips
from fastmlp.kernels.buffers import Buffer, Sizes, round_up
from fastmlp.kernels.epochs import EPOCH_NUMBERS
from fastmlp.kernels.job import JOB
from fastmlp.kernels.panels import unit_rows
from fastmlp.kernels.team import team_size
from fastmlp.tables.activations import ACTIVATIONS, resolve_activations
from fastmlp.tables.losses import LOSSES, OUTPUT_ACTIVATIONS
from fastmlp.tables.optimizers import OPTIMIZERS

__all__ = ["Job", "PredictionJob", "ReusableJob", "TrainingJob", "panels_at_once"]

#: Bytes of activations and deltas that a block of rows may take while it goes
#: through all layers: about half of a core's L2 cache.
_BLOCK_BYTES = 192 * 1024
#: Bounds on these rows: few read all weights too often, many do not fit the cache.
_LEAST_BLOCK_ROWS = 64
_MOST_BLOCK_ROWS = 256

#: Bytes of a panel of weights that a product reads repeatedly: half of an L1 cache;
#: the other half is for the rows of activations.
_PANEL_BYTES = 16 * 1024

#: Addresses this many bytes apart fall into the same set of an L1 cache.
_CACHE_WAY_BYTES = 4096

#: Positions of these fields among the numbers of a JOB.
_X, _OUTPUTS, _N_SAMPLES = (
    JOB.fields[name][1] // 8 for name in ("X", "outputs", "n_samples")
)

#: Fields of a JOB for what the rule of an optimizer keeps.
_STATE = "first_state", "second_state"

#: What is guessed to take a tenth of a second on a slow computer, in units of
#: `threads_that_pay`; and what the smallest step costs.
_WORK_OF_CHUNK = 100.0
_LEAST_WORK = 0.01

#: Fewest samples per strip, and most strips per batch.
_STRIP_ROWS = 40
_MOST_STRIPS = 16
#: Bytes of a gradient that stays in the L2 cache while strips add to it.
_STRIP_GRADIENT_BYTES = 128 * 1024


def panels_at_once(network):
    """Panels that a product sums before it stores: weights that fit the L1 cache."""
    panel_bytes = network.shape.width**2 * network.dtype.itemsize
    return max(1, _PANEL_BYTES // panel_bytes)


def strips_of(network, batch_size):
    """Number of strips of a batch, see `fastmlp.kernels.strips`; 0 for none.

    Strips are worthwhile if their gradients have fewer numbers than the activations and
    deltas that threads would otherwise exchange.  Does not depend on the number of
    threads.
    """
    if network.encoding is not None:
        return 0
    shape, units = network.shape, network.units
    n_parameters = sum(network.sizes.values())
    n_strips = 1
    while 2 * n_strips <= _MOST_STRIPS and 2 * n_strips * _STRIP_ROWS <= batch_size:
        n_strips *= 2
    handed_over = batch_size * sum(round_up(n, shape.lanes) for n in units)
    handed_over += batch_size * sum(round_up(n, shape.lanes) for n in units[1:-1])
    fits = n_parameters * network.dtype.itemsize <= _STRIP_GRADIENT_BYTES
    # one strip per thread: there must be enough for all worthwhile threads
    wanted = min(_MOST_STRIPS, int(threads_that_pay(network, batch_size)))
    pays = n_strips * n_parameters <= handed_over and n_strips >= wanted
    return n_strips if fits and pays else 0


class Job:
    """A record `fastmlp.kernels.job.JOB` and the arrays that it points to."""

    def __init__(self, network, X, activation, n_threads):
        self.network = network
        self._n_threads = n_threads
        self._joined = None, 0  # the array that a team shares, and the team's size
        self._kept = {"network": network}
        self._records = np.zeros(1, JOB)
        self.address = self._records.ctypes.data
        self.precision = network.dtype.type(0)
        self.layers = network.layers.copy()
        # argument of the kernels: None means that only dense kernels are needed
        self.sparse = True if issparse(X) else None
        X = compressed_rows(X) if self.sparse else np.asarray(X)
        self._check_shape(X)
        if self.sparse and not network.architecture[0].takes_sparse:
            kind = type(network.architecture[0]).__name__
            raise ValueError(f"X is sparse, but the first layer, a {kind}, cannot be")
        self._stored = np.zeros(network.n_layers, bool)  # derivatives, by layer
        active = [
            i for i, layer in enumerate(network.architecture[:-1])
            if layer.has_activation
        ]  # fmt: skip
        rows = resolve_activations(activation, len(active))
        for i, row in zip(active, rows, strict=True):
            self.layers["activation"][i] = row.code_for(network.dtype)
            self.layers["maps_zero_to_zero"][i] = row.maps_zero_to_zero
            self._stored[i] = row.stores_derivatives or network.encoding is not None
        self._set(
            parameters=network.arena.arrays["parameters"],
            layers=self.layers,
            n_layers=network.n_layers,
            depth=panels_at_once(network),
            n_samples=X.shape[0],
            **(sparse_fields(X) if self.sparse else dense_fields(X)),
        )

    def __reduce__(self):
        raise TypeError(
            "a job holds addresses in this process and cannot be copied or pickled; "
            "pickle the estimator instead"
        )

    def _check_shape(self, X):
        n_features = self.network.units[0]
        if X.ndim != 2 or X.shape[1] != n_features:
            raise ValueError(
                f"X has shape {X.shape}, but the network takes {n_features} features"
            )

    def _allocate(self, buffers):
        """Find memory for buffers that kernels declare, and set the fields for them."""
        merged = {}
        for buffer in buffers:  # the scratch of a thread is declared bit by bit
            parts = merged.get(buffer.name, buffer).parts
            merged[buffer.name] = buffer._replace(parts={**parts, **buffer.parts})
        self.arena = arena = Arena(merged.values(), self.network.dtype)
        for name in merged:
            self._set(**{name: arena.arrays[name]})
            if f"{name}_size" in JOB.names:
                self._set(**{f"{name}_size": arena.strides[name]})
        self._set(**arena.starts.get("scratch", {}))

    def _set(self, **fields):
        """Set fields of the record; for an array, store its address and keep it."""
        record = self._records[0]
        for name, value in fields.items():
            if isinstance(value, np.ndarray):
                self._kept[name] = value
                value = address_of(value)
            record[name] = value

    def _declared_workspace(self):
        """What layers declare of their workspace: (layer, field) -> numbers per row.

        Or -> the (layer, field) whose place it shares.
        """
        declared = {}
        for i, layer in enumerate(self.network.architecture):
            fields = {"inputs": (i - 1, "outputs"), **layer.workspace(self._stored[i])}
            if i == 0:
                fields["inputs"] = layer.fan_in
            if i == self.network.n_layers - 1:
                fields["deltas"] = "outputs"  # which are raw until then
            for field, numbers in fields.items():
                shares = isinstance(numbers, str)
                declared[i, field] = (i, numbers) if shares else numbers
        if self.sparse:
            del declared[0, "inputs"]  # samples are read in place
        # all activations, then all deltas, then all derivatives
        order = ["inputs", "outputs", "deltas", "derivatives", "excess"]
        return dict(sorted(declared.items(), key=lambda item: order.index(item[0][1])))

    def _place(self, declared):
        """Tell layers where in the workspace is what they declare."""
        places = self.arena.starts["workspace"]
        for (i, field), numbers in declared.items():
            shares = isinstance(numbers, tuple)
            self.layers[field][i] = places[numbers if shares else (i, field)]

    def _block_rows(self, n_rows, buffers):
        """Rows that go through all layers together: whole tiles that fit the cache.

        buffers : numbers per row.
        """
        tile = self.network.shape.rows
        fitting = _BLOCK_BYTES // (self.network.dtype.itemsize * buffers)
        rows = min(max(fitting, _LEAST_BLOCK_ROWS), _MOST_BLOCK_ROWS)
        return min(rows // tile * tile, round_up(n_rows, tile))

    def _capacity(self, n_rows):
        """Rows of the panels that hold `n_rows` rows: whole tiles, and spread out.

        A product reads the same few rows of one panel after the other.  If panels were
        a multiple of _CACHE_WAY_BYTES apart, as with a batch of 128 or 256, all of
        these rows would compete for the same few cache sets.
        """
        shape, itemsize = self.network.shape, self.network.dtype.itemsize
        row_bytes = shape.width * itemsize
        tile_bytes = shape.rows * row_bytes
        capacity = round_up(n_rows, shape.rows)
        while not (
            tile_bytes
            <= capacity * row_bytes % _CACHE_WAY_BYTES
            <= _CACHE_WAY_BYTES - tile_bytes
        ):
            capacity += shape.rows
        return capacity

    def _join(self, team):
        shared, size = self._joined
        if shared is team.shared and size == team.size:
            return
        size = team.size
        if size > self._n_threads:
            raise ValueError(
                f"a team of {size} for a job made for {self._n_threads} threads: "
                f"set its n_threads to {size} or more"
            )
        self._set(n_threads=size, team=team.shared, spins=team.spins)
        self._joined = team.shared, size


class TrainingJob(Job):
    """Steps of mini-batch gradient descent on a network.

    Parameters
    ----------
    network : Network
        With an optimizer; modified in place.
    X : ndarray or sparse matrix of shape (n_samples, n_features)
        float32 or float64, any strides; a dense X is never copied as a whole, a sparse
        one is converted to compressed sparse rows (CSR).
    targets : ndarray of shape (n_samples, n_targets)
        Numbers of any dtype; class numbers for ``log_loss`` and ``focal``.
    sample_weight : ndarray of shape (n_samples,) or None
    samples : ndarray of int64, default=None
        Indices of the samples to train on; None for all.
    batch_size : int
        Rows of a step; the last step of an epoch may have fewer.
    activation : str or sequence of str
        Names of rows in the kernels' table, one for all hidden layers or one per layer.
    loss : str
        Name of a row in the kernels' table.
    l2 : float, default=0.0
        Penalty ``l2/2 * sum of squared weights``, divided by the batch's weight.
    options : fastmlp.engine.options.StepOptions, default=StepOptions()
        Options that scikit-learn lacks.
    n_threads : int, default=1
        Most threads that will take part.

    Attributes
    ----------
    rates : ndarray of shape (n_steps,)
        Learning rate of each step of the epoch.
    n_samples : int
        Number of samples to train on.
    n_steps : int
        Mini-batches per epoch.
    steps_done : int
        Mini-batches that have been run: of this epoch, or of the last call of
        `run_epochs`.
    steps_per_chunk : int
        How many are sure, or at first are guessed, to take a tenth of a second or less.
    loss_sums : list of float
        What `run` would have returned for each epoch of the last call of `run_epochs`.
    order : ndarray of int64 of shape (n_samples,)
        The samples in the order of the next epoch; shuffle it in place.
    """

    def __init__(
        self,
        network,
        X,
        targets,
        sample_weight=None,
        *,
        samples=None,
        batch_size,
        activation,
        loss,
        l2=0.0,
        options=None,
        n_threads=1,
    ):
        super().__init__(network, X, activation, n_threads)
        if network.optimizer is None:
            raise ValueError("the network has no optimizer, so it cannot be trained")
        self._options = options = options or StepOptions()
        self._check_options(LOSSES[loss])
        dtype = network.dtype
        n_rows = X.shape[0]
        self.order = indices_of(samples, n_rows)
        self.n_samples = len(self.order)
        self.batch_size = batch_size
        self.n_steps = -(-self.n_samples // batch_size)
        self.steps_done = 0
        self._tiny = float(np.finfo(dtype).tiny)
        self.loss_sums = []
        work = _LEAST_WORK + threads_that_pay(network, batch_size)
        self.steps_per_chunk = max(1, int(_WORK_OF_CHUNK / work))
        self.rates = np.zeros(self.n_steps)
        self._settings = None  # of the steps, as they were written last
        factor = 1.0

        with np.errstate(over="ignore"):  # an infinite loss will show it
            targets = np.require(targets, dtype, ["C_CONTIGUOUS", "ALIGNED"])
        is_of_classes = LOSSES[loss].sees_outputs_at_once
        expected = (n_rows, 1 if is_of_classes else network.units[-1])
        if targets.shape != expected:
            raise ValueError(f"targets have shape {targets.shape}, expected {expected}")
        if sample_weight is not None:
            sample_weight = np.asarray(sample_weight, dtype=np.float64)
            if sample_weight.shape != (n_rows,):
                raise ValueError(
                    f"sample_weight has shape {sample_weight.shape}, "
                    f"but X has {n_rows} rows"
                )
            # a common factor only changes the share of the penalty; divided by it,
            # weights of any size fit the precision
            factor = float(np.abs(sample_weight).max()) or 1.0
            l2 /= factor
            sample_weight = (sample_weight / factor).astype(dtype)
            self._set(sample_weights=sample_weight)
            total_weight = float(sample_weight[self.order].sum(dtype=np.float64))
        else:
            total_weight = self.n_samples
        self._dropout = np.array(options.dropout or [0.0] * network.n_layers)
        self._set(
            n_samples=self.n_samples,
            order=self.order,
            total_weight=total_weight,
            targets=targets,
            n_targets=targets.shape[1],
            batch_size=batch_size,
            loss=LOSSES[loss].code_for(dtype),
            optimizer=OPTIMIZERS[network.optimizer].code,
            l2=l2,
            rates=self.rates,
            loss_parameters=np.array([*options.loss_parameters, 0.0], dtype),
            kept_shares=1.0 - self._dropout,
            seed=options.seed,
            l1=options.l1 / factor,
            weight_decay=options.weight_decay,
            clip_norm=options.clip_norm,
            average_decay=options.average_decay,
        )
        arrays = network.arena.arrays
        state = [arrays[name] for name in network.state]
        self._set(
            transposed=arrays["transposed"],
            average=arrays.get("average", 0),
            **dict(zip(_STATE, state, strict=False)),
        )
        n_strips = 0 if self.sparse else strips_of(network, batch_size)
        self.strips = n_strips > 0  # whether steps use strips or tiles
        self._lay_out(targets.shape[1], n_strips)
        # the kernels' last arguments, see `passes.train_steps`
        way = (None, None, True) if self.strips else (True, self.sparse, None)
        has_derivatives = (self.layers["derivatives"] >= 0).any()  # a Scale has, too
        full = has_derivatives or options.dropout or LOSSES[loss].is_parametric
        self._choices = *way, True if full else None, None
        if network.encoded:
            self._choices = passes.FOR_TABLES

    def _check_options(self, loss):
        network, options = self.network, self._options
        n_expected = len(loss.parameters)
        if loss.parameters == ("q of each output",):
            n_expected = network.units[-1]
        if len(options.loss_parameters) != n_expected:
            raise ValueError(
                f"the loss {loss.name} takes {n_expected} parameters, "
                f"got {len(options.loss_parameters)}: {options.loss_parameters}"
            )
        if len(options.dropout) not in (0, network.n_layers):
            raise ValueError(
                f"got {len(options.dropout)} dropout rates for {network.n_layers} "
                "layers"
            )
        if network.encoded and any(options.dropout[:1]):
            raise ValueError(
                "the columns of a table cannot be dropped, only what an "
                "Encoding makes of them: the inputs of layer 1"
            )

    def _lay_out(self, n_targets, n_strips):
        """Allocate what steps work in: in tiles, or in strips if there are any."""
        network, shape, n_threads = self.network, self.network.shape, self._n_threads
        declared = self._declared_workspace()
        own = {key: n for key, n in declared.items() if not isinstance(n, tuple)}
        if n_strips:
            vectors = -(-self.batch_size // shape.lanes)
            batch_rows = vectors * shape.lanes
            block_rows = -(-vectors // n_strips) * shape.lanes
            block_rows = min(block_rows, strips.BLOCK_PANELS * shape.width)
            parts = {k: unit_rows(n, shape.lanes) * block_rows for k, n in own.items()}
            pieces = [strips.slices_of(layer) for layer in self.layers]
        else:
            batch_rows = self._capacity(self.batch_size)
            parts = {k: round_up(n, shape.lanes) * batch_rows for k, n in own.items()}
            block_rows = self._block_rows(
                -(-self.batch_size // n_threads), sum(parts.values()) // batch_rows
            )
            pieces = [passes.pieces_of(layer, shape) for layer in self.layers]
        self.layers["pieces"] = pieces
        of_samples, of_batch = self._most_entries() if self.sparse else (0, 0)
        sizes = Sizes(
            shape=shape,
            n_threads=n_threads,
            n_features=network.units[0],
            n_outputs=network.units[-1],
            block_rows=block_rows,
            n_targets=n_targets,
            batch_rows=batch_rows,
            strips=n_strips,
            pieces=int(sum(pieces)),
            parameters=network.sizes,
            clips=self._options.clip_norm > 0,
            masks=bool(self._options.dropout),
            sparse=bool(self.sparse),
            sample_entries=of_samples,
            batch_entries=of_batch,
            encoding=network.encoding,
        )
        declare = strips.strips_buffers if n_strips else passes.tiles_buffers
        copies = n_threads if n_strips else 1  # all threads share the batch of tiles
        self._allocate([Buffer("workspace", parts, copies=copies), *declare(sizes)])
        self._place(declared)
        self._set(
            capacity=batch_rows,
            block_rows=block_rows,
            strips=n_strips,
            n_pieces=sizes.pieces,
            n_entries=of_batch,
        )

    def _most_entries(self):
        """(most entries of a sparse sample, most entries of a batch)."""
        entries = np.diff(self._kept["row_starts"])
        of_batch = int(np.sort(entries[self.order])[-self.batch_size :].sum())
        return int(entries.max(initial=0)), of_batch

    def load(self, X, targets):
        """Replace all samples of a dense X by as many others, in place.

        X, targets : like those that the job was made for, which are written to.
        """
        with np.errstate(over="ignore"):  # an infinite loss will show it
            self._kept["X"][:] = X
            self._kept["targets"][:] = targets
        self.order[:] = np.arange(self.n_samples)

    def refresh(self):
        """Update what is derived from the weights.

        Call it after writing weights, or after another job trained the network in
        strips.
        """
        if not self.strips:  # strips need no transposed weights
            passes.refresh_transposed(self.address, self.precision)

    def run(self, team, first_step, last_step, *, rate=0.0, beta_1=0.0, beta_2=0.0,
            epsilon=0.0, n_updates=0, strength=1.0):  # fmt: skip
        """Run mini-batches first_step..last_step of the epoch.

        Parameters
        ----------
        team : Team
        first_step, last_step : int
        rate : float or ndarray of shape (n_steps,)
            Learning rate of all steps of the epoch, or of each step.
        beta_1 : float
            Momentum of sgd, beta_1 of Adam.
        beta_2, epsilon : float
            beta_2 and epsilon of Adam.
        n_updates : int
            Steps before this epoch, for Adam's bias correction and the dropout masks.
        strength : float
            Factor on the options' dropout rates and weight decay.

        Returns
        -------
        float
            Sum, over the batches since step 0, of loss times number of rows. Steps must
            be run in order; in how many runs does not matter.
        """
        self._join(team)
        record = self._records[0]
        record["n_updates"] = n_updates
        settings = rate, beta_1, beta_2, epsilon, strength
        # writing them takes longer than some steps of a small network
        if isinstance(rate, np.ndarray) or settings != self._settings:
            self._write_settings(*settings)
        if first_step == 0:  # else continue: bits must not depend on where runs end
            record["loss_sum"] = 0.0
            record["beta_1_power"] = beta_1**n_updates
            record["beta_2_power"] = beta_2**n_updates
        self.steps_done = last_step  # even if an interrupt is raised afterwards
        team.run(self._steps(first_step, last_step))
        return float(record["loss_sum"])

    def run_epochs(
        self, team, most, shuffler, *, tol, patience, best_loss, no_improvement,
        n_updates=0, **rates,
    ):  # fmt: skip
        """Run whole epochs, up to one after which the fit may have to end.

        `loss_sums` and `steps_done` tell what was done, also when this raises.

        Parameters
        ----------
        team : Team
        most : int
            Epochs at most.
        shuffler : fastmlp.engine.shuffling.Shuffler or None
            Is used before each epoch but the first.
        tol, patience, best_loss, no_improvement
            Of `fastmlp.training.run.Stopping`, whose rule ends the call, as does a
            loss that is not finite.
        n_updates : int
            Steps before the first of these epochs.
        rates
            Other arguments of `run`, the same for all epochs.
        """
        updates = range(n_updates, n_updates + most * self.n_steps, self.n_steps)
        epochs = np.empty((most, EPOCH_NUMBERS))
        # as `run` computes them: a power of numba's could be another number
        epochs[:, 0] = [rates["beta_1"] ** n for n in updates]
        epochs[:, 1] = [rates["beta_2"] ** n for n in updates]
        generator, shuffled, _, picks = shuffler.addresses if shuffler else (0,) * 4
        self._set(
            n_epochs=most, epochs=epochs, epochs_done=0, generator=generator,
            shuffled=shuffled, picks=picks, tol=tol, patience=patience,
            best_loss=best_loss, no_improvement=no_improvement,
        )  # fmt: skip
        self._kept["shuffler"] = shuffler
        try:
            with shuffler.lock if shuffler else nullcontext():
                self.run(team, 0, self.n_steps, n_updates=n_updates, **rates)
        finally:
            done = int(self._records[0]["epochs_done"])
            self._set(n_epochs=1)
            self.steps_done = done * self.n_steps
            self.loss_sums = epochs[:done, -1].tolist()

    def _write_settings(self, rate, beta_1, beta_2, epsilon, strength):
        """Write what is mostly the same for all epochs."""
        record = self._records[0]
        self.rates[:] = rate
        record["weight_decay"] = self._options.weight_decay * strength
        self._kept["kept_shares"][:] = 1.0 - self._dropout * strength
        record["beta_1"] = beta_1
        record["beta_2"] = beta_2
        # flushed to zero, it could make a denominator zero
        record["epsilon"] = max(epsilon, self._tiny)
        self._settings = rate, beta_1, beta_2, epsilon, strength

    def _steps(self, first_step, last_step):
        """The function that each thread of the team calls in a run."""

        def steps(thread, job=self):  # keeps the job's memory alive in a thread
            passes.train_steps(
                job.address, job.precision, thread, first_step, last_step,
                *job._choices,
            )  # fmt: skip

        return steps


class PredictionJob(Job):
    """Predictions of a network for each row of X.

    Parameters
    ----------
    network : Network
    X : ndarray or sparse matrix of shape (n_samples, n_features)
        float32 or float64, any strides.
    samples : ndarray of int64, default=None
        Indices of the samples to predict; None for all.
    activation : str or sequence of str
        Names of rows in the kernels' table, one for all hidden layers or one per layer.
    output_activation : str
        Name of a row in the kernels' table.
    dtype : dtype, default=None
        Of the predictions, float32 or float64; None for that of X.
    n_threads : int, default=1
        Most threads that will take part.
    array : str or ndarray, default="parameters"
        Name of the array in the network's arena that holds the weights; or what
        `Network.stack` gave, for the mean of the predictions of several networks.
    last_activation : str, default="identity"
        Like `activation`, of the last layer: for the first layers of a network.
    """

    def __init__(
        self,
        network,
        X,
        *,
        samples=None,
        activation,
        output_activation,
        dtype=None,
        n_threads=1,
        array="parameters",
        last_activation="identity",
    ):
        super().__init__(network, X, activation, n_threads)
        last = ACTIVATIONS[last_activation]
        self.layers["activation"][-1] = last.code_for(network.dtype)
        self.layers["maps_zero_to_zero"][-1] = last.maps_zero_to_zero
        members = network.arena.arrays[array] if isinstance(array, str) else array
        self._set(
            parameters=members,
            n_members=len(members) if members.ndim == 2 else 1,
            parameters_size=members.strides[0] // members.itemsize,
        )
        self.n_samples = X.shape[0]
        if samples is not None:
            order = indices_of(samples, X.shape[0])
            self.n_samples = len(order)
            self._set(order=order, n_samples=self.n_samples)
        widths = [round_up(n, network.shape.lanes) for n in network.units]
        if self.sparse:
            widths[0] = 0  # samples are read in place
        block_rows = self._block_rows(-(-self.n_samples // n_threads), 2 * max(widths))
        sizes = Sizes(
            shape=network.shape,
            n_threads=n_threads,
            n_features=network.units[0],
            n_outputs=network.units[-1],
            block_rows=block_rows,
            batch_rows=self._capacity(block_rows),
            encoding=network.encoding,
        )
        self._output_dtype = np.dtype(X.dtype if dtype is None else dtype)
        self._output_type = self._output_dtype.type(0)  # argument of the kernels
        self._allocate(passes.prediction_buffers(sizes, widths, self._output_dtype))
        turns = self.arena.starts["workspace"]
        if network.encoding is not None:
            fields = "encoding_values", "pre_activations"
            self._set(**{field: turns[field] for field in fields})
        inputs = turns["inputs"]
        for i, layer in enumerate(self.layers):
            layer["inputs"], layer["outputs"] = inputs, turns[i % 2]
            inputs = turns[i % 2]
        self._set(
            capacity=sizes.batch_rows,
            block_rows=block_rows,
            output_activation=OUTPUT_ACTIVATIONS[output_activation].code,
        )

    def _predict(self, thread):
        passes.predict(
            self.address, self.precision, self._output_type, thread, self.sparse,
            self.network.encoded,
        )  # fmt: skip

    def run(self, team):
        """Predict.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
        """
        outputs = np.empty((self.n_samples, self.network.units[-1]), self._output_dtype)
        self._join(team)
        self._set(outputs=outputs)
        team.run(self._predict)
        return outputs


class ReusableJob(PredictionJob):
    """Predictions for rows that come later, again and again, in the calling thread.

    A few rows are copied to memory of the job, and results from there: to find out
    where an array is takes Python longer.

    Parameters
    ----------
    network : Network
    n_rows : int
        The most rows that are few.
    dtype_of_X : dtype
        Of the rows, native float32 or float64.
    settings
        Of a `PredictionJob`.
    """

    def __init__(self, network, n_rows, dtype_of_X, **settings):
        self.n_rows = n_rows
        self._rows = np.zeros((n_rows, network.units[0]), dtype_of_X)
        super().__init__(network, self._rows, **settings)
        self._results = np.zeros((n_rows, network.units[-1]), self._output_dtype)
        alone = np.zeros(team_size(1), np.int64)
        self._set(outputs=self._results, n_threads=1, team=alone)
        self._integers = self._records.view(np.int64)

    def outputs_for(self, X):
        """Predict.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Of the job's dtype; if there are more than a few rows, native, aligned and
            contiguous.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
        """
        self._check_shape(X)
        n_samples, fields = len(X), self._integers
        if n_samples <= self.n_rows:
            self._rows[:n_samples] = X
            fields[_N_SAMPLES] = n_samples
            self._predict(0)
            return self._results[:n_samples].copy()
        if not (X.dtype == self._rows.dtype and kernels_can_read(X)):
            raise ValueError(f"X must be a contiguous array of {self._rows.dtype}")
        outputs = np.empty((n_samples, self.network.units[-1]), self._output_dtype)
        own = fields[_X], fields[_OUTPUTS]
        try:
            fields[_X], fields[_OUTPUTS] = address_of(X), address_of(outputs)
            fields[_N_SAMPLES] = n_samples
            self._predict(0)
        finally:
            fields[_X], fields[_OUTPUTS] = own
        return outputs
