"""The team of threads, its barrier, and how many threads there are."""

import gc
import os
import sys
import threading
import time
import weakref

import joblib
import numba
import numpy as np
import psutil
import pytest
from data import random_network, random_targets, training_job
from processes import run

from fastmlp import native_threads
from fastmlp.engine import threads
from fastmlp.engine.threads import Team, available_threads, resolve_threads
from fastmlp.kernels import team
from fastmlp.kernels.job import JOB, job_at

pytestmark = pytest.mark.slow


def test_every_thread_runs_once_with_its_number():
    with Team(4) as team:
        for _ in range(3):
            numbers = []
            team.run(numbers.append)
            assert sorted(numbers) == [0, 1, 2, 3]
    assert team.size == 1


def threads_of_this_process(expected, seconds=10):
    """How many there are, as soon as it is as expected."""
    me, end = psutil.Process(), time.monotonic() + seconds
    while me.num_threads() != expected and time.monotonic() < end:
        time.sleep(0.01)
    return me.num_threads()


def threads_at_rest():
    """How many there are when those of earlier tests have ended."""
    me, seen = psutil.Process(), []
    while len(seen) < 30 or len(set(seen[-30:])) > 1:  # the same for 0.3 seconds
        seen.append(me.num_threads())
        time.sleep(0.01)
    return seen[-1]


def test_threads_end_with_the_team():
    before = threads_at_rest()
    with Team(3) as team:
        assert team.size == 3
        assert threads_of_this_process(before + 2) == before + 2
    assert threads_of_this_process(before) == before


def test_an_exception_does_not_keep_the_team_alive():
    """Until the garbage collector comes, that is."""

    def fail(number):
        raise KeyboardInterrupt

    before = threads_at_rest()
    gc.disable()
    try:
        team = Team(2)
        alive = weakref.ref(team)
        with pytest.raises(KeyboardInterrupt) as caught:
            team.run(fail)
        del caught, team
        assert alive() is None
    finally:
        gc.enable()
    assert threads_of_this_process(before) == before


def test_threads_end_when_nobody_closes_their_team():
    """As after an interrupt that falls between two lines of `Team`."""
    before = threads_at_rest()
    team = Team(3)
    numbers = []
    team.run(numbers.append)
    assert len(numbers) == 3
    assert threads_of_this_process(before + 2) == before + 2
    del team
    assert threads_of_this_process(before) == before


@pytest.mark.parametrize("culprit", [0, 1, 2])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_in_one_thread_leaves_nobody_at_the_barrier(culprit, error):
    """The others are already inside the kernel, waiting."""
    X = np.random.default_rng(0).standard_normal((60, 5))
    y = random_targets("squared_error", 60, 2)
    network = random_network((5, 8, 2))
    job = training_job((5, 8, 2), X, y, *network, optimizer="sgd", n_threads=3)
    weights = job.network.arena.arrays["parameters"].copy()
    with Team(3) as team:
        run = team.run

        def run_with_an_error(function):
            def maybe(number):
                if number == culprit:
                    raise error("early")
                function(number)

            run(maybe)

        team.run = run_with_an_error
        with pytest.raises(error):
            job.run(team, 0, 1, rate=0.1)
        np.testing.assert_array_equal(job.network.arena.arrays["parameters"], weights)
        team.run = run
        assert np.isfinite(job.run(team, 0, 1, rate=0.1))  # and the team still works


def test_a_thread_that_cannot_start_is_done_without(monkeypatch, caplog):
    started = []

    def start(function, arguments):
        if started:
            raise RuntimeError("can't start new thread")
        started.append(function)
        return start_new_thread(function, arguments)

    start_new_thread = native_threads._thread.start_new_thread
    monkeypatch.setattr(native_threads._thread, "start_new_thread", start)
    with Team(5) as team:
        assert team.size == 2
        numbers = []
        team.run(numbers.append)
        assert sorted(numbers) == [0, 1]
    assert "running with 2 threads" in caplog.text


