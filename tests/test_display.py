"""Displays: artists carry the model's numbers, and the conventions of scikit-learn."""

import sys
from functools import cache, partial

import numpy as np
import pytest
from processes import run
from scipy.sparse import csc_array, csr_matrix
from scipy.special import erf, softmax
from sklearn import neural_network
from sklearn.datasets import load_digits, load_iris, make_classification
from sklearn.exceptions import NotFittedError
from sklearn.metrics import get_scorer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastmlp import MLPClassifier, MLPEstimator, MLPRegressor
from fastmlp.display import (
    ActivationDisplay,
    LossCurveDisplay,
    NetworkDisplay,
    _forward,
)
from fastmlp.tables.activations import ACTIVATIONS

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

pytestmark = pytest.mark.slow

X, y = load_iris(return_X_y=True)
DIGITS, DIGIT = (array[:400] for array in load_digits(return_X_y=True))

KNOWN = sorted(ACTIVATIONS)


@cache
def fitted(estimator=MLPClassifier, hidden=(6, 5), **settings):
    settings = {"max_iter": 12, "random_state": 0, **settings}
    model = estimator(hidden_layer_sizes=hidden, **settings)
    return model.fit(X, y)


@cache
def fitted_to_digits(hidden=(30,)):
    return MLPClassifier(hidden, random_state=0, max_iter=5).fit(DIGITS, DIGIT)


def with_attributes(model, **attributes):
    """A copy with other attributes; the model stays as it is."""
    other = object.__new__(type(model))
    vars(other).update(vars(model) | attributes)
    return other


def loss_curve(model, **settings):
    return LossCurveDisplay.from_estimator(model, **settings)


def graph(model, **settings):
    return NetworkDisplay.from_estimator(model, **settings)


def images(model, **settings):
    shape = {"image_shape": (2, 2)}
    return NetworkDisplay.from_estimator(model, kind="images", **{**shape, **settings})


def activations(model, **settings):
    return ActivationDisplay.from_estimator(model, X, **settings)


DRAW = [loss_curve, graph, images, activations]


@pytest.fixture(autouse=True)
def _figures_are_closed():
    yield
    plt.close("all")


# --- conventions ---------------------------------------------------------------------


@pytest.mark.parametrize("draw", DRAW)
def test_a_new_figure_or_given_axes(draw):
    display = draw(fitted())
    assert display.figure_ is display.ax_.figure
    display.figure_.canvas.draw()  # nothing warns when it is laid out
    figure, (left, right) = plt.subplots(ncols=2)
    display = draw(fitted(), ax=right)
    assert display.ax_ is right
    assert display.figure_ is figure
    assert not left.has_data()
    figure.canvas.draw()
    assert display.plot() is display
    assert display.figure_ is not figure


@pytest.mark.parametrize("draw", DRAW)
def test_axes_of_a_subfigure(draw):
    figure = plt.figure(layout="constrained")
    ax = figure.subfigures(1, 2)[0].subplots()
    assert draw(fitted(), ax=ax).figure_ is ax.figure


@pytest.mark.parametrize("draw", DRAW)
def test_what_is_not_a_fitted_network(draw):
    with pytest.raises(NotFittedError):
        draw(MLPClassifier())
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(max_iter=2)).fit(X, y)
    with pytest.raises(TypeError, match=r"Pipeline has no coefs_.*the last step"):
        draw(pipeline)
    draw(pipeline[-1])


@pytest.mark.parametrize("draw", DRAW)
def test_without_matplotlib(draw, monkeypatch):
    model = fitted()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="need matplotlib"):
        draw(model)


def test_matplotlib_is_imported_when_something_is_drawn(tmp_path):
    script = """
    import sys
    from fastmlp.display import LossCurveDisplay
    assert "matplotlib" not in sys.modules
    LossCurveDisplay(loss_curve=[2.0, 1.0]).plot()
    assert "matplotlib" in sys.modules
    """
    run(script, tmp_path, environment={"MPLBACKEND": "Agg"})


@pytest.mark.parametrize("draw", DRAW)
def test_networks_of_scikit_learn(draw):
    figure = draw(fitted(neural_network.MLPClassifier)).figure_
    assert any(ax.has_data() for ax in figure.axes)


