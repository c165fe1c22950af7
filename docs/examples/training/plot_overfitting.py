"""
Regularization: alpha, weight decay and dropout
===============================================

A large network can memorise a small data set, noise included. Three ways to reduce this
overfitting are ``alpha`` (an L2 penalty on the weights), ``weight_decay`` (every step
shrinks the weights a little) and ``dropout`` (every training step leaves out some of
the units).
"""

# %%
# Two noisy moons: 150 training samples and 4000 test samples.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from sklearn.datasets import make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss

from fastmlp import MLPClassifier

warnings.simplefilter("ignore", ConvergenceWarning)  # all fits end at max_iter

X, y = make_moons(150, noise=0.35, random_state=1)
X_test, y_test = make_moons(4000, noise=0.35, random_state=2)

settings = {
    "hidden_layer_sizes": (200, 200),
    "learning_rate_init": 0.003,
    "max_iter": 600,
    "batch_size": 50,
    "tol": 0,
    "n_iter_no_change": np.inf,
    "random_state": 0,
}
ways = {
    "none": {"alpha": 0},
    "alpha=0.3": {"alpha": 0.3},
    "weight_decay=1": {"alpha": 0, "weight_decay": 1.0},
    "dropout=0.6": {"alpha": 0, "dropout": 0.6},
}
models = {}
for name, way in ways.items():
    models[name] = model = MLPClassifier(**settings, **way).fit(X, y)
    loss = log_loss(y_test, model.predict_proba(X_test))
    print(
        f"{name:15} accuracy: training {model.score(X, y):.3f}, "
        f"test {model.score(X_test, y_test):.3f}; test log loss {loss:.3f}"
    )

# %%
# The predicted probability of class 1, and the training samples. Without
# regularization, the decision boundary makes islands for single samples.

cmap = LinearSegmentedColormap.from_list("", ["#9fc8e5", "white", "#f3b58a"])
low, high = X.min(axis=0) - 0.5, X.max(axis=0) + 0.5
grid = np.meshgrid(*np.linspace(low, high, 150).T)
points = np.column_stack([g.ravel() for g in grid])
fig, axes = plt.subplots(
    2, 2, figsize=(8.6, 6.6), layout="constrained", sharex=True, sharey=True
)
for ax, (name, model) in zip(axes.flat, models.items(), strict=True):
    p = model.predict_proba(points)[:, 1].reshape(grid[0].shape)
    shade = ax.imshow(
        p,
        cmap=cmap,
        vmin=0,
        vmax=1,
        extent=(low[0], high[0], low[1], high[1]),
        origin="lower",
        aspect="auto",
        interpolation="bilinear",
    )
    ax.contour(*grid, p, [0.5], colors="0.25", linewidths=2)
    for label, colour, marker in ((0, "#0072B2", "o"), (1, "#D55E00", "^")):
        ax.plot(*X[y == label].T, marker, color=colour, ms=4, mec="white", mew=0.4)
    ax.set_title(f"{name}: test accuracy {model.score(X_test, y_test):.1%}")
for ax in axes[-1]:
    ax.set_xlabel("$x_1$")
for ax in axes[:, 0]:
    ax.set_ylabel("$x_2$")
fig.colorbar(shade, ax=axes, label="probability of class 1", shrink=0.7)
plt.show()
