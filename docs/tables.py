"""Makes docs/tables.md and its plots from the tables in the code.

python docs/tables.py
"""

import sys
import warnings
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastmlp import MLPRegressor
from fastmlp.tables.activations import ACTIVATIONS
from fastmlp.tables.initializations import INITIALIZATIONS
from fastmlp.tables.losses import LOSSES
from fastmlp.tables.optimizers import OPTIMIZERS
from fastmlp.tables.schedules import FACTORS
from fastmlp.tables.search_space import SPACE
from fastmlp.training.schedules import Adaptive, Constant, InverseScaling, Plateau

HERE = Path(__file__).parent


def table(head, rows):
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def loss_name(row):
    """How to choose a loss."""
    return f"`{row.choice}`" + (f", {row.where}" if row.where else "")


def text():
    """The page."""
    activations = [
        [f"`{row.name}`", row.formula, f"`{row.initialization}`"
         if row.initialization else "scikit-learn's", row.reference]
        for row in ACTIVATIONS.values()
    ]  # fmt: skip
    losses = [
        [loss_name(row), row.formula, row.output_activation, row.reference]
        for row in LOSSES.values()
    ]
    optimizers = [
        [row.label, row.formula, row.reference]
        for row in OPTIMIZERS.values()
        if row.label
    ]
    waiting = (Constant, InverseScaling, Adaptive, Plateau)
    schedules = [
        *([f"`{each.name}`", each.formula, ""] for each in waiting),
        *([f"`{r.name}`", r.formula, r.reference] for r in FACTORS.values()),
    ]
    initializations = [
        [f"`{row.name}`", row.formula, row.reference]
        for row in INITIALIZATIONS.values()
    ]
    space = [[f"`{row.name}`", row.meaning, row.values] for row in SPACE.values()]
    return rf"""# Activations, losses, optimizers, schedules

What each name means, with its formula. `docs/tables.py` makes this page from the tables
in the code.

## Activations

`activation=`: one name for all hidden layers, or a list with one for each. $z$ is the
weighted sum of a unit's inputs, plus its bias. The initial weights are those of
`weight_init="auto"`.

![activations](images/activation-functions.png)

{table(["name", "g(z)", "initial weights", "reference"], activations)}

## Losses

`loss=`. $z_j$ are the $m$ outputs before the output activation, $y_j$ the targets and
$t$ the true class. The output activation makes the predictions: probabilities $p_j$
(softmax and logistic), means $\mu_j$ (exp), or $z_j$ itself. $\delta$ is `huber_delta`,
$q_j$ a `quantile` and $\gamma$ `focal_gamma`.

![losses](images/losses.png)

Left: losses of a regression, for a target of 0 (`poisson` and `gamma`: 1). Right:
losses of two classes, for $y = 1$.

{table(["loss", "of a sample", "output", "reference"], losses)}

`label_smoothing` $s$ replaces the targets by $(1 - s)\, y_j + s / k$, where $k$ is the
number of classes (2 for each of several labels).

## Optimizers

`solver=`. $g$ is the gradient; $m$ and $v$ are running averages of $g$ and $g^2$ (for
`sgd`, $v$ is the velocity). $\beta_1$, $\beta_2$, $\mu$ and $\epsilon$ are the
parameters `beta_1`, `beta_2`, `momentum` and `epsilon`, $\eta$ is the learning rate and
$t$ the number of the step.

{table(["solver", "step", "reference"], optimizers)}

`adamw` is Adam with decoupled weight decay (Loshchilov and Hutter, ICLR 2019): each
step first multiplies the weights by $1 - \eta \lambda$, where $\lambda$ is
`weight_decay`, by default 0.01. The other solvers in this table do so if `weight_decay`
is set.

`lbfgs` is SciPy's L-BFGS-B.

![optimizers](images/optimizers.png)

Twenty steps of each solver down a narrow valley: the loss of a straight line, as a
function of its weight and bias. The learning rates are chosen to suit each solver.

## Schedules

`learning_rate=`: the factor by which `learning_rate_init` is multiplied. $f$ is the
fraction of `max_iter` that is done, from 0 to 1, and
$c(x) = \frac{{1 + \cos \pi x}}{{2}}$.

![schedules](images/schedules.png)

{table(["name", "factor", "reference"], schedules)}

## Initial weights

`weight_init=`. $n_{{\mathrm{{in}}}}$ and $n_{{\mathrm{{out}}}}$ are the numbers of
inputs and outputs of a layer.

{table(["name", "distribution", "reference"], initializations)}

## What tuning tries

`tune=` of `TabularMLPClassifier` and `TabularMLPRegressor`: each configuration draws
all of these, around the recipe of the preset. What a parameter gives stays.

{table(["setting", "what it is", "values"], space)}
"""


COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9"]


def draw_activations():
    """Each activation by itself."""
    z = np.linspace(-4, 4, 401)
    figure, axes = plt.subplots(3, 5, figsize=(9, 5), sharex=True, layout="constrained")
    for ax, name in zip(axes.flat, ACTIVATIONS, strict=False):
        ax.plot(z, ACTIVATIONS[name].value(z), color="#0072B2")
        ax.axhline(0, color="0.8", lw=0.8, zorder=0)
        ax.axvline(0, color="0.8", lw=0.8, zorder=0)
        ax.set(title=name, ylim=(-2, 4))
    for ax in axes.flat[len(ACTIVATIONS) :]:
        ax.set_visible(False)
    figure.savefig(HERE / "images" / "activation-functions.png", dpi=110)


def losses_of(name, z, y, *parameters):
    """Losses of raw outputs z and one target, as samples that validate have them."""
    return LOSSES[name].value(z[:, None], np.full((len(z), 1), y), *parameters)


def draw_losses():
    """Losses of one output and one target."""
    numbers = {"squared_error": (0,), "absolute_error": (0,), "huber": (0, 1.0),
               "quantile": (0, 0.9), "poisson": (1,), "gamma": (1,)}  # fmt: skip
    z = np.linspace(-4, 4, 401)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for (name, arguments), colour in zip(numbers.items(), COLOURS, strict=True):
        label = f"{name}, 0.9" if name == "quantile" else name
        left.plot(z, losses_of(name, z, *arguments), color=colour, label=label)
    left.set(xlabel="z - y (poisson, gamma: z)", ylabel="loss", ylim=(0, 6))
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


#: Points on a straight line; the best weight depends on the bias.
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
        factors = [row.value(fraction) for fraction in fractions]
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
