"""How gradients and activations fare layer by layer, and which layers learned nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.core import Unrolled, tree
from unrolling.training.batches import like_network
from unrolling.training.learnables import Learnable

UNCHANGED = 1e-6  # relative change of a tensor below which it has learned nothing


def place(layer: int | None) -> str:
    """Where a tensor is, for people."""
    return "tied" if layer is None else f"layer {layer}"


@torch.no_grad()
def gradient_norms(items: list[Learnable]) -> dict[str, float]:
    """Euclidean norm of the gradient of each layer's tensors, and of the tied ones together; 0 where there is none."""
    found: dict[str, list[Tensor]] = {}
    for item in items:
        grads = found.setdefault(place(item.layer), [])
        if item.tensor.grad is not None:
            grads.append(item.tensor.grad)
    return {where: float(nn.utils.get_total_norm(grads)) if grads else 0.0 for where, grads in found.items()}


@torch.no_grad()
def activations(network: nn.Module, data: Any, depth: int | None) -> list[dict[str, float]]:
    """Of the estimate after each layer: root mean square, and the fraction of exact zeros."""
    if not isinstance(network, Unrolled):
        return []
    rows = []
    layers = range(len(network) if depth is None else depth)
    for found in network.estimates(like_network(data, network), layers=layers):
        estimate = found.abs()
        rows.append({"rms": float(estimate.square().mean().sqrt()), "zeros": float((estimate == 0).double().mean())})
    return rows


def snapshot(items: list[Learnable], network: nn.Module) -> dict[str, Tensor]:
    """The values that training starts from, by key."""
    if isinstance(network, Unrolled):
        return network.learned()
    return {item.key: item.tensor.detach().clone() for item in items}


@dataclass
class Change:
    """What became of one learned quantity."""

    key: str
    layer: int | None
    relative: float  # |after - before| / |before|, or the norm itself where it began at zero
    gradient: float | None  # median of the gradient norms that were logged for its layer; None when none was

    @property
    def learned(self) -> bool:
        """Whether it moved at all."""
        return self.relative > UNCHANGED


@dataclass
class Health:
    """What training did to each learned quantity."""

    changes: list[Change] = field(default_factory=list)
    idle_layers: list[int] = field(default_factory=list)  # whose own quantities have not moved, none of them

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"idle_layers": self.idle_layers, "changes": [asdict(change) for change in self.changes]}

    def sentences(self) -> list[str]:
        """What a person should know; empty when every layer has learned."""
        said = []
        if self.idle_layers:
            idle = ", ".join(map(str, self.idle_layers))
            said.append(
                f"layers that learned nothing: {idle} (their parameters moved by less than {UNCHANGED:g} of their size)"
            )
        alone = [c for c in self.changes if not c.learned and (c.layer is None or c.layer not in self.idle_layers)]
        if alone:
            said.append(
                "quantities that learned nothing: "
                f"{', '.join(c.key for c in alone[:8])}{' and more' if len(alone) > 8 else ''}"
            )
        norms = {c.layer: c.gradient for c in self.changes if c.layer is not None and c.gradient}
        if len(norms) > 1 and max(norms.values()) > 1e4 * min(norms.values()):
            least, most = min(norms, key=norms.__getitem__), max(norms, key=norms.__getitem__)
            said.append(
                f"gradients differ by {max(norms.values()) / min(norms.values()):.0e} between layer {most} and layer "
                f"{least}: try deep supervision (Stage(supervision=Power(1))), a greedy schedule, or a larger rate "
                "for the faint layers"
            )
        return said


def examine(
    before: dict[str, Tensor], after: dict[str, Tensor], layers: dict[str, int | None], norms: dict[str, list[float]]
) -> Health:
    """Compare values before and after.

    Args:
        before: by key.
        after: by key.
        layers: of each key that is learned, None when tied.
        norms: gradient norms that were logged, by ``place``.
    """
    health = Health()
    for key, old in before.items():
        if key not in layers:
            continue  # statistics of a normalisation, which follow the data
        change = torch.linalg.vector_norm((after[key].to(old) - old).flatten().double().abs())
        size = torch.linalg.vector_norm(old.flatten().abs().double())
        logged = sorted(norms.get(place(layers[key]), []))
        relative = float(change / size) if size > 0 else float(change)
        health.changes.append(Change(key, layers[key], relative, logged[len(logged) // 2] if logged else None))
    own = [c for c in health.changes if c.layer is not None]
    health.idle_layers = sorted(
        {c.layer for c in own if c.layer is not None} - {c.layer for c in own if c.learned and c.layer is not None}
    )
    return health


@torch.no_grad()
def find_fault(network: nn.Module, items: list[Learnable], data: Any, depth: int | None) -> str:
    """Says where a loss that is no number comes from: the parameter, or else the first layer whose state is not
    finite.
    """
    bad = [item for item in items if not bool(torch.isfinite(item.tensor).all())]
    if bad:
        # A gradient that is no number spreads from its layer to all earlier ones: it began in the last of them.
        culprit = max(bad, key=lambda item: -1 if item.layer is None else item.layer)
        others = f", and so did {len(bad) - 1} other parameters of the same or earlier layers" if len(bad) > 1 else ""
        return f"{culprit.name} ({place(culprit.layer)}) became NaN or infinite{others}"
    if isinstance(network, Unrolled):
        for number, state in enumerate(
            network.trajectory(like_network(data, network), layers=range(len(network) if depth is None else depth))
        ):
            for name, tensor in tree.named_tensors(state, "state"):
                if not bool(torch.isfinite(tensor).all()):
                    return f"{name} is no longer finite after layer {number}, all parameters being finite"
    return "all parameters and states are finite: the loss itself is what overflows"
