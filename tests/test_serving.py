"""The service of docs/serving, called in its own process."""

import asyncio
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import fastmlp

httpx = pytest.importorskip("httpx")
skops_io = pytest.importorskip("skops.io")
for name in ("fastapi", "prometheus_client"):
    pytest.importorskip(name)

FILE = Path(__file__).parents[1] / "docs" / "serving" / "app.py"
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "size (m²)": RNG.normal(70, 20, 60),
        "town": RNG.choice(["Bern", "Zug"], 60),
        "agent": RNG.choice(["x", "y"], 60),
    }
)
Y = np.where(RNG.random(60) < 0.5, "cheap", "dear")
ROWS = FRAME.to_dict("records")


@pytest.fixture(scope="module")
def service():
    """The module `app`."""
    specification = importlib.util.spec_from_file_location("serving_app", FILE)
    module = importlib.util.module_from_spec(specification)
    sys.modules["serving_app"] = module
    specification.loader.exec_module(module)
    yield module
    del sys.modules["serving_app"]


@pytest.fixture(scope="module")
def pipeline():
    columns = make_column_transformer(
        (OneHotEncoder(), ["town"]), (StandardScaler(), ["size (m²)"])
    )
    network = fastmlp.MLPClassifier((8,), max_iter=2, random_state=0)
    return make_pipeline(columns, network).fit(FRAME, Y)


@pytest.fixture(scope="module")
def model(service, pipeline, tmp_path_factory):
    file = tmp_path_factory.mktemp("model") / "model.skops"
    skops_io.dump(pipeline, file)
    return service.load(file)


def client_of(app):
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app")


def ask(app, *requests):
    """The responses to requests (method, path, JSON) that are sent together."""

    async def run():
        async with app.router.lifespan_context(app), client_of(app) as client:
            calls = [client.request(*each, json=json) for *each, json in requests]
            return await asyncio.gather(*calls)

    return asyncio.run(run())


def predict(*rows):
    return "POST", "/predict", {"rows": list(rows)}


def test_requests_that_arrive_together_are_one_batch(service, pipeline, model):
    batches = []

    def counted(rows):
        batches.append(len(rows))
        return model.predict(rows)

    app = service.create_app(model._replace(predict=counted), window=0.2)
    sizes = [1, 3, 1, 2, 5]
    ends = np.cumsum(sizes)
    parts = [ROWS[end - n : end] for n, end in zip(sizes, ends, strict=True)]
    answers = ask(app, *(predict(*rows) for rows in parts))
    assert batches == [12]
    expected = pipeline.predict_proba(FRAME[:12])
    found = [row for each in answers for row in each.json()["probabilities"]]
    np.testing.assert_array_equal(found, expected)
    labels = [label for each in answers for label in each.json()["predictions"]]
    assert labels == pipeline.predict(FRAME[:12]).tolist()
    assert [len(each.json()["predictions"]) for each in answers] == sizes
    assert answers[0].json()["classes"] == ["cheap", "dear"]
    assert answers[0].json()["model"].startswith("model.skops, fastmlp ")


def test_a_full_batch_does_not_wait(service, model):
    app = service.create_app(model, window=3600, batch_rows=4)
    answers = ask(app, predict(*ROWS[:2]), predict(*ROWS[2:4]))
    assert [each.status_code for each in answers] == [200, 200]


def test_bad_input_is_named_and_others_get_their_answers(service, pipeline, model):
    app = service.create_app(model, window=0.05, request_rows=3)
    good = ROWS[0]
    bad = [
        ({"town": "Paris"}, ["body", "rows", 1], "Column 'town' has the category 'Par"),
        ({"town": None}, ["body", "rows", 1], "Column 'town' is missing"),
        ({"size (m²)": None}, ["body", "rows", 1], "Column 'size (m²)' is missing"),
        ({"size (m²)": "big"}, ["body", "rows", 1], "Column 'size (m²)' has text"),
        ({"town": ["Bern"]}, ["body", "rows", 1, "town"], "valid"),
        ({"twon": "Bern"}, ["body", "rows", 1, "twon"], "not permitted"),
    ]
    first, *answers = ask(
        app, predict(good), *(predict(good, good | change) for change, *_ in bad)
    )
    expected = pipeline.predict_proba(FRAME[:1])
    np.testing.assert_array_equal(first.json()["probabilities"], expected)
    for response, (_, where, message) in zip(answers, bad, strict=True):
        assert response.status_code == 422
        detail = response.json()["detail"][0]
        assert detail["loc"][: len(where)] == where
        assert message in detail["msg"]
    without, empty, many, unused = ask(
        app,
        predict({"town": "Bern"}),
        predict(),
        predict(*[good] * 4),
        predict({name: good[name] for name in ("town", "size (m²)")}),
    )
    assert without.json()["detail"][0]["loc"][-1] == "size (m²)"
    assert [each.status_code for each in (without, empty, many)] == [422] * 3
    np.testing.assert_array_equal(unused.json()["probabilities"], expected)


def test_health_and_metrics(service, model):
    app = service.create_app(model, window=0.01)
    ask(app, predict(ROWS[0]), predict(*ROWS[:6]), predict({}))
    paths = "/health", "/ready", "/metrics"
    health, ready, metrics = ask(app, *(("GET", path, None) for path in paths))
    assert health.json() == {"status": "ok"}
    assert ready.json()["model"] == model.version
    lines = metrics.text.splitlines()
    assert 'requests_total{path="/predict",status="200"} 2.0' in lines
    assert 'request_errors_total{path="/predict"} 1.0' in lines
    assert 'request_seconds_count{path="/predict"} 3.0' in lines
    assert "batch_rows_sum 7.0" in lines

    async def not_started():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://a"
        ) as client:
            return await client.get("/ready")

    assert asyncio.run(not_started()).status_code == 503


def test_tables_and_regressors_from_safetensors(service, tmp_path, monkeypatch):
    frame = FRAME.assign(town=FRAME.town.where(FRAME.index % 5 > 0, None))
    y = FRAME["size (m²)"] * 10
    table = fastmlp.TabularMLPRegressor("fast", n_members=1, max_iter=2).fit(frame, y)
    fastmlp.save_safetensors(table, tmp_path / "table.safetensors")
    monkeypatch.setenv("MODEL", str(tmp_path / "table.safetensors"))
    monkeypatch.setenv("BATCH_WINDOW_MS", "0")
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    (answer,) = ask(service.from_environment(), predict(*rows[:7]))
    np.testing.assert_array_equal(
        answer.json()["predictions"], table.predict(frame[:7])
    )
