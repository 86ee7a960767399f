"""What a detector is trained by and measured with: peaks of a map of scores, and nodules among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid, max_pool2d

from unrolling.core.arguments import check_count
from unrolling.tasks.medical.thorax import MOST, heat
from unrolling.tasks.metrics import Metric
from unrolling.tasks.samples import Samples

WINDOW = 7  # pixels along a side in which a peak is the largest
KEPT = 10  # false positives of an image that are kept, from the highest score on
MARGIN = 1.5  # pixels by which a peak may lie outside of a nodule
NONE = -float("inf")


class Peaks(NamedTuple):
    """Where a map of scores has its peaks, from the highest on; a score of -inf stands for none."""

    score: Tensor  # (batch, most)
    row: Tensor  # (batch, most), pixels
    column: Tensor  # (batch, most), pixels


def peaks(scores: Float[Tensor, "batch height width"], most: int = KEPT + MOST) -> Peaks:
    """The ``most`` highest pixels that are the largest of the 7 x 7 around them.

    Args:
        scores: of each pixel; not NaN.
        most: peaks of an image.

    Raises:
        ValueError: no map, ``most`` below 1.
    """
    check_count(most, "most")
    if scores.ndim != 3:
        raise ValueError(f"scores are (batch, height, width); got shape {tuple(scores.shape)}")
    width = scores.shape[-1]
    highest = max_pool2d(scores.unsqueeze(1), WINDOW, 1, WINDOW // 2).squeeze(1)
    found = torch.where(scores == highest, scores, NONE).flatten(1)
    score, place = found.topk(min(most, found.shape[1]), dim=1)
    return Peaks(score, place.div(width, rounding_mode="floor"), place % width)


def hits(estimate: Float[Tensor, "batch height width"], nodules: Float[Tensor, "batch most 3"]) -> Tensor:
    """What of each image counts, (batch, 1 + 10 + 3) in double precision: the number of its nodules; the scores of the
    peaks that lie on none, from the highest on; for each nodule the highest score of a peak on it. -inf stands for
    none.

    A peak lies on a nodule within its radius and 1.5 pixels from its middle; a second peak on it counts for nothing.
    """
    found = peaks(estimate.detach().nan_to_num(NONE))
    row, column, radius = (value.unsqueeze(1) for value in nodules.unbind(-1))
    distance = torch.hypot(found.row.unsqueeze(2) - row, found.column.unsqueeze(2) - column)
    on = (distance <= radius + MARGIN) & (radius > 0)
    score = found.score.unsqueeze(2)
    right = torch.where(on, score, NONE).amax(1)
    wrong = torch.where(on.any(2), NONE, found.score).sort(1, descending=True).values[:, :KEPT]
    if wrong.shape[1] < KEPT:
        wrong = torch.nn.functional.pad(wrong, (0, KEPT - wrong.shape[1]), value=NONE)
    rows = torch.cat([(nodules[..., 2] > 0).sum(1, keepdim=True), wrong, right], 1).double()
    spoilt = estimate.isnan().flatten(1).any(1)
    return torch.where(spoilt.unsqueeze(1), float("nan"), rows)


@dataclass(frozen=True)
class Sensitivity(Metric):
    """The part of all nodules that is found at a threshold that lets at most so many false positives pass per image:
    one point of the free-response curve (Chakraborty 1989, doi:10.1118/1.596358).

    Estimates are (batch, 2, height, width), an image and scores; targets have ``nodules``.

    Attributes:
        rate: false positives per image.
    """

    name: str = "sensitivity at one false positive per image"
    unit: str = ""
    better: Literal["lower", "higher"] = "higher"
    resampled: str = "image"
    places: int = 3
    rate: float = 1.0

    def pieces(self, estimate: Tensor, samples: Samples) -> Tensor:
        return hits(estimate[:, 1], samples.target.nodules)

    def values(self, pieces: Tensor) -> Tensor:
        right = pieces[..., 1 + KEPT :]
        found = (right > self.threshold(pieces)[..., None, None]).sum((-2, -1))
        return torch.where(_spoilt(pieces), float("nan"), found / pieces[..., 0].sum(-1).clamp_min(1))

    def threshold(self, pieces: Tensor) -> Tensor:
        """The highest score of which (more than) one false positive too many has at least as much; what is found lies
        above it.
        """
        wrong = pieces[..., 1 : 1 + KEPT].flatten(-2)
        allowed = int(self.rate * pieces.shape[-2])
        if allowed >= wrong.shape[-1]:
            return wrong.new_full(wrong.shape[:-1], NONE)
        return wrong.nan_to_num(NONE, posinf=float("inf"), neginf=NONE).kthvalue(wrong.shape[-1] - allowed, -1).values


@dataclass(frozen=True)
class ImageAUC(Metric):
    """The chance that an image with nodules has a higher peak than one without: the area under the curve of true
    against false positives, an image being positive from a threshold of its highest peak on. NaN without either kind.
    """

    name: str = "AUC"
    unit: str = ""
    better: Literal["lower", "higher"] = "higher"
    resampled: str = "image"
    places: int = 3

    def pieces(self, estimate: Tensor, samples: Samples) -> Tensor:
        return hits(estimate[:, 1], samples.target.nodules)

    def values(self, pieces: Tensor) -> Tensor:
        score, ill = pieces[..., 1:].amax(-1).contiguous(), pieces[..., 0] > 0
        order = score.sort(-1).values
        # Ranks, those of ties being their mean (Mann and Whitney 1947).
        below, through = torch.searchsorted(order, score), torch.searchsorted(order, score, right=True)
        rank = (below + through + 1).double() / 2
        positive = ill.sum(-1)
        negative = ill.shape[-1] - positive
        area = ((rank * ill).sum(-1) - positive * (positive + 1) / 2) / (positive * negative)
        return torch.where(_spoilt(pieces), float("nan"), area)


def _spoilt(pieces: Tensor) -> Tensor:
    return pieces.isnan().flatten(-2).any(-1)


@dataclass(frozen=True)
class DetectionLoss:
    """reconstruction * 100 |x' - x|^2 / n + detection * F, F the focal loss of peaks: with p the probabilities of
    pixels and t = ``heat`` (1 on the middle of a nodule), the sum of -(1 - p)^2 log p where t = 1 and of
    -(1 - t)^4 p^2 log(1 - p) elsewhere, divided by the number of nodules of the batch or, without any, by one.

    Law and Deng 2018, doi:10.1007/978-3-030-01264-9_45, (1). A part of weight 0 is not computed.

    Attributes:
        reconstruction: weight of the image.
        detection: weight of the scores.
    """

    reconstruction: float = 1.0
    detection: float = 1.0

    def __post_init__(self) -> None:
        if not (self.reconstruction >= 0 and self.detection >= 0 and self.reconstruction + self.detection > 0):
            raise ValueError(
                "the weights of reconstruction and detection are at least 0, and one is above; got "
                f"{self.reconstruction} and {self.detection}"
            )

    def __call__(self, estimate: Tensor, target: Any) -> Tensor:
        parts = []
        if self.reconstruction:
            parts.append(self.reconstruction * 100 * (estimate[:, 0] - target.image).square().mean())
        if self.detection:
            parts.append(self.detection * focal(estimate[:, 1], target.nodules))
        return torch.stack(parts).sum()


def focal(logits: Float[Tensor, "batch height width"], nodules: Float[Tensor, "batch most 3"]) -> Tensor:
    """The detection part of ``DetectionLoss``; a scalar."""
    logits = logits.float()
    true = heat(nodules.to(logits), (logits.shape[-2], logits.shape[-1]))
    chance = torch.sigmoid(logits)
    found = (1 - chance).square() * logsigmoid(logits)
    rest = (1 - true).pow(4) * chance.square() * logsigmoid(-logits)
    return -torch.where(true == 1, found, rest).sum() / (nodules[..., 2] > 0).sum().clamp_min(1)
