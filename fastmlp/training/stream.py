"""Rows of a source as a fit reads them: shuffled blocks, which a thread fills ahead.

Parts of the source come in random order, and their rows fill one block after the other;
each block is shuffled as a whole and trained on as if it were all of X.  A block has a
whole number of batches, so that only the last batch of an epoch may be short.
"""

import copy
import time
from dataclasses import dataclass

import numpy as np
from scipy.sparse import issparse, vstack

from fastmlp.engine.jobs import PredictionJob
from fastmlp.sources.ahead import Ahead
from fastmlp.sources.summary import held_out_rows

__all__ = ["Blocks", "Stream", "StreamedPrediction"]


@dataclass
class Stream:
    """Rows of a source to train on or to validate on, and what is made of them.

    Parameters
    ----------
    source : fastmlp.sources.source.Source
    n_samples : int
        Rows, without those that are held out.
    convert : callable
        From a `fastmlp.sources.source.Chunk` to (X as the network takes it, targets as
        kernels take them, weights or None); raises a ValueError for what cannot be.
    identity : tuple, default=()
        What recognises these data.
    held_out : tuple, default=None
        (share, seed) of `held_out_rows`, which are left out.
    """

    source: object
    n_samples: int
    convert: object
    identity: tuple = ()
    held_out: tuple | None = None

    def kept(self, first, n_rows):
        """Which of some rows are not held out: a mask, or None for all."""
        if self.held_out is None:
            return None
        return ~held_out_rows(first, n_rows, *self.held_out)


class _Room:
    """Room for the dense rows of a block, which is used again and again."""

    def __init__(self, n_rows):
        self._n_rows = n_rows
        self.arrays = None

    def fill(self, start, rows):
        """Copy in rows of (X, targets, weights or None)."""
        if self.arrays is None:
            self.arrays = [
                None if a is None else np.empty((self._n_rows, *a.shape[1:]), a.dtype)
                for a in rows
            ]
        for own, array in zip(self.arrays, rows, strict=True):
            if own is not None:
                own[start : start + len(array)] = array

    def block(self, n_rows):
        return tuple(None if a is None else a[:n_rows] for a in self.arrays)


class _SparseRoom:
    """The same for sparse rows, which are put together for each block."""

    def __init__(self):
        self._parts = []

    def fill(self, start, rows):
        if start == 0:
            self._parts = []
        self._parts.append(rows)

    def block(self, n_rows):
        X, targets, weights = zip(*self._parts, strict=True)
        self._parts = []
        joined = None if weights[0] is None else np.concatenate(weights)
        return vstack(X, format="csr"), np.concatenate(targets), joined


