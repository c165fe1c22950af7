"""Fits to a source of rows, and predictions for one, instead of arrays."""

import warnings
from numbers import Integral

import numpy as np
from scipy.sparse import issparse, vstack
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.validation import check_is_fitted

from fastmlp.data.scaling import Standardization
from fastmlp.data.targets import labels_of, quantile_score
from fastmlp.native_threads import lazily
from fastmlp.persistence.saving import bare_copy
from fastmlp.sources.source import Source, located
from fastmlp.sources.summary import held_out_rows, summarize

__all__ = ["FitsSources", "is_source"]

#: How often each class is shown to what looks at labels: else it sees quantities.
_TIMES = 3

#: Share of the spread of targets that may lie between blocks: with more, a block has
#: other targets than the whole.
_MOST_UNEVEN = 0.1


def is_source(X):
    """Whether X is a source of rows, not an array of them."""
    return isinstance(X, Source)


class FitsSources:
    """What `fit` needs for a source; not for use by itself."""

    @staticmethod
    def _check_arguments_of_source(y, sample_weight, incremental):
        if incremental:
            raise ValueError(
                "partial_fit takes arrays; a source is for fit, of which max_iter=1 "
                "makes one epoch and warm_start=True continues the last one"
            )
        if y is not None or sample_weight is not None:
            raise ValueError("a source has its own y and sample_weight: leave them out")

    def _prepared_source(self, source, validation, continues):
        """What `_prepared` gives, of a source that is larger than its buffer.

        validation : X_val, y_val and sample_weight_val of `fit`.
        """
        if self.solver == "lbfgs":
            raise ValueError(
                "solver='lbfgs' needs all rows at once and cannot read them from a "
                "source: use another solver, such as 'adam', or a shuffle_buffer that "
                "holds all rows"
            )
        share = self._share_to_hold_out(validation)
        tasks = []

        def task_of(y):
            tasks.append(self._task_of(y, None, continues))
            return tasks[0], tasks[0] == "classification"

        scales = self.standardize and not continues
        found = summarize(source, task_of, scales=scales)
        self._take_features(source, reset=not continues)
        binarizer, old = self._labels_of_source(found.classes)
        scaling = self._scaling_of_source(found, continues)
        if not (continues or self.standardize):
            self._warn_of_wild_columns(found.X)
        if self.shuffle and found.unevenness > _MOST_UNEVEN:
            self._warn_of_order(source)
        weigh = self._class_weigher(found, binarizer)
        convert = _Converter(self, binarizer, scaling, weigh)
        n_samples, held_out = found.n_rows, None
        if share is not None:
            held_out = self._held_out(source, found, share)
            validation = _joined(
                chunk.rows(held_out_rows(first, len(chunk), *held_out))
                for first, chunk in _numbered(source)
            )
            n_held = len(validation[1])
            n_samples -= n_held
            self._check_held_out(n_held, n_samples)
        stream = lazily("training.stream")
        identity = (
            *source.identity, found.n_rows, source.shuffle_buffer, str(source.dtype),
            found.classes, *([found.digest] if source.repeats else []),
        )  # fmt: skip
        targets = self._targets(found.y, binarizer, scaling)
        samples = lazily("training.samples").Samples(
            scaling.scale_X(found.X), targets, weigh(found.y, found.sample_weight),
            found.X, found.y, found.sample_weight, source.feature_names,
            stream=stream.Stream(source, n_samples, convert, identity, held_out),
        )  # fmt: skip
        own = self._validation_set(
            *validation, targets, binarizer, scaling, is_checked=share is not None
        )
        return samples, own, tasks[0], binarizer, old, scaling

    @staticmethod
    def _warn_of_order(source):
        warnings.warn(
            f"The rows of {source!r} are sorted, or nearly so: the target differs from "
            f"one part to the next, and only shuffle_buffer={source.shuffle_buffer} "
            "rows are shuffled together. A network that sees one kind of rows after "
            "the other learns badly. Shuffle the rows when you write them, write "
            "smaller parts (row groups, partitions, chunks), or raise shuffle_buffer.",
            UserWarning,
            stacklevel=2,
        )

    def _labels_of_source(self, classes):
        """(LabelBinarizer, classes of an earlier fit) for the classes of a source."""
        if classes is None:
            return None, None
        known = old = None
        if self.warm_start and hasattr(self, "_label_binarizer"):
            known, old = self._label_binarizer, self.classes_
        labels = np.repeat(classes, _TIMES, axis=0)
        return labels_of(labels, known, old, exactly=self.warm_start), old

    def _scaling_of_source(self, found, continues):
        """The `Standardization` by what a pass has found: see `_scaling`."""
        if continues:
            return Standardization.read(vars(self))
        if not self.standardize:
            return Standardization()
        has_scale = found.classes is None and self.loss not in ("poisson", "gamma")
        y_scaling = found.y_moments.scaling() if has_scale else None
        return Standardization(found.X_moments.scaling(), y_scaling)

    def _share_to_hold_out(self, validation):
        """The share of rows that early stopping holds out; None for none."""
        if not self.early_stopping or any(each is not None for each in validation[:2]):
            return None
        return self.validation_fraction

    def _held_out(self, source, found, share):
        """(share, seed) of `held_out_rows`: no more than the buffer would hold."""
        seed = self.random_state if isinstance(self.random_state, Integral) else 0
        return min(share, source.shuffle_buffer / found.n_rows), seed

    @staticmethod
    def _check_held_out(n_held, n_samples):
        if n_held < 2 or n_samples < 1:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' "
                "or the size of your dataset."
            )

    def _take_features(self, source, reset):
        """Note number and names of features, or check them: see `validate_data`."""
        names = source.feature_names
        if reset:
            self.n_features_in_ = source.n_features
            vars(self).pop("feature_names_in_", None)
            if names is not None:
                self.feature_names_in_ = np.array(names, dtype=object)
            return
        known = getattr(self, "feature_names_in_", None)
        if names is not None and known is not None and [*known] != names:
            missing = [name for name in known if name not in names]
            what = f"lacks {missing}" if missing else "has more, or in another order"
            raise ValueError(
                f"{source!r} has other columns of X than the fit had: it {what}. "
                "Choose them by columns=list(model.feature_names_in_)"
            )
        if source.n_features is not None and source.n_features != self.n_features_in_:
            raise ValueError(
                f"{source!r} has {source.n_features} features, but "
                f"{type(self).__name__} is expecting {self.n_features_in_} features as "
                "input"
            )

    def _class_weigher(self, found, binarizer):
        """From y and weights of some rows to the weights that training takes."""
        class_weight = getattr(self, "class_weight", None)
        if class_weight is None:
            return lambda y, weights: weights
        if binarizer is None or found.counts is None:
            raise ValueError(
                "class_weight needs a classification with one label per row, which "
                "this is not"
            )
        classes = found.classes
        own = self._weigh_classes(None, classes, binarizer, False)
        if class_weight == "balanced":
            own = found.n_rows / (len(classes) * found.counts.astype(np.float64))
        if (own * found.weights).sum() == 0:
            raise ValueError(
                "class_weight, times sample_weight, sums to zero over the samples: at "
                "least one sample must count"
            )

        def weigh(y, weights):
            of_rows = own[np.searchsorted(classes, y)]
            return of_rows if weights is None else weights * of_rows

        return weigh

    def _validation_source(self, source, targets, binarizer, scaling):
        """`Samples` of a source to validate on that is larger than its buffer."""
        self._take_features(source, reset=False)
        convert = _Converter(self, binarizer, scaling, lambda y, weights: weights)
        what = "Xy" if source.n_rows is None else "y"
        found = [(chunk.y, chunk.sample_weight) for chunk in source.chunks(what)]
        if not found:
            raise ValueError(f"X_val: {source!r} has no rows")
        self._take_features(source, reset=False)
        ys, weights = zip(*found, strict=True)
        y = np.concatenate(ys)
        weights = None if weights[0] is None else np.concatenate(weights)
        source.n_rows = len(y)
        few = next(source.chunks()).X[:1]
        own = self._targets(y, binarizer, scaling, "y_val")
        stream = lazily("training.stream").Stream(
            source, len(y), convert, (*source.identity, len(y), source.repeats and y)
        )
        return lazily("training.samples").Samples(
            scaling.scale_X(few), own, weights, few, y, weights, stream=stream
        )

    # --- prediction ---------------------------------------------------------------

    def _predict_labels(self, X):
        if is_source(X):
            return self._predictions(X, "_predict_labels")
        return super()._predict_labels(X)

    def _predict_numbers(self, X):
        if is_source(X):
            return self._predictions(X, "_predict_numbers")
        return super()._predict_numbers(X)

    def _predict_probabilities(self, X):
        if is_source(X):
            return self._predictions(X, "_predict_probabilities")
        return super()._predict_probabilities(X)

    def _predictions(self, source, method):
        """An iterator of what a method gives for the rows of a source."""
        check_is_fitted(self, "coefs_")
        self._take_features(source, reset=False)
        model = bare_copy(self)
        vars(model).pop("feature_names_in_", None)  # X is an array here
        return (getattr(model, method)(chunk.X) for chunk in source.chunks("X"))

    # --- scores -------------------------------------------------------------------

    def _score_labels(self, X, y, sample_weight):
        if not is_source(X):
            return super()._score_labels(X, y, sample_weight)
        y, predictions, weights = self._predicted(X, y, sample_weight)
        return float(accuracy_score(y, predictions, sample_weight=weights))

    def _score_numbers(self, X, y, sample_weight):
        if not is_source(X):
            return super()._score_numbers(X, y, sample_weight)
        y, predictions, weights = self._predicted(X, y, sample_weight)
        if self.loss == "quantile" and np.ndim(self.quantile) > 0:
            predictions = predictions.reshape(len(y), -1)
            return quantile_score(y, predictions, self.quantile, weights)
        return float(r2_score(y, predictions, sample_weight=weights))

    def _predicted(self, source, y, sample_weight):
        """(y, predictions, weights) of the rows of a source."""
        self._check_arguments_of_source(y, sample_weight, False)
        predictions = np.concatenate([*self.predict(source)])
        found = [(chunk.y, chunk.sample_weight) for chunk in source.chunks("y")]
        ys, weights = zip(*found, strict=True)
        joined = None if weights[0] is None else np.concatenate(weights)
        return np.concatenate(ys), predictions, joined


