"""Checkpoints: files from which a fit resumes after a crash.

A checkpoint is a NumPy npz file without pickled objects: arrays, and one JSON text. It
is written next to the old one and then replaces it, so that there is a complete file at
any time.
"""

import contextlib
import hashlib
import json
import os
import sys
import sysconfig
import tempfile
import time
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType

import numpy as np
from scipy.sparse import issparse

__all__ = ["Checkpoint", "fingerprint"]

_FORMAT = 1

_PLAIN = str | bytes | int | float | complex | np.generic

#: Attributes of classes that do not affect what their objects do.
_OF_EACH_CLASS = {"__dict__", "__weakref__", "__doc__", "__module__", "__slots__"}

#: Arrays of a network that a fit changes, if they exist.
_ARRAYS = ("parameters", "first_moment", "second_moment", "average")

#: The pause between two files is at least this many times the time to write one.
_LEAST_PAUSE = 10.0


def _feed(digest, value):
    """Update a digest with a value: arrays, plain values, callables, containers."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int | float):  # 1, 1.0, True and numpy's are the same number
        is_whole = value == value // 1
        digest.update(repr(int(value) if is_whole else float(value)).encode())
    elif value is None or isinstance(value, str):
        digest.update(repr(value).encode())
    elif issparse(value):
        digest.update(f"{value.format} {value.shape}".encode())
        for part in (value.indptr, value.indices, value.data):
            _feed(digest, part)
    elif isinstance(value, np.random.RandomState):
        _feed(digest, [*value.get_state()])
    elif isinstance(value, list | tuple):
        digest.update(f"{len(value)} values".encode())
        for part in value:
            _feed(digest, part)
    elif isinstance(value, dict):
        for name in sorted(value, key=str):
            _feed(digest, [name, value[name]])
    elif callable(value):
        _feed(digest, _told_apart(value))
    else:
        array = np.asarray(value)
        digest.update(f"{array.dtype} {array.shape}".encode())
        array = np.atleast_1d(array)
        if array.dtype == object:
            digest.update(repr(array.tolist()).encode())
        else:
            for start in range(0, len(array), 4096):
                rows = np.ascontiguousarray(array[start : start + 4096])
                digest.update(rows.view(np.uint8) if rows.size else b"")
    digest.update(b"\n")


def _told_apart(value, seen=None):
    """Plain values that distinguish a callable from others.

    These are its code and all values that it uses: defaults, closure, globals that it
    names, and attributes. Code of installed packages is identified by its name.
    """
    if value is None or isinstance(value, _PLAIN):
        return value
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value
    if isinstance(value, os.PathLike):  # these cache properties that were read
        return os.fspath(value)
    seen = {} if seen is None else seen

    def parts(values):
        return [_told_apart(each, seen) for each in values]

    if isinstance(value, tuple):
        return parts(value)
    if isinstance(value, CodeType):
        return [value.co_code.hex(), value.co_names, parts(value.co_consts)]
    if isinstance(value, MethodType):
        return parts([value.__func__, value.__self__])
    if id(value) in seen:  # functions that call each other
        return seen[id(value)][0]
    seen[id(value)] = len(seen), value  # kept alive, so that its id is not reused
    name = getattr(value, "__qualname__", getattr(value, "__name__", None))
    if isinstance(value, list | np.ndarray):
        return parts(value)
    if isinstance(value, dict):
        return parts(value.items())
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if isinstance(value, partial):
        return parts([value.func, value.args, value.keywords])
    if isinstance(value, FunctionType):
        code, used, cells = value.__code__, (), []
        for cell in value.__closure__ or ():
            with contextlib.suppress(ValueError):  # the cell is still empty
                cells.append(cell.cell_contents)
        if not _is_installed(code.co_filename):
            used = code, *(value.__globals__.get(name) for name in code.co_names)
        given = value.__defaults__, value.__kwdefaults__, *cells, *used
        return [name, *parts(given)]
    if isinstance(value, type):
        module = sys.modules.get(value.__module__)
        file = getattr(module, "__file__", None) or ""
        if value.__module__ == "builtins" or _is_installed(file):
            return name
        own = [item for item in vars(value).items() if item[0] not in _OF_EACH_CLASS]
        return [name, *parts(own), *parts(value.__bases__)]
    if isinstance(value, ModuleType):
        return name
    if isinstance(value, property):
        return parts([value.fget])
    if hasattr(value, "__wrapped__"):  # compiled or cached functions
        return parts([value.__wrapped__])
    state = [*getattr(value, "__dict__", {}).items()]
    for cls in type(value).__mro__:
        slots = vars(cls).get("__slots__", ())
        slots = (slots,) if isinstance(slots, str) else slots
        state += [(slot, getattr(value, slot, None)) for slot in slots]
    return [name, *parts([type(value), *state])]


def _is_installed(file):
    """Whether a file belongs to Python or to an installed package."""
    python = sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), "<frozen"
    return file.startswith(python) or any(
        f"{kind}-packages" in file for kind in ("site", "dist")
    )


def fingerprint(*values):
    """A digest that distinguishes parameters and data from others.

    Parameters
    ----------
    *values : object
        Arrays, sparse matrices, plain values, random states, callables, and lists and
        dicts of these.
    """
    digest = hashlib.sha256()
    _feed(digest, [*values])
    return digest.hexdigest()


class Checkpoint:
    """The file that a fit writes at the end of epochs.

    Parameters
    ----------
    path : str or path-like
        Path of the file.
    identity : str
        `fingerprint` of the parameters and the data.
    precision : str
        Precision of this attempt.
    """

    def __init__(self, path, identity, precision):
        self._path = Path(path)
        self._identity = identity
        self._precision = precision
        self._next = 0.0  # earliest time of the next file
        self._content = self._read()
        self._start = None  # random state before anything was drawn
        try:
            with tempfile.TemporaryFile(dir=self._path.parent):
                pass
        except OSError as error:
            raise ValueError(
                f"checkpoint={str(path)!r} cannot be written: creating a file in "
                f"{str(self._path.parent)!r} failed ({error.strerror})"
            ) from error

    @property
    def needs_float64(self):
        """Whether the fit had already started again in float64."""
        kept = self._content
        return kept is not None and kept[0]["precision"] > self._precision

    def _read(self):
        """(values, arrays) of the file, or None if there is none.

        Raises
        ------
        ValueError
            If it is not a checkpoint, or one of another fit.
        """
        if not self._path.exists():
            return None
        try:
            # np.load does not close a file that it cannot read
            with (
                open(self._path, "rb") as stream,
                np.load(stream, allow_pickle=False) as file,
            ):
                arrays = dict(file)
            values = json.loads(str(arrays.pop("values")))
            found, identity = values["format"], values["identity"]
        except Exception as error:
            raise self._damaged(error) from error
        if found != _FORMAT or identity != self._identity:
            raise ValueError(
                f"checkpoint={str(self._path)!r} is of a fit with other parameters or "
                "data (or of one that is still running: each fit needs its own file), "
                "or of another version of fastmlp. The file was not changed. Use the "
                "same parameters and data to resume, choose another file, or delete "
                "this one"
            )
        return values, arrays

    def _damaged(self, error):
        return ValueError(
            f"checkpoint={str(self._path)!r} is not a checkpoint, or is damaged "
            f"({error}). The file was not changed: choose another file, or delete this "
            "one"
        )

    def begin(self, random_state):
        """Make this fit draw the same weights, split and masks as the earlier one.

        random_state : numpy.random.RandomState, from which nothing was drawn yet.
        """
        kind = random_state.get_state(legacy=False)["bit_generator"]
        if kind != "MT19937":
            raise ValueError(
                "checkpoint needs a random_state of NumPy's default kind, MT19937, got "
                f"{kind}: set random_state to an integer"
            )
        if self._content is not None:
            values, arrays = self._content
            try:
                words, rest = arrays["first words"], values["first random state"]
                random_state.set_state(("MT19937", words, *rest))
            except (KeyError, TypeError, ValueError) as error:
                raise self._damaged(error) from error
        self._start = random_state.get_state()[1:]

    def restore(self, state):
        """Restore the state of a fit at the end of the last epoch in the file.

        Parameters
        ----------
        state : fastmlp.training.TrainingState
        """
        if self._content is None or self._content[0]["precision"] != self._precision:
            return
        try:
            self._restore(state)
        except (KeyError, TypeError, ValueError) as error:
            raise self._damaged(error) from error

    def _restore(self, state):
        values, arrays = self._content
        network, validation = state.job.network, state.validation

        def write(name, to):
            groups = (
                [arrays[f"{name} {group} {i}"] for i in range(count)]
                for group, count in network.groups.items()
            )
            network.write(*groups, array=to)

        for name in _ARRAYS:
            if network.arena.arrays[name].size:
                write(name, name)
        if validation is not None and values["keeps_best"]:
            validation.best = np.zeros_like(network.arena.arrays["parameters"])
            write("best", validation.best)
        state.job.order[:] = arrays["order"]
        state.random_state.set_state(
            ("MT19937", arrays["random words"], *values["random state"])
        )
        state.optimizer.n_updates = values["n_updates"]
        state.optimizer.schedule.rate = values["rate"]
        state.stopping.best, state.stopping.count = values["best"], values["count"]
        history = state.history
        history.finished = values["finished"]
        for name in ("loss_curve", "validation_scores", "validation_losses"):
            numbers = arrays[name]
            is_loss = name == "loss_curve"
            getattr(history, name)[:] = numbers if is_loss else numbers.tolist()

    def keep(self, state):
        """Write the file, unless the last one was written too recently."""
        if time.monotonic() < self._next:
            return
        started = time.monotonic()
        network, validation = state.job.network, state.validation
        best = None if validation is None else validation.best
        kept = {name: name for name in _ARRAYS if network.arena.arrays[name].size}
        if best is not None:
            kept["best"] = best
        history = state.history
        arrays = {
            "order": state.job.order,
            "loss_curve": np.array(history.loss_curve, np.float64),
            "validation_scores": np.array(history.validation_scores, np.float64),
            "validation_losses": np.array(history.validation_losses, np.float64),
        }
        for name, array in kept.items():
            for group, numbers in zip(
                network.groups, network.read(array=array), strict=True
            ):
                arrays.update({f"{name} {group} {i}": a for i, a in enumerate(numbers)})
        _, words, *rest = state.random_state.get_state()
        arrays["random words"] = words
        arrays["first words"], *first = self._start
        values = {
            "format": _FORMAT,
            "identity": self._identity,
            "precision": self._precision,
            "random state": rest,
            "first random state": first,
            "n_updates": int(state.optimizer.n_updates),
            "rate": float(state.optimizer.schedule.rate),
            "best": float(state.stopping.best),
            "count": int(state.stopping.count),
            "keeps_best": best is not None,
            "finished": history.finished,
        }
        self._write({**arrays, "values": np.array(json.dumps(values))})
        seconds = time.monotonic() - started
        self._next = time.monotonic() + _LEAST_PAUSE * seconds

    def _write(self, arrays):
        handle, temporary = tempfile.mkstemp(dir=self._path.parent, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **arrays)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def remove(self):
        """Delete the file, at the end of a fit: the next fit starts afresh."""
        self._path.unlink(missing_ok=True)
