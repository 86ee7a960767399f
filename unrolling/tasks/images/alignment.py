"""Images that are known up to a shift: the best one, and the error there."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def shift_errors(
    estimate: Float[Tensor, "batch ..."], target: Float[Tensor, "batch ..."], most: int
) -> Float[Tensor, "batch rows columns"]:
    """sum over the inner pixels of (x'(p + s) - x(p))^2 for every shift s up to ``most`` pixels in each direction,
    (batch, 2 most + 1, 2 most + 1), float64.

    Inner pixels are those that every shift leaves inside the image; both are (batch, height, width) or (batch, colours,
    height, width) of one size.

    Raises:
        ValueError: other shapes, or images no larger than twice the shift.
    """
    if estimate.shape != target.shape:
        raise ValueError(f"images of one shape are compared; got {tuple(estimate.shape)} and {tuple(target.shape)}")
    height, width = target.shape[-2:]
    if min(height, width) <= 2 * most:
        raise ValueError(f"a shift of {most} pixels needs images larger than {2 * most}; got {height} x {width}")
    x, y = target[..., most : height - most, most : width - most].double(), estimate.double()
    spectrum = torch.fft.rfft2(y) * torch.fft.rfft2(x, s=(height, width)).conj()
    count = 2 * most + 1
    products = torch.fft.irfft2(spectrum, s=(height, width))[..., :count, :count]
    windows = _window_sums(y.square(), x.shape[-2], x.shape[-1])
    errors = windows - 2 * products + x.square().sum((-2, -1), keepdim=True)
    return errors if errors.ndim == 3 else errors.sum(1)


def best_shift(estimate: Tensor, target: Tensor, most: int) -> Int[Tensor, "batch 2"]:
    """The shift s, in rows and columns from -most to most, with the smallest error."""
    with torch.no_grad():
        errors = shift_errors(estimate, target, most).flatten(1).argmin(1)
    count = 2 * most + 1
    return torch.stack([errors // count, errors % count], 1) - most


def aligned(estimate: Tensor, target: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The inner pixels of the best shifted estimate and of the target; differentiable in the estimate."""
    height, width = target.shape[-2:]
    rows = [
        image[..., most + i : height - most + i, most + j : width - most + j]
        for image, (i, j) in zip(estimate, best_shift(estimate, target, most).tolist(), strict=True)
    ]
    return torch.stack(rows), target[..., most : height - most, most : width - most]


def _window_sums(x: Tensor, height: int, width: int) -> Tensor:
    """Sums over all windows of a size."""
    total = torch.nn.functional.pad(x, (1, 0, 1, 0)).cumsum(-1).cumsum(-2)
    down = total[..., height:, :] - total[..., : total.shape[-2] - height, :]
    return down[..., width:] - down[..., : total.shape[-1] - width]
