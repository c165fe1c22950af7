"""
Robust losses for data with outliers
====================================

The squared error of an error of 10 is a hundred times that of an error of 1, so a few
outliers pull the whole curve towards them. ``loss="huber"`` is linear for errors larger
than ``huber_delta``; ``loss="absolute_error"`` is linear for all errors.
"""

# %%
# A curve with a little noise. One target in twelve is an outlier, far too high.

import matplotlib.pyplot as plt
import numpy as np

from fastmlp import MLPRegressor

rng = np.random.default_rng(0)
X = rng.uniform(-3, 3, (400, 1))
true = np.sin(2 * X[:, 0])
y = true + 0.1 * rng.standard_normal(400)
wrong = rng.random(400) < 1 / 12
y[wrong] += rng.uniform(4, 12, wrong.sum())

# %%
# The same network with three losses. The error is the root mean square distance to the
# curve without noise.

fine = np.linspace(-3, 3, 300).reshape(-1, 1)
settings = {
    "hidden_layer_sizes": (50, 50),
    "learning_rate_init": 0.005,
    "max_iter": 300,
    "learning_rate": "cosine",
    "tol": 0,
    "n_iter_no_change": np.inf,
    "random_state": 0,
}
losses = {
    "squared_error": {},
    "huber": {"huber_delta": 0.3},
    "absolute_error": {},
}
predictions = {}
for loss, parameters in losses.items():
    model = MLPRegressor(loss, **settings, **parameters).fit(X, y)
    predictions[loss] = model.predict(fine)
    error = np.sqrt(np.mean((predictions[loss] - np.sin(2 * fine[:, 0])) ** 2))
    print(f"{loss:15} error {error:.3f}")

# %%
# Left: the predictions. Right: the three losses as functions of the error.

fig, (left, right) = plt.subplots(
    1, 2, figsize=(10, 4), layout="constrained", width_ratios=[2, 1]
)
left.plot(X[~wrong], y[~wrong], ".", color="0.6", label="targets")
left.plot(X[wrong], y[wrong], "x", color="black", label="outliers")
looks = {
    "squared_error": ("#D55E00", "--"),
    "huber": ("#0072B2", "-"),
    "absolute_error": ("#009E73", "-."),
}
for loss, (colour, style) in looks.items():
    left.plot(fine, predictions[loss], style, color=colour, lw=2, label=loss)
left.set(xlabel="x", ylabel="y", ylim=(-1.7, 8))
left.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))

error = np.linspace(-2, 2, 200)
size = abs(error)
shapes = {
    "squared_error": error**2 / 2,
    "huber": np.where(size <= 0.3, error**2 / 2, 0.3 * (size - 0.15)),
    "absolute_error": size,
}
for loss, (colour, style) in looks.items():
    right.plot(error, shapes[loss], style, color=colour, lw=2, label=loss)
right.set(xlabel="error z - y", ylabel="loss", title="Loss functions")
plt.show()
