"""Denoisers in the place of proxes: the same iterates where they are proxes, and convergence where it is promised."""

import pytest
import torch
from smoothing import MIDDLE, TERM, Linear, Y, noise
from torch import nn

from unrolling import solve, unroll
from unrolling.algorithms import (
    ADMM,
    PDHG,
    Blurred,
    ChambollePock,
    DouglasRachford,
    HalfQuadraticSplitting,
    KnownBlur,
    LeastSquares,
    NoisyImage,
    PotentialDescent,
    ProximalGradient,
    SampledFourier,
    Splitting,
    plug_and_play_conditions,
    residual_lipschitz,
)
from unrolling.algorithms.splitting import ADMMState, DouglasRachfordState
from unrolling.networks import DnCNN, LipschitzDnCNN, UNet
from unrolling.operators import CircularConvolution, Identity, KSpace, Matrix
from unrolling.prox import DenoiserProx, GradientStep, soft_threshold
from unrolling.testing import check_iteration


def shrinks(image, sigma):
    """A prox as a denoiser that is told the level."""
    return soft_threshold(image, sigma.square().reshape(-1, 1, 1))


RUNS = {
    "FBS": lambda prox: ProximalGradient(TERM, prox, 0.1, step_size=0.8),
    "HQS": lambda prox: HalfQuadraticSplitting(TERM, Identity(), prox, 0.1, largest=4.0),
    "ADMM": lambda prox: ADMM(TERM, [Splitting(Identity(), prox, 0.1, penalty=0.7)]),
    "DRS": lambda prox: DouglasRachford(TERM, prox, 0.1, step_size=1.4),
    "DRS, relaxed": lambda prox: DouglasRachford(TERM, prox, 0.1, step_size=1.4, relaxation=1.5),
    "PDHG": lambda prox: PDHG(
        CircularConvolution(MIDDLE), image_prox=prox, image_weight=0.1, primal_step=0.9, dual_step=1.0
    ),
    "Chambolle-Pock": lambda prox: ChambollePock(TERM, Identity(), prox, 0.1, dual_step=0.9),
}


# A denoiser that is a prox


@pytest.mark.parametrize("name", RUNS)
def test_a_prox_as_a_denoiser_that_is_told_the_level_gives_the_same_iterates(name):
    own, told = RUNS[name](soft_threshold).double(), RUNS[name](DenoiserProx(shrinks, told=True)).double()
    wanted, found = unroll(own, 5)(Y), unroll(told, 5)(Y)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(wanted, unroll(own, 4)(Y), atol=1e-6)
    assert hasattr(own, "objective")
    assert not hasattr(told, "objective")  # nobody knows what a denoiser is the prox of


@pytest.mark.parametrize("name", RUNS)
def test_plug_and_play_is_a_sound_iteration(name):
    torch.manual_seed(0)
    prox = DenoiserProx(DnCNN(2, 3, normalise=False), sigma=0.3)
    iteration = RUNS[name](prox).double()
    left_out = ("compile", "export", "second_derivative", "gradients", "deployed", "solve", "fixed_point")
    check_iteration(iteration, Y, skip=left_out)


def test_potential_descent_and_splitting_are_sound_iterations():
    left_out = ("compile", "export", "second_derivative", "deployed", "solve", "fixed_point")
    small = Y[:, :4, :4]
    check_iteration(DouglasRachford(TERM, soft_threshold, 0.1).double(), small, skip=("compile", "export"))
    descent = PotentialDescent(TERM, GradientStep(Linear(size=4)), 0.3).double()
    check_iteration(descent, small, skip=left_out)


# How a denoiser is told the level


def test_the_level_is_the_root_of_the_threshold_for_each_sample():
    seen = []

    def denoiser(image, sigma):
        seen.append(sigma)
        return image

    prox = DenoiserProx(denoiser, told=True)
    for threshold in (0.04, torch.tensor(0.04), torch.tensor([0.04, 0.04, 0.04]), torch.full((3, 1, 1), 0.04)):
        prox(Y, threshold)
        torch.testing.assert_close(seen[-1], torch.full((3,), 0.2, dtype=torch.float64), rtol=1e-6, atol=0)
    DenoiserProx(denoiser, told=True, sigma=0.5)(Y, 0.04)
    assert seen[-1].tolist() == [0.5] * 3


