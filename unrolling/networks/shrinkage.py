"""The learned denoiser of ADMM-CSNet: filters, a learned shrinkage, filters back."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core.arguments import check_input
from unrolling.core.refusals import explain_call
from unrolling.operators.filters import zero_mean_atoms
from unrolling.prox.influence import LinearSpline


@explain_call
class ConvolutionalShrinkage(nn.Module):
    """z = u - conv2(S(conv1(u))), S piecewise linear, one function per channel; of complex u, the same on real and
    imaginary part.

    Yang, Sun, Li and Xu 2020 (Generic-ADMM-CSNet), doi:10.1109/TPAMI.2018.2883941. With the start ``normal``, theirs,
    conv1 and conv2 are normal with variance 2 / (size^2 channels), and S is the ReLU. With ``cosine`` they are the
    zero-mean patterns of the cosine transform, a tight frame D, and S is the clamp to +-threshold: z = D^T soft(D u,
    threshold) and the local mean, a classical denoiser.

    Parameters: ``analysis`` and ``synthesis`` (weight and bias each) and ``shrinkage.values``: (2 size^2 + knots + 1)
    channels + 1 in all.

    Args:
        channels: of the features.
        size: of the filters, odd.
        knots: of S, from -1 to 1.
        start: ``normal`` or ``cosine``; the latter needs a multiple of size^2 - 1 channels.
        threshold: of ``cosine``.
        seed: of the filters that are drawn.

    Raises:
        ValueError: an even size, an unknown start, or channels that do not go with it.
    """

    def __init__(
        self,
        channels: int = 128,
        size: int = 5,
        knots: int = 101,
        *,
        start: Literal["normal", "cosine"] = "normal",
        threshold: float = 0.02,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if size % 2 == 0:
            raise ValueError(f"size is {size}; filters have an odd number of pixels along each side")
        if start not in ("normal", "cosine"):
            raise ValueError(f"start is {start!r}; it is 'normal' or 'cosine'")
        if start == "cosine" and channels % (size**2 - 1):
            raise ValueError(
                f"channels is {channels}; with the start 'cosine' it is a multiple of the {size**2 - 1} patterns"
            )
        self.analysis = nn.Conv2d(1, channels, size, padding=size // 2)
        self.synthesis = nn.Conv2d(channels, 1, size, padding=size // 2)
        generator = torch.Generator().manual_seed(seed)
        copies = channels // (size**2 - 1)
        atoms = zero_mean_atoms(size).repeat(max(copies, 1), 1, 1) / (size * max(copies, 1) ** 0.5)
        with torch.no_grad():
            for part in (self.analysis, self.synthesis):
                drawn = torch.randn(part.weight.shape, generator=generator) * (2 / (size**2 * channels)) ** 0.5
                cosine = atoms.unsqueeze(1) if part is self.analysis else atoms.flip((-2, -1)).unsqueeze(0)
                part.weight.copy_(drawn if start == "normal" else cosine)
                assert part.bias is not None
                part.bias.zero_()
        positions = torch.linspace(-1, 1, knots)
        self.shrinkage = LinearSpline(
            channels,
            knots,
            values=positions.clamp(-threshold, threshold) if start == "cosine" else positions.clamp_min(0),
        )

    def forward(self, u: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
        """The denoised images."""
        check_input(self, u, "u", None, None, real=False)
        if u.is_complex():
            both = self(torch.cat([u.real, u.imag]))
            return torch.complex(*both.chunk(2))
        return u - self.synthesis(self.shrinkage(self.analysis(u.unsqueeze(1)))).squeeze(1)