def test_resolve_threads(monkeypatch):
    monkeypatch.setattr(threads, "available_threads", lambda: 8)
    assert resolve_threads(None, work=0.5, most=100) == 1
    assert resolve_threads(None, work=3.7, most=100) == 3
    assert resolve_threads(None, work=1e9, most=100) == 8
    assert resolve_threads(None, work=1e9, most=5) == 5
    most = threads._THREADS_PER_CORE * joblib.cpu_count()
    assert resolve_threads(most, work=0, most=100) == most
    with pytest.warns(UserWarning, match=f"n_jobs=5000 .* it runs {most} threads"):
        assert resolve_threads(5000, work=0, most=10_000) == most
    assert resolve_threads(-1, work=0, most=1000) == joblib.cpu_count()
    assert resolve_threads(-1000, work=0, most=1000) == 1


def test_available_threads_obeys_the_environment(monkeypatch):
    monkeypatch.setattr(threads, "_cores", lambda: 8)
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert available_threads() == 8
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert available_threads() == 4
    monkeypatch.setenv("NUMBA_NUM_THREADS", "3")
    assert available_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    monkeypatch.setenv("NUMBA_NUM_THREADS", "0")
    assert available_threads() == 8


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_one_thread_inside_workers(backend):
    counts = joblib.Parallel(n_jobs=2, backend=backend)(
        joblib.delayed(available_threads)() for _ in range(2)
    )
    assert counts == [1, 1]


