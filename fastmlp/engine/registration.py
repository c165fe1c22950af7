"""Activations and losses that users register."""

import threading
from keyword import iskeyword
from types import CodeType, FunctionType, ModuleType
from typing import NamedTuple

import numpy as np

from fastmlp.tables.activations import ACTIVATIONS, Activation
from fastmlp.tables.initializations import INITIALIZATIONS
from fastmlp.tables.losses import (
    CLASSIFICATION_LOSSES,
    LOSSES,
    REGRESSION_LOSSES,
    Loss,
)

__all__ = ["Registered", "register_activation", "register_loss"]

#: Points at which derivatives are checked: around 0, and up to this far from it.
_N_POINTS, _FARTHEST = 400, 10.0

#: Step of the differences, relative to points beyond 1.
_STEP = 1e-4

#: What targets may be -> (y -> mask of those that are right, what to say, a sample).
_TARGETS = {
    "real": (None, "", lambda x: x),
    "non-negative": (lambda y: y >= 0, "y must not be negative.", np.exp),
    "positive": (lambda y: y > 0, "y must be positive.", np.exp),
}

_lock = threading.RLock()


class Registered(NamedTuple):
    """What a user has registered, beside its row in a table."""

    function: object
    derivative: object
    options: dict
    essence: tuple  # of both functions, as they were compiled
    compiled: object


def register_activation(
    name, function, derivative, *, initialization="glorot_uniform", formula=""
):
    """Register an activation function of your own, to be used by its name.

    Parameters
    ----------
    name : str
        The value of ``activation`` that chooses it.
    function, derivative : callable
        Functions g(z) and g'(z), from a number to a number. They are compiled: write
        them with Python's arithmetic, conditions and functions of ``math``.
    initialization : str, default='glorot_uniform'
        The ``weight_init`` that suits it, for ``weight_init='auto'``.
    formula : str, default=''
        Text of g(z), for those who read.

    Raises
    ------
    TypeError
        If a function cannot be compiled, or returns no number.
    ValueError
        If the derivative is not that of the function, if the function is not finite, or
        if the name belongs to another one.

    See Also
    --------
    register_loss : The same for losses.

    Notes
    -----
    The same function may be registered under its name again. A saved model has the name
    only: register the function before you load it.

    The derivative is compared with differences of the function between -10 and 10.

    Examples
    --------
    >>> import fastmlp
    >>> def squared_relu(z):
    ...     return z * z if z > 0 else 0.0
    >>> def slope(z):
    ...     return 2 * z if z > 0 else 0.0
    >>> fastmlp.register_activation("squared_relu", squared_relu, slope)
    >>> fastmlp.MLPClassifier(activation="squared_relu").get_params()["activation"]
    'squared_relu'
    """
    if initialization not in INITIALIZATIONS:
        raise ValueError(
            f"initialization must be among {sorted(INITIALIZATIONS)}, got "
            f"{initialization!r}"
        )
    options = {"initialization": initialization, "formula": formula}

    def row_of(compiled, registered):
        z = _points()
        values, slopes = compiled(z)
        _check_finite(name, "function", values, z=z)
        step = _STEP * np.maximum(1, np.abs(z))
        _check_derivative(name, lambda t: compiled(z + t * step)[0], slopes, step, z=z)
        return Activation(
            name, -1, formula, lambda z: compiled(z)[0], lambda z: compiled(z)[1],
            stores_derivatives=True, maps_zero_to_zero=compiled(0.0)[0] == 0,
            initialization=initialization, registered=registered,
        )  # fmt: skip

    _register(
        ACTIVATIONS, "activation", name, function, derivative, options, row_of
    )  # fmt: skip


def register_loss(
    name, function, derivative, *, output_activation="identity", targets="real",
    formula="",
):  # fmt: skip
    """Register a loss of your own for regressions, to be used by its name.

    Parameters
    ----------
    name : str
        The value of ``loss`` that chooses it.
    function, derivative : callable
        The loss l(z, y) of a raw output z and a target y, and its derivative with
        respect to z: from two numbers to a number. They are compiled: write them with
        Python's arithmetic, conditions and functions of ``math``. The loss of a sample
        is the mean over its outputs.
    output_activation : {'identity', 'exp'}, default='identity'
        From raw outputs to predictions. With 'exp', the prediction is exp(z), as with
        ``loss='poisson'``.
    targets : {'real', 'non-negative', 'positive'}, default='real'
        What y may be.
    formula : str, default=''
        Text of l(z, y), for those who read.

    Raises
    ------
    TypeError
        If a function cannot be compiled, or returns no number.
    ValueError
        If the derivative is not that of the function, if the function is not finite, or
        if the name belongs to another one.

    See Also
    --------
    register_activation : The same for activation functions, with more notes.

    Notes
    -----
    With ``standardize=True``, and in estimators for tables, y is scaled before the loss
    sees it.

    Examples
    --------
    >>> import fastmlp, math
    >>> def log_cosh(z, y):
    ...     size = abs(z - y)
    ...     return size + math.log1p(math.exp(-2 * size)) - math.log(2)
    >>> def slope(z, y):
    ...     return math.tanh(z - y)
    >>> fastmlp.register_loss("log_cosh", log_cosh, slope)
    >>> fastmlp.MLPRegressor(loss="log_cosh").get_params()["loss"]
    'log_cosh'
    """
    for what, value, known in (
        ("output_activation", output_activation, {"identity", "exp"}),
        ("targets", targets, set(_TARGETS)),
    ):
        if value not in known:
            raise ValueError(f"{what} must be among {sorted(known)}, got {value!r}")
    options = {"output_activation": output_activation, "targets": targets,
               "formula": formula}  # fmt: skip
    is_in_range, message, sample_of = _TARGETS[targets]

    def row_of(compiled, registered):
        z, y = _points()[:, np.newaxis], _points(1)[:, np.newaxis]
        if output_activation == "exp":
            z = z / 2
        if is_in_range is not None:
            y = sample_of(y / 2)
        values, slopes = compiled(z, y)
        where = {"z": z.ravel(), "y": y.ravel()}
        _check_finite(name, "function", values, **where)
        step = _STEP * np.maximum(1, np.abs(z))
        _check_derivative(
            name, lambda t: compiled(z + t * step, y)[0], slopes.ravel(),
            step.ravel(), **where,
        )  # fmt: skip
        return Loss(
            name, -1, name, formula, output_activation,
            lambda z, y: compiled(z, y)[0], lambda z, y: compiled(z, y)[1],
            is_parametric=False, is_in_range=is_in_range, range=message,
            registered=registered,
        )  # fmt: skip

    _register(LOSSES, "loss", name, function, derivative, options, row_of)
    REGRESSION_LOSSES.add(name)


