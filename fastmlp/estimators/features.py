"""A hidden layer as a transformer: features that a network has learnt."""

from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    MetaEstimatorMixin,
    TransformerMixin,
    clone,
)
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

__all__ = ["HiddenFeatures"]


class HiddenFeatures(
    ClassNamePrefixFeaturesOutMixin, MetaEstimatorMixin, TransformerMixin, BaseEstimator
):
    """The units of a hidden layer as features, for the next step of a Pipeline.

    A network that has learnt one task has features in its hidden layers that may help
    with another: as inputs of another model, for neighbours and clusters, or for a plot
    of the samples.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor or MLPEstimator
        The network; a clone of it is fitted. To take a fitted one as it is, give
        ``sklearn.frozen.FrozenEstimator(network)``.
    layer : int, default=-1
        Which hidden layer: 0 is the first one, -1 the last one.

    Attributes
    ----------
    estimator_ : estimator
        The fitted network.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if X has names that are all strings.

    See Also
    --------
    MLPClassifier.hidden_activations : The same of a fitted network, without a step.
    sklearn.feature_selection.SelectFromModel : Selects some of the features of X.

    Examples
    --------
    >>> from fastmlp import HiddenFeatures, MLPClassifier
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> X, y = load_digits(return_X_y=True)
    >>> network = MLPClassifier((64, 16), max_iter=300, random_state=0)
    >>> model = make_pipeline(HiddenFeatures(network), KNeighborsClassifier())
    >>> model.fit(X[:1000], y[:1000]).score(X[1000:], y[1000:]) > 0.9
    True
    >>> model[0].transform(X[1000:]).shape
    (797, 16)
    """

    def __init__(self, estimator, layer=-1):
        self.estimator = estimator
        self.layer = layer

    def fit(self, X, y=None, sample_weight=None):
        """Fit the network.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets of the network.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        self : object
            The fitted transformer.

        Raises
        ------
        ValueError
            If data or parameters are invalid.
        TypeError
            If the estimator has no hidden layers that fastmlp knows.
        """
        if not hasattr(self.estimator, "hidden_activations"):
            raise TypeError(
                "estimator must be an MLPClassifier, MLPRegressor or MLPEstimator of "
                f"fastmlp, got {self.estimator!r}"
            )
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        self.estimator_ = clone(self.estimator).fit(X, y, **weights)
        return self

    def transform(self, X):
        """What the units of the hidden layer give for X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data.

        Returns
        -------
        ndarray of shape (n_samples, n_units)
        """
        check_is_fitted(self)
        return self.estimator_.hidden_activations(X, self.layer)

    @property
    def n_features_in_(self):
        """Number of features seen in fit."""
        check_is_fitted(self)
        return self.estimator_.n_features_in_

    @property
    def feature_names_in_(self):
        """Names of the features seen in fit."""
        return self.estimator_.feature_names_in_

    @property
    def _n_features_out(self):
        return len(self.estimator_.intercepts_[:-1][self.layer])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.input_tags.sparse = inner.input_tags.sparse
        tags.target_tags.required = inner.target_tags.required
        return tags
