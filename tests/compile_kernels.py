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
_WAYS = ((True, None, None), (True, True, None), (None, None, True))


def _types_of(choices):
    return [types.boolean if chosen else types.none for chosen in choices]


def main(precision):
    """Compile them all; what is in the cache is only loaded."""
    fastmlp.warmup([precision])
    kind, i = getattr(types, precision), types.int64
    for_dense = [(*way, full, None) for way in _WAYS for full in (None, True)]
    for choices in (*for_dense, FOR_TABLES):
        train_steps.compile((i, kind, i, i, i, *_types_of(choices)))
    for output in (types.float32, types.float64):
        for choices in ((True, None), (None, True)):  # sparse, encoded
            predict.compile((i, kind, output, i, *_types_of(choices)))
    for encoded in (None, True):
        differentiate.compile((i, kind, i, *_types_of([encoded])))


if __name__ == "__main__":
    main(sys.argv[1])
