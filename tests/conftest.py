"""Settings of all tests, and kernels for all workers."""

import os
import subprocess
import sys
from pathlib import Path

# SciPy's and NumPy's threads would only spin: lbfgs works on short vectors. For the
# workers, which import them later, and for what they start but by `processes.run`.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

from fastmlp.tables.activations import ACTIVATIONS
from fastmlp.tables.losses import (
    CLASSIFICATION_LOSSES,
    LOSSES,
    REGRESSION_LOSSES,
)

settings.register_profile(
    "fastmlp",
    deadline=None,  # the first example compiles
    max_examples=60,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("fastmlp")

_COMPILE = Path(__file__).with_name("compile_kernels.py")


def pytest_sessionstart(session):
    """Compile kernels once, before several workers do it at the same time.

    Only if all tests are to run: who chose some need not wait for kernels of others.
    """
    options = session.config.option
    is_worker = hasattr(session.config, "workerinput")
    is_whole = not (options.keyword or options.markexpr)
    is_whole &= session.config.args == session.config.getini("testpaths")
    if is_worker or not is_whole or not getattr(options, "numprocesses", None):
        return
    environment = {**os.environ, "FASTMLP_QUIET": "1"}
    running = [
        subprocess.Popen([sys.executable, _COMPILE, precision], env=environment)
        for precision in ("float32", "float64")
    ]
    for process in running:
        process.wait()  # what does not compile, tests say better than a message here


def pytest_runtest_setup(item):
    if item.get_closest_marker("long") and "FASTMLP_TEST_ALL" not in os.environ:
        pytest.skip("takes long; set FASTMLP_TEST_ALL=1, as .ci/run does")


@pytest.fixture(autouse=True)
def nothing_stays_registered():
    """What a test, or an example of the documentation, has registered."""
    yield
    for table in (ACTIVATIONS, LOSSES):
        for name in [name for name, row in table.items() if row.registered is not None]:
            del table[name]
            REGRESSION_LOSSES.discard(name)
            CLASSIFICATION_LOSSES.discard(name)


@pytest.fixture(scope="module")
def client():
    """A client of dask, with a cluster in this process."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client
