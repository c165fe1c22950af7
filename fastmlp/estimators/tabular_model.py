"""What estimators for tables share: from a table to networks, and back.

What needs kernels is imported when it is first used, so that ``import fastmlp`` is
quick.
"""

import math
import warnings
from contextlib import closing
from dataclasses import replace
from functools import cache, partial
from numbers import Integral, Real
from weakref import WeakKeyDictionary

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.metrics import get_scorer
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import (
    _check_sample_weight,
    _num_samples,
    check_is_fitted,
)

from fastmlp.data.columns import Columns
from fastmlp.data.moments import Spread
from fastmlp.estimators.in_pieces import FitsInPieces
from fastmlp.estimators.settings import StoresParameters
from fastmlp.estimators.streaming import is_source
from fastmlp.estimators.tabular_gradients import DifferentiableTables
from fastmlp.estimators.tabular_sources import encoded_source
from fastmlp.exceptions import UnusedParameterWarning
from fastmlp.native_threads import lazily
from fastmlp.persistence.saving import bare_copy
from fastmlp.persistence.tables import attributes_of_tables, state_of_tables
from fastmlp.tables.activations import ACTIVATIONS
from fastmlp.tables.encodings import (
    EMBEDDING,
    FLAG,
    NUMBER,
    ONE_HOT,
    Column,
    quantile_knots,
    smooth_clip,
)
from fastmlp.tables.losses import LOSSES, OUTPUT_ACTIVATIONS
from fastmlp.tables.recipes import PRESETS, for_samples, members_for
from fastmlp.tables.search_space import SPACE, draw_recipe

__all__ = ["TabularModel"]

#: Ensembles of fitted estimators that are not in use; not stored in the estimators, for
#: they hold addresses in this process.
_idle = WeakKeyDictionary()

#: Rows that quantiles are found by, at most.
_ROWS_FOR_KNOTS = 50_000

#: Configurations that ``tune=True`` draws.
_N_TUNED = 24

#: Held-out samples that are scored together.
_ROWS_AT_ONCE = 16_384


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


def _columns_for(columns, Z, recipe, knots_of):
    """What the network's first layer is told of each column of the matrix Z.

    knots_of : function of the number of a column.
    """
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
                    is_piecewise=recipe.embedding == "piecewise",
                    knots=knots_of(j) if recipe.scaling == "quantile" else None,
                )
            )
        elif levels - 1 <= recipe.one_hot_levels:
            counts = np.bincount(Z[:, j].astype(int), minlength=levels)[1:levels]
            values = _one_hot_values(counts / len(Z))
            told.append(Column(ONE_HOT, n_levels=levels, values=values))
        else:
            told.append(Column(EMBEDDING, n_levels=levels))
    return tuple(told)


class TabularPredictor:
    """See `TabularModel.predictor`.

    Parameters
    ----------
    model : TabularModel
        Fitted; not shared with others.
    """

    def __init__(self, model):
        self._model = model

    def __call__(self, X):
        """Predict a row, or several."""
        model = self._model
        is_row = (isinstance(X, np.ndarray) and X.ndim == 1) or (
            isinstance(X, list | tuple)
            and not any(isinstance(cell, list | tuple) for cell in X[:1])
        )
        if is_row:
            return model._finish(model._columns.transform_row(X))[0]
        return model._finish(model._columns.transform(X))


