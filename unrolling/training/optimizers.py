"""Optimizers as values: what a stage names, a checkpoint compares and a weights card records. The work is torch's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any, ClassVar

import torch
from torch import Tensor

from unrolling._extras import extra

SMALLEST = 1e-3  # of a tensor's singular values on average, where its norm sets the step: zeros shall move too
Group = dict[str, Any]  # {"params": [...], "lr": rate}


@dataclass(frozen=True)
class Optimizer:
    """Makes torch optimizers for groups of parameters, each with its learning rate."""

    takes_closure: ClassVar[bool] = False  # whether a step evaluates the loss itself, as often as it wants
    needs_gradients: ClassVar[bool] = True  # whether an evaluation must be followed by a backward pass

    def make(self, groups: list[Group]) -> list[torch.optim.Optimizer]:
        """One optimizer, or several where they share the work."""
        raise TypeError(f"{type(self).__name__} is an Optimizer without `make`")

    def describe(self) -> dict[str, Any]:
        """Plain values."""
        return {"name": type(self).__name__, **asdict(self)}


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, arXiv:1412.6980); with ``weight_decay`` it is AdamW (Loshchilov and Hutter 2019,
    arXiv:1711.05101).
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def make(self, groups: list[Group]) -> list[torch.optim.Optimizer]:
        options: dict[str, Any] = {"betas": self.betas, "eps": self.eps, "fused": _fusable(groups) or None}
        return [
            torch.optim.AdamW(groups, weight_decay=self.weight_decay, **options)
            if self.weight_decay
            else torch.optim.Adam(groups, **options)
        ]


def _fusable(groups: list[Group]) -> bool:
    """Whether torch's fused kernel on the processor takes all parameters: it is three times as fast, on 32 numbers as
    on 2 million, and knows neither complex numbers nor other strides than a contiguous tensor's.
    """
    return all(p.is_cpu and p.is_floating_point() and p.is_contiguous() for group in groups for p in group["params"])


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

    A step of the stage is a call of up to ``iterations`` inner iterations on one batch; ``Stage(repeat=...)`` keeps a
    batch for several steps, so that the curvature it remembers is that of the function it minimises. One learning rate
    for all parameters, 1 being the natural one.
    """

    takes_closure = True
    iterations: int = 10
    memory: int = 10

    def make(self, groups: list[Group]) -> list[torch.optim.Optimizer]:
        rates = {group["lr"] for group in groups}
        if len(rates) > 1:
            raise ValueError(
                f"LBFGS has one learning rate for all parameters; this stage has {sorted(rates)}: leave "
                "out `rates` and `layer_decay`"
            )
        parameters = [p for group in groups for p in group["params"]]
        return [
            torch.optim.LBFGS(
                parameters,
                lr=rates.pop(),
                max_iter=self.iterations,
                history_size=self.memory,
                line_search_fn="strong_wolfe",
            )
        ]


@dataclass(frozen=True)
class Muon(Optimizer):
    """Momentum orthogonalised by Newton-Schulz steps for matrices (Jordan et al. 2024), another optimizer for all other
    tensors.

    Attributes:
        momentum: of the matrices.
        weight_decay: of the matrices.
        kernels: whether kernels of convolutions, of three dimensions and more, are matrices too, (first, all others).
            Matrices and kernels then move by the learning rate times their own norm in every step, whatever their size.
        others: for tensors that are not matrices, such as thresholds.

    Raises:
        ValueError: ``weight_decay`` with ``kernels``, whose steps are a part of their norm.
    """

    momentum: float = 0.95
    weight_decay: float = 0.0
    kernels: bool = False
    others: Optimizer = field(default_factory=Adam)

    def __post_init__(self) -> None:
        if self.kernels and self.weight_decay:
            raise ValueError("with kernels=True steps are a part of a tensor's norm, and weight_decay has no meaning")

    def make(self, groups: list[Group]) -> list[torch.optim.Optimizer]:
        def is_matrix(p: Tensor) -> bool:
            return p.is_floating_point() and p.ndim > 1 and min(_as_matrix(p)) > 1 if self.kernels else p.ndim == 2

        def some(matrices: bool) -> list[Group]:
            parts = [{**group, "params": [p for p in group["params"] if is_matrix(p) == matrices]} for group in groups]
            return [part for part in parts if part["params"]]

        made: list[torch.optim.Optimizer] = []
        if matrices := some(True):
            if self.kernels:
                made.append(_Orthogonalised(matrices, self.momentum))
            else:
                made.append(torch.optim.Muon(matrices, momentum=self.momentum, weight_decay=self.weight_decay))
        if others := some(False):
            made += self.others.make(others)
        return made

    def describe(self) -> dict[str, Any]:
        described = {**super().describe(), "others": self.others.describe()}
        if not self.kernels:  # cards and checkpoints that were written before there was a choice
            del described["kernels"]
        return described


