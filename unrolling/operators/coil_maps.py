"""What a multi-coil recording says about its coils: sensitivity maps from the auto-calibration lines, the noise's
covariance, and the combination that needs neither.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from unrolling.core import scale
from unrolling.core.arguments import check_count, check_range, check_tensor

KERNEL = 6  # of the calibration's neighbourhoods, along a side
LARGEST = 32  # frequencies along a side of the calibration region that are used
POWER_STEPS = 15
ENTRIES = 1 << 22  # of matrices (coils, coils) that are held at a time
LEAST_CALIBRATION = 3  # frequencies along a side


def calibration_region(mask: Float[Tensor, "height width"]) -> tuple[int, int]:
    """Rows and columns of the largest rectangle around the zero frequency that is measured without gaps.

    Args:
        mask: (height, width), zero frequency at (0, 0), other than 0 where measured; of whole lines (1, width) or
            (height, 1) will do, whose rectangle then has a side of 1 for what the mask leaves open.
    """
    height, width = mask.shape
    seen = torch.fft.fftshift(mask != 0)
    best = (0, 0)
    middle, centre = height // 2, width // 2
    columns = width
    for rows in range(1, height + 1):
        # rows - rows // 2 of the rectangle's rows are below the zero frequency or on it
        first = middle - rows // 2
        row = seen[first] if rows % 2 == 0 else seen[first + rows - 1]
        while columns and not bool(row[centre - columns // 2 : centre - columns // 2 + columns].all()):
            columns -= 1
        if rows * columns > best[0] * best[1]:
            best = (rows, columns)
        if columns == 0:
            break
    return best


def estimate_maps(
    samples: Complex[Tensor, "batch coils height width"],
    mask: Float[Tensor, "batch height width"],
    *,
    kernel: int = KERNEL,
    rank: float = 0.02,
    support: float = 0.8,
) -> Complex[Tensor, "batch coils height width"]:
    """Coil maps from the calibration region of each sample, by ESPIRiT: sum_c |S_c|^2 = 1 where there is signal, 0
    elsewhere.

    The neighbourhoods of ``kernel`` x ``kernel`` frequencies in the calibration region, all coils of one in a row, span
    a space of few dimensions. Projecting onto it acts on images as a matrix (coils, coils) at each pixel, whose
    eigenvector of eigenvalue 1 is the vector of sensitivities there; where nothing gives signal all eigenvalues are
    smaller. Uecker, Lai, Murphy, Virtue, Elad, Pauly, Vasanawala and Lustig 2014, doi:10.1002/mrm.24751. The phase that
    the eigenvector leaves open is that of the coils' principal combination in the calibration region.

    Args:
        samples: zero where nothing was measured, zero frequency at (0, 0). Maps have the origin of the images that
            ``ifft`` makes of them.
        mask: (batch or 1, height, width), or of whole lines (batch or 1, 1, width) or (batch or 1, height, 1); other
            than 0 where measured.
        kernel: frequencies along a side of a neighbourhood; smaller where the region is.
        rank: singular values below this part of the largest count as noise.
        support: eigenvalue, between 0 and 1, from which on a pixel has signal.

    Raises:
        TypeError: samples that are not complex.
        ValueError: shapes that do not belong together, or a sample whose calibration region has fewer than three rows
            or columns, or nothing in it.
    """
    check_tensor(samples, "samples", "estimate_maps")
    check_tensor(mask, "mask", "estimate_maps")
    check_count(kernel, "kernel", 2)
    check_range(rank, "rank", 0.0)
    check_range(support, "support", 0.0)
    if not samples.is_complex():
        raise TypeError(f"k-space samples are complex; got {samples.dtype}")
    sizes = (samples.shape[0], *samples.shape[-2:])
    if (
        samples.ndim != 4
        or mask.ndim != 3
        or any(side not in (1, size) for side, size in zip(mask.shape, sizes, strict=True))
    ):
        raise ValueError(
            "samples are (batch, coils, height, width) and the mask (batch or 1, height, width), or of whole lines; "
            f"got {tuple(samples.shape)} and {tuple(mask.shape)}"
        )
    masks = mask.expand(*sizes)
    regions = [calibration_region(each) for each in (masks[:1] if mask.shape[0] == 1 else masks)]
    found = [
        _espirit(each, regions[number % len(regions)], kernel, rank, support, number)
        for number, each in enumerate(samples)
    ]
    return torch.stack(found) if found else torch.zeros_like(samples)


def _espirit(samples: Tensor, region: tuple[int, int], kernel: int, rank: float, support: float, number: int) -> Tensor:
    coils, height, width = samples.shape
    rows, columns = (min(side, LARGEST) for side in region)
    if min(rows, columns) < LEAST_CALIBRATION:
        raise ValueError(
            f"of sample {number} only {region[0]} x {region[1]} frequencies around the zero frequency are measured "
            f"without gaps; maps are estimated from at least {LEAST_CALIBRATION} x {LEAST_CALIBRATION} (auto-"
            "calibration lines)"
        )
    shifted = torch.fft.fftshift(samples, (-2, -1))
    top, left = height // 2 - rows // 2, width // 2 - columns // 2
    middle = shifted[:, top : top + rows, left : left + columns]
    size = scale.norm(middle, (0, 1, 2))
    if not bool(size > 0):
        raise ValueError(f"the calibration region of sample {number} is zero: nothing to estimate maps from")
    middle = middle / size
    high, wide = (min(kernel, (side + 1) // 2) for side in (rows, columns))
    # (coils, positions, kernel area), then a row for each position
    patches = middle.unfold(1, high, 1).unfold(2, wide, 1).reshape(coils, -1, high * wide)
    matrix = patches.transpose(0, 1).reshape(-1, coils * high * wide)
    values, vectors = torch.linalg.eigh(matrix.mH @ matrix)
    kept = vectors[:, values > (rank**2) * values[-1]].mT.reshape(-1, coils, high, wide)
    # The projection on the kept rows is a convolution with each of them and one with its mirror image; averaged over
    # the neighbourhoods that a frequency lies in, at a pixel it is M[c, d] = sum_r K_rc conj(K_rd) / (kernel area), K
    # the images of the kernels: the image of their correlations, which are short.
    spectra = torch.fft.fft2(kept, s=(2 * high - 1, 2 * wide - 1))
    correlations = torch.fft.ifft2(torch.einsum("rchw,rdhw->cdhw", spectra, spectra.conj())).conj() / (high * wide)
    correlations = torch.fft.fftshift(correlations, (-2, -1))
    half = torch.einsum("cdyx,wx->cdyw", correlations, _waves(width, wide, samples))
    principal = torch.linalg.eigh(torch.einsum("chw,dhw->cd", middle, middle.conj()))[1][:, -1]
    found = [
        _dominant(torch.einsum("cdyw,hy->cdhw", half, waves), principal)
        for waves in _waves(height, high, samples).split(max(1, ENTRIES // (coils * coils * width)))
    ]
    maps, value = torch.cat([each for each, _ in found], 1), torch.cat([each for _, each in found], 0)
    phase = (principal.conj().view(-1, 1, 1) * maps).sum(0)
    maps = maps * torch.sgn(phase).conj()
    return torch.where(value > support, maps, 0)


def _waves(size: int, side: int, like: Tensor) -> Tensor:
    """(size, 2 side - 1): exp(2 pi i o p / size) of pixels p and offsets o of frequencies, from 1 - side on."""
    turns = torch.outer(torch.arange(size), torch.arange(1 - side, side)).remainder(size) * (2 * math.pi / size)
    return torch.polar(torch.ones_like(turns, dtype=like.real.dtype), turns.to(like.real.dtype))


def _dominant(grid: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvectors of the largest eigenvalues of matrices (coils, coils, height, width), and these, by power iteration
    from one vector for all.
    """
    coils, _, height, width = grid.shape
    vector, value = first.view(-1, 1, 1).expand(coils, height, width), grid[0, 0].real
    for _ in range(POWER_STEPS):
        vector = torch.einsum("cdhw,dhw->chw", grid, vector)
        value = scale.norm(vector, (0,))
        vector = vector / value.clamp_min(torch.finfo(value.dtype).tiny)
    return vector, value


