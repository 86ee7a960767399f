"""Alphabets, the posterior mean, real forms of complex channels, and what detectors refuse."""

import math

import pytest
import torch
from channels import BPSK, received
from hypothesis import given
from hypothesis import strategies as st
from iterations import gaussian

from unrolling.algorithms.detection.linear_detection import lmmse, matched_filter, zero_forcing
from unrolling.algorithms.detection.mimo import (
    MODULATIONS,
    MatchedFiltering,
    Received,
    adjoint,
    apply,
    complex_symbols,
    decide,
    find_modulation,
    pam,
    posterior,
    real_form,
    wrong_bits,
)
from unrolling.algorithms.messages.oamp import OAMP

# Alphabets


@pytest.mark.parametrize("order", [2, 4, 8, 16])
def test_levels_are_evenly_spaced_symmetric_and_of_mean_square_one(order):
    levels = pam(order)
    torch.testing.assert_close(levels.square().mean(), torch.tensor(1.0, dtype=torch.float64), rtol=1e-15, atol=0)
    torch.testing.assert_close(levels, -levels.flip(0), rtol=0, atol=0)
    assert float(levels.diff().std()) < 1e-15 if order > 2 else levels.tolist() == [-1, 1]


def test_modulations_have_the_published_numbers_of_points():
    assert {name: m.order ** (2 if m.complex else 1) for name, m in MODULATIONS.items()} == {
        "bpsk": 2,
        "qpsk": 4,
        "16qam": 16,
        "64qam": 64,
    }
    assert [m.bits * (2 if m.complex else 1) for m in MODULATIONS.values()] == [1, 2, 4, 6]
    torch.testing.assert_close(
        MODULATIONS["16qam"].levels() * math.sqrt(5), torch.tensor([-3.0, -1, 1, 3], dtype=torch.float64)
    )


@pytest.mark.parametrize("order", [2, 4, 8])
def test_labels_of_neighbours_differ_in_one_bit_and_labels_are_a_metric(order):
    wrong = wrong_bits(order)
    assert wrong.diagonal().eq(0).all()
    assert wrong.diagonal(1).eq(1).all()
    assert torch.equal(wrong, wrong.T)
    assert wrong.sum().item() == order**2 * math.log2(order) / 2  # half of all bits of all pairs
    assert (wrong[:, None, :] <= wrong[:, :, None] + wrong[None, :, :]).all()


@given(seed=st.integers(0, 1000), order=st.sampled_from([2, 4, 8]))
def test_the_nearest_level_decides(seed, order):
    x = 2 * gaussian(5, 7, seed=seed)
    assert torch.equal(decide(x, pam(order)), (x.unsqueeze(-1) - pam(order)).abs().argmin(-1))


@pytest.mark.parametrize("name", ["16-QAM", "16qam", "16_qam"])
def test_a_modulation_is_found_however_it_is_written(name):
    assert find_modulation(name) is MODULATIONS["16qam"]


# The posterior mean


def reference(z, variance, levels):
    """Bayes' rule over the alphabet, density by density."""
    density = torch.exp(-((z.unsqueeze(-1) - levels) ** 2) / (2 * variance.unsqueeze(-1)))
    weight = density / density.sum(-1, keepdim=True)
    mean = (weight * levels).sum(-1)
    return mean, (weight * levels**2).sum(-1) - mean**2


@pytest.mark.parametrize("order", [2, 4, 8])
def test_the_posterior_is_bayes_rule(order):
    z, variance = 1.5 * gaussian(40, 6, seed=1), 0.05 + gaussian(40, 1, seed=2).abs()
    mean, spread = posterior(z, variance, pam(order))
    wanted = reference(z, variance, pam(order))
    torch.testing.assert_close(mean, wanted[0], rtol=0, atol=1e-13)
    torch.testing.assert_close(spread, wanted[1], rtol=0, atol=1e-13)


