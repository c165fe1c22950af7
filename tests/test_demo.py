"""The command line: the demonstration, its data, and the information page."""

import builtins
import io
import os
import re
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from sklearn import datasets

import fastmlp
from fastmlp import MLPClassifier
from fastmlp.__main__ import main
from fastmlp.commands import demo, demo_csv
from fastmlp.commands.demo import DataError, load_csv, load_named, run_demo
from fastmlp.commands.demo_fit import Candidate, Split, fastest, fit
from fastmlp.commands.demo_screen import Screen, beside, draw_curve, draw_image
from fastmlp.commands.info import describe

pytestmark = pytest.mark.slow

LEVELS = " ▁▂▃▄▅▆▇█"


class Terminal(io.StringIO):
    """A file that says that somebody is watching."""

    def isatty(self):
        return True


def terminal(**options):
    return Console(
        file=Terminal(), force_terminal=True, width=80, height=24,
        _environ={"TERM": "xterm"}, **options,
    )  # fmt: skip


def pipe(width=80):
    return Console(file=io.StringIO(), width=width)


def text_of(console):
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())


def words_of(console):
    return " ".join(text_of(console).split())


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return str(path)


# --- what is shown -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["digits", "diabetes"])
def test_demo_learns_and_compares_like_with_like(name):
    console = pipe()
    ours, theirs = run_demo(load_named(name), epochs=30, console=console)
    assert ours.n_iter == theirs.n_iter
    assert ours.score == pytest.approx(theirs.score, abs=0.02)
    assert ours.score > (0.9 if name == "digits" else 0.1)
    assert len(ours.model.loss_curve_) == ours.n_iter
    words = words_of(console)
    assert re.search(r"\d\.\d× (faster|slower) per training step than sci", words) or (
        "as fast per training step as scikit-learn" in words
    )
    difference = float(
        re.search(r"predict\w+( \w+)* differ by at most (\S+)", words)[2]
    )
    assert difference < 0.05 * (1 if name == "digits" else np.ptp(load_named(name).y))
    assert f"trained 30 epochs in {ours.seconds:.3f} s" in words
    assert f"{ours.model.loss_curve_[0]:.3g} |█" in words


@pytest.mark.parametrize("name", ["wine", "diabetes"])
def test_the_baseline_is_a_row_of_the_comparison(name):
    console = pipe()
    data = load_named(name)
    run_demo(data, epochs=2, console=console)
    split = Split.of(data, 0)
    if name == "wine":
        most = np.bincount(split.y_train).argmax()
        row = f"baseline: always class_{most} │ {(split.y_test == most).mean():.1%}"
    else:
        residual = ((split.y_test - split.y_train.mean()) ** 2).sum()
        total = ((split.y_test - split.y_test.mean()) ** 2).sum()
        row = f"baseline: always the mean │ {1 - residual / total:.3f}"
    assert row in words_of(console)


def test_digits_that_are_recognised_and_confused_are_drawn():
    console = pipe()
    ours, _ = run_demo(load_named("digits"), epochs=10, console=console)
    text = text_of(console)
    split = Split.of(load_named("digits"), 0)
    guesses = ours.model.predict(split.X_test)
    wrong = {
        (int(true), int(said))
        for true, said in zip(split.y_test, guesses, strict=True)
        if true != said
    }
    n_wrong = round((1 - ours.score) * len(guesses))
    assert f"recognised: {len(guesses) - n_wrong} of {len(guesses)} test" in text
    assert f"confused: {n_wrong} " in text
    shown = re.findall(r"(\d) → (\d) \(>?\d+%\)", text)
    assert len(shown) == 4
    assert {(int(true), int(said)) for true, said in shown} <= wrong
    recognised, confused = demo._sort_images(load_named("digits"), split, ours.model)
    assert all(guesses[i] == split.y_test[i] for i in recognised)
    assert len(set(split.y_test[recognised])) == len(recognised)
    certainty = ours.model.predict_proba(split.X_test).max(axis=1)
    assert (np.diff(certainty[confused]) <= 0).all()
    assert split.X_shown[recognised[0]].reshape(8, 8).max() == 16  # as it was scanned
    for line in draw_image(split.X_shown[recognised[0]].reshape(8, 8) / 16, " ░▒▓█"):
        assert line.strip() in text


def test_confusions_of_other_classes_are_told(tmp_path):
    rng = np.random.default_rng(0)
    rows = [f"{x:.3f},{'no' if x < 0 else 'yes'}" for x in rng.normal(size=200)]
    rows[:100] = [f"0,{'no' if i % 3 else 'yes'}" for i in range(100)]
    path = write(tmp_path / "a.csv", "x,y\n" + "\n".join(rows))
    console = pipe()
    ours, _ = run_demo(load_csv(path, "y"), epochs=20, console=console)
    split = Split.of(load_csv(path, "y"), 0)
    guesses = ours.model.predict(split.X_test)
    n = int(((split.y_test == 1) & (guesses == 0)).sum())
    assert n > 0
    assert f"yes → no ({n})" in words_of(console)


