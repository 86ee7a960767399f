"""What the conformance checks share: samples of data, plain loops, watches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.gradcheck import GradcheckError

from unrolling.core import Iteration, Unrolled, tree
from unrolling.core.batch import Batch
from unrolling.testing.compare import same_bits


def size(iteration: Iteration, data: Any) -> int:
    """The number of samples; 1 where there is no batch."""
    return Batch(data, iteration).size if iteration.batched else 1


def part(iteration: Iteration, data: Any, *samples: int) -> Any:
    """Some samples of the data; all of it where there is no batch."""
    if not iteration.batched:
        return data
    return Batch(data, iteration).select(data, torch.tensor(samples, dtype=torch.int64))


def first(iteration: Iteration, data: Any, count: int) -> Any:
    """At most so many samples."""
    return part(iteration, data, *range(min(count, size(iteration, data))))


def name_of(iteration: Iteration) -> str:
    """The class as its author calls it."""
    return type(iteration).__name__.removeprefix("Parametrized")


def explain(action: Callable[[], Any], what: str) -> None:
    try:
        action()
    except AssertionError as error:
        raise AssertionError(f"{what}: {error}") from error
    except GradcheckError as error:
        raise AssertionError(f"{what} disagrees with finite differences: {error}") from error


def loop(iteration: Iteration, data: Any, depth: int) -> list[Any]:
    """The states after each step of a plain loop."""
    problem = iteration.prepare(data)
    state = iteration.start(problem)
    states = []
    for _ in range(depth):
        state = iteration(state, problem)
        states.append(state)
    return states


def count_prepare(layers: list[Iteration]) -> list[int]:
    """A list that grows by one entry with each call of a layer's ``prepare``; not when a step calls the same module by
    another name.
    """
    calls: list[int] = []
    for layer in {id(layer): layer for layer in layers}.values():
        if "prepare" in layer._modules:
            layer._modules["prepare"] = _Counted(layer.prepare, calls)
        else:
            layer.__dict__["prepare"] = _Counted(layer.prepare, calls)
    return calls


class _Counted(nn.Module):
    def __init__(self, function: Callable[[Any], Any], calls: list[int]) -> None:
        super().__init__()
        self.function, self.calls = function, calls

    def forward(self, data: Any) -> Any:
        self.calls.append(1)
        return self.function(data)


class Watch:
    """Remembers the values and the version counters of tensors, so that a write shows even if it changes nothing."""

    def __init__(self, item: Any, name: str) -> None:
        self.item, self.name = item, name
        self.versions = [t._version for t in tree.tensors(item)]
        self.values = tree.apply(lambda t: t.detach().clone(), item)

    def unchanged(self, by: str) -> None:
        written = [
            path
            for (path, t), v in zip(tree.named_tensors(self.item, self.name), self.versions, strict=True)
            if t._version != v
        ]
        assert not written, (
            f"{by} wrote into {', '.join(written)}; a step returns new tensors and leaves its inputs alone"
        )
        same_bits(self.item, self.values, f"{self.name} after {by}")


def double(tensor: Tensor) -> Tensor:
    """Numbers in double precision."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float64)) if tree.is_number(tensor) else tensor


def double_net(net: Unrolled) -> Unrolled:
    """A network in double precision; ``Module.double`` would turn complex tensors into real ones."""
    return net._apply(double)


def move(net: nn.Module) -> None:
    """Shift every learned tensor a little, each in its own way."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter += 0.01 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(parameter)
