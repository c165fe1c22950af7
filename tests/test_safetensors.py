"""Files of the format safetensors: whole models, strange files, and damage of any kind.

The package safetensors, where it is installed, says whether the format is right.
"""

import io
import json
import pickle
from functools import cache

import numpy as np
import pytest
from exchanged import (
    OUTPUTS,
    TABLES,
    TUNED,
    X,
    ensemble,
    network,
    of_tables,
    predictions,
    table,
)
from processes import rounds, run

import fastmlp
from fastmlp import MLPClassifier, MLPEstimator, TabularMLPRegressor
from fastmlp.persistence.saving import FORMAT_VERSION
from fastmlp.persistence.tensors import read_tensors, write_tensors


def saved(model):
    file = io.BytesIO()
    fastmlp.save_safetensors(model, file)
    return file.getvalue()


def loaded(content):
    return fastmlp.load_safetensors(io.BytesIO(content))


def content_of(content):
    """(tensors, name of the estimator, its state as JSON has it)."""
    tensors, texts = read_tensors(io.BytesIO(content))
    return tensors, texts["estimator"], json.loads(texts["state"])


def bytes_of(tensors, estimator, state):
    return with_texts(tensors, {"estimator": estimator, "state": json.dumps(state)})


def with_texts(tensors, texts):
    file = io.BytesIO()
    write_tensors(file, tensors, texts)
    return file.getvalue()


# --- whole models ---------------------------------------------------------------------


