"""Small fits for the scripts of tests, and how many threads they start."""

import threading

import numpy as np

import fastmlp.engine.threads
from fastmlp import MLPClassifier

_rng = np.random.default_rng(0)
X = _rng.standard_normal((600, 12))
y = (X[:, 0] * X[:, 1] > 0) * 1


def fit(seed, **settings):
    """(loss curve, bytes of the probabilities) of a fit that is the same each time."""
    settings = {"hidden_layer_sizes": (60, 40), "max_iter": 4, **settings}
    model = MLPClassifier(random_state=seed, **settings).fit(X, y)
    return model.loss_curve_, model.predict_proba(X).tobytes()


_started = threading.local()
_init = fastmlp.engine.threads.Team.__init__


def _note(team, size, *how):
    _started.sizes = [*getattr(_started, "sizes", []), size]
    _init(team, size, *how)


fastmlp.engine.threads.Team.__init__ = _note


def fit_and_size(seed, **settings):
    """What `fit` gives, and the largest team that it started."""
    _started.sizes = []
    return fit(seed, **settings), max(_started.sizes)
