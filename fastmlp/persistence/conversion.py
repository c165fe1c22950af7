"""Convert fitted models from and to scikit-learn.

Only this file uses scikit-learn's own MLP classes and their private state.
"""

import copy
import inspect
import warnings

import numpy as np
from sklearn import neural_network
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

from fastmlp.data.inputs import check_numbers
from fastmlp.data.scaling import Standardization
from fastmlp.tables.activations import ACTIVATIONS
from fastmlp.tables.fitted import FittedModel
from fastmlp.training.optimizer import OptimizerView

__all__ = ["convert_from_sklearn", "to_sklearn"]


#: What scikit-learn's validation of X has written.
_OF_FEATURES = ("n_features_in_", "feature_names_in_")

#: Values of some parameters in scikit-learn. Predictions depend only on the first.
_THEIRS = {
    "activation": tuple(r.name for r in ACTIVATIONS.values() if r.is_in_sklearn),
    "solver": ("adam", "lbfgs", "sgd"),
    "learning_rate": ("constant", "invscaling", "adaptive"),
    "loss": ("log_loss", "squared_error", "poisson"),
}

#: Parameters of ours that scikit-learn's models do not need.
_OF_NO_MODEL = {
    "callbacks", "checkpoint", "loss", "n_jobs", "precision", "task", "time_limit",
}  # fmt: skip


def convert_from_sklearn(model, classes, *, precision=None, n_jobs=None):
    """Implement `fastmlp.from_sklearn`; `classes` maps scikit-learn's names to ours."""
    cls = next(
        (
            ours
            for name, ours in classes.items()
            if isinstance(model, getattr(neural_network, name))
        ),
        None,
    )
    if cls is None:
        raise TypeError(
            "from_sklearn takes an MLPClassifier or MLPRegressor of scikit-learn, "
            f"got {type(model).__name__}"
        )
    fitted = hasattr(model, "coefs_")
    if precision is None:
        precision = model.coefs_[0].dtype.name if fitted else "auto"
    known = inspect.signature(cls).parameters
    parameters = {k: v for k, v in model.get_params().items() if k in known}
    ours = cls(**parameters, precision=precision, n_jobs=n_jobs)
    _copy_requests(model, ours)
    if fitted:
        _copy_fitted(model, ours)
        ours.precision_ = ours._precision()
        optimizer = vars(model).get("_optimizer")
        if optimizer is not None:
            ours._optimizer_state = _state_from(optimizer, len(model.coefs_))
    return ours


def to_sklearn(model):
    """Convert a model, fitted or not, to scikit-learn's estimator.

    Parameters
    ----------
    model : fastmlp.MLPClassifier, MLPRegressor or MLPEstimator

    Returns
    -------
    sklearn.neural_network.MLPClassifier or MLPRegressor

    Raises
    ------
    ValueError
        If scikit-learn cannot represent the model.

    Warns
    -----
    UserWarning
        If parameters that only affect training are left out.
    """
    task = getattr(model, "task_", model._declared_task())
    if task == "auto":
        raise ValueError(
            "with task='auto', only fit decides whether this is a classifier or a "
            "regressor: fit it first, or set the task"
        )
    name = "MLPClassifier" if task == "classification" else "MLPRegressor"
    cls = getattr(neural_network, name)
    known = inspect.signature(cls).parameters
    # a subclass may hide some of our parameters, and still set them
    ours = next(c for c in type(model).__mro__ if c.__module__.startswith("fastmlp."))
    defaults = inspect.signature(ours).parameters
    parameters = {name: getattr(model, name) for name in defaults}
    if parameters.get("loss") == "auto":
        del parameters["loss"]
    if "loss" not in known and parameters.get("loss") in ("poisson", "gamma"):
        loss = parameters["loss"]
        raise ValueError(f"the installed scikit-learn has no loss={loss!r}")
    fitted = hasattr(model, "coefs_")
    activation = parameters["activation"]
    if fitted and len(model.coefs_) == 1:  # no hidden layer: any activation will do
        parameters["activation"] = "relu"
    elif not isinstance(activation, str) and len(set(activation)) == 1:
        parameters["activation"] = activation[0]
    unknown = {
        name
        for name, theirs in _THEIRS.items()
        if name in parameters
        and not (isinstance(parameters[name], str) and parameters[name] in theirs)
    }
    if unknown and ("activation" in unknown or not fitted):
        raise ValueError(f"scikit-learn has no {_listed(parameters, unknown)}")
    left_out = unknown | {
        name
        for name in parameters.keys() & defaults.keys() - known.keys() - _OF_NO_MODEL
        if np.any(np.asarray(parameters[name]) != defaults[name].default)
    }
    if left_out:
        what = "further training may be" if fitted else "fits will be"
        warnings.warn(
            f"scikit-learn has no {_listed(parameters, left_out)}: left out, {what} "
            "different.",
            stacklevel=3,
        )
    theirs = cls(
        **{k: v for k, v in parameters.items() if k in known and k not in unknown}
    )
    _copy_requests(model, theirs)
    if fitted:
        for i, pair in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
            check_numbers(pair[0], 2, f"coefs_[{i}]")
            check_numbers(pair[1], 1, f"intercepts_[{i}]")
        _copy_fitted(model, theirs)
        # the same lists, as after early stopping, or a warm start would undo itself
        theirs._best_coefs, theirs._best_intercepts = theirs.coefs_, theirs.intercepts_
        scaling = Standardization.read(vars(model))
        _fold(scaling, theirs)
        state = getattr(model, "_optimizer_state", None)
        if scaling != Standardization():
            return theirs  # the optimizer's state belongs to the unfolded weights
        if state is not None and state["name"] not in ("rmsprop", "lion"):
            theirs._optimizer = _optimizer_from(state, theirs)
    return theirs


