"""What a network does with fixed inputs, which tells whether its algorithm has changed since its weights were made, and
which learned numbers its estimate does not depend on.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.core import Unrolled, tree
from unrolling.training.learnables import Learnable, learnables

TOLERANCE = 0.02  # relative: what two machines may differ by, in networks that decide
JITTER, TRIES, SLACK = 1e-6, 3, 4  # inputs are changed by as much, so often; by how much machines may differ more
ROUNDING = 1e-12  # of the largest gradient: what is smaller is zero but for rounding, in double precision
MOVED = 0.01  # by how much a learned number is moved to see whether anything follows, relative and absolute


def behaviour(network: nn.Module, data: Any) -> dict[str, Any]:
    """Norms of the estimate of fixed inputs, and of the gradient in each learned tensor of a fixed random projection of
    it, in double precision where the network knows it.

    Args:
        network: it is not changed.
        data: fixed inputs, a task's ``example``.
    """
    estimate, slopes, _, _ = _run(network, data)
    return {
        "estimate": [_short(value.norm()) for value in tree.tensors(estimate) if tree.is_number(value)],
        "gradients": {key: _short(value) for key, value in slopes.items()},
    }


def differences(network: nn.Module, data: Any, record: Mapping[str, Any]) -> list[str]:
    """In words, where a network no longer behaves as ``record`` says; nothing where it does."""
    now = behaviour(network, data)
    found = []
    if len(now["estimate"]) != len(record["estimate"]) or not all(map(_near, now["estimate"], record["estimate"])):
        found.append(f"its estimate had norm {record['estimate']} and has {now['estimate']}")
    gradients = record["gradients"]
    if now["gradients"].keys() != gradients.keys():
        found.append(f"it learned {', '.join(gradients)} and learns {', '.join(now['gradients'])}")
        return found
    largest = max(gradients.values(), default=0.0)
    nothing = ROUNDING * largest
    other = {
        key: value
        for key, value in now["gradients"].items()
        if not _near(value, gradients[key], 1e-6 * largest) or (value <= nothing) != (gradients[key] <= nothing)
    }
    if other:  # gradients jump where another rounding crosses a threshold: by as much as they do for rounded inputs
        jumps = _jumps(network, data, now["gradients"])
        other = {key: value for key, value in other.items() if abs(value - gradients[key]) > SLACK * jumps[key]}
    found += [f"the gradient in {key} had norm {gradients[key]:.4g} and has {v:.4g}" for key, v in other.items()]
    return found


def _jumps(network: nn.Module, data: Any, gradients: Mapping[str, float]) -> dict[str, float]:
    """By how much norms of gradients change where numbers of the inputs are smaller by up to a millionth."""
    generator, most = torch.Generator().manual_seed(0), dict.fromkeys(gradients, 0.0)

    def smaller(tensor: Tensor) -> Tensor:
        if not tree.is_number(tensor):
            return tensor
        return tensor * (1 - JITTER * torch.rand(tensor.shape, generator=generator)).to(tensor.real.dtype)

    for _ in range(TRIES):
        try:
            found = behaviour(network, tree.apply(smaller, data))["gradients"]
        except (TypeError, ValueError):  # inputs that are only what they are, such as masks
            break
        most = {key: max(value, abs(found[key] - gradients[key])) for key, value in most.items()}
    return most


def without_influence(network: nn.Module, data: Any) -> list[str]:
    """The learned tensors that the estimate does not depend on, nor what else a loss may see: without gradient, and
    moved without any change.

    A number that only decides, such as how many entries are kept, has no gradient and may still count. What is found
    here is named by ``unroll train`` and in the card, and is not refused: the first layers of published networks have
    such numbers (``unused_at_start``), and what fixed inputs do not need others may.

    Args:
        network: it is not changed.
        data: fixed inputs, a task's ``example``.
    """
    estimate, slopes, twin, inputs = _run(network, data)
    idle = [
        item for item in learnables(twin) if slopes[item.key] == 0 and not _counts(twin, twin, item, estimate, inputs)
    ]
    if idle and isinstance(twin, Unrolled):
        with torch.no_grad():
            seen = twin.supervised(inputs)
        idle = [item for item in idle if not _counts(twin.supervised, twin, item, seen, inputs)]
    return [item.key for item in idle]


def unused_at_start(network: nn.Module) -> list[str]:
    """The learned tensors that the first layer of a network has to itself and cannot use, as its algorithm says
    (``Iteration.unused_at_start``).
    """
    layers = getattr(network, "layers", None)
    if not layers:
        return []
    own = {
        ".".join(filter(None, ("layers.0", path, name)))
        for path, part in layers[0].named_modules()
        for name in getattr(part, "unused_at_start", ())
    }
    return [item.key for item in learnables(network) if item.key in own]


def _counts(run: Callable[[Any], Any], network: nn.Module, item: Learnable, found: Any, data: Any) -> bool:
    """Whether what ``run`` finds changes where a learned tensor of the network is moved, either way."""
    held = item.tensor.detach().clone()
    with torch.no_grad():
        for sign in (1.0, -1.0, 30.0, -30.0):
            item.tensor.copy_(held + sign * MOVED * (1 + held.abs()))
            changed = any(
                not torch.equal(a, b) for a, b in zip(tree.tensors(run(data)), tree.tensors(found), strict=True)
            )
            item.tensor.copy_(held)
            if changed:
                return True
    return False


def _run(network: nn.Module, data: Any) -> tuple[Any, dict[str, float], nn.Module, Any]:
    """The estimate, norms of gradients by learned tensor, the network that made them, and its inputs."""
    for number in (_double, _same):
        twin = copy.deepcopy(network).eval()
        if isinstance(twin, Unrolled):
            twin.load_learned(twin.learned())  # a bounded number has slope 1 where it was loaded, not where it has got
        twin._apply(number)
        twin.zero_grad(set_to_none=True)
        inputs = tree.apply(number, data)
        try:
            estimate = twin(inputs)
            generator = torch.Generator().manual_seed(0)
            parts = [value for value in tree.tensors(estimate) if tree.is_number(value)]
            total = sum((_projected(value, generator) for value in parts), start=torch.zeros(()))
            if total.requires_grad:
                total.backward()
        except (TypeError, ValueError, RuntimeError):
            if number is _same:
                raise
            continue
        slopes = {
            item.key: 0.0 if item.tensor.grad is None else float(item.tensor.grad.norm()) for item in learnables(twin)
        }
        return tree.apply(Tensor.detach, estimate), slopes, twin, inputs
    raise AssertionError("one of the two returns or raises")


def _double(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float64)) if tree.is_number(tensor) else tensor


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _projected(value: Tensor, generator: torch.Generator) -> Tensor:
    """Its inner product with random numbers."""
    real = (value.real * _random(value, generator)).sum()
    return real + (value.imag * _random(value, generator)).sum() if value.is_complex() else real


def _random(value: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value.real)


def _near(now: float, then: float, least: float = 0.0) -> bool:
    return abs(now - then) <= TOLERANCE * max(abs(now), abs(then)) + least


def _short(value: Any) -> float:
    return float(f"{float(value):.6g}")
