"""Settings of all tests, and kernels for all workers."""

import os
import subprocess
import sys

from hypothesis import HealthCheck, settings

settings.register_profile(
    "fastmlp",
    deadline=None,  # the first example compiles
    max_examples=60,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("fastmlp")

#: What most tests need, in shares that take about as long as each other.
_KERNELS = (
    "fastmlp.warmup(['float32']); fastmlp.warmup(['float32'], general=True)",
    "fastmlp.warmup(['float64']); fastmlp.warmup(['float64'], general=True)",
    "fastmlp.warmup(['float32'], sparse=True); "
    "fastmlp.warmup(['float32'], sparse=True, general=True)",
    "fastmlp.warmup(['float64'], sparse=True); "
    "fastmlp.warmup(['float64'], sparse=True, general=True)",
)


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
    waiting, running = list(_KERNELS), []
    while waiting or running:
        if waiting and len(running) < options.numprocesses:
            script = f"import fastmlp; {waiting.pop(0)}"
            environment = {**os.environ, "FASTMLP_QUIET": "1"}
            running.append(
                subprocess.Popen([sys.executable, "-c", script], env=environment)
            )
        else:
            # tests say better than a message here what does not compile
            running.pop(0).wait()
