"""``python -m fastmlp demo``: a network learns real data, next to scikit-learn's."""

import os
import time
import warnings
from collections import Counter
from contextlib import contextmanager
from itertools import groupby

import numpy as np
from rich.console import Group
from sklearn import datasets, neural_network
from sklearn.base import clone
from sklearn.dummy import DummyClassifier, DummyRegressor

import fastmlp
from fastmlp.commands.demo_csv import Data, DataError, load_csv
from fastmlp.commands.demo_fit import Candidate, Result, Split, fastest, fit
from fastmlp.commands.demo_screen import Screen, beside, draw_curve, draw_image
from fastmlp.compilation import CHOICE, cache_size

__all__ = ["Data", "DataError", "Result", "load_csv", "load_named", "run_demo"]

#: Seconds that a fit is slowed down to, and up to which one is too fast to watch.
_SLOW_MOTION = 6.0
_TOO_FAST = 2.0

#: Rows of a chart of losses, and columns at most.
_CHART_HEIGHT, _CHART_WIDTH = 10, 76

#: Of a table of columns; if there are more, columns alike share a row.
_MOST_ROWS = 20


def load_named(name):
    """A data set of scikit-learn.

    Parameters
    ----------
    name : {"digits", "breast_cancer", "wine", "diabetes", "california"}

    Returns
    -------
    Data

    Raises
    ------
    DataError
        If scikit-learn has to download it and cannot.
    """
    if name == "california":
        try:
            X, y = datasets.fetch_california_housing(return_X_y=True)
        except OSError as error:
            raise DataError(
                f"scikit-learn could not download California housing ({error}). "
                "Without a network, try --data diabetes or --csv FILE."
            ) from error
        return Data(name, X, y, classifies=False)
    bunch = getattr(datasets, f"load_{name}")()
    classifies = name != "diabetes"
    return Data(
        name,
        bunch.data,
        bunch.target,
        classifies,
        labels=tuple(str(label) for label in bunch.target_names) if classifies else (),
        image_shape=(8, 8) if name == "digits" else None,
    )


def run_demo(data, *, hidden=(100,), epochs=100, seed=0, console=None):
    """Train fastmlp, then scikit-learn with the same settings, and compare.

    On a terminal, a fit that was too fast to watch is shown again in slow motion.

    Parameters
    ----------
    data : Data
    hidden : tuple of int, default=(100,)
        Units of the hidden layers.
    epochs : int, default=100
        Epochs at most.
    seed : int, default=0
        Of the split, the initial weights and the shuffles.
    console : rich.console.Console, default=None
        Where to write.

    Returns
    -------
    ours, theirs : Result
    """
    screen = Screen(console)
    _show_columns(screen, data)
    split = Split.of(data, seed)
    settings = {
        "hidden_layer_sizes": hidden,
        "max_iter": epochs,
        "random_state": seed,
    }
    kind = "Classifier" if data.classifies else "Regressor"
    _introduce(screen, data, split, hidden)
    _compile_kernels(screen)

    model = getattr(fastmlp, f"MLP{kind}")(**settings)
    candidates = [Candidate(model), Candidate(clone(model).set_params(n_jobs=1))]
    with screen.waiting("trying whether one thread or more are faster:"):
        ours = fastest(candidates, split)
    watch = _Watch(screen, epochs) if screen.is_live else None
    ours = fit("fastmlp", ours, split, watch)
    _show_training(screen, data, split, ours, watch)
    if data.image_shape is not None:
        _show_images(screen, data, split, ours.model)

    model = getattr(neural_network, f"MLP{kind}")(**settings)
    candidates = [Candidate(model), Candidate(clone(model), blas_threads=1)]
    with screen.waiting("scikit-learn is training, with the same settings:"):
        theirs = fit("scikit-learn", fastest(candidates, split), split)
    _compare(screen, data, split, ours, theirs)
    return ours, theirs


# --- data ----------------------------------------------------------------------------


