"""Digests of models, over every entry point: to compare where kernels come from.

    python tests/shipped_bits.py [PATTERN]

With ``FASTMLP_TEST_WITHOUT_NUMBA=1``, numba and llvmlite cannot be imported.
"""

import hashlib
import os
import re
import sys
import warnings
from itertools import product


class Hidden:
    """Makes numba look as if it was not installed."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("numba", "llvmlite"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


if os.environ.get("FASTMLP_TEST_WITHOUT_NUMBA"):
    sys.meta_path.insert(0, Hidden())

import numpy as np  # noqa: E402
from scipy.sparse import csr_array  # noqa: E402

from fastmlp import MLPClassifier, MLPRegressor  # noqa: E402
from fastmlp.engine.jobs import PredictionJob, TrainingJob  # noqa: E402
from fastmlp.engine.network import Network  # noqa: E402
from fastmlp.engine.threads import Team  # noqa: E402
from fastmlp.kernels.layers.dense import Dense  # noqa: E402
from fastmlp.kernels.layers.encoding import Encoding  # noqa: E402
from fastmlp.tables.encodings import EMBEDDING, FLAG, NUMBER, Column  # noqa: E402

warnings.simplefilter("ignore")

#: Each of the features that kernels are compiled for, and several.
OPTIONS = {
    "plain": {},
    "stored derivatives": {"activation": "gelu"},
    "masks": {"dropout": 0.1},
    "parameters of the loss": {"loss": "focal"},
    "two, no masks": {"activation": "gelu", "loss": "focal"},
    "all": {"activation": ("mish", "tanh"), "dropout": 0.1, "label_smoothing": 0.1},
    "clipped": {"solver": "adamw", "clip_norm": 0.5, "ema_decay": 0.9},
    "early stopping": {"solver": "sgd", "early_stopping": True, "max_iter": 20},
}


def digest(model, X):
    """Of all weights and predictions."""
    predict = getattr(model, "predict_proba", model.predict)
    return digest_of(*model.coefs_, *model.intercepts_, predict(X), predict(X[:1]))


def digest_of(*arrays):
    """Of their bytes."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def digest_of_tables(X, y):
    """Of a network whose first layer is an Encoding, and of both its predictions."""
    kinds = (
        Column(NUMBER, has_missing=True),
        Column(FLAG),
        Column(EMBEDDING, n_levels=3),
    )
    encoding = Encoding(tuple(kinds[j % 3] for j in range(X.shape[1])))
    layers = (
        encoding, Dense(encoding.fan_out, 50, is_parametric=True), Dense(50, 1)
    )  # fmt: skip
    network = Network(layers, "float32", optimizer="adam")
    rng = np.random.default_rng(0)
    network.write(
        *([rng.normal(0, 0.2, a.shape) for a in group] for group in network.read())
    )
    settings = {"activation": "selu", "n_threads": 2}
    job = TrainingJob(
        network, X, y[:, None], batch_size=256, loss="squared_error", **settings
    )
    job.refresh()
    rates = {"rate": 0.01, "beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-8}
    with Team(2) as team:
        job.run(team, 0, job.n_steps, **rates)
        outputs = [
            PredictionJob(
                network, X, output_activation="identity", dtype=dtype, **settings
            ).run(team)
            for dtype in ("float32", "float64")
        ]
    return digest_of(*(a for group in network.read() for a in group), *outputs)


def main(wanted=""):
    """Print a line for each model in whose name a pattern is found."""
    rng = np.random.default_rng(0)
    X = np.where(rng.random((5100, 23)) < 0.5, 0, rng.standard_normal((5100, 23)))
    y = (X[:, 0] > 0) + (X[:, 1] > 0.5)
    kinds = {
        f"{layout} {dtype}": make(X.astype(dtype))
        for layout, make in (("dense", np.asarray), ("sparse", csr_array))
        for dtype in ("float32", "float64")
    }
    sizes = {"strips": (20, 10), "tiles": (150, 130)}
    cases = product(("float32", "float64"), sizes, kinds, OPTIONS)
    for precision, way, kind, options in cases:
        name = f"{precision}, {way}, {kind}, {options}"
        if not re.search(wanted, name):
            continue
        settings = {"max_iter": 2, "precision": precision, **OPTIONS[options]}
        model = MLPClassifier(sizes[way], random_state=0, n_jobs=2, **settings)
        print(name, digest(model.fit(kinds[kind], y), kinds[kind]))
    for kind in ("dense float32", "dense float64"):
        name = f"tables, {kind}"
        if wanted in name:
            print(name, digest_of_tables(kinds[kind], y))
    for kind in kinds:
        name = f"lbfgs, {kind}"
        if re.search(wanted, name):
            model = MLPRegressor(
                hidden_layer_sizes=(20,), solver="lbfgs", max_iter=5, random_state=0
            )
            print(name, digest(model.fit(kinds[kind], y), kinds[kind]))


if __name__ == "__main__":
    main(*sys.argv[1:])
