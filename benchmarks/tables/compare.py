"""Lets the models fit in turn, measures, prints, and stores."""

import json
import platform
import time
import warnings
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from joblib import cpu_count
from models import MODELS, is_installed
from report import ROOT, render, summary
from sets import SHIPPED, in_folder, split

__all__ = ["compare", "measure"]

_LIBRARIES = ("fastmlp", "scikit-learn", "lightgbm", "catboost", "pytabkit", "torch")
#: Rows of the fits that load or compile what each model needs, before all others.
_FIRST_ROWS = 100


def measure(model, classifies, train, test, seed):
    """{"error", "log_loss", "auc", "fit", "predict"} of a model; the last two seconds.

    The error is the share of wrong classes, or the root mean squared error over the
    standard deviation of the targets. Its log loss is that of classes, its AUC that of
    two.
    """
    X, y = train
    estimator = MODELS[model].make(X, classifies, seed)
    marks = [time.perf_counter()]
    estimator.fit(X, y)
    marks.append(time.perf_counter())
    X, y = test
    if not classifies:
        predicted = np.ravel(estimator.predict(X))
        marks.append(time.perf_counter())
        error = np.sqrt(np.mean((predicted - y) ** 2)) / y.std()
        found = {"error": error}
    else:
        p = np.asarray(estimator.predict_proba(X), np.float64)
        marks.append(time.perf_counter())
        p = np.clip(p, 1e-7, 1)
        p /= p.sum(axis=1, keepdims=True)
        predicted = np.ravel(estimator.predict(X))
        losses = -np.log(p[np.arange(len(y)), y])
        found = {"error": np.mean(predicted != y), "log_loss": losses.mean()}
        if p.shape[1] == 2 and len(np.unique(y)) == 2:
            from sklearn.metrics import roc_auc_score

            found["auc"] = roc_auc_score(y, p[:, 1])
    found |= dict(zip(("fit", "predict"), np.diff(marks), strict=True))
    return {name: round(float(value), 6) for name, value in found.items()}


def _processor():
    try:
        text = Path("/proc/cpuinfo").read_text()
        return text.split("model name", 1)[1].split(":", 1)[1].split("\n", 1)[0].strip()
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def _libraries():
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            yield name, version(name)


def _warm_up(models):
    for name in ("mixed_classes", "mixed_numbers"):
        table = SHIPPED[name]()
        for model in models:
            print(f"first fit of {MODELS[model].label}", flush=True)
            measure(model, table.classifies, *split(table, 0, _FIRST_ROWS), 0)


def _store(folder, n_rows, results):
    """Write tabular.json, with one line for each fit."""
    about = {
        "date": time.strftime("%Y-%m-%d"), "processor": _processor(),
        "cores": cpu_count(only_physical_cores=True), "system": platform.system(),
        "python": platform.python_version(), "libraries": dict(_libraries()),
        "rows": n_rows, "results": [],
    }  # fmt: skip
    head = json.dumps(about, indent=1).removesuffix("[]\n}")
    lines = ",\n  ".join(map(json.dumps, results))
    folder.mkdir(parents=True, exist_ok=True)
    text = f"{head}[\n  {lines}\n ]\n}}\n"
    (folder / "tabular.json").write_text(text, encoding="utf-8")


def _in_turn(models, name, table, seed, n_rows):
    """Yield the results of all models on one split of a table."""
    train, test = split(table, seed, n_rows)
    for model in models:
        row = {
            "set": name,
            "task": "classes" if table.classifies else "numbers",
            "rows": len(train[1]),
            "seed": seed,
            "model": model,
        }
        try:
            row |= measure(model, table.classifies, train, test, seed)
        except Exception as error:
            row["failed"] = repr(error)[:300]
        print(json.dumps(row), flush=True)
        yield row


def compare(options):
    """Run what the options say, see __main__.py."""
    warnings.filterwarnings("ignore")
    models = [model for model in options.models if is_installed(model)]
    for model in options.models:
        if model not in models:
            row = MODELS[model]
            print(f"skipped: {row.label}, for {row.package} is not installed")
    makers = {name: SHIPPED[name] for name in options.sets}
    for folder in options.folders:
        for name, make in in_folder(folder, options.target).items():
            makers[f"{folder.name}/{name}" if name in makers else name] = make
    n_rows = min(options.rows, 300) if options.quick else options.rows
    seeds = options.seeds[:1] if options.quick else options.seeds
    output = options.output
    if not options.quick:
        output = output or ROOT / "docs"
        _warm_up(models)
    results = []
    for name, make in makers.items():
        table = make()
        for seed in seeds:
            results += _in_turn(models, name, table, seed, n_rows)
        if output is not None:  # now, for a library may end the process
            _store(output, n_rows, results)
    print(summary(results))
    if output is not None:
        render(output)
