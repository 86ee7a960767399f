"""All layers of x <- T_k(E_k y + M_k x), from data to the last state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolling.algorithms.kernels.shrinkage import Scratch, Shrinkage, own_copy, suits


class ProductStep(NamedTuple):
    """One layer."""

    encoder: Tensor  # (n, m): E; layers that hold the same tensor share the product with y
    mixer: Tensor  # (n, n): M
    threshold: Tensor  # theta, a number or (n,)


class ProductForm:
    """x <- T_k(E_k y + M_k x) for real y (batch, m): one product a layer into memory that is used again; the first step
    from zero needs none. T is soft-thresholding, or support selection.

    Args:
        steps: at least one.
        count: the number of a step -> how many entries of a row it selects; None where none ever does.
    """

    def __init__(self, steps: Sequence[ProductStep], count: Callable[[int], int] | None = None) -> None:
        self.steps = list(steps)
        self._shrink = [Shrinkage(step.threshold, count) for step in steps]
        self._scratch = Scratch()

    def __call__(self, y: Any, x: Any = None, taken: int = 0) -> Tensor | None:
        """x (batch, n) after all layers; None for data or a state that are of another kind.

        Args:
            y: (batch, m).
            x: before the first layer; zero by default. It is not written into.
            taken: how many steps were taken before.
        """
        first = self.steps[0].encoder
        if not suits(y, first):
            return None
        n, last = first.shape[0], len(self.steps) - 1
        if x is not None and (x := own_copy(x, y, n)) is None:
            return None
        encoded: dict[int, Tensor] = {}
        for number, (step, shrink) in enumerate(zip(self.steps, self._shrink, strict=True)):
            b = encoded.get(id(step.encoder))
            if b is None:
                b = encoded[id(step.encoder)] = y @ step.encoder.T
            if x is None:
                moved = b.clone()
            else:
                moved = torch.addmm(b, x, step.mixer.T, out=self._scratch.next(b, n, x, number == last))
            x = shrink(moved, taken + number)
        return x
