"""Memory for kernels: arrays in one block, and their addresses."""

import numpy as np

from fastmlp.kernels.buffers import round_up

__all__ = ["Arena", "address_of"]

_ALIGNMENT = 64  # bytes: a cache line, and the widest vector

#: Elements between the copies of two threads, so that they share no cache line.
_GAP = 16


def address_of(array):
    """The address of the first element of an array."""
    return array.ctypes.data


class Arena:
    """One block of zeroed memory, divided into buffers.

    Parameters
    ----------
    buffers : iterable of fastmlp.kernels.buffers.Buffer
    dtype : dtype
        Of the buffers that name none.

    Attributes
    ----------
    arrays : dict of str to ndarray
        One-dimensional, by the name of the buffer; each starts on its own cache line.
    starts : dict of str to dict
        Where in the first copy each part of a buffer starts.
    strides : dict of str to int
        Elements from one copy to the next; 0 if there is only one.
    """

    def __init__(self, buffers, dtype):
        self.arrays, self.starts, self.strides = {}, {}, {}
        kinds, sizes = {}, {}
        for name, parts, kind, copies, packed in buffers:
            kinds[name] = np.dtype(kind or dtype)
            per_line = _ALIGNMENT // kinds[name].itemsize
            self.starts[name], end = {}, 0
            for part, size in parts.items():
                start = end if packed else round_up(end, per_line)
                self.starts[name][part], end = start, start + size
            stride = round_up(end + _GAP, per_line) if copies > 1 else 0
            self.strides[name] = stride
            sizes[name] = copies * stride or end
        # one more cache line after each: a prefetch past its end stays inside
        spaces = {
            name: round_up(size * kinds[name].itemsize, _ALIGNMENT) + _ALIGNMENT
            for name, size in sizes.items()
        }
        block = np.zeros(sum(spaces.values()) + _ALIGNMENT, np.uint8)
        start = -block.ctypes.data % _ALIGNMENT
        for name, size in sizes.items():
            numbers = block[start : start + size * kinds[name].itemsize]
            self.arrays[name] = numbers.view(kinds[name])
            start += spaces[name]