def test_a_regression_tells_its_error_in_the_units_of_the_target():
    console = pipe()
    data = load_named("diabetes")
    run_demo(data, epochs=2, console=console)
    median = float(re.search(r"the mean: (\S+)", words_of(console))[1])
    y_test = Split.of(data, 0).y_test * Split.of(data, 0).unit
    assert median == pytest.approx(np.median(np.abs(y_test)), rel=0.01)


# --- pace and clocks -----------------------------------------------------------------


@pytest.mark.parametrize("forced", [False, True])
def test_nobody_waits_where_nobody_watches(monkeypatch, forced):
    def sleep(seconds):
        raise AssertionError("slept")

    monkeypatch.setattr(demo.time, "sleep", sleep)
    console = Console(file=io.StringIO(), force_terminal=forced or None, width=80)
    run_demo(load_named("wine"), epochs=3, console=console)
    assert "slow motion" not in text_of(console)


@pytest.mark.parametrize("variable", ["dumb", "unknown"])
def test_a_dumb_terminal_gets_lines_only(monkeypatch, variable):
    monkeypatch.setenv("TERM", variable)
    console = Console(file=Terminal(), width=80)
    run_demo(load_named("wine"), epochs=3, console=console)
    assert "slow motion" not in text_of(console)
    assert "\x1b" not in console.file.getvalue()
    assert "\r" not in console.file.getvalue()


def test_no_color_is_honoured(monkeypatch):
    monkeypatch.setattr(demo, "_SLOW_MOTION", 0.1)
    colours = re.compile(r"\x1b\[(\d+;)*(3[0-7]|9[0-7])(;\d+)*m")
    for no_color in (False, True):
        console = terminal(no_color=no_color, color_system="standard")
        run_demo(load_named("digits"), epochs=3, console=console)
        assert bool(colours.search(console.file.getvalue())) is not no_color


def test_on_a_terminal_the_same_fit_is_slowed_down(monkeypatch):
    monkeypatch.setattr(demo, "_SLOW_MOTION", 1.0)
    console = terminal()
    started = time.perf_counter()
    ours, _ = run_demo(load_named("digits"), epochs=10, console=console)
    assert time.perf_counter() - started > 1
    assert ours.seconds < 0.9  # without what was slept
    assert ours.model.callbacks is None
    text = text_of(console)
    # frames: accuracy improves from epoch to epoch, what it says changes
    frames = re.findall(r"epoch (\d+) of 10, loss (\S+), test accuracy (\S+)%", text)
    assert [int(epoch) for epoch, *_ in frames][-1] == 10
    assert len(frames) > 2
    for epoch, loss, _ in frames:
        assert loss == f"{ours.model.loss_curve_[int(epoch) - 1]:.4f}"
    assert float(frames[-1][2]) == pytest.approx(100 * ours.score, abs=0.05)
    assert float(frames[0][2]) < float(frames[-1][2])
    assert re.search(r"it is \d, says \d", text)


def test_a_low_terminal_shows_no_more_than_it_holds(monkeypatch):
    monkeypatch.setattr(demo, "_SLOW_MOTION", 0.1)
    for height, watches, images in (
        (24, True, True),
        (20, True, False),
        (10, False, False),
    ):
        console = terminal()
        console.size = (80, height)
        run_demo(load_named("digits"), epochs=3, console=console)
        assert ("slow motion" in text_of(console)) is watches
        assert (", says " in text_of(console)) is images


def test_a_long_fit_is_drawn_while_it_runs_and_not_again(monkeypatch):
    monkeypatch.setattr(demo, "_TOO_FAST", 0.0)
    console = terminal()
    ours, _ = run_demo(load_named("digits"), epochs=15, console=console)
    text = text_of(console)
    assert "slow motion" not in text
    assert f"epoch 15, loss {ours.model.loss_curve_[-1]:.4g}" in text
    assert "trained 15 epochs" in text


def test_time_that_watching_takes_does_not_count():
    class Slow:
        seconds = 0.0

        def __call__(self, state):
            time.sleep(0.05)
            self.seconds += 0.05

        def close(self):
            pass

    split = Split.of(load_named("wine"), 0)
    candidate = Candidate(MLPClassifier(max_iter=20, random_state=0))
    result = fit("fastmlp", candidate, split, Slow())
    assert result.seconds < 0.7  # and not 1
    n_steps = 20  # all 133 rows are one batch
    assert result.microseconds_per_step == pytest.approx(result.seconds / n_steps * 1e6)


