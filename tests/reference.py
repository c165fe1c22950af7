"""The whole multi-layer perceptron in plain float64 NumPy: slow and obviously right.

Imports nothing of fastmlp.  Matrices are ordinary row-major arrays: weights are
(fan_in, fan_out), activations (batch, units).
"""

import numpy as np
from scipy.special import ndtr

# --- activations: z -> a, and z -> g'(z) ----------------------------------------------


def _logistic(z):
    return 1 / (1 + np.exp(-z))


def _softplus(z):
    return np.logaddexp(0, z)


def _mish_derivative(z):
    share = np.tanh(_softplus(z))
    return share + z * (1 - share**2) * _logistic(z)


_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772

ACTIVATIONS = {
    "identity": (lambda z: z, np.ones_like),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(float)),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "logistic": (_logistic, lambda z: _logistic(z) * (1 - _logistic(z))),
    "leaky_relu": (
        lambda z: np.where(z < 0, 0.01 * z, z),
        lambda z: np.where(z < 0, 0.01, 1.0),
    ),
    "elu": (
        lambda z: np.where(z < 0, np.expm1(np.minimum(z, 0)), z),
        lambda z: np.exp(np.minimum(z, 0)),
    ),
    "selu": (
        lambda z: (
            _SELU_SCALE * np.where(z < 0, _SELU_ALPHA * np.expm1(np.minimum(z, 0)), z)
        ),
        lambda z: (
            _SELU_SCALE * np.where(z < 0, _SELU_ALPHA * np.exp(np.minimum(z, 0)), 1)
        ),
    ),
    "gelu": (
        lambda z: z * ndtr(z),
        lambda z: ndtr(z) + z * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi),
    ),
    "silu": (
        lambda z: z * _logistic(z),
        lambda z: _logistic(z) * (1 + z * (1 - _logistic(z))),
    ),
    "mish": (lambda z: z * np.tanh(_softplus(z)), _mish_derivative),
    "softplus": (_softplus, _logistic),
    "softsign": (lambda z: z / (1 + abs(z)), lambda z: 1 / (1 + abs(z)) ** 2),
    "hard_swish": (
        lambda z: z * np.clip(z + 3, 0, 6) / 6,
        lambda z: np.where(z < -3, 0, np.where(z > 3, 1, (2 * z + 3) / 6)),
    ),
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


def _log_softmax(z):
    return (
        z
        - z.max(axis=1, keepdims=True)
        - np.log(np.exp(z - z.max(axis=1, keepdims=True)).sum(axis=1, keepdims=True))
    )


def _smoothed(z, y, smoothing):
    k = z.shape[1]
    return np.eye(k)[y[:, 0].astype(int)] * (1 - smoothing) + smoothing / k


def _focal_loss(z, y, gamma, smoothing):
    log_p = _log_softmax(z)
    ease = (-np.expm1(log_p)) ** gamma
    return -(_smoothed(z, y, smoothing) * ease * log_p).sum(axis=1)


def _focal_delta(z, y, gamma, smoothing):
    log_p = _log_softmax(z)
    p = np.exp(log_p)
    q = _smoothed(z, y, smoothing)
    # dL/dp_j, and the Jacobian of the softmax
    by_p = q * (gamma * (1 - p) ** (gamma - 1) * log_p - (1 - p) ** gamma / p)
    return p * (by_p - (by_p * p).sum(axis=1, keepdims=True))


def _binary_focal_loss(z, y, gamma):
    p = _logistic(z)
    hit = -((1 - p) ** gamma) * -np.logaddexp(0, -z)
    miss = -(p**gamma) * -np.logaddexp(0, z)
    return (y * hit + (1 - y) * miss).sum(axis=1)


def _binary_focal_delta(z, y, gamma):
    p = _logistic(z)
    log_p, log_q = -np.logaddexp(0, -z), -np.logaddexp(0, z)
    hit = gamma * (1 - p) ** gamma * p * log_p - (1 - p) ** (gamma + 1)
    miss = p ** (gamma + 1) - gamma * p**gamma * (1 - p) * log_q
    return y * hit + (1 - y) * miss


def _huber(z, y, delta):
    size = abs(z - y)
    inner, outer = size**2 / 2, delta * (size - delta / 2)
    return np.where(size <= delta, inner, outer).mean(axis=1)


