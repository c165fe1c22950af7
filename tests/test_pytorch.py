"""Estimators as modules of PyTorch and back: the same numbers."""

import io

import numpy as np
import pytest
from exchanged import (
    NUMBERS,
    OUTPUTS,
    SMALL,
    TABLES,
    TUNED,
    X,
    assert_close,
    dent,
    dent_slope,
    ensemble,
    models_with_dents,
    network,
    new_rows,
    of_tables,
    table,
)
from sklearn.exceptions import NotFittedError

import fastmlp
from fastmlp import MLPClassifier, MLPRegressor, TabularMLPClassifier
from fastmlp.tables.activations import ACTIVATIONS

torch = pytest.importorskip("torch")
nn = torch.nn


def outputs(module, X, precision="float32"):
    with torch.no_grad():
        return module(torch.as_tensor(X).to(getattr(torch, precision))).numpy()


# --- to PyTorch -----------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_with_every_output_and_back(activation, precision):
    for output in OUTPUTS:
        model = network(output, precision, activation)
        module = fastmlp.to_torch(model)
        assert not module.training
        assert_close(outputs(module, X, precision), model, X, precision)
        again = fastmlp.from_torch(module, classes=getattr(model, "classes_", None))
        assert type(again) is type(model)
        assert again.precision_ == precision
        assert again.activation == activation
        assert again.hidden_layer_sizes == model.hidden_layer_sizes
        assert_close(outputs(module, X, precision), again, X, precision)


def test_activations_of_users():
    def of_tensors(z):
        left = torch.clamp(z, max=0)
        return torch.where(z >= 0, torch.log1p(z**2), torch.expm1(left))

    fastmlp.register_activation("dent", dent, dent_slope)
    for precision, model in models_with_dents():
        fastmlp.register_activation("dent", dent, dent_slope, torch=of_tensors)
        module = fastmlp.to_torch(model)
        given = X if isinstance(model, MLPClassifier) else module.encode(X)
        assert_close(outputs(module, given, precision), model, X, precision)
        if isinstance(model, MLPClassifier):
            assert "dent" in repr(module)
            again = fastmlp.from_torch(module, classes=model.classes_)
            assert again.activation == ["dent", "relu"]
        del ACTIVATIONS["dent"]
        fastmlp.register_activation("dent", dent, dent_slope)
        with pytest.raises(ValueError, match="'dent' is your own, which PyTorch does"):
            fastmlp.to_torch(model)
    fastmlp.register_activation("dent", dent, dent_slope, torch=torch.tanh)
    with pytest.raises(ValueError, match="given as torch= of 'dent' is another one"):
        fastmlp.to_torch(model)


def test_layers_of_their_own_or_none():
    model = network("classes").set_params(activation=["gelu", "relu"])
    module = fastmlp.to_torch(model)
    assert [type(part).__name__ for part in module] == [
        "Linear", "GELU", "Linear", "ReLU", "Linear", "Softmax"
    ]  # fmt: skip
    again = fastmlp.from_torch(module, classes=model.classes_)
    assert again.activation == ["gelu", "relu"]
    model = MLPRegressor(hidden_layer_sizes=(), max_iter=5, random_state=0)
    module = fastmlp.to_torch(model.fit(X, X[:, 0]))
    assert_close(outputs(module, X), model, X)
    assert fastmlp.from_torch(module).hidden_layer_sizes == ()


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("output", OUTPUTS)
def test_ensembles(output, precision):
    model = ensemble(output, precision)
    module = fastmlp.to_torch(model)
    assert_close(outputs(module, X, precision), model, X, precision)
    with pytest.raises(TypeError, match="Sequential, got Mean"):
        fastmlp.from_torch(module)


def test_the_module_is_trained_and_the_model_is_not():
    model = network("numbers")
    before = model.coefs_[0].copy()
    module = fastmlp.to_torch(model)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    module(torch.tensor(X, dtype=torch.float32)).square().sum().backward()
    optimizer.step()
    assert len([*module.parameters()]) == 6
    np.testing.assert_array_equal(model.coefs_[0], before)
    assert abs(module[0].weight.detach().numpy().T - before).max() > 1e-3


