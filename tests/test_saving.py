"""Saved models: plain values, older and newer formats, and damage of any kind."""

import copy
import pickle
import pickletools
import warnings

import numpy as np
import pytest
import skops.io
from exchanged import TABLES, of_tables, table
from processes import rounds, run
from sklearn.datasets import load_iris, make_multilabel_classification

from fastmlp import MLPClassifier, MLPEstimator, MLPRegressor
from fastmlp.persistence import saving

X, y = load_iris(return_X_y=True)
SETTINGS = {"hidden_layer_sizes": (6, 5), "max_iter": 3, "random_state": 0}


def fitted(estimator=MLPClassifier, target=y, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator(**SETTINGS, **settings).fit(X, target)


def models():
    labels = make_multilabel_classification(150, 4, n_classes=3, random_state=0)[1]
    yield fitted()
    yield fitted(target=np.array(["no", "yes"])[(y > 0) * 1], solver="sgd")
    yield fitted(target=labels)
    yield fitted(MLPRegressor, X[:, :2], solver="lbfgs")
    yield fitted(MLPEstimator, early_stopping=True)


def restored(model, state):
    """An estimator from a state, as unpickling makes it."""
    other = type(model).__new__(type(model))
    other.__setstate__(state)
    return other


def test_a_file_holds_arrays_and_plain_values_and_nothing_else():
    """What a pickle imports is what it can hold."""
    for model in models():
        found = set()
        for opcode, argument, _ in pickletools.genops(pickle.dumps(model, protocol=2)):
            if opcode.name == "GLOBAL":
                found.add(argument)
        numpys = {name for name in found if name.startswith("numpy")}
        assert found - numpys <= {
            "copy_reg __newobj__", "_codecs encode",
            f"fastmlp.estimators {type(model).__name__}",
        }  # fmt: skip
        assert {name.rpartition(" ")[2] for name in numpys} <= {
            "_reconstruct", "ndarray", "dtype", "scalar"
        }  # fmt: skip


@pytest.mark.parametrize("output", TABLES)
def test_models_for_tables_hold_nothing_else_either(output):
    model = of_tables(output)
    state = model.__getstate__()
    assert is_plain(state)
    assert state["_format_version"] == saving.FORMAT_VERSION
    trusted = f"fastmlp.estimators.tabular.{type(model).__name__}"
    for again in (
        pickle.loads(pickle.dumps(model)),
        skops.io.loads(skops.io.dumps(model), trusted=[trusted]),
    ):
        assert vars(again).keys() == vars(model).keys()
        np.testing.assert_array_equal(again.predict(table()), model.predict(table()))
    with pytest.raises(ValueError, match="damaged model"):
        restored(model, {**state, "_columns": None})


def is_plain(value):
    if isinstance(value, dict):
        return all(map(is_plain, [*value.keys(), *value.values()]))
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    return value is None or isinstance(value, str | int | float | np.ndarray)


def test_the_state_says_its_version_and_the_estimator_does_not():
    model = fitted()
    assert model.__getstate__()["_format_version"] == saving.FORMAT_VERSION
    assert "_format_version" not in vars(pickle.loads(pickle.dumps(model)))


def test_what_comes_back_predicts_the_same():
    for model in models():
        again = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_a_model_from_before_versions_loads():
    """It had scikit-learn's LabelBinarizer, and knew fewer parameters."""
    model = fitted()
    state = {**vars(model)}
    del state["n_jobs"], state["precision"]
    again = restored(model, state)
    assert again.get_params() == model.get_params()
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_a_model_of_format_1_loads_and_trains_on():
    model = fitted()
    state = copy.deepcopy(model).__getstate__()
    optimizer = state["_optimizer_state"]
    for name in ("1", "2"):
        optimizer[f"decay_{name}"] = optimizer.pop(f"beta_{name}")
    older = restored(model, {**state, "_format_version": 1})
    older.partial_fit(X, y)
    model.partial_fit(X, y)
    np.testing.assert_array_equal(older.coefs_[0], model.coefs_[0])


@pytest.mark.parametrize("version", [saving.FORMAT_VERSION + 1, -1, "1", None, 1.0])
def test_another_version_is_refused_with_a_word_on_what_to_do(version):
    model = fitted()
    message = (
        "upgrade fastmlp"
        if version == saving.FORMAT_VERSION + 1
        else "not a format version"
    )
    with pytest.raises(ValueError, match=message):
        restored(model, {**model.__getstate__(), "_format_version": version})


DAMAGES = {
    "a layer less": lambda s: s["coefs_"].pop(),
    "a bias more": lambda s: s["intercepts_"].append(np.zeros(3)),
    "a longer bias": lambda s: s["intercepts_"].__setitem__(0, np.zeros(7)),
    "layers that do not meet": lambda s: s["coefs_"].__setitem__(1, np.zeros((9, 5))),
    "weights in three dimensions": lambda s: s["coefs_"].__setitem__(
        0, np.zeros((4, 6, 1))
    ),
    "no units": lambda s: s["coefs_"].__setitem__(0, np.zeros((0, 6))),
    "weights of objects": lambda s: s["coefs_"].__setitem__(0, np.full((4, 6), None)),
    "weights of text": lambda s: s["coefs_"].__setitem__(0, np.full((4, 6), "w")),
    "complex weights": lambda s: s["coefs_"].__setitem__(0, np.zeros((4, 6), complex)),
    "a dict of layers": lambda s: s.update(coefs_=dict(enumerate(s["coefs_"]))),
    "no biases": lambda s: s.pop("intercepts_"),
    "other features": lambda s: s.update(n_features_in_=5),
    "other outputs": lambda s: s.update(n_outputs_=2),
    "an unknown activation": lambda s: s.update(activation="rele"),
    "an unhashable activation": lambda s: s.update(activation=[]),
    "an unknown output": lambda s: s.update(out_activation_="max"),
    "an unknown precision": lambda s: s.update(precision_="float16"),
    "too few classes": lambda s: s["_label_binarizer"].update(classes_=np.arange(2)),
    "a curve that is no list": lambda s: s.update(loss_curve_=3.0),
    "a count that is none": lambda s: s.update(t_="many"),
    "an unknown optimizer": lambda s: s["_optimizer_state"].update(name="adamax"),
    "an infinite rate": lambda s: s["_optimizer_state"].update(learning_rate=np.inf),
    "negative updates": lambda s: s["_optimizer_state"].update(n_updates=-1),
    "moments of other shapes": lambda s: s["_optimizer_state"]["first_moment"][
        0
    ].__setitem__(0, np.zeros((4, 7))),
    "no moments": lambda s: s["_optimizer_state"].pop("second_moment"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_a_value_error(damage):
    model = fitted()
    state = copy.deepcopy(model).__getstate__()
    DAMAGES[damage](state)
    with pytest.raises(ValueError, match="damaged model"):
        restored(model, state)


@pytest.mark.parametrize("state", [None, [], "state", 3])
def test_a_state_that_is_no_dict_is_a_value_error(state):
    with pytest.raises(ValueError, match="is a dict"):
        restored(MLPClassifier(), state)


@pytest.mark.parametrize("n", rounds(500, 1500))
def test_a_fuzzed_state_is_refused_or_good_for_work(tmp_path, n):
    """In a process of its own: what gets past the checks must not crash either."""
    script = """
import copy, random, sys, warnings
import numpy as np
from test_saving import X, models, restored, y

warnings.simplefilter("ignore")
np.seterr(all="ignore")
rng = random.Random(0)
JUNK = [
    None, True, -1, 0, 1, 2**40, 2**70, 0.5, float("nan"), float("inf"), "", "relu",
    "adam", b"x", [], (), {}, set(), [None], [[1.0]], np.zeros(0), np.zeros((0, 0)),
    np.zeros((1, 1)), np.zeros((4, 6)), np.full(6, np.nan), np.zeros(6, object),
    np.float32(1), np.zeros((6, 4)).T, np.broadcast_to(1.0, (2**40, 6)), object,
]

def places(value, path=()):
    # every place in a nested state
    items = []
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))

def damage(state):
    *path, last = rng.choice(list(places(state)))
    inner = state
    for key in path:
        inner = inner[key]
    kind = rng.randrange(4)
    if kind == 0:
        inner.pop(last)
    elif kind == 1 and isinstance(inner[last], np.ndarray):
        array = inner[last]
        cut = tuple(slice(0, rng.randrange(n + 1)) for n in array.shape)
        inner[last] = array[cut]
    elif kind == 2 and getattr(inner[last], "dtype", None) == float and (
        inner[last].size < 10**6
    ):
        inner[last] = inner[last].astype(rng.choice(["f2", ">f8", "i1", "c8", "S4"]))
    else:
        inner[last] = rng.choice(JUNK)

refused = worked = 0
originals = list(models())
for i in range(int(sys.argv[1])):
    model = originals[i % len(originals)]
    state = copy.deepcopy(model.__getstate__())
    for _ in range(rng.choice([1, 1, 2, 3])):
        damage(state)
    try:
        model = restored(model, state)
    except ValueError:
        refused += 1
        continue
    for work in (model.predict, lambda X: model.partial_fit(X, model.predict(X)),
                 lambda X: model.predictor()(X), model.__sklearn_tags__):
        try:
            work(X) if work != model.__sklearn_tags__ else work()
        except Exception:  # of Python's, not a crash
            pass
        else:
            worked += 1
print(refused, worked)
"""
    printed = run(script, tmp_path, arguments=[n])  # a junk `verbose` prints, too
    refused, worked = map(int, printed.splitlines()[-1].split())
    assert refused > n / 3
    assert worked > n / 3