#: name -> (losses of samples, deltas, output activation); (z, y, *parameters)
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
    "absolute_error": (
        lambda z, y: abs(z - y).mean(axis=1),
        lambda z, y: np.sign(z - y) / z.shape[1],
        "identity",
    ),
    "huber": (
        _huber,
        lambda z, y, delta: np.clip(z - y, -delta, delta) / z.shape[1],
        "identity",
    ),
    "quantile": (
        lambda z, y, *q: np.maximum(
            np.array(q) * (y - z), (np.array(q) - 1) * (y - z)
        ).mean(axis=1),
        lambda z, y, *q: np.where(y > z, -np.array(q), 1 - np.array(q)) / z.shape[1],
        "identity",
    ),
    "gamma": (
        lambda z, y: (z - np.log(y) + y * np.exp(-z) - 1).sum(axis=1),
        lambda z, y: 1 - y * np.exp(-z),
        "exp",
    ),
    "focal": (_focal_loss, _focal_delta, "softmax"),
    "binary_focal": (_binary_focal_loss, _binary_focal_delta, "logistic"),
}


def parameters_of(loss, n_outputs):
    """Some parameters for a loss that takes any."""
    if loss == "quantile":
        return tuple(np.linspace(0.1, 0.8, n_outputs))
    return {"huber": (0.7,), "focal": (2.0, 0.1), "binary_focal": (1.5,)}.get(loss, ())


# --- the network ---------------------------------------------------------------------


def names_of(activation, n_hidden):
    """One name of an activation for each hidden layer."""
    return [activation] * n_hidden if isinstance(activation, str) else activation


def scaled(X, factors, masks):
    """(inputs of a Scale layer, its outputs, masks of the other layers)."""
    X = np.asarray(X, float)
    if factors is None:
        return X, X, masks
    inputs = X if masks is None else X * masks[0]
    return inputs, inputs * factors, None if masks is None else masks[1:]


def forward(X, coefs, intercepts, activation, masks=None, factors=None):
    """(pre-activations, activations) of every Dense layer, the last one raw outputs.

    masks : what dropout multiplies the inputs of each layer by.
    factors : of the features, if a Scale is the first layer.
    """
    names = names_of(activation, len(coefs) - 1)
    _, a, masks = scaled(X, factors, masks)
    zs, activations = [None], []
    for i, (coef, intercept) in enumerate(zip(coefs, intercepts, strict=True)):
        activations.append(a if masks is None else a * masks[i])
        z = activations[-1] @ coef + intercept
        zs.append(z)
        a = z if i == len(coefs) - 1 else ACTIVATIONS[names[i]][0](z)
    return zs, [*activations, a]


def predict(X, coefs, intercepts, activation, output_activation, factors=None):
    activations = forward(X, coefs, intercepts, activation, factors=factors)[1]
    return OUTPUT_ACTIVATIONS[output_activation](activations[-1])


def loss_of(
    X, y, coefs, intercepts, factors=None, *, activation, loss, l2=0.0, l1=0.0,
    weights=None, parameters=(), masks=None,
):  # fmt: skip
    """Weighted mean loss of a batch plus (l2/2 |W|^2 + l1 |W|) / (total weight)."""
    weights = np.ones(len(X)) if weights is None else weights
    outputs = forward(X, coefs, intercepts, activation, masks, factors)[1][-1]
    losses = LOSSES[loss][0](outputs, y, *parameters)
    penalty = 0.5 * l2 * sum((coef**2).sum() for coef in coefs)
    penalty += l1 * sum(abs(coef).sum() for coef in coefs)
    return ((weights * losses).sum() + penalty) / weights.sum()


def gradient_of(
    X, y, coefs, intercepts, factors=None, *, activation, loss, l2=0.0, l1=0.0,
    weights=None, parameters=(), masks=None,
):  # fmt: skip
    """Gradient of `loss_of`: (by weights, by biases), by back-propagation.

    With factors, a third list, of the gradient by them.
    """
    weights = np.ones(len(X)) if weights is None else weights
    names = names_of(activation, len(coefs) - 1)
    zs, activations = forward(X, coefs, intercepts, activation, masks, factors)
    inputs, _, masks = scaled(X, factors, masks)
    deltas = LOSSES[loss][1](activations[-1], y, *parameters) * weights[:, None]
    by_coefs, by_intercepts = [], []
    for i in range(len(coefs) - 1, -1, -1):
        penalty = l2 * coefs[i] + l1 * np.sign(coefs[i])
        by_coefs.insert(0, (activations[i].T @ deltas + penalty) / weights.sum())
        by_intercepts.insert(0, deltas.sum(axis=0) / weights.sum())
        deltas = deltas @ coefs[i].T * (1 if masks is None else masks[i])
        if i > 0:
            deltas *= ACTIVATIONS[names[i - 1]][1](zs[i])
    if factors is None:
        return by_coefs, by_intercepts
    return by_coefs, by_intercepts, [(inputs * deltas).sum(axis=0) / weights.sum()]


