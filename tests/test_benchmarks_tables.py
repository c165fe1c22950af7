"""``python benchmarks/tables``: what it measures, what it writes, its statistics."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("matplotlib")

FOLDER = Path(__file__).parents[1] / "benchmarks" / "tables"


@pytest.fixture(scope="module")
def tables():
    """(report, sets) of the benchmarks, whose names are not kept."""
    known = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    try:
        import report
        import sets

        yield report, sets
    finally:
        sys.path.remove(str(FOLDER))
        for name in {"models", "report", "sets"} - known:
            sys.modules.pop(name, None)


def test_a_quick_run_of_two_models(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": rng.random(60), "kind": rng.choice(["a", "b"], 60)})
    table.loc[::7, ["x", "kind"]] = None
    table["y"] = rng.random(60)
    (tmp_path / "sets").mkdir()
    table.to_csv(tmp_path / "sets" / "own.csv", index=False)
    ran = subprocess.run(
        [sys.executable, FOLDER, "--here", "--quick", tmp_path / "sets", "--sets",
         "iris", "--models", "sk-mlp", "mlp", "--output", tmp_path / "out"],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    rows = [json.loads(line) for line in ran.stdout.splitlines() if line[:1] == "{"]
    assert [(row["set"], row["model"]) for row in rows] == [
        ("iris", "sk-mlp"), ("iris", "mlp"), ("own", "sk-mlp"), ("own", "mlp"),
    ]  # fmt: skip
    assert all(row["fit"] > 0 and 0 <= row["error"] < 3 for row in rows)
    assert rows[0]["rows"] == 120
    assert "Classes, 1 sets" in ran.stdout
    stored = json.loads((tmp_path / "out" / "tabular.json").read_text())
    assert stored["results"] == rows
    assert "| own |" in (tmp_path / "out" / "tabular.md").read_text()


#: Errors of three models on four sets.
ERRORS = np.array([
    [0.10, 0.20, 0.30],
    [0.10, 0.30, 0.20],
    [0.20, 0.20, 0.30],
    [0.30, 0.20, 0.10],
])  # fmt: skip


def results_of(errors, models=("default", "hgb", "sk-mlp")):
    return [
        {
            "set": f"set {i}", "task": "numbers", "rows": 9, "seed": 0, "model": model,
            "error": error, "fit": 1.0, "predict": 0.1,
        }
        for i, row in enumerate(errors)
        for model, error in zip(models, row, strict=True)
    ]  # fmt: skip


def test_ranks_wins_and_means(tables):
    report, _ = tables
    # (1 + 1 + 1.5 + 3) / 4, (2 + 3 + 1.5 + 2) / 4, (3 + 2 + 3 + 1) / 4
    assert report.average_ranks(ERRORS).tolist() == [1.625, 2.125, 2.25]
    wins = report.win_rates(ERRORS)
    assert wins[0].tolist() == [0.5, 2.5 / 4, 3 / 4]
    np.testing.assert_allclose(wins + wins.T, 1)
    assert report.mean_of([0.0, 0.03]) == pytest.approx(0.01)


def test_the_critical_difference_is_that_of_nemenyi(tables):
    """Demšar's table 5 has 2.343 for 3, 2.569 for 4 and 3.164 for 10 classifiers."""
    report, _ = tables
    for k, q in ((2, 1.960), (3, 2.343), (4, 2.569), (10, 3.164)):
        assert report.critical_difference(k, 1) == pytest.approx(
            q * np.sqrt(k * (k + 1) / 6), abs=0.003
        )
    # his example: 4 classifiers on 14 sets
    assert report.critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)


def test_groups_that_are_not_told_apart(tables):
    report, _ = tables
    ranks = np.array([3.143, 2.000, 2.893, 1.964])  # his example, too
    assert report.groups(ranks, 1.25) == [[3, 1, 2, 0]]
    assert report.groups(ranks, 1.0) == [[3, 1, 2], [2, 0]]
    assert report.groups(ranks, 0.01) == []


def test_a_page_is_rendered_from_results(tables, tmp_path):
    report, _ = tables
    stored = {
        "date": "2026-01-01", "processor": "a CPU", "cores": 2, "system": "Linux",
        "python": "3", "libraries": {"fastmlp": "1"}, "rows": 9,
        "results": results_of(ERRORS),
    }  # fmt: skip
    stored["results"][-1] = {**stored["results"][-1], "failed": "no memory"}
    (tmp_path / "tabular.json").write_text(json.dumps(stored))
    page = tmp_path / "tabular.md"
    page.write_text("a\n<!-- comparison -->\nold\n<!-- end of comparison -->\nb\n")
    for _ in range(2):  # the same when it is there already
        report.render(tmp_path)
        text = page.read_text()
        assert text.startswith("a\n<!-- comparison -->\n")
        assert text.endswith("<!-- end of comparison -->\nb\n")
        assert "old" not in text
        assert text.count("| set 0 | 0.300 | 0.200 | **0.100** |") == 1
        # set 3, where one fit failed, is left out for all
        assert "set 3" not in text.replace("scikit-learn's MLP on set 3", "")
    for name in ("times", "ranks", "wins"):
        assert (tmp_path / "images" / f"tabular-{name}.png").stat().st_size > 5000


def test_where_others_are_better_is_said(tables):
    report, _ = tables
    lines = list(report._losses(results_of(ERRORS), "numbers"))
    known = "set 3 (0.300; scikit-learn's MLP 0.100)"
    assert lines == [f"- TabularMLP, default, on 1 of 4 sets: {known}."]


def test_sets_in_files(tables, tmp_path):
    _, sets = tables
    np.savez(
        tmp_path / "a.npz", X=np.array([[0, 1.5], [1, 2.5], [0, 3.5], [1, 4.5]]),
        y=np.array([0, 1, 0, 2]), cat=[True, False], test=[False, False, False, True],
    )  # fmt: skip
    frame = pd.DataFrame(
        {"t": [True, False, None], "n": [1, 2, 3], "y": ["u", "v", "u"]}
    )
    frame.to_csv(tmp_path / "b.csv", index=False)
    makers = sets.in_folder(tmp_path)
    assert list(makers) == ["a", "b"]
    table = makers["a"]()
    assert table.X.dtypes.astype(str).tolist() == ["category", "float32"]
    (X, y), (X_test, y_test) = sets.split(table, 0, 2)
    assert len(X) == len(y) == 2
    # its class has no row to learn from
    assert len(X_test) == len(y_test) == 0
    table = makers["b"]()
    assert table.classifies
    assert table.X["t"].isna().tolist() == [False, False, True]
    with pytest.raises(SystemExit, match="no column 'z'"):
        sets.in_folder(tmp_path, "z")["b"]()


def test_splits_are_drawn_by_the_seed(tables):
    _, sets = tables
    table = sets.SHIPPED["mixed_classes"]()
    assert table.X.isna().to_numpy().any()
    first, again, other = (sets.split(table, seed, 50) for seed in (0, 0, 1))
    assert first[0][0].equals(again[0][0])
    assert not first[0][0].equals(other[0][0])
    assert len(first[0][1]) == 50