def test_a_stop_in_slow_motion_goes_on_with_the_demo(monkeypatch):
    sleep, naps = time.sleep, []

    def nap(seconds):
        naps.append(seconds)
        if len(naps) == 3:
            raise KeyboardInterrupt
        sleep(0.06)

    monkeypatch.setattr(demo.time, "sleep", nap)
    console = terminal()
    ours, theirs = run_demo(load_named("digits"), epochs=10, console=console)
    assert len(naps) == 3
    assert ours.n_iter == theirs.n_iter == 10
    assert "per training step" in words_of(console)
    half, whole = console.file.getvalue().rpartition(", says ")[::2]
    assert "of 10, loss" in half
    assert whole.count("\x1b[2K") > 15  # lines of the half that was drawn are erased
    chart = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", whole).partition("recognised")[0]
    assert re.search(r"1 +epoch +10\n", chart)


class Sleeper:
    """An estimator of a given slowness."""

    def __init__(self, seconds=0.0, max_iter=1, warns=""):
        self.seconds, self.max_iter, self.warns = seconds, max_iter, warns

    def get_params(self, deep=True):
        return {"seconds": self.seconds, "max_iter": self.max_iter, "warns": self.warns}

    def set_params(self, **parameters):
        vars(self).update(parameters)
        return self

    def fit(self, X, y):
        time.sleep(self.seconds)
        self.n_iter_ = self.max_iter
        if self.warns:
            warnings.warn(self.warns, stacklevel=1)
        return self

    def score(self, X, y):
        return 0.5


def test_the_faster_candidate_is_taken():
    split = Split.of(load_named("wine"), 0)
    slow, fast = Candidate(Sleeper(0.03)), Candidate(Sleeper(0.0), blas_threads=1)
    assert fastest([slow, fast], split) is fast
    assert fastest([fast, slow], split) is fast


def test_warnings_of_a_fit_are_shown_and_interrupts_raised():
    split = Split.of(load_named("wine"), 0)
    result = fit("fastmlp", Candidate(Sleeper(warns="scales differ")), split)
    assert result.notes == ["fastmlp warns: scales differ"]
    stopped = Candidate(Sleeper(warns="Training interrupted by user."))
    with pytest.raises(KeyboardInterrupt):
        fit("fastmlp", stopped, split)
    with pytest.raises(KeyboardInterrupt):
        fastest([stopped], split)


@pytest.mark.parametrize("compiles", [True, False])
def test_the_wait_for_kernels_is_explained(monkeypatch, compiles):
    quiet = []
    monkeypatch.delenv("FASTMLP_QUIET", raising=False)
    sizes = iter([0, 1000] if compiles else [1000, 1000])
    monkeypatch.setattr(demo, "cache_size", lambda: next(sizes))
    monkeypatch.setattr(
        fastmlp, "warmup", lambda _: quiet.append(os.environ.get("FASTMLP_QUIET"))
    )
    console = pipe()
    demo._compile_kernels(Screen(console))
    assert ("compiling the kernels (once per machine" in text_of(console)) is compiles
    assert ("and kept on disk" in text_of(console)) is compiles
    assert ("kernels ready after" in text_of(console)) is not compiles
    assert quiet == ["1" if compiles else None]  # it is not told twice
    assert "FASTMLP_QUIET" not in os.environ


def test_on_a_terminal_seconds_are_counted_while_kernels_compile(monkeypatch):
    quiet = []
    monkeypatch.delenv("FASTMLP_QUIET", raising=False)

    def compile_slowly(_):
        quiet.append(os.environ.get("FASTMLP_QUIET"))
        time.sleep(1.2)

    monkeypatch.setattr(fastmlp, "warmup", compile_slowly)
    console = terminal()
    demo._compile_kernels(Screen(console))
    assert "compiling the kernels (once per machine): 1 s" in text_of(console)
    assert quiet == ["1"]
    assert "FASTMLP_QUIET" not in os.environ


def test_speeds_are_said_either_way():
    def result(microseconds):
        return demo.Result("", 0.0, 0.0, 1, microseconds, None, [])

    assert demo._speed(result(100), result(650)).startswith("6.5× faster per training")
    assert demo._speed(result(300), result(100)).startswith("3.0× slower per training")
    assert demo._speed(result(100), result(101)).startswith("as fast per training step")


