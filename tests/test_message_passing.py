"""AMP and VAMP against loops written by hand, matrix inverses, scikit-learn, and the figures that they reach."""

import math

import pytest
import torch
from families import by_day, some
from hypothesis import given
from hypothesis import strategies as st
from iterations import gaussian, unit_dictionary
from sklearn.linear_model import Lasso
from sparse_signals import conditioned, measure, nmse, path, sparse
from torch import nn

from unrolling import DivergenceError, solve, unroll
from unrolling.algorithms.messages.amp import AMP
from unrolling.algorithms.messages.vamp import VAMP, fit_noise
from unrolling.prox.bernoulli_gaussian import BernoulliGaussian, TunedBernoulliGaussian
from unrolling.prox.denoisers import ExponentialDenoiser, PiecewiseLinear, SoftDenoiser, Spline
from unrolling.testing import CHECKS, check_compile, check_export, check_iteration

M, N = 10, 14

DICTIONARY = unit_dictionary(M, N)
X = sparse(5, N, 0.15, seed=3)
Y = X @ DICTIONARY.T + 0.05 * gaussian(5, M, seed=5)

ITERATIONS = {
    "AMP, soft": lambda: AMP(DICTIONARY, SoftDenoiser(1.5)),
    "AMP, piecewise linear, damped": lambda: AMP(DICTIONARY, PiecewiseLinear((1.5, 2.5), (0.1, 1.1, 0.9)), damping=0.3),
    "AMP, exponential": lambda: AMP(DICTIONARY, ExponentialDenoiser(), damping=0.3),
    "AMP, spline": lambda: AMP(DICTIONARY, Spline(), damping=0.3),
    "AMP, Bernoulli-Gaussian": lambda: AMP(DICTIONARY, BernoulliGaussian(0.15), damping=0.3),
    "AMP, fitted": lambda: AMP(DICTIONARY, TunedBernoulliGaussian(steps=2), damping=0.3),
    "VAMP, Bernoulli-Gaussian": lambda: VAMP(DICTIONARY, BernoulliGaussian(0.15), 0.0025),
    "VAMP, piecewise linear, damped": lambda: VAMP(
        DICTIONARY, PiecewiseLinear((1.5, 2.5), (0.1, 1.1, 0.9)), 0.0025, damping=0.3
    ),
    "VAMP, fitted": lambda: VAMP(DICTIONARY, TunedBernoulliGaussian(steps=1)),
}


@pytest.mark.parametrize("name", by_day(*ITERATIONS, count=3))
def test_what_is_asked_of_every_iteration(name):
    check_iteration(ITERATIONS[name](), Y, skip=("compile", "export"))


@pytest.mark.parametrize("name", some(ITERATIONS, "AMP, soft"))
def test_export_with_a_dynamic_batch_and_tracing_in_one_graph(name):
    iteration = ITERATIONS[name]()
    check_export(iteration, Y)
    check_compile(iteration, Y, backend="aot_eager")


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["AMP, soft", "VAMP, Bernoulli-Gaussian"])
def test_compiled_code(name):
    check_compile(ITERATIONS[name]().float(), Y.float())


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["AMP, fitted", "VAMP, fitted"])
def test_single_precision_keeps_the_first_law(name):
    check_iteration(
        ITERATIONS[name]().float(), Y.float(), skip=set(CHECKS) - {"parent", "batch", "saving", "training", "export"}
    )


# AMP


@pytest.mark.parametrize("damping", [0.0, 0.4])
def test_amp_with_the_soft_threshold_is_the_loop_written_by_hand(damping):
    dictionary = unit_dictionary(60, 100)
    y = measure(dictionary, sparse(4, 100, 0.1, seed=1), 25)
    v, x = y, torch.zeros(4, 100, dtype=torch.float64)
    count = torch.zeros(4, 1, dtype=torch.float64)
    for state in unroll(AMP(dictionary, SoftDenoiser(1.3), damping=damping), 25).trajectory(y):
        v = (1 - damping) * (y - x @ dictionary.T + v * count / 60) + damping * v
        z = x + v @ dictionary
        threshold = 1.3 * torch.linalg.vector_norm(v, dim=1, keepdim=True) / math.sqrt(60)
        shrunk = torch.sgn(z) * (z.abs() - threshold).clamp_min(0)
        count = (shrunk != 0).sum(1, keepdim=True)
        x = (1 - damping) * shrunk + damping * x
        torch.testing.assert_close(state.x, x, rtol=0, atol=1e-12)
        torch.testing.assert_close(state.residual, v, rtol=0, atol=1e-12)


