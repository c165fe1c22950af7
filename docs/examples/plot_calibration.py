"""
Probabilities that mean what they say
=====================================

A network that is trained to the end on few samples is too sure of itself: of what it
predicts with 99 %, less than 99 % is true. Label smoothing, an L2 penalty (`alpha`)
and early stopping make it more modest in different ways. A calibration curve shows it.
"""

# %%
# Two classes that overlap; 5 % of the labels are wrong besides.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.calibration import CalibrationDisplay
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from fastmlp import MLPClassifier

warnings.simplefilter("ignore", ConvergenceWarning)  # some fits end with max_iter

X, y = make_classification(
    12000, n_features=20, n_informative=6, flip_y=0.05, class_sep=0.8, random_state=0
)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, train_size=1500, random_state=0
)

# %%
# The log loss on the test set punishes what is sure and wrong; accuracy does not see
# it.

settings = {"hidden_layer_sizes": (100,), "max_iter": 200, "random_state": 0}
models = {
    "plain": MLPClassifier(**settings),
    "label_smoothing=0.15": MLPClassifier(label_smoothing=0.15, **settings),
    "alpha=1": MLPClassifier(alpha=1.0, **settings),
    "early_stopping": MLPClassifier(
        early_stopping=True, scoring="neg_log_loss", **settings
    ),
}
probabilities = {}
for name, model in models.items():
    model.fit(X_train, y_train)
    probabilities[name] = p = model.predict_proba(X_test)[:, 1]
    accuracy = np.mean((p > 0.5) == y_test)
    loss = log_loss(y_test, p)
    print(f"{name:21} accuracy {accuracy:.3f}, log loss {loss:.3f}")

# %%
# A curve on the diagonal is calibrated. One that is flatter than the diagonal is too
# sure, a steeper one not sure enough. Below, how often each probability is given.

fig, (top, bottom) = plt.subplots(
    2, 1, figsize=(6.4, 6.4), layout="constrained", height_ratios=[3, 1], sharex=True
)
looks = (("#D55E00", "s"), ("#0072B2", "o"), ("#009E73", "^"), ("#CC79A7", "D"))
for (name, p), (colour, marker) in zip(probabilities.items(), looks, strict=True):
    CalibrationDisplay.from_predictions(
        y_test, p, n_bins=10, ax=top, name=name, color=colour, marker=marker
    )
    bottom.hist(p, bins=20, range=(0, 1), histtype="step", color=colour, lw=1.5)
top.set(xlabel="", ylabel="share of class 1 that is true")
bottom.set(xlabel="predicted probability of class 1", ylabel="samples")
plt.show()
