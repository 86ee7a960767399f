"""Robust principal component analysis through two operators."""

import pytest
import torch

from unrolling import solve
from unrolling.algorithms import FISTA, AlternatingProjections, RobustPCA, RobustPCAADMM
from unrolling.operators import VolumeConvolution
from unrolling.testing import check_iteration


def random(*shape, dtype=torch.complex128, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex64])
def test_the_iteration_is_one(dtype):
    check_iteration(
        RobustPCA(1.0, 0.5).to(dtype.to_real()), random(3, 2, 2, 3, dtype=dtype), depth=2, skip=("compile", "export")
    )


def test_it_finds_where_no_derivative_of_the_objective_is_negative():
    # The optimality conditions of (16): H^H (D - H1 L - H2 S) is a subgradient of each penalty.
    movie = random(2, 3, 4, 5)
    first, second = VolumeConvolution(0.3 * random(3, 2, 1, seed=1)), VolumeConvolution(0.4 * random(2, 1, 1, seed=2))
    step = 1 / (first.norm(shape=(3, 4, 5)) ** 2 + second.norm(shape=(3, 4, 5)) ** 2)
    parent = RobustPCA(0.5, 0.3, first, second, step_size=step)
    found = solve(FISTA(parent), movie, tolerance=1e-8, max_iterations=1000).state.x
    rest = movie - parent.mixed(found)
    by_low, by_sparse = first.adjoint(rest).flatten(1, 2), second.adjoint(rest)
    assert torch.linalg.matrix_norm(by_low, 2).max() <= 0.5 * (1 + 1e-4)
    assert torch.allclose((by_low.conj() * found.low_rank.flatten(1, 2)).real.sum((1, 2)),
                          parent.low_rank_prox.penalty(found.low_rank, 0.5), rtol=1e-4)  # fmt: skip
    norms = torch.linalg.vector_norm(by_sparse, dim=-1)
    assert norms.max() <= 0.3 * (1 + 1e-4)
    used = torch.linalg.vector_norm(found.sparse, dim=-1) > 1e-6
    assert 0 < int(used.sum()) < used.numel()
    assert torch.allclose(norms[used], torch.tensor(0.3).double(), rtol=1e-4)


def test_one_step_is_the_equation_of_the_survey():
    # With the misprint mended: the terms with S, L and D carry 1/mu too.
    movie, low, sparse = random(1, 3, 4, 5), random(1, 3, 4, 5, seed=1), random(1, 3, 4, 5, seed=2)
    parent = RobustPCA(0.8, 0.6, step_size=0.5)
    found = parent(type(parent.start(movie))(low, sparse), movie)
    u, s, v = torch.linalg.svd((0.5 * low - 0.5 * sparse + 0.5 * movie).flatten(1, 2), full_matrices=False)
    wanted = (u * torch.relu(s - 0.4)[..., None, :]) @ v
    assert torch.allclose(found.low_rank, wanted.reshape(movie.shape))
    rows = 0.5 * sparse - 0.5 * low + 0.5 * movie
    shrunk = rows * torch.relu(1 - 0.3 / torch.linalg.vector_norm(rows, dim=-1, keepdim=True))
    assert torch.allclose(found.sparse, shrunk)


def test_the_method_of_multipliers_finds_the_same():
    movie = random(2, 3, 4, 5)
    first = VolumeConvolution(0.6 * random(2, 1, 1, seed=1))
    for operators, step in (((None, None), 0.5), ((first, None), 0.2)):
        parent = RobustPCA(0.5, 0.3, *operators, step_size=step)
        wanted = solve(FISTA(parent), movie, tolerance=1e-5, max_iterations=300)
        method = RobustPCAADMM(0.5, 0.3, *operators, penalty=0.5, inner=(1e-7, 20))
        found = solve(method, movie, tolerance=1e-4, max_iterations=60)
        assert torch.allclose(found.estimate, wanted.estimate, atol=3e-2)
        lowest = parent.objective(wanted.state.x, movie)
        assert torch.allclose(method.objective(found.state, movie), lowest, rtol=1e-3)


def test_projections_in_turn():
    tissue = random(2, 20, 1) @ random(2, 1, 6, seed=1)
    blood = torch.zeros_like(tissue)
    blood[:, 3:6] = 0.3 * random(2, 3, 6, seed=2)
    movie = (tissue + blood).reshape(2, 4, 5, 6)
    found = solve(AlternatingProjections(1, 0.15), movie, tolerance=1e-10, max_iterations=500).state
    # In rows with blood only their sum is known; the others, and where the rows are, are found.
    assert torch.allclose(found.low_rank + found.sparse, movie, atol=1e-6)
    assert torch.equal(found.sparse.reshape(blood.shape) != 0, blood != 0)
    empty = (blood == 0).reshape(movie.shape)
    assert torch.allclose(found.low_rank[empty], tissue.reshape(movie.shape)[empty], atol=1e-6)
    # with operators the error falls, and rank and rows are what was asked for
    method = AlternatingProjections(2, 0.3, VolumeConvolution(0.2 * random(2, 2, 1)), None, low_rank_step=1.0)
    state, values = method.start(movie), []
    for _ in range(8):
        state = method(state, movie)
        values.append(method.objective(state, movie))
    assert bool((torch.stack(values).diff(dim=0) <= 1e-12).all())
    assert torch.linalg.matrix_rank(state.low_rank.flatten(1, 2), rtol=1e-6).tolist() == [2, 2]
    assert (torch.linalg.vector_norm(state.sparse, dim=-1) > 0).sum((1, 2)).tolist() == [6, 6]


@pytest.mark.parametrize("method", [RobustPCAADMM(1.0, 0.5), AlternatingProjections(1, 0.5)])
def test_the_others_are_iterations(method):
    skip = ("compile", "export", "gradients", "second_derivative")
    check_iteration(method.double(), random(3, 2, 2, 3), depth=2, skip=skip)


def test_movies_that_are_none():
    for shape, message in (((1, 4, 5, 1), "one frame|1 frame"), ((4, 5), "batch of movies")):
        with pytest.raises(ValueError, match=message):
            solve(RobustPCA(1.0, 1.0), random(*shape))
    with pytest.raises(ValueError, match="weight"):
        RobustPCA(-1.0, 1.0)
