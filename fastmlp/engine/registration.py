"""Activations and losses that users register."""

import threading
from keyword import iskeyword
from types import CodeType, FunctionType, ModuleType
from typing import NamedTuple

import numpy as np

from fastmlp.tables.activations import ACTIVATIONS, Activation
from fastmlp.tables.initializations import INITIALIZATIONS
from fastmlp.tables.losses import (
    BINARY,
    CLASSIFICATION_LOSSES,
    LOSSES,
    REGRESSION_LOSSES,
    Loss,
)

__all__ = [
    "Registered",
    "check_counterpart",
    "register_activation",
    "register_loss",
]

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

#: Logarithms of probabilities at which losses of classes are checked: between these,
#: and at 0 and far below.
_LEAST_LOG_P, _MOST_LOG_P, _FAR_LOG_P = -30.0, -1e-3, -1000.0

_lock = threading.RLock()


class Registered(NamedTuple):
    """What a user has registered, beside its row in a table."""

    function: object
    derivative: object
    options: dict
    essence: tuple  # of both functions, as they were compiled
    compiled: object
    counterparts: dict = {}  # for other programs, by the parameter that gave them


def register_activation(
    name, function, derivative, *, initialization="glorot_uniform", torch=None,
    onnx=None, formula="",
):  # fmt: skip
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
    torch : callable, default=None
        The same function of a tensor, by functions of ``torch``, for
        `fastmlp.to_torch`.
    onnx : callable, default=None
        The same function of an array, by functions of NumPy, for
        `fastmlp.onnx.export`. It is also checked to give the same.
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
    The same function may be registered under its name again, also to add ``torch`` or
    ``onnx``. A saved model has the name only: register the function before you load it.

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

    def rows_of(functions, registered):
        own = registered(functions.CompiledActivation)
        compiled, z = own.compiled, _points()
        values, slopes = compiled(z)
        _check_finite(name, "function", values, z=z)
        step = _STEP * np.maximum(1, np.abs(z))
        _check_derivative(name, lambda t: compiled(z + t * step)[0], slopes, step, z=z)
        row = Activation(
            name, -1, formula, lambda z: compiled(z)[0], lambda z: compiled(z)[1],
            stores_derivatives=True, maps_zero_to_zero=compiled(0.0)[0] == 0,
            initialization=initialization, registered=own,
        )  # fmt: skip
        return [row]

    given = {"torch": torch, "onnx": onnx}
    for program, counterpart in given.items():
        if counterpart is not None and not callable(counterpart):
            raise TypeError(f"{program} is no function: {counterpart!r}")
    with _lock:
        is_new = name not in ACTIVATIONS
        _register("activation", name, function, derivative, options, rows_of)
        row = ACTIVATIONS[name]
        if onnx is not None:
            try:
                check_counterpart(row, "onnx", onnx)
            except (TypeError, ValueError):
                if is_new:
                    del ACTIVATIONS[name]
                raise
        counterparts = {**row.registered.counterparts} | {
            program: each for program, each in given.items() if each is not None
        }
        registered = row.registered._replace(counterparts=counterparts)
        ACTIVATIONS[name] = row._replace(registered=registered)


def check_counterpart(row, program, of_array):
    """Compare what other programs shall compute with an activation of a user.

    Parameters
    ----------
    row : fastmlp.tables.activations.Activation
    program : str
        The parameter of `register_activation` that gave it.
    of_array : callable
        From an array to an array, in float64.

    Raises
    ------
    TypeError
        If it cannot be called with arrays.
    ValueError
        If it gives other numbers.
    """
    z = _points().reshape(-1, 2)
    try:
        found = np.asarray(of_array(z), dtype=np.float64)
    except Exception as error:
        raise TypeError(
            f"the function that was given as {program}= of {row.name!r} cannot be "
            f"called with an array or a tensor: {type(error).__name__}: {error}"
        ) from error
    expected = row.value(z)
    if found.shape != z.shape:
        raise ValueError(
            f"the function that was given as {program}= of {row.name!r} makes the "
            f"shape {found.shape} of {z.shape}"
        )
    wrong = ~np.isclose(found, expected, rtol=1e-6, atol=1e-9)
    if wrong.any():
        i = tuple(np.argwhere(wrong)[0])
        raise ValueError(
            f"the function that was given as {program}= of {row.name!r} is another "
            f"one: at z = {z[i]:.6g} it gives {found[i]:.6g}, not {expected[i]:.6g}"
        )


