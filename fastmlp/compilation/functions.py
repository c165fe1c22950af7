"""Functions of users, compiled for kernels to call.

Kernels call them by address, once per block of numbers: so no kernel is compiled again
for such a function, and none is kept on disk under its name. They are compiled anew in
each process, which takes a fraction of a second.
"""

import ctypes
import math
from types import CellType, FunctionType

import numba
import numpy as np
from numba.core import errors

from fastmlp.native_threads import undisturbed

__all__ = [
    "CompiledActivation",
    "CompiledLoss",
    "CompiledLossOfClasses",
    "CompiledLossOfLabels",
]

_TYPES = {np.dtype(np.float32): numba.float32, np.dtype(np.float64): numba.float64}


def _jitted(function, callers=()):
    """A function, and the functions that it calls, for numba to compile."""
    plain = getattr(function, "py_func", function)  # of one that numba has compiled
    if not isinstance(plain, FunctionType):
        return plain
    callers = (*callers, plain)

    def part(value):
        is_helper = isinstance(value, FunctionType) and value not in callers
        return _jitted(value, callers) if is_helper else value

    used = {
        name: part(plain.__globals__[name])
        for name in plain.__code__.co_names
        if name in plain.__globals__
    }
    cells = [CellType(part(c.cell_contents)) for c in plain.__closure__ or ()]
    copy = FunctionType(
        plain.__code__, {**plain.__globals__, **used}, plain.__name__,
        plain.__defaults__, tuple(cells),
    )  # fmt: skip
    return numba.njit(error_model="numpy")(copy)


def _scalar(function, kind, n_arguments, what):
    """A function of numbers, compiled.

    Raises
    ------
    TypeError
        If it cannot be compiled, or does not return a real number.
    """
    compiled = _jitted(function)
    if not hasattr(compiled, "nopython_signatures"):
        raise TypeError(
            f"the {what} must be a function written in Python, got {function!r}: put "
            "it into a function of your own"
        )
    try:
        undisturbed(compiled.compile, (kind,) * n_arguments)
    except (errors.NumbaError, TypeError) as error:  # a TypeError: of other arguments
        reason = str(error).strip().partition("\n")[2].strip() or str(error)
        raise TypeError(
            f"the {what} cannot be compiled. It must be a function of {n_arguments} "
            f"number{'s' if n_arguments > 1 else ''}, written with Python's arithmetic "
            f"and functions of math:\n{reason}"
        ) from error
    result = compiled.nopython_signatures[-1].return_type
    if not isinstance(result, numba.types.Integer | numba.types.Float):
        raise TypeError(f"the {what} must return a number, not {result}")
    return compiled


class _Compiled:
    """Blocks of C for both precisions.

    Parameters
    ----------
    functions : sequence of (callable, str)
        Functions of numbers, and what they are called in messages.
    """

    _n_arguments = 1

    def __init__(self, *functions):
        self._blocks = {}
        for dtype, kind in _TYPES.items():
            scalars = [_scalar(f, kind, self._n_arguments, what)
                       for f, what in functions]  # fmt: skip
            self._blocks[dtype] = undisturbed(self._compile, kind, *scalars)

    def address_for(self, dtype):
        """The address of the block that kernels of a precision call."""
        return self._blocks[np.dtype(dtype)].address

    def _call(self, *arguments):
        """Call the block for float64; arrays stand for their addresses."""
        self._blocks[np.dtype(np.float64)].ctypes(*(
            ctypes.cast(a.ctypes.data, ctypes.POINTER(ctypes.c_double))
            if isinstance(a, np.ndarray) else a
            for a in arguments
        ))  # fmt: skip


class CompiledActivation(_Compiled):
    """An activation function and its derivative, both of z.

    Parameters
    ----------
    function, derivative : callable
    """

    def __init__(self, function, derivative):
        super().__init__((function, "function"), (derivative, "derivative"))

    @staticmethod
    def _compile(kind, value, slope):
        pointer = numba.types.CPointer(kind)

        def block(z, derivatives, count, stores):
            """z[i] <- g(z[i]), and derivatives[i] = g'(z[i]) if `stores`."""
            if stores:
                for i in range(count):
                    x = z[i]
                    is_nan = x != x  # which must be noticed, whatever g makes of it
                    derivatives[i] = x if is_nan else kind(slope(x))
                    z[i] = x if is_nan else kind(value(x))
            else:
                for i in range(count):
                    x = z[i]
                    z[i] = x if x != x else kind(value(x))

        signature = numba.void(pointer, pointer, numba.int64, numba.int64)
        return numba.cfunc(signature, error_model="numpy")(block)

    def __call__(self, z):
        """(g(z), g'(z)) of an array, in float64."""
        a = np.array(z, dtype=np.float64, order="C")
        slopes = np.empty_like(a)
        self._call(a, slopes, a.size, 1)
        return a, slopes


