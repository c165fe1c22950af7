"""Makes docs/tables.md and its plots from the tables in the code.

python docs/tables.py
"""

import sys
import warnings
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastmlp import MLPRegressor, validation
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
    "invscaling": "1 / (t + 1)^power_t from the second epoch on (`adam`: 1), t samples "
    "seen",
    "adaptive": "a fifth each time the loss stops improving (`adam`: 1)",
    "plateau": "a tenth each time that half of `n_iter_no_change` epochs (10 at most) "
    "have not improved",
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
the output activation makes of z. Left: of numbers (targets of the last two: 1);
right: of two classes, y = 1.

![losses](images/losses.png)

{table(["loss", "of a sample", "output", "reference"], losses)}

## Optimizers

`solver=`. g is the gradient, m and v are running averages of g and of its squares, b1
and b2 `beta_1` and `beta_2`, mu the momentum, t the number of the step.
`solver="adamw"` (Loshchilov and Hutter, ICLR 2019) is `adam` behind `w *= 1 - rate
weight_decay`, which any solver does that is given a `weight_decay`.

{table(["solver", "step", "reference"], optimizers)}

`lbfgs` is SciPy's L-BFGS-B. Twenty steps of the others down a valley (a straight line
is fitted; the loss as a function of its two numbers), at rates that suit them:

![optimizers](images/optimizers.png)

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


COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9"]


def draw_activations():
    """Each activation by itself."""
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


def losses_of(name, z, y, *parameters):
    """Losses of raw outputs z and one target, as samples that validate have them."""
    return validation.LOSSES[name](z[:, None], np.full((len(z), 1), y), *parameters)


def draw_losses():
    """Losses of one output and one target."""
    numbers = {"squared_error": (0,), "absolute_error": (0,), "huber": (0, 1.0),
               "quantile": (0, 0.9), "poisson": (1,), "gamma": (1,)}  # fmt: skip
    z = np.linspace(-4, 4, 401)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for (name, arguments), colour in zip(numbers.items(), COLOURS, strict=True):
        label = f"{name}, 0.9" if name == "quantile" else name
        left.plot(z, losses_of(name, z, *arguments), color=colour, label=label)
    left.set(xlabel="z - y; of poisson and gamma: z", ylabel="loss", ylim=(0, 6))
    classes = {"log_loss": ("binary_log_loss", 1),
               "log_loss, smoothed by 0.2": ("binary_log_loss", 0.9),
               "focal, gamma 2": ("binary_focal", 1, 2.0)}  # fmt: skip
    for (label, arguments), colour in zip(classes.items(), COLOURS, strict=False):
        name, *arguments = arguments
        right.plot(z, losses_of(name, z, *arguments), color=colour, label=label)
    right.set(xlabel="z", ylim=(0, 6))
    for ax in (left, right):
        ax.legend(frameon=False)
    figure.savefig(HERE / "images" / "losses.png", dpi=110)


#: Settings of the estimator for each panel.
DESCENTS = {
    "sgd, momentum=0": {"solver": "sgd", "momentum": 0, "learning_rate_init": 0.45},
    "sgd, momentum": {"solver": "sgd", "nesterovs_momentum": False,
                      "momentum": 0.8, "learning_rate_init": 0.15},
    "sgd (Nesterov)": {"solver": "sgd", "momentum": 0.8, "learning_rate_init": 0.15},
    "adam": {"solver": "adam", "learning_rate_init": 0.25},
    "rmsprop": {"solver": "rmsprop", "beta_2": 0.9, "learning_rate_init": 0.1},
    "lion": {"solver": "lion", "learning_rate_init": 0.12},
}  # fmt: skip


#: Numbers on a straight line; how well its weight fits depends on its bias.
LINE_X = np.linspace(-0.5, 1.5, 50)[:, None]
LINE_Y = 3 * LINE_X[:, 0] - 1


def descent(**settings):
    """Weight and bias of a fit from its start on, after each of 20 steps."""
    path = []

    def record(state):
        model = state.estimator
        path.append((model.coefs_[0][0, 0], model.intercepts_[0][0]))

    # the first step of the first fit goes nowhere: it shows the start
    for steps, rate in ((1, 1e-30), (20, settings.pop("learning_rate_init"))):
        MLPRegressor(
            hidden_layer_sizes=(), batch_size=len(LINE_X), alpha=0, max_iter=steps,
            n_iter_no_change=np.inf, learning_rate_init=rate, random_state=0,
            callbacks=[record], **settings,
        ).fit(LINE_X, LINE_Y)  # fmt: skip
    return np.array(path)


def draw_optimizers():
    """Their paths from one start down one valley."""
    figure, axes = plt.subplots(
        2, 3, figsize=(9, 5), sharex=True, sharey=True, layout="constrained"
    )
    for ax, (label, settings), colour in zip(
        axes.flat, DESCENTS.items(), COLOURS, strict=True
    ):
        path = descent(**settings)
        w, b = np.meshgrid(np.linspace(-3, 6, 80), np.linspace(-4, 3, 80))
        errors = w[..., None] * LINE_X[:, 0] + b[..., None] - LINE_Y
        ax.contour(w, b, np.sqrt((errors**2).mean(axis=-1)), 9, colors="0.8")
        ax.plot(*path.T, ".-", color=colour)
        ax.plot(*path[0], "o", color=colour)
        ax.set(title=label, xlim=(-3, 6), ylim=(-4, 3))
    for ax in axes[1]:
        ax.set_xlabel("weight")
    for ax in axes[:, 0]:
        ax.set_ylabel("bias")
    figure.savefig(HERE / "images" / "optimizers.png", dpi=110)


def draw_schedules():
    """Factors over the whole training."""
    fractions = np.linspace(0, 1, 401)[:-1]
    figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
    for row, colour in zip(FACTORS.values(), COLOURS, strict=False):
        factors = [row.function(fraction) for fraction in fractions]
        ax.plot(fractions, factors, color=colour, label=row.name)
    ax.set(xlabel="fraction of the training", ylabel="learning rate / initial")
    ax.legend(frameon=False)
    figure.savefig(HERE / "images" / "schedules.png", dpi=110)


if __name__ == "__main__":
    (HERE / "tables.md").write_text(text(), encoding="utf-8")
    if "--text" not in sys.argv:
        import matplotlib.pyplot as plt  # the text needs none

        plt.switch_backend("Agg")
        warnings.simplefilter("ignore", ConvergenceWarning)
        draw_activations()
        draw_losses()
        draw_optimizers()
        draw_schedules()
