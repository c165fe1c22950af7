"""Estimators for tables as they are: columns of any kind, missing values, any scale."""

import inspect
import textwrap
from numbers import Real

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

from fastmlp.data.cells import is_missing
from fastmlp.data.targets import Targets, number_targets
from fastmlp.estimators.streaming import is_source
from fastmlp.estimators.tabular_model import TabularModel
from fastmlp.native_threads import lazily
from fastmlp.tables.losses import (
    BINARY,
    CLASSIFICATION_LOSSES,
    LOSSES,
    REGRESSION_LOSSES,
    predicts_exponentials,
)

__all__ = ["TabularMLPClassifier", "TabularMLPRegressor"]

_TEXTS = {
    "preset": """\
    preset : {'fast', 'default', 'best', 'realmlp-td', 'realmlp-td-s'}, \
            default='default'
        How much time to spend: the size of the networks, how long they are trained, and
        how many there are. All parameters that are None are chosen by it, and by the
        number of samples. The last two are the authors' RealMLP, to compare with.
    categorical_features : array-like of {bool, int, str}, 'from_dtype' or None, \
            default='from_dtype'
        Columns of numbers that stand for categories: a mask, indices, or names. With
        'from_dtype', those are categories whose dtype in a data frame says so. Text is
        always a category.
""",
    "settings": """\
    scoring : str, callable or None, default=None
        What the best epoch of each network is chosen by: a scorer of scikit-learn or
        its name. None stands for the share of right predictions, and for the loss
        where that is equal; of a regression, for the loss.
    hidden_layer_sizes : array-like of int, default=None
        Units of the hidden layers.
    activation : str, default=None
        Activation function of the hidden layers, such as 'selu', 'mish' or 'relu'. Each
        unit has a parameter that turns it from the function to the identity.
    numeric_scaling : {'robust', 'quantile'} or None, default=None
        How numbers are scaled: by their median and quartiles, and smoothly clipped, or
        by their ranks, so that they are normally distributed. None for 'robust', or,
        with `tune`, for either.
    numeric_embedding : {'cosines', 'piecewise'} or None, default='cosines'
        What else enters the networks for each number, beside itself: a few trainable
        functions of it, made of cosines, or linear between quantiles; or nothing. With
        `tune` and 'cosines', some configurations have the others.
    n_members : int, default=None
        Networks whose predictions are averaged. Each is trained on 7/8 of the samples,
        and validated on the rest, which is another eighth each time.
    max_iter : int, default=None
        Epochs of each network.
    batch_size : int, default=None
        Samples in a mini-batch.
    learning_rate_init : float, default=None
        The largest learning rate, for the weights of a unit with one input; for n
        inputs, it is divided by the square root of n.
    dropout : float, default=None
        The largest dropout rate of the units of hidden layers. It is lowered to 0 in
        the second half of the training.
    weight_decay : float, default=None
        The largest decoupled weight decay, lowered likewise.
    tune : bool or int, default=False
        Number of further configurations to try, drawn at random around the preset; True
        means 24. The better ones are averaged, with weights that are best for held-out
        samples. What parameters give is not tuned. See also `time_limit`.
    time_limit : float, default=None
        Seconds that fit should take at most. It trains fewer epochs, or fewer networks,
        or tries fewer configurations, if that is needed; results then depend on the
        speed of the machine.
    n_jobs : int or None, default=None
        Number of threads of a fit or predict. None means as many as are worthwhile;
        -1 means all cores. Results are bitwise the same for any number.
    random_state : int, RandomState instance or None, default=None
        Source of the initial weights, shuffles, dropout, and of what is held out.
    verbose : bool, int or 'progress', default=False
        'progress' shows one live line; it needs tqdm (extra ``progress``). True is the
        same.
""",
    "attributes": """\
    columns_ : list of InputColumn
        What was done with each column of X: fields `name`, `kind`, `positions` and
        `note`. See also the method `summary`.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if X has names.
    members_ : list of dict
        The parameters of each network: name of a group -> list of arrays.
    estimators_, weights_ : list of estimator, ndarray of shape (n_estimators,)
        With `tune`: the configurations whose predictions are averaged, best first, and
        their weights.
    leaderboard_ : dict of list
        With `tune`: a column of a table for each thing to be known of the
        configurations that were tried, best first. ``pandas.DataFrame(leaderboard_)``
        shows it.
    n_outputs_ : int
        Output units of each network.
    out_activation_ : str
        Activation function of the outputs.
    loss_curves_ : list of list of float
        Training loss of each epoch, of each network.
    validation_score_ : float
        Score on samples that were held out, in the best epoch, averaged over networks.
    oof_score_ : float
        Score of the out-of-fold predictions: the share of right ones, or R^2. Like
        them, it is not set if fit is given X_val, nor for fewer than 20 samples.
    n_iter_ : int
        Epochs of the network that was trained longest.
""",
    "references": """\
    Holzmüller, Grinsztajn and Steinwart, "Better by default: strong pre-tuned MLPs and
    boosted trees on tabular data", NeurIPS (2024).

    Gorishniy, Rubachev and Babenko, "On embeddings for numerical features in tabular
    deep learning", NeurIPS (2022).
""",
}


