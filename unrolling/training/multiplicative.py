"""The multiplicative update of non-negative parameters, as an optimizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unrolling.training.optimizers import Group, Optimizer


class MultiplicativeUpdate(torch.optim.Optimizer):
    """W <- W . ((G- + e) / (G+ + e))^rate for tensors that carry a ``split_gradient`` (G+, G-) of their gradient; a
    split is used once.

    Args:
        params: as torch's optimizers take them; non-negative, and a zero stays zero.
        lr: the exponent; 1 is the update of Lee and Seung, less is slower and safer on random batches.
        floor: e, relative to the mean of G+ + G-: how far an entry can move that hardly matters to the loss.
    """

    def __init__(self, params: Any, lr: float, floor: float = 1e-3) -> None:
        super().__init__(params, {"lr": lr, "floor": floor})

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Any:  # pyright: ignore
        """One update.

        Raises:
            RuntimeError: a parameter without a split: the network needs the gradient rule that leaves it.
        """
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                split = getattr(parameter, "split_gradient", None)
                if split is None:
                    raise RuntimeError(
                        "a multiplicative update needs both parts of the gradient: unroll with "
                        "gradient=SplitGradient() and train dictionaries only"
                    )
                floor = group["floor"] * (split.positive + split.negative).mean() + torch.finfo(parameter.dtype).tiny
                parameter.mul_(((split.negative + floor) / (split.positive + floor)) ** group["lr"])
                del parameter.split_gradient
        return loss


@dataclass(frozen=True)
class Multiplicative(Optimizer):
    """``MultiplicativeUpdate``: keeps dictionaries non-negative by itself (Hershey, Le Roux and Weninger 2014,
    arXiv:1409.2574). The rate is an exponent.

    Together with ``Stage(project={"dictionary": PositiveUnitNorm()})`` columns keep their unit norm.
    """

    floor: float = 1e-3

    def make(self, groups: list[Group]) -> list[torch.optim.Optimizer]:
        return [MultiplicativeUpdate(groups, lr=1.0, floor=self.floor)]
