"""The playground: the numbers of a step by hand are those of the kernels."""

import numpy as np
import pytest

from fastmlp.playground.by_hand import step_by_hand
from fastmlp.playground.experiment import Experiment
from fastmlp.playground.trainer import Snapshot, Trainer, untrained
from fastmlp.tables.optimizers import SOLVERS

pytestmark = pytest.mark.filterwarnings("ignore")


def a_step(n=20, **settings):
    """(experiment, network before, the step by hand, samples, their weights)."""
    experiment = Experiment(hidden_layer_sizes=(5, 3), **settings)
    data = experiment.make_data()
    X, y = data.X[:n].astype(float), data.y[:n]
    if experiment.task == "classification":  # all classes, not in equal numbers
        y = (np.arange(n) % (experiment.n_classes + 2)) % experiment.n_classes
    model = experiment.make_estimator()
    if experiment.solver != "lbfgs":
        model.set_params(batch_size=n)
    if experiment.weights_of(y) is not None:
        model.set_params(class_weight=None)
    untrained(model, X, y)
    before = Snapshot(
        0, *([a.copy() for a in p] for p in (model.coefs_, model.intercepts_))
    )
    weights = experiment.weights_of(y)
    return (
        model,
        before,
        step_by_hand(experiment, before, X, y, weights),
        (X, y, weights),
    )


def fitted_for_a_step(model, samples):
    model.set_params(warm_start=True, callbacks=[lambda state: True])
    model.fit(*samples)
    return [*model.coefs_, *model.intercepts_]


@pytest.mark.parametrize(
    "settings",
    [{}, {"activation": "gelu"}, {"data": "rings"}, {"data": "hills", "loss": "huber"},
     {"loss": "focal", "alpha": 0.3, "l1": 0.1, "activation": "relu"},
     {"data": "plane", "loss": "gamma"},
     {"data": "plane", "loss": "quantile", "quantile": (0.2, 0.7)},
     {"data": "rings", "class_weight": "balanced", "alpha": 0.3},
     {"dropout": 0.5}, {"dropout": 0.2, "activation": "relu", "data": "hills"}],
)  # fmt: skip
def test_gradients_by_hand_are_those_of_the_kernels(settings):
    """One step of plain gradient descent in float64 goes along the same gradient."""
    model, before, step, samples = a_step(**settings)
    rate = 1e-3
    model.set_params(momentum=0.0, precision="float64", learning_rate_init=rate)
    new = fitted_for_a_step(model, samples)
    ours, old = [*step.gradients, *step.bias_gradients], [*before[1], *before[2]]
    for gradient, a, b in zip(ours, old, new, strict=True):
        np.testing.assert_allclose((a - b) / rate, gradient, rtol=1e-6, atol=1e-9)
    dropout = settings.get("dropout", 0)
    assert len(step.masks) == (2 if dropout else 0)
    for mask in step.masks:
        assert set(mask.ravel()) == {0, 1 / (1 - dropout)}


@pytest.mark.parametrize("solver", SOLVERS)
def test_weights_after_a_step_by_hand_are_those_of_a_fit(solver):
    model, before, step, samples = a_step(
        solver=solver, ema_decay=0.9, dropout=0.2, data="rings", learning_rate="cosine"
    )
    if solver != "lbfgs":  # which has neither
        model.set_params(ema_decay=None)
    new = fitted_for_a_step(model, samples)
    for ours, theirs in zip([*step.after[0], *step.after[1]], new, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    moved = max(abs(a - b).max() for a, b in zip(before[1], step.after[0], strict=True))
    assert moved > 1e-4
    assert bool(step.averages) == (solver != "lbfgs")


def test_averages_after_a_step_by_hand_are_those_of_a_fit():
    model, _, step, samples = a_step(solver="adam", ema_decay=0.9)
    averages = fitted_for_a_step(model, samples)
    assert model.get_params()["ema_decay"] == 0.9
    for ours, theirs in zip(
        [*step.averages[0], *step.averages[1]], averages, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    assert abs(step.averages[0][0] - step.after[0][0]).max() > 1e-3


def test_a_batch_by_hand_may_lack_classes_and_a_step_may_fail():
    experiment = Experiment(data="rings", hidden_layer_sizes=(3,), solver="adam")
    trainer = Trainer(experiment)
    try:
        snapshot = trainer.at(0)
        step = step_by_hand(
            experiment, snapshot, trainer.data.X[:1], trainer.data.y[:1]
        )
        moved = [
            abs(a - b).max() for a, b in zip(step.after[1], snapshot[2], strict=True)
        ]
        assert min(moved) > 0.01  # Adam's first step is its rate
        broken = [np.full_like(coef, np.inf) for coef in snapshot.coefs]
        snapshot = snapshot._replace(coefs=broken)
        step = step_by_hand(experiment, snapshot, trainer.data.X, trainer.data.y)
        assert np.isnan(step.after[0][0]).all()
    finally:
        trainer.close()
