"""Tasks of detection: the signal-to-noise ratio as the field states it, channels with the statistics they are named
after, error rates that count bits.
"""

import math

import numpy as np
import pytest
import torch
from iterations import gaussian

from unrolling.algorithms.detection.linear_detection import matched_filter
from unrolling.algorithms.detection.mimo import Received, apply, pam
from unrolling.tasks.base import BER, NMSE, PSNR, SER, evaluate
from unrolling.tasks.communications.channels import exponential_correlation, kronecker_channels, toeplitz_channel
from unrolling.tasks.communications.detection import CHANNELS, Detection
from unrolling.tasks.communications.sequence import SequenceDetection
from unrolling.tasks.samples import Samples


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def small(**options):
    return Detection(**{"streams": 3, "antennas": 5, "held_out": 40, **options})


# The signal-to-noise ratio


@pytest.mark.parametrize("modulation", ["bpsk", "qpsk", "16qam"])
@pytest.mark.parametrize("channel", CHANNELS)
def test_the_snr_is_the_received_energy_of_a_stream_over_the_noise(modulation, channel):
    """sigma^2 = |H|_F^2 / (K SNR), and the noise that was added has that variance, within four standard deviations."""
    task = small(modulation=modulation, channel=channel, correlation=0.6)
    data, x = task.at(7.0, 20_000, generator())
    streams = x.shape[1]
    energy = data.channel.square().sum((1, 2)) / streams
    torch.testing.assert_close(energy / data.noise_variance[:, 0], torch.full((20_000,), 10**0.7), rtol=1e-4, atol=0)
    noise = (data.y - apply(data.channel, x)) / data.noise_variance.sqrt()
    assert abs(noise.square().mean().item() - 1) < 4 * (2 / noise.numel()) ** 0.5
    torch.testing.assert_close(x.square().mean(), torch.tensor(1.0), rtol=0, atol=0.02)


def test_the_snr_of_a_complex_channel_is_that_of_its_complex_form():
    """|H|_F^2 / K of the complex channel, for symbols of energy one, over the variance of a complex noise entry."""
    data, _ = small(modulation="qpsk").at(4.0, 5, generator())
    real = data.channel * 2**0.5
    channel = torch.complex(real[:, :5, :3], real[:, 5:, :3])
    torch.testing.assert_close(
        torch.cat([torch.cat([channel.real, -channel.imag], 2), torch.cat([channel.imag, channel.real], 2)], 1), real
    )
    torch.testing.assert_close(
        channel.abs().square().sum((1, 2)) / 3 / (2 * data.noise_variance[:, 0]), torch.full((5,), 10**0.4)
    )


def test_training_snrs_are_uniform_on_a_linear_scale_between_their_ends():
    task = small(low=3.0, high=10.0)
    data, _ = task.draw(20_000, generator())
    ratio = data.channel.square().sum((1, 2)) / 3 / data.noise_variance[:, 0]
    low, high = 10**0.3, 10.0
    assert ratio.min() >= low * 0.999
    assert ratio.max() <= high * 1.001
    uniform = (ratio - low) / (high - low)
    assert abs(uniform.mean().item() - 0.5) < 4 * (1 / 12 / 20_000) ** 0.5
    assert abs((uniform < 0.25).float().mean().item() - 0.25) < 4 * (3 / 16 / 20_000) ** 0.5
    narrow, _ = task.draw(100, generator(), low=5.0, high=5.0)
    torch.testing.assert_close(
        narrow.channel.square().sum((1, 2)) / 3 / narrow.noise_variance[:, 0],
        torch.full((100,), 10**0.5),
        rtol=1e-5,
        atol=0,
    )


