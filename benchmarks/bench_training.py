"""Training: steps of every workload, whole fits, threads, memory."""

import os
import time
import warnings

import numpy as np
from sklearn import neural_network
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from fastmlp import MLPClassifier, MLPRegressor

from .common import Steps
from .features import FEATURES, NETWORKS, ratios
from .machine import fma_peak
from .workloads import BY_LABEL, BY_NAME, WORKLOADS

warnings.simplefilter("ignore", ConvergenceWarning)

CORES = os.cpu_count() or 1
THREADS = sorted({1, 2, CORES})


class Epoch:
    """An epoch of a workload; the number of its steps is in workloads.py."""

    params = ([w.label for w in WORKLOADS if w.kind == "train"], THREADS)
    param_names = ("workload", "threads")
    timeout = 120

    def setup(self, label, n_threads):
        self.workload = BY_LABEL[label]
        self.steps = Steps(self.workload, n_threads)

    def teardown(self, label, n_threads):
        self.steps.close()

    def time_epoch(self, label, n_threads):
        self.steps.epoch()


class PartialFit:
    """A call for 32 rows of 20 features, 16 hidden units: what is not a step."""

    params = (["classifier", "regressor"],)
    param_names = ("kind",)

    def setup(self, kind):
        rng = np.random.default_rng(0)
        self.X = rng.standard_normal((32, 20), np.float32)
        self.y = rng.integers(0, 3, 32)
        cls = MLPClassifier if kind == "classifier" else MLPRegressor
        classes = {"classes": [0, 1, 2]} if kind == "classifier" else {}
        self.model = cls(hidden_layer_sizes=(16,), random_state=0)
        self.model.partial_fit(self.X, self.y, **classes)

    def time_call(self, kind):
        self.model.partial_fit(self.X, self.y)


class Features:
    """What a feature that scikit-learn lacks adds to the time of a step."""

    params = [BY_NAME[name].label for name in NETWORKS]
    param_names = ("workload",)
    timeout = 300

    def setup_cache(self):
        """All features of a network take turns: {workload: {feature: ratio}}."""
        return {
            name: ratios(BY_LABEL[name], min(2, CORES), turns=7) for name in self.params
        }


def _track(feature):
    def track(self, found, label):
        return found[label][feature]

    track.unit = "times plain Adam's step"
    return track


for _feature in FEATURES:
    if _feature != "adam":
        _name = "track_" + _feature.replace(", ", "_")
        setattr(Features, _name, _track(_feature))


class FractionOfPeak:
    """How much of the processor's multiply-adds the steps of a workload use."""

    params = (
        [BY_NAME[n].label for n in ("tab", "mnist", "large", "SimpleChains")],
        sorted({1, CORES}),
    )
    param_names = ("workload", "threads")
    timeout = 120

    def track_fraction_of_peak(self, label, n_threads):
        workload = BY_LABEL[label]
        steps = Steps(workload, n_threads)
        operations = workload.operations * workload.steps
        fractions = []
        for _ in range(9):
            peak = n_threads * fma_peak(1, workload.dtype, repeats=3)
            started = time.perf_counter()
            steps.epoch()
            fractions.append(operations / (time.perf_counter() - started) / peak)
        steps.close()
        return float(np.median(fractions))

    track_fraction_of_peak.unit = "of the FMA peak"


class Fit:
    """Whole fits of the digits data, 20 iterations, beside scikit-learn's."""

    params = ["adam", "sgd", "lbfgs"]
    param_names = ("solver",)

    def setup(self, solver):
        X, self.y = load_digits(return_X_y=True)
        self.X = X.astype(np.float32)  # both compute in it
        self.settings = {"solver": solver, "max_iter": 20, "random_state": 0}
        self.time_fit(solver)

    def time_fit(self, solver):
        MLPClassifier(**self.settings).fit(self.X, self.y)

    def track_ratio_to_scikit_learn(self, solver):
        ratios = []
        for _ in range(3):
            marks = [time.perf_counter()]
            for library in (MLPClassifier, neural_network.MLPClassifier):
                library(**self.settings).fit(self.X, self.y)
                marks.append(time.perf_counter())
            ours, theirs = np.diff(marks)
            ratios.append(theirs / ours)
        return float(np.median(ratios))

    track_ratio_to_scikit_learn.unit = "times as fast"


class Memory:
    """Peak memory: the difference of the two is what a fit takes on top of its data."""

    params = [100_000, 1_000_000]
    param_names = ("samples of 50 features",)

    def setup(self, n_samples):
        rng = np.random.default_rng(0)
        self.X = rng.random((n_samples, 50))
        self.y = rng.random(n_samples)
        # kernels and libraries are in memory for both
        MLPRegressor(max_iter=1).fit(self.X[:64], self.y[:64])

    def peakmem_data(self, n_samples):
        self.X.sum()

    def peakmem_fit(self, n_samples):
        MLPRegressor(max_iter=1, random_state=0).fit(self.X, self.y)


class Search:
    """GridSearchCV over four settings, three folds, two processes."""

    timeout = 120

    def setup(self):
        self.X, self.y = load_digits(return_X_y=True)
        self.time_grid_search()

    def time_grid_search(self):
        grid = {"alpha": [1e-4, 1e-2], "learning_rate_init": [1e-3, 1e-2]}
        model = MLPClassifier(max_iter=20, random_state=0)
        GridSearchCV(model, grid, cv=3, n_jobs=2).fit(self.X, self.y)
