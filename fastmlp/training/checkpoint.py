"""Checkpoints: files from which a fit resumes after a crash.

A checkpoint is a NumPy npz file without pickled objects: arrays, and one JSON text. It
is written next to the old one and then replaces it, so that there is a complete file at
any time. All that is in one is checked before a kernel or a generator sees it.
"""

import glob
import json
import math
import os
import tempfile
import time
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from fastmlp.training.fingerprint import fingerprint

__all__ = ["Checkpoint"]

_FORMAT = 3

#: Curves of a fit; all but the first need samples to validate on.
_CURVES = ("loss_curve", "validation_scores", "validation_losses")

#: The pause between two files is at least this many times the time to write one.
_LEAST_PAUSE = 10.0

#: Between the names of the file and the random part of that of one to replace it.
_MARK = "-checkpoint-"

#: Seconds since such a file was written to, after which its process must be dead.
_ABANDONED = 600.0


def _random_state(words, rest):
    """What `set_state` takes; words of zeros would make it draw zeros for ever."""
    position, has_gauss, cached = rest
    if not (
        (words.dtype, words.shape) == (np.uint32, (624,))
        and words[1:].any()
        and type(position) is type(has_gauss) is int
        and 0 <= position <= 624
        and has_gauss in (0, 1)
        and math.isfinite(cached)
    ):
        raise ValueError("it has no state of a random generator")
    return "MT19937", words, position, has_gauss, cached


def _arrays_of(state):
    """name -> array in the layout of the network, of all that a fit changes there."""
    network = state.network
    kept = {name: network.arena.arrays[name] for name in network.vectors}
    if state.validation is not None and state.validation.best is not None:
        kept["best"] = state.validation.best
    return kept


