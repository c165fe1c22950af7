"""The comparison on the page docs/tabular.md, from the results in tabular.json.

    python benchmarks/tables --render [--output FOLDER]

References
----------
Demšar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7 (2006):
average ranks, the critical difference of Nemenyi's test, and the diagram of both.
"""

import json
import math
import re
from pathlib import Path

import numpy as np
from models import MODELS
from scipy.stats import rankdata, studentized_range

__all__ = [
    "average_ranks", "critical_difference", "errors_of", "groups", "mean_of", "render",
    "summary", "win_rates",
]  # fmt: skip

ROOT = Path(__file__).resolve().parents[2]
TASKS = {"classes": "Classes", "numbers": "Numbers"}

#: What is replaced on the page.
_REGION = re.compile(
    r"(<!-- comparison -->\n).*?(<!-- end of comparison -->)", re.DOTALL
)
_EMPTY_PAGE = "<!-- comparison -->\n<!-- end of comparison -->\n"


# --- figures ------------------------------------------------------------------------


def mean_of(values):
    """Geometric mean of the values + 0.01, less 0.01: no error of 0 decides alone."""
    return math.exp(np.mean(np.log(np.asarray(values, float) + 0.01))) - 0.01


def _common(results, task):
    """(models, results of that task): of the (set, seed) that every model did."""
    rows = [row for row in results if row["task"] == task]
    models = [model for model in MODELS if any(r["model"] == model for r in rows)]
    done = {(r["set"], r["seed"], r["model"]) for r in rows if "failed" not in r}
    return models, [
        r for r in rows if all((r["set"], r["seed"], m) in done for m in models)
    ]


def errors_of(results, task):
    """(names of sets, models, errors of shape (sets, models)): means over seeds."""
    models, rows = _common(results, task)
    sets = list(dict.fromkeys(row["set"] for row in rows))
    errors = [
        [
            np.mean(
                [r["error"] for r in rows if (r["set"], r["model"]) == (name, model)]
            )
            for model in models
        ]
        for name in sets
    ]
    return sets, models, np.reshape(errors, (len(sets), len(models)))


def average_ranks(errors):
    """Average rank of each column; 1 is the least error, equal ones share ranks."""
    return rankdata(errors, axis=1).mean(axis=0)


def critical_difference(n_models, n_sets, level=0.05):
    """Average ranks that differ by less are not told apart, by Nemenyi's test."""
    q = studentized_range.ppf(1 - level, n_models, np.inf) / math.sqrt(2)
    return q * math.sqrt(n_models * (n_models + 1) / (6 * n_sets))


def groups(ranks, difference):
    """The longest runs of models, best first, whose ranks are not told apart."""
    order = np.argsort(ranks, kind="stable")
    runs, last = [], 0
    for i in range(len(order)):
        j = max(j for j in range(i, len(order))
                if ranks[order[j]] - ranks[order[i]] < difference)  # fmt: skip
        if j > i and j > last:
            runs.append(order[i : j + 1].tolist())
            last = j
    return runs


def win_rates(errors):
    """Share of the sets on which a row's model has the lower error; half if equal."""
    ours, theirs = errors[:, :, None], errors[:, None, :]
    return ((ours < theirs) + 0.5 * (ours == theirs)).mean(axis=0)


# --- tables -------------------------------------------------------------------------


def _figures(results, task):
    """A row of words for each model."""
    _, rows = _common(results, task)
    sets, models, errors = errors_of(results, task)
    ranks = average_ranks(errors) if sets else []
    for model, rank in zip(models, ranks, strict=False):
        mine = [row for row in rows if row["model"] == model]
        cells = [MODELS[model].label, f"{mean_of([r['error'] for r in mine]):.4f}"]
        if task == "classes":
            areas = [r["auc"] for r in mine if "auc" in r]
            cells += [
                f"{mean_of([r['log_loss'] for r in mine]):.4f}",
                f"{np.mean(areas):.4f}" if areas else "",
            ]
        seconds = (sum(r[name] for r in mine) for name in ("fit", "predict"))
        yield [*cells, f"{rank:.1f}", *(f"{s:,.1f}" for s in seconds)]


def _head(task):
    more = ["log loss", "AUC"] if task == "classes" else []
    return ["model", "error", *more, "rank", "fit, s", "predict, s"]


