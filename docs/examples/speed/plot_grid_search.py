"""
Grid search: fastmlp and scikit-learn
=====================================

The estimators work in scikit-learn's pipelines and searches. Here the same grid search
runs with both libraries, in one process each, and is timed.
"""

# %%
# With ``precision="float64"``, fastmlp follows scikit-learn digit by digit: both do the
# same work and find the same parameters. The default is float32. A small fit before the
# clock starts makes sure that the kernels are compiled. scikit-learn gets one thread
# for its matrix products: for matrices as small as these, more threads make it slower.

import contextlib
import time
import warnings

import matplotlib.pyplot as plt
from sklearn import neural_network
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import fastmlp

warnings.simplefilter("ignore", ConvergenceWarning)  # some fits end at max_iter

X, y = load_breast_cancer(return_X_y=True)
grid = {
    "mlpclassifier__hidden_layer_sizes": [(20,), (100,)],
    "mlpclassifier__alpha": [1e-4, 1.0],
}
settings = {"max_iter": 60, "random_state": 0}
networks = {
    "scikit-learn": neural_network.MLPClassifier(**settings),
    "fastmlp, float64": fastmlp.MLPClassifier(precision="float64", **settings),
    "fastmlp": fastmlp.MLPClassifier(**settings),
}
seconds, searches = {}, {}
for name, network in networks.items():
    pipeline = make_pipeline(StandardScaler(), network)
    pipeline.fit(X[:200], y[:200]).predict_proba(X)
    search = GridSearchCV(pipeline, grid, scoring="neg_log_loss", cv=StratifiedKFold(3))
    start = time.perf_counter()
    one_thread = threadpool_limits(1) if name == "scikit-learn" else None
    with one_thread or contextlib.nullcontext():
        searches[name] = search.fit(X, y)
    seconds[name] = time.perf_counter() - start
    best = {k.split("__")[1]: v for k, v in search.best_params_.items()}
    print(f"{name:16} {seconds[name]:5.1f} s, {search.best_score_:.6f} with {best}")

# %%
# The times are from a single run on the machine that built this page, so they are only
# an impression. The scores agree.

fig, (left, right) = plt.subplots(
    1, 2, figsize=(10, 3.8), layout="constrained", width_ratios=[2, 3]
)
colours = dict(zip(networks, ("#E69F00", "#56B4E9", "#0072B2"), strict=True))
left.barh(list(seconds), list(seconds.values()), color=colours.values(), height=0.55)
for place, value in enumerate(seconds.values()):
    left.text(value, place, f" {value:.1f} s", va="center")
left.set(xlabel="seconds", xlim=(0, 1.2 * max(seconds.values())))
left.invert_yaxis()
left.spines[["top", "right"]].set_visible(False)

candidates = searches["fastmlp"].cv_results_["params"]
labels = [
    f"{c['mlpclassifier__hidden_layer_sizes'][0]} units\n"
    f"alpha {c['mlpclassifier__alpha']:g}"
    for c in candidates
]
markers = dict(zip(networks, "s^o", strict=True))
sizes = dict(zip(networks, (13, 9, 5), strict=True))
for name, search in searches.items():
    right.plot(
        -search.cv_results_["mean_test_score"],
        markers[name],
        label=name,
        color=colours[name],
        ms=sizes[name],
        mec="black",
        mew=0.5,
    )
right.set(xticks=range(len(labels)), xticklabels=labels, ylabel="log loss, 3 folds")
right.margins(x=0.15)
right.legend(loc="center")
plt.show()
