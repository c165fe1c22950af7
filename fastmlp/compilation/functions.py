"""Functions of users, compiled for kernels to call.

Kernels call them by address, once per block of numbers: so no kernel is compiled again
for such a function, and none is kept on disk under its name. They are compiled anew in
each process, which takes a fraction of a second.
"""

import ctypes
from types import CellType, FunctionType

import numba
import numpy as np
from numba.core import errors

from fastmlp.native_threads import undisturbed

__all__ = ["CompiledActivation", "CompiledLoss"]

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

        def block(z, targets, losses, n_outputs, rows):
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

        signature = numba.void(pointer, pointer, pointer, numba.int64, numba.int64)
        return numba.cfunc(signature, error_model="numpy")(block)

    def __call__(self, z, y):
        """(losses of samples, derivatives) of arrays (n_samples, n_outputs)."""
        n_samples, n_outputs = np.shape(z)
        deltas = np.array(np.transpose(z), dtype=np.float64, order="C")
        targets = np.array(np.transpose(y), dtype=np.float64, order="C")
        losses = np.empty(n_samples)
        self._call(deltas, targets, losses, n_outputs, n_samples)
        return losses, deltas.T.copy()
