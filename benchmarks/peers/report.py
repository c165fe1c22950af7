"""The page and the chart, from what was measured on one machine or on several.

    python benchmarks/peers --render [--output FOLDER]

`peers.json` is a list of machines, each with its description, the date, and for each
workload all times of all contestants. Nothing is measured here.
"""

import json
import math
import re
import runpy
import sys
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]

#: Columns of the tables of times, apart from the network.
COLUMNS = (
    "fastmlp", "scikit-learn", "scikit-learn float64", "PyTorch", "PyTorch compiled",
    "JAX",
)  # fmt: skip

#: Fast paths of fastmlp that have rows of their own.
OURS = ("fastmlp", "fastmlp predictor()")

_SPACE = "\N{NO-BREAK SPACE}"


def load(folder):
    """The machines of `folder`, in the order in which they were added."""
    path = folder / "peers.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def add(machine, folder):
    """Store the results of a machine, in the place of older ones of that name."""
    machines = load(folder)
    names = [other["name"] for other in machines]
    place = names.index(machine["name"]) if machine["name"] in names else len(names)
    machines[place : place + 1] = [machine]
    text = json.dumps(machines, indent=1, ensure_ascii=False)
    (folder / "peers.json").write_text(text + "\n", encoding="utf-8")


def best_of(results):
    """{contestant: {"times", "prepare"}}, with the better number of threads.

    `results` has them as {"contestant, threads": {"times", "prepare"}}.
    """
    best = {}
    for key, result in results.items():
        name = key.rpartition(", ")[0]
        both = (best.get(name, result), result)
        best[name] = min(both, key=lambda result: median(result["times"]))
    return best


def ratios(best, name="fastmlp"):
    """Ratios best peer / fastmlp, one for each repeat, and that peer's name."""
    peers = {peer: entry for peer, entry in best.items() if peer not in OURS}
    peer = min(peers, key=lambda peer: median(peers[peer]["times"]))
    pairs = zip(best[name]["times"], peers[peer]["times"], strict=True)
    return [theirs / ours for ours, theirs in pairs], peer


def comparisons(machines):
    """[(what, [(ratios, peer) or None for each machine])], a row of chart and table."""
    found = {}
    for i, machine in enumerate(machines):
        for workload in machine["workloads"]:
            best = best_of(workload["results"])
            for name in OURS:
                if name in best:
                    what = describe(workload, name)
                    row = found.setdefault(what, [None] * len(machines))
                    row[i] = ratios(best, name)
    return list(found.items())


def time_of(seconds):
    """Seconds, in words that stay on one line."""
    if seconds < 1e-4:
        return f"{seconds * 1e6:.1f}{_SPACE}µs"
    if seconds < 1e-2:
        return f"{seconds * 1e6:,.0f}{_SPACE}µs"
    return f"{seconds * 1e3:.1f}{_SPACE}ms"


def describe(workload, name):
    """What a workload is, and which way of fastmlp is meant if there are two."""
    way = name.removeprefix("fastmlp").strip()
    what = workload["description"]
    return what.replace("predict", f"{way},", 1) if way else what


def describe_machine(machine):
    """One line on where and with what this ran."""
    libraries = ", ".join(f"{name} {v}" for name, v in machine["libraries"].items())
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, "
        f"Python {machine['python']}, {libraries}. {machine['date']}, "
        f"{machine['repeats']} repeats."
    )


# --- the page ------------------------------------------------------------------------


def _table(head, lines):
    """A Markdown table, numbers to the right."""
    return [
        "| " + " | ".join(head) + " |",
        "|---|" + "---:|" * (len(head) - 1),
        *("| " + " | ".join(line) + " |" for line in lines),
    ]


def _broken_at_commas(what):
    return re.sub("(?<![,:]) ", _SPACE, what)


def _ratio(cell):
    if cell is None:
        return ""
    values, peer = cell
    spread = f"({min(values):.2f} to {max(values):.2f})".replace(" ", _SPACE)
    return f"**{median(values):.2f}** {spread} {peer}"


def _slower(found, machines):
    """For each machine the rows in which fastmlp is not the fastest."""
    for i, machine in enumerate(machines):
        words = [
            f"{what} ({median(cells[i][0]):.2f}, {cells[i][1]})"
            for what, cells in found
            if cells[i] and median(cells[i][0]) < 1
        ]
        yield f"- {machine['name']}: {'; '.join(words) or 'nowhere'}."


def _times(machine):
    """The table of the times of one machine, and what is left over."""
    lines, others = [], []
    for workload in machine["workloads"]:
        best = best_of(workload["results"])
        times = {name: median(of["times"]) for name, of in best.items()}
        cells = {
            name: f"{1e6 * seconds:,.{0 if seconds >= 1e-4 else 1}f}"
            for name, seconds in times.items()
        }
        for name in OURS:
            if name in best:
                row = [cells.get(column, "") for column in (name, *COLUMNS[1:])]
                lines.append([_broken_at_commas(describe(workload, name)), *row])
        if "LightGBM" in times:
            others += [
                "",
                f"LightGBM took {time_of(times['LightGBM'])} for the digits.",
            ]
    return _table(["network", *COLUMNS], lines) + others


