"""fastmlp: compiled multi-layer perceptrons with scikit-learn's interface."""

__version__ = "0.1.0.dev0"

__all__ = [
    "Callback",
    "HiddenFeatures",
    "MLPClassifier",
    "MLPEnsembleClassifier",
    "MLPEnsembleRegressor",
    "MLPEstimator",
    "MLPRegressor",
    "TabularMLPClassifier",
    "TabularMLPRegressor",
    "__version__",
    "from_sklearn",
    "from_torch",
    "load_safetensors",
    "predictor",
    "register_activation",
    "register_loss",
    "save_safetensors",
    "to_torch",
    "warmup",
]

from importlib import import_module
from typing import TYPE_CHECKING

from fastmlp.estimators import MLPClassifier, MLPEstimator, MLPRegressor
from fastmlp.estimators.features import HiddenFeatures
from fastmlp.estimators.tabular import TabularMLPClassifier, TabularMLPRegressor
from fastmlp.persistence.conversion import convert_from_sklearn
from fastmlp.training.progress import Callback

if TYPE_CHECKING:
    from fastmlp.engine.registration import register_activation, register_loss
    from fastmlp.estimators import MLPEnsembleClassifier, MLPEnsembleRegressor
    from fastmlp.exchange.pytorch import from_torch, to_torch
    from fastmlp.exchange.safetensors import load_safetensors, save_safetensors
    from fastmlp.inference import predictor

#: What not everyone needs, and where it is.
_IN_MODULES = {
    "MLPEnsembleClassifier": "estimators",
    "MLPEnsembleRegressor": "estimators",
    "from_torch": "exchange.pytorch",
    "load_safetensors": "exchange.safetensors",
    "predictor": "inference",
    "register_activation": "engine.registration",
    "register_loss": "engine.registration",
    "save_safetensors": "exchange.safetensors",
    "to_torch": "exchange.pytorch",
}


def __getattr__(name):
    if name in ("model_selection", "onnx", "playground", "sources"):
        return import_module(f"fastmlp.{name}")
    if name in _IN_MODULES:
        return getattr(import_module(f"fastmlp.{_IN_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})


def warmup(precisions=("float32", "float64"), *, sparse=False, general=False):
    """Compile kernels now, or load them from the disk cache.

    Only needed where no library of kernels came with the package: there the first fit
    and the first predict compile what they need, which takes some ten seconds, once per
    machine and version.  Useful when you build a container image, or before you measure
    time.

    Parameters
    ----------
    precisions : collection of {"float32", "float64"}, default=both
        Precisions of the estimators: float32 by default, float64 with
        ``solver="lbfgs"`` or ``precision="float64"``.
    sparse : bool, default=False
        Compile the kernels for sparse X instead of those for dense X.
    general : bool, default=False
        Instead of the kernels for plain fits, compile those for dropout, those for
        ``activation='gelu'``, 'silu', 'mish' or 'hard_swish', and those for losses
        with parameters.

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
    from fastmlp.engine.warming import compile_kernels

    compile_kernels(precisions, sparse=sparse, general=general)


def from_sklearn(model, *, precision=None, n_jobs=None):
    """Convert a model of scikit-learn, fitted or not, to the estimator of fastmlp.

    Parameters
    ----------
    model : sklearn.neural_network.MLPClassifier or MLPRegressor
        The model; it is not changed, and shares no array with the result.
    precision : {'auto', 'float32', 'float64'}, default=None
        This parameter of the result. None: the precision in which the model was
        fitted, so that predictions and further training agree up to rounding ('auto'
        if it is not fitted).
    n_jobs : int, default=None
        This parameter of the result.

    Returns
    -------
    fastmlp.MLPClassifier or fastmlp.MLPRegressor
        With the parameters, fitted attributes and optimizer state of the model.

    Raises
    ------
    TypeError
        If `model` is not an MLPClassifier or MLPRegressor of scikit-learn.

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
