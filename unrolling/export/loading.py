"""Networks read back from files, whatever the format, with their inputs checked."""

from __future__ import annotations

import json
import math
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
from unrolling.export.ports import DTYPES, constants, named, to_pair
from unrolling.export.states import like, state_ports
from unrolling.export.torch_program import TorchProgram
from unrolling.files import records

LARGEST = 2**28  # numbers of a state that is made by what the card says
formats: dict[str, Format] = {form.name: form for form in (TorchProgram(), OnnxModel(), AotiPackage())}


_SIZE = records.whole(0, 2**31)
_PORT = records.record(
    {
        "name": records.text(1000),
        "shape": records.listed(
            records.Expected("a size or its name", lambda v: _SIZE.holds(v) or isinstance(v, str)), 16
        ),
        "dtype": records.one_of(*(str(dtype).removeprefix("torch.") for dtype in DTYPES)),
        "complex_as_pairs": records.truth,
    }
)
_STATE = records.record(
    {
        "input": records.text(1000),
        "output": records.text(1000),
        "number": records.truth,
        "start": records.number.or_none(),
    }
)
_CARD = {
    "inputs": records.listed(_PORT, 1000),
    "outputs": records.listed(_PORT, 1000),
    "sizes": records.mapping(
        records.record(
            {"smallest": _SIZE, "largest": _SIZE.or_none()}, optional={"compared": records.listed(_SIZE, 1000)}
        )
    ),
    "constants": records.mapping(),
}


def find_format(name: str) -> Format:
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

    def __call__(self, data: Any = None, state: Any = None, **tensors: Tensor) -> Any:
        """The estimate, (batch, ...); of a file with a state (estimate, next state), the next state in the form of the
        one given: a tensor, a NamedTuple, or a dict of tensors by their inputs' names.

        Args:
            data: as for the network.
            state: the one before; by default the one that the network starts from, where the card knows it.
            tensors: the same by name, in the place of both.

        Raises:
            ValueError: other names, sizes outside what was exported, other constants; no state where the card does not
                know how it starts.
            TypeError: another dtype, or data given twice; a state for a file that takes none.
        """
        ports = self.card.get("state", [])
        if state is not None and not ports:
            raise TypeError("the network was exported without a state: export it with state=... or stream=True")
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
        if ports:
            tensors = {**tensors, **self._state(state, tensors)}
        inputs = self.card["inputs"]
        expected = [port["name"] for port in inputs]
        if sorted(tensors) != sorted(expected):
            raise ValueError(f"the network's inputs are {', '.join(expected)}; got {', '.join(tensors) or 'none'}")
        given = {port["name"]: _input(port, tensors[port["name"]]) for port in inputs}
        _check_sizes(self.card, given)
        with torch.no_grad():
            answer = self._run(given)
        estimate, *after = map(_output, self.card["outputs"], answer)
        if not ports:
            return estimate
        if state is None or isinstance(state, dict):
            named_after = zip(ports, after, strict=True)
            return estimate, {port["input"]: t.item() if port["number"] else t for port, t in named_after}
        return estimate, like(state, iter(after))

    def _state(self, state: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of a state by name: as given, or as the network starts."""
        names = [port["input"] for port in self.card["state"]]
        if state is None and any(name in tensors for name in names):
            return {}
        if isinstance(state, dict):
            return {name: torch.as_tensor(value) for name, value in state.items()}
        if state is not None:
            return state_ports(state)
        unknown = [port["input"] for port in self.card["state"] if port["start"] is None]
        if unknown:
            raise ValueError(
                f"give the state: the card does not know how {', '.join(unknown)} starts (for an Unrolled, "
                "layer.start(layer.prepare(data)) of its first layer)"
            )
        ports = {port["name"]: port for port in self.card["inputs"]}
        sizes: dict[str, int] = {}
        for name, tensor in tensors.items():
            if name in ports:
                sizes |= {size: n for size, n in zip(ports[name]["shape"], tensor.shape, strict=False) if size != n}
        return {port["input"]: _filled(ports[port["input"]], port["start"], sizes) for port in self.card["state"]}


def _filled(port: Mapping[str, Any], value: float, sizes: Mapping[str, int]) -> Tensor:
    """A tensor of one number, of an input's shape and dtype."""
    unknown = [size for size in port["shape"] if isinstance(size, str) and size not in sizes]
    if unknown:
        raise ValueError(f"give the state: its size {', '.join(unknown)} is not one of the data's")
    shape = [sizes.get(size, size) for size in port["shape"]]
    if math.prod(shape) > LARGEST:
        raise ValueError(f"give the state: the card says it has the shape {tuple(shape)}")
    tensor = torch.full(shape, value, dtype=getattr(torch, port["dtype"]))
    if port["complex_as_pairs"]:
        tensor[..., 1] = 0
        return torch.view_as_complex(tensor)
    return tensor


def _output(port: Mapping[str, Any], tensor: Tensor) -> Tensor:
    return torch.view_as_complex(tensor.contiguous()) if port["complex_as_pairs"] else tensor


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
    """The network in a file that ``export`` wrote.

    A program of ``torch.export`` and an ONNX model may come from anybody: they are looked at first, and what holds more
    than arithmetic, the formats' own operators and plain tensors is refused. An AOTInductor package is native code,
    which nobody can look at: load only what you trust, by ``format="aoti"``.

    Args:
        path: the file.
        format: by default found from the file; ``aoti`` must be named.

    Raises:
        FileNotFoundError: no such file.
        ValueError: none of these formats, damaged, without a card of this library, or something that a file of this
            library never holds; an AOTInductor package that was not asked for.
        ImportError: the format's packages are missing.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    run, text = find_format(_format_of(path) if format is None else format).open(path)
    card: dict[str, Any] = {}
    try:
        card = json.loads(text or "")
        known = {"card", "inputs", "outputs", "sizes", "constants"} <= card.keys()
    except (ValueError, AttributeError, RecursionError):
        known = False
    if not known:
        raise ValueError(f"{path} was not written by unrolling: it has no card")
    records.verify(path, card, {"card": records.whole(1)}, what="the card")
    if card["card"] > CARD_FORMAT:
        raise ValueError(
            f"the card of {path} has format {card['card']}, and this version of unrolling reads up to "
            f"{CARD_FORMAT}: update unrolling"
        )
    records.verify(path, card, _CARD, {"state": records.listed(_STATE, 1000)}, "the card")
    return Loaded(run, card)


def _format_of(path: Path) -> str:
    if path.suffix == OnnxModel.suffix:
        return OnnxModel.name
    try:
        with zipfile.ZipFile(path) as archive:
            native = any("data/aotinductor" in name for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise ValueError(f"{path} is none of the formats {', '.join(formats)}, or it is damaged") from error
    if native:
        raise ValueError(
            f"{path} is an AOTInductor package, which is native code that runs when it is loaded: where you trust it, "
            f'say so, load(path, format="{AotiPackage.name}")'
        )
    return TorchProgram.name