def _preparation(machine):
    """The table of seconds to get ready."""
    lines = []
    for workload in machine["workloads"]:
        best = best_of(workload["results"])
        if workload["kind"] != "accuracy":
            lines += [
                [_broken_at_commas(describe(workload, name))]
                + [
                    f"{best[column]['prepare']:.2f}" if column in best else ""
                    for column in (name, *COLUMNS[1:])
                ]
                for name in OURS
                if name in best
            ]
    return _table(["network", *COLUMNS], lines)


def page(machines, chart):
    """The Markdown page, which shows the picture at the path `chart`."""
    found = comparisons(machines)
    names = [machine["name"] for machine in machines]
    lines = [
        "<!-- written by `python benchmarks/peers --render`; do not edit -->",
        "# Benchmarks against scikit-learn, PyTorch and JAX",
        "",
        "The time of a training step (Adam, shuffled mini-batches, steady state, "
        "compilation apart) or of a prediction. Everyone does the same work in turn, "
        "in the best configuration that we know: the better of one thread and all "
        "cores; PyTorch eager or compiled, with its fused Adam; JAX with a whole epoch "
        "compiled. ReLU and float32 unless a row says otherwise. *2 × 256 units* are "
        "two hidden layers of 256, *2 outputs* two yes-or-no labels, *targets* "
        "numbers.",
        "",
        "The *ratio* is the time of the best peer over that of fastmlp: above 1, "
        "fastmlp is faster. It is the median of the ratios of all repeats; in brackets "
        "the smallest and the largest. All times, for each number of threads, are in "
        "[peers.json](peers.json).",
        "",
        f"![Ratio of the times of the best peer and of fastmlp, for each network, on "
        f"{' and '.join(names)}]({chart})",
        "",
        *_table(
            ["network", *names],
            [[what, *map(_ratio, cells)] for what, cells in found],
        ),
        "",
        "Where fastmlp is slower than the best peer (ratio below 1):",
        "",
        *_slower(found, machines),
        "",
        "*Digits to 97%* is the time from a new network to that accuracy "
        "on held-out handwritten digits, with an evaluation after each epoch.",
    ]
    for machine in machines:
        lines += [
            "",
            f"## {machine['name']}",
            "",
            describe_machine(machine),
            "",
            "Microseconds, medians of all repeats:",
            "",
            *_times(machine),
            "",
            "Seconds to get ready (imports apart): building, compiling, two first "
            "epochs. fastmlp keeps compiled kernels on disk: if there are none yet, "
            "the first row of a kind compiles for all that follow.",
            "",
            *_preparation(machine),
        ]
    return "\n".join(lines) + "\n"


# --- the chart -----------------------------------------------------------------------

_MARKS = [
    ("circle", "mark-blue"), ("diamond", "mark-orange"), ("square", "mark-green"),
    ("triangle", "mark-grey"),
]  # fmt: skip


def chart(machines, Drawing):
    """The ratio of every row, with its spread, as a `Drawing` of docs/drawings.py."""
    found = comparisons(machines)
    values = [v for _, cells in found for cell in filter(None, cells) for v in cell[0]]
    low, high = math.floor(math.log2(min(values))), math.ceil(math.log2(max(values)))
    low, high = min(low, -1), max(high, 1)
    line = 16  # from one mark to the next
    pitch = 28 + line * len(machines)
    top = 64 + 20 * len(machines)
    bottom = top + pitch * len(found)
    left, right = 14, 366
    d = Drawing(480, bottom + 40, "Time of the best peer / time of fastmlp")

    def at(ratio):
        return left + (math.log2(ratio) - low) / (high - low) * (right - left)

    for i, machine in enumerate(machines):
        d.mark(20, 14 + 20 * i, *_MARKS[i % len(_MARKS)])
        d.text(32, 19 + 20 * i, machine["name"])
    for y in (top - 10, bottom + 14):
        for power in range(low, high + 1):
            kind = "muted" if power else "bold"
            d.text(at(2.0**power), y, f"{2.0**power:g}", kind, "middle")
    for y in (top - 28, bottom + 33):
        d.text(at(1) - 8, y, "← fastmlp slower", "muted", "end")
        d.text(at(1) + 8, y, "fastmlp faster →", "muted")
    for row, (what, cells) in enumerate(found):
        y = top + pitch * row
        d.text(left, y + 14, what)
        y += 20
        height = line * len(machines)
        d.box(left, y, at(1) - left, height, "box", 0)
        for power in range(low, high + 1):
            place = at(2.0**power)
            d.line(place, y, place, y + height, "faint" if power else "dash")
        y += line / 2
        for i, cell in enumerate(cells):
            if cell is not None:
                ours, peer = cell
                d.line(at(min(ours)), y, at(max(ours)), y)
                d.mark(at(median(ours)), y, *_MARKS[i % len(_MARKS)], 5)
                d.text(right + 10, y + 5, f"{median(ours):.2f} {peer}")
            y += line
    return d


def render(folder):
    """Write the page and the chart of the machines of `folder`."""
    machines = load(folder)
    ours = folder == ROOT / "docs"
    picture = "_static/drawings/peers.svg" if ours else "peers.svg"
    drawing = runpy.run_path(str(ROOT / "docs" / "drawings.py"))["Drawing"]
    text = chart(machines, drawing).svg()
    (folder / picture).write_text(text, encoding="utf-8")
    (folder / "peers.md").write_text(page(machines, picture), encoding="utf-8")


if __name__ == "__main__":
    render(Path(sys.argv[1]))