# --- characters ----------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp437", "utf-8"])
def test_every_encoding_gets_what_it_can_show(tmp_path, encoding):
    rows = "".join(f"{i * i % 37},{'ab'[i % 2]}→\n" for i in range(40))
    path = write(tmp_path / "a.csv", "größe→[red],art\n" + rows)
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    console = Console(file=file, width=80)
    run_demo(load_named("digits"), epochs=5, console=console)
    assert "?" not in raw.getvalue().decode(encoding)
    run_demo(load_csv(path, "art"), epochs=2, console=console)
    text = raw.getvalue().decode(encoding)
    name = {"ascii": "gr??e->[red]", "utf-8": "größe→[red]"}.get(
        encoding, "größe->[red]"
    )
    assert name in text
    assert ("█" in text) is (encoding in ("utf-8", "cp437"))
    assert bool(set("▁▂▃▅▆▇") & set(text)) is (encoding == "utf-8")
    assert ("##" in text) is (encoding != "utf-8")
    assert ("µs" in text) is (encoding != "ascii")


def test_nothing_is_wider_than_the_page(tmp_path):
    name = "a_very_long_name_" * 8
    rows = "".join(f"{i},{'ab'[i % 2] * 60},{i % 3}\n" for i in range(40))
    path = write(tmp_path / "a.csv", f"{name},text,{name}y\n" + rows)
    for data in (load_named("digits"), load_csv(path, "text")):
        console = pipe(80)
        run_demo(data, epochs=3, console=console)
        lines = text_of(console).splitlines()
        assert max(map(len, lines)) <= 80


def test_control_characters_of_a_file_do_not_reach_the_terminal(tmp_path):
    rows = "".join(f"{i % 7},{'ab'[i % 2]}\x1b[2J\n" for i in range(40))
    path = write(tmp_path / "a.csv", "x\x1b]0;t\x07[bold],y\n" + rows)
    console = pipe()
    run_demo(load_csv(path, "y"), epochs=2, console=console)
    assert "\x1b" not in console.file.getvalue()
    assert "\x07" not in console.file.getvalue()
    assert "x?]0;t?[bold]" in console.file.getvalue()


def bars(lines):
    return [line[10:] for line in lines[:-2]]


def heights(lines, n_columns):
    columns = [line.ljust(n_columns) for line in bars(lines)]
    return [sum(LEVELS.index(row[i]) for row in columns) for i in range(n_columns)]


def test_a_curve_is_as_high_as_its_values():
    values = np.array([8.0, 4.0, 2.0, 1.0])
    lines = draw_curve(values, 4, width=15, height=10, levels=LEVELS)
    assert heights(lines, 4) == [64, 32, 16, 8]  # of 8 rows with 8 levels
    assert lines[0].startswith("       8 |█")
    assert lines[4].startswith("       4 |██")
    assert lines[-1].split() == ["1", "4"]


def test_a_curve_over_decades_is_logarithmic():
    lines = draw_curve([1, 0.1, 0.01], 3, width=14, height=12, levels=LEVELS)
    first, second, third = heights(lines, 3)
    assert first == 80
    assert first - second == pytest.approx(second - third, abs=1)
    assert third >= 1
    assert lines[9].startswith("    0.01 |█")


def test_a_curve_leaves_room_for_what_is_to_come():
    whole = draw_curve([3, 2, 4, 1], 4, width=31, height=6, levels=LEVELS)
    part = draw_curve([3, 2], 4, width=31, height=6, levels=LEVELS, limits=(1, 4))
    assert heights(part, 20) == heights(whole, 20)[:10] + [0] * 10
    many = draw_curve(np.linspace(9, 1, 1000), 1000, width=31, height=6, levels=LEVELS)
    assert heights(many, 20) == sorted(heights(many, 20), reverse=True)


@pytest.mark.parametrize("values", [[2.0], [0.0, 0.0], [np.nan, 1.0], [np.inf], []])
def test_a_curve_of_almost_nothing_can_be_drawn(values):
    lines = draw_curve(values, max(1, len(values)), width=20, height=5, levels=LEVELS)
    assert len(lines) == 5
    assert max(map(len, lines)) <= 20


def test_images_and_blocks():
    lines = draw_image(np.array([[0.0, 0.3], [0.6, 1.0]]), " ░▒▓█")
    assert lines == ["  ░░", "▓▓██"]
    assert beside([lines, ["a"], ["b", "c"]], gap=1) == ["  ░░ a b", "▓▓██   c"]


# --- files ---------------------------------------------------------------------------


def uses(data):
    return {column.name: column.use for column in data.columns}


def imputed(data):
    return {
        column.name: column.n_imputed for column in data.columns if column.n_imputed
    }


def table(tmp_path, columns, n=60, delimiter=",", head=None):
    """A CSV file of columns, each a function of the row's number, and a target y."""
    columns = {**columns, "y": lambda i: "ab"[i % 2]}
    lines = [delimiter.join(columns)]
    lines += [delimiter.join(str(f(i)) for f in columns.values()) for i in range(n)]
    return write(tmp_path / "t.csv", (head or "") + "\n".join(lines) + "\n\n")


