"""The score of FBPConvNet's authors: a signal-to-noise ratio after the best affine fit."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from unrolling.core import scale
from unrolling.core.refusals import explained


@explained
def regressed_snr(estimate: Tensor, target: Tensor) -> Float[Tensor, " batch"]:
    """max over a, c of 20 log10 |x| / |x - a x' - c|, dB, as Jin, McCann, Froustey and Unser 2017,
    doi:10.1109/TIP.2017.2713099, report it, in double precision.

    The fit hides wrong scales and offsets, so that a PSNR belongs beside it. An estimate that is the same everywhere is
    as good as the target's mean; an exact fit has infinity, a target of zeros NaN.

    Args:
        estimate: x', (batch, height, width), real.
        target: x, of the same shape.

    Raises:
        ValueError: other shapes than one another's.
    """
    if estimate.shape != target.shape:
        raise ValueError(f"estimate is {tuple(estimate.shape)} and target {tuple(target.shape)}; they have one shape")
    found, truth = (each.flatten(1).double() for each in (estimate, target))
    found, centred = (each - each.mean(1, keepdim=True) for each in (found, truth))
    slope = scale.divide((found * centred).sum(1), found.square().sum(1))
    left = centred - slope.unsqueeze(1) * found
    return 10 * torch.log10(scale.energy_ratio(truth, left))
