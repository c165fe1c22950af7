"""Who takes part: each in its best configuration, each in a process of its own.

A contestant is made with the threads it may use. ``prepare(workload)`` builds and
compiles; ``run(count)`` trains that many epochs (or predicts that many times) and
returns when the numbers are there. Imports stand in the classes: a process loads one
library only.
"""

import time
import warnings
from contextlib import redirect_stdout
from itertools import pairwise

import numpy as np
from workloads import ACCURACY, digits, problem, rows_to_predict

LEARNING_RATE = 1e-3


def initial_weights(units, seed, dtype):
    """Weights and biases as scikit-learn draws them for ReLU and tanh."""
    rng = np.random.default_rng(seed)
    pairs = []
    for fan_in, fan_out in pairwise(units):
        bound = np.sqrt(6 / (fan_in + fan_out))
        weights = rng.uniform(-bound, bound, (fan_in, fan_out))
        biases = rng.uniform(-bound, bound, fan_out)
        pairs.append((weights.astype(dtype), biases.astype(dtype)))
    return pairs


class _Timed:
    """Times what `work` does."""

    def run(self, count):
        started = time.perf_counter()
        self.work(count)
        return time.perf_counter() - started


class _Clock:
    """Where an estimator prints what it does: notes when each epoch ended."""

    def __init__(self):
        self.ends = []

    def write(self, text):
        if text.startswith("Iteration"):
            self.ends.append(time.perf_counter())

    def flush(self):
        pass


class _Estimator(_Timed):
    """scikit-learn's interface.

    A fit starts from scratch. For `count` epochs it is given two more, and those do
    not count: neither does what a fit costs once, as for the others.
    """

    def prepare(self, workload):
        from sklearn.exceptions import ConvergenceWarning

        warnings.simplefilter("ignore", ConvergenceWarning)
        self.workload = workload
        self.seed = 0
        self.X, self.y = problem(workload)
        if workload.kind == "accuracy":
            self.digits = digits()
        kind = "Regressor" if workload.loss == "squared_error" else "Classifier"
        self.model = getattr(self.module, f"MLP{kind}")(
            hidden_layer_sizes=workload.units[1:-1],
            activation=workload.activation,
            batch_size=workload.batch_size,
            learning_rate_init=LEARNING_RATE,
            alpha=0.0,
            shuffle=workload.shuffle,
            tol=0.0,
            n_iter_no_change=np.inf,
            verbose=True,
            random_state=0,
            **self.settings(workload),
        )
        with redirect_stdout(_Clock()):
            self.fit(2)
        if workload.kind == "predict":
            self.rows = rows_to_predict(workload)
            self.predict = self.predictor()

    def settings(self, workload):
        return {}

    def predictor(self):
        return self.model.predict_proba

    def fit(self, epochs):
        self.model.set_params(max_iter=epochs).fit(self.X, self.y)

    def run(self, count):
        if self.workload.kind != "train":
            return super().run(count)
        clock = _Clock()
        with redirect_stdout(clock):
            self.fit(2 + count)
        return clock.ends[-1] - clock.ends[1]

    def work(self, count):
        for _ in range(count):
            if self.workload.kind == "accuracy":
                self._to_accuracy()
            else:
                self.predict(self.rows)

    def _to_accuracy(self):
        """Epoch by epoch, until the held-out digits are read well enough."""
        from sklearn.base import clone

        X, X_test, y, y_test = self.digits
        self.seed += 1
        model = clone(self.model).set_params(verbose=False, random_state=self.seed)
        while True:
            model.partial_fit(X, y, classes=np.arange(10))
            if model.score(X_test, y_test) >= ACCURACY:
                return


class FastMLP(_Estimator):
    def __init__(self, threads):
        import fastmlp
        import fastmlp.engine.jobs  # with numba

        self.module = fastmlp
        self.threads = threads

    def settings(self, workload):
        return {"precision": workload.dtype}


class FastMLPPredictor(FastMLP):
    """The documented fast path for a few rows."""

    def predictor(self):
        return self.model.predictor()


class ScikitLearn(_Estimator):
    def __init__(self, threads):
        import threadpoolctl
        from sklearn import neural_network

        self.module = neural_network
        threadpoolctl.threadpool_limits(threads)


class ScikitLearnFloat64(ScikitLearn):
    """The same work on the data type that most people pass."""

    def prepare(self, workload):
        super().prepare(workload._replace(dtype="float64"))