def register_loss(
    name, function, derivative, *, task="regression", output_activation="identity",
    targets="real", formula="",
):  # fmt: skip
    """Register a loss of your own, to be used by its name.

    Parameters
    ----------
    name : str
        The value of ``loss`` that chooses it.
    function, derivative : callable
        Of a regression: the loss l(z, y) of a raw output z and a target y, and its
        derivative with respect to z. The loss of a sample is the mean over its outputs.

        Of a classification: the loss l(log_p) as a function of the logarithm of the
        probability of the class that the sample has, and its derivative with respect to
        log_p. Of several labels at once, it is the sum over them.

        They are compiled: write them with Python's arithmetic, conditions and functions
        of ``math``.
    task : {'regression', 'classification'}, default='regression'
        What it is a loss of.
    output_activation : {'identity', 'exp'}, default='identity'
        Of a regression: from raw outputs to predictions. With 'exp', the prediction is
        exp(z), as with ``loss='poisson'``.
    targets : {'real', 'non-negative', 'positive'}, default='real'
        Of a regression: what y may be.
    formula : str, default=''
        Text of the function, for those who read.

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

    Why log p, and not p: a probability too small for a number has a logarithm that is
    none the less precise, so that no loss needs clipping. Write ``math.exp(log_p)`` for
    p, and ``-math.expm1(log_p)`` for 1 - p. From log p to raw outputs, through the
    softmax or the logistic function, the chain rule is the package's: with l' the
    derivative, t the class and p_k the probability of class k, the derivative with
    respect to z_k is l'(log p_t) ([k = t] - p_k). ``label_smoothing`` spreads a target
    over all classes, each with its own loss.

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

    For classes, Poly-1 of Leng et al. (2022), -log p + 1 - p:

    >>> def poly1(log_p):
    ...     return -log_p - math.expm1(log_p)
    >>> def poly1_slope(log_p):
    ...     return -1 - math.exp(log_p)
    >>> fastmlp.register_loss("poly1", poly1, poly1_slope, task="classification")
    >>> fastmlp.MLPClassifier(loss="poly1").get_params()["loss"]
    'poly1'
    """
    for what, value, known in (
        ("task", task, {"regression", "classification"}),
        ("output_activation", output_activation, {"identity", "exp"}),
        ("targets", targets, set(_TARGETS)),
    ):
        if value not in known:
            raise ValueError(f"{what} must be among {sorted(known)}, got {value!r}")
    if task == "classification":
        for what, value, default in (
            ("output_activation", output_activation, "identity"),
            ("targets", targets, "real"),
        ):
            if value != default:
                raise ValueError(
                    f"{what}={value!r} is for task='regression': a loss of classes is "
                    "a function of the logarithm of a probability"
                )
        _register_loss_of_classes(name, function, derivative, formula)
        return
    options = {"output_activation": output_activation, "targets": targets,
               "formula": formula}  # fmt: skip
    is_in_range, message, sample_of = _TARGETS[targets]

    def rows_of(functions, registered):
        own = registered(functions.CompiledLoss)
        compiled = own.compiled
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
        row = Loss(
            name, -1, name, formula, output_activation,
            lambda z, y: compiled(z, y)[0], lambda z, y: compiled(z, y)[1],
            is_parametric=False, is_in_range=is_in_range, range=message,
            registered=own,
        )  # fmt: skip
        return [row]

    _register("loss", name, function, derivative, options, rows_of)
    REGRESSION_LOSSES.add(name)