def noise_covariance(noise: Complex[Tensor, "coils count"]) -> Complex[Tensor, "coils coils"]:
    """E[n n^H] of the coils from samples of noise alone, as scanners record it before an image.

    Args:
        noise: at least as many samples as coils.

    Raises:
        ValueError: fewer samples, or another shape.
    """
    check_tensor(noise, "noise", "noise_covariance")
    if noise.ndim != 2 or noise.shape[1] < noise.shape[0]:
        raise ValueError(f"noise is (coils, count), at least as many samples as coils; got {tuple(noise.shape)}")
    return noise @ noise.mH / noise.shape[1]


def prewhiten(
    values: Complex[Tensor, "... coils height width"], covariance: Complex[Tensor, "coils coils"]
) -> Complex[Tensor, "... coils height width"]:
    """L^-1 y at each frequency or pixel, covariance = L L^H: the noise of whitened coils is independent, of variance 1.

    Pruessmann, Weiger, Börnert and Boesiger 2001, doi:10.1002/mrm.1241, equations (25) to (27). Maps of the whitened
    coils are those of the coils, whitened by the same covariance.

    Args:
        values: samples or maps.
        covariance: of the noise, ``noise_covariance``.

    Raises:
        ValueError: another number of coils, or a covariance that is not Hermitian and positive definite.
    """
    check_tensor(values, "values", "prewhiten")
    check_tensor(covariance, "covariance", "prewhiten")
    if values.ndim < 3 or covariance.shape != (values.shape[-3], values.shape[-3]):
        raise ValueError(
            "values are (..., coils, height, width) and the covariance (coils, coils); got "
            f"{tuple(values.shape)} and {tuple(covariance.shape)}"
        )
    covariance = covariance.to(values.dtype)
    factor, failed = torch.linalg.cholesky_ex(covariance)
    difference = (covariance - covariance.mH).abs().max()
    if bool(failed) or not bool(difference <= 1e-4 * covariance.abs().max()):
        raise ValueError("the covariance of noise is Hermitian and positive definite; this one is not")
    flat = values.flatten(-2)
    return torch.linalg.solve_triangular(factor, flat, upper=False).reshape(values.shape)


def root_sum_of_squares(
    images: Complex[Tensor, "... coils height width"],
) -> Float[Tensor, "... height width"]:
    """sqrt(sum_c |x_c|^2): coil images combined without maps (Roemer, Edelstein, Hayes, Souza and Mueller 1990,
    doi:10.1002/mrm.1910160203).
    """
    return scale.norm(images, (-3,))
