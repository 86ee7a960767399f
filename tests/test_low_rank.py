"""Singular value thresholding, row-wise shrinkage and convolutions of movies."""

import numpy as np
import pytest
import torch
from scipy.signal import convolve

from unrolling.operators import VolumeConvolution
from unrolling.prox import (
    IsotropicShrink,
    SingularValueThreshold,
    nuclear_norm,
    rank_projection,
    singular_value_threshold,
    soft_threshold,
)
from unrolling.testing import check_operator

KINDS = (torch.float64, torch.complex128)


def random(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def with_values(values, dtype, *, wide=False):
    """Two matrices of 4 x 3 with these singular values."""
    left, right = torch.linalg.qr(random(2, 4, 3, dtype=dtype))[0], torch.linalg.qr(random(2, 3, 3, dtype=dtype))[0]
    z = (left * torch.tensor(values, dtype=dtype)) @ right.mH
    return z.mH.clone() if wide else z


def by_svd(z, threshold):
    u, s, v = torch.linalg.svd(z, full_matrices=False)
    return (u * torch.relu(s - threshold).unsqueeze(-2)) @ v


@pytest.mark.parametrize("dtype", [*KINDS, torch.float32, torch.complex64])
def test_thresholding_is_that_of_the_singular_value_decomposition(dtype):
    for shape in ((2, 3, 7, 4), (2, 3, 4, 7)):
        z = random(*shape, dtype=dtype)
        found = singular_value_threshold(z, 1.3)
        assert found.dtype == dtype
        assert torch.allclose(found, by_svd(z, 1.3), atol=1e-12 if dtype in KINDS else 2e-6)
        each = torch.tensor([0.5, 2.0], dtype=z.real.dtype).reshape(2, 1, 1, 1)
        assert torch.allclose(singular_value_threshold(z, each)[1], by_svd(z[1], 2.0), atol=2e-6)
    assert torch.equal(singular_value_threshold(torch.zeros(1, 3, 2), 0.0), torch.zeros(1, 3, 2))


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("values", [(3, 3, 2), (3, 0, 0), (2, 2, 2), (3, 0.5, 0.5), (0, 0, 0)])
def test_its_gradient_is_right_at_repeated_and_zero_singular_values(dtype, values):
    level = torch.tensor([1.0, 0.7], dtype=torch.float64).reshape(2, 1, 1).requires_grad_()
    for wide in (False, True):
        z = with_values([float(v) for v in values], dtype, wide=wide).requires_grad_()
        assert torch.autograd.gradcheck(
            singular_value_threshold, (z, level), check_forward_ad=values == (3, 3, 2) and dtype.is_complex
        )


def test_gradients_of_the_relative_form_and_of_the_projection():
    z, level = random(1, 4, 3, dtype=torch.complex128).requires_grad_(), torch.tensor(0.4, dtype=torch.float64)
    relative = lambda z, t: singular_value_threshold(z, t, relative=True)  # noqa: E731
    assert torch.autograd.gradcheck(relative, (z, level.requires_grad_()))
    assert torch.autograd.gradcheck(lambda z: rank_projection(z, 2), (z,))
    (slope,) = torch.autograd.grad(singular_value_threshold(z, 1.0).abs().square().sum(), z, create_graph=True)
    with pytest.raises(RuntimeError, match="first derivatives only"):
        slope.abs().sum().backward()


@pytest.mark.parametrize("dtype", KINDS)
def test_thresholding_solves_its_problem(dtype):
    # 0 lies in X - Z + t d|X|_*: for X = U S V^H, (Z - X) / t = U V^H + W with U^H W = 0, W V = 0, |W|_2 <= 1.
    z = random(3, 6, 5, dtype=dtype)
    x = singular_value_threshold(z, 1.5)
    u, s, v = torch.linalg.svd(x, full_matrices=False)
    kept = (s > 1e-6).to(dtype).unsqueeze(-2)
    rest = (z - x) / 1.5 - (u * kept) @ v
    assert ((u * kept).mH @ rest).abs().max() < 1e-9
    assert (rest @ v.mH * kept).abs().max() < 1e-9
    assert torch.linalg.matrix_norm(rest, 2).max() <= 1 + 1e-9
    y = random(3, 6, 5, dtype=dtype, seed=1)  # and is firmly non-expansive
    moved = x - singular_value_threshold(y, 1.5)
    assert moved.abs().square().sum() <= (moved.conj() * (z - y)).real.sum() + 1e-10


def test_small_and_large_numbers_and_those_that_are_not_finite():
    z = random(3, 5, 4)
    for unit in (1e-200, 1e150):
        assert torch.allclose(singular_value_threshold(unit * z, unit) / unit, singular_value_threshold(z, 1.0))
    z[1, 2, 3] = torch.nan
    for found in (singular_value_threshold(z, 1.0), nuclear_norm(z)[:, None]):
        assert found.isnan().flatten(1).all(1).tolist() == [False, True, False]
    with pytest.raises(ValueError, match="threshold is -1"):
        singular_value_threshold(z, -1.0)
    with pytest.raises(ValueError, match="one threshold"):
        singular_value_threshold(z, torch.ones(4))
    with pytest.raises(ValueError, match="batch of movies"):
        SingularValueThreshold()(torch.ones(3, 4), 1.0)


def test_the_real_form_of_a_complex_movie_is_another_one():
    movie = random(2, 3, 2, 5, dtype=torch.complex128)
    pairs = SingularValueThreshold(relative=True, real_pairs=True)
    found = pairs(movie, 0.5)
    matrix = torch.cat([movie.real, movie.imag], -1).flatten(1, 2)
    largest = torch.linalg.matrix_norm(matrix, 2)[:, None, None]
    wanted = torch.complex(
        *torch.stack([by_svd(m, 0.5 * s) for m, s in zip(matrix, largest, strict=True)]).chunk(2, -1)
    )
    assert torch.allclose(found, wanted.reshape(movie.shape), atol=1e-12)
    assert (found - SingularValueThreshold(relative=True)(movie, 0.5)).abs().max() > 0.1
    assert torch.allclose(pairs(3e4 * movie, 0.5), 3e4 * found)
    assert torch.allclose(pairs(movie.real, 0.5), SingularValueThreshold(relative=True)(movie.real, 0.5))


def test_projection_keeps_the_largest():
    z = random(2, 6, 4, dtype=torch.complex128)
    u, s, v = torch.linalg.svd(z, full_matrices=False)
    for rank in (0, 2, 4, 9):
        assert torch.allclose(rank_projection(z, rank), (u[..., :rank] * s[..., None, :rank]) @ v[..., :rank, :])


def test_rows_of_movies_and_groups_of_them():
    movie = random(2, 3, 4, 5, dtype=torch.complex128)
    rows = IsotropicShrink(dim=-1)(movie, 1.5)
    norms = torch.linalg.vector_norm(movie, dim=-1, keepdim=True)
    assert torch.allclose(rows, movie * torch.relu(1 - 1.5 / norms))
    assert torch.allclose(IsotropicShrink(dim=-1).penalty(movie, 2.0), 2 * norms.sum((1, 2, 3)))
    one = IsotropicShrink(dim=(1, 2, 3))(movie, 1.5)
    assert torch.allclose(one[1], movie[1] * (1 - 1.5 / torch.linalg.vector_norm(movie[1])))
    positive = IsotropicShrink(dim=-1, nonnegative=True)
    assert torch.equal(positive(movie.real, 0.3), IsotropicShrink(dim=-1)(torch.relu(movie.real), 0.3))
    single = random(30, 1)
    assert torch.allclose(IsotropicShrink(-1, nonnegative=True)(single, 0.3), torch.relu(soft_threshold(single, 0.3)))
    with pytest.raises(TypeError, match="no order"):
        positive(movie, 0.3)


@pytest.mark.parametrize("boundary", ["zero", "circular"])
@pytest.mark.parametrize("dtype", KINDS)
def test_convolution_of_movies(dtype, boundary):
    kernel = random(3, 2, 4, dtype=dtype)
    check_operator(VolumeConvolution(kernel, boundary), shape=(4, 5, 4), dtype=dtype)
    if dtype.is_complex:
        check_operator(VolumeConvolution(kernel.real, boundary), shape=(4, 5, 4), dtype=dtype)
    movie = random(2, 6, 5, 4, dtype=dtype)
    if boundary == "zero":
        full = convolve(movie[1].numpy(), kernel.numpy())[1:7, 1:6, 2:6]
    else:
        full = np.fft.ifftn(np.fft.fftn(movie[1].numpy()) * np.fft.fftn(np.roll(
            np.pad(kernel.numpy(), ((0, 3), (0, 3), (0, 0))), (-1, -1, -2), (0, 1, 2))))  # fmt: skip
    assert np.abs(VolumeConvolution(kernel, boundary)(movie)[1].numpy() - full).max() < 1e-12


def test_one_kernel_for_each_movie():
    kernels, movies = random(3, 2, 3, 2, dtype=torch.complex128), random(3, 4, 4, 3, dtype=torch.complex128, seed=1)
    for kernel in (kernels, kernels.real):
        operator = VolumeConvolution(kernel)
        each = torch.cat([VolumeConvolution(k)(m[None]) for k, m in zip(kernel, movies, strict=True)])
        assert torch.allclose(operator(movies), each)
        back = operator.adjoint(movies)
        assert torch.allclose((each.conj() * movies).sum(), (movies.conj() * back).sum())
    with pytest.raises(ValueError, match="more than the movie"):
        VolumeConvolution(random(5, 1, 1))(movies)
    with pytest.raises(ValueError, match="kernel is"):
        VolumeConvolution(random(5, 1))
    with pytest.raises(ValueError, match="boundary"):
        VolumeConvolution(random(1, 1, 1), "mirror")  # pyright: ignore
