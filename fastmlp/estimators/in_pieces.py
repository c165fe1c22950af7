"""Fits in pieces, which can run beside others: see `fastmlp.engine.pieces`."""

from sklearn import get_config, set_config

from fastmlp.native_threads import lazily

__all__ = ["FitsInPieces"]


class FitsInPieces:
    """Base class of estimators whose `fit` is `_pieces_of_fit`, done alone.

    The class that has the one must have the other.
    """

    def _pieces_of_checked_fit(self, X, y, params, *, is_valid=False, **how):
        """`fit` with its checks of parameters, in pieces: see `_pieces_of_fit`.

        params : dict
            Other arguments of `fit`.
        is_valid : bool, default=False
            Whether the parameters of the estimator have been checked.
        """
        if not (is_valid or get_config()["skip_parameter_validation"]):
            self._validate_params()
        sample_weight, *validation = _arguments_of_fit(**params)
        fit = self._pieces_of_fit(X, y, sample_weight, validation=validation, **how)
        return (yield from lazily("engine.pieces").within(_Unchecked, fit))

    @staticmethod
    def _checked_as_a_whole(X):
        """X as `fit` would make it, whichever of its rows it is given.

        Returns
        -------
        ndarray, sparse matrix or None
            For kernels to read in place, then an argument of `_pieces_of_fit`. None if
            fits must see their rows.
        """
        return None


class _Unchecked:
    """Context manager: what `fit` calls does not check its parameters.

    `sklearn.config_context` takes a fifth of an epoch of a small network.
    """

    def __enter__(self):
        self._skipped = get_config()["skip_parameter_validation"]
        set_config(skip_parameter_validation=True)

    def __exit__(self, *error):
        set_config(skip_parameter_validation=self._skipped)


def _arguments_of_fit(
    sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None
):
    """Those behind X and y, or a TypeError for others."""
    return sample_weight, X_val, y_val, sample_weight_val
