"""Estimators for tables as they are: columns of any kind, missing values, any scale."""

import math
import warnings
from dataclasses import replace
from functools import cache
from importlib import import_module
from numbers import Integral, Real
from weakref import WeakKeyDictionary

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    RegressorMixin,
    _fit_context,
)
from sklearn.metrics import get_scorer
from sklearn.utils import check_array, check_consistent_length, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
)

from fastmlp.data.columns import Columns
from fastmlp.data.targets import Targets, number_targets
from fastmlp.native_threads import undisturbed
from fastmlp.tables.activations import ACTIVATIONS
from fastmlp.tables.encodings import (
    EMBEDDING,
    FLAG,
    NUMBER,
    ONE_HOT,
    Column,
    smooth_clip,
)
from fastmlp.tables.losses import (
    CLASSIFICATION_LOSSES,
    LOSSES,
    OUTPUT_ACTIVATIONS,
    REGRESSION_LOSSES,
)
from fastmlp.tables.recipes import PRESETS, for_samples

__all__ = ["TabularMLPClassifier", "TabularMLPRegressor"]

#: Levels of a category that is one-hot encoded, at most, without the unknown one.
_ONE_HOT_LEVELS = 9

#: Ensembles of fitted estimators that are not in use; not stored in the estimators, for
#: they hold addresses in this process.
_idle = WeakKeyDictionary()


def _one_hot_values(shares):
    """Values of one-hot inputs (other levels, this level): scaled like numbers.

    shares : of the samples that have each level.
    """
    values = []
    for share in shares:
        median = float(share > 0.5)
        scale = 1.0 if 0.25 < share <= 0.75 else 2.0
        values.append(smooth_clip(scale * (np.array([0.0, 1.0]) - median)))
    return np.array(values)


def _columns_for(columns, Z):
    """What the network's first layer is told of each column of the matrix Z."""
    told = []
    for j, kind in enumerate(columns.kinds_):
        levels = int(columns.levels_[j])
        if kind == FLAG:
            told.append(Column(FLAG))
        elif kind == NUMBER:
            told.append(
                Column(
                    NUMBER,
                    center=float(columns.center_[j]),
                    scale=float(columns.scale_[j]),
                    has_missing=bool(columns.has_missing_[j]),
                )
            )
        elif levels - 1 <= _ONE_HOT_LEVELS:
            counts = np.bincount(Z[:, j].astype(int), minlength=levels)[1:levels]
            values = _one_hot_values(counts / len(Z))
            told.append(Column(ONE_HOT, n_levels=levels, values=values))
        else:
            told.append(Column(EMBEDDING, n_levels=levels))
    return tuple(told)


class _Known:
    """Predictions that are known already, as an estimator for scorers."""

    def predict(self, X):
        """The predictions, whatever X is."""
        return self.predictions


class _KnownNumbers(_Known, RegressorMixin, BaseEstimator):
    def __init__(self, predictions=None):
        self.predictions = predictions


class _KnownClasses(_Known, ClassifierMixin, BaseEstimator):
    def __init__(self, predictions=None, probabilities=None, classes_=None):
        self.predictions = predictions
        self.probabilities = probabilities
        self.classes_ = classes_

    def predict_proba(self, X):
        """The probabilities, whatever X is."""
        return self.probabilities