class Blocks:
    """The blocks of the epochs of one attempt at a fit.

    Parameters
    ----------
    stream : Stream
    network : fastmlp.engine.network.Network
        To be trained.
    make_job : callable
        From (X, targets, weights) of a block to a `TrainingJob` of the network.
    batch_size : int
    random_state : numpy.random.RandomState
        Decides the order of parts; nothing is drawn from it.
    shuffle : bool
    n_epochs : int
        At most.

    Attributes
    ----------
    n_samples, n_steps : int
        Of an epoch.
    steps_of_a_block : int
        Of all but the last.
    n_done : int
        Blocks of the epoch in progress that have been trained on.
    total : float
        Sum of their losses times rows.
    order : ndarray of int64 or None
        Of the block that was trained on last.
    """

    def __init__(
        self, stream, network, make_job, batch_size, random_state, shuffle, n_epochs
    ):
        self.network = network
        self._stream, self._make_job = stream, make_job
        self.n_samples = n = stream.n_samples
        self.n_steps = -(-n // batch_size)
        self.steps_of_a_block = max(1, stream.source.shuffle_buffer // batch_size)
        self._block_rows = self.steps_of_a_block * batch_size
        self.n_blocks = -(-n // self._block_rows)
        self._seed = None
        if shuffle and stream.source.n_parts is not None:
            self._seed = int(copy.deepcopy(random_state).randint(2**31 - 1))
        self._n_epochs = n_epochs
        self.n_done, self.total, self.order = 0, 0.0, None
        self._epoch = 1  # that the first block is of
        self._ahead = None
        self._job = None

    def rows_of(self, number):
        """Rows of a block, by its number in the epoch."""
        return min(self._block_rows, self.n_samples - number * self._block_rows)

    def resume(self, n_epochs, n_done, total, order):
        """Begin behind so many epochs and blocks."""
        self._epoch, self.n_done, self.total = n_epochs + 1, n_done, total
        self.order = order

    def next_job(self, deadline):
        """The job of the next block; `queue.Empty` if it is not there at the deadline.

        The job of the block before must not be used any more.
        """
        if self._ahead is None:
            rooms = [_Room(min(self._block_rows, self.n_samples)) for _ in range(2)]
            if self.n_blocks == 1 and self._n_epochs == 1:
                rooms = rooms[:1]
            self._ahead = Ahead(self._fill, rooms)
        before, self._job = self._job, None
        chunk = None if before is None else before.steps_per_chunk
        del before  # its arrays are filled again
        block = self._ahead.take(lambda: time.perf_counter() > deadline)
        self._job = job = self._make_job(*block)
        job.refresh()
        job.steps_per_chunk = chunk or job.steps_per_chunk
        if self.order is not None and len(self.order) == job.n_samples:
            job.order[:] = self.order
        self.order = job.order
        return job

    def seconds(self):
        """(that training waited for rows, that the reader waited for training)."""
        ahead = self._ahead
        return (0.0, 0.0) if ahead is None else (ahead.waited, ahead.idled)

    def close(self):
        """End the thread."""
        self._job = None
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    # --- in the thread --------------------------------------------------------------

    def _fill(self, ahead):
        """Yield all blocks from where the attempt begins."""
        n_rows = self.n_done * self._block_rows  # of the epoch that are done
        for epoch in range(self._epoch, self._n_epochs + 1):
            yield from self._blocks_of(epoch, ahead, n_rows)
            n_rows = 0

    def _blocks_of(self, epoch, ahead, n_skipped):
        """Yield the blocks of an epoch, but for so many rows at its beginning."""
        room, start, expected = None, 0, self.n_samples - n_skipped
        for rows in self._rows_of(epoch, ahead, n_skipped):
            first, n_rows = 0, rows[1].shape[0]
            expected -= n_rows
            if expected < 0:
                self._raise_wrong_number(epoch, self.n_samples - expected)
            while first < n_rows:
                if room is None:
                    room = ahead.buffer()
                    if issparse(rows[0]):
                        room = _SparseRoom()
                    start = 0
                end = min(n_rows, first + self._block_rows - start)
                part = [None if a is None else a[first:end] for a in rows]
                room.fill(start, part)
                start += end - first
                first = end
                if start == self._block_rows:
                    yield room.block(start)
                    room = None
        if expected:
            self._raise_wrong_number(epoch, self.n_samples - expected)
        if room is not None:
            yield room.block(start)

    def _rows_of(self, epoch, ahead, n_skipped):
        """Yield (X, targets, weights) of the rows of an epoch that are to be done."""
        stream, order = self._stream, None
        if self._seed is not None:
            rng = np.random.default_rng([self._seed, epoch])
            order = rng.permutation(stream.source.n_parts)
        for part in stream.source.parts(order):
            kept = stream.kept(part.first_row, part.n_rows)
            count = part.n_rows if kept is None else int(np.count_nonzero(kept))
            if n_skipped >= count:
                n_skipped -= count
                continue
            start = 0
            for chunk in part.read():
                ahead.check()
                n_rows = len(chunk)
                if kept is not None:
                    chunk = chunk.rows(kept[start : start + n_rows])
                start += n_rows
                if n_skipped:
                    skipped = min(n_skipped, len(chunk))
                    n_skipped -= skipped
                    chunk = chunk.rows(slice(skipped, None))
                if len(chunk):
                    yield stream.convert(chunk)

    def _raise_wrong_number(self, epoch, n_rows):
        at_least = "more than " if n_rows > self.n_samples else ""
        n_rows = min(n_rows, self.n_samples)
        used_up = (
            ". Each call of the function must give a new iterator, not one that has "
            "been used up"
        )
        raise ValueError(
            f"{self._stream.source!r} gave {at_least}{n_rows} rows to train on in "
            f"epoch {epoch}, in the pass before the first epoch {self.n_samples}"
            f"{used_up if n_rows == 0 else ': each epoch must have as many'}"
        )


class StreamedPrediction:
    """What a `PredictionJob` is, for the rows of a source, which are read each time.

    Parameters
    ----------
    network : fastmlp.engine.network.Network
    stream : Stream
        Has no rows that are held out.
    **settings
        Of a `PredictionJob`.
    """

    def __init__(self, network, stream, **settings):
        self.network = network
        self._stream, self._settings = stream, settings

    def run(self, team):
        """Predict.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
        """
        stream, network = self._stream, self.network
        shape = stream.n_samples, network.units[-1]
        outputs = np.empty(shape, self._settings.get("dtype", network.dtype))

        def read(ahead):
            for chunk in stream.source.chunks():
                ahead.buffer()
                yield stream.convert(chunk)[0]

        ahead, start = Ahead(read, [None, None, None]), 0
        try:
            while (X := ahead.take()) is not None:
                job = PredictionJob(network, X, **self._settings)
                end = start + X.shape[0]
                if end > len(outputs):
                    break
                outputs[start:end] = job.run(team)
                start = end
        finally:
            ahead.close()
        if X is not None or start != len(outputs):
            raise ValueError(
                f"{stream.source!r}, which validates, gave another number of rows than "
                f"in the pass before the first epoch ({len(outputs)})"
            )
        return outputs
