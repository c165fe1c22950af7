"""Against PyTorch: the same weights and losses, step for step, in float64.

Both start from the same weights and train on the same mini-batches. What PyTorch
defines otherwise is told to its side, and said where it is done.

Not here, because PyTorch has no twin: the solver 'lion', the schedules 'invscaling' and
'adaptive', and 'plateau', which compares a loss with the lowest so far
(ReduceLROnPlateau with the last that counted as an improvement).
"""

import math
from functools import partial

import numpy as np
import pytest
from data import random_network
from scipy.stats import ks_2samp

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.tables.activations import ACTIVATIONS
from fastmlp.tables.initializations import INITIALIZATIONS

torch = pytest.importorskip("torch")
MODULES = pytest.importorskip("fastmlp.exchange.torch_modules").ACTIVATIONS
nn, init, scheduling = torch.nn, torch.nn.init, torch.optim.lr_scheduler
averaging = torch.optim.swa_utils
SGD, Adam, RMSprop = torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop

FEATURES, HIDDEN = 4, (9, 6)
ROWS, BATCH, EPOCHS = 44, 16, 10  # three steps an epoch, the last one shorter
STEPS = 3 * EPOCHS
RATE = 0.05

rng = np.random.default_rng(0)
X = rng.standard_normal((ROWS, FEATURES))
NUMBERS = rng.standard_normal((ROWS, 2))
COUNTS = rng.poisson(1.5, (ROWS, 2)).astype(float)
POSITIVE = rng.gamma(2, 0.7, (ROWS, 2)) + 0.1
CLASSES = rng.permutation(np.arange(ROWS) % 3)
YES_OR_NO = (CLASSES == 1).astype(int)
LABELS = rng.integers(0, 2, (ROWS, 3))

assert_close = partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12)


# --- both sides ----------------------------------------------------------------------


def begun(y=NUMBERS, scale=1.0, **settings):
    """An estimator and its twin in PyTorch, about to start from the same weights."""
    settings = {
        "hidden_layer_sizes": HIDDEN, "activation": "tanh", "alpha": 0.0,
        "solver": "sgd", "momentum": 0.0, "batch_size": BATCH, "shuffle": False,
        "tol": 0.0, "n_iter_no_change": np.inf, "precision": "float64", **settings,
    }  # fmt: skip
    estimator = MLPRegressor if y.dtype == float else MLPClassifier
    model = estimator(max_iter=1, learning_rate_init=1e-300, **settings).fit(X, y)
    units = FEATURES, *HIDDEN, model.n_outputs_
    model.coefs_, model.intercepts_ = random_network(units, scale=scale)
    model.set_params(max_iter=EPOCHS, learning_rate_init=RATE, warm_start=True)
    names = settings["activation"]
    names = [names, names] if isinstance(names, str) else names
    net = nn.Sequential()
    layers = zip(model.coefs_, model.intercepts_, [*names, "identity"], strict=True)
    for coefs, intercepts, name in layers:
        linear = nn.Linear(*coefs.shape, dtype=torch.float64)
        linear.weight.data = torch.tensor(coefs.T)
        linear.bias.data = torch.tensor(intercepts)
        net.extend([linear, MODULES[name]()])
    return model, net


def weights_of(net):
    return [layer.weight for layer in net if hasattr(layer, "weight")]


def biases_of(net):
    return [layer.bias for layer in net if hasattr(layer, "bias")]


def half_of_mse(z, y):
    return nn.MSELoss()(z, y) / 2


def descent(net):
    return SGD(net.parameters(), lr=RATE)


def assert_same_training(
    model, net, optimizer=None, y=NUMBERS, loss=half_of_mse, *, before_step=(),
    after_step=(), trained=None,
):  # fmt: skip
    """Train both, and compare the losses, and the weights of `trained`, else `net`."""
    optimizer = optimizer or descent(net)
    inputs, targets = torch.tensor(X), torch.tensor(y)
    losses = np.zeros(EPOCHS)
    for epoch in range(EPOCHS):
        for start in range(0, ROWS, BATCH):
            rows = slice(start, start + BATCH)
            value = loss(net(inputs[rows]), targets[rows])
            optimizer.zero_grad()
            value.backward()
            for act in (*before_step, optimizer.step, *after_step):
                act()
            losses[epoch] += value.item() * len(X[rows]) / ROWS
    before = model.coefs_[0].copy()
    model.fit(X, y)
    assert abs(model.coefs_[0] - before).max() > 1e-3  # something was trained
    assert_close(model.loss_curve_[1:], losses)  # the first epoch was that of `begun`
    ours = [*model.coefs_, *model.intercepts_]
    net = trained or net
    for array, theirs in zip(ours, weights_of(net) + biases_of(net), strict=True):
        assert_close(array, theirs.detach().numpy().T)


