"""Magnetic resonance imaging on a Cartesian grid: the unitary Fourier transform, some of whose frequencies are
measured, through one coil or several.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from unrolling.core import scale
from unrolling.operators import transforms
from unrolling.operators.linear import LinearOperator
from unrolling.operators.normal_equations import solve_regularised
from unrolling.operators.spectral import Circulant


class KSpace(NamedTuple):
    """Measured frequencies with the mask that says which they are; zero frequency at (0, 0), as ``fft2`` has it."""

    samples: Tensor  # (batch, height, width) or (batch, coils, height, width), complex; zero where nothing was measured
    mask: Tensor  # (batch, height, width), or (1, height, width) shared; 1 where measured, 0 elsewhere


def check_mask(mask: Tensor) -> Tensor:
    """A mask (height, width) or (batch, height, width) as real numbers.

    Raises:
        ValueError: another shape, a negative or infinite value, or nothing measured.
    """
    if mask.ndim not in (2, 3):
        raise ValueError(
            f"a mask is (height, width), or (batch, height, width) with one per image; got shape {tuple(mask.shape)}"
        )
    mask = mask if mask.is_floating_point() else mask.to(torch.get_default_dtype())
    if not bool((torch.isfinite(mask) & (mask >= 0)).all()):
        raise ValueError(
            "a mask holds finite numbers that are at least 0: 1 where a frequency is measured, 0 elsewhere"
        )
    if not bool((mask > 0).any()):
        raise ValueError("the mask is zero everywhere: nothing is measured")
    return mask


def fft(x: Tensor) -> Complex[Tensor, "... height width"]:
    """F x, unitary."""
    return transforms.fft2(x, norm="ortho")


def ifft(k: Tensor) -> Complex[Tensor, "... height width"]:
    """F^H k."""
    return transforms.ifft2(k, norm="ortho")


class MaskedFourier(Circulant):
    """y = m . F x, F unitary: (batch, height, width) -> (batch, height, width) complex, the frequency zero at (0, 0).

    Args:
        mask: m, (height, width) or (batch, height, width), one per image; weights other than 0 and 1 are allowed.
        centred: whether the mask's zero frequency is in its middle, as masks are drawn and stored.

    Raises:
        ValueError: a mask that is none.
    """

    mask: Tensor
    real = False

    def __init__(self, mask: Float[Tensor, "... height width"], *, centred: bool = False) -> None:
        mask = check_mask(mask)
        super().__init__(tuple(mask.shape[-2:]), tuple(mask.shape[-2:]))
        self.register_buffer("mask", torch.fft.ifftshift(mask, (-2, -1)) if centred else mask)

    def forward(self, x: Complex[Tensor, "batch height width"]) -> Complex[Tensor, "batch height width"]:
        """m . F x."""
        return self.mask * fft(x)

    def adjoint(self, y: Complex[Tensor, "batch height width"]) -> Complex[Tensor, "batch height width"]:
        """F^H (m . y), the zero-filled reconstruction where m holds zeros and ones."""
        return ifft(self.mask * y)

    def gram_spectrum(self, height: int, width: int) -> Float[Tensor, "batch height width"]:
        """m^2."""
        square = self.mask.square()
        return square if square.ndim == 3 else square.unsqueeze(0)


def normalise_maps(
    maps: Complex[Tensor, "... coils height width"], floor: float = 1e-6
) -> Complex[Tensor, "... coils height width"]:
    """Coil maps scaled to sum_c |S_c|^2 = 1 wherever any coil sees anything, relative to ``floor`` times the largest
    sensitivity.
    """
    size = scale.norm(maps, -3, keepdim=True)
    seen = ~(size <= floor * size.amax((-3, -2, -1), keepdim=True))  # NaN is not what no coil sees
    return torch.where(seen, maps / torch.where(seen, size, 1), 0)


class MultiCoilFourier(LinearOperator):
    """y_c = m . F (S_c . x): (batch, height, width) -> (batch, coils, height, width) complex, frequency zero at (0, 0).

    Pruessmann, Weiger, Scheidegger and Boesiger 1999 (SENSE),
    doi:10.1002/(SICI)1522-2594(199911)42:5<952::AID-MRM16>3.0.CO;2-S. With maps of ``normalise_maps`` and a full mask
    E^H E = I where the coils see. ``solve_normal`` is by conjugate gradients.

    Args:
        mask: m, (height, width) or (batch, height, width).
        maps: S, (coils, height, width) or (batch, coils, height, width), complex.
        centred: whether the mask's zero frequency is in its middle.

    Raises:
        ValueError: a mask that is none, maps of another shape.
    """

    mask: Tensor
    maps: Tensor

    def __init__(
        self,
        mask: Float[Tensor, "... height width"],
        maps: Complex[Tensor, "... coils height width"],
        *,
        centred: bool = False,
    ) -> None:
        mask = check_mask(mask)
        if maps.ndim not in (3, 4) or maps.shape[-2:] != mask.shape[-2:]:
            raise ValueError(
                "coil maps are (coils, height, width) or (batch, coils, height, width), of the mask's size "
                f"{tuple(mask.shape[-2:])}; got {tuple(maps.shape)}"
            )
        super().__init__(tuple(mask.shape[-2:]), tuple(maps.shape[-3:]))
        mask = torch.fft.ifftshift(mask, (-2, -1)) if centred else mask
        self.register_buffer("mask", mask if mask.ndim == 2 else mask.unsqueeze(1))
        if isinstance(maps, nn.Parameter):
            self.maps = maps
        else:
            self.register_buffer("maps", maps)

    def forward(self, x: Complex[Tensor, "batch height width"]) -> Complex[Tensor, "batch coils height width"]:
        """The measured frequencies of every coil."""
        return self.mask * fft(self.maps * x.unsqueeze(1))

    def adjoint(self, y: Complex[Tensor, "batch coils height width"]) -> Complex[Tensor, "batch height width"]:
        """sum_c conj(S_c) . F^H (m . y_c)."""
        return (self.maps.conj() * ifft(self.mask * y)).sum(1)

    def solve_normal(
        self, b: Complex[Tensor, "batch height width"], rho: Tensor | float
    ) -> Complex[Tensor, "batch height width"]:
        """(E^H E + rho I)^-1 b, to about rounding; for a given number of iterations take
        ``normal_equations.solve_regularised``.
        """
        return solve_regularised(self, b, rho, tolerance=20 * torch.finfo(b.dtype).eps, max_iterations=300)
