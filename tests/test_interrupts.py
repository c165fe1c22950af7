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
from fastmlp.engine.jobs import TrainingJob

rng = np.random.default_rng(0)
X = rng.random((20_000, 784), np.float32)
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
    """An epoch takes more than a second; a busy machine has three tries."""
    script = """
for delay in (0.3, 0.41, 0.57):
    interrupt_after(delay)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        model.fit(X, y)
    late = time.monotonic() - sent
    assert [str(w.message) for w in seen] == ["Training interrupted by user."], seen
    assert all(np.isfinite(c).all() for c in model.coefs_ + model.intercepts_)
    assert model.predict(X[:100]).shape == (100,)
    model.partial_fit(X[:512], y[:512])
    if late < 0.5:
        break
else:
    raise AssertionError(late)
"""
    run(LARGE + script, tmp_path, arguments=[str(n_jobs)])


def test_the_weights_are_those_of_a_whole_number_of_steps(tmp_path):
    """Of the first epoch, as it goes without an interrupt."""
    script = """
import fastmlp.training.run

weights = []

def note(job, rates, n_threads, deadline):
    # one step at a time: the interrupt comes between two of them
    team = yield n_threads
    total = 0.0
    for step in range(job.n_steps):
        total = job.run(team, step, step + 1, **rates)
        weights.append(job.network.arena.arrays["parameters"].copy())
    return total / job.n_samples

settings = {"hidden_layer_sizes": (1024, 1024), "batch_size": 512, "random_state": 0,
            "max_iter": 1, "n_jobs": 2, "shuffle": True}
of_an_epoch = fastmlp.training.run.run_steps
fastmlp.training.run.run_steps = note
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    MLPClassifier(**settings).fit(X, y)
fastmlp.training.run.run_steps = of_an_epoch
interrupt_after(0.4)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    model = MLPClassifier(**settings).fit(X, y)
from fastmlp.engine.network import Network
network = Network((784, 1024, 1024, 10), "float32")
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


def test_an_interrupt_while_a_kernel_is_loaded_waits_for_it(tmp_path):
    """LLVM calls back to Python, which must not raise there."""
    script = """
import os, signal, warnings
import numpy as np
from numba.core.registry import cpu_target
from fastmlp import MLPClassifier
import fastmlp.engine.jobs

engine = cpu_target.target_context.codegen()._engine._ee
find = engine._object_cache_getbuffer
interrupts = []

def find_with_an_interrupt(module):
    interrupts.append(module.name)
    os.kill(os.getpid(), signal.SIGINT)
    return find(module)

engine._object_cache_getbuffer = find_with_an_interrupt
X = np.random.default_rng(0).standard_normal((60, 4))
y = (X[:, 0] > 0) * 1
caught = 0
while True:
    known = len(interrupts)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = MLPClassifier((5,), max_iter=2, random_state=0).fit(X, y)
            model.predict(X)
    except KeyboardInterrupt:
        caught += 1
    if len(interrupts) == known:
        break
print(len(interrupts), caught, model.n_iter_, np.isfinite(model.loss_))
"""
    first = run(script, tmp_path)
    sent, caught, n_iter, is_finite = first.split()
    assert int(sent) > 2
    assert 1 < int(caught) <= int(sent)  # one in an epoch ends the fit with a model
    assert (n_iter, is_finite) == ("2", "True")


STORM_OF_ALARMS = """
import gc, random, signal, sys, time, warnings
import numpy as np, psutil
from fastmlp import MLPClassifier, MLPRegressor

warnings.simplefilter("ignore")
seconds, seed, how = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if how == "gevent":
    from gevent import monkey
    monkey.patch_all()
random.seed(seed)
rng = np.random.default_rng(0)
X = rng.standard_normal((600, 40)).astype(np.float32)
y = (X[:, 0] > 0) * 1
models = [
    MLPClassifier((60, 30), max_iter=3, random_state=0, n_jobs=3),
    MLPRegressor(solver="lbfgs", max_iter=3, random_state=0, n_jobs=2),
    MLPClassifier((60,), max_iter=3, random_state=0, n_jobs=2, early_stopping=True),
]

class Foreign(BaseException):
    pass

def result(model):
    model.fit(X, y)
    return model.loss_, model.predict(X).tolist()

results = {}  # of the first fit that was not stopped: kernels are loaded in the storm
me = psutil.Process()
before = me.num_threads()
end = time.monotonic() + seconds  # at most: of a loaded machine
handled = 0

def handler(number, frame):
    global handled
    handled += 1
    if time.monotonic() < end:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.01, 0.3) ** 3)
    if frame.f_code.co_filename != __file__:  # the storm itself must come to an end
        raise Foreign

signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.001)
whole = stopped = 0
while time.monotonic() < end and not (
    whole > 10 and stopped > 40 and len(results) == len(models)
):
    try:
        for i in random.sample(range(len(models)), len(models)):
            found = result(models[i])
            assert found == results.setdefault(i, found)
            whole += 1
    except Foreign:
        stopped += 1
end = 0  # for a handler that is about to run
signal.setitimer(signal.ITIMER_REAL, 0)
patience = time.monotonic() + 20
while me.num_threads() > before and time.monotonic() < patience:
    time.sleep(0.05)
    gc.collect()  # an exception and the frame that it left may refer to each other
left = me.num_threads() - before  # now: threads of the next fits may just be ending
assert len(results) == len(models)
assert all(result(models[i]) == results[i] for i in results)
print(whole, stopped, handled, left)
"""


@pytest.mark.parametrize("how", ["plain", "gevent"])
def test_any_exception_of_a_signal_handler_is_survived(how, tmp_path):
    """Such as that of a timeout by SIGALRM, between any two lines of Python."""
    if how == "gevent":
        pytest.importorskip("gevent")
    # gevent comes first; and a copy would have no threads of BLAS yet
    arguments = ["60", "0", how]
    printed = run(STORM_OF_ALARMS, tmp_path, arguments=arguments, imports_anew=True)
    whole, stopped, handled, left = map(int, printed.split())
    assert whole > 10
    assert stopped > 40
    assert handled >= stopped
    assert left <= 0