def test_networks_of_this_library_are_told_in_their_own_way():
    prox = DenoiserProx(lambda data: data.image * data.sigma.reshape(-1, 1, 1), told=NoisyImage)
    torch.testing.assert_close(prox(Y, torch.tensor([1.0, 4.0, 9.0]))[2], 3 * Y[2])


@pytest.mark.parametrize("network", [DnCNN(3, 4), UNet(4, 1)], ids=["DnCNN", "U-Net"])
def test_a_denoiser_of_one_level_is_scaled_to_others(network):
    network = network.double().eval()
    scaled, fixed = DenoiserProx(network, trained_at=0.1), DenoiserProx(network, sigma=0.1)
    torch.testing.assert_close(scaled(Y, 0.01), network(Y))
    torch.testing.assert_close(scaled(Y, 0.04), 2 * network(Y / 2))
    assert torch.equal(fixed(Y), network(Y))
    assert torch.equal(fixed(Y, 7.0), network(Y))
    one = torch.cat([scaled(Y[k : k + 1], t) for k, t in enumerate((0.01, 0.04, 0.09))])
    torch.testing.assert_close(scaled(Y, torch.tensor([0.01, 0.04, 0.09])), one)


def test_the_parts_of_complex_images_are_denoised_one_by_one():
    z = torch.complex(Y, Y.flip(0))
    assert torch.equal(
        DenoiserProx(Linear(), sigma=1.0, parts=True)(z), torch.complex(Linear()(Y), Linear()(Y.flip(0)))
    )


def test_what_a_denoiser_cannot_be_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"not told the noise has one level: give sigma= .* trained_at= .* told=True"):
        DenoiserProx(nn.Identity())
    with pytest.raises(ValueError, match="trained_at scales a denoiser of one level; it goes with neither"):
        DenoiserProx(nn.Identity(), trained_at=0.1, sigma=0.1)
    with pytest.raises(ValueError, match=r"sigma is -0\.1"):
        DenoiserProx(nn.Identity(), sigma=-0.1)
    with pytest.raises(ValueError, match="threshold is None, and the denoiser has no fixed sigma"):
        DenoiserProx(shrinks, told=True)(Y)
    with pytest.raises(ValueError, match=r"one number, or one for each of 3 samples.*got \(8, 8\)"):
        DenoiserProx(shrinks, told=True)(Y, torch.ones(8, 8))
    with pytest.raises(ValueError, match=r"made \(3, 8\) of images \(3, 8, 8\)"):
        DenoiserProx(lambda x: x[..., 0], sigma=1.0)(Y)
    with pytest.raises(TypeError, match=r"takes real images .*: parts=True denoises real and"):
        DenoiserProx(nn.Identity(), sigma=1.0)(torch.complex(Y, Y))
    with pytest.raises(TypeError, match="z is a list"):
        DenoiserProx(nn.Identity(), sigma=1.0)([1.0])
    with pytest.raises(TypeError, match="denoiser is Identity, which has no potential; GradientStep"):
        PotentialDescent(TERM, nn.Identity(), 1.0)


# Douglas-Rachford


def test_douglas_rachford_and_admm_are_one_iteration():
    """Its x are ADMM's z, where ADMM starts at x = v and alpha = v - z, for any denoiser at all."""
    torch.manual_seed(0)
    prox = DenoiserProx(DnCNN(3, 4, normalise=False).double(), sigma=0.1)
    alpha = 2.0
    drs = DouglasRachford(TERM, prox, 0.0, step_size=alpha).double()
    admm = ADMM(TERM, [Splitting(Identity(), prox, 0.0, penalty=1 / alpha)]).double()
    problem = drs.prepare(Y)
    state = DouglasRachfordState(Y, Y)
    v = drs.data_term.solve(problem.back + Y / alpha, 1 / alpha, problem)
    other = ADMMState(v, (v,), (v - Y,))
    for _ in range(6):
        state, other = drs(state, problem), admm(other, problem)
        torch.testing.assert_close(state.x, other.z[0], rtol=1e-10, atol=1e-10)


