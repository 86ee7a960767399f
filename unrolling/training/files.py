"""Tensors with a JSON record in one safetensors file, written so that a crash leaves the old file whole, and with a
checksum of every byte, so that a disk's or a copy's fault is found out.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.files.whole import write_bytes

_ZEROS = b"0" * 64
_CHECKSUM = "checksum"  # SHA-256 of the whole file with zeros in the place of the checksum itself
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
    metadata = {_CHECKSUM: _ZEROS.decode(), "record": json.dumps(record)} | (
        {_PAIRS: json.dumps(pairs)} if pairs else {}
    )
    whole = save(content)
    (length,) = struct.unpack("<Q", whole[:8])
    # By ourselves, as safetensors would write the metadata in an order that chance decides.
    header = json.dumps({"__metadata__": metadata, **json.loads(whole[8 : 8 + length])}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    parts = [struct.pack("<Q", len(header)), header, memoryview(whole)[8 + length :]]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    parts[1] = header.replace(_ZEROS, digest.hexdigest().encode(), 1)
    write_bytes(path, b"".join(parts))


def read(
    path: str | Path, unchecked: Callable[[Any], bool] = lambda record: True
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the record of a file that ``write`` made.

    Args:
        path: the file.
        unchecked: record -> whether the file may lack the checksum, as those of older versions do.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not safetensors, truncated, without a record, or one whose checksum is another: a single byte that
            is not what was written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    content = path.read_bytes()
    try:
        metadata = _metadata(content)
        tensors = load(content)
    except (SafetensorError, KeyError, ValueError, TypeError, RecursionError, struct.error) as error:
        raise ValueError(f"{path} is not a safetensors file, or it is truncated: {error}") from error
    checked = _verify(path, content, metadata)
    try:
        record = json.loads(metadata["record"])
        if not checked and not unchecked(record):
            raise ValueError("it has no checksum")
        pairs = json.loads(metadata.get(_PAIRS, "[]"))
        return {name: torch.view_as_complex(t) if name in pairs else t for name, t in tensors.items()}, record
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path} is a safetensors file, but was not written by unrolling: it has no record") from error


def _metadata(content: bytes) -> dict[str, str]:
    """Of the header, which is JSON behind its length in eight bytes."""
    (length,) = struct.unpack("<Q", content[:8])
    if length > len(content) - 8:
        raise ValueError(f"its header is said to have {length} bytes")
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    if not isinstance(metadata, dict):
        raise TypeError("its metadata are no dictionary")
    return metadata


def _place(content: bytes) -> int | None:
    """Where the checksum stands; None where there is none."""
    (length,) = struct.unpack("<Q", content[:8])
    key = f'"{_CHECKSUM}":"'.encode()
    place = content.find(key, 8, 8 + length)
    return None if place < 0 else place + len(key)


def _verify(path: Path, content: bytes, metadata: Mapping[str, str]) -> bool:
    """Whether the file has a checksum; older files, which have none, hold nothing but a record. Raises ValueError where
    the bytes are not those that were written.
    """
    if metadata.keys() <= {"record", _PAIRS}:
        return False
    place = _place(content)
    if place is not None:
        digest = hashlib.sha256(content[:place])
        digest.update(_ZEROS)
        digest.update(memoryview(content)[place + len(_ZEROS) :])
        if digest.hexdigest().encode() == content[place : place + len(_ZEROS)]:
            return True
    raise ValueError(f"{path} is damaged or was changed: its checksum is not that of its bytes")
