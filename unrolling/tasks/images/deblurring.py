"""Photographs blurred by an unknown motion of the camera."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolling.core.arguments import check_count
from unrolling.core.refusals import kind_of
from unrolling.operators.convolution import convolve_valid
from unrolling.tasks.base import Samples, Shift
from unrolling.tasks.baselines import Baseline
from unrolling.tasks.images import sources as images
from unrolling.tasks.images.alignment import aligned
from unrolling.tasks.images.baselines import deblurrers, unet_on
from unrolling.tasks.images.blurs import linear_motion, shake
from unrolling.tasks.images.pictures import TEST_SEED, VALIDATION_SEED, Pictures, similarity
from unrolling.tasks.images.sources import Drawn, few_drawn

SHIFT = 12  # pixels in each direction by which image and kernel may be apart
SIZE = 31  # of the kernels that blur
REACH = 14  # pixels by which the kernels of the classical method are larger, so that they may lie anywhere
LENGTHS = (
    "shortest",
    "longest",
    "noise",
    "size",
)  # options that a weights file is named by where they are not the usual
KINDS = ("linear", "shake", "both")
KERNEL_WEIGHT = 1.0  # of the kernel's relative error beside the logarithm of the image's
FLOOR = 1e-5  # of the mean squared error under that logarithm: 50 dB
# crops whose gradient is above the first in less than the second part of their pixels are drawn again, so many times
STEEP, TEXTURED, TRIES = 0.05, 0.1, 10


class Sharp(NamedTuple):
    """The target of a training batch."""

    image: Tensor  # (batch, height, width) or (batch, 3, height, width)
    kernel: Tensor  # (batch, size, size)


class Deblurring(Pictures):
    """y = the valid part of k * x + e, k unknown, e white with standard deviation ``noise``.

    Blind deblurring knows the image up to a shift: scores count the best one within 12 pixels, on what lies 12 pixels
    and more from the border; the blurred image is scored in the same way. In training the loss sees the kernel too,
    where a network gives it.

    Args:
        kind: of the kernels: ``linear`` motion at all angles, ``shake``, or ``both`` in turn.
        shortest: length of the shortest linear motion, in pixels.
        longest: of the longest, up to ``size`` where there are straight motions.
        noise: standard deviation, for images in [0, 1].
        size: pixels along a side of the kernels, odd.
        colour: 1 for colour pictures (batch, 3, height, width).
        seed: of kernels, noise and crops.
        data: as for ``Pictures``.
        fixed: tensors of a weights file; none is needed.
        crop: side of the blurred training crops; by default 168 pixels, for kernels of at most 17 pixels 128.
        each: test samples per photograph.

    Raises:
        ValueError: an unknown kind, lengths out of order or beyond the kernel, an even size or one below 3, negative
            noise, and what ``Pictures`` refuses.
    """

    name = "deblurring"
    given = "a blurred photograph"
    sought = "the sharp photograph, and the motion of the camera"
    options: Mapping[str, Any] = {
        "kind": "linear",
        "shortest": 5.0,
        "longest": 31.0,
        "noise": 0.01,
        "size": SIZE,
        "colour": 0,
    }
    notes = (
        "Image and kernel are known up to a shift: scores take the best one within 12 pixels, of the blurred image "
        "too, 12 pixels from the border.",
    )

    def __init__(
        self,
        kind: str = "linear",
        shortest: float = 5.0,
        longest: float = 31.0,
        noise: float = 0.01,
        colour: int = 0,
        seed: int = 0,
        data: str | Path | Drawn | None = None,
        fixed: Mapping[str, Tensor] | None = None,
        crop: int | None = None,
        each: int = 10,
        size: int = SIZE,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind is {kind!r}; it is one of {', '.join(KINDS)}")
        check_count(size, "size", 3)
        if size % 2 == 0:
            raise ValueError(f"size is {size}; kernels have an odd number of pixels along each side")
        if not 1 <= shortest <= longest or (longest > size and kind != "shake"):
            raise ValueError(
                f"lengths go from shortest to longest, 1 to {size} pixels; got {shortest:g} and {longest:g}"
            )
        if not noise >= 0:
            raise ValueError(f"noise is {noise}; a standard deviation is at least 0")
        crop = crop if crop is not None else 128 if size <= 17 else 168
        self.kind, self.shortest, self.longest, self.noise, self.size = kind, shortest, longest, noise, size
        self.colour, self.each, self.blurred_crop = bool(colour), each, crop
        words = {
            "linear": f"linear motion over {shortest:g} to {longest:g} pixels",
            "shake": "a trembling hand",
            "both": "motion, straight or trembling",
        }[kind]
        self.summary = (
            f"Photographs blurred by {words} that is unknown, noise {noise:g}; PSNR at the best shift "
            f"within {SHIFT} pixels."
        )
        super().__init__(seed, data, crop + size - 1)
        if colour:
            self.shown = False

    def convert(self, picture: Any) -> Tensor:
        return images.colours(picture) if self.colour else images.luma(picture)

    @property
    def least(self) -> int:
        return self.size + 2 * SHIFT + 45

    def kernels(self, count: int, generator: torch.Generator, length: float | None = None) -> Tensor:
        """Random kernels, (count, size, size)."""
        return torch.stack([self._kernel(generator, length) for _ in range(count)])

    def _kernel(self, generator: torch.Generator, length: float | None) -> Tensor:
        straight = (
            self.kind == "linear"
            or length is not None
            or (self.kind == "both" and bool(torch.rand((), generator=generator) < 0.5))
        )
        if not straight:
            return shake(self.size, generator)
        length = (
            self.shortest + (self.longest - self.shortest) * float(torch.rand((), generator=generator))
            if length is None
            else length
        )
        return linear_motion(length, math.pi * float(torch.rand((), generator=generator)), self.size)

    @classmethod
    def small(cls) -> Deblurring:
        return cls(crop=48, each=1, data=few_drawn())

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """The kind of motion, and what is unlike the usual."""
        parts = [options["kind"]] + (["rgb"] if options["colour"] else [])
        return "-".join(parts + [f"{key}{options[key]:g}" for key in LENGTHS if options[key] != cls.options[key]])

    def baselines(self, size: int) -> Sequence[Baseline]:
        """Total variation, the blurred image, and a U-Net at the image's own size."""
        return [
            *deblurrers(self.colour, self.size + REACH),
            unet_on(lambda data: data, size, channels=3 if self.colour else 1),
        ]

    def spoil(self, clean: Tensor, generator: torch.Generator, length: float | None = None) -> Samples:
        blurred, _, sharp = self._blur(clean, generator, length)
        return Samples(blurred, sharp)

    def _blur(
        self, clean: Tensor, generator: torch.Generator, length: float | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        kernel = self.kernels(clean.shape[0], generator, length)
        valid = convolve_valid(clean, kernel)
        edge = self.size // 2
        return (
            valid + self.noise * torch.randn(valid.shape, generator=generator),
            kernel,
            clean[..., edge:-edge, edge:-edge].contiguous(),
        )

    def crops(self, batch: int, generator: torch.Generator, side: int | None = None) -> Tensor:
        """Random crops with something to see in them: sky says nothing about a motion (the authors of DUBLID leave out
        smooth crops by a similar rule).
        """

        def textured() -> Tensor:
            crop = super(Deblurring, self).crops(1, generator, side)
            for _ in range(TRIES - 1):
                if _texture(crop) >= TEXTURED:
                    break
                crop = super(Deblurring, self).crops(1, generator, side)
            return crop

        return torch.cat([textured() for _ in range(batch)])

    def draw(self, batch: int, generator: torch.Generator, length: float | None = None) -> Samples:
        blurred, kernel, sharp = self._blur(self.crops(batch, generator), generator, length)
        return Samples(blurred, Sharp(sharp, kernel))  # pyright: ignore[reportArgumentType]

    def draw_held_out(self, part: str, seed: int) -> list[Samples]:
        return [self.spoil(picture.unsqueeze(0), generator) for picture, generator in self._held(part, seed)]

    def kernels_of(self, part: str) -> list[Tensor]:
        """The kernels behind ``validation`` or ``test``, (1, size, size) each."""
        return [self.kernels(1, generator) for _, generator in self._held(part, self.seed_of(part))]

    @staticmethod
    def seed_of(part: str) -> int:
        """Of the kernels and the noise of ``validation`` or ``test``."""
        return {"validation": VALIDATION_SEED, "test": TEST_SEED}[part]

    def _held(self, part: str, seed: int) -> list[tuple[Tensor, torch.Generator]]:
        count = self.each if part == "test" else max(1, self.each // 2)
        pictures = enumerate(self.photographs[part].values())
        return [
            (p, torch.Generator().manual_seed(seed + 7919 * self.seed + 101 * k + n))
            for k, p in pictures
            for n in range(count)
        ]

    def loss(self, estimate: Any, target: Any) -> Tensor:
        """The mean over images of log(mse + 1e-5) at the best shift, and where the kernel is known on both sides, of
        |k' - k|^2 / |k|^2 at its own best shift.

        The logarithm makes every image count as it does in the PSNR, easy and hard ones, short and long motions alike.
        """
        image, true = (
            (estimate.image if hasattr(estimate, "image") else estimate),
            (target.image if hasattr(target, "image") else target),
        )
        moved, inner = aligned(image, true, SHIFT)
        loss = ((moved - inner).square().flatten(1).mean(1) + FLOOR).log().mean()
        if hasattr(estimate, "kernel") and hasattr(target, "kernel"):
            relative = kernel_error(estimate.kernel, target.kernel) / target.kernel.square().sum((-2, -1))
            loss = loss + KERNEL_WEIGHT * self.weighed(relative).mean()
        return loss

    def weighed(self, relative: Tensor) -> Tensor:
        """The relative errors of kernels as they count in the loss."""
        return relative

    def pieces(self, estimate: Tensor, samples: Samples) -> Tensor:
        true = samples.target.image if isinstance(samples.target, Sharp) else samples.target
        moved, inner = aligned(estimate.clamp(0, 1), true, SHIFT)
        return self.metric.pieces(moved, samples._replace(target=inner))

    def more(self, estimates: Sequence[Tensor], batches: Sequence[Samples]) -> dict[str, float]:
        """Structural similarity at the best shift."""
        pairs = [aligned(e.clamp(0, 1), b.target, SHIFT) for e, b in zip(estimates, batches, strict=True)]
        return {"SSIM": similarity([e for e, _ in pairs], [t for _, t in pairs])}

    def shifts(self) -> Sequence[Shift]:
        """Shorter and longer motions."""

        def made(length: float) -> Samples:
            clean = torch.stack([p[..., : self.crop, : self.crop] for p in list(self.photographs["test"].values())[:2]])
            return self.spoil(clean, torch.Generator().manual_seed(4_000_003 + self.seed), length)

        return [
            Shift(
                "length of the motion in pixels",
                tuple(length for length in (3.0, 7.0, 15.0, 23.0, 31.0) if length <= self.size),
                made,
                None,
                "Straight motion at random angles.",
            )
        ]

    def identity(self) -> dict[str, Any]:
        own = {
            "kind": self.kind,
            "shortest": self.shortest,
            "longest": self.longest,
            "noise": self.noise,
            "colour": int(self.colour),
        } | ({} if self.size == SIZE else {"size": self.size})
        return {**super().identity(), **own}


def _texture(crop: Tensor) -> float:
    """The part of the pixels at which the grey levels of neighbours, below and to the right, differ by more than STEEP
    in all.
    """
    grey = crop if crop.ndim == 3 else crop.mean(1)
    corner = grey[..., :-1, :-1]
    return float(((grey[..., 1:, :-1] - corner).abs() + (grey[..., :-1, 1:] - corner).abs() > STEEP).float().mean())


def kernel_loss(estimate: Any, target: Any) -> Tensor:
    """The mean over images of |k' - k|^2 / |k|^2 at the best shift, of what holds a ``kernel``: a loss that no image is
    recovered for, as Schuler, Hirsch, Harmeling and Schoelkopf 2016 train with.

    Raises:
        TypeError: an estimate or a target without a kernel.
    """
    for name, value in (("estimate", estimate), ("target", target)):
        if not hasattr(value, "kernel"):
            raise TypeError(
                f"kernel_loss compares kernels, and the {name} is {kind_of(value)}; a network for blind deblurring "
                "gives one (`supervised`), and so do the training samples of the task deblurring"
            )
    error = kernel_error(estimate.kernel, target.kernel)
    return (error / target.kernel.square().sum((-2, -1))).mean()


def kernel_error(estimate: Tensor, target: Tensor) -> Tensor:
    """The smallest squared error of kernels over all shifts that keep the true one inside, (batch,).

    Args:
        estimate: (batch, kh, kw).
        target: (batch, th, tw), no larger; both have their origin in the middle.
    """
    rows, columns = (a - b for a, b in zip(estimate.shape[-2:], target.shape[-2:], strict=True))
    most = min(rows, columns) // 2
    padded = torch.nn.functional.pad(target, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
    # |k' - k(. - s)|^2 = |k'|^2 + |k|^2 - 2 <k', k(. - s)>; the shift itself has no gradient.
    with torch.no_grad():
        spectrum = torch.fft.rfft2(estimate) * torch.fft.rfft2(padded).conj()
        products = torch.fft.irfft2(spectrum, s=estimate.shape[-2:]).roll((most, most), (-2, -1))[
            ..., : 2 * most + 1, : 2 * most + 1
        ]
        best = products.flatten(1).argmax(1)
        shifts = (torch.stack([best // (2 * most + 1), best % (2 * most + 1)], 1) - most).tolist()
    moved = torch.stack([k.roll(shift, (-2, -1)) for k, shift in zip(padded, shifts, strict=True)])
    return (estimate - moved).square().sum((-2, -1))
