"""
What a network looks at: saliency, importance, partial dependence
=================================================================

A fitted network can be differentiated by its inputs. This shows which pixels a
prediction depends on, and for a table how a prediction changes with each feature.
"""

# %%
# Saliency of images
# ------------------
#
# ``input_gradients`` with ``of="raw"`` says how the logit of a class changes with each
# pixel. Gradients of a single network are noisy; those of the mean over slightly
# changed copies of an image are smoother (SmoothGrad). Red pixels speak for the
# predicted digit, blue ones against it.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes, load_digits
from sklearn.inspection import PartialDependenceDisplay, permutation_importance
from sklearn.model_selection import train_test_split

from fastmlp import MLPClassifier, MLPRegressor

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, stratify=y, random_state=0
)
model = MLPClassifier((64,), activation="silu", alpha=0.3, random_state=0)
model.fit(X_train, y_train)
print(f"test accuracy: {model.score(X_test, y_test):.3f}")

chosen = [np.flatnonzero(y_test == digit)[0] for digit in range(8)]
images = X_test[chosen]
labels = model.predict(images)
rng = np.random.default_rng(0)
copies = np.repeat(images, 50, axis=0)
copies += 0.1 * rng.standard_normal(copies.shape)
gradients = model.input_gradients(copies, target=labels.repeat(50), of="raw")
saliency = gradients.reshape(8, 50, 64).mean(axis=1)

# %%
# Integrated gradients divide the logit itself among the pixels, in comparison with a
# black image. What is black here has no part in it.

parts = model.integrated_gradients(images, baseline=0.0, target=labels, of="raw")

fig, axes = plt.subplots(3, 8, figsize=(9, 3.8), layout="constrained")
for ax, image, label in zip(axes[0], images, labels, strict=True):
    ax.imshow(image.reshape(8, 8), cmap="Greys")
    ax.set_title(str(label))
for row, pictures in zip(axes[1:], (saliency, parts), strict=True):
    for ax, picture in zip(row, pictures, strict=True):
        limit = np.abs(picture).max()
        ax.imshow(picture.reshape(8, 8), cmap="RdBu_r", vmin=-limit, vmax=limit)
names = ("image", "saliency", "integrated\ngradients")
for row, name in zip(axes, names, strict=True):
    row[0].set_ylabel(name)
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])

# %%
# A table
# -------
#
# Three ways to rank features: the root mean square of the gradients times the
# standard deviation of the feature; the mean size of integrated gradients; and by how
# much the R² on test data drops if a column is permuted.

X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
model = MLPRegressor(
    hidden_layer_sizes=(30,),
    activation="tanh",
    standardize=True,
    alpha=3.0,
    max_iter=150,
    random_state=0,
).fit(X_train, y_train)
print(f"test R²: {model.score(X_test, y_test):.2f}")

slopes = model.input_gradients(X_test) * X_train.std().to_numpy()
parts = model.integrated_gradients(X_test, X_train.mean().to_numpy())
drop = permutation_importance(model, X_test, y_test, n_repeats=20, random_state=0)
rankings = {
    "gradients": np.sqrt((slopes**2).mean(axis=0)),
    "integrated gradients": np.abs(parts).mean(axis=0),
    "permutation": drop.importances_mean,
}

order = np.argsort(rankings["permutation"])
fig, axes = plt.subplots(1, 3, figsize=(9, 3.4), layout="constrained", sharey=True)
for ax, (name, values) in zip(axes, rankings.items(), strict=True):
    ax.barh(X.columns[order], values[order], color="#0072B2")
    ax.set_title(name)
    ax.grid(axis="x", alpha=0.3)
axes[0].set_xlabel("change of y")
axes[1].set_xlabel("change of y")
axes[2].set_xlabel("drop of R²")

# %%
# Partial dependence, by scikit-learn's display: the mean prediction as a function of
# one feature (orange), and that of single samples (blue). Body mass index and ``s5``
# (a logarithm of triglycerides) matter most.

fig, axes = plt.subplots(1, 3, figsize=(9, 3.4), layout="constrained", sharey=True)
PartialDependenceDisplay.from_estimator(
    model,
    X_test,
    ["bmi", "s5", "age"],
    kind="both",
    subsample=40,
    random_state=0,
    ax=axes,
    ice_lines_kw={"color": "#9fc8e5"},
    pd_line_kw={"color": "#D55E00"},
)
plt.show()