# --- losses --------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_losses_are_the_models(solver):
    model = fitted(solver=solver)
    display = loss_curve(model)
    epochs, losses = display.line_.get_data()
    np.testing.assert_array_equal(epochs, np.arange(1, 13))
    np.testing.assert_array_equal(losses, model.loss_curve_)
    assert display.best_epoch_ == 1 + np.argmin(model.loss_curve_)
    assert display.score_ax_ is display.score_line_ is display.validation_line_ is None
    assert display.ax_.get_yscale() == "linear"
    assert loss_curve(model, log_scale=True).ax_.get_yscale() == "log"


def test_style_of_the_losses():
    display = loss_curve(fitted(), color="black", label="mine")
    assert display.line_.get_color() == "black"
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["mine", "Best epoch (12)"]


@pytest.mark.parametrize(
    ("estimator", "name"),
    [
        (MLPClassifier, "accuracy"), (MLPRegressor, "R²"), (MLPEstimator, "accuracy"),
        (partial(MLPRegressor, loss="quantile", quantile=[0.1, 0.9]), "D²"),
    ],
)  # fmt: skip
def test_scores_are_the_models(estimator, name):
    model = fitted(estimator, early_stopping=True, learning_rate_init=0.05)
    display = loss_curve(model)
    assert display.score_ax_ is not display.ax_
    assert display.score_line_.axes is display.score_ax_
    np.testing.assert_array_equal(
        display.score_line_.get_ydata(), model.validation_scores_
    )
    assert display.score_ax_.get_ylabel() == f"Validation {name}"
    best = np.argmax(model.validation_scores_)
    assert display.best_epoch_ == 1 + best
    marked = display.best_line_.get_xydata()
    np.testing.assert_array_equal(marked, [[1 + best, model.best_validation_score_]])


@pytest.mark.parametrize(
    ("scoring", "name"),
    [("roc_auc", "roc_auc"), ("loss", "score"), (get_scorer("roc_auc"), "score")],
)
def test_scores_of_ones_own_have_their_name(scoring, name):
    X, y = make_classification(40, random_state=0)
    model = MLPClassifier((3,), early_stopping=True, scoring=scoring, max_iter=2)
    display = loss_curve(model.fit(X, y, X_val=X, y_val=y))
    assert display.score_ax_.get_ylabel() == f"Validation {name}"


def test_validation_losses():
    losses = [3.0, 1.0, 2.0, *[4.0] * 9]
    model = with_attributes(fitted(), validation_loss_curve_=losses)
    display = loss_curve(model)
    assert display.validation_line_.axes is display.ax_
    np.testing.assert_array_equal(display.validation_line_.get_ydata(), losses)
    assert display.best_epoch_ == 2
    model = with_attributes(model, validation_scores_=[0.0] * 4 + [1.0] + [0.0] * 7)
    assert loss_curve(model).best_epoch_ == 5
    model = with_attributes(fitted(), validation_loss_curve_=None)
    assert loss_curve(model).validation_line_ is None


def test_scores_that_began_later_are_of_the_last_epochs():
    model = MLPClassifier([5], max_iter=4, warm_start=True, random_state=0).fit(X, y)
    model.set_params(early_stopping=True, max_iter=3).fit(X, y)
    display = loss_curve(model)
    np.testing.assert_array_equal(display.line_.get_xdata(), np.arange(1, 8))
    np.testing.assert_array_equal(display.score_line_.get_xdata(), [5, 6, 7])


def test_a_score_that_is_nan_is_not_the_best():
    scores = [np.nan, 0.1, 0.3, 0.2]
    display = LossCurveDisplay(loss_curve=[4, 3, 2, 1], validation_scores=scores)
    assert display.plot().best_epoch_ == 3


def test_no_losses_of_epochs():
    with pytest.raises(ValueError, match="'lbfgs' does not keep one"):
        loss_curve(fitted(solver="lbfgs"))


# --- weights -------------------------------------------------------------------------


def texts_of(display):
    return [text.get_text() for text in display.ax_.texts]


@pytest.mark.parametrize("hidden", [(), (6,), (6, 5), (3, 4, 5, 6, 7)], ids=str)
def test_lines_are_the_weights(hidden):
    model = fitted(hidden=hidden)
    display = graph(model)
    assert len(display.connections_) == len(hidden) + 1
    largest = max(np.abs(w).max() for w in model.coefs_)
    for layer, (w, lines) in enumerate(
        zip(model.coefs_, display.connections_, strict=True)
    ):
        drawn = lines.get_array()
        np.testing.assert_array_equal(np.sort(drawn), np.sort(w, axis=None))
        np.testing.assert_allclose(
            lines.get_linewidths(), 3.5 * np.abs(drawn) / largest
        )
        assert lines.get_clim() == (-largest, largest)
        starts, ends = (
            display.nodes_[i].get_offsets().tolist() for i in (layer, layer + 1)
        )
        for value, (start, end) in zip(drawn, lines.get_segments(), strict=True):
            assert value == w[starts.index(start.tolist()), ends.index(end.tolist())]
    sizes = [len(nodes.get_offsets()) for nodes in display.nodes_]
    assert sizes == [4, *hidden, 3]