class Torch(_Timed):
    """PyTorch, eager, with its fused Adam."""

    compiles = False

    def __init__(self, threads):
        import torch

        self.torch = torch
        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)
        torch.manual_seed(0)

    def prepare(self, workload):
        torch = self.torch
        nn = torch.nn
        self.workload = workload
        dtype = getattr(torch, workload.dtype)
        layers = []
        activation = {"relu": nn.ReLU, "tanh": nn.Tanh, "logistic": nn.Sigmoid}
        for fan_in, fan_out in pairwise(workload.units):
            layers += [
                nn.Linear(fan_in, fan_out, dtype=dtype),
                activation[workload.activation](),
            ]
        network = nn.Sequential(*layers[:-1])
        X, y = problem(workload)
        self.X, self.y = torch.from_numpy(X), torch.from_numpy(y)
        if workload.loss == "binary_log_loss":
            self.y = self.y.to(dtype)
        loss = {
            "log_loss": nn.CrossEntropyLoss,
            "binary_log_loss": nn.BCEWithLogitsLoss,
            "squared_error": nn.MSELoss,
        }[workload.loss]()
        self.optimizer = torch.optim.Adam(
            network.parameters(), lr=LEARNING_RATE, fused=True
        )

        def loss_of(X, y):
            return loss(network(X), y)

        def probabilities(X):
            return torch.softmax(network(X), 1)

        self.loss_of, self.probabilities = loss_of, probabilities
        if self.compiles:
            torch._dynamo.reset()
            self.loss_of = torch.compile(loss_of)
            self.probabilities = torch.compile(probabilities)
        if workload.kind == "predict":
            self.rows = torch.from_numpy(rows_to_predict(workload))
        self.network = network
        self.seed = 0
        if workload.kind == "accuracy":
            X, X_test, y, y_test = map(torch.from_numpy, digits())
            self.X, self.y, self.test = X, y, (X_test, y_test)
        self.work(2)

    def _to_accuracy(self):
        torch = self.torch
        self.seed += 1
        pairs = initial_weights(self.workload.units, self.seed, self.workload.dtype)
        values = [v for w, b in pairs for v in (w.T, b)]
        with torch.no_grad():
            for parameter, value in zip(self.network.parameters(), values, strict=True):
                parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))
        self.optimizer.state.clear()
        X_test, y_test = self.test
        while True:
            self._epoch()
            with torch.inference_mode():
                right = (self.network(X_test).argmax(1) == y_test).double().mean()
            if right >= ACCURACY:
                return

    def work(self, count):
        if self.workload.kind == "accuracy":
            for _ in range(count):
                self._to_accuracy()
        elif self.workload.kind == "predict":
            with self.torch.inference_mode():
                for _ in range(count):
                    self.probabilities(self.rows).numpy()
        else:
            for _ in range(count):
                self._epoch()

    def _epoch(self):
        torch, optimizer = self.torch, self.optimizer
        X, y = self.X, self.y
        if self.workload.shuffle:
            order = torch.randperm(len(X))
            X, y = X[order], y[order]
        total = torch.zeros((), dtype=X.dtype)
        size = self.workload.batch_size
        for X_batch, y_batch in zip(X.split(size), y.split(size), strict=True):
            loss = self.loss_of(X_batch, y_batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            total += loss.detach()
        return total.item()


class TorchCompiled(Torch):
    """PyTorch with the forward and backward passes compiled by `torch.compile`."""

    compiles = True


class Jax(_Timed):
    """JAX and optax: a whole epoch compiled, mini-batches inside `lax.scan`."""

    def __init__(self, threads):
        import os

        if threads == 1:
            os.environ["XLA_FLAGS"] = (
                "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
            )
        import jax
        import optax

        self.jax, self.optax = jax, optax

    def prepare(self, workload):
        jax, optax = self.jax, self.optax
        jnp = jax.numpy
        jax.config.update("jax_enable_x64", workload.dtype == "float64")
        self.workload = workload
        X, y = problem(workload)
        if workload.loss == "binary_log_loss":
            y = y.astype(workload.dtype)
        self.X, self.y = jnp.asarray(X), jnp.asarray(y)
        self.rng = np.random.default_rng(0)
        self.seed = 0
        if workload.kind == "accuracy":
            X, X_test, y, y_test = digits()
            n_samples = workload.n_samples  # whole batches: 29 samples fewer
            self.X, self.y = jnp.asarray(X[:n_samples]), jnp.asarray(y[:n_samples])
            self.test = jnp.asarray(X_test), jnp.asarray(y_test)
        self.optimizer = optimizer = optax.adam(LEARNING_RATE)
        self._start()
        activation = {
            "relu": jax.nn.relu,
            "tanh": jnp.tanh,
            "logistic": jax.nn.sigmoid,
        }[workload.activation]

        def outputs(parameters, X):
            for weights, biases in parameters[:-1]:
                X = activation(X @ weights + biases)
            weights, biases = parameters[-1]
            return X @ weights + biases

        def loss(parameters, X, y):
            z = outputs(parameters, X)
            if workload.loss == "squared_error":
                return jnp.mean((z - y) ** 2) / 2
            if workload.loss == "binary_log_loss":
                return optax.sigmoid_binary_cross_entropy(z, y).mean()
            return optax.softmax_cross_entropy_with_integer_labels(z, y).mean()

        def step(carry, batch):
            parameters, state = carry
            value, gradient = jax.value_and_grad(loss)(parameters, *batch)
            updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(parameters, updates), state), value

        # NumPy's permutation is faster than JAX's on a CPU
        def epoch(parameters, state, order, X, y):
            if workload.shuffle:
                X, y = X[order], y[order]
            shape = (workload.steps, workload.batch_size)
            batches = X.reshape(*shape, -1), y.reshape(*shape, *y.shape[1:])
            carry, losses = jax.lax.scan(step, (parameters, state), batches)
            return *carry, losses.mean()

        self.epoch = jax.jit(epoch, donate_argnums=(0, 1))
        frozen = self.parameters
        if workload.kind == "predict":
            self.probabilities = jax.jit(lambda X: jax.nn.softmax(outputs(frozen, X)))
            self.rows = rows_to_predict(workload)
        self.accuracy = jax.jit(
            lambda p, X, y: jnp.mean(jnp.argmax(outputs(p, X), axis=1) == y)
        )
        self.work(2)

    def _start(self):
        """A network that has learned nothing."""
        self.seed += 1
        units, dtype = self.workload.units, self.workload.dtype
        pairs = initial_weights(units, self.seed, dtype)
        self.parameters = self.jax.tree.map(self.jax.numpy.asarray, pairs)
        self.state = self.optimizer.init(self.parameters)

    def _epoch(self):
        order = self.rng.permutation(len(self.X)) if self.workload.shuffle else None
        self.parameters, self.state, loss = self.epoch(
            self.parameters, self.state, order, self.X, self.y
        )
        return float(loss)

    def _to_accuracy(self):
        self._start()
        while True:
            self._epoch()
            if self.accuracy(self.parameters, *self.test) >= ACCURACY:
                return

    def work(self, count):
        for _ in range(count):
            if self.workload.kind == "predict":
                np.asarray(self.probabilities(self.rows))
            elif self.workload.kind == "accuracy":
                self._to_accuracy()
            else:
                self._epoch()


