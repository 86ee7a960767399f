"""D-AMP and Learned D-AMP: the exact facts of the method, measurements, divergence, state evolution, training."""

import pytest
import torch
from measured_images import SIDE, TERM, measured, noise
from torch import nn

from unrolling import solve, unroll
from unrolling.algorithms import (
    AMP,
    DenoisedAMP,
    LeastSquares,
    MatrixMeasurements,
    MatrixSamples,
    ModulatedTransform,
    ProximalGradient,
    effective_noise,
    effective_noise_table,
    gaussian_matrix,
    kurtosis,
    measure_modulated,
)
from unrolling.networks import FFDNet
from unrolling.operators import Matrix, Wavelet
from unrolling.prox import (
    DenoiserProx,
    OrthonormalDenoiser,
    SelectedDenoiser,
    SignProbes,
    SoftDenoiser,
    average_derivative,
    soft_threshold,
)
from unrolling.testing import check_iteration


class LinearDenoiser(nn.Module):
    """D(r) = W r, whatever the level."""

    def __init__(self, W):
        super().__init__()
        self.register_buffer("W", W)

    def forward(self, r, variance=None):
        return (r.flatten(1) @ self.W.T).reshape(r.shape)


# Exact facts


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_of_a_linear_denoiser_the_divergence_is_that_of_its_probe_for_every_step(size):
    W, r = noise(64, 64) / 8, size * noise(3, 8, 8, seed=2)
    linear = LinearDenoiser(W)
    probes = SignProbes(2, seed=5)(r)
    tau = torch.zeros(3, dtype=torch.float64)
    found = average_derivative(linear, r, linear(r), probes, tau)
    wanted = sum(h.flatten() @ W @ h.flatten() for h in probes) / (2 * 64)
    torch.testing.assert_close(found, wanted.expand(3), rtol=1e-6, atol=1e-9)
    x, derivative = DenoisedAMP(TERM, linear, probes=2, seed=5).denoised(r, tau + 1)
    assert torch.equal(x, linear(r))
    torch.testing.assert_close(derivative, wanted.expand(3), rtol=1e-6, atol=1e-9)


def test_over_many_probes_it_tends_to_the_trace_at_the_rate_of_independent_signs():
    W, r, count = noise(64, 64) / 8, noise(1, 8, 8, seed=2), 4000
    probes = torch.stack([h.flatten() for h in SignProbes(count)(r)])
    assert set(probes.unique().tolist()) == {-1.0, 1.0}
    terms = ((probes @ W.T) * probes).sum(1)
    both = 0.5 * (W + W.T)
    variance = 2 * (both.square().sum() - both.diagonal().square().sum())
    assert abs(float(terms.mean() - W.trace())) < 4 * float(variance / count) ** 0.5
    assert float(terms.var() / variance) == pytest.approx(1, abs=0.12)
    assert float((probes.T @ probes / count - torch.eye(64)).abs().amax()) < 5 / count**0.5
    fourth = (probes[:, :60:4] * probes[:, 1:60:4] * probes[:, 2:60:4] * probes[:, 3:60:4]).mean(0)
    assert float(fourth.abs().amax()) < 4.5 / count**0.5
    assert all(torch.equal(a, b) for a, b in zip(SignProbes(3, 7)(r), SignProbes(3, 7)(r), strict=True))
    assert not torch.equal(SignProbes(1, 7)(r)[0], SignProbes(1, 8)(r)[0])


def test_with_soft_thresholds_the_derivative_counts_survivors_and_the_iterates_are_those_of_amp():
    A = noise(48, 64) / 48**0.5
    x = (noise(3, 64, seed=5) * (noise(3, 64, seed=6) > 1.5)).reshape(3, 8, 8)
    data = MatrixSamples(x.flatten(1) @ A.T, A.unsqueeze(0))
    denoiser = SoftDenoiser(1.2)
    damp = DenoisedAMP(MatrixMeasurements((8, 8)), denoiser).double()
    problem = damp.prepare(data)
    state = damp.start(problem)
    for _ in range(3):
        _, derivative = damp.denoised(damp.seen(state, problem), damp.level(state, problem))
        state = damp(state, problem)
        torch.testing.assert_close(derivative, (state.x != 0).double().flatten(1).mean(1))
    found = unroll(damp, 10)(data)
    wanted = unroll(AMP(A, denoiser), 10)(data.samples)
    torch.testing.assert_close(found.flatten(1), wanted, rtol=1e-9, atol=1e-11)
    flat = DenoisedAMP(LeastSquares(Matrix(A)), denoiser).double()
    torch.testing.assert_close(unroll(flat, 10)(data.samples), wanted, rtol=1e-9, atol=1e-11)
    assert float((found - x).norm() / x.norm()) < 0.2