def test_signs_have_colours_of_their_own():
    model = fitted()
    (lines, *_) = graph(model).connections_
    lines.update_scalarmappable()
    red, _, blue, _ = lines.get_colors().T
    assert (red >= blue)[lines.get_array() > 0].all()
    assert (red <= blue)[lines.get_array() < 0].all()


def test_of_many_units_the_strongest_are_drawn():
    model = fitted_to_digits()
    display = graph(model, max_units=7)
    strengths = (
        np.square(model.coefs_[0]).sum(axis=1),
        np.square(model.coefs_[0]).sum(axis=0) + np.square(model.coefs_[1]).sum(axis=1),
        np.square(model.coefs_[1]).sum(axis=0),
    )
    for units, strength in zip(display.shown_units_, strengths, strict=True):
        assert units.tolist() == sorted(np.argsort(strength)[-7:])
    assert {"⋮\n57 more", "⋮\n23 more", "⋮\n3 more"} <= set(texts_of(display))
    assert [f"x{i}" in texts_of(display) for i in display.shown_units_[0]] == [True] * 7
    w = model.coefs_[0][np.ix_(*display.shown_units_[:2])]
    drawn = display.connections_[0].get_array()
    np.testing.assert_array_equal(np.sort(drawn), np.sort(w, axis=None))
    assert [len(units) for units in graph(model).shown_units_] == [12, 12, 10]


def test_names():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["length $", "width $ $", "c" * 60, "d"])
    labels = np.array(["one", "two", "three"])[y]
    model = MLPClassifier([3], max_iter=2).fit(frame, labels)
    display = graph(model)
    display.figure_.canvas.draw()  # dollars are no formulas
    texts = texts_of(display)
    assert {"length $", "width $ $", "c" * 23 + "…", "d"} <= set(texts)
    assert texts[-3:] == ["one", "three", "two"]
    assert {"Input\n4", "Hidden 1\n3 relu", "Output\n3 softmax"} <= set(texts)
    assert texts_of(graph(model, feature_names="abcd"))[3:7] == list("abcd")
    with pytest.raises(ValueError, match="3 names for 4 features"):
        graph(model, feature_names="abc")


@pytest.mark.parametrize(
    ("estimator", "targets", "names"),
    [
        (MLPClassifier, np.array(["no", "yes"])[(y > 0) * 1], ["yes"]),
        (MLPClassifier, np.stack([y == 0, y == 1], axis=1) * 1, ["0", "1"]),
        (MLPRegressor, y * 2.5, ["y0"]),
        (MLPRegressor, np.stack([y, y * 2.5], axis=1), ["y0", "y1"]),
    ],
    ids=["two classes", "labels", "one number", "numbers"],
)
def test_names_of_outputs(estimator, targets, names):
    model = estimator(hidden_layer_sizes=[3], max_iter=2).fit(X, targets)
    texts = texts_of(graph(model))
    assert texts[-len(names) - 1 :] == ["x3", *names]


def test_labels_do_not_overlap():
    names = [f"a name with many letters {i}" for i in range(4)]
    for hidden in [(), (20,), (3, 4, 5, 6, 7, 8)]:
        display = graph(fitted(hidden=hidden), feature_names=names)
        canvas = display.figure_.canvas
        canvas.draw()
        boxes = [text.get_window_extent() for text in display.ax_.texts]
        boxes.append(display.colorbar_.ax.get_tightbbox())
        for i, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:i])
            assert box.x0 >= 0
            assert box.y0 >= 0
            assert box.x1 <= canvas.get_width_height()[0]
            assert box.y1 <= canvas.get_width_height()[1]


