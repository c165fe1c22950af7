"""Checkpoints whose content is damaged or made up: an error, no crash, no hang."""

import io
import json

import numpy as np
import pytest
import test_checkpoint as t
from processes import rounds, run

from fastmlp.training.fingerprint import fingerprint

#: Fits whose files are damaged: in strips and in tiles, with all kinds of arrays.
SETTINGS = {
    "adam": {},
    "everything": t.EVERYTHING,
    "random": {"random_state": None, "weight_init": "he_normal", "solver": "rmsprop"},
}


def content_of(file):
    """(values, arrays) of a checkpoint."""
    with np.load(file) as stored:
        arrays = dict(stored)
    del arrays["digest"]
    return json.loads(str(arrays.pop("values"))), arrays


def bytes_of(values, arrays, digest=None):
    """A checkpoint of that content; its digest is right unless it is given."""
    file = io.BytesIO()
    digest = fingerprint(values, arrays) if digest is None else digest
    np.savez(file, **arrays, values=json.dumps(values), digest=digest)
    return file.getvalue()


def an_array(name, change):
    def forge(values, arrays):
        arrays[name] = change(arrays[name])

    return forge


def a_value(name, value):
    return lambda values, arrays: values.update({name: value})


def with_first(number):
    def change(array):
        array = array.copy()
        array.flat[0] = number
        return array

    return change


#: What a file may claim, with the right identity and digest.
FORGERIES = {
    "order above": an_array("order", with_first(10**12)),
    "order below": an_array("order", with_first(-1)),
    "order of zeros": an_array("order", np.zeros_like),
    "order of others": an_array("order", lambda order: np.arange(len(order))),
    "short order": an_array("order", lambda order: order[:-1]),
    "order of int32": an_array("order", lambda order: order.astype(np.int32)),
    "order of floats": an_array("order", lambda order: order.astype(float)),
    "order in rows": an_array("order", lambda order: order[None]),
    "no epoch": an_array("curves", lambda curves: curves[:, :0]),
    "many epochs": an_array("curves", lambda curves: np.tile(curves, 9)),
    "a curve less": an_array("curves", lambda curves: curves[:-1]),
    "one number": an_array("curves", lambda curves: curves[0, 0]),
    "short numbers": an_array("curves", lambda curves: curves.astype(np.float32)),
    "endless nothing": an_array("curves", lambda curves: np.empty((10**15, 0))),
    "NaN": an_array("parameters", with_first(np.nan)),
    "infinite average": an_array("average", with_first(np.inf)),
    "infinite best": an_array("best", with_first(np.inf)),
    "long weights": an_array("parameters", lambda array: np.append(array, array)),
    "wide weights": an_array("parameters", lambda array: array.astype(float)),
    "whole weights": an_array("parameters", lambda array: array.astype(np.int32)),
    "text": an_array("parameters", lambda array: array.astype(str)),
    "short moment": an_array("second_moment", lambda array: array[1:]),
    "no moment": lambda values, arrays: arrays.pop("first_moment"),
    "no best": lambda values, arrays: arrays.pop("best"),
    "one more array": lambda values, arrays: arrays.update(more=np.zeros(1)),
    "no rate": lambda values, arrays: values.pop("rate"),
    "one more value": a_value("more", 1),
    "rate below": a_value("rate", -1.0),
    "rate of NaN": a_value("rate", float("nan")),
    "infinite rate": a_value("rate", float("inf")),
    "rate in words": a_value("rate", "low"),
    "best of NaN": a_value("best", float("nan")),
    "no best value": a_value("best", None),
    "count below": a_value("count", -1),
    "count above": a_value("count", 10**6),
    "half a count": a_value("count", 1.5),
    "finished by one": a_value("finished", 1),
    "precision": a_value("precision", "float80"),
    "no precision": lambda values, arrays: values.pop("precision"),
    "precisions": a_value("precision", []),
} | {
    f"{kind}: {name}": forge
    for kind, words, rest in (
        ("random", "random words", "random state"),
        ("first", "first words", "first random state"),
    )
    for name, forge in {
        "position above": a_value(rest, [10**6, 0, 0.0]),
        "position below": a_value(rest, [-1, 0, 0.0]),
        "half a position": a_value(rest, [1.5, 0, 0.0]),
        "has several": a_value(rest, [1, 7, 0.0]),
        "infinite": a_value(rest, [1, 1, float("inf")]),
        "short": a_value(rest, [1, 1]),
        "nothing": a_value(rest, None),
        "zeros": an_array(words, np.zeros_like),
        "words": an_array(words, lambda array: array[1:]),
        "wide": an_array(words, lambda array: array.astype(np.int64)),
        "missing": lambda values, arrays, words=words: arrays.pop(words),
    }.items()
}  # fmt: skip

