"""Networks read back from files, whatever the format, with their inputs checked."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.export.aoti_package import AotiPackage
from unrolling.export.card import CARD_FORMAT
from unrolling.export.format import Format, Run
from unrolling.export.onnx_model import OnnxModel
from unrolling.export.ports import constants, named, to_pair
from unrolling.export.torch_program import TorchProgram

formats: dict[str, Format] = {form.name: form for form in (TorchProgram(), OnnxModel(), AotiPackage())}


def find(name: str) -> Format:
    """A format by name.

    Raises:
        ValueError: there is none.
    """
    if name not in formats:
        raise ValueError(
            f"no format {name!r}; there are {', '.join(f'{f.name} ({f.title})' for f in formats.values())}"
        )
    return formats[name]


class Loaded:
    """A network from a file: called with the data that the network was called with, or with their tensors by name.

    What does not fit is refused before the runtime sees it, some of which look at no sizes; complex tensors stay
    complex whatever the format.

    Attributes:
        card: what ``export`` wrote into the file.
    """

    def __init__(self, run: Run, card: dict[str, Any]) -> None:
        self._run, self.card = run, card

    def __call__(self, data: Any = None, **tensors: Tensor) -> Tensor:
        """The estimate, (batch, ...).

        Raises:
            ValueError: other names, sizes outside what was exported, other constants.
            TypeError: another dtype, or data given twice.
        """
        if data is not None:
            if tensors:
                raise TypeError("give the data, or their tensors by name, not both")
            tensors = named(data)
            other = {
                name: value for name, value in constants(data).items() if self.card["constants"].get(name) != value
            }
            if other:
                name = next(iter(other))
                raise ValueError(
                    f"{name} is {other[name]}; the network was exported for {self.card['constants'].get(name, 'none')}"
                )
        ports = self.card["inputs"]
        expected = [port["name"] for port in ports]
        if sorted(tensors) != sorted(expected):
            raise ValueError(f"the network's inputs are {', '.join(expected)}; got {', '.join(tensors) or 'none'}")
        given = {port["name"]: _input(port, tensors[port["name"]]) for port in ports}
        _check_sizes(self.card, given)
        with torch.no_grad():
            estimate = self._run(given)
        return torch.view_as_complex(estimate.contiguous()) if self.card["outputs"][0]["complex_as_pairs"] else estimate


def _input(port: Mapping[str, Any], tensor: Tensor) -> Tensor:
    tensor = to_pair(tensor) if port["complex_as_pairs"] else tensor
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype != port["dtype"]:
        raise TypeError(f"{port['name']} is {dtype}; the network was exported for {port['dtype']}")
    return tensor.detach().contiguous()


def _check_sizes(card: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    known: dict[str, int] = {}
    for port in card["inputs"]:
        shape, wanted = tuple(tensors[port["name"]].shape), port["shape"]
        sizes = zip(shape, wanted, strict=False)  # the lengths are compared first
        if len(shape) != len(wanted) or not all(
            known.setdefault(want, size) == size if isinstance(want, str) else want == size for size, want in sizes
        ):
            so_far = f" with {', '.join(f'{name} = {size}' for name, size in known.items())}" if known else ""
            raise ValueError(
                f"{port['name']} has shape {shape}; the network was exported for "
                f"({', '.join(map(str, wanted))}){so_far}"
            )
    for name, size in known.items():
        if name not in card["sizes"]:  # a formula of others, which the runtime looks after
            continue
        low, high = card["sizes"][name]["smallest"], card["sizes"][name]["largest"]
        if size < low or (high is not None and size > high):
            raise ValueError(
                f"{name} is {size}; the network was exported for sizes from "
                f"{low}{'' if high is None else f' to {high}'}"
            )


def load(path: str | Path, format: str | None = None) -> Loaded:
    """The network in a file that ``export`` wrote. An AOTInductor package is native code: load only what you trust.

    Args:
        path: the file.
        format: by default found from the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: none of these formats, damaged, or without a card of this library.
        ImportError: the format's packages are missing.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    run, text = find(_format_of(path) if format is None else format).open(path)
    card: dict[str, Any] = {}
    try:
        card = json.loads(text or "")
        known = {"card", "inputs", "outputs", "sizes", "constants"} <= card.keys()
    except (json.JSONDecodeError, AttributeError):
        known = False
    if not known:
        raise ValueError(f"{path} was not written by unrolling: it has no card")
    if card["card"] > CARD_FORMAT:
        raise ValueError(
            f"the card of {path} has format {card['card']}, and this version of unrolling reads up to "
            f"{CARD_FORMAT}: update unrolling"
        )
    return Loaded(run, card)


def _format_of(path: Path) -> str:
    if path.suffix == OnnxModel.suffix:
        return OnnxModel.name
    try:
        with zipfile.ZipFile(path) as archive:
            return (
                AotiPackage.name
                if any("/data/aotinductor/" in name for name in archive.namelist())
                else TorchProgram.name
            )
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is none of the formats {', '.join(formats)}, or it is damaged") from error
