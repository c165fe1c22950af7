"""How the threads of a team share the work of a phase, and wait for each other.

A phase is cut into pieces.  Each thread has a share of them; when that is done, it
takes pieces from the others' shares (work stealing, docs/internals/threads.md).

The threads share an array of int64 (`team_size` elements), zero at the start.  For the
barrier, it holds how many threads have arrived, its generation, and whether the team
was abandoned; then, for each phase, how many pieces of each share are taken.  The
numbers are _GAP elements apart, so that each has its own cache lines.
"""

import numpy as np

from fastmlp.compilation import jit
from fastmlp.kernels.processor import (
    atomic_add,
    atomic_load,
    atomic_store,
    pause,
    yield_processor,
)
from fastmlp.kernels.simd import advance, pointer

__all__ = [
    "ABANDONED",
    "ROWS",
    "TILES",
    "UPDATES",
    "forget_pieces",
    "next_piece",
    "take_piece",
    "team_size",
    "wait_for_team",
]

#: Elements from one shared number to the next: no two in neighbouring cache lines.
_GAP = 16

#: The phases of a training step; the last is used only if the whole gradient is needed
#: before the first update.  No literals: numba would compile the functions below for
#: each of them.
ROWS, TILES, UPDATES = np.int64(0), np.int64(1), np.int64(2)

#: The element that says whether the team has been abandoned.
ABANDONED = 2 * _GAP


def team_size(n_threads):
    """Elements of the array that a team of `n_threads` threads shares."""
    return (3 + 3 * n_threads) * _GAP


@jit
def _taken(job, phase, owner):
    """Pointer to the number of pieces taken from the owner's share."""
    return advance(pointer(job.team, 0), (3 + phase * job.n_threads + owner) * _GAP)


@jit
def take_piece(job, phase, owner, n_pieces):
    """Take a free piece of the owner's share; -1 if there is none."""
    taken = _taken(job, phase, owner)
    if job.n_threads == 1:
        piece = taken[0]
        taken[0] = piece + 1
        return piece if piece < n_pieces else -1
    first = n_pieces * owner // job.n_threads
    share = n_pieces * (owner + 1) // job.n_threads - first
    if atomic_load(taken) >= share:
        return -1  # without taking the cache line away from its owner
    piece = atomic_add(taken, 1)
    return first + piece if piece < share else -1


@jit
def next_piece(job, phase, thread, n_pieces):
    """Take a piece of the thread's own share, else of another's; -1 if none is left."""
    for turn in range(job.n_threads):
        owner = (thread + turn) % job.n_threads
        piece = take_piece(job, phase, owner, n_pieces)
        if piece >= 0:
            return piece
    return -1


@jit
def forget_pieces(job, phase):
    """Make all pieces of a phase free again, while all threads are in another phase."""
    for owner in range(job.n_threads):
        atomic_store(_taken(job, phase, owner), 0)


@jit
def wait_for_team(job):
    """A barrier: returns when all threads of the team have called it.

    What any of them wrote before is then visible to all.  Returns False, and stops
    waiting, if the team was abandoned because a thread is missing.
    """
    if job.n_threads == 1:
        return True
    arrived = pointer(job.team, 0)
    generation = advance(arrived, _GAP)
    abandoned = advance(arrived, ABANDONED)
    mine = atomic_load(generation)
    if atomic_add(arrived, 1) == job.n_threads - 1:
        atomic_store(arrived, 0)
        atomic_store(generation, mine + 1)
        return True
    turns = 0
    while atomic_load(generation) == mine:
        if turns < job.spins:
            turns += 1
            pause()
        else:
            if atomic_load(abandoned) != 0:
                return False
            yield_processor()
    return True
