"""Proximal operators of sparsity penalties: functions ``prox(z, threshold)``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softshrink

from unrolling.core.execution import is_plain, transformed
from unrolling.core.refusals import explained


def check_threshold(threshold: Tensor | float) -> None:
    """Refuses a negative number; NaN goes through. Tensors are not looked at: what training does to a learned threshold
    is its own affair, and ``Positive`` keeps it where it belongs.

    Raises:
        ValueError: it is negative.
    """
    if not isinstance(threshold, Tensor) and threshold < 0:
        raise ValueError(f"threshold is {threshold:.4g}; it must be at least 0")


@explained
def soft_threshold(z: Tensor, threshold: Tensor | float) -> Tensor:
    """S_t(z) = sign(z) max(|z| - t, 0): the prox of t |.|_1 (survey eq. 4), on complex numbers by magnitude.

    Args:
        z: any shape, real or complex.
        threshold: t >= 0, a number or a real tensor that broadcasts to ``z``.
    """
    if z.is_complex():
        check_threshold(threshold)
        return _shrink_magnitude(z, threshold)
    if not isinstance(threshold, Tensor):
        check_threshold(threshold)
        # softshrink refuses NaN, which here stays what it is.
        return softshrink(z, threshold) if threshold == threshold else z + threshold  # else it is NaN
    if not torch.is_grad_enabled():
        return _shrink(z, threshold)
    if is_plain():
        return _apply(z, threshold)
    if transformed():
        return z - torch.clamp(z, -threshold, threshold)
    return _SoftThreshold.apply(z, threshold)  # pyright: ignore[reportReturnType]


def _shrink(z: Tensor, threshold: Tensor) -> Tensor:
    """z - clamp(z, -t, t): in one pass where t is a single number that can be looked at."""
    plain = is_plain()
    if plain and threshold.ndim == 0 and threshold.is_cpu and z.is_floating_point():
        level = threshold.item()
        if level >= 0:
            return softshrink(z, level)
    inside = torch.clamp(z, -threshold, threshold)
    # into memory that is in the cache already
    return torch.sub(z, inside, out=inside) if plain and inside.dtype == z.dtype else z - inside


def _shrink_magnitude(z: Tensor, threshold: Tensor | float) -> Tensor:
    # sgn has the gradient of z/|z| and is zero at zero, where a division would be 0/0.
    return torch.sgn(z) * torch.relu(z.abs() - threshold)


class _SoftThreshold(torch.autograd.Function):
    """z - clamp(z, -t, t) with the derivative written out (`python -m benchmarks.soft_threshold` times it beside other
    ways).
    """

    @staticmethod
    def forward(z: Tensor, threshold: Tensor) -> Tensor:
        return _shrink(z, threshold)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        # The output, which the next layer saves anyway, holds the active set and the signs.
        ctx.save_for_backward(output)
        ctx.shape = inputs[1].shape

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None]:  # pyright: ignore
        (output,) = ctx.saved_tensors
        if torch.compiler.is_compiling():  # pyright: ignore[reportPrivateImportUsage]
            active = torch.where(output == 0, 0, grad)  # the operator below cannot be traced with a batch of any size
        else:
            # grad where the output is not zero, in one pass
            active = torch.ops.aten.hardshrink_backward(grad, output, 0.0)
        by_threshold = -output.sign().mul_(grad).sum_to_size(ctx.shape) if ctx.needs_input_grad[1] else None
        return active, by_threshold


# torch's ``apply`` without what it does for function transforms, which takes longer than all of the step's products on
# small data.
_apply: Any = super(torch.autograd.Function, _SoftThreshold).apply  # pyright: ignore[reportAttributeAccessIssue]


@explained
def hard_threshold(z: Tensor, threshold: Tensor | float) -> Tensor:
    """H_t(z) = z where |z| > t, else 0: the prox of (t^2 / 2) |.|_0. Its gradient to the threshold is zero almost
    everywhere.

    Args:
        z: any shape, real or complex.
        threshold: t >= 0, a number or a real tensor that broadcasts to ``z``.
    """
    check_threshold(threshold)
    # Where it is below the threshold, not where it is above: NaN in z stays, and NaN in the threshold gives NaN.
    kept = torch.where(z.abs() <= threshold, 0, z)
    if isinstance(threshold, Tensor):
        return kept + torch.where(threshold.isnan(), threshold, 0)
    return kept if threshold == threshold else kept + threshold  # NaN differs from itself


@explained
def k_sparse(z: Tensor, k: int) -> Tensor:
    """H_k(z): the k entries of largest magnitude of the last dimension, the others 0 (survey eq. 32); of equal ones the
    first. Projection onto |x|_0 <= k.

    Args:
        z: (..., n), real or complex.
        k: number of entries to keep.

    Raises:
        ValueError: k < 0.
    """
    if k < 0:
        raise ValueError(f"k is {k}; the number of entries to keep is at least 0")
    if k >= z.shape[-1]:
        return z
    order = torch.sort(z.abs(), dim=-1, descending=True, stable=True).indices
    keep = torch.zeros_like(z, dtype=torch.bool).scatter(-1, order[..., :k], True)
    return torch.where(keep | z.isnan(), z, 0)  # NaN has no rank


@explained
def nonnegative(z: Tensor, threshold: Tensor | float = 0.0) -> Tensor:
    """max(z - t, 0): the prox of t |.|_1 on the non-negative orthant; with t = 0 the projection onto it.

    Args:
        z: any shape, real.
        threshold: t >= 0, a number or a tensor that broadcasts to ``z``.

    Raises:
        TypeError: complex z, which has no order.
    """
    if z.is_complex():
        raise TypeError("nonnegative needs real numbers; complex ones have no order")
    check_threshold(threshold)
    return torch.relu(z - threshold)
