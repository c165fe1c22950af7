"""Runs the contestants in turn and stores what they took.

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
from report import add, best_of, describe_machine, ratios, render, time_of
from workloads import WORKLOADS

from fastmlp.kernels.simd import INSTRUCTION_SET

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
    """{"name, threads": {"prepare": seconds, "times": [seconds per unit]}}.

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
    return {f"{name}, {threads}": result for (name, threads), result in results.items()}


def _processor():
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def machine(name, repeats):
    """Where and with what this runs."""
    libraries = ("numba", "numpy", "scikit-learn", "torch", "jax", "optax", "lightgbm")
    return {
        "name": name or f"{_processor()} ({INSTRUCTION_SET})",
        "processor": _processor(),
        "cores": usable_cores(),
        "system": platform.system(),
        "python": platform.python_version(),
        "libraries": {library: version(library) for library in libraries},
        "date": time.strftime("%Y-%m-%d"),
        "repeats": repeats,
        "workloads": [],
    }


def usable_cores():
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def main():
    """Compare, print as it goes, store the times, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--machine")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    repeats = 3 if options.quick else options.repeats
    turn = QUICK_TURN if options.quick else TURN
    chosen = [
        w for w in WORKLOADS if not options.workloads or w.name in options.workloads
    ]
    cores = usable_cores()
    processes = {}
    here = machine(options.machine, repeats)
    print(describe_machine(here), flush=True)
    try:
        for workload in chosen:
            for key in contestants_for(workload, cores):
                if key not in processes:
                    processes[key] = Contestant(*key)
            team = {key: processes[key] for key in contestants_for(workload, cores)}
            results = measure(workload, team, repeats, turn)
            entry = {
                "name": workload.name,
                "description": workload.description,
                "kind": workload.kind,
                "results": results,
            }
            here["workloads"].append(entry)
            values, peer = ratios(best_of(results))
            print(
                f"{workload.label}\n    {median(values):.2f} ({min(values):.2f} to "
                f"{max(values):.2f}) times as fast as {peer}",
                flush=True,
            )
            for key, result in results.items():
                print(f"    {key}: {time_of(median(result['times']))}", flush=True)
    finally:
        for process in processes.values():
            process.close()
    if not options.workloads:
        options.output.mkdir(exist_ok=True)
        add(here, options.output)
        render(options.output)


if __name__ == "__main__":
    main()
