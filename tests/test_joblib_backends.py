"""Searches within joblib's backends of Ray and of Spark, where these are installed."""

import shutil
import sys

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_iris

from fastmlp import MLPClassifier
from fastmlp.model_selection import GridSearchCV

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs


@pytest.fixture
def ray_backend():
    """Two workers of Ray on this machine."""
    ray = pytest.importorskip("ray", reason="needs ray")
    backend = pytest.importorskip("ray.util.joblib", reason="needs ray[default]")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    backend.register_ray()
    yield "ray"
    ray.shutdown()


@pytest.fixture
def spark_backend(monkeypatch):
    """Two workers of Spark on this machine."""
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)  # else whatever is on the path
    pyspark = pytest.importorskip("pyspark.sql", reason="needs pyspark")
    backend = pytest.importorskip("joblibspark", reason="needs joblibspark")
    if not shutil.which("java"):
        pytest.skip("needs Java, on which Spark runs")
    session = pyspark.SparkSession.builder.master("local[2]").getOrCreate()
    backend.register_spark()
    yield "spark"
    session.stop()


@pytest.mark.parametrize("tool", ["ray", "spark"])
def test_searches_give_the_same_scores(tool, request):
    backend = request.getfixturevalue(f"{tool}_backend")
    X, y = load_iris(return_X_y=True)
    search = GridSearchCV(
        MLPClassifier(max_iter=20, random_state=0), {"alpha": [1e-4, 10.0]}, cv=2
    )
    expected = search.fit(X, y).cv_results_["mean_test_score"]
    with joblib.parallel_config(backend, n_jobs=2):
        found = search.fit(X, y).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(found, expected)
