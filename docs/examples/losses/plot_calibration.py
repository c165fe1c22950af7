"""
Calibrated probabilities: label smoothing
=========================================

A network that is trained for long on few samples is overconfident: of its predictions
with a probability of 99%, fewer than 99% are right. Label smoothing, an L2 penalty
(``alpha``) and early stopping reduce this in different ways, as calibration curves
show.
"""

# %%
# Two overlapping classes; the labels of 5% of the samples are random.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.calibration import CalibrationDisplay
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from fastmlp import MLPClassifier

warnings.simplefilter("ignore", ConvergenceWarning)  # some fits end at max_iter

X, y = make_classification(
    12000, n_features=20, n_informative=6, flip_y=0.05, class_sep=0.8, random_state=0
)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, train_size=1500, random_state=0
)

# %%
# The log loss on the test set penalises confident errors; accuracy does not.

settings = {"hidden_layer_sizes": (100,), "max_iter": 200, "random_state": 0}
models = {
    "default": MLPClassifier(**settings),
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
# A calibrated classifier is on the diagonal. A curve that is flatter than the diagonal
# is overconfident, a steeper one underconfident. Below: how often each probability is
# predicted.

fig, (top, bottom) = plt.subplots(
    2, 1, figsize=(6.4, 6.4), layout="constrained", height_ratios=[3, 1], sharex=True
)
looks = (("#D55E00", "s"), ("#0072B2", "o"), ("#009E73", "^"), ("#CC79A7", "D"))
for (name, p), (colour, marker) in zip(probabilities.items(), looks, strict=True):
    CalibrationDisplay.from_predictions(
        y_test, p, n_bins=10, ax=top, name=name, color=colour, marker=marker
    )
    bottom.hist(p, bins=20, range=(0, 1), histtype="step", color=colour, lw=1.5)
top.set(xlabel="", ylabel="observed share of class 1")
bottom.set(xlabel="predicted probability of class 1", ylabel="samples")
plt.show()
