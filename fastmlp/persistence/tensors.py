"""Files in the format safetensors: arrays under names, and text; no code.

Such a file holds the length of a header (8 bytes, little-endian), the header (JSON),
and the bytes of all arrays, one after the other. Reading takes memory for
what is in the file, not for what it says.

References
----------
https://github.com/huggingface/safetensors#format
"""

import json
import math

import numpy as np

__all__ = ["read_tensors", "write_tensors"]

#: Names of dtypes in the header.
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
    "I8": "<i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "<u1", "BOOL": "|b1",
}  # fmt: skip
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}

#: The longest header that readers accept.
_LONGEST_HEADER = 100_000_000

#: Bytes that are read at once: what a file does not have, takes no memory.
_BYTES_AT_ONCE = 2**24


def write_tensors(stream, tensors, texts):
    """Write a file.

    Parameters
    ----------
    stream : file object
        Open for writing, in binary.
    tensors : dict of str to ndarray
        Of numbers or truth values.
    texts : dict of str to str
        Metadata.

    Raises
    ------
    ValueError
        If an array has another dtype, or the header is too long.
    """
    arrays, header, place = [], {"__metadata__": texts}, 0
    # the largest numbers first: then each array begins at a multiple of their size
    for name in sorted(tensors, key=lambda name: (-tensors[name].itemsize, name)):
        dtype = tensors[name].dtype.newbyteorder("<")
        if dtype not in _NAMES:
            raise ValueError(f"{name} has the dtype {tensors[name].dtype}")
        arrays.append(np.ascontiguousarray(tensors[name], dtype))
        end = place + arrays[-1].nbytes
        header[name] = {
            "dtype": _NAMES[dtype],
            "shape": tensors[name].shape,
            "data_offsets": [place, end],
        }
        place = end
    content = json.dumps(header, separators=(",", ":")).encode()
    content += b" " * (-len(content) % 8)
    if len(content) > _LONGEST_HEADER:
        raise ValueError(f"the header would take {len(content)} bytes")
    stream.write(len(content).to_bytes(8, "little") + content)
    for array in arrays:
        stream.write(array.tobytes())


def read_tensors(stream):
    """Read a file.

    Parameters
    ----------
    stream : file object
        Open for reading, in binary.

    Returns
    -------
    tensors : dict of str to ndarray
    texts : dict of str to str
        Metadata.

    Raises
    ------
    Exception
        Of any kind, if the content is not that of such a file.
    """
    length = int.from_bytes(_read(stream, 8), "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"its header would take {length} bytes")
    header = json.loads(_read(stream, length), object_pairs_hook=_unique)
    texts = header.pop("__metadata__", {})
    for name, text in texts.items():
        if not isinstance(text, str):
            raise ValueError(f"its metadata have no text for {name!r}")
    places = sorted((*_span(entry), name) for name, entry in header.items())
    content = memoryview(_read(stream, places[-1][1] if places else 0))
    if stream.read(1):
        raise ValueError("there is something after the last array")
    tensors, place = {}, 0
    for first, last, name in places:
        if first != place:
            raise ValueError(f"{name} does not begin where the array before it ends")
        tensors[name] = _array(header[name], content[first:last], name)
        place = last
    return tensors, texts


def _read(stream, count):
    """So many bytes; an error if there are fewer."""
    parts = []
    while count:
        parts.append(stream.read(min(count, _BYTES_AT_ONCE)))
        if not parts[-1]:
            raise ValueError("it ends too early")
        count -= len(parts[-1])
    return b"".join(parts)


def _unique(pairs):
    """A dict of pairs with different names."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _span(entry):
    """Where the bytes of an array begin and end."""
    first, last = entry["data_offsets"]
    if not (type(first) is type(last) is int and 0 <= first <= last):
        raise ValueError(f"an array has the place {entry['data_offsets']!r:.80}")
    return first, last


def _array(entry, content, name):
    """An array, copied out of its bytes."""
    dtype, shape = np.dtype(_DTYPES[entry["dtype"]]), entry["shape"]
    # nothing depends on how many times there is nothing
    if not all(type(n) is int and n > 0 for n in shape) and shape != [0]:
        raise ValueError(f"{name} has the shape {shape!r:.80}")
    if math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"{name} has the shape {shape}, and {len(content)} bytes")
    if dtype.kind == "b" and any(bytes(content).strip(b"\0\1")):
        raise ValueError(f"{name} has truth values that are neither")
    array = np.frombuffer(content, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="))