def test_without_its_onsager_term_it_is_iterative_thresholding_with_a_step_of_one():
    data = measured(noise(2, SIDE, SIDE))
    constant = DenoiserProx(lambda z: soft_threshold(z, 0.3), sigma=1.0)
    ditting = DenoisedAMP(TERM, constant, onsager=False).double()
    ista = ProximalGradient(TERM, lambda z, t: soft_threshold(z, 0.3), 1.0).double()
    # |A|^2 is about 7, so that both grow alike
    problem = ista.prepare(data)
    state, mine = torch.zeros_like(problem.back), ditting.start(problem)
    for _ in range(4):
        state, mine = ista(state, problem), ditting(mine, problem)
        torch.testing.assert_close(mine.x, state, rtol=1e-9, atol=1e-9)
    zero = DenoisedAMP(TERM, LinearDenoiser(noise(SIDE**2, SIDE**2).tril(-1) * 0)).double()
    without = DenoisedAMP(TERM, zero.denoiser, onsager=False).double()
    assert torch.equal(unroll(zero, 3).run(data).residual, unroll(without, 3).run(data).residual)


def test_the_identity_gives_the_first_step_of_the_formula():
    x = noise(2, SIDE, SIDE)
    data = measured(x)
    A, y = data.matrix[0], data.samples
    step = DenoisedAMP(TERM, DenoiserProx(nn.Identity(), sigma=1.0)).double()
    problem = step.prepare(data)
    state = step(step.start(problem), problem)
    torch.testing.assert_close(state.x.flatten(1), y @ A)
    torch.testing.assert_close(state.residual, y - y @ A @ A.T + (SIDE**2 / 96) * y, rtol=1e-6, atol=1e-6)


def test_parent_and_network_are_one_object_and_runs_are_repeatable():
    data = measured(torch.rand(2, SIDE, SIDE, generator=torch.Generator().manual_seed(0)))
    step = DenoisedAMP(TERM, DenoiserProx(FFDNet(3, 4), told=True))
    network = unroll(step, 4, untied="denoiser")
    with torch.no_grad():
        wanted = solve(step, data, tolerance=0, max_iterations=4).estimate
        assert torch.equal(network(data), wanted)
        assert torch.equal(network(data), network(data))
        assert torch.equal(unroll(step, 4, tied="denoiser")(data), wanted)


def test_it_is_a_sound_iteration_and_no_gradient_goes_through_the_divergence():
    x = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    data = measured(x, 32)
    step = DenoisedAMP(MatrixMeasurements((8, 8)), DenoiserProx(FFDNet(3, 4), told=True)).double()
    # rectifiers have kinks, and a constant takes the place of the divergence: no check by finite differences
    check_iteration(step, data, skip=("compile", "export", "solve", "gradients", "second_derivative"))
    leaf = x.clone().requires_grad_()
    assert step.denoised(leaf, torch.full((3,), 0.3, dtype=torch.float64))[1].grad_fn is None
    smooth = DenoisedAMP(MatrixMeasurements((8, 8)), DenoiserProx(nn.Tanh(), sigma=1.0), onsager=False).double()
    assert torch.autograd.gradcheck(
        lambda y: unroll(smooth, 3)(data._replace(samples=y)), data.samples.requires_grad_()
    )


# Measurements