class TabularModel(FitsInPieces, DifferentiableTables, StoresParameters, BaseEstimator):
    """What both estimators share; not for use by itself."""

    #: Parameter -> the field of a recipe that it gives.
    _fields = {
        "hidden_layer_sizes": "widths",
        "activation": "activation",
        "numeric_scaling": "scaling",
        "max_iter": "n_epochs",
        "batch_size": "batch_size",
        "learning_rate_init": "rate",
        "dropout": "dropout",
        "weight_decay": "decay",
    }

    _parameter_constraints: dict = {
        "preset": [StrOptions(set(PRESETS))],
        "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
        "hidden_layer_sizes": ["array-like", None],
        "activation": [StrOptions(ACTIVATIONS.keys()), None],
        "numeric_scaling": [StrOptions({"robust", "quantile"}), None],
        "numeric_embedding": [StrOptions({"cosines", "piecewise"}), None],
        "n_members": [Interval(Integral, 1, None, closed="left"), None],
        "max_iter": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither"), None],
        "dropout": [Interval(Real, 0, 1, closed="left"), None],
        "weight_decay": [Interval(Real, 0, None, closed="left"), None],
        "scoring": [str, callable, None],
        "tune": ["boolean", Interval(Integral, 1, None, closed="left")],
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

    def __getstate__(self):
        return state_of_tables(super().__getstate__())

    def __setstate__(self, state):
        name = type(self).__name__
        super().__setstate__(attributes_of_tables(state, self._defaults(), name))

    # --- training ---------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X, y=None, sample_weight=None, *, X_val=None, y_val=None,
        sample_weight_val=None,
    ):  # fmt: skip
        """Fit the networks to a table and its targets.

        Parameters
        ----------
        X : data frame, array-like or sparse matrix of shape (n_samples, n_features)
            Columns of any kind: numbers, text, categories, truth values, dates; values
            may be missing. Or a source of `fastmlp.sources`, which has y and
            sample_weight as well; what is done with each column is decided by as many
            of its rows as its buffer holds.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Classes, or numbers of any scale. None only if X is a source.
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
        validation = X_val, y_val, sample_weight_val
        return lazily("engine.pieces").run_alone(
            self._pieces_of_fit(X, y, sample_weight, validation)
        )

    def _pieces_of_fit(self, X, y, sample_weight, validation, *, is_one_of_many=False):
        """`fit`, in pieces: see `engine.pieces`.

        validation : tuple
            X_val, y_val and sample_weight_val of `fit`.
        is_one_of_many : bool, default=False
            See `fastmlp.training.tabular.TabularFit`.
        """
        if is_source(X):
            return (yield from self._fit_source(X, y, sample_weight, validation))
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but "
                "the target y is None."
            )
        self._warn_of_unused_parameters()
        check_consistent_length(X, y)
        n_samples = _num_samples(X)
        if n_samples < 2:
            raise ValueError(
                f"Found array with {n_samples} sample(s) (n_samples={n_samples}) while "
                f"a minimum of 2 is required by {type(self).__name__}."
            )
        columns = self._new_columns().fit(X)
        Z = columns.transform(X)
        return (
            yield from self._fit_encoded(
                columns, Z, y, sample_weight, validation, is_one_of_many
            )
        )

    def _new_columns(self):
        return Columns(self.categorical_features, caller=type(self).__name__)

    def _fit_source(self, source, y, sample_weight, validation):
        """`fit` to the rows of a source."""
        if y is not None or sample_weight is not None:
            raise ValueError(
                "a source has its own y and sample_weight: call fit(source) without"
            )
        self._warn_of_unused_parameters()
        with encoded_source(source, self._new_columns()) as encoded:
            return (
                yield from self._fit_encoded(
                    encoded.columns, encoded.Z, encoded.y, encoded.sample_weight,
                    validation,
                )
            )  # fmt: skip

    def _fit_encoded(
        self, columns, Z, y, sample_weight, validation, is_one_of_many=False
    ):
        """`fit` to the matrix that columns make of a table."""
        y = self._checked_targets(y)
        check_consistent_length(Z, y)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(
                sample_weight, Z, ensure_non_negative=True
            )
        state = self._state_for(y, sample_weight)
        scoring_weight = sample_weight
        sample_weight = self._weigh_classes(sample_weight, y)
        if sample_weight is not None and not sample_weight.any():
            raise ValueError("all weights are 0: at least one sample must count")
        validation = self._validation_set(columns, state, *validation)
        state |= {
            "columns_": columns.columns_,
            "n_features_in_": columns.n_features_in_,
            "_columns": columns,
        }
        if hasattr(columns, "feature_names_in_"):
            state["feature_names_in_"] = columns.feature_names_in_
        if self._classifies and state["n_outputs_"] == 1:  # there is but one class
            state |= {"members_": [], "n_iter_": 0, "validation_score_": math.nan}
        else:
            state |= yield from self._train(
                state, Z, y, sample_weight, scoring_weight, validation, is_one_of_many
            )
        for name in getattr(self, "_fitted", ()):
            delattr(self, name)
        vars(self).update(state, _fitted=list(state))
        _idle.pop(self, None)
        return self

    def _warn_of_unused_parameters(self):
        for name, (loss, default) in self._of_losses.items():
            value = getattr(self, name)
            if self.loss != loss and np.any(value != default):
                _warn(
                    f"{name}={value!r} has no effect without loss={loss!r}.",
                    UnusedParameterWarning,
                )

    def _recipe(self, n_samples, n_numbers):
        """(recipe, number of networks) for a table with so many columns of numbers."""
        preset = PRESETS[self.preset]
        recipe = preset.classes if self._classifies else preset.numbers
        given = {field: getattr(self, name) for name, field in self._fields.items()}
        if given["widths"] is not None:
            given["widths"] = tuple(map(int, np.atleast_1d(given["widths"])))
            if min(given["widths"], default=1) <= 0:
                raise ValueError(
                    f"hidden_layer_sizes must be > 0, got {given['widths']}."
                )
        if self.numeric_embedding is None or n_numbers > recipe.most_columns:
            given["n_cosines"] = 0
        if self.numeric_embedding == "piecewise":
            given["embedding"] = "piecewise"
        chosen = {name: value for name, value in given.items() if value is not None}
        n_members = self.n_members or members_for(preset.n_members, n_samples)
        return replace(for_samples(recipe, n_samples), **chosen), n_members

    def _fit_of(self, *data, **how):
        """What trains the networks, see `fastmlp.training.tabular.TabularFit`."""
        return lazily("training.tabular").TabularFit(*data, **how)

    def _train(
        self, state, Z, y, sample_weight, scoring_weight, validation, is_one_of_many
    ):
        """The fitted attributes that training gives; in pieces."""
        columns = state["_columns"]
        n_numbers = int((columns.kinds_ == NUMBER).sum())
        recipe, n_members = self._recipe(len(Z), n_numbers)

        @cache
        def knots_of(j):
            return quantile_knots(Z[:: 1 + len(Z) // _ROWS_FOR_KNOTS, j])

        encoded = _columns_for(columns, Z, recipe, knots_of)
        targets = self._targets(y, state, recipe)
        X_val, y_val, weight_val = validation
        val_targets = None if X_val is None else self._targets(y_val, state, recipe)

        def score_for(samples):
            chosen = slice(None) if samples is None else samples
            if X_val is None:
                of_these, labels = targets.of(chosen), y[chosen]
                # the estimator's own score goes by the weights of classes, too
                weights = sample_weight if self.scoring is None else scoring_weight
            else:
                of_these, labels = val_targets.of(chosen), y_val[chosen]
                weights = weight_val
            weights = None if weights is None else weights[chosen]
            if weights is not None and not weights.any():
                weights = None  # all alike
            return self._scorer(of_these, labels, weights, state)

        progress = self._progress(n_members, recipe, len(Z))
        try:
            fit = self._fit_of(
                encoded, Z, targets, sample_weight, recipe, n_members,
                score_for, check_random_state(self.random_state), X_val=X_val,
                n_folds=PRESETS[self.preset].n_folds,
                n_jobs=self.n_jobs,
                time_limit=math.inf if self.time_limit is None else self.time_limit,
                events=progress.listeners[0] if progress.listeners else None,
                is_one_of_many=is_one_of_many,
            )  # fmt: skip
            yield from fit.run()
        finally:
            progress.close()
        if fit.interrupted:
            _warn("Training interrupted by user.")
        if not all(member.network.is_finite() for member in fit.members):
            raise ValueError(
                "Training diverged: weights are not finite. Lower learning_rate_init."
            )

        output = OUTPUT_ACTIVATIONS[LOSSES[targets.loss].output_activation]

        def temperature_of(fit):
            return self._temperature(
                fit, targets, val_targets, weight_val, scoring_weight
            )

        def held_out(fit):
            temperature = temperature_of(fit)

            def predictions_of(raw):
                values = output.value(raw.astype(np.float64) / temperature)
                return values.astype(raw.dtype)  # which take half the memory

            return fit.predict_held_out(predictions_of)

        def out_of_fold(predictions):
            """The attributes that predictions of held-out samples make."""
            if predictions is None or X_val is not None:
                return {}
            return self._shown_out_of_fold(predictions, targets, scoring_weight, state)

        def trained(fit):
            """The fitted attributes of a configuration."""
            return {
                **out_of_fold(held_out(fit)),
                "members_": [member.parameters() for member in fit.members],
                "n_iter_": max(len(m.history.loss_curve) for m in fit.members),
                "loss_curves_": [m.history.loss_curve for m in fit.members],
                "validation_score_": float(np.mean([m.score for m in fit.members])),
                "_recipe_used": fit.recipe,
                "_encoded": fit.columns,
                "temperature_": temperature_of(fit),
                "out_activation_": output.name,
            }

        if not self.tune or fit.interrupted:
            return trained(fit)

        rng = np.random.default_rng(fit.random_state.randint(2**31))
        given = self._fields.items()
        fixed = {field for name, field in given if getattr(self, name) is not None}
        if self.numeric_embedding == "piecewise":
            fixed.add("embedding")

        def draw():
            other = draw_recipe(fit.recipe, rng, fixed, self._classifies)
            if self.numeric_embedding is None or n_numbers > recipe.most_columns:
                other = replace(other, n_cosines=0)
            return other, _columns_for(columns, Z, other, knots_of)

        predictions = held_out(fit)
        if predictions is None:
            _warn(
                f"tune={self.tune} has no effect: there are too few samples to hold "
                "some out."
            )
            return trained(fit)
        known = np.flatnonzero(~np.isnan(predictions).any(axis=1))
        validated, weights = (
            (targets, sample_weight) if X_val is None else (val_targets, weight_val)
        )
        tuning = lazily("training.tuning").Tuning(
            fit, draw, _N_TUNED if self.tune is True else self.tune,
            predict_held_out=lambda fit: held_out(fit)[known],
            score=lambda means, chosen: score_for(known[chosen])(output.inverse(means)),
            loss=self._loss_of_means(validated.of(known), weights, known),
            deadline=fit.deadline,
        )  # fmt: skip
        if progress.listeners:
            line = lazily("training.progress").TuningProgress(tuning.n_trainings)
            tuning.training_ends = line.training_ends
            with closing(line):
                yield from tuning.run()
        else:
            yield from tuning.run()
        if tuning.interrupted:
            _warn("Training interrupted by user.")
        elif self.time_limit is not None and not any(
            c.is_complete for c in tuning.candidates[1:]
        ):
            _warn(
                f"tune={self.tune} has no effect: within time_limit={self.time_limit} "
                "no other configuration could be trained to the end."
            )
        predictions = np.full_like(predictions, np.nan)
        predictions[known] = tuning.predictions
        return out_of_fold(predictions) | self._of_tuning(tuning, trained, state)

    def _of_tuning(self, tuning, trained, state):
        """The fitted attributes of an ensemble of configurations."""
        chosen = [c for c in tuning.candidates if c.weight > 0]
        estimators = []
        for candidate in chosen:
            estimator = type(self)(**self.get_params(deep=False) | {"tune": False})
            fitted = state | trained(candidate.fit)
            vars(estimator).update(fitted, _fitted=list(fitted))
            estimators.append(estimator)
        tried = [c for c in tuning.candidates if c.n_members]
        # those without a score have diverged
        tried.sort(
            key=lambda c: (-c.n_members, -c.n_epochs, math.isnan(c.score), -c.score)
        )
        return {
            "estimators_": estimators,
            "weights_": np.array([candidate.weight for candidate in chosen]),
            "leaderboard_": {
                "weight": [c.weight for c in tried],
                "score": [c.score for c in tried],
                "n_members": [c.n_members for c in tried],
                "n_epochs": [c.n_epochs for c in tried],
                "seconds": [c.seconds for c in tried],
                **{
                    name: [getattr(c.fit.recipe, name) for c in tried] for name in SPACE
                },
            },
            "members_": [m for estimator in estimators for m in estimator.members_],
            "loss_curves_": [c for e in estimators for c in e.loss_curves_],
            "validation_score_": tuning.score_of_ensemble,
            "n_iter_": max(estimator.n_iter_ for estimator in estimators),
            "out_activation_": estimators[0].out_activation_,
        }

    def _scorer(self, targets, y, weights, state):
        """From raw outputs for samples to what their epoch is chosen by."""
        loss = LOSSES[targets.loss]
        predictions_of = OUTPUT_ACTIVATIONS[loss.output_activation].value
        if self.scoring is None:
            numbers, parameters = targets.for_kernels(), targets.parameters

            def own_score(outputs):
                losses = _by_blocks(
                    lambda z, y: loss.value(z, y, *parameters), outputs, numbers
                )
                mean = np.average(losses, weights=weights)
                predictions = _by_blocks(predictions_of, outputs)
                return self._own_score(predictions, mean, targets, weights)

            return own_score
        scorer = self.scoring if callable(self.scoring) else get_scorer(self.scoring)
        more = {} if weights is None else {"sample_weight": weights}
        X = np.zeros((len(y), 1))  # which nobody looks at

        def score(outputs):
            known = self._as_known(predictions_of(outputs), state)
            return float(scorer(known, X, y, **more))

        return score

    def _temperature(self, fit, targets, val_targets, weight_val, weights):
        return 1.0

    def _loss_of_means(self, targets, weights, samples):
        """What the ensemble of a tuned model is selected by; None for the score.

        From averaged predictions for some of `samples`, and which of them, to a loss.
        """
        return None

    def _progress(self, n_members, recipe, n_samples):
        progress = lazily("training.progress")
        shows = bool(self.verbose) and progress.shows_progress("progress")
        if self.verbose and not shows:
            _warn("verbose needs tqdm (pip install tqdm): nothing is shown instead.")
        return progress.Progress(n_members * recipe.n_epochs, n_samples if shows else 0)

    def _weigh_classes(self, sample_weight, y):
        return sample_weight

    def _validation_set(self, columns, state, X_val, y_val, sample_weight):
        if X_val is None and y_val is None:
            if sample_weight is not None:
                raise ValueError("sample_weight_val needs X_val and y_val")
            return None, None, None
        if is_source(X_val):
            with encoded_source(X_val, columns, fits=False) as encoded:
                # in memory, as its outputs are
                X_val, sample_weight = np.array(encoded.Z), encoded.sample_weight
                return X_val, self._checked_targets(encoded.y, "y_val"), sample_weight
        if X_val is None or y_val is None:
            raise ValueError("X_val and y_val must be given together")
        Z = columns.transform(X_val)
        y_val = self._checked_targets(y_val, "y_val")
        check_consistent_length(Z, y_val)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, Z)
        return Z, y_val, sample_weight

    # --- prediction ---------------------------------------------------------------

    def _predictions_of(self, X, method, return_std):
        """What a method gives for X, and with `return_std` how far networks differ."""
        check_is_fitted(self)
        if is_source(X):
            return self._for_source(X, partial(method, return_std=return_std))
        Z = self._columns.transform(X)
        predictions = self._finish(Z)
        if not return_std:
            return predictions
        if not self.members_:  # one class
            return predictions, np.zeros_like(predictions)
        return predictions, self._spread_of(Z)

    def _for_source(self, source, method):
        """An iterator of what a method gives for the rows of a source."""
        check_is_fitted(self)
        return (method(chunk.X) for chunk in source.chunks("T"))

    def _outputs_of(self, Z):
        if hasattr(self, "estimators_"):
            every = zip(self.weights_, self.estimators_, strict=True)
            return sum(weight * each._outputs_of(Z) for weight, each in every)
        idle = _idle.setdefault(self, [])
        try:
            ensemble = idle.pop()
        except IndexError:
            ensemble = self._ensemble()
        outputs = ensemble(Z, self.n_jobs)
        idle.append(ensemble)
        return outputs

    def _spread_of(self, Z):
        """How far the predictions of the networks differ: their standard deviation."""
        spread = Spread()
        parts = [(1.0, self)]
        if hasattr(self, "estimators_"):
            parts = zip(self.weights_, self.estimators_, strict=True)
        for weight, model in parts:
            for network in model.members_:
                single = bare_copy(model)
                single.members_ = [network]
                spread.add(single._finish(Z), weight / len(model.members_))
        return spread.deviation()

    def _ensemble(self):
        recipe = self._recipe_used
        layers = lazily("training.member").layers_for(
            self._encoded, self.n_outputs_, recipe
        )
        return lazily("engine.ensemble").Ensemble(
            layers, self.members_, [recipe.activation] * len(recipe.widths),
            self.out_activation_, self.temperature_,
        )  # fmt: skip

    def predictor(self):
        """A function that predicts one row, or a few, in the least time.

        For a service that answers one request after the other.

        Returns
        -------
        callable
            ``predictor(row)`` takes the cells of a row, as a list, tuple or array of
            shape (n_features,), in the order of columns in fit, and returns the one row
            of what `predict_proba` gives (of a regressor: `predict`). It takes tables
            of several rows, too. Another fit does not change it. Several threads may
            call it at once.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        """
        check_is_fitted(self)
        return TabularPredictor(bare_copy(self))

    def summary(self):
        """What was done with each column of X, as a table to be read.

        Returns
        -------
        str
        """
        check_is_fitted(self)
        return self._columns.summary()


def _by_blocks(function, *arrays):
    """A function of rows, of some at a time: what it needs meanwhile can be much."""
    blocks = range(0, len(arrays[0]), _ROWS_AT_ONCE)
    return np.concatenate(
        [function(*(array[i : i + _ROWS_AT_ONCE] for array in arrays)) for i in blocks]
    )


def _warn(message, category=UserWarning):
    # attributed to this module: one pattern filters them, wherever fit is called
    warnings.warn(message, category, stacklevel=2)