def test_bpsk_over_one_antenna_has_the_error_rate_of_the_textbook():
    """Q(sqrt(SNR)) for a channel of gain g and noise g^2 / SNR, whatever g is."""
    task = Detection(streams=1, antennas=1, held_out=10)
    data, x = task.at(4.0, 60_000, generator())
    wrong = task.pieces(matched_filter(data), Samples(None, x))[:, 0].sum().item()
    rate = 0.5 * float(torch.erfc(torch.tensor(10**0.4 / 2, dtype=torch.float64).sqrt()))
    assert abs(wrong - 60_000 * rate) < 4 * (60_000 * rate) ** 0.5


# Channels


def test_independent_entries_have_columns_of_norm_one_on_average():
    for modulation in ("bpsk", "qpsk"):
        data, _ = small(modulation=modulation).draw(20_000, generator())
        scale = 2 if modulation == "qpsk" else 1
        norms = scale * data.channel.square().sum(1)
        torch.testing.assert_close(norms.mean(0), torch.ones(3 * scale), rtol=0, atol=0.02)
        assert not torch.equal(data.channel[0], data.channel[1])


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_toeplitz_channel_has_the_gram_matrix_of_its_name(dtype):
    channel = toeplitz_channel(60, 30, 0.55, generator(), dtype)[0]
    products = channel.mH @ channel
    index = torch.arange(30)
    wanted = 0.55 ** (index.unsqueeze(1) - index).abs().double()
    torch.testing.assert_close(products, wanted.to(dtype), rtol=0, atol=1e-12)
    assert float(torch.linalg.cond(products)) == pytest.approx(11.56, abs=0.01)  # published for 30 streams


def test_kronecker_channels_are_correlated_on_both_sides():
    """E h_ik h_jl = r^|i - j| r^|k - l| / N."""
    channels = kronecker_channels(40_000, 4, 3, 0.6, generator(), torch.float64)
    vectors = channels.flatten(1)
    covariance = vectors.T @ vectors / 40_000
    wanted = (
        torch.kron(exponential_correlation(4, 0.6, torch.float64), exponential_correlation(3, 0.6, torch.float64)) / 4
    )
    torch.testing.assert_close(covariance, wanted, rtol=0, atol=0.01)
    complex_ones = kronecker_channels(40_000, 2, 2, 0.6, generator(), torch.complex128).flatten(1)
    wanted = (
        torch.kron(exponential_correlation(2, 0.6, torch.float64), exponential_correlation(2, 0.6, torch.float64)) / 2
    )
    torch.testing.assert_close(
        complex_ones.T @ complex_ones.conj() / 40_000, wanted.to(torch.complex128), rtol=0, atol=0.01
    )


@pytest.mark.parametrize("channel", ["toeplitz", "kronecker-fixed"])
def test_a_fixed_channel_is_one_for_all_samples_and_parts_and_differs_from_seed_to_seed(channel):
    task = small(channel=channel)
    own = task.draw(4, generator()).data.channel
    assert own.shape == (1, 5, 3)
    assert torch.equal(own, task.test[0].data.channel)
    assert torch.equal(own, small(channel=channel).fixed_tensors()["channel"])
    assert not torch.equal(own, small(channel=channel, seed=1).fixed_tensors()["channel"])
    again = small(channel=channel, seed=1, fixed=task.fixed_tensors())
    assert torch.equal(again.test[0].data.channel, own)
    assert task.rows(task.test[0].data).shape == (40, 5)
    assert small().rows(small().test[0].data).shape == (40, 5 + 15)


def test_a_vector_is_one_row_with_its_channel_also_where_it_is_alone_or_shares_it():
    task = small()
    data = task.test[0].data
    rows = task.rows(data)
    assert torch.equal(rows, torch.cat([data.y, data.channel.reshape(40, 15)], dim=1))
    assert torch.equal(task.rows(Received(*(t[3:4] for t in data))), rows[3:4])
    shared = task.rows(Received(data.y, data.channel[:1], data.noise_variance))
    assert torch.equal(shared, torch.cat([data.y, data.channel[:1].reshape(1, 15).repeat(40, 1)], dim=1))


