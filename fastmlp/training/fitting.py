"""One call of fit or partial_fit: from checked data to a fitted model."""

import math
import time
import warnings
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import cached_property, partial
from itertools import chain
from numbers import Integral

import numpy as np
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state

from fastmlp.data.samples import as_readable, compressed_rows
from fastmlp.engine.jobs import PredictionJob, TrainingJob
from fastmlp.engine.network import Network, units_of
from fastmlp.engine.options import StepOptions
from fastmlp.engine.pieces import finish
from fastmlp.engine.threads import Team, threads_for_training
from fastmlp.exceptions import ScaleWarning
from fastmlp.sklearn_warnings import check_optimize_result, warn_as_sklearn
from fastmlp.tables.activations import ACTIVATIONS, resolve_activations
from fastmlp.tables.fitted import FittedModel, parameters_of
from fastmlp.tables.losses import LOSSES
from fastmlp.tables.optimizers import DECAY_OF_ADAMW, REFUSED_BY_LBFGS
from fastmlp.tables.registered import values_of_registered
from fastmlp.training.blas import one_thread_of_blas
from fastmlp.training.checkpoint import Checkpoint
from fastmlp.training.diagnosis import (
    EPOCHS_TO_LEARN,
    STEPS_TO_LEARN,
    why_nothing_was_learnt,
)
from fastmlp.training.events import Events, Listeners, TimeLimit
from fastmlp.training.fingerprint import fingerprint
from fastmlp.training.initialization import glorot_uniform, initial_weights
from fastmlp.training.kept_jobs import key_of_job
from fastmlp.training.lbfgs import minimize_loss, rows_of_a_piece
from fastmlp.training.optimizer import Optimizer
from fastmlp.training.progress import shows_progress
from fastmlp.training.run import Run, Stopping, run_steps
from fastmlp.training.stream import Blocks, StreamedPrediction
from fastmlp.training.validation import Validation, scorer_of

__all__ = ["Fit", "decay_of"]

#: Parameters that change no weight.
_WITHOUT_EFFECT = {"verbose", "n_jobs", "callbacks", "time_limit", "checkpoint"}


class _TooLarge(ArithmeticError):
    """Numbers left the range of float32."""


