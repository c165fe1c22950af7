"""How a table of functions becomes one kernel that branches on an integer code."""

from fastmlp.compilation import jit

__all__ = ["dispatch"]


def dispatch(cases):
    """A jitted function (code, *arguments) that calls the case of that code.

    Parameters
    ----------
    cases : sequence of (int, jitted function)
        All functions take the same arguments and return nothing (or all return
        the same type).  The last one also serves every code not listed.

    Notes
    -----
    numba cannot index a tuple of functions, so the chain of comparisons is
    folded together here; a table's rows are then its only list.  Callers branch
    once for a block of numbers, never per number.
    """
    (code, case), *others = cases
    if not others:

        @jit
        def last(which, *arguments):
            return case(*arguments)

        return last

    otherwise = dispatch(others)

    @jit
    def choose(which, *arguments):
        if which == code:
            return case(*arguments)
        return otherwise(which, *arguments)

    return choose