def summary(results):
    """What is printed at the end."""
    lines = []
    for task in TASKS:
        rows = [_head(task), *_figures(results, task)]
        if len(rows) > 1:
            widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
            lines += ["", f"{TASKS[task]}, {len(errors_of(results, task)[0])} sets"]
            lines += [
                "  ".join(
                    [row[0].ljust(widths[0])]
                    + [c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)]
                )
                for row in rows
            ]
    failed = [row for row in results if "failed" in row]
    lines += [f"failed: {r['model']} on {r['set']}: {r['failed']}" for r in failed]
    return "\n".join(lines)


def _table(head, rows):
    return [
        "| " + " | ".join(head) + " |",
        "|---|" + "---:|" * (len(head) - 1),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def _by_set(results, task):
    """Errors of all models on each set, the least in bold."""
    sets, models, errors = errors_of(results, task)
    cells = [
        [f"**{e:.3f}**" if e == min(row) else f"{e:.3f}" for e in row] for row in errors
    ]
    labels = [MODELS[model].label for model in models]
    return _table(["set", *labels], [[s, *c] for s, c in zip(sets, cells, strict=True)])


def _losses(results, task):
    """Where each preset has a larger error than the best model of others."""
    sets, models, errors = errors_of(results, task)
    theirs = [j for j, model in enumerate(models) if not MODELS[model].is_ours]
    for j, model in enumerate(models):
        if theirs and MODELS[model].label.startswith("TabularMLP"):
            words = []
            for name, row in zip(sets, errors, strict=True):
                best = min(theirs, key=row.__getitem__)
                if row[j] > row[best]:
                    label = MODELS[models[best]].label
                    words.append(f"{name} ({row[j]:.3f}; {label} {row[best]:.3f})")
            count = f"{len(words) or 'none'} of {len(sets)} sets"
            which = f": {'; '.join(words)}" if words else ""
            yield f"- {MODELS[model].label}, on {count}{which}."


def page(stored, pictures):
    """The part of the page, which shows pictures at paths with these prefixes."""
    results = stored["results"]
    libraries = ", ".join(f"{name} {v}" for name, v in stored["libraries"].items())
    seeds = len({row["seed"] for row in results})
    lines = [
        f"{stored['processor']}, {stored['cores']} cores, {stored['system']}, Python "
        f"{stored['python']}, {libraries}. {stored['date']}; at most "
        f"{stored['rows']:,} rows to train on; {seeds} seed{'s' * (seeds > 1)}. All "
        "models have their defaults, get the same rows, and take turns. Each did one "
        "fit before, so that nothing has to be compiled.",
        "",
        "*Error* is the share of wrong classes, or the root mean squared error over "
        "the standard deviation of the targets. Of errors and log losses, the tables "
        "have the geometric mean (of the value + 0.01, less 0.01). *AUC* is the mean "
        "over sets of two classes, *rank* the average rank of the error (1 is best). "
        "Seconds are sums over all fits. All results are in "
        "[tabular.json](tabular.json).",
    ]
    found = [task for task in TASKS if len(errors_of(results, task)[0])]
    for task in found:
        lines += ["", f"### {TASKS[task]}", ""]
        lines += _table(_head(task), _figures(results, task))
    lines += [
        "",
        "### Plots",
        "",
        f"![Fit seconds and errors of all models]({pictures}times.png)",
        "",
        "Average ranks of the errors. A bar joins models that Nemenyi's test does not "
        "tell apart (at 5 %):",
        "",
        f"![Critical difference diagram]({pictures}ranks.png)",
        "",
        "On how many of the sets, in per cent, the model of a row has a lower error "
        "than that of a column:",
        "",
        f"![Win rates of all pairs of models]({pictures}wins.png)",
        "",
        "### Where others are better",
        "",
        "Sets on which a preset has a larger error than the best model of others:",
    ]
    for task in found:
        lines += ["", f"{TASKS[task]}:", "", *_losses(results, task)]
    for task in found:
        lines += [
            "",
            f"### Each set: {TASKS[task].lower()}",
            "",
            *_by_set(results, task),
        ]
    failed = [
        f"{MODELS[row['model']].label} on {row['set']}"
        for row in results
        if "failed" in row
    ]
    if failed:
        lines += [
            "",
            "These fits failed, and their rows are left out for all models: "
            f"{'; '.join(sorted(set(failed)))}.",
        ]
    return "\n".join(lines) + "\n"


# --- pictures -----------------------------------------------------------------------


def _colour(model):
    return "#0072B2" if MODELS[model].is_ours else "#555555"


def _draw_times(axes, results, task):
    from matplotlib.ticker import LogLocator, NullFormatter

    _, rows = _common(results, task)
    for model in errors_of(results, task)[1]:
        mine = [row for row in rows if row["model"] == model]
        x = sum(row["fit"] for row in mine)
        y = mean_of([row["error"] for row in mine])
        axes.scatter(x, y, color=_colour(model), s=36)
        axes.annotate(
            MODELS[model].label, (x, y), (5, 4), textcoords="offset points", fontsize=8
        )
    axes.set(xscale="log", yscale="log", xlabel="fit seconds, all sets", ylabel="error")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.45, y=0.1)
    axes.set_title(TASKS[task])


