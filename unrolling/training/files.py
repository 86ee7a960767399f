"""Tensors with a JSON record in one safetensors file, written so that a crash leaves the old file whole."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor


def write(path: str | Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    """Write to a temporary file beside ``path``, flush it to the disk, then rename.

    Raises:
        OSError: the disk is full or the folder cannot be written; ``path`` is as it was.
    """
    from safetensors.torch import save

    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, {"record": json.dumps(record)})
    write_bytes(path, content)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Replace a file in one step, or leave it as it was."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
    except (KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is a safetensors file, but was not written by unrolling: it has no record") from error
    return tensors, record