class Checkpoint:
    """The file that a fit writes at the end of epochs, or of blocks of an epoch.

    Parameters
    ----------
    path : str or path-like
        Path of the file, made absolute when this is created; links are followed.
    identity : str
        Fingerprint of the parameters and the data.
    """

    def __init__(self, path, identity):
        self._path = Path(os.path.realpath(path))
        name = self._path.name + _MARK
        self._part = {"dir": self._path.parent, "prefix": name, "suffix": ".part"}
        self._identity = identity
        self._precision = None  # of this attempt
        self._next = 0.0  # earliest time of the next file
        self._has_warned = False
        self._start = None  # random state before anything was drawn
        try:
            with tempfile.NamedTemporaryFile(**self._part):
                pass
        except OSError as error:
            raise ValueError(
                f"checkpoint={str(path)!r} cannot be written: creating a file in "
                f"{str(self._path.parent)!r} failed ({error.strerror})"
            ) from error
        self._content = self._read()
        self._remove_abandoned()

    @property
    def precision(self):
        """What the fit in the file had come to compute in; None if there is no file."""
        return self._content and self._content[0]["precision"]

    @contextmanager
    def _reading(self):
        """Whatever fails in here, fails because of the file."""
        try:
            yield
        except Exception as error:
            raise ValueError(
                f"checkpoint={str(self._path)!r} is not a checkpoint, or is damaged "
                f"({error}). The file was not changed: choose another file, or delete "
                "this one"
            ) from error

    def _read(self):
        """(values, arrays) of the file, or None if there is none."""
        if not os.path.exists(self._path):
            return None
        with self._reading():
            # np.load does not close a file that it cannot read
            with (
                open(self._path, "rb") as stream,
                np.load(stream, allow_pickle=False) as file,
            ):
                arrays = dict(file)
            values = json.loads(str(arrays.pop("values")))
            found, identity = values["format"], values["identity"]
            digest, known = str(arrays.pop("digest")), ("float32", "float64")
            if (
                digest != fingerprint(values, arrays)
                or values["precision"] not in known
            ):
                raise ValueError("its content was changed")
        if found != _FORMAT or identity != self._identity:
            raise ValueError(
                f"checkpoint={str(self._path)!r} is of a fit with other parameters or "
                "data (or of one that is still running: each fit needs its own file), "
                "or of another version of fastmlp. The file was not changed. Use the "
                "same parameters and data to resume, choose another file, or delete "
                "this one"
            )
        return values, arrays

    def begin(self, random_state, precision):
        """Make an attempt draw the same weights, split and masks as the earlier ones.

        random_state : numpy.random.RandomState, from which nothing was drawn yet.
        precision : str, of this attempt.
        """
        kind = random_state.get_state(legacy=False)["bit_generator"]
        if kind != "MT19937":
            raise ValueError(
                "checkpoint needs a random_state of NumPy's default kind, MT19937, got "
                f"{kind}: set random_state to an integer"
            )
        self._precision = precision
        if self._content:
            values, arrays = self._content
            with self._reading():
                first = arrays["first words"], values["first random state"]
                self._start = _random_state(*first)
        self._start = self._start or random_state.get_state()
        random_state.set_state(self._start)

    def restore(self, state):
        """Bring a `Run` to the end of the last epoch in the file, or of a block."""
        if self._content and self.precision == self._precision:
            with self._reading():
                self._restore(state, *self._content)
        self._content = None

    def _restore(self, state, values, arrays):
        network, history = state.network, state.history
        if state.validation is not None and "best" in arrays:
            state.validation.keep()  # makes room for them
        own_values, own_arrays = self._snapshot(state)
        n_epochs, blocks = arrays["curves"].shape[-1], state.blocks
        n_blocks = 0 if blocks is None else values["blocks"]
        if blocks is None:
            order = np.sort(state.job.order)
        else:  # of the block before
            order = np.arange(blocks.rows_of((n_blocks or blocks.n_blocks) - 1))
            own_arrays["order"] = order
        own_arrays["curves"] = np.empty((len(own_arrays["curves"]), n_epochs))
        finite = [arrays.get(name, 0) for name in ("parameters", "average", "best")]
        if not (
            {name: type(value) for name, value in values.items()}
            == {name: type(value) for name, value in own_values.items()}
            and {name: (each.dtype, each.shape) for name, each in arrays.items()}
            == {name: (each.dtype, each.shape) for name, each in own_arrays.items()}
            and all(np.isfinite(array).all() for array in finite)
            and np.array_equal(np.sort(arrays["order"]), order)
            and n_epochs + n_blocks > 0
            and n_epochs + (n_blocks > 0) <= state.max_iter
            and (blocks is None or 0 <= n_blocks < blocks.n_blocks)
            and 0 <= values["count"] <= state.stopping.count + n_epochs
            and 0 <= values["rate"] < math.inf
            and not math.isnan(values["best"])
        ):
            raise ValueError("its content cannot come from this fit")
        state.random_state.set_state(
            _random_state(arrays["random words"], values["random state"])
        )
        for name, array in _arrays_of(state).items():
            network.write(*network.split(arrays[name]), array=array)
        for name, numbers in zip(_CURVES, arrays["curves"], strict=False):
            is_loss = name == "loss_curve"
            getattr(history, name)[:] = numbers if is_loss else numbers.tolist()
        history.finished = values["finished"]
        n_updates = n_epochs * state.n_steps
        if blocks is None:
            state.job.order[:] = arrays["order"]
        else:
            blocks.resume(n_epochs, n_blocks, values["total"], arrays["order"])
            n_updates += n_blocks * blocks.steps_of_a_block
        state.optimizer.n_updates = n_updates
        state.optimizer.schedule.rate = values["rate"]
        state.stopping.best, state.stopping.count = values["best"], values["count"]

    def _snapshot(self, state):
        """(values, arrays) of a file, in a layout that does not depend on the CPU."""
        network, history = state.network, state.history
        curves = _CURVES if state.validation is not None else _CURVES[:1]
        arrays = {
            "order": (state.job if state.blocks is None else state.blocks).order,
            "curves": np.array([getattr(history, name) for name in curves], np.float64),
        }
        for name, array in _arrays_of(state).items():
            arrays[name] = np.empty(network.n_parameters, network.dtype)
            network.read(array=array, out=network.split(arrays[name]))
        _, arrays["random words"], *rest = state.random_state.get_state()
        _, arrays["first words"], *first = self._start
        values = {
            "format": _FORMAT,
            "identity": self._identity,
            "precision": self._precision,
            "random state": rest,
            "first random state": first,
            "rate": float(state.optimizer.schedule.rate),
            "best": float(state.stopping.best),
            "count": int(state.stopping.count),
            "finished": history.finished,
        }
        if state.blocks is not None:
            values["blocks"] = state.blocks.n_done
            values["total"] = float(state.blocks.total)
        return values, arrays

    def keep(self, state):
        """Write the file, unless the last one was written too recently.

        Weights that are not finite are not worth resuming from.
        """
        started = time.monotonic()
        if started < self._next or not state.network.is_finite():
            return
        values, arrays = self._snapshot(state)
        arrays["digest"] = np.array(fingerprint(values, arrays))
        arrays["values"] = np.array(json.dumps(values))
        try:
            self._write(arrays)
        except OSError as error:
            self._warn(
                f"could not be written ({error}). Training continues, and it is tried "
                "again later; what was written before stays until then"
            )
        now = time.monotonic()
        self._next = now + _LEAST_PAUSE * (now - started)

    def _write(self, arrays):
        handle, temporary = tempfile.mkstemp(**self._part)
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **arrays)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise

    def _warn(self, what):
        if not self._has_warned:
            message = f"checkpoint={str(self._path)!r} {what}."
            warnings.warn(message, RuntimeWarning, stacklevel=2)
        self._has_warned = True

    def _remove_abandoned(self):
        """Delete what processes left behind that were killed while they wrote."""
        pattern = glob.escape(self._part["prefix"]) + "*.part"
        with suppress(OSError):
            for file in self._path.parent.glob(pattern):
                if time.time() - file.stat().st_mtime > _ABANDONED:
                    file.unlink()

    def remove(self):
        """Delete the file, at the end of a fit: the next fit starts afresh."""
        self._remove_abandoned()
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            self._warn(f"could not be deleted ({error})")
