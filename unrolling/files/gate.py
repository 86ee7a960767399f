"""The gate that every output passes before it is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

T = TypeVar("T", Tensor, np.ndarray)


def checked(values: T, what: str, shape: Sequence[int | None] | None = None) -> T:
    """The values, if they can be an output: finite numbers, at least one of them, of the shape that is wanted.

    Args:
        values: real or complex numbers.
        what: they are, for the message: "the estimates".
        shape: sizes; None for any size.

    Raises:
        ValueError: they are not.
    """
    found = tuple(int(size) for size in values.shape)
    if shape is not None and (
        len(found) != len(shape) or any(w not in (None, g) for g, w in zip(found, shape, strict=True))
    ):
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{what} have the shape {found}, and ({wanted}) is right; nothing is written")
    if 0 in found:
        raise ValueError(f"{what} have the shape {found}: there is nothing to write")
    if isinstance(values, Tensor):
        bad = 0 if _finite(values) else int((~torch.isfinite(values)).sum())
    else:
        bad = int((~np.isfinite(values)).sum())
    if bad:
        raise ValueError(
            f"{what} are not finite: {bad} of {int(np.prod(found))} values are NaN or infinite, so that nothing is "
            "written; the input may be too large or too small for single precision"
        )
    return values


def _finite(values: Tensor) -> bool:
    """Whether all are; a sum tells without memory of the size of the values, but for sums that overflow."""
    if not (values.is_floating_point() or values.is_complex()):
        return True
    return bool(torch.isfinite(values.detach().sum())) or bool(torch.isfinite(values).all())
