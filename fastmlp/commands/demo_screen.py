"""What the demo draws with characters: loss curves, small images, tables.

Nothing here needs colours, a terminal, or more than ASCII; each is used where it is
there.
"""

import math
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

__all__ = ["Screen", "beside", "draw_curve", "draw_image"]

#: Characters from empty to full: of a column of a chart, and of a pixel.
_LEVELS = (" ▁▂▃▄▅▆▇█", " ..::||##")
_SHADES = (" ░▒▓█", " .:*#")

#: What stands for characters that an encoding may lack.
_SUBSTITUTES = {"\N{MULTIPLICATION SIGN}": "x", "→": "->", "µ": "u", "²": "2"}


class Screen:
    """A console that is never given a character which its encoding lacks.

    Parameters
    ----------
    console : rich.console.Console, default=None
        Where to write; None is standard output.

    Attributes
    ----------
    is_live : bool
        Whether somebody may be watching: lines can be drawn over.
    width, height : int
        In characters.
    levels, shades : str
        Characters from empty to full, of charts and of images.
    """

    def __init__(self, console=None):
        self.console = console or Console()
        is_terminal = getattr(self.console.file, "isatty", lambda: False)()
        self.is_live = self.console.is_interactive and is_terminal
        self.width, self.height = self.console.size
        self.levels = next(filter(self._has, _LEVELS))
        self.shades = next(filter(self._has, _SHADES))

    def _has(self, text):
        try:
            text.encode(self.console.encoding)
        except (UnicodeEncodeError, LookupError):
            return text.isascii()
        return True

    def plain(self, text):
        """The text with substitutes for what cannot be written, or moves the cursor."""
        return "".join(
            (c if self._has(c) else _SUBSTITUTES.get(c, "?"))
            if c.isprintable() or c == "\n"
            else "?"
            for c in text
        )

    def text(self, text, style=""):
        """A renderable for `plain` text: brackets in it are no markup."""
        return Text(self.plain(text), style=style, overflow="fold")

    def say(self, text="", style=""):
        """Write a line or several."""
        self.console.print(self.text(text, style), highlight=False)

    def table(self, title, headings, rows, *, left=1):
        """Write a table, its first `left` columns flush left.

        Parameters
        ----------
        title : str
        headings : sequence of str
        rows : sequence of sequences of str
        left : int, default=1
        """
        table = Table(title=self.text(title), title_justify="left")
        for i, heading in enumerate(headings):
            justify = "left" if i < left else "right"
            table.add_column(self.text(heading), justify=justify)
        for row in rows:
            table.add_row(*map(self.text, row))
        self.console.print(table, highlight=False)

    @contextmanager
    def waiting(self, what):
        """Show what is going on and for how long, if lines can be drawn over."""
        if not self.is_live:
            yield
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.elapsed:.0f} s", markup=False),
        )
        # not more often: it takes time from what is being waited for
        with Progress(
            *columns, console=self.console, transient=True, refresh_per_second=2
        ) as progress:
            progress.add_task(self.plain(what), total=None)
            yield

    def live(self):
        """A rich.live.Live on this console, which is drawn only when it is told to."""
        return Live(console=self.console, auto_refresh=False)


def draw_curve(values, n_values, *, width, height, levels, limits=None):
    """A chart of positive numbers that come one after the other.

    Its scale is logarithmic if they span more than a factor of ten.

    Parameters
    ----------
    values : sequence of float
        As many as there are.
    n_values : int
        As many as there will be: the whole width.
    width, height : int
        Of the whole chart, in characters, with its axes.
    levels : str
        Characters from empty to full.
    limits : tuple of float, default=None
        Smallest and largest of all values; None takes those that are there.

    Returns
    -------
    list of str
        Lines from top to bottom.
    """
    n_rows, n_columns = height - 2, width - 11
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = limits or (min(finite), max(finite))
    by_logarithm = low > 0 and high > 10 * low
    if by_logarithm:
        # the lowest value is seen, too
        floor, top = math.log(low) - 0.05 * math.log(high / low), math.log(high)
    else:
        floor, top = min(0.0, low), high
    steps = n_rows * (len(levels) - 1)

    def filled(value):
        if not math.isfinite(value):
            return 0
        if by_logarithm:
            value = math.log(max(value, low))
        share = (value - floor) / (top - floor) if top > floor else 0.0
        return max(1, min(steps, round(share * steps)))

    heights = []
    for column in range(n_columns):
        start = column * n_values // n_columns
        end = max(start + 1, (column + 1) * n_values // n_columns)
        there = values[start:end]
        heights.append(filled(sum(there) / len(there)) if len(there) else 0)
    labels = {0: top, n_rows // 2: (top + floor) / 2, n_rows - 1: floor}
    if by_logarithm:
        labels = {row: math.exp(value) for row, value in labels.items()}
        labels[n_rows - 1] = low
    lines = []
    for row in range(n_rows):
        below = (n_rows - 1 - row) * (len(levels) - 1)
        bars = "".join(
            levels[max(0, min(len(levels) - 1, full - below))] for full in heights
        )
        label = f"{labels[row]:.3g}" if row in labels else ""
        lines.append(f"{label:>8} |{bars}")
    lines.append(" " * 9 + "+" + "-" * n_columns)
    last = str(n_values)
    between = n_columns - 1 - len(last)
    axis = "epoch" if between > len("epoch") + 1 else ""
    lines.append(f"{'':10}1{axis:^{max(1, between)}}{last}")
    return [line.rstrip() for line in lines]


def draw_image(pixels, shades):
    """Lines of an image, two characters for each pixel.

    Parameters
    ----------
    pixels : ndarray of shape (height, width)
        From 0 to 1.
    shades : str
        Characters from empty to full.
    """
    return [
        "".join(shades[min(int(p * len(shades)), len(shades) - 1)] * 2 for p in row)
        for row in pixels.tolist()
    ]


def beside(blocks, gap=3):
    """Lines of several blocks of lines, one beside the other.

    Parameters
    ----------
    blocks : sequence of lists of str
    gap : int, default=3
        Spaces between them.
    """
    widths = [max(map(len, block)) for block in blocks]
    height = max(map(len, blocks), default=0)
    rows = []
    for i in range(height):
        parts = [
            (block[i] if i < len(block) else "").ljust(width)
            for block, width in zip(blocks, widths, strict=True)
        ]
        rows.append((" " * gap).join(parts).rstrip())
    return rows