class _TabularMLP(BaseEstimator):
    """What both estimators share; not for use by itself."""

    _parameter_constraints: dict = {
        "preset": [StrOptions(set(PRESETS))],
        "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
        "hidden_layer_sizes": ["array-like", None],
        "activation": [StrOptions(set(ACTIVATIONS)), None],
        "numeric_embedding": ["boolean"],
        "n_members": [Interval(Integral, 1, None, closed="left"), None],
        "max_iter": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither"), None],
        "dropout": [Interval(Real, 0, 1, closed="left"), None],
        "weight_decay": [Interval(Real, 0, None, closed="left"), None],
        "scoring": [str, callable, None],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose", StrOptions({"progress"})],
    }

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.input_tags.allow_nan = True
        tags.target_tags.multi_output = True
        return tags

    def __sklearn_is_fitted__(self):
        return hasattr(self, "members_")

    # --- training ---------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X, y, sample_weight=None, *, X_val=None, y_val=None,
        sample_weight_val=None,
    ):  # fmt: skip
        """Fit the networks to a table and its targets.

        Parameters
        ----------
        X : data frame, array-like or sparse matrix of shape (n_samples, n_features)
            Columns of any kind: numbers, text, categories, truth values, dates; values
            may be missing.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Classes, or numbers of any scale.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.
        X_val, y_val : default=None
            Samples to choose the best epoch by, instead of parts of X and y.
        sample_weight_val : array-like of shape (n_validation_samples,), default=None
            Their weights.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If parameters or data are invalid; of a column, the message has its name.
            The estimator is then what it was before.
        """
        check_consistent_length(X, y)
        columns = Columns(self.categorical_features, caller=type(self).__name__).fit(X)
        Z = columns.transform(X)
        y = self._checked_targets(y)
        check_consistent_length(Z, y)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(
                sample_weight, Z, ensure_non_negative=True
            )
            if sample_weight.sum() == 0:
                raise ValueError(
                    "sample_weight sums to zero: at least one sample must count"
                )
        state = self._state_for(y, sample_weight)
        scoring_weight = sample_weight
        sample_weight = self._weigh_classes(sample_weight, y)
        validation = self._validation_set(
            columns, state, X_val, y_val, sample_weight_val
        )
        state |= {
            "columns_": columns.columns_,
            "n_features_in_": columns.n_features_in_,
            "_columns": columns,
            "_encoded": _columns_for(columns, Z),
        }
        if hasattr(columns, "feature_names_in_"):
            state["feature_names_in_"] = columns.feature_names_in_
        if (
            state["n_outputs_"] == 1
            and self._classifies
            and len(state["classes_"]) == 1
        ):
            state |= {"members_": [], "n_iter_": 0, "validation_score_": math.nan}
        else:
            state |= self._train(state, Z, y, sample_weight, scoring_weight, validation)
        fitted = [name for name in vars(self) if name in _FITTED]
        for name in fitted:
            delattr(self, name)
        vars(self).update(state)
        _idle.pop(self, None)
        return self

    def _recipe(self, n_samples):
        preset = PRESETS[self.preset]
        recipe = preset.classes if self._classifies else preset.numbers
        given = {
            "widths": self.hidden_layer_sizes,
            "activation": self.activation,
            "n_epochs": self.max_iter,
            "batch_size": self.batch_size,
            "rate": self.learning_rate_init,
            "dropout": self.dropout,
            "decay": self.weight_decay,
        }
        if given["widths"] is not None:
            given["widths"] = tuple(map(int, np.atleast_1d(given["widths"])))
            if min(given["widths"], default=1) <= 0:
                raise ValueError(
                    f"hidden_layer_sizes must be > 0, got {given['widths']}."
                )
        if not self.numeric_embedding:
            given["n_cosines"] = 0
        chosen = {name: value for name, value in given.items() if value is not None}
        n_members = preset.n_members if self.n_members is None else self.n_members
        return replace(for_samples(recipe, n_samples), **chosen), n_members

    def _train(self, state, Z, y, sample_weight, scoring_weight, validation):
        """The fitted attributes that training gives."""
        tabular = _lazily("training.tabular")
        recipe, n_members = self._recipe(len(Z))
        targets = self._targets(y, state, recipe)
        X_val, y_val, weight_val = validation
        val_targets = None if X_val is None else self._targets(y_val, state, recipe)

        def score_for(samples):
            of_these = val_targets if samples is None else targets.of(samples)
            labels = y_val if samples is None else y[samples]
            weights = weight_val
            if samples is not None and scoring_weight is not None:
                weights = scoring_weight[samples]
            return self._scorer(of_these, labels, weights, state)

        progress = self._progress(n_members, recipe, len(Z))
        try:
            fit = tabular.TabularFit(
                state["_encoded"], Z, targets, sample_weight, recipe, n_members,
                score_for, check_random_state(self.random_state), X_val=X_val,
                n_jobs=self.n_jobs,
                time_limit=math.inf if self.time_limit is None else self.time_limit,
                events=progress.listeners[0] if progress.listeners else None,
            ).run()  # fmt: skip
        finally:
            progress.close()
        if fit.interrupted:
            warnings.warn("Training interrupted by user.", stacklevel=4)
        members = fit.members
        scores = [member.run.stopping.best for member in members]
        if not all(member.network.is_finite() for member in members):
            raise ValueError(
                "Training diverged: weights are not finite. Lower learning_rate_init."
            )
        return {
            "members_": [member.parameters() for member in members],
            "n_iter_": max(len(m.run.history.loss_curve) for m in members),
            "loss_curves_": [m.run.history.loss_curve for m in members],
            "validation_score_": float(np.mean(scores)),
            "_recipe_used": fit.recipe,
            "_sharpness": self._sharpness(
                fit, targets, val_targets, weight_val, scoring_weight
            ),
            "out_activation_": LOSSES[targets.loss].output_activation,
        }

    def _sharpness(self, fit, targets, val_targets, weight_val, weights):
        return 1.0

    def _progress(self, n_members, recipe, n_samples):
        progress = _lazily("training.progress")
        shows = progress.shows_progress(self.verbose)
        return progress.Progress(n_members * recipe.n_epochs, n_samples if shows else 0)

    def _weigh_classes(self, sample_weight, y):
        return sample_weight

    def _validation_set(self, columns, state, X_val, y_val, sample_weight):
        if X_val is None and y_val is None:
            if sample_weight is not None:
                raise ValueError("sample_weight_val needs X_val and y_val")
            return None, None, None
        if X_val is None or y_val is None:
            raise ValueError("X_val and y_val must be given together")
        Z = columns.transform(X_val)
        y_val = self._checked_targets(y_val, "y_val")
        check_consistent_length(Z, y_val)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, Z)
        return Z, y_val, sample_weight

    # --- prediction ---------------------------------------------------------------

    def _outputs(self, X):
        """What the output units give, averaged over members."""
        check_is_fitted(self)
        return self._outputs_of(self._columns.transform(X))

    def _outputs_of(self, Z):
        idle = _idle.setdefault(self, [])
        try:
            ensemble = idle.pop()
        except IndexError:
            ensemble = self._ensemble()
        outputs = ensemble(Z, self.n_jobs)
        idle.append(ensemble)
        return outputs

    def _ensemble(self):
        recipe = self._recipe_used
        layers = _lazily("training.member").layers_for(
            self._encoded, self.n_outputs_, recipe
        )
        return _lazily("engine.ensemble").Ensemble(
            layers, self.members_, [recipe.activation] * len(recipe.widths),
            self.out_activation_, self._sharpness,
        )  # fmt: skip

    def summary(self):
        """What was done with each column of X, as a table to be read.

        Returns
        -------
        str
        """
        check_is_fitted(self)
        return self._columns.summary()


