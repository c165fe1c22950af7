"""Derivatives of predictions with respect to X: one network's, and the mean of several.

A network's backward pass gives derivatives of weighted sums of its raw outputs. The
weights (cotangents) that make them derivatives of predictions are computed here.
"""

import numpy as np
from scipy.sparse import issparse
from scipy.special import expit, softmax
from sklearn.utils.validation import check_is_fitted

from fastmlp.data.scaling import Standardization
from fastmlp.native_threads import lazily
from fastmlp.tables.fitted import parameters_of

__all__ = [
    "NUMBERS_AT_ONCE",
    "DifferentiableModel",
    "NamesOutputs",
    "cotangents_of",
    "derivatives_of",
    "nodes_on_the_line",
    "scaled_to_one",
]

#: Rows times features of interpolated inputs that are differentiated together.
NUMBERS_AT_ONCE = 2**22


class NamesOutputs:
    """Which outputs of a fitted model are differentiated; not for use by itself."""

    def _shown(self, derivatives, columns):
        """Without the axis of outputs, where there is but one."""
        is_number = derivatives.shape[1] == 1 and not hasattr(self, "classes_")
        return derivatives[:, 0] if columns is not None or is_number else derivatives

    def _columns_of(self, target, n_samples):
        """The output of each sample that is asked for; None for all of them."""
        if target is None:
            return None
        classes = getattr(self, "classes_", None)
        what = "outputs" if classes is None else "classes"
        known = np.arange(self.n_outputs_) if classes is None else np.asarray(classes)
        target = np.asarray(target)
        if target.ndim > 1 or (target.ndim and len(target) != n_samples):
            raise ValueError(
                f"target has shape {target.shape}: expected one label or column "
                f"number, or one for each of the {n_samples} samples"
            )
        try:
            order = np.searchsorted(known, target)
            found = known[np.minimum(order, len(known) - 1)] == target
        except TypeError:  # text among numbers
            found = np.zeros(target.shape, bool)
        if not np.all(found):
            wrong = target[~np.asarray(found)].tolist()[0]
            raise ValueError(f"target {wrong!r} is not among the {what}: {known}")
        return np.broadcast_to(order, (n_samples,))