class _Orthogonalised(torch.optim.Optimizer):
    """W <- W - rate |W| U / sqrt(r), U the orthogonal factor of the momentum by five Newton-Schulz steps, r the smaller
    side: torch's Muon for tensors of any dimension, and steps that are a part of the tensor's norm.
    """

    def __init__(self, groups: list[Group], momentum: float) -> None:
        super().__init__(groups, {"momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                mean = self.state[p].setdefault("momentum", torch.zeros_like(p))
                mean.lerp_(p.grad, 1 - group["momentum"])
                rows, columns = _as_matrix(p)
                factor = _orthogonal(p.grad.lerp(mean, group["momentum"]).reshape(rows, columns)).reshape(p.shape)
                least = min(rows, columns) ** 0.5
                p.sub_(factor.to(p.dtype) * (group["lr"] * p.norm().clamp_min(SMALLEST * least) / least))


def _as_matrix(p: Tensor) -> tuple[int, int]:
    return p.shape[0], p.numel() // max(p.shape[0], 1)


def _orthogonal(matrix: Tensor) -> Tensor:
    """Singular values brought near 1 by the quintic of Jordan et al. 2024; in single precision, in which processors
    without a unit for bfloat16 multiply faster.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.float()
    wide = x.T if x.shape[0] > x.shape[1] else x
    wide = wide / (wide.norm() + 1e-7)
    for _ in range(5):
        gram = wide @ wide.T
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    return wide.T if x.shape[0] > x.shape[1] else wide


@dataclass(frozen=True)
class NelderMead(Optimizer):
    """Search without gradients for a handful of numbers (HyperLISTA's three): random draws, then the simplex of Nelder
    and Mead 1965 (doi:10.1093/comjnl/7.4.308) from the best of them.

    A step of the stage is a whole search on one batch, so that all evaluations compare the same function; a further
    step searches again on another batch. Draws are uniform within the stage's learning rate of the present values, in
    the free coordinates: of a ``Positive`` parameter, log-uniform between v exp(-rate) and v exp(rate). The present
    values are tried too and are kept if nothing is better. scipy does the search.

    Attributes:
        draws: random points at first, at least 0.
        evaluations: of the loss, after the draws, at most.
        simplex: first edge of the simplex, as a fraction of the learning rate.
        tolerance: the search ends early when the simplex's losses differ by less than this.
    """

    takes_closure = True
    needs_gradients = False
    draws: int = 24
    evaluations: int = 60
    simplex: float = 0.15
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        if self.draws < 0 or self.evaluations < 1:
            raise ValueError(
                f"NelderMead needs draws of at least 0 and evaluations of at least 1; got {self.draws} "
                f"and {self.evaluations}"
            )
        if not (self.simplex > 0 and self.tolerance >= 0):
            raise ValueError(
                f"NelderMead needs a simplex above 0 and a tolerance of at least 0; got {self.simplex} "
                f"and {self.tolerance}"
            )

    def make(self, groups: list[Group]) -> list[torch.optim.Optimizer]:
        count = sum(p.numel() for group in groups for p in group["params"])
        if count > _MOST_SEARCHED:
            raise ValueError(
                f"NelderMead searches for at most {_MOST_SEARCHED} numbers, and this stage trains "
                f"{count}: use an optimizer with gradients"
            )
        return [_Search(groups, self)]


_MOST_SEARCHED = 20


class _Search(torch.optim.Optimizer):
    """The search of ``NelderMead`` in the form of a torch optimizer."""

    def __init__(self, groups: list[Group], settings: NelderMead) -> None:
        super().__init__(groups, {})
        self.settings = settings

    @torch.no_grad()
    def step(self, closure: Callable[[], Any]) -> float:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Leaves the parameters at the best point found, and returns its loss; torch's generator draws the points."""
        with extra("this optimizer"):
            from scipy.optimize import minimize

        parameters = [p for group in self.param_groups for p in group["params"]]
        width = torch.cat(
            [
                torch.full((p.numel(),), float(group["lr"]), dtype=torch.float64)
                for group in self.param_groups
                for p in group["params"]
            ]
        )
        here = torch.cat([p.detach().flatten().double().cpu() for p in parameters])
        best, least = here, float("inf")

        def put(point: Tensor) -> None:
            for p, values in zip(parameters, point.split([p.numel() for p in parameters]), strict=True):
                p.copy_(values.reshape(p.shape))

        def value(point: Tensor) -> float:
            nonlocal best, least
            put(point)
            loss = float(closure())
            # A point at which the network diverges is a bad point, and no reason to give up.
            loss = loss if isfinite(loss) else float("inf")
            if loss < least:
                best, least = point.clone(), loss
            return loss

        for number in range(self.settings.draws + 1):
            value(here + width * (2 * torch.rand(len(here), dtype=torch.float64) - 1) if number else here)
        corners = torch.cat([best.unsqueeze(0), best + self.settings.simplex * torch.diag(width)])
        options = {
            "initial_simplex": corners.numpy(),
            "maxfev": self.settings.evaluations,
            "fatol": self.settings.tolerance,
            "xatol": float("inf"),
        }
        minimize(lambda x: value(torch.from_numpy(x)), corners[0].numpy(), method="Nelder-Mead", options=options)
        put(best)
        return least


def pack(optimizers: Iterable[torch.optim.Optimizer]) -> tuple[dict[str, Tensor], list[Any]]:
    """The states of optimizers as tensors by name and plain values, whatever they hold: L-BFGS keeps lists of
    directions and counts.
    """
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
        raise TypeError(
            f"an optimizer's state holds a {type(value).__name__} at {path}, which a checkpoint cannot keep"
        )

    return tensors, [
        walk(optimizer.state_dict()["state"], f"optimizer.{number}") for number, optimizer in enumerate(optimizers)
    ]


def unpack(optimizers: Iterable[torch.optim.Optimizer], tensors: dict[str, Tensor], record: list[Any]) -> None:
    """Put back what ``pack`` gave; learning rates and other settings stay those of the optimizers."""

    def walk(value: Any) -> Any:
        (kind, content), *_ = value.items()
        if kind == "tensor":
            # What a file brings lies in memory with another alignment, and dot products, such as those of L-BFGS, then
            # add up in another order.
            return tensors[content].clone()
        if kind == "dict":
            return {key: walk(item) for key, item in content}
        if kind == "list":
            return [walk(item) for item in content]
        return content

    for optimizer, state in zip(optimizers, record, strict=True):
        optimizer.load_state_dict({**optimizer.state_dict(), "state": walk(state)})
