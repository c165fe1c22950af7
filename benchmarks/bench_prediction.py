"""Prediction: many rows, and one."""

import warnings

from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning

from fastmlp import MLPClassifier

from .workloads import BY_LABEL, WORKLOADS, problem, rows_to_predict

warnings.simplefilter("ignore", ConvergenceWarning)


class Predict:
    """`predict_proba`, and its fast path `predictor()`."""

    params = [w.label for w in WORKLOADS if w.kind == "predict"]
    param_names = ("workload",)

    def setup(self, label):
        workload = BY_LABEL[label]
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

    def time_predict_proba(self, label):
        self.model.predict_proba(self.rows)

    def time_predictor(self, label):
        self.predictor(self.rows)

    def time_scikit_learn(self, label):
        self.peer.predict_proba(self.rows)
