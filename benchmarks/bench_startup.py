"""Start-up: import, the first fit with nothing compiled, and with a warm cache."""


class Import:
    def timeraw_import(self):
        return "import fastmlp"

    def timeraw_import_estimators(self):
        return "from fastmlp import MLPClassifier"


_FIRST_FIT = """
import numpy as np
from fastmlp import MLPClassifier
X = np.random.default_rng(0).random((64, 4))
MLPClassifier(batch_size=32, max_iter=1, tol=0).fit(X, np.arange(64) % 2)
"""


class FirstFit:
    timeout = 120

    def timeraw_cold(self):
        return (
            "import os, tempfile, warnings\n"
            "warnings.simplefilter('ignore')\n"
            "os.environ['FASTMLP_CACHE_DIR'] = tempfile.mkdtemp()\n" + _FIRST_FIT
        )

    timeraw_cold.number = 1
    timeraw_cold.repeat = 3

    def timeraw_warm(self):
        return "import warnings\nwarnings.simplefilter('ignore')\n" + _FIRST_FIT
