"""A model as a service: FastAPI in front of `fastmlp.predictor`.

    MODEL=model.skops uvicorn --factory app:from_environment --workers 2

`POST /predict` takes {"rows": [{"column": cell, ...}, ...]}. Rows of requests that have
arrived together, or within some milliseconds, go through the network as one call.

Settings are environment variables:

    MODEL               a file of skops (pipelines) or safetensors (estimators)
    BATCH_WINDOW_MS     how long a request waits for others (0: none does)
    BATCH_ROWS          rows at which a batch does not wait any longer (256)
    REQUEST_ROWS        the most rows of a request (1000)
    THREADS             of the network, for large batches (1)
"""

import asyncio
import contextlib
import os
import time
import warnings
from pathlib import Path
from typing import NamedTuple

from fastapi import FastAPI, HTTPException, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    multiprocess,
)
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    create_model,
)

import fastmlp

Cell = StrictBool | StrictInt | StrictFloat | StrictStr | None

#: Types that a model file may hold besides those of scikit-learn.
OURS = [
    f"fastmlp.estimators.{name}"
    for name in (
        "MLPClassifier",
        "MLPRegressor",
        "MLPEstimator",
        "MLPEnsembleClassifier",
        "MLPEnsembleRegressor",
        "tabular.TabularMLPClassifier",
        "tabular.TabularMLPRegressor",
    )
]


# --- the model -----------------------------------------------------------------------


class Model(NamedTuple):
    """What the service asks.

    Attributes
    ----------
    predict : callable
        Takes a list of rows (lists of cells, in the order of `columns`), and gives one
        prediction for each: probabilities, or numbers. A ValueError says which cell it
        cannot take.
    columns : list of str
    required : list of str
        Columns that a row must have.
    classes : list or None
        Of a classifier.
    version : str
        Of the model, in each answer.
    """

    predict: object
    columns: list
    required: list
    classes: list | None
    version: str


def load(file, n_threads=1):
    """The `Model` in a file; no code in the file is run.

    Parameters
    ----------
    file : str
        Of safetensors, or else of skops.
    n_threads : int, default=1
        Of the network. Workers times threads should not be more than there are CPUs.
    """
    if Path(file).suffix == ".safetensors":
        fitted = fastmlp.load_safetensors(file)
    else:
        import skops.io

        fitted = skops.io.load(file, trusted=OURS)
    # rows are lists here, with their cells in the order of columns
    warnings.filterwarnings("ignore", "X does not have valid feature names")
    last = fitted[-1] if hasattr(fitted, "steps") else fitted
    last.set_params(n_jobs=n_threads)
    # loads the kernels now, not when the first request comes
    nothing = None if hasattr(last, "columns_") else 0.0
    last.predictor()([nothing] * last.n_features_in_)
    predict = fastmlp.predictor(fitted)
    names = getattr(fitted, "feature_names_in_", range(fitted.n_features_in_))
    classes = getattr(last, "classes_", None)
    return Model(
        predict,
        [str(name) for name in names],
        [str(name) for name in getattr(predict, "used_columns_", names)],
        None if classes is None else classes.tolist(),
        f"{Path(file).name}, fastmlp {fastmlp.__version__}",
    )


# --- batches -------------------------------------------------------------------------


class Batcher:
    """Predicts rows of requests that arrive together in one call.

    Parameters
    ----------
    predict : callable
        Of a `Model`.
    window : float
        Seconds that the first of them waits for others. With 0, none waits: those that
        have been read together are a batch.
    most_rows : int
        Rows at which nobody waits any longer.
    seen : callable
        Is told the number of rows of each batch.
    """

    def __init__(self, predict, window, most_rows, seen):
        self._predict, self._window = predict, window
        self._most_rows, self._seen = most_rows, seen
        self._waiting, self._n_rows, self._timer = [], 0, None

    async def __call__(self, rows):
        """The predictions of some rows; ValueError if one of them has none."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiting.append((rows, future))
        self._n_rows += len(rows)
        if self._n_rows >= self._most_rows:
            self.flush()
        elif self._timer is None:
            self._timer = loop.call_later(self._window, self.flush)
        return await future

    def flush(self):
        """Answer all that wait."""
        if self._timer is not None:
            self._timer.cancel()
        batch, self._waiting, self._n_rows, self._timer = self._waiting, [], 0, None
        if not batch:
            return
        rows = [row for each, _ in batch for row in each]
        self._seen(len(rows))
        try:
            predictions = self._predict(rows)
        except Exception:  # of one of them: the others get their answers
            for each, future in batch:
                self._answer_alone(each, future)
            return
        start = 0
        for each, future in batch:
            if not future.done():  # else the client has gone
                future.set_result(predictions[start : start + len(each)])
            start += len(each)

    def _answer_alone(self, rows, future):
        if future.done():
            return
        try:
            future.set_result(self._predict(rows))
        except Exception as error:
            future.set_exception(error)


# --- metrics -------------------------------------------------------------------------


class Metrics:
    """What Prometheus reads; of all workers if PROMETHEUS_MULTIPROC_DIR is set."""

    def __init__(self):
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "requests", "Requests, by status.", ["path", "status"], registry=registry
        )
        self.errors = Counter(
            "request_errors", "Requests with a status of 400 or more.", ["path"],
            registry=registry,
        )  # fmt: skip
        self.latency = Histogram(
            "request_seconds", "From the first byte to the last.", ["path"],
            buckets=[1e-4 * 2**k for k in range(16)], registry=registry,
        )  # fmt: skip
        self.batch_rows = Histogram(
            "batch_rows", "Rows that were predicted in one call.",
            buckets=[2**k for k in range(13)], registry=registry,
        )  # fmt: skip

    def text(self):
        """In Prometheus' text format."""
        registry = self._registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)
        return generate_latest(registry)