def assert_same(model, X):
    """What comes back is the same, to the last bit, and so is its file."""
    content = saved(model)
    again = loaded(content)
    assert type(again) is type(model)
    assert again.get_params() == model.get_params()
    assert vars(again).keys() == vars(model).keys()
    np.testing.assert_array_equal(predictions(again, X), predictions(model, X))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert saved(again) == content
    return again


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("output", OUTPUTS)
def test_networks(output, precision):
    model = network(output, precision)
    again = assert_same(model, X)
    y = OUTPUTS[output][2]
    again.partial_fit(X, y)
    model.partial_fit(X, y)
    for ours, theirs in zip(again.coefs_, model.coefs_, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("output", TABLES)
def test_tables(output):
    model = of_tables(output)
    again = assert_same(model, table())
    assert again.summary() == model.summary()
    again.set_params(max_iter=1).fit(table(), TABLES[output][1])
    assert_same(again, table())


@pytest.mark.parametrize("output", OUTPUTS)
def test_ensembles(output):
    model = ensemble(output)
    again = assert_same(model, X)
    assert again.summary() == model.summary()


@pytest.mark.parametrize("output", ["classes", "a number"])
def test_tuned_models_for_tables(output):
    model = of_tables(output, **TUNED)
    again = assert_same(model, table())
    assert again.leaderboard_ == model.leaderboard_


def test_settings_of_all_kinds():
    model = MLPClassifier(
        hidden_layer_sizes=[4, 3], activation=("gelu", "relu"),
        alpha=np.float32(0.5), class_weight={"a": 2, "b": 1.5}, max_iter=np.int64(2),
        n_iter_no_change=np.inf, learning_rate="cosine",
        early_stopping=np.bool_(True), random_state=0,
    )  # fmt: skip
    frame = table()[["number", "single"]]
    model.fit(frame, np.array(["a", "b"] * 60, object))
    again = assert_same(model, frame)
    assert again.activation == ("gelu", "relu")
    assert again.n_iter_no_change == np.inf
    assert again.feature_names_in_.tolist() == ["number", "single"]
    assert again.classes_.tolist() == ["a", "b"]
    assert again.alpha == 0.5
    model.activation = "rele"
    with pytest.raises(ValueError, match="'activation' parameter"):
        saved(model)


def test_models_that_are_not_fitted():
    for model in (MLPEstimator(alpha=0.1), TabularMLPRegressor("best", n_jobs=2)):
        assert repr(loaded(saved(model))) == repr(model)


def test_paths_and_files(tmp_path):
    model, path = network("classes"), tmp_path / "model.safetensors"
    for place in (path, str(path)):
        fastmlp.save_safetensors(model, place)
        assert path.read_bytes() == saved(model)
        again = fastmlp.load_safetensors(place)
        np.testing.assert_array_equal(again.predict(X), model.predict(X))
    with pytest.raises(FileNotFoundError):
        fastmlp.load_safetensors(tmp_path / "other.safetensors")


def test_the_format_is_that_of_the_package(tmp_path):
    package = pytest.importorskip("safetensors.numpy")
    model = network("classes", "float64")
    content = saved(model)
    tensors = package.load(content)
    for i, coef in enumerate(model.coefs_):
        np.testing.assert_array_equal(tensors[f"coefs_.{i}"], coef)
    _, texts = read_tensors(io.BytesIO(content))
    again = loaded(package.save(tensors, texts))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_arrays_of_all_dtypes():
    names = [
        "f2",
        "f4",
        "f8",
        ">f8",
        "i1",
        "i2",
        "i4",
        "i8",
        "u1",
        "u2",
        "u4",
        "u8",
        "?",
    ]
    arrays = {name: (np.arange(6) % 2).reshape(2, 3).astype(name) for name in names}
    arrays |= {"none": np.zeros(0), "scalar": np.array(3), "turned": X[:4, ::2].T}
    file = io.BytesIO()
    write_tensors(file, arrays, {"text": "ü"})
    file.seek(0)
    found, texts = read_tensors(file)
    assert texts == {"text": "ü"}
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype.newbyteorder("=")
        assert found[name].flags.writeable


# --- what is not stored ---------------------------------------------------------------


def a_function(*arguments):
    return 1.0


@pytest.mark.parametrize(
    "parameters",
    [
        {"callbacks": [a_function]},
        {"learning_rate": a_function}, {"scoring": lambda *arguments: 0.0},
        {"random_state": np.random.RandomState(0)},
    ],
    ids=lambda parameters: next(iter(parameters)),
)  # fmt: skip
def test_functions_and_other_objects(parameters):
    (name,) = parameters
    with pytest.raises(ValueError, match=f"{name}.* is a .*only arrays and plain"):
        saved(MLPClassifier(**parameters))


def test_other_classes():
    class Own(MLPClassifier):
        pass

    for model, name in ((Own(), "Own"), (3, "int"), (MLPClassifier, "type")):
        with pytest.raises(TypeError, match=f"got {name}"):
            saved(model)


def test_arrays_that_no_file_can_hold():
    model = network("numbers")
    model.coefs_[0] = model.coefs_[0].astype(np.longdouble)
    with pytest.raises(ValueError, match=r"coefs_\.0 is an array of dtype"):
        saved(model)


def test_no_file_says_where_a_fit_writes(tmp_path):
    model = network("numbers").set_params(checkpoint=tmp_path / "fit.npz")
    assert loaded(saved(model)).checkpoint is None
    tensors, name, state = content_of(saved(model))
    with pytest.raises(ValueError, match="no state has 'checkpoint'"):
        loaded(bytes_of(tensors, name, {**state, "checkpoint": "/etc/passwd"}))


# --- strange files --------------------------------------------------------------------


@cache
def good():
    return saved(network("classes"))


def with_header(change):
    """The file whose header was changed by a function."""
    length = int.from_bytes(good()[:8], "little")
    header = json.loads(good()[8 : 8 + length])
    content = change(header)
    content = json.dumps(header if content is None else content).encode()
    return len(content).to_bytes(8, "little") + content + good()[8 + length :]


def of_tensor(name="coefs_.0", **values):
    return with_header(lambda header: header[name].update(values))


def with_state(**values):
    tensors, name, state = content_of(good())
    return bytes_of(tensors, name, {**state, **values})


STRANGE = {
    "nothing": lambda: b"",
    "a few bytes": lambda: b"\1\2\3",
    "zeros": lambda: bytes(1000),
    "text": lambda: b"Once upon a time " * 100,
    "a pickle": lambda: pickle.dumps(network("classes")),
    "an archive": lambda: b"PK\3\4" + bytes(100),
    "an ONNX file": lambda: b"\x08\x08\x12\x07fastmlp\x1a\x0b" + bytes(100),
    "cut in the header": lambda: good()[:100],
    "cut in the arrays": lambda: good()[:-1],
    "longer": lambda: good() + b"\0",
    "a header longer than the file": lambda: (10**7).to_bytes(8, "little") + good()[8:],
    "a header longer than any": lambda: (2**63).to_bytes(8, "little") + good()[8:],
    "a header that is nested": lambda: (10**5).to_bytes(8, "little") + b"[" * 10**5,
    "a header that is a list": lambda: with_header(lambda header: []),
    "a name twice": lambda: good().replace(b'"coefs_.1"', b'"coefs_.0"'),
    "no metadata": lambda: with_header(
        lambda header: header.__delitem__("__metadata__")
    ),
    "metadata that are no text": lambda: with_header(
        lambda header: header["__metadata__"].update(estimator=3)
    ),
    "another estimator": lambda: with_header(
        lambda header: header["__metadata__"].update(estimator="os.system")
    ),
    "a state that is no JSON": lambda: with_header(
        lambda header: header["__metadata__"].update(state="{")
    ),
    "a state that is a list": lambda: with_header(
        lambda header: header["__metadata__"].update(state="[]")
    ),
    "another dtype": lambda: of_tensor(dtype="F32"),
    "an unknown dtype": lambda: of_tensor(dtype="O"),
    "a shape that is too large": lambda: of_tensor(shape=[2**40, 2**20]),
    "a shape that is too small": lambda: of_tensor(shape=[1, 1]),
    "a shape that is turned": lambda: of_tensor(shape=[9, 5]),
    "a shape that is negative": lambda: of_tensor(shape=[-5, -9]),
    "a shape of fractions": lambda: of_tensor(shape=[4.5, 10]),
    "a shape of nothing, many times": lambda: of_tensor(
        shape=[2**50, 0], data_offsets=[0, 0]
    ),
    "a place outside": lambda: of_tensor(data_offsets=[0, 2**60]),
    "a place before the file": lambda: of_tensor(data_offsets=[-360, 0]),
    "a place of two": lambda: of_tensor(name="coefs_.1", data_offsets=[0, 432]),
    "an array less": lambda: with_state(coefs_=[{"tensor": "coefs_.0"}]),
    "an array more than once": lambda: with_state(coefs_=[{"tensor": "coefs_.0"}] * 3),
    "text of many letters": lambda: with_state(
        classes_={"text": ["a"] * 1000 + ["b" * 10**5]}
    ),
    "an unknown kind of value": lambda: with_state(alpha={"call": ["print"]}),
    "several kinds of value": lambda: with_state(alpha={"tuple": [], "dict": []}),
    "keys that cannot be": lambda: with_state(class_weight={"dict": [[[], 1]]}),
    "an attribute that is a method": lambda: with_state(predict=3),
    "an attribute of all classes": lambda: with_state(__class__="x"),
    "an unknown activation": lambda: with_state(activation="rele"),
    "other features": lambda: with_state(n_features_in_=6),
    "no version": lambda: with_state(_format_version=None),
    "an unknown parameter's value": lambda: with_state(solver="newton"),
}  # fmt: skip


@pytest.mark.parametrize("case", STRANGE)
def test_strange_files_are_a_value_error(case):
    with pytest.raises(ValueError, match=r"damaged mod|format vers|'solver' param"):
        loaded(STRANGE[case]())


def test_a_newer_version_says_what_to_do():
    content = with_state(_format_version=FORMAT_VERSION + 1)
    with pytest.raises(ValueError, match="upgrade fastmlp"):
        loaded(content)
    for again in (loaded(with_state(alpha=0.25)), loaded(with_state(_other_="new"))):
        np.testing.assert_array_equal(again.predict(X), loaded(good()).predict(X))


def test_parameters_of_a_later_version_have_their_defaults():
    tensors, name, state = content_of(good())
    del state["label_smoothing"]
    assert loaded(bytes_of(tensors, name, state)).label_smoothing == 0.0


# --- random damage --------------------------------------------------------------------


def models_to_damage():
    yield network("classes"), X
    yield network("scaled numbers", "float64"), X
    yield of_tables("labels"), table()
    both = {"numeric_embedding": "piecewise", "numeric_scaling": "quantile"}
    yield of_tables("a number", **both), table()
    yield ensemble("classes"), X
    yield of_tables("a number", **TUNED), table()


def damaged_bytes(content, rng):
    """Bytes that are flipped, overwritten, left out, put in, or cut off."""
    data = bytearray(content)
    header = int.from_bytes(content[:8], "little")
    kind = rng.integers(5)
    place = int(rng.integers(header + 8 if rng.random() < 0.8 else len(data)))
    last = place + int(rng.integers(1, 50))
    if kind == 0:
        for _ in range(rng.integers(1, 9)):
            data[place - int(rng.integers(min(place + 1, 40)))] ^= 1 << rng.integers(8)
    elif kind == 1:
        data[place:last] = rng.bytes(last - place)
    elif kind == 2:
        del data[place:last]
    elif kind == 3:
        data[place:place] = data[place:last]
    else:
        del data[place:]
    return bytes(data)


def places_in(value, path=()):
    """Every place in nested lists and dicts."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in pairs:
        yield value, key
        if isinstance(inner, list | dict):
            yield from places_in(inner)


def strange(value, rng):
    """Another value in place of one in JSON."""
    choices = [
        None, True, -1, 0, 3, 2**31, 2**40, 10**30, 0.5, 1e300, "", "relu", "NUMBER",
        [], [value], {}, {"tensor": "coefs_.0"}, {"float": "nan"}, {"dict": []},
        {"tuple": [value]}, {"text": ["a", "b"]}, {"objects": [value, None]},
    ]  # fmt: skip
    if type(value) in (int, float):
        choices += 2 * [value + 1, value - 1, -value, value * 1000]
    if isinstance(value, list) and value:
        choices += 3 * [value[::-1], value[:-1], value * 2, [*value, value[0]]]
    return choices[rng.integers(len(choices))]


def damage_values(values, rng):
    for _ in range(rng.integers(1, 4)):
        places = [*places_in(values)]
        value, key = places[rng.integers(len(places))]
        if rng.random() < 0.2:
            del value[key]
        else:
            value[key] = strange(value[key], rng)


def damaged_header(content, rng):
    """Names, dtypes, shapes and places of arrays that are others."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    texts = header.pop("__metadata__")
    damage_values(header, rng)
    text = json.dumps({"__metadata__": texts, **header}).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def damaged_state(content, rng):
    """Settings and descriptions that are others, with the same arrays."""
    tensors, texts = read_tensors(io.BytesIO(content))
    which = rng.choice(sorted(texts.keys() & {"state", "estimators"}))
    state = json.loads(texts[which])
    damage_values(state, rng)
    return with_texts(tensors, texts | {which: json.dumps(state)})


def damaged_arrays(content, rng):
    """Arrays of other shapes, dtypes and numbers, with the same settings."""
    tensors, texts = read_tensors(io.BytesIO(content))
    names = [*tensors]
    for _ in range(rng.integers(1, 3)):
        one, other = rng.choice(names, 2)
        array, kind = tensors[one], rng.integers(5)
        if kind == 0:
            tensors[one], tensors[other] = tensors[other], array
        elif kind == 1 and array.ndim and len(array) > 1:
            tensors[one] = array[: rng.integers(1, len(array))]
        elif kind == 2:
            tensors[one] = array.reshape([(-1,), (1, -1), (-1, 1)][rng.integers(3)])
        elif kind == 3:
            tensors[one] = array.astype(rng.choice(["f4", "i1", "u8", "?", "f2"]))
        elif array.size and array.dtype.kind == "f":
            tensors[one] = array = array.copy()
            junk = [np.nan, np.inf, -1e38, 1e30, 0]
            array.flat[rng.integers(array.size)] = junk[rng.integers(len(junk))]
    return with_texts(tensors, texts)


DAMAGES = damaged_bytes, damaged_header, damaged_state, damaged_arrays

#: What may be done with a model that was loaded, and has to end.
WORK = {
    "predict": lambda model, X: model.predict(X),
    "predictor": lambda model, X: model.predictor()(X[:3]),
    "summary": lambda model, X: model.summary(),
    "save": lambda model, X: saved(model),
    "train": lambda model, X: model.partial_fit(X, model.predict(X)),
}

DAMAGE = """
import os, sys, warnings
import numpy as np
import test_safetensors as t

warnings.simplefilter("ignore")
np.seterr(all="ignore")
originals = [(t.saved(model), model, X) for model, X in t.models_to_damage()]
for _, model, X in originals:  # all that takes memory once
    for work in t.WORK.values():
        try:
            work(model, X)
        except AttributeError:
            pass
if os.path.exists("/proc/self/statm"):
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[0])
    import resource
    most = pages * resource.getpagesize() + 2**28
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
for damage in t.DAMAGES:
    refused = worked = 0
    for seed in range(int(sys.argv[1])):
        content, _, X = originals[seed % len(originals)]
        rng = np.random.default_rng(seed)
        content = damage(content, rng)
        print(damage.__name__, seed, flush=True)  # where a crash was, if there is one
        try:
            model = t.loaded(content)
        except ValueError as error:
            refused += 1
            assert "MemoryError" not in repr(error), (damage, seed)
            continue
        for name, work in t.WORK.items():
            try:
                work(model, X)
            except MemoryError:
                raise
            except Exception:  # of Python's, not a crash
                pass
            else:
                worked += 1
    print("counts", refused, worked)
"""


@pytest.mark.parametrize("n", rounds(70, 200))
def test_random_damage_is_refused_or_good_for_work(tmp_path, n):
    """Files of each kind, in a process of its own with little memory to spare."""
    lines = run(DAMAGE, tmp_path, arguments=[n]).splitlines()
    counts = [line.split()[1:] for line in lines if line.startswith("counts")]
    assert len(counts) == len(DAMAGES)
    assert min(int(refused) for refused, _ in counts) > n / 3
    assert sum(int(worked) for _, worked in counts) > n / 3
