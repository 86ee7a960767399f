"""Ways to divide the parameters of an iteration into tied and untied ones."""

from __future__ import annotations

from unrolling.core import Iteration
from unrolling.core.naming import parameter_names

Group = tuple[tuple[str, ...], tuple[str, ...]]


def groups(iteration: Iteration) -> list[Group]:
    """Ways to divide the parameters into (tied, untied): none learned, all tied, all untied, and the two alternating
    mixtures.
    """
    names = tuple(parameter_names(iteration))
    if not names:
        return [((), ())]
    ways: list[Group] = [((), ()), (names, ()), ((), names)]
    if len(names) > 1:
        ways += [(names[::2], names[1::2]), (names[1::2], names[::2])]
    return ways
