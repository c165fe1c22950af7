"""What the three estimators share: from X and y to a network, and back.

What needs numba is imported when it is first used, so that ``import fastmlp`` is
quick.
"""

import warnings

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from fastmlp.parameters import CONSTRAINTS
from fastmlp.schedules import SCHEDULES

__all__ = ["MultiLayerPerceptron"]


def _missing(what):
    """What to say of something that only scikit-learn has."""
    return (
        f"{what} is not available in this version of fastmlp; "
        "sklearn.neural_network has it."
    )


class MultiLayerPerceptron(BaseEstimator):
    """Training and prediction; not for use by itself."""

    _parameter_constraints = CONSTRAINTS

    def _store(self, parameters):
        """Keep the constructor's arguments, from its ``locals()``."""
        for name, value in parameters.items():
            if name not in ("self", "__class__"):
                setattr(self, name, value)

    # --- training ---------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Fit the network to X and y.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training data, any real dtype and memory layout.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, a matrix of 0 and 1 with a column per label, or real
            numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples; None gives each the weight 1.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If parameters or data are invalid, if something is asked for that is
            not available yet, or if the weights became NaN or infinite.
        """
        return self._fit(X, y, sample_weight)

    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """Not available yet: raises ValueError.

        Parameters
        ----------
        X, y, sample_weight, classes : object
            Not looked at.

        Raises
        ------
        ValueError
            Always.
        """
        raise ValueError(_missing("partial_fit"))

    def _fit(self, X, y, sample_weight=None, on_epoch=None):
        """`fit`, with a function (epochs done, loss) to call after each epoch."""
        self._refuse_what_is_missing(X)
        hidden = self.hidden_layer_sizes
        hidden = list(hidden) if hasattr(hidden, "__iter__") else [hidden]
        if np.any(np.array(hidden) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        task = self._task_of(y)
        classifies = task == "classification"
        X, y = validate_data(
            self,
            X,
            y,
            dtype=(np.float64, np.float32),
            multi_output=True,
            y_numeric=not classifies,
        )
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        binarizer = LabelBinarizer().fit(y) if classifies else None
        loss, targets, n_outputs = self._encode(y, binarizer)
        batch_size = self._batch_size(X.shape[0])
        units = [X.shape[1], *hidden, n_outputs]

        from fastmlp.initialization import glorot_uniform
        from fastmlp.jobs import TrainingJob
        from fastmlp.kernels.activations import ACTIVATIONS
        from fastmlp.kernels.losses import LOSSES
        from fastmlp.kernels.optimizers import OPTIMIZERS
        from fastmlp.network import Network
        from fastmlp.threads import threads_for_training
        from fastmlp.training import Rates, Stopping, train

        precision = "float32" if self.precision == "auto" else self.precision
        random_state = check_random_state(self.random_state)
        optimizer = self._optimizer()
        network = Network(
            units,
            precision,
            trainable=True,
            n_moments=OPTIMIZERS[optimizer].n_moments,
        )
        gain = ACTIVATIONS[self.activation].gain
        network.write(*glorot_uniform(units, gain, random_state, X.dtype))
        n_threads = threads_for_training(self.n_jobs, network, batch_size)
        job = TrainingJob(
            network,
            X,
            targets,
            sample_weight,
            batch_size=batch_size,
            activation=self.activation,
            loss=loss,
            optimizer=optimizer,
            l2=self.alpha,
            n_threads=n_threads,
        )
        stopping = Stopping(self.tol, self.n_iter_no_change)
        if self.solver == "sgd":
            schedule = SCHEDULES[self.learning_rate](
                self.learning_rate_init, self.power_t
            )
            rates = Rates(decay_1=self.momentum)
        else:
            schedule = SCHEDULES["constant"](self.learning_rate_init)
            rates = Rates(self.beta_1, self.beta_2, self.epsilon)
        history = train(
            job,
            n_threads=n_threads,
            schedule=schedule,
            stopping=stopping,
            rates=rates,
            max_iter=self.max_iter,
            shuffle=self.shuffle,
            random_state=random_state,
            on_epoch=on_epoch,
            say=print if self.verbose else None,
        )
        if not history.finite:
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may"
                " contain large values and need to be preprocessed."
            )
        # all of it, or nothing: a fit that fails leaves the model of the last one
        self._remember_task(task, binarizer)
        self.n_outputs_ = n_outputs
        self.n_layers_ = len(units)
        self.out_activation_ = LOSSES[loss].output_activation
        self.precision_ = precision
        self.coefs_, self.intercepts_ = network.read(X.dtype)
        self.loss_curve_ = history.loss_curve
        self.n_iter_ = len(history.loss_curve)
        self.t_ = self.n_iter_ * X.shape[0]
        self.loss_ = self.loss_curve_[-1] if self.loss_curve_ else np.inf
        self.best_loss_ = stopping.best_loss
        self.validation_scores_ = None
        self.best_validation_score_ = None
        if history.interrupted:
            warnings.warn("Training interrupted by user.", stacklevel=4)
        elif not history.converged:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) "
                "reached and the optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=4,
            )
        return self

    def _refuse_what_is_missing(self, X):
        """ValueError for what scikit-learn can do and this version cannot."""
        missing = None
        if issparse(X):
            missing = "sparse X"
        elif self.solver == "lbfgs":
            missing = "solver='lbfgs'"
        elif self.early_stopping:
            missing = "early_stopping=True"
        elif self.warm_start:
            missing = "warm_start=True"
        if missing:
            raise ValueError(_missing(missing))

    def _remember_task(self, task, binarizer):
        """Keep what labels stand for; nothing is left of an earlier task."""
        if binarizer is not None:
            self._label_binarizer = binarizer
            self.classes_ = binarizer.classes_
        else:
            for name in ("_label_binarizer", "classes_"):
                vars(self).pop(name, None)

    def _encode(self, y, binarizer):
        """(name of the loss, targets of shape (n_samples, n_targets), n_outputs)."""
        if binarizer is not None:
            classes = binarizer.classes_
            if binarizer.y_type_ == "multiclass":
                codes = np.searchsorted(classes, y).reshape(-1, 1)
                return "log_loss", codes, len(classes)
            targets = binarizer.transform(y)
            return "binary_log_loss", targets, targets.shape[1]
        loss = "squared_error" if self.loss == "auto" else self.loss
        if loss == "poisson" and np.any(y < 0):
            raise ValueError(
                "Some value(s) of y are out of the valid range of the loss 'poisson': "
                "y must not be negative."
            )
        targets = y.reshape(-1, 1) if y.ndim == 1 else y
        return loss, targets, targets.shape[1]

    def _batch_size(self, n_samples):
        if self.batch_size == "auto":
            return min(200, n_samples)
        if self.batch_size > n_samples:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than "
                "sample size. It is going to be clipped",
                stacklevel=5,
            )
        return int(np.clip(self.batch_size, 1, n_samples))

    def _optimizer(self):
        """Name of the row in the kernels' table of optimizers."""
        if self.solver == "adam":
            return "adam"
        if self.momentum == 0:
            return "sgd"
        return "nesterov" if self.nesterovs_momentum else "momentum"

    # --- prediction ---------------------------------------------------------------

    def _outputs(self, X):
        """What the output units give for X, of shape (n_samples, n_outputs)."""
        check_is_fitted(self, "coefs_")
        if issparse(X):
            self._refuse_what_is_missing(X)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        outputs = self._compute_outputs(X, self.precision_)
        if self.precision_ == "float32" and not np.isfinite(outputs).all():
            # numbers that only float64 can hold
            outputs = self._compute_outputs(X, "float64")
        return outputs

    def _compute_outputs(self, X, precision):
        """`_outputs` of checked X, computed in `precision`."""
        from fastmlp.jobs import PredictionJob
        from fastmlp.network import Network
        from fastmlp.threads import Team, threads_for_prediction

        units = [len(self.coefs_[0]), *(coef.shape[1] for coef in self.coefs_)]
        network = Network(units, precision)
        network.write(self.coefs_, self.intercepts_)
        n_threads = threads_for_prediction(self.n_jobs, network, X.shape[0])
        job = PredictionJob(
            network,
            X,
            activation=self.activation,
            output_activation=self.out_activation_,
            dtype=np.result_type(X.dtype, self.coefs_[0].dtype),
            n_threads=n_threads,
        )
        with Team(n_threads) as team:
            return job.run(team)

    def _predict_labels(self, X):
        outputs = self._outputs(X)
        if self.n_outputs_ == 1:
            outputs = outputs.ravel()
        return self._label_binarizer.inverse_transform(outputs)

    def _predict_numbers(self, X):
        outputs = self._outputs(X)
        return outputs.ravel() if outputs.shape[1] == 1 else outputs

    def _predict_probabilities(self, X):
        outputs = self._outputs(X)
        if self.n_outputs_ == 1:
            return np.hstack([1 - outputs, outputs])
        return outputs
