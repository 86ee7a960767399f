"""The tensors of a network that training may move, and which of them a stage does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from torch import nn

from unrolling.core import Equilibrium, Unrolled
from unrolling.core.naming import names_by_alias, plain_name
from unrolling.training.stages import Stage, Turn


class Learnable(NamedTuple):
    """A tensor that an optimizer may move."""

    name: str  # in the algorithm
    layer: int | None  # None when tied, or of a network without layers
    tensor: nn.Parameter  # of a constrained parameter its free tensor

    @property
    def key(self) -> str:
        """As in ``parameter_table``."""
        return self.name if self.layer is None else f"layers.{self.layer}.{self.name}"


def learnables(network: nn.Module) -> list[Learnable]:
    """Every tensor that training may move, tied ones first, then layer by layer; of an equilibrium by the algorithm's
    names; of another network, all that take gradients.
    """
    if isinstance(network, Equilibrium):
        names = names_by_alias(network.layer)
        found = network.layer.named_parameters()
        return [Learnable(names[plain_name(path)], None, tensor) for path, tensor in found if tensor.requires_grad]
    if not isinstance(network, Unrolled):
        return [
            Learnable(name, None, parameter)
            for name, parameter in network.named_parameters()
            if parameter.requires_grad
        ]
    return [Learnable(name, layer, parameter) for name, layer, parameter in network.located_learned()]


def trained_by(
    stage: Stage, network: nn.Module, number: int = 0, known: list[Learnable] | None = None
) -> list[Learnable]:
    """The tensors that a stage trains.

    Args:
        stage: which layers and parameters.
        network: whose.
        number: of the stage, for messages.
        known: what ``learnables`` gave, where gradients have been switched off since.

    Raises:
        ValueError: a layer or depth beyond the network, a name that is unknown or fixed, or nothing left to train.
    """
    known = learnables(network) if known is None else known
    if stage.turns:
        return _of_turns(stage, network, number, known)
    layered = isinstance(network, Unrolled)
    if not layered and (stage.depth is not None or stage.layers is not None or stage.inherit is not None):
        raise ValueError(f"stage {number} speaks of layers, and {type(network).__name__} is not an unrolled network")
    depth = stage.depth
    if layered:
        depth = len(network) if depth is None else depth
        if depth > len(network):
            raise ValueError(f"stage {number} runs {depth} layers, and the network has {len(network)}")
        outside = [layer for layer in stage.layers or () if not 0 <= layer < depth]
        if outside:
            raise ValueError(f"stage {number} trains layer {outside[0]}, and it runs layers 0 to {depth - 1}")
    for name in (*(stage.parameters or ()), *stage.rates, *stage.project, *(stage.inherit or ())):
        if not any(_means(name, item) for item in known):
            raise ValueError(f"stage {number} names {name!r}, {_why_not(name, network, known)}")
    chosen = [
        item for item in known if stage.parameters is None or any(_means(name, item) for name in stage.parameters)
    ]
    if stage.layers is not None:
        named = stage.parameters is not None
        chosen = [item for item in chosen if item.layer in stage.layers or (item.layer is None and named)]
    elif layered:
        chosen = [item for item in chosen if item.layer is None or item.layer < (depth or 0)]
    if not chosen:
        where = "" if stage.layers is None else f" in layers {', '.join(map(str, stage.layers))}"
        raise ValueError(
            f"stage {number} trains nothing: no untied parameter is learned{where}; learned are {_names(known)}"
        )
    return chosen


def _of_turns(stage: Stage, network: nn.Module, number: int, known: list[Learnable]) -> list[Learnable]:
    chosen: list[Learnable] = []
    for turn in stage.turns:
        own = trained_by(of_turn(stage, turn), network, number, known)
        chosen += [item for item in own if not any(item is other for other in chosen)]
    return chosen


def of_turn(stage: Stage, turn: Turn) -> Stage:
    """The stage as one turn sees it: its own parameters, loss and rate."""
    return replace(
        stage, turns=(), parameters=(turn.network,), loss=turn.loss, rate=stage.rate if turn.rate is None else turn.rate
    )


def matching(name: str, items: Iterable[Learnable]) -> list[Learnable]:
    """Those that a name, a key, or the name of a sub-module means."""
    return [item for item in items if _means(name, item)]


def _means(name: str, item: Learnable) -> bool:
    """Whether a name, a key, or the name of a sub-module means a tensor."""
    return any(full == name or full.startswith(name + ".") for full in (item.name, item.key))


def _why_not(name: str, network: nn.Module, known: list[Learnable]) -> str:
    fixed = network.fixed_tensors() if isinstance(network, Unrolled) else dict(network.named_parameters())
    if any(full == name or full.startswith(name + ".") for full in fixed):
        return (
            "which is fixed in this network: name it in unroll's `tied` or `untied` to learn it; learned are "
            f"{_names(known)}"
        )
    return f"which is not learned; learned are {_names(known)}"


def _names(known: Iterable[Learnable]) -> str:
    return ", ".join(dict.fromkeys(item.name for item in known)) or "none"


def groups(stage: Stage, chosen: list[Learnable]) -> list[dict[str, Any]]:
    """Tensors by learning rate, as torch's optimizers take them."""
    last = max((item.layer for item in chosen if item.layer is not None), default=0)
    found: dict[float, list[nn.Parameter]] = {}
    for item in chosen:
        rate = next((rate for key, rate in stage.rates.items() if _means(key, item)), stage.rate)
        if item.layer is not None:
            rate *= stage.layer_decay ** (last - item.layer)
        found.setdefault(rate, []).append(item.tensor)
    return [{"params": tensors, "lr": rate} for rate, tensors in found.items()]