def posterior_mean(r, variance, probability):
    """Of x ~ p N(0, 1) + (1 - p) delta_0, from the two densities of r; and the mean of its derivative, by automatic
    differentiation.
    """
    r = r.detach().requires_grad_()
    wide, narrow = (torch.exp(-0.5 * r**2 / v) / v.sqrt() for v in (1 + variance, variance))
    x = probability * wide / (probability * wide + (1 - probability) * narrow) * r / (1 + variance)
    return x.detach(), torch.autograd.grad(x.sum(), r)[0].mean(1, keepdim=True)


def test_amp_with_a_posterior_mean_is_the_loop_written_by_hand():
    dictionary = unit_dictionary(60, 100)
    y = measure(dictionary, sparse(4, 100, 0.1, seed=1), 25)
    v, x, slope = torch.zeros_like(y), torch.zeros(4, 100, dtype=torch.float64), 0
    for state in unroll(AMP(dictionary, BernoulliGaussian(0.1)), 8).trajectory(y):
        v = y - x @ dictionary.T + 100 / 60 * slope * v
        x, slope = posterior_mean(x + v @ dictionary, (v**2).mean(1, keepdim=True), 0.1)
        torch.testing.assert_close(state.x, x, rtol=0, atol=1e-11)
        torch.testing.assert_close(state.derivative, slope, rtol=0, atol=1e-11)


def test_lamp_shares_or_owns_its_encoder_and_has_a_gain_in_its_onsager_term():
    y = gaussian(3, M, seed=8)
    net = unroll(AMP(DICTIONARY, SoftDenoiser(1.1)), 4, tied="encoder", untied="denoiser")
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == M * N + 2 * 4
    owned = unroll(AMP(DICTIONARY, SoftDenoiser(1.1)), 4, untied=("encoder", "denoiser.multiplier"))
    assert sum(p.numel() for p in owned.parameters() if p.requires_grad) == 4 * (M * N + 1)
    gains, alphas, encoder = (
        [0.8, 1.2, 0.9, 1.1],
        [1.0, 1.4, 0.7, 1.2],
        0.9 * DICTIONARY.T + 0.01 * gaussian(N, M, seed=2),
    )
    values = {"encoder.matrix": encoder}
    for layer, (gain, alpha) in enumerate(zip(gains, alphas, strict=True)):
        values |= {
            f"layers.{layer}.denoiser.gain": torch.tensor(gain),
            f"layers.{layer}.denoiser.multiplier": torch.tensor(alpha),
        }
    net.load_learned(values)
    v, x, onsager = y, torch.zeros(3, N, dtype=torch.float64), 0
    for gain, alpha in zip(gains, alphas, strict=True):
        v = y - x @ DICTIONARY.T + onsager * v
        z = x + v @ encoder.T
        shrunk = torch.sgn(z) * (
            z.abs() - alpha * torch.linalg.vector_norm(v, dim=1, keepdim=True) / math.sqrt(M)
        ).clamp_min(0)
        x, onsager = gain * shrunk, gain * (shrunk != 0).sum(1, keepdim=True) / M
    torch.testing.assert_close(net(y), x, rtol=0, atol=1e-6)  # the values are in single precision


@pytest.mark.parametrize("damping", [0.0, 0.5])
def test_a_fixed_point_of_amp_solves_a_lasso_whose_weight_it_chose(damping):
    dictionary = unit_dictionary(80, 120)
    y = measure(dictionary, sparse(3, 120, 0.1, seed=4), 20)
    solution = solve(AMP(dictionary, SoftDenoiser(1.6), damping=damping), y, tolerance=1e-12)
    assert bool(solution.converged.all())
    for x, v, target in zip(solution.estimate, solution.state.residual, y, strict=True):
        # damped, entries decay to zero
        weight = 1.6 * float(torch.linalg.vector_norm(v)) / math.sqrt(80) * (1 - float((x.abs() > 1e-9).sum()) / 80)
        exact = (
            Lasso(alpha=weight / 80, fit_intercept=False, tol=1e-14, max_iter=1_000_000)
            .fit(dictionary.numpy(), target.numpy())
            .coef_
        )
        torch.testing.assert_close(x, torch.from_numpy(exact), rtol=0, atol=1e-6)


class Wiener(nn.Module):
    """E[x | r] for x ~ N(0, 1)."""

    def forward(self, r, variance):
        return r / (1 + variance), 1 / (1 + variance)


