"""Requests a second, and how long they take, of the service in docs/serving.

    python -m benchmarks.serving [--seconds S] [--connections N ...] [--workers N]

The same service (FastAPI, uvicorn) with three models: a pipeline through
`fastmlp.predictor`, one of scikit-learn, and that of fastmlp in ONNX Runtime; each
without a window for batches and with one. Each connection sends a request of one row,
waits for the answer, and sends the next. The servers run one at a time, in turns.
It needs fastapi, uvicorn, prometheus-client, skops, onnx, skl2onnx and onnxruntime;
uvicorn takes uvloop and httptools if they are there.
"""

import argparse
import asyncio
import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import skops.io
from sklearn import neural_network

import fastmlp

from .pipeline_row import fitted, table

ROOT = Path(__file__).resolve().parents[1]
UNITS = (64, 64)
KINDS = {
    "fastmlp.predictor": "model.skops",
    "scikit-learn's pipeline": "theirs.joblib",
    "ONNX Runtime": "model.onnx",
}


# --- servers -------------------------------------------------------------------------


def _service():
    """The module docs/serving/app.py."""
    file = ROOT / "docs" / "serving" / "app.py"
    specification = importlib.util.spec_from_file_location("app", file)
    module = importlib.util.module_from_spec(specification)
    sys.modules["app"] = module
    specification.loader.exec_module(module)
    return module


def write_models(folder):
    """Fit and save the models, and return requests, as bytes."""
    X, y = table()
    settings = {"hidden_layer_sizes": UNITS, "max_iter": 1, "random_state": 0}
    ours = fitted(fastmlp.MLPClassifier(**settings), X, y)
    theirs = fitted(neural_network.MLPClassifier(**settings), X, y)
    skops.io.dump(ours, folder / "model.skops")
    joblib.dump((theirs, X.dtypes), folder / "theirs.joblib")
    fastmlp.onnx.export(ours, folder / "model.onnx", X=X[:3])
    requests = []
    for row in json.loads(X[:500].to_json(orient="records")):
        body = json.dumps({"rows": [row]}).encode()
        head = (
            "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
            f"application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        requests.append(head.encode() + body)
    return requests


def _their_predict(file):
    model, dtypes = joblib.load(file)

    def predict(rows):
        return model.predict_proba(
            pd.DataFrame(rows, columns=dtypes.index).astype(dtypes)
        )

    return predict


def _onnx_predict(file):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options)
    dtypes = {
        "tensor(string)": object,
        "tensor(float)": np.float32,
        "tensor(int64)": np.int64,
    }
    inputs = [(each.name, dtypes[each.type]) for each in session.get_inputs()]

    def predict(rows):
        columns = zip(inputs, zip(*rows, strict=True), strict=True)
        tensors = {
            name: np.array(cells, dtype).reshape(-1, 1)
            for (name, dtype), cells in columns
        }
        return session.run(["probabilities"], tensors)[0]

    return predict


def served():
    """The service that environment variables describe, for uvicorn."""
    service, folder = _service(), Path(os.environ["FOLDER"])
    model = service.load(str(folder / "model.skops"))
    file = folder / os.environ["FILE"]
    if file.suffix == ".joblib":
        model = model._replace(predict=_their_predict(file))
    elif file.suffix == ".onnx":
        model = model._replace(predict=_onnx_predict(str(file)))
    return service.create_app(model, window=float(os.environ["WINDOW"]) / 1000)


class Server:
    """Context manager: a service in a process of its own, ready at `port`."""

    def __init__(self, folder, file, window, n_workers):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._command = [
            sys.executable, "-m", "uvicorn", "--factory", "benchmarks.serving:served",
            "--port", str(self.port), "--no-access-log", "--log-level", "warning",
            "--workers", str(n_workers),
        ]  # fmt: skip
        self._more = {"FOLDER": str(folder), "FILE": file, "WINDOW": str(window)}
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            self._more[name] = "1"

    def __enter__(self):
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, env={**os.environ, **self._more}
        )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ready")
                return self
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        self.__exit__()
        raise RuntimeError("the server did not start")

    def batches(self):
        """(rows, calls of the network) so far, as one worker counts them."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as page:
            lines = page.read().decode().splitlines()
        values = dict(line.rsplit(" ", 1) for line in lines if line[0] != "#")
        names = "batch_rows_sum", "batch_rows_count"
        return np.array([float(values[name]) for name in names])

    def __exit__(self, *error):
        self._process.terminate()
        self._process.wait(30)


# --- load ----------------------------------------------------------------------------


class _Connection(asyncio.Protocol):
    """Sends a request, waits for the answer, and so on."""

    def __init__(self, requests, found):
        self._requests, self._found = requests, found
        self._buffer, self.is_done = b"", False

    def connection_made(self, transport):
        self._transport = transport
        self._send()

    def _send(self):
        self._started = time.perf_counter()
        self._transport.write(next(self._requests))

    def data_received(self, data):
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        if len(body) < length:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(self._buffer.decode())
        self._found.append(time.perf_counter() - self._started)
        self._buffer = b""
        if self.is_done:
            self._transport.close()
        else:
            self._send()


def latencies(port, requests, n_connections, seconds):
    """Seconds that each request took, of so many connections at once."""

    async def run():
        loop, found = asyncio.get_running_loop(), []

        def endless():
            while True:
                yield from requests

        shared = endless()
        connections = [
            await loop.create_connection(
                lambda: _Connection(shared, found), "127.0.0.1", port
            )
            for _ in range(n_connections)
        ]
        await asyncio.sleep(seconds)
        for _, connection in connections:
            connection.is_done = True
        await asyncio.sleep(0.3)
        return found

    return np.array(asyncio.run(run()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--windows", type=float, nargs="+", default=[0, 2])
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| model | window | connections | requests/s | rows per call | p50 | p95 "
          "| p99 |")  # fmt: skip
    print("|---|" + "---:|" * 7)
    with tempfile.TemporaryDirectory() as folder:
        requests = write_models(Path(folder))
        for n in arguments.connections:
            for window in arguments.windows:
                for name, file in KINDS.items():
                    with Server(folder, file, window, arguments.workers) as server:
                        latencies(server.port, requests, n, 1)
                        before = server.batches()
                        found = latencies(server.port, requests, n, arguments.seconds)
                        rows, calls = server.batches() - before
                    tails = 1000 * np.percentile(found, [50, 95, 99])
                    rate = len(found) / arguments.seconds
                    cells = " | ".join(f"{tail:.2f} ms" for tail in tails)
                    print(
                        f"| {name} | {window:g} ms | {n} | {rate:.0f} | "
                        f"{rows / calls:.1f} | {cells} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
