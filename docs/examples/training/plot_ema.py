"""
Exponential moving average of the weights
=========================================

With small mini-batches, the weights jump around the optimum. With ``ema_decay``, the
model is an exponential moving average (EMA) of the weights over the steps: closer to
the optimum, with a short delay. Validation scores are those of the average, too.
"""

# %%
# A noisy regression, trained with a constant and rather high learning rate.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_friedman1
from sklearn.exceptions import ConvergenceWarning

from fastmlp import MLPRegressor

warnings.simplefilter("ignore", ConvergenceWarning)  # all fits end at max_iter

X, y = make_friedman1(3000, noise=3.0, random_state=0)
X_val, y_val = make_friedman1(3000, noise=0.0, random_state=1)
mean, scale = y.mean(), y.std()
y, y_val = (y - mean) / scale, (y_val - mean) / scale

settings = {
    "hidden_layer_sizes": (50,),
    "learning_rate_init": 0.01,
    "batch_size": 16,
    "max_iter": 40,
    "tol": 0,
    "n_iter_no_change": np.inf,
    "alpha": 0,
    "random_state": 0,
}
decays = {"no average": None, "0.99": 0.99, "0.999": 0.999}
models = {
    name: MLPRegressor(ema_decay=decay, **settings).fit(X, y, X_val=X_val, y_val=y_val)
    for name, decay in decays.items()
}
for name, model in models.items():
    late = np.array(model.validation_scores_[-20:])
    print(f"{name:10} R^2 of the last 20 epochs: {late.mean():.3f} +- {late.std():.3f}")

# %%
# The score on samples without noise, after each epoch. With an average, it is higher
# and smoother. The average of 0.999 spans about a thousand steps, and so it starts
# late.

fig, ax = plt.subplots(figsize=(6.8, 4.2), layout="constrained")
looks = (("0.45", "-"), ("#0072B2", "--"), ("#D55E00", "-."))
for (name, model), (colour, style) in zip(models.items(), looks, strict=True):
    label = name if name == "no average" else f"ema_decay={name}"
    ax.plot(
        range(1, 41), model.validation_scores_, style, color=colour, lw=2, label=label
    )
ax.set(xlabel="epoch", ylabel="validation R²", ylim=(0.5, 1))
ax.legend(loc="lower right")
plt.show()
