"""
Callbacks: record weights, print, and stop
==========================================

``callbacks`` is a list of functions that are called at the end of every epoch. They get
an object with ``epoch``, ``loss``, ``validation_score``, ``seconds`` and ``estimator``,
a copy that can predict. If one of them returns True, the fit ends.
"""

# %%
# Three callbacks: one records weights, one prints the loss every 100 epochs, and one
# stops when the loss is low enough.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_iris
from sklearn.preprocessing import StandardScaler

from fastmlp import MLPClassifier

X, y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
weights, margins, losses = [], [], []


def record(state):
    model = state.estimator
    weights.append(model.coefs_[0].ravel().copy())
    p = model.predict_proba(X)
    margins.append(p[np.arange(len(y)), y])
    losses.append(state.loss)


def report(state):
    if state.epoch % 100 == 0:
        print(f"epoch {state.epoch}: loss {state.loss:.4f}")


def low_enough(state):
    return state.loss < 0.06


model = MLPClassifier(
    (5,),
    "tanh",
    learning_rate_init=0.01,
    max_iter=2000,
    tol=0,
    random_state=0,
    callbacks=[record, report, low_enough],
).fit(X, y)
print(f"stopped after {model.n_iter_} epochs")

# %%
# Left: the weights of the first layer. Right: the predicted probability of each
# sample's true class. It stays low for a few samples of two species that look alike.

weights, margins = np.array(weights), np.array(margins)
epochs = np.arange(1, len(weights) + 1)
colours = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
names = [name.removesuffix(" (cm)") for name in load_iris().feature_names]
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 5), layout="constrained")
for j, (name, colour) in enumerate(zip(names, colours, strict=True)):
    of_feature = weights.reshape(-1, 4, 5)[:, j]
    lines = left.plot(epochs, of_feature, color=colour, lw=1.3)
    lines[0].set_label(name)
left.axhline(0, color="0.7", lw=0.8, zorder=0)
left.set(xlabel="epoch", ylabel="weights of the first layer")
left.legend(
    title="from feature", ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.14)
)
species = load_iris().target_names
for label, colour in enumerate(colours[:3]):
    lines = right.plot(epochs, margins[:, y == label], color=colour, lw=0.5, alpha=0.6)
    lines[0].set_label(str(species[label]))
right.set(xlabel="epoch", ylabel="probability of the true class")
legend = right.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.14))
for line in legend.get_lines():
    line.set(linewidth=2, alpha=1)
plt.show()
