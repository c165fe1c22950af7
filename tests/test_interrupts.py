"""Ctrl-C: soon, with a warning and a model that is good for something."""

import sys

import pytest
from processes import run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="sends signals"),
]

LARGE = """
import os, signal, sys, threading, time, warnings
import numpy as np
from fastmlp import MLPClassifier
from fastmlp.jobs import TrainingJob

rng = np.random.default_rng(0)
X = rng.standard_normal((20_000, 784)).astype(np.float32)
y = rng.integers(0, 10, len(X))
model = MLPClassifier((1024, 1024), batch_size=512, max_iter=1, random_state=0,
                      n_jobs=int(sys.argv[1]))
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    model.fit(X[:600], y[:600])
model.set_params(max_iter=1000)

def interrupt():
    global sent
    sent = time.monotonic()
    os.kill(os.getpid(), signal.SIGINT)

def interrupt_after(seconds):
    # of training, however long it takes to get there
    def run(job, team, first_step, last_step, **rates):
        if first_step == 0:
            threading.Timer(seconds, interrupt).start()
            TrainingJob.run = run_steps
        return run_steps(job, team, first_step, last_step, **rates)

    TrainingJob.run = run

run_steps = TrainingJob.run
"""


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_epoch_of_a_large_network_ends_within_half_a_second(n_jobs, tmp_path):
    """An epoch takes more than a second; the soonest of three, for a busy machine."""
    script = """
for delay in (0.3, 0.41, 0.57):
    interrupt_after(delay)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        model.fit(X, y)
    print(time.monotonic() - sent)
    assert [str(w.message) for w in seen] == ["Training interrupted by user."], seen
    assert all(np.isfinite(c).all() for c in model.coefs_ + model.intercepts_)
    assert model.predict(X[:100]).shape == (100,)
    model.partial_fit(X[:512], y[:512])
"""
    printed = run(LARGE + script, tmp_path, arguments=[str(n_jobs)])
    assert min(map(float, printed.split())) < 0.5


def test_the_weights_are_those_of_a_whole_number_of_steps(tmp_path):
    """Of the first epoch, as it goes without an interrupt."""
    script = """
import fastmlp.training

weights = []

def note(job, team, rates, deadline):
    # one step at a time: the interrupt comes between two of them
    total = 0.0
    for step in range(job.n_steps):
        total = job.run(team, step, step + 1, **rates)
        weights.append(job.network.arena.arrays["parameters"].copy())
    return total / job.n_samples

settings = {"hidden_layer_sizes": (1024, 1024), "batch_size": 512, "random_state": 0,
            "max_iter": 1, "n_jobs": 2, "shuffle": True}
of_an_epoch = fastmlp.training.run_steps
fastmlp.training.run_steps = note
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    MLPClassifier(**settings).fit(X, y)
fastmlp.training.run_steps = of_an_epoch
interrupt_after(0.4)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    model = MLPClassifier(**settings).fit(X, y)
from fastmlp.network import Network
network = Network((784, 1024, 1024, 10), "float32", trainable=True, n_moments=2)
network.write(model.coefs_, model.intercepts_)
result = network.arena.arrays["parameters"]
found = [i for i, w in enumerate(weights) if np.array_equal(w, result)]
print(len(found), len(weights))
assert found, "no step had these weights"
"""
    found, steps = map(int, run(LARGE + script, tmp_path, arguments=["2"]).split())
    assert found == 1
    assert steps == 40


def test_a_second_interrupt_is_raised(tmp_path):
    script = """
def again(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.1)

warnings.showwarning = again
interrupt_after(0.4)
try:
    model.fit(X, y)
except KeyboardInterrupt:
    print("raised")
"""
    assert run(LARGE + script, tmp_path, arguments=["1"]) == "raised\n"
