"""Start-up: import, the first fit with nothing compiled, and with a warm cache."""


class _Process:
    """Each time a new process."""

    number = 1
    repeat = 3
    timeout = 120


class Import(_Process):
    """What `import` takes."""

    def timeraw_import(self):
        return "import fastmlp"

    def timeraw_import_estimators(self):
        return "from fastmlp import MLPClassifier"


_FIRST_FIT = """
import numpy as np
from fastmlp import MLPClassifier
X = np.random.default_rng(0).random((1024, 4))
MLPClassifier(batch_size=32, max_iter=1, tol=0).fit(X, np.arange(1024) % 2)
"""


class FirstFit(_Process):
    """Import and the first fit, all kernels to be compiled, or on disk."""

    def timeraw_cold(self):
        return (
            "import os, tempfile, warnings\n"
            "warnings.simplefilter('ignore')\n"
            "directory = tempfile.TemporaryDirectory()\n"
            "os.environ['FASTMLP_CACHE_DIR'] = directory.name\n" + _FIRST_FIT
        )

    def timeraw_warm(self):
        return "import warnings\nwarnings.simplefilter('ignore')\n" + _FIRST_FIT
