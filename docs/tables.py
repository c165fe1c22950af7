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
    "focal": "`focal`, several classes",
    "binary_focal": "`focal`, two classes or labels",
}
SOLVER_NAMES = {
    "sgd": "`sgd`, `momentum=0`",
    "momentum": "`sgd`, `nesterovs_momentum=False`",
    "nesterov": "`sgd`",
    "adam": "`adam`, `adamw`",
}

# The formulas of the rows as mathematics.

ACTIVATION_FORMULAS = {
    "identity": r"$z$",
    "relu": r"$\max(0, z)$",
    "tanh": r"$\tanh z$",
    "logistic": r"$\frac{1}{1 + e^{-z}}$",
    "leaky_relu": r"$\max(z, 0.01\, z)$",
    "elu": r"$\max(0, z) + \min(0, e^z - 1)$",
    "selu": r"$1.0507\, (\max(0, z) + 1.6733\, \min(0, e^z - 1))$",
    "gelu": r"$z\, \Phi(z)$, $\Phi$ the normal distribution function",
    "silu": r"$\frac{z}{1 + e^{-z}}$",
    "mish": r"$z \tanh(\log(1 + e^z))$",
    "softplus": r"$\log(1 + e^z)$",
    "softsign": r"$\frac{z}{1 + \lvert z \rvert}$",
    "hard_swish": r"$\frac{z}{6} \min(\max(z + 3, 0), 6)$",
}
LOSS_FORMULAS = {
    "squared_error": r"$\frac{1}{2m} \sum_j (z_j - y_j)^2$",
    "log_loss": r"$\log \sum_j e^{z_j} - z_t$",
    "binary_log_loss": r"$\sum_j \left( \log(1 + e^{z_j}) - y_j z_j \right)$",
    "poisson": r"$\sum_j \left( y_j \log \frac{y_j}{\mu_j} - y_j + \mu_j \right)$",
    "absolute_error": r"$\frac{1}{m} \sum_j \lvert z_j - y_j \rvert$",
    "huber": r"$\frac{1}{m} \sum_j h(z_j - y_j)$, $h(e) = \frac{e^2}{2}$ if "
    r"$\lvert e \rvert \le \delta$, else $\delta (\lvert e \rvert - \frac{\delta}{2})$",
    "quantile": r"$\frac{1}{m} \sum_j \max(q_j e_j, (q_j - 1)\, e_j)$, "
    r"$e_j = y_j - z_j$",
    "gamma": r"$\sum_j \left( \log \frac{\mu_j}{y_j} + \frac{y_j}{\mu_j} - 1 \right)$",
    "focal": r"$-\sum_j y_j (1 - p_j)^\gamma \log p_j$",
    "binary_focal": r"$-\sum_j \left( y_j (1 - p_j)^\gamma \log p_j "
    r"+ (1 - y_j)\, p_j^\gamma \log(1 - p_j) \right)$",
}
_FIRST_MOMENT = r"$m \leftarrow \beta_1 m + (1 - \beta_1)\, g$"
_SECOND_MOMENT = r"$v \leftarrow \beta_2 v + (1 - \beta_2)\, g^2$"
OPTIMIZER_FORMULAS = {
    "sgd": r"$w \leftarrow w - \eta g$",
    "momentum": r"$v \leftarrow \mu v - \eta g$ <br> $w \leftarrow w + v$",
    "nesterov": r"$v \leftarrow \mu v - \eta g$ <br> "
    r"$w \leftarrow w + \mu v - \eta g$",
    "adam": f"{_FIRST_MOMENT} <br> {_SECOND_MOMENT} <br> "
    r"$w \leftarrow w - \eta \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t} "
    r"\frac{m}{\sqrt{v} + \epsilon}$",
    "rmsprop": f"{_SECOND_MOMENT} <br> "
    r"$w \leftarrow w - \eta \frac{g}{\sqrt{v} + \epsilon}$",
    "lion": r"$w \leftarrow w - \eta \operatorname{sign}(\beta_1 m + (1 - \beta_1)\, g)"
    r"$ <br> $m \leftarrow \beta_2 m + (1 - \beta_2)\, g$",
}
SCHEDULE_FORMULAS = {
    "constant": "1",
    "invscaling": r"$1 / (s + 1)^p$ from the second epoch on, $s$ samples seen, $p$ "
    "`power_t` (`adam`: 1)",
    "adaptive": "divided by 5 each time the loss stops improving (`adam`: 1)",
    "plateau": "divided by 10 after each `n_iter_no_change` / 2 epochs (at most 10) "
    "without improvement",
    "step": r"$0.1^{\lfloor 3 f \rfloor}$",
    "exponential": r"$0.01^f$",
    "cosine": r"$c(f)$",
    "cosine_warmup": r"$\max(10 f, 0.01)$ for $f < 0.1$, then $c((f - 0.1) / 0.9)$",
    "one_cycle": r"$1 - 0.96\, c(f / 0.3)$ for $f < 0.3$, then "
    r"$\lambda + (1 - \lambda)\, c((f - 0.3) / 0.7)$, $\lambda = 4 \cdot 10^{-6}$",
}
_GLOROT = r"$\frac{2}{n_{\mathrm{in}} + n_{\mathrm{out}}}$"
_HE, _LECUN = r"$\frac{2}{n_{\mathrm{in}}}$", r"$\frac{1}{n_{\mathrm{in}}}$"
INITIALIZATION_FORMULAS = {
    "glorot_uniform": f"uniform, variance {_GLOROT}",
    "glorot_normal": f"normal, variance {_GLOROT}",
    "he_uniform": f"uniform, variance {_HE}",
    "he_normal": f"normal, variance {_HE}",
    "lecun_normal": f"normal, variance {_LECUN}",
    "orthogonal": "orthogonal columns (or rows) of length 1",
}


def table(head, rows):
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def complete(formulas, names):
    """The formulas of some rows, if each has one and no other has.

    Raises
    ------
    ValueError
        If the table in the code has changed.
    """
    wrong = set(formulas) ^ set(names)
    if wrong:
        raise ValueError(f"rows without a formula here, or without a row: {wrong}")
    return formulas


def text():
    """The page."""
    formulas = complete(ACTIVATION_FORMULAS, ACTIVATIONS)
    activations = [
        [f"`{row.name}`", formulas[row.name], f"`{row.initialization}`"
         if row.initialization else "scikit-learn's", row.reference]
        for row in ACTIVATIONS.values()
    ]  # fmt: skip
    formulas = complete(LOSS_FORMULAS, LOSSES)
    losses = [
        [LOSS_NAMES.get(row.name, f"`{row.name}`"), formulas[row.name],
         row.output_activation, row.reference]
        for row in LOSSES.values()
    ]  # fmt: skip
    rules = [row for row in OPTIMIZERS.values() if row.name != "gradient"]
    formulas = complete(OPTIMIZER_FORMULAS, [row.name for row in rules])
    optimizers = [
        [SOLVER_NAMES.get(row.name, f"`{row.name}`"), formulas[row.name], row.reference]
        for row in rules
    ]
    formulas = complete(SCHEDULE_FORMULAS, SCHEDULES)
    schedules = [
        [
            f"`{name}`",
            formulas[name],
            FACTORS[name].reference if name in FACTORS else "",
        ]
        for name in SCHEDULES
    ]
    formulas = complete(INITIALIZATION_FORMULAS, INITIALIZATIONS)
    initializations = [
        [f"`{row.name}`", formulas[row.name], row.reference]
        for row in INITIALIZATIONS.values()
    ]
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
