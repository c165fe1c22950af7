"""
Handwritten digits: what the units look for
===========================================

A network learns the digits that come with scikit-learn. The weights of a unit of the
first layer are an image of the size of the input: where it is red, ink speaks for the
unit, where it is blue, against it.
"""

# %%
# Train on three quarters of the images and look at the rest. ``alpha`` keeps weights
# small that do not matter, which makes their images clearer.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import train_test_split

from fastmlp import MLPClassifier
from fastmlp.display import NetworkDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, stratify=y, random_state=0
)
model = MLPClassifier((36,), alpha=1.0, max_iter=1000, random_state=0)
model.fit(X_train, y_train)
print(f"accuracy on images that it has not seen: {model.score(X_test, y_test):.3f}")

# %%
# The 36 units, the same colours for all. One that is blank is not used: the penalty has
# taken all its weights to 0.

display = NetworkDisplay.from_estimator(model, kind="images", image_shape=(8, 8))

# %%
# A deeper look at one of them: the images that excite it most, and least.

hidden = np.maximum(0, X_test @ model.coefs_[0] + model.intercepts_[0])
unit = np.argmax(hidden.std(axis=0))
order = np.argsort(hidden[:, unit])

fig, axes = plt.subplots(2, 8, figsize=(8, 2.6), layout="constrained")
for row, (chosen, name) in enumerate(((order[::-1][:8], "most"), (order[:8], "least"))):
    for ax, i in zip(axes[row], chosen, strict=True):
        ax.imshow(X_test[i].reshape(8, 8), cmap="Greys")
        ax.set(xticks=[], yticks=[], xlabel=f"a = {hidden[i, unit]:.1f}")
    axes[row, 0].set_ylabel(name)
fig.suptitle(f"What unit {unit} responds to")

# %%
# What is confused with what.

fig, ax = plt.subplots(figsize=(5.2, 4.6), layout="constrained")
ConfusionMatrixDisplay.from_estimator(model, X_test, y_test, cmap="Blues", ax=ax)
ax.set_title(f"{np.sum(model.predict(X_test) != y_test)} of {len(y_test)} are wrong")
plt.show()
