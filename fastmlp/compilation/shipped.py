"""Kernels that come with the package: one shared library for each level of CPUs.

A wheel holds machine code of entry points, made by `fastmlp.commands.build_kernels`
from the same sources, in the same way as at run time. Where it fits, neither numba nor
LLVM is imported. Where it does not, kernels are compiled when they are needed.
"""

import ctypes
import hashlib
import json
import os
import warnings
from functools import partial
from itertools import repeat
from pathlib import Path

import numpy as np

from fastmlp.compilation.levels import levels_of_this_cpu
from fastmlp.compilation.sources import SOURCES

__all__ = ["SUFFIX", "Choice", "Library", "choose", "directory", "symbol_of"]

#: Of the libraries' names, on all systems; a manifest of the same name ends in ".json".
SUFFIX = ".so"


def directory():
    """Where libraries are: in the package, or where a variable says."""
    chosen = os.environ.get("FASTMLP_LIBRARIES")
    return Path(chosen).absolute() if chosen else Path(__file__).with_name("libraries")


class _Number:
    """A parameter that only says by its type in which precision to compute."""

    def __init__(self, kind):
        # always zero, and made in C: a Python function would take longer
        self.from_param = partial(next, repeat(kind(0)))


#: Type of an argument -> its letter in a symbol, and what ctypes makes of it.
_KINDS = {
    int: ("i", ctypes.c_int64),
    np.int64: ("i", ctypes.c_int64),
    np.float32: ("f", _Number(ctypes.c_float)),
    np.float64: ("d", _Number(ctypes.c_double)),
    bool: ("b", ctypes.c_uint8),
    type(None): ("n", ctypes.c_void_p),
}


def symbol_of(name, kinds):
    """Name of an entry point in a library, for arguments of these types."""
    letters = "".join(_KINDS[kind][0] for kind in kinds)
    return f"fastmlp_{name}_{letters}"


class Library:
    """A shared library of kernels, checked and loaded.

    Raises
    ------
    ValueError
        If it is damaged, of other sources, or of another level.
    OSError
        If it cannot be read or loaded.
    """

    def __init__(self, path, level):
        manifest = json.loads(path.with_suffix(".json").read_text())
        if manifest["sources"] != SOURCES.hexdigest():
            raise ValueError("it was made of other sources")
        if manifest["level"] != [level.name, level.cpu, level.listed]:
            raise ValueError(f"it is for CPUs of another level: {manifest['level']}")
        if manifest["library"] != hashlib.sha256(path.read_bytes()).hexdigest():
            raise ValueError("its content was changed")
        self.path = path
        self.level = level
        self._functions = ctypes.CDLL(str(path))

    def function(self, name, kinds):
        """The entry point of that name for arguments of these types."""
        function = self._functions[symbol_of(name, kinds)]
        # numba's convention: results and errors, of which there are none, come first
        function.argtypes = [
            ctypes.c_void_p, ctypes.c_void_p, *(_KINDS[kind][1] for kind in kinds)
        ]  # fmt: skip
        function.restype = ctypes.c_int32
        return function


class Choice:
    """Where this process has its kernels from: `library`, or None; and why."""

    def __init__(self, library, reason):
        self.library = library
        self.reason = reason

    def jit(self, function=None, *, flags=(), entry=False):
        """Instead of `fastmlp.compilation.compiler.jit`, where there is a library."""

        def decorate(function):
            if entry:
                return _Entry(self.library, function)
            function.py_func = function  # what numba calls it
            return function

        return decorate if function is None else decorate(function)


class _Entry:
    """An entry point in a library, called like numba's."""

    def __init__(self, library, function):
        self.py_func = function
        self._library = library
        self._results = np.zeros(2, np.intp)  # None, and no error
        self._by_kinds = {}

    def __call__(self, *arguments):
        kinds = tuple(map(type, arguments))
        try:
            call = self._by_kinds[kinds]
        except KeyError:
            call = self._by_kinds[kinds] = self._find(kinds)
        call(*arguments)

    def _find(self, kinds):
        name, first = self.py_func.__name__, self._results.ctypes.data
        try:
            function = self._library.function(name, kinds)
            return partial(function, first, first + self._results.itemsize)
        except (AttributeError, KeyError):
            asked = ", ".join(kind.__name__ for kind in kinds)
            raise RuntimeError(
                f"{self._library.path} has no kernel {name!r} for ({asked}). Set "
                "FASTMLP_JIT=1 to have kernels compiled when they are needed"
            ) from None


def choose():
    """The library of the highest level that this CPU can run, or none.

    One that does not fit is never called: a warning says so, and kernels are compiled.
    """
    if os.environ.get("FASTMLP_JIT", "0") not in ("", "0"):
        return Choice(None, "FASTMLP_JIT is set")
    for level in levels_of_this_cpu():
        path = directory() / f"{level.machine}-{level.name}{SUFFIX}"
        if not path.is_file():
            continue
        try:
            return Choice(
                Library(path, level),
                f"{level.name}, the highest that this CPU can run and that is there",
            )
        except Exception as error:  # of any kind: we can compile
            reason = f"{path} is not used: {error}"
            warnings.warn(
                f"fastmlp compiles kernels although they came with it: {reason}. "
                "Install fastmlp again, or set FASTMLP_JIT=1 to hide this warning.",
                RuntimeWarning,
                stacklevel=2,
            )
            return Choice(None, reason)
    return Choice(None, "no kernels for this CPU came with this installation")
