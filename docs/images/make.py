"""Draw the images of displays.md: ``python docs/images/make.py``."""

from pathlib import Path

import matplotlib
from sklearn.datasets import load_digits, load_iris

from fastmlp import MLPClassifier
from fastmlp.display import ActivationDisplay, LossCurveDisplay, NetworkDisplay

matplotlib.use("Agg")

X, y = load_digits(return_X_y=True)
digits = MLPClassifier(
    [40], alpha=0.5, early_stopping=True, max_iter=500, random_state=0
).fit(X / 16, y)

iris = load_iris(as_frame=True)
flowers = MLPClassifier([8], max_iter=2000, random_state=0).fit(
    iris.data, iris.target_names[iris.target]
)

# steps that are too large, on features that were not scaled
dying = MLPClassifier([100] * 4, learning_rate_init=0.02, max_iter=500, random_state=0)
dying.fit(X, y)

displays = {
    "loss": LossCurveDisplay.from_estimator(digits),
    "graph": NetworkDisplay.from_estimator(flowers),
    "weights": NetworkDisplay.from_estimator(digits, kind="images"),
    "activations": ActivationDisplay.from_estimator(dying, X),
}
for name, display in displays.items():
    path = Path(__file__).with_name(f"{name}.png")
    # no version of matplotlib in it: the same image is the same file
    display.figure_.savefig(path, dpi=100, metadata={"Software": None})
