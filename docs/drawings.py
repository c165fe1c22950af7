"""Makes the drawings of the site, docs/_static/drawings/*.svg.

python docs/drawings.py

They take their colours from the page that they stand in (see `inline_drawings` in
conf.py); by themselves they go by the reader's choice of light or dark.
"""

import json
import math
from html import escape
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
PLACE = HERE / "_static" / "drawings"

STYLE = """\
.fd { --own: #24292f; --own-2: #59636e; color: var(--pst-color-text-base, var(--own));
  font-family: var(--pst-font-family-base, system-ui, sans-serif); font-size: 14px; }
@media (prefers-color-scheme: dark) { .fd { --own: #e6edf3; --own-2: #a9b3bd; } }
.fd text { fill: currentColor; }
.fd .muted { fill: var(--pst-color-text-muted, var(--own-2)); font-size: 12.5px; }
.fd .small { font-size: 12px; }
.fd .bold { font-weight: 600; }
.fd .mono { font-family: var(--pst-font-family-monospace, monospace); font-size: 13px; }
.fd .line { stroke: currentColor; stroke-width: 1.2; fill: none; }
.fd .faint { stroke: currentColor; stroke-width: 1; fill: none; opacity: .25; }
.fd .dash { stroke: currentColor; stroke-width: 1.6; stroke-dasharray: 5 4; }
.fd .head { fill: currentColor; stroke: none; }
.fd .box { fill: #88888822; stroke: #888; }
.fd .blue { fill: #0a7bc255; stroke: #0a7bc2; }
.fd .orange { fill: #e6770055; stroke: #e67700; }
.fd .green { fill: #00a37455; stroke: #00a374; }
.fd .plain { fill: none; stroke: #888; }
.fd .mark-blue { fill: #2b93d6; } .fd .mark-green { fill: #00a374; }
.fd .mark-grey { fill: #8a8f98; } .fd .mark-orange { fill: #e67700; }
"""


class Drawing:
    """An SVG that is put together from boxes, lines and words."""

    def __init__(self, width, height, title):
        self.width, self.height, self.title = width, height, title
        self.parts = []

    def box(self, x, y, w, h, kind="box", r=2):
        self.parts.append(
            f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" '
            f'rx="{r:g}"/>'
        )

    def grid(self, x, y, columns, rows, size, kind="box", height=None):
        """Boxes side by side; `kind` may be a function of (row, column)."""
        height = height or size
        for r in range(rows):
            for c in range(columns):
                of = kind(r, c) if callable(kind) else kind
                self.box(x + c * size, y + r * height, size - 1.5, height - 1.5, of, 1)

    def text(self, x, y, words, kind="", anchor="start", turn=0):
        turned = f' transform="rotate({turn} {x:g} {y:g})"' if turn else ""
        self.parts.append(
            f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}"{turned}>'
            f"{escape(words)}</text>"
        )

    def line(self, x1, y1, x2, y2, kind="line"):
        self.parts.append(
            f'<line class="{kind}" x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"/>'
        )

    def arrow(self, x1, y1, x2, y2):
        length = math.hypot(x2 - x1, y2 - y1)
        dx, dy = (x2 - x1) / length, (y2 - y1) / length
        self.line(x1, y1, x2 - 6 * dx, y2 - 6 * dy)
        bx, by = x2 - 8 * dx, y2 - 8 * dy
        corners = (x2, y2), (bx - 4 * dy, by + 4 * dx), (bx + 4 * dy, by - 4 * dx)
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
        self.parts.append(f'<polygon class="head" points="{points}"/>')

    def mark(self, x, y, shape, kind, size=6):
        if shape == "circle":
            self.parts.append(
                f'<circle class="{kind}" cx="{x:.1f}" cy="{y:g}" r="{size}"/>'
            )
            return
        corners = {
            "square": [(-1, -1), (1, -1), (1, 1), (-1, 1)],
            "diamond": [(0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)],
            "triangle": [(0, -1.2), (1.2, 1), (-1.2, 1)],
        }[shape]
        scale = size * 0.85
        points = " ".join(
            f"{x + a * scale:.1f},{y + b * scale:.1f}" for a, b in corners
        )
        self.parts.append(f'<polygon class="{kind}" points="{points}"/>')

    def svg(self):
        body = "\n".join(self.parts)
        return (
            f'<svg class="fd" xmlns="http://www.w3.org/2000/svg" '
            f'viewBox="0 0 {self.width} {self.height}" '
            f'style="max-width: {self.width}px">\n<title>{escape(self.title)}</title>\n'
            f"<style>\n{STYLE}</style>\n{body}\n</svg>\n"
        )


