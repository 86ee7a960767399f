"""Simulated nodules in the lungs, to be found in a sinogram of few views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.algorithms.images.blobs import Blobs, Detected
from unrolling.algorithms.splitting.primal_dual_operator import PDHG, diagonal_steps
from unrolling.core.arguments import check_count, check_range
from unrolling.networks.detector import PixelDetector
from unrolling.networks.unet import UNet, unet_width
from unrolling.operators import FiniteDifferences
from unrolling.operators.geometry import ParallelBeam
from unrolling.operators.radon import FilteredBackProjection, Radon
from unrolling.prox.box import Box
from unrolling.prox.isotropic import IsotropicShrink
from unrolling.tasks.base import PSNR, Samples, Shift, Task, first
from unrolling.tasks.baselines import Baseline, Generic, Iterative, Method
from unrolling.tasks.exhibits import Exhibits, Panels, Shown
from unrolling.tasks.medical.findings import DetectionLoss, ImageAUC, Sensitivity, peaks
from unrolling.tasks.medical.thorax import PIXEL, REFERENCE, Thorax, simulated_thorax

ATTENUATION = 0.04  # 1/mm, of an image of 1; water, 0.02 / mm at about 65 keV, has 0.5
TEST = 500  # slices
LUNG = 0.3  # brightest surroundings of a spot that may be a nodule
BATCH = 50  # slices of a held-out batch
HEALTHY = 0.1  # part of training slices without nodules
HELD = {"validation": 1_000_003, "test": 2_000_003, "timing": 3_000_003, "shifts": 4_000_003}


class Nodules(Task):
    """y = A x + e, A the Radon transform of evenly spaced parallel views, x a slice of a simulated thorax
    (``simulated_thorax``), e white with a standard deviation in proportion to the mean of |A x|; data (batch, views,
    bins) are integrals of attenuation along rays, without a unit. Sought are the image and the simulated nodules in it:
    an estimate is (batch, 2, size, size), the image in [0, 1], where 1 is an attenuation of 0.04 / mm, and scores of
    pixels, the higher the likelier that a nodule's middle is there.

    The metric is the sensitivity at one false positive per image; the area under the curve of images and the PSNR are
    further ones.

    Args:
        views: over 180 degrees.
        noise: standard deviation of e, in parts of the mean of |A x| of a slice.
        size: pixels along a side; 128 are 2.8 mm each, others as much more or less as keeps the field of view.
        held_out: slices of the test set; two fifths as many for validation.
        seed: of the held-out slices.
        data: none: slices are simulated.
        fixed: tensors of a weights file; none is needed.

    Raises:
        ValueError: less than one view, a size below 32, negative noise, no slice to hold out, or data.
    """

    name = "nodules"
    summary = "Simulated nodules in the lungs, from sinograms of few views with noise."
    given = "a sinogram of a thorax from few views"
    sought = "the nodules in its lungs, and the image"
    metric = Sensitivity()
    vectors = False
    threads = 1
    options: Mapping[str, Any] = {"views": 30, "noise": 0.03}
    notes = (
        "Thorax and nodules are simulated. A finding within the radius of a nodule and 1.5 pixels from its middle is "
        "right; the threshold lets one false positive per image pass.",
    )
    references = ("wu2018end",)
    units: Mapping[str, str] = {
        "data": "1, attenuation integrated along rays",
        "estimate": "first channel 1/mm, times 25: attenuation from 0 to 0.04 / mm; second channel 1, scores of pixels",
    }

    def __init__(
        self,
        views: int = 30,
        noise: float = 0.03,
        seed: int = 0,
        data: Any = None,
        fixed: Mapping[str, Tensor] | None = None,
        size: int = REFERENCE,
        held_out: int = TEST,
    ) -> None:
        if data is not None:
            raise ValueError(f"the task nodules simulates its slices and takes no data; got {data!r}")
        check_count(views, "views")
        check_count(size, "size", 32)
        check_count(held_out, "held_out", 5)
        check_range(noise, "noise", 0.0)
        self.views, self.noise, self.seed, self.size, self.held_out = views, float(noise), seed, size, held_out
        self.pixel = PIXEL * REFERENCE / size
        self.geometry = ParallelBeam.even(views, size, self.pixel)
        # Lengths are in 25 mm, over which an image of 1 lets 1/e of the photons pass: projections have no unit.
        lengths = ParallelBeam.even(views, size, self.pixel * ATTENUATION)
        self.radon, self.back = Radon(lengths), FilteredBackProjection(lengths, "hann")

    def fbp(self, data: Tensor) -> Tensor:
        """The filtered back-projection with a Hann window, (batch, size, size)."""
        return self.back(data)

    def measure(self, target: Thorax, generator: torch.Generator) -> Samples:
        """The sinograms of slices."""
        clean = self.radon(target.image)
        level = self.noise * clean.abs().mean((-2, -1), keepdim=True)
        return Samples(clean + level * torch.randn(clean.shape, generator=generator), target)

    def draw(self, batch: int, generator: torch.Generator, noise: float | None = None) -> Samples:
        """Slices as the held-out ones, but nine in ten of them with nodules, which are rare enough in those."""
        return self.measure(simulated_thorax(batch, self.size, generator, HEALTHY), generator)

    def _held(self, part: str, count: int) -> list[Samples]:
        sizes = [min(BATCH, count - begin) for begin in range(0, count, BATCH)]
        generators = [torch.Generator().manual_seed(HELD[part] + 7919 * self.seed + n) for n in range(len(sizes))]
        return [
            self.measure(simulated_thorax(size, self.size, generator), generator)
            for size, generator in zip(sizes, generators, strict=True)
        ]

    @cached_property
    def validation(self) -> list[Samples]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._held("validation", max(2, 2 * self.held_out // 5))

    @cached_property
    def test(self) -> list[Samples]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._held("test", self.held_out)

    @cached_property
    def timing(self) -> Samples:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._held("timing", 4)[0]

    def example(self) -> Any:
        """One sinogram."""
        return first(self.timing, 1).data

    @classmethod
    def small(cls) -> Nodules:
        return cls(views=12, size=32, held_out=10)

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """Views and noise that are unlike the usual."""
        return "-".join(f"{key}{options[key]:g}" for key in cls.options if options[key] != cls.options[key])

    def loss(self, estimate: Tensor, target: Any) -> Tensor:
        """``DetectionLoss`` with both weights 1."""
        return DetectionLoss()(estimate, target)

    def more(self, estimates: Sequence[Tensor], batches: Sequence[Samples]) -> dict[str, float]:
        """The area under the curve of images, and the PSNR of reconstructions with a peak of 1."""
        kept = [first(batch, len(found)) for found, batch in zip(estimates, batches, strict=True)]
        curve, pairs = ImageAUC(), list(zip(estimates, kept, strict=True))
        areas = torch.cat([curve.pieces(found, batch) for found, batch in pairs])
        errors = torch.cat([PSNR.pieces(_image(found), Samples(None, batch.target.image)) for found, batch in pairs])
        return {"AUC": curve.value(areas), "PSNR in dB": PSNR.value(errors)}

    def baselines(self, size: int) -> Sequence[Baseline]:
        """Spots that stand out of their surroundings, in total-variation and filtered images; a detector that learns on
        filtered images; a U-Net from filtered images to scores.
        """

        def variation(weight: float) -> Detected:
            return Detected(self.total_variation(weight), Blobs(1.2, brightest=LUNG))

        return [
            Iterative("total variation, PDHG, spots", variation, (0.03, 0.06, 0.1), 100, tuning=60),
            Method(
                "filtered back-projection, spots",
                lambda width: lambda data: _scored(self.fbp(data), Blobs(width, brightest=LUNG)),
                (1.0, 1.3, 1.7),
                "spots of {setting:g} pixels",
                linear=True,
            ),
            Generic("filtered back-projection, detector", lambda: OnImage(self.fbp, PixelDetector()), batch=8),
            Generic("U-Net, no reconstruction", lambda: OnImage(self.fbp, scoring_unet(size)), batch=4),
        ]

    def total_variation(self, weight: float) -> PDHG:
        """min 0.5 |A x - y|^2 + weight sum |D x| over x >= 0, from the filtered back-projection on."""
        steps = diagonal_steps(self.radon, FiniteDifferences())
        options: dict[str, Any] = {"image_prox": Box(0.0), "initial": self.back, **steps}
        return PDHG(self.radon, FiniteDifferences(), IsotropicShrink(), weight, **options)

    def shifts(self) -> Sequence[Shift]:
        """More and less noise."""
        clean = simulated_thorax(BATCH, self.size, torch.Generator().manual_seed(HELD["shifts"] + self.seed))

        def made(noise: float) -> Samples:
            other = Nodules(self.views, noise, size=self.size, held_out=self.held_out)
            return other.measure(clean, torch.Generator().manual_seed(HELD["shifts"]))

        levels = tuple(sorted({0.0, self.noise / 2, self.noise, 2 * self.noise, 4 * self.noise}))
        return [
            Shift(
                "noise in parts of the mean projection",
                levels,
                made,
                self.noise,
                "The network was trained for one level.",
            )
        ]

    def exhibits(self, methods: Sequence[Shown]) -> Exhibits:
        """The first two test slices with nodules, with what each method finds at its own threshold."""
        batch = self.test[0]
        with_some = torch.nonzero((batch.target.nodules[..., 2] > 0).any(1)).flatten().tolist()[:2]
        usable = [m for m in methods if len(m.estimates)]
        parents = sorted((m for m in usable if m.role == "parent"), key=lambda m: -m.level)
        chosen = [*parents[:1], *(m for role in ("generic", "network") for m in usable if m.role == role)]
        found = []
        for number in with_some:
            panels = [("original, nodules", _marked(batch.target.image[number], batch.target.nodules[number]))]
            shown = [m for m in chosen if len(m.estimates[0]) > number]
            panels += [(method.name, self._found(method.estimates, number)) for method in shown]
            found.append(Panels(f"test slice {number + 1}", panels))
        return Exhibits(pictures=found)

    def _found(self, estimates: Sequence[Tensor], number: int) -> Any:
        """The image of a method with its findings at one false positive per image."""
        pieces = torch.cat(
            [self.pieces(e, first(b, len(e))) for e, b in zip(estimates, self.test[: len(estimates)], strict=True)]
        )
        image, scores = estimates[0][number]
        return _marked(image.clamp(0, 1), found_at(scores, float(Sensitivity().threshold(pieces))))

    def identity(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "views": self.views,
            "noise": self.noise,
            "size": self.size,
            "seed": self.seed,
            "material": "simulated thorax and nodules",
        }


class OnImage(nn.Module):
    """A detector on an image that data become: data -> (batch, 2, height, width), the image and its scores."""

    def __init__(self, image: Any, detector: nn.Module) -> None:
        super().__init__()
        self.image, self.detector = image, detector

    def forward(self, data: Tensor) -> Tensor:
        with torch.no_grad():
            image = self.image(data)
        return _scored(image, self.detector)


class _Scores(UNet):
    """A U-Net whose output is scores, not a change of the image."""

    def forward(self, y: Tensor) -> Tensor:
        return super().forward(y) - y - 4.6  # a probability of 0.01 at the start


def scoring_unet(size: int) -> nn.Module:
    """A U-Net from images to scores, with about so many parameters."""
    return _Scores(unet_width(size, 2))


def _scored(image: Tensor, detector: Any) -> Tensor:
    return torch.stack([image, detector(image)], 1)


def _image(estimate: Tensor) -> Tensor:
    return estimate[:, 0].clamp(0, 1)


def found_at(scores: Tensor, threshold: float, radius: float = 3.0) -> Tensor:
    """The peaks of one map above a threshold as (count, 3): row, column and a radius to draw them with."""
    found = peaks(scores.unsqueeze(0))
    kept = found.score[0] > threshold
    rows = torch.stack([found.row[0][kept].float(), found.column[0][kept].float()], 1)
    return torch.cat([rows, torch.full((len(rows), 1), radius)], 1)


def circles(marks: Tensor, size: tuple[int, int], beyond: float = 3.0) -> Tensor:
    """Where circles around (row, column, radius) run, ``beyond`` pixels outside of them: a mask (height, width)."""
    y, x = torch.meshgrid(*(torch.arange(side, dtype=torch.float32) for side in size), indexing="ij")
    drawn = torch.zeros(size, dtype=torch.bool)
    for row, column, radius in marks.tolist():
        if radius > 0:
            drawn |= ((y - row).hypot(x - column) - radius - beyond).abs() <= 0.5
    return drawn


def _marked(image: Tensor, marks: Tensor) -> Any:
    ring = circles(marks, (image.shape[-2], image.shape[-1]))
    return torch.where(ring, 1.0, image.cpu()).numpy()
