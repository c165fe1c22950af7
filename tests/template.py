"""A process that has imported the package, and forks for scripts: see `processes`."""

import json
import os
import sys
from pathlib import Path

import sklearn.datasets
import sklearn.model_selection  # noqa: F401

import fastmlp.estimators
import fastmlp.kernels.passes
import fastmlp.model_selection  # noqa: F401


def become(arguments, directory, output, errors):
    """Be the process of a script, in a session of its own."""
    os.setsid()
    os.chdir(directory)
    for stream, path in enumerate((os.devnull, output, errors)):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, stream)
        os.close(file)
    sys.argv, sys.path[0] = arguments, directory


def fork_for_requests():
    """Tell the number of each child, then how it ended; returns in the children."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            become(*json.loads(line))
            return
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    sys.exit()


fork_for_requests()
__file__ = sys.argv[0]  # as if the interpreter had been called with it
exec(compile(Path(__file__).read_text(), __file__, "exec"))
