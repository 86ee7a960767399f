"""Detectors that are never worse than LMMSE, and what received vectors say of noise and alphabet."""

import pytest
import torch
from families import by_day

from unrolling.algorithms.detection.linear_detection import lmmse
from unrolling.algorithms.detection.mimo import Received, apply, decide, pam
from unrolling.algorithms.detection.received_noise import judge_alphabet, judge_noise, linear_estimate
from unrolling.algorithms.detection.safeguarded import SafeguardedDetector
from unrolling.systems.catalogue import find
from unrolling.tasks.communications.channels import (
    iid_channels,
    kronecker_channels,
    noise_variance,
    toeplitz_channel,
)

LEVELS = pam(2).float()
COUNT = 1500


def spread(count, antennas, streams, decades, draw):
    """Channels whose singular values fall over some decades."""
    left, _, right = torch.linalg.svd(
        torch.randn(count, antennas, streams, generator=draw, dtype=torch.float64), full_matrices=False
    )
    return left * torch.logspace(0, -decades, streams, dtype=torch.float64) @ right


CHANNELS = {
    "independent": lambda draw: iid_channels(COUNT, 30, 20, draw, torch.float64),
    "square": lambda draw: iid_channels(COUNT, 12, 12, draw, torch.float64),
    "small": lambda draw: iid_channels(COUNT, 9, 5, draw, torch.float64),
    "kronecker 0.6": lambda draw: kronecker_channels(COUNT, 16, 12, 0.6, draw, torch.float64),
    "kronecker 0.9": lambda draw: kronecker_channels(COUNT, 30, 20, 0.9, draw, torch.float64),
    "toeplitz 0.3": lambda draw: toeplitz_channel(30, 20, 0.3, draw, torch.float64),
    "toeplitz 0.7": lambda draw: toeplitz_channel(24, 16, 0.7, draw, torch.float64),
    "toeplitz 0.9": lambda draw: toeplitz_channel(30, 20, 0.9, draw, torch.float64),
    "ill-conditioned": lambda draw: spread(COUNT, 30, 20, 3, draw),
}


def sent(channel, snr, draw, levels=LEVELS):
    """Data with their noise variance, and symbols."""
    channel = channel.float()
    x = levels[torch.randint(len(levels), (COUNT, channel.shape[2]), generator=draw)]
    variance = noise_variance(channel, torch.full((1, 1), 10 ** (snr / 10)))
    noise = torch.randn(COUNT, channel.shape[1], generator=draw)
    return Received(apply(channel, x) + variance.sqrt() * noise, channel, variance), x


def wrong(x, symbols):
    return (LEVELS[decide(x, LEVELS)] != symbols).double().mean(1)


@pytest.mark.parametrize("name", by_day(*CHANNELS, count=4))
@pytest.mark.parametrize(
    ("system", "told"), by_day(("ep_net", 10.0), ("detnet", None), ("oamp_net", 1.0), ("oamp_net", 0.1), count=2)
)
def test_no_channel_and_no_noise_make_it_worse_than_lmmse(name, system, told):
    draw = torch.Generator().manual_seed(11)
    channel = CHANNELS[name](draw)
    net = SafeguardedDetector(find(f"communications/{system}").pretrained("detection"), LEVELS)
    for snr in (0.0, 12.0):
        data, x = sent(channel, snr, draw)
        linear = wrong(lmmse(data, unbiased=True), x)
        if name == "square" and told not in (None, 1.0):
            linear = wrong(linear_estimate(data, told * data.noise_variance)[0], x)  # nothing shows the noise
        given = None if told is None else told * data.noise_variance
        more = wrong(net(Received(data.y, data.channel, given)), x) - linear
        assert float(more.mean()) <= 3 * float(more.std()) / COUNT**0.5 + 1e-4, (name, snr)


