"""fastmlp: multi-layer perceptrons, compiled, with scikit-learn's interface."""

__version__ = "0.1.0.dev0"

__all__ = ["MLPClassifier", "MLPEstimator", "MLPRegressor", "__version__", "warmup"]

from fastmlp.estimators import MLPClassifier, MLPEstimator, MLPRegressor


def warmup(precisions=("float32", "float64")):
    """Compile all kernels now, or load them from the disk cache.

    Without it, the first fit and the first predict do that: a few seconds, once
    per machine and version.  Useful when a container image is built, or before
    time is measured.

    Parameters
    ----------
    precisions : collection of {"float32", "float64"}, default=both
        What estimators will compute in: float32 by default, float64 with
        ``precision="float64"``.

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
    from fastmlp.jobs import compile_kernels

    compile_kernels(precisions)