class DifferentiableModel(NamesOutputs):
    """Methods that need but `_derivatives` of a fitted model; not for use by itself."""

    def input_gradients(self, X, target=None, of="prediction"):
        """Derivatives of predictions with respect to the features of X.

        They are exact: from the backward pass that also trains the network, through
        `standardize`, too. So they say how a prediction changes per unit of a feature,
        in the units in which X is given.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data. The result is dense, also for sparse X.
        target : None, label or int, or array-like of shape (n_samples,), default=None
            Which output to differentiate: of a classifier, the label of a class; of a
            regressor, or for several labels at once, the number of a column. One for
            all samples, or one for each: ``target=model.predict(X)`` asks for the
            predicted class of each sample. None for all outputs.
        of : {'prediction', 'raw'}, default='prediction'
            'prediction' differentiates what `predict_proba` gives (of a regressor:
            `predict`). 'raw' differentiates what the output units give before their
            activation function: the logits of several classes; the log-odds of one of
            two classes, or of a label; the logarithm of a mean, for ``loss='poisson'``
            and 'gamma'. An ensemble has no raw outputs.

        Returns
        -------
        ndarray of shape (n_samples, n_features) or (n_samples, n_outputs, n_features)
            Row j of ``gradients[i]`` belongs to output j: to ``classes_[j]``, or to
            column j of y. There is no axis of outputs with a `target`, or if a
            regressor has only one.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X is invalid, or `target` or `of` is none of the values above.

        Notes
        -----
        At z = 0, ``relu`` and other activations with a kink have no derivative; there
        it is taken to be what training takes.

        The probabilities of a network that is sure hardly change, so that their
        derivatives are small, and no picture of what the network looks at. Those of
        ``of='raw'`` do not have this flaw (Simonyan et al., 2013).

        References
        ----------
        Simonyan, Vedaldi and Zisserman, "Deep inside convolutional networks:
        visualising image classification models and saliency maps", arXiv:1312.6034
        (2013).
        """
        X = self._checked_to_differentiate(X, of)
        columns = self._columns_of(target, X.shape[0])
        return self._shown(self._derivatives(X, columns, of), columns)

    def integrated_gradients(
        self, X, baseline=0.0, target=None, of="prediction", n_steps=50
    ):
        """What each feature adds to a prediction, in comparison with a baseline.

        The mean of `input_gradients` on the line from the baseline to a row of X, times
        the difference of the two. The sum over features is the difference of the
        predictions (completeness), up to the error of the mean.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data.
        baseline : float or array-like of shape (n_features,) or (n_samples, n_features)
            Features that stand for nothing in particular: the means of the training
            data, or those of a black image. Default=0.0.
        target, of
            See `input_gradients`.
        n_steps : int, default=50
            Points on the line: those of the Gauss-Legendre rule. More make the mean
            more precise.

        Returns
        -------
        ndarray of shape (n_samples, n_features) or (n_samples, n_outputs, n_features)
            See `input_gradients`.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If a parameter is invalid.

        References
        ----------
        Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", ICML
        (2017).
        """
        X = self._checked_to_differentiate(X, of)
        X = X.toarray() if issparse(X) else X
        n_samples, n_features = X.shape
        nodes, weights = nodes_on_the_line(n_steps)
        columns = self._columns_of(target, n_samples)
        baseline = np.asarray(baseline, dtype=np.float64)
        try:
            difference = X - np.broadcast_to(baseline, X.shape)
        except ValueError:
            raise ValueError(
                f"baseline has shape {baseline.shape}: expected a number, or an array "
                f"of shape ({n_features},) or ({n_samples}, {n_features})"
            ) from None
        sums = []
        n_rows = max(1, NUMBERS_AT_ONCE // (len(nodes) * n_features))
        for start in range(0, n_samples, n_rows):
            rows = slice(start, start + n_rows)
            # from X backwards: what is left of the difference
            left = (1 - nodes)[:, np.newaxis] * difference[rows, None]
            points = X[rows, np.newaxis] - left
            own = None if columns is None else columns[rows].repeat(len(nodes))
            points = points.astype(X.dtype, copy=False).reshape(-1, n_features)
            derivatives = self._derivatives(points, own, of)
            by_node = derivatives.reshape(-1, len(nodes), *derivatives.shape[1:])
            sums.append(np.einsum("k,rk...->r...", weights, by_node))
        results = np.concatenate(sums) * difference[:, np.newaxis]
        return self._shown(results.astype(derivatives.dtype), columns)

    def _checked_to_differentiate(self, X, of):
        """X as `_derivatives` takes it, if the other arguments are right, too."""
        if not (isinstance(of, str) and of in ("prediction", "raw")):
            raise ValueError(f"of must be 'prediction' or 'raw', got {of!r}")
        check_is_fitted(self)
        return self._plain(X)


def cotangents_of(raw, output_activation, columns, of):
    """Weights of raw outputs that make derivatives of outputs of a model.

    Parameters
    ----------
    raw : ndarray of shape (n_samples, n_units)
        What the output units give before their activation function, in float64.
    output_activation : str
    columns : ndarray of shape (n_samples,) or None
        The output asked for, of each sample; None for all. One logistic unit stands for
        two outputs.
    of : {'prediction', 'raw'}

    Returns
    -------
    ndarray of shape (n_samples, n_asked, n_units)
    """
    n_samples, n_units = raw.shape
    signs = np.eye(n_units)
    if output_activation == "logistic" and n_units == 1:
        signs = np.array([[-1.0], [1.0]])
    if columns is None:
        hits = np.broadcast_to(signs, (n_samples, *signs.shape))
    else:
        hits = signs[columns][:, np.newaxis]
    if of == "raw" or output_activation == "identity":
        return hits
    if output_activation == "exp":
        return hits * np.exp(raw)[:, np.newaxis]
    if output_activation == "logistic":
        return hits * (expit(raw) * expit(-raw))[:, np.newaxis]
    p = softmax(raw, axis=1)[:, np.newaxis]
    # p_t (1 - p_t) where the target is, without the cancellation in 1 - p_t
    others = ((1 - hits) * p).sum(axis=2, keepdims=True)
    own = (hits * p).sum(axis=2, keepdims=True)
    return own * (hits * others - (1 - hits) * p)


def scaled_to_one(cotangents):
    """(cotangents as numbers around 1, of which float32 loses none, their sizes).

    Sizes have the shape (n_samples, n_asked, 1).
    """
    sizes = np.abs(cotangents).max(axis=2, keepdims=True)
    return cotangents / np.where(sizes > 0, sizes, 1.0), sizes


def nodes_on_the_line(n_steps):
    """(points between 0 and 1, weights) of the Gauss-Legendre rule.

    Raises
    ------
    ValueError
        If `n_steps` is not a whole number above 0.
    """
    if n_steps != int(n_steps) or n_steps < 1:
        raise ValueError(f"n_steps must be a whole number > 0, got {n_steps!r}")
    nodes, weights = np.polynomial.legendre.leggauss(int(n_steps))
    return (1 + nodes) / 2, weights / 2


def derivatives_of(model, X, columns, of):
    """Derivatives of some outputs of a fitted network, for each row of X.

    Parameters
    ----------
    model : fastmlp.estimators.perceptron.MultiLayerPerceptron
    X : ndarray or sparse matrix of shape (n_samples, n_features)
        Checked.
    columns, of
        See `cotangents_of`.

    Returns
    -------
    ndarray of shape (n_samples, n_asked, n_features)
        In the dtype that predictions have.
    """
    scaling = Standardization.read(vars(model))
    X = scaling.scale_X(X)
    X = X.toarray() if issparse(X) else X
    precision = getattr(model, "precision_", None) or model._precision()
    derivatives = _derivatives(model, X, columns, of, precision, scaling)
    if precision == "float32" and not np.isfinite(derivatives).all():
        beyond = ~np.isfinite(derivatives).all(axis=(1, 2))  # only float64 can hold it
        some = None if columns is None else columns[beyond]
        derivatives[beyond] = _derivatives(
            model, X[beyond], some, of, "float64", scaling
        )
    return derivatives


def _derivatives(model, X, columns, of, precision, scaling):
    """`derivatives_of`, for X as the network takes it, computed in `precision`."""
    activation = model.out_activation_
    if of == "raw" or activation == "identity":  # then nobody looks at them
        raw = np.zeros((len(X), model.n_outputs_))
    else:
        raw = model._compute_outputs(
            X, precision, np.float64, model.n_jobs, output_activation="identity"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        cotangents = cotangents_of(raw, activation, columns, of)
        cotangents, sizes = scaled_to_one(cotangents)
        derivatives = lazily("engine.differentiation").input_derivatives(
            parameters_of(model), X, cotangents, activation=model.activation,
            precision=precision, n_jobs=model.n_jobs,
        )  # fmt: skip
        if scaling.X is not None:
            sizes = sizes / scaling.X.scale
        if scaling.y is not None:
            all_columns = np.arange(len(scaling.y.scale))
            asked = all_columns if columns is None else columns[:, np.newaxis]
            sizes = sizes * scaling.y.scale[asked][..., np.newaxis]
        dtype = lazily("estimators.prediction").dtype_of_outputs(
            X.dtype, model.coefs_[0].dtype
        )
        return (derivatives * sizes).astype(dtype, copy=False)
