"""What estimators for arrays share, of one network or of several.

What X may be, what y means, and from a network's outputs to predictions.
"""

import warnings
from contextlib import contextmanager

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_array

# Not public in scikit-learn, but the only way to its own error.
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.validation import (
    _check_sample_weight,
    column_or_1d,
    validate_data,
)

from fastmlp.data.inputs import explained, numbers_only
from fastmlp.data.samples import compressed_rows
from fastmlp.data.scaling import wild_columns
from fastmlp.data.targets import (
    PLAIN_LABELS,
    are_indicators,
    class_targets,
    number_targets,
    quantile_score,
)
from fastmlp.estimators.gradients import DifferentiableModel
from fastmlp.estimators.in_pieces import FitsInPieces
from fastmlp.estimators.settings import StoresParameters
from fastmlp.exceptions import ScaleWarning
from fastmlp.persistence.saving import attributes_of, state_of

__all__ = ["NetworkEstimator", "as_numbers", "as_probabilities"]

#: What X may be.
_INPUT = {"accept_sparse": ["csr", "csc"], "dtype": (np.float64, np.float32)}


class NetworkEstimator(
    DifferentiableModel, FitsInPieces, StoresParameters, BaseEstimator
):
    """Checks of data, and predictions from `_outputs`; not for use by itself."""

    def _validate_params(self):
        try:
            super()._validate_params()
        except InvalidParameterError as error:
            loss = getattr(self, "loss", "")
            for name in ("activation", "loss"):
                if f"The {name!r} parameter" in str(error) and isinstance(
                    getattr(self, name), str
                ):
                    raise InvalidParameterError(
                        f"{error} One of your own? Register it first: "
                        f"fastmlp.register_{name}."
                    ) from None
            if isinstance(loss, str):
                raise
            # the first argument of scikit-learn's MLPRegressor, but not of its others
            raise InvalidParameterError(
                f"{error} Did you mean hidden_layer_sizes={loss!r}?"
            ) from None

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __getstate__(self):
        return state_of(super().__getstate__())

    def __setstate__(self, state):
        super().__setstate__(attributes_of(state, self._defaults()))

    def _hidden_layers(self):
        """Units of the hidden layers."""
        hidden = self.hidden_layer_sizes
        hidden = list(hidden) if hasattr(hidden, "__iter__") else [hidden]
        if np.any(np.array(hidden) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {hidden}.")
        return hidden

    # --- data -----------------------------------------------------------------------

    def _checked(self, X, *y, **how):
        """X, or (X, y), by scikit-learn's validation, with messages of our own."""
        X = numbers_only(X)
        with explained(X):
            return validate_data(self, X, *y, **_INPUT, **how)

    @staticmethod
    def _checked_as_a_whole(X):
        """See `FitsInPieces`; None if it is not sure that all rows are good."""
        is_frame = hasattr(X, "columns") and hasattr(X, "dtypes")
        if not (type(X) in (np.ndarray, np.memmap) or is_frame or issparse(X)):
            return None
        try:
            X = check_array(numbers_only(X), **_INPUT)
            return compressed_rows(X) if issparse(X) else np.ascontiguousarray(X)
        except (TypeError, ValueError):
            return None

    def _checked_samples(
        self, X, y, sample_weight, *, classifies, reset, rows=None, checked=None,
        source=None,
    ):  # fmt: skip
        """(X, y, sample_weight), checked: X as a matrix of rows, y without a column.

        rows : those of X that y and sample_weight are of; None for all.
        checked : what `_checked_as_a_whole` gives for X, which then has but the names
            of the features.
        """
        of_y = {"multi_output": True, "y_numeric": not classifies}
        if (
            checked is None
            and not reset
            and self._is_plain(X)
            and not hasattr(self, "feature_names_in_")
            and _is_plain_target(y, classifies)
            and len(X) == len(y)
        ):
            pass
        elif checked is None:
            X, y = self._checked(X, y, **of_y, reset=reset)
        else:
            if not _is_plain_target(y, classifies):
                y = validate_data(self, "no_validation", y, **of_y)
            # afterwards, for it is what sets the names of the features
            if source is None:
                validate_data(self, X, skip_check_array=True, reset=reset)
            else:
                self._take_features(source, reset=reset)
            X = checked
        if sample_weight is not None:
            sample_weight = _check_sample_weight(
                sample_weight, X if rows is None else rows
            )
            if sample_weight.sum() == 0:
                raise ValueError(
                    "sample_weight sums to zero: at least one sample must count"
                )
        X = compressed_rows(X) if issparse(X) else X
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, y, sample_weight

    def _warn_of_wild_columns(self, X):
        columns = wild_columns(X, getattr(self, "feature_names_in_", None))
        if columns is not None:
            _warn(
                f"The columns of X differ wildly in scale: {columns}. A network learns "
                "slowly, or not at all, from such data. Set standardize=True, or put "
                "a scaler before it: make_pipeline(StandardScaler(), "
                f"{type(self).__name__}(...)).",
                ScaleWarning,
            )

    @contextmanager
    def _features_restored_on_failure(self):
        """validate_data writes them before anything else can fail."""
        names = ("n_features_in_", "feature_names_in_")
        before = {name: vars(self)[name] for name in names if name in vars(self)}
        try:
            yield
        except BaseException:
            for name in names:
                vars(self).pop(name, None)
            vars(self).update(before)
            raise

    def _targets(self, y, binarizer, scaling, name="y"):
        """Targets of checked y, by the loss that is asked for."""
        loss = self.loss
        if binarizer is None:
            loss = "squared_error" if loss == "auto" else loss
            return number_targets(
                scaling.scale_y(y),
                loss,
                huber_delta=self.huber_delta,
                quantile=self.quantile,
                name=name,
            )
        loss = "log_loss" if loss == "auto" else loss
        return class_targets(
            y, binarizer, loss, gamma=self.focal_gamma, smoothing=self.label_smoothing
        )

    # --- prediction ---------------------------------------------------------------

    def _plain(self, X):
        """X to predict, checked."""
        names = getattr(self, "feature_names_in_", None)
        plain = X if names is None else _numbers_of_frame(X, names)
        return plain if self._is_plain(plain) else self._checked(X, reset=False)

    def _is_plain(self, X):
        """Whether it is seen at a glance that `validate_data` lets X pass as it is.

        That takes it longer than to predict some rows, or to train on them.
        """
        return (
            type(X) is np.ndarray
            and X.dtype in (np.float32, np.float64)
            and X.ndim == 2
            and len(X) > 0
            and X.shape[1] == getattr(self, "n_features_in_", None)
            and bool(np.isfinite(X).all())
        )

    def _predict_labels(self, X):
        outputs = self._outputs(X)
        if self.n_outputs_ == 1:
            outputs = outputs.ravel()
        binarizer = self._label_binarizer
        if binarizer.y_type_ == "multiclass" and not binarizer.sparse_input_:
            # the same, in a fraction of the time
            return binarizer.classes_.take(outputs.argmax(axis=1), mode="clip")
        return binarizer.inverse_transform(outputs)

    def _predict_numbers(self, X):
        outputs = self._outputs(X)
        if not np.isfinite(outputs).all():
            count = int((~np.isfinite(outputs)).any(axis=1).sum())
            _warn(
                f"{count} of {len(outputs)} predictions are not finite: the network's "
                "outputs are beyond the range of numbers. Most often the fit diverged, "
                "or X is far from the data of the fit: scale X and y, or lower "
                "learning_rate_init.",
                ScaleWarning,
            )
        return as_numbers(outputs)

    def _score_numbers(self, X, y, sample_weight):
        if self.loss == "quantile" and np.ndim(self.quantile) > 0:
            predictions = self.predict(X).reshape(-1, self.n_outputs_)
            if self.n_outputs_ != len(self.quantile):
                raise ValueError(
                    f"fitted with {self.n_outputs_} quantiles, quantile is now "
                    f"{self.quantile!r}: fit it again"
                )
            return quantile_score(y, predictions, self.quantile, sample_weight)
        if (
            sample_weight is None
            and type(y) is np.ndarray
            and y.dtype == np.float64
            and y.ndim == 1
            and len(y) > 1
        ):
            predicted = self.predict(X)
            if predicted.shape == y.shape:
                # r2_score, which takes longer to look at y than a small network to
                # predict it
                with np.errstate(all="ignore"):
                    errors = ((y - predicted) ** 2).sum()
                    score = 1 - errors / ((y - np.average(y)) ** 2).sum()
                if np.isfinite(score):
                    return float(score)
        return RegressorMixin.score(self, X, y, sample_weight)

    def _score_labels(self, X, y, sample_weight):
        classes = self.classes_
        multilabel = self._label_binarizer.y_type_.startswith("multilabel")
        if sample_weight is None and multilabel and are_indicators(y):
            predicted = self.predict(X)
            if type(predicted) is np.ndarray and predicted.shape == y.shape:
                return float(np.average((y == predicted).all(axis=1)))
        if (
            sample_weight is None
            and type(y) is np.ndarray
            and y.ndim == classes.ndim == 1
            and y.dtype.kind == classes.dtype.kind
            and y.dtype.kind in PLAIN_LABELS
            and 2 * len(classes) <= len(y)
            and not multilabel
        ):
            predicted = self.predict(X)
            if predicted.shape == y.shape:
                # accuracy_score, which takes longer to look at labels than a small
                # network to predict them
                return float(np.average(y == predicted))
        return ClassifierMixin.score(self, X, y, sample_weight)

    def _predict_probabilities(self, X):
        return as_probabilities(self._outputs(X))


def _numbers_of_frame(X, names):
    """A pandas data frame with these columns, of NumPy's dtypes, as an array, or None.

    names : ndarray of str
    """
    columns = getattr(X, "columns", None)
    if not (hasattr(X, "to_numpy") and hasattr(columns, "to_numpy")):
        return None
    is_known = np.array_equal(columns.to_numpy(), names)
    if is_known and all(isinstance(dtype, np.dtype) for dtype in X.dtypes):
        return X.to_numpy()
    return None


def _is_plain_target(y, classifies):
    """Whether it is seen at a glance that checks of y would let it pass as it is."""
    return (
        type(y) is np.ndarray
        and y.ndim == 1
        and y.dtype.kind in (PLAIN_LABELS if classifies else "fiu")
        and (classifies or bool(np.isfinite(y).all()))
    )


def as_numbers(outputs):
    """Outputs of a regressor as its predictions."""
    return outputs.ravel() if outputs.shape[1] == 1 else outputs


def as_probabilities(outputs):
    """Outputs of a classifier as one column for each class."""
    return np.hstack([1 - outputs, outputs]) if outputs.shape[1] == 1 else outputs


def _warn(message, category):
    # attributed to this module: one pattern filters them, wherever fit is called
    warnings.warn(message, category, stacklevel=2)
