"""0.5 |A x - y|^2 as a part of iterations: for one operator that all samples share, or for data that bring their own
mask or kernel.

A data term is the ``prepare`` of an iteration: it turns data into a ``Problem``, once, and knows what to do with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unrolling.core.arguments import check_numbers, check_tensor, kind_of
from unrolling.core.refusals import explain_call
from unrolling.operators import transforms
from unrolling.operators.fourier import CoilData, KSpace, fft, ifft
from unrolling.operators.linear import LinearOperator
from unrolling.operators.normal_equations import solve_positive
from unrolling.operators.resize import BicubicReduction
from unrolling.operators.spectral import Identity, convolve, divide, has_spectrum, transfer

# Of a denominator, relative to the largest: at a frequency that neither the data nor a filter sees the result is then
# zero.
LEAST = 1e-6


Features = Callable[[Tensor, Tensor], Tensor]


class Problem(NamedTuple):
    """What does not change from step to step."""

    back: Tensor  # (batch, height, width): A^H y
    # (batch or 1, height, width): the eigenvalues of A^H A, where the Fourier basis diagonalises it
    spectrum: Tensor | None
    data: Any
    # (batch, features): what conditioned splittings know of the data; None where the data term tells nothing
    features: Tensor | None = None


class DataTerm(nn.Module):
    """0.5 |A x - y|^2; a subclass writes ``forward``, ``image`` and ``adjoint``.

    Attributes:
        real: whether x is real, so that half a spectrum will do.
    """

    real = True

    def forward(self, data: Any) -> Problem:
        """The problem of some data."""
        raise TypeError(f"{type(self).__name__} is a DataTerm without `forward`")

    def image(self, x: Tensor, data: Any) -> Tensor:
        """A x."""
        raise TypeError(f"{type(self).__name__} is a DataTerm without `image`")

    def adjoint(self, y: Tensor, data: Any) -> Tensor:
        """A^H y."""
        raise TypeError(f"{type(self).__name__} is a DataTerm without `adjoint`")

    def measured(self, data: Any) -> Tensor:
        """y."""
        return data if isinstance(data, Tensor) else data[0]

    def start(self, problem: Problem) -> Tensor:
        """Where an iteration on x starts: A^H y."""
        return problem.back

    def gradient(self, x: Tensor, problem: Problem) -> Tensor:
        """A^H (A x - y)."""
        if problem.spectrum is not None:
            return self._filter(x, problem.spectrum) - problem.back
        return self.adjoint(self.image(x, problem.data), problem.data) - problem.back

    def project(self, x: Tensor, problem: Problem) -> Tensor:
        """The nearest x that the data allow, where they exclude some; x itself by default."""
        return x

    def solve(self, b: Tensor, rho: Tensor | float, problem: Problem) -> Tensor:
        """(A^H A + rho I)^-1 b, rho a number; where A^H A is diagonal in the Fourier basis also the eigenvalues (1,
        height, width) of a circular operator.
        """
        if problem.spectrum is None:
            raise TypeError(f"{type(self).__name__} has no closed form for (A^H A + rho I)^-1 b")
        denominator = problem.spectrum + rho
        least = LEAST * denominator.amax((-2, -1), keepdim=True)
        return divide(b, torch.maximum(denominator, torch.where(least == 0, 1, least)), real=self.real)

    def value(self, x: Tensor, problem: Problem) -> Tensor:
        """0.5 |A x - y|^2 of each sample, (batch,)."""
        return 0.5 * (self.image(x, problem.data) - self.measured(problem.data)).abs().square().flatten(1).sum(1)

    def check(self, data: Any) -> None:
        """Refuses data that do not fit, from shapes and dtypes alone."""

    def _filter(self, x: Tensor, spectrum: Tensor) -> Tensor:
        if self.real and not x.is_complex():
            height, width = x.shape[-2:]
            return transforms.irfft2(transforms.rfft2(x) * spectrum[..., : width // 2 + 1], s=(height, width))
        return transforms.ifft2(transforms.fft2(x) * spectrum)


@explain_call
class LeastSquares(DataTerm):
    """y = A x + noise, A a linear operator that all samples share; data are y.

    Args:
        operator: A. With a ``Circulant`` the equations that algorithms solve have closed forms in the Fourier basis.
        initial: a linear estimate, from y to x, where iterations start; A^H by default.
    """

    def __init__(self, operator: LinearOperator, *, initial: LinearOperator | None = None) -> None:
        super().__init__()
        self.operator, self.initial = operator, initial
        self.real = bool(getattr(operator, "real", True))

    def forward(self, data: Tensor) -> Problem:
        """A^H y and the spectrum of A^H A."""
        back = self.operator.adjoint(data)
        spectrum = self.operator.gram_spectrum(*back.shape[-2:]).to(back.real) if has_spectrum(self.operator) else None
        return Problem(back, spectrum, data)

    def image(self, x: Tensor, data: Tensor) -> Tensor:
        return self.operator(x)

    def adjoint(self, y: Tensor, data: Tensor) -> Tensor:
        return self.operator.adjoint(y)

    def start(self, problem: Problem) -> Tensor:
        """A^H y, or the initial estimate; for a ``BicubicReduction`` the enlarged image, where super-resolution
        starts.
        """
        if self.initial is not None:
            return self.initial(problem.data)
        return self.operator.enlarge(problem.data) if isinstance(self.operator, BicubicReduction) else problem.back

    def gradient(self, x: Tensor, problem: Problem) -> Tensor:
        return x - problem.back if isinstance(self.operator, Identity) else super().gradient(x, problem)

    def solve(self, b: Tensor, rho: Tensor | float, problem: Problem) -> Tensor:
        if isinstance(self.operator, Identity) and (not isinstance(rho, Tensor) or rho.ndim == 0):
            return self.operator.solve_normal(b, rho)
        return super().solve(b, rho, problem) if problem.spectrum is not None else self.operator.solve_normal(b, rho)

    def check(self, data: Tensor) -> None:
        self.operator.check_output(data, "data")


@explain_call
class SampledFourier(DataTerm):
    """y = m . F x + noise, F the unitary Fourier transform; data are ``KSpace``, so that every image may have its own
    mask.

    Args:
        real: whether x is known to be real, as magnitude images are. The closed forms then are those over real images,
            exactly, whatever the mask: their spectrum is (m(k)^2 + m(-k)^2) / 2.
        features: (samples, mask) -> (batch, features), what ``ConditionedSplitting`` is to know of the data.
    """

    def __init__(self, *, real: bool = False, features: Features | None = None) -> None:
        super().__init__()
        self.real, self.features = real, features

    def forward(self, data: KSpace) -> Problem:
        """The zero-filled image and the squared mask."""
        square = data.mask.square().expand(-1, *data.samples.shape[-2:])
        if self.real:
            square = 0.5 * (square + square.flip((-2, -1)).roll((1, 1), (-2, -1)))
        return Problem(self.adjoint(data.samples, data), square, data, _features(self.features, data))

    def image(self, x: Tensor, data: KSpace) -> Tensor:
        return data.mask * fft(x)

    def adjoint(self, y: Tensor, data: KSpace) -> Tensor:
        x = ifft(data.mask * y)
        return x.real if self.real else x

    def check(self, data: KSpace) -> None:
        check_kspace(data)


def check_kspace(data: Any) -> None:
    """Refuses what is no ``KSpace``, from shapes and dtypes alone.

    Raises:
        TypeError: another type, or samples that are not complex.
        ValueError: shapes that do not belong together.
    """
    if not isinstance(data, KSpace):
        raise TypeError(f"data are KSpace(samples, mask); got {type(data).__name__}")
    samples, mask = data
    check_tensor(samples, "samples", "a sampled Fourier transform")
    check_tensor(mask, "mask", "a sampled Fourier transform")
    if mask.is_complex():
        raise TypeError(f"a mask holds real numbers; got {mask.dtype}")
    if not samples.is_complex():
        raise TypeError(f"k-space samples are complex; got {samples.dtype}")
    if samples.ndim != 3 or not _covers(mask, samples):
        raise ValueError(
            "samples are (batch, height, width) and the mask (batch or 1, height, width), of one size; got "
            f"{tuple(samples.shape)} and {tuple(mask.shape)}"
        )


def _features(found: Features | None, data: Any) -> Tensor | None:
    return None if found is None else found(data.samples, data.mask)


def _covers(mask: Tensor, samples: Tensor) -> bool:
    """Whether a mask (batch or 1, height, width), or of whole lines, is one of samples (batch, ..., height, width)."""
    sizes = (samples.shape[0], *samples.shape[-2:])
    return mask.ndim == 3 and all(side in (1, size) for side, size in zip(mask.shape, sizes, strict=True))


@explain_call
class CoilSampling(DataTerm):
    """y_c = m . F (S_c . x) + noise for the coils c; data are ``CoilData``, so that every image brings its own mask and
    maps. ``MultiCoilFourier`` is the operator where all share them.

    Pruessmann, Weiger, Scheidegger and Boesiger 1999 (SENSE),
    doi:10.1002/(SICI)1522-2594(199911)42:5<952::AID-MRM16>3.0.CO;2-S. With maps of ``normalise_maps`` |E| <= 1. The
    equations that algorithms solve are solved to rounding, by conjugate gradients.

    Args:
        features: (samples, mask) -> (batch, features), as for ``SampledFourier``.
    """

    real = False

    def __init__(self, *, features: Features | None = None) -> None:
        super().__init__()
        self.features = features

    def forward(self, data: CoilData) -> Problem:
        """sum_c conj(S_c) . F^H (m . y_c)."""
        return Problem(self.adjoint(data.samples, data), None, data, _features(self.features, data))

    def image(self, x: Tensor, data: CoilData) -> Tensor:
        return data.mask.unsqueeze(1) * fft(data.maps * x.unsqueeze(1))

    def adjoint(self, y: Tensor, data: CoilData) -> Tensor:
        return (data.maps.conj() * ifft(data.mask.unsqueeze(1) * y)).sum(1)

    def solve(self, b: Tensor, rho: Tensor | float, problem: Problem) -> Tensor:
        def apply(x: Tensor) -> Tensor:
            return self.adjoint(self.image(x, problem.data), problem.data) + rho * x

        return solve_positive(apply, b, tolerance=20 * torch.finfo(b.dtype).eps, max_iterations=300)

    def check(self, data: CoilData) -> None:
        if not isinstance(data, CoilData):
            raise TypeError(f"data are CoilData(samples, mask, maps); got {kind_of(data)}")
        for name, value in zip(CoilData._fields, data, strict=True):
            check_tensor(value, name, "CoilSampling")
        samples, mask, maps = data
        for name, value in (("samples", samples), ("maps", maps)):
            if not value.is_complex():
                raise TypeError(f"{name} are complex; got {value.dtype}")
        if mask.is_complex():
            raise TypeError(f"a mask holds real numbers; got {mask.dtype}")
        if (
            samples.ndim != 4
            or not _covers(mask, samples)
            or maps.shape[1:] != samples.shape[1:]
            or maps.shape[0] not in (1, samples.shape[0])
        ):
            raise ValueError(
                "samples are (batch, coils, height, width), the mask (batch or 1, height, width), the maps (batch or "
                f"1, coils, height, width); got {tuple(samples.shape)}, {tuple(mask.shape)} and {tuple(maps.shape)}"
            )


class Blurred(NamedTuple):
    """A blurred image with the kernel that blurred it."""

    image: Tensor  # (batch, height, width)
    kernel: Tensor  # (batch, kh, kw), or (1, kh, kw) shared; its centre at (kh // 2, kw // 2)


@explain_call
class KnownBlur(DataTerm):
    """y = k * x + noise, periodic; data are ``Blurred``, so that every image may have its own kernel."""

    def forward(self, data: Blurred) -> Problem:
        """Correlation of the image with its kernel, and |F k|^2."""
        return Problem(
            self.adjoint(data.image, data), transfer(data.kernel, *data.image.shape[-2:]).abs().square(), data
        )

    def image(self, x: Tensor, data: Blurred) -> Tensor:
        return convolve(x, data.kernel)

    def adjoint(self, y: Tensor, data: Blurred) -> Tensor:
        return convolve(y, data.kernel, adjoint=True)

    def start(self, problem: Problem) -> Tensor:
        """The blurred image."""
        return problem.data.image

    def check(self, data: Blurred) -> None:
        if not isinstance(data, Blurred):
            raise TypeError(f"data are Blurred(image, kernel); got {kind_of(data)}")
        image, kernel = data
        check_numbers(image, "image", "KnownBlur")
        check_numbers(kernel, "kernel", "KnownBlur")
        if (
            image.ndim != 3
            or kernel.ndim != 3
            or kernel.shape[-2] > image.shape[-2]
            or kernel.shape[-1] > image.shape[-1]
        ):
            raise ValueError(
                "data are images (batch, height, width) with kernels (batch or 1, kh, kw) no larger; got "
                f"{tuple(image.shape)}, {tuple(kernel.shape)}"
            )
