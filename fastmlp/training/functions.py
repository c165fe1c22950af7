"""Functions that the user passes in: what they must return."""

import numpy as np

__all__ = ["name_of", "number_returned"]


def name_of(function):
    """What to call a function, or the name of one, in a message."""
    return getattr(function, "__qualname__", repr(function))


def number_returned(value, function, parameter):
    """What a function returned, as a float.

    Parameters
    ----------
    value : object
        What it returned.
    function : callable or str
        The function, or a name for it.
    parameter : str
        Of the estimator, where the function was passed.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If it is no real number, with a message that names the function.
    """
    if not (isinstance(value, str | bytes) or np.iscomplexobj(value)):
        try:
            return float(value)
        except (TypeError, ValueError):
            pass
    raise ValueError(
        f"{parameter}={name_of(function)} must return a number, such as 0.5; "
        f"it returned {value!r:.80}"
    )
