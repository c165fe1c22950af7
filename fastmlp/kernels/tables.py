"""How a table of functions becomes one kernel that branches on an integer code."""

import inspect

from fastmlp.compilation import jit

__all__ = ["dispatch"]


def dispatch(cases):
    """A jitted function (code, *arguments) that calls the case of that code.

    Parameters
    ----------
    cases : sequence of (int, jitted function)
        All functions take the same arguments and return nothing.

    Notes
    -----
    numba cannot index a tuple of functions, so the chain of comparisons is written
    out here, from the table, which stays the only list of its rows::

        def choose(code, x, count):
            if code == 0:
                case_0(x, count)
            elif code == 1:
                ...

    (Folding closures into each other does it without source text, but makes a
    function for numba to compile of every row: a second more for the first fit.)
    Callers branch once for a block of numbers, never per number.
    """
    arguments = ", ".join(inspect.signature(cases[0][1].py_func).parameters)
    lines = [f"def choose(code, {arguments}):"]
    namespace = {}
    for i, (code, case) in enumerate(cases):
        namespace[f"case_{i}"] = case
        lines.append(f"    {'elif' if i else 'if'} code == {code}:")
        lines.append(f"        case_{i}({arguments})")
    exec("\n".join(lines), namespace)
    return jit(namespace["choose"])
