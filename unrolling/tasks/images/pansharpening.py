"""Bands of few pixels and a panchromatic image of many: Wald's protocol on photographs, or on a scene of one's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unrolling.algorithms.images.component_substitution import brovey, gram_schmidt_adaptive, mtf_glp
from unrolling.algorithms.images.pan_sharpening import BandVariation, GuidedProjection, MultispectralFit
from unrolling.core.arguments import check_count
from unrolling.networks.pnn import PNN, pnn_width
from unrolling.operators.modulation_transfer import Imagery, ModulationTransfer
from unrolling.tasks import exhibits
from unrolling.tasks.base import Samples, Shift
from unrolling.tasks.baselines import Baseline, Generic, Iterative, Method
from unrolling.tasks.exhibits import Exhibits, Panels, Shown
from unrolling.tasks.images import sources as images
from unrolling.tasks.images.fusion_metrics import ERGAS, spectral_angle, universal_quality
from unrolling.tasks.images.pictures import Pictures
from unrolling.tasks.images.scenes import is_scene, scene_by_part
from unrolling.tasks.images.sources import Drawn, drawn

MIX = (0.25, 0.5, 0.25)  # of red, green and blue in the panchromatic image of held-out photographs
TRAINING = ("china", "flower", "chelsea", "motorcycle")
TEST = ("astronaut", "immunohistochemistry")
THRESHOLDS = (0.003, 0.01, 0.03, 0.1)  # of total variation, in standard deviations of a band
# Of training photographs: how often a band is turned into its negative, the exponents that bands are raised to, and the
# largest standard deviation of noise on the panchromatic image, beside bands in [0, 1]
INVERTED, POWERS, NOISE = 0.25, (0.6, 1.8), 0.01


class Pansharpening(Pictures):
    """y = A x, bands at 1 / r of the resolution, and the panchromatic image p at the whole; recover the bands x. Data
    are ``Imagery``, targets (batch, bands, height, width).

    Wald's protocol (Wald, Ranchin and Mangolini 1997, Photogrammetric Engineering and Remote Sensing 63(6)): what is
    known at the resolution of the bands is reduced, so that there is a truth. Photographs are scenes of three bands
    whose p is red, green and blue in parts of 1/4, 1/2, 1/4; in training bands are raised to random powers, some become
    their negatives, and p is another mixture each time with some noise, since no sensor's is known beforehand. A scene
    brings its own p, which the same transfer reduces.

    Scores are ERGAS, with the ratio r; ``more`` gives the spectral angle and the universal quality index of windows of
    32 x 32 pixels.

    Args:
        factor: r.
        gain: of all bands at the Nyquist frequency of their pixels.
        seed: of crops and mixtures.
        data: as for ``Pictures``; or a scene of one's own, see ``scene_by_part``: trained on its left 48 % of columns,
            validated on the next 12 %, and tested on the right 30 %.
        fixed: tensors of a weights file; none is needed.
        crop: side of the training crops, brought to a multiple of r.

    Raises:
        ValueError: a ratio below 2, a gain that is none, and what ``Pictures`` and ``scene_by_part`` refuse.
    """

    name = "pansharpening"
    given = "a satellite's bands of few pixels, and a sharp panchromatic image"
    sought = "the bands with the pixels of the panchromatic image"
    options: Mapping[str, Any] = {"factor": 4, "gain": 0.25}
    notes = (
        "ERGAS has the ratio of the pixels in it; every scene counts equally. Estimates are not clipped.",
        "Of total variation and MTF-GLP the setting is chosen on validation photographs, or on the columns beside "
        "those that are trained on.",
    )
    references = ("lohit2019unrolled", "wald1997fusion")
    units: Mapping[str, str] = {
        "multispectral": "any, linear in radiance",
        "panchromatic": "any, linear in radiance",
        "estimate": "that of the bands",
    }

    def __init__(
        self,
        factor: int = 4,
        gain: float = 0.25,
        seed: int = 0,
        data: str | Path | Drawn | None = None,
        fixed: Mapping[str, Tensor] | None = None,
        crop: int = 64,
    ) -> None:
        check_count(factor, "factor", 2)
        self.factor = self.multiple = factor
        self.gain = float(gain)
        self.operator = ModulationTransfer(factor, self.gain)
        self.metric = ERGAS(ratio=factor)
        self.scene = not isinstance(data, Mapping) and data is not None and is_scene(data)
        where = "one scene by columns" if self.scene else "photographs, three bands"
        self.summary = (
            f"Bands from 1 / {factor**2} of their pixels and a panchromatic image ({where}), transfer {gain:g} at the "
            "Nyquist frequency."
        )
        super().__init__(seed, data, max(crop // factor, 1) * factor, TRAINING)

    def convert(self, picture: Any) -> Tensor:
        return images.colours(picture)

    @cached_property
    def photographs(self) -> dict[str, dict[str, Tensor]]:
        """Scenes by part and name: (bands, height, width), the panchromatic image last where a scene brings one."""
        if self.scene:
            found = scene_by_part(self._data, self.operator)  # pyright: ignore[reportArgumentType]
            return {part: {name: self._whole(x) for name, x in scenes.items()} for part, scenes in found.items()}
        held = dict(super().photographs)
        if self._data is None or not self._is_folder_of_tests():
            held["test"] = {name: self._whole(images.photograph(name, self.convert)) for name in TEST}
        return held

    def _is_folder_of_tests(self) -> bool:
        """Whether test pictures are the caller's."""
        if isinstance(self._data, Mapping):
            return True
        root = Path(str(self._data))
        return (root / "test").is_dir() or not ((root / "extra").is_dir() or (root / "train").is_dir())

    @property
    def least(self) -> int:
        return 8 * self.factor

    @property
    def bands(self) -> int:
        """Of the test scenes."""
        first = next(iter(self.photographs["test"].values()))
        return first.shape[0] - self.scene

    @classmethod
    def small(cls) -> Pansharpening:
        drawings = {"train": (104, 96), "validation": (96, 104), "test": (96, 112)}
        return cls(
            crop=32,
            data={
                part: {f"{part}.png": np.stack([drawn(*size, seed=80 + 10 * band) for band in range(3)], 2)}
                for part, size in drawings.items()
            },
        )

    @classmethod
    def tag(cls, options: Mapping[str, Any]) -> str:
        """The ratio, and the gain where it is not the usual."""
        gain = "" if options["gain"] == cls.options["gain"] else f"-gain{options['gain']:g}"
        return f"x{options['factor']}{gain}"

    @classmethod
    def serves(cls, trained: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
        """Other ratios and gains: the data step is theirs, and the networks see bands in standard deviations."""
        return True

    def spoil(self, clean: Tensor, generator: torch.Generator) -> Samples:
        if self.scene:
            return self.reduced(clean[:, :-1], clean[:, -1:])
        return self.reduced(clean, mixed(clean, torch.tensor(MIX).expand(clean.shape[0], 3)))

    def reduced(self, x: Tensor, pan: Tensor) -> Samples:
        """The samples of scenes (batch, bands, height, width) with their panchromatic images (batch, 1, height,
        width).
        """
        return Samples(Imagery(self.operator(x), pan), x)

    def draw(self, batch: int, generator: torch.Generator) -> Samples:
        crops = self.crops(batch, generator)
        if self.scene:
            return self.spoil(crops, generator)
        return self.reduced(*as_other_sensors(crops, generator))

    def loss(self, estimate: Tensor, target: Tensor) -> Tensor:
        """100 x the mean over scenes and bands of |x - t|^2 / |t|^2: ERGAS squared but for constants and for what the
        bands vary; a band without energy counts with its squared error.
        """
        errors, energies = (estimate - target).square().mean((-2, -1)), target.square().mean((-2, -1))
        return 100 * (errors / torch.where(energies > 0, energies, 1)).mean()

    def pieces(self, estimate: Tensor, samples: Samples) -> Tensor:
        return self.metric.pieces(estimate, samples)

    def more(self, estimates: Sequence[Tensor], batches: Sequence[Samples]) -> dict[str, float]:
        """The spectral angle in degrees and the universal quality index, averaged over scenes."""
        pairs = [(e, b.target[: len(e)]) for e, b in zip(estimates, batches, strict=True)]
        return {
            "SAM (degrees)": float(torch.cat([spectral_angle(e, t) for e, t in pairs]).mean()),
            "Q": float(torch.cat([universal_quality(e, t) for e, t in pairs]).mean()),
        }

    def baselines(self, size: int) -> Sequence[Baseline]:
        """Projected gradient descent with total variation, of the bands or of what in them differs from the
        panchromatic image; Brovey, GSA and MTF-GLP; bicubic interpolation; a PNN of as many numbers.
        """

        def variation(threshold: float, guided: bool = False) -> GuidedProjection:
            return GuidedProjection(MultispectralFit(self.operator), BandVariation(threshold, guided=guided))

        def direct(method: Callable[..., Tensor], **options: Any) -> Callable[[Imagery], Tensor]:
            return lambda data: method(data, self.operator, **options)

        bands, width = self.bands, pnn_width(size, self.bands)
        return [
            Iterative("total variation, projected gradient", variation, THRESHOLDS, 150, 60, "threshold"),
            Iterative(
                "total variation beside p, projected gradient",
                partial(variation, guided=True),
                THRESHOLDS,
                150,
                60,
                "threshold",
            ),
            Method("Brovey", lambda _: direct(brovey), note="intensity by least squares"),
            Method("GSA", lambda _: direct(gram_schmidt_adaptive)),
            Method(
                "MTF-GLP", lambda gain: direct(mtf_glp, gain=gain), ("regression", "deviation"), "gains by {setting}"
            ),
            Method(
                "bicubic interpolation", lambda _: lambda data: self.operator.enlarge(data.multispectral), linear=True
            ),
            Generic(f"PNN, {width} and {width // 2} channels", lambda: self.pnn(width, bands), batch=4),
        ]

    def pnn(self, width: int, bands: int) -> nn.Module:
        """A PNN for so many bands."""
        return _OnScenes(self.operator, PNN(bands, (width, width // 2)))

    def exhibits(self, methods: Sequence[Shown]) -> Exhibits:
        """The last band of the first test scenes side by side."""
        shown = [m._replace(estimates=[e[:, -1] for e in m.estimates]) for m in methods]
        targets = [batch.target[:, -1] for batch in self.test]
        names = [f"{name}, the last band" for name in self.photographs["test"]]
        return exhibits.pictures(names, targets, shown, self._score)

    def progress(self, estimates: Sequence[Tensor]) -> Sequence[Panels]:
        """The last band of the first test scene after each layer."""
        name = f"{next(iter(self.photographs['test']))}, the last band"
        return exhibits.layers(name, self.test[0].target[:, -1], [e[:, -1] for e in estimates], self._score)

    def _score(self, estimate: Tensor, target: Tensor) -> str:
        pieces = self.metric.pieces(estimate.unsqueeze(1), Samples(None, target.unsqueeze(1)))
        return self.metric.text(self.metric.value(pieces))

    def shifts(self) -> Sequence[Shift]:
        """Another transfer than the network takes the sensor's to be, and a panchromatic image that lies elsewhere."""
        scenes = self.timing.target
        pan = self.timing.data.panchromatic

        def through(gain: float) -> Samples:
            return Samples(Imagery(ModulationTransfer(self.factor, gain)(scenes), pan), scenes)

        def moved(pixels: float) -> Samples:
            return Samples(Imagery(self.timing.data.multispectral, pan.roll(int(pixels), -1)), scenes)

        return (
            Shift(
                "transfer at the Nyquist frequency",
                (0.15, 0.2, 0.25, 0.3, 0.4),
                through,
                self.gain,
                "Blurred more or less.",
            ),
            Shift(
                "shift of the panchromatic image, pixels",
                (0.0, 1.0, 2.0, 3.0),
                moved,
                0.0,
                "It lies a little to the right of where it should.",
            ),
        )

    def identity(self, digest: Any = None) -> dict[str, Any]:
        return {**super().identity(digest), "factor": self.factor, "gain": self.gain}


class _OnScenes(nn.Module):
    """A network of enlarged bands with the panchromatic image beside them, on ``Imagery``."""

    def __init__(self, operator: ModulationTransfer, network: nn.Module) -> None:
        super().__init__()
        self.operator, self.network = operator, network

    def forward(self, data: Imagery) -> Tensor:
        return self.network(torch.cat([self.operator.enlarge(data.multispectral), data.panchromatic], 1))


def mixed(x: Tensor, weights: Tensor) -> Tensor:
    """sum_b w_b x_b, (batch, 1, height, width), w (batch, bands)."""
    return torch.einsum("nbhw,nb->nhw", x, weights.to(x)).unsqueeze(1)


def as_other_sensors(x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Photographs (batch, bands, height, width) as other sensors might have seen them, with a panchromatic image each:
    a random mixture with a little noise.
    """
    batch, bands = x.shape[:2]
    low, high = (math.log(power) for power in POWERS)
    powers = torch.exp(low + (high - low) * torch.rand(batch, bands, 1, 1, generator=generator))
    x = x.clamp_min(0) ** powers
    inverted = torch.rand(batch, bands, 1, 1, generator=generator) < INVERTED
    x = torch.where(inverted, 1 - x, x)
    weights = -torch.log(torch.rand(batch, bands, generator=generator).clamp_min(1e-6))  # uniform on the simplex
    pan = mixed(x, weights / weights.sum(1, keepdim=True))
    level = NOISE * torch.rand(batch, 1, 1, 1, generator=generator)
    return x, pan + level * torch.randn(pan.shape, generator=generator)
