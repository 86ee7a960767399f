"""Hard thresholding with free matrices: its parents, its limits, the gradient that a threshold is given, and coherent
dictionaries.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from iterations import gaussian, unit_dictionary
from tiny import bits, recovery, same

from unrolling import hard_threshold, solve, testing, unroll
from unrolling.algorithms import IHT
from unrolling.algorithms.sparse.learned_iht import GramHardISTA, GramIHT
from unrolling.prox.hard import surrogate_hard_threshold
from unrolling.tasks.sparse.dictionaries import coherent_dictionary
from unrolling.tasks.sparse.recovery import Recovery
from unrolling.training.fit import fit
from unrolling.training.stages import Constant, Ramp, Stage

A = unit_dictionary(12, 30)
Y = gaussian(7, 12, seed=3)


def steps(iteration, y, count):
    return list(unroll(iteration, count).trajectory(y))


# H_k


def test_with_scaled_matrices_it_is_iterative_hard_thresholding():
    for x, wanted in zip(steps(GramIHT(A, 4), Y, 30), steps(IHT(A, 4), Y, 30), strict=True):
        torch.testing.assert_close(x, wanted, rtol=1e-9, atol=1e-12)
        assert int((x != 0).sum(1).max()) == 4


def test_keeping_all_entries_makes_the_network_affine():
    net = unroll(GramIHT(A, 30), 5, untied=("encoder", "inhibition"))
    with torch.no_grad():
        for number, parameter in enumerate(net.parameters()):
            parameter += 0.1 * gaussian(*parameter.shape, seed=number)
    torch.testing.assert_close(net(2 * Y[:3] - 3 * Y[3:6]), 2 * net(Y[:3]) - 3 * net(Y[3:6]), rtol=1e-9, atol=1e-10)


def test_the_unscaled_start_diverges_where_the_scaled_one_does_not():
    """rho(I - A^T A) = |A|^2 - 1 > 1 for such a dictionary."""
    assert float(torch.linalg.matrix_norm(A, 2)) ** 2 > 2
    assert float(steps(GramIHT(A, 30, step_size=1.0), Y, 60)[-1].abs().max()) > 1e6
    assert float(steps(GramIHT(A, 30), Y, 60)[-1].abs().max()) < 10


def test_a_fixed_point_satisfies_the_necessary_condition_of_survey_33():
    """With W_t = I - W_e A every k-sparse x is a fixed point for y = A x, whatever W_e; with another W_t it is not."""
    iteration = GramIHT(A, 3)
    with torch.no_grad():
        iteration.encoder.matrix.copy_(0.3 * gaussian(30, 12, seed=9))
        iteration.inhibition.copy_(torch.eye(30) - iteration.encoder.matrix @ A)
    x = torch.zeros(5, 30, dtype=torch.float64)
    x.scatter_(
        1, torch.randint(30, (5, 3), generator=torch.Generator().manual_seed(1)), 2 + gaussian(5, 3, seed=4).abs()
    )
    torch.testing.assert_close(iteration(x, iteration.prepare(x @ A.T)), x, rtol=1e-10, atol=1e-11)
    with torch.no_grad():
        iteration.inhibition += 0.1 * gaussian(30, 30, seed=5)
    assert float((iteration(x, iteration.prepare(x @ A.T)) - x).abs().max()) > 0.05


# H_theta


def test_its_fixed_points_are_local_minimisers_of_the_penalised_squares():
    """Where x is not zero A^T r = 0 and |x| >= theta; elsewhere mu |a_i^T r| <= theta: Blumensath and Davies 2008,
    theorem 3.
    """
    iteration = GramHardISTA(A, 0.25)
    solution = solve(iteration, Y, tolerance=1e-12, max_iterations=100_000)
    assert bool(solution.converged.all())
    x, correlation = solution.estimate, (Y - solution.estimate @ A.T) @ A
    there = x != 0
    assert 0 < int(there.sum()) < x.numel()
    assert float(correlation[there].abs().max()) < 1e-8
    assert float(x[there].abs().min()) >= 0.25
    assert float(iteration.step_size * correlation[~there].abs().max()) <= 0.25 + 1e-12


def test_its_objective_falls_and_is_that_of_the_penalty_with_lambda_theta_squared_over_two_mu():
    iteration = GramHardISTA(A, 0.25)
    problem = iteration.prepare(Y)
    values = torch.stack([iteration.objective(x, problem) for x in steps(iteration, Y, 40)])
    assert bool((values.diff(dim=0) <= 1e-12).all())
    x = steps(iteration, Y, 40)[-1]
    weight = 0.25**2 / (2 * iteration.step_size)
    wanted = 0.5 * (Y - x @ A.T).square().sum(1) + weight * (x != 0).sum(1) - 0.5 * Y.square().sum(1)
    torch.testing.assert_close(values[-1], wanted)


@pytest.mark.parametrize("iteration", [GramIHT(A, 4), GramHardISTA(A, 0.25)], ids=["H_k", "H_theta"])
def test_they_conform(iteration):
    """The gradient of H_theta is a surrogate's, which finite differences do not see."""
    testing.check_iteration(
        iteration,
        Y,
        skip=("compile", "export")
        if isinstance(iteration, GramIHT)
        else ("gradients", "second_derivative", "compile", "export"),
    )
    testing.check_compile(iteration, Y, backend="aot_eager")
    testing.check_export(iteration, Y)


