"""The block soft threshold: what it minimises, its limits and its symmetries; the group and the non-negative lasso that
it solves.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from iterations import gaussian, unit_dictionary
from scipy.optimize import minimize

from unrolling import nonnegative, soft_threshold, solve, testing, unroll
from unrolling.algorithms import ISTA, CoupledISTA, GramISTA
from unrolling.prox import BlockSoftThreshold

A = unit_dictionary(8, 18)
Y = gaussian(5, 8, seed=3)


@given(st.integers(1, 5), st.booleans(), st.floats(0.05, 3.0), st.integers(0, 30))
def test_it_minimises_the_penalised_distance(size, positive, threshold, seed):
    """Against a general-purpose minimiser from several starts, one group at a time."""
    prox = BlockSoftThreshold(size, positive)
    z = 2 * gaussian(1, size, seed=seed)
    found = prox(z, threshold)
    bounds = [(0.0, None)] * size if positive else [(None, None)] * size

    def objective(x):
        x = torch.from_numpy(x)
        return float(0.5 * (x - z[0]).square().sum() + threshold * torch.linalg.vector_norm(x))

    if positive:
        assert bool((found >= 0).all())
    best = min(
        minimize(objective, start.clamp_min(0.0 if positive else -9).numpy(), bounds=bounds).fun
        for start in (z[0], 0.3 * z[0], 0 * z[0] + 0.01)
    )
    assert objective(found[0].numpy()) <= best + 1e-9


def test_groups_of_one_are_soft_thresholds():
    z = 2 * gaussian(4, 12, seed=1)
    torch.testing.assert_close(BlockSoftThreshold(1)(z, 0.7), soft_threshold(z, 0.7), rtol=1e-14, atol=1e-15)
    torch.testing.assert_close(
        BlockSoftThreshold(1, nonnegative=True)(z, 0.7), nonnegative(z, 0.7), rtol=1e-14, atol=1e-15
    )
    levels = torch.linspace(0.1, 1.5, 12, dtype=torch.float64)
    torch.testing.assert_close(BlockSoftThreshold(1)(z, levels), soft_threshold(z, levels), rtol=1e-14, atol=1e-15)


def test_it_commutes_with_rotations_of_a_group_and_with_the_scale():
    prox, z = BlockSoftThreshold(4), 2 * gaussian(6, 12, seed=2)
    q = torch.linalg.qr(gaussian(4, 4, seed=5))[0]
    rotated = (z.reshape(6, 3, 4) @ q).reshape(6, 12)
    torch.testing.assert_close(
        prox(rotated, 0.9), (prox(z, 0.9).reshape(6, 3, 4) @ q).reshape(6, 12), rtol=1e-12, atol=1e-13
    )
    torch.testing.assert_close(prox(7 * z, 6.3), 7 * prox(z, 0.9), rtol=1e-12, atol=1e-13)


def test_the_norm_of_a_group_falls_by_the_threshold_or_to_zero_and_its_direction_stays():
    z = 2 * gaussian(50, 3, seed=4)
    x = BlockSoftThreshold(3)(z, 1.0)
    before, after = (torch.linalg.vector_norm(v, dim=1) for v in (z, x))
    torch.testing.assert_close(after, (before - 1).clamp_min(0))
    assert 0 < int((after == 0).sum()) < 50
    torch.testing.assert_close(x * before.unsqueeze(1), z * after.unsqueeze(1))


@pytest.mark.parametrize("positive", [False, True])
def test_it_is_firmly_non_expansive(positive):
    prox = BlockSoftThreshold(3, positive)
    x, y = (3 * gaussian(2000, 3, seed=seed) for seed in (6, 7))
    moved = prox(x, 0.8) - prox(y, 0.8)
    assert bool((moved.square().sum(1) <= (moved * (x - y)).sum(1) + 1e-12).all())


def test_complex_groups_are_their_real_and_imaginary_parts_together():
    real, imaginary = (2 * gaussian(4, 6, seed=seed) for seed in (8, 9))
    z = torch.complex(real, imaginary)
    together = torch.stack([real, imaginary], dim=-1).reshape(4, 12)
    torch.testing.assert_close(
        torch.view_as_real(BlockSoftThreshold(3)(z, 1.1)).reshape(4, 12), BlockSoftThreshold(6)(together, 1.1)
    )


@pytest.mark.parametrize(
    "threshold",
    [torch.tensor(0.6), torch.full((1,), 0.6), torch.linspace(0.3, 0.9, 6), 0.6 + 0.1 * gaussian(4, 6, seed=3).abs()],
)
def test_its_gradient_agrees_with_finite_differences_in_all_forms_of_the_threshold(threshold):
    z = (2 * gaussian(4, 6, seed=10)).requires_grad_()
    torch.autograd.gradcheck(BlockSoftThreshold(3), (z, threshold.double().requires_grad_()))


def test_a_group_of_zeros_has_a_gradient_of_zero_and_no_nan():
    z = torch.zeros(2, 4, requires_grad=True)
    level = torch.tensor(0.5, requires_grad=True)
    BlockSoftThreshold(2)(z, level).sum().backward()
    assert torch.equal(z.grad, torch.zeros(2, 4))
    assert float(level.grad) == 0
    BlockSoftThreshold(2)(z, 0.0).sum().backward()
    assert bool(torch.isfinite(z.grad).all())


@pytest.mark.parametrize("size", [1, 3, 6])
def test_ista_with_it_solves_the_group_lasso(size):
    """Stationarity, group by group: a_g^T r = lambda x_g / |x_g| where the group is there, |a_g^T r| <= lambda where it
    is not.
    """
    weight = 0.6
    iteration = ISTA(A, weight, prox=BlockSoftThreshold(size))
    x = solve(iteration, Y, tolerance=1e-13, max_iterations=100_000).estimate
    correlation = ((Y - x @ A.T) @ A).reshape(5, -1, size)
    groups = x.reshape(5, -1, size)
    norm = torch.linalg.vector_norm(groups, dim=2, keepdim=True)
    there = norm.squeeze(2) > 0
    assert 0 < int(there.sum()) < there.numel()
    torch.testing.assert_close(correlation[there], (weight * groups / norm)[there], rtol=1e-6, atol=1e-8)
    assert float(torch.linalg.vector_norm(correlation[~there], dim=1).max()) <= weight + 1e-8
    expected = 0.5 * (Y - x @ A.T).square().sum(1) + weight * norm.sum((1, 2))
    for form in (
        iteration,
        GramISTA(A, weight, prox=BlockSoftThreshold(size)),
        CoupledISTA(A, weight, prox=BlockSoftThreshold(size)),
    ):
        problem = form.prepare(Y)
        state = x if form.start(problem).__class__ is torch.Tensor else form.start(problem)._replace(x=x)
        shift = 0.5 * Y.square().sum(1) if isinstance(form, GramISTA) else 0  # which that form does not know
        torch.testing.assert_close(form.objective(state, problem) + shift, expected)


def test_the_non_negative_group_lasso_has_a_non_negative_solution_that_no_feasible_direction_improves():
    weight, prox = 0.5, BlockSoftThreshold(3, nonnegative=True)
    x = solve(ISTA(A, weight, prox=prox), Y, tolerance=1e-13, max_iterations=100_000).estimate
    assert bool((x >= 0).all())

    def objective(x):
        return 0.5 * (Y - x @ A.T).square().sum(1) + prox.penalty(x, weight)

    best = objective(x)
    for seed in range(40):
        other = (x + 1e-3 * gaussian(*x.shape, seed=seed)).clamp_min(0)
        assert bool((objective(other) >= best - 1e-12).all())


@pytest.mark.parametrize("prox", [BlockSoftThreshold(3), BlockSoftThreshold(2, nonnegative=True)])
def test_iterations_with_it_conform(prox):
    testing.check_iteration(CoupledISTA(A, 0.4, prox=prox), Y, skip=("compile", "export"))
    net = unroll(GramISTA(A, 0.4, prox=prox), 3, untied="threshold")
    assert [row.value.shape for row in net.parameter_table()] == [(18,)] * 3


def test_it_is_traced_and_exported_with_a_batch_of_any_size():
    iteration = CoupledISTA(A, 0.4, prox=BlockSoftThreshold(3))
    testing.check_compile(iteration, Y, backend="aot_eager")
    testing.check_export(iteration, Y)


def test_bad_groups_are_refused():
    with pytest.raises(ValueError, match="size is 0; a group has at least one entry"):
        BlockSoftThreshold(0)
    with pytest.raises(ValueError, match="groups of 4 do not divide the 10 entries"):
        BlockSoftThreshold(4)(torch.zeros(2, 10), 0.1)
    with pytest.raises(TypeError, match="complex"):
        BlockSoftThreshold(2, nonnegative=True)(torch.zeros(2, 4, dtype=torch.complex64), 0.1)
