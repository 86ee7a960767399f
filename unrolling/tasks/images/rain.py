"""Photographs in the rain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.images.deraining import RainADMM, across_streaks, along_streaks
from unrolling.core.arguments import check_count
from unrolling.networks.recurrent_residual import PReNet, prenet_channels
from unrolling.tasks import exhibits
from unrolling.tasks.base import Samples, Shift
from unrolling.tasks.baselines import Baseline, Generic, Iterative, Method
from unrolling.tasks.exhibits import Exhibits, Panels, Shown
from unrolling.tasks.images import sources as images
from unrolling.tasks.images.pictures import Pictures, similarity
from unrolling.tasks.images.sources import Drawn, few_drawn
from unrolling.tasks.images.streaks import draw_streaks

FLOOR = 1e-5  # of the mean squared error under the logarithm of the loss: 50 dB
HELD_OUT = {"validation": 160, "test": 256}  # pixels along a side
DRY = 0.06  # part of the training pictures without rain, which must stay as they are
RAINY, CLEAN = ("rain", "rainy", "input"), ("clean", "norain", "target")  # folders of pairs
TRAINING = tuple(name for name in images.TRAINING if name not in ("moon", "coins"))
# R, G and B of the luma from 16 to 235 of ITU-R BT.601, as MATLAB's rgb2ycbcr has it, over 255
LUMA = (65.481 / 255, 128.553 / 255, 24.966 / 255)


def video_luma(picture: Tensor) -> Tensor:
    """Y = 16 + 65.481 R + 128.553 G + 24.966 B of (batch, 3, height, width) in [0, 1], over 255: the luma on which rain
    removal is scored (ITU-R BT.601; MATLAB's rgb2ycbcr), (batch, height, width).
    """
    weights = torch.tensor(LUMA, dtype=picture.dtype, device=picture.device)
    return torch.einsum("bchw,c->bhw", picture, weights) + 16 / 255


class Rain(Pictures):
    """O = min(B + R, 1) or O = B + R - B R: a photograph B with streaks R >= 0, the same in all colours; recover B.

    Data and targets are (batch, 3, height, width) in [0, 1]; grey photographs have three equal colours. Scores are of
    luma on the scale from 16 to 235, without a border left out: the PSNR of each picture counts equally, estimates are
    clipped to [0, 1] and not rounded.

    Args:
        seed: of the streaks and crops.
        data: as for ``Pictures``; or a folder with pairs of the same file names in two sub-folders, ``rain`` (or
            ``rainy``, ``input``) and ``clean`` (or ``norain``, ``target``), to test on.
        fixed: tensors of a weights file; none is needed.
        crop: side of the training crops.
        each: rains on each photograph that is held out.

    Raises:
        ValueError: pairs that differ in name or size, and what ``Pictures`` refuses.
    """

    name = "rain"
    given = "a photograph in the rain"
    sought = "the photograph without rain, and the rain"
    units: Mapping[str, str] = {
        "data": "1, red, green and blue from 0 (black) to 1 (white)",
        "estimate": "1, red, green and blue from 0 (black) to 1 (white)",
    }
    options: Mapping[str, Any] = {}
    summary = (
        "Photographs with drawn streaks of rain: angles from 60 to 120 degrees, lengths from 5 to 58 pixels, faint to "
        "bright; PSNR of the luma from 16 to 235."
    )
    notes = (
        "The PSNR of the luma Y = 16 + 65.481 R + 128.553 G + 24.966 B of each picture counts equally, all its pixels; "
        "estimates are clipped to [0, 1] and not rounded. SSIM is of the same luma, Gaussian windows of 11 x 11.",
        "Test pictures are the middle 256 x 256 pixels of two photographs with several rains each.",
    )

    def __init__(
        self,
        seed: int = 0,
        data: str | Path | Drawn | None = None,
        fixed: Mapping[str, Tensor] | None = None,
        crop: int = 80,
        each: int = 4,
    ) -> None:
        check_count(each, "each")
        self.each, self._given = each, data is not None
        self.pairs: dict[str, tuple[Tensor, Tensor]] = {}
        folders = _folders(data)
        if folders is not None:
            self.pairs, data = read_pairs(*folders), None
        super().__init__(seed, data, crop, TRAINING)

    def convert(self, picture: Any) -> Tensor:
        """Three colours."""
        return images.colours(picture)

    @classmethod
    def small(cls) -> Rain:
        return cls(crop=24, data=few_drawn(), each=1)

    def baselines(self, size: int) -> Sequence[Baseline]:
        """ADMM with total variation, the photograph as it is, and a recurrent network."""
        return [
            rain_admm(),
            Method("the photograph as it is", lambda _: lambda data: data, linear=True),
            Generic(
                f"PReNet, 6 stages of {prenet_channels(size)} channels",
                lambda: PReNet(channels=prenet_channels(size)),
                rates=(1e-3,),
            ),
        ]

    def spoil(self, clean: Tensor, generator: torch.Generator, **kind: float) -> Samples:
        """Rain on every picture: half of it added and clipped, half of it laid over (screen)."""
        rain = draw_streaks(clean.shape[0], clean.shape[-2], clean.shape[-1], generator, **kind).unsqueeze(1)
        over = (torch.rand(clean.shape[0], 1, 1, 1, generator=generator) < 0.5).to(clean)
        return Samples((clean + rain * (1 - over * clean)).clamp_max(1), clean)

    def draw(self, batch: int, generator: torch.Generator) -> Samples:
        """Crops in the rain, a few of them without any."""
        rainy, clean = self.spoil(self.crops(batch, generator), generator)
        dry = torch.rand(batch, 1, 1, 1, generator=generator) < DRY
        return Samples(torch.where(dry, clean, rainy), clean)

    @cached_property
    def test(self) -> list[Samples]:  # pyright: ignore[reportIncompatibleVariableOverride]
        if self.pairs:
            return [Samples(rainy.unsqueeze(0), clean.unsqueeze(0)) for rainy, clean in self.pairs.values()]
        return super().test

    def draw_held_out(self, part: str, seed: int) -> list[Samples]:
        # of the packages' photographs the middle, so that a comparison is soon done
        side = None if self._given else HELD_OUT[part]
        generators = [
            (_middle(picture, side), torch.Generator().manual_seed(seed + 7919 * self.seed + 101 * k + n))
            for k, picture in enumerate(self.photographs[part].values())
            for n in range(self.each)
        ]
        return [self.spoil(picture.unsqueeze(0), generator) for picture, generator in generators]

    def loss(self, estimate: Any, target: Tensor, data: Tensor | None = None) -> Tensor:
        """The mean over pictures of log(mse + 1e-5), so that each counts as it does in the PSNR; where a network gives
        the rain, half of it that of O - B.
        """
        if data is None or not hasattr(estimate, "rain"):
            return _log_error(getattr(estimate, "background", estimate), target)
        parts = _log_error(estimate.background, target) + _log_error(estimate.rain, data - target)
        return 0.5 * parts

    def pieces(self, estimate: Tensor, samples: Samples) -> Tensor:
        luma = video_luma(estimate.clamp(0, 1))
        return self.metric.pieces(luma, samples._replace(target=video_luma(samples.target)))

    def more(self, estimates: Sequence[Tensor], batches: Sequence[Samples]) -> dict[str, float]:
        """Structural similarity of the luma, averaged over pictures."""
        found = [video_luma(each.clamp(0, 1)) for each in estimates]
        return {"SSIM": similarity(found, [video_luma(batch.target) for batch in batches])}

    def exhibits(self, methods: Sequence[Shown]) -> Exhibits:
        """The luma of the first test pictures."""
        shown = [m._replace(estimates=[_grey(e) for e in m.estimates]) for m in methods]
        targets = [_grey(batch.target) for batch in self.test]
        return exhibits.pictures(self._names(), targets, shown, self._score_of_grey)

    def progress(self, estimates: Sequence[Tensor]) -> Sequence[Panels]:
        """The luma of the first test picture after each layer."""
        target = _grey(self.test[0].target)
        return exhibits.layers(self._names()[0], target, [_grey(each) for each in estimates], self._score_of_grey)

    def _names(self) -> list[str]:
        if self.pairs:
            return list(self.pairs)
        return [f"{name}, rain {n + 1}" for name in self.photographs["test"] for n in range(self.each)]

    def _score_of_grey(self, estimate: Tensor, target: Tensor) -> str:
        held = Samples(None, target * (219 / 255))
        return self.metric.text(self.metric.value(self.metric.pieces(estimate.clamp(0, 1) * (219 / 255), held)))

    def shifts(self) -> Sequence[Shift]:
        """Streaks that lean beyond what was trained on, denser and brighter rain."""
        clean = self.timing.target[:2]

        def rains(**kind: float) -> Samples:
            return self.spoil(clean, torch.Generator().manual_seed(4_000_003 + self.seed), **kind)

        return [
            Shift(
                "angle of the streaks, degrees from the horizontal",
                (90.0, 75.0, 60.0, 45.0, 20.0),
                lambda angle: rains(angle=angle),
                None,
                "Training has 60 to 120 degrees.",
            ),
            Shift(
                "part of the picture under streaks",
                (0.02, 0.1, 0.3, 0.5, 0.8),
                lambda coverage: rains(coverage=coverage),
                None,
                "Training has 2 to 50 percent.",
            ),
        ]

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "dry": DRY}


def _middle(picture: Tensor, side: int | None) -> Tensor:
    if side is None:
        return picture
    top, left = ((size - side) // 2 for size in picture.shape[-2:])
    return picture[..., top : top + side, left : left + side]


def rain_admm() -> Iterative:
    """The ADMM parent with total variation across and along the streaks."""

    def made(setting: tuple[float, float]) -> RainADMM:
        return RainADMM(across_streaks(iterations=10), along_streaks(iterations=10), *setting)

    weights = tuple((b, r) for b in (0.005, 0.01, 0.02) for r in (0.003, 0.01, 0.03))
    return Iterative("ADMM with directional total variation", made, weights, 60, tuning=15, setting="weights")


def _log_error(estimate: Tensor, target: Tensor) -> Tensor:
    return ((estimate - target).square().flatten(1).mean(1) + FLOOR).log().mean()


def _grey(picture: Tensor) -> Tensor:
    """Full-range luma, for a page."""
    return video_luma(picture) * (255 / 219) - 16 / 219


def _folders(data: Any) -> tuple[Path, Path] | None:
    """The two folders of pairs in a folder; None where it holds none."""
    if not isinstance(data, str | Path):
        return None
    found = [
        next((Path(data) / name for name in names if (Path(data) / name).is_dir()), None) for names in (RAINY, CLEAN)
    ]
    return None if found[0] is None or found[1] is None else (found[0], found[1])


def read_pairs(rainy: Path, clean: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Pictures in the rain and without it, (3, height, width) each, by file name.

    Raises:
        ValueError: another number of files or other names, pictures of different sizes, and what ``sources.folder``
            refuses.
    """
    first, second = (images.folder(path, images.colours) for path in (rainy, clean))
    if first.keys() != second.keys():
        odd = sorted(first.keys() ^ second.keys())
        raise ValueError(f"{odd[0]} is in one of {rainy} and {clean} only; pairs have the same file name in both")
    for name, picture in first.items():
        if picture.shape != second[name].shape:
            sizes = " and ".join(" x ".join(map(str, each.shape[1:])) for each in (picture, second[name]))
            raise ValueError(f"{name} has {sizes} pixels with and without rain; the sizes must agree")
    return {name: (picture, second[name]) for name, picture in first.items()}