def _register(table, kind, name, function, derivative, options, row_of):
    """Add a row to a table, if its functions are right and its name is free."""
    if not (isinstance(name, str) and name.isidentifier()) or iskeyword(name):
        raise ValueError(f"the name must be an identifier, got {name!r}")
    for what, value in (("function", function), ("derivative", derivative)):
        if not callable(value):
            raise TypeError(f"the {what} of {name!r} is no function: {value!r}")
    essence = _essence(function), _essence(derivative)
    reserved = {"auto", *CLASSIFICATION_LOSSES} if kind == "loss" else set()
    with _lock:
        row = table.get(name)
        if name in reserved or (row is not None and row.registered is None):
            raise ValueError(
                f"{name!r} is one of fastmlp's own: choose another name for your {kind}"
            )
        if row is not None:
            if (essence, options) == (row.registered.essence, row.registered.options):
                return
            raise ValueError(
                f"another {kind} is registered as {name!r}: choose another name, or "
                "start a new process to change it"
            )
        from fastmlp.compilation import functions

        compile_ = {
            "activation": functions.CompiledActivation, "loss": functions.CompiledLoss
        }[kind]  # fmt: skip
        compiled = compile_(function, derivative)
        registered = Registered(function, derivative, options, essence, compiled)
        table[name] = row_of(compiled, registered)


def _points(seed=0):
    """Numbers around 0 and far from it, none of them round."""
    rng = np.random.default_rng(seed)
    half = _N_POINTS // 2
    return np.concatenate([
        rng.uniform(-_FARTHEST, _FARTHEST, half), rng.uniform(-1.5, 1.5, half)
    ])  # fmt: skip


def _at(where, i):
    """Where point i is, for a message."""
    return ", ".join(f"{name} = {values[i]:.6g}" for name, values in where.items())


def _check_finite(name, what, values, **where):
    for i in np.flatnonzero(~np.isfinite(values)):
        raise ValueError(
            f"the {what} of {name!r} is {values[i]} at {_at(where, i)}: it must be "
            "finite for all numbers of moderate size"
        )


def _check_derivative(name, function, slopes, step, **where):
    """Compare a derivative with central differences.

    function : from t to values at z + t step, for t between -1 and 1.
    """
    _check_finite(name, "derivative", slopes, **where)
    wide = (function(1) - function(-1)) / (2 * step)
    narrow = (function(0.5) - function(-0.5)) / step
    # that two steps do not agree shows how much differences can tell, as near kinks
    rounding = 1e-15 / step * np.abs(function(0))
    doubt = 1e-5 * (1 + np.abs(narrow)) + 10 * np.abs(wide - narrow) + 10 * rounding
    excess = np.abs(slopes - narrow) - doubt
    worst = int(np.argmax(np.where(np.isfinite(excess), excess, -np.inf)))
    if excess[worst] > 0:
        raise ValueError(
            f"the derivative of {name!r} is wrong at {_at(where, worst)}: it gives "
            f"{slopes[worst]:.6g}, but differences of the function give "
            f"{narrow[worst]:.6g}"
        )


def _essence(value, seen=()):
    """What makes two functions, wherever they were defined, the same."""
    value = getattr(value, "py_func", value)  # of one that numba has compiled
    if id(value) in seen:
        return "itself"
    seen = (*seen, id(value))
    if isinstance(value, CodeType):
        consts = tuple(_essence(each, seen) for each in value.co_consts)
        return value.co_code, consts, value.co_names, value.co_varnames
    if isinstance(value, FunctionType):
        code = value.__code__
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        used = [value.__globals__.get(name) for name in sorted(_names_in(code))]
        parts = code, *cells, *used, *(value.__defaults__ or ())
        return tuple(_essence(each, seen) for each in parts)
    if isinstance(value, ModuleType):
        return value.__name__
    return repr(value)


def _names_in(code):
    """Global names that code may refer to."""
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return set(code.co_names).union(*(_names_in(each) for each in inner))
