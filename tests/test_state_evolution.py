"""The state evolution of AMP and the oracle against random draws, closed forms, and AMP itself."""

import math

import pytest
import torch
from iterations import gaussian, unit_dictionary
from sparse_signals import measure, sparse

from unrolling import unroll
from unrolling.algorithms.messages.amp import AMP
from unrolling.algorithms.messages.state_evolution import (
    SparsePrior,
    mean_square_error,
    measurement_noise,
    oracle_least_squares,
    oracle_nmse,
    state_evolution,
    state_evolution_limit,
)
from unrolling.prox.bernoulli_gaussian import BernoulliGaussian
from unrolling.prox.denoisers import ExponentialDenoiser, PiecewiseLinear, SoftDenoiser, Spline

M, N = 10, 14
PRIOR = SparsePrior(0.1)
DICTIONARY, Y = unit_dictionary(M, N), gaussian(5, M)


TABLE = {
    20: (-23.7, 8, [-4.2, -7.9, -11.6, -15.4, -18.9, -21.4, -22.8, -23.4, -23.6, -23.7]),
    30: (-35.0, 9, [-4.2, -8.0, -12.0, -16.5, -21.3, -26.3, -30.7, -33.4, -34.6, -34.9]),
    40: (-45.6, 11, [-4.2, -8.0, -12.1, -16.6, -21.6, -27.2, -33.0, -38.6, -42.8, -44.8]),
    math.inf: (-math.inf, None, [-4.2, -8.0, -12.1, -16.6, -21.6, -27.3, -33.4, -39.8, -46.5, -53.4]),
}


@pytest.mark.parametrize("snr", TABLE)
def test_the_state_evolution_is_that_of_two_million_random_draws(snr):
    floor, near, first = TABLE[snr]
    noise = measurement_noise(snr, PRIOR, 0.5)
    evolution = state_evolution(BernoulliGaussian(0.1), PRIOR, noise, 0.5)
    assert evolution.nmse[:10] == pytest.approx(first, abs=0.12)  # the draws are good to 0.1 dB, and rounded
    assert evolution.variance[0] == pytest.approx(noise + 0.2, rel=1e-12)
    found = state_evolution_limit(BernoulliGaussian(0.1), PRIOR, noise, 0.5)
    assert found == pytest.approx(floor, abs=0.1)
    if near is None:
        assert evolution.nmse[15] == pytest.approx(-95, abs=0.1)
    else:
        assert next(t for t, value in enumerate(evolution.nmse, start=1) if value < found + 0.5) == near


@pytest.mark.parametrize("variance", [1e-10, 1e-4, 0.3])
def test_the_error_of_the_soft_threshold_has_a_closed_form(variance):
    alpha = 1.14
    q, density = 0.5 * math.erfc(alpha / 2**0.5), math.exp(-0.5 * alpha**2) / math.sqrt(2 * math.pi)
    absent = variance * 2 * ((1 + alpha**2) * q - alpha * density)
    # With r ~ N(0, s^2 + tau^2): (S(r) - x)^2 by Stein's lemma is tau^2 + E min(r^2, t^2) - 2 tau^2 P(|r| < t).
    beta = alpha * math.sqrt(variance / (1 + variance))
    qb, db = 0.5 * math.erfc(beta / 2**0.5), math.exp(-0.5 * beta**2) / math.sqrt(2 * math.pi)
    inside = (1 + variance) * (1 - 2 * qb - 2 * beta * db) + alpha**2 * variance * 2 * qb
    present = variance + inside - 2 * variance * (1 - 2 * qb)
    assert mean_square_error(SoftDenoiser(alpha), variance, PRIOR) == pytest.approx(
        0.1 * present + 0.9 * absent, rel=1e-5
    )


@pytest.mark.parametrize("variance", [1e-9, 1e-3, 0.1, 5.0])
@torch.no_grad()
def test_no_denoiser_beats_the_posterior_mean_whose_error_is_its_average_variance(variance):
    best = mean_square_error(BernoulliGaussian(0.1), variance, PRIOR)
    others = [
        SoftDenoiser(1.14),
        PiecewiseLinear((1.5, 3.0), (0.1, 1.2, 1.0)),
        ExponentialDenoiser(),
        Spline(),
        BernoulliGaussian(0.12),
        BernoulliGaussian(0.1, 1.1),
    ]
    assert all(mean_square_error(other, variance, PRIOR) > best for other in others)
    x = sparse(1, 400_000, 0.1, seed=2)
    got = BernoulliGaussian(0.1)(
        x + math.sqrt(variance) * gaussian(1, 400_000, seed=8), torch.full((1, 1), variance, dtype=torch.float64)
    )
    assert float(got.derivative) * variance == pytest.approx(best, rel=0.03)
    assert float((got.estimate - x).square().mean()) == pytest.approx(best, rel=0.03)


