"""What one row takes through a pipeline: all of it, folded, and as ONNX.

    python -m benchmarks.pipeline_row [--repeats N] [--units N ...]

A pipeline scales numbers and encodes text and numbers as categories, before a network.
Microseconds of one call with one row, as a list of cells that a service has read:
medians of single calls, and the shortest, which other programs on the machine disturb
least. The ways take turns, with ten calls each: the first five find the caches full of
other code, and are not counted.
"""

import argparse
import io
import time
import warnings
from statistics import median

import numpy as np
import pandas as pd
from sklearn import neural_network
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import fastmlp

N_ROWS = 2000
N_NUMBERS = 12
CATEGORIES = {
    "town": ["Bern", "Rome", "Oslo", "Zug", "Kyiv", "Lima"],
    "kind": ["house", "flat", "room"],
    "heating": ["gas", "oil", "wood", "none"],
    "rooms": [1, 2, 3, 4, 5, 6],
    "floor": [0, 1, 2, 3],
}


def table():
    """(data frame, three classes)."""
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(N_ROWS, N_NUMBERS)) * 10.0 ** rng.integers(0, 4, 12)
    X = pd.DataFrame(numbers, columns=[f"x{i}" for i in range(N_NUMBERS)])
    for name, levels in CATEGORIES.items():
        X[name] = rng.choice(levels, N_ROWS)
    return X, rng.integers(0, 3, N_ROWS)


def fitted(network, X, y):
    """The pipeline with a network at its end."""
    columns = make_column_transformer(
        (StandardScaler(), [f"x{i}" for i in range(N_NUMBERS)]),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), list(CATEGORIES)),
    )
    return make_pipeline(columns, network).fit(X, y)


def onnx_call(model, X):
    """A function of a row that calls ONNX Runtime, on one thread."""
    import onnxruntime

    import fastmlp.onnx

    file = io.BytesIO()
    fastmlp.onnx.export(model, file, X=X[:3])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file.getvalue(), options)
    dtypes = {
        "tensor(string)": object,
        "tensor(float)": np.float32,
        "tensor(int64)": np.int64,
    }
    inputs = [(each.name, dtypes[each.type]) for each in session.get_inputs()]

    def call(row):
        tensors = {
            name: np.array([[cell]], dtype)
            for (name, dtype), cell in zip(inputs, row, strict=True)
        }
        return session.run(["probabilities"], tensors)[0]

    return call


def ways_for(units):
    """{way: function of a row} for networks of two layers of units."""
    X, y = table()
    settings = {
        "hidden_layer_sizes": (units, units), "max_iter": 1, "random_state": 0,
    }  # fmt: skip
    theirs = fitted(neural_network.MLPClassifier(**settings), X, y)
    ours = fitted(fastmlp.MLPClassifier(**settings, n_jobs=1), X, y)
    row = X.to_numpy(object)[0].tolist()
    features = np.asarray(ours[:-1].transform(X[:1]))
    folded, network, onnx = (
        fastmlp.predictor(ours), ours[-1].predictor(), onnx_call(ours, X),
    )  # fmt: skip
    expected = ours.predict_proba(X[:1])
    assert np.array_equal(folded(row), expected[0])
    assert np.allclose(onnx(row), expected, atol=1e-4)
    names, dtypes = X.columns, X.dtypes

    def frame():
        return pd.DataFrame([row], columns=names).astype(dtypes)

    return {
        "scikit-learn's pipeline": lambda: theirs.predict_proba(frame()),
        "the same with fastmlp's network": lambda: ours.predict_proba(frame()),
        "ONNX Runtime": lambda: onnx(row),
        "fastmlp.predictor": lambda: folded(row),
        "the network's predictor() alone": lambda: network(features),
    }


def microseconds(ways, n_repeats):
    """{way: (median, shortest)} of single calls; the ways take turns."""
    found = {name: [] for name in ways}
    for _ in range(n_repeats):
        for name, call in ways.items():
            for k in range(10):
                started = time.perf_counter_ns()
                call()
                taken = time.perf_counter_ns() - started
                if k >= 5:
                    found[name].append(taken / 1000)
    return {name: (median(values), min(values)) for name, values in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--units", type=int, nargs="+", default=[32, 128])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    columns = [
        microseconds(ways_for(units), arguments.repeats) for units in arguments.units
    ]
    print("| one row, µs |", " | ".join(f"2 × {u} units" for u in arguments.units), "|")
    print("|---|" + "---:|" * len(columns))
    for name in columns[0]:
        cells = " | ".join(
            f"{middle:,.1f} ({shortest:,.1f})"
            for middle, shortest in (column[name] for column in columns)
        )
        print(f"| {name} | {cells} |")


if __name__ == "__main__":
    main()