def speed():
    """Times of a training step, of docs/peers.json."""
    times = json.loads((HERE / "peers.json").read_text(encoding="utf-8"))
    rows = [
        ("tiny", "2-8-2"), ("small", "20-100-2"), ("odd 2", "16-64 x 6-4"),
        ("tab", "54-256-256-7"), ("mnist", "784-256-128-10"),
        ("large", "784-1024-1024-10"),
    ]  # fmt: skip
    libraries = [
        ("scikit-learn", ["scikit-learn"], "square", "mark-grey"),
        ("PyTorch", ["PyTorch", "PyTorch compiled"], "triangle", "mark-blue"),
        ("JAX", ["JAX"], "diamond", "mark-green"),
        ("fastmlp", ["fastmlp"], "circle", "mark-orange"),
    ]
    d = Drawing(480, 300, "Time of a training step, six networks, four libraries")
    left, right, top, step = 150, 462, 62, 34
    low, high = math.log10(1e-6), math.log10(1e-1)

    def at(seconds):
        return left + (math.log10(seconds) - low) / (high - low) * (right - left)

    x = 10
    for name, _, shape, kind in libraries:
        d.mark(x + 6, 16, shape, kind)
        d.text(x + 18, 21, name, "bold" if name == "fastmlp" else "")
        x += 30 + 7.6 * len(name) + 14
    for i, label in enumerate(("1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "0.1 s")):
        place = at(10.0 ** (i - 6))
        d.line(place, 40, place, top + step * (len(rows) - 1) + 18, "faint")
        d.text(place, 272, label, "muted", "middle")
    for i, (workload, network) in enumerate(rows):
        y = top + i * step
        d.text(left - 12, y + 5, network, "", "end")
        places = []
        for _, names, shape, kind in libraries:
            best = min(
                median(of["times"]) for key, of in times[workload].items()
                if key.rpartition(",")[0] in names
            )  # fmt: skip
            places.append((at(best), shape, kind))
        d.line(min(places)[0], y, max(places)[0], y, "faint")
        for place, shape, kind in places:
            d.mark(place, y, shape, kind, 7 if kind == "mark-orange" else 6)
    d.text((left + right) / 2, 292, "time of one training step", "muted", "middle")
    return d


def step():
    """The two phases of a step."""
    d = Drawing(700, 322, "A training step: rows, barrier, tiles, barrier")
    colours = ["blue", "orange"]
    d.text(10, 20, "1  Rows", "bold")
    d.text(76, 20, "each thread: its rows, all layers", "muted")
    d.text(396, 20, "2  Tiles", "bold")
    d.text(462, 20, "each thread: its tiles of dW", "muted")
    xs = [40, 118, 196, 274]
    for x, name, columns in zip(xs, ("X", "A1", "A2", "Z"), (3, 4, 4, 2), strict=True):
        d.grid(x, 52, columns, 8, 14, lambda r, c: colours[r // 2 % 2], 22)
        d.text(x + columns * 7, 45, name, "small", "middle")
    d.text(16, 140, "rows of the batch", "muted", "middle", -90)
    d.arrow(60, 243, 300, 243)
    d.text(180, 259, "forward: A W + b, then g", "small", "middle")
    d.arrow(300, 275, 60, 275)
    d.text(180, 291, "backward: deltas", "small", "middle")
    for x, name in ((352, "barrier"), (672, "barrier")):
        d.line(x, 36, x, 262, "dash")
        d.text(x, 280, name, "small", "middle")
    y = 52
    shapes = ((3, 4, "dW1 = Xᵀ D1"), (4, 4, "dW2 = A1ᵀ D2"), (4, 2, "dW3 = A2ᵀ D3"))
    first = 0
    for rows, columns, name in shapes:
        count = rows * columns

        def owner(r, c, first=first, columns=columns):
            return colours[(first + r * columns + c) >= 18]

        d.grid(400, y, columns, rows, 24, owner, 13)
        d.text(512, y + rows * 6.5 + 4, name, "mono")
        first += count
        y += rows * 13 + 12
    d.text(400, 252, "sum over the whole batch, in one order,", "small")
    d.text(400, 269, "then the penalty and the optimizer's rule", "small")
    d.text(400, 286, "while the tile is in the cache", "small")
    d.box(40, 302, 14, 12, "blue")
    d.text(60, 313, "thread 0", "small")
    d.box(130, 302, 14, 12, "orange")
    d.text(150, 313, "thread 1", "small")
    return d


def tile():
    """The micro-kernel."""
    d = Drawing(700, 250, "A register tile of C: one element of A times a row of B")
    d.text(20, 24, "A", "bold")
    d.text(40, 24, "4 rows, one column per turn", "muted")
    d.grid(20, 96, 6, 4, 24, lambda r, c: "orange" if c == 2 else "box")
    d.text(92, 212, "k", "small", "middle")
    d.arrow(30, 224, 160, 224)
    d.text(232, 24, "B", "bold")
    d.text(252, 24, "a row of three vectors per turn", "muted")
    for v in range(3):
        d.grid(232 + v * 150, 46, 8, 1, 18, "orange")
        d.grid(232 + v * 150, 106, 8, 4, 18, "blue", 22)
        d.text(304 + v * 150, 80, f"vector {v}", "small", "middle")
    d.arrow(176, 144, 222, 144)
    d.text(199, 134, "broadcast", "small", "middle")
    d.text(232, 216, "C: twelve accumulators in registers, c += a b", "")
    d.text(
        232,
        236,
        "12 accumulators + 3 of B + 1 of A = the 16 registers of AVX2",
        "muted",
    )
    return d


def panels():
    """The layout of matrices."""
    d = Drawing(700, 262, "A matrix in column panels, and its order in memory")
    kinds = ["blue", "orange", "green"]
    widths, x0 = (8, 8, 4), 20
    d.text(20, 22, "A matrix of 5 rows and 19 columns", "bold")
    d.text(20, 42, "(panels of 8 columns here; 24 for float32 on AVX2)", "muted")
    x = x0
    number = 0
    for p, width in enumerate(widths):
        for r in range(5):
            for c in range(width):
                padding = p == 2 and c == 3
                kind = "plain" if padding else kinds[p]
                d.box(x + c * 22, 62 + r * 22, 20.5, 20.5, kind, 1)
                place = number + r * width + c
                d.text(
                    x + c * 22 + 10, 62 + r * 22 + 14.5, str(place), "small", "middle"
                )
        number += 5 * width
        d.text(x + width * 11, 190, f"panel {p}", "small", "middle")
        x += width * 22 + 14
    d.text(516, 84, "0: padding,", "small")
    d.text(516, 100, "always zero", "small")
    d.line(488, 80, 510, 80)
    d.text(20, 218, "memory", "small")
    x = 76
    for p, width in enumerate(widths):
        for r in range(5):
            size = width * 5.4
            d.box(x, 205, size - 1.5, 17, kinds[p], 1)
            d.text(x + size / 2, 218, f"r{r}", "small", "middle")
            x += size
    d.text(
        76,
        246,
        "a tile reads rows of one panel: one stretch of memory, whatever the width",
        "muted",
    )
    return d


def shares():
    """Two threads in time."""
    d = Drawing(700, 200, "Two threads: shares of pieces, help, and two barriers")
    rows = {0: 50, 1: 100}
    d.text(64, 24, "phase 1: blocks of rows", "small")
    d.text(400, 24, "phase 2: groups of tiles", "small")
    for t, y in rows.items():
        d.text(8, y + 20, f"thread {t}", "small")
    for i in range(5):
        d.box(64 + i * 50, rows[0], 48, 30, "blue")
    d.text(64 + 4 * 50 + 24, rows[0] + 19, "helps", "small", "middle")
    d.parts[-2] = d.parts[-2].replace('class="blue"', 'class="orange"')
    for i in range(3):
        d.box(64 + i * 84, rows[1], 82, 30, "orange")
    d.text(64 + 126, rows[1] + 19, "a busy core: slower", "small", "middle")
    for x in (330, 640):
        d.line(x, 34, x, 146, "dash")
        d.text(x, 162, "barrier", "small", "middle")
    for i in range(6):
        d.box(340 + i * 48, rows[0], 46, 30, "blue")
        d.box(340 + i * 48, rows[1], 46, 30, "orange")
    d.arrow(64, 182, 640, 182)
    d.text(656, 187, "time", "small")
    return d


def strips():
    """What stands in the lanes of a vector."""
    d = Drawing(700, 236, "Lanes of units, and lanes of samples")
    d.text(20, 22, "In tiles: units in the lanes", "bold")
    d.text(20, 42, "2 outputs fill a quarter of 8 lanes", "muted")
    for r in range(6):
        d.text(20, 76 + r * 22, f"sample {r}", "small")
        d.grid(90, 62 + r * 22, 8, 1, 20, lambda _, c: "blue" if c < 2 else "plain")
    d.text(372, 22, "In strips: samples in the lanes", "bold")
    d.text(372, 42, "every lane works, whatever the number of units", "muted")
    for r in range(2):
        d.text(372, 76 + r * 22, f"unit {r}", "small")
        d.grid(424, 62 + r * 22, 8, 1, 20, "orange")
    d.text(424, 126, "8 samples of a panel", "small")
    d.text(372, 158, "a batch = a power of two of strips,", "small")
    d.text(372, 175, "a strip = one thread, forward, backward, gradient;", "small")
    d.text(372, 192, "then the strips' gradients are added up in order", "small")
    for i in range(4):
        d.box(372 + i * 62, 204, 58, 18, "orange" if i % 2 else "blue")
        d.text(401 + i * 62, 217, f"strip {i}", "small", "middle")
    return d


def cache():
    """From sources to a file."""
    d = Drawing(700, 212, "What decides a cached kernel")
    what = ["all kernel sources", "Python, numba, llvmlite", "processor and features"]
    for i, words in enumerate(what):
        d.box(10, 20 + i * 44, 190, 34, "box", 4)
        d.text(105, 42 + i * 44, words, "small", "middle")
        d.arrow(200, 37 + i * 44, 246, 81)
    d.box(248, 60, 96, 42, "blue", 4)
    d.text(296, 86, "SHA-256", "small", "middle")
    d.arrow(344, 81, 380, 81)
    d.box(382, 20, 308, 132, "plain", 4)
    d.text(394, 42, "~/.cache/fastmlp/3f0c…/", "mono")
    for i, name in enumerate(("train_steps-91ab….kernel", "predict-77d2….kernel")):
        d.box(394, 56 + i * 44, 284, 34, "orange", 4)
        d.text(406, 78 + i * 44, name, "mono")
    d.text(
        10,
        180,
        "a file: its own SHA-256, what it is (kernel, signature, hash), machine code",
        "small",
    )
    d.text(
        10, 200, "written under another name, moved into place, never changed", "small"
    )
    return d


def calls():
    """From fit to the kernel."""
    d = Drawing(700, 300, "What a fit goes through")
    rows = [
        ("estimators, perceptron", "parameters, checks of X and y, labels", "box"),
        ("fitting.Fit", "initial weights, validation split, which job", "box"),
        ("training.train", "epochs: shuffle, stop or go on, callbacks, Ctrl-C", "box"),
        ("jobs.TrainingJob", "one record of addresses and sizes, all checked", "box"),
        ("kernels.passes.train_steps", "many steps a call, no Python inside", "orange"),
    ]
    for i, (name, words, kind) in enumerate(rows):
        y = 10 + i * 54
        d.box(10, y, 240, 38, kind, 4)
        d.text(22, y + 24, name, "mono")
        d.text(266, y + 24, words, "")
        if i:
            d.arrow(130, y - 16, 130, y)
    d.text(
        10,
        292,
        "above the last row: Python and NumPy, once per fit, epoch or 100 ms",
        "muted",
    )
    return d


def paths():
    """Which kernels a fit takes."""
    d = Drawing(730, 250, "Which kernels a fit takes")

    def question(x, y, words, more=""):
        d.box(x, y, 190, 50, "box", 8)
        d.text(x + 95, y + (22 if more else 30), words, "small", "middle")
        if more:
            d.text(x + 95, y + 39, more, "small", "middle")

    def answer(x, y, name, words):
        d.box(x, y, 190, 50, "orange", 4)
        d.text(x + 95, y + 21, name, "mono", "middle")
        d.text(x + 95, y + 39, words, "small", "middle")

    question(10, 20, "anything that", "scikit-learn has not?")
    question(254, 20, "a small network,", "dense X?")
    question(498, 20, "sparse X?")
    d.arrow(200, 45, 252, 45)
    d.arrow(444, 45, 496, 45)
    d.text(226, 37, "no", "small", "middle")
    d.text(470, 37, "no", "small", "middle")
    d.arrow(105, 70, 105, 148)
    d.arrow(349, 70, 349, 148)
    d.arrow(593, 70, 593, 148)
    d.text(114, 112, "yes", "small")
    d.text(358, 112, "yes", "small")
    d.text(602, 104, "yes: the first layer", "small")
    d.text(602, 120, "is kernels.sparse", "small")
    answer(10, 150, "general", "two or three phases")
    answer(254, 150, "strips", "strips, then slices")
    answer(498, 150, "passes", "rows, then tiles")
    d.text(
        10,
        234,
        "decided by the parameters, the network and the batch; never by threads",
        "muted",
    )
    return d


DRAWINGS = (speed, step, tile, panels, shares, strips, cache, calls, paths)


if __name__ == "__main__":
    PLACE.mkdir(parents=True, exist_ok=True)
    for draw in DRAWINGS:
        (PLACE / f"{draw.__name__}.svg").write_text(draw().svg(), encoding="utf-8")
