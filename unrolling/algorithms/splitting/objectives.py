"""Which iterations have an objective: those whose proxes are of penalties that somebody knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from unrolling.core.naming import class_name


def objective_of(iteration: Any, value: Callable[..., Tensor], *proxes: Any) -> Callable[..., Tensor]:
    """An iteration's objective, unless one of its proxes says ``penalty = None``, as denoisers do.

    Raises:
        AttributeError: one does.
    """
    for prox in proxes:
        if getattr(prox, "penalty", value) is None:
            raise AttributeError(
                f"a denoiser has no known penalty, and so {class_name(iteration)} with {type(prox).__name__} no "
                "objective"
            )
    return value