def test_admm_written_out_by_hand_gives_the_iterates_of_douglas_rachford():
    """x = H(y - u), y = prox(x + u), u = u + x - y with z = x + u: Ryu et al. 2019, section 3."""
    torch.manual_seed(0)
    H, alpha = DnCNN(3, 4, normalise=False).double(), 0.9
    drs = DouglasRachford(TERM, DenoiserProx(H, sigma=0.1), 0.0, step_size=alpha).double()
    problem = drs.prepare(Y)
    z = Y
    y = TERM.solve(problem.back + z / alpha, 1 / alpha, problem)
    u, state = z - y, DouglasRachfordState(Y, z)
    for _ in range(5):
        x = H(y - u)
        y = TERM.solve(problem.back + (x + u) / alpha, 1 / alpha, problem)
        u = u + x - y
        state = drs(state, problem)
        torch.testing.assert_close(state.x, x, rtol=1e-10, atol=1e-10)


# Linear denoisers: closed forms and rates


@pytest.mark.parametrize("tau", [0.3, 0.8])
def test_a_smoothing_denoiser_in_pdhg_gives_tikhonovs_solution_whatever_the_step(tau):
    lam = 0.5

    def smoother(x):
        return torch.fft.ifft2(torch.fft.fft2(x) / (1 + tau * lam * Linear().square)).real

    operator = CircularConvolution(MIDDLE)
    pdhg = PDHG(operator, image_prox=DenoiserProx(smoother, sigma=1.0), primal_step=tau, dual_step=0.9 / tau).double()
    found = solve(pdhg, Y, tolerance=1e-12, max_iterations=4000)
    problem = TERM.double()(Y)
    wanted = torch.fft.ifft2(torch.fft.fft2(problem.back) / (problem.spectrum + lam * Linear().square)).real
    torch.testing.assert_close(found.estimate, wanted, rtol=1e-7, atol=1e-7)


def logarithms(iteration, data, count):
    """log10 |z[k+1] - z[k]| of the first sample."""
    problem = iteration.prepare(data)
    state, values = iteration.start(problem), []
    for _ in range(count):
        new = iteration(state, problem)
        one, other = (s if isinstance(s, torch.Tensor) else s.z for s in (new, state))
        values.append(float((one - other)[0].detach().norm().log10()))
        state = new
    return torch.tensor(values, dtype=torch.float64)


def line(values):
    """Slope and R^2 of a straight line."""
    k = torch.arange(len(values), dtype=torch.float64)
    x, y = k - k.mean(), values - values.mean()
    slope = float((x * y).sum() / x.square().sum())
    return slope, 1 - float((y - slope * x).square().sum() / y.square().sum())


def test_a_linear_denoiser_converges_at_the_rate_of_its_eigenvalues():
    smoother = Linear(0.05)
    term = TERM.double()
    d = 1 / (1 + 0.05 * smoother.square)
    a = term(Y).spectrum[0]
    fbs = ProximalGradient(term, DenoiserProx(smoother, sigma=1.0), 0.0, step_size=0.5).double()
    slope, fit = line(logarithms(fbs, Y, 50)[25:])
    assert 10**slope == pytest.approx(float((d * (1 - 0.5 * a)).abs().max()), rel=1e-2)
    assert fit > 0.999
    drs = DouglasRachford(term, DenoiserProx(smoother, sigma=1.0), 0.0, step_size=2.0).double()
    slope, fit = line(logarithms(drs, Y, 45)[22:])
    v = 1 / (1 + 2.0 * a)
    assert 10**slope == pytest.approx(float((1 + d * (2 * v - 1) - v).abs().max()), rel=1e-2)
    assert fit > 0.99


# Conditions