@pytest.mark.parametrize(
    "denoiser", [BernoulliGaussian(0.1), SoftDenoiser(1.14), PiecewiseLinear((2.0, 3.0), (0.1, 1.5, 1.0))]
)
def test_amp_follows_the_state_evolution(denoiser):
    dictionary = unit_dictionary(2000, 4000, dtype=torch.float32)
    x = sparse(64, 4000, 0.1, seed=5).float()
    noise = measurement_noise(30, PRIOR, 0.5)
    y = x @ dictionary.T + noise**0.5 * gaussian(64, 2000, seed=7).float()
    predicted = state_evolution(denoiser, PRIOR, noise, 0.5, 12)
    before = torch.zeros_like(x)
    with torch.no_grad():
        for state, level, variance in zip(
            unroll(AMP(dictionary, denoiser), 12).trajectory(y), predicted.nmse, predicted.variance, strict=True
        ):
            # Averaged in dB: the error of a signal grows fast with its share of non-zeros, which varies by some per
            # cent.
            measured = 10 * torch.log10((state.x - x).square().sum(1) / x.square().sum(1))
            assert float(measured.mean()) == pytest.approx(level, abs=0.4)
            deviation = before + state.residual @ dictionary - x
            assert float(state.residual.square().mean()) == pytest.approx(float(deviation.square().mean()), rel=0.02)
            assert float(state.residual.square().mean()) == pytest.approx(variance, rel=0.15)
            before = state.x


def test_an_exploding_state_evolution_is_infinite_and_a_certain_prior_is_linear():
    assert state_evolution_limit(Spline(1.5), PRIOR, 0.01, 0.5) == math.inf
    dense = SparsePrior(1.0, 2.0)
    # x ~ N(0, 2) seen through N(0, 3): the error of the identity is 3, that of the best linear estimate 6/5.
    assert mean_square_error(SoftDenoiser(0.0), 3.0, dense) == pytest.approx(3, rel=1e-9)
    assert mean_square_error(SoftDenoiser(0.0, 0.4), 3.0, dense) == pytest.approx(1.2, rel=1e-9)


REFERENCE = unit_dictionary(250, 500)
SIGNALS = sparse(100, 500, 0.1, seed=11)


@pytest.mark.parametrize(("snr", "floor"), [(20, -26.0), (30, -36.0), (40, -46.0)])
def test_the_oracle_knows_the_support(snr, floor):
    y = measure(REFERENCE, SIGNALS, snr)
    assert oracle_nmse(y, REFERENCE, SIGNALS) == pytest.approx(floor, abs=0.3)
    estimate, support = oracle_least_squares(y[:5], REFERENCE, SIGNALS[:5] != 0), SIGNALS[:5] != 0
    assert bool((estimate[~support] == 0).all())
    correlation = (y[:5] - estimate @ REFERENCE.T) @ REFERENCE
    assert float(correlation[support].abs().max()) < 1e-12
    torch.testing.assert_close(
        oracle_least_squares(measure(REFERENCE, SIGNALS[:5]), REFERENCE, support), SIGNALS[:5], rtol=0, atol=1e-12
    )


def test_an_oracle_with_too_large_a_support_takes_the_solution_of_least_norm():
    y = gaussian(2, M)
    torch.testing.assert_close(
        oracle_least_squares(y, DICTIONARY, torch.ones(1, N, dtype=torch.bool)),
        y @ torch.linalg.pinv(DICTIONARY).T,
        rtol=0,
        atol=1e-12,
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: state_evolution(SoftDenoiser(1.0), SparsePrior(0.0), 0.1, 0.5),
            r"the prior's probability must lie "
            r"in \(0, 1\]; got 0\.0",
        ),
        (
            lambda: state_evolution(SoftDenoiser(1.0), SparsePrior(0.1, -1.0), 0.1, 0.5),
            r"the prior's signal_variance "
            r"must be positive and finite; got -1\.0",
        ),
        (
            lambda: state_evolution(SoftDenoiser(1.0), PRIOR, -0.1, 0.5),
            r"noise_variance must be at least 0 and "
            r"finite; got -0\.1",
        ),
        (
            lambda: state_evolution(SoftDenoiser(1.0), PRIOR, 0.1, 0.0),
            r"undersampling m/n must be positive and "
            r"finite; got 0\.0",
        ),
        (lambda: state_evolution(SoftDenoiser(1.0), PRIOR, 0.1, 0.5, 0), "iterations must be at least 1; got 0"),
        (lambda: mean_square_error(SoftDenoiser(1.0), 0.0, PRIOR), r"variance must be positive and finite; got 0\.0"),
        (lambda: oracle_least_squares(Y[:, 1:], DICTIONARY, Y != 0), r"y must have shape \(batch, 10\)"),
        (lambda: oracle_least_squares(Y, DICTIONARY, Y != 0), r"support must have shape \(5, 14\); got \(5, 10\)"),
    ],
)
def test_what_cannot_be_used_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
