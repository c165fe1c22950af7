"""
Imbalanced classes: class_weight and focal loss
===============================================

If one sample in thirty belongs to the class that matters, a network that always says
"no" has an accuracy of 97%. ``class_weight="balanced"`` gives more weight to the rare
class. ``loss="focal"`` gives less weight to samples that are already predicted well.
Neither works wonders; the plots show what they do.
"""

# %%
# An imbalanced data set with two classes.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_classification
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    precision_recall_curve,
    recall_score,
)
from sklearn.model_selection import train_test_split

from fastmlp import MLPClassifier

X, y = make_classification(
    20000,
    n_features=12,
    n_informative=6,
    n_clusters_per_class=3,
    weights=[0.97],
    class_sep=0.9,
    flip_y=0.005,
    random_state=0,
)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, stratify=y, train_size=0.4, random_state=0
)
print(f"share of the rare class: {y.mean():.3f}")

# %%
# Recall is the share of the rare class that is found. Precision is the share of
# positive predictions that are right.

settings = {
    "hidden_layer_sizes": (50,),
    "early_stopping": True,
    "max_iter": 200,
    "scoring": "average_precision",
    "random_state": 0,
}
models = {
    "default": MLPClassifier(**settings),
    "class_weight='balanced'": MLPClassifier(class_weight="balanced", **settings),
    "loss='focal'": MLPClassifier(loss="focal", focal_gamma=2.0, **settings),
}
probabilities = {}
for name, model in models.items():
    model.fit(X_train, y_train)
    probabilities[name] = p = model.predict_proba(X_test)[:, 1]
    says = p > 0.5
    print(
        f"{name:24} recall {recall_score(y_test, says):.3f}, "
        f"balanced accuracy {balanced_accuracy_score(y_test, says):.3f}, "
        f"average precision {average_precision_score(y_test, p):.3f}"
    )

# %%
# Left: precision and recall for all thresholds; the dots mark a threshold of 0.5. Class
# weights move the dot towards more recall and less precision. They do not make the
# curve better: choosing another threshold does the same. Right: the probabilities that
# are predicted for the rare class. The focal loss keeps them away from both ends.

fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
looks = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."))
for (name, p), (colour, style) in zip(probabilities.items(), looks, strict=True):
    precision, recall, threshold = precision_recall_curve(y_test, p)
    left.plot(recall, precision, style, color=colour, lw=2, label=name)
    half = np.searchsorted(threshold, 0.5)
    left.plot(recall[half], precision[half], "o", color=colour, ms=9, mec="black")
    right.hist(
        p[y_test == 1],
        bins=25,
        range=(0, 1),
        histtype="step",
        color=colour,
        lw=2,
        ls=style,
        label=name,
    )
left.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
left.legend(loc="lower left")
right.set(xlabel="probability of the rare class", ylabel="rare test samples")
plt.show()