@pytest.mark.parametrize("fourier", [False, True])
@pytest.mark.parametrize("shape", [(12, 10), (7, 9)])
def test_modulated_transforms_have_their_adjoint_unit_columns_and_a_tight_norm(fourier, shape):
    x, term = noise(2, *shape), ModulatedTransform(fourier=fourier)
    data = measure_modulated(x, 0.5, seed=3, fourier=fourier)
    pixels = shape[0] * shape[1]
    assert data.samples.shape == (2, round(0.5 * pixels / (2 if fourier else 1)))
    y = torch.randn_like(data.samples)
    left = (term.image(x, data).conj() * y).real.sum((0, 1))
    torch.testing.assert_close(left, (x * term.adjoint(y, data)).sum())
    eye = torch.eye(pixels, dtype=torch.float64).reshape(pixels, *shape)
    columns = term.image(eye, data._replace(samples=data.samples[:1]))
    assert float(columns.abs().square().sum(1).mean()) == pytest.approx(1, abs=1e-9)
    full = measure_modulated(x, 1.0, fourier=False)
    torch.testing.assert_close(ModulatedTransform().adjoint(full.samples, full), x)
    again = measure_modulated(x, 0.5, seed=3, fourier=fourier)
    assert torch.equal(again.samples, data.samples)
    assert not torch.equal(measure_modulated(x, 0.5, seed=4, fourier=fourier).kept, data.kept)


def test_matrices_may_be_shared_or_each_image_have_its_own():
    x = noise(3, 4, 5)
    term = MatrixMeasurements((4, 5))
    matrix = noise(3, 7, 20)
    own = term.image(x, MatrixSamples(noise(3, 7), matrix))
    for k in range(3):
        one = MatrixSamples(noise(1, 7), matrix[k : k + 1])
        torch.testing.assert_close(own[k : k + 1], term.image(x[k : k + 1], one))
        torch.testing.assert_close(
            term.adjoint(own, MatrixSamples(own, matrix))[k : k + 1], term.adjoint(own[k : k + 1], one)
        )
    A = gaussian_matrix(500, 30, torch.Generator().manual_seed(0))
    assert A.shape == (1, 500, 30)
    assert float(A.square().sum(1).mean()) == pytest.approx(1, abs=0.05)


# Denoisers


def test_a_denoiser_is_selected_for_each_image_and_learns_from_it_alone():
    denoisers = [nn.Conv2d(1, 1, 1) for _ in range(3)]

    class Told(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, r, sigma):
            return self.inner(r.unsqueeze(1)).squeeze(1) + sigma.reshape(-1, 1, 1)

    chosen = SelectedDenoiser([Told(inner) for inner in denoisers], edges=(0.1, 0.5))
    r, sigma = noise(4, 5, 5, dtype=torch.float32), torch.tensor([0.7, 0.1, 0.05, 0.3])
    found = chosen(r, sigma)
    for k, which in enumerate((2, 0, 0, 1)):
        torch.testing.assert_close(found[k], chosen.denoisers[which](r[k : k + 1], sigma[k : k + 1])[0])
    found[:1].sum().backward()
    assert denoisers[2].weight.grad.abs().sum() > 0
    assert all(d.weight.grad is None or not d.weight.grad.any() for d in denoisers[:2])
    for wrong, words in (((0.5, 0.1), "positive and ascending"), ((0.1,), "1 edges lie between 2 denoisers; got 3")):
        with pytest.raises(ValueError, match=words):
            SelectedDenoiser(denoisers, wrong)


def test_the_network_knows_no_scale_but_the_noises_and_takes_odd_sides():
    torch.manual_seed(0)
    net = FFDNet(4, 6).double()
    y, sigma = noise(2, 7, 10), torch.tensor([0.3, 0.1], dtype=torch.float64)
    torch.testing.assert_close(net(3 * y, 3 * sigma), 3 * net(y, sigma))
    assert net(y, sigma).shape == y.shape
    assert not torch.allclose(net(y, sigma), net(y, 2 * sigma))
    assert sum(p.numel() for p in FFDNet(7, 32).parameters()) == 9 * (5 * 32 + 5 * 32**2 + 32 * 4)
    moved = net(torch.roll(y[:, :6], (2, 2), (1, 2)), sigma)  # by whole steps of the grid, away from the edge
    assert moved.shape == (2, 6, 10)
    with pytest.raises(ValueError, match=r"sigma \(batch,\) is a number for each; got \(2, 7, 10\) and \(1,\)"):
        net(y, sigma[:1])