# --- optimizers ----------------------------------------------------------------------

#: Nothing beside any gradient: PyTorch's epsilon of Adam stands elsewhere.
TINY = 1e-30

OPTIMIZERS = {
    "plain descent": ({}, SGD, {}),
    "momentum": (
        {"momentum": 0.8, "nesterovs_momentum": False}, SGD, {"momentum": 0.8},
    ),
    "nesterov": ({"momentum": 0.8}, SGD, {"momentum": 0.8, "nesterov": True}),
    "adam": (
        {"solver": "adam", "epsilon": TINY, "beta_1": 0.5, "beta_2": 0.7},
        Adam, {"eps": TINY, "betas": (0.5, 0.7)},
    ),
    "rmsprop, epsilon behind the root": (
        {"solver": "rmsprop", "beta_2": 0.9, "epsilon": 0.1},
        RMSprop, {"alpha": 0.9, "eps": 0.1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OPTIMIZERS)
def test_optimizers_make_the_same_steps(case):
    settings, optimizer, arguments = OPTIMIZERS[case]
    model, net = begun(**settings)
    assert_same_training(model, net, optimizer(net.parameters(), lr=RATE, **arguments))


def test_adams_epsilon_is_added_before_the_bias_is_undone():
    """As in scikit-learn and in section 2 of the paper; PyTorch adds it after that."""
    model, net = begun(solver="adam", epsilon=0.1, beta_2=0.9)
    optimizer = Adam(net.parameters(), lr=RATE, betas=(0.9, 0.9))
    steps = iter(range(1, STEPS + 1))

    def set_epsilon():
        optimizer.param_groups[0]["eps"] = 0.1 / math.sqrt(1 - 0.9 ** next(steps))

    assert_same_training(model, net, optimizer, before_step=[set_epsilon])


@pytest.mark.parametrize(("given", "decay"), [(0.0, 0.01), (0.3, 0.3)])
def test_adamw_decays_weights_but_no_biases(given, decay):
    """With PyTorch's decay, 0.01, unless one is given."""
    model, net = begun(solver="adamw", epsilon=TINY, weight_decay=given)
    groups = [
        {"params": weights_of(net), "weight_decay": decay},
        {"params": biases_of(net), "weight_decay": 0.0},
    ]
    assert_same_training(model, net, torch.optim.AdamW(groups, lr=RATE, eps=TINY))


def test_weight_decay_of_plain_descent_follows_the_rate():
    """PyTorch's SGD has only the L2 penalty: the decay is made by hand."""
    model, net = begun(weight_decay=0.3, learning_rate="cosine")
    optimizer = descent(net)
    schedule = scheduling.CosineAnnealingLR(optimizer, T_max=STEPS)

    @torch.no_grad()
    def shrink():
        for weight in weights_of(net):
            weight.mul_(1 - optimizer.param_groups[0]["lr"] * 0.3)

    assert_same_training(
        model, net, optimizer, before_step=[shrink], after_step=[schedule.step]
    )


@pytest.mark.parametrize("clip_norm", [None, 0.8])
def test_penalties_are_part_of_the_loss_and_of_what_is_clipped(clip_norm):
    """PyTorch divides by the norm + 1e-6, which is undone."""
    model, net = begun(alpha=0.5, l1=0.2, clip_norm=clip_norm)
    norms = []

    def penalised(z, y):
        penalties = [0.25 * w**2 + 0.2 * w.abs() for w in weights_of(net)]
        return half_of_mse(z, y) + sum(p.sum() for p in penalties) / len(y)

    def clip():
        norm = nn.utils.clip_grad_norm_(net.parameters(), clip_norm or math.inf)
        norms.append(norm.item())
        for parameter in net.parameters() if clip_norm and norm > clip_norm else ():
            parameter.grad *= (norm + 1e-6) / norm

    assert_same_training(model, net, loss=penalised, before_step=[clip])
    assert clip_norm is None or min(norms) < clip_norm < max(norms)


def test_the_average_of_the_weights_starts_from_the_initial_ones():
    """PyTorch's starts from those of its first update, which is made before a step."""
    model, net = begun()
    model.set_params(ema_decay=0.8)
    ema = averaging.get_ema_multi_avg_fn(0.8)
    average = averaging.AveragedModel(net, multi_avg_fn=ema)
    average.update_parameters(net)
    update = partial(average.update_parameters, net)
    assert_same_training(model, net, after_step=[update], trained=average.module)


# --- activations ---------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1, 6], ids=["usual inputs", "large inputs"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_predict_and_descend_alike(activation, scale):
    """One step of rate 1: the weights change by the gradient."""
    model, net = begun(scale=scale, activation=activation, batch_size=ROWS)
    outputs = net(torch.tensor(X))
    assert_close(model.predict(X), outputs.detach().numpy())
    half_of_mse(outputs, torch.tensor(NUMBERS)).backward()
    before = [*model.coefs_, *model.intercepts_]
    model.set_params(max_iter=1, learning_rate_init=1.0).fit(X, NUMBERS)
    after = [*model.coefs_, *model.intercepts_]
    gradients = [p.grad.numpy().T for p in weights_of(net) + biases_of(net)]
    for old, new, gradient in zip(before, after, gradients, strict=True):
        assert_close(old - new, gradient)


def test_each_layer_has_its_own_activation():
    model, net = begun(activation=["gelu", "selu"])
    assert_same_training(model, net)


# --- losses --------------------------------------------------------------------------

log_loss_of_labels = nn.BCEWithLogitsLoss(reduction="none")


def of_labels(loss):
    """A loss of one number for each label, summed over the labels of a row."""
    return lambda z, y: loss(z, y.reshape(z.shape).to(z)).sum(dim=1).mean()


def quantile_loss(z, y, q):
    error = y.reshape(len(z), -1) - z
    return torch.maximum(q * error, (q - 1) * error).mean()


def half_poisson_deviance(z, y):
    """PoissonNLLLoss lacks what does not depend on z, and is a mean over outputs."""
    return (torch.xlogy(y, y) - y * z - y + z.exp()).sum(dim=1).mean()


def half_gamma_deviance(z, y):
    return (z - y.log() + y * (-z).exp() - 1).sum(dim=1).mean()


def focal_loss(z, y, gamma, smoothing=0.0):
    log_p = z.log_softmax(dim=1)
    share = nn.functional.one_hot(y, z.shape[1]).to(z) * (1 - smoothing)
    share = share + smoothing / z.shape[1]
    return -(share * (1 - log_p.exp()) ** gamma * log_p).sum(dim=1).mean()


def focal_loss_of_labels(z, y):
    log_p = nn.functional.logsigmoid((2 * y - 1) * z)  # of what is true
    return -((1 - log_p.exp()) ** 2) * log_p


def weighted_log_loss_of_two(z, y):
    """BCEWithLogitsLoss has weights, but does not divide by their sum."""
    weights = torch.where(y > 0, 3.0, 0.5)
    losses = log_loss_of_labels(z[:, 0], y.to(z))
    return (weights * losses).sum() / weights.sum()


QUANTILES = torch.tensor([0.1, 0.5, 0.8], dtype=torch.float64)
WEIGHTS = torch.tensor([0.5, 2.0, 3.0], dtype=torch.float64)

LOSSES = {
    "squared_error": ({}, NUMBERS, half_of_mse),
    "absolute_error": ({}, NUMBERS, nn.L1Loss()),
    "huber": ({"huber_delta": 0.7}, NUMBERS, nn.HuberLoss(delta=0.7)),
    "quantile": ({"quantile": 0.3}, NUMBERS, partial(quantile_loss, q=0.3)),
    "quantile of a list": (
        {"quantile": QUANTILES.tolist()}, NUMBERS[:, 0],
        partial(quantile_loss, q=QUANTILES),
    ),
    "poisson": ({}, COUNTS, half_poisson_deviance),
    "gamma": ({}, POSITIVE, half_gamma_deviance),
    "log_loss": ({}, CLASSES, nn.CrossEntropyLoss()),
    "log_loss of smoothed classes": (
        {"label_smoothing": 0.2}, CLASSES, nn.CrossEntropyLoss(label_smoothing=0.2),
    ),
    # both divide by the weights of the mini-batch's samples
    "log_loss of weighted classes": (
        {"class_weight": dict(enumerate(WEIGHTS.tolist()))}, CLASSES,
        nn.CrossEntropyLoss(weight=WEIGHTS),
    ),
    "log_loss of two classes": ({}, YES_OR_NO, of_labels(log_loss_of_labels)),
    "log_loss of two weighted classes": (
        {"class_weight": {0: 0.5, 1: 3.0}}, YES_OR_NO, weighted_log_loss_of_two,
    ),
    "log_loss of labels": ({}, LABELS, of_labels(log_loss_of_labels)),
    # half of the share goes to the opposite, as with two classes
    "log_loss of smoothed labels": (
        {"label_smoothing": 0.2}, LABELS,
        of_labels(lambda z, y: log_loss_of_labels(z, y * 0.8 + 0.1)),
    ),
    "focal": ({"focal_gamma": 1.5}, CLASSES, partial(focal_loss, gamma=1.5)),
    "focal of smoothed classes": (
        {"label_smoothing": 0.2}, CLASSES, partial(focal_loss, gamma=2, smoothing=0.2),
    ),
    "focal of labels": ({}, LABELS, of_labels(focal_loss_of_labels)),
}  # fmt: skip


@pytest.mark.parametrize("case", LOSSES)
def test_losses_descend_alike(case):
    settings, y, loss = LOSSES[case]
    model, net = begun(y, loss=case.split()[0], **settings)
    assert_same_training(model, net, y=y, loss=loss)


# --- learning rates ------------------------------------------------------------------


def one_cycle(optimizer):
    """PyTorch's phases end a step earlier, so that its last step has the last rate."""
    return scheduling.OneCycleLR(
        optimizer, max_lr=RATE, total_steps=STEPS + 1, cycle_momentum=False,
        pct_start=(0.3 * STEPS + 1) / (STEPS + 1), div_factor=25, final_div_factor=1e4,
    )  # fmt: skip


def cosine_warmup(optimizer):
    tenth = STEPS // 10
    line = scheduling.LambdaLR(optimizer, lambda step: max(step / tenth, 0.01))
    cosine = scheduling.CosineAnnealingLR(optimizer, T_max=STEPS - tenth)
    return scheduling.SequentialLR(optimizer, [line, cosine], milestones=[tenth])


def harmonic(fraction):
    return 1 / (1 + 3 * fraction)


SCHEDULES = {
    "step": partial(scheduling.StepLR, step_size=STEPS // 3, gamma=0.1),
    "exponential": partial(scheduling.ExponentialLR, gamma=0.01 ** (1 / STEPS)),
    "cosine": partial(scheduling.CosineAnnealingLR, T_max=STEPS),
    "cosine_warmup": cosine_warmup,
    "one_cycle": one_cycle,
    harmonic: partial(scheduling.LambdaLR, lr_lambda=lambda n: harmonic(n / STEPS)),
}


@pytest.mark.parametrize("learning_rate", SCHEDULES)
def test_schedules_change_the_rate_at_the_same_steps(learning_rate):
    """Of plain descent: velocities of PyTorch's momentum do not hold the rates."""
    model, net = begun(learning_rate=learning_rate)
    optimizer = descent(net)
    schedule = SCHEDULES[learning_rate](optimizer)
    assert_same_training(model, net, optimizer, after_step=[schedule.step])


# --- initial weights -----------------------------------------------------------------

INITIALIZATION_TWINS = {
    "glorot_uniform": init.xavier_uniform_,
    "glorot_normal": init.xavier_normal_,
    "he_uniform": partial(init.kaiming_uniform_, nonlinearity="relu"),
    "he_normal": partial(init.kaiming_normal_, nonlinearity="relu"),
    "lecun_normal": partial(init.kaiming_normal_, nonlinearity="linear"),
    "orthogonal": init.orthogonal_,
}


@pytest.mark.parametrize("shape", [(300, 200), (200, 300)])
@pytest.mark.parametrize("name", INITIALIZATIONS)
def test_initial_weights_have_the_same_distribution(name, shape):
    ours = INITIALIZATIONS[name].draw(np.random.RandomState(0), *shape)
    generator = torch.Generator().manual_seed(0)
    empty = torch.empty(shape[::-1])  # PyTorch keeps the transpose
    theirs = INITIALIZATION_TWINS[name](empty, generator=generator).numpy()
    assert ours.var() == pytest.approx(theirs.var(), rel=0.03)
    assert ks_2samp(ours.ravel(), theirs.ravel()).statistic < 0.015
