"""The command line: the demonstration, its data, and the information page."""

import builtins
import io

import numpy as np
import pytest
from rich.console import Console
from sklearn import datasets

from fastmlp.__main__ import main
from fastmlp.demo import DataError, load_csv, load_named, run_demo
from fastmlp.info import describe

pytestmark = pytest.mark.slow


def quiet_console():
    return Console(file=io.StringIO(), width=100)


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", ["digits", "diabetes"])
def test_demo_learns_and_compares_like_with_like(name):
    console = quiet_console()
    ours, theirs = run_demo(load_named(name), epochs=30, console=console)
    assert ours.n_iter == theirs.n_iter
    assert ours.score == pytest.approx(theirs.score, abs=0.02)
    assert ours.score > (0.9 if name == "digits" else 0.1)
    text = console.file.getvalue()
    for word in (
        "epoch",
        "time per step",
        "wall time",
        "scikit-learn",
        "times as fast",
    ):
        assert word in text.replace("\n", " ").replace("[bold]", "")


def test_demo_command(capsys):
    assert main(["demo", "--data", "wine", "--epochs", "5", "--hidden", "8,4"]) == 0
    output = capsys.readouterr().out
    assert "network 13-8-4-3" in output
    assert "test accuracy" in output


def test_info_command(capsys):
    assert main(["info"]) == 0
    output = capsys.readouterr().out
    for word in ("versions", "numba", "features", "tile, float32", "threads", "size"):
        assert word in output
    assert set(describe()) == {
        "versions", "processor", "threads", "cache of compiled kernels"
    }  # fmt: skip


def test_csv_with_numbers_words_and_holes(tmp_path):
    rng = np.random.default_rng(0)
    rows = ["size,colour,price,kind"]
    for i in range(80):
        colour = ["red", "green", ""][i % 3]
        size = "" if i % 10 == 0 else f"{rng.normal():.3f}"
        rows.append(f"{size},{colour},{i * 1.5},{'ab'[i % 2]}")
    path = write(tmp_path / "things.csv", "\n".join(rows) + "\n\n")
    data = load_csv(path, "kind")
    assert data.classifies
    assert data.X.shape == (80, 3)
    assert data.categories == (1,)
    ours, _ = run_demo(data, epochs=3, console=quiet_console())
    assert ours.n_iter == 3
    data = load_csv(path, "price")
    assert not data.classifies
    assert data.categories == (1, 2)
    run_demo(data, epochs=3, console=quiet_console())


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        ("a,b\n1,2\n", "c", "no column 'c', only a, b"),
        ("", "a", "is empty"),
        ("a,b\n1,2,3\n", "a", "row 2: 3 fields, the header has 2"),
        ("a,b\n" + "1,2\n" * 5, "a", "too few rows"),
        ("a\n" + "1\n" * 50, "a", "no features"),
        ("a,b\n" + "1,x\n" * 50, "b", "fewer than two classes"),
        ("a,a\n1,2\n", "a", "two columns of the same name"),
        ("a,b\n\n1\n", "a", "row 3: 1 fields"),
    ],
)
def test_bad_csv_files_are_explained(tmp_path, text, target, message):
    with pytest.raises(DataError, match=message):
        load_csv(write(tmp_path / "bad.csv", text), target)


def test_errors_of_the_command_line(tmp_path, capsys):
    assert main(["demo", "--csv", str(tmp_path / "none.csv"), "--target", "a"]) == 1
    assert "cannot read" in capsys.readouterr().err
    for arguments in (
        ["demo", "--csv", "x.csv"],
        ["demo", "--target", "x"],
        ["demo", "--hidden", "ten"],
        ["demo", "--hidden", "5,0"],
        ["demo", "--epochs", "0"],
        [],
    ):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code


def test_california_without_a_network_says_what_to_do(monkeypatch, capsys):
    def offline(**_):
        raise OSError("no route")

    monkeypatch.setattr(datasets, "fetch_california_housing", offline)
    assert main(["demo", "--data", "california"]) == 1
    assert "--data diabetes" in capsys.readouterr().err


def test_without_rich_the_command_line_says_what_to_install(monkeypatch, capsys):
    real = builtins.__import__

    def without_rich(name, *args, **kwargs):
        if name == "rich":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_rich)
    assert main(["info"]) == 1
    assert "pip install rich" in capsys.readouterr().out
