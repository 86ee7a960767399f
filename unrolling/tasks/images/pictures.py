"""What the tasks on photographs have in common: where pictures come from, crops to train on, scores."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.core.arguments import check_count
from unrolling.operators.resize import resize
from unrolling.tasks import exhibits
from unrolling.tasks.authors import attribution
from unrolling.tasks.base import PSNR, Samples, Task
from unrolling.tasks.exhibits import Exhibits, Panels, Shown
from unrolling.tasks.images import sources as images

VALIDATION_SEED, TEST_SEED = 1_000_003, 2_000_003  # of the noise
PARTS = ("train", "validation", "test")
EXTRA = "extra"  # the folder of photographs that are trained on besides the packages'
# pixels of the longer side that photographs there are brought down to, towards which JPEG artefacts vanish
LARGEST = 800
MIDDLE = 128  # pixels along a side that are left of a held-out picture at least


class Pictures(Task):
    """Photographs in [0, 1], (batch, height, width), that are spoilt and have to be recovered; a subclass writes
    ``spoil``.

    The PSNR of each photograph counts equally; its interval comes from tiles of 64 x 64 pixels. Photographs are read
    when they are first asked for.

    Args:
        seed: of the noise and of the training crops.
        data: a folder of photographs to test on; or with sub-folders train, validation and test that replace the
            packages' photographs, and ``extra``, whose photographs, brought down to 800 pixels, are trained on besides.
            An ``ATTRIBUTION.txt`` in it goes into the card of weights. Or pictures in memory by part and name.
        crop: side of the training crops.
        training: which of the packages' photographs to train on.

    Raises:
        ValueError: no folder, or one without pictures.
    """

    metric = PSNR
    vectors = False
    threads = 1
    shown = True  # whether a page shows its pictures, which are grey
    units: Mapping[str, str] = {
        "data": "1, luma from 0 (black) to 1 (white)",
        "estimate": "1, luma from 0 (black) to 1 (white)",
    }
    sides: tuple[int, ...] = (LARGEST,)  # of the photographs in ``extra``, each of which is trained on at all of them
    multiple = 1  # of which a picture's sides are brought to be multiples, by cropping

    def __init__(
        self, seed: int, data: str | Path | images.Drawn | None, crop: int, training: tuple[str, ...] = images.TRAINING
    ) -> None:
        check_count(seed, "seed", 0, 2**63 - 1)
        self.seed, self.crop = seed, crop
        self._data, self._training = data, training
        if data is not None:
            _ = self.photographs  # what cannot be used is found before any long work

    @property
    def training_notes(self) -> Sequence[str]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That a folder without sub-folders is tested on alone."""
        root = Path(self._data) if isinstance(self._data, str | Path) else None
        if root is None or any((root / part).is_dir() for part in (*PARTS, EXTRA)):
            return ()
        return (
            f"the pictures of {root} are tested on, and those of the packages are trained on: put pictures "
            f"into {root / 'train'} to train on them alone, into {root / EXTRA} besides",
        )

    def convert(self, picture: Any) -> Tensor:
        """What is made of a picture: luma."""
        return images.luma(picture)

    @cached_property
    def photographs(self) -> dict[str, dict[str, Tensor]]:
        """Pictures by part and name."""
        root = Path(self._data) if isinstance(self._data, str | Path) else None
        extra = root is not None and (root / EXTRA).is_dir()
        others = root is not None and any((root / part).is_dir() for part in PARTS)
        parts = images.split(None if extra and not others else self._data, self._training, self.convert)
        if extra:
            assert root is not None
            more = images.folder(root / EXTRA, self.convert)
            sides = self.sides
            parts["train"] = parts["train"] | {
                f"{EXTRA}/{name}" + (f" ({side})" if side != sides[0] else ""): _reduced(picture, side)
                for side in sides
                for name, picture in more.items()
            }
        found = {part: {name: self._whole(p) for name, p in pictures.items()} for part, pictures in parts.items()}
        for part, pictures in found.items():
            for name, picture in pictures.items():
                least = self.crop if part == "train" else self.least
                if min(picture.shape[-2:]) < least:
                    raise ValueError(
                        f"{name} has {picture.shape[-2]} x {picture.shape[-1]} pixels, less than {least} x {least}, "
                        f"which the task {self.name} needs"
                    )
        return found

    @property
    def least(self) -> int:
        """The shortest side of a picture to test on."""
        return max(8, self.multiple)

    def _whole(self, picture: Tensor) -> Tensor:
        height, width = (side // self.multiple * self.multiple for side in picture.shape[-2:])
        return picture[..., :height, :width].contiguous()

    def spoil(self, clean: Tensor, generator: torch.Generator) -> Samples:
        """Data and targets of a batch of pictures."""
        raise TypeError(f"{type(self).__name__} is a Pictures without `spoil`")

    @cached_property
    def validation(self) -> list[Samples]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.draw_held_out("validation", VALIDATION_SEED)

    @cached_property
    def test(self) -> list[Samples]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.draw_held_out("test", TEST_SEED)

    def draw_held_out(self, part: str, seed: int) -> list[Samples]:
        """A sample of each picture of a part; of each picture always the same."""
        pictures = self.photographs[part].values()
        return [
            self.spoil(p.unsqueeze(0), torch.Generator().manual_seed(seed + 7919 * self.seed + k))
            for k, p in enumerate(pictures)
        ]

    @cached_property
    def timing(self) -> Samples:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.spoil(
            timing_crops(list(self.photographs["test"].values()), multiple=self.multiple),
            torch.Generator().manual_seed(3_000_003 + self.seed),
        )

    def smaller(self, share: float) -> tuple[Task, str] | None:
        """The middle of each held-out picture, 128 pixels along a side at least or the whole blocks in them, spoilt by
        itself. None where that changes nothing, and where samples are not those of the pictures (of a task whose
        ``test`` somebody set).
        """
        found = copy.copy(self)
        for name in ("validation", "test", "timing"):
            found.__dict__.pop(name, None)
        for one, other in ((self.test, found.test), (self.validation, found.validation)):
            if len(one) != len(other) or not all(
                torch.equal(a.target, b.target) for a, b in zip(one, other, strict=True)
            ):
                return None
        for name in ("validation", "test"):
            del found.__dict__[name]
        found.__dict__["photographs"] = {
            part: pictures if part == "train" else {name: self._middle(p, share) for name, p in pictures.items()}
            for part, pictures in self.photographs.items()
        }
        sizes, before = ([tuple(b.target.shape[-2:]) for b in task.test] for task in (found, self))
        if sizes == before:
            return None
        low, high = min(sizes), max(sizes)
        words = f"{low[0]} x {low[1]}" if low == high else f"{low[0]} x {low[1]} to {high[0]} x {high[1]}"
        return found, f"the middle {words} pixels of each picture"

    def _middle(self, picture: Tensor, share: float) -> Tensor:
        sides = [
            min(side, max(MIDDLE, self.least, round(side * share**0.5))) // self.multiple * self.multiple
            for side in picture.shape[-2:]
        ]
        top, left = ((side - own) // 2 for side, own in zip(picture.shape[-2:], sides, strict=True))
        return picture[..., top : top + sides[0], left : left + sides[1]].contiguous()

    def example(self) -> Any:
        """One small crop."""
        crop = timing_crops(list(self.photographs["test"].values()), 1, 96, self.multiple)
        return self.spoil(crop, torch.Generator().manual_seed(3_000_003 + self.seed)).data

    def draw(self, batch: int, generator: torch.Generator) -> Samples:
        return self.spoil(self.crops(batch, generator), generator)

    def crops(self, batch: int, generator: torch.Generator, side: int | None = None) -> Tensor:
        """Random crops of the training pictures in random orientations, (batch, ..., side, side); large pictures are
        seen more often.
        """
        side = self.crop if side is None else side
        pictures = list(self.photographs["train"].values())
        size = torch.tensor([float(p.numel()) for p in pictures]).sqrt()
        return torch.stack(
            [
                _crop(pictures[i], side, generator)
                for i in torch.multinomial(size, batch, replacement=True, generator=generator).tolist()
            ]
        )

    def loss(self, estimate: Tensor, target: Tensor) -> Tensor:
        """100 x mean squared error, so that a gradient norm of order one means something to Adam's clipping."""
        return 100 * (estimate - target).square().mean()

    def pieces(self, estimate: Tensor, samples: Samples) -> Tensor:
        return super().pieces(estimate.clamp(0, 1), samples)

    def more(self, estimates: Sequence[Tensor], batches: Sequence[Samples]) -> dict[str, float]:
        """Structural similarity, averaged over photographs (Wang et al. 2004, doi:10.1109/TIP.2003.819861)."""
        return {"SSIM": similarity(estimates, [batch.target for batch in batches])}

    def exhibits(self, methods: Sequence[Shown]) -> Exhibits:
        """The first test photographs side by side."""
        if not self.shown:
            return Exhibits()
        targets = [batch.target for batch in self.test]
        return exhibits.pictures(list(self.photographs["test"]), targets, methods, self._score)

    def progress(self, estimates: Sequence[Tensor]) -> Sequence[Panels]:
        """The first test photograph after each layer."""
        name = next(iter(self.photographs["test"]))
        return exhibits.layers(name, self.test[0].target, estimates, self._score) if self.shown else ()

    def _score(self, estimate: Tensor, target: Tensor) -> str:
        return self.metric.text(self.metric.value(self.pieces(estimate, Samples(None, target))))

    def identity(self, digest: Any = None) -> dict[str, Any]:
        """As for every task.

        Args:
            digest: of what else is part of the fingerprint, a SHA-256 that goes on over the training pictures.
        """
        digest = hashlib.sha256() if digest is None else digest
        for picture in self.photographs["train"].values():
            digest.update(picture.contiguous().numpy().tobytes())
        own = {
            "name": self.name,
            "crop": self.crop,
            "seed": self.seed,
            "photographs": {part: list(pictures) for part, pictures in self.photographs.items()},
            "fingerprint": digest.hexdigest()[:16],
        }
        note = attribution(self._data)
        return {**own, "attribution": note} if note else own


def similarity(estimates: Sequence[Tensor], targets: Sequence[Tensor]) -> float:
    """The mean SSIM of pictures (batch, height, width) or (batch, colours, height, width)."""
    from torchmetrics.functional.image import structural_similarity_index_measure as ssim

    pairs = [
        (e.clamp(0, 1), t) if t.ndim == 4 else (e.clamp(0, 1).unsqueeze(1), t.unsqueeze(1))
        for e, t in zip(estimates, targets, strict=True)
    ]
    return float(torch.stack([torch.as_tensor(ssim(e, t, data_range=1.0)) for e, t in pairs]).mean())


def timing_crops(pictures: list[Tensor], count: int = 4, side: int = 256, multiple: int = 1) -> Tensor:
    """Crops of one size from the corners of pictures, as many as asked for."""
    side = min(side, *(min(p.shape[-2:]) for p in pictures)) // multiple * multiple
    corners = [
        c
        for p in pictures
        for c in (p[..., :side, :side], p[..., -side:, -side:], p[..., :side, -side:], p[..., -side:, :side])
    ]
    return torch.stack([corners[i % len(corners)] for i in range(count)]).contiguous()


def _crop(picture: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """A random crop at any offset, in one of its eight orientations."""
    height, width = picture.shape[-2:]
    top, left, turn = (
        int(torch.randint(high, (), generator=generator)) for high in (height - side + 1, width - side + 1, 8)
    )
    crop = torch.rot90(picture[..., top : top + side, left : left + side], turn % 4, (-2, -1))
    return crop.mT if turn >= 4 else crop


def _reduced(picture: Tensor, side: int) -> Tensor:
    """A large picture with its longer side brought to so many pixels."""
    height, width = picture.shape[-2:]
    ratio = side / max(height, width)
    return picture if ratio >= 1 else resize(picture, round(ratio * height), round(ratio * width)).clamp(0, 1)