class TabularMLPClassifier(ClassifierMixin, _TabularMLP):
    """Classifier for tables as they are."""

    _classifies = True

    _parameter_constraints: dict = {
        **_TabularMLP._parameter_constraints,
        "loss": [StrOptions(set(CLASSIFICATION_LOSSES))],
        "focal_gamma": [Interval(Real, 0, None, closed="left")],
        "label_smoothing": [Interval(Real, 0, 1, closed="left"), None],
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self, preset="default", *, categorical_features="from_dtype", loss="log_loss",
        focal_gamma=2.0, label_smoothing=None, class_weight=None, scoring=None,
        hidden_layer_sizes=None, activation=None, numeric_embedding=True,
        n_members=None, max_iter=None, batch_size=None, learning_rate_init=None,
        dropout=None, weight_decay=None, time_limit=None, n_jobs=None,
        random_state=None, verbose=False,
    ):  # fmt: skip
        self.preset = preset
        self.categorical_features = categorical_features
        self.loss = loss
        self.focal_gamma = focal_gamma
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.scoring = scoring
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.numeric_embedding = numeric_embedding
        self.n_members = n_members
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.dropout = dropout
        self.weight_decay = weight_decay
        self.time_limit = time_limit
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.target_tags.multi_output = False
        return tags

    def _recipe(self, n_samples):
        recipe, n_members = super()._recipe(n_samples)
        if self.label_smoothing is not None:
            recipe = replace(recipe, smoothing=self.label_smoothing)
        return recipe, n_members

    def _checked_targets(self, y, name="y"):
        y = check_array(
            y, ensure_2d=False, dtype=None, input_name=name, accept_sparse="csr"
        )
        check_classification_targets(y)
        if type_of_target(y).startswith("multilabel"):
            return np.asarray(y.todense() if hasattr(y, "todense") else y)
        return column_or_1d(y, warn=True)

    def _state_for(self, y, sample_weight):
        if y.ndim == 2:
            return {
                "classes_": np.arange(y.shape[1]),
                "n_outputs_": y.shape[1],
                "_is_multilabel": True,
            }
        classes = np.unique(y)
        return {
            "classes_": classes,
            "n_outputs_": len(classes),
            "_is_multilabel": False,
        }

    def _targets(self, y, state, recipe):
        smoothing = float(recipe.smoothing)
        gamma = float(self.focal_gamma) if self.loss == "focal" else 0.0
        if state["_is_multilabel"]:
            name = "binary_focal" if gamma else "binary_log_loss"
            parameters = (gamma,) if gamma else ()
            return Targets(
                name, y.astype(bool), y.shape[1], "labels", False, parameters, smoothing
            )
        classes = state["classes_"]
        codes = np.searchsorted(classes, y)
        unknown = (codes == len(classes)) | (
            classes[np.minimum(codes, len(classes) - 1)] != y
        )
        if unknown.any():
            raise ValueError(f"y_val has classes that y lacks: {np.unique(y[unknown])}")
        return Targets(
            "focal", codes.reshape(-1, 1), len(classes), "classes",
            parameters=(gamma, smoothing),
        )  # fmt: skip

    def _weigh_classes(self, sample_weight, y):
        if self.class_weight is None:
            return sample_weight
        weights = compute_sample_weight(self.class_weight, y)
        return weights if sample_weight is None else weights * sample_weight

    def _scorer(self, targets, y, weights, state):
        activation = OUTPUT_ACTIVATIONS[LOSSES[targets.loss].output_activation].value
        if self.scoring is None:
            value = LOSSES[targets.loss].value
            numbers, parameters = targets.for_kernels(), targets.parameters

            def score(outputs):
                # of epochs with as many errors, the one with the least loss
                loss = np.average(value(outputs, numbers, *parameters), weights=weights)
                return targets.score(activation(outputs), weights) - 1e-3 * loss

            return score
        scorer = (
            get_scorer(self.scoring) if isinstance(self.scoring, str) else self.scoring
        )
        more = {} if weights is None else {"sample_weight": weights}

        def score(outputs):
            probabilities = activation(outputs)
            known = _KnownClasses(
                self._labels(probabilities, state), probabilities, state["classes_"]
            )
            return float(scorer(known, np.zeros((len(y), 1)), y, **more))

        return score

    @staticmethod
    def _labels(probabilities, state):
        if state["_is_multilabel"]:
            return (probabilities > 0.5).astype(int)
        return state["classes_"][probabilities.argmax(axis=1)]

    def _sharpness(self, fit, targets, val_targets, weight_val, weights):
        if targets.kind != "classes":
            return 1.0
        tabular = _lazily("training.tabular")
        outputs, codes, chosen = [], [], []
        for member, held_out in zip(fit.members, fit.held_out, strict=False):
            if member.held_out is None or member.held_out.outputs is None:
                continue
            outputs.append(member.held_out.outputs)
            values = (
                val_targets.values if held_out is None else targets.values[held_out]
            )
            codes.append(values[:, 0].astype(int))
            if held_out is None:
                of_these = weight_val
            else:
                of_these = None if weights is None else weights[held_out]
            chosen.append(np.ones(len(values)) if of_these is None else of_these)
        if not outputs or not sum(map(np.sum, chosen)):
            return 1.0
        return tabular.sharpness_of(
            np.concatenate(outputs), np.concatenate(codes), np.concatenate(chosen)
        )

    def predict_proba(self, X):
        """Predict the probability of each class.

        Parameters
        ----------
        X : data frame, array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``; of several labels at once, the
            probability of each.
        """
        check_is_fitted(self)
        if not self.members_:
            return np.ones((len(self._columns.transform(X)), 1))
        return self._outputs(X)

    def predict(self, X):
        """Predict classes.

        Parameters
        ----------
        X : data frame, array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
        """
        state = (
            {name: getattr(self, name) for name in ("classes_", "_is_multilabel")}
            if hasattr(self, "classes_")
            else {}
        )
        return self._labels(self.predict_proba(X), state)


