"""Fits at once, in threads, workers and children: the same bits, and no hang."""

import os

import pytest
from processes import run

pytestmark = pytest.mark.slow

#: How all scripts begin.
START = """
import os, sys, threading, time, warnings
warnings.simplefilter("ignore")
import numpy as np
from fastmlp import MLPClassifier, MLPRegressor
from fits import X, fit, fit_and_size, y
"""


def test_eight_threads_fit_and_predict_at_once(tmp_path):
    """Even if they are the first that need the kernels, and nothing is compiled."""
    script = """
from concurrent.futures import ThreadPoolExecutor

def job(seed):
    return fit(seed, n_jobs=1 + seed % 2)

with ThreadPoolExecutor(8) as pool:
    together = list(pool.map(job, range(32)))
assert together == [job(seed) for seed in range(32)]

model = MLPRegressor(max_iter=3, random_state=0).fit(X, X[:, :2])
parts = [X[i : i + 1 + i % 7] for i in range(0, 500, 5)]
with ThreadPoolExecutor(8) as pool:
    together = list(pool.map(model.predict, parts))
for part, predicted in zip(parts, together):
    np.testing.assert_array_equal(predicted, model.predict(part))
"""
    environment = {"FASTMLP_CACHE_DIR": str(tmp_path), "NUMBA_OPT": "0"}  # sooner there
    run(START + script, tmp_path, environment=environment)


#: What workers give, each of which is to run one thread, unless it is told otherwise.
EXPECTED = """
def check(results, backend):
    assert [result for result, _ in results] == expected, backend
    assert [size for _, size in results] == [1] * 4, (backend, results)

if __name__ == "__main__":
    expected = [fit(seed) for seed in range(4)]
"""


def test_workers_of_joblib_run_one_thread_each(tmp_path):
    script = """
    from joblib import Parallel, delayed
    for backend in ("multiprocessing", "threading", "loky"):
        parallel = Parallel(n_jobs=2, backend=backend)
        check(parallel(delayed(fit_and_size)(seed) for seed in range(4)), backend)
    results = parallel(delayed(fit_and_size)(0, n_jobs=n) for n in (3, 1))
    assert results == [(expected[0], 3), (expected[0], 1)], results
"""
    run(START + EXPECTED + script, tmp_path)


def test_processes_of_multiprocessing(tmp_path):
    script = """
    import multiprocessing
    for method in multiprocessing.get_all_start_methods():
        with multiprocessing.get_context(method).Pool(2) as pool:
            check(pool.map(fit_and_size, range(4)), method)
"""
    run(START + EXPECTED + script, tmp_path)


def test_workers_of_dask(tmp_path):
    pytest.importorskip("distributed")
    script = """
    from distributed import Client, LocalCluster
    with LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None,
                      processes=True) as cluster, Client(cluster) as client:
        check(client.gather(client.map(fit_and_size, range(4), pure=False)), "dask")
"""
    run(START + EXPECTED + script, tmp_path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_that_is_forked_in_the_middle_of_a_fit_can_fit(tmp_path):
    """Other threads, and what they hold, do not come along into the child."""
    script = """
expected = fit(1, n_jobs=2)
going = threading.Thread(
    target=fit, args=(0,),
    kwargs={"n_jobs": 2, "max_iter": 10**6, "n_iter_no_change": 10**6, "tol": 0},
    daemon=True,
)
going.start()
for _ in range(10):
    time.sleep(0.05)
    child = os.fork()
    if child == 0:
        os._exit(0 if fit(1, n_jobs=2) == expected else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, status
assert fit(1, n_jobs=2) == expected
"""
    run(START + script, tmp_path)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_the_interpreter_may_end_while_threads_compute(n_jobs, tmp_path):
    script = f"""
model = MLPClassifier((100, 100), max_iter=2, random_state=0).fit(X, y)
many = np.zeros((10**6, 12), np.float32)

def go_on_fitting():
    fit(0, n_jobs={n_jobs}, max_iter=10**6, n_iter_no_change=10**6, tol=0)

def go_on_predicting():
    while True:
        model.set_params(n_jobs={n_jobs}).predict(many)

for compute in (go_on_fitting, go_on_predicting):
    threading.Thread(target=compute, daemon=True).start()
time.sleep(0.5)
print("the end")
"""
    assert run(START + script, tmp_path) == "the end\n"


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="needs to pin a process to a core"
)
def test_more_threads_than_cores_cost_little(tmp_path):
    """Processor time, not the clock's: the machine may be busy with other things."""
    script = """
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

def seconds(n_jobs):
    start = time.process_time()
    fit(0, n_jobs=n_jobs, max_iter=40, batch_size=300)
    return time.process_time() - start

seconds(1)
print(min(seconds(8) for _ in range(3)) / min(seconds(1) for _ in range(3)))
"""
    assert float(run(START + script, tmp_path)) <= 3


def test_the_default_follows_a_quota(tmp_path):
    """joblib knows cgroups; here its own variable stands for them."""
    script = "from fastmlp.engine import threads\nprint(threads.available_threads())"
    limits = {"LOKY_MAX_CPU_COUNT": "1", "OMP_NUM_THREADS": None}
    assert run(START + script, tmp_path, environment=limits) == "1\n"
