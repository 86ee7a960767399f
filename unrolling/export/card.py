"""The card of an exported network: what it is, what goes in, what comes out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.core import Unrolled
from unrolling.export.format import Format
from unrolling.export.ports import constants, to_pair
from unrolling.export.trace import Traced

CARD_FORMAT = 1
UNKNOWN = "not stated"


def describe(
    network: nn.Module,
    example: Any,
    outputs: Mapping[str, Tensor],
    inputs: Mapping[str, Tensor],
    traced: Traced,
    form: Format,
    units: Mapping[str, str],
    own: Mapping[str, Any],
    more: Mapping[str, Any] | None = None,
    compared: Mapping[str, list[int]] | None = None,
) -> dict[str, Any]:
    """The card.

    Args:
        network: as it was given.
        example: data, as they were given.
        outputs: of the example, by name.
        inputs: the tensors of the example by name.
        traced: shapes and free sizes of what was written.
        form: the format.
        units: of inputs and outputs, by name.
        own: what the caller has to say: system, task, weights, licence; it comes first, and may not take the names of
            what is found here.
        more: what the exporter found out besides.
        compared: the sizes that are run before the file is believed, by the names of free ones.
    """
    from unrolling._version import __version__

    found: dict[str, Any] = {
        "card": CARD_FORMAT,
        "format": form.name,
        "opset": form.opset,
        "inputs": [_port(name, tensor, traced, form, units) for name, tensor in inputs.items()],
        "outputs": [_port(name, tensor, traced, form, units) for name, tensor in outputs.items()],
        "sizes": {
            name: {"smallest": low, "largest": high, "compared": (compared or {}).get(name, [])}
            for name, (low, high) in traced.sizes.items()
        },
        "constants": constants(example),
        **_network(network),
        **(more or {}),
        "learned_numbers": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "versions": {"unrolling": __version__, "torch": str(torch.__version__), **_versions(form.packages)},
    }
    taken = sorted(own.keys() & found.keys())
    if taken:
        raise ValueError(f"the card's {', '.join(taken)} cannot be given: it is found from the network")
    return _plain({"licence": UNKNOWN, **own, **found})


def _port(name: str, tensor: Tensor, traced: Traced, form: Format, units: Mapping[str, str]) -> dict[str, Any]:
    paired = tensor.is_complex() and not form.has_complex
    return {
        "name": name,
        "shape": list(traced.shapes[name]),
        "dtype": str((to_pair(tensor) if paired else tensor).dtype).removeprefix("torch."),
        "unit": units.get(name, UNKNOWN),
        "complex_as_pairs": paired,
    }


def _network(network: nn.Module) -> dict[str, Any]:
    if not isinstance(network, Unrolled):
        return {"network": type(network).__name__}
    return {
        "iteration": type(network.parent).__name__.removeprefix("Parametrized"),
        "depth": len(network),
        "tied": list(network.tied),
        "untied": list(network.untied),
    }


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    from importlib.metadata import version

    return {package: version(package) for package in packages}


def _plain(value: Any) -> Any:
    """Infinity as text, which JSON has no number for."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def to_json(card: Mapping[str, Any]) -> str:
    """As text.

    Raises:
        TypeError: something in it that JSON does not have.
    """
    try:
        return json.dumps(card, allow_nan=False)
    except TypeError as error:
        raise TypeError(f"a card holds plain values, numbers, texts, lists and dictionaries: {error}") from error
