"""What the three estimators share: from X and y to a network, and back.

What needs numba is imported when it is first used, so that ``import fastmlp`` is
quick.
"""

import warnings
from contextlib import closing
from numbers import Integral
from types import SimpleNamespace
from weakref import WeakKeyDictionary

import numpy as np
from scipy.sparse import issparse
from sklearn.base import _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
)

from fastmlp.data.samples import compressed_rows
from fastmlp.data.scaling import Scaling, Standardization
from fastmlp.data.targets import labels_of
from fastmlp.estimators.base import (
    NetworkEstimator,
    as_numbers,
    as_probabilities,
)
from fastmlp.estimators.gradients import derivatives_of
from fastmlp.estimators.parameters import CONSTRAINTS, check_lists, unused_parameters
from fastmlp.estimators.settings import settings_of
from fastmlp.estimators.streaming import FitsSources, is_source
from fastmlp.exceptions import UnusedParameterWarning
from fastmlp.native_threads import lazily
from fastmlp.persistence.conversion import to_sklearn
from fastmlp.persistence.saving import bare_copy
from fastmlp.tables.fitted import FittedModel
from fastmlp.tables.losses import predicts_exponentials
from fastmlp.training.callbacks import CallbackEvents, CallbackSupport
from fastmlp.training.events import Listeners
from fastmlp.training.optimizer import OptimizerView
from fastmlp.training.progress import FunctionCallbacks, Progress, shows_progress

__all__ = ["MultiLayerPerceptron"]