def test_conditions_of_denoising_and_their_formulas():
    found = plug_and_play_conditions(LeastSquares(Identity()), Y.float(), bound=0.5)
    assert (found.mu, found.largest) == (1, 1)
    assert found.gradient_steps == pytest.approx((1 / 3, 5 / 3))
    assert found.least_splitting_step == pytest.approx(0.5)
    assert found.gradient_rate(1.0) == 0
    assert all(abs(found.gradient_rate(step) - 1) < 1e-12 for step in found.gradient_steps)
    blur = plug_and_play_conditions(TERM, Y, bound=0.1)
    assert blur.largest == pytest.approx(1)
    assert blur.mu == pytest.approx(0.04)
    assert blur.gradient_steps is None  # it takes epsilon < 2 mu / (L - mu) = 0.083
    assert "epsilon < 2 mu / (L - mu) = 0.08333 would be" in str(blur)
    assert "contract for steps above" in str(blur)
    assert "no step is known to contract" in str(plug_and_play_conditions(TERM, Y, bound=1.2))


def test_data_that_do_not_see_everything_are_said_to_have_no_strong_convexity():
    ones = torch.full((1, 4, 4), 1 / 16, dtype=torch.float64)
    blurred = plug_and_play_conditions(KnownBlur(), Blurred(Y, ones), bound=0.1)
    mask = (noise(1, 8, 8) > 0).double()
    masked = plug_and_play_conditions(SampledFourier(), KSpace(torch.complex(Y, Y), mask), bound=0.1)
    fewer = plug_and_play_conditions(LeastSquares(Matrix(noise(4, 9))), noise(2, 4), bound=0.1)
    for found in (blurred, masked, fewer):
        assert found.mu == 0
        assert found.gradient_steps is found.least_splitting_step is None
        assert "mu = 0: the data do not see all of the image" in str(found)


def test_curvature_without_a_spectrum_is_that_of_the_matrix():
    A = noise(12, 6)
    found = plug_and_play_conditions(LeastSquares(Matrix(A)), noise(2, 12))
    values = torch.linalg.svdvals(A).square()
    assert found.largest == pytest.approx(float(values[0]), rel=1e-3)
    assert found.mu == pytest.approx(float(values[-1]), abs=1e-3 * float(values[0]))
    assert "epsilon unknown; give images" in str(found)


def test_epsilon_of_a_linear_denoiser_is_its_norm_and_of_a_network_below_its_bound():
    smoother = Linear()
    wanted = float((1 - 1 / (1 + 2 * smoother.square)).max())
    estimates = residual_lipschitz(smoother, Y, iterations=300)
    torch.testing.assert_close(estimates, torch.full((3,), wanted, dtype=torch.float64), rtol=3e-3, atol=0)
    network = LipschitzDnCNN(3, 8).eval()
    found = plug_and_play_conditions(LeastSquares(Identity()), Y.float(), network, Y.float())
    assert 0.05 < found.estimate <= found.bound <= 1.02**3
    assert "by the norms of its layers" in str(found)
    assert "an estimate at the images given; others may have more" in str(found)


@pytest.mark.parametrize("kind", ["FBS", "DRS"])
def test_where_the_conditions_hold_distances_shrink_and_the_residual_falls_in_a_line(kind):
    torch.manual_seed(0)
    kernel = torch.tensor([[0.0, 0.02, 0.0], [0.02, 0.92, 0.02], [0.0, 0.02, 0.0]])
    term = LeastSquares(CircularConvolution(kernel)).double()
    network = LipschitzDnCNN(4, 8, epsilon=0.3, shape=(8, 8)).double().eval()
    conditions = plug_and_play_conditions(term, Y, network)
    if kind == "FBS":
        low, high = conditions.gradient_steps
        step = low + 0.05 * (high - low)
        iteration = ProximalGradient(term, DenoiserProx(network, sigma=0.1), 0.0, step_size=step).double()
    else:
        step = 1.05 * conditions.least_splitting_step
        iteration = DouglasRachford(term, DenoiserProx(network, sigma=0.1), 0.0, step_size=step).double()
    values = logarithms(iteration, Y, 40)
    assert bool((values.diff() < 0).all())
    assert line(values[values > -13])[1] > 0.99
    if kind == "FBS":
        problem = iteration.prepare(Y)
        x, y = noise(2, 3, 8, 8, seed=3)
        shrunk = (iteration(x, problem) - iteration(y, problem)).flatten(1).norm(dim=1)
        assert bool((shrunk <= conditions.gradient_rate(step) * (x - y).flatten(1).norm(dim=1)).all())
        assert conditions.gradient_rate(step) < 1