class Fit:
    """A network, the data, and the way from one to the other.

    Parameters
    ----------
    settings : fastmlp.estimators.settings.Settings
    samples : fastmlp.training.samples.Samples
        To train on.
    hidden : list of int
        Units of the hidden layers.
    precision : str
        What to compute in.
    identity : dict
        Fitted attributes that say what the outputs stand for.
    previous : fastmlp.tables.fitted.FittedModel, default=None
        What the fit that this one continues has left behind.
    validation : fastmlp.training.samples.Samples, default=None
        The user's own validation set.
    as_estimator : callable, default=None
        From a `FittedModel` to an estimator that predicts with it: for scorers.
    kept_jobs : fastmlp.training.kept_jobs.KeptJobs, default=None
        Where `partial_fit` leaves a job for its next call.
    is_one_of_many : bool, default=False
        Whether Ctrl-C is to end other fits, too, and not only this one early.

    Raises
    ------
    ValueError
        If the data do not match the network of the previous fit.
    """

    def __init__(
        self,
        settings,
        samples,
        *,
        hidden,
        precision,
        identity,
        previous=None,
        validation=None,
        as_estimator=None,
        kept_jobs=None,
        is_one_of_many=False,
    ):
        self._kept_jobs, self._is_one_of_many = kept_jobs, is_one_of_many
        self._started = time.perf_counter()
        self.settings = settings
        if issparse(samples.X):
            samples = samples._replace(X=compressed_rows(samples.X))
        self.samples, self.previous = samples, previous
        self._given_validation, self._as_estimator = validation, as_estimator
        X, targets = samples.X, samples.targets
        self._can_change_precision = (
            settings.precision == "auto" and precision == "float32"
        )
        self.dtype = X.dtype
        if previous is not None:
            units = units_of(previous.coefs_)
            if (units[0], units[-1]) != (X.shape[1], targets.n_outputs):
                raise ValueError(
                    f"The network has {units[0]} inputs and {units[-1]} outputs, the "
                    f"data {X.shape[1]} features and {targets.n_outputs} outputs: "
                    "continuing a fit needs the same numbers."
                )
            dtype = getattr(previous.coefs_[0], "dtype", None)
            if dtype in (np.float32, np.float64):
                self.dtype = dtype
        else:
            units = [X.shape[1], *hidden, targets.n_outputs]
        self._identity = FittedModel(
            **identity,
            n_outputs_=targets.n_outputs,
            n_layers_=len(units),
            out_activation_=LOSSES[targets.loss].output_activation,
            precision_=precision,
        )
        self._units = units
        self._activations = resolve_activations(settings.activation, len(units) - 2)
        self._averages = settings.ema_decay is not None
        self._what_predicts = "average" if self._averages else "parameters"
        self._done_with = None  # the checkpoint of a fit that has ended
        self._optimizer = self._training = None  # of sgd and adam: see `_descend`
        self._blocks = None  # of a source
        self.network = None

    @property
    def _is_seeded(self):
        """Whether what is drawn is drawn by nobody else."""
        return isinstance(self.settings.random_state, Integral)

    @cached_property
    def random_state(self):
        """The source of all draws, made when it is first asked for: it takes long."""
        seed = self.settings.random_state
        if self._kept_jobs is not None and self._is_seeded:
            return self._kept_jobs.random_state(seed)
        return check_random_state(seed)

    def model(self):
        """What predictions need, of the network as it is now."""
        with np.errstate(over="ignore"):  # see `_finish`
            groups = self.network.read(self.dtype, array=self._what_predicts)
        return self._identity.with_parameters(groups)

    @property
    def _is_in_memory(self):
        """Whether `samples` are all samples."""
        return self.samples.stream is None

    @property
    def n_samples(self):
        """Samples that there are, to train on and to hold out."""
        return self.samples.n_samples

    def as_estimator(self):
        """A copy of the estimator with the network as it is now."""
        return self._as_estimator(self.model())

    @property
    def learning_rate(self):
        """Of the steps that follow; None for lbfgs."""
        return None if self._optimizer is None else self._optimizer.schedule.rate

    def set_learning_rate(self, rate):
        """Set it, see `fastmlp.training.optimizer.Optimizer.set_rate`."""
        if self._optimizer is None:
            raise ValueError(
                f"a callback cannot set the learning rate: solver="
                f"{self.settings.solver!r} has none; use another solver, such as 'adam'"
            )
        self._optimizer.set_rate(rate)

    def gradient_norms(self):
        """Norms of the gradient of each layer, over all samples that are trained on.

        Computed in a network of its own: nothing that the fit depends on changes.
        """
        if not self._is_in_memory:
            raise ValueError(
                "gradient_norms needs all samples in memory: a callback cannot ask for "
                "them where fit reads a source, or on a cluster"
            )
        network = Network(self._units, self._identity.precision_, optimizer="gradient")
        network.write(*self.network.read())
        whole = self.samples
        n_samples = whole.n_samples if self._training is None else len(self._training)
        rows = rows_of_a_piece(network, n_samples, issparse(whole.X))
        options = StepOptions(
            loss_parameters=whole.targets.parameters, l1=float(self.settings.l1)
        )
        make_job, n_threads = self._job_maker(rows, network, options)
        job = self._job_of(make_job, self._training)
        job.refresh()
        with Team(n_threads) as team:
            finish(run_steps(job, {}, n_threads), team)
        layers = zip(*network.read(np.float64, array="gradient"), strict=True)
        return np.array([
            math.sqrt((weights**2).sum() + (biases**2).sum())
            for weights, biases in layers
        ])  # fmt: skip

    def _of_previous(self, name, default):
        """A fitted attribute of the previous fit, if this one continues it."""
        return default if self.previous is None else self.previous.get(name, default)

    def _make_network(self, optimizer, network=None):
        """Make it, or write to one that is there, which must keep no average."""
        previous = self.previous
        self.network = network = network or Network(
            self._units,
            self._identity.precision_,
            optimizer=optimizer,
            averaged=self._averages,
        )
        if previous is None:
            network.write(*self._initial_weights())
        else:
            network.write(*parameters_of(previous))
        if self._averages:
            arrays = network.arena.arrays
            arrays["average"][:] = arrays["parameters"]
            state = self._of_previous("_optimizer_state", {})
            # unless somebody has written what is shown: then that is what counts
            if previous and state.get("average") == fingerprint(
                *parameters_of(previous)
            ):
                network.write(*state["parameters"])

    def _initial_weights(self):
        settings, rows, units = self.settings, self._activations, self._units
        draws = self.random_state, self.dtype
        if settings.weight_init != "auto":
            names = [settings.weight_init] * (len(units) - 1)
            return initial_weights(units, names, *draws)
        if any(row != rows[0] or row.initialization for row in rows):
            names = [row.initialization or "glorot_uniform" for row in rows]
            names.append("glorot_uniform")
            return initial_weights(units, names, *draws)
        # scikit-learn's; it looks at the name even if there are no hidden layers
        name = settings.activation
        name = name if isinstance(name, str) else (rows[0].name if rows else "relu")
        return glorot_uniform(units, ACTIVATIONS[name].gain, *draws)

    def _step_options(self):
        """What the steps do beyond scikit-learn's."""
        settings = self.settings
        n_hidden = len(self._units) - 2
        dropout = settings.dropout
        if np.ndim(dropout) == 0:
            dropout = [dropout] * n_hidden
        rates = tuple(map(float, (settings.input_dropout, *dropout)))
        drops = any(rates)
        return StepOptions(
            loss_parameters=self.samples.targets.parameters,
            dropout=rates if drops else (),
            # drawn only if it is needed: scikit-learn draws nothing here
            seed=int(self.random_state.randint(2**31 - 1)) if drops else 0,
            l1=float(settings.l1),
            weight_decay=float(decay_of(settings)),
            clip_norm=float(settings.clip_norm or 0.0),
            average_decay=float(settings.ema_decay or 0.0),
        )

    def _job_maker(self, batch_size, network=None, options=None):
        """(what makes jobs of X, targets and weights, threads to run them on).

        network, options : others than those of the fit.
        """
        network, settings = network or self.network, self.settings
        n_threads = threads_for_training(settings.n_jobs, network, batch_size)
        make_job = partial(
            TrainingJob,
            network,
            batch_size=batch_size,
            activation=[row.name for row in self._activations],
            loss=self.samples.targets.loss,
            l2=settings.alpha,
            options=options or self._step_options(),
            n_threads=n_threads,
        )
        return make_job, n_threads

    def _make_job(self, batch_size, samples=None):
        """(job, threads to run it on)."""
        make_job, n_threads = self._job_maker(batch_size)
        return self._job_of(make_job, samples), n_threads

    def _job_of(self, make_job, samples):
        """The job of some samples, None for all."""
        whole = self.samples
        return make_job(
            whole.X,
            whole.for_kernels(whole.targets.for_kernels()),
            whole.for_kernels(whole.sample_weight),
            samples=whole.rows_of(samples),
        )

    def _job_for_call(self, kept, batch_size):
        """`_make_job` for a call of `partial_fit`: what was kept, or to be kept."""
        samples = self.samples
        X, targets = samples.X, samples.targets.for_kernels()
        if kept is not None:
            job, n_threads = kept
            wanted = threads_for_training(
                self.settings.n_jobs, self.network, batch_size
            )
            if n_threads == wanted:
                job.load(X, targets)
                return kept
        make_job, n_threads = self._job_maker(batch_size)
        # copies, for the next call writes to them
        with np.errstate(over="ignore"):  # an infinite loss will show it
            targets = targets.astype(self.network.dtype)
        return make_job(as_readable(X).copy(), targets), n_threads

    def _make_blocks(self, batch_size):
        """(blocks of the rows of a source, threads to run their jobs on)."""
        settings = self.settings
        make_job, n_threads = self._job_maker(batch_size)
        self._blocks = Blocks(
            self.samples.stream,
            self.network,
            make_job,
            batch_size,
            self.random_state,
            settings.shuffle,
            settings.max_iter,
        )
        return self._blocks, n_threads

    def seconds_waited(self):
        """(that training waited for rows of the source, that reading them waited)."""
        return (0.0, 0.0) if self._blocks is None else self._blocks.seconds()

    def _finish(self, finite):
        model = self.model()
        holds_all = np.can_cast(self.network.dtype, self.dtype)
        if finite and not (holds_all and self._what_predicts == "parameters"):
            # a model for float32 X may not hold what was computed in float64
            arrays = chain(*parameters_of(model))
            finite = all(np.isfinite(array).all() for array in arrays)
        if not finite:
            self.close()
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may"
                " contain large values and need to be preprocessed."
            )
        return model

    def run(self, events=None, incremental=False):
        """Fit, and fit again in float64 if numbers became too large for float32.

        In pieces: see `engine.pieces`.

        Parameters
        ----------
        events : fastmlp.training.events.Events, default=None
        incremental : bool, default=False
            Whether to train for one epoch only, with the optimizer of the last fit.

        Returns
        -------
        fastmlp.tables.fitted.FittedModel

        Raises
        ------
        ValueError
            If weights became NaN or infinite, or if parameters do not fit the data.
        """
        if self.settings.solver == "lbfgs":
            return (yield from self._minimize(events))
        if not self._can_change_precision:
            return (yield from self._descend(events, incremental))
        drawn = None
        if not self._is_seeded:
            drawn = self.random_state.get_state(legacy=False)
        with suppress(_TooLarge):
            return (yield from self._descend(events, incremental))
        if drawn is None:
            vars(self).pop("random_state", None)
        else:
            self.random_state.set_state(drawn)
        self._can_change_precision = False
        self._identity.precision_ = "float64"
        model = yield from self._descend(events, incremental)
        if self._stayed_in_range():
            _warn(
                "Numbers became too large for float32, so that all was done again in "
                "float64. Scale the data, or set precision='float64'."
            )
        return model

    def _warn_of_range(self):
        precision = self._identity.precision_
        wider = ", or set precision='float64'" if precision == "float32" else ""
        _warn(
            f"Numbers became too large for {precision}: the optimizer's averages of "
            "gradients are not finite, so that it no longer learns from them. Scale "
            f"the data{wider}."
        )

    def close(self):
        """Delete the checkpoint, if there is nothing to resume: call this last."""
        if self._done_with is not None:
            self._done_with.remove()

    def _stayed_in_range(self):
        """Whether all is finite; an infinite second moment makes Adam stand still."""
        return all(map(self.network.is_finite, ("parameters", *self.network.state)))

    # --- lbfgs --------------------------------------------------------------------

    def _minimize(self, events):
        settings = self.settings
        refused = [n for n in REFUSED_BY_LBFGS if np.any(getattr(settings, n))]
        if self._given_validation is not None:
            refused.append("X_val")
        if refused:
            verb = "is" if len(refused) == 1 else "are"
            raise ValueError(
                f"{', '.join(refused)} {verb} not supported by solver='lbfgs'; use "
                "another solver, such as 'adam'"
            )
        self._make_network("gradient")
        X = self.samples.X
        rows = rows_of_a_piece(self.network, self.samples.n_samples, issparse(X))
        job, n_threads = self._make_job(rows)
        limit = settings.time_limit
        clock = TimeLimit(math.inf if limit is None else limit)
        team = yield n_threads
        # whoever runs fits side by side limits it for all of them
        limits = nullcontext() if self._is_one_of_many else one_thread_of_blas()
        with limits:
            result = minimize_loss(
                job,
                team,
                max_iter=settings.max_iter,
                max_fun=settings.max_fun,
                tol=settings.tol,
                verbose=_prints(settings.verbose),
                events=Listeners([events, clock] if events else [clock]),
            )
        n_iter = result.nit
        if result.status == -1:
            if self._is_one_of_many:
                raise KeyboardInterrupt
            warn_as_sklearn("Training interrupted by user.")
        elif clock.is_over:
            _warn_of_limit(limit)
        elif result.status != 99:  # a callback has asked for the end
            n_iter = check_optimize_result(result, settings.max_iter)
            if n_iter >= EPOCHS_TO_LEARN:
                self._warn_if_nothing_was_learnt([result.fun], self.samples.n_samples)
        return replace(
            self._finish(self.network.is_finite()),
            n_iter_=n_iter,
            loss_=np.float64(result.fun),
            t_=self._of_previous("t_", 0),
        )

    # --- sgd and adam ---------------------------------------------------------------

    def _descend(self, events, incremental):
        settings = self.settings
        early_stopping = settings.early_stopping
        if early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        state = self._of_previous("_optimizer_state", None) if incremental else None
        optimizer = Optimizer.of(settings)
        if state is not None and optimizer.fits_state(state):
            optimizer = Optimizer.from_state(state, settings.learning_rate)
        else:  # there is none, or the parameter was changed
            state = None
        checkpoint = None if incremental else self._checkpoint
        if checkpoint is not None:
            if checkpoint.precision == "float64" and self._can_change_precision:
                raise _TooLarge
            checkpoint.begin(self.random_state, self._identity.precision_)
        key = kept = None
        if state is not None and self._kept_jobs is not None:
            key = key_of_job(
                settings, self.samples, self._units, self._identity.precision_,
                self._activations, optimizer.name,
            )  # fmt: skip
            kept = self._kept_jobs.take(key)
        self._make_network(optimizer.name, kept and kept[0].network)
        if state is not None:
            optimizer.write_state(state, self.network)

        own = self._given_validation
        splits = early_stopping and own is None
        training, held_out = self._split() if splits else (None, None)
        self._optimizer, self._training = optimizer, training
        n_samples = self.samples.n_samples if training is None else len(training)
        batch_size = self._batch_size(n_samples)
        job = blocks = validation = None
        if key is not None:
            job, n_threads = self._job_for_call(kept, batch_size)
        elif self.samples.stream is None:
            job, n_threads = self._make_job(batch_size, training)
        else:
            blocks, n_threads = self._make_blocks(batch_size)
        if own is not None or splits:
            validation = self._validation(held_out, n_threads)
        scores = self._of_previous("validation_scores_", []) if validation else None
        losses = self._of_previous("validation_loss_curve_", []) if validation else None
        stopping = Stopping(
            settings.tol,
            settings.n_iter_no_change,
            by_score=early_stopping,
            best=self._of_previous(
                "best_validation_score_" if early_stopping else "best_loss_", None
            ),
            count=self._of_previous("_no_improvement_count", 0),
        )
        n_seen = self._of_previous("t_", 0)
        limit = None if incremental else settings.time_limit
        # the order of one batch does not matter, and nobody sees what is not drawn
        is_sorted = incremental and self._is_seeded and job.n_steps == 1
        run = Run(
            job,
            optimizer,
            stopping,
            None if is_sorted else self.random_state,
            max_iter=settings.max_iter,
            n_threads=n_threads,
            shuffle=settings.shuffle and not is_sorted,
            n_seen=n_seen,
            incremental=incremental,
            validation=validation,
            events=events or Events(),
            log=print if _prints(settings.verbose) else None,
            deadline=math.inf if limit is None else self._started + limit,
            checkpoint=checkpoint,
            gives_up=self._can_change_precision,
            blocks=blocks,
            is_one_of_many=self._is_one_of_many,
        )
        try:
            history = yield from run.train()
        finally:
            if blocks is not None:
                blocks.close()
        ended = not (history.interrupted or history.out_of_time)
        in_range = self._stayed_in_range()
        is_finite = in_range and np.isfinite(history.loss_curve).all()
        if self._can_change_precision and ended and not is_finite:
            raise _TooLarge
        self._done_with = checkpoint if ended else None
        model = self._finish(history.finite)
        # the moments of sgd are its steps: they make weights infinite, or were undone
        if settings.solver != "sgd" and not in_range:
            self._warn_of_range()
        if ended and not incremental:
            n_steps = len(history.loss_curve) * run.n_steps
            stands_still = stopping.exhausted and not stopping.by_score
            has_had_time = stands_still or n_steps >= STEPS_TO_LEARN
            if has_had_time and len(history.loss_curve) >= EPOCHS_TO_LEARN:
                self._warn_if_nothing_was_learnt(
                    history.loss_curve, batch_size, training
                )
        if history.interrupted:
            warn_as_sklearn("Training interrupted by user.")
        elif history.out_of_time:
            _warn_of_limit(limit)
        elif not (history.finished or incremental):
            warn_as_sklearn(
                f"Stochastic Optimizer: Maximum iterations ({settings.max_iter}) "
                "reached and the optimization hasn't converged yet.",
                ConvergenceWarning,
            )
        loss_curve = self._of_previous("loss_curve_", [])
        if incremental:
            # in place: many calls of partial_fit shall not copy longer and longer lists
            loss_curve += history.loss_curve
        else:  # something may still fail
            loss_curve = loss_curve + history.loss_curve
        if validation is not None:
            scores = scores + history.validation_scores
            losses = losses + history.validation_losses
        n_iter = len(history.loss_curve)
        state = optimizer.state(self.network)
        if self._averages:
            state["average"] = fingerprint(*parameters_of(model))
        if key is not None:
            self._kept_jobs.keep(key, job, n_threads)
        return replace(
            model,
            loss_curve_=loss_curve,
            loss_=loss_curve[-1] if loss_curve else np.inf,
            best_loss_=None if early_stopping else np.float64(stopping.best),
            validation_scores_=scores,
            validation_loss_curve_=losses,
            best_validation_score_=stopping.best if early_stopping else None,
            n_iter_=n_iter,
            t_=n_seen + n_iter * run.n_samples,
            _no_improvement_count=stopping.count,
            _optimizer_state=state,
        )

    def _warn_if_nothing_was_learnt(self, losses, batch_size, training=None):
        samples = self.samples
        if training is not None:
            weights = samples.sample_weight
            samples = samples._replace(
                targets=samples.targets.of(training),
                sample_weight=None if weights is None else weights[training],
            )
        coefs, _ = self.network.read(np.float64)
        reason = why_nothing_was_learnt(
            self.settings, samples, losses, coefs, batch_size
        )
        if reason is not None:
            _warn(reason, ScaleWarning)

    @cached_property
    def _checkpoint(self):
        """What keeps the state of the fit, and may have that of an earlier try."""
        settings, own, previous = self.settings, self._given_validation, self.previous
        if settings.checkpoint is None:
            return None
        parameters = {
            name: value
            for name, value in vars(settings).items()
            if name not in _WITHOUT_EFFECT
        }
        if isinstance(settings.random_state, np.random.RandomState):
            # it has been drawn from since; the file has what it was
            parameters["random_state"] = "RandomState"
        if registered := values_of_registered(parameters):
            parameters["registered"] = registered
        identity = fingerprint(
            parameters,
            *self._numbers_of(self.samples),
            own and [*self._numbers_of(own)],
            previous and [*chain(*parameters_of(previous))],
        )
        checkpoint = Checkpoint(settings.checkpoint, identity)
        functions = [name for name, value in parameters.items() if callable(value)]
        if functions and checkpoint.precision:
            _warn(
                f"The fit resumes from checkpoint={str(settings.checkpoint)!r}. "
                f"{' and '.join(functions)}: functions are compared by name only; if "
                "they have changed since, delete the file."
            )
        return checkpoint

    @staticmethod
    def _numbers_of(samples):
        if samples.stream is not None:
            return samples.stream.identity
        return samples.X, samples.targets.values, samples.sample_weight

    def _split(self):
        """(samples to train on, samples that are held out), as scikit-learn's.

        One logistic output is stratified; several classes or labels are not.
        """
        targets = self.samples.targets
        two_classes = (
            targets.n_outputs == 1 and self._identity.get("classes_") is not None
        )
        training, held_out = train_test_split(
            np.arange(self.samples.n_samples),
            random_state=self.random_state,
            test_size=self.settings.validation_fraction,
            stratify=targets.values if two_classes else None,
        )
        if len(held_out) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' "
                "or the size of your dataset."
            )
        return training, held_out

    def _validation(self, held_out, n_threads):
        """What validates: the user's samples, or those that are held out."""
        settings, own = self.settings, self._given_validation
        if own is None:
            whole = self.samples
            weights = whole.scoring_weight
            own = whole._replace(
                targets=whole.targets.of(held_out),
                scoring_weight=None if weights is None else weights[held_out],
            )
        rows = own.rows_of(held_out)
        scoring = settings.scoring
        if scoring is not None and scoring != "loss":
            if own.stream is not None:
                raise ValueError(
                    "scoring needs all validation samples in memory: use scoring=None "
                    "or 'loss', or a source with a shuffle_buffer of "
                    f"{own.n_samples} rows or more"
                )
            X = own.X_given if rows is None else own.X_given[rows]
            y = own.y if held_out is None else own.y[held_out]
            scoring = scorer_of(scoring, self._as_estimator, X, y, own.scoring_weight)

        def in_float64(chosen):
            raw = replace(self.model(), out_activation_="identity")
            chosen = np.flatnonzero(chosen) if rows is None else rows[chosen]
            model = self._as_estimator(raw)
            return model._compute_outputs(own.X[chosen], "float64", np.float64)

        settings_of_job = {
            "activation": [row.name for row in self._activations],
            "output_activation": "identity",
            "dtype": np.float64,
            "n_threads": n_threads,
            "array": self._what_predicts,
        }
        if own.stream is not None:
            job = StreamedPrediction(self.network, own.stream, **settings_of_job)
        else:
            job = PredictionJob(self.network, own.X, samples=rows, **settings_of_job)
        is_single = self.network.dtype == np.float32 and own.stream is None
        return Validation(
            job,
            own.targets,
            own.scoring_weight,
            self._identity.out_activation_,
            scoring=scoring,
            model=self.model,
            in_float64=in_float64 if is_single else None,
            dtype=np.result_type(own.X.dtype, self.dtype),
            array=self._what_predicts,
            keeps_best=settings.early_stopping and settings.restore_best_weights,
            continues=self.previous is not None,
        )

    def _batch_size(self, n_samples):
        batch_size = self.settings.batch_size
        if batch_size == "auto":
            return min(200, n_samples)
        if batch_size > n_samples:
            warn_as_sklearn(
                "Got `batch_size` less than 1 or larger than "
                "sample size. It is going to be clipped"
            )
        return int(np.clip(batch_size, 1, n_samples))


def decay_of(settings):
    """The decoupled weight decay that parameters ask for."""
    is_default = settings.solver == "adamw" and settings.weight_decay == 0
    return DECAY_OF_ADAMW if is_default else settings.weight_decay


def _warn(message, category=UserWarning):
    # attributed to this module: one pattern filters them, wherever fit is called
    warnings.warn(message, category, stacklevel=2)


def _warn_of_limit(seconds):
    warn_as_sklearn(
        f"the time_limit of {seconds} seconds is over and the optimization hasn't "
        "converged yet.",
        ConvergenceWarning,
    )


def _prints(verbose):
    """Whether to print lines as scikit-learn does; 1 asks for a live one."""
    return bool(verbose) and not shows_progress(verbose)
