"""Structural similarity as a loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unrolling.core.arguments import check_count, check_range
from unrolling.training.losses import SampleLoss

FIRST, SECOND = 0.01, 0.03  # K_1 and K_2


@dataclass(frozen=True)
class Dissimilarity(SampleLoss):
    """1 - SSIM(|x'|, |x|) + w |(|x'| - |x|)|_1 / (n max |x|), of magnitudes (batch, height, width).

    SSIM = mean (2 m m' + C_1) (2 s_xx' + C_2) / ((m^2 + m'^2 + C_1) (s_x^2 + s_x'^2 + C_2)) over all windows inside the
    image, with means m and (co)variances s in each, C_i = (K_i max |x|)^2, K = (0.01, 0.03): Wang, Bovik, Sheikh and
    Simoncelli 2004, doi:10.1109/TIP.2003.819861, with equal weights in a window, as fastMRI trains with
    (arXiv:1811.08839). An all-zero target counts as one of maximum 1.

    Attributes:
        window: pixels along a side of a window, odd.
        absolute: w, of the mean absolute error beside it.
    """

    window: int = 7
    absolute: float = 0.0

    def __post_init__(self) -> None:
        check_count(self.window, "window", 3)
        check_range(self.absolute, "absolute", 0.0)
        if self.window % 2 == 0:
            raise ValueError(f"window is {self.window}; a window has a pixel in its middle")

    def each(self, estimate: Tensor, target: Tensor) -> Tensor:
        if target.ndim != 3 or min(target.shape[-2:]) < self.window:
            raise ValueError(
                f"Dissimilarity compares images (batch, height, width) of at least {self.window} pixels a side; got "
                f"{tuple(target.shape)}"
            )
        x, y = estimate.abs(), target.abs()
        peak = y.amax((-2, -1), keepdim=True)
        peak = torch.where(peak > 0, peak, 1)
        x, y = x / peak, y / peak
        count = self.window**2

        def mean(values: Tensor) -> Tensor:
            return torch.nn.functional.avg_pool2d(values.unsqueeze(1), self.window, 1).squeeze(1)

        mx, my = mean(x), mean(y)
        unbiased = count / (count - 1)
        vx, vy, joint = (
            unbiased * (mean(a * b) - p * q) for a, b, p, q in ((x, x, mx, mx), (y, y, my, my), (x, y, mx, my))
        )
        first, second = FIRST**2, SECOND**2
        alike = (2 * mx * my + first) * (2 * joint + second) / ((mx * mx + my * my + first) * (vx + vy + second))
        return 1 - alike.mean((-2, -1)) + self.absolute * (x - y).abs().mean((-2, -1))
