"""Estimators for tables: fits of each preset, predictions of many rows and of one."""

import numpy as np

from fastmlp import TabularMLPClassifier, TabularMLPRegressor
from fastmlp.tables.recipes import PRESETS

ROWS = 5000


def table(n_rows=ROWS):
    """(X, classes, numbers): ten columns of numbers, two of codes of categories."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, 12)).astype(np.float32)
    X[rng.random(X.shape) < 0.05] = np.nan
    X[:, 10] = rng.integers(0, 5, n_rows)
    X[:, 11] = rng.integers(0, 40, n_rows)
    z = np.nan_to_num(X[:, :3])
    y = (
        np.sin(2 * z[:, 0])
        + z[:, 1] * z[:, 2]
        + rng.standard_normal(40)[X[:, 11].astype(int)]
    )
    return X, y > np.median(y), y


CATEGORIES = {"categorical_features": [10, 11], "random_state": 0}


class Fit:
    """A fit of 5,000 rows of numbers and categories, some of them missing."""

    params = (list(PRESETS), ["classes", "numbers"])
    param_names = ("preset", "target")
    number = 1
    repeat = 3
    warmup_time = 0
    timeout = 600

    def setup(self, preset, target):
        self.X, classes, numbers = table()
        self.y = classes if target == "classes" else numbers
        cls = TabularMLPClassifier if target == "classes" else TabularMLPRegressor
        self.model = cls(preset, **CATEGORIES)
        # kernels are in memory
        cls(preset, **CATEGORIES, max_iter=1).fit(self.X[:500], self.y[:500])

    def time_fit(self, preset, target):
        self.model.fit(self.X, self.y)


class Predict:
    """`predict_proba` of a fitted model, from an array, a data frame, and by rows."""

    params = (list(PRESETS), [1, ROWS])
    param_names = ("preset", "rows")

    def setup(self, preset, n_rows):
        import pandas as pd

        X, y, _ = table()
        frame = pd.DataFrame(X, columns=[f"c{j}" for j in range(12)])
        frame = frame.astype({"c10": "category", "c11": "category"})
        settings = {"max_iter": 1, "random_state": 0}
        self.of_array = TabularMLPClassifier(
            preset, **settings, categorical_features=[10, 11]
        ).fit(X, y)
        self.of_frame = TabularMLPClassifier(preset, **settings).fit(frame, y)
        self.X, self.frame = X[:n_rows], frame[:n_rows]
        self.rows = self.frame.to_numpy(object).tolist()
        self.predictor = self.of_frame.predictor()
        self.predictor(self.rows[0])

    def time_array(self, preset, n_rows):
        self.of_array.predict_proba(self.X)

    def time_rows_of_predictor(self, preset, n_rows):
        for row in self.rows:
            self.predictor(row)

    def time_data_frame(self, preset, n_rows):
        self.of_frame.predict_proba(self.frame)