# The surrogate


@given(st.floats(0.1, 2.0), st.floats(0.05, 2.0), st.integers(0, 40))
def test_the_surrogate_is_the_hard_threshold_to_the_bit_and_its_gradient_the_ramps(threshold, width, seed):
    z = (2 * gaussian(40, seed=seed)).requires_grad_()
    level = torch.tensor(threshold, dtype=torch.float64, requires_grad=True)
    out = surrogate_hard_threshold(z, level, width)
    assert torch.equal(out, hard_threshold(z, threshold))
    upstream = gaussian(40, seed=seed + 1)
    found = torch.autograd.grad(out, (z, level), upstream)
    ramp = (z * (((z.abs() - level) / (width * level)) + 0.5).clamp(0, 1) * upstream).sum()
    for one, other in zip(found, torch.autograd.grad(ramp, (z, level)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_far_from_the_threshold_the_gradient_is_that_of_the_hard_threshold():
    z = torch.tensor([-3.0, -1.3, -0.6, 0.0, 0.7, 1.3, 3.0], requires_grad=True)
    level = torch.tensor(1.0, requires_grad=True)
    (by_z, by_level) = torch.autograd.grad(surrogate_hard_threshold(z, level, 0.5).sum(), (z, level))
    assert torch.equal(by_z, (z.detach().abs() > 1).float())
    assert float(by_level) == 0


def test_a_threshold_learns_where_the_hard_threshold_alone_gives_it_no_gradient():
    """Denoising of a sparse signal: from a threshold that is too small, and from one that is too large, to near the
    best one.
    """
    x = 2 * gaussian(4000, seed=1) * (torch.rand(4000, generator=torch.Generator().manual_seed(2)) < 0.1)
    z = x + 0.3 * gaussian(4000, seed=3)
    risks = {t / 50: float((hard_threshold(z, t / 50) - x).square().mean()) for t in range(5, 120)}
    for start in (0.4, 1.7):
        level = torch.tensor(start, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.Adam([level], lr=0.02)
        for step in range(150):
            optimizer.zero_grad()
            (surrogate_hard_threshold(z, level, 1.0 - 0.8 * step / 150) - x).square().mean().backward()
            optimizer.step()
        assert float((hard_threshold(z, level.detach()) - x).square().mean()) < 1.05 * min(risks.values())


def test_bad_arguments_are_refused():
    with pytest.raises(
        ValueError,
        match=r"width must lie in \(0, 2\], so that the ramp begins at zero or above; got "
        r"2\.5",
    ):
        surrogate_hard_threshold(Y, 0.1, 2.5)
    with pytest.raises(ValueError, match=r"surrogate_width must lie in \(0, 2\]; got 0"):
        GramHardISTA(A, 0.1, surrogate_width=0)
    with pytest.raises(ValueError, match="sparsity must be between 1 and the number of atoms, 30; got 31"):
        GramIHT(A, 31)
    with pytest.raises(TypeError, match="real"):
        GramHardISTA(A.to(torch.complex128), 0.1)


# Numbers of the layers that a stage moves


def test_a_stage_narrows_the_surrogate_and_gives_it_its_own_width_back():
    task = recovery()
    net = unroll(GramHardISTA(task.dictionary, 0.1), 2, untied="threshold")
    seen = []
    net.layers[0].register_forward_pre_hook(
        lambda layer, inputs: seen.append((layer.surrogate_width, net.layers[1].surrogate_width))
    )
    stages = [
        Stage(5, batch=4, settings={"surrogate_width": Ramp(2.0, 1.0)}, annealing=Constant()),
        Stage(2, batch=4, settings={"surrogate_width": 0.5}),
    ]
    fit(net, task, stages, validations=0, quiet=True)
    widths = list(dict.fromkeys(width for width, _ in seen))
    assert widths == pytest.approx([2.0, 1.75, 1.5, 1.25, 1.0, 0.5])
    assert all(one == other for one, other in seen)
    assert {layer.surrogate_width for layer in (*net.layers, net.parent)} == {1.0}
    assert stages[0].describe()["settings"] == {"surrogate_width": {"first": 2.0, "last": 1.0, "part": 1.0}}


def test_the_width_makes_a_difference_to_what_is_learned_and_none_to_what_is_computed():
    task, ends = recovery(), []
    for width in (0.5, 2.0):
        net = unroll(GramHardISTA(task.dictionary, 0.1), 2, untied="threshold")
        before = net(task.test[0].data)
        for layer in net.layers:
            layer.surrogate_width = width
        assert torch.equal(net(task.test[0].data), before)
        fit(net, task, [Stage(3, batch=8, settings={"surrogate_width": width})], quiet=True)
        ends.append(bits(net))
    assert not same(*ends)


def test_a_setting_that_is_none_is_refused():
    task = recovery()
    net = unroll(GramHardISTA(task.dictionary, 0.1), 2, untied="threshold")
    for name in ("surrogate", "threshold", "forward"):
        with pytest.raises(ValueError, match=f"stage 0 sets '{name}', which is no number of GramHardISTA"):
            fit(net, task, [Stage(1, batch=4, settings={name: 1.0})], quiet=True)


# Coherent dictionaries


@pytest.mark.parametrize(("block", "coherence"), [(5, 0.9), (2, 0.5), (10, 0.99)])
def test_columns_of_a_block_are_as_coherent_as_was_asked_for_and_others_are_not(block, coherence):
    dictionary = coherent_dictionary(60, 100, block, coherence, seed=3).double()
    gram = dictionary.T @ dictionary
    same_block = torch.block_diag(*[torch.ones(block, block)] * (100 // block)).bool()
    wanted = torch.full((100, 100), coherence, dtype=torch.float64).fill_diagonal_(1)
    torch.testing.assert_close(gram[same_block], wanted[same_block], rtol=0, atol=1e-6)
    assert float(gram[~same_block].abs().max()) < 0.6
    assert float(gram[~same_block].square().mean()) == pytest.approx(1 / 60, rel=0.2)
    assert not torch.equal(dictionary.float(), coherent_dictionary(60, 100, block, coherence, seed=4))


def test_a_coherent_task_is_drawn_and_said():
    task = Recovery(m=20, n=30, coherence=0.9, block=3, held_out=5)
    assert torch.equal(task.dictionary, coherent_dictionary(20, 30, 3, 0.9, 0))
    assert "columns coherent by 0.9" in task.summary
    assert task.identity()["coherence"] == 0.9