def test_images_are_the_weights():
    model = fitted_to_digits()
    display = images(model, image_shape=None)
    largest = np.abs(model.coefs_[0]).max()
    assert len(display.images_) == 30
    for image, w in zip(display.images_, model.coefs_[0].T, strict=True):
        np.testing.assert_array_equal(image.get_array(), w.reshape(8, 8))
        assert image.get_clim() == (-largest, largest)
        left, right, bottom, top = image.get_extent()
        assert right - left == pytest.approx(8)
        assert bottom - top == pytest.approx(8)  # rows go down
    display = images(model, image_shape=(4, 16), max_units=5)
    (units,) = display.shown_units_
    for image, unit in zip(display.images_, units, strict=True):
        np.testing.assert_array_equal(
            image.get_array(), model.coefs_[0][:, unit].reshape(4, 16)
        )
    assert display.ax_.get_title() == "Hidden 1: 5 of 30 units"
    assert images(fitted(hidden=())).ax_.get_title() == "Output: 3 units"


def test_images_do_not_overlap():
    for shape in [(8, 8), (1, 64), (32, 2)]:
        boxes = []
        for image in images(fitted_to_digits(), image_shape=shape).images_:
            left, right, bottom, top = image.get_extent()
            box = matplotlib.transforms.Bbox.from_extents(left, top, right, bottom)
            assert not any(box.overlaps(other) for other in boxes)
            boxes.append(box)


def test_parameters_that_do_not_fit():
    model = fitted_to_digits()
    for shape in [(8, 9), (4, 4, 4), (-8, -8), (64,)]:
        with pytest.raises(ValueError, match="64 features do not make images of shape"):
            images(model, image_shape=shape)
    three = MLPClassifier([3], max_iter=2).fit(X[:, :3], y)
    with pytest.raises(ValueError, match=r"3 features .* set image_shape=\(height"):
        images(three, image_shape=None)
    with pytest.raises(ValueError, match="kind must be"):
        NetworkDisplay.from_estimator(model, kind="tree")
    with pytest.raises(ValueError, match="max_units must be at least 1"):
        graph(model, max_units=0)


def test_weights_that_are_all_0():
    model = fitted()
    model = with_attributes(model, coefs_=[0 * w for w in model.coefs_])
    for draw in (graph, images):
        figure = draw(model).figure_
        figure.canvas.draw()
        pixels = np.asarray(figure.canvas.buffer_rgba())
        assert len(np.unique(pixels[..., :3].reshape(-1, 3), axis=0)) > 1


# --- activations ---------------------------------------------------------------------


@pytest.mark.parametrize("activation", KNOWN)
@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
def test_activations_are_the_networks(estimator, activation):
    model = fitted(estimator, activation=activation, precision="float64")
    display = activations(model)
    outputs = display.activations[-1] @ model.coefs_[-1] + model.intercepts_[-1]
    if estimator is MLPClassifier:
        expected = model.predict_proba(X)
        np.testing.assert_allclose(softmax(outputs, axis=1), expected, atol=1e-12)
    else:
        np.testing.assert_allclose(outputs.ravel(), model.predict(X), rtol=1e-9)
    assert display.activation_names == [activation] * 2
    assert [text.get_text() for text in display.ax_.get_yticklabels()] == [
        f"Hidden 1\n6 {activation}", f"Hidden 2\n5 {activation}",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [np.float32, csr_matrix, csc_array])
def test_what_X_may_be(kind):
    model = fitted()
    expected = activations(model).activations
    display = ActivationDisplay.from_estimator(model, kind(X))
    for a, b in zip(display.activations, expected, strict=True):
        assert isinstance(a, np.ndarray)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="3 features"):
        ActivationDisplay.from_estimator(model, X[:, :3])


def test_an_activation_for_each_layer():
    model = with_attributes(fitted(), activation=["tanh", "softplus"])
    first, second = activations(model).activations
    z = X @ model.coefs_[0] + model.intercepts_[0]
    np.testing.assert_allclose(first, np.tanh(z))
    z = first @ model.coefs_[1] + model.intercepts_[1]
    np.testing.assert_allclose(second, np.log(1 + np.exp(z)))
    assert "Hidden 2\n5 softplus" in texts_of(graph(model))
    with pytest.raises(ValueError, match="No formula is known for sine"):
        activations(with_attributes(model, activation=["tanh", "sine"]))


