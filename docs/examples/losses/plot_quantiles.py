"""
Quantile regression: prediction intervals
=========================================

With ``loss="quantile"`` and a list of quantiles, one network predicts all of them. Nine
of ten targets should lie below the predicted quantile 0.9, for example. Here the noise
grows with x, so the interval should grow, too.
"""

# %%
# The data: a curve with noise that is neither constant nor symmetric.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import train_test_split

from fastmlp import MLPRegressor

rng = np.random.default_rng(0)
x = rng.uniform(0, 4, 3000)
noise = (0.1 + 0.25 * x) * (rng.gamma(2.0, 0.5, x.size) - 1)
y = np.sin(2 * x) + x / 2 + noise
X_train, X_test, y_train, y_test = train_test_split(x.reshape(-1, 1), y, random_state=0)

# %%
# One network, five outputs.

quantiles = [0.05, 0.25, 0.5, 0.75, 0.95]
model = MLPRegressor(
    "quantile",
    hidden_layer_sizes=(64, 32),
    activation="silu",
    quantile=quantiles,
    learning_rate_init=0.005,
    learning_rate="cosine",
    max_iter=150,
    tol=0,
    n_iter_no_change=np.inf,
    random_state=0,
).fit(X_train, y_train)

predicted = model.predict(X_test)
for q, column in zip(quantiles, predicted.T, strict=True):
    print(f"quantile {q:.2f}: {np.mean(y_test <= column):.3f} of the test set below")
crossings = np.mean(np.diff(predicted, axis=1) < 0)
print(f"neighbouring quantiles in the wrong order: {crossings:.2%}")

# %%
# Left: the predicted intervals. Right: the share of test samples below each predicted
# quantile, in bins of x. Ideally, it is the dotted line everywhere.

fine = np.linspace(0, 4, 300).reshape(-1, 1)
bands = model.predict(fine)
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.plot(X_test, y_test, ".", ms=3, color="0.5", label="test samples")
left.fill_between(
    fine[:, 0],
    bands[:, 0],
    bands[:, 4],
    color="#56B4E9",
    alpha=0.3,
    lw=0,
    label="5 % to 95 %",
)
left.fill_between(
    fine[:, 0],
    bands[:, 1],
    bands[:, 3],
    color="#0072B2",
    alpha=0.4,
    lw=0,
    label="25 % to 75 %",
)
left.plot(fine, bands[:, 2], color="#D55E00", lw=2, label="median")
left.set(xlabel="x", ylabel="y")
left.legend(loc="upper left")

bins = np.digitize(X_test[:, 0], [1, 2, 3])
colours = ("#56B4E9", "#0072B2", "#D55E00", "#009E73", "#CC79A7")
markers = "osD^v"
for i, q in enumerate(quantiles):
    below = [np.mean(y_test[bins == b] <= predicted[bins == b, i]) for b in range(4)]
    right.axhline(q, color=colours[i], lw=1, ls=":")
    right.plot(
        range(4), below, markers[i] + "-", color=colours[i], label=f"quantile {q}"
    )
right.set(
    xticks=range(4),
    xticklabels=["0 to 1", "1 to 2", "2 to 3", "3 to 4"],
    xlabel="x",
    ylabel="share of the test set below",
    ylim=(0, 1),
)
right.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()