def test_channels_of_ones_own_are_read_and_shared_out(tmp_path):
    channels = gaussian(30, 6, 4).numpy()
    np.save(tmp_path / "many.npy", channels)
    task = small(data=tmp_path / "many.npy")
    assert (task.antennas, task.streams) == (6, 4)
    parts = {
        name: {tuple(c.flatten().tolist()) for c in task.known[name]} for name in ("training", "validation", "test")
    }
    assert [len(part) for part in parts.values()] == [24, 3, 3]
    assert not parts["training"] & parts["test"]
    assert not parts["validation"] & parts["test"]
    used = {tuple(c.flatten().tolist()) for c in task.test[0].data.channel}
    assert used <= parts["test"]
    np.save(tmp_path / "one.npy", channels[0])
    assert small(data=tmp_path / "one.npy").test[0].data.channel.shape == (1, 6, 4)
    np.save(tmp_path / "complex.npy", channels[0] + 1j * channels[1])
    task = small(data=tmp_path / "complex.npy", modulation="16qam")
    assert task.test[0].data.channel.shape == (1, 12, 8)
    assert "given channels" in task.summary


# Error rates


def test_error_rates_are_ratios_without_a_logarithm():
    pieces = torch.tensor([[3.0, 10], [1, 10], [0, 20]])
    assert BER.value(pieces) == pytest.approx(0.1)
    assert NMSE.value(pieces) == pytest.approx(-10)
    # as pictures are scored, each counts the same
    rates = [pieces[:2], torch.tensor([[5.0, 10]])]
    assert PSNR.value(torch.cat(rates)) == pytest.approx(-10 * math.log10(0.3 * 0.1 * 0.5) / 3)
    assert BER.level(0.01) == pytest.approx(-20)
    assert BER.level(0.0) == -300
    assert (BER.text(2.5e-3), SER.text(0.0), PSNR.text(21.234)) == (
        "0.0025 errors per bit",
        "0 errors per symbol",
        "21.23 dB",
    )


@pytest.mark.parametrize(("modulation", "bits"), [("bpsk", 1), ("qpsk", 1), ("16qam", 2), ("64qam", 3)])
def test_bits_are_counted(modulation, bits):
    task = small(modulation=modulation)
    x = task.test[0].target
    pieces = task.pieces(x, Samples(None, x))
    assert pieces[:, 0].sum() == 0
    assert pieces[:, 1].eq(bits * x.shape[1]).all()
    step = task.levels[1] - task.levels[0]
    nudged = torch.where(x < 0, x + step, x - step)  # the next level towards the middle: one bit each
    assert task.pieces(nudged, Samples(None, x))[:, 0].eq(x.shape[1]).all()
    assert task.pieces(x + 0.49 * step, Samples(None, x))[:, 0].sum() == 0


def test_a_guess_is_wrong_in_half_of_the_bits():
    task = small(modulation="64qam", held_out=4000)
    guess = task.levels[torch.randint(8, task.test[0].target.shape, generator=generator())]
    rate = task.metric.value(task.pieces(guess, task.test[0]))
    assert rate == pytest.approx(0.5, abs=4 * 0.5 / (4000 * 18) ** 0.5)


def test_a_complex_symbol_is_wrong_if_either_part_is():
    task = small(modulation="qpsk")
    x = task.test[0].target
    estimate = x.clone()
    estimate[0, 0] *= -1  # the real part of the first symbol,
    estimate[0, 3] *= -1  # its imaginary part,
    estimate[1, 4] *= -1  # and the imaginary part of another
    assert task.more([estimate], task.test) == {"SER, errors per symbol": pytest.approx(2 / 120)}
    assert small().more([small().test[0].target], small().test) == {}