@pytest.mark.parametrize("numbers", NUMBERS)
@pytest.mark.parametrize("output", TABLES)
def test_tables_with_columns_of_all_kinds(output, numbers):
    model = of_tables(output, **NUMBERS[numbers])
    module = fastmlp.to_torch(model)
    matrix = module.encode(new_rows())
    assert matrix.dtype == torch.float32
    assert_close(outputs(module, matrix), model, new_rows())
    assert_close(outputs(module.double(), matrix, "float64"), model, new_rows())


@pytest.mark.parametrize("output", ["classes", "labels", "a number", "numbers"])
def test_tuned_models_for_tables(output):
    model = of_tables(output, **TUNED)
    module = fastmlp.to_torch(model)
    matrix = module.encode(new_rows())
    assert_close(outputs(module, matrix), model, new_rows())


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_tables_with_every_activation(activation):
    columns = ["number", "large", "levels"]
    model = of_tables("a number", (*columns,), activation=activation, n_members=1)
    module = fastmlp.to_torch(model)
    rows = new_rows()[columns]
    assert_close(outputs(module, module.encode(rows)), model, rows)


def test_networks_as_their_authors_have_them():
    model = TabularMLPClassifier(**{**SMALL, "preset": "realmlp-td-s"})
    columns = ["number", "levels"]
    model.fit(table()[columns], TABLES["classes"][1])
    module, rows = fastmlp.to_torch(model), new_rows()[columns]
    assert_close(outputs(module, module.encode(rows)), model, rows)


def test_networks_for_tables_are_trained_stored_and_loaded():
    module = fastmlp.to_torch(of_tables("numbers"))
    matrix = module.encode(table())
    module(matrix).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other = fastmlp.to_torch(of_tables("numbers", random_state=1))
    assert abs(outputs(other, matrix) - outputs(module, matrix)).max() > 1e-3
    other.load_state_dict(torch.load(file))
    np.testing.assert_array_equal(outputs(other, matrix), outputs(module, matrix))


def test_what_cannot_be_converted():
    with pytest.raises(NotFittedError):
        fastmlp.to_torch(MLPClassifier())
    with pytest.raises(TypeError, match="an estimator of fastmlp, got int"):
        fastmlp.to_torch(3)


# --- from PyTorch ---------------------------------------------------------------------

torch.manual_seed(0)


def trunk(n_outputs, *tail, **options):
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(5, 8, bias=False, **options),
        nn.Dropout(0.5),
        nn.Mish(inplace=True),
        nn.Sequential(nn.Linear(8, 6, **options), nn.Identity()),
        nn.Linear(6, n_outputs, **options),
        *tail,
    ).eval()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_what_has_no_effect_is_passed_over(dtype):
    network = trunk(2, dtype=dtype)
    model = fastmlp.from_torch(network, n_jobs=1)
    assert model.activation == ["mish", "identity"]
    assert model.hidden_layer_sizes == (8, 6)
    precision = "float64" if dtype == torch.float64 else "float32"
    assert model.precision == model.precision_ == precision
    assert model.n_jobs == 1
    if dtype != torch.float16:
        assert_close(outputs(network, X, precision), model, X, precision)
    before = network[1].weight.detach().clone()
    model.coefs_[0][:] = 0
    assert torch.equal(network[1].weight, before)


CLASSIFIERS = {
    "logits": ((), lambda z: z.softmax(dim=1)),
    "softmax": ((nn.Softmax(dim=1),), lambda z: z),
    "log softmax": ((nn.LogSoftmax(dim=-1),), lambda z: z.exp()),
}


@pytest.mark.parametrize("classes", [["b", "c", "a"], ["b", "a"], [3, 1, 2]], ids=str)
@pytest.mark.parametrize("case", CLASSIFIERS)
def test_classes_are_in_the_order_of_the_outputs(case, classes):
    tail, probabilities = CLASSIFIERS[case]
    network = trunk(len(classes), *tail)
    model = fastmlp.from_torch(network, classes=classes)
    p = probabilities(network(torch.tensor(X, dtype=torch.float32))).detach().numpy()
    found = model.predict_proba(X)[:, np.searchsorted(model.classes_, classes)]
    np.testing.assert_allclose(found, p, atol=1e-6)
    np.testing.assert_array_equal(model.predict(X), np.take(classes, p.argmax(axis=1)))


