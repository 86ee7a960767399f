"""Comparisons of states: to the bit, and up to rounding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unrolling.core import tree


def same_bits(got: Any, wanted: Any, what: str) -> None:
    """Raises unless both trees have the same tensors to the bit, signs of zeros and NaN included, and the same plain
    leaves.
    """
    left, right = list(tree.named_tensors(got, what)), list(tree.named_tensors(wanted, what))
    assert [name for name, _ in left] == [name for name, _ in right], (
        f"{what} has tensors {[n for n, _ in left]}, expected {[n for n, _ in right]}"
    )
    for (name, a), (_, b) in zip(left, right, strict=True):
        assert a.dtype == b.dtype, f"{name} has dtype {a.dtype}, expected {b.dtype}"
        assert a.shape == b.shape, f"{name} has shape {tuple(a.shape)}, expected {tuple(b.shape)}"
        if not torch.equal(_bytes(a), _bytes(b)):
            different = a.detach() != b.detach()
            largest = float((a.detach() - b.detach()).abs().max()) if a.dtype != torch.bool else float("nan")
            raise AssertionError(
                f"{name} differs from what was expected in {int(different.sum())} of {a.numel()} values, by up to "
                f"{largest:.3g}; they must agree to the bit"
            )
    numbers = (
        [leaf for leaf in leaves(got) if not isinstance(leaf, Tensor)],
        [leaf for leaf in leaves(wanted) if not isinstance(leaf, Tensor)],
    )
    assert numbers[0] == numbers[1], f"the plain numbers of {what} are {numbers[0]}, expected {numbers[1]}"


def close(got: Any, wanted: Any, what: str, *, tolerance: float) -> None:
    """Raises unless each pair of tensors differs by at most ``tolerance`` times the largest magnitude of the expected
    one.
    """
    for (name, a), b in zip(tree.named_tensors(got, what), tree.tensors(wanted), strict=True):
        assert a.shape == b.shape, f"{name} has shape {tuple(a.shape)}, expected {tuple(b.shape)}"
        if b.numel() == 0:
            continue
        error, size = float((a.detach() - b.detach()).abs().max()), float(b.detach().abs().max())
        assert error <= tolerance * max(size, torch.finfo(b.dtype).tiny), (
            f"{name} is off by {error:.3g}, its largest magnitude being {size:.3g}; at most {tolerance:.1g} of that "
            "is rounding"
        )


def rounding(like: Any, factor: float = 1e4) -> float:
    """``factor`` times the unit roundoff of the first floating-point tensor."""
    first = next(t for t in tree.tensors(like) if t.is_floating_point() or t.is_complex())
    return factor * torch.finfo(first.dtype).eps


def leaves(item: Any) -> list[Any]:
    """Tensors and plain values, in order."""
    if isinstance(item, dict):
        item = tuple(item.values())
    if isinstance(item, (tuple, list)):
        return [leaf for part in item for leaf in leaves(part)]
    return [item]


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().resolve_conj().resolve_neg().reshape(-1).contiguous().view(torch.uint8)
