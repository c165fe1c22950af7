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

from fastmlp.estimators import (
    MLPClassifier,
    MLPEstimator,
    MLPRegressor,
    from_sklearn,
)


def warmup(precisions=("float32", "float64"), *, sparse=False):
    """Compile all kernels now, or load them from the disk cache.

    Without it, the first fit and the first predict do that: a few seconds, once
    per machine and version.  Useful when a container image is built, or before
    time is measured.

    Parameters
    ----------
    precisions : collection of {"float32", "float64"}, default=both
        What estimators will compute in: float32 by default, float64 with
        ``solver="lbfgs"`` or ``precision="float64"``.
    sparse : bool, default=False
        Whether for sparse X, which has kernels of its own, instead of dense X.

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

    compile_kernels(precisions, sparse=sparse)
