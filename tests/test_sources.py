"""Fits to rows of files, functions and dask: right, and the same bits."""

import _thread
import threading
import time
import tracemalloc
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from data import problem
from pyarrow import parquet
from scipy import sparse

from fastmlp import (
    MLPClassifier,
    MLPEnsembleClassifier,
    MLPEstimator,
    MLPRegressor,
    TabularMLPClassifier,
    TabularMLPRegressor,
    sources,
)
from fastmlp.data.moments import Moments, joined
from fastmlp.data.scaling import Scaling
from fastmlp.model_selection import GridSearchCV
from fastmlp.sources.ahead import Ahead
from fastmlp.sources.summary import held_out_rows

N, D = 1203, 9
_, X, y = problem("multiclass", N, np.float32)
NAMES = [f"f{j}" for j in range(D)]
W = np.linspace(0.5, 2, N)
TARGET = X[:, 0] * X[:, 1] + X[:, 2]
SETTINGS = {
    "hidden_layer_sizes": (12, 6), "max_iter": 3, "batch_size": 32, "random_state": 3,
}  # fmt: skip


def write(path, frame, rows=100):
    parquet.write_table(pa.table(frame), path, row_group_size=rows)
    return path


def columns_of(X, **others):
    return {
        name: np.ascontiguousarray(X[:, j]) for j, name in enumerate(NAMES)
    } | others


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three files: features, labels as numbers and as text, a number, weights."""
    folder = tmp_path_factory.mktemp("rows")
    text = np.array([f"class {k}" for k in y])
    for i, start in enumerate(range(0, N, 500)):
        rows = slice(start, start + 500)
        frame = columns_of(
            X[rows], y=y[rows], text=text[rows], number=TARGET[rows], w=W[rows]
        )
        write(folder / f"part-{i}.parquet", frame)
    return folder


def from_folder(folder, target="y", **how):
    return sources.from_parquet(folder, target=target, columns=NAMES, **how)


def batches_of(X, y, *weights, rows=70):
    """A function for `from_batches`."""

    def batches():
        for start in range(0, X.shape[0], rows):
            part = slice(start, start + rows)
            yield (X[part], y[part], *(w[part] for w in weights))

    return batches


def from_batches(X, y, *weights, rows=70, **how):
    return sources.from_batches(batches_of(X, y, *weights, rows=rows), **how)


def assert_same(model, other):
    assert model.loss_curve_ == other.loss_curve_
    assert model.t_ == other.t_
    for a, b in zip(
        model.coefs_ + model.intercepts_, other.coefs_ + other.intercepts_, strict=True
    ):
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()


def readers(expected=None):
    """Threads that are there now, also those that no `threading.Thread` is for."""
    for _ in range(100):  # one that has ended is counted for a moment
        if expected is None or _thread._count() == expected:
            break
        time.sleep(0.05)
    return _thread._count()


# --- all rows in the buffer -------------------------------------------------------


def test_a_buffer_that_holds_all_rows_gives_the_bits_of_a_fit_from_memory(folder):
    how = {"early_stopping": True, "class_weight": "balanced", **SETTINGS}
    frame = pd.DataFrame(X, columns=NAMES)
    expected = MLPClassifier(**how).fit(frame, y, W)
    source = from_folder(folder, sample_weight="w")
    model = MLPClassifier(**how).fit(source)
    assert_same(model, expected)
    assert model.validation_scores_ == expected.validation_scores_
    assert model.feature_names_in_.tolist() == NAMES
    assert repr(source).endswith("and 2 more): 1203 rows>")
    # read in one block, and not kept: the same bits as well
    more = {"dropout": 0.2, "learning_rate": "cosine", **SETTINGS}
    expected = MLPClassifier(**more).fit(X, y, W)
    assert_same(MLPClassifier(**more).fit(from_batches(X, y, W)), expected)
    one = {**SETTINGS, "batch_size": N}
    model = MLPClassifier(**one).fit(from_batches(X, y))
    assert_same(model, MLPClassifier(**one).fit(X, y))


def test_sparse_batches(folder):
    S = sparse.csr_array(X * (abs(X) > 1))
    expected = MLPClassifier(**SETTINGS).fit(S, y)
    assert_same(MLPClassifier(**SETTINGS).fit(from_batches(S, y)), expected)
    model = MLPClassifier(**SETTINGS).fit(from_batches(S, y, shuffle_buffer=320))
    dense = from_batches(S.toarray(), y, shuffle_buffer=320)
    other = MLPClassifier(**SETTINGS).fit(dense)
    # sparse steps are tiles, dense ones of this size strips: sums in another order
    np.testing.assert_allclose(model.loss_curve_, other.loss_curve_, rtol=1e-5)
    scaled = MLPClassifier(standardize=True, **SETTINGS)
    with pytest.raises(ValueError, match=r"batch 0 of .*cannot scale sparse rows"):
        scaled.fit(from_batches(S, y))


# --- blocks -----------------------------------------------------------------------


def test_without_a_shuffle_the_blocks_are_the_fit_from_memory():
    """A float64 regression: only the sums of the losses are rounded differently."""
    for more in (
        {"batch_size": 50, "learning_rate": "one_cycle"},
        {"solver": "sgd", "alpha": 0.1, "ema_decay": 0.9},
        {"dropout": 0.3, "clip_norm": 1.0, "weight_decay": 0.1},
    ):
        how = {**SETTINGS, "shuffle": False, "precision": "float64", **more}
        expected = MLPRegressor(**how).fit(X, TARGET)
        source = from_batches(X, TARGET, rows=77, shuffle_buffer=7 * 32)
        model = MLPRegressor(**how).fit(source)
        for a, b in zip(model.coefs_, expected.coefs_, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(model.loss_curve_, expected.loss_curve_, rtol=1e-6)
        assert model.t_ == 3 * N


def test_each_epoch_sees_each_row_once_in_another_order(folder):
    """The first weight of a linear unit without a penalty tells which rows it saw."""
    from fastmlp.training.stream import Blocks

    seen = []
    take = Blocks.next_job

    def note(self, deadline):
        job = take(self, deadline)
        seen.append(job._kept["X"][:, 0].copy())
        return job

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Blocks, "next_job", note)
        MLPClassifier(**SETTINGS).fit(from_folder(folder, shuffle_buffer=300))
    sizes = [len(block) for block in seen]
    assert sizes == [288, 288, 288, 288, 51] * 3
    epochs = [np.concatenate(seen[k : k + 5]) for k in (0, 5, 10)]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.sort(X[:, 0]))
    assert not np.array_equal(epochs[0], epochs[1])


def test_a_warning_of_rows_that_are_sorted():
    """Parts of one class each, of which the buffer has few."""
    order = np.argsort(y, kind="stable")
    for target in (y, TARGET):
        order = np.argsort(target, kind="stable")
        cls = MLPClassifier if target is y else MLPRegressor
        data = X[order], target[order]
        for source in (
            sources.from_npy(*data, shuffle_buffer=200, chunk_rows=100),
            from_batches(*data, shuffle_buffer=200),
        ):
            with pytest.warns(UserWarning, match="are sorted, or nearly so"):
                cls(**SETTINGS).fit(source)
        cls(**SETTINGS).fit(sources.from_npy(*data, shuffle_buffer=200, chunk_rows=5))
        cls(**{**SETTINGS, "shuffle": False}).fit(source)
        cls(**SETTINGS).fit(from_batches(*data))


def test_the_same_bits_for_any_number_of_threads_and_any_pace(folder):
    wide = {**SETTINGS, "hidden_layer_sizes": (200,), "batch_size": 300}
    models = [
        MLPClassifier(n_jobs=n_jobs, **wide).fit(
            from_folder(folder, shuffle_buffer=600)
        )
        for n_jobs in (1, 2)
    ]
    assert_same(*models)
    before = Ahead.buffer

    def slowly(self):
        threading.Event().wait(0.01)
        return before(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ahead, "buffer", slowly)
        late = MLPClassifier(**wide).fit(from_folder(folder, shuffle_buffer=600))
    assert_same(late, models[0])
    other = {**wide, "random_state": 4}
    other = MLPClassifier(**other).fit(from_folder(folder, shuffle_buffer=600))
    assert other.loss_curve_ != late.loss_curve_


def test_all_sources_of_the_same_rows_learn_the_same(folder, tmp_path):
    """In chunks of the same rows, in the same random order."""
    dask = pytest.importorskip("dask.dataframe")
    array = pytest.importorskip("dask.array")
    for name, values in {"X": X, "y": y, "w": W}.items():
        np.save(tmp_path / f"{name}.npy", values)
    one = write(tmp_path / "one.parquet", columns_of(X, y=y, w=W))
    frame = dask.concat([
        dask.from_pandas(pd.DataFrame(columns_of(X[i : i + 100], y=y[i : i + 100],
                                                 w=W[i : i + 100])), npartitions=1)
        for i in range(0, N, 100)
    ])  # fmt: skip
    blocks = [array.from_array(a, chunks=100) for a in (y, W)]
    how = {"shuffle_buffer": 300}
    files = [str(tmp_path / f"{name}.npy") for name in "Xyw"]
    found = [
        sources.from_parquet(one, target="y", sample_weight="w", **how),
        sources.from_npy(*files, chunk_rows=100, **how),
        sources.from_dask(frame, "y", sample_weight="w", **how),
        sources.from_dask(
            array.from_array(X, chunks=(100, 4)), blocks[0], sample_weight=blocks[1],
            **how,
        ),
    ]  # fmt: skip
    models = [MLPClassifier(**SETTINGS).fit(source) for source in found]
    for model in models[1:]:
        assert_same(model, models[0])
    zarr = pytest.importorskip("zarr")
    own = zarr.array(X, chunks=(100, D))
    source = sources.from_npy(own, y, W, **how)
    assert_same(MLPClassifier(**SETTINGS).fit(source), models[0])


def test_standardize_classes_text_weights_and_tasks(folder):
    frame = pd.DataFrame(X, columns=NAMES)
    how = {"shuffle_buffer": 300, "sample_weight": "w"}
    expected = MLPRegressor(standardize=True, **SETTINGS).fit(frame, TARGET, W)
    model = MLPRegressor(standardize=True, **SETTINGS)
    model.fit(from_folder(folder, "number", **how))
    for name in ("X_mean_", "X_scale_", "y_mean_", "y_scale_"):
        np.testing.assert_allclose(
            getattr(model, name), getattr(expected, name), rtol=1e-6, atol=1e-9
        )
    assert model.score(frame, TARGET) > 0.3
    weights = {f"class {k}": 1.0 + k for k in range(5)}
    for class_weight in ("balanced", weights):
        one = MLPClassifier(class_weight=class_weight, **SETTINGS)
        one.fit(from_folder(folder, "text", **how))
        assert one.classes_.tolist() == [*weights]
        text = np.array([f"class {k}" for k in y])
        same = {**SETTINGS, "class_weight": class_weight}
        other = MLPClassifier(**same).fit(frame, text, W)
        np.testing.assert_allclose(one.loss_curve_, other.loss_curve_, rtol=0.02)
    several = sources.from_parquet(
        folder, target=["number", "f0"], columns=NAMES[1:], shuffle_buffer=300
    )
    model = MLPEstimator(**SETTINGS).fit(several)
    assert (model.task_, model.n_outputs_) == ("regression", 2)
    labels = np.column_stack([y > 1, y > 2, y % 2])
    model = MLPClassifier(**SETTINGS).fit(from_batches(X, labels, shuffle_buffer=300))
    expected = MLPClassifier(**SETTINGS).fit(X, labels)
    np.testing.assert_allclose(model.loss_curve_, expected.loss_curve_, rtol=0.02)
    # warm starts go on, and keep to their classes
    model = MLPClassifier(warm_start=True, **SETTINGS)
    source = from_folder(folder, "text", **how)
    assert model.fit(source).fit(source).t_ == 2 * 3 * N
    with pytest.raises(ValueError, match="same classes"):
        model.fit(from_folder(folder, "y", **how))


def test_moments_of_chunks_are_those_of_the_whole():
    rng = np.random.default_rng(0)
    data = rng.standard_normal((501, 4)) * [1, 1e-3, 1e4, 0] + [0, 1e3, 1, 7]
    weights = rng.uniform(0, 2, 501)
    weights[100:200] = 0
    for w in (None, weights):
        moments = None
        for start in range(0, 501, 100):
            rows = slice(start, start + 100)
            own = Moments.of(data[rows], None if w is None else w[rows])
            moments = joined(moments, own)
        expected, found = Scaling.of(data, w), moments.scaling()
        np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-12)
        np.testing.assert_allclose(found.scale, expected.scale, rtol=1e-10)


# --- validation, predictions ------------------------------------------------------


def test_a_source_to_validate_on(folder):
    """In memory or read each time: the same scores."""
    train = partial(from_folder, folder, shuffle_buffer=300, sample_weight="w")
    curves = []
    for own in (from_folder(folder), from_folder(folder, shuffle_buffer=200)):
        model = MLPClassifier(early_stopping=True, **SETTINGS).fit(train(), X_val=own)
        curves.append([model.validation_scores_, model.validation_loss_curve_])
    frame = pd.DataFrame(X, columns=NAMES)
    model = MLPClassifier(early_stopping=True, **SETTINGS)
    model.fit(train(), X_val=frame, y_val=y)
    curves.append([model.validation_scores_, model.validation_loss_curve_])
    assert curves[0] == curves[1] == curves[2]
    model.fit(frame, y, X_val=own)
    assert len(model.validation_scores_) == 3
    with pytest.raises(ValueError, match="leave out y_val"):
        model.fit(train(), X_val=own, y_val=y)
    with pytest.raises(ValueError, match="scoring needs all validation samples"):
        MLPClassifier(scoring="f1_macro", **SETTINGS).fit(train(), X_val=own)


def test_early_stopping_holds_rows_out(folder):
    model = MLPClassifier(early_stopping=True, **SETTINGS)
    model.fit(from_folder(folder, shuffle_buffer=300))
    held_out = held_out_rows(0, N, 0.1, 3)
    assert 90 < held_out.sum() < 150
    assert model.t_ == 3 * (N - held_out.sum())
    best = int(np.argmax(model.validation_scores_))
    frame = pd.DataFrame(X[held_out], columns=NAMES)
    assert model.score(frame, y[held_out]) == model.validation_scores_[best]
    parts = [held_out_rows(start, 40, 0.1, 3) for start in range(0, 1200, 40)]
    np.testing.assert_array_equal(np.concatenate(parts), held_out[:1200])
    half = MLPClassifier(early_stopping=True, validation_fraction=0.5, **SETTINGS)
    half.fit(from_folder(folder, shuffle_buffer=100))
    assert N - half.t_ / 3 < 150  # no more than the buffer


def test_predictions(folder, tmp_path):
    frame = pd.DataFrame(X, columns=NAMES)
    model = MLPClassifier(**SETTINGS).fit(frame, y)
    source = from_folder(folder, target=None)
    for method in ("predict", "predict_proba", "predict_log_proba"):
        found = getattr(model, method)(source)
        assert iter(found) is found
        expected = getattr(model, method)(frame)
        np.testing.assert_array_equal(np.concatenate([*found]), expected)
        path = tmp_path / "out.parquet"
        assert sources.write_parquet(path, model, source, method=method) == N
        table = parquet.read_table(path).to_pandas().to_numpy()
        np.testing.assert_array_equal(np.squeeze(table), expected)
    both = from_folder(folder, sample_weight="w")
    assert model.score(both) == pytest.approx(model.score(frame, y, W), rel=1e-12)
    one = MLPRegressor(**SETTINGS).fit(X, TARGET)
    expected = one.score(X, TARGET)
    assert one.score(from_batches(X, TARGET)) == pytest.approx(expected, rel=1e-12)
    rows = [*one.predict(sources.from_batches(lambda: iter([X[:5], X[5:9]])))]
    np.testing.assert_array_equal(np.concatenate(rows), one.predict(X[:9]))
    with pytest.raises(ValueError, match=r"lacks \['f8'\]"):
        model.predict(sources.from_parquet(folder, columns=NAMES[:-1]))
    with pytest.raises(ValueError, match="there is no target"):
        model.fit(from_folder(folder, target=None, shuffle_buffer=300))
    with pytest.raises(ValueError, match="expecting 9 features"):
        one.predict(sources.from_npy(X[:, :4]))
    assert sorted(tmp_path.iterdir()) == [tmp_path / "out.parquet"]


# --- fits that stop, and go on ----------------------------------------------------


class Crash(Exception):
    pass


@pytest.mark.parametrize("kind", ["parquet", "batches"])
def test_a_fit_goes_on_within_an_epoch_to_the_same_bits(folder, tmp_path, monkeypatch,
                                                        kind):  # fmt: skip
    monkeypatch.setattr("fastmlp.training.checkpoint._LEAST_PAUSE", 0.0)
    from fastmlp.training.checkpoint import Checkpoint

    def source():
        if kind == "parquet":
            return from_folder(folder, shuffle_buffer=300, sample_weight="w")
        return from_batches(X, y, W, shuffle_buffer=300)

    how = {
        "dropout": 0.2, "ema_decay": 0.9, "learning_rate": "one_cycle",
        "early_stopping": True, **SETTINGS,
    }  # fmt: skip
    whole = MLPClassifier(**how).fit(source())
    path = tmp_path / "fit.npz"
    keep = Checkpoint.keep
    # in the first epoch, at the end of one, in the last one
    for crash_after in (1, 3, 4, 3):
        calls = []

        def crash(self, state, calls=calls, crash_after=crash_after):
            keep(self, state)
            calls.append(len(state.history.loss_curve))
            if len(calls) == crash_after:
                raise Crash

        monkeypatch.setattr(Checkpoint, "keep", crash)
        with pytest.raises(Crash):
            MLPClassifier(checkpoint=path, **how).fit(source())
    with np.load(path) as file:
        assert file["curves"].shape[1] == 2
    monkeypatch.setattr(Checkpoint, "keep", keep)
    other = MLPClassifier(checkpoint=path, **{**how, "alpha": 1.0})
    with pytest.raises(ValueError, match="other parameters or data"):
        other.fit(source())
    model = MLPClassifier(checkpoint=path, **how).fit(source())
    assert_same(model, whole)
    assert model.validation_scores_ == whole.validation_scores_
    assert [*tmp_path.iterdir()] == []


def test_a_checkpoint_survives_an_error_of_the_source(tmp_path, monkeypatch):
    monkeypatch.setattr("fastmlp.training.checkpoint._LEAST_PAUSE", 0.0)
    path = tmp_path / "fit.npz"
    n_calls = []

    def batches(fails=True):
        n_calls.append(1)
        for i, batch in enumerate(batches_of(X, y)()):
            if fails and len(n_calls) == 3 and i == 9:
                raise OSError("the line is dead")
            yield batch

    how = {**SETTINGS, "checkpoint": path}
    before = readers()
    with pytest.raises(OSError, match="the line is dead"):
        MLPClassifier(**how).fit(sources.from_batches(batches, shuffle_buffer=300))
    assert readers(before) == before
    assert path.exists()
    source = sources.from_batches(partial(batches, False), shuffle_buffer=300)
    assert_same(MLPClassifier(**how).fit(source), MLPClassifier(**SETTINGS).fit(source))


def test_a_fit_ends_its_thread_however_it_ends(folder):
    before = readers()
    make = partial(from_folder, folder, shuffle_buffer=200)
    MLPClassifier(**SETTINGS).fit(make())

    def stop(state):
        return True

    model = MLPClassifier(callbacks=[stop], **SETTINGS).fit(make())
    assert model.n_iter_ == 1

    def interrupt(state):
        raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="interrupted by user"):
        MLPClassifier(callbacks=[interrupt], **SETTINGS).fit(make())

    def crash(state):
        raise Crash

    with pytest.raises(Crash):
        MLPClassifier(callbacks=[crash], **SETTINGS).fit(make())
    endless = threading.Event()

    def hangs():
        yield from batches_of(X, y)()
        if n_calls.append(1) or len(n_calls) > 1:
            endless.wait(0.5)

    n_calls = []
    short = MLPClassifier(**{**SETTINGS, "time_limit": 0.2, "max_iter": 1000})
    short.fit(sources.from_batches(hangs, shuffle_buffer=300))
    assert short.n_iter_ < 10
    assert readers(before) == before


def test_all_is_done_again_in_float64(folder):
    huge = from_batches(X.astype(np.float64) * 1e25, y, shuffle_buffer=300)
    with pytest.warns(UserWarning, match="too large for float32"):
        model = MLPClassifier(**SETTINGS).fit(huge)
    assert model.precision_ == "float64"


def test_the_progress_line_says_who_waits(folder, capsys):
    pytest.importorskip("tqdm")
    source = from_folder(folder, shuffle_buffer=200)
    MLPClassifier(verbose="progress", **SETTINGS).fit(source)
    assert "waits=" in capsys.readouterr().err


# --- what goes wrong --------------------------------------------------------------


def bad(**changes):
    """Columns with other values in some rows: {name: (first row, values)}."""
    frame = columns_of(X[:300].astype(np.float64), y=y[:300])
    for name, values in changes.items():
        frame[name] = pa.array(values(frame[name].tolist()))
    return frame


def missing(values):
    return [*values[:250], None, *values[251:]]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (bad(f3=missing), r"row group 2 of .*b\.parquet.* contains NaN.*column 'f3'"),
        (bad(f3=lambda v: [*v[:-1], np.inf]), r"b\.parquet.*infinity: 1 .*'f3'"),
        (bad(y=missing), r"row group 2 of .*b\.parquet.*'y' has 1 missing"),
        (bad(f3=lambda v: [str(x) for x in v]), r"'f3' is string in .*b\.parquet"),
        (bad(y=lambda v: [float(x) for x in v]), r"'y' is double in .*b\.parquet"),
        ({k: v for k, v in bad().items() if k != "f7"}, "has no column 'f7'"),
    ],
    ids=["NaN", "infinity", "no target", "text", "other type", "no column"],
)
def test_errors_name_file_and_column(tmp_path, second, message):
    write(tmp_path / "a.parquet", bad())
    write(tmp_path / "b.parquet", second)
    before = readers()
    for buffer in (200, 10_000):
        with pytest.raises(ValueError, match=message):
            MLPClassifier(**SETTINGS).fit(
                sources.from_parquet(tmp_path, target="y", shuffle_buffer=buffer)
            )
    assert readers(before) == before


def test_files_that_are_no_data(tmp_path):
    path = write(tmp_path / "a.parquet", bad())
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match=r"a\.parquet' cannot be read"):
        sources.from_parquet(path, target="y")
    path.write_bytes(whole)
    source = sources.from_parquet(path, target="y", shuffle_buffer=64)
    path.write_bytes(whole[:100] + b"\xff" * 4000 + whole[4100:])
    with pytest.raises(ValueError, match=r"a\.parquet"):
        MLPClassifier(**SETTINGS).fit(source)
    with pytest.raises(ValueError, match=r"missing.parquet' cannot be read"):
        sources.from_parquet(tmp_path / "missing.parquet", target="y")
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="has no column 'target'"):
        sources.from_parquet(path, target="target")
    (tmp_path / "X.npy").write_bytes(b"no array")
    with pytest.raises(ValueError, match=r"cannot be read as an .npy file"):
        sources.from_npy(tmp_path / "X.npy", y)
    with pytest.raises(ValueError, match="X has 1203 rows, y has 1202"):
        sources.from_npy(X, y[1:])
    for wrong in (0, True, 1.5):
        with pytest.raises(ValueError, match="shuffle_buffer must be"):
            sources.from_npy(X, y, shuffle_buffer=wrong)
    text = {"x": ["a", "b"], "y": [0, 1]}
    source = sources.from_parquet(write(tmp_path / "t.parquet", text), target="y")
    with pytest.raises(ValueError, match=r"'x' of .* is string, but X must be"):
        MLPClassifier().fit(source)


@pytest.mark.parametrize(
    ("later", "message"),
    [
        (lambda: iter(()), "gave 0 rows to train on in epoch 2.*a new iterator"),
        (lambda: iter([(X[:200], y[:200])]), "gave 200 rows .* epoch 2.*1203"),
        (lambda: iter([(X, y), (X, y)]), "gave more than 1203 rows"),
        (lambda: iter([(X[:, :4], y)]), "batch 0 of .*X has 4 features"),
        (lambda: iter([(X, y + 10)]), r"classes that it did not have.*\[10, 11"),
        (lambda: iter([(X, y[1:])]), "X has 1203 rows, y has 1202"),
        (lambda: iter([X]), r"must be \(X, y\)"),
        (lambda: iter([(X, y.astype("M8[D]"))]), "must be numbers or text"),
    ],
    ids=["nothing", "few", "many", "features", "class", "rows", "no target", "dates"],
)
def test_epochs_that_differ(later, message):
    n_calls = []

    def batches():
        n_calls.append(1)
        return batches_of(X, y)() if len(n_calls) < 3 else later()

    model = MLPClassifier(**SETTINGS)
    with pytest.raises(ValueError, match=message):
        model.fit(sources.from_batches(batches, shuffle_buffer=300))
    assert not hasattr(model, "coefs_")
    assert not hasattr(model, "n_features_in_")


def test_what_does_not_take_a_source_says_so(folder):
    source = from_folder(folder, shuffle_buffer=300)
    model = MLPClassifier(**SETTINGS)
    with pytest.raises(ValueError, match="partial_fit takes arrays"):
        model.partial_fit(source, None, classes=[0, 1])
    for method in (model.fit, MLPClassifier(**SETTINGS).fit(X, y).score):
        with pytest.raises(ValueError, match="has its own y"):
            method(source, y)
    with pytest.raises(ValueError, match="'lbfgs' needs all rows at once"):
        MLPClassifier(solver="lbfgs").fit(source)
    for other in (
        partial(MLPEnsembleClassifier(model).fit, source, y),
        partial(GridSearchCV(model, {"alpha": [0, 1]}).fit, source, y),
        partial(MLPClassifier().fit, [source], y),
        partial(np.asarray, source),
    ):
        with pytest.raises((TypeError, ValueError)):
            other()
    with pytest.raises(TypeError, match="takes a function"):
        sources.from_batches([(X, y)])
    used = iter([(X, y)])
    with pytest.raises(ValueError, match=r"0 rows.*used up"):
        model.fit(sources.from_batches(lambda: used, shuffle_buffer=300))
    with pytest.raises(ValueError, match=r"y=None|target y is None"):
        model.fit(X)


@pytest.mark.parametrize("cls", [TabularMLPClassifier, TabularMLPRegressor])
def test_tables(cls, tmp_path):
    """Text, dates and missing numbers: the fit from memory, if the sample is all."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(X[:600], columns=NAMES)
    frame["city"] = rng.choice(["Ulm", "Bonn", "Jena"], 600)
    frame["day"] = pd.date_range("2020-01-01", periods=600)
    frame.loc[::7, "f1"] = np.nan
    labels = cls is TabularMLPClassifier
    target = (frame.city == "Ulm").to_numpy() * 2 + (X[:600, 0] > 0) if labels else (
        TARGET[:600]
    )  # fmt: skip
    path = tmp_path / "t.parquet"
    frame.assign(y=target).to_parquet(path, row_group_size=90)
    how = {"n_members": 2, "max_iter": 3, "random_state": 0, "n_jobs": 1}
    expected = cls(**how).fit(frame, target)
    whole = cls(**how).fit(sources.from_parquet(path, target="y"))
    np.testing.assert_array_equal(whole.predict(frame), expected.predict(frame))
    small = sources.from_parquet(path, target="y", shuffle_buffer=250)
    model = cls(**how).fit(small, X_val=small)
    found = np.concatenate([*model.predict(small)])
    np.testing.assert_array_equal(found, model.predict(frame))
    assert [c.kind for c in model.columns_] == [c.kind for c in whole.columns_]
    if labels:
        assert (found == target).mean() > 0.6
        proba = np.concatenate([*model.predict_proba(small)])
        np.testing.assert_array_equal(proba, model.predict_proba(frame))
    with pytest.raises(ValueError, match="has its own y"):
        cls(**how).fit(small, target)
    with pytest.raises(ValueError, match="no target"):
        cls(**how).fit(sources.from_parquet(path))


def test_memory_follows_the_buffer(tmp_path):
    """Of what Python allocates, which NumPy's arrays are part of."""
    peaks = []
    for n in (20_000, 80_000):
        rng = np.random.default_rng(0)
        np.save(tmp_path / "X.npy", rng.standard_normal((n, 50), np.float32))
        np.save(tmp_path / "y.npy", rng.integers(0, 2, n))
        source = sources.from_npy(
            tmp_path / "X.npy", tmp_path / "y.npy", shuffle_buffer=4000
        )
        model = MLPClassifier((4,), max_iter=1, random_state=0)
        model.fit(source)
        tracemalloc.start()
        model.fit(source)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]
    assert peaks[0] < 4 * 4000 * 50 * 4