@pytest.mark.parametrize("tail", [(), (nn.Sigmoid(),)], ids=["logit", "sigmoid"])
@pytest.mark.parametrize("classes", [["no", "yes"], ["yes", "no"]], ids=str)
def test_one_output_is_the_second_of_two_classes(tail, classes):
    network = trunk(1, *tail)
    model = fastmlp.from_torch(network, classes=classes)
    p = network(torch.tensor(X, dtype=torch.float32)).detach().numpy()[:, 0]
    p = p if tail else 1 / (1 + np.exp(-p))
    column = model.classes_.tolist().index(classes[1])
    np.testing.assert_allclose(model.predict_proba(X)[:, column], p, atol=1e-6)


@pytest.mark.parametrize("classes", [None, [0, 1, 2]])
def test_training_goes_on(classes):
    """With a new optimizer; the first step starts from the weights of PyTorch."""
    model = fastmlp.from_torch(trunk(3), classes=classes)
    y = np.arange(len(X)) % 3 if classes else X[:, :3]
    before = model.coefs_[0].copy()
    model.partial_fit(X, y)
    assert 0 < abs(model.coefs_[0] - before).max() < 0.1
    model.set_params(warm_start=True, max_iter=2).fit(X, y)
    assert 0 < abs(model.coefs_[0] - before).max() < 0.1
    assert len(model.loss_curve_) >= 2


@pytest.mark.parametrize(
    ("network", "classes", "message"),
    [
        (nn.Linear(2, 2), None, "takes a torch.nn.Sequential, got Linear"),
        (nn.Sequential(), None, "Linear layer has to give the outputs, not nothing"),
        (nn.Sequential(nn.Linear(2, 1), nn.ReLU()), None, r"outputs, not ReLU\(\)"),
        (nn.Sequential(nn.ReLU(), nn.Linear(2, 1)), None, r"right before ReLU\(\)"),
        (
            nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Tanh(), nn.Linear(3, 1)),
            None, r"right before Tanh\(\)",
        ),
        (
            nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1)),
            None, "no estimator has the module BatchNorm1d",
        ),
        (
            nn.Sequential(nn.Linear(2, 3), nn.LeakyReLU(0.2), nn.Linear(3, 1)),
            None, "no estimator has the module LeakyReLU",
        ),
        (
            nn.Sequential(nn.Linear(2, 3), nn.GELU("tanh"), nn.Linear(3, 1)),
            None, "no estimator has the module GELU",
        ),
        (nn.Sequential(nn.Linear(2, 3), nn.Linear(2, 1)), None, "3 numbers go into"),
        (trunk(3, nn.Softmax(dim=1)), None, "give the classes"),
        (trunk(3, nn.Softmax(dim=0)), [0, 1, 2], "not over the outputs of a sample"),
        (trunk(3), [0, 1], "2 classes for 3 outputs"),
        (trunk(1, nn.Sigmoid()), [0, 1, 2], "3 classes for 1 outputs"),
        (trunk(1, nn.Softmax(dim=1)), [0, 1], "2 classes for 1 outputs"),
        (trunk(3), [0, 1, 1], "all different"),
        (trunk(1), ["only"], "two labels or more"),
        (trunk(3, nn.Sigmoid()), ["a", "b", "c"], "as many labels at once"),
    ],
)  # fmt: skip
def test_what_no_estimator_has(network, classes, message):
    with pytest.raises((TypeError, ValueError), match=message):
        fastmlp.from_torch(network, classes=classes)


def test_numbers_have_no_classes():
    module = fastmlp.to_torch(network("scaled numbers"))
    with pytest.raises(ValueError, match="ends with numbers"):
        fastmlp.from_torch(module, classes=[0, 1])