def _show_columns(screen, data):
    """What was made of the columns of a file."""
    if not data.columns:
        return

    def alike(column):
        short = len(data.columns) <= _MOST_ROWS
        return column.name if short else "", column.use, column.n_imputed

    rows = []
    for (_, use, n_imputed), group in groupby(data.columns, alike):
        names = [column.name for column in group]
        name = names[0]
        if len(names) > 1:
            name += f" to {names[-1]} ({len(names)} columns)"
        rows.append((name, use, str(n_imputed or "")))
    screen.table(
        f"{data.name}: what was made of its columns",
        ("column", "read as", "imputed"),
        rows,
        left=2,
    )
    notes = list(data.notes)
    if any(column.n_imputed for column in data.columns):
        notes.append("missing numbers become the mean of their column (training rows)")
    for note in notes:
        screen.say(note)
    screen.say()


def _introduce(screen, data, split, hidden):
    n_outputs = len(data.labels) if len(data.labels) > 2 else 1
    layers = (split.X_train.shape[1], *hidden, n_outputs)
    what = "images" if data.image_shape else "rows"
    screen.say(
        f"{data.name}: {len(split.X_train)} {what} to train on, "
        f"{len(split.X_test)} to test on",
        "bold",
    )
    screen.say(f"network {'-'.join(map(str, layers))}, Adam, float32, scaled inputs")


# --- training ------------------------------------------------------------------------


def _compile_kernels(screen):
    if CHOICE.library is not None:
        return
    before, started = cache_size(), time.perf_counter()
    says_so = screen.is_live or not before
    if says_so and not screen.is_live:
        screen.say("compiling the kernels (once per machine; 10 to 20 s) ...")
    with screen.waiting("compiling the kernels (once per machine):"), _quiet(says_so):
        fastmlp.warmup(["float32"])
    seconds = time.perf_counter() - started
    if cache_size() > before:
        screen.say(f"kernels compiled in {seconds:.1f} s, and kept on disk")
    else:
        screen.say(f"kernels ready after {seconds:.1f} s")


@contextmanager
def _quiet(is_quiet):
    """Whether to keep the package from saying what was said already."""
    before = os.environ.get("FASTMLP_QUIET")
    if is_quiet:
        os.environ["FASTMLP_QUIET"] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("FASTMLP_QUIET", None)
        else:
            os.environ["FASTMLP_QUIET"] = before


class _Watch:
    """A callback that draws the losses of a fit, if that lasts long enough to watch.

    Attributes
    ----------
    seconds : float
        That were spent here.
    has_drawn : bool
        Whether there is something to see.
    """

    def __init__(self, screen, epochs):
        self.seconds = 0.0
        self.has_drawn = False
        self._screen = screen
        self._epochs = epochs
        self._losses = []
        self._live = screen.live()
        self._next = time.perf_counter() + _TOO_FAST

    def __call__(self, state):
        started = time.perf_counter()
        self._losses.append(state.loss)
        if state.epoch == 1:
            self._next = started + _TOO_FAST
        if started > self._next:
            self._draw(self._epochs)
            self._next = time.perf_counter() + 0.2
        self.seconds += time.perf_counter() - started

    def _draw(self, epochs):
        if not self.has_drawn:
            self.has_drawn = True
            self._live.start()
        status = f"epoch {len(self._losses)}, loss {self._losses[-1]:.4g}"
        chart = _chart(self._screen, self._losses, epochs)
        self._live.update(Group(self._screen.text(status), chart), refresh=True)

    def close(self):
        """Draw the whole of it for the last time."""
        if self.has_drawn:
            self._draw(len(self._losses))
            self._live.stop()


