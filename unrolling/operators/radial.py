"""Convolution with kernels of radial symmetry, which are stored as one number for each distance from their middle."""

from __future__ import annotations

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor, nn

from unrolling.core.arguments import check_count, keep
from unrolling.core.refusals import explain_call
from unrolling.operators.half_spectrum import irfft2, rfft2
from unrolling.operators.linear import LinearOperator
from unrolling.operators.spectral import fast_size, wrap


def radii(size: int) -> Int[Tensor, " count"]:
    """The squared distances from the middle that pixels of a kernel of size x size have, each once, rising.

    25 x 25 pixels have 83 of them, 29 x 29 have 106.

    Args:
        size: of the kernel, odd.

    Raises:
        ValueError: an even size.
    """
    return torch.unique(_squares(size))


def radius_index(size: int) -> Int[Tensor, "size size"]:
    """For each pixel of a kernel the place of its squared distance in ``radii``."""
    return torch.searchsorted(radii(size), _squares(size))


def _squares(size: int) -> Int[Tensor, "size size"]:
    check_count(size, "size")
    if size % 2 == 0:
        raise ValueError(f"size is {size}; a kernel with a pixel in its middle has an odd size")
    square = torch.arange(-(size // 2), size // 2 + 1).square()
    return square.unsqueeze(1) + square


def radial_profile(kernel: Float[Tensor, "... size size"]) -> Float[Tensor, "... count"]:
    """The mean of a kernel over the pixels at each distance from its middle.

    Raises:
        ValueError: it is no square of odd size.
    """
    if kernel.ndim < 2 or kernel.shape[-1] != kernel.shape[-2]:
        raise ValueError(f"a radial kernel is (size, size); got shape {tuple(kernel.shape)}")
    index = radius_index(kernel.shape[-1]).to(kernel.device).flatten()
    count = torch.bincount(index).to(kernel)
    sums = kernel.new_zeros(*kernel.shape[:-2], len(count)).index_add(-1, index, kernel.flatten(-2))
    return sums / count


def radial_size(count: int) -> int:
    """The size of the kernel whose profile has so many numbers.

    Raises:
        ValueError: there is none.
    """
    check_count(count, "count")
    size = 1
    while (found := len(radii(size))) < count:
        size += 2
    if found != count:
        raise ValueError(f"no radial kernel has {count} distances; {size - 2} x {size - 2} has {len(radii(size - 2))}")
    return size


@explain_call
class Radial(nn.Module):
    """k[a] = p[|a|]: a kernel of size x size that depends on the distance from its middle alone.

    A constraint for ``constrain``: what is learned is the profile p, (count,).
    """

    def forward(self, profile: Float[Tensor, "... count"]) -> Float[Tensor, "... size size"]:
        """The kernel of a profile."""
        return profile[..., radius_index(radial_size(profile.shape[-1])).to(profile.device)]

    def project(self, value: Float[Tensor, "... size size"]) -> Float[Tensor, "... size size"]:
        """The nearest kernel of radial symmetry: the mean over each distance."""
        return self(radial_profile(value))

    def right_inverse(self, value: Float[Tensor, "... size size"]) -> Float[Tensor, "... count"]:
        """The profile of a kernel.

        Raises:
            ValueError: it is not radial.
        """
        far = float((self.project(value) - value).abs().max())
        if not far <= 1e-4 * float(value.abs().max()):
            raise ValueError(
                f"Radial needs a kernel that depends on the distance from its middle alone; this one is {far:.3g} away "
                "from the nearest such: give project(kernel)"
            )
        profile = radial_profile(value)
        index = radius_index(value.shape[-1]).to(value.device).flatten()
        # the values themselves, which a mean would round
        return profile.scatter(-1, index.expand(value.shape[:-2] + index.shape), value.flatten(-2))


class RadialConvolution(LinearOperator):
    """y[p] = sum_a p[|a|] x[p - a], zero outside the image; (batch, height, width) to the same. It is its own adjoint,
    and commutes with turns by 90 degrees and with flips.

    Computed by FFT.

    Parameters: ``profile`` p.

    Args:
        profile: (count,), by ``radii`` of the kernel's size; an ``nn.Parameter`` is learned, any other tensor is fixed.
            ``radial_profile`` makes one of a kernel.

    Raises:
        ValueError: a profile of no kernel.
    """

    profile: Tensor
    index: Tensor

    def __init__(self, profile: Float[Tensor, " count"]) -> None:
        if profile.ndim != 1:
            raise ValueError(f"a profile has one dimension; got shape {tuple(profile.shape)}")
        super().__init__((None, None), (None, None))
        keep(self, "profile", profile)
        self.size = radial_size(len(profile))
        self.register_buffer("index", radius_index(self.size), persistent=False)

    @property
    def kernel(self) -> Float[Tensor, "size size"]:
        """k, one number for each pixel."""
        return self.profile[self.index]

    def forward(self, x: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
        """k * x."""
        height, width = x.shape[-2:]
        grid = self.grid(height, width)
        padded = nn.functional.pad(x, (0, grid[1] - width, 0, grid[0] - height))
        return irfft2(rfft2(padded) * self.spectrum(grid), grid)[..., :height, :width]

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """The periodic grid on which images are convolved: as many zeros as the kernel reaches beyond one side serve
        both.
        """
        reach = self.size // 2
        return fast_size(max(height, self.size) + reach), fast_size(max(width, self.size) + reach)

    def spectrum(self, grid: tuple[int, int]) -> Complex[Tensor, "grid_height half"]:
        """The half spectrum of the kernel on a grid."""
        return rfft2(wrap(self.kernel, *grid))

    def adjoint(self, y: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
        """k * y."""
        return self(y)


def gaussian_profile(size: int, deviation: float, peak: float = 1.0) -> Float[Tensor, " count"]:
    """c exp(-r^2 / (2 s^2)) at the distances of a kernel of size x size, (count,), float64.

    Args:
        size: odd.
        deviation: s > 0, in pixels.
        peak: c.
    """
    return peak * torch.exp(-0.5 * radii(size).double() / deviation**2)
