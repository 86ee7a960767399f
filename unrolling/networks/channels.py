"""Complex images as channels of real ones."""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


def to_channels(x: Shaped[Tensor, "batch images height width"]) -> Float[Tensor, "batch channels height width"]:
    """The real parts of all images, then their imaginary parts (zero for real images): twice as many channels."""
    if x.is_complex():
        return torch.cat([x.real, x.imag], 1)
    return torch.cat([x, torch.zeros_like(x)], 1)


def from_channels(
    channels: Float[Tensor, "batch channels height width"], is_complex: bool = True
) -> Shaped[Tensor, "batch images height width"]:
    """The images of ``to_channels``, or their real parts alone; of fewer bits than 32 as numbers of 32."""
    real, imaginary = channels.chunk(2, 1)
    if real.dtype not in (torch.float32, torch.float64):
        real, imaginary = real.float(), imaginary.float()
    return torch.complex(real, imaginary) if is_complex else real