# --- optimizers: one array of parameters, its gradient, its state --------------------


def sgd_step(w, g, state, *, rate, beta_1=0.0, nesterov=False, **_):
    velocity = beta_1 * state.get("velocity", 0.0) - rate * g
    state["velocity"] = velocity
    return w + (beta_1 * velocity - rate * g if nesterov else velocity)


def adam_step(w, g, state, *, rate, beta_1, beta_2, epsilon, **_):
    t = state["t"] = state.get("t", 0) + 1
    m = state["m"] = beta_1 * state.get("m", 0.0) + (1 - beta_1) * g
    v = state["v"] = beta_2 * state.get("v", 0.0) + (1 - beta_2) * g**2
    step = rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
    return w - step * m / (np.sqrt(v) + epsilon)


def rmsprop_step(w, g, state, *, rate, beta_2, epsilon, **_):
    v = state["v"] = beta_2 * state.get("v", 0.0) + (1 - beta_2) * g**2
    return w - rate * g / (np.sqrt(v) + epsilon)


def lion_step(w, g, state, *, rate, beta_1, beta_2, **_):
    m = state.get("m", 0.0)
    state["m"] = beta_2 * m + (1 - beta_2) * g
    return w - rate * np.sign(beta_1 * m + (1 - beta_1) * g)


OPTIMIZERS = {
    "sgd": sgd_step,
    "momentum": sgd_step,
    "nesterov": lambda *args, **kw: sgd_step(*args, nesterov=True, **kw),
    "adam": adam_step,
    "rmsprop": rmsprop_step,
    "lion": lion_step,
}


def train_epoch(
    X, y, coefs, intercepts, states, order, batch_size, optimizer, rates, *,
    weight_decay=0.0, clip_norm=np.inf, average=None, average_decay=0.0,
    masks_of=None, factors=None, factor_rate=1.0, **settings,
):  # fmt: skip
    """One epoch of mini-batches; returns new parameters and the loss that is shown.

    states : a dict for every array: weights, then biases, then factors; changed.
    rates : keyword arguments of the optimizer; `rate` may be one for each step.
    average : averages of all arrays, changed.
    masks_of : (step, rows of the batch) -> masks of dropout.
    factors, factor_rate : of a Scale layer, and their factor on the learning rate.
    """
    weights = settings.pop("weights", None)
    every_rate = np.broadcast_to(rates["rate"], -(-len(order) // batch_size))
    groups = [list(coefs), list(intercepts), *([] if factors is None else [[factors]])]
    total = 0.0
    for step, start in enumerate(range(0, len(order), batch_size)):
        rows = order[start : start + batch_size]
        batch = dict(settings, weights=None if weights is None else weights[rows])
        if masks_of is not None:
            batch["masks"] = masks_of(step, len(rows))
        arguments = (X[rows], y[rows], *groups[:2], *(g[0] for g in groups[2:]))
        total += loss_of(*arguments, **batch) * len(rows)
        gradient = [g for group in gradient_of(*arguments, **batch) for g in group]
        norm = np.sqrt(sum((g**2).sum() for g in gradient))
        factor = min(1.0, clip_norm / norm)
        rate = every_rate[step]
        n, decay = len(coefs), 1 - rate * weight_decay
        kinds = [(decay, rate)] * n + [(1.0, rate)] * n + [(1.0, factor_rate * rate)]
        olds = [w for group in groups for w in group]
        news = [
            OPTIMIZERS[optimizer](d * w, factor * g, state, **{**rates, "rate": r})
            for (d, r), w, g, state in zip(kinds, olds, gradient, states, strict=False)
        ]
        if average is not None:
            for a, w in zip(average, news, strict=True):
                a += (1 - average_decay) * (w - a)
        groups = [part for part in (news[:n], news[n : 2 * n], news[2 * n :]) if part]
    return *groups, total / len(order)
