"""Tensors with a JSON record in one safetensors file, written so that a crash leaves the old file whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.files.whole import write_bytes

_PAIRS = "complex128"  # which safetensors does not know: such tensors are kept as pairs of real numbers, and named here


def write(path: str | Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    """Write to a temporary file beside ``path``, flush it to the disk, then rename.

    Raises:
        OSError: the disk is full or the folder cannot be written; ``path`` is as it was.
    """
    from safetensors.torch import save

    pairs = [name for name, tensor in tensors.items() if tensor.dtype == torch.complex128]
    plain = {
        name: torch.view_as_real(tensor.detach().resolve_conj()) if name in pairs else tensor.detach()
        for name, tensor in tensors.items()
    }
    content: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in plain.items():
        tensor = tensor.cpu().contiguous()
        place = tensor.untyped_storage().data_ptr()
        # safetensors wants memory of its own for each name
        content[name] = tensor.clone() if place in seen and tensor.numel() else tensor
        seen.add(place)
    write_bytes(path, save(content, {"record": json.dumps(record), **({_PAIRS: json.dumps(pairs)} if pairs else {})}))


def read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the record of a file that ``write`` made.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not safetensors, truncated, or without a record.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file, or it is truncated: {error}") from error
    try:
        record = json.loads(metadata["record"])
        pairs = json.loads(metadata.get(_PAIRS, "[]"))
    except (KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is a safetensors file, but was not written by unrolling: it has no record") from error
    return {
        name: torch.view_as_complex(tensor) if name in pairs else tensor for name, tensor in tensors.items()
    }, record
