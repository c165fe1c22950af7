"""Compile the kernels that most tests need; run once, before there are several workers.

In one process, the first kernel costs most: all others share nearly all functions.

    python tests/compile_kernels.py float32
"""

import sys

from numba import types

import fastmlp
from fastmlp.kernels.passes import predict, train_steps

#: tiles, sparse, strips: see `fastmlp.kernels.passes.train_steps`.
_WAYS = {
    "tiles": (True, None, None),
    "sparse": (True, True, None),
    "strips": (None, None, True),
}

#: stored, masks, parametric, scaled
_PLAIN, _ALL = (None,) * 4, (True, True, True, None)
_FOR_DENSE = [
    _PLAIN,
    (True, None, None, None),
    (None, True, None, None),
    (None, None, True, None),
    _ALL,
    (True, None, None, True),
    (True, True, True, True),
]
_CHOICES = {"tiles": _FOR_DENSE, "sparse": [_PLAIN, _ALL], "strips": _FOR_DENSE}


def _types_of(choices):
    return [types.boolean if chosen else types.none for chosen in choices]


def main(precision):
    """Compile them all; what is in the cache is only loaded."""
    fastmlp.warmup([precision])
    kind, i = getattr(types, precision), types.int64
    for way, several in _CHOICES.items():
        for choices in several:
            chosen = _types_of((*_WAYS[way], *choices))
            train_steps.compile((i, kind, i, i, i, *chosen))
    for output in (types.float32, types.float64):
        for choices in ((True, None), (None, True)):
            predict.compile((i, kind, output, i, *_types_of(choices)))


if __name__ == "__main__":
    main(sys.argv[1])