def test_csv_of_numbers_categories_and_gaps(tmp_path):
    rng = np.random.default_rng(0)
    rows = ["size,colour,price,kind"]
    for i in range(80):
        colour = rng.choice(["red", "blue", ""])
        size = "" if i % 10 == 0 else f"{rng.normal():.3f}"
        rows.append(f"{size},{colour},{i * 1.5},{'ab'[i % 2]}")
    path = write(tmp_path / "things.csv", "\n".join(rows) + "\n\n")
    data = load_csv(path, "kind")
    assert data.classifies
    assert data.labels == ("a", "b")
    assert data.X.shape == (80, 3)
    assert data.categories == (1,)
    assert imputed(data) == {"size": 8}
    assert "one more category" in uses(data)["colour"]
    console = pipe()
    ours, _ = run_demo(data, epochs=3, console=console)
    assert ours.n_iter == 3
    assert "│ size │ numbers │ 8 │" in words_of(console)
    assert "mean of their column" in words_of(console)
    data = load_csv(path, "price")
    assert not data.classifies
    assert data.categories == (1, 2)
    assert "regression, 80 different numbers" in uses(data)["price"]
    run_demo(data, epochs=3, console=pipe())


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_recognised(tmp_path, delimiter):
    path = table(tmp_path, {"x": lambda i: i % 9, "z": lambda i: i % 4}, 60, delimiter)
    data = load_csv(path, "y")
    assert data.X.shape == (60, 2)
    name = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}[delimiter]
    assert data.notes == (f"separated by {name}s",)


def test_the_delimiter_is_the_one_that_fits_all_rows(tmp_path):
    rows = "".join(f"{i % 7},5;free, text, {i % 3};{'ab'[i % 2]}\n" for i in range(150))
    data = load_csv(write(tmp_path / "a.csv", "x;z;y\n" + rows), "y")
    assert data.notes == ("separated by semicolons",)
    assert data.X.shape == (150, 2)


def test_the_delimiter_can_be_given(tmp_path, capsys):
    text = "x:y\n" + "".join(f"{i % 7}:{'ab'[i % 2]}\n" for i in range(60))
    path = write(tmp_path / "a.csv", text)
    with pytest.raises(DataError, match="--delimiter"):
        load_csv(path, "y")
    assert load_csv(path, "y", delimiter=":").X.shape == (60, 1)
    arguments = ["--target", "y", "--epochs", "2"]
    assert main(["demo", "--csv", path, "--delimiter", ":", *arguments]) == 0
    tabs = write(tmp_path / "b.csv", text.replace(":", "\t"))
    for given in ("tab", "\\t", "\t"):
        assert main(["demo", "--csv", tabs, "--delimiter", given, *arguments]) == 0
    spaces = write(tmp_path / "c.csv", text.replace(":", " "))
    assert main(["demo", "--csv", spaces, "--delimiter", "space", *arguments]) == 0
    capsys.readouterr()


def test_two_possible_delimiters_are_asked_about(tmp_path):
    path = write(tmp_path / "a.csv", "a, b;c\n" + "1,5;2\n" * 30)
    with pytest.raises(DataError, match="by commas or semicolons; say which"):
        load_csv(path, "c")
    with pytest.raises(DataError, match="only one class"):  # it is read
        load_csv(path, "a, b", delimiter=";")


def test_the_first_line_of_excel_is_understood(tmp_path):
    columns = {"x": lambda i: f"{i % 9},5"}
    path = table(tmp_path, columns, 60, ";", head="\ufeffsep=;\n")
    data = load_csv(path, "y")
    assert data.X[:, 0].tolist() == [i % 9 + 0.5 for i in range(60)]
    write(Path(path), "\ufeffx\ty\n" + "1\ta\n2\tb\n" * 20, "utf-16-le")
    assert load_csv(path, "y").X.shape == (40, 1)


def test_decimal_commas(tmp_path):
    columns = {
        "price": lambda i: f"{i},{i % 10}5",
        "thousands": lambda i: f"{i + 1}.234",
        "money": lambda i: f"1.{100 + i},50 €",
        "whole": lambda i: i % 5,
    }
    data = load_csv(table(tmp_path, columns, 60, ";"), "y")
    X = data.X.astype(float)
    i = np.arange(60)
    np.testing.assert_allclose(X[:, 0], i + (i % 10) / 10 + 0.05)
    np.testing.assert_allclose(X[:, 1], 1000 * (i + 1) + 234)
    np.testing.assert_allclose(X[:, 2], 1100.5 + i)
    np.testing.assert_allclose(X[:, 3], i % 5)
    assert uses(data)["price"] == "numbers with decimal commas"
    assert uses(data)["whole"] == "numbers"


