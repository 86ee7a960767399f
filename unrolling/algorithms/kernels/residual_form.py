"""All layers of x <- T_k(x + s_k W_k (y - A x)), from data to the last state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolling.algorithms.kernels.packed_steps import FEWEST, run_packed_steps
from unrolling.algorithms.kernels.shrinkage import Shrinkage, own_copy, suits
from unrolling.algorithms.kernels.thin_step import run_thin_steps, thin_step


class ResidualStep(NamedTuple):
    """One layer."""

    encoder: Tensor  # (n, m): W
    threshold: Tensor  # theta, a number or (n,)
    scale: float = 1.0  # s


class ResidualForm:
    """x <- T_k(x + s_k W_k (y - A x)) for real y (batch, m): the first step from zero is T_0(s_0 W_0 y) in new memory,
    and all others write into that. T is soft-thresholding, or support selection.

    Single samples, and batches in float32, take C++ kernels through all layers at once.

    Args:
        dictionary: A (m, n).
        steps: at least one.
        count: the number of a step -> how many entries of a row it selects; None where none ever does.
    """

    def __init__(
        self, dictionary: Tensor, steps: Sequence[ResidualStep], count: Callable[[int], int] | None = None
    ) -> None:
        self.dictionary, self.steps = dictionary, list(steps)
        self._shrink = [Shrinkage(step.threshold, count) for step in steps]
        thin = [
            thin_step(step.encoder, dictionary, step.threshold if count is None else _zero(step.threshold), step.scale)
            for step in steps
        ]
        parts = [part for part in thin if part is not None]
        whole = len(parts) == len(thin)
        self._single = run_thin_steps(parts) if whole and count is None else None
        self._packed = run_packed_steps(parts) if whole and count is None else None
        self._moves = [run_thin_steps([part]) for part in parts] if whole and count is not None else None

    def __call__(self, y: Any, x: Any = None, taken: int = 0) -> Tensor | None:
        """x (batch, n) after all layers; None for data or a state that are of another kind.

        Args:
            y: (batch, m).
            x: before the first layer; zero by default. It is not written into.
            taken: how many steps were taken before.
        """
        if not suits(y, self.dictionary):
            return None
        if x is not None and (x := own_copy(x, y, self.dictionary.shape[1])) is None:
            return None
        batch, n = y.shape[0], self.dictionary.shape[1]
        if self._single is not None and batch == 1:
            return self._single(y.new_zeros(1, n) if x is None else x, y)
        if self._packed is not None and x is None and batch >= FEWEST:
            return self._packed(y)
        return self._steps(y, x, taken)

    def _steps(self, y: Tensor, x: Tensor | None, taken: int) -> Tensor:
        down, gap = self.dictionary.T, torch.empty_like(y, memory_format=torch.contiguous_format)
        for number, (step, shrink) in enumerate(zip(self.steps, self._shrink, strict=True)):
            up = step.encoder.T
            if x is None:
                moved = torch.mm(y, up)
                moved = moved if step.scale == 1.0 else moved.mul_(step.scale)
            elif self._moves is not None and y.shape[0] == 1:
                moved = self._moves[number](x, y)
            else:
                torch.addmm(y, x, down, alpha=-1, out=gap)
                moved = x.addmm_(gap, up, alpha=step.scale)
            x = shrink(moved, taken + number)
        assert x is not None
        return x


def _zero(threshold: Tensor) -> Tensor:
    return torch.zeros_like(threshold.reshape(-1)[:1])
