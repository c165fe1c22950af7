"""How much faster steps get with more threads: measured as far as there are cores.

    python -m benchmarks.scaling [--threads 1 2 4 8 16] [--repeats 9] [--write]

Prints a table of eight networks in Markdown.  Where there are fewer cores than threads,
it has what a model says, in italics; else both, so that the model can be judged.
--write puts it into docs/performance.md instead, in place of the one of the same
machine, or behind the others.
"""

import argparse
import os
import re
from itertools import pairwise
from pathlib import Path

from fastmlp.engine.jobs import strips_of
from fastmlp.engine.network import Network
from fastmlp.kernels.simd import tile_shape

from .machine import bandwidth
from .roofline import measure
from .workloads import BY_NAME

__all__ = ["Model", "table"]

NETWORKS = ("tiny", "small", "tab", "mnist", "large", "odd 1", "odd 2", "odd 3")

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- scaling -->", "<!-- end of scaling -->"


def share_of_one(workload, threads):
    """The part of a step that the busiest of some threads has."""
    pieces = strips_of(Network(workload.units, workload.dtype), workload.batch_size)
    if pieces == 0:
        panel = tile_shape(workload.dtype).width
        pieces = sum(
            -(-a // panel) * -(-b // panel) for a, b in pairwise(workload.units)
        )
    return -(-pieces // threads) / pieces


class Model:
    """Seconds of a step on p cores: ``t1/p + barriers + weights``.

    Arithmetic is shared out, in as many pieces as there are strips, or the gradient is
    cut into.  Meeting twice costs what it does on two cores for each pair of cores; the
    tiny network shows how much, which has next to no arithmetic.  Each core fetches the
    weights that others have changed, (p - 1)/p of them and of their transposed copies,
    at the bandwidth of the shared cache.
    """

    def __init__(self):
        tiny = BY_NAME["tiny"]
        times = measure(tiny, [1, 2])
        self.barriers = times[2][0] - times[1][0] * share_of_one(tiny, 2)
        self.bandwidth = bandwidth(8 << 20)

    def seconds(self, workload, one, p):
        """Of a step that takes so long on one core."""
        weights = [a * b for a, b in pairwise(workload.units)]
        changed = 4 * (sum(weights) + sum(weights[1:]))
        fetched = changed * (p - 1) / p / self.bandwidth
        return one * share_of_one(workload, p) + self.barriers * p / 2 + fetched


def table(threads, repeats, n_cores, networks=NETWORKS):
    """Lines of Markdown: a network in each, a column for each number of threads."""
    model = Model()
    head = [f"{p} thread{'s' * (p > 1)}" for p in threads]
    yield f"Two barriers on two cores: {model.barriers * 1e6:.1f} µs."
    yield ""
    yield f"| network | {' | '.join(head)} |"
    yield "|---|" + "---:|" * len(threads)
    for name in networks:
        workload = BY_NAME[name]
        measured = [p for p in threads if p <= n_cores]
        times = measure(workload, sorted({1, *measured}), repeats)
        one = times[1][0]
        cells = []
        for p in threads:
            expected = one / model.seconds(workload, one, p) if p > 1 else 1.0
            if p > n_cores:
                cells.append(f"*{expected:.1f}×*")
            elif p == 1:
                cells.append(f"{one * 1e6:,.{0 if one >= 1e-4 else 1}f} µs")
            else:
                cells.append(f"{one / times[p][0]:.1f}× (*{expected:.1f}×*)")
        yield f"| {workload.description} | {' | '.join(cells)} |"


def processor():
    """Its name, and how many cores this process may use."""
    name = "unknown processor"
    if os.path.exists("/proc/cpuinfo"):
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
        name = found[1].strip() if found else name
    return name, len(os.sched_getaffinity(0))


def write(title, lines):
    """Put a table into the page, in place of one with the same title."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    tables, after = rest.split(END)
    kept = [each.strip() for each in re.split(r"(?m)^(?=\*\*)", tables)]
    kept = [each for each in kept if each and not each.startswith(title)]
    kept.append("\n".join([title, "", *lines]))
    tables = "\n\n".join(kept)
    PAGE.write_text(f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    cpu, n_cores = processor()
    lines = []
    for line in table(given.threads, given.repeats, n_cores):
        lines.append(line)
        print(line, flush=True)
    if given.write:
        write(f"**{cpu}, {n_cores} cores**", lines)