class _Converter:
    """From a chunk to X as the network takes it, targets, and weights."""

    def __init__(self, estimator, binarizer, scaling, weigh):
        self._targets, self._weigh = estimator._targets, weigh
        self._binarizer, self._scaling = binarizer, scaling

    def __call__(self, chunk):
        y = chunk.y
        with located(chunk.where):
            if self._binarizer is not None:
                _check_labels(y, self._binarizer.classes_)
            targets = self._targets(y, self._binarizer, self._scaling).for_kernels()
            weights = self._weigh(y, chunk.sample_weight)
        if self._binarizer is None:  # of one dtype, whatever that of a chunk
            targets = targets.astype(np.float64)
        return self._scaling.scale_X(chunk.X), targets, weights


def _check_labels(y, classes):
    """Raise a ValueError if there are labels that the first pass has not seen."""
    if y.ndim == 2:
        return
    unknown = y
    if (y.dtype.kind == "U") == (classes.dtype.kind in "UO"):
        places = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
        unknown = y[classes[places] != y]
    if len(unknown):
        some = np.unique(unknown)[:5].tolist()
        raise ValueError(
            "the target has classes that it did not have in the pass before the "
            f"first epoch, nor in an earlier fit: {some}"
        )


def _numbered(source):
    """Yield (number of the first row, chunk) of all chunks."""
    first = 0
    for chunk in source.chunks():
        yield first, chunk
        first += len(chunk)


def _joined(chunks):
    """(X, y, sample_weight) of chunks."""
    Xs, ys, weights, _ = zip(*chunks, strict=True)
    X = vstack(Xs, format="csr") if issparse(Xs[0]) else np.concatenate(Xs)
    joined = None if weights[0] is None else np.concatenate(weights)
    return X, np.concatenate(ys), joined
