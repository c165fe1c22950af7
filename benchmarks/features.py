"""What features that scikit-learn lacks cost, as Markdown.

    python -m benchmarks.features        (from the top of the repository)

Prints the table of docs/performance.md: the time of a step with a feature, divided by
that of plain Adam. All features of a network take turns, so that whatever else the
machine does hits all of them alike.
"""

import os
import time

import numpy as np

from fastmlp.engine.options import StepOptions

from .common import ADAM, Steps
from .workloads import BY_NAME

__all__ = ["FEATURES", "NETWORKS", "ratios", "steps_with"]

NETWORKS = ("tiny", "small", "tab", "mnist")

_TURNS = 15
_SECONDS = 0.05  # of a turn


def _cosine(n_steps):
    """Learning rates of an epoch in the middle of a fit."""
    ends = np.arange(n_steps) / n_steps
    return ADAM["rate"] * (1 + np.cos(np.pi * (0.4 + 0.2 * ends))) / 2


#: Feature -> from a workload to the options of `Steps`.
FEATURES = {
    "adam": lambda w: {},
    "adamw": lambda w: {"options": StepOptions(weight_decay=0.01)},
    "adamw, cosine": lambda w: {
        "options": StepOptions(weight_decay=0.01), "rate": _cosine(w.steps)
    },
    "l1": lambda w: {"options": StepOptions(l1=1e-4)},
    "dropout": lambda w: {
        "options": StepOptions(dropout=(0.0, *[0.1] * (len(w.units) - 2)), seed=1)
    },
    "clip_norm": lambda w: {"options": StepOptions(clip_norm=1.0)},
    "ema_decay": lambda w: {
        "options": StepOptions(average_decay=0.999), "averaged": True
    },
    "label_smoothing": lambda w: (
        {"loss": "focal", "options": StepOptions(loss_parameters=(0.0, 0.1))}
        if w.loss == "log_loss"
        else {}  # two classes: other targets, the same loss
    ),
    "lion": lambda w: {"optimizer": "lion"},
    "silu": lambda w: {"activation": "silu"},
    "gelu": lambda w: {"activation": "gelu"},
}  # fmt: skip


def steps_with(feature, workload, n_threads):
    """`Steps` of a workload with a feature."""
    return Steps(workload, n_threads, **FEATURES[feature](workload))


def _seconds_per_epoch(steps, epochs):
    started = time.perf_counter()
    for _ in range(epochs):
        steps.epoch()
    return (time.perf_counter() - started) / epochs


def ratios(workload, n_threads, turns=_TURNS):
    """{feature: median of the ratios of its time to plain Adam's, turn by turn}."""
    jobs = {feature: steps_with(feature, workload, n_threads) for feature in FEATURES}
    once = min(_seconds_per_epoch(jobs["adam"], 1) for _ in range(5))
    epochs = max(1, int(_SECONDS / once))
    measured = {feature: [] for feature in FEATURES}
    for _ in range(turns):
        seconds = {f: _seconds_per_epoch(steps, epochs) for f, steps in jobs.items()}
        for feature in FEATURES:
            measured[feature].append(seconds[feature] / seconds["adam"])
    for steps in jobs.values():
        steps.close()
    return {feature: float(np.median(values)) for feature, values in measured.items()}


def main():
    """Print the table."""
    n_threads = min(2, os.cpu_count() or 1)
    features = [feature for feature in FEATURES if feature != "adam"]
    print("| network |", " | ".join(features), "|")
    print("|---" + "|---:" * len(features) + "|")
    for name in NETWORKS:
        workload = BY_NAME[name]
        # the smallest steps are shorter than a barrier between threads
        found = ratios(workload, 1 if name == "tiny" else n_threads)
        cells = (f"{found[feature]:.2f}" for feature in features)
        print(f"| {workload.description} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