def test_amp_that_diverges_says_what_to_do():
    with pytest.raises(DivergenceError, match=r"AMP diverged.*raise its damping, or use VAMP"):
        solve(AMP(DICTIONARY, SoftDenoiser(0.0)), Y)


# VAMP


def inverse_loop(dictionary, y, noise, denoise, depth):
    """x, r_2 and v_2 after each step of VAMP, one sample at a time, in precisions, with an inverse in each."""
    n, states = dictionary.shape[1], []
    for measured in y:
        r2, gamma2, path = torch.zeros(n, dtype=torch.float64), dictionary.square().sum() / measured.square().sum(), []
        for _ in range(depth):
            covariance = torch.linalg.inv(
                dictionary.T @ dictionary / noise + gamma2 * torch.eye(n, dtype=torch.float64)
            )
            x2 = covariance @ (dictionary.T @ measured / noise + gamma2 * r2)
            eta2 = n / torch.trace(covariance)
            gamma1 = eta2 - gamma2
            r1 = (eta2 * x2 - gamma2 * r2) / gamma1
            x1, slope = denoise(r1.unsqueeze(0), (1 / gamma1).reshape(1, 1))
            eta1 = gamma1 / slope.squeeze()
            gamma2 = eta1 - gamma1
            r2 = (eta1 * x1.squeeze(0) - gamma1 * r1) / gamma2
            path.append((x1.squeeze(0), r2, 1 / gamma2))
        states.append(path)
    return [[torch.stack(field) for field in zip(*step, strict=True)] for step in zip(*states, strict=True)]


@pytest.mark.parametrize(("m", "n", "condition"), [(30, 50, 1), (30, 50, 30), (50, 30, 5)])
def test_vamp_is_the_loop_of_matrix_inverses(m, n, condition):
    dictionary = conditioned(m, n, condition) if m <= n else unit_dictionary(m, n)
    y = measure(dictionary, sparse(4, n, 0.2, seed=6), 25)
    inside = dictionary @ torch.linalg.pinv(dictionary)  # what lies outside the range of A says nothing of x
    reference = inverse_loop(dictionary, y @ inside, 2e-3, lambda r, v: posterior_mean(r, v, 0.1), 10)
    for state, (x, message, variance) in zip(
        unroll(VAMP(dictionary, BernoulliGaussian(0.1), 2e-3), 10).trajectory(y), reference, strict=True
    ):
        torch.testing.assert_close(state.x, x, rtol=0, atol=1e-10)
        torch.testing.assert_close(state.message, message, rtol=0, atol=1e-9)
        torch.testing.assert_close(state.variance.squeeze(1), variance, rtol=1e-9, atol=0)


def test_directions_that_the_dictionary_does_not_see_are_left_out():
    dictionary = unit_dictionary(10, 30)
    repeated = torch.cat([dictionary, dictionary[:4]]) / 2**0.5
    vamp = VAMP(repeated, BernoulliGaussian(0.1), 1e-3)
    assert tuple(vamp.singular_values.shape) == (10,)
    y = measure(repeated, sparse(3, 30, 0.1, seed=6), 30)
    inside = repeated @ torch.linalg.pinv(repeated)
    reference = inverse_loop(repeated, y @ inside, 1e-3, lambda r, v: posterior_mean(r, v, 0.1), 5)
    torch.testing.assert_close(unroll(vamp, 5)(y), reference[-1][0], rtol=0, atol=1e-9)


def test_a_gaussian_prior_gives_the_ridge_estimate_in_two_steps():
    dictionary = conditioned(20, 40, 30)
    y = measure(dictionary, gaussian(3, 40, seed=2), 10)
    ridge = torch.linalg.solve(
        dictionary.T @ dictionary + 0.05 * torch.eye(40, dtype=torch.float64), dictionary.T @ y.T
    ).T
    # The first step takes the variance of x from y; the denoiser's extrinsic message is then exactly the prior, N(0,
    # 1).
    _, second, third = (state.x for state in unroll(VAMP(dictionary, Wiener(), 0.05), 3).trajectory(y))
    torch.testing.assert_close(second, ridge, rtol=0, atol=1e-11)
    torch.testing.assert_close(third, ridge, rtol=0, atol=1e-11)