def test_decimal_points_stay_points(tmp_path):
    columns = {
        "price": lambda i: f"{i}.{i % 10}5",
        "thousands": lambda i: f'"{i + 1},234"',
        "exponent": lambda i: f"-{i}e-3",
    }
    for delimiter in ",;":
        X = load_csv(table(tmp_path, columns, 60, delimiter), "y").X.astype(float)
        i = np.arange(60)
        np.testing.assert_allclose(X[:, 0], i + (i % 10) / 10 + 0.05)
        np.testing.assert_allclose(X[:, 1], 1000 * (i + 1) + 234)
        np.testing.assert_allclose(X[:, 2], -i / 1000)


def test_mixed_columns_are_numbers_with_gaps(tmp_path):
    markers = ["n/a", "?", "unknown", "-", ""]
    columns = {
        "markers": lambda i: markers[i % 5] if i < 30 else i,
        "odd": lambda i: "broken" if i == 7 else i / 2,
        "few": lambda i: "broken" if i == 7 else i % 9,
        "codes": lambda i: ["1", "2", "K"][i % 3],
        "infinite": lambda i: "inf" if i == 3 else i,
    }
    data = load_csv(table(tmp_path, columns), "y")
    assert imputed(data) == {"markers": 30, "odd": 1, "few": 1, "infinite": 1}
    assert "'n/a' (6)" in uses(data)["markers"]
    assert "taken as missing: 'broken' (1)" in uses(data)["odd"]
    assert "categories (3 different)" in uses(data)["codes"]
    assert data.categories == (3,)
    X = data.X[:, [0, 1, 2, 4]].astype(float)
    assert np.isnan(X[:30, 0]).all()
    np.testing.assert_array_equal(X[30:, 0], np.arange(30, 60))
    assert np.isnan(X).sum() == 33


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("%Y-%m-%d", "year-month-day"),
        ("%Y-%m-%dT%H:%M:%SZ", "year-month-day"),
        ("%Y%m%d", "yearmonthday"),
        ("%d.%m.%Y %H:%M", "day.month.year"),
        ("%m/%d/%Y %I:%M %p", "month/day/year"),
        ("%d/%m/%y", "day/month/year"),
        ("%d %b %Y", "day month year"),
        ("%B %d, %Y", "month day, year"),
    ],
)
def test_dates_become_numbers(tmp_path, written, name):
    start = np.datetime64("2020-01-05T01:30")
    when = [(start + np.timedelta64(i * 509, "h")).item() for i in range(60)]
    columns = {"when": lambda i: "" if i == 3 else f'"{when[i].strftime(written)}"'}
    data = load_csv(table(tmp_path, columns), "y")
    assert f"dates ({name}), as numbers: year, month, day" in uses(data)["when"]
    assert imputed(data) == {"when": 1}
    X = data.X.astype(float)
    expected = np.array([[d.year, d.month, d.day, d.hour] for d in when], float)
    expected[3] = np.nan
    if "%H" not in written and "%I" not in written:
        expected = expected[:, :3]
    np.testing.assert_array_equal(X, expected)


def test_days_and_months_that_cannot_be_told_apart_are_a_guess(tmp_path):
    columns = {"when": lambda i: f"{i % 12 + 1:02}/{i % 9 + 1:02}/2020"}
    data = load_csv(table(tmp_path, columns), "y")
    assert "(month/day/year, a guess), as numbers: month, day" in uses(data)["when"]
    np.testing.assert_array_equal(data.X[:, 0], np.arange(60) % 12 + 1)


def test_what_only_names_rows_or_says_nothing_is_left_out(tmp_path):
    columns = {
        "": lambda i: i,
        "id": lambda i: 1000 - 7 * i,
        "order_id": lambda i: i,
        "PassengerId": lambda i: i + 1,
        "name": lambda i: f"Ann {i}",
        "country": lambda i: "AT",
        "version": lambda i: 3,
        "nothing": lambda i: "",
        "period": lambda i: i,  # different, but no name of an identifier
        "grid": lambda i: 2 * i,
        "zone_id": lambda i: i % 4,
    }
    data = load_csv(table(tmp_path, columns), "y")
    told = uses(data)
    for name in ("(column 1)", "id", "order_id", "PassengerId"):
        assert told[name] == "identifiers (all different): left out"
    assert told["name"] == "identifiers or free text (60 different): left out"
    assert told["country"] == "constant ('AT'): left out"
    assert told["version"] == "constant ('3'): left out"
    assert told["nothing"] == "empty: left out"
    assert told["period"] == told["grid"] == told["zone_id"] == "numbers"
    assert data.X.shape == (60, 3)
    console = pipe()
    run_demo(data, epochs=2, console=console)
    assert "│ order_id │ identifiers (all different): left out │" in words_of(console)


