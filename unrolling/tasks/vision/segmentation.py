"""A class for each pixel of a picture."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.vision.dense_crf import CRFPotentials, DenseCRF, ScoredPicture
from unrolling.files.labelled_pictures import LabelledPicture, read_labelled_pictures
from unrolling.networks.fully_convolutional import FullyConvolutional, LocalHead
from unrolling.tasks.base import Samples, Shift, Task
from unrolling.tasks.baselines import Baseline, Generic, Iterative, Method
from unrolling.tasks.exhibits import Exhibits, Panels, Shown
from unrolling.tasks.metrics import MeanIoU
from unrolling.tasks.vision.pixel_labels import (
    VOID,
    check_pixel_labels,
    confusion,
    further_scores,
    pixel_loss,
)
from unrolling.tasks.vision.shapes import CLASSES, coarse_scores, drawn_shapes

TOGETHER = 8  # held-out pictures of a batch
WEIGHTS = tuple((s, b) for s in (0.0, 1.0, 3.0) for b in (1.0, 3.0, 6.0))  # of a CRF that is tuned


class Segmentation(Task):
    """The class of each pixel of a picture, from the picture.

    By default pictures of discs, squares and triangles are drawn, four classes with the ground. Estimates are log
    chances (batch, classes, height, width), targets labels (batch, height, width), 255 where nobody knows.

    Args:
        size: pixels along a side of drawn pictures, at least 16.
        noise: standard deviation of what is added to their colours in [0, 1].
        void: the label in files of pixels that nobody knows.
        seed: of the held-out pictures.
        held_out: number of validation and of test pictures.
        data: a folder with ``train``, ``val`` and ``test``, each with ``images/NAME.png`` and ``labels/NAME.png``, grey
            pictures of 8 bits whose values are classes; these are counted in ``train``. Drawn batches are mirrored at
            random; training pictures have one size.
        fixed: tensors of a weights file; none is needed.

    Raises:
        ValueError: sizes or noise out of range; a folder without pictures; labels in ``val`` or ``test`` that are no
            class of ``train``; training pictures of several sizes.
    """

    name = "segmentation"
    given = "a picture"
    sought = "the class of each pixel"
    vectors = False
    options: Mapping[str, Any] = {"size": 64, "noise": 0.1, "void": VOID}
    notes = (
        "mIoU is the mean over classes of the pixels on which estimate and truth agree, over those that either gives "
        "to the class; a trimap is the band of 3 pixels to either side of the borders of classes.",
    )
    references = ("long2015fully",)

    def __init__(
        self,
        size: int = 64,
        noise: float = 0.1,
        void: int = VOID,
        seed: int = 0,
        held_out: int = 96,
        data: str | Path | None = None,
        fixed: Mapping[str, Tensor] | None = None,
    ) -> None:
        if size < 16:
            raise ValueError(f"size is {size}; pictures of shapes have at least 16 pixels along a side")
        if not (isfinite(noise) and noise >= 0):
            raise ValueError(f"noise is a standard deviation, finite and at least 0; got {noise}")
        if not 0 <= void <= VOID:
            raise ValueError(f"void is {void}; it is a label of 8 bits, 0 to 255")
        self.size, self.noise, self.void, self.seed = size, noise, void, seed
        self.own: list[LabelledPicture] = []
        generator = torch.Generator().manual_seed(13_000_027 + seed)
        if data is None:
            self.classes = len(CLASSES)
            self.validation, self.test = (
                [
                    self._drawn(min(TOGETHER, held_out - begin), generator)
                    for begin in range(0, max(1, held_out), TOGETHER)
                ]
                for _ in range(2)
            )
            self.summary = f"Classes of the pixels of {size} x {size} pictures of shapes."
        else:
            parts = {name: [self._known(p) for p in found] for name, found in read_labelled_pictures(data).items()}
            self.own = parts["train"]
            self.classes = _classes(self.own)
            self.validation, self.test = (self._batches(parts[name], generator) for name in ("val", "test"))
            self.summary = f"{self.classes} classes of the pixels of pictures, {len(self.own)} of them to train with."
        self.metric = MeanIoU(classes=self.classes)
        self.timing = self.test[0]

    @classmethod
    def small(cls) -> Segmentation:
        return cls(size=16, held_out=6)

    def draw(self, batch: int, generator: torch.Generator) -> Samples:
        """Pictures of shapes, or some of the training pictures, each mirrored with a chance of one half."""
        if not self.own:
            return self._drawn(batch, generator)
        chosen = torch.randint(len(self.own), (batch,), generator=generator).tolist()
        mirrored = torch.rand(batch, generator=generator) < 0.5
        pairs = [_mirrored(self.own[k], bool(m)) for k, m in zip(chosen, mirrored, strict=True)]
        return self._samples(torch.stack([p for p, _ in pairs]), torch.stack([t for _, t in pairs]), generator)

    def _drawn(self, batch: int, generator: torch.Generator) -> Samples:
        pictures, labels = drawn_shapes(batch, self.size, self.noise, generator)
        return self._samples(pictures, labels, generator)

    def _samples(self, pictures: Tensor, labels: Tensor, generator: torch.Generator) -> Samples:
        return Samples(pictures, labels)

    def _known(self, given: LabelledPicture) -> LabelledPicture:
        """With the label of what nobody knows as 255."""
        if self.void == VOID:
            return given
        return given._replace(labels=torch.where(given.labels == self.void, VOID, given.labels))

    def _batches(self, held_out: Sequence[LabelledPicture], generator: torch.Generator) -> list[Samples]:
        """Pictures of one size that follow one another, at most 8 together."""
        groups: list[list[LabelledPicture]] = []
        for each in held_out:
            check_pixel_labels(each.labels, self.classes, f"the labels of {each.name}")
            if groups and len(groups[-1]) < TOGETHER and groups[-1][0].labels.shape == each.labels.shape:
                groups[-1].append(each)
            else:
                groups.append([each])
        pairs = [[_mirrored(each, False) for each in group] for group in groups]
        return [
            self._samples(torch.stack([p for p, _ in group]), torch.stack([t for _, t in group]), generator)
            for group in pairs
        ]

    def loss(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy, the mean over pixels whose class is known."""
        return pixel_loss(estimate, target)

    def more(self, estimates: Sequence[Tensor], batches: Sequence[Samples]) -> dict[str, float]:
        """Pixel accuracy, and mIoU within 3 pixels of a border."""
        return further_scores(estimates, batches, self.classes)

    def baselines(self, size: int) -> Sequence[Baseline]:
        """A fully convolutional network of no fewer numbers, and one with a convolutional head in the place of a random
        field.
        """
        width = width_of(size, self.classes)
        return [
            Generic("fully convolutional network", lambda: _Logarithm(FullyConvolutional(self.classes, width))),
            Generic("the same with a convolutional head", lambda: _Headed(self.classes, width)),
        ]

    def exhibits(self, methods: Sequence[Shown]) -> Exhibits:
        """Labels that the methods give to the first test pictures, and how often each class is taken for another."""
        panels = []
        roles = ("network", "parent", "classical", "generic")
        chosen = [m for role in roles for m in methods if m.role == role and len(m.estimates) == len(self.test)]
        batch = self.test[0]
        for number in range(min(2, batch.target.shape[0])):
            shown = [("picture", self.pictures(batch.data)[number].mean(0).numpy())]
            shown.append(("true", _grey(batch.target[number], self.classes)))
            shown += [(m.name, _grey(m.estimates[0][number].argmax(0), self.classes)) for m in chosen[:4]]
            panels.append(Panels(f"test picture {number + 1}", shown))
        tables = []
        for method in chosen[:4]:
            pairs = zip(method.estimates, self.test, strict=True)
            tables.append((method.name, sum(confusion(e, b.target[: len(e)], self.classes) for e, b in pairs)))
        if tables:
            side = max(8, 128 // self.classes)
            shown = [(name, (t / t.sum(1, keepdim=True).clamp_min(1)).numpy().repeat(side, 0).repeat(side, 1))
                     for name, t in tables if isinstance(t, Tensor)]  # fmt: skip
            panels.append(Panels("true class (rows) taken for a class (columns), white: all of its pixels", shown))
        return Exhibits(pictures=panels)

    def pictures(self, data: Any) -> Tensor:
        """The pictures of data."""
        return data

    def shifts(self) -> Sequence[Shift]:
        """More and less noise in drawn pictures."""
        if self.own:
            return ()

        def drawn(noise: float) -> Samples:
            return type(self)(self.size, noise, seed=self.seed + 1, held_out=TOGETHER).test[0]

        words = "Standard deviation of the noise in colours."
        return (Shift("noise", (0.0, 0.05, 0.1, 0.2, 0.3), drawn, self.noise, words),)

    def identity(self) -> dict[str, Any]:
        own: dict[str, Any] = {"name": self.name, "size": self.size, "noise": self.noise, "void": self.void}
        own["seed"] = self.seed
        if self.own:
            content = hashlib.sha256()
            for each in self.own:
                content.update(each.picture.numpy().tobytes() + each.labels.numpy().tobytes())
            own |= {"classes": self.classes, "fingerprint": content.hexdigest()[:16]}
        return own


class Refinement(Segmentation):
    """The class of each pixel, from a picture and coarse scores of somebody's network.

    Scores are simulated: the share of each class in squares of 8 x 8 pixels, times 4, with noise of ``score_noise``,
    interpolated.

    Args:
        size: as of ``Segmentation``, like all but the next.
        noise: of colours.
        score_noise: standard deviation of what is added to scores.
        void: the label in files of pixels that nobody knows.
        seed: of the held-out pictures.
        held_out: number of validation and of test pictures.
        data: a folder with train, val and test.
        fixed: tensors of a weights file; none is needed.
    """

    name = "refinement"
    given = "a picture and coarse scores of the classes of its pixels"
    options: Mapping[str, Any] = {"size": 64, "noise": 0.1, "score_noise": 1.0, "void": VOID}
    references = ("krahenbuhl2011efficient",)

    def __init__(
        self,
        size: int = 64,
        noise: float = 0.1,
        score_noise: float = 1.0,
        void: int = VOID,
        seed: int = 0,
        held_out: int = 96,
        data: str | Path | None = None,
        fixed: Mapping[str, Tensor] | None = None,
    ) -> None:
        if not (isfinite(score_noise) and score_noise >= 0):
            raise ValueError(f"score_noise is a standard deviation, finite and at least 0; got {score_noise}")
        self.score_noise = score_noise
        super().__init__(size, noise, void, seed, held_out, data, fixed)
        self.summary = self.summary.replace("pixels of", "pixels, with coarse scores, of", 1)

    def _samples(self, pictures: Tensor, labels: Tensor, generator: torch.Generator) -> Samples:
        classes = self.classes
        return Samples(ScoredPicture(coarse_scores(labels, classes, self.score_noise, generator), pictures), labels)

    def pictures(self, data: Any) -> Tensor:
        """The pictures of data."""
        return data.picture

    def baselines(self, size: int) -> Sequence[Baseline]:
        """Scores as they are, the random field with weights chosen on validation pictures, and convolutions."""
        return [
            Method("the scores", lambda _: lambda data: torch.log_softmax(data.scores, 1)),
            Iterative(
                "dense CRF",
                lambda w: DenseCRF(self.potentials(), spatial_weight=w[0], bilateral_weight=w[1]),
                WEIGHTS,
                10,
                setting="weights of the kernels",
            ),
            Generic("a convolutional head", lambda: _ScoredHead(self.classes, head_width(size, self.classes))),
        ]

    def potentials(self, **options: Any) -> CRFPotentials:
        """Of the scores that come with a picture."""
        return CRFPotentials(**{**KERNELS, **options})

    def identity(self) -> dict[str, Any]:
        return super().identity() | {"score_noise": self.score_noise}


# Widths of kernels for drawn pictures and ones of about 100 pixels, g, a and b, and the window.
KERNELS: Mapping[str, Any] = {"spatial_width": 2.0, "position_width": 4.0, "colour_width": 30.0, "radius": 5}


def width_of(size: int, classes: int) -> int:
    """The width of the smallest ``FullyConvolutional`` that has at least so many numbers; 64 at most."""
    for width in range(2, 64):
        if sum(p.numel() for p in FullyConvolutional(classes, width).parameters()) >= size:
            return width
    return 64


def head_width(size: int, classes: int) -> int:
    """The width of the smallest ``LocalHead`` that has at least so many numbers."""
    each = 9 * (2 * classes + 3) + 1
    return max(1, -(-(size - classes) // each))


class _Logarithm(torch.nn.Module):
    """Log chances of a network's scores."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, data: Tensor) -> Tensor:
        return torch.log_softmax(self.network(data), 1)


class _Headed(torch.nn.Module):
    """A fully convolutional network and a head that sees picture and scores."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.network, self.head = FullyConvolutional(classes, width), LocalHead(classes)

    def forward(self, data: Tensor) -> Tensor:
        return torch.log_softmax(self.head(self.network(data), data), 1)


class _ScoredHead(torch.nn.Module):
    """A head on scores that are given."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.head = LocalHead(classes, width)

    def forward(self, data: ScoredPicture) -> Tensor:
        return torch.log_softmax(self.head(data.scores, data.picture), 1)


def _classes(own: Sequence[LabelledPicture]) -> int:
    """The number of classes in training pictures of one size.

    Raises:
        ValueError: several sizes, fewer than two classes.
    """
    for each in own:
        if each.labels.shape != own[0].labels.shape:
            raise ValueError(
                f"training pictures have one size; {own[0].name} has {tuple(own[0].labels.shape)} pixels, {each.name} "
                f"{tuple(each.labels.shape)}"
            )
    highest = max((int(known.max()) for each in own if (known := each.labels[each.labels != VOID]).numel()), default=-1)
    if highest < 1:
        raise ValueError(f"the training labels go up to {highest}; there are at least two classes, 0 and 1")
    return highest + 1


def _mirrored(given: LabelledPicture, mirror: bool) -> tuple[Tensor, Tensor]:
    picture, labels = given.picture.float() / 255, given.labels.long()
    return (picture.flip(2), labels.flip(1)) if mirror else (picture, labels)


def _grey(labels: Tensor, classes: int) -> Any:
    """Labels as levels of grey, white where nobody knows."""
    return (labels.clamp(0, classes).double() / classes).numpy()