def _documented(cls):
    """Fill the shared texts into the docstring of an estimator class."""
    if cls.__doc__:  # Python -OO has none
        text = inspect.cleandoc(cls.__doc__)
        for name, shared in _TEXTS.items():
            text = text.replace(f"%({name})s", textwrap.dedent(shared).rstrip())
        cls.__doc__ = text
    return cls


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


@_documented
class TabularMLPClassifier(ClassifierMixin, TabularModel):
    """Classifier for tables as they are, with categories and missing values.

    Networks after RealMLP: numbers are scaled robustly, clipped smoothly, and embedded;
    categories become one-hot codes or embeddings; missing values need no imputation.
    What was done with each column, `summary` says.

    Parameters
    ----------
    %(preset)s
    loss : {'log_loss', 'focal'}, default='log_loss'
        Loss function, see `MLPClassifier`.
    focal_gamma : float, default=2.0
        Exponent of ``loss='focal'``.
    label_smoothing : float, default=None
        Fraction of each target that is spread evenly over all classes. Probabilities
        are calibrated by held-out samples afterwards.
    class_weight : dict, 'balanced' or None, default=None
        Weights of the classes, which multiply those of the samples. 'balanced' means
        n_samples / (n_classes * number of samples of the class).
    %(settings)s

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels, or numbers of the columns of y for several labels at once.
    temperature_ : float
        What outputs of all networks are divided by, so that the log loss of held-out
        samples is least; with `tune`, each of `estimators_` has its own instead.
    oof_decision_function_ : ndarray of shape (n_samples, n_classes)
        Probabilities of the training samples, out of fold: of each, the mean over the
        networks that held it out; NaN if there is none.
    %(attributes)s

    See Also
    --------
    TabularMLPRegressor : The same for numbers.
    MLPClassifier : One network, with scikit-learn's parameters, for arrays of numbers.

    References
    ----------
    %(references)s

    Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML
    (2017).

    Examples
    --------
    >>> import pandas as pd
    >>> from fastmlp import TabularMLPClassifier
    >>> X = pd.DataFrame({
    ...     "city": ["Bern", "Basel", None, "Bern"] * 25,
    ...     "size": [50.0, 80.0, 120.0, None] * 25,
    ... })
    >>> y = ["low", "high", "high", "low"] * 25
    >>> clf = TabularMLPClassifier("fast", random_state=0).fit(X, y)
    >>> clf.predict(X[:2]).tolist()
    ['low', 'high']
    """

    _classifies = True
    _fields = TabularModel._fields | {"label_smoothing": "smoothing"}
    #: Parameter -> the loss that it needs, and its default.
    _of_losses = {"focal_gamma": ("focal", 2.0)}

    _parameter_constraints: dict = {
        **TabularModel._parameter_constraints,
        "loss": [StrOptions(CLASSIFICATION_LOSSES)],
        "focal_gamma": [Interval(Real, 0, None, closed="left")],
        "label_smoothing": [Interval(Real, 0, 1, closed="left"), None],
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self, preset="default", *, categorical_features="from_dtype", loss="log_loss",
        focal_gamma=2.0, label_smoothing=None, class_weight=None, scoring=None,
        hidden_layer_sizes=None, activation=None, numeric_scaling=None,
        numeric_embedding="cosines", n_members=None, max_iter=None, batch_size=None,
        learning_rate_init=None, dropout=None, weight_decay=None, tune=False,
        time_limit=None, n_jobs=None, random_state=None, verbose=False,
    ):  # fmt: skip
        self._store(locals())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.target_tags.multi_output = False
        return tags

    def _checked_targets(self, y, name="y"):
        if not issparse(y):
            y = np.asarray(y)
            if y.dtype.kind == "O" and any(is_missing(label) for label in y.ravel()):
                raise ValueError(
                    f"{name} has missing values: leave out samples without a label"
                )
        y = check_array(
            y, ensure_2d=False, dtype=None, input_name=name, accept_sparse="csr"
        )
        try:
            check_classification_targets(y)
            np.unique(y if y.dtype.kind == "O" else ())
        except TypeError as error:
            raise ValueError(f"{name} has labels of several types: {error}") from error
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
        is_own = LOSSES[self.loss].registered is not None
        if state["_is_multilabel"]:
            # without its exponent, the focal loss is the log loss
            choice = self.loss if is_own or gamma else "log_loss"
            name, parameters = BINARY + choice, (gamma,) if gamma else ()
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
        name, parameters = "focal", (gamma, smoothing)
        if is_own:
            name, parameters = self.loss, (smoothing,)
        return Targets(
            name, codes.reshape(-1, 1), len(classes), "classes", parameters=parameters
        )

    def _weigh_classes(self, sample_weight, y):
        if self.class_weight is None:
            return sample_weight
        weights = compute_sample_weight(self.class_weight, y)
        return weights if sample_weight is None else weights * sample_weight

    def _own_score(self, predictions, loss, targets, weights):
        # of epochs with as many errors, the one with the least loss
        return targets.score(predictions, weights) - 1e-3 * loss

    def _loss_of_means(self, targets, weights, samples):
        if self.scoring is not None:
            return None
        weights = np.ones(len(samples)) if weights is None else weights[samples]

        def brier_loss(probabilities, chosen):
            """By chance, it is lower less often than the share of wrong classes."""
            truth = targets.values[chosen]
            if targets.kind == "classes":
                truth = np.eye(probabilities.shape[1])[truth[:, 0].astype(int)]
            losses = ((probabilities - truth) ** 2).sum(axis=1)
            of_chosen = weights[chosen]
            return np.average(losses, weights=of_chosen if of_chosen.any() else None)

        return brier_loss

    def _as_known(self, predictions, state):
        labels = self._labels(predictions, state)
        return _KnownClasses(labels, predictions, state["classes_"])

    @staticmethod
    def _labels(probabilities, state):
        if state["_is_multilabel"]:
            return (probabilities > 0.5).astype(int)
        return state["classes_"][probabilities.argmax(axis=1)]

    def _temperature(self, fit, targets, val_targets, weight_val, weights):
        if targets.kind != "classes":
            return 1.0
        tabular = lazily("training.tabular")
        outputs, codes, chosen = [], [], []
        found = fit.outputs_of_held_out()
        enough = tabular.to_calibrate([len(raw) for raw, _ in found])
        for (raw, samples), some in zip(found, enough, strict=True):
            known, of_these = targets, weights
            if samples is None:
                known, of_these, samples = val_targets, weight_val, np.arange(len(raw))
            samples = samples[some]
            outputs.append(raw[some].astype(np.float64))
            codes.append(known.values[samples, 0].astype(int))
            ones = np.ones(len(samples))
            chosen.append(ones if of_these is None else of_these[samples])
        if not outputs or not sum(map(np.sum, chosen)):
            return 1.0
        return tabular.temperature_of(
            np.concatenate(outputs), np.concatenate(codes), np.concatenate(chosen)
        )

    def _shown_out_of_fold(self, outputs, targets, weights, state):
        score = lazily("training.folds").score_of_held_out(outputs, targets, weights)
        # of many samples and classes, they should not take much memory
        probabilities = outputs.astype(np.float32, copy=False)
        return {"oof_decision_function_": probabilities, "oof_score_": score}

    def predict_proba(self, X, return_std=False):
        """Predict the probability of each class.

        Parameters
        ----------
        X : data frame, array-like or sparse matrix of shape (n_samples, n_features)
            Or a source of `fastmlp.sources`: then an iterator of these is returned.
        return_std : bool, default=False
            Whether to return the standard deviation of the networks' probabilities,
            too. It takes a few times as long.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``; of several labels at once, the
            probability of each.
        std : ndarray of shape (n_samples, n_classes)
            Only with `return_std`. How much the networks disagree.
        """
        return self._predictions_of(X, self.predict_proba, return_std)

    def _finish(self, Z):
        """Probabilities for the matrix that `Columns` make of a table."""
        return self._outputs_of(Z) if self.members_ else np.ones((len(Z), 1))

    def predict(self, X):
        """Predict classes.

        Parameters
        ----------
        X : data frame, array-like or sparse matrix of shape (n_samples, n_features)
            Or a source of `fastmlp.sources`: then an iterator of these is returned.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
        """
        if is_source(X):
            return self._for_source(X, self.predict)
        probabilities = self.predict_proba(X)
        return self._labels(probabilities, vars(self))

    def predict_log_proba(self, X):
        """Predict the logarithm of the probability of each class.

        Parameters
        ----------
        X : data frame, array-like or sparse matrix of shape (n_samples, n_features)
            Or a source of `fastmlp.sources`: then an iterator of these is returned.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        if is_source(X):
            return self._for_source(X, self.predict_log_proba)
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))


@_documented
class TabularMLPRegressor(RegressorMixin, TabularModel):
    """Regressor for tables as they are, with categories and missing values.

    Networks after RealMLP, see `TabularMLPClassifier`. Targets may have any scale;
    predictions stay within the range of the targets in fit.

    Parameters
    ----------
    %(preset)s
    loss : str, default='squared_error'
        'squared_error', 'absolute_error', 'huber', 'quantile', 'poisson' or 'gamma';
        see `MLPRegressor`.
    huber_delta : float, default=1.0
        Size of an error, in standard deviations of y, at which ``loss='huber'`` turns
        from quadratic to linear.
    quantile : float or list of float, default=0.5
        Quantile to predict with ``loss='quantile'``. With a list, the networks predict
        all of them, in one column each.
    %(settings)s

    Attributes
    ----------
    oof_prediction_ : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Predictions for the training samples, out of fold: of each, the mean over the
        networks that held it out; NaN if there is none.
    %(attributes)s

    See Also
    --------
    TabularMLPClassifier : The same for classes.
    MLPRegressor : One network, with scikit-learn's parameters, for arrays of numbers.

    References
    ----------
    %(references)s

    Examples
    --------
    >>> import pandas as pd
    >>> from fastmlp import TabularMLPRegressor
    >>> X = pd.DataFrame({"rooms": [1, 2, 3, None] * 25, "garden": [True, False] * 50})
    >>> y = 100_000 * X["rooms"].fillna(2) + 50_000 * X["garden"]
    >>> model = TabularMLPRegressor("fast", random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.9
    True
    """

    _classifies = False
    _of_losses = {
        "huber_delta": ("huber", 1.0),
        "quantile": ("quantile", 0.5),
    }

    _parameter_constraints: dict = {
        **TabularModel._parameter_constraints,
        "loss": [StrOptions(REGRESSION_LOSSES)],
        "huber_delta": [Interval(Real, 0, None, closed="neither")],
        "quantile": [Interval(Real, 0, 1, closed="neither"), "array-like"],
    }

    def __init__(
        self, preset="default", *, categorical_features="from_dtype",
        loss="squared_error", huber_delta=1.0, quantile=0.5, scoring=None,
        hidden_layer_sizes=None, activation=None, numeric_scaling=None,
        numeric_embedding="cosines", n_members=None, max_iter=None, batch_size=None,
        learning_rate_init=None, dropout=None, weight_decay=None, tune=False,
        time_limit=None, n_jobs=None, random_state=None, verbose=False,
    ):  # fmt: skip
        self._store(locals())

    def _checked_targets(self, y, name="y"):
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name=name)
        return column_or_1d(y, warn=True) if y.ndim == 1 or y.shape[1] == 1 else y

    def _state_for(self, y, sample_weight):
        targets = number_targets(y, self.loss, quantile=self.quantile)
        values = y.reshape(len(y), -1)
        center = np.average(values, axis=0, weights=sample_weight)
        if predicts_exponentials(self.loss):
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

    def _own_score(self, predictions, loss, targets, weights):
        return -loss

    def _shown_out_of_fold(self, outputs, targets, weights, state):
        numbers = self._numbers(outputs, state)
        within = (numbers.reshape(outputs.shape) - state["_center"]) / state["_scale"]
        score = lazily("training.folds").score_of_held_out(within, targets, weights)
        return {"oof_prediction_": numbers, "oof_score_": score}

    def _as_known(self, predictions, state):
        return _KnownNumbers(self._numbers(predictions, state))

    @staticmethod
    def _numbers(outputs, state):
        numbers = outputs * state["_scale"] + state["_center"]
        numbers = np.minimum(np.maximum(numbers, state["_lowest"]), state["_highest"])
        return numbers.ravel() if numbers.shape[1] == 1 else numbers

    def _slopes_of_numbers(self, outputs):
        numbers = outputs * self._scale + self._center
        return self._scale * ((numbers > self._lowest) & (numbers < self._highest))

    def predict(self, X, return_std=False):
        """Predict numbers.

        Parameters
        ----------
        X : data frame, array-like or sparse matrix of shape (n_samples, n_features)
            Or a source of `fastmlp.sources`: then an iterator of these is returned.
        return_std : bool, default=False
            Whether to return the standard deviation of the networks' predictions, too.
            It takes a few times as long.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Within the range of the targets in fit.
        std : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Only with `return_std`. How much the networks disagree: not how far the
            targets are from the predictions.
        """
        return self._predictions_of(X, self.predict, return_std)

    def _finish(self, Z):
        """Numbers for the matrix that `Columns` make of a table."""
        return self._numbers(self._outputs_of(Z), vars(self))
