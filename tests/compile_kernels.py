"""Compile the kernels that most tests need; run once, before there are several workers.

In one process, the first kernel costs most: all others share nearly all functions.

    python tests/compile_kernels.py float32
"""

import sys

from numba import types

import fastmlp
from fastmlp.kernels.differentiating import differentiate
from fastmlp.kernels.passes import FOR_TABLES, predict, train_steps

#: tiles, sparse, strips: see `fastmlp.kernels.passes.train_steps`.
_WAYS = {
    "tiles": (True, None, None),
    "sparse": (True, True, None),
    "strips": (None, None, True),
}

#: stored, masks, with_parameters, scaled, encoded
_PLAIN, _ALL = (None,) * 5, (True, True, True, None, None)
_FOR_DENSE = [
    _PLAIN,
    (True, None, None, None, None),
    (None, True, None, None, None),
    (None, None, True, None, None),
    _ALL,
    (True, True, True, True, None),
]
_CHOICES = {
    "tiles": [*_FOR_DENSE, FOR_TABLES[3:]],
    "sparse": [_PLAIN, _ALL],
    "strips": _FOR_DENSE,
}


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
        for choices in ((True, None, None), (None, True, None), (None, None, True)):
            predict.compile((i, kind, output, i, *_types_of(choices)))
    for encoded in (None, True):
        differentiate.compile((i, kind, i, *_types_of([encoded])))


if __name__ == "__main__":
    main(sys.argv[1])
