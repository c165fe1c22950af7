"""Steps of a pipeline before its last: fitted once for each split and setting."""

import threading
from collections import Counter
from contextlib import suppress

import joblib
from scipy.sparse import issparse
from sklearn.base import BaseEstimator

__all__ = ["Prefix", "Prefixes", "setting_of"]

#: Bytes of transformed samples that are kept for other candidates.  Beyond, steps are
#: fitted again, as scikit-learn does.
_MOST_BYTES = 2**30


def setting_of(candidate, last):
    """What a candidate's parameters say of what the last step is given, as a key.

    That depends on all steps before, on the kind of the last, and on the metadata that
    it asks for.

    Parameters
    ----------
    candidate : dict
    last : str
        Name of the last step.

    Returns
    -------
    object
        Equal for equal settings; equal to nothing if they cannot be compared.
    """
    own = [
        (name, value)
        for name, value in sorted(candidate.items(), key=lambda item: item[0])
        if name != last and not name.startswith(last + "__")
    ]
    with suppress(Exception):  # whatever pickling them may raise
        if last in candidate:
            model = candidate[last]
            own.append((type(model), str(model.get_metadata_routing())))
        return joblib.hash(own)
    return object()


class _LastStep(BaseEstimator):
    """Stands for the last step of a pipeline, and keeps what that is to be fitted to.

    Parameters
    ----------
    step : object
    """

    def __init__(self, step):
        self.step = step

    def fit(self, X, y=None, **params):
        """Keep the arguments."""
        self.given = X, y, params
        return self

    def get_metadata_routing(self):
        """What the last step asks for."""
        return self.step.get_metadata_routing()


class Prefix:
    """All steps of a pipeline but the last, fitted, and what comes out of them.

    Parameters
    ----------
    pipeline : sklearn.pipeline.Pipeline
        With the parameters of a candidate; all steps but the last will be fitted.
    X, y : object
        To fit to.
    fit_params : dict
        Of the pipeline's `fit`.

    Attributes
    ----------
    X, y, fit_params : object
        What the last step is to be fitted to, and how.
    checked : ndarray, sparse matrix or None
        See `FitsInPieces._checked_as_a_whole`.
    """

    def __init__(self, pipeline, X, y, fit_params):
        name, last = pipeline.steps[-1]
        stand_in = _LastStep(last)
        pipeline.steps = [*pipeline.steps[:-1], (name, stand_in)]
        try:
            pipeline.fit(X, y, **fit_params)
        finally:
            pipeline.steps = [*pipeline.steps[:-1], (name, last)]
        self._steps = pipeline.steps[:-1]
        self.X, self.y, self.fit_params = stand_in.given
        self.checked = last._checked_as_a_whole(self.X)
        self._transformed = {}
        self._lock = threading.Lock()

    def put_into(self, pipeline):
        """Replace all steps but the last of another candidate's pipeline."""
        pipeline.steps = [*self._steps, pipeline.steps[-1]]

    def transform(self, part, make_X):
        """What the last step is asked to predict for a part of the samples.

        Parameters
        ----------
        part : str
            Name under which it is kept.
        make_X : callable
            Gives the samples.
        """
        with self._lock:
            if part not in self._transformed:
                X = make_X()
                for _, step in self._steps:
                    if not (step is None or step == "passthrough"):
                        X = step.transform(X)
                self._transformed[part] = X
            return self._transformed[part]

    @property
    def nbytes(self):
        """Bytes of the samples that it keeps, as far as they are known."""
        kept = [self.X, *self._transformed.values()]
        if self.checked is not self.X:
            kept.append(self.checked)
        return sum(map(_bytes_of, kept))


def _bytes_of(X):
    if issparse(X):
        X = getattr(X, "data", None)
    if hasattr(X, "memory_usage"):
        return int(X.memory_usage().sum())
    return getattr(X, "nbytes", 0)


class _Entry:
    def __init__(self):
        self.lock = threading.Lock()
        self.prefix = None


class Prefixes:
    """The `Prefix` of each setting and split, as long as there are candidates for it.

    Parameters
    ----------
    settings : sequence
        That of each candidate.
    """

    def __init__(self, settings):
        self._to_come = Counter(settings)
        self._come = Counter()
        self._entries = {}  # the one that was used last is at the end
        self._lock = threading.Lock()

    def get(self, key, make):
        """The prefix of a (setting, split), once for each candidate.

        A thread that comes while another one makes it waits for that.
        """
        with self._lock:
            entry = self._entries.pop(key, None) or _Entry()
            self._come[key] += 1
            if self._come[key] < self._to_come[key[0]]:
                self._entries[key] = entry
        with entry.lock:
            if entry.prefix is None:
                entry.prefix = make()
                self._make_room()
            return entry.prefix

    def _make_room(self):
        with self._lock:
            kept = {k: e.prefix.nbytes for k, e in self._entries.items() if e.prefix}
            total = sum(kept.values())
            for key in [*kept][:-1]:
                if total > _MOST_BYTES:
                    total -= kept[key]
                    del self._entries[key]