class MultiLayerPerceptron(CallbackSupport, FitsSources, NetworkEstimator):
    """Training and prediction; not for use by itself."""

    _parameter_constraints = CONSTRAINTS

    # --- training ---------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X, y=None, sample_weight=None, *, X_val=None, y_val=None,
        sample_weight_val=None,
    ):  # fmt: skip
        """Fit the network to X and y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data, any real dtype and memory layout. Sparse X stays sparse
            (other formats than CSR are converted to it). Or a source of
            `fastmlp.sources`, which has y and sample_weight as well.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, a matrix of 0 and 1 with a column per label, or real
            numbers. None only if X is a source.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples; None gives each the weight 1.
        X_val, y_val : array-like, default=None
            A validation set: evaluated after each epoch, never trained on. With
            ``early_stopping=True`` it replaces the part that would be held out.
            X_val may be a source, without y_val.
        sample_weight_val : array-like of shape (n_validation_samples,), default=None
            Their weights.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If parameters or data are invalid, or if the weights became NaN or
            infinite. The estimator is then what it was before.
        """
        validation = X_val, y_val, sample_weight_val
        return self._fit(X, y, sample_weight, validation=validation)

    def _check_solver(self):
        if self.solver == "lbfgs":
            raise AttributeError(
                "partial_fit is only available for stochastic"
                f" optimizers. {self.solver} is not stochastic."
            )
        return True

    def _fit(self, X, y, sample_weight=None, **how):
        """`fit`, or `partial_fit`: see `_pieces_of_fit`."""
        return lazily("engine.pieces").run_alone(
            self._pieces_of_fit(X, y, sample_weight, **how)
        )

    def _pieces_of_fit(
        self, X, y, sample_weight=None, *, incremental=False, classes=None, events=None,
        validation=(None, None, None), rows=None, validation_rows=None, checked=None,
        warned=False, is_one_of_many=False,
    ):  # fmt: skip
        """`fit`, or `partial_fit` if `incremental`, in pieces: see `engine.pieces`.

        classes : ndarray, default=None
            All classes that may occur, also in a `fit` to samples of some.
        events : list of fastmlp.training.events.Events, default=None
            Who listens, instead of callbacks.
        validation : tuple
            X_val, y_val and sample_weight_val of `fit`.
        rows : ndarray of int, default=None
            The rows of X to train on: y and sample_weight are theirs. X is then an
            array or a matrix of compressed rows that has been checked, as a whole.
        validation_rows : ndarray of int, default=None
            The rows of X to validate on, instead of an X_val.
        checked : ndarray or sparse matrix, default=None
            What `_checked_as_a_whole` gives for X, which then has but the names of the
            features.
        warned : bool, default=False
            Whether the user has been warned of the columns of X.
        is_one_of_many : bool, default=False
            Whether other fits run beside this one, and Ctrl-C ends all of them.
        """
        if checked is None and rows is not None:
            checked = X
        if is_source(X):
            self._check_arguments_of_source(y, sample_weight, incremental)
        continues = hasattr(self, "coefs_") and (self.warm_start or incremental)
        hidden = self._hidden_layers()
        n_hidden = len(self.coefs_) - 1 if continues else len(hidden)
        check_lists(self, n_hidden)
        given = X, y, sample_weight
        for sentence in unused_parameters(
            self,
            n_hidden=n_hidden,
            has_validation_set=validation[1] is not None,
            incremental=incremental,
        ):
            _warn(sentence + ".", UnusedParameterWarning)
        with self._features_restored_on_failure():
            if is_source(X) and not X.fits_buffer:
                samples, own, task, binarizer, old, scaling = self._prepared_source(
                    X, validation, continues
                )
            else:
                samples, own, task, binarizer, old, scaling = self._prepared(
                    X, y, sample_weight, validation, incremental=incremental,
                    classes=classes, continues=continues, rows=rows,
                    validation_rows=validation_rows, checked=checked, warned=warned,
                )  # fmt: skip
            fit = self._fit_of(
                settings_of(self),
                samples,
                hidden=hidden,
                precision=self._precision(continues),
                identity=self._identity(task, binarizer, old) | scaling.attributes(),
                previous=FittedModel.of(self) if continues else None,
                validation=own,
                as_estimator=self._with_model,
                kept_jobs=_kept_jobs_of(self) if incremental else None,
                is_one_of_many=is_one_of_many,
            )
            if events is None:
                events = self._events(given, fit, incremental)
            with closing(self._progress(fit, incremental)) as progress:
                listeners = [*events, *progress.listeners]
                model = yield from fit.run(
                    Listeners(listeners) if listeners else None, incremental
                )
            for listener in events:
                listener.close()
        # all of it, or nothing: a fit that fails leaves the model of the last one
        if not continues:
            for name in FittedModel.names():
                vars(self).pop(name, None)
        vars(self).update(model.attributes())
        fit.close()
        return self

    def _prepared(
        self, X, y, sample_weight, validation, *, incremental, classes, continues,
        rows, validation_rows, checked, warned,
    ):  # fmt: skip
        """Check data; the arguments are those of `_pieces_of_fit`.

        Returns
        -------
        tuple
            Samples to train on, those to validate on or None, task, LabelBinarizer,
            classes of an earlier fit, Standardization.
        """
        source = None
        if is_source(X):
            source, (X, y, sample_weight) = X, X.load()
            checked = X
        task = self._task_of(y, classes, continues)
        classifies = task == "classification"
        known, old = None, None
        if classifies:
            known, old = self._known_labels(y, classes, incremental)
        X, y, sample_weight = self._checked_samples(
            X, y, sample_weight, classifies=classifies, reset=not continues,
            rows=rows, checked=checked, source=source,
        )  # fmt: skip
        binarizer = None
        if classifies:
            exactly = self.warm_start and classes is None
            binarizer = labels_of(y, known, old, exactly=exactly)
        if not (continues or self.standardize or warned):
            self._warn_of_wild_columns(X)
        whole = X
        if rows is not None and self.standardize:
            X, rows = X[rows], None
        scaling = self._scaling(X, y, sample_weight, classifies, continues)
        targets = self._targets(y, binarizer, scaling)
        if validation_rows is not None:
            validation = whole, *validation[1:]
        own = self._validation_set(
            *validation, targets, binarizer, scaling, validation_rows
        )
        given_weight = sample_weight  # by which samples are scored
        sample_weight = self._weigh_classes(sample_weight, y, binarizer, incremental)
        samples = lazily("training.samples").Samples(
            scaling.scale_X(X), targets, sample_weight, X, y, given_weight,
            getattr(self, "feature_names_in_", None), rows,
        )  # fmt: skip
        return samples, own, task, binarizer, old, scaling

    def _fit_of(self, *data, **how):
        """What trains the network, see `fastmlp.training.fitting.Fit`."""
        return lazily("training.fitting").Fit(*data, **how)

    def _scaling(self, X, y, sample_weight, classifies, continues):
        """What ``standardize`` asks for; a fit that is resumed keeps what it had."""
        if continues:
            return Standardization.read(vars(self))
        if not self.standardize:
            return Standardization()
        # labels have no scale, and outputs exp(z) cannot be shifted
        if classifies or predicts_exponentials(self.loss) or y.dtype.kind not in "fiu":
            return Standardization(Scaling.of(X, sample_weight))
        columns = y.reshape(len(y), -1)
        return Standardization(
            Scaling.of(X, sample_weight), Scaling.of(columns, sample_weight)
        )

    def _known_labels(self, y, classes, incremental):
        """The LabelBinarizer and the classes that y has to keep to, or (None, None)."""
        known = getattr(self, "_label_binarizer", None)
        if not incremental:
            if known is not None and self.warm_start:
                return known, self.classes_
            if classes is None:
                return None, None
            return LabelBinarizer().fit(classes), classes
        memory = SimpleNamespace()
        if hasattr(self, "classes_"):
            memory.classes_ = old = self.classes_
            # as in the call before, which scikit-learn takes longer to see than a step
            is_same = isinstance(classes, np.ndarray) and classes.dtype == old.dtype
            if is_same and known is not None and np.array_equal(classes, old):
                return known, old
        # scikit-learn's check, on something that may be changed
        if _check_partial_fit_first_call(memory, classes) or known is None:
            multilabel = type_of_target(y).startswith("multilabel")
            known = LabelBinarizer().fit(y if multilabel else memory.classes_)
        return known, memory.classes_

    def _identity(self, task, binarizer, classes):
        """Attributes that say what outputs stand for."""
        if binarizer is None:
            return {}
        classes = binarizer.classes_ if classes is None else classes
        return {"_label_binarizer": binarizer, "classes_": classes}

    def _validation_set(
        self, X, y, sample_weight, targets, binarizer, scaling, rows=None,
        is_checked=False,
    ):  # fmt: skip
        """The user's own samples to validate on, checked; None if there are none.

        rows : those of X that they are; X has then been checked.
        is_checked : whether X has been checked in any case.
        """
        is_checked |= rows is not None
        if X is None and y is None:
            if sample_weight is not None:
                raise ValueError("sample_weight_val needs X_val and y_val")
            return None
        if is_source(X):
            if y is not None or sample_weight is not None:
                raise ValueError(
                    "X_val is a source, which has its own y and sample_weight: leave "
                    "out y_val and sample_weight_val"
                )
            if not X.fits_buffer:
                return self._validation_source(X, targets, binarizer, scaling)
            self._take_features(X, reset=False)
            X, y, sample_weight = X.load()
            is_checked = True
        if X is None or y is None:
            raise ValueError("X_val and y_val must be given together")
        if not is_checked:
            X = self._checked(X, reset=False)
        elif rows is not None and scaling.X is not None:
            X, rows = X[rows], None
        y = check_array(
            y, accept_sparse="csr", ensure_2d=False, input_name="y_val",
            dtype=None if binarizer is not None else "numeric",
        )  # fmt: skip
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        check_consistent_length(X if rows is None else rows, y)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(
                sample_weight, X if rows is None else rows
            )
        if binarizer is not None and y.ndim == 1:
            try:
                unknown = np.setdiff1d(y, binarizer.classes_)
            except TypeError:  # None, or labels of several types, cannot be sorted
                unknown = set(y.tolist()).difference(binarizer.classes_.tolist())
            if len(unknown):
                raise ValueError(f"y_val has classes that y lacks: {unknown}")
        own = self._targets(y, binarizer, scaling, "y_val")
        if own.n_outputs != targets.n_outputs:
            raise ValueError(
                f"y_val has {own.n_outputs} outputs, y has {targets.n_outputs}"
            )
        X = compressed_rows(X) if issparse(X) else X
        return lazily("training.samples").Samples(
            scaling.scale_X(X), own, sample_weight, X, y, sample_weight, rows=rows
        )

    def _weigh_classes(self, sample_weight, y, binarizer, incremental):
        """Weights of the samples times those of their classes."""
        class_weight = getattr(self, "class_weight", None)
        if class_weight is None:
            return sample_weight
        if binarizer is None:
            raise ValueError(
                "class_weight needs a classification, this is a regression"
            )
        if incremental and class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' is not supported for partial_fit, which does "
                "not see all classes: give it a dict of weights"
            )
        some_count = True
        if isinstance(class_weight, dict):
            _check_class_weights(class_weight)
            known = set(binarizer.classes_.tolist())
            some_count = any(float(class_weight.get(label, 1)) for label in known)
            if incremental and y.ndim == 1:
                # those that are missing in this batch may have a weight all the same
                here = set(np.unique(y).tolist())
                class_weight = {
                    label: weight
                    for label, weight in class_weight.items()
                    if label in here or label not in known
                }
        weights = compute_sample_weight(class_weight or None, y)
        if sample_weight is not None:
            weights = sample_weight * weights
        # a batch of partial_fit may lack the classes that count
        if weights.sum() == 0 and not (incremental and some_count):
            raise ValueError(
                "class_weight, times sample_weight, sums to zero over the samples: at "
                "least one sample must count"
            )
        return weights

    def _events(self, given, fit, incremental):
        """Who is told of the epochs, but for the bar."""
        listeners = []
        if incremental:
            return listeners
        if getattr(self, "_skl_callbacks", ()):  # scikit-learn from 1.9 on
            task = "iteration" if self.solver == "lbfgs" else "epoch"
            listeners.append(
                CallbackEvents(self, *given, lambda: fit.model().attributes(), task)
            )
        if self.callbacks:
            listeners.append(FunctionCallbacks(self.callbacks, fit))
        return listeners

    def _with_model(self, model):
        """A copy that predicts with a `FittedModel`, as of an epoch of a fit."""
        copy = bare_copy(self)
        for name in FittedModel.names():
            vars(copy).pop(name, None)
        vars(copy).update(model.attributes(), callbacks=None)  # they may not pickle
        return copy

    def _progress(self, fit, incremental):
        """The live line that ``verbose="progress"`` asks for."""
        if isinstance(self.verbose, str) and not shows_progress(self.verbose):
            _warn(
                "verbose='progress' needs tqdm (pip install tqdm): the losses are "
                "printed instead.",
                UserWarning,
            )
        shows = shows_progress(self.verbose) and not incremental
        waits = None if fit.samples.stream is None else fit.seconds_waited
        return Progress(self.max_iter, fit.n_samples if shows else 0, waits)

    @property
    def _optimizer(self):
        """The state of the optimizer, to read it and to change its rate."""
        if "_optimizer_state" not in vars(self):
            raise AttributeError("there is no optimizer before a fit with sgd or adam")
        return OptimizerView(self._optimizer_state)

    def to_sklearn(self):
        """The same model, fitted or not, as an estimator of scikit-learn.

        Its fitted attributes, the state of the optimizer and all parameters that
        scikit-learn has are the same; no array is shared. See `fastmlp.from_sklearn`
        for the way back.

        Returns
        -------
        sklearn.neural_network.MLPClassifier or sklearn.neural_network.MLPRegressor
            The model, to predict, train further or pickle without fastmlp.

        Raises
        ------
        ValueError
            If scikit-learn has no such model: an activation that it lacks, before
            fit also a solver or loss, or ``task='auto'``.

        Warns
        -----
        UserWarning
            If parameters are left out that only a fit depends on, such as `dropout`.
        """
        return to_sklearn(self)

    # --- prediction ---------------------------------------------------------------

    def _outputs(self, X):
        """What the output units give for X, of shape (n_samples, n_outputs)."""
        check_is_fitted(self, "coefs_")
        return self._outputs_of_checked(self._plain(X), self.n_jobs)

    def _outputs_of_checked(self, X, n_jobs, dtype=None):
        """`_outputs` of X that has been checked, on so many threads, in a dtype."""
        scaling = Standardization.read(vars(self))
        X = scaling.scale_X(X)
        precision = getattr(self, "precision_", None) or self._precision()
        outputs = self._compute_outputs(X, precision, dtype, n_jobs)
        if precision == "float32" and not np.isfinite(outputs).all():
            beyond = ~np.isfinite(outputs).all(axis=1)  # only float64 can hold them
            with np.errstate(over="ignore"):
                wide = self._compute_outputs(X[beyond], "float64", np.float64, n_jobs)
                outputs[beyond] = wide
        return scaling.unscale(outputs)

    def _precision(self, continues=False):
        """What the kernels compute in during a fit."""
        if self.precision != "auto":
            return self.precision
        if self.solver == "lbfgs":
            return "float64"
        return getattr(self, "precision_", "float32") if continues else "float32"

    def _compute_outputs(
        self, X, precision, dtype=None, n_jobs=None, output_activation=None
    ):
        """`_outputs` of checked X, computed in `precision`, as arrays of `dtype`.

        output_activation : another one than the network has.
        """
        prediction = lazily("estimators.prediction")
        with prediction.packed_model(
            self, precision, n_jobs, output_activation
        ) as model:
            wanted = dtype or prediction.dtype_of_outputs(X.dtype, self.coefs_[0].dtype)
            return model(X, wanted)

    def _derivatives(self, X, columns, of):
        """`input_gradients` of checked X, with an axis of outputs."""
        return derivatives_of(self, X, columns, of)

    def hidden_activations(self, X, layer=-1):
        """What the units of a hidden layer give for X: features that were learnt.

        `HiddenFeatures` makes a step of a Pipeline of them.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data.
        layer : int, default=-1
            Which hidden layer: 0 is the first one, -1 the last one.

        Returns
        -------
        ndarray of shape (n_samples, n_units)
            After the activation function.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X is invalid, or if there is no such layer.
        """
        check_is_fitted(self, "coefs_")
        X = Standardization.read(vars(self)).scale_X(self._plain(X))
        n_hidden = len(self.coefs_) - 1
        if not isinstance(layer, Integral) or not -n_hidden <= layer < n_hidden:
            raise ValueError(
                f"layer={layer!r}, but there are {n_hidden} hidden layers: a whole "
                f"number from 0 to {n_hidden - 1}, or from -1 to {-n_hidden}"
                if n_hidden
                else f"layer={layer!r}, but there are no hidden layers"
            )
        precision = getattr(self, "precision_", None) or self._precision()
        return lazily("estimators.prediction").activations_of(
            self, int(layer) % n_hidden, X, precision, self.n_jobs
        )

    def predictor(self):
        """A function that predicts a few rows in the least time.

        For a service that answers one request after the other: `predict` and
        `predict_proba` check X and look at the weights anew each time, which costs
        more than the prediction of a row.

        Returns
        -------
        callable
            ``predictor(X)`` gives what `predict_proba` gives (of a regressor:
            `predict`), the same numbers. X is a dense array of numbers of shape
            (n_samples, n_features), or one row of shape (n_features,), of which the
            one row of the result is returned. Only its shape and dtype are checked,
            not whether all is finite, and what is too large for the precision stays
            so. The weights are those of now: another fit does not change it. Several
            threads may call it at once.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        """
        check_is_fitted(self, "coefs_")
        prediction = lazily("estimators.prediction")
        outputs = prediction.packed_snapshot(self, self.n_jobs)
        finish = as_probabilities if hasattr(self, "classes_") else as_numbers
        scaling = Standardization.read(vars(self))
        return prediction.Predictor(outputs, self.coefs_[0], finish, scaling)


#: estimator -> `fastmlp.training.kept_jobs.KeptJobs`. Not stored in the estimator,
#: which may be copied or saved.
_kept_jobs = WeakKeyDictionary()


def _kept_jobs_of(estimator):
    try:
        if estimator not in _kept_jobs:
            _kept_jobs[estimator] = lazily("training.kept_jobs").KeptJobs()
        return _kept_jobs[estimator]
    except TypeError:  # a subclass that is not hashable
        return None


def _warn(message, category):
    # attributed to this module: one pattern filters them, wherever fit is called
    warnings.warn(message, category, stacklevel=2)


def _check_class_weights(class_weight):
    for label, weight in class_weight.items():
        try:
            is_good = 0 <= float(weight) < np.inf
        except (TypeError, ValueError):
            is_good = False
        if not is_good:
            raise ValueError(
                "class_weight must have finite numbers that are not negative; that of "
                f"class {label!r} is {weight!r}"
            )
