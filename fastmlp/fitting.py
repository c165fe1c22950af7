"""One call of fit or partial_fit: from checked data to fitted attributes."""

import warnings
from contextlib import suppress

import numpy as np
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state

# Not public in scikit-learn, but the only way to its own warning.
from sklearn.utils.optimize import _check_optimize_result

from fastmlp.initialization import glorot_uniform
from fastmlp.jobs import PredictionJob, TrainingJob
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.losses import LOSSES
from fastmlp.kernels.optimizers import OPTIMIZERS
from fastmlp.lbfgs import minimize_loss, rows_of_a_piece
from fastmlp.network import Network, units_of
from fastmlp.optimizer import Optimizer
from fastmlp.samples import compressed_rows
from fastmlp.threads import threads_for_training
from fastmlp.training import Stopping, Validation, train

__all__ = ["Fit"]


class _TooLarge(ArithmeticError):
    """Numbers left the range of float32."""


class Fit:
    """A network, the data, and the way from one to the other.

    Parameters
    ----------
    settings : object
        The estimator: its parameters count, and what it has fitted if `goes_on`.
    X : ndarray or sparse matrix of shape (n_samples, n_features)
    targets : fastmlp.targets.Targets
    sample_weight : ndarray of shape (n_samples,) or None
    hidden : list of int
        Units of the hidden layers.
    precision : str
        What to compute in.
    identity : dict
        Fitted attributes that say what the outputs stand for.
    goes_on : bool
        Whether to start from where the last fit ended.

    Raises
    ------
    ValueError
        If the data do not fit the network that the fit goes on with.
    """

    def __init__(
        self,
        settings,
        X,
        targets,
        sample_weight,
        *,
        hidden,
        precision,
        identity,
        goes_on,
    ):
        self.settings = settings
        X = compressed_rows(X) if issparse(X) else X
        self.X, self.targets, self.sample_weight = X, targets, sample_weight
        self.goes_on = goes_on
        self.random_state = check_random_state(settings.random_state)
        self._can_change_precision = (
            settings.precision == "auto" and precision == "float32"
        )
        self.dtype = X.dtype
        if goes_on:
            coefs = settings.coefs_
            units = units_of(coefs)
            if (units[0], units[-1]) != (X.shape[1], targets.n_outputs):
                raise ValueError(
                    f"The network has {units[0]} inputs and {units[-1]} outputs, the "
                    f"data {X.shape[1]} features and {targets.n_outputs} outputs: a "
                    "fit that goes on needs the same."
                )
            if getattr(coefs[0], "dtype", None) in (np.float32, np.float64):
                self.dtype = coefs[0].dtype
        else:
            units = [X.shape[1], *hidden, targets.n_outputs]
        self._attributes = {
            **identity,
            "n_outputs_": targets.n_outputs,
            "n_layers_": len(units),
            "out_activation_": LOSSES[targets.loss].output_activation,
            "precision_": precision,
        }
        self._units = units
        self.network = None

    def model(self):
        """The fitted attributes that predict needs, for the network as it is now."""
        coefs, intercepts = self.network.read(self.dtype)
        return {**self._attributes, "coefs_": coefs, "intercepts_": intercepts}

    def _before(self, name, default):
        """A fitted attribute of the fit that goes on."""
        value = getattr(self.settings, name, None) if self.goes_on else None
        return default if value is None else value

    def _make_network(self, optimizer):
        self.network = Network(
            self._units,
            self._attributes["precision_"],
            trainable=True,
            n_moments=OPTIMIZERS[optimizer].n_moments,
        )
        if self.goes_on:
            self.network.write(self.settings.coefs_, self.settings.intercepts_)
        else:
            gain = ACTIVATIONS[self.settings.activation].gain
            self.network.write(
                *glorot_uniform(self._units, gain, self.random_state, self.dtype)
            )

    def _make_job(self, optimizer, batch_size, samples=None):
        """(job, threads to run it on)."""
        settings = self.settings
        n_threads = threads_for_training(settings.n_jobs, self.network, batch_size)
        job = TrainingJob(
            self.network,
            self.X,
            self.targets.values,
            self.sample_weight,
            samples=samples,
            batch_size=batch_size,
            activation=settings.activation,
            loss=self.targets.loss,
            optimizer=optimizer,
            l2=settings.alpha,
            n_threads=n_threads,
        )
        return job, n_threads

    def _finish(self, finite):
        if not finite:
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may"
                " contain large values and need to be preprocessed."
            )
        return self.model()

    def run(self, events=None, incremental=False):
        """Fit, and fit again in float64 if numbers became too large for float32.

        Parameters
        ----------
        events : fastmlp.events.Events, default=None
        incremental : bool, default=False
            Whether to train for one epoch only, with the optimizer of the last fit.

        Returns
        -------
        dict
            The fitted attributes.

        Raises
        ------
        ValueError
            If weights became NaN or infinite, or if parameters do not fit the data.
        """
        if self.settings.solver == "lbfgs":
            return self._minimize(events)
        if not self._can_change_precision:
            return self._descend(events, incremental)
        drawn = self.random_state.get_state()
        with suppress(_TooLarge):
            return self._descend(events, incremental)
        self.random_state.set_state(drawn)
        self._can_change_precision = False
        self._attributes["precision_"] = "float64"
        attributes = self._descend(events, incremental)
        if self._stayed_in_range():
            _warn(
                "Numbers became too large for float32, so that all was done again in "
                "float64. Scale the data, or set precision='float64'."
            )
        return attributes

    def _stayed_in_range(self):
        """Whether all is finite; an infinite second moment makes Adam stand still."""
        arrays = ("parameters", "first_moment", "second_moment")
        return all(map(self.network.is_finite, arrays))

    # --- lbfgs --------------------------------------------------------------------

    def _minimize(self, events):
        settings = self.settings
        self._make_network("gradient")
        rows = rows_of_a_piece(self.network, self.X.shape[0], issparse(self.X))
        job, n_threads = self._make_job("gradient", rows)
        result = minimize_loss(
            job,
            n_threads=n_threads,
            max_iter=settings.max_iter,
            max_fun=settings.max_fun,
            tol=settings.tol,
            verbose=settings.verbose is True or settings.verbose >= 1,
            events=events,
        )
        n_iter = result.nit
        if result.status == -1:
            _warn("Training interrupted by user.")
        elif result.status != 99:  # a callback has asked for the end
            n_iter = _check_optimize_result("lbfgs", result, settings.max_iter)
        return {
            **self._finish(self.network.is_finite()),
            "n_iter_": n_iter,
            "loss_": np.float64(result.fun),
            "t_": self._before("t_", 0),
        }

    # --- sgd and adam ---------------------------------------------------------------

    def _descend(self, events, incremental):
        settings = self.settings
        early_stopping = settings.early_stopping
        if early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        state = getattr(settings, "_optimizer_state", None)
        goes_on = incremental and self.goes_on and state is not None
        optimizer = Optimizer.from_state(state) if goes_on else self._new_optimizer()
        if optimizer.solver != settings.solver:  # the parameter was changed
            goes_on, optimizer = False, self._new_optimizer()
        self._make_network(optimizer.name)
        if goes_on:
            optimizer.write_moments(state, self.network)

        training, held_out = self._split() if early_stopping else (None, None)
        n_samples = self.X.shape[0] if training is None else len(training)
        batch_size = self._batch_size(n_samples)
        job, n_threads = self._make_job(optimizer.name, batch_size, training)
        validation = self._validation(held_out, n_threads) if early_stopping else None
        scores = self._before("validation_scores_", []) if early_stopping else None
        stopping = Stopping(
            settings.tol,
            settings.n_iter_no_change,
            by_score=early_stopping,
            best=self._before(
                "best_validation_score_" if early_stopping else "best_loss_", None
            ),
            count=self._before("_no_improvement_count", 0),
        )
        n_seen = self._before("t_", 0)
        history = train(
            job,
            optimizer,
            stopping,
            n_threads=n_threads,
            max_iter=1 if incremental else settings.max_iter,
            shuffle=settings.shuffle,
            random_state=self.random_state,
            n_seen=n_seen,
            validation=validation,
            events=events,
            say=print if settings.verbose else None,
        )
        if self._can_change_precision and not (
            history.interrupted or self._stayed_in_range()
        ):
            raise _TooLarge
        attributes = self._finish(history.finite)
        if history.interrupted:
            _warn("Training interrupted by user.")
        elif not (history.finished or incremental):
            _warn(
                f"Stochastic Optimizer: Maximum iterations ({settings.max_iter}) "
                "reached and the optimization hasn't converged yet.",
                ConvergenceWarning,
            )
        loss_curve = self._before("loss_curve_", [])
        if incremental:
            # in place: many calls of partial_fit shall not copy longer and longer lists
            loss_curve += history.loss_curve
        else:  # something may still fail
            loss_curve = loss_curve + history.loss_curve
        if early_stopping:
            scores = scores + history.validation_scores
        n_iter = len(history.loss_curve)
        return {
            **attributes,
            "loss_curve_": loss_curve,
            "loss_": loss_curve[-1] if loss_curve else np.inf,
            "best_loss_": None if early_stopping else stopping.best,
            "validation_scores_": scores,
            "best_validation_score_": stopping.best if early_stopping else None,
            "n_iter_": n_iter,
            "t_": n_seen + n_iter * n_samples,
            "_no_improvement_count": stopping.count,
            "_optimizer_state": optimizer.state(self.network),
        }

    def _new_optimizer(self):
        settings = self.settings
        if settings.solver == "adam":
            return Optimizer.adam(
                settings.learning_rate_init,
                settings.beta_1,
                settings.beta_2,
                settings.epsilon,
            )
        return Optimizer.sgd(
            settings.learning_rate,
            settings.learning_rate_init,
            settings.power_t,
            settings.momentum,
            settings.nesterovs_momentum,
        )

    def _split(self):
        """(samples to train on, samples that are held out), as scikit-learn's.

        One logistic output is stratified; several classes or labels are not.
        """
        two_classes = self.targets.n_outputs == 1 and "classes_" in self._attributes
        training, held_out = train_test_split(
            np.arange(self.X.shape[0]),
            random_state=self.random_state,
            test_size=self.settings.validation_fraction,
            stratify=self.targets.values if two_classes else None,
        )
        if len(held_out) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' "
                "or the size of your dataset."
            )
        return training, held_out

    def _validation(self, held_out, n_threads):
        job = PredictionJob(
            self.network,
            self.X,
            samples=held_out,
            activation=self.settings.activation,
            output_activation=self._attributes["out_activation_"],
            dtype=self.dtype,
            n_threads=n_threads,
        )
        return Validation(
            job,
            lambda outputs: self.targets.score(outputs, held_out, self.sample_weight),
            goes_on=self.goes_on,
        )

    def _batch_size(self, n_samples):
        batch_size = self.settings.batch_size
        if batch_size == "auto":
            return min(200, n_samples)
        if batch_size > n_samples:
            _warn(
                "Got `batch_size` less than 1 or larger than "
                "sample size. It is going to be clipped"
            )
        return int(np.clip(batch_size, 1, n_samples))


def _warn(message, category=UserWarning):
    # attributed to this module, as scikit-learn's are to its own: whoever wants to
    # filter them needs one pattern, wherever fit is called
    warnings.warn(message, category, stacklevel=2)
