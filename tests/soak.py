"""Everything at once, for as long as you like: same bits, no crash, no hang, no leak.

    python tests/soak.py --minutes 60

Fits, predictions, pickles, forked children, threads, interrupts and fits that fail, in
random order; each job must give the same bits whenever it runs. At the end memory,
threads and file descriptors must be what they were after the first round. Needs the
extra ``test``. Exit status 0 if all went well.
"""

import argparse
import ctypes
import faulthandler
import gc
import hashlib
import os
import pickle
import random
import signal
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
from scipy import sparse

from fastmlp import MLPClassifier, MLPEstimator, MLPRegressor

#: What may come and go with the allocator, in bytes.
MEMORY_NOISE = 20e6

#: Seconds that a job may take before it counts as hanging.
PATIENCE = 120

rng = np.random.default_rng(0)
X = rng.standard_normal((700, 12))
numbers = np.stack([X[:, 0] * X[:, 1], X[:, 2]], axis=1)
classes = (X[:, 0] > 0) + 2 * (X[:, 1] > 0)
sparse_X = sparse.csr_matrix(X * (X > 1))

_SOME = {"max_iter": 3, "random_state": 0}


def digest(model, X=X):
    """What tells a model from any other."""
    loss = repr(float(model.loss_))
    return hashlib.sha256(model.predict(X).tobytes() + loss.encode()).hexdigest()


def fit_small(seed):
    """A network that trains in strips."""
    return digest(MLPClassifier((8,), max_iter=20, random_state=seed).fit(X, classes))


def fit_large(seed):
    """A network that trains in tiles, on several threads."""
    settings = {**_SOME, "n_jobs": 1 + seed % 3}
    return digest(
        MLPRegressor(hidden_layer_sizes=(150, 90), **settings).fit(X, numbers)
    )


def fit_sparse(seed):
    """Sparse features."""
    model = MLPClassifier((30,), **_SOME, solver="sgd", n_jobs=1 + seed % 2)
    return digest(model.fit(sparse_X, classes), sparse_X)


def fit_lbfgs(seed):
    """In float64, with another loop."""
    return digest(MLPEstimator((10, 10), **_SOME, solver="lbfgs").fit(X, classes))


def fit_with_early_stopping(seed):
    """The best weights are kept and put back."""
    model = MLPClassifier((20,), **_SOME, early_stopping=True, activation="tanh")
    return digest(model.fit(X.astype(np.float32), classes))


def stream(seed):
    """partial_fit, pickled between calls."""
    model = MLPRegressor(hidden_layer_sizes=(16,), random_state=0)
    for start in range(0, 700, 100):
        model.partial_fit(X[start : start + 100], numbers[start : start + 100])
        model = pickle.loads(pickle.dumps(model))
    return digest(model)


def predict(seed):
    """Rows in any company, by each way to predict them."""
    model = MLPClassifier((40, 20), **_SOME).fit(X, classes)
    expected = model.predict_proba(X)
    start, count = 37 * (seed % 10), 1 + seed % 300
    rows = slice(start, start + count)
    np.testing.assert_array_equal(model.predict_proba(X[rows]), expected[rows])
    np.testing.assert_array_equal(model.predictor()(X[start]), expected[start])
    return digest(model)


def fit_in_threads(seed):
    """Several fits at once."""
    with ThreadPoolExecutor(4) as pool:
        return [*pool.map(lambda job: job(seed), [fit_small, fit_large] * 2)]


def fit_in_a_child(seed):
    """fork: the child has our memory, not our threads."""
    if not hasattr(os, "fork"):
        return None
    expected = fit_large(seed)
    child = os.fork()
    if child == 0:
        os._exit(0 if fit_large(seed) == expected else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the child ended with {status}"
    return expected


def interrupt(seed):
    """Ctrl-C in the middle of a fit leaves a model that is good for something."""
    settings = {"max_iter": 10**6, "n_iter_no_change": np.inf, "n_jobs": 1 + seed % 2}
    model = MLPClassifier((100, 100), **settings)
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    model.fit(X, classes)
    timer.join()
    assert np.isfinite(model.predict_proba(X)).all()


def fail(seed):
    """Weights that overflow are an error."""
    try:
        MLPRegressor(solver="sgd", learning_rate_init=1e30, max_iter=5).fit(X, numbers)
    except ValueError as error:
        return str(error)
    raise AssertionError("weights of 1e30 and more were not noticed")


JOBS = (
    fit_small, fit_large, fit_sparse, fit_lbfgs, fit_with_early_stopping, stream,
    predict, fit_in_threads, fit_in_a_child, interrupt, fail,
)  # fmt: skip


def held(most_threads=1):
    """(bytes of memory, threads, file descriptors) of this process.

    BLAS starts threads of its own when L-BFGS first needs them and ends them at a fork:
    after a fork only ours are counted. A thread that was joined has left Python, and
    soon leaves the system's list, too.
    """
    fit_in_a_child(0)
    gc.collect()
    me, patience = psutil.Process(), time.monotonic() + 5
    while me.num_threads() > most_threads and time.monotonic() < patience:
        time.sleep(0.01)
    if sys.platform == "linux":  # give back what is free, so that it can be told apart
        ctypes.CDLL(None).malloc_trim(0)
    files = me.num_handles() if sys.platform == "win32" else me.num_fds()
    return me.memory_info().rss, me.num_threads(), files


def main():
    """Run jobs until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the order of jobs")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.simplefilter("ignore")
    order = random.Random(arguments.seed)
    results, counts = {}, dict.fromkeys(JOBS, 0)

    def run(job, seed):
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        result = job(seed)
        faulthandler.cancel_dump_traceback_later()
        assert results.setdefault((job, seed), result) == result, (
            f"{job.__name__}({seed}) gave other bits than before"
        )
        counts[job] += 1

    for job in JOBS:  # compile, and let pools and caches grow to their size
        for seed in range(12):
            run(job, seed)
    before = held()
    print(f"at first: {before[0] / 1e6:.0f} MB, {before[1]} threads, {before[2]} files")
    end = time.monotonic() + 60 * arguments.minutes
    while time.monotonic() < end:
        run(order.choice(JOBS), order.randrange(12))
    after = held(before[1])
    print(f"at last:  {after[0] / 1e6:.0f} MB, {after[1]} threads, {after[2]} files")
    for job, count in counts.items():
        print(f"{count:8}  {job.__name__}")
    assert abs(after[0] - before[0]) <= MEMORY_NOISE, "memory"
    assert after[1:] == before[1:], f"threads or files: {threading.enumerate()}"


if __name__ == "__main__":
    main()
