"""A pytest plugin: the tile shapes of another processor, on this one.

LLVM makes do with the registers that there are, so that what only depends on the shapes
(which rows a tile has, where panels end) can be tested without the processor.
"""

import os

from fastmlp.kernels import simd
from fastmlp.kernels.simd import TileShape

SHAPES = {
    "avx512": (TileShape(8, 3, 16), TileShape(8, 3, 8)),
    "neon": (TileShape(4, 4, 4), TileShape(2, 6, 2)),
}

simd._FLOAT32_TILE, simd._FLOAT64_TILE = SHAPES[os.environ["FASTMLP_TEST_SHAPES"]]