def test_the_loss_is_a_cross_entropy_and_least_at_the_symbols():
    task = small(modulation="16qam")
    x = task.test[0].target
    levels, step = task.levels, task.levels[1] - task.levels[0]
    estimate = x + 0.3 * torch.randn(x.shape, generator=generator())
    weight = torch.softmax(-4 * (estimate.unsqueeze(2) - levels) ** 2 / step**2, dim=2)
    sent = (x.unsqueeze(2) - levels).abs().argmin(2)
    torch.testing.assert_close(task.loss(estimate, x), -weight.gather(2, sent.unsqueeze(2)).log().mean())
    bpsk = small()
    torch.testing.assert_close(
        bpsk.loss(torch.tensor([[0.3]]), torch.tensor([[1.0]])), torch.nn.functional.softplus(torch.tensor(-1.2))
    )


def test_shifts_change_what_they_say_and_nothing_else():
    task = small(snr=9.0)
    by_name = {shift.name.split(",")[0]: shift for shift in task.shifts()}
    right = by_name["known over true noise variance"].make(1.0)
    wrong = by_name["known over true noise variance"].make(4.0)
    assert torch.equal(right.data.y, wrong.data.y)
    torch.testing.assert_close(wrong.data.noise_variance, 4 * right.data.noise_variance)
    misjudged = by_name["error of the known channel"]
    exact, off = misjudged.make(0.0), misjudged.make(0.2)
    assert torch.equal(exact.data.y, off.data.y)
    difference = (off.data.channel - exact.data.channel).square().mean(
        (1, 2)
    ).sqrt() / exact.data.channel.square().mean((1, 2)).sqrt()
    torch.testing.assert_close(difference, torch.full_like(difference, 0.2), rtol=1e-4, atol=0)
    quiet = by_name["SNR in dB"].make(13.0).data
    torch.testing.assert_close(
        quiet.channel.square().sum((1, 2)) / 3 / quiet.noise_variance[:, 0],
        torch.full((40,), 10**1.3),
        rtol=1e-4,
        atol=0,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"streams": 6}, "at least as many antennas as streams; got 6 streams and 5 antennas"),
        ({"streams": 6, "channel": "toeplitz"}, "got 6 streams and 5 antennas"),
        ({"streams": 0}, "at least one stream"),
        ({"snr": float("-inf")}, "snr must be a finite number of dB; got -inf"),
        ({"low": float("-inf")}, "low must be a finite number of dB; got -inf"),
        ({"high": float("nan")}, "high must be a finite number of dB; got nan"),
        ({"low": 9.0, "high": 8.0}, "low is 9 dB and high is 8 dB"),
        ({"modulation": "8psk"}, "no modulation '8psk'; there are bpsk, qpsk, 16qam, 64qam"),
        (
            {"channel": "rayleigh"},
            "no channel 'rayleigh'; there are iid, toeplitz, kronecker, kronecker-fixed, or your own with data",
        ),
        ({"channel": "given"}, "channel 'given' is channels of your own: name their file"),
        ({"correlation": 1.0}, r"correlation must lie in \[0, 1\)"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros(3), r"has the shape \(3,\); channels are \(N, K\) or \(count, N, K\)"),
        (np.zeros((0, 3, 2)), r"has the shape \(0, 3, 2\)"),
        (np.full((3, 2), np.nan), "holds NaN or infinite values"),
        (np.stack([np.ones((3, 2)), np.zeros((3, 2))]), r"channel 1 of .* is zero: nothing arrives through it"),
        (np.ones((2, 3)), "got 3 streams and 2 antennas"),
        (np.ones((3, 2)) * 1j, "complex channels, and bpsk is real: use qpsk"),
        (np.array([["a", "b"]]), "is not a .npy file of numbers"),
    ],
)
def test_files_that_hold_no_channels_are_refused(tmp_path, content, message):
    np.save(tmp_path / "channels.npy", content)
    with pytest.raises(ValueError, match=message):
        small(data=tmp_path / "channels.npy")


def test_a_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "channels.npy").write_text("no array")
    for path in (tmp_path / "channels.npy", tmp_path / "absent.npy"):
        with pytest.raises(ValueError, match=r"is not a \.npy file of numbers"):
            small(data=path)


# Sequences


def sequences(**options):
    return SequenceDetection(**{"symbols": 200, "held_out": 400, "block": 100, "window": 20, **options})


