"""The letters A to Z as images of 10 x 10 pixels, drawn anew for each seed."""

import numpy as np

__all__ = ["LETTERS", "draw_letters"]

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

#: Pixels in a row and in a column of an image, and how many images there are.
_SIDE, _N_SAMPLES = 10, 2600

#: Rows of each letter, 7 high and 5 wide; a line of letters after the other.
_STROKES = """
.###. ####. .###. ####. ##### ##### .###. #...# .###. ..###
#...# #...# #...# #...# #.... #.... #...# #...# ..#.. ...#.
#...# #...# #.... #...# #.... #.... #.... #...# ..#.. ...#.
##### ####. #.... #...# ####. ####. #.### ##### ..#.. ...#.
#...# #...# #.... #...# #.... #.... #...# #...# ..#.. ...#.
#...# #...# #...# #...# #.... #.... #...# #...# ..#.. #..#.
#...# ####. .###. ####. ##### #.... .###. #...# .###. .##..

#...# #.... #...# #...# .###. ####. .###. ####. .####
#..#. #.... ##.## ##..# #...# #...# #...# #...# #....
#.#.. #.... #.#.# ##..# #...# #...# #...# #...# #....
##... #.... #.#.# #.#.# #...# ####. #...# ####. .###.
#.#.. #.... #...# #..## #...# #.... #.#.# #.#.. ....#
#..#. #.... #...# #..## #...# #.... #..#. #..#. ....#
#...# ##### #...# #...# .###. #.... .##.# #...# ####.

##### #...# #...# #...# #...# #...# #####
..#.. #...# #...# #...# #...# #...# ....#
..#.. #...# #...# #...# .#.#. .#.#. ...#.
..#.. #...# #...# #.#.# ..#.. ..#.. ..#..
..#.. #...# .#.#. #.#.# .#.#. ..#.. .#...
..#.. #...# .#.#. ##.## #...# ..#.. #....
..#.. .###. ..#.. #...# #...# ..#.. #####
"""


def _shapes():
    """The letters as numbers, 0 or 1: (26, 7, 5)."""
    shapes = []
    for line in _STROKES.split("\n\n"):
        rows = [row.split() for row in line.split("\n") if row]
        shapes += zip(*rows, strict=True)
    return np.array([[list(row) for row in shape] for shape in shapes]) == "#"


def draw_letters(noise, seed):
    """Letters that differ in place, thickness of strokes and contrast.

    Parameters
    ----------
    noise : float
        Standard deviation of what is added to each pixel; strokes are 0.5 to 1.
    seed : int

    Returns
    -------
    images : ndarray of shape (n_samples, 10, 10)
    y : ndarray of shape (n_samples,)
        Places in `LETTERS`.
    """
    rng = np.random.default_rng(seed)
    y = np.arange(_N_SAMPLES) % len(LETTERS)
    images = np.zeros((_N_SAMPLES, _SIDE, _SIDE))
    places = rng.integers([0, 1], [3, 4], (_N_SAMPLES, 2))
    thickness = rng.uniform(0, 1, _N_SAMPLES)
    shapes = _shapes().astype(float)
    for image, shape, (top, left), thick in zip(
        images, shapes[y], places, thickness, strict=True
    ):
        for down, right in ((0, 0), (0, 1), (1, 0)):  # the stroke, and beside it
            part = image[top + down :, left + right :][:7, :5]
            np.maximum(part, shape * (thick if down or right else 1), out=part)
    images *= rng.uniform(0.5, 1, (_N_SAMPLES, 1, 1))
    return images + noise * rng.standard_normal(images.shape), y
