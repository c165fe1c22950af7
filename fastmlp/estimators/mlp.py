"""The estimators: constructors, tasks, tags, predict and score; no numerics."""

import warnings

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin, _fit_context
from sklearn.utils import ClassifierTags, RegressorTags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted

from fastmlp.estimators.parameters import (
    ANY_LOSS,
    CLASSIFICATION_LOSS,
    CONSTRAINTS,
    OF_CLASSIFICATION,
    OF_REGRESSION,
    REGRESSION_LOSS,
    TASK,
    documented,
)
from fastmlp.estimators.perceptron import MultiLayerPerceptron
from fastmlp.estimators.streaming import is_source
from fastmlp.exceptions import TaskWarning
from fastmlp.tables.losses import CLASSIFICATION_LOSSES

__all__ = ["MLPClassifier", "MLPEstimator", "MLPRegressor"]


class _ClassificationMethods:
    """What takes or gives classes; predict_proba for as long as the task classifies."""

    @available_if(lambda self: self._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """Train for one more epoch, on X and y.

        The optimizer keeps its state (moments, learning rate) between calls.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels or numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.
        classes : array-like of shape (n_classes,), default=None
            All classes that occur in any call. Required in the first call of a
            classification.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If data or parameters are invalid, if ``early_stopping`` is set, or if
            the weights became NaN or infinite.
        """
        return self._fit(X, y, sample_weight, incremental=True, classes=classes)

    @available_if(lambda self: self._classifies())
    def predict_proba(self, X):
        """Predict the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data; or a source of `fastmlp.sources`.

        Returns
        -------
        y_prob : ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``; of a source an iterator of these.
        """
        return self._predict_probabilities(X)

    @available_if(lambda self: self._classifies())
    def predict_log_proba(self, X):
        """Predict the logarithm of the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data; or a source of `fastmlp.sources`.

        Returns
        -------
        log_y_prob : ndarray of shape (n_samples, n_classes)
            Equivalent to ``log(predict_proba(X))``; of a source an iterator of these.
        """
        probabilities = self.predict_proba(X)
        if is_source(X):
            return map(_logarithms, probabilities)
        return _logarithms(probabilities)


def _logarithms(probabilities):
    with np.errstate(divide="ignore"):
        return np.log(probabilities, out=probabilities)


@documented
class MLPClassifier(ClassifierMixin, _ClassificationMethods, MultiLayerPerceptron):
    """Multi-layer perceptron classifier, compiled.

    A drop-in replacement for `sklearn.neural_network.MLPClassifier`. It minimises the
    log loss of softmax outputs (several classes) or logistic outputs (two classes, or
    several labels at once). Everything that scikit-learn does not have is off by
    default.

    %(groups)s

    Parameters
    ----------
    %(layers)s
    %(settings)s
    loss : {'log_loss', 'focal'}, default='log_loss'
        Loss function. 'log_loss' is -log p, where p is the predicted probability of
        the true class; 'focal' is (1 - p)^focal_gamma times that, which gives less
        weight to samples that are easy to classify.
    %(classification)s
    %(more)s

    Attributes
    ----------
    %(classes)s
    %(attributes)s

    See Also
    --------
    MLPRegressor : Multi-layer perceptron regressor.
    MLPEstimator : Chooses classification or regression by looking at y.

    References
    ----------
    %(references)s

    Examples
    --------
    >>> from fastmlp import MLPClassifier
    >>> from sklearn.datasets import make_classification
    >>> X, y = make_classification(n_samples=200, random_state=1)
    >>> clf = MLPClassifier(max_iter=500, random_state=1).fit(X, y)
    >>> clf.predict_proba(X[:1]).shape
    (1, 2)
    >>> clf.score(X, y) > 0.95
    True
    """

    _parameter_constraints = {
        **CONSTRAINTS,
        **OF_CLASSIFICATION,
        "loss": CLASSIFICATION_LOSS,
    }

    def __init__(
        self,
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        precision="auto",
        n_jobs=None,
        standardize=False,
        loss="log_loss",
        focal_gamma=2.0,
        label_smoothing=0.0,
        class_weight=None,
        scoring=None,
        restore_best_weights=True,
        weight_init="auto",
        dropout=0.0,
        input_dropout=0.0,
        weight_decay=0.0,
        l1=0.0,
        clip_norm=None,
        ema_decay=None,
        callbacks=None,
        time_limit=None,
        checkpoint=None,
    ):
        self._store(locals())

    def _classifies(self):
        return True

    def _declared_task(self):
        return "classification"

    def _task_of(self, y, classes, continues):
        return "classification"

    def predict(self, X):
        """Predict the class of each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data; or a source of `fastmlp.sources`.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Class labels; for several labels at once, a matrix of 0 and 1. Of a source
            an iterator of these.
        """
        return self._predict_labels(X)

    def score(self, X, y=None, sample_weight=None):
        """Return the accuracy; of several labels at once, all must be right.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Test samples; or a source of `fastmlp.sources`, which has y as well.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            True labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights.

        Returns
        -------
        score : float
            Between 0 and 1.
        """
        return self._score_labels(X, y, sample_weight)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


@documented
class MLPRegressor(RegressorMixin, MultiLayerPerceptron):
    """Multi-layer perceptron regressor, compiled.

    A drop-in replacement for `sklearn.neural_network.MLPRegressor`. Everything that
    scikit-learn does not have is off by default.

    %(groups)s

    Parameters
    ----------
    loss : str, default='squared_error'
        Loss function. 'squared_error' (half of it), 'absolute_error', 'huber'
        (quadratic for small errors, linear for large ones) and 'quantile' are means
        over outputs. 'poisson' and 'gamma' are half the deviances of outputs exp(z),
        for y >= 0 and y > 0.
    %(layers)s
    %(settings)s
    %(regression)s
    %(more)s

    Attributes
    ----------
    %(attributes)s

    See Also
    --------
    MLPClassifier : Multi-layer perceptron classifier.
    MLPEstimator : Chooses classification or regression by looking at y.

    References
    ----------
    %(references)s

    Examples
    --------
    >>> from fastmlp import MLPRegressor
    >>> from sklearn.datasets import make_friedman1
    >>> X, y = make_friedman1(n_samples=500, random_state=1)
    >>> regr = MLPRegressor(
    ...     max_iter=2000, learning_rate_init=0.01, random_state=1
    ... ).fit(X, y)
    >>> regr.score(X, y) > 0.7
    True
    """

    _parameter_constraints = {
        **CONSTRAINTS,
        **OF_REGRESSION,
        "loss": REGRESSION_LOSS,
    }

    def __init__(
        self,
        loss="squared_error",
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        precision="auto",
        n_jobs=None,
        standardize=False,
        huber_delta=1.0,
        quantile=0.5,
        scoring=None,
        restore_best_weights=True,
        weight_init="auto",
        dropout=0.0,
        input_dropout=0.0,
        weight_decay=0.0,
        l1=0.0,
        clip_norm=None,
        ema_decay=None,
        callbacks=None,
        time_limit=None,
        checkpoint=None,
    ):
        self._store(locals())

    def _declared_task(self):
        return "regression"

    def _task_of(self, y, classes, continues):
        return "regression"

    @available_if(lambda self: self._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Train for one more epoch, on X and y.

        The optimizer keeps its state (moments, learning rate) between calls.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If data or parameters are invalid, if ``early_stopping`` is set, or if
            the weights became NaN or infinite.
        """
        return self._fit(X, y, sample_weight, incremental=True)

    def score(self, X, y=None, sample_weight=None):
        """Return R^2 or, for a list of quantiles, the mean of their D^2.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Test samples; or a source of `fastmlp.sources`, which has y as well.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            True numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights.

        Returns
        -------
        score : float
            At most 1.
        """
        return self._score_numbers(X, y, sample_weight)

    def predict(self, X):
        """Predict the target of each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data; or a source of `fastmlp.sources`.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predictions; of a source an iterator of these.
        """
        return self._predict_numbers(X)


#: Numbers in y are labels without a doubt if they are no more different ones, ...
_MOST_CLASSES = 20
#: ... and if each is there that often, on average.
_LEAST_SAMPLES = 5


def _warn_of_guess(y):
    """Say that numbers are taken for class labels, where they look like quantities."""
    if y.dtype.kind not in "fiu":
        return
    n_classes = len(np.unique(y))
    if n_classes > _MOST_CLASSES:
        reason = f"y has {n_classes} different numbers"
    elif len(y) < _LEAST_SAMPLES * n_classes:
        reason = f"y has {n_classes} different numbers in {len(y)} samples"
    elif y.dtype.kind == "f" and n_classes > 2:
        reason = f"y has whole numbers of the dtype {y.dtype}, as counts have"
    else:
        return
    warnings.warn(
        f"{reason}, and task='auto' takes them for class labels: this is a "
        f"classification with {n_classes} classes. To predict the numbers, set "
        "task='regression'; if they are labels, set task='classification'.",
        TaskWarning,
        stacklevel=2,
    )


@documented
class MLPEstimator(_ClassificationMethods, MultiLayerPerceptron):
    """Multi-layer perceptron that looks at y to choose classification or regression.

    %(groups)s

    Parameters
    ----------
    %(layers)s
    task : {'auto', 'classification', 'regression'}, default='auto'
        What to learn. 'auto' looks at y in fit: numbers with fractions make it a
        regression, everything else a classification. Whole numbers count as class
        labels: to predict counts, set ``task='regression'``.
    loss : str, default='auto'
        Loss function: any of `MLPClassifier` or `MLPRegressor`. 'auto' means
        'log_loss' for classification and 'squared_error' for regression.
    %(settings)s
    %(classification)s
    %(regression)s
    %(more)s

    Attributes
    ----------
    task_ : str
        'classification' or 'regression'.
    %(classes)s
    %(attributes)s

    See Also
    --------
    MLPClassifier : Multi-layer perceptron classifier.
    MLPRegressor : Multi-layer perceptron regressor.

    Notes
    -----
    Before fit, an estimator with ``task='auto'`` tells scikit-learn that it is a
    classifier, so that cross-validation stratifies by class. For continuous y,
    scikit-learn then uses ordinary folds.

    References
    ----------
    %(references)s

    Examples
    --------
    >>> from fastmlp import MLPEstimator
    >>> from sklearn.datasets import load_diabetes, load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> MLPEstimator(max_iter=1000, random_state=0).fit(X, y).task_
    'classification'

    Numbers with fractions make it a regression:

    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = MLPEstimator(standardize=True, max_iter=1000, random_state=0)
    >>> model.fit(X, y / 7).task_
    'regression'

    %(examples)s
    """

    _parameter_constraints = {
        **CONSTRAINTS,
        **OF_CLASSIFICATION,
        **OF_REGRESSION,
        "task": TASK,
        "loss": ANY_LOSS,
    }

    def __init__(
        self,
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        task="auto",
        loss="auto",
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        precision="auto",
        n_jobs=None,
        standardize=False,
        focal_gamma=2.0,
        label_smoothing=0.0,
        class_weight=None,
        huber_delta=1.0,
        quantile=0.5,
        scoring=None,
        restore_best_weights=True,
        weight_init="auto",
        dropout=0.0,
        input_dropout=0.0,
        weight_decay=0.0,
        l1=0.0,
        clip_norm=None,
        ema_decay=None,
        callbacks=None,
        time_limit=None,
        checkpoint=None,
    ):
        self._store(locals())

    def _declared_task(self):
        return self.task

    def _classifies(self):
        """Whether this is, or before fit passes for, a classifier."""
        return getattr(self, "task_", self.task) != "regression"

    def _task_of(self, y, classes, continues):
        task = self.task
        if continues and hasattr(self, "task_"):
            if task not in ("auto", self.task_):
                raise ValueError(
                    f"task={task!r}, but the previous fit was a {self.task_}"
                )
            task = self.task_
        elif task == "auto" and classes is not None:
            task = "classification"
        elif task == "auto":
            with np.errstate(invalid="ignore"):  # it tries y as integers
                kind = type_of_target(y, input_name="y")
            continuous = kind.startswith("continuous")
            task = "regression" if continuous else "classification"
            if kind in ("binary", "multiclass"):
                _warn_of_guess(np.asarray(y).ravel())
        if self.loss != "auto" and (self.loss in CLASSIFICATION_LOSSES) != (
            task == "classification"
        ):
            raise ValueError(f"loss={self.loss!r} does not fit a {task} task")
        return task

    def _identity(self, task, binarizer, classes):
        return {**super()._identity(task, binarizer, classes), "task_": task}

    def predict(self, X):
        """Predict the class or the target of each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data; or a source of `fastmlp.sources`.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Class labels or numbers, like y in fit; of a source an iterator of these.
        """
        check_is_fitted(self, "coefs_")
        if self.task_ == "classification":
            return self._predict_labels(X)
        return self._predict_numbers(X)

    def score(self, X, y=None, sample_weight=None):
        """Return the accuracy or, for a regression, R^2 (see `MLPRegressor`).

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Test samples; or a source of `fastmlp.sources`, which has y as well.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            True labels or numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            Sample weights.

        Returns
        -------
        score : float
            At most 1.
        """
        if self._classifies():
            return self._score_labels(X, y, sample_weight)
        return self._score_numbers(X, y, sample_weight)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        if self._classifies():
            tags.estimator_type = "classifier"
            tags.classifier_tags = ClassifierTags(multi_label=True)
        else:
            tags.estimator_type = "regressor"
            tags.regressor_tags = RegressorTags()
        return tags
