"""Weights as data: the learned and the fixed tensors of a network with a card that says where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.core import Unrolled
from unrolling.training import files

FORMAT = 1


def save_weights(
    network: Unrolled, path: str | Path, card: dict[str, Any], fixed: Mapping[str, Tensor] | None = None
) -> None:
    """Write the learned tensors by the names of ``parameter_table`` and the fixed ones as ``fixed.<name>``, each once.

    Args:
        network: what to save.
        path: a ``.safetensors`` file.
        card: plain values: system, task, schedule, seed, metric. Format, depth, tying and versions are added.
        fixed: what else the task needs to be built again (``Task.fixed``).
    """
    tensors = {
        **network.learned(),
        **{f"fixed.{name}": value for name, value in {**(fixed or {}), **network.fixed()}.items()},
    }
    files.write(path, tensors, {"format": FORMAT, **shape(network), "torch": str(torch.__version__), **card})


def shape(network: Unrolled) -> dict[str, Any]:
    """What two networks must have in common to exchange weights."""
    return {
        "iteration": type(network.parent).__name__.removeprefix("Parametrized"),
        "depth": len(network),
        "tied": list(network.tied),
        "untied": list(network.untied),
    }


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
    """The learned tensors, the fixed tensors and the card of a weights file.

    Raises:
        FileNotFoundError, ValueError: no such file, not safetensors, truncated, not a weights file, or of a newer
            format.
    """
    tensors, card = files.read(path)
    if not (isinstance(card, dict) and isinstance(card.get("format"), int)):
        raise ValueError(f"{path} is not a weights file (a training checkpoint, perhaps)")
    if card["format"] > FORMAT:
        raise ValueError(
            f"{path} has format {card['format']}, and this version of unrolling reads up to {FORMAT}: update unrolling"
        )
    fixed = {name.removeprefix("fixed."): tensor for name, tensor in tensors.items() if name.startswith("fixed.")}
    return {name: tensor for name, tensor in tensors.items() if not name.startswith("fixed.")}, fixed, card


def load_weights(network: Unrolled, path: str | Path, *, system: str | None = None) -> dict[str, Any]:
    """Put the weights of a file into a network of the same shape; returns the card. Nothing changes unless all of it
    fits.

    Args:
        network: built like the one that was saved, around the same fixed tensors.
        path: what ``save_weights`` wrote.
        system: the system that the weights must be of.

    Raises:
        FileNotFoundError, ValueError: as for ``read_weights``; another system, iteration, depth or tying; other fixed
            tensors.
    """
    learned, fixed, card = read_weights(path)
    if system is not None and card.get("system") != system:
        raise ValueError(f"{path} holds weights of {card.get('system')}, not of {system}")
    mine = shape(network)
    different = [
        f"{key} is {card.get(key)} there and {value} here" for key, value in mine.items() if card.get(key) != value
    ]
    if different:
        raise ValueError(f"{path} does not fit this network: {'; '.join(different)}")
    for name, value in network.fixed().items():
        if (
            name not in fixed
            or fixed[name].shape != value.shape
            or not torch.allclose(fixed[name].to(value), value, rtol=1e-4, atol=1e-6)
        ):
            raise ValueError(
                f"{path} was trained with another `{name}` than this network's: build the network around "
                "the one in the file (`read_weights`)"
            )
    bad = [name for name, value in learned.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise ValueError(f"{path} holds values that are NaN or infinite in {', '.join(bad)}")
    network.load_learned(learned)
    return card
