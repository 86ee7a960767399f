"""The proximal step of ISTA-Net+: soft thresholds between a learned transform and a learned way back."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d, softshrink

from unrolling.core.arguments import check_count, check_input
from unrolling.core.refusals import explain_call

LEAST = 1e-8  # of thresholds, by which is divided


@explain_call
class TransformShrinkage(nn.Module):
    """x = z + G(B(S_t(F(D z)))): D and G one convolution of 3 x 3 each, F and B two with a ReLU between them, S_t the
    soft threshold, nothing with a bias, zeros beyond the border.

    Zhang and Ghanem 2018 (ISTA-Net+), doi:10.1109/CVPR.2018.00196. Convolutions start as there, uniform with variance
    2 / (9 (channels before + after)); but for D, whose filters are then given a mean of 0 and twice the size, and for
    G, which starts as 0: x = z.

    Parameters: ``analysis`` D and ``synthesis`` G (channels of 3 x 3 each), ``forth`` F and ``back`` B (two weights
    (channels, channels, 3, 3) each): 36 channels^2 + 18 channels numbers.

    Args:
        channels: of the features.
        seed: of the random numbers.
    """

    def __init__(self, channels: int = 32, *, seed: int = 0) -> None:
        super().__init__()
        check_count(channels, "channels")
        self.channels = channels
        self.analysis = nn.Parameter(torch.empty(channels, 1, 3, 3))
        self.forth, self.back = (
            nn.ParameterList([nn.Parameter(torch.empty(channels, channels, 3, 3)) for _ in range(2)]) for _ in range(2)
        )
        self.synthesis = nn.Parameter(torch.empty(1, channels, 3, 3))
        self.draw(seed)

    @torch.no_grad()
    def draw(self, seed: int) -> None:
        """Starts again, with the random numbers of a seed."""
        generator = torch.Generator().manual_seed(seed)
        for weight in (self.analysis, *self.forth, *self.back):
            nn.init.xavier_uniform_(weight, generator=generator)
        # Features of what changes from pixel to pixel: of brightness, which is far larger, nothing is to be learned.
        self.analysis.copy_(2 * (self.analysis - self.analysis.mean((-2, -1), keepdim=True)))
        self.synthesis.zero_()

    def forward(
        self, z: Float[Tensor, "batch height width"], threshold: Tensor | float = 0.01, gain: Tensor | float = 1.0
    ) -> Float[Tensor, "batch height width"]:
        """The images after the step.

        Args:
            z: before it.
            threshold: t, one for all channels or (channels,); 0.01 is where the paper starts.
            gain: a factor of each channel after S_t, likewise.
        """
        check_input(self, z, "z", None, None)
        level = torch.as_tensor(threshold, dtype=z.dtype, device=z.device).clamp_min(LEAST)
        factor = level * gain
        level, factor = level.reshape(-1, 1, 1, 1), factor.reshape(1, -1, 1, 1)
        # t S_1(u / t) is S_t(u): both factors go into the convolutions beside it, and the features are passed once.
        u = conv2d(z.unsqueeze(1).contiguous(memory_format=torch.channels_last), self.analysis, padding=1)
        u = conv2d(torch.relu(conv2d(u, self.forth[0], padding=1)), self.forth[1] / level, padding=1)
        v = conv2d(softshrink(u, 1.0), self.back[0] * factor, padding=1)
        v = conv2d(torch.relu(v), self.back[1], padding=1)
        # The sum in the precision of the images, under autocast too.
        return z + conv2d(v, self.synthesis, padding=1).squeeze(1).to(z.dtype)
