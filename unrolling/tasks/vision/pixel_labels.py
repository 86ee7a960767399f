"""How labels of pixels are measured: confusion, bands about borders, losses and checks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, nll_loss

from unrolling.tasks.metrics import MeanIoU
from unrolling.tasks.samples import Samples, first

VOID = 255  # the label of a pixel that nobody knows
BAND = 3  # pixels of a trimap, to either side of a border


def check_pixel_labels(labels: Tensor, classes: int, where: str = "labels") -> Tensor:
    """Labels 0 to classes - 1, or 255 where nobody knows.

    Raises:
        ValueError: others.
    """
    bad = ((labels < 0) | (labels >= classes)) & (labels != VOID)
    if bool(bad.any()):
        place = tuple(int(k) for k in bad.nonzero()[0])
        raise ValueError(
            f"{where} go from 0 to {classes - 1}, or are {VOID} where nobody knows; got {int(labels[place])} at index "
            f"{place}"
        )
    return labels


def pixel_loss(estimate: Tensor, target: Tensor) -> Tensor:
    """The mean over pixels whose class is known of -log of its chance; of log chances (batch, classes, height, width).

    Raises:
        ValueError: labels out of range.
    """
    check_pixel_labels(target, estimate.shape[1])
    known = (target != VOID).sum().clamp_min(1)
    return nll_loss(estimate, target, ignore_index=VOID, reduction="sum") / known


def border_band(labels: Tensor, width: int = BAND) -> Tensor:
    """The pixels of a trimap: those with a pixel of another label at most so far away along either axis, (batch,
    height, width) bool. Borders with what nobody knows count; the pixels there do not.
    """
    values = labels.to(torch.float32).unsqueeze(1)
    size = 2 * width + 1
    # Padding of a pool is -inf, so that beyond the border of a picture nothing differs.
    high, low = max_pool2d(values, size, 1, width), -max_pool2d(-values, size, 1, width)
    return ((high != low).squeeze(1)) & (labels != VOID)


def confusion(estimate: Tensor, target: Tensor, classes: int) -> Tensor:
    """How many pixels of each true class (rows) were given each class (columns), (classes, classes) int64."""
    found = estimate.argmax(1) if estimate.ndim == target.ndim + 1 else estimate
    known = (target >= 0) & (target < classes)
    return torch.bincount(classes * target[known] + found[known], minlength=classes**2).view(classes, classes)


def further_scores(estimates: Sequence[Tensor], batches: Sequence[Samples], classes: int) -> dict[str, float]:
    """Pixel accuracy, and mean IoU within bands about borders, of 3 pixels to either side."""
    right = known = 0
    pieces = []
    metric = MeanIoU(classes=classes)
    for estimate, batch in zip(estimates, batches, strict=True):
        target = first(batch, estimate.shape[0]).target
        table = confusion(estimate, target, classes)
        right, known = right + int(table.trace()), known + int(table.sum())
        banded = torch.where(border_band(target), target, VOID)
        pieces.append(metric.pieces(estimate, Samples(batch.data, banded)))
    return {
        "pixel accuracy": right / known if known else float("nan"),
        "mIoU within 3 pixels of a border": metric.value(torch.cat(pieces)),
    }