def test_sequences_went_through_their_taps_with_the_noise_that_was_named():
    task = SequenceDetection(decay=0.3, snr=6.0, held_out=50_000)
    data, states = task.test[0]
    torch.testing.assert_close(data.taps[0], torch.exp(-0.3 * torch.arange(4.0)))
    sent = task.levels[task.trellis.symbols()][states]
    noise = data.y - (sent * data.taps.unsqueeze(1)).sum(2)
    assert noise.square().mean().item() == pytest.approx(10**-0.6, rel=4 * (2 / noise.numel()) ** 0.5)
    assert torch.equal(states[:, 1:] % 8, states[:, :-1] // 2)  # a state holds the last symbols


def test_training_has_a_fixed_number_of_symbols_and_takes_windows_of_them():
    task = sequences(csi_error=0.1)
    known = task._training.data.y
    assert known.shape == (2, 100)
    y, states = task.draw(50, generator()).data.y, task.draw(50, generator()).target
    windows = known.unfold(1, 20, 1)
    for row in range(50):
        assert (windows == y[row]).all(2).any()
    assert states.shape == (50, 20)
    taps = task.draw(50, generator()).data.taps
    assert len({tuple(t.tolist()) for t in taps}) == 2  # one channel for each block
    assert sequences().draw(5, generator()).data.taps.shape == (1, 4)


def test_what_a_receiver_believes_is_off_by_the_variance_that_was_named():
    data = SequenceDetection(receiver_error=0.1, held_out=500 * 2000, symbols=500).test[0].data
    off = data.estimated_taps / data.taps - 1
    assert off.mean().item() == pytest.approx(0, abs=4 * (0.1 / off.numel()) ** 0.5)
    assert off.square().mean().item() == pytest.approx(0.1, rel=4 * (2 / off.numel()) ** 0.5)


def test_the_newest_symbol_of_the_best_state_counts():
    task = sequences()
    states = task.test[0].target
    scores = torch.nn.functional.one_hot(states, 16).float()
    assert task.metric is SER
    assert evaluate(lambda data: scores, task, task.test)[:, 0].sum() == 0
    oldest = torch.nn.functional.one_hot(states ^ 1, 16).float()  # another symbol three back: not asked for
    assert evaluate(lambda data: oldest, task, task.test)[:, 0].sum() == 0
    newest = torch.nn.functional.one_hot(states ^ 8, 16).float()
    assert task.metric.value(evaluate(lambda data: newest, task, task.test)) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"snr": float("-inf")}, "snr must be a finite number of dB; got -inf"),
        ({"decay": -1.0}, "decay must be finite and at least 0"),
        ({"csi_error": -0.1}, "csi_error is a variance, finite and at least 0"),
        ({"window": 200}, "a window has at least 1 symbol and at most those of a block, 100; got 200"),
        ({"symbols": 50}, "at least one block, 100 symbols; got 50 and 400"),
        ({"memory": 13}, "make 8,192 states; at most 4,096"),
        ({"order": 3}, "a power of two"),
    ],
)
def test_bad_settings_of_sequences_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        sequences(**options)


def test_taps_of_ones_own(tmp_path):
    np.save(tmp_path / "taps.npy", np.array([1.0, -0.5]))
    task = sequences(data=tmp_path / "taps.npy")
    assert task.trellis.states == 4
    torch.testing.assert_close(sequences(fixed=task.fixed_tensors(), seed=3).taps, torch.tensor([[1.0, -0.5]]))
    for content, message in (
        (np.zeros((2, 2)), r"has the shape \(2, 2\)"),
        (np.zeros(2), "holds no usable taps"),
        (np.array([1j]), "complex"),
    ):
        np.save(tmp_path / "taps.npy", content)
        with pytest.raises(ValueError, match=message):
            sequences(data=tmp_path / "taps.npy")


def test_levels_of_a_task_are_those_of_its_alphabet():
    torch.testing.assert_close(small(modulation="16qam").levels, pam(4).float())
