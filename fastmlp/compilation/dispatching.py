"""Turn a table of functions into one kernel that branches on an integer code."""

import inspect

from fastmlp.compilation import jit

__all__ = ["dispatch"]


def dispatch(cases, otherwise=None):
    """A jitted function (code, *arguments) that calls the case of that code.

    Parameters
    ----------
    cases : sequence of (int, jitted function)
        All functions take the same arguments and return nothing.
    otherwise : jitted function, default=None
        (code, *arguments) for other codes; None if there are none.

    Notes
    -----
    numba cannot index a tuple of functions.  So the source of a chain of comparisons is
    generated from the table, which stays the only list of its rows::

        def choose(code, x, count):
            if code == 0:
                case_0(x, count)
            elif code == 1:
                ...

    (Nested closures would need no source text, but numba would compile one function per
    row: the first fit would take a second longer.)  Callers branch once per block of
    numbers, never per number.
    """
    arguments = ", ".join(inspect.signature(cases[0][1].py_func).parameters)
    lines = [f"def choose(code, {arguments}):"]
    namespace = {}
    for i, (code, case) in enumerate(cases):
        namespace[f"case_{i}"] = case
        lines.append(f"    {'elif' if i else 'if'} code == {code}:")
        lines.append(f"        case_{i}({arguments})")
    if otherwise is not None:
        namespace["otherwise"] = otherwise
        lines.append(f"    else:\n        otherwise(code, {arguments})")
    exec("\n".join(lines), namespace)
    return jit(namespace["choose"])
