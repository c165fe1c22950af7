"""
Handwritten digits: what hidden units look for
==============================================

A network learns the digits of scikit-learn. The weights of a unit in the first layer
form an image as large as the input. Ink on red pixels activates the unit; ink on blue
pixels inhibits it.
"""

# %%
# Train on three quarters of the images, and test on the rest. ``alpha`` keeps
# unimportant weights small, which makes the images clearer.

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
print(f"test accuracy: {model.score(X_test, y_test):.3f}")

# %%
# The 36 units, all with the same colour scale. A blank unit is not used: the penalty
# has reduced all of its weights to 0.

display = NetworkDisplay.from_estimator(model, kind="images", image_shape=(8, 8))

# %%
# The images that activate one of the units most and least.

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
# The confusion matrix shows which digits are confused.

fig, ax = plt.subplots(figsize=(5.2, 4.6), layout="constrained")
ConfusionMatrixDisplay.from_estimator(model, X_test, y_test, cmap="Blues", ax=ax)
ax.set_title(f"{np.sum(model.predict(X_test) != y_test)} errors of {len(y_test)}")
plt.show()
