"""Fingerprints of tensors: what tells another tensor from the same one that another machine rounded differently."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

PLACES = 16  # values that are kept
TOLERANCE = 1e-4  # of the largest value: what two machines' linear algebra may differ by


def fingerprint(tensor: Tensor) -> dict[str, Any]:
    """Shape, type, SHA-256 of the bytes, Euclidean norm, and magnitudes at places spread over the tensor.

    Magnitudes, since singular vectors, which are among such tensors, have a sign that libraries choose freely.
    """
    tensor = tensor.detach().cpu().contiguous()
    return {
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "sha256": hashlib.sha256(tensor.flatten().view(torch.uint8).numpy().tobytes()).hexdigest(),
        **_sketch(tensor),
    }


def same(tensor: Tensor, record: Mapping[str, Any]) -> bool:
    """Whether a tensor is the one of a fingerprint, up to rounding and precision."""
    tensor = tensor.detach().cpu().contiguous()
    if list(tensor.shape) != record["shape"]:
        return False
    mine = _sketch(tensor)
    largest = float(tensor.abs().max()) if tensor.numel() else 0.0
    near = TOLERANCE * largest + 1e-6
    pairs = zip(mine["magnitudes"], record["magnitudes"], strict=True)
    return all(abs(a - b) <= near for a, b in pairs) and abs(mine["norm"] - record["norm"]) <= (
        TOLERANCE * record["norm"] + 1e-6
    )


def _sketch(tensor: Tensor) -> dict[str, Any]:
    values = tensor.abs().double().flatten()
    places = torch.linspace(0, max(len(values) - 1, 0), min(PLACES, len(values)), dtype=torch.float64).round().long()
    norm, *magnitudes = (float(f"{value:.9g}") for value in [values.norm().item(), *values[places].tolist()])
    return {"norm": norm, "magnitudes": magnitudes}
