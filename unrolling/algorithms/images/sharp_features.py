"""What a kernel is estimated from: features of the blurred image, and guesses at those of the sharp one."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d

from unrolling.core import Positive, constrain
from unrolling.core.arguments import check_count, check_range
from unrolling.core.refusals import explain
from unrolling.operators.borders import Boundary, extend

ORIENTATIONS = 4
WIDTHS = (0.6, 1.5)  # pixels: standard deviations of the Gaussians whose derivatives are the first filters
# The slopes of the two tanh whose difference is a threshold that is smooth, times the threshold; the first is nearly
# linear over all the gradients of a photograph.
GENTLE, STEEP = 0.1, 1.0


class Features(NamedTuple):
    """The two sides of y_j = k * x_j, from which the kernel is fitted."""

    blurred: Tensor  # y_j, (batch, channels, height, width)
    sharp: Tensor  # x_j, likewise


def central_differences(dtype: torch.dtype = torch.float32) -> Float[Tensor, "2 1 3 3"]:
    """Half the difference of the pixels after and before, down and to the right, as filters (convolutions)."""
    filters = torch.zeros(2, 1, 3, 3, dtype=dtype)
    filters[0, 0, 0, 1] = filters[1, 0, 1, 0] = 0.5
    filters[0, 0, 2, 1] = filters[1, 0, 1, 2] = -0.5
    return filters


@explain
class ThresholdedGradients(nn.Module):
    """The classical features: y_j = D_j y, and x_j = D_j s(x) where that is above a threshold, 0 elsewhere; j: down and
    to the right.

    s: steps of a shock filter, x <- x - dt sign(Lap x) |grad x|, which makes edges steep (Osher and Rudin 1990,
    doi:10.1137/0727053); both as Cho and Lee 2009 (doi:10.1145/1618452.1618491) predict the sharp image. ``soft``: the
    threshold is subtracted, so that what is kept shrinks too.

    Parameters: ``threshold``, positive, in units of the root mean square of the blurred image's differences; 0 is left
    out of no pixel.

    Args:
        threshold: at the start, at least 0.
        shocks: steps of the shock filter.
        step: dt.
        soft: whether the threshold is subtracted.

    Raises:
        ValueError: a negative threshold or number of steps, a step that is not positive.
    """

    threshold: Tensor

    def __init__(self, threshold: float = 1.0, *, shocks: int = 0, step: float = 0.25, soft: bool = False) -> None:
        super().__init__()
        check_range(threshold, "threshold", 0.0)
        check_range(step, "step", 0.0, above=True)
        check_count(shocks, "shocks", 0)
        self.threshold = nn.Parameter(torch.tensor(float(threshold)))
        constrain(self, "threshold", Positive())
        self.shocks, self.step, self.soft = shocks, step, soft

    def forward(self, blurred: Tensor, sharp: Tensor, boundary: Boundary = "symmetric") -> Features:
        """Features of images (batch, 1, height, width).

        Args:
            blurred: y.
            sharp: the estimate x so far.
            boundary: how images go on beyond their borders.
        """
        filters = central_differences(blurred.dtype).to(blurred.device)
        for _ in range(self.shocks):
            sharp = self._shock(sharp, filters, boundary)
        found = convolved(sharp, filters, boundary)
        size = found.abs()
        # what is no number is not below the threshold, and stays
        kept = found.sign() * torch.relu(size - self.threshold) if self.soft else found
        return Features(convolved(blurred, filters, boundary), torch.where(size <= self.threshold, 0 * found, kept))

    def _shock(self, x: Tensor, filters: Tensor, boundary: Boundary) -> Tensor:
        smooth = convolved(x, _gaussian(x), boundary)
        slopes = convolved(smooth, filters, boundary)
        laplacian = convolved(smooth, _laplacian(x), boundary)
        return x - self.step * laplacian.sign() * slopes.square().sum(1, keepdim=True).sqrt()


@explain
class LearnedFeatures(nn.Module):
    """The feature extraction module of a learned deblurring:

        h = phi(f * [y, x] + b),    y_j = sum_l alpha_jl h_l,    x_j = sum_l beta_jl h_l,    l = 1 ... F, j = 1 ... J,

    [y, x] the blurred image and the estimate so far as two channels, phi tanh or the rectifier; with ``layers=2``
    h <- phi(M h) in between. Schuler, Hirsch, Harmeling and Schoelkopf 2016, doi:10.1109/TPAMI.2015.2481418; survey,
    section III-A.

    At the start they are thresholded gradients: J derivatives of Gaussians, down, to the right and along both
    diagonals, fine and coarse; of y as they are, of x thresholded softly. With the rectifier that is exact, S_t(g) =
    [g - t]_+ - [-g - t]_+; with tanh it is smooth, (tanh(c g) - tanh(t' g) c / t') / c for a small c, and what is left
    of the F filters is drawn at random and not used yet.

    Parameters: ``filters`` f (F, 2, side, side), ``offset`` b (F,), ``to_blurred`` alpha and ``to_sharp`` beta (J, F);
    with two layers ``mixing`` M (F, F). Without b they are 2 F side^2 + 2 J F numbers, and F^2 more with two layers.

    Args:
        count: F; at least 3 J for tanh, 4 J for the rectifier.
        channels: J, 8, or 4 for the fine derivatives alone.
        side: of the filters, odd.
        activation: ``tanh`` or ``relu``.
        layers: 1 or 2; the second is at the start the identity before phi.
        threshold: t at the start, in units of the root mean square of the blurred image's differences.
        seed: of the filters that are drawn.

    Raises:
        ValueError: too few filters, an even side, another activation, another number of channels or layers.
    """

    filters: Tensor
    offset: Tensor
    to_blurred: Tensor
    to_sharp: Tensor
    mixing: Tensor

    def __init__(
        self,
        count: int = 32,
        channels: int = 8,
        side: int = 9,
        *,
        activation: Literal["tanh", "relu"] = "tanh",
        layers: Literal[1, 2] = 1,
        threshold: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_count(count, "count")
        check_count(side, "side", 3)
        check_range(threshold, "threshold", 0.0, above=True)
        if side % 2 == 0:
            raise ValueError(f"side is {side}; filters have an odd number of pixels along each side")
        if activation not in ("tanh", "relu"):
            raise ValueError(f"activation is {activation!r}; it is 'tanh' or 'relu'")
        if channels not in (ORIENTATIONS, 2 * ORIENTATIONS) or layers not in (1, 2):
            raise ValueError(f"channels are 4 or 8, layers 1 or 2; got {channels} and {layers}")
        needed = (3 if activation == "tanh" else 4) * channels
        if count < needed:
            raise ValueError(f"{channels} channels need at least {needed} filters with {activation}; got count {count}")
        self.activation, self.layers = activation, layers
        drawn = torch.randn(count, 2, side, side, generator=torch.Generator().manual_seed(seed)) / (2 * side**2)
        filters, offset = drawn - drawn.mean((-2, -1), keepdim=True), torch.zeros(count)
        to_blurred, to_sharp = torch.zeros(channels, count), torch.zeros(channels, count)
        filters[:needed] = 0
        one = torch.arange(channels)
        two, three, four = one + channels, one + 2 * channels, one + 3 * channels
        derivatives = derivatives_of_gaussians(side)[:channels]
        if activation == "tanh":
            slope = STEEP / threshold
            filters[one, 0] = filters[two, 1] = GENTLE * derivatives
            filters[three, 1] = slope * derivatives
            to_blurred[one, one] = to_sharp[one, two] = 1 / GENTLE
            to_sharp[one, three] = -1 / slope
        else:
            for plus, minus, image in ((one, two, 0), (three, four, 1)):
                filters[plus, image], filters[minus, image] = derivatives, -derivatives
            offset[2 * channels : 4 * channels] = -threshold
            to_blurred[one, one] = to_sharp[one, three] = 1.0
            to_blurred[one, two] = to_sharp[one, four] = -1.0
        for name, value in (
            ("filters", filters),
            ("offset", offset),
            ("to_blurred", to_blurred),
            ("to_sharp", to_sharp),
            *((("mixing", torch.eye(count)),) if layers == 2 else ()),
        ):
            setattr(self, name, nn.Parameter(value))

    def forward(self, blurred: Tensor, sharp: Tensor, boundary: Boundary = "symmetric") -> Features:
        """As for ``ThresholdedGradients``."""
        phi = torch.tanh if self.activation == "tanh" else torch.relu
        both = torch.cat([blurred, sharp], 1)
        hidden = phi(convolved(both, self.filters, boundary) + self.offset.reshape(-1, 1, 1))
        if self.layers == 2:
            hidden = phi(conv2d(hidden, self.mixing[..., None, None]))
        taken = conv2d(hidden, torch.cat([self.to_blurred, self.to_sharp])[..., None, None])
        return Features(*taken.chunk(2, 1))


def derivatives_of_gaussians(side: int) -> Float[Tensor, "8 side side"]:
    """First derivatives of Gaussians down, to the right and along the diagonals, two widths, as filters (convolutions);
    of a ramp that rises by 1 a pixel in their direction they give 1.
    """
    reach = torch.arange(side, dtype=torch.float64) - side // 2
    found = []
    for width in WIDTHS:
        for turn in range(ORIENTATIONS):
            angle = math.pi * turn / ORIENTATIONS
            along = math.sin(angle) * reach + math.cos(angle) * reach.unsqueeze(1)
            weights = along * torch.exp(-(reach.square() + reach.unsqueeze(1).square()) / (2 * width**2))
            found.append(-weights / (weights * along).sum())
    return torch.stack(found).float()


def convolved(images: Tensor, filters: Tensor, boundary: Boundary) -> Tensor:
    """Convolution of images (batch, channels, height, width) with filters (count, channels, side, side), continued
    beyond their borders.
    """
    rows, columns = (side // 2 for side in filters.shape[-2:])
    return conv2d(extend(images, (rows, rows, columns, columns), boundary), filters.flip((-2, -1)))


def _gaussian(like: Tensor) -> Tensor:
    line = torch.tensor([0.25, 0.5, 0.25], dtype=like.dtype, device=like.device)
    return (line.unsqueeze(1) * line)[None, None]


def _laplacian(like: Tensor) -> Tensor:
    taps = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]], dtype=like.dtype, device=like.device)
    return taps[None, None]
