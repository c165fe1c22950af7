"""The whole multi-layer perceptron in plain float64 NumPy: slow and obviously right.

Imports nothing of fastmlp.  Matrices are ordinary row-major arrays: weights are
(fan_in, fan_out), activations (batch, units).
"""

import numpy as np

# --- activations: z -> a, and a -> g'(z) ---------------------------------------------

ACTIVATIONS = {
    "identity": (lambda z: z, lambda a: np.ones_like(a)),
    "relu": (lambda z: np.maximum(z, 0), lambda a: (a > 0).astype(float)),
    "tanh": (np.tanh, lambda a: 1 - a**2),
    "logistic": (lambda z: 1 / (1 + np.exp(-z)), lambda a: a * (1 - a)),
}


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


OUTPUT_ACTIVATIONS = {
    "identity": lambda z: z,
    "logistic": lambda z: 1 / (1 + np.exp(-z)),
    "softmax": softmax,
    "exp": np.exp,
}

# --- losses of each sample, from raw outputs -----------------------------------------


def _log_loss(z, y):
    """y: class numbers, shape (n, 1)."""
    largest = z.max(axis=1)
    total = np.log(np.exp(z - largest[:, None]).sum(axis=1)) + largest
    return total - z[np.arange(len(z)), y[:, 0].astype(int)]


def _log_loss_delta(z, y):
    return softmax(z) - np.eye(z.shape[1])[y[:, 0].astype(int)]


def _x_log_x(y):
    return np.where(y > 0, y * np.log(np.where(y > 0, y, 1)), 0)


#: name -> (losses of samples, deltas, output activation)
LOSSES = {
    "squared_error": (
        lambda z, y: ((z - y) ** 2).mean(axis=1) / 2,
        lambda z, y: (z - y) / z.shape[1],
        "identity",
    ),
    "log_loss": (_log_loss, _log_loss_delta, "softmax"),
    "binary_log_loss": (
        lambda z, y: (np.logaddexp(0, z) - y * z).sum(axis=1),
        lambda z, y: 1 / (1 + np.exp(-z)) - y,
        "logistic",
    ),
    "poisson": (
        lambda z, y: (_x_log_x(y) - y * z - y + np.exp(z)).sum(axis=1),
        lambda z, y: np.exp(z) - y,
        "exp",
    ),
}

# --- the network ---------------------------------------------------------------------


def forward(X, coefs, intercepts, activation):
    """Activations of every layer, the last one raw outputs."""
    value, _ = ACTIVATIONS[activation]
    activations = [np.asarray(X, float)]
    for i, (coef, intercept) in enumerate(zip(coefs, intercepts, strict=True)):
        z = activations[-1] @ coef + intercept
        activations.append(z if i == len(coefs) - 1 else value(z))
    return activations


def predict(X, coefs, intercepts, activation, output_activation):
    outputs = forward(X, coefs, intercepts, activation)[-1]
    return OUTPUT_ACTIVATIONS[output_activation](outputs)


def loss_of(X, y, coefs, intercepts, *, activation, loss, l2=0.0, weights=None):
    """Weighted mean loss of a batch plus l2/2 |W|^2 / (total weight)."""
    weights = np.ones(len(X)) if weights is None else weights
    outputs = forward(X, coefs, intercepts, activation)[-1]
    losses = LOSSES[loss][0](outputs, y)
    penalty = 0.5 * l2 * sum((coef**2).sum() for coef in coefs)
    return ((weights * losses).sum() + penalty) / weights.sum()


def gradient_of(X, y, coefs, intercepts, *, activation, loss, l2=0.0, weights=None):
    """Gradient of `loss_of`: (by weights, by biases), by back-propagation."""
    weights = np.ones(len(X)) if weights is None else weights
    _, derivative = ACTIVATIONS[activation]
    activations = forward(X, coefs, intercepts, activation)
    deltas = LOSSES[loss][1](activations[-1], y) * weights[:, None]
    by_coefs, by_intercepts = [], []
    for i in range(len(coefs) - 1, -1, -1):
        by_coefs.insert(0, (activations[i].T @ deltas + l2 * coefs[i]) / weights.sum())
        by_intercepts.insert(0, deltas.sum(axis=0) / weights.sum())
        deltas = deltas @ coefs[i].T * derivative(activations[i])
    return by_coefs, by_intercepts


# --- optimizers: one array of parameters, its gradient, its state --------------------


def sgd_step(w, g, state, *, rate, decay_1=0.0, nesterov=False, **_):
    velocity = decay_1 * state.get("velocity", 0.0) - rate * g
    state["velocity"] = velocity
    return w + (decay_1 * velocity - rate * g if nesterov else velocity)


def adam_step(w, g, state, *, rate, decay_1, decay_2, epsilon, **_):
    t = state["t"] = state.get("t", 0) + 1
    m = state["m"] = decay_1 * state.get("m", 0.0) + (1 - decay_1) * g
    v = state["v"] = decay_2 * state.get("v", 0.0) + (1 - decay_2) * g**2
    step = rate * np.sqrt(1 - decay_2**t) / (1 - decay_1**t)
    return w - step * m / (np.sqrt(v) + epsilon)


OPTIMIZERS = {
    "sgd": sgd_step,
    "momentum": sgd_step,
    "nesterov": lambda *args, **kw: sgd_step(*args, nesterov=True, **kw),
    "adam": adam_step,
}


def train_epoch(
    X, y, coefs, intercepts, states, order, batch_size, optimizer, rates, **settings
):
    """One epoch of mini-batches; returns new parameters and the loss that is shown.

    states : a dict for every array, weights first, then biases; changed.
    """
    weights = settings.pop("weights", None)
    total = 0.0
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        batch = dict(settings, weights=None if weights is None else weights[rows])
        arguments = (X[rows], y[rows], coefs, intercepts)
        total += loss_of(*arguments, **batch) * len(rows)
        by_coefs, by_intercepts = gradient_of(*arguments, **batch)
        new = [
            OPTIMIZERS[optimizer](w, g, state, **rates)
            for w, g, state in zip(
                coefs + intercepts, by_coefs + by_intercepts, states, strict=True
            )
        ]
        coefs, intercepts = new[: len(coefs)], new[len(coefs) :]
    return coefs, intercepts, total / len(order)
