"""Plug-and-play: potentials, message passing, fixed points."""

import pytest
import torch
from smoothing import MIDDLE, TERM, Channel, Linear, Y, noise
from torch import nn

from unrolling import Equilibrium, unroll
from unrolling.algorithms import (
    AMP,
    DouglasRachford,
    LeastSquares,
    PotentialDescent,
    ProximalGradient,
)
from unrolling.core import Implicit
from unrolling.networks import LipschitzDnCNN
from unrolling.operators import CircularConvolution
from unrolling.prox import Averaged, DenoiserProx, GradientStep, MonteCarloDenoiser, SoftDenoiser, soft_threshold

# Potentials


def test_a_gradient_step_is_what_finite_differences_say_and_its_residual_is_a_gradient():
    torch.manual_seed(0)
    net = nn.Sequential(Channel(), nn.Conv2d(1, 3, 3, padding=1), nn.Softplus(), nn.Conv2d(3, 1, 3, padding=1), Flat())
    step, x = GradientStep(net).double(), noise(1, 4, 4)
    moved = torch.zeros(16, dtype=torch.float64)
    for k in range(16):
        h = torch.zeros(16, dtype=torch.float64)
        h[k] = 1e-5
        moved[k] = (step.potential(x + h.reshape(1, 4, 4)) - step.potential(x - h.reshape(1, 4, 4))).item() / 2e-5
    torch.testing.assert_close((x - step(x)).flatten(), moved, rtol=1e-6, atol=1e-6)
    J = torch.func.jacrev(lambda v: step.gradient(v.reshape(1, 4, 4)).flatten())(x.flatten())
    torch.testing.assert_close(J, J.mT)
    with torch.no_grad():
        assert not step(x).requires_grad
    linear = GradientStep(Linear())
    S = 1 - 1 / (1 + 2 * Linear().square)
    torch.testing.assert_close(linear(Y), torch.fft.ifft2((1 - S * S) * torch.fft.fft2(Y)).real)


class Flat(nn.Module):
    def forward(self, x):
        return x.squeeze(1)


def test_the_objective_with_a_potential_falls_in_every_step():
    torch.manual_seed(0)
    net = nn.Sequential(Channel(), nn.Conv2d(1, 3, 3, padding=1), nn.Softplus(), nn.Conv2d(3, 1, 3, padding=1), Flat())
    descent = PotentialDescent(TERM, GradientStep(net), 0.5, step_size=1.0).double()
    problem = descent.prepare(Y)
    state, values = descent.start(problem), []
    with torch.no_grad():
        for _ in range(20):
            values.append(descent.objective(state, problem))
            state = descent(state, problem)
    assert bool((torch.stack(values).diff(dim=0) <= 1e-12).all())
    assert bool((values[-1] < 0.95 * values[0]).all())


# Message passing


def test_the_divergence_of_a_linear_denoiser_is_that_of_its_probe_whatever_the_step():
    smoother = Linear()
    denoiser = MonteCarloDenoiser(DenoiserProx(smoother, sigma=1.0), (8, 8), probes=2).double()
    for size in (1e-3, 1.0, 1e3):
        estimate, derivative = denoiser(size * Y.flatten(1), torch.ones(3, 1, dtype=torch.float64))
        torch.testing.assert_close(estimate, smoother(size * Y).flatten(1))
        probe = denoiser.probe
        wanted = float((probe * smoother(probe)).sum() / (2 * 64))
        torch.testing.assert_close(derivative, torch.full((3, 1), wanted, dtype=torch.float64), rtol=1e-6, atol=1e-9)
    many = MonteCarloDenoiser(DenoiserProx(smoother, sigma=1.0), (8, 8), probes=2000).double()
    trace = float((1 / (1 + 2 * smoother.square)).sum() / 64)
    derivative = many(Y.flatten(1), torch.ones(3, 1, dtype=torch.float64)).derivative
    assert float(derivative[0]) == pytest.approx(trace, rel=0.02)


def test_amp_with_an_image_denoiser_is_amp():
    """A threshold of tau^2 makes S_tau, SoftDenoiser(1); the derivative is a Monte-Carlo estimate."""
    A = noise(48, 64) / 48**0.5
    y = noise(3, 64, seed=5) * (noise(3, 64, seed=6) > 1.5) @ A.T

    def soft(image, sigma):
        return soft_threshold(image, sigma.reshape(-1, 1, 1))

    denoiser = MonteCarloDenoiser(DenoiserProx(soft, told=True), (8, 8), probes=300)
    wanted, found = (unroll(AMP(A, each), 6)(y) for each in (SoftDenoiser(1.0), denoiser))
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.05)
    with pytest.raises(ValueError, match=r"r has 60 entries, and images of \(8, 8\) have 64"):
        denoiser(noise(2, 60), torch.ones(2, 1))


# Equilibrium


@pytest.mark.parametrize("kind", ["FBS", "DRS"])
def test_the_implicit_gradient_of_plug_and_play_is_that_of_long_backpropagation(kind):
    torch.manual_seed(0)
    term = LeastSquares(CircularConvolution(MIDDLE)).double()
    network = LipschitzDnCNN(3, 4, epsilon=0.05, shape=(8, 8)).double().eval()
    prox = DenoiserProx(network, sigma=0.1)
    iteration = {
        "FBS": ProximalGradient(term, prox, 0.0, step_size=1.2),
        "DRS": DouglasRachford(term, prox, 0.0, step_size=2.0),
    }[kind].double()
    names = ("prox", "step_size")
    model = Equilibrium(iteration, learned=names, gradient=Implicit(), tolerance=1e-11, max_iterations=2000)
    long = unroll(iteration, 300, tied=names)
    gradients = []
    for each in (model, long):
        each(Y).square().sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in each.parameters() if p.grad is not None]))
    implicit, unrolled = gradients
    assert float(unrolled.norm()) > 0
    assert float((implicit - unrolled).norm() / unrolled.norm()) < 1e-3


def test_an_equilibrium_keeps_no_more_for_many_steps_than_for_few():
    torch.manual_seed(0)
    term = LeastSquares(CircularConvolution(MIDDLE)).double()
    prox = DenoiserProx(LipschitzDnCNN(3, 4, epsilon=0.05, shape=(8, 8)).double().eval(), sigma=0.1)
    iteration = ProximalGradient(term, prox, 0.0, step_size=1.2).double()

    def kept(network):
        sizes = []

        def pack(tensor):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            network(Y)
        return sum(sizes)

    few, many = (Equilibrium(iteration, learned="prox", tolerance=t, max_iterations=2000) for t in (1e-1, 1e-11))
    assert int(many.solve(Y).iterations.max()) > 5 * int(few.solve(Y).iterations.max())
    assert kept(few) == kept(many)
    assert kept(unroll(iteration, 20, tied="prox")) > 5 * kept(many)


def test_an_average_may_be_a_prox():
    assert torch.equal(DenoiserProx(Averaged(nn.Identity(), 0.3), sigma=1.0)(Y), 0.7 * Y + 0.3 * Y)
