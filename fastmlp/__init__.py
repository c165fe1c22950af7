"""fastmlp: multi-layer perceptrons, compiled, with scikit-learn's interface."""

__version__ = "0.1.0.dev0"

__all__ = [
    "MLPClassifier",
    "MLPEstimator",
    "MLPRegressor",
    "__version__",
    "from_sklearn",
    "warmup",
]

from fastmlp.conversion import convert_from_sklearn
from fastmlp.estimators import MLPClassifier, MLPEstimator, MLPRegressor


def warmup(precisions=("float32", "float64"), *, sparse=False, general=False):
    """Compile kernels now, or load them from the disk cache.

    Without it, the first fit and the first predict compile what they need: some ten
    seconds, once per machine and version.  Useful when a container image is built, or
    before time is measured.

    Parameters
    ----------
    precisions : collection of {"float32", "float64"}, default=both
        What estimators will compute in: float32 by default, float64 with
        ``solver="lbfgs"`` or ``precision="float64"``.
    sparse : bool, default=False
        Whether for sparse X, which has kernels of its own, instead of dense X.
    general : bool, default=False
        Whether for fits with dropout, with ``activation='gelu'``, 'silu', 'mish' or
        'hard_swish', or with a loss that has parameters, each of which needs kernels of
        its own, instead of for plain fits.

    Raises
    ------
    ValueError
        If a precision is unknown.

    Examples
    --------
    >>> import fastmlp
    >>> fastmlp.warmup(["float32"])
    """
    unknown = set(precisions) - {"float32", "float64"}
    if unknown or isinstance(precisions, str):
        raise ValueError(
            "precisions must be a collection of 'float32' and 'float64', "
            f"got {precisions!r}"
        )
    from fastmlp.warming import compile_kernels

    compile_kernels(precisions, sparse=sparse, general=general)


def from_sklearn(model, *, precision=None, n_jobs=None):
    """The same model, fitted or not, as an estimator of fastmlp.

    Parameters
    ----------
    model : sklearn.neural_network.MLPClassifier or MLPRegressor
        Is not changed, and shares no array with the result.
    precision : {'auto', 'float32', 'float64'}, default=None
        The parameter of the result. None is the precision that the model was fitted
        in, so that predictions and further training are the same to rounding (if it
        is not fitted: 'auto').
    n_jobs : int, default=None
        The parameter of the result.

    Returns
    -------
    fastmlp.MLPClassifier or fastmlp.MLPRegressor
        With the parameters, the fitted attributes and the state of the optimizer.

    Raises
    ------
    TypeError
        If `model` is no multi-layer perceptron of scikit-learn.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> import fastmlp
    >>> X, y = load_iris(return_X_y=True)
    >>> theirs = MLPClassifier(max_iter=300, random_state=0, tol=0.01).fit(X, y)
    >>> ours = fastmlp.from_sklearn(theirs)
    >>> bool(abs(ours.predict_proba(X) - theirs.predict_proba(X)).max() < 1e-12)
    True
    """
    classes = {"MLPClassifier": MLPClassifier, "MLPRegressor": MLPRegressor}
    return convert_from_sklearn(model, classes, precision=precision, n_jobs=n_jobs)
