"""
Early stopping with your own validation set
===========================================

``early_stopping`` ends a fit when the score on held-out samples no longer improves, and
keeps the weights of the best epoch. It holds out a part of the training data, or uses
the ``X_val`` and ``y_val`` that are passed to ``fit``.
"""

# %%
# The diabetes data set is small: a network with 100 hidden units can memorise it.
# Without early stopping, the validation loss first falls and then rises, while the
# training loss keeps falling.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from fastmlp import MLPRegressor
from fastmlp.display import LossCurveDisplay

warnings.simplefilter("ignore", ConvergenceWarning)  # some fits end at max_iter

X, y = load_diabetes(return_X_y=True)
X, y = StandardScaler().fit_transform(X), (y - y.mean()) / y.std()
X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, random_state=0)
X, X_val, y, y_val = train_test_split(X, y, test_size=0.3, random_state=0)

settings = {"learning_rate_init": 0.003, "batch_size": 32, "random_state": 0}
to_the_end = MLPRegressor(max_iter=200, tol=0, n_iter_no_change=np.inf, **settings)
to_the_end.fit(X, y, X_val=X_val, y_val=y_val)
stopped = MLPRegressor(
    max_iter=200, early_stopping=True, n_iter_no_change=15, **settings
).fit(X, y, X_val=X_val, y_val=y_val)

for name, model in (("200 epochs", to_the_end), ("early stopping", stopped)):
    score = model.score(X_test, y_test)
    print(f"{name:15} {model.n_iter_:3d} epochs, test R^2 {score:.3f}")

# %%
# Early stopping goes by R² on the validation set. ``scoring`` changes that: it takes
# any scorer of scikit-learn, such as ``"neg_mean_absolute_error"``, or ``"loss"``.

fig, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", sharey=True)
for ax, model, name in zip(
    axes, (to_the_end, stopped), ("200 epochs", "early stopping"), strict=True
):
    epochs = np.arange(1, model.n_iter_ + 1)
    ax.semilogy(epochs, model.loss_curve_, color="#0072B2", label="training loss")
    ax.semilogy(
        epochs,
        model.validation_loss_curve_,
        "--",
        color="#D55E00",
        label="validation loss",
    )
    best = int(np.argmin(model.validation_loss_curve_))
    ax.plot(
        best + 1,
        model.validation_loss_curve_[best],
        "o",
        color="#D55E00",
        mfc="white",
        label=f"best epoch ({best + 1})",
    )
    score = model.score(X_test, y_test)
    ax.set(xlabel="epoch", title=f"{name}: test R² {score:.2f}")
    ax.legend()
axes[0].set_ylabel("loss")

# %%
# `fastmlp.display.LossCurveDisplay` plots loss and scores in a single call.

LossCurveDisplay.from_estimator(stopped)
plt.show()
