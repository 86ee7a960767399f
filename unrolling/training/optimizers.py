"""Optimizers as values: what a stage names, a checkpoint compares and a weights card records. The work is torch's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

Group = dict[str, Any]  # {"params": [...], "lr": rate}


@dataclass(frozen=True)
class Optimizer:
    """Makes torch optimizers for groups of parameters, each with its learning rate."""

    def make(self, groups: list[Group]) -> list[torch.optim.Optimizer]:
        """One optimizer, or several where they share the work."""
        raise TypeError(f"{type(self).__name__} is an Optimizer without `make`")

    def describe(self) -> dict[str, Any]:
        """Plain values."""
        return {"name": type(self).__name__, **asdict(self)}


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, arXiv:1412.6980); with ``weight_decay`` it is AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101)."""

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def make(self, groups: list[Group]) -> list[torch.optim.Optimizer]:
        options: dict[str, Any] = {"betas": self.betas, "eps": self.eps}
        return [torch.optim.AdamW(groups, weight_decay=self.weight_decay, **options) if self.weight_decay else torch.optim.Adam(groups, **options)]


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent with momentum (Sutskever et al. 2013)."""

    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0

    def make(self, groups: list[Group]) -> list[torch.optim.Optimizer]:
        return [torch.optim.SGD(groups, momentum=self.momentum, nesterov=self.nesterov, weight_decay=self.weight_decay)]


@dataclass(frozen=True)
class LBFGS(Optimizer):
    """Limited-memory BFGS with a strong-Wolfe line search (Nocedal 1980), as TNRD and PDE-Net are trained.

    A step of the stage is a call of up to ``iterations`` inner iterations on one batch; ``Stage(repeat=...)`` keeps a batch for several steps, so that the
    curvature it remembers is that of the function it minimises. One learning rate for all parameters, 1 being the natural one.
    """

    iterations: int = 10
    memory: int = 10

    def make(self, groups: list[Group]) -> list[torch.optim.Optimizer]:
        rates = {group["lr"] for group in groups}
        if len(rates) > 1:
            raise ValueError(f"LBFGS has one learning rate for all parameters; this stage has {sorted(rates)}: leave out `rates` and `layer_decay`")
        parameters = [p for group in groups for p in group["params"]]
        return [torch.optim.LBFGS(parameters, lr=rates.pop(), max_iter=self.iterations, history_size=self.memory, line_search_fn="strong_wolfe")]


@dataclass(frozen=True)
class Muon(Optimizer):
    """Momentum orthogonalised by Newton-Schulz steps for matrices (Jordan et al. 2024), another optimizer for all other tensors.

    Attributes:
        momentum: of the matrices.
        weight_decay: of the matrices.
        others: for tensors that are not matrices, such as thresholds.
    """

    momentum: float = 0.95
    weight_decay: float = 0.0
    others: Optimizer = field(default_factory=Adam)

    def make(self, groups: list[Group]) -> list[torch.optim.Optimizer]:
        def some(matrices: bool) -> list[Group]:
            parts = [{**group, "params": [p for p in group["params"] if (p.ndim == 2) == matrices]} for group in groups]
            return [part for part in parts if part["params"]]

        made: list[torch.optim.Optimizer] = []
        if matrices := some(True):
            made.append(torch.optim.Muon(matrices, momentum=self.momentum, weight_decay=self.weight_decay))
        if others := some(False):
            made += self.others.make(others)
        return made

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "others": self.others.describe()}


def pack(optimizers: Iterable[torch.optim.Optimizer]) -> tuple[dict[str, Tensor], list[Any]]:
    """The states of optimizers as tensors by name and plain values, whatever they hold: L-BFGS keeps lists of directions and counts."""
    tensors: dict[str, Tensor] = {}

    def walk(value: Any, path: str) -> Any:
        if isinstance(value, Tensor):
            tensors[path] = value
            return {"tensor": path}
        if isinstance(value, dict):
            return {"dict": [[key, walk(item, f"{path}.{key}")] for key, item in value.items()]}
        if isinstance(value, list | tuple):
            return {"list": [walk(item, f"{path}.{number}") for number, item in enumerate(value)]}
        if value is None or isinstance(value, bool | int | float | str):
            return {"value": value}
        raise TypeError(f"an optimizer's state holds a {type(value).__name__} at {path}, which a checkpoint cannot keep")

    return tensors, [walk(optimizer.state_dict()["state"], f"optimizer.{number}") for number, optimizer in enumerate(optimizers)]


def unpack(optimizers: Iterable[torch.optim.Optimizer], tensors: dict[str, Tensor], record: list[Any]) -> None:
    """Put back what ``pack`` gave; learning rates and other settings stay those of the optimizers."""

    def walk(value: Any) -> Any:
        (kind, content), *_ = value.items()
        if kind == "tensor":
            return tensors[content]
        if kind == "dict":
            return {key: walk(item) for key, item in content}
        if kind == "list":
            return [walk(item) for item in content]
        return content

    for optimizer, state in zip(optimizers, record, strict=True):
        optimizer.load_state_dict({**optimizer.state_dict(), "state": walk(state)})