def test_wavelets_of_message_passing_count_what_survives():
    r = noise(3, 8, 8)
    denoiser = OrthonormalDenoiser(Wavelet(2), 1.5).double()
    tau = torch.tensor([0.2, 0.5, 5.0], dtype=torch.float64).reshape(3, 1, 1)
    found = denoiser(r, deviation=tau)
    W = Wavelet(2)
    torch.testing.assert_close(found.estimate, W.adjoint(soft_threshold(W(r), 1.5 * tau)))
    J = torch.func.vmap(torch.func.jacrev(lambda v, t: denoiser(v[None], deviation=t[None]).estimate[0].flatten()))
    trace = J(r, tau).reshape(3, 64, 64).diagonal(dim1=1, dim2=2).mean(1)
    torch.testing.assert_close(found.derivative.flatten(), trace)
    torch.testing.assert_close(denoiser(r, tau.square()).estimate, found.estimate)


def test_beyond_the_highest_level_that_it_was_trained_for_a_denoiser_is_scaled():
    def clamped(z, sigma):
        return z / (1 + sigma.clamp_max(0.5).reshape(-1, 1, 1))

    z, t = noise(3, 4, 4), torch.tensor([0.2, 0.5, 2.0], dtype=torch.float64).square()
    found = DenoiserProx(clamped, told=True, most=0.5)(z, t)
    for k, (factor, level) in enumerate(((1.0, 0.2), (1.0, 0.5), (4.0, 0.5))):
        torch.testing.assert_close(found[k], factor * (z[k] / factor) / (1 + level))
    for wrong in ({"most": 0.5, "sigma": 0.1}, {"most": 0.0, "told": True}):
        with pytest.raises(ValueError, match="most"):
            DenoiserProx(clamped, **wrong)


# State evolution


def test_state_evolution_predicts_what_the_denoisers_see_and_only_with_the_onsager_term():
    side = 48
    x = torch.zeros(2, side, side)
    x[:, 10:30, 8:40] = 0.8
    x[1, 20:44, 20:30] += 0.3
    data = measured(x, round(0.5 * side**2))
    denoiser = OrthonormalDenoiser(Wavelet(4, 1), 1.5)
    rows = effective_noise(DenoisedAMP(MatrixMeasurements((side, side)), denoiser), data, x, 5)
    for row in rows:
        assert row.predicted == pytest.approx(row.true, rel=0.12)
        assert row.estimated == pytest.approx(row.true, rel=0.06)
        assert row.kurtosis == pytest.approx(3, abs=0.25)
    assert rows[0].predicted == pytest.approx(rows[0].estimated, rel=0.05)
    assert rows[-1].true < 0.4 * rows[0].true
    assert rows[-1].psnr > rows[0].psnr
    off = effective_noise(DenoisedAMP(MatrixMeasurements((side, side)), denoiser, onsager=False), data, x, 5)
    assert all(abs(row.estimated / row.true - 1) > 0.08 for row in off[1:])
    assert off[-1].true > 5 * off[-1].predicted
    assert off[-1].psnr < rows[-1].psnr - 10
    table = effective_noise_table(rows)
    assert len(table.splitlines()) == 6
    assert f"{rows[2].true:.4f}" in table
    assert float(kurtosis(noise(1, 100_000))) == pytest.approx(3, abs=0.06)
    assert float(kurtosis(torch.tensor([[-1.0, 1.0]]))) == 1
    step = DenoisedAMP(MatrixMeasurements((side, side)), denoiser)
    for wrong, words in ((lambda: effective_noise(step, data, x), "say how many steps"),):
        with pytest.raises(ValueError, match=words):
            wrong()
    with pytest.raises(TypeError, match="the network unrolls AMP"):
        effective_noise(unroll(AMP(data.matrix[0], SoftDenoiser(1.0)), 2), data.samples, x)


# Training
