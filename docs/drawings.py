"""Makes the drawings of the site, docs/_static/drawings/*.svg.

python docs/drawings.py

They take their colours from the page that they stand in (see `inline_drawings` in
conf.py); by themselves they go by the reader's choice of light or dark.
"""

import json
import math
import re
import runpy
from html import escape
from itertools import groupby
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
.fd .formula { font-family: "STIX Two Text", Cambria, Georgia, serif; font-size: 19px; }
.fd .formula .letter { font-style: italic; } .fd .formula .below { font-size: 14px; }
.fd .over { paint-order: stroke; stroke: var(--pst-color-background, Canvas);
  stroke-width: 5px; stroke-linejoin: round; }
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

    def formula(self, x, y, words, kind="", anchor="middle"):
        """Symbols: letters in italics, and what follows _ (in braces) as an index.

        kind="over": with a rim in the colour of the page, to stand on a line.
        """
        spans, level = [], 0
        for below, part in re.findall(r"(_?)((?<=_)\{[^}]*\}|(?<=_).|[^_]+)", words):
            shift = 5 * (bool(below) - level)
            level = bool(below)
            for letters, run in groupby(part.strip("{}"), lambda c: c.isalpha()):
                of = " ".join(["below"] * level + ["letter"] * letters)
                dy = f' dy="{shift}"' if shift else ""
                spans.append(f'<tspan class="{of}"{dy}>{escape("".join(run))}</tspan>')
                shift = 0
        self.parts.append(
            f'<text class="formula {kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">'
            f"{''.join(spans)}</text>"
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

    def link(self, start, end, kind="line", radius=22):
        """A line from circle to circle, of which only the edges are touched."""
        (x1, y1), (x2, y2) = start, end
        length = math.hypot(x2 - x1, y2 - y1)
        dx, dy = radius * (x2 - x1) / length, radius * (y2 - y1) / length
        if kind == "arrow":
            self.arrow(x1 + dx, y1 + dy, x2 - dx, y2 - dy)
        else:
            self.line(x1 + dx, y1 + dy, x2 - dx, y2 - dy, kind)

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
    machines = json.loads((HERE / "peers.json").read_text(encoding="utf-8"))
    machine = next(one for one in machines if "(AVX-512)" in one["name"])
    rows = ["tiny", "small", "odd 2", "tab", "mnist", "large"]
    libraries = [
        ("scikit-learn", ["scikit-learn"], "square", "mark-grey"),
        ("PyTorch", ["PyTorch", "PyTorch compiled"], "triangle", "mark-blue"),
        ("JAX", ["JAX"], "diamond", "mark-green"),
        ("fastmlp", ["fastmlp"], "circle", "mark-orange"),
    ]
    d = Drawing(480, 352, "Time of a training step, six networks, four libraries")
    left, right, top, step = 22, 458, 76, 43
    low, high = math.log10(1e-6), math.log10(1e-1)

    def at(seconds):
        return left + (math.log10(seconds) - low) / (high - low) * (right - left)

    x = 10
    for name, _, shape, kind in libraries:
        d.mark(x + 6, 16, shape, kind)
        d.text(x + 18, 21, name, "bold" if name == "fastmlp" else "")
        x += 30 + 7.6 * len(name) + 14
    bottom = top + step * (len(rows) - 1) + 14
    for i, label in enumerate(("1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "0.1 s")):
        place = at(10.0 ** (i - 6))
        d.line(place, 38, place, bottom, "faint")
        d.text(place, bottom + 18, label, "muted", "middle")
    workloads = {workload["name"]: workload for workload in machine["workloads"]}
    for i, name in enumerate(rows):
        y = top + i * step
        d.text(left, y - 14, workloads[name]["description"])
        places = []
        for _, names, shape, kind in libraries:
            best = min(
                median(of["times"]) for key, of in workloads[name]["results"].items()
                if key.rpartition(",")[0] in names
            )  # fmt: skip
            places.append((at(best), shape, kind))
        d.line(min(places)[0], y, max(places)[0], y, "faint")
        for place, shape, kind in reversed(places):  # fastmlp below the others
            d.mark(place, y, shape, kind, 7 if kind == "mark-orange" else 6)
    words = f"time of one training step, {machine['name']}"
    d.text((left + right) / 2, bottom + 38, words, "muted", "middle")
    return d


def peers():
    """Ratios of docs/peers.json, drawn by benchmarks/peers/report.py."""
    report = runpy.run_path(str(HERE.parent / "benchmarks" / "peers" / "report.py"))
    return report["chart"](report["load"](HERE), Drawing)


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
    what = ["all kernel sources", "Python, numba, llvmlite", "CPU and its features"]
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
        ("training.fitting.Fit", "initial weights, validation split, which job", "box"),
        ("training.run.Run", "epochs: shuffles, stopping, callbacks, Ctrl-C", "box"),
        ("engine.jobs.TrainingJob", "a record of addresses and sizes, checked", "box"),
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
    d = Drawing(486, 250, "Which kernels a fit takes")

    def question(x, y, words, more=""):
        d.box(x, y, 190, 50, "box", 8)
        d.text(x + 95, y + (22 if more else 30), words, "small", "middle")
        if more:
            d.text(x + 95, y + 39, more, "small", "middle")

    def answer(x, y, name, words):
        d.box(x, y, 190, 50, "orange", 4)
        d.text(x + 95, y + 21, name, "mono", "middle")
        d.text(x + 95, y + 39, words, "small", "middle")

    question(10, 20, "a small network,", "dense X?")
    question(254, 20, "sparse X?")
    d.arrow(200, 45, 252, 45)
    d.text(226, 37, "no", "small", "middle")
    d.arrow(105, 70, 105, 148)
    d.arrow(349, 70, 349, 148)
    d.text(114, 112, "yes", "small")
    d.text(358, 104, "yes: the first layer", "small")
    d.text(358, 120, "is kernels.sparse", "small")
    answer(10, 150, "strips", "strips, then slices")
    answer(254, 150, "passes", "rows, then tiles")
    d.text(
        10,
        234,
        "decided by the network, the batch and X; never by threads",
        "muted",
    )
    return d


def neuron():
    """One unit: inputs, weights, bias, sum, activation."""
    d = Drawing(480, 300, "A neuron: weighted inputs and a bias, summed, then g")
    total, g = (250, 142), (346, 142)
    inputs = ((46, 54, "1"), (46, 124, "2"), (46, 230, "p"))
    for x, y, j in inputs:
        d.mark(x, y, "circle", "blue", 22)
        d.formula(x, y + 6, f"X_{j}")
        d.link((x, y), total, "arrow")
        share = 0.42
        along = x + share * (total[0] - x), y + share * (total[1] - y)
        d.formula(along[0], along[1] + 6, f"w_{j}", "over")
    for y in (168, 177, 186):
        d.mark(46, y, "circle", "head", 2)
    d.formula(250, 62, "b")
    d.text(264, 62, "bias")
    d.arrow(250, 72, 250, 120)
    for place, name in ((total, "Σ"), (g, "g")):
        d.mark(*place, "circle", "orange", 22)
        d.formula(place[0], place[1] + 6, name)
    d.link(total, g, "arrow")
    d.formula(298, 132, "z")
    d.arrow(368, 142, 424, 142)
    d.formula(440, 148, "a")
    d.text(46, 20, "inputs", "", "middle")
    d.text(250, 186, "sum", "", "middle")
    d.text(346, 186, "activation", "", "middle")
    d.text(440, 174, "output", "", "middle")
    d.formula(60, 286, "z = b + w_1 X_1 + … + w_p X_p", "", "start")
    d.formula(340, 286, "a = g(z)", "", "start")
    return d


def network():
    """A network with one hidden layer, in the symbols of its formula."""
    d = Drawing(480, 420, "A multi-layer perceptron with one hidden layer")
    ys = (62, 136, 210, 284)  # the last: a constant 1, whose weights are the biases
    inputs, hidden = [(42, y) for y in ys], [(236, y) for y in ys]
    output = (436, 136)
    for i, unit in enumerate(hidden[:3]):
        for feature in inputs:
            d.link(feature, unit, "arrow" if i == 1 else "faint")
    for unit in hidden:
        d.link(unit, output, "arrow")
    columns = (inputs, "X", ("1", "j", "p"), "blue"), (hidden, "a", ("1", "i", "m"), "")
    for places, letter, names, kind in columns:
        for (x, y), name in zip(places, names, strict=False):
            d.mark(x, y, "circle", kind or ("orange" if name == "i" else "box"), 22)
            d.formula(x, y + 6, f"{letter}_{name}")
        x, y = places[-1]
        d.mark(x, y, "circle", "plain", 22)
        d.formula(x, y + 6, "1")
        for y in (93, 99, 105, 167, 173, 179):
            d.mark(x, y, "circle", "head", 1.8)
    d.mark(*output, "circle", "green", 22)
    d.formula(output[0], output[1] + 6, "f")
    for (x, y), name in zip(inputs, ("1i", "ji", "pi", "0i"), strict=True):
        along = x + 0.32 * (236 - x), y + 0.32 * (136 - y) + 6
        d.formula(*along, f"β_{{{name}}}", "over")
    for (x, y), name in zip(hidden, ("1", "i", "m", "0"), strict=True):
        along = x + 0.42 * (436 - x), y + 0.42 * (136 - y) + 6
        d.formula(*along, f"w_{name}", "over")
    d.text(42, 24, "features", "", "middle")
    d.text(236, 24, "hidden units", "", "middle")
    d.text(436, 24, "output", "", "middle")
    d.formula(139, 330, "W_1, b_1")
    d.formula(336, 330, "W_2, b_2")
    d.formula(240, 370, "a_i = g(z_i),   z_i = β_{0i} + Σ_j β_{ji} X_j")
    d.formula(240, 406, "f(X) = w_0 + Σ_i w_i a_i")
    return d


DRAWINGS = (
    speed, peers, step, tile, panels, shares, strips, cache, calls, paths, neuron,
    network,
)  # fmt: skip


if __name__ == "__main__":
    PLACE.mkdir(parents=True, exist_ok=True)
    for draw in DRAWINGS:
        (PLACE / f"{draw.__name__}.svg").write_text(draw().svg(), encoding="utf-8")