class CompiledLoss(_Compiled):
    """The loss of one output and its derivative by z, both of (z, y).

    Parameters
    ----------
    function, derivative : callable
    """

    _n_arguments = 2

    def __init__(self, function, derivative):
        super().__init__((function, "function"), (derivative, "derivative"))

    @staticmethod
    def _compile(kind, value, slope):
        pointer = numba.types.CPointer(kind)

        def block(z, targets, losses, parameters, n_outputs, rows):
            """losses[r] = mean loss of the outputs; z <- derivatives of it."""
            share = kind(1.0) / kind(n_outputs)
            for r in range(rows):
                losses[r] = kind(0.0)
            for j in range(n_outputs):
                for r in range(rows):
                    i = j * rows + r
                    x, y = z[i], targets[i]
                    is_nan = x != x
                    loss, derivative = kind(value(x, y)), kind(slope(x, y))
                    losses[r] += x if is_nan else share * loss
                    z[i] = x if is_nan else share * derivative

        return numba.cfunc(_of_blocks(pointer), error_model="numpy")(block)

    def __call__(self, z, y, *parameters):
        """(losses of samples, derivatives) of arrays (n_samples, n_outputs)."""
        n_samples, n_outputs = np.shape(z)
        deltas = np.array(np.transpose(z), dtype=np.float64, order="C")
        targets = np.array(np.transpose(y), dtype=np.float64, order="C")
        losses = np.empty(n_samples)
        given = np.array([*parameters, 0.0])
        self._call(deltas, targets, losses, given, n_outputs, n_samples)
        return losses, deltas.T.copy()


def _of_blocks(pointer):
    """The signature of losses: see `fastmlp.kernels.losses.any_loss_and_deltas`."""
    return numba.void(*(pointer,) * 4, numba.int64, numba.int64)


class CompiledLossOfClasses(CompiledLoss):
    """The loss of a sample by the logarithm of the probability of its class.

    With smoothed targets y_j, p = softmax z and l the function, the loss is
    sum_j y_j l(log p_j). With h_j = y_j l'(log p_j), its derivative with respect to z_k
    is h_k (1 - p_k) - p_k sum_{j != k} h_j.

    Everything is computed in float64, for float32 as well: the function is given the
    logarithm, which is precise for any p, down to those that no number can hold.

    Parameters
    ----------
    function, derivative : callable
        l and l', of log p.
    """

    _n_arguments = 1

    def __init__(self, function, derivative):
        double = numba.float64
        self._value = _scalar(function, double, 1, "function")
        self._slope = _scalar(derivative, double, 1, "derivative")
        self._blocks = {
            dtype: undisturbed(self._compile, kind, self._value, self._slope)
            for dtype, kind in _TYPES.items()
        }

    def at(self, log_p):
        """(values of the function, of the derivative) at numbers, as arrays."""
        return tuple(
            np.array([f(number) for number in log_p], dtype=np.float64)
            for f in (self._value, self._slope)
        )

    @staticmethod
    def _compile(kind, value, slope):
        pointer, double = numba.types.CPointer(kind), numba.float64

        def block(z, targets, losses, parameters, n_outputs, rows):
            """losses[r] = loss of row r, whose class is targets[r]; z <- derivatives.

            parameters : the share of a target that is spread over all classes.
            """
            low = double(parameters[0]) / n_outputs
            high = 1.0 - parameters[0] + low
            for r in range(rows):
                top = 0
                for j in range(1, n_outputs):
                    top = j if z[j * rows + r] > z[top * rows + r] else top
                largest, others = double(z[top * rows + r]), 0.0
                for j in range(n_outputs):
                    if j != top:
                        others += math.exp(z[j * rows + r] - largest)
                log_sum = math.log1p(others)
                loss, total = 0.0, 0.0
                for j in range(n_outputs):
                    y = high if targets[r] == j else low
                    if y != 0.0:
                        log_p = (z[j * rows + r] - largest) - log_sum
                        loss += y * value(log_p)
                        total += y * slope(log_p)
                is_nan = others != others  # to be noticed, whatever l makes of it
                losses[r] = kind(others if is_nan else loss)
                for j in range(n_outputs):
                    y = high if targets[r] == j else low
                    log_p = (z[j * rows + r] - largest) - log_sum
                    own = y * slope(log_p) if y != 0.0 else 0.0
                    delta = -math.expm1(log_p) * own - math.exp(log_p) * (total - own)
                    z[j * rows + r] = kind(others if is_nan else delta)

        return numba.cfunc(_of_blocks(pointer), error_model="numpy")(block)


class CompiledLossOfLabels(CompiledLossOfClasses):
    """The same of labels, each of which is there or not, summed over them.

    With p = 1 / (1 + exp(-z)) and q = 1 - p, it is y l(log p) + (1 - y) l(log q), and
    its derivative y l'(log p) q - (1 - y) l'(log q) p.
    """

    @staticmethod
    def _compile(kind, value, slope):
        pointer, double = numba.types.CPointer(kind), numba.float64

        def block(z, targets, losses, parameters, n_outputs, rows):
            """losses[r] = sum of the losses of labels; z <- derivatives."""
            for r in range(rows):
                loss = 0.0
                for j in range(n_outputs):
                    i = j * rows + r
                    x, y, delta = double(z[i]), double(targets[i]), 0.0
                    tail = math.log1p(math.exp(-abs(x)))
                    log_p, log_q = min(x, 0.0) - tail, min(-x, 0.0) - tail
                    if y != 0.0:
                        loss += y * value(log_p)
                        delta += y * slope(log_p) * math.exp(log_q)
                    if y != 1.0:
                        loss += (1.0 - y) * value(log_q)
                        delta -= (1.0 - y) * slope(log_q) * math.exp(log_p)
                    is_nan = x != x
                    loss = x if is_nan else loss
                    z[i] = kind(x if is_nan else delta)
                losses[r] = kind(loss)

        return numba.cfunc(_of_blocks(pointer), error_model="numpy")(block)
