"""What is to work with any function of a user, whether an activation or a loss."""

import numpy as np
import pytest

from fastmlp import MLPClassifier, MLPEnsembleClassifier


def assert_all_that_fits_can_do(own, X, y, folder):
    """Classifiers with a function of a user: warm, resumed, as members.

    own : dict
        Parameters that name the function, and ``random_state``.
    """
    model = MLPClassifier((20,), **own, max_iter=4, dropout=0.2, early_stopping=True)
    model.fit(X, y)
    model.set_params(warm_start=True, early_stopping=False).fit(X, y, X_val=X, y_val=y)
    assert model.partial_fit(X, y).score(X, y) > 0.3
    resumed = MLPClassifier(
        (20,), **own, max_iter=6, checkpoint=folder / "file", callbacks=[_stop]
    )
    with pytest.raises(RuntimeError):
        resumed.fit(X, y)
    resumed.set_params(callbacks=None).fit(X, y)
    whole = MLPClassifier((20,), **own, max_iter=6).fit(X, y)
    np.testing.assert_array_equal(resumed.coefs_[0], whole.coefs_[0])
    ensemble = MLPEnsembleClassifier((5,), **own, n_estimators=2, max_iter=3).fit(X, y)
    assert ensemble.predict(X).shape == y.shape


def _stop(state):
    if state.epoch == 3:
        raise RuntimeError