def _draw_ranks(axes, results, task):
    sets, models, errors = errors_of(results, task)
    ranks, k = average_ranks(errors), len(models)
    difference = critical_difference(k, len(sets)) if k > 1 else 0.0
    bars = groups(ranks, difference)
    top = 1 + 0.25 * len(bars)
    axes.set(xlim=(1 - 0.05 * k, k + 0.05 * k), ylim=(k / 2 + top, -1.6))
    axes.axis("off")
    axes.plot([1, k], [0, 0], color="0.2", lw=1)
    for tick in range(1, k + 1):
        axes.plot([tick, tick], [-0.15, 0], color="0.2", lw=1)
        axes.text(tick, -0.3, tick, ha="center", fontsize=8)
    width = min(difference, k - 1)
    axes.plot([1, 1 + width], [-1, -1], color="0.2", lw=1, marker="|")
    axes.text(1 + width, -1, f"  {difference:.1f}", va="center", fontsize=8)
    axes.set_title(f"{TASKS[task]}, {len(sets)} sets", fontsize=10)
    for i, run in enumerate(bars):
        ends = ranks[run[0]] - 0.03, ranks[run[-1]] + 0.03
        y = 0.25 + 0.25 * i
        axes.plot(ends, [y, y], color="0.2", lw=3, solid_capstyle="butt")
    half = math.ceil(k / 2)
    for place, j in enumerate(np.argsort(ranks, kind="stable")):
        left = place < half
        y = top + (place if left else k - 1 - place)
        end = 1 - 0.04 * k if left else k + 0.04 * k
        axes.plot([ranks[j], ranks[j], end], [0, y, y], color=_colour(models[j]), lw=1)
        axes.text(
            end, y, f" {MODELS[models[j]].label} ({ranks[j]:.1f}) ", fontsize=8,
            color=_colour(models[j]), va="center", ha="right" if left else "left",
        )  # fmt: skip


def _draw_wins(axes, results, task):
    _, models, errors = errors_of(results, task)
    rates = 100 * win_rates(errors)
    np.fill_diagonal(rates, np.nan)
    axes.imshow(rates, cmap="RdBu", vmin=-60, vmax=160)
    for i, j in np.argwhere(~np.isnan(rates)):
        axes.text(j, i, f"{rates[i, j]:.0f}", ha="center", va="center", fontsize=7)
    labels = [MODELS[model].label for model in models]
    places = range(len(models))
    axes.set_xticks(places, labels, rotation=60, ha="right", fontsize=8)
    axes.set_yticks(places, labels, fontsize=8)
    axes.set_title(TASKS[task])


def _draw(stored, folder):
    """Save the three pictures."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    results = stored["results"]
    found = [task for task in TASKS if len(errors_of(results, task)[0])]
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw, size, is_row in (
        ("times", _draw_times, (9.6, 4.4), True),
        ("ranks", _draw_ranks, (9.6, 3.2), False),
        ("wins", _draw_wins, (9.6, 5.2), True),
    ):
        shape = (1, len(found)) if is_row else (len(found), 1)
        height = size[1] * (1 if is_row else len(found))
        figure = Figure((size[0], height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(*shape, squeeze=False)
        for each, task in zip(axes.flat, found, strict=True):
            draw(each, results, task)
        path = folder / f"tabular-{name}.png"
        # no version of matplotlib in it: the same image is the same file
        figure.savefig(path, dpi=100, metadata={"Software": None})


def render(folder):
    """Write the pictures and the part of the page that are made from the results."""
    stored = json.loads((folder / "tabular.json").read_text(encoding="utf-8"))
    _draw(stored, folder / "images")
    file = folder / "tabular.md"
    text = file.read_text(encoding="utf-8") if file.exists() else _EMPTY_PAGE
    part = page(stored, "images/tabular-")
    text = _REGION.sub(lambda match: f"{match[1]}\n{part}\n{match[2]}", text)
    file.write_text(text, encoding="utf-8")