@pytest.mark.parametrize("damping", [0.0, 0.5])
def test_at_a_fixed_point_both_stages_of_vamp_agree(damping):
    dictionary = conditioned(80, 160, 20)
    y = measure(dictionary, sparse(3, 160, 0.1, seed=4), 25)
    vamp = VAMP(dictionary, BernoulliGaussian(0.1), 1e-3, damping=damping)
    solution = solve(vamp, y, tolerance=1e-13)
    assert bool(solution.converged.all())
    for x, message, variance, target in zip(
        solution.estimate, solution.state.message, solution.state.variance, y, strict=True
    ):
        covariance = torch.linalg.inv(dictionary.T @ dictionary / 1e-3 + torch.eye(160, dtype=torch.float64) / variance)
        linear = covariance @ (dictionary.T @ target / 1e-3 + message / variance)
        torch.testing.assert_close(x, linear, rtol=0, atol=1e-9)
        # The denoiser saw the linear stage's extrinsic message; its posterior variance is the linear one's.
        eta = 160 / torch.trace(covariance)
        seen = 1 / (eta - 1 / variance)
        r = seen * (eta * linear - message / variance)
        derivative = BernoulliGaussian(0.1)(r.unsqueeze(0), seen.reshape(1, 1)).derivative
        torch.testing.assert_close(seen * derivative.squeeze(), 1 / eta.reshape(1), rtol=1e-7, atol=0)