SIGINTS = """
import os, random, signal, sys, threading, time, warnings
import numpy as np
from fastmlp import MLPClassifier
from fastmlp.engine.threads import Team

# first the team alone: an interrupt may fall between any two lines of Python
done = threading.Event()

def disturb(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end and not done.is_set():
        time.sleep(random.uniform(0.0002, 0.001))
        os.kill(os.getpid(), signal.SIGINT)
    done.set()

caught = 0
thread = threading.Thread(target=disturb, args=(3,))
thread.start()
while not done.is_set():
    try:
        while not done.is_set():
            try:
                with Team(2) as team:
                    while not done.is_set():
                        team.run(lambda number: None)
            except KeyboardInterrupt:
                caught += 1
    except KeyboardInterrupt:  # it came before the next `try`
        caught += 1
while thread.is_alive():
    try:
        thread.join()
    except KeyboardInterrupt:
        pass
print("caught", caught)

# then a fit in the middle of an epoch
X = np.random.default_rng(0).standard_normal((20000, 100)).astype(np.float32)
y = (X[:, 0] > 0) * 1
model = MLPClassifier((200, 100), max_iter=100000, n_jobs=2, tol=0,
                      n_iter_no_change=np.inf, random_state=0)
sent = []

def interrupt():
    sent.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)

model.set_params(max_iter=1).fit(X, y)
threading.Timer(1.0, interrupt).start()
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    model.set_params(max_iter=100000).fit(X, y)
print("returned", time.monotonic() - sent[0])
print([str(w.message) for w in seen])
assert np.isfinite(model.predict_proba(X[:5])).all()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
def test_interrupts_neither_hang_nor_lose_the_model(tmp_path):
    caught, returned, warned = run(SIGINTS, tmp_path).splitlines()
    assert int(caught.split()[1]) > 50
    assert float(returned.split()[1]) < 10  # not a timing: it came back at all
    assert warned == "['Training interrupted by user.']"


FORK = """
import os, sys, warnings
warnings.simplefilter("ignore")
import numpy as np
from fastmlp import MLPClassifier
X = np.random.default_rng(0).standard_normal((300, 50)); y = (X[:, 0] > 0) * 1
fit = lambda: MLPClassifier((200, 100), max_iter=3, random_state=0, n_jobs=2).fit(X, y)
expected = fit().loss_curve_
child = os.fork()
if child == 0:
    os._exit(0 if fit().loss_curve_ == expected else 1)
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_can_fit(tmp_path):
    run(FORK, tmp_path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_no_handler_disturbs_the_main_thread_of_a_forked_child():
    """It runs foreign code in another thread, as every main thread does."""
    child = os.fork()
    if child == 0:
        other = native_threads.undisturbed(threading.get_ident)
        os._exit(1 if other == threading.get_ident() else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


FORK_IN_A_CALLBACK = """
import os, sys, warnings
warnings.simplefilter("ignore")
import numpy as np
from fastmlp import MLPClassifier
X = np.random.default_rng(0).standard_normal((300, 50)); y = (X[:, 0] > 0) * 1
settings = {"max_iter": 6, "random_state": 0, "n_jobs": 2}
expected = MLPClassifier((200, 100), **settings).fit(X, y).loss_curve_
children = []

def fork(state):
    if state.epoch == 2:
        children.append(os.fork())

model = MLPClassifier((200, 100), callbacks=[fork], **settings).fit(X, y)
if children == [0]:  # went on alone, in the middle of the same fit
    os._exit(0 if model.loss_curve_ == expected else 1)
_, status = os.waitpid(children[0], 0)
assert model.loss_curve_ == expected
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fit_that_is_forked_goes_on_in_both_processes(tmp_path):
    run(FORK_IN_A_CALLBACK, tmp_path)


STORM = """
import os, random, signal, threading, time, warnings
warnings.simplefilter("ignore")
import numpy as np, psutil
from fastmlp import MLPClassifier
from fastmlp.engine import threads

X = np.random.default_rng(0).standard_normal((600, 40)).astype(np.float32)
y = (X[:, 0] > 0) * 1
model = MLPClassifier((60, 30), max_iter=3, random_state=0, n_jobs=2)
expected = model.fit(X, y).loss_curve_
me = psutil.Process()
before = me.num_threads()
end = time.monotonic() + 60  # at most: of a loaded machine
over = []
whole = interrupted = 0

def storm():
    while time.monotonic() < end and not (whole > 20 and interrupted > 100):
        time.sleep(random.uniform(0.0005, 0.02))
        os.kill(os.getpid(), signal.SIGINT)
    over.append(True)

threading.Thread(target=storm).start()
while not over:
    try:
        curve = model.fit(X, y).loss_curve_
        assert curve == expected[:len(curve)], "other losses than without interrupts"
        whole += curve == expected
        interrupted += curve != expected
    except KeyboardInterrupt:
        interrupted += 1
patience = time.monotonic() + 10
while me.num_threads() > before and time.monotonic() < patience:
    time.sleep(0.05)
left = me.num_threads() - before
sizes = set()
run = threads.Team.run
threads.Team.run = lambda team, function: sizes.add(team.size) or run(team, function)
assert model.fit(X, y).loss_curve_ == expected
print(whole, interrupted, left, *sizes)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
def test_a_storm_of_interrupts_leaves_no_thread_behind(tmp_path):
    whole, interrupted, left, size = run(STORM, tmp_path).split()
    assert int(whole) > 20
    assert int(interrupted) > 100
    assert int(left) <= 0
    assert size == "2"


GEVENT = """
from gevent import monkey
monkey.patch_all()
import warnings
warnings.simplefilter("ignore")
import numpy as np
from fastmlp import MLPClassifier
from fastmlp.engine import threads
X = np.random.default_rng(0).standard_normal((2000, 100)); y = (X[:, 0] > 0) * 1
settings = {"hidden_layer_sizes": (200,), "max_iter": 3, "random_state": 0}
fit = lambda n_jobs: MLPClassifier(n_jobs=n_jobs, **settings).fit(X, y)
sizes = {}
run = threads.Team.run

def note(team, function):
    sizes[n_jobs] = team.size
    run(team, function)

threads.Team.run = note
curves = []
for n_jobs in (2, 1, None):
    curves.append(fit(n_jobs).loss_curve_)
assert curves[0] == curves[1] == curves[2]
print(sizes[2], sizes[1])
"""


def test_threads_are_real_under_gevent(tmp_path):
    """Its greenlets take turns: one that waits in a kernel would wait for ever."""
    pytest.importorskip("gevent")
    assert run(GEVENT, tmp_path, imports_anew=True) == "2 1\n"


COROUTINES = """
import _thread, logging, sys, warnings
warnings.simplefilter("ignore")
logging.basicConfig(stream=sys.stdout, format="%(message)s")
import numpy as np
from fastmlp import MLPClassifier
how = sys.argv[1]
start = _thread.start_new_thread

def start_new_thread(function, arguments):
    if "_Worker" not in function.__qualname__:
        return start(function, arguments)
    if how == "later":  # as a coroutine that has its turn later
        return 0
    # as one that has its turn at once, in this thread
    function.__self__.dismiss()
    return function(*arguments)

X = np.random.default_rng(0).standard_normal((500, 50)); y = (X[:, 0] > 0) * 1
expected = MLPClassifier((200,), max_iter=2, random_state=0, n_jobs=1).fit(X, y)
_thread.start_new_thread = start_new_thread
model = MLPClassifier((200,), max_iter=2, random_state=0, n_jobs=2).fit(X, y)
assert model.loss_curve_ == expected.loss_curve_
"""


@pytest.mark.parametrize("how", ["later", "at once"])
def test_a_thread_that_does_not_appear_is_done_without(how, tmp_path):
    printed = run(COROUTINES, tmp_path, arguments=[how])
    assert printed == "running with 1 threads: a thread of its own did not appear\n"


def test_a_thread_that_ends_before_its_time_stops_the_fit_and_no_other():
    X = np.random.default_rng(0).standard_normal((60, 5))
    y = random_targets("squared_error", 60, 2)
    job = training_job(
        (5, 8, 2), X, y, *random_network((5, 8, 2)), optimizer="sgd", n_threads=3
    )
    with Team(3) as team:
        # in its place: what a profiler's function raises, say
        team._workers[1]._serve = lambda: None
        worker = team._workers[1]
        worker.dismiss()
        assert worker._ended.acquire(timeout=10)
        worker._ended.release()
        with pytest.raises(RuntimeError, match="a thread of this fit has ended"):
            team.run(lambda number: None)
        assert team.size == 2
        assert np.isfinite(job.run(team, 0, 1, rate=0.1))


@numba.njit
def pieces_of(address, phase, owner, n_pieces, taken):
    """How many pieces of a share could be taken; notes them in `taken`."""
    job = job_at(address)
    count = 0
    piece = team.take_piece(job, phase, owner, n_pieces)
    while piece >= 0:
        taken[piece] += 1
        count += 1
        piece = team.take_piece(job, phase, owner, n_pieces)
    return count


@numba.njit
def forget(address, phase):
    team.forget_pieces(job_at(address), phase)


@pytest.mark.parametrize("n_threads", [1, 2, 3, 8])
@pytest.mark.parametrize("n_pieces", [0, 1, 2, 7, 64])
def test_every_piece_is_taken_once(n_threads, n_pieces):
    shared = np.zeros(team.team_size(n_threads), np.int64)
    job = np.zeros(1, JOB)
    job["n_threads"], job["team"] = n_threads, shared.ctypes.data
    phases = (team.ROWS, team.TILES)
    for _ in range(2):
        for phase in phases:
            taken = np.zeros(max(n_pieces, 1), int)
            counts = [
                pieces_of(job.ctypes.data, phase, owner, n_pieces, taken)
                for owner in range(n_threads)
            ]
            assert sum(counts) == n_pieces
            assert max(counts) - min(counts) <= 1
            assert (taken[:n_pieces] == 1).all()
            # a thread that comes late finds nothing
            assert not pieces_of(job.ctypes.data, phase, 0, n_pieces, taken)
        for phase in phases:
            forget(job.ctypes.data, phase)
    # barriers and the other phase's counters were left alone
    assert not shared.any()


class LateTeam(Team):
    """A team of which all but the first thread come late."""

    def run(self, function):
        def late(number):
            time.sleep(0.05 if number else 0.0)
            function(number)

        super().run(late)


def test_a_late_thread_changes_nothing():
    units, n_samples = (30, 50, 27, 3), 300
    X = np.random.default_rng(0).standard_normal((n_samples, units[0]))
    y = random_targets("log_loss", n_samples, units[-1])

    def weights(team_class):
        job = training_job(
            units, X, y, *random_network(units), dtype="float32", optimizer="adam",
            loss="log_loss", batch_size=150, n_threads=3,
        )  # fmt: skip
        before = job.network.arena.arrays["parameters"].copy()
        with team_class(3) as workers:
            job.run(workers, 0, 2, rate=0.01, beta_1=0.9, beta_2=0.999, epsilon=1e-8)
        return before, job.network.arena.arrays["parameters"]

    start, first = weights(Team)
    assert np.array_equal(first, weights(LateTeam)[1])
    assert not np.array_equal(first, start)