def _register_loss_of_classes(name, function, derivative, formula):
    """Two rows, as the log loss has: for several classes, and for two or labels."""

    def row_of(own, name, **more):
        compiled = own.compiled
        return Loss(
            name, -1, formula=formula, is_parametric=False, is_of_classes=True,
            value=lambda z, y, *smoothing: compiled(z, y, *smoothing)[0],
            delta=lambda z, y, *smoothing: compiled(z, y, *smoothing)[1],
            registered=own, **more,
        )  # fmt: skip

    def rows_of(functions, registered):
        own = registered(functions.CompiledLossOfClasses)
        _check_loss_of_classes(name, own.compiled.at)
        return [
            row_of(own, name, choice=name, output_activation="softmax",
                   parameters=("smoothing",), where="several classes"),
            row_of(registered(functions.CompiledLossOfLabels), BINARY + name,
                   choice=name, output_activation="logistic",
                   where="two classes or labels"),
        ]  # fmt: skip

    options = {"task": "classification", "formula": formula}
    _register("loss", name, function, derivative, options, rows_of)
    CLASSIFICATION_LOSSES.add(name)


def _check_loss_of_classes(name, at):
    """Check functions of log p, which is between minus infinity and 0.

    at : from numbers to (values of the function, of the derivative).
    """
    rng = np.random.default_rng(0)
    sizes = np.log([-_MOST_LOG_P, -_LEAST_LOG_P])
    log_p = -np.exp(rng.uniform(*sizes, _N_POINTS))
    ends = np.array([0.0, _FAR_LOG_P])
    for points in (log_p, ends):
        values, slopes = at(points)
        _check_finite(name, "function", values, log_p=points)
        _check_finite(name, "derivative", slopes, log_p=points)
    slopes = at(log_p)[1]
    step = _STEP * np.minimum(1, -log_p)
    _check_derivative(
        name, lambda t: at(log_p + t * step)[0], slopes, step, log_p=log_p
    )
    if (slopes >= 0).all():
        raise ValueError(
            f"the loss {name!r} does not fall anywhere as the probability of the right "
            "class rises: check its sign"
        )


def _register(kind, name, function, derivative, options, rows_of):
    """Add rows to a table, if their functions are right and their names are free.

    rows_of : from the module that compiles functions, and what makes a `Registered` by
        one of its classes.
    """
    if not (isinstance(name, str) and name.isidentifier()) or iskeyword(name):
        raise ValueError(f"the name must be an identifier, got {name!r}")
    for what, value in (("function", function), ("derivative", derivative)):
        if not callable(value):
            raise TypeError(f"the {what} of {name!r} is no function: {value!r}")
    essence = _essence(function), _essence(derivative)
    table = {"activation": ACTIVATIONS, "loss": LOSSES}[kind]
    with _lock:
        row = table.get(name)
        if (kind, name) == ("loss", "auto") or (row and row.registered is None):
            raise ValueError(
                f"{name!r} is one of fastmlp's own: choose another name for your {kind}"
            )
        if row is not None:
            known = getattr(row, "choice", name), row.registered
            if known[0] == name and (essence, options) == (
                known[1].essence, known[1].options
            ):  # fmt: skip
                return
            raise ValueError(
                f"another {kind} is registered as {name!r}: choose another name, or "
                "start a new process to change it"
            )
        from fastmlp.compilation import functions

        def registered(compile_):
            compiled = compile_(function, derivative)
            return Registered(function, derivative, options, essence, compiled)

        rows = rows_of(functions, registered)
        for row in rows:
            if row.name in table:  # such as that of two classes
                raise ValueError(
                    f"another {kind} is registered as {row.name!r}, which {name!r} "
                    "needs: choose another name"
                )
        table.update((row.name, row) for row in rows)


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
