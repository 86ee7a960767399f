"""How well an image of super-resolution shows where emitters are."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import max_pool2d

from unrolling.core.arguments import check_range
from unrolling.tasks.metrics import Mean
from unrolling.tasks.samples import Samples

LIGHT = 0.95  # part of an image's light that its support holds
REACH = 1  # fine pixels by which a place may be off


def support(image: Float[Tensor, "batch height width"], light: float = LIGHT) -> Bool[Tensor, "batch height width"]:
    """The brightest pixels of each image which together hold a part of its light; none of an image without any. It does
    not depend on the image's scale.

    Args:
        image: negative values count as 0.
        light: the part, up to 1.
    """
    check_range(light, "light", 0.0, 1.0)
    rows = image.clamp_min(0).flatten(1).double()
    ordered, order = rows.sort(dim=1, descending=True, stable=True)
    before = ordered.cumsum(1) - ordered
    kept = (before < light * ordered.sum(1, keepdim=True)) & (ordered > 0)
    return torch.zeros_like(kept).scatter(1, order, kept).view(image.shape)


def matches(
    estimate: Float[Tensor, "batch height width"], target: Float[Tensor, "batch height width"], reach: int = REACH
) -> Float[Tensor, "batch 3"]:
    """Of each image: pixels with emitters that the estimate shows, pixels of the estimate where there are none, and
    pixels with emitters that it does not show, each within ``reach`` pixels; float64, NaN for an estimate with NaN.
    """
    found, true = support(estimate.nan_to_num(0.0)), target > 0
    near_found, near_true = _widened(found, reach), _widened(true, reach)
    counts = [true & near_found, found & ~near_true, true & ~near_found]
    rows = torch.stack([each.flatten(1).sum(1) for each in counts], 1).double()
    return rows.masked_fill(estimate.isnan().flatten(1).any(1, keepdim=True), float("nan"))


def _widened(mask: Tensor, reach: int) -> Tensor:
    return max_pool2d(mask.float().unsqueeze(1), 2 * reach + 1, 1, reach).squeeze(1) > 0


def jaccard(estimate: Tensor, samples: Samples) -> Tensor:
    """Shown / (shown + wrong + missed), (batch,); 1 where there is nothing and nothing is shown."""
    shown, wrong, missed = matches(estimate, samples.target).unbind(1)
    return _share(shown, wrong + missed)


def recall(estimate: Tensor, samples: Samples) -> Tensor:
    """Shown / (shown + missed), (batch,)."""
    shown, _, missed = matches(estimate, samples.target).unbind(1)
    return _share(shown, missed)


def precision(estimate: Tensor, samples: Samples) -> Tensor:
    """Shown / (shown + wrong), (batch,)."""
    shown, wrong, _ = matches(estimate, samples.target).unbind(1)
    return _share(shown, wrong)


def _share(part: Tensor, rest: Tensor) -> Tensor:
    whole = part + rest
    return torch.where(whole == 0, 1.0, part / whole)


def fitted_psnr(estimate: Tensor, samples: Samples) -> Tensor:
    """10 log10 of the squared largest value of the target over the mean squared error, in dB, (batch,), of the multiple
    of the estimate that is nearest to the target: methods that shrink are not told off for it.
    """
    found, true = estimate.flatten(1).double(), samples.target.flatten(1).double()
    energy = found.square().sum(1, keepdim=True)
    factor = (found * true).sum(1, keepdim=True) / torch.where(energy == 0, 1, energy)
    error = (factor * found - true).square().mean(1)
    return 10 * torch.log10(true.amax(1).square() / error.clamp_min(1e-300))


JACCARD = Mean("Jaccard index", "", "higher", "field", places=3, each=jaccard)
