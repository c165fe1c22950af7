"""Scripts in processes of their own: a crash or a hang is one failed test."""

import json
import os
import select
import signal
import subprocess
import sys
import textwrap
from functools import cache
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


def rounds(few, many):
    """Values of a parameter of tests: how often to try something at random."""
    return [few, pytest.param(many, marks=pytest.mark.long)]


def run(
    script, directory, *, seconds=120, environment=(), arguments=(), imports_anew=False
):
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
    imports_anew : bool
        Whether it is about what is imported: by default, the process is the copy of one
        that has imported the package, but no kernels, which takes a second.
    """
    path = directory / "script.py"
    path.write_text(_PRELUDE.format(seconds=seconds) + textwrap.dedent(script))
    files = {name: directory / f"script.{name}" for name in ("output", "errors")}
    arguments = [str(path), *map(str, arguments)]
    variables = _variables(environment)
    if imports_anew or not hasattr(os, "fork") or variables != _template().variables:
        status = _run_anew(arguments, directory, files, variables, seconds + 10)
    else:
        status = _template().run(arguments, directory, files, seconds + 10)
    output, errors = (file.read_text() for file in files.values())
    if status is None:
        pytest.fail(f"no end within {seconds} s\n{output}\n{errors}")
    if status != 0:
        pytest.fail(f"exit status {status}\n{output}\n{errors}")
    return output


def _variables(environment=()):
    """The environment of a script."""
    paths = [str(HERE), os.environ.get("PYTHONPATH", "")]
    variables = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OPENBLAS_NUM_THREADS": None,  # of the tests themselves, see conftest
        "PYTEST_CURRENT_TEST": None,
        **dict(environment),
    }
    return {name: value for name, value in variables.items() if value is not None}


def _run_anew(arguments, directory, files, variables, seconds):
    """The exit status of an interpreter that runs a script; None if it does not end."""
    with open(files["output"], "wb") as output, open(files["errors"], "wb") as errors:
        process = subprocess.Popen(
            [sys.executable, *arguments], stdin=subprocess.DEVNULL, stdout=output,
            stderr=errors, cwd=directory, env=variables, start_new_session=True,
        )  # fmt: skip
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
        return None


class _Template:
    """A process that has imported the package, and copies itself for each script.

    Attributes
    ----------
    variables : dict
        Its environment.
    """

    def __init__(self):
        self.variables = _variables()
        self._process = subprocess.Popen(
            [sys.executable, HERE / "template.py"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, bufsize=0, env=self.variables,
            start_new_session=True,
        )  # fmt: skip

    def run(self, arguments, directory, files, seconds):
        """Like `_run_anew`."""
        requests, answers = self._process.stdin, self._process.stdout
        request = [arguments, str(directory), *map(str, files.values())]
        requests.write(json.dumps(request).encode() + b"\n")
        child = int(answers.readline())
        if select.select([answers], [], [], seconds)[0]:
            return int(answers.readline())
        os.killpg(child, signal.SIGKILL)
        answers.readline()
        return None


@cache
def _template():
    return _Template()