def _fold(scaling, model):
    """Fold the scaling of `standardize` into the first and the last layer."""
    coefs, intercepts = model.coefs_, model.intercepts_
    with np.errstate(over="ignore"):
        if scaling.X is not None:
            mean, scale = scaling.X
            weights = coefs[0] / scale[:, np.newaxis]
            intercepts[0] = (intercepts[0] - mean @ weights).astype(coefs[0].dtype)
            coefs[0] = weights.astype(coefs[0].dtype)
        if scaling.y is not None:
            mean, scale = scaling.y
            coefs[-1] = (coefs[-1] * scale).astype(coefs[-1].dtype)
            shifted = intercepts[-1] * scale + mean
            intercepts[-1] = shifted.astype(coefs[-1].dtype)


def _listed(parameters, names):
    return ", ".join(f"{k}={v!r}" for k, v in parameters.items() if k in names)


def _copy_requests(source, target):
    """Copy the metadata requests (set_fit_request and others)."""
    if hasattr(source, "_metadata_request"):
        target._metadata_request = copy.deepcopy(source._metadata_request)


def _copy_fitted(source, target):
    for name in (*FittedModel.shared_names(), *_OF_FEATURES):
        if hasattr(source, name):
            setattr(target, name, copy.deepcopy(getattr(source, name)))


def _state_from(optimizer, n_layers):
    """State of scikit-learn's optimizer, as that of `Optimizer.state`."""

    def split(arrays):
        copies = [np.copy(array) for array in arrays]
        return copies[:n_layers], copies[n_layers:]

    if isinstance(optimizer, AdamOptimizer):
        return {
            "name": "adam",
            "schedule": "constant",
            "learning_rate_init": optimizer.learning_rate_init,
            "power_t": 0.5,
            "learning_rate": optimizer.learning_rate_init,
            "beta_1": optimizer.beta_1,
            "beta_2": optimizer.beta_2,
            "epsilon": optimizer.epsilon,
            "n_updates": optimizer.t,
            "first_moment": split(optimizer.ms),
            "second_moment": split(optimizer.vs),
        }
    momentum = optimizer.momentum
    state = {
        "name": "nesterov" if optimizer.nesterov else "momentum",
        "schedule": optimizer.lr_schedule,
        "learning_rate_init": optimizer.learning_rate_init,
        "power_t": optimizer.power_t,
        "learning_rate": optimizer.learning_rate,
        "beta_1": momentum,
        "beta_2": 0.0,
        "epsilon": 0.0,
        "n_updates": 0,  # only Adam uses it
        "first_moment": split(optimizer.velocities),
    }
    if momentum == 0:
        state["name"] = "sgd"
        del state["first_moment"]
    return state


def _optimizer_from(state, model):
    """The inverse of `_state_from`, for a model of scikit-learn."""
    parameters = model.coefs_ + model.intercepts_

    def join(name):
        coefs, intercepts = state[name]
        return [
            part.astype(parameter.dtype)
            for part, parameter in zip([*coefs, *intercepts], parameters, strict=True)
        ]

    if state["name"] == "adam":
        optimizer = AdamOptimizer(
            parameters,
            state["learning_rate_init"],
            state["beta_1"],
            state["beta_2"],
            state["epsilon"],
        )
        optimizer.t = state["n_updates"]
        optimizer.learning_rate = OptimizerView(state).learning_rate
        optimizer.ms, optimizer.vs = join("first_moment"), join("second_moment")
        return optimizer
    optimizer = SGDOptimizer(
        parameters,
        state["learning_rate_init"],
        state["schedule"],
        state["beta_1"],
        model.nesterovs_momentum,
        state["power_t"],
    )
    optimizer.learning_rate = state["learning_rate"]
    if "first_moment" in state:
        optimizer.nesterov = state["name"] == "nesterov"
        optimizer.velocities = join("first_moment")
    return optimizer
