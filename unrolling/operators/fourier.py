"""Magnetic resonance imaging on a Cartesian grid: the unitary Fourier transform, some of whose frequencies are
measured, through one coil or several.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from unrolling.core import scale
from unrolling.core.arguments import check_range, check_tensor, keep
from unrolling.operators import transforms
from unrolling.operators.linear import LinearOperator
from unrolling.operators.normal_equations import solve_regularised
from unrolling.operators.spectral import Circulant

Origin = Literal["corner", "centre"]  # index (0, 0), or (height // 2, width // 2)
ORIGINS = ("corner", "centre")


class KSpace(NamedTuple):
    """Measured frequencies with the mask that says which they are; zero frequency at (0, 0), as ``fft2`` has it."""

    samples: Tensor  # (batch, height, width) or (batch, coils, height, width), complex; zero where nothing was measured
    # (batch, height, width), or (1, height, width) shared; 1 where measured, 0 elsewhere. Of whole lines one number
    # will do: (batch, 1, width) or (batch, height, 1).
    mask: Tensor


class CoilData(NamedTuple):
    """``KSpace`` of several coils with the sensitivity maps of each sample."""

    samples: Tensor  # (batch, coils, height, width), complex; zero where nothing was measured
    mask: Tensor  # (batch or 1, height, width), or of whole lines (batch or 1, 1, width) or (batch or 1, height, 1)
    maps: Tensor  # S (batch or 1, coils, height, width), complex


def check_mask(mask: Tensor) -> Tensor:
    """A mask (height, width) or (batch, height, width), or of whole lines (1, width) or (height, 1), as real numbers.

    Raises:
        TypeError: no tensor, or complex numbers.
        ValueError: another shape, a negative or infinite value, or nothing measured.
    """
    check_tensor(mask, "mask", "a sampled Fourier transform")
    if mask.ndim not in (2, 3) or 0 in mask.shape:
        raise ValueError(
            f"a mask is (height, width), or (batch, height, width) with one per image; got shape {tuple(mask.shape)}"
        )
    if mask.is_complex():
        raise TypeError(f"a mask holds real numbers; got {mask.dtype}")
    mask = mask if mask.is_floating_point() else mask.to(torch.get_default_dtype())
    if not bool((torch.isfinite(mask) & (mask >= 0)).all()):
        raise ValueError(
            "a mask holds finite numbers that are at least 0: 1 where a frequency is measured, 0 elsewhere"
        )
    if not bool((mask > 0).any()):
        raise ValueError("the mask is zero everywhere: nothing is measured")
    return mask


def check_origins(**origins: str) -> None:
    """Refuses an origin that is neither ``corner`` nor ``centre``, by the argument's name.

    Raises:
        ValueError: it is not.
    """
    for name, origin in origins.items():
        if origin not in ORIGINS:
            raise ValueError(
                f"{name} is {origin!r}; it is 'corner', index (0, 0), or 'centre', (height // 2, width // 2)"
            )


def to_corner(x: Tensor, origin: Origin) -> Tensor:
    """What has its origin there, with it at (0, 0)."""
    return torch.fft.ifftshift(x, (-2, -1)) if origin == "centre" else x


def from_corner(x: Tensor, origin: Origin) -> Tensor:
    """What has its origin at (0, 0), with it there."""
    return torch.fft.fftshift(x, (-2, -1)) if origin == "centre" else x


def fft(x: Tensor) -> Complex[Tensor, "... height width"]:
    """F x, unitary."""
    return transforms.fft2(x, norm="ortho")


def ifft(k: Tensor) -> Complex[Tensor, "... height width"]:
    """F^H k."""
    return transforms.ifft2(k, norm="ortho")


def _sizes(mask: Tensor) -> tuple[int | None, int | None]:
    """Of the images under a mask: one number for a whole line fits any."""
    height, width = (None if side == 1 else int(side) for side in mask.shape[-2:])
    return height, width


class MaskedFourier(Circulant):
    """y = m . F x, F unitary: (batch, height, width) -> (batch, height, width) complex.

    By default pixel (0, 0) is the origin of images and index (0, 0) the frequency zero, as ``fft2`` has it. Scanners
    and their libraries write fftshift(fft2(ifftshift(x))), both origins in the middle: ``CentredFourier``.

    Args:
        mask: m, (height, width) or (batch, height, width), one per image; of whole lines (1, width) or (height, 1) will
            do. Weights other than 0 and 1 are allowed. An ``nn.Parameter`` is learned, any other tensor is fixed.
        centred: whether the mask's zero frequency is in its middle, as masks are drawn and stored; by default where
            that of y is.
        image_origin: of x, ``corner`` or ``centre``.
        frequency_origin: of y, likewise.

    Raises:
        TypeError, ValueError: a mask that is none, an unknown origin.
    """

    mask: Tensor  # in the order of ``fft2``
    real = False

    def __init__(
        self,
        mask: Float[Tensor, "... height width"],
        *,
        centred: bool | None = None,
        image_origin: Origin = "corner",
        frequency_origin: Origin = "corner",
    ) -> None:
        held = check_mask(mask)
        check_origins(image_origin=image_origin, frequency_origin=frequency_origin)
        super().__init__(_sizes(held), _sizes(held))
        self.image_origin: Origin = image_origin
        self.frequency_origin: Origin = frequency_origin
        self.batch_size = held.shape[0] if held.ndim == 3 and held.shape[0] > 1 else None
        keep(self, "mask", to_corner(held, _drawn(centred, frequency_origin)), mask)

    def forward(self, x: Complex[Tensor, "batch height width"]) -> Complex[Tensor, "batch height width"]:
        """m . F x."""
        return from_corner(self.mask * fft(to_corner(x, self.image_origin)), self.frequency_origin)

    def adjoint(self, y: Complex[Tensor, "batch height width"]) -> Complex[Tensor, "batch height width"]:
        """F^H (m . y), the zero-filled reconstruction where m holds zeros and ones."""
        return from_corner(ifft(self.mask * to_corner(y, self.frequency_origin)), self.image_origin)

    def gram_spectrum(self, height: int, width: int) -> Float[Tensor, "batch height width"]:
        """m^2."""
        square = self.mask.square()
        square = square if square.ndim == 3 else square.unsqueeze(0)
        return square.expand(square.shape[0], height, width)


class CentredFourier(MaskedFourier):
    """y = m . fftshift(F ifftshift(x)): a ``MaskedFourier`` with the origins of image and frequencies in the middle, as
    scanners and their libraries write k-space.

    Args:
        mask: m, its zero frequency in the middle.
    """

    def __init__(self, mask: Float[Tensor, "... height width"]) -> None:
        super().__init__(mask, image_origin="centre", frequency_origin="centre")


def _drawn(centred: bool | None, frequency_origin: Origin) -> Origin:
    return frequency_origin if centred is None else "centre" if centred else "corner"


def normalise_maps(
    maps: Complex[Tensor, "... coils height width"], floor: float = 1e-6
) -> Complex[Tensor, "... coils height width"]:
    """Coil maps scaled to sum_c |S_c|^2 = 1 wherever any coil sees anything, relative to ``floor`` times the largest
    sensitivity.
    """
    check_range(floor, "floor", 0.0)
    size = scale.norm(maps, -3, keepdim=True)
    seen = ~(size <= floor * size.amax((-3, -2, -1), keepdim=True))  # NaN is not what no coil sees
    return torch.where(seen, maps / torch.where(seen, size, 1), 0)


class MultiCoilFourier(LinearOperator):
    """y_c = m . F (S_c . x): (batch, height, width) -> (batch, coils, height, width) complex.

    Pruessmann, Weiger, Scheidegger and Boesiger 1999 (SENSE),
    doi:10.1002/(SICI)1522-2594(199911)42:5<952::AID-MRM16>3.0.CO;2-S. With maps of ``normalise_maps`` and a full mask
    E^H E = I where the coils see. ``solve_normal`` is by conjugate gradients.

    Args:
        mask: m, (height, width) or (batch, height, width); of whole lines (1, width) or (height, 1) will do.
        maps: S, (coils, height, width) or (batch, coils, height, width), complex; of mask and maps an ``nn.Parameter``
            is learned, any other tensor is fixed.
        centred: whether the mask's zero frequency is in its middle; by default where that of y is.
        image_origin: of x and of the maps' images, ``corner`` or ``centre``, see ``MaskedFourier``.
        frequency_origin: of y, likewise.

    Raises:
        TypeError, ValueError: a mask that is none, maps of another shape, another number of either per image.
    """

    mask: Tensor
    maps: Tensor

    def __init__(
        self,
        mask: Float[Tensor, "... height width"],
        maps: Complex[Tensor, "... coils height width"],
        *,
        centred: bool | None = None,
        image_origin: Origin = "corner",
        frequency_origin: Origin = "corner",
    ) -> None:
        held = check_mask(mask)
        check_origins(image_origin=image_origin, frequency_origin=frequency_origin)
        check_tensor(maps, "maps", "MultiCoilFourier")
        if (
            maps.ndim not in (3, 4)
            or 0 in maps.shape
            or any(side not in (1, size) for side, size in zip(held.shape[-2:], maps.shape[-2:], strict=True))
        ):
            raise ValueError(
                "coil maps are (coils, height, width) or (batch, coils, height, width), of the mask's size "
                f"{tuple(held.shape[-2:])}; got {tuple(maps.shape)}"
            )
        counts = {held.shape[0] if held.ndim == 3 else 1, maps.shape[0] if maps.ndim == 4 else 1} - {1}
        if len(counts) > 1:
            raise ValueError(
                f"masks and maps of each image are as many; got shapes {tuple(held.shape)} and {tuple(maps.shape)}"
            )
        super().__init__(tuple(maps.shape[-2:]), tuple(maps.shape[-3:]))
        self.batch_size = counts.pop() if counts else None
        self.image_origin: Origin = image_origin
        self.frequency_origin: Origin = frequency_origin
        drawn = to_corner(held, _drawn(centred, frequency_origin))
        keep(self, "mask", drawn if drawn.ndim == 2 else drawn.unsqueeze(1), mask)
        keep(self, "maps", maps)

    def forward(self, x: Complex[Tensor, "batch height width"]) -> Complex[Tensor, "batch coils height width"]:
        """The measured frequencies of every coil."""
        images = to_corner(self.maps * x.unsqueeze(1), self.image_origin)
        return from_corner(self.mask * fft(images), self.frequency_origin)

    def adjoint(self, y: Complex[Tensor, "batch coils height width"]) -> Complex[Tensor, "batch height width"]:
        """sum_c conj(S_c) . F^H (m . y_c)."""
        images = ifft(self.mask * to_corner(y, self.frequency_origin))
        return (self.maps.conj() * from_corner(images, self.image_origin)).sum(1)

    def solve_normal(
        self, b: Complex[Tensor, "batch height width"], rho: Tensor | float
    ) -> Complex[Tensor, "batch height width"]:
        """(E^H E + rho I)^-1 b, to about rounding; for a given number of iterations take
        ``normal_equations.solve_regularised``.
        """
        return solve_regularised(self, b, rho, tolerance=20 * torch.finfo(b.dtype).eps, max_iterations=300)
