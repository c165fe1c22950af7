"""Covering designs: few cases in which every combination of a few factors occurs.

Most faults show when two or three settings meet (Kuhn, Wallace and Gallo, IEEE
Transactions on Software Engineering 30 (2004)), so that a small part of the full
product finds what the whole would.
"""

import random
from itertools import combinations, product

__all__ = ["covering", "uncovered"]


def _combinations_in(case, strength):
    """All combinations of `strength` factors, in order of names, and their values."""
    return combinations(sorted(case.items(), key=_name), strength)


def _name(item):
    return item[0]


def _all_combinations(factors, strength, forbidden):
    for names in combinations(sorted(factors), strength):
        for values in product(*(factors[name] for name in names)):
            case = dict(zip(names, values, strict=True))
            if not forbidden(case):
                yield tuple(case.items())


def covering(factors, strength=2, forbidden=lambda case: False):
    """Cases in which all combinations of the values of `strength` factors occur.

    Greedy: each case starts with a combination that is still missing, and takes for the
    other factors, in random order, the value that adds most combinations.

    Parameters
    ----------
    factors : dict of str to sequence
        Name of a factor -> its values.
    strength : int, default=2
    forbidden : callable, default=never
        Whether a case, which may lack factors, cannot exist.

    Returns
    -------
    list of dict
        The same for each call.
    """
    shuffled = random.Random(0)
    missing = dict.fromkeys(_all_combinations(factors, strength, forbidden))
    cases = []
    while missing:
        case = dict(next(iter(missing)))
        rest = [name for name in factors if name not in case]
        shuffled.shuffle(rest)
        for name in rest:
            values = list(factors[name])
            shuffled.shuffle(values)
            allowed = [v for v in values if not forbidden({**case, name: v})]
            case[name] = max(
                allowed,
                key=lambda value, case=case, name=name: sum(
                    (name, value) in some and some in missing
                    for some in _combinations_in({**case, name: value}, strength)
                ),
            )
        for each in _combinations_in(case, strength):
            missing.pop(each, None)
        cases.append({name: case[name] for name in factors})
    return cases


def uncovered(cases, factors, strength, forbidden=lambda case: False):
    """Combinations that occur in none of the cases."""
    found = {each for case in cases for each in _combinations_in(case, strength)}
    return set(_all_combinations(factors, strength, forbidden)) - found
