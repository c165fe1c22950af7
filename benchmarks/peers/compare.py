"""Runs the contestants in turn and writes the table and the plot.

Started by ``python benchmarks/peers`` in the environment that it makes.
"""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

from joblib import cpu_count
from workloads import WORKLOADS

HERE = Path(__file__).resolve().parent

#: A contestant's turn lasts about this long (seconds), in a full and a quick run.
TURN, QUICK_TURN = 0.3, 0.1


class Contestant:
    """A process that works when it is asked to, and sleeps while others do."""

    def __init__(self, name, threads):
        self.name, self.threads = name, threads
        self.count = 1
        self._process = subprocess.Popen(
            [sys.executable, HERE / "worker.py", name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, **request):
        """Seconds that the request took."""
        print(json.dumps(request), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.name} has died")
        answer = json.loads(answer)
        if "error" in answer:
            raise RuntimeError(f"{self.name} failed:\n{answer['error']}")
        return answer["seconds"]

    def close(self):
        """End the process."""
        self._process.stdin.close()
        self._process.wait()


def contestants_for(workload, cores):
    """(name, threads) of everyone who takes part in a workload."""
    names = ["scikit-learn", "PyTorch", "PyTorch compiled", "JAX"]
    if workload.kind == "accuracy":
        names += ["LightGBM"]
    if workload.kind == "train":
        names += ["scikit-learn float64"]
    entries = [("fastmlp", cores)]
    if workload.n_rows == 1:
        entries += [("fastmlp predictor()", cores)]
    # fewer threads are faster for small work: every peer may choose
    counts = sorted({1, cpu_count(only_physical_cores=True), cores})
    entries += [(name, threads) for name in names for threads in counts]
    return entries


def measure(workload, team, repeats, turn):
    """{(name, threads): {"prepare": seconds, "times": [seconds per unit]}}.

    The unit is a training step, or a prediction.
    """
    results = {}
    steps = workload.steps if workload.kind == "train" else 1
    for key, contestant in team.items():
        prepare = contestant.ask(prepare=workload.name)
        contestant.count = 1
        seconds = contestant.ask(run=1)
        while seconds < turn / 4 and contestant.count < 10**6:
            contestant.count *= max(2, min(10, int(turn / 2 / max(seconds, 1e-6))))
            seconds = contestant.ask(run=contestant.count)
        contestant.count = max(1, round(contestant.count * turn / seconds))
        results[key] = {"prepare": prepare, "times": []}
    turns = random.Random(0)
    for _ in range(repeats):
        for key in turns.sample(list(results), len(results)):
            time.sleep(0.1)  # threads of the one before go to sleep
            result = results[key]
            contestant = team[key]
            seconds = contestant.ask(run=contestant.count)
            result["times"].append(seconds / contestant.count / steps)
    return results


def summary(results):
    """{name: (threads, times, prepare)} with the better number of threads."""
    best = {}
    for (name, threads), result in results.items():
        entry = (median(result["times"]), threads, result["times"], result["prepare"])
        best[name] = min(best.get(name, entry), entry)
    return {name: entry[1:] for name, entry in best.items()}


def ratios(best, name="fastmlp"):
    """Ratios best peer / fastmlp, one for each repeat, and that peer's name."""
    ours = best[name][1]
    peers = {name: e for name, e in best.items() if not name.startswith("fastmlp")}
    name = min(peers, key=lambda name: median(peers[name][1]))
    return [b / a for a, b in zip(ours, peers[name][1], strict=True)], name


def _time(seconds):
    if seconds < 1e-4:
        return f"{seconds * 1e6:.1f} µs"
    if seconds < 1e-2:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.1f} ms"


def _processor():
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def machine():
    """One line on where and with what this ran."""
    names = ("numba", "numpy", "scikit-learn", "torch", "jax", "optax")
    libraries = ", ".join(f"{name} {version(name)}" for name in names)
    return (
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()}, "
        f"Python {platform.python_version()}, {libraries}"
    )


COLUMNS = (
    "fastmlp", "fastmlp predictor()", "scikit-learn", "scikit-learn float64", "PyTorch",
    "PyTorch compiled", "JAX", "LightGBM",
)  # fmt: skip


