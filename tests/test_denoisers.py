"""Denoisers for message passing against numerical integration, automatic differentiation, and what is known of each."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from iterations import gaussian
from scipy.interpolate import BSpline
from sparse_signals import sparse

from unrolling.prox import soft_threshold
from unrolling.prox.bernoulli_gaussian import BernoulliGaussian, TunedBernoulliGaussian
from unrolling.prox.denoisers import ExponentialDenoiser, PiecewiseLinear, SoftDenoiser, Spline

KINDS = {
    "soft": lambda: SoftDenoiser(1.14),
    "soft, gain": lambda: SoftDenoiser(1.3, 1.2),
    "piecewise linear": lambda: PiecewiseLinear((1.1, 2.7), (0.2, 1.4, 0.9)),
    "exponential": lambda: ExponentialDenoiser(2.2, 0.95, -0.9),
    "spline": lambda: Spline(3.1, 0.97, -1.3),
    "Bernoulli-Gaussian": lambda: BernoulliGaussian(0.1, 1.7),
    "Bernoulli-Gaussian, fitted": lambda: TunedBernoulliGaussian(0.15, steps=3),
}
FIXED = [name for name in KINDS if "fitted" not in name]
variances = st.floats(1e-4, 1e2)


def column(values):
    """Entries as samples of their own, so that the average derivative is the derivative of each."""
    return torch.as_tensor(values, dtype=torch.float64).reshape(-1, 1)


def integrate(r, variance, probability, signal):
    """Posterior mean and variance of x ~ p N(0, s^2) + (1 - p) delta_0 given r = x + N(0, tau^2), by the trapezoidal
    rule, with nothing in closed form.
    """
    spread = min(math.sqrt(signal), math.sqrt(variance))
    grid = torch.linspace(-12 * spread, 12 * spread, 40_001, dtype=torch.float64) + (r if variance < signal else 0)
    exponent = -0.5 * grid**2 / signal - 0.5 * (r - grid) ** 2 / variance
    atom = math.log1p(-probability) - 0.5 * r**2 / variance
    top = max(float(exponent.max()), atom)
    density = probability / math.sqrt(2 * math.pi * signal) * torch.exp(exponent - top)
    mass, first, second = (float(torch.trapezoid(density * grid**k, grid)) for k in range(3))
    mass += math.exp(atom - top)
    return first / mass, second / mass - (first / mass) ** 2


@pytest.mark.parametrize("variance", [1e-6, 1e-3, 0.05, 0.7, 20.0])
@pytest.mark.parametrize(("probability", "signal"), [(0.1, 1.0), (0.02, 4.0), (0.9, 0.3)])
def test_the_bernoulli_gaussian_denoiser_is_the_posterior_mean_and_its_derivative_the_posterior_variance(
    variance, probability, signal
):
    r = math.sqrt(variance) * torch.tensor([0.0, 0.3, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 9.0], dtype=torch.float64)
    got = BernoulliGaussian(probability, signal)(column(r), torch.full((9, 1), variance, dtype=torch.float64))
    wanted = torch.tensor([integrate(float(v), variance, probability, signal) for v in r], dtype=torch.float64)
    torch.testing.assert_close(got.estimate[:, 0], wanted[:, 0], rtol=1e-7, atol=1e-9 * math.sqrt(variance))
    torch.testing.assert_close(variance * got.derivative[:, 0], wanted[:, 1], rtol=1e-6, atol=1e-9 * variance)


@pytest.mark.parametrize("name", FIXED)
def test_the_average_derivative_is_that_of_automatic_differentiation_and_of_differences(name):
    denoiser, r = KINDS[name](), (2 * gaussian(3, 50)).requires_grad_()
    variance = torch.tensor([[0.01], [0.4], [3.0]], dtype=torch.float64)
    got = denoiser(r, variance)
    exact = torch.autograd.grad(got.estimate.sum(), r)[0].mean(1, keepdim=True)
    torch.testing.assert_close(got.derivative, exact, rtol=1e-12, atol=1e-12)
    step = 1e-7
    difference = (denoiser(r + step, variance).estimate - denoiser(r - step, variance).estimate).mean(
        1, keepdim=True
    ) / (2 * step)
    torch.testing.assert_close(got.derivative, difference, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_gradients_in_the_input_the_variance_and_the_parameters(name):
    denoiser, r = KINDS[name](), gaussian(2, 6, seed=5).requires_grad_()
    variance = torch.tensor([[0.2], [0.9]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *_: tuple(denoiser(r, variance)), (r, variance, *denoiser.parameters()))


@pytest.mark.parametrize("name", KINDS)
@given(seed=st.integers(0, 100), variance=variances)
def test_denoisers_are_odd(name, seed, variance):
    r, tau = gaussian(2, 9, seed=seed), torch.full((2, 1), variance, dtype=torch.float64)
    positive, negative = KINDS[name]()(r, tau), KINDS[name]()(-r, tau)
    torch.testing.assert_close(negative.estimate, -positive.estimate, rtol=1e-12, atol=0)
    torch.testing.assert_close(negative.derivative, positive.derivative, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", [name for name in KINDS if name != "Bernoulli-Gaussian"])
@given(scale=st.floats(1e-6, 1e6))
def test_what_knows_no_scale_follows_the_data(name, scale):
    denoiser, r, variance = (
        KINDS[name](),
        sparse(2, 40, 0.2, seed=0) + 0.1 * gaussian(2, 40, seed=9),
        torch.full((2, 1), 0.01, dtype=torch.float64),
    )
    plain, scaled = denoiser(r, variance), denoiser(scale * r, scale**2 * variance)
    torch.testing.assert_close(scaled.estimate, scale * plain.estimate, rtol=1e-9, atol=1e-12 * scale)
    torch.testing.assert_close(scaled.derivative, plain.derivative, rtol=1e-9, atol=0)


def test_without_noise_the_posterior_mean_is_the_input_and_with_nothing_else_it_is_the_best_linear_one():
    r = column([-3.0, -0.2, 0.01, 1.5])
    for denoiser in (BernoulliGaussian(0.1, 2.0), TunedBernoulliGaussian()):
        torch.testing.assert_close(
            denoiser(r, torch.full((4, 1), 1e-14, dtype=torch.float64)).estimate, r, rtol=1e-9, atol=0
        )
    large = torch.full((4, 1), 1e8, dtype=torch.float64)
    got = BernoulliGaussian(0.1, 2.0)(r, large)
    torch.testing.assert_close(got.estimate, 0.1 * 2.0 / large * r, rtol=1e-6, atol=0)  # E x^2 / (E x^2 + tau^2) r
    certain = BernoulliGaussian(1 - 1e-6, 2.0)(r, torch.ones(4, 1, dtype=torch.float64))
    torch.testing.assert_close(certain.estimate, 2 / 3 * r, rtol=2e-6, atol=0)


EXTREME_R = [0.0, 1e-30, 1e-12, 1e-7, 1e-3, 1.0, 1e2, 1e4, 1e8, 1e15]
EXTREME_VARIANCE = [1e-14, 1e-10, 1e-4, 1.0, 1e4]


@pytest.mark.parametrize("name", KINDS)
def test_single_precision_is_safe_at_the_extremes(name):
    denoiser = KINDS[name]().float()
    r, variance = torch.cartesian_prod(torch.tensor(EXTREME_R), torch.tensor(EXTREME_VARIANCE)).unsqueeze(-1).unbind(1)
    r, variance = r.clone().requires_grad_(), variance.clone().requires_grad_()
    got, wanted = denoiser(r, variance), KINDS[name]()(r.detach().double(), variance.detach().double())
    torch.testing.assert_close(got.estimate.double(), wanted.estimate, rtol=1e-4, atol=1e-33)
    torch.testing.assert_close(got.derivative.double(), wanted.derivative, rtol=1e-4, atol=1e-6)
    for output in got:
        grads = torch.autograd.grad(
            output.sum(), [r, variance, *denoiser.parameters()], retain_graph=True, allow_unused=True
        )
        assert all(bool(torch.isfinite(g).all()) for g in grads if g is not None)


def test_the_soft_denoiser_is_the_soft_threshold_and_counts():
    r, variance = gaussian(3, 20), torch.tensor([[0.04], [0.5], [2.0]], dtype=torch.float64)
    got, wanted = SoftDenoiser(1.14)(r, variance), soft_threshold(r, 1.14 * variance.sqrt())
    assert torch.equal(got.estimate, wanted)
    assert torch.equal(got.derivative, (wanted != 0).double().mean(1, keepdim=True))
    doubled = SoftDenoiser(1.14, 2.0)(r, variance)
    assert torch.equal(doubled.estimate, 2 * wanted)
    torch.testing.assert_close(doubled.derivative, 2 * got.derivative)
    own = SoftDenoiser(torch.linspace(0, 3, 20, dtype=torch.float64), torch.linspace(1, 2, 20, dtype=torch.float64))(
        r, variance
    )
    one = SoftDenoiser(
        float(torch.linspace(0, 3, 20, dtype=torch.float64)[7]), float(torch.linspace(1, 2, 20, dtype=torch.float64)[7])
    )
    torch.testing.assert_close(own.estimate[:, 7:8], one(r[:, 7:8], variance).estimate)


def test_piecewise_linear_starts_as_the_soft_threshold_to_the_bit():
    r, variance = gaussian(4, 200, dtype=torch.float32), torch.rand(4, 1) + 0.1
    got, wanted = PiecewiseLinear((1.14, 2.28)).float()(r, variance), SoftDenoiser(1.14).float()(r, variance)
    assert torch.equal(got.estimate, wanted.estimate)
    torch.testing.assert_close(got.derivative, wanted.derivative)


@given(st.floats(0.1, 2.0), st.floats(0.0, 2.0), st.lists(st.floats(-2, 2), min_size=3, max_size=3), variances)
def test_piecewise_linear_interpolates_its_vertices(first, more, slopes, variance):
    tau, second = math.sqrt(variance), first + more
    vertices = [0, first, second, second + 5]
    values = np.cumsum([0, slopes[0] * first, slopes[1] * more, slopes[2] * 5])
    u = torch.linspace(0, second + 5, 97, dtype=torch.float64)
    got = PiecewiseLinear((first, second), slopes)(
        column(tau * u), torch.full((97, 1), variance, dtype=torch.float64)
    ).estimate
    torch.testing.assert_close(got, column(tau * np.interp(u, vertices, values)), rtol=1e-9, atol=1e-9 * tau)


def test_the_spline_and_the_exponential_have_their_kernels():
    u = torch.linspace(-4, 4, 401, dtype=torch.float64)
    basis = torch.from_numpy(
        np.nan_to_num(BSpline.basis_element([-2, -1, 0, 1, 2], extrapolate=False)(u.numpy() / 1.5))
    )
    one = torch.ones(401, 1, dtype=torch.float64)
    torch.testing.assert_close(
        Spline(1.5, 0.8, -0.7)(column(u), one).estimate, column(u * (0.8 - 0.7 * basis)), rtol=0, atol=1e-14
    )
    torch.testing.assert_close(
        ExponentialDenoiser(1.5, 0.8, -0.7)(column(u), one).estimate,
        column(u * (0.8 - 0.7 * torch.exp(-(u**2) / 4.5))),
        rtol=0,
        atol=1e-14,
    )


def likelihood(r, variance, probability, signal):
    """Mean log-density of r under p N(0, s^2 + tau^2) + (1 - p) N(0, tau^2)."""
    normal = torch.distributions.Normal
    parts = [
        normal(0.0, (signal + variance).sqrt()).log_prob(r) + probability.log(),
        normal(0.0, variance.sqrt()).log_prob(r) + torch.log1p(-probability),
    ]
    return torch.logsumexp(torch.stack(parts), 0).mean(-1)


@torch.no_grad()
def test_the_fit_never_lowers_the_likelihood_and_its_limit_is_the_truth():
    variance = torch.tensor([[1e-4], [0.02], [0.2]], dtype=torch.float64)
    r = 1.5 * sparse(3, 20_000, 0.08, seed=0) + variance.sqrt() * gaussian(3, 20_000, seed=7)
    path = torch.stack(
        [likelihood(r, variance, *TunedBernoulliGaussian(0.3, steps=k).fit(r, variance)) for k in range(1, 25)]
    )
    assert float(path.diff(dim=0).min()) > -1e-12
    probability, signal = TunedBernoulliGaussian(0.3, steps=300).fit(r, variance)
    torch.testing.assert_close(probability, torch.full_like(probability, 0.08), rtol=0.1, atol=0)
    torch.testing.assert_close(signal, torch.full_like(signal, 1.5**2), rtol=0.1, atol=0)


def test_the_fitted_denoiser_is_the_one_that_is_told_what_it_fits():
    r, variance = (
        sparse(1, 300, 0.1, seed=0) + 0.1 * gaussian(1, 300, seed=3),
        torch.full((1, 1), 0.01, dtype=torch.float64),
    )
    fitted = TunedBernoulliGaussian()
    probability, signal = fitted.fit(r, variance)
    for got, wanted in zip(
        fitted(r, variance), BernoulliGaussian(probability.item(), signal.item())(r, variance), strict=True
    ):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-14)


def test_the_fit_is_finite_where_there_is_nothing_to_fit():
    for r in (torch.zeros(1, 8), torch.full((1, 8), 1e-3), torch.full((1, 8), 3.0)):
        got = TunedBernoulliGaussian(steps=50).float()(r, torch.full((1, 1), 1e-2))
        assert all(bool(torch.isfinite(part).all()) for part in got)
        assert bool((got.estimate.abs() <= r.abs()).all())


def test_parameters_start_at_their_values_to_the_bit():
    denoiser = BernoulliGaussian(0.1, 1.7)
    assert (denoiser.probability.item(), denoiser.signal_variance.item()) == (0.1, 1.7)
    assert (SoftDenoiser(1.14).multiplier.item(), PiecewiseLinear((1.1, 2.3)).knots.tolist()) == (1.14, [1.1, 2.3])
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter.fill_(-1e3)
    assert 0 < denoiser.probability.item() < 1e-5
    assert denoiser.signal_variance.item() >= 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SoftDenoiser(-1.0), r"multiplier must be at least 0; got -1\.0"),
        (lambda: SoftDenoiser(float("nan")), "multiplier must be finite; got nan"),
        (lambda: SoftDenoiser(1.0, float("inf")), "gain must be finite; got inf"),
        (lambda: PiecewiseLinear((2.0, 1.0)), r"knots must be two positive numbers in order; got \(2\.0, 1\.0\)"),
        (lambda: PiecewiseLinear((0.0, 1.0)), "knots must be two positive numbers in order"),
        (lambda: PiecewiseLinear(slopes=(0.0, 1.0)), r"slopes must be three numbers; got \(0\.0, 1\.0\)"),
        (lambda: ExponentialDenoiser(0.0), r"width must be finite and positive; got 0\.0"),
        (lambda: Spline(-1.0), r"width must be finite and positive; got -1\.0"),
        (lambda: BernoulliGaussian(0.0), r"probability must lie between 1e-06 and 1 - 1e-06; got 0\.0"),
        (lambda: BernoulliGaussian(1.2), "probability must lie between"),
        (lambda: BernoulliGaussian(float("nan")), "probability must be finite; got nan"),
        (lambda: BernoulliGaussian(0.1, 0.0), r"signal_variance must be finite and positive; got 0\.0"),
        (lambda: TunedBernoulliGaussian(1.0), "probability must lie between"),
        (lambda: TunedBernoulliGaussian(steps=0), "steps must be at least 1; got 0"),
        (
            lambda: SoftDenoiser(1.0)(torch.zeros(3, 5), torch.ones(3)),
            r"variance must have shape \(batch, \.\.\., 1\), one number per sample of r, .*got \(3,\)",
        ),
        (lambda: BernoulliGaussian(0.1)(torch.zeros(3, 5), torch.ones(3, 5)), r"got \(3, 5\)"),
    ],
)
def test_values_that_cannot_be_used_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
