"""Makes docs/tables.md and its plots from the tables in the code.

python docs/tables.py
"""

import sys
from pathlib import Path

import numpy as np

from fastmlp.initialization import INITIALIZATIONS
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.losses import LOSSES
from fastmlp.kernels.optimizers import OPTIMIZERS
from fastmlp.network import Network
from fastmlp.schedules import FACTORS, SCHEDULES

HERE = Path(__file__).parent

#: Where parameters call a row otherwise, or choose it among others.
LOSS_NAMES = {
    "log_loss": "`log_loss`, several classes",
    "binary_log_loss": "`log_loss`, two classes or labels",
    "focal": "`focal`, several classes (and `label_smoothing`)",
    "binary_focal": "`focal`, two classes or labels",
}
SOLVER_NAMES = {
    "sgd": "`sgd`, `momentum=0`",
    "momentum": "`sgd`, `nesterovs_momentum=False`",
    "nesterov": "`sgd`",
    "adam": "`adam`, `adamw`",
}
OTHER_SCHEDULES = {
    "constant": "1",
    "invscaling": "1 / (t + 1)^power_t from the second epoch on, t samples seen",
    "adaptive": "a fifth each time the loss stops improving",
    "plateau": "a tenth after half the patience without improvement",
}


def table(head, rows):
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def code(text):
    """Text as code that does not end a cell."""
    return f"`{text}`".replace("|", "\\|")


def text():
    """The page."""
    activations = [
        [f"`{row.name}`", code(row.formula), row.initialization
         if row.value is None else "scikit-learn's", row.reference or "-"]
        for row in ACTIVATIONS.values()
    ]  # fmt: skip
    losses = [
        [LOSS_NAMES.get(row.name, f"`{row.name}`"), code(row.formula),
         row.output_activation, row.reference or "-"]
        for row in LOSSES.values()
    ]  # fmt: skip
    optimizers = [
        [SOLVER_NAMES.get(row.name, f"`{row.name}`"), code(row.formula),
         row.reference or "-"]
        for row in OPTIMIZERS.values() if row.name != "gradient"
    ]  # fmt: skip
    schedules = [
        [f"`{name}`", FACTORS[name].formula if name in FACTORS
         else OTHER_SCHEDULES[name],
         (FACTORS[name].reference if name in FACTORS else "") or "-"]
        for name in SCHEDULES
    ]  # fmt: skip
    initializations = [
        [f"`{row.name}`", row.formula, row.reference]
        for row in INITIALIZATIONS.values()
    ]
    return f"""# Activations, losses, optimizers, schedules

Made from the tables in the code by `docs/tables.py`.

## Activations

`activation=`, one for all hidden layers or a list with one for each. z is what a unit
sums up. The initial weights are those of `weight_init="auto"`.

![activations](images/activation-functions.png)

{table(["name", "g(z)", "initial weights", "reference"], activations)}

## Losses

`loss=`. z are the raw outputs, y the targets, p the probabilities; predictions are what
the output activation makes of z.

{table(["loss", "of a sample", "output", "reference"], losses)}

## Optimizers

`solver=`. g is the gradient, m and v are its averages.

{table(["solver", "step", "reference"], optimizers)}

`lbfgs` is SciPy's L-BFGS-B.

## Schedules

`learning_rate=`: what multiplies `learning_rate_init`; f is the fraction of `max_iter`
that is done, between 0 and 1.

![schedules](images/schedules.png)

{table(["name", "factor", "reference"], schedules)}

## Initial weights

`weight_init=`.

{table(["name", "distribution", "reference"], initializations)}
"""


def values_of(name, z):
    """Activations, by the kernels themselves."""
    from fastmlp.jobs import PredictionJob
    from fastmlp.threads import Team

    network = Network((1, 1, 1), "float64")
    network.write([np.ones((1, 1))] * 2, [np.zeros(1)] * 2)
    job = PredictionJob(
        network, z[:, None], activation=name, output_activation="identity"
    )
    with Team(1) as team:
        return job.run(team)[:, 0]


def draw():
    """The plots."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    z = np.linspace(-4, 4, 401)
    figure, axes = plt.subplots(3, 5, figsize=(9, 5), sharex=True, layout="constrained")
    for ax, name in zip(axes.flat, ACTIVATIONS, strict=False):
        ax.plot(z, values_of(name, z), color="#0072B2")
        ax.axhline(0, color="0.8", lw=0.8, zorder=0)
        ax.axvline(0, color="0.8", lw=0.8, zorder=0)
        ax.set(title=name, ylim=(-2, 4))
    for ax in axes.flat[len(ACTIVATIONS) :]:
        ax.set_visible(False)
    figure.savefig(HERE / "images" / "activation-functions.png", dpi=110)

    fractions = np.linspace(0, 1, 401)[:-1]
    figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
    colours = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00"]
    for row, colour in zip(FACTORS.values(), colours, strict=True):
        factors = [row.function(fraction) for fraction in fractions]
        ax.plot(fractions, factors, color=colour, label=row.name)
    ax.set(xlabel="fraction of the training", ylabel="learning rate / initial")
    ax.legend(frameon=False)
    figure.savefig(HERE / "images" / "schedules.png", dpi=110)


if __name__ == "__main__":
    (HERE / "tables.md").write_text(text(), encoding="utf-8")
    if "--text" not in sys.argv:
        draw()
