"""What a satellite's sensor does to the bands of a scene: a blur that is told by its modulation transfer at the Nyquist
frequency, and fewer pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core.arguments import check_count, check_range
from unrolling.operators.borders import extend, fold
from unrolling.operators.linear import LinearOperator
from unrolling.operators.resize import check_multiple, resize

WIDEST = 1e3  # standard deviations in pixels that are searched: a box, as near as makes no difference


class Imagery(NamedTuple):
    """What a satellite records of a scene: bands with few pixels, and one picture over all of them with many."""

    multispectral: Tensor  # (batch, bands, h, w)
    panchromatic: Tensor  # (batch, 1, r h, r w), r a whole number


def ratio_of(data: Imagery) -> int:
    """r: how many pixels of the panchromatic image lie along a side of one of the bands'.

    Raises:
        TypeError: no ``Imagery``.
        ValueError: shapes that do not belong together.
    """
    if not isinstance(data, Imagery):
        raise TypeError(f"data are Imagery(multispectral, panchromatic); got {type(data).__name__}")
    bands, pan = data
    if bands.ndim != 4 or pan.ndim != 4 or pan.shape[1] != 1:
        raise ValueError(
            "bands are (batch, bands, h, w) and the panchromatic image (batch, 1, r h, r w); got "
            f"{tuple(bands.shape)} and {tuple(pan.shape)}"
        )
    if pan.shape[0] != bands.shape[0]:
        raise ValueError(f"there are bands of {bands.shape[0]} scenes and panchromatic images of {pan.shape[0]}")
    (height, width), (rows, columns) = bands.shape[-2:], pan.shape[-2:]
    ratio = rows // height if height else 0
    if ratio < 1 or (rows, columns) != (ratio * height, ratio * width):
        raise ValueError(
            f"the panchromatic image has {rows} x {columns} pixels, which is no whole multiple of the bands' {height} "
            f"x {width}, the same in both directions; bands come before rows and columns: (batch, bands, h, w)"
        )
    return ratio


def gaussian_taps(gain: float, factor: int, taps: int) -> list[float]:
    """A Gaussian, sampled about the middle of its taps, that sums to one and lets a part ``gain`` of the frequency 1 /
    (2 factor) through: exactly, after it was cut to so many taps.

    Raises:
        ValueError: a gain that no Gaussian of so many taps has.
    """
    places = [t - (taps - 1) / 2 for t in range(taps)]
    cosines = [math.cos(math.pi * place / factor) for place in places]

    def weights(deviation: float) -> list[float]:
        nearest = min(abs(place) for place in places)
        found = [math.exp(-0.5 * (place * place - nearest * nearest) / deviation**2) for place in places]
        total = sum(found)
        return [weight / total for weight in found]

    def through(deviation: float) -> float:
        return sum(w * c for w, c in zip(weights(deviation), cosines, strict=True))

    narrow, wide = 0.05, WIDEST
    least, most = through(wide), through(narrow)
    if not least < gain < most:
        raise ValueError(
            f"gain is {gain:g}; a Gaussian of {taps} taps lets between {max(least, 0):.3g} and {most:.3g} of the "
            f"Nyquist frequency of pixels {factor} times as wide through"
        )
    for _ in range(100):
        middle = math.sqrt(narrow * wide)
        narrow, wide = (middle, wide) if through(middle) > gain else (narrow, middle)
    return weights(math.sqrt(narrow * wide))


class ModulationTransfer(LinearOperator):
    """y_b = every r-th pixel of g_b * x_b: (batch, bands, height, width) -> (batch, bands, height / r, width / r).

    g_b is a separable Gaussian whose transfer at the Nyquist frequency of the small pixels' grid, 1 / (2 r), is the
    gain of the band: the usual model of a multispectral sensor's optics (Aiazzi, Alparone, Baronti, Garzelli and Selva
    2006, doi:10.14358/PERS.72.5.591). A small pixel lies in the middle of the r x r large ones that it covers, pixel i
    at r i + (r - 1) / 2, so that nothing shifts: kernels have an even number of taps for an even r, an odd one for an
    odd r. Borders are mirrored. |A| is 1 / r but for what is aliased.

    Args:
        factor: r.
        gain: transfer at the Nyquist frequency, one for all bands, which may then be any number, or one for each.
        taps: of a kernel along a side; 4 r by default, one more where r is odd.

    Raises:
        ValueError: a gain that no such kernel has, taps that are not even and odd with r; when applied, another number
            of bands, sides that are not multiples of r, or shorter than the kernel's reach.
    """

    def __init__(self, factor: int = 4, gain: float | Sequence[float] = 0.25, taps: int | None = None) -> None:
        check_count(factor, "factor")
        taps = 4 * factor + factor % 2 if taps is None else taps
        check_count(taps, "taps", factor)
        if (taps - factor) % 2:
            raise ValueError(
                f"a kernel of {taps} taps has its middle {'on' if taps % 2 else 'between'} pixels, and small pixels "
                f"{factor} times as wide have theirs {'on' if factor % 2 else 'between'} them: everything would shift "
                f"by half a pixel; take {taps + 1}"
            )
        gains = tuple(gain) if isinstance(gain, Sequence) else (gain,)
        if not gains:
            raise ValueError("gain is empty; it is one number, or one for each band")
        for value in gains:
            check_range(value, "gain", 0.0, 1.0, above=True, below=True)
        bands = len(gains) if isinstance(gain, Sequence) else None
        super().__init__((bands, None, None), (bands, None, None))
        self.factor, self.gains, self.taps = factor, tuple(float(value) for value in gains), taps
        self._kernels = [gaussian_taps(value, factor, taps) for value in self.gains]

    @property
    def before(self) -> int:
        """Pixels beyond the border that the first small pixel sees; the last one sees as many."""
        return (self.taps - self.factor) // 2

    def kernels(self, like: Tensor) -> Float[Tensor, "gains taps"]:
        """g along one side, a row for each gain."""
        return torch.tensor(self._kernels, dtype=like.dtype, device=like.device)

    def forward(self, x: Float[Tensor, "batch bands height width"]) -> Float[Tensor, "batch bands small_h small_w"]:
        """Blurred and decimated."""
        check_multiple(x, self.factor)
        return _whole(self._reduce, x)

    def adjoint(self, y: Float[Tensor, "batch bands small_h small_w"]) -> Float[Tensor, "batch bands height width"]:
        """Every small pixel spread by its kernel."""
        return _whole(self._spread, y)

    def enlarge(self, y: Float[Tensor, "batch bands small_h small_w"]) -> Float[Tensor, "batch bands height width"]:
        """Bicubic interpolation to the large grid: where pan-sharpening starts. Not the adjoint."""
        return _whole(lambda y: resize(y, y.shape[-2] * self.factor, y.shape[-1] * self.factor), y)

    def _reduce(self, x: Tensor) -> Tensor:
        margin, s, bands = self.before, self.factor, x.shape[1]
        kernels = self._each(x, bands)
        wide = extend(x, (margin, margin, margin, margin), "symmetric")
        rows = nn.functional.conv2d(wide, kernels[:, None, :, None], stride=(s, 1), groups=bands)
        return nn.functional.conv2d(rows, kernels[:, None, None, :], stride=(1, s), groups=bands)

    def _spread(self, y: Tensor) -> Tensor:
        margin, s, bands = self.before, self.factor, y.shape[1]
        kernels = self._each(y, bands)
        rows = nn.functional.conv_transpose2d(y, kernels[:, None, None, :], stride=(1, s), groups=bands)
        wide = nn.functional.conv_transpose2d(rows, kernels[:, None, :, None], stride=(s, 1), groups=bands)
        return fold(wide, (margin, margin, margin, margin), "symmetric")

    def _each(self, x: Tensor, bands: int) -> Tensor:
        kernels = self.kernels(x)
        return kernels.expand(bands, -1) if len(self.gains) == 1 else kernels


def _whole(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A map of x, under autocast too, where single precision would become half: a residual is a small difference."""
    if not torch.is_autocast_enabled(x.device.type):
        return function(x)
    with torch.autocast(x.device.type, enabled=False):
        return function(x)