class LightGBM(_Timed):
    """Gradient-boosted trees: no network, so only time to an accuracy compares."""

    def __init__(self, threads):
        self.threads = threads

    def prepare(self, workload):
        import lightgbm

        self.lightgbm = lightgbm
        self.seed = 0
        self.digits = digits()
        self.work(1)

    def work(self, count):
        for _ in range(count):
            self._to_accuracy()

    def _to_accuracy(self):
        X, X_test, y, y_test = self.digits
        settings = {
            "objective": "multiclass",
            "num_class": 10,
            "metric": "multi_error",
            "num_threads": self.threads,
            "verbose": -1,
        }
        self.seed += 1
        settings["seed"] = self.seed
        train = self.lightgbm.Dataset(X, y)
        booster = self.lightgbm.Booster(settings, train)
        booster.add_valid(train.create_valid(X_test, y_test), "test")
        for _ in range(500):
            booster.update()
            ((_, _, error, _),) = booster.eval_valid()
            if 1 - error >= ACCURACY:
                return
        raise RuntimeError("the accuracy was not reached")


CONTESTANTS = {
    "LightGBM": LightGBM,
    "fastmlp": FastMLP,
    "fastmlp predictor()": FastMLPPredictor,
    "scikit-learn": ScikitLearn,
    "scikit-learn float64": ScikitLearnFloat64,
    "PyTorch": Torch,
    "PyTorch compiled": TorchCompiled,
    "JAX": Jax,
}
