"""The playground: a page on which real estimators train before your eyes.

The module can be called: ``fastmlp.playground(X, y)`` shows the page in a notebook.
"""

import sys
from types import ModuleType

from fastmlp.playground.datasets import make_data
from fastmlp.playground.trainer import untrained

__all__ = ["OwnData", "make_data", "show", "untrained"]


def __getattr__(name):
    if name == "OwnData":  # needs pandas
        from fastmlp.playground.own_data import OwnData

        return OwnData
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def show(X=None, y=None, *, height=1000):
    """Show the playground in a notebook; elsewhere, return its address.

    The page is served by this process, for this machine only, as long as it lives.

    Parameters
    ----------
    X : array-like or DataFrame of shape (n_samples, n_features), default=None
        Data of your own; None for those of the playground.
    y : array-like of shape (n_samples,), default=None
        What to predict: classes or numbers.
    height : int, default=1000
        Of the output cell, in pixels.

    Returns
    -------
    IPython.display.IFrame or str

    Raises
    ------
    ValueError
        If the data cannot be used; the message says why.
    """
    from fastmlp.playground.server import serve_in_background

    own = None
    if X is not None:
        import pandas as pd

        from fastmlp.playground.own_data import OwnData

        frame = pd.DataFrame(X).rename(columns=str)
        if y is None:
            raise ValueError("X needs a y: what to predict")
        names = ("y", "target", "y_", "target_")
        target = next(name for name in names if name not in frame)
        values = f"{target}=pd.Series(y).to_numpy()"
        table = f"pd.DataFrame(X).rename(columns=str).assign({values})"
        own = OwnData.from_frame(
            frame.assign(**{target: pd.Series(y).to_numpy()}), target,
            source=f"OwnData.from_frame({table}, {target!r})",
        )  # fmt: skip
    address = serve_in_background(own)
    try:
        from IPython import get_ipython
        from IPython.display import IFrame
    except ImportError:
        return address
    return IFrame(address, "100%", height) if get_ipython() else address


class _Playground(ModuleType):
    def __call__(self, *arguments, **keywords):
        return show(*arguments, **keywords)


sys.modules[__name__].__class__ = _Playground
