"""Relaxed projected gradients: what holds for every network, for exact projections, and at a solution."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from iterations import gaussian
from torch import nn

from unrolling import Equilibrium, solve, testing, unroll
from unrolling.algorithms import GradientProjection, LeastSquares, RelaxedProjection
from unrolling.algorithms.splitting import SampledFourier
from unrolling.networks import UNet
from unrolling.operators import Identity, KSpace, Matrix

M, N = 6, 8
A = gaussian(M, N)
NORM_SQUARE = float(torch.linalg.matrix_norm(A, 2)) ** 2
Y = gaussian(5, M, seed=1)


class Mixed(nn.Module):
    """tanh(x W), of any gain."""

    def __init__(self, gain, dtype=torch.float64, seed=3):
        super().__init__()
        self.matrix = nn.Parameter(gain * gaussian(N, N, seed=seed, dtype=dtype))

    def forward(self, x):
        return torch.tanh(x @ self.matrix)


class Box(nn.Module):
    """The projection onto [-top, top]^n."""

    def forward(self, x):
        return x.clamp(-0.3, 0.3)


class Sphere(nn.Module):
    """The nearest point of length one: a set that is not convex."""

    def forward(self, x):
        return x / torch.linalg.vector_norm(x, dim=1, keepdim=True)


def step(projector, gamma=1.0, dtype=torch.float64):
    return GradientProjection(LeastSquares(Matrix(A.to(dtype))), projector, step_size=gamma / NORM_SQUARE)


def iterates(iteration, data, count):
    with torch.no_grad():
        problem = iteration.prepare(data)
        states = [iteration.start(problem)]
        for _ in range(count):
            states.append(iteration(states[-1], problem))
    return states


def contracts(states, c):
    """Of iterates as they are stored, differences and lengths in double precision."""
    x = [state.x.double() if not state.x.is_complex() else torch.view_as_real(state.x).double() for state in states]
    lengths = [(b - a).flatten(1).norm(dim=1) for a, b in pairwise(x)]
    return all(bool((b <= c * a * (1 + 1e-15)).all()) for a, b in pairwise(lengths))


def test_conformance():
    testing.check_iteration(step(Box()), Y, skip=("compile", "export", "gradients", "second_derivative"))
    relaxed = RelaxedProjection(step(Mixed(0.2)), contraction=0.9)
    testing.check_iteration(relaxed, Y, skip=("compile", "export"), tolerance=1e-5)


@settings(max_examples=30, deadline=None)
@given(
    c=st.floats(0.05, 1.0),
    gain=st.floats(0.0, 30.0),
    gamma=st.floats(0.01, 20.0),
    scale=st.sampled_from([1e-12, 1.0, 1e9]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 99),
)
def test_each_step_is_at_most_c_times_as_long_as_the_one_before_whatever_the_network(
    c, gain, gamma, scale, dtype, seed
):
    """Per sample, of the iterates as they are stored in single precision too, also where steps have come down to
    rounding; a step size for which the gradient steps alone would diverge.
    """
    iteration = RelaxedProjection(step(Mixed(gain, dtype, seed), gamma, dtype), contraction=c)
    data = (scale * gaussian(4, M, seed=seed)).to(dtype)
    states = iterates(iteration, data, 60)
    assert contracts(states, c)
    assert all(bool(state.x.isfinite().all()) for state in states)


def test_it_holds_for_an_untrained_unet_and_for_projections_onto_sets_that_are_not_convex():
    torch.manual_seed(0)
    network = UNet(4, 2)
    nn.init.normal_(network.last.weight, std=3.0)
    data = torch.rand(2, 12, 13)

    class Same(nn.Module):
        def forward(self, x):
            return network(x)

    blurred = RelaxedProjection(GradientProjection(LeastSquares(Identity()), Same(), step_size=0.5), contraction=0.7)
    assert contracts(iterates(blurred, data, 40), 0.7)
    assert contracts(iterates(RelaxedProjection(step(Sphere()), contraction=0.9), Y, 40), 0.9)


def test_it_holds_for_complex_images_from_their_fourier_transforms():
    class Turned(nn.Module):
        def forward(self, x):
            return 1.7j * x.conj().roll(1, -1)

    mask = (gaussian(1, 6, 7) > 0).float()
    data = KSpace(mask * torch.complex(*gaussian(2, 3, 6, 7, seed=5, dtype=torch.float32)), mask)
    iteration = RelaxedProjection(GradientProjection(SampledFourier(), Turned()), contraction=0.8)
    assert contracts(iterates(iteration, data, 50), 0.8)


def test_samples_have_an_alpha_each_and_do_not_see_one_another():
    iteration = RelaxedProjection(step(Mixed(2.0)), contraction=0.6)
    together = iterates(iteration, Y, 12)[-1]
    assert len(set(together.relaxation.tolist())) > 1
    for n in range(len(Y)):
        alone = iterates(iteration, Y[n : n + 1], 12)[-1]
        torch.testing.assert_close(alone.x[0], together.x[n], rtol=0, atol=1e-12)


def test_it_is_the_rule_of_the_paper_written_by_hand():
    projector, c, gamma = Mixed(2.0), 0.9, 1 / NORM_SQUARE
    iteration = RelaxedProjection(step(projector), contraction=c)
    states = iterates(iteration, Y[:1], 12)
    with torch.no_grad():
        x, alpha, before = Y[:1] @ A, 1.0, None
        for state in states[1:]:
            z = projector(x - gamma * (x @ A.T - Y[:1]) @ A)
            now = float((z - x).norm())
            if before is not None and now > c * before:
                alpha = c * before / now * alpha
            x, before = (1 - alpha) * x + alpha * z, now
            torch.testing.assert_close(state.x, x, rtol=1e-10, atol=1e-10)
            assert float(state.relaxation) == pytest.approx(alpha, rel=1e-10)
    assert alpha < 0.9


@pytest.mark.parametrize("gamma", [1.0, 0.5])
def test_with_an_exact_projection_and_c_of_one_nothing_is_relaxed(gamma):
    """gamma <= 1 / |A|^2: gradient step and projection onto a convex set do not expand."""
    plain = step(Box(), gamma)
    relaxed = iterates(RelaxedProjection(plain, contraction=1.0), Y, 80)
    problem = plain.prepare(Y)
    x = plain.start(problem)
    for state in relaxed[1:]:
        x = plain(x, problem).detach()
        torch.testing.assert_close(state.x, x, rtol=0, atol=1e-12)
    torch.testing.assert_close(relaxed[-1].relaxation, torch.ones(len(Y), dtype=torch.float64), rtol=0, atol=1e-12)


def test_a_true_image_that_the_network_leaves_as_it_is_stays():
    """F(x) = x and y = A x: |z - x| = 0 from the first step on, and nothing is divided by it."""
    truth = gaussian(3, N, seed=7).clamp(-0.3, 0.3)
    iteration = RelaxedProjection(step(Box()), contraction=0.9)
    problem = iteration.prepare(truth @ A.T)
    state = iteration.start(problem)._replace(x=truth)
    for _ in range(4):
        state = iteration(state, problem)
        torch.testing.assert_close(state.x.detach(), truth, rtol=0, atol=1e-14)
        assert bool(state.relaxation.isfinite().all())


def test_gradients_are_finite_where_nothing_moves():
    truth = gaussian(3, N, seed=7)
    network = unroll(RelaxedProjection(step(nn.Identity()), contraction=0.9), 4, tied="step.step_size")
    y = (truth @ A.T).requires_grad_()
    problem = network.parent.prepare(y)
    state = network.parent.start(problem)._replace(x=truth)
    for layer in network.layers:
        state = layer(state, problem)
    (gradient,) = torch.autograd.grad(state.x.square().sum(), y)
    assert bool(gradient.isfinite().all())


def test_it_converges_for_any_network_within_the_steps_that_c_promises():
    """c^k |x[1] - x[0]| bounds a step: with c = 0.8 below 1e-4 of the image within 50."""
    for gain in (0.3, 3.0, 30.0):
        solution = solve(RelaxedProjection(step(Mixed(gain)), contraction=0.8), Y, tolerance=1e-4, max_iterations=50)
        assert bool(solution.converged.all())


def test_the_equilibrium_has_the_gradient_of_the_fixed_point_for_a_contraction():
    """Against differences of the solution; F has a constant below c, so that alpha stays away from zero."""
    network = Equilibrium(
        RelaxedProjection(step(Mixed(0.1)), contraction=0.95), learned="step.projector.matrix", tolerance=1e-12
    )
    network(Y).sum().backward()
    matrix = network.layer.step.projector.matrix
    shift = gaussian(N, N, seed=9)

    def value(h):
        with torch.no_grad():
            matrix.add_(h * shift)
            found = network(Y).sum()
            matrix.sub_(h * shift)
        return float(found)

    slope = (value(1e-5) - value(-1e-5)) / 2e-5
    assert float((matrix.grad * shift).sum()) == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("c", [0.0, -0.1, 1.1, float("nan")])
def test_a_contraction_lies_between_zero_and_one(c):
    with pytest.raises(ValueError, match=r"contraction must lie in \(0, 1\]; got"):
        RelaxedProjection(step(Box()), contraction=c)


@pytest.mark.parametrize("gamma", [0.0, -1.0, float("inf"), float("nan")])
def test_a_step_size_is_positive(gamma):
    with pytest.raises(ValueError, match="step_size must be positive and finite; got"):
        GradientProjection(LeastSquares(Matrix(A)), Box(), step_size=gamma)


def test_only_iterations_with_one_tensor_are_relaxed():
    twice = RelaxedProjection(RelaxedProjection(step(Box())))
    with pytest.raises(TypeError, match="whose state is one tensor; that of RelaxedProjection is RelaxedState"):
        twice.start(twice.prepare(Y))