def test_rare_categories_are_pooled(tmp_path):
    columns = {"street": lambda i: f"street {int(i**1.5) % 120}" if i % 2 else "main"}
    data = load_csv(table(tmp_path, columns, 400), "y")
    n = len(set(data.X[:, 0]))
    assert n > 60
    assert f"categories ({n} different)" in uses(data)["street"]
    assert "all but the 49 most frequent are pooled" in uses(data)["street"]
    assert Split.of(data, 0).X_train.shape[1] == 50


def test_columns_alike_share_a_row_of_a_long_table(tmp_path):
    columns = {f"x{i}": lambda j, i=i: (j * i) % 11 for i in range(1, 41)}
    columns["x20"] = lambda j: "" if j == 5 else j % 11
    console = pipe()
    run_demo(load_csv(table(tmp_path, columns), "y"), epochs=2, console=console)
    words = words_of(console)
    assert "│ x1 to x10 (10 columns) │ numbers │ │" in words
    assert "│ x20 │ numbers │ 1 │" in words


def test_a_long_file_is_sampled(tmp_path, monkeypatch):
    monkeypatch.setattr(demo_csv, "_MOST_ROWS", 100)
    columns = {"x": lambda i: i, "z": lambda i: i}
    data = load_csv(table(tmp_path, columns, 1000), "y")
    assert "100 of its 1000 rows, drawn at random" in data.notes
    x = data.X[:, 0].astype(int)
    assert len(set(x)) == 100
    assert x.max() > 900
    assert (data.y == x % 2).all()


# --- targets -------------------------------------------------------------------------


def target(tmp_path, values):
    rows = "".join(f"{i % 7},{value}\n" for i, value in enumerate(values))
    return load_csv(write(tmp_path / "y.csv", "x,y\n" + rows), "y")


def test_few_different_numbers_are_classes_and_many_a_regression(tmp_path):
    data = target(tmp_path, [i % 20 for i in range(100)])
    assert uses(data)["y"] == "target: classification, 20 classes"
    assert data.labels == tuple(str(i) for i in range(20))
    assert (data.y == np.arange(100) % 20).all()
    data = target(tmp_path, [i % 21 for i in range(100)])
    assert uses(data)["y"] == "target: regression, 21 different numbers"
    assert (data.y == np.arange(100) % 21).all()


def test_every_class_is_trained_and_tested_on(tmp_path):
    data = target(tmp_path, ["rare"] * 4 + [f"c{i % 5}" for i in range(100)])
    for seed in range(10):
        split = Split.of(data, seed)
        assert len(split.y_test) == 26
        for y in (split.y_train, split.y_test):
            assert set(y) == set(range(6))


def test_rows_without_a_target_are_left_out(tmp_path):
    data = target(tmp_path, ["NA" if i % 10 == 0 else "ab"[i % 2] for i in range(100)])
    assert len(data.y) == 90
    assert "rows without a 'y' left out: 10" in data.notes
    data = target(tmp_path, ["unknown" if i < 5 else i for i in range(100)])
    assert not data.classifies
    np.testing.assert_array_equal(data.y, np.arange(5, 100))
    assert "taken as missing: 'unknown' (5)" in uses(data)["y"]
    assert "rows without a 'y' left out: 5" in data.notes


def test_classes_of_too_few_rows_are_left_out(tmp_path):
    values = ["rare", "rarer", *["a", "b", "c"] * 20, "rare"]
    data = target(tmp_path, values)
    assert data.labels == ("a", "b", "c")
    assert uses(data)["y"] == "target: classification, 3 classes"
    assert "fewer than 4 rows left out: 'rare' (2), 'rarer' (1)" in data.notes[-1]
    assert [data.labels[i] for i in data.y] == values[2:-1]


