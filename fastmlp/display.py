"""Plots of fitted networks, following scikit-learn's conventions for displays.

They use public attributes only, so that they also show networks of scikit-learn.
matplotlib is imported when something is drawn.
"""

import math
from itertools import pairwise

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted, validate_data

from fastmlp.tables.activations import ACTIVATIONS

__all__ = ["ActivationDisplay", "LossCurveDisplay", "NetworkDisplay"]

#: Blue, vermilion and green that colour-blind people can distinguish (Okabe and Ito).
_LOSS, _SCORE, _VALIDATION = "#0072B2", "#D55E00", "#009E73"
_INK = "0.25"

#: Inches between layers, between units, and per letter; width in points of the widest
#: line.
_COLUMN, _ROW, _LETTER, _WIDEST = 1.6, 0.36, 0.085, 3.5

#: How close to a bound an activation is saturated.
_NEAR = 0.01


def _axes(ax, width, height):
    """The given axes, or those of a new figure; sizes are in inches."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Displays need matplotlib: python -m pip install matplotlib"
        ) from error
    if ax is None:
        ax = plt.subplots(figsize=(width, height), layout="constrained")[1]
    return ax


def _check_is_network(estimator):
    check_is_fitted(estimator)
    if not hasattr(estimator, "coefs_"):
        name = type(estimator).__name__
        raise TypeError(
            f"{name} has no coefs_; of a pipeline, pass the last step, and of an "
            "ensemble a member (estimators_)"
        )


def _hidden_activations(estimator):
    """Names of the activations, one per hidden layer."""
    given, n_hidden = estimator.activation, len(estimator.coefs_) - 1
    return [given] * n_hidden if isinstance(given, str) else list(given)


def _shortened(name, length=24):
    return name if len(name) <= length else f"{name[: length - 1]}…"


class LossCurveDisplay:
    """Loss and validation score of each epoch; made by `from_estimator`.

    Parameters
    ----------
    loss_curve : array-like of shape (n_epochs,)
        Training losses.
    validation_loss_curve, validation_scores : array-like, default=None
        Losses and scores on the validation data. If shorter than loss_curve, they
        belong to the last epochs: a resumed fit may have added early stopping.
    score_name : str, default="score"
        Name of the scores.

    Attributes
    ----------
    best_epoch_ : int
        The epoch, counted from 1, with the highest score; without scores, with the
        lowest validation loss; without both, with the lowest training loss.
    line_, best_line_ : matplotlib Line2D
        The training losses, and the marker at the best epoch.
    validation_line_, score_line_ : matplotlib Line2D or None
        The validation losses and scores.
    ax_, score_ax_, figure_ : matplotlib Axes, Axes or None, and Figure
        Where losses and scores are drawn.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastmlp import MLPClassifier
    >>> from fastmlp.display import LossCurveDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier(max_iter=500, random_state=0).fit(X, y)
    >>> LossCurveDisplay.from_estimator(model).ax_.get_ylabel()
    'Loss'
    """

    def __init__(
        self, *, loss_curve, validation_loss_curve=None, validation_scores=None,
        score_name="score",
    ):  # fmt: skip
        self.loss_curve = loss_curve
        self.validation_loss_curve = validation_loss_curve
        self.validation_scores = validation_scores
        self.score_name = score_name

    @classmethod
    def from_estimator(cls, estimator, *, ax=None, log_scale=False, **kwargs):
        """Draw the losses of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            Fitted with 'sgd' or 'adam'.
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a figure.
        log_scale : bool, default=False
            Whether the axis of the losses is logarithmic.
        **kwargs : dict
            Passed to `matplotlib.axes.Axes.plot` for the training losses.

        Returns
        -------
        LossCurveDisplay
            The display, drawn.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If there is no loss curve, as after a fit with 'lbfgs'.
        """
        _check_is_network(estimator)
        if not getattr(estimator, "loss_curve_", None):
            why = "'lbfgs' does not keep one, nor does a fit that stops in epoch 1"
            raise ValueError(
                f"No loss_curve_: {why}; the solver is {estimator.solver!r}"
            )
        curves = {}
        for name in ("loss_curve", "validation_loss_curve", "validation_scores"):
            curves[name] = getattr(estimator, f"{name}_", None) or None
        score_name = "accuracy" if is_classifier(estimator) else "R²"
        if np.ndim(getattr(estimator, "quantile", 0)) and estimator.loss == "quantile":
            score_name = "D²"
        if (scoring := getattr(estimator, "scoring", None)) is not None:
            has_name = isinstance(scoring, str) and scoring != "loss"
            score_name = scoring if has_name else "score"
        display = cls(**curves, score_name=score_name)
        return display.plot(ax, log_scale=log_scale, **kwargs)

    def plot(self, ax=None, *, log_scale=False, **kwargs):
        """Draw the losses.

        Parameters
        ----------
        ax, log_scale, **kwargs : optional
            As in `from_estimator`.

        Returns
        -------
        LossCurveDisplay
            The display itself.
        """
        self.ax_ = ax = _axes(ax, 6.4, 4.2)
        from matplotlib.ticker import MaxNLocator

        self.figure_ = ax.figure
        self.score_ax_ = self.score_line_ = self.validation_line_ = None
        style = {"color": _LOSS, "label": "Training loss", **kwargs}
        self.line_ = decisive = self._draw(ax, self.loss_curve, **style)
        sign = -1  # lower is better
        if self.validation_loss_curve is not None:
            style = {"color": _VALIDATION, "label": "Validation loss", "ls": "--"}
            decisive = self._draw(ax, self.validation_loss_curve, **style)
            self.validation_line_ = decisive
        if self.validation_scores is not None:
            name, sign = f"Validation {self.score_name}", 1
            self.score_ax_ = second = ax.twinx()
            second.set_ylabel(name, color=_SCORE)
            second.tick_params(axis="y", colors=_SCORE)
            style = {"color": _SCORE, "label": name, "ls": "-."}
            decisive = self._draw(second, self.validation_scores, **style)
            self.score_line_ = decisive
        epochs, values = decisive.get_data()
        # scores of too few samples are NaN, which is never the best
        best = np.argmax(np.nan_to_num(sign * values, nan=-np.inf))
        self.best_epoch_ = int(epochs[best])
        (self.best_line_,) = decisive.axes.plot(
            [epochs[best]], [values[best]], "o", color=decisive.get_color(),
            mfc="white", mew=1.8, label=f"Best epoch ({self.best_epoch_})",
        )  # fmt: skip
        ax.axvline(epochs[best], color=_INK, lw=0.8, ls=":", zorder=0)
        ax.set(xlabel="Epoch", ylabel="Loss", yscale="log" if log_scale else "linear")
        ax.xaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10], integer=True))
        lines = [self.line_, self.validation_line_, self.score_line_, self.best_line_]
        lines = [line for line in lines if line is not None]
        # above the axes: inside, the lines of either axis may be in the way
        ax.legend(
            handles=lines, ncols=2 + len(lines) % 2, frameon=False,
            loc="lower center", bbox_to_anchor=(0.5, 1.0),
        )  # fmt: skip
        return self

    def _draw(self, ax, curve, **style):
        """Draw a curve that ends with the last epoch."""
        last = len(self.loss_curve)
        epochs = np.arange(last - len(curve) + 1, last + 1)
        return ax.plot(epochs, np.asarray(curve, float), **style)[0]


class NetworkDisplay:
    """The weights of a network, as a graph or images; made by `from_estimator`.

    Parameters
    ----------
    coefs : list of ndarray of shape (fan_in, fan_out)
        Weights of each layer.
    layer_names : list of str
        Titles of the layers of units, input and output included.
    feature_names, output_names : list of str
        Names of the input units and of the output units.

    Attributes
    ----------
    shown_units_ : list of ndarray
        Indices of the units that are drawn: of each layer of a graph, or of the one
        layer whose images are drawn.
    connections_, nodes_ : list of matplotlib Collection
        Weights between the layers of a graph (the arrays hold the weights, smallest
        absolute values first), and the units of each layer.
    images_ : list of matplotlib AxesImage
        Weights of each unit, drawn as an image.
    colorbar_ : matplotlib Colorbar
        Legend of the colours.
    ax_, figure_ : matplotlib Axes and Figure
        Where the network is drawn.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastmlp import MLPClassifier
    >>> from fastmlp.display import NetworkDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier([8], max_iter=800, random_state=0).fit(X, y)
    >>> NetworkDisplay.from_estimator(model, max_units=2).shown_units_[0]
    array([2, 3])
    """

    def __init__(self, *, coefs, layer_names, feature_names, output_names):
        self.coefs = coefs
        self.layer_names = layer_names
        self.feature_names = feature_names
        self.output_names = output_names

    @classmethod
    def from_estimator(
        cls, estimator, *, kind="graph", max_units=None, image_shape=None,
        feature_names=None, cmap="RdBu_r", ax=None,
    ):  # fmt: skip
        """Draw the weights of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            A fitted network.
        kind : {"graph", "images"}, default="graph"
            "graph" draws units and lines between them, whose widths are the absolute
            values of the weights; "images" draws the weights of each unit of the first
            layer as an image of the input.
        max_units : int, default=None
            Most units to draw per layer. Of a larger layer, those whose weights have
            the largest sums of squares are drawn. None: 12 for a graph, 64 for images.
        image_shape : tuple of (int, int), default=None
            Height and width of the images; None for a square.
        feature_names : sequence of str, default=None
            Names of the inputs; None for `feature_names_in_`, or else x0, x1, ...
        cmap : str or matplotlib Colormap, default="RdBu_r"
            Colours of the weights; 0 has the middle colour.
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a figure.

        Returns
        -------
        NetworkDisplay
            The display, drawn.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If a parameter is invalid, or does not match the number of features.
        """
        _check_is_network(estimator)
        coefs = estimator.coefs_
        n_features, n_outputs = len(coefs[0]), coefs[-1].shape[1]
        if feature_names is None:
            numbered = [f"x{i}" for i in range(n_features)]
            feature_names = getattr(estimator, "feature_names_in_", numbered)
        if len(feature_names) != n_features:
            n_names = len(feature_names)
            raise ValueError(
                f"feature_names has {n_names} names for {n_features} features"
            )
        numbered = [f"y{i}" for i in range(n_outputs)]
        # with two classes, the single output unit is for the second
        output_names = getattr(estimator, "classes_", numbered)[-n_outputs:]
        layers = [*(f"Hidden {i}" for i in range(1, len(coefs))), "Output"]
        activations = [*_hidden_activations(estimator), estimator.out_activation_]
        rows = zip(layers, coefs, activations, strict=True)
        names = [f"{layer}\n{w.shape[1]} {name}" for layer, w, name in rows]
        return cls(
            coefs=coefs,
            layer_names=[f"Input\n{n_features}", *names],
            feature_names=list(map(str, feature_names)),
            output_names=list(map(str, output_names)),
        ).plot(ax, kind=kind, max_units=max_units, image_shape=image_shape, cmap=cmap)

    def plot(
        self, ax=None, *, kind="graph", max_units=None, image_shape=None, cmap="RdBu_r"
    ):
        """Draw the weights.

        Parameters
        ----------
        ax, kind, max_units, image_shape, cmap : optional
            As in `from_estimator`.

        Returns
        -------
        NetworkDisplay
            The display itself.
        """
        if kind not in ("graph", "images"):
            raise ValueError(f"kind must be 'graph' or 'images', got {kind!r}")
        if max_units is not None and max_units < 1:
            raise ValueError(f"max_units must be at least 1, got {max_units}")
        self.connections_, self.nodes_, self.images_ = [], [], []
        if kind == "graph":
            self._plot_graph(ax, max_units or 12, cmap)
        else:
            self._plot_images(ax, max_units or 64, image_shape, cmap)
        self.figure_ = self.ax_.figure
        self.ax_.set_axis_off()
        colored = (self.connections_ + self.images_)[0]
        style = {"label": "Weight", "shrink": 0.8, "aspect": 30}
        self.colorbar_ = self.figure_.colorbar(colored, ax=self.ax_, **style)
        self.colorbar_.outline.set_visible(False)
        return self

    def _strongest(self, layer, max_units):
        """Sorted indices of the units of a layer with the largest weights."""
        into = self.coefs[layer - 1] if layer > 0 else np.zeros((1, 1))
        out = self.coefs[layer] if layer < len(self.coefs) else np.zeros((1, 1))
        strengths = np.square(into).sum(axis=0) + np.square(out).sum(axis=1)
        return np.sort(np.argsort(-strengths, kind="stable")[:max_units])

    def _plot_graph(self, ax, max_units, cmap):
        sizes = [len(self.coefs[0]), *(w.shape[1] for w in self.coefs)]
        shown = [self._strongest(i, max_units) for i in range(len(sizes))]
        self.shown_units_ = shown
        # one more row for the note on how many units are not drawn
        rows = [len(u) + (n > len(u)) for u, n in zip(shown, sizes, strict=True)]
        top = max(rows) / 2
        inputs = [_shortened(self.feature_names[i]) for i in shown[0]]
        outputs = [_shortened(self.output_names[i]) for i in shown[-1]]
        # names and titles are inside the axes, so that these suit any layout
        letters = [max(map(len, names)) for names in (inputs, outputs)]
        left, right = np.maximum(0.5, 0.2 + np.multiply(letters, _LETTER / _COLUMN))
        xlim, ylim = (-left, len(sizes) - 1 + right), (-top, top + 1.2)
        size = _COLUMN * (xlim[1] + left) + 0.8, _ROW * (ylim[1] + top) + 0.2
        self.ax_ = ax = _axes(ax, *size)
        from matplotlib.collections import LineCollection

        ax.set(xlim=xlim, ylim=ylim)
        places = [
            np.column_stack([np.full(n, x), (n - 1) / 2 - np.arange(n)])
            for x, n in enumerate(rows)
        ]
        pairs = zip(self.coefs, pairwise(shown), strict=True)
        weights = [w[np.ix_(*units)] for w, units in pairs]
        largest = max(np.abs(w).max() for w in weights) or 1.0
        for w, (starts, ends) in zip(weights, pairwise(places), strict=True):
            # draw the largest weights on top
            i, j = np.unravel_index(np.argsort(np.abs(w), axis=None), w.shape)
            lines = LineCollection(
                np.stack([starts[i], ends[j]], axis=1), array=w[i, j], zorder=1,
                linewidths=_WIDEST * np.abs(w[i, j]) / largest,
                cmap=cmap, clim=(-largest, largest),
            )  # fmt: skip
            self.connections_.append(ax.add_collection(lines))
        for x, (units, place) in enumerate(zip(shown, places, strict=True)):
            style = {"s": 110, "color": "white", "edgecolor": _INK, "zorder": 2}
            self.nodes_.append(ax.scatter(*place[: len(units)].T, **style))
            ax.text(x, top, self.layer_names[x], ha="center", va="bottom")
            if len(units) < sizes[x]:
                note = f"⋮\n{sizes[x] - len(units)} more"
                height = place[-1, 1] + 0.45
                ax.text(x, height, note, ha="center", va="top", color=_INK)
        style = {"va": "center", "parse_math": False}
        for name, (x, y) in zip(inputs, places[0], strict=False):
            ax.text(x - 0.1, y, name, ha="right", **style)
        for name, (x, y) in zip(outputs, places[-1], strict=False):
            ax.text(x + 0.1, y, name, ha="left", **style)

    def _plot_images(self, ax, max_units, shape, cmap):
        n_features, n_units = self.coefs[0].shape
        shape = (math.isqrt(n_features),) * 2 if shape is None else tuple(shape)
        if len(shape) != 2 or shape[0] * shape[1] != n_features or min(shape) < 1:
            problem = f"{n_features} features do not make images of shape {shape}"
            raise ValueError(f"{problem}: set image_shape=(height, width)")
        units = self._strongest(1, max_units)
        self.shown_units_ = [units]
        # as many rows and columns as make the whole nearly a square
        wide = math.ceil(math.sqrt(len(units) * shape[0] / shape[1]))
        wide = min(wide, len(units))
        gap = 0.08 * max(shape)
        step = np.add(shape, gap)
        total = step * [math.ceil(len(units) / wide), wide]
        self.ax_ = ax = _axes(ax, *(6.0 * total / total.max() + [0.5, 1.0])[::-1])
        largest = np.abs(self.coefs[0][:, units]).max() or 1.0
        for place, unit in enumerate(units):
            y, x = step * np.divmod(place, wide)
            box = np.array([x, x + shape[1], y + shape[0], y])
            image = self.coefs[0][:, unit].reshape(shape)
            style = {"cmap": cmap, "clim": (-largest, largest)}
            self.images_.append(ax.imshow(image, extent=box, **style))
            # a frame, because weights at the edge are often 0, the background's colour
            ax.plot(box[[0, 1, 1, 0, 0]], box[[2, 2, 3, 3, 2]], color="0.8", lw=0.5)
        ax.set(xlim=(-gap, total[1]), ylim=(total[0], -gap))
        count = f"{len(units)} of {n_units}" if len(units) < n_units else n_units
        ax.set_title(f"{self.layer_names[1].splitlines()[0]}: {count} units")


class ActivationDisplay:
    """Distribution of the hidden units' activations; made by `from_estimator`.

    For activations that are exactly 0 over a range (relu, hard_swish), the histogram
    omits zeros; their share is written beside it. The outermost bins include up to 0.1%
    of a layer's activations that lie beyond them.

    Parameters
    ----------
    activations : list of ndarray of shape (n_samples, n_units)
        Activations of each layer to draw.
    activation_names, layer_names : list of str
        The activation function and the title of each layer.

    Attributes
    ----------
    dead_, zero_, saturated_ : ndarray of shape (n_layers,)
        Share of units that are 0 for all samples, share of activations that are 0, and
        share of activations within 0.01 of a bound of 'logistic', 'tanh' or 'softsign'.
    histograms_ : list of matplotlib StepPatch
        Histograms of each layer's activations, scaled to equal heights.
    texts_ : list of matplotlib Text
        The text beside each histogram.
    ax_, figure_ : matplotlib Axes and Figure
        Where the histograms are drawn.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastmlp import MLPClassifier
    >>> from fastmlp.display import ActivationDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier([9, 5], max_iter=800, random_state=0).fit(X, y)
    >>> ActivationDisplay.from_estimator(model, X).dead_.shape
    (2,)
    """

    def __init__(self, *, activations, activation_names, layer_names):
        self.activations = activations
        self.activation_names = activation_names
        self.layer_names = layer_names

    @classmethod
    def from_estimator(cls, estimator, X, *, layer=None, bins=60, ax=None):
        """Draw the activations of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            A fitted network with at least one hidden layer.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples; a few hundred are enough. All their activations are kept.
        layer : int, default=None
            Draw only this hidden layer: 0 is the first, -1 the last. None draws all.
        bins : int, default=60
            Number of bins of the histograms.
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a figure.

        Returns
        -------
        ActivationDisplay
            The display, drawn.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If X has the wrong number of features, there is no such layer, or no formula
            is known for an activation function.
        """
        _check_is_network(estimator)
        names = _hidden_activations(estimator)
        n_hidden = len(names)
        if n_hidden == 0 or not -n_hidden <= (layer or 0) < n_hidden:
            raise ValueError(
                f"the network has {n_hidden or 'no'} hidden layers, got layer={layer}"
            )
        kept = range(n_hidden) if layer is None else [layer % n_hidden]
        activations = _forward(estimator, X, names)
        return cls(
            activations=[activations[i] for i in kept],
            activation_names=[names[i] for i in kept],
            layer_names=[f"Hidden {i + 1}" for i in kept],
        ).plot(ax, bins=bins)

    def plot(self, ax=None, *, bins=60):
        """Draw the histograms.

        Parameters
        ----------
        ax, bins : optional
            As in `from_estimator`.

        Returns
        -------
        ActivationDisplay
            The display itself.
        """
        n_layers = len(self.activations)
        self.ax_ = ax = _axes(ax, 6.8, 0.95 * n_layers + 0.6)
        self.figure_ = ax.figure
        self.dead_, self.zero_, self.saturated_ = np.zeros((3, n_layers))
        self.histograms_, self.texts_ = [], []
        # a few outliers must not squeeze the rest
        ends = [np.quantile(a, [0.001, 0.999]) for a in self.activations]
        edges = np.histogram_bin_edges(ends, bins)
        labels = []
        for i, a in enumerate(self.activations):
            name, drawn = self.activation_names[i], a
            labels.append(f"{self.layer_names[i]}\n{a.shape[1]} {name}")
            self.zero_[i] = np.mean(a == 0)
            self.dead_[i] = np.mean((a == 0).all(axis=0))
            note = f"std {a.std():.2g}"
            if ACTIVATIONS[name].cuts_off:
                drawn = a[a != 0]
                note += f"\n{self.zero_[i]:.0%} zero\n{self.dead_[i]:.0%} of units dead"
            if ACTIVATIONS[name].bounds is not None:
                low, high = ACTIVATIONS[name].bounds
                self.saturated_[i] = np.mean((a < low + _NEAR) | (a > high - _NEAR))
                note += f"\n{self.saturated_[i]:.0%} saturated"
            counts = np.histogram(np.clip(drawn, edges[0], edges[-1]), edges)[0]
            tops = 0.8 * counts / max(counts.max(), 1) - i
            steps = ax.stairs(tops, edges, baseline=-i, fill=True, color=_LOSS)
            self.histograms_.append(steps)
            place = {"transform": ax.get_yaxis_transform(), "va": "center"}
            self.texts_.append(ax.text(1.02, 0.4 - i, note, color=_INK, **place))
        ax.set_yticks(0.4 - np.arange(n_layers), labels)
        ax.tick_params(axis="y", length=0)
        ax.set(xlabel="Activation", ylim=(0.85 - n_layers, 0.95))
        ax.spines[["left", "right", "top"]].set_visible(False)
        return self


def _forward(estimator, X, names):
    """Activations of the hidden layers, computed with NumPy."""
    unknown = sorted(set(names) - set(ACTIVATIONS))
    if unknown:
        raise ValueError(f"No formula is known for {', '.join(unknown)}")
    dtype, formats = (np.float64, np.float32), ["csr", "csc"]
    X = validate_data(estimator, X, accept_sparse=formats, dtype=dtype, reset=False)
    activations = [X]
    for i, name in enumerate(names):
        z = activations[-1] @ estimator.coefs_[i] + estimator.intercepts_[i]
        activations.append(ACTIVATIONS[name].value(z))
    return activations[1:]
