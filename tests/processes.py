"""Scripts in processes of their own: a crash or a hang is one failed test."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

HERE = Path(__file__).parent

#: An interrupt is one even if whoever started the tests ignores it; a process that
#: hangs says where.
_PRELUDE = """
import faulthandler, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
faulthandler.dump_traceback_later({seconds}, exit=True)
"""


def run(script, directory, *, seconds=120, environment=(), arguments=()):
    """What a script prints; fails if it ends with an error, by a signal, or not at all.

    Parameters
    ----------
    script : str
        Python code; becomes a file, so that other processes can import it. Modules of
        the tests are at hand.
    directory : Path
        Where the file is made, and the process runs.
    seconds : float
        After which the process and all its children are killed.
    environment : dict
        Variables to set; None takes one away.
    arguments : sequence of str
        Of the script.
    """
    path = directory / "script.py"
    paths = [str(HERE), os.environ.get("PYTHONPATH", "")]
    path.write_text(_PRELUDE.format(seconds=seconds) + textwrap.dedent(script))
    variables = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OPENBLAS_NUM_THREADS": None,  # of the tests themselves, see conftest
        **dict(environment),
    }
    variables = {name: value for name, value in variables.items() if value is not None}
    process = subprocess.Popen(
        [sys.executable, str(path), *arguments], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, cwd=directory, env=variables,
        start_new_session=True,
    )  # fmt: skip
    try:
        output, errors = process.communicate(timeout=seconds + 10)
    except subprocess.TimeoutExpired:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        output, errors = process.communicate()
        pytest.fail(f"no end within {seconds} s\n{output}\n{errors}")
    if process.returncode != 0:
        pytest.fail(f"exit status {process.returncode}\n{output}\n{errors}")
    return output
