"""The hard threshold with a gradient to its threshold, which it has not: that of a ramp of some width."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unrolling.core.execution import transformed
from unrolling.core.refusals import explained
from unrolling.prox.thresholds import check_threshold, hard_threshold


@explained
def surrogate_hard_threshold(z: Tensor, threshold: Tensor | float, width: float) -> Tensor:
    """H_t(z) = z where |z| > t, else 0, to the bit; its backward pass is that of the ramp z r(z), r = min(max((|z| - t)
    / (w t) + 1/2, 0), 1).

    The gradient of H_t to t is zero almost everywhere, so that nothing could learn it. The ramp rises from 0 at t (1 -
    w/2) to 1 at t (1 + w/2) and tends to H_t as w does to 0: train with a wide one, narrow it by and by
    (``Stage(settings=...)``). Farther than w t / 2 from t the gradient is H_t's own.

    Args:
        z: any shape, real.
        threshold: t >= 0, a number or a tensor that broadcasts to ``z``.
        width: w, relative to t, in (0, 2].

    Raises:
        ValueError: a width outside (0, 2].
        TypeError: complex z.
    """
    if not 0 < width <= 2:
        raise ValueError(f"width must lie in (0, 2], so that the ramp begins at zero or above; got {width}")
    if z.is_complex():
        raise TypeError("surrogate_hard_threshold is for real numbers; hard_threshold takes complex ones")
    check_threshold(threshold)
    if not isinstance(threshold, Tensor) or not torch.is_grad_enabled():
        return hard_threshold(z, threshold)
    if transformed():
        size = z.abs()
        ramp = z * torch.clamp((size - threshold) / (width * threshold) + 0.5, 0, 1)
        return hard_threshold(z, threshold).detach() + (ramp - ramp.detach())
    return _Ramped.apply(z, threshold, width)


class _Ramped(torch.autograd.Function):
    @staticmethod
    def forward(z: Tensor, threshold: Tensor, width: float) -> Tensor:
        return hard_threshold(z, threshold)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, float], output: Tensor) -> None:
        z, threshold, ctx.width = inputs
        ctx.save_for_backward(z, threshold)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:  # pyright: ignore
        z, threshold = ctx.saved_tensors
        size = z.abs()
        extent = (ctx.width * threshold).clamp_min(torch.finfo(z.dtype).tiny)
        height = (size - threshold) / extent + 0.5
        inside = (height > 0) & (height < 1)
        steep = torch.where(inside, size / extent, 0)
        by_z = grad * (height.clamp(0, 1) + steep)
        # The extent moves with the threshold too: r's derivative to t is -|z| / (w t^2), and z r(z) has z times that.
        by_threshold = -(grad * torch.where(inside, z * size / (extent * threshold), 0)).sum_to_size(threshold.shape)
        return by_z, by_threshold if ctx.needs_input_grad[1] else None, None