@pytest.mark.parametrize("order", [2, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_noise_the_posterior_mean_is_the_nearest_level_and_nothing_overflows(order, dtype):
    levels, z = pam(order).to(dtype), 1.7 * gaussian(50, 4, seed=3, dtype=dtype)
    mean, spread = posterior(z, torch.full((50, 1), 1e-9, dtype=dtype), levels)
    torch.testing.assert_close(mean, levels[decide(z, levels)], rtol=1e-6, atol=1e-6)
    assert torch.isfinite(spread).all()
    far, _ = posterior(torch.full((1, 1), 1e6, dtype=dtype), torch.full((1, 1), 1e-9, dtype=dtype), levels)
    torch.testing.assert_close(far, levels[-1:].unsqueeze(0))


def test_in_much_noise_nothing_is_known():
    for order in (2, 4, 8):
        mean, spread = posterior(gaussian(3, 4), torch.full((3, 1), 1e12, dtype=torch.float64), pam(order))
        torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-11)
        torch.testing.assert_close(spread, torch.ones_like(spread), rtol=0, atol=1e-11)
    assert posterior(torch.zeros(1, 1), torch.ones(1, 1), pam(4)).mean.item() == 0


# Products and complex channels


@pytest.mark.parametrize("shared", [True, False])
def test_products_with_a_channel_of_each_sample_or_one_for_all(shared):
    matrix, x, y = gaussian(1 if shared else 5, 4, 3), gaussian(5, 3, seed=1), gaussian(5, 4, seed=2)
    for b in range(5):
        own = matrix[0 if shared else b]
        torch.testing.assert_close(apply(matrix, x)[b], own @ x[b])
        torch.testing.assert_close(adjoint(matrix, y)[b], own.T @ y[b])


def complex_channel(batch=5, n=4, k=3, seed=0):
    channel = torch.complex(gaussian(batch, n, k, seed=seed), gaussian(batch, n, k, seed=seed + 1)) / 2**0.5
    x = BPSK[torch.randint(2, (batch, 2 * k), generator=torch.Generator().manual_seed(seed))]
    noise = torch.complex(gaussian(batch, n, seed=seed + 2), gaussian(batch, n, seed=seed + 3)) / 2**0.5
    return channel, x, noise


def test_the_real_form_is_the_complex_channel():
    channel, x, noise = complex_channel()
    symbols = complex_symbols(x)
    torch.testing.assert_close(symbols.abs().square(), torch.ones(5, 3, dtype=torch.float64))  # QPSK of energy one
    y = (channel @ symbols.unsqueeze(-1)).squeeze(-1)
    real, matrix, variance = real_form(y, channel, torch.full((1, 1), 0.3, dtype=torch.float64))
    torch.testing.assert_close(apply(matrix, x), real)
    assert float(variance) == 0.15
    stacked = torch.cat([noise.real, noise.imag], dim=1)
    # distances are the same
    torch.testing.assert_close((real + stacked - apply(matrix, x)).square().sum(1), noise.abs().square().sum(1))


def test_the_lmmse_estimate_of_the_real_form_is_the_complex_one():
    channel, x, noise = complex_channel(seed=7)
    y = (channel @ complex_symbols(x).unsqueeze(-1)).squeeze(-1) + 0.4 * noise
    variance = torch.full((1, 1), 0.16, dtype=torch.float64)
    wanted = torch.linalg.solve(channel.mH @ channel + 0.16 * torch.eye(3), (channel.mH @ y.unsqueeze(-1))).squeeze(-1)
    torch.testing.assert_close(complex_symbols(lmmse(real_form(y, channel, variance))), wanted)


def test_the_gain_of_a_channel_does_not_change_the_filtered_data():
    data, _ = received()
    once, more = MatchedFiltering()(data), MatchedFiltering()(Received(7 * data.y, 7 * data.channel))
    torch.testing.assert_close(once.matched, more.matched)
    torch.testing.assert_close(once.gram, more.gram)
    torch.testing.assert_close(once.gram.diagonal(dim1=1, dim2=2).mean(1), torch.ones(6, dtype=torch.float64))


# Linear detectors


def test_zero_forcing_without_noise_returns_the_symbols_and_is_the_pseudo_inverse():
    data, x = received(order=4, snr=300.0)
    torch.testing.assert_close(zero_forcing(data), x, rtol=0, atol=1e-10)
    noisy, _ = received(snr=3.0)
    torch.testing.assert_close(
        zero_forcing(noisy), torch.linalg.lstsq(noisy.channel, noisy.y.unsqueeze(-1)).solution.squeeze(-1)
    )


def test_lmmse_without_noise_is_zero_forcing_and_in_much_noise_a_small_matched_filter():
    data, _ = received(snr=3.0)
    quiet, loud = (Received(data.y, data.channel, torch.full((1, 1), v, dtype=torch.float64)) for v in (0.0, 1e9))
    torch.testing.assert_close(lmmse(quiet), zero_forcing(data))
    torch.testing.assert_close(1e9 * lmmse(loud), adjoint(data.channel, data.y), rtol=1e-6, atol=0)


def test_lmmse_has_the_least_error_of_all_matrices():
    """Its mean square error over symbols of variance one and the noise is the trace of (I + H^T H / sigma^2)^-1, and
    any other matrix has more.
    """
    data, _ = received(batch=1)
    (channel,), variance = data.channel, data.noise_variance.item()
    identity = torch.eye(4, dtype=torch.float64)
    # the matrix itself, by its columns
    gain = lmmse(Received(torch.eye(7, dtype=torch.float64), data.channel, data.noise_variance)).T

    def error(matrix):
        return (matrix @ channel - identity).square().sum() + variance * matrix.square().sum()

    torch.testing.assert_close(error(gain), torch.linalg.inv(identity + channel.T @ channel / variance).trace())
    for seed in range(5):
        assert error(gain + 1e-3 * gaussian(4, 7, seed=seed)) > error(gain)


def test_an_unbiased_estimate_has_gains_of_one():
    data, _ = received(batch=1)
    # what arrives when one stream alone sends 1
    columns = Received(data.channel[0].T.contiguous(), data.channel, data.noise_variance)
    torch.testing.assert_close(lmmse(columns, unbiased=True).diagonal(), torch.ones(4, dtype=torch.float64))
    assert (lmmse(columns).diagonal() < 1).all()


def test_the_matched_filter_makes_as_many_errors_as_the_gaussian_tail_for_orthogonal_columns():
    """BER = Q(|h| / sigma), within four standard deviations of a count."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(6, 3, generator=generator, dtype=torch.float64))[0] * 1.3
    x = BPSK[torch.randint(2, (40_000, 3), generator=generator)]
    y = x @ basis.T + 0.8 * torch.randn(40_000, 6, generator=generator, dtype=torch.float64)
    data = Received(y, basis.unsqueeze(0))
    wrong = (matched_filter(data).sign() != x).sum().item()
    rate = 0.5 * math.erfc(1.3 / 0.8 / math.sqrt(2))
    assert abs(wrong - 120_000 * rate) < 4 * math.sqrt(120_000 * rate)
    assert torch.equal(matched_filter(data).sign(), zero_forcing(data).sign())


@pytest.mark.parametrize("detector", [matched_filter, zero_forcing, lmmse])
def test_streams_may_be_numbered_and_turned_over_at_will(detector):
    data, _ = received(snr=2.0)
    order, signs = torch.tensor([2, 0, 3, 1]), torch.tensor([1.0, -1, -1, 1], dtype=torch.float64)
    turned = detector(Received(data.y, data.channel[:, :, order] * signs, data.noise_variance))
    torch.testing.assert_close(turned, detector(data)[:, order] * signs)


@pytest.mark.parametrize("detector", [matched_filter, zero_forcing, lmmse])
def test_one_channel_for_all_samples_is_that_channel_for_each(detector):
    data, _ = received(shared=True)
    each = Received(data.y, data.channel.expand(6, -1, -1), data.noise_variance)
    torch.testing.assert_close(detector(data), detector(each))


# Bad input


def test_a_channel_of_dependent_columns_is_refused_by_zero_forcing_and_taken_by_the_others():
    data, _ = received(n=5, k=3)
    channel = data.channel.clone()
    channel[2, :, 1] = -2 * channel[2, :, 0]
    singular = data._replace(channel=channel)
    with pytest.raises(
        ValueError,
        match="the channel of sample 2 has rank 2, and zero forcing needs its 3 columns to be independent: use lmmse",
    ):
        zero_forcing(singular)
    assert torch.isfinite(lmmse(singular)).all()
    with pytest.raises(ValueError, match="a channel whose columns depend on each other needs noise to be inverted"):
        lmmse(singular._replace(noise_variance=torch.zeros(1, 1, dtype=torch.float64)))


def test_more_streams_than_antennas_are_refused_by_zero_forcing():
    data, _ = received(n=3, k=5)
    with pytest.raises(
        ValueError, match="at least as many antennas as streams; the channel is 3 x 5: use lmmse, or sphere_decode"
    ):
        zero_forcing(data)
    assert lmmse(data).shape == (6, 5)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"y": torch.zeros(6, 5, dtype=torch.float64)},
            ValueError,
            r"y is \(batch, N\) and channel \(batch, N, "
            r"K\).*got \(6, 5\) and \(6, 7, 4\)",
        ),
        ({"channel": torch.zeros(5, 7, 4, dtype=torch.float64)}, ValueError, r"got \(6, 7\) and \(5, 7, 4\)"),
        ({"channel": torch.zeros(7, 4, dtype=torch.float64)}, ValueError, r"got \(6, 7\) and \(7, 4\)"),
        ({"channel": torch.zeros(6, 7, 4)}, TypeError, "have one dtype; got torch.float64, torch.float32"),
        ({"channel": torch.zeros(6, 7, 4, dtype=torch.complex128)}, TypeError, "real_form"),
        (
            {"noise_variance": torch.ones(6, 7, dtype=torch.float64)},
            ValueError,
            r"noise_variance is \(batch, 1\).*got "
            r"\(6, 7\)",
        ),
        ({"noise_variance": torch.ones(6, dtype=torch.float64)}, ValueError, r"got \(6,\)"),
        ({"noise_variance": None}, ValueError, r"needs to know the noise: give Received a noise_variance \(batch, 1\)"),
    ],
)
def test_data_that_do_not_belong_together_are_refused(change, error, message):
    data, _ = received()
    for detect in (lmmse, OAMP(BPSK).check):
        with pytest.raises(error, match=message):
            detect(data._replace(**change))


def test_a_plain_tensor_is_refused():
    with pytest.raises(TypeError, match=r"a detector takes a Received\(y, channel, noise_variance\); got a Tensor"):
        OAMP(BPSK).check(torch.zeros(3, 4))
    with pytest.raises(
        TypeError, match=r"real_form takes complex y and channel; got torch\.float64 and torch\.float64"
    ):
        real_form(*received()[0][:2])


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([1.0], "a vector of at least two"),
        ([1.0, -1.0], "must rise and be symmetric"),
        ([-1.0, 0.5], "must rise and be symmetric"),
        ([-3.0, -1.0, 1.0, 3.0], r"mean square one; theirs is 5: divide by 2\.236"),
    ],
)
def test_levels_that_are_none_are_refused(levels, message):
    with pytest.raises(ValueError, match=message):
        OAMP(torch.tensor(levels))


@pytest.mark.parametrize("order", [0, 1, 3, 6])
def test_orders_that_are_no_powers_of_two_are_refused(order):
    with pytest.raises(ValueError, match=f"order is {order}; it is the number of levels, a power of two"):
        pam(order)


def test_an_unknown_modulation_gets_the_list():
    with pytest.raises(ValueError, match="no modulation '32qam'; there are bpsk, qpsk, 16qam, 64qam"):
        find_modulation("32qam")