Z = np.linspace(-9, 9, 37)
EXP = np.exp(Z)
SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("leaky_relu", np.maximum(Z, Z / 100)),
        ("elu", np.where(Z < 0, EXP - 1, Z)),
        ("selu", SCALE * np.where(Z < 0, ALPHA * (EXP - 1), Z)),
        ("gelu", Z * (1 + erf(Z / np.sqrt(2))) / 2),
        ("silu", Z / (1 + 1 / EXP)),
        ("mish", Z * np.tanh(np.log(1 + EXP))),
        ("softplus", np.log(1 + EXP)),
        ("softsign", Z / (1 + abs(Z))),
        ("hard_swish", np.where(Z < -3, 0, np.where(Z > 3, Z, Z * (Z + 3) / 6))),
    ],
)
def test_formulas(name, expected):
    np.testing.assert_allclose(ACTIVATIONS[name].value(Z), expected, atol=1e-14)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_formulas_hold_far_out_and_keep_the_dtype(name):
    z = np.array([-1e4, -0.0, 1e4], dtype="f4")
    a = ACTIVATIONS[name].value(z)
    assert a.dtype == np.float32
    assert np.isfinite(a).all()
    np.testing.assert_array_equal(z, np.array([-1e4, -0.0, 1e4], dtype="f4"))


def test_dead_units():
    model = fitted(hidden=(5, 4))
    intercepts = [b.copy() for b in model.intercepts_]
    intercepts[0][[1, 3]] = -1e3
    intercepts[0][0] = -np.median(X @ model.coefs_[0][:, 0])  # alive for half of X
    model = with_attributes(model, intercepts_=intercepts)
    display = activations(model)
    first = _forward(model, X, ["relu", "relu"])[0]
    assert (first[:, [1, 3]] == 0).all()
    assert 0.4 < (first[:, 0] == 0).mean() < 0.6
    assert display.dead_[0] == (first.max(axis=0) == 0).mean() >= 0.4
    assert display.zero_[0] == (first == 0).mean()
    note = display.texts_[0].get_text()
    assert f"{display.dead_[0]:.0%} of units dead" in note
    assert f"{display.zero_[0]:.0%} zero" in note
    intercepts[0][:] = -1e3
    display = activations(with_attributes(model, intercepts_=intercepts))
    assert display.dead_[0] == 1
    display.figure_.canvas.draw()


@pytest.mark.parametrize(
    ("name", "saturated"),
    [
        ("tanh", lambda a: abs(a) > 0.99),
        ("logistic", lambda a: abs(a - 0.5) > 0.49),
        ("softsign", lambda a: abs(a) > 0.99),
    ],
)
def test_saturated_activations(name, saturated):
    model = fitted()
    model = with_attributes(
        model, activation=name, coefs_=[w * 4 for w in model.coefs_]
    )
    display = activations(model)
    for i, a in enumerate(display.activations):
        assert display.saturated_[i] == saturated(a).mean()
        note = display.texts_[i].get_text()
        assert f"{saturated(a).mean():.0%} saturated" in note
    assert 0 < display.saturated_.max() < 1 or name == "softsign"
    assert "saturated" not in activations(fitted()).texts_[0].get_text()


def test_histograms():
    display = activations(fitted(), bins=20)
    for i, (a, histogram) in enumerate(
        zip(display.activations, display.histograms_, strict=True)
    ):
        tops, edges, baseline = histogram.get_data()
        assert baseline == -i
        counts, _ = np.histogram(np.clip(a[a > 0], *edges[[0, -1]]), edges)
        np.testing.assert_allclose(tops - baseline, 0.8 * counts / counts.max())
        assert counts.sum() == (a > 0).sum()
        assert len(counts) == 20


def test_a_few_activations_far_out_do_not_hide_the_rest():
    a = np.random.default_rng(0).normal(size=(500, 4))
    a[0, 0] = 1e6
    display = ActivationDisplay(
        activations=[a], activation_names=["identity"], layer_names=["Hidden 1"]
    ).plot()
    (histogram,) = display.histograms_
    tops, edges, baseline = histogram.get_data()
    assert edges[-1] < 6
    assert np.count_nonzero(tops - baseline) > 50


@pytest.mark.parametrize("layer", [0, 1, -1, -2])
def test_one_layer(layer):
    model = fitted()
    display = activations(model, layer=layer)
    (a,) = display.activations
    np.testing.assert_array_equal(a, activations(model).activations[layer])
    assert display.layer_names == [f"Hidden {1 + layer % 2}"]


def test_layers_that_are_not_there():
    for layer in (2, -3):
        with pytest.raises(ValueError, match=f"2 hidden layers, got layer={layer}"):
            activations(fitted(), layer=layer)
    with pytest.raises(ValueError, match="no hidden layers"):
        activations(fitted(hidden=()))
