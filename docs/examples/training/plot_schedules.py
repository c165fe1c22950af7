"""
Learning rate schedules compared
================================

``learning_rate`` is the name of a schedule, or a function of the fraction of the
training that is done. Here seven schedules train the same network on the digits, from
the same start and for the same number of epochs.
"""

# %%
# With a learning rate of 0.03 and mini-batches of 16, steps are large and noisy, so
# that it matters to end with smaller ones.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from fastmlp import MLPClassifier

warnings.simplefilter("ignore", ConvergenceWarning)  # all fits end at max_iter

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, test_size=0.3, stratify=y, random_state=0
)


def linear(done):
    """From 1 down to 0."""
    return 1 - done


schedules = {
    "constant": "constant",
    "step": "step",
    "exponential": "exponential",
    "cosine": "cosine",
    "cosine_warmup": "cosine_warmup",
    "one_cycle": "one_cycle",
    "your own, linear": linear,
}
curves, errors = {}, {}
for name, schedule in schedules.items():
    fits = [
        MLPClassifier(
            (64,),
            learning_rate=schedule,
            learning_rate_init=0.03,
            batch_size=16,
            max_iter=40,
            tol=0,
            n_iter_no_change=np.inf,
            random_state=seed,
        ).fit(X_train, y_train)
        for seed in range(5)
    ]
    curves[name] = np.median([fit.loss_curve_ for fit in fits], axis=0)
    errors[name] = [100 * (1 - fit.score(X_test, y_test)) for fit in fits]
    print(
        f"{name:19} last loss {curves[name][-1]:.5f}, "
        f"test error {np.mean(errors[name]):.2f} %"
    )

# %%
# Left: training loss, the median of five random starts. Right: the test error of each
# start (the bar is the mean). A falling learning rate reaches a lower training loss.
# The differences in test error are small compared with those between random starts.

colours = ("black", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7")
styles = ("-", "--", "-.", ":", "-", "--", "-.")
fig, (left, right) = plt.subplots(
    1, 2, figsize=(10, 4.2), layout="constrained", width_ratios=[3, 2]
)
for (name, curve), colour, style in zip(curves.items(), colours, styles, strict=True):
    left.semilogy(range(1, 41), curve, style, color=colour, label=name, lw=1.8)
left.set(xlabel="epoch", ylabel="training loss")
left.legend(fontsize=9)
for place, (name, colour) in enumerate(zip(errors, colours, strict=True)):
    right.plot(errors[name], [place] * 5, "o", color=colour, alpha=0.6)
    right.plot(np.mean(errors[name]), place, "|", color=colour, ms=22, mew=2)
right.set(yticks=range(len(errors)), yticklabels=errors, xlabel="test error in %")
right.invert_yaxis()
plt.show()
