"""How kernels declare the memory that they work in; free of numba.

A function beside a kernel returns the buffers that the kernel needs, given the `Sizes`
of a job.  `fastmlp.engine.jobs` adds them up, and `fastmlp.engine.arena` finds a place
for them.
"""

from typing import NamedTuple

__all__ = ["Buffer", "Sizes", "of_thread", "round_up"]


def round_up(count, multiple):
    """The smallest multiple of `multiple` that is at least `count`."""
    return -(-count // multiple) * multiple


class Buffer(NamedTuple):
    """An array that kernels work in.

    Its address is the field `name` of the job's record.  If there are several copies,
    the field ``{name}_size`` is the distance from one to the next.
    """

    name: str
    parts: dict  # name of a part -> its numbers
    dtype: object = None  # None for the precision of the network
    copies: int = 1  # such as one for each thread
    packed: bool = False  # whether parts adjoin; else each starts on a cache line


class Sizes(NamedTuple):
    """What decides how large buffers are."""

    shape: object  # of the register tile
    n_threads: int
    n_features: int
    n_outputs: int
    block_rows: int  # that go through all layers together
    n_targets: int = 0
    batch_rows: int = 0  # of a batch, rounded up as its buffers are
    strips: int = 0
    pieces: int = 0  # of all parameters
    parameters: dict = {}  # of a copy of all parameters, see `Buffer.parts`
    clips: bool = False  # whether the norm of the gradient is clipped
    masks: bool = False  # whether there is dropout
    sparse: bool = False  # whether X is sparse
    sample_entries: int = 0  # most entries of a sparse sample
    batch_entries: int = 0  # most entries of a batch of them
    encoding: object = None  # the first layer, if it is an Encoding


def of_thread(sizes, **parts):
    """Buffers that each thread has of its own.

    Each is found by a field of the job's record: its offset in the thread's scratch.
    """
    return Buffer("scratch", parts, copies=sizes.n_threads)