class TabularMLPRegressor(RegressorMixin, _TabularMLP):
    """Regressor for tables as they are."""

    _classifies = False

    _parameter_constraints: dict = {
        **_TabularMLP._parameter_constraints,
        "loss": [StrOptions(set(REGRESSION_LOSSES))],
        "huber_delta": [Interval(Real, 0, None, closed="neither")],
        "quantile": [Interval(Real, 0, 1, closed="neither"), "array-like"],
    }

    def __init__(
        self, preset="default", *, categorical_features="from_dtype",
        loss="squared_error", huber_delta=1.0, quantile=0.5, scoring=None,
        hidden_layer_sizes=None, activation=None, numeric_embedding=True,
        n_members=None, max_iter=None, batch_size=None, learning_rate_init=None,
        dropout=None, weight_decay=None, time_limit=None, n_jobs=None,
        random_state=None, verbose=False,
    ):  # fmt: skip
        self.preset = preset
        self.categorical_features = categorical_features
        self.loss = loss
        self.huber_delta = huber_delta
        self.quantile = quantile
        self.scoring = scoring
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.numeric_embedding = numeric_embedding
        self.n_members = n_members
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.dropout = dropout
        self.weight_decay = weight_decay
        self.time_limit = time_limit
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def _checked_targets(self, y, name="y"):
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name=name)
        return column_or_1d(y, warn=True) if y.ndim == 1 or y.shape[1] == 1 else y

    def _state_for(self, y, sample_weight):
        targets = number_targets(y, self.loss, quantile=self.quantile)
        values = y.reshape(len(y), -1)
        center = np.average(values, axis=0, weights=sample_weight)
        if self.loss in ("poisson", "gamma"):
            center, scale = np.zeros(values.shape[1]), np.where(center > 0, center, 1.0)
        else:
            spread = np.average((values - center) ** 2, axis=0, weights=sample_weight)
            scale = np.sqrt(spread)
            scale[scale == 0] = 1.0
        return {
            "n_outputs_": targets.n_outputs,
            "_center": center,
            "_scale": scale,
            "_lowest": values.min(axis=0),
            "_highest": values.max(axis=0),
        }

    def _targets(self, y, state, recipe):
        values = (y.reshape(len(y), -1) - state["_center"]) / state["_scale"]
        return number_targets(
            values, self.loss, huber_delta=self.huber_delta, quantile=self.quantile
        )

    def _scorer(self, targets, y, weights, state):
        if self.scoring is None:
            value, numbers = LOSSES[targets.loss].value, targets.for_kernels()

            def score(outputs):
                losses = value(outputs.astype(np.float64), numbers, *targets.parameters)
                return -np.average(losses, weights=weights)

            return score
        scorer = (
            get_scorer(self.scoring) if isinstance(self.scoring, str) else self.scoring
        )
        more = {} if weights is None else {"sample_weight": weights}
        activation = OUTPUT_ACTIVATIONS[LOSSES[targets.loss].output_activation].value

        def score(outputs):
            known = _KnownNumbers(self._numbers(activation(outputs), state))
            return float(scorer(known, np.zeros((len(y), 1)), y, **more))

        return score

    @staticmethod
    def _numbers(outputs, state):
        numbers = outputs * state["_scale"] + state["_center"]
        numbers = np.clip(numbers, state["_lowest"], state["_highest"])
        return numbers.ravel() if numbers.shape[1] == 1 else numbers

    def predict(self, X):
        """Predict numbers.

        Parameters
        ----------
        X : data frame, array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Within the range of the targets in fit.
        """
        return self._numbers(self._outputs(X), vars(self))


#: Attributes of a fit.
_FITTED = {
    "columns_", "n_features_in_", "feature_names_in_", "_columns", "_encoded",
    "members_", "n_iter_", "loss_curves_", "validation_score_", "_recipe_used",
    "_sharpness", "out_activation_", "classes_", "n_outputs_", "_is_multilabel",
    "_center", "_scale", "_lowest", "_highest",
}  # fmt: skip


@cache
def _lazily(module):
    """A module that needs kernels, whose import an interrupt must not cut in two."""
    return undisturbed(import_module, f"fastmlp.{module}")
