"""Whole images through random measurements that come with the data: a Gaussian matrix, or random signs and an
orthonormal transform of which some coefficients are kept. Their columns have norm one on average, as AMP wants.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from unrolling.algorithms.splitting.data_terms import DataTerm, Problem
from unrolling.core.arguments import check_count, check_numbers, check_range, kind_of
from unrolling.core.refusals import explain_call
from unrolling.operators.dct import dct2, idct2
from unrolling.operators.fourier import fft, ifft


class MatrixSamples(NamedTuple):
    """Measurements of images, with the matrix that made them."""

    samples: Tensor  # (batch, m)
    matrix: Tensor  # (batch, m, n), or (1, m, n) shared; the pixels of an image row by row


class ModulatedSamples(NamedTuple):
    """Coefficients of images whose pixels were multiplied by random numbers of size one."""

    samples: Tensor  # (batch, m), real for the cosine transform, complex for Fourier's
    modulation: Tensor  # (batch or 1, height, width): -1 and 1, or complex numbers of size 1 for Fourier's
    kept: Tensor  # (batch or 1, m), integers: which of the height x width coefficients, counted row by row


@explain_call
class MatrixMeasurements(DataTerm):
    """y = A x + noise, A a matrix on the pixels of an image; data are ``MatrixSamples``.

    Args:
        shape: (height, width) of the images, of which a matrix says only the product.

    Raises:
        ValueError: sides that are not positive; when run, a matrix for another number of pixels or measurements.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        super().__init__()
        height, width = shape
        check_count(height, "height")
        check_count(width, "width")
        self.shape = (height, width)

    def forward(self, data: MatrixSamples) -> Problem:
        """A^T y."""
        return Problem(self.adjoint(data.samples, data), None, data)

    def image(self, x: Tensor, data: MatrixSamples) -> Tensor:
        return _rows_times(x.flatten(1), data.matrix.mT)

    def adjoint(self, y: Tensor, data: MatrixSamples) -> Tensor:
        return _rows_times(y, data.matrix).unflatten(1, self.shape)

    def check(self, data: MatrixSamples) -> None:
        if not isinstance(data, MatrixSamples):
            raise TypeError(f"data are MatrixSamples(samples, matrix); got {kind_of(data)}")
        for name, value in zip(data._fields, data, strict=True):
            check_numbers(value, name, "MatrixMeasurements", real=True)
        samples, matrix = data
        pixels = self.shape[0] * self.shape[1]
        if samples.ndim != 2 or matrix.ndim != 3 or matrix.shape[1:] != (samples.shape[1], pixels):
            raise ValueError(
                f"samples are (batch, m) and the matrix (batch or 1, m, {pixels}), for images of {self.shape[0]} x "
                f"{self.shape[1]} pixels; got {tuple(samples.shape)} and {tuple(matrix.shape)}"
            )


