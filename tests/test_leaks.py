"""Nothing is left behind: memory, threads and file descriptors stay what they were."""

import pytest
from processes import run

pytestmark = pytest.mark.slow


def test_many_small_fits_leave_nothing_behind(tmp_path):
    script = """
import warnings
warnings.simplefilter("ignore")
from fastmlp import MLPClassifier, MLPRegressor
from soak import MEMORY_NOISE, X, classes, held, numbers

def fits(count):
    for i in range(count):
        settings = {"hidden_layer_sizes": (i % 7 + 1,), "max_iter": 2}
        settings["n_jobs"] = 1 + i % 2
        if i % 3:
            model = MLPClassifier(**settings).fit(X, classes)
        else:
            model = MLPRegressor(**settings).fit(X, numbers)
        model.predict(X[: 1 + i % 50])

fits(50)
before = held(2)  # one is of faulthandler
fits(200)
after = held(2)
print(before, after)
assert abs(after[0] - before[0]) <= MEMORY_NOISE
assert after[1:] == before[1:]
"""
    run(script, tmp_path)