class Measured:
    """ASGI middleware: counts requests, and times them."""

    def __init__(self, app, metrics, paths):
        self._app, self._metrics, self._paths = app, metrics, paths

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        path = scope["path"] if scope["path"] in self._paths else "other"
        status, started = 500, time.perf_counter()

        async def send_and_look(message):
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_look)
        finally:
            metrics = self._metrics
            metrics.requests.labels(path, status).inc()
            metrics.latency.labels(path).observe(time.perf_counter() - started)
            if status >= 400:
                metrics.errors.labels(path).inc()


# --- the service ---------------------------------------------------------------------


def request_model(columns, required, most_rows):
    """What pydantic checks: rows with these columns, and no others."""
    cells = {
        f"cell_{j}": (
            (Cell, Field(alias=name))
            if name in required
            else (Cell, Field(None, alias=name))
        )
        for j, name in enumerate(columns)
    }
    row = create_model("Row", __config__=ConfigDict(extra="forbid"), **cells)
    rows = (list[row], Field(min_length=1, max_length=most_rows))
    return create_model("Request", rows=rows)


class Answer(BaseModel):
    """Probabilities of the classes, and the likeliest; or of a regressor, numbers."""

    predictions: list
    probabilities: list[list[float]] | None = None
    classes: list | None = None
    model: str


def answer(model, found):
    """The answer with some predictions."""
    if model.classes is None:
        return {"predictions": found.tolist(), "model": model.version}
    return {
        "predictions": [model.classes[i] for i in found.argmax(axis=1)],
        "probabilities": found.tolist(),
        "classes": model.classes,
        "model": model.version,
    }


def create_app(model, *, window=0.0, batch_rows=256, request_rows=1000):
    """The service of a model.

    Parameters
    ----------
    model : Model
    window, batch_rows
        See `Batcher`.
    request_rows : int
        The most rows of a request.
    """
    metrics = Metrics()
    batcher = Batcher(model.predict, window, batch_rows, metrics.batch_rows.observe)
    is_ready = False

    @contextlib.asynccontextmanager
    async def lifespan(app):
        nonlocal is_ready
        is_ready = True
        yield
        is_ready = False
        batcher.flush()

    app = FastAPI(title="fastmlp", lifespan=lifespan)
    paths = {"/predict", "/health", "/ready", "/metrics"}
    app.add_middleware(Measured, metrics=metrics, paths=paths)
    Request = request_model(model.columns, model.required, request_rows)

    @app.post("/predict", response_model=Answer)
    async def predict(request: Request):
        # a model of pydantic has its fields in the order of columns
        rows = [[*row.__dict__.values()] for row in request.rows]
        try:
            found = await batcher(rows)
        except ValueError as error:
            raise RequestValidationError([explained(rows, error)]) from None
        return JSONResponse(answer(model, found))

    def explained(rows, error):
        """The error of the first row that has no prediction, for the client."""
        for i, row in enumerate(rows):
            try:
                model.predict([row])
            except ValueError as own:
                where, error = ("body", "rows", i), own
                return {"loc": where, "msg": str(error), "type": "value_error"}
        return {"loc": ("body", "rows"), "msg": str(error), "type": "value_error"}

    @app.get("/health")
    async def health():
        """Whether the process answers."""
        return {"status": "ok"}

    @app.get("/ready")
    async def ready():
        """Whether it may get requests, and for which model."""
        if not is_ready:
            raise HTTPException(503, "not ready")
        return {"model": model.version}

    @app.get("/metrics")
    async def measured():
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return app


def from_environment():
    """The service that environment variables describe."""
    number = lambda name, default: float(os.environ.get(name, default))  # noqa: E731
    return create_app(
        load(os.environ["MODEL"], int(number("THREADS", 1))),
        window=number("BATCH_WINDOW_MS", 0) / 1000,
        batch_rows=int(number("BATCH_ROWS", 256)),
        request_rows=int(number("REQUEST_ROWS", 1000)),
    )
