"""Prediction: many rows, and one."""

import warnings

from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning

from fastmlp import MLPClassifier

from .workloads import BY_NAME, problem, rows_to_predict

warnings.simplefilter("ignore", ConvergenceWarning)


class Predict:
    """`predict_proba` of the tab network, and its fast path `predictor()`."""

    params = ["predict 100,000", "predict 1"]
    param_names = ("workload",)

    def setup(self, name):
        workload = BY_NAME[name]
        X, y = problem(workload)
        self.rows = rows_to_predict(workload)
        settings = {
            "hidden_layer_sizes": workload.units[1:-1],
            "max_iter": 1,
            "random_state": 0,
        }
        self.model = MLPClassifier(**settings).fit(X, y)
        self.peer = neural_network.MLPClassifier(**settings).fit(X, y)
        self.predictor = self.model.predictor()
        self.predictor(self.rows)

    def time_predict_proba(self, name):
        self.model.predict_proba(self.rows)

    def time_predictor(self, name):
        self.predictor(self.rows)

    def time_scikit_learn(self, name):
        self.peer.predict_proba(self.rows)