def write_table(everything, repeats, path):
    """The Markdown page."""
    lines = [
        "<!-- written by `python benchmarks/peers`; do not edit -->",
        "# Side by side with the peers",
        "",
        f"{machine()}. {time.strftime('%Y-%m-%d')}.",
        "",
        f"Medians of {repeats} interleaved repeats: time of a training step (Adam, "
        "shuffled mini-batches, steady state, compilation apart) or a prediction; *to "
        "accuracy*: seconds from nothing to 97 % of held-out digits. "
        "In brackets the number of threads, the better one of 1 and all cores; fastmlp "
        "chooses by itself. *Ratio*: best peer / fastmlp, the median of the repeats' "
        "own ratios, with the smallest and the largest.",
        "",
        "![ratios](peers.svg)",
        "",
        "| workload | network, batch | " + " | ".join(COLUMNS) + " | ratio |",
        "|---|---|" + "---:|" * (len(COLUMNS) + 1),
    ]
    for workload, results in everything:
        best = summary(results)
        cells = []
        for name in COLUMNS:
            if name in best:
                threads, times, _ = best[name]
                count = "" if name.startswith("fastmlp") else f" ({threads})"
                cells.append(f"{_time(median(times))}{count}")
            else:
                cells.append("")
        claims = []
        for name in ("fastmlp", "fastmlp predictor()"):
            if name in best:
                values, peer = ratios(best, name)
                claims.append(
                    f"**{median(values):.2f}** ({min(values):.2f} to "
                    f"{max(values):.2f}) {peer}"
                )
        units = "-".join(map(str, workload.units))
        size = (
            f"{workload.n_rows:,} rows"
            if workload.kind == "predict"
            else workload.batch_size
        )
        lines.append(
            f"| {workload.name} | {units}, {size} | "
            + " | ".join(cells)
            + f" | {'; predictor(): '.join(claims)} |"
        )
    lines += [
        "",
        "Seconds to get ready (imports apart): building, compiling, two first epochs. "
        "fastmlp keeps what it compiled on disk: if nothing is there yet, the first "
        "row of a kind compiles for all that follow.",
        "",
        "| workload | " + " | ".join(COLUMNS) + " |",
        "|---|" + "---:|" * len(COLUMNS),
    ]
    for workload, results in everything:
        if workload.kind == "accuracy":
            continue
        best = summary(results)
        cells = [f"{best[n][2]:.2f}" if n in best else "" for n in COLUMNS]
        lines.append(f"| {workload.name} | " + " | ".join(cells) + " |")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def draw(everything, path):
    """The plot: ratio per workload, with its spread."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 0.4 * len(everything) + 1.2))
    for row, (_, results) in enumerate(everything):
        values, peer = ratios(summary(results))
        axes.barh(row, median(values), color="#4c78a8")
        axes.plot([min(values), max(values)], [row, row], color="black", linewidth=1.5)
        axes.annotate(
            f" {median(values):.1f}x {peer}", (max(values), row), va="center", size=8
        )
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlim(0.5, axes.get_xlim()[1] * 4)
    axes.set_yticks(range(len(everything)), [w.name for w, _ in everything])
    axes.invert_yaxis()
    axes.set_xlabel("time of the best peer / time of fastmlp")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main():
    """Compare, print as it goes, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    repeats = 3 if options.quick else options.repeats
    turn = QUICK_TURN if options.quick else TURN
    chosen = [
        w for w in WORKLOADS if not options.workloads or w.name in options.workloads
    ]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    cores = cores or os.cpu_count()
    processes = {}
    everything = []
    print(machine(), flush=True)
    try:
        for workload in chosen:
            for key in contestants_for(workload, cores):
                if key not in processes:
                    processes[key] = Contestant(*key)
            team = {key: processes[key] for key in contestants_for(workload, cores)}
            results = measure(workload, team, repeats, turn)
            everything.append((workload, results))
            values, peer = ratios(summary(results))
            print(
                f"{workload.name}: {median(values):.2f} ({min(values):.2f} to "
                f"{max(values):.2f}) times as fast as {peer}",
                flush=True,
            )
            for (name, threads), result in results.items():
                print(f"    {name} ({threads}): {_time(median(result['times']))}")
    finally:
        for process in processes.values():
            process.close()
    if not options.workloads:
        options.output.mkdir(exist_ok=True)
        write_table(everything, repeats, options.output / "peers.md")
        draw(everything, options.output / "peers.svg")
        raw = {
            workload.name: {f"{n}, {t}": r for (n, t), r in results.items()}
            for workload, results in everything
        }
        (options.output / "peers.json").write_text(json.dumps(raw, indent=1) + "\n")


if __name__ == "__main__":
    main()