@given(seed=st.integers(0, 30))
def test_message_passing_does_not_depend_on_bases_or_orders(seed):
    y = measure(DICTIONARY, sparse(2, N, 0.2, seed=seed), 20)
    rotation, order = (
        torch.linalg.qr(gaussian(M, M, seed=seed)).Q,
        torch.randperm(N, generator=torch.Generator().manual_seed(seed)),
    )
    for make in (
        lambda a: AMP(a, SoftDenoiser(1.3)),
        lambda a: VAMP(a, BernoulliGaussian(0.1), 0.01),
        lambda a: VAMP(a, TunedBernoulliGaussian()),
    ):
        plain = unroll(make(DICTIONARY), 4)(y)
        torch.testing.assert_close(unroll(make(rotation @ DICTIONARY), 4)(y @ rotation.T), plain, rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(unroll(make(DICTIONARY[:, order]), 4)(y), plain[:, order], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["AMP, soft", "AMP, fitted", "VAMP, fitted"])
def test_what_is_told_nothing_follows_the_scale_of_the_data(name):
    net = unroll(ITERATIONS[name](), 6)
    for scale in (1e-6, 1e5):
        torch.testing.assert_close(net(scale * Y), scale * net(Y), rtol=1e-7, atol=1e-9 * scale)


def test_the_noise_is_fitted_by_maximum_likelihood():
    signal = torch.logspace(0, -3, 4000, dtype=torch.float64).expand(3, -1)
    noise = torch.tensor([[1e-2], [0.3], [4.0]], dtype=torch.float64)
    innovation = (signal + noise).sqrt() * gaussian(3, 4000)
    fitted = fit_noise(innovation, signal)
    torch.testing.assert_close(fitted, noise, rtol=0.1, atol=0)
    # The derivative of the likelihood in sigma^2 is zero there.
    slope = ((innovation**2 - signal - fitted) / (signal + fitted) ** 2).sum(1, keepdim=True) / (
        (signal + fitted) ** -2
    ).sum(1, keepdim=True)
    assert float((slope / fitted).abs().max()) < 1e-4
    assert bool((fit_noise(0.1 * signal.sqrt(), signal) > 0).all())  # less energy than the signal alone should have


def test_zeros_and_exact_recovery_stay_finite_in_single_precision():
    dictionary = conditioned(60, 120, 50).float()
    x = sparse(20, 120, 0.05, seed=3).float()
    y = torch.cat([x @ dictionary.T, torch.zeros(1, 60), 1e-12 * gaussian(1, 60).float()])
    for iteration, level in (
        (VAMP(dictionary, BernoulliGaussian(0.05), 1e-20), -100),
        (VAMP(dictionary, TunedBernoulliGaussian(), damping=0.2), -100),
        (VAMP(dictionary, PiecewiseLinear(), 1e-8), -60),
        (AMP(dictionary, TunedBernoulliGaussian(), damping=0.5), math.inf),
    ):
        net = unroll(iteration, 80, untied="denoiser")
        estimate = net(y)
        assert bool(torch.isfinite(estimate).all())
        assert torch.equal(estimate[20], torch.zeros(120))
        assert nmse(estimate[:20].detach(), x) < level
        estimate.square().sum().backward()
        assert all(bool(torch.isfinite(p.grad).all()) for p in net.parameters() if p.grad is not None)


# The limit


@pytest.mark.parametrize("denoiser", [BernoulliGaussian(0.1), TunedBernoulliGaussian()])
def test_amp_reaches_the_limit_told_the_prior_or_not(denoiser):
    """Over 2,000 signals, told the prior: -31.8, -34.9, -35.0 dB at iterations 8, 12, 16."""
    dictionary, x = unit_dictionary(250, 500), sparse(100, 500, 0.1, seed=11)
    got = path(AMP(dictionary, denoiser), measure(dictionary, x, 30), x, 16)
    assert [got[7], got[11], got[15]] == pytest.approx([-31.8, -34.9, -35.0], abs=0.8)
    assert got[11] == pytest.approx(-34.9, abs=0.3)


# At iterations 8, 12, 16 over 300 signals at 30 dB, told prior and noise, by condition number.
VAMP_TABLE = {5: [-34.3, -34.8, -34.8], 30: [-29.4, -31.6, -31.9], 50: [-27.6, -30.8, -31.2]}


@pytest.mark.parametrize("condition", VAMP_TABLE)
def test_vamp_reaches_its_figures_for_ill_conditioned_dictionaries_told_or_not(condition):
    dictionary, x = conditioned(250, 500, condition, seed=2), sparse(100, 500, 0.1, seed=51)
    y = measure(dictionary, x, 30)
    noise = float((y.var(1) * 1e-3).mean())
    told, tuned = (
        path(it, y, x, 16)
        for it in (VAMP(dictionary, BernoulliGaussian(0.1), noise), VAMP(dictionary, TunedBernoulliGaussian()))
    )
    assert [told[11], told[15]] == pytest.approx(VAMP_TABLE[condition][1:], abs=0.5)
    for got in (told, tuned):
        assert all(
            value <= wanted + 0.5
            for value, wanted in zip((got[7], got[11], got[15]), VAMP_TABLE[condition], strict=True)
        )
    assert tuned[15] < told[15] + 0.1  # it also adapts to the noise of each sample


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: AMP(2 * DICTIONARY, SoftDenoiser(1.0)),
            "AMP needs columns of norm 1; the mean square of this dictionary's norms is 4: divide by",
        ),
        (
            lambda: AMP(DICTIONARY, SoftDenoiser(1.0), damping=1.0),
            r"damping must lie in \[0, 1\), 0 for none; got 1\.0",
        ),
        (
            lambda: VAMP(DICTIONARY, SoftDenoiser(1.0), damping=-0.1),
            r"damping must lie in \[0, 1\), 0 for none; got "
            r"-0\.1",
        ),
        (
            lambda: VAMP(DICTIONARY, SoftDenoiser(1.0), 0.0),
            r"noise_variance must be positive and finite, or None for "
            r"one that is fitted; got 0\.0",
        ),
        (lambda: VAMP(DICTIONARY, SoftDenoiser(1.0), float("nan")), "noise_variance must be positive and finite"),
        (
            lambda: unroll(AMP(DICTIONARY, SoftDenoiser(1.0)), 2)(Y[:, 1:]),
            r"data must have shape \(batch, \.\.\., 10\)",
        ),
        (
            lambda: unroll(VAMP(DICTIONARY, SoftDenoiser(1.0)), 2)(Y[:, 1:]),
            r"data must have shape \(batch, \.\.\., "
            r"10\), 10 being the rows of the dictionary",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("kind", [AMP, VAMP])
def test_dictionaries_that_cannot_be_used_are_refused(kind):
    holes = DICTIONARY.clone()
    holes[:, 3] = 0
    with pytest.raises(ValueError, match="column 3 of the dictionary is zero"):
        kind(holes, SoftDenoiser(1.0))
    with pytest.raises(TypeError, match="here is for real dictionaries"):
        kind(torch.complex(DICTIONARY, DICTIONARY) / 2**0.5, SoftDenoiser(1.0))


def test_an_iteration_takes_a_copy_of_its_denoiser_in_its_own_precision():
    denoiser = SoftDenoiser(1.14)
    amp = AMP(DICTIONARY.float(), denoiser)
    assert (amp.denoiser.multiplier.dtype, denoiser.multiplier.dtype) == (torch.float32, torch.float64)
    assert torch.equal(amp.denoiser.multiplier, torch.tensor(1.14))
    assert AMP(DICTIONARY, denoiser).denoiser.multiplier.item() == 1.14