class _SlowMotion:
    """A callback that slows a fit down, and shows what the network says meanwhile."""

    def __init__(self, screen, data, split, model, live):
        self._screen, self._data, self._split, self._live = screen, data, split, live
        self._losses = model.loss_curve_
        self._pace = _SLOW_MOTION / len(self._losses)
        self._started = self._drawn = time.perf_counter()
        self._examples = None
        if data.image_shape is not None and screen.height >= 23:
            per_row = _images_per_row(screen, data)
            recognised, confused = _sort_images(data, split, model)
            n_confused = min(len(confused), per_row // 2)
            self._examples = [
                *recognised[: per_row - n_confused], *confused[:n_confused]
            ]  # fmt: skip

    def __call__(self, state):
        due = self._started + state.epoch * self._pace
        time.sleep(max(0.0, due - time.perf_counter()))
        is_last = state.epoch == len(self._losses)
        if is_last or time.perf_counter() - self._drawn > 0.05:
            self._live.update(self._frame(state, is_last), refresh=True)
            self._drawn = time.perf_counter()

    def _frame(self, state, is_last):
        score = state.estimator.score(self._split.X_test, self._split.y_test)
        losses = self._losses[: state.epoch]
        status = (
            f"epoch {state.epoch} of {len(self._losses)}, loss {losses[-1]:.4f}, "
            f"{_metric(self._data)} {_as_text(self._data, score)}"
        )
        chart = _chart(self._screen, losses, len(self._losses), self._losses)
        parts = [self._screen.text(status, "bold"), chart]
        if self._examples and not is_last:  # in the end they are shown anyway
            parts.append(self._screen.text(self._images(state.estimator)))
        return Group(*parts)

    def _images(self, model):
        guesses, _ = _guesses(model, self._split.X_test[self._examples])
        captions = [
            f"it is {self._data.labels[self._split.y_test[i]]}, "
            f"says {self._data.labels[guess]}"
            for i, guess in zip(self._examples, guesses, strict=True)
        ]
        return "\n".join(
            _image_lines(
                self._screen, self._data, self._split, self._examples, captions
            )
        )


def _chart(screen, losses, n_epochs, all_losses=None):
    limits = (min(all_losses), max(all_losses)) if all_losses else None
    lines = draw_curve(
        losses,
        n_epochs,
        width=min(_CHART_WIDTH, screen.width - 1),
        height=_CHART_HEIGHT,
        levels=screen.levels,
        limits=limits,
    )
    return screen.text("\n".join(lines), "cyan")


def _show_training(screen, data, split, result, watch):
    """The curve of losses: as it was seen, in slow motion, or at once."""
    model = result.model
    done = f"trained {result.n_iter} epochs in {result.seconds:.3f} s"
    if watch is not None and watch.has_drawn:
        screen.say(done, "bold")
        return
    if watch is not None and screen.height >= _CHART_HEIGHT + 3:
        screen.say(f"{done}; the same in slow motion (Ctrl-C skips it):")
        if _replay(screen, data, split, model):
            return
    else:
        screen.say(f"{done}; the training loss, epoch by epoch:")
    screen.console.print(_chart(screen, model.loss_curve_, len(model.loss_curve_)))


def _replay(screen, data, split, model):
    """The same fit, slowed down; whether it was watched to the end."""
    again = clone(model)
    with screen.live() as live, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again.set_params(callbacks=[_SlowMotion(screen, data, split, model, live)])
        try:
            again.fit(split.X_train, split.y_train)
            is_whole = again.n_iter_ == model.n_iter_
        except KeyboardInterrupt:
            is_whole = False
        live.transient = not is_whole
    return is_whole


# --- images --------------------------------------------------------------------------


def _guesses(model, X):
    """Positions of the most probable labels, and their probabilities."""
    probabilities = model.predict_proba(X)
    return model.classes_[probabilities.argmax(axis=1)], probabilities.max(axis=1)


def _sort_images(data, split, model):
    """Positions of recognised images, first of each class, and of confused ones.

    The confused ones begin with those that the network is most certain of.
    """
    guesses, certainty = _guesses(model, split.X_test)
    is_right = guesses == split.y_test
    recognised = [
        int(np.flatnonzero(is_right & (split.y_test == label))[0])
        for label in np.unique(split.y_test[is_right])
    ]
    confused = np.flatnonzero(~is_right)
    return recognised, confused[np.argsort(-certainty[confused])].tolist()


def _images_per_row(screen, data):
    width = 2 * data.image_shape[1] + 3
    return max(1, min(6, (screen.width + 2) // width))


def _image_lines(screen, data, split, which, captions):
    blocks = []
    for i, caption in zip(which, captions, strict=True):
        pixels = split.X_shown[i].reshape(data.image_shape) / data.X.max()
        blocks.append([*draw_image(pixels, screen.shades), caption])
    return beside(blocks)


def _show_images(screen, data, split, model):
    """Some images, those that the network is wrong about as well."""
    guesses, certainty = _guesses(model, split.X_test)
    recognised, confused = _sort_images(data, split, model)
    n_right, n_test = len(split.y_test) - len(confused), len(split.y_test)
    per_row = _images_per_row(screen, data)
    screen.say(
        f"recognised: {n_right} of {n_test} test images; some, and how confident the "
        "network is",
        "bold green",
    )
    shown = recognised[:per_row]
    captions = [f"{data.labels[guesses[i]]} ({_sure(certainty[i])})" for i in shown]
    screen.say("\n".join(_image_lines(screen, data, split, shown, captions)))
    if not confused:
        return
    screen.say(
        f"confused: {len(confused)} (true → predicted), the most confident first",
        "bold red",
    )
    shown = confused[:per_row]
    captions = [
        f"{data.labels[split.y_test[i]]} → {data.labels[guesses[i]]} "
        f"({_sure(certainty[i])})"
        for i in shown
    ]
    screen.say("\n".join(_image_lines(screen, data, split, shown, captions)))


def _sure(probability):
    return ">99%" if probability > 0.99 else f"{probability:.0%}"


# --- comparison ----------------------------------------------------------------------


def _metric(data):
    return "test accuracy" if data.classifies else "test R²"


def _as_text(data, score):
    if data.classifies:
        return f"{score:.1%}"
    return f"{score:.3f}" if abs(score) < 1000 else f"{score:.2e}"


def _step_time(microseconds):
    if microseconds < 10_000:
        return f"{microseconds:.0f} µs"
    return f"{microseconds / 1000:.1f} ms"


def _baseline(data, split):
    """Name, score and model of what learns nothing from X."""
    if data.classifies:
        model = DummyClassifier(strategy="most_frequent")
        most = data.labels[np.bincount(split.y_train).argmax()]
        name = f"always {most if len(most) <= 20 else most[:17] + '...'}"
    else:
        model, name = DummyRegressor(), "always the mean"
    model.fit(split.X_train, split.y_train)
    return f"baseline: {name}", model.score(split.X_test, split.y_test), model


def _compare(screen, data, split, ours, theirs):
    """The table of two `Result`s and the baseline, and what it comes to."""
    baseline, baseline_score, baseline_model = _baseline(data, split)
    rows = [
        (
            result.name,
            _as_text(data, result.score),
            str(result.n_iter),
            f"{result.seconds:.3f} s",
            _step_time(result.microseconds_per_step),
        )
        for result in (ours, theirs)
    ]
    rows.append((baseline, _as_text(data, baseline_score), "", "", ""))
    kind = type(ours.model).__name__
    screen.say()
    screen.table(
        f"{kind} of both libraries, same settings and seed",
        ("", _metric(data), "epochs", "training", "per step"),
        rows,
    )
    screen.say(_speed(ours, theirs), "bold")
    screen.say("each on one thread or on its default number, whichever was faster")
    method = "predict_proba" if data.classifies else "predict"
    models = [ours.model, theirs.model]
    outputs = [getattr(model, method)(split.X_test) for model in models]
    distance = np.abs(np.subtract(*outputs)).max() * split.unit
    what = "predicted probabilities" if data.classifies else "predictions"
    screen.say(f"the two networks' {what} differ by at most {distance:.1g}")
    predicted = ours.model.predict(split.X_test)
    if not data.classifies:
        errors = [
            np.median(np.abs(model.predict(split.X_test) - split.y_test)) * split.unit
            for model in (ours.model, baseline_model)
        ]
        screen.say(
            f"median absolute error: {errors[0]:.3g}; of always predicting the mean: "
            f"{errors[1]:.3g}"
        )
    elif data.image_shape is None and (predicted != split.y_test).any():
        pairs = Counter(
            (data.labels[true], data.labels[said])
            for true, said in zip(split.y_test, predicted, strict=True)
            if true != said
        )
        shown = ", ".join(
            f"{true} → {said} ({n})" for (true, said), n in pairs.most_common(3)
        )
        screen.say(f"most frequent confusions (true → predicted): {shown}")
    for note in [*ours.notes, *theirs.notes]:
        screen.say(note)


def _speed(ours, theirs):
    ratio = theirs.microseconds_per_step / ours.microseconds_per_step
    if 0.95 < ratio < 1.05:
        return "as fast per training step as scikit-learn"
    how, ratio = ("slower", 1 / ratio) if ratio < 1 else ("faster", ratio)
    times = "\N{MULTIPLICATION SIGN}"
    return f"{ratio:.1f}{times} {how} per training step than scikit-learn"