@explain_call
class ModulatedTransform(DataTerm):
    """y = (n / m)^(1/2) [T (s . x)]_kept + noise: images of n pixels times random signs or phases s, an orthonormal
    transform T, and m of its coefficients; data are ``ModulatedSamples``.

    With Fourier's transform and phases these are coded diffraction patterns (Candes, Li and Soltanolkotabi 2015,
    arXiv:1310.3240), whose complex coefficients are two real measurements each; x is real. |A|^2 = n / m.

    Args:
        fourier: the unitary Fourier transform, in the place of the orthonormal cosine transform.

    Raises:
        TypeError: when run, real coefficients of Fourier's transform or complex ones of the other.
        ValueError: when run, shapes that do not belong together.
    """

    def __init__(self, *, fourier: bool = False) -> None:
        super().__init__()
        self.fourier = bool(fourier)

    def forward(self, data: ModulatedSamples) -> Problem:
        """A^H y, its real part."""
        return Problem(self.adjoint(data.samples, data), None, data)

    def image(self, x: Tensor, data: ModulatedSamples) -> Tensor:
        spread = data.modulation * x
        coefficients = (fft(spread) if self.fourier else dct2(spread)).flatten(1)
        kept = data.kept.expand(coefficients.shape[0], -1)
        return self._scale(data) * coefficients.gather(1, kept)

    def adjoint(self, y: Tensor, data: ModulatedSamples) -> Tensor:
        height, width = data.modulation.shape[-2:]
        zero = y.new_zeros(y.shape[0], height * width)
        coefficients = zero.scatter(1, data.kept.expand(y.shape[0], -1), self._scale(data) * y)
        coefficients = coefficients.unflatten(1, (height, width))
        if self.fourier:
            return (data.modulation.conj() * ifft(coefficients)).real
        return data.modulation * idct2(coefficients)

    def _scale(self, data: ModulatedSamples) -> float:
        return (data.modulation.shape[-2] * data.modulation.shape[-1] / data.kept.shape[1]) ** 0.5

    def check(self, data: ModulatedSamples) -> None:
        if not isinstance(data, ModulatedSamples):
            raise TypeError(f"data are ModulatedSamples(samples, modulation, kept); got {kind_of(data)}")
        samples, modulation, kept = data
        check_numbers(samples, "samples", "ModulatedTransform")
        check_numbers(modulation, "modulation", "ModulatedTransform")
        if samples.is_complex() != self.fourier or modulation.is_complex() > self.fourier:
            kind = "complex, those of Fourier's transform" if self.fourier else "real, those of the cosine transform"
            raise TypeError(f"samples are {kind}; got {samples.dtype}, and a modulation of {modulation.dtype}")
        if kept.dtype != torch.int64:
            raise TypeError(f"kept counts coefficients, in int64; got {kept.dtype}")
        sizes = (1, samples.shape[0])
        if (
            samples.ndim != 2
            or modulation.ndim != 3
            or kept.ndim != 2
            or kept.shape[1] != samples.shape[1]
            or modulation.shape[0] not in sizes
            or kept.shape[0] not in sizes
        ):
            raise ValueError(
                "samples are (batch, m), the modulation (batch or 1, height, width) and kept (batch or 1, m); got "
                f"{tuple(samples.shape)}, {tuple(modulation.shape)} and {tuple(kept.shape)}"
            )


def gaussian_matrix(m: int, n: int, generator: torch.Generator | None = None) -> Tensor:
    """(1, m, n): independent entries of variance 1 / m, so that columns have norm one on average."""
    check_count(m, "m")
    check_count(n, "n")
    return torch.randn(1, m, n, generator=generator) / m**0.5


def measure_modulated(x: Tensor, ratio: float, seed: int = 0, *, fourier: bool = False) -> ModulatedSamples:
    """Images (batch, height, width) of any size through random signs (or phases) and m of their n coefficients, both
    from a seed, without noise.

    Args:
        x: the images.
        ratio: real measurements to a pixel, m / n, or 2 m / n with Fourier's transform.
        seed: of modulation and choice.
        fourier: as for ``ModulatedTransform``.

    Raises:
        ValueError: no measurement, or more coefficients than there are.
    """
    height, width = x.shape[-2:]
    n = height * width
    m = round(ratio * n / (2 if fourier else 1))
    check_range(m, "the number of coefficients", 1, n)
    generator = torch.Generator().manual_seed(seed)
    kept = torch.randperm(n, generator=generator)[:m].unsqueeze(0)
    if fourier:
        turn = 2 * torch.pi * torch.rand(1, height, width, generator=generator, dtype=torch.float64)
        modulation = torch.polar(torch.ones_like(turn), turn).to(torch.promote_types(x.dtype, torch.complex64))
    else:
        modulation = (2 * torch.randint(2, (1, height, width), generator=generator) - 1).to(x.dtype)
    empty = ModulatedSamples(x.new_zeros(x.shape[0], m), modulation.to(x.device), kept.to(x.device))
    return empty._replace(samples=ModulatedTransform(fourier=fourier).image(x, empty))


def _rows_times(rows: Tensor, matrix: Tensor) -> Tensor:
    """Each row (batch, k) times its own matrix (batch, k, l), or all times one (1, k, l)."""
    return rows @ matrix[0] if matrix.shape[0] == 1 else (rows.unsqueeze(1) @ matrix).squeeze(1)