# --- errors --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        ("a,b\n1,2\n", "c", "no column 'c'; it has a, b"),
        ("Price,b\n1,2\n", "pirce", "no column 'pirce'; did you mean 'Price'"),
        ("", "a", "is empty"),
        ("\n \n", "a", "is empty"),
        (";;\n", "a", "is empty"),
        ("a,b\n1,2,3\n", "a", "line 2: 3 fields, the header has 2"),
        ("a,b\n\n1\n", "a", "line 3: 1 fields"),
        ("sep=,\na,b\n1\n", "a", "line 3: 1 fields"),
        ('a,b\n1,"x\ny"\n1,2,3\n', "a", "line 4: 3 fields"),
        ("a,b\n" + "1,2\n" * 5, "a", "too few rows: 5; at least 10"),
        (",b\n" + "1,2\n" * 20, "", r"no column ''; it has \(column 1\), b"),
        ("a,b\n" + "1,2\n" * 5 + ",2\n" * 20, "a", "too few rows with a value in 'a'"),
        ("a,b\n" + ",2\n" * 20 + "?,2\n" * 20, "a", "column 'a' of .* has no values"),
        ("a\n" + "1\n" * 50, "a", "no comma, semicolon, tab or pipe"),
        ("a,b\n" + "1,3\n2,3\n" * 25, "a", r"no features .*b: constant \('3'\)"),
        ("a,b\n" + "1,x\n" * 50, "b", "only one class, 'x'"),
        ("a,b\n" + "1,x\n" * 50 + "1,z\n", "b", "fewer than two classes"),
        ("a,a\n1,2\n", "a", "two columns of the same name, 'a'"),
        ("a,b\n" + "".join(f"1,n{i}\n" for i in range(50)), "b", "50 different values"),
        ("a,b\n1,\0\n", "a", "not a text file"),
    ],
)
def test_bad_csv_files_are_explained(tmp_path, text, target, message):
    with pytest.raises(DataError, match=message) as caught:
        load_csv(write(tmp_path / "bad.csv", text), target)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read_are_explained(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: No such file or directory$"):
        load_csv(str(tmp_path / "none.csv"), "a")
    with pytest.raises(DataError, match="cannot read"):
        load_csv(str(tmp_path), "a")
    latin = write(tmp_path / "latin.csv", "a,größe\n" + "1,2\n" * 20, "latin-1")
    with pytest.raises(DataError, match="byte 0xf6 is not UTF-8; save the file as UTF"):
        load_csv(latin, "a")
    late = write(tmp_path / "late.csv", "a,b\n" + "1,2\n" * 9000 + "ä,1\n", "latin-1")
    with pytest.raises(DataError, match=r"byte 0xe4 after line \d+ is not UTF-8"):
        load_csv(late, "a")
    huge = write(tmp_path / "huge.csv", 'a,b\n1,"' + "x" * 200_000)
    with pytest.raises(DataError, match="field limit"):
        load_csv(huge, "a")


def test_errors_of_the_command_line(tmp_path, capsys):
    assert main(["demo", "--csv", str(tmp_path / "none.csv"), "--target", "a"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("fastmlp: cannot read")
    assert error.count("\n") == 1
    for arguments, message in (
        (["demo", "--csv", "x.csv"], "--csv needs --target"),
        (["demo", "--target", "x"], "--target needs --csv"),
        (["demo", "--delimiter", ";"], "--delimiter needs --csv"),
        (
            ["demo", "--csv", "x", "--target", "x", "--delimiter", ";;"],
            "must be one character",
        ),
        (["demo", "--hidden", "ten"], "expected numbers above 0 such as 100,50"),
        (["demo", "--hidden", "5,0"], "expected numbers above 0"),
        (["demo", "--epochs", "0"], "expected a whole number from 1 on"),
        (["demo", "--seed", "-1"], "expected a whole number from 0 on"),
        ([], "required"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code
        assert message in capsys.readouterr().err


def test_california_without_a_network_says_what_to_do(monkeypatch, capsys):
    def offline(**_):
        raise OSError("no route")

    monkeypatch.setattr(datasets, "fetch_california_housing", offline)
    assert main(["demo", "--data", "california"]) == 1
    assert "--data diabetes" in capsys.readouterr().err


def test_an_interrupt_ends_the_command_in_one_line(monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run_demo", interrupt)
    assert main(["demo"]) == 130
    assert capsys.readouterr().err == "fastmlp: interrupted\n"


def test_without_rich_the_command_line_says_what_to_install(monkeypatch, capsys):
    real = builtins.__import__

    def without_rich(name, *args, **kwargs):
        if name == "rich":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_rich)
    assert main(["info"]) == 1
    assert "pip install rich" in capsys.readouterr().err


# --- commands ------------------------------------------------------------------------


def test_demo_command(capsys):
    assert main(["demo", "--data", "wine", "--epochs", "5", "--hidden", "8,4"]) == 0
    output = capsys.readouterr().out
    assert "network 13-8-4-3" in output
    assert "test accuracy" in output


def test_info_command(capsys):
    assert main(["info"]) == 0
    output = capsys.readouterr().out
    for section, lines in describe().items():
        assert section in output
        for name in lines:
            assert name in output
    assert set(describe()) == {"versions", "kernels", "threads"}


def test_info_prints_any_path_in_any_encoding(monkeypatch, tmp_path):
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="cp1252")
    monkeypatch.setattr("sys.stdout", file)
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path / "→[bold]"))
    assert main(["info"]) == 0
    assert "?[bold]" in raw.getvalue().decode("cp1252").replace("\n", "").replace(
        " ", ""
    )