def test_on_its_own_channels_the_network_decides():
    draw = torch.Generator().manual_seed(3)
    data, x = sent(CHANNELS["independent"](draw), 10.0, draw)
    net = find("communications/detnet").pretrained("detection")
    found = SafeguardedDetector(net, LEVELS).detect(data)
    with torch.no_grad():
        alone = wrong(net(data), x)
    assert found.rate < 0.02
    assert not found.distrusted.any()
    assert float(wrong(found.x, x).mean()) <= float(alone.mean()) + 1e-4
    assert float(wrong(found.x, x).mean()) < 0.4 * float(wrong(lmmse(data, unbiased=True), x).mean())


def test_what_a_network_makes_of_nothing_is_never_taken():
    draw = torch.Generator().manual_seed(4)
    data, _ = sent(CHANNELS["small"](draw), 10.0, draw)
    found = SafeguardedDetector(lambda part: part.y.new_full((len(part.y), 5), float("nan")), LEVELS).detect(data)
    assert bool(found.linear.all())
    torch.testing.assert_close(found.x, linear_estimate(data, data.noise_variance)[0].float())
    with pytest.raises(ValueError, match="trials is a number of vectors"):
        SafeguardedDetector(lambda part: part.y, LEVELS, trials=-1)


@pytest.mark.parametrize("factor", [0.1, 1.0, 10.0])
def test_noise_that_was_told_wrong_is_found_out(factor):
    draw = torch.Generator().manual_seed(5)
    data, _ = sent(CHANNELS["kronecker 0.9"](draw), 6.0, draw)
    assert data.noise_variance is not None
    noise = judge_noise(Received(data.y, data.channel, factor * data.noise_variance))
    assert noise.ratio == pytest.approx(1 / factor, rel=0.05)
    assert noise.replaced == (factor != 1.0)
    assert float(noise.variance.mean()) == pytest.approx(
        float(data.noise_variance.mean()), rel=0.05 if factor != 1.0 else 1e-6
    )
    alone = judge_noise(Received(data.y, data.channel))
    assert float(alone.variance.mean()) == pytest.approx(float(data.noise_variance.mean()), rel=0.05)
    one = judge_noise(Received(data.y[:1], data.channel[:1], factor * data.noise_variance))  # too few to tell a tenth
    assert not one.replaced or factor == 0.1


def test_linear_estimates_are_lmmse_with_the_errors_they_have():
    draw = torch.Generator().manual_seed(6)
    data, x = sent(CHANNELS["small"](draw), 8.0, draw)
    estimate, error = linear_estimate(data, data.noise_variance)
    torch.testing.assert_close(estimate.float(), lmmse(data, unbiased=True), rtol=1e-3, atol=1e-3)
    assert float((estimate - x).square().mean() / error.mean()) == pytest.approx(1, rel=0.05)
    dependent = data.channel.clone()
    dependent[:, :, 0] = dependent[:, :, 1]
    assert bool(torch.isfinite(linear_estimate(data._replace(channel=dependent), torch.zeros(1, 1))[0]).all())


@pytest.mark.parametrize("order", [2, 4, 8])
def test_an_alphabet_is_told_from_the_symbols_but_not_below_the_noise(order):
    draw = torch.Generator().manual_seed(7)
    channel = CHANNELS["small"](draw)
    names = {4: "16qam", 8: "64qam"}
    data, _ = sent(channel, 25.0, draw, pam(order).float())
    found = judge_alphabet(data, data.noise_variance, LEVELS)
    assert found.likelier == names.get(order)
    assert not found.certain
    data, _ = sent(channel, -5.0, draw, pam(order).float())
    assert judge_alphabet(data, data.noise_variance, LEVELS).likelier is None
    data, _ = sent(channel, 15.0, draw)
    scaled = judge_alphabet(data._replace(channel=data.channel / 2), data.noise_variance, LEVELS)
    assert (scaled.certain, scaled.likelier) == (True, None)
    assert scaled.power == pytest.approx(4, rel=0.05)
