"""What each gradient rule costs, and how far its gradient is from the exact one."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unrolling._progress import Bar
from unrolling.core import Backprop, Checkpointed, GradientRule, Implicit, OneStep, Truncated, Unrolled, tree


class GradientRow(NamedTuple):
    """One gradient rule."""

    rule: str
    # |g - exact| / |exact|, exact being that of Backprop; None when the rule does not apply
    relative_error: float | None
    cosine: float | None
    bytes: int | None  # kept for the backward pass, data and parameters not counted
    memory: float | None  # of Backprop's
    seconds: float | None  # forward and backward, median
    time: float | None  # of Backprop's
    note: str = ""

    def cells(self) -> list[str]:
        """For a table."""
        if self.bytes is None or self.seconds is None:
            return [self.rule, *["-"] * 6, self.note]
        numbers = [
            f"{self.relative_error:.2g}",
            f"{self.cosine:.6f}",
            f"{self.bytes / 2**20:.2f} MiB",
            f"{self.memory:.1%}",
        ]
        return [self.rule, *numbers, f"{self.seconds * 1e3:.2f} ms", f"{self.time:.2f}", self.note]


def standard_rules(depth: int) -> list[GradientRule]:
    """Exact ones first, then the cheaper and biased ones."""
    truncated = [Truncated(last) for last in sorted({max(2, depth // 4), max(2, depth // 2)}) if last < depth]
    return [Backprop(), Checkpointed(), *truncated, OneStep(), Implicit()]


def compare_gradients(
    network: Unrolled,
    data: Any,
    loss: Callable[[Tensor], Tensor],
    rules: Sequence[GradientRule] | None = None,
    *,
    repeats: int = 5,
    quiet: bool = False,
) -> list[GradientRow]:
    """Each rule's gradient of ``loss(network(data))`` in all learned numbers, beside Backprop's.

    Args:
        network: it is not changed.
        data: as for a call.
        loss: estimates -> scalar.
        rules: by default all that the library has; ``Backprop()`` is always measured, first.
        repeats: timed runs of each rule, in turn.
        quiet: no progress bar; there is one on a terminal only.

    Raises:
        ValueError: a loss whose exact gradient is zero or not finite.
    """
    rules = [
        Backprop(),
        *(
            rule
            for rule in (standard_rules(len(network)) if rules is None else rules)
            if not isinstance(rule, Backprop)
        ),
    ]
    own = network.gradient
    try:
        usable = [rule for rule in rules if _refusal(rule, network) is None]
        with Bar("measuring gradients", (1 + repeats) * len(usable), quiet=quiet) as bar:
            found = _measure(network, data, loss, usable, repeats, bar)
        measured = dict(zip(map(id, usable), found, strict=True))
    finally:
        network.gradient = own
    exact, kept, seconds = measured[id(rules[0])][:3]
    size = torch.linalg.vector_norm(exact)
    if not (bool(torch.isfinite(size)) and float(size) > 0):
        raise ValueError(
            f"the exact gradient has norm {float(size):.3g}; a loss with a finite gradient that is not "
            "zero is needed to compare with"
        )
    rows = []
    for rule in rules:
        if id(rule) not in measured:
            rows.append(GradientRow(repr(rule), None, None, None, None, None, None, _refusal(rule, network) or ""))
            continue
        gradient, memory, median, note = measured[id(rule)]
        error = float(torch.linalg.vector_norm(gradient - exact) / size)
        cosine = float(torch.nn.functional.cosine_similarity(gradient.double(), exact.double(), dim=0))
        rows.append(
            GradientRow(repr(rule), error, cosine, memory, memory / max(1, kept), median, median / seconds, note)
        )
    return rows


def _refusal(rule: GradientRule, network: Unrolled) -> str | None:
    """Why a rule cannot work on a network; None when it can."""
    try:
        rule.check(network.untied)
    except ValueError as error:
        return str(error).split(";")[0]
    return None


def _measure(
    network: Unrolled,
    data: Any,
    loss: Callable[[Tensor], Tensor],
    rules: Sequence[GradientRule],
    repeats: int,
    bar: Bar,
) -> list[tuple[Tensor, int, float, str]]:
    """Gradient, bytes kept, median seconds and what the rule warned of; the rules are timed in turn."""
    times: list[list[float]] = [[] for _ in rules]
    found: list[tuple[Tensor, int, str]] = []
    for rule in rules:
        network.gradient = rule
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            gradient = _gradient(network, data, loss)
        found.append((gradient, saved_bytes(network, data), str(caught[0].message).split(";")[0] if caught else ""))
        bar.advance(name=f"measuring the gradient of {rule!r}")
    for _ in range(repeats):
        for rule, own in zip(rules, times, strict=True):
            network.gradient = rule
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                begin = time.perf_counter()
                _gradient(network, data, loss)
                own.append(time.perf_counter() - begin)
            bar.advance(name=f"timing {rule!r}")
    return [
        (gradient, kept, statistics.median(own), note) for (gradient, kept, note), own in zip(found, times, strict=True)
    ]


def _gradient(network: nn.Module, data: Any, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """In all learned numbers, flat."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(loss(network(data)), parameters, allow_unused=True)
    parts = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradients, strict=True)]
    if any(part.is_cuda for part in parts):
        torch.cuda.synchronize()
    return torch.cat([(torch.view_as_real(part) if part.is_complex() else part).flatten() for part in parts])


def saved_bytes(network: nn.Module, data: Any) -> int:
    """Bytes kept for the backward pass, each storage once, parameters and data not counted."""
    own = {t.untyped_storage().data_ptr() for t in [*network.parameters(), *network.buffers(), *tree.tensors(data)]}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = network(data)
    total = sum(kept.values())
    del output
    return total
