"""
Activation functions and their decision boundaries
==================================================

The activation function shapes what a network predicts: planes with edges for ``relu``,
smooth curves for ``tanh`` or ``silu``. Here are nine of the thirteen, each with the
same network and data.
"""

# %%
# Two spirals, and a network with two hidden layers of 32 units.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from sklearn.exceptions import ConvergenceWarning

from fastmlp import MLPClassifier

warnings.simplefilter("ignore", ConvergenceWarning)  # all fits end at max_iter

rng = np.random.default_rng(0)
t = np.sqrt(rng.uniform(0.02, 1, 400)) * 2.5 * np.pi
y = np.arange(400) % 2
angle = t + np.pi * y
X = np.column_stack([t * np.cos(angle), t * np.sin(angle)]) / 4
X += 0.06 * rng.standard_normal(X.shape)

names = (
    "identity",
    "logistic",
    "tanh",
    "relu",
    "leaky_relu",
    "elu",
    "gelu",
    "silu",
    "softsign",
)
models = {
    name: MLPClassifier(
        (32, 32),
        name,
        learning_rate_init=0.01,
        learning_rate="cosine",
        batch_size=50,
        max_iter=400,
        tol=0,
        n_iter_no_change=np.inf,
        random_state=0,
    ).fit(X, y)
    for name in names
}
for name, model in models.items():
    print(f"{name:10} loss {model.loss_:.4f}, accuracy {model.score(X, y):.3f}")

# %%
# With ``identity``, the network is linear, however many layers it has. ``logistic`` may
# need more epochs than these, since its slopes are small.

cmap = LinearSegmentedColormap.from_list("", ["#9fc8e5", "white", "#f3b58a"])
limit = abs(X).max() + 0.4
axis = np.linspace(-limit, limit, 180)
grid = np.meshgrid(axis, axis)
points = np.column_stack([g.ravel() for g in grid])
fig, axes = plt.subplots(
    3, 3, figsize=(9, 9.2), layout="constrained", sharex=True, sharey=True
)
for ax, (name, model) in zip(axes.flat, models.items(), strict=True):
    p = model.predict_proba(points)[:, 1].reshape(grid[0].shape)
    shade = ax.imshow(
        p,
        cmap=cmap,
        vmin=0,
        vmax=1,
        extent=(-limit, limit) * 2,
        origin="lower",
        interpolation="bilinear",
    )
    for label, colour, marker in ((0, "#0072B2", "o"), (1, "#D55E00", "^")):
        ax.plot(*X[y == label].T, marker, color=colour, ms=2.5)
    ax.set_title(f"{name}, loss {model.loss_:.3f}")
for ax in axes[-1]:
    ax.set_xlabel("$x_1$")
for ax in axes[:, 0]:
    ax.set_ylabel("$x_2$")
fig.colorbar(
    shade,
    ax=axes,
    label="probability of class 1",
    location="bottom",
    shrink=0.5,
    aspect=40,
)
plt.show()