#: Dtypes and shapes of arrays that are claimed by their header alone.
CLAIMS = [
    ("<f8", (2**50,)),
    ("<f8", (2**33,)),
    ("<f8", (10**15, 0)),
    ("|V0", (10**15,)),
]

FORGE = """
import pathlib
import sys
import zipfile

import numpy as np
import test_checkpoint as t
from test_damaged_checkpoints import CLAIMS, FORGERIES, bytes_of, content_of

path = pathlib.Path(sys.argv[1])
whole = t.model_of(**t.EVERYTHING).fit(t.X, t.y)
path.write_bytes(bytes_of(*content_of(path)))
good = path.read_bytes()
for name, forge in [*FORGERIES.items(), *enumerate(CLAIMS)]:
    print(name, flush=True)
    if callable(forge):
        values, arrays = content_of(path)
        forge(values, arrays)
        path.write_bytes(bytes_of(values, arrays))
    else:
        header = dict(descr=forge[0], fortran_order=False, shape=forge[1])
        with zipfile.ZipFile(path, "a") as file, file.open("more.npy", "w") as entry:
            np.lib.format.write_array_header_1_0(entry, header)
    try:
        t.model_of(path, **t.EVERYTHING).fit(t.X, t.y)
    except ValueError as error:
        assert "or is damaged" in str(error), error
    else:
        raise AssertionError("accepted")
    path.write_bytes(good)
t.assert_same(t.model_of(path, **t.EVERYTHING).fit(t.X, t.y), whole)
"""


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Of a checkpoint, which is written after every epoch."""
    monkeypatch.setattr("fastmlp.training.checkpoint._LEAST_PAUSE", 0.0)
    return tmp_path / "fit.npz"


def test_what_no_fit_can_have_written_is_refused(path):
    t.stop(path, t.X, t.y, **t.EVERYTHING)
    run(FORGE, path.parent, arguments=[path])


@pytest.mark.parametrize("text", ["[]", "3", "{", "[" * 10**5, '{"format": {}}', "NaN"])
def test_text_that_is_none_of_ours_is_refused(path, text):
    t.stop(path, t.X, t.y)
    _, arrays = content_of(path)
    np.savez(path, **arrays, values=text, digest="")
    with pytest.raises(ValueError, match="or is damaged"):
        t.model_of(path).fit(t.X, t.y)


# --- random damage -------------------------------------------------------------------


def damaged_bytes(content, rng):
    """Bytes that are flipped, cut off, overwritten, left out or put in."""
    data = bytearray(content)
    start = int(rng.integers(len(data)))
    stop = start + int(rng.integers(1, 100))
    kind = rng.choice(["flip", "cut", "overwrite", "leave out", "put in", "ends"])
    if kind == "flip":
        for place in rng.integers(len(data), size=rng.integers(1, 9)):
            data[place] ^= 1 << int(rng.integers(8))
    elif kind == "cut":
        del data[start:]
    elif kind == "overwrite":
        data[start:stop] = rng.bytes(stop - start)
    elif kind == "leave out":
        del data[start:stop]
    elif kind == "put in":
        data[start:start] = rng.bytes(stop - start)
    else:  # headers, and the directory of the archive
        place = rng.choice([rng.integers(200), len(data) - 1 - rng.integers(1500)])
        data[place] ^= 1 << int(rng.integers(8))
    return bytes(data)


def strange_value(value, rng):
    choices = [
        None, True, -1, 10**30, 1.5, float("nan"), float("inf"), "x", [], {}, [value],
    ]  # fmt: skip
    if isinstance(value, int | float):
        choices += [value + 1, -value, value * 2, value / 2]
    if isinstance(value, list) and value:
        place = int(rng.integers(len(value)))
        choices += [value[::-1], value[:-1]] + 3 * [
            [*value[:place], strange_value(value[place], rng), *value[place + 1 :]]
        ]
    return choices[rng.integers(len(choices))]


def strange_array(array, rng):
    if array.size == 0:  # damaged before
        return np.zeros(3)
    kind = rng.integers(7)
    if kind == 0:
        types = ["<f4", "<f8", "<i4", "<i8", "u1", ">f8", "c16", "U3", "?", "f2"]
        return array.astype(rng.choice(types))
    if kind == 1:
        types = [*filter(lambda n: array.nbytes % n == 0, (1, 2, 4, 8))]
        return np.frombuffer(array.tobytes(), f"u{rng.choice(types)}")
    if kind == 2:
        return array.reshape([(-1,), (1, -1), (-1, 1), (1, 1, -1)][rng.integers(4)])
    if kind == 3:
        return array[: rng.integers(len(array) + 1)]
    if kind == 4:
        return rng.permutation(array)
    array = array.copy()
    place = rng.integers(array.size)
    if kind == 5:
        array.flat[place] = array.flat[rng.integers(array.size)]
    else:
        array.view(np.uint8).flat[rng.integers(array.nbytes)] ^= 1 << rng.integers(8)
    return array


def damaged_content(content, rng):
    """(a file in which values or arrays are others, whether its digest is right)."""
    file = io.BytesIO(content)
    values, arrays = content_of(file)
    digest = fingerprint(values, arrays)
    names = [*arrays]
    for _ in range(rng.integers(1, 3)):
        kind = rng.integers(4)
        name, other = rng.choice(names, 2)
        if kind == 0:
            arrays[name], arrays[other] = arrays[other], arrays[name]
        elif kind == 1:
            arrays[name] = strange_array(arrays[name], rng)
        elif kind == 2:
            key = rng.choice([*values])
            values[key] = strange_value(values[key], rng)
        else:
            mapping = values if rng.random() < 0.3 else arrays
            mapping.pop(rng.choice([*mapping]))
            names = [*arrays]
    is_forged = rng.random() < 0.5
    return bytes_of(values, arrays, None if is_forged else digest), is_forged


def try_damages(path, name, seeds):
    """Resume from files that are damaged at random; (how many are refused, are not).

    If a digest was made to match, whatever passes the checks is as good as any other
    state of a fit: then it is enough that the fit ends with a model.
    """
    settings = SETTINGS[name]
    content = path.read_bytes()
    whole = t.model_of(path, **settings).fit(t.X, t.y)
    counts = [0, 0]
    for seed in seeds:
        rng = np.random.default_rng(seed)
        damaged, is_forged = damaged_bytes(content, rng), False
        if seed % 2:
            damaged, is_forged = damaged_content(content, rng)
        path.write_bytes(damaged)
        print(name, seed, flush=True)  # the last line tells where a crash was
        model = t.model_of(path, **settings)
        try:
            model.fit(t.X, t.y)
        except ValueError:
            counts[0] += 1
        else:
            counts[1] += 1
            if is_forged:
                assert np.isfinite(model.predict_proba(t.X)).all()
            else:
                t.assert_same(model, whole)
            assert not path.exists()
    return counts


DAMAGE = """
import pathlib
import sys
import warnings

import fastmlp.training.checkpoint
from test_damaged_checkpoints import try_damages

warnings.simplefilter("ignore")
fastmlp.training.checkpoint._LEAST_PAUSE = 0.0
_, path, name, first, last = sys.argv
print(*try_damages(pathlib.Path(path), name, range(int(first), int(last))))
"""


@pytest.mark.parametrize("n", rounds(70, 200))
@pytest.mark.parametrize("name", SETTINGS)
def test_random_damage_is_refused_or_without_effect(path, name, n):
    t.stop(path, t.X, t.y, **SETTINGS[name])
    arguments = [path, name, 0, n]
    printed = run(DAMAGE, path.parent, arguments=arguments)
    refused, accepted = map(int, printed.split()[-2:])
    assert refused + accepted == n
    assert refused > n / 2
