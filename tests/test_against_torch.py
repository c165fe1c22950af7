"""Against PyTorch: the same weights and losses, step for step, in float64.

Each test starts both from the same weights and trains them on the same mini-batches.
What PyTorch defines otherwise is told to its side, and said where it is done.

Not here, because PyTorch has nothing like it: the solver 'lion', the schedules
'invscaling' and 'adaptive'. ReduceLROnPlateau is not quite 'plateau': it measures
against the last loss that counted as an improvement, not against the lowest.
"""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from data import random_network
from scipy.stats import ks_2samp

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.initialization import INITIALIZATIONS
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.schedules import make_schedule

torch = pytest.importorskip("torch")
nn, functional, schedulers = torch.nn, torch.nn.functional, torch.optim.lr_scheduler

FEATURES, HIDDEN = 4, (9, 6)
ROWS, BATCH, EPOCHS = 44, 16, 6  # three steps an epoch, the last one shorter
STEPS = 3 * EPOCHS

rng = np.random.default_rng(0)
X = rng.standard_normal((ROWS, FEATURES))
NUMBERS = rng.standard_normal((ROWS, 2))
COUNTS = rng.poisson(1.5, (ROWS, 2)).astype(float)
POSITIVE = rng.gamma(2, 0.7, (ROWS, 2)) + 0.1
CLASSES = np.arange(ROWS) * 7 % 11 % 3
YES_OR_NO = CLASSES % 2
LABELS = rng.integers(0, 2, (ROWS, 3))

close = partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-13)


def begun(y=NUMBERS, **settings):
    """An estimator whose next fit starts from weights that are random but known."""
    estimator = MLPRegressor if y.dtype == float else MLPClassifier
    settings = {
        "hidden_layer_sizes": HIDDEN, "activation": "tanh", "alpha": 0.0,
        "solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.05,
        "batch_size": BATCH, "shuffle": False, "precision": "float64",
        "max_iter": EPOCHS, "tol": 0.0, "n_iter_no_change": np.inf, **settings,
    }  # fmt: skip
    model = estimator(**settings)
    model.set_params(max_iter=1, learning_rate_init=1e-300).fit(X, y)
    units = [FEATURES, *HIDDEN, model.n_outputs_]
    model.coefs_, model.intercepts_ = random_network(units)
    names = ("max_iter", "learning_rate_init")
    return model.set_params(warm_start=True, **{name: settings[name] for name in names})


def twin_of(model, activations=(nn.Tanh, nn.Tanh, nn.Identity)):
    """The same network in PyTorch."""
    net = nn.Sequential()
    layers = zip(model.coefs_, model.intercepts_, activations, strict=True)
    for coefs, intercepts, activation in layers:
        linear = nn.Linear(*coefs.shape, dtype=torch.float64)
        linear.weight.data = torch.from_numpy(coefs.T.copy())
        linear.bias.data = torch.from_numpy(intercepts.copy())
        net.extend([linear, activation()])
    return net


def weights_of(net):
    return [layer.weight for layer in net if isinstance(layer, nn.Linear)]


def half_of_mean_square(z, y):
    return nn.MSELoss()(z, y) / 2


def nothing():
    pass


def train(net, y, optimizer, loss=half_of_mean_square, *, before_step=nothing,
          after_step=nothing):  # fmt: skip
    """The loss curve of PyTorch."""
    y = torch.from_numpy(y)
    if not torch.is_floating_point(y) and loss not in OF_CLASS_NUMBERS:
        y = y.reshape(ROWS, -1).double()
    curve = []
    for _ in range(EPOCHS):
        total = 0.0
        for start in range(0, ROWS, BATCH):
            rows = slice(start, start + BATCH)
            value = loss(net(torch.from_numpy(X[rows])), y[rows])
            optimizer.zero_grad()
            value.backward()
            before_step()
            optimizer.step()
            after_step()
            total += value.item() * len(y[rows])
        curve.append(total / ROWS)
    return curve


def assert_same_weights(model, net):
    linear = [layer for layer in net if isinstance(layer, nn.Linear)]
    for layer, coefs, intercepts in zip(
        linear, model.coefs_, model.intercepts_, strict=True
    ):
        close(coefs, layer.weight.detach().numpy().T)
        close(intercepts, layer.bias.detach().numpy())
