"""Photographs blurred by a motion that is known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.splitting.data_terms import Blurred, KnownBlur
from unrolling.algorithms.splitting.primal_dual import ChambollePock
from unrolling.core.arguments import check_count
from unrolling.operators import FiniteDifferences
from unrolling.operators.spectral import convolve, divide, transfer
from unrolling.prox.isotropic import IsotropicShrink
from unrolling.tasks.base import Samples, Shift
from unrolling.tasks.baselines import Baseline, Iterative, Method
from unrolling.tasks.images.baselines import unet_on
from unrolling.tasks.images.blurs import linear_motion, shake
from unrolling.tasks.images.pictures import Pictures
from unrolling.tasks.images.sources import Drawn, few_drawn
from unrolling.tasks.measurements import Gaussian, Measurement, image_measurement

KINDS = ("linear", "shake", "both")
SHORTEST = 3.0  # pixels of straight motions


class KnownDeblurring(Pictures):
    """y = k * x + e with a kernel that is told, periodic; e white with standard deviation ``noise``. Data are
    ``Blurred(image, kernel)``.

    Args:
        kind: of the kernels: ``linear`` motion at all angles and lengths, ``shake``, the trembling of a hand, or
            ``both`` in turn.
        noise: standard deviation, for images in [0, 1].
        size: pixels along a side of the kernels, odd.
        seed: of kernels, noise and crops.
        data: as for ``Pictures``.
        fixed: tensors of a weights file; none is needed.
        crop: side of the training crops.

    Raises:
        ValueError: an unknown kind, an even size or one below 3, a noise that is not positive, a crop smaller than the
            kernels, and what ``Pictures`` refuses.
    """

    name = "known_deblurring"
    given = "a blurred photograph, and the motion of the camera"
    sought = "the sharp photograph"
    options: Mapping[str, Any] = {"kind": "shake", "noise": 0.01, "size": 17}
    notes = (
        "The PSNR of each photograph counts equally, all its pixels; the blur is periodic, estimates are clipped to "
        "[0, 1].",
    )
    units: Mapping[str, str] = {
        "data.image": "1, luma from 0 (black) to 1 (white)",
        "data.kernel": "1, sums to one; its centre at (rows // 2, columns // 2)",
        "estimate": "1, luma from 0 (black) to 1 (white)",
    }

    def __init__(
        self,
        kind: str = "shake",
        noise: float = 0.01,
        size: int = 17,
        seed: int = 0,
        data: str | Path | Drawn | None = None,
        fixed: Mapping[str, Tensor] | None = None,
        crop: int = 64,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind is {kind!r}; it is one of {', '.join(KINDS)}")
        check_count(size, "size", 3)
        if size % 2 == 0:
            raise ValueError(f"size is {size}; the side of a kernel is odd, so that it has a middle")
        if not 0 < noise < float("inf"):
            raise ValueError(f"noise is {noise}; it has a standard deviation above 0, for images in [0, 1]")
        check_count(crop, "crop", size)
        self.kind, self.noise, self.size = kind, noise, size
        words = {"linear": "straight motion", "shake": "a trembling hand", "both": "motion, straight or trembling"}
        self.summary = (
            f"Photographs blurred by {words[kind]} that is known, kernels of up to {size} x {size} pixels, noise "
            f"{noise:g}; none of the test photographs was trained on."
        )
        super().__init__(seed, data, crop)

    @property
    def least(self) -> int:
        return max(8, self.size)

    @classmethod
    def small(cls) -> KnownDeblurring:
        return cls(size=5, crop=24, data=few_drawn())

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """The kind of motion, and what is unlike the usual."""
        unlike = [f"{key}{options[key]:g}" for key in ("noise", "size") if options[key] != cls.options[key]]
        return "-".join([options["kind"], *unlike])

    def kernels(self, count: int, generator: torch.Generator) -> Tensor:
        """Random kernels, (count, size, size)."""
        return torch.stack([self._kernel(generator) for _ in range(count)])

    def _kernel(self, generator: torch.Generator) -> Tensor:
        straight = self.kind == "linear" or (self.kind == "both" and bool(torch.rand((), generator=generator) < 0.5))
        if not straight:
            return shake(self.size, generator)
        part, turn = torch.rand(2, generator=generator).tolist()
        return linear_motion(SHORTEST + (self.size - SHORTEST) * part, math.pi * turn, self.size)

    def blur(self, clean: Tensor, kernel: Tensor, generator: torch.Generator) -> Samples:
        """Pictures blurred by kernels, one for each or one for all, and the noise."""
        blurred = convolve(clean, kernel)
        noisy = blurred + self.noise * torch.randn(blurred.shape, generator=generator)
        return Samples(Blurred(noisy, kernel), clean)

    def spoil(self, clean: Tensor, generator: torch.Generator) -> Samples:
        return self.blur(clean, self.kernels(clean.shape[0], generator), generator)

    def measurement(self) -> Measurement:
        return image_measurement(KnownBlur(), Gaussian(self.noise))

    def baselines(self, size: int) -> Sequence[Baseline]:
        """Total variation, the best regularised inverse filter, the blurred image, and a U-Net on it."""
        return [
            Iterative(
                "total variation, Chambolle-Pock",
                lambda w: ChambollePock(
                    KnownBlur(), FiniteDifferences("circular"), IsotropicShrink(), w, primal_step=5.0
                ),
                tuple(round(weight * self.noise, 6) for weight in (0.03, 0.06, 0.12, 0.25)),
                300,
                tuning=100,
            ),
            Method(
                "Wiener filter",
                lambda weight: lambda data: wiener_filter(data, weight),
                tuple(round(weight * self.noise**2, 6) for weight in (100.0, 300.0, 1000.0, 3000.0)),
                "of photographs with noise over signal {setting:g} |frequency|^2",
            ),
            Method("the blurred photograph", lambda _: lambda data: data.image),
            unet_on(lambda data: data.image, size),
        ]

    def shifts(self) -> Sequence[Shift]:
        """Weaker and stronger noise."""

        def noisy(noise: float) -> Samples:
            generator = torch.Generator().manual_seed(4_000_003 + self.seed)
            clean = self.timing.target[:2]
            found = self.blur(clean, self.kernels(clean.shape[0], generator), generator)
            image = found.data.image + (noise**2 - self.noise**2) ** 0.5 * torch.randn(clean.shape, generator=generator)
            return Samples(Blurred(image, found.data.kernel), clean)

        values = tuple(round(factor * self.noise, 6) for factor in (1.0, 2.0, 3.0))
        return [Shift("noise, standard deviation", values, noisy, self.noise, "The method is not told the noise.")]

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "kind": self.kind, "noise": self.noise, "size": self.size}


def wiener_filter(data: Blurred, weight: float) -> Tensor:
    """F^-1 [conj(k) y / (|k|^2 + w |d|^2)], |d|^2 that of finite differences: the linear estimate of least error for
    photographs whose power falls as 1 / |frequency|^2, w the noise's over theirs at a frequency of 1.
    """
    height, width = data.image.shape[-2:]
    back = convolve(data.image, data.kernel, adjoint=True)
    square = transfer(data.kernel, height, width).abs().square()
    rough = FiniteDifferences("circular").gram_spectrum(height, width).to(square)
    return divide(back, square + weight * rough + 1e-6, real=True)
