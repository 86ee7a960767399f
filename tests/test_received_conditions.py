"""What ``unroll apply`` says of received vectors and sequences, what it refuses, and what it learns on the spot."""

import json

import numpy as np
import pytest
import torch
from families import by_day, some

from unrolling.algorithms.detection.mimo import apply as through
from unrolling.algorithms.detection.mimo import complex_symbols, pam
from unrolling.tasks.communications.detection import Detection
from unrolling.tasks.communications.sequence import SequenceDetection

DETNET, OAMP_NET, MMNET, VITERBINET = (
    f"communications/{name}" for name in ("detnet", "oamp_net", "mmnet", "viterbinet")
)
BPSK = pam(2).float()


@pytest.fixture
def applied(unroll, tmp_path):
    """What became of arrays: status, symbols, facts, errors."""

    def run(system, *options, **arrays):
        path, out = tmp_path / "a.npz", tmp_path / "a.npy"
        np.savez(path, **{name: np.asarray(value) for name, value in arrays.items()})
        out.unlink(missing_ok=True)
        status, output, errors = unroll("apply", system, path, "-o", out, "--json", *options)
        return status, np.load(out) if out.exists() else None, json.loads(output) if output else None, errors

    return run


@pytest.fixture(scope="module")
def vectors():
    (y, channel, noise), x = Detection(held_out=10).at(10.0, 300, torch.Generator().manual_seed(1))
    return {"y": y.double(), "channel": channel.double(), "noise_variance": noise.double().flatten()}, x.numpy()


def values(facts):
    return {each["name"]: each["value"] for each in facts["conditions"]}


@pytest.mark.parametrize("system", [DETNET, OAMP_NET])
@pytest.mark.parametrize("scale", [1e-100, 1e-30, 1e-10, 1e10, 1e30, 1e100])
def test_symbols_are_the_same_at_any_scale(applied, vectors, system, scale):
    arrays, x = vectors
    scaled = {"y": scale * arrays["y"], "channel": scale * arrays["channel"]}
    status, symbols, facts, _ = applied(system, **scaled, noise_variance=scale**2 * arrays["noise_variance"])
    assert status == 0
    assert np.mean(symbols != x) < 0.01
    assert values(facts)["SNR"] == pytest.approx(10, abs=0.2)


def test_what_was_found_out_about_vectors(applied, vectors, unroll, tmp_path):
    arrays, _ = vectors
    status, _, facts, errors = applied(DETNET, **arrays)
    assert (status, errors, facts["warnings"]) == (0, "", [])
    found = values(facts)
    assert (found["modulation"], found["streams"], found["antennas"]) == ("bpsk", 20, 30)
    assert found["noise variance, shown over told"] == pytest.approx(1, abs=0.1)
    assert found["decided by LMMSE"] == f"{facts['decided_by_lmmse']} of 300"
    assert facts["decided_by_lmmse"] < 10
    assert all(each["outside"] is None for each in facts["conditions"])
    _, output, _ = unroll("apply", DETNET, tmp_path / "a.npz", "-o", tmp_path / "b.npy")
    assert "SNR 10 dB, given, weights for 7 to 14" in output
    assert "decided by LMMSE" in output


def test_vectors_outside_of_what_weights_were_trained_for(applied, vectors):
    arrays, _ = vectors
    kron, _ = Detection(channel="kronecker", correlation=0.9, held_out=10).at(10.0, 300, torch.Generator())
    status, _, facts, _ = applied(DETNET, y=kron.y, channel=kron.channel, noise_variance=kron.noise_variance)
    outside = [each["name"] for each in facts["conditions"] if each["outside"]]
    assert (status, outside) == (0, ["condition number of the channel"])
    assert facts["network_distrusted"] == facts["decided_by_lmmse"] == 300
    assert "the network makes more errors than LMMSE" in facts["warnings"][0]
    _, _, facts, _ = applied(DETNET, "--plain", y=kron.y, channel=kron.channel)
    assert facts["decided_by_lmmse"] == 0
    told = {**arrays, "noise_variance": 0.1 * arrays["noise_variance"]}
    status, _, facts, _ = applied(OAMP_NET, **told)
    assert values(facts)["noise variance, shown over told"] == pytest.approx(10, rel=0.1)
    assert [each["name"] for each in facts["conditions"] if each["outside"]] == ["noise variance, shown over told"]
    few, _ = Detection(streams=4, antennas=40, low=20, high=20, held_out=10).at(20.0, 50, torch.Generator())
    _, _, facts, _ = applied(DETNET, y=few.y, channel=few.channel)
    outside = {each["name"] for each in facts["conditions"] if each["outside"]}
    assert outside >= {"streams", "antennas", "SNR"}


def test_another_alphabet_is_refused_and_another_scale_said(applied, vectors):
    arrays, x = vectors
    draw = torch.Generator().manual_seed(2)
    levels = pam(4).float()[torch.randint(4, (300, 20), generator=draw)]
    y = through(arrays["channel"].float(), levels) + 0.05 * torch.randn(300, 30, generator=draw)
    status, symbols, _, errors = applied(OAMP_NET, y=y, channel=arrays["channel"], noise_variance=0.0025)
    assert (status, symbols) == (2, None)
    assert "the symbols are not bpsk, they fit 16qam better" in errors
    status, symbols, facts, _ = applied(DETNET, **{**arrays, "channel": arrays["channel"] / 2})
    assert values(facts)["mean square of the symbols"] == pytest.approx(4, rel=0.1)
    assert np.mean(symbols != x) < 0.02


def test_coloured_noise_is_made_white(applied):
    draw = torch.Generator().manual_seed(3)
    channel = torch.randn(30, 20, generator=draw, dtype=torch.float64) / 30**0.5
    factor = torch.randn(30, 30, generator=draw, dtype=torch.float64) * 0.08
    factor += 0.05 * torch.eye(30)
    x = BPSK.double()[torch.randint(2, (2000, 20), generator=draw)]
    y = x @ channel.T + torch.randn(2000, 30, generator=draw, dtype=torch.float64) @ factor.T
    covariance = factor @ factor.T
    rates = {}
    for name, noise in (
        ("coloured", {"noise_covariance": covariance}),
        ("white", {"noise_variance": float(covariance.trace()) / 30}),
    ):
        status, symbols, _, _ = applied(OAMP_NET, y=y, channel=channel, **noise)
        assert status == 0
        rates[name] = np.mean(symbols != x.numpy())
    assert rates["coloured"] < 0.5 * rates["white"]
    status, _, _, errors = applied(OAMP_NET, y=y, channel=channel, noise_covariance=covariance - torch.eye(30))
    assert status == 2
    assert "Hermitian and positive definite" in errors


def test_mmnet_is_trained_for_the_channel_of_a_file(applied, monkeypatch, tmp_path):
    from unrolling.systems.communications import mmnet

    monkeypatch.setattr(mmnet, "ONLINE", 25)
    draw = torch.Generator().manual_seed(4)
    channel = torch.randn(8, 4, generator=draw, dtype=torch.complex64) / 8**0.5 * 1e6
    x = complex_symbols(BPSK[torch.randint(2, (500, 8), generator=draw)])
    y = x @ channel.T + 3e5 * torch.randn(500, 8, generator=draw, dtype=torch.complex64)
    arrays = {"y": y, "channel": channel, "noise_variance": 9e10}
    status, _, _, errors = applied(MMNET, **arrays)
    assert status == 2
    assert "--adapt trains a network for it first" in errors
    status, symbols, facts, _ = applied(MMNET, "--adapt", **arrays)
    assert status == 0
    assert facts["trained"]["low"] < 10.5 < facts["trained"]["high"]
    assert np.mean(np.abs(symbols - x.numpy()) > 1e-3) < 0.02
    again = applied(MMNET, "--adapt", **arrays)[1]
    assert np.array_equal(symbols, again)
    np.save(tmp_path / "channel.npy", channel.numpy())
    named = applied(MMNET, "--channel", tmp_path / "channel.npy", y=y, noise_variance=9e10)[1]
    assert np.array_equal(symbols, named)
    several = torch.randn(500, 8, 4, generator=draw, dtype=torch.complex64)
    y = (several @ x.unsqueeze(2)).squeeze(2) + 0.5 * torch.randn(500, 8, generator=draw, dtype=torch.complex64)
    status, _, _, errors = applied(MMNET, "--adapt", y=y, channel=several, noise_variance=0.25)
    assert status == 2
    assert "holds 500 channels, and a network is trained for one" in errors


def test_weights_of_one_channel_serve_it_at_any_scale(applied):
    task = Detection(streams=8, antennas=16, modulation="qpsk", channel="kronecker-fixed", correlation=0.6, held_out=10)
    data, x = task.at(14.0, 100, torch.Generator().manual_seed(2))
    first, second = data.y.chunk(2, dim=1)
    from unrolling.systems.communications._vectors import as_complex

    channel = as_complex(task.fixed_tensors()["channel"].double())[0]
    y, noise = torch.complex(first, second), 2 * data.noise_variance.flatten().double()
    for scale in (1.0, 3e-20):
        status, symbols, _, _ = applied(MMNET, y=scale * y, channel=scale * channel, noise_variance=scale**2 * noise)
        assert status == 0
        assert np.mean(np.abs(symbols - complex_symbols(x).numpy()) > 1e-3) < 0.05


# Sequences


def over(taps, count, snr, seed):
    """y and the newest symbols, (count,)."""
    draw = torch.Generator().manual_seed(seed)
    a = BPSK[torch.randint(2, (count + len(taps) - 1,), generator=draw)]
    y = sum(tap * a[len(taps) - 1 - j : len(a) - j] for j, tap in enumerate(taps))
    return (y + 10 ** (-snr / 20) * torch.randn(count, generator=draw)).numpy(), a[len(taps) - 1 :].numpy()


OWN = np.exp(-0.5 * np.arange(4))
OTHERS = {
    "turned": OWN[::-1],
    "exchanged": OWN[[1, 0, 2, 3]],
    "one of another sign": OWN * [1, -1, 1, 1],
    "half": OWN / 2,
    "equal": np.ones(4),
    "random": np.array([0.3, -1.0, 0.4, 0.5]),
    "two": np.array([1.0, 0.9]),
}


@pytest.mark.parametrize("name", some(OTHERS, "random", "two"))
def test_sequences_over_other_taps_are_refused_and_decided_by_pilots_or_taps(applied, tmp_path, name):
    taps = OTHERS[name]
    snr = 8.0 if name != "half" else 12.0
    y, a = over(taps, 4000, snr, 5)
    status, symbols, _, errors = applied(VITERBINET, y=y[500:])
    assert (status, symbols) == (2, None)
    assert "does not hold what the taps 1, 0.607, 0.368, 0.223 of these weights put out" in errors
    np.savez(tmp_path / "pilots.npz", y=y[:500], symbols=a[:500])
    status, symbols, facts, _ = applied(VITERBINET, "--pilots", tmp_path / "pilots.npz", y=y[500:])
    assert status == 0
    limit = 0.12 if name == "half" else 0.02
    assert np.mean(symbols != a[500:]) < limit
    np.testing.assert_allclose(facts["taps_by_least_squares"][: len(taps)], taps, atol=0.1)
    told = ",".join(map(str, taps))
    status, symbols, facts, _ = applied(VITERBINET, "--taps", told, y=y[500:])
    assert (status, facts["used"]) == (0, "the Viterbi algorithm with the taps that were told")
    assert values(facts)["SNR"] == pytest.approx(snr, abs=1)
    best = np.mean(symbols != a[500:])
    assert best < limit
    symbols = applied(VITERBINET, y=y[500:], taps=taps, noise_variance=10 ** (-snr / 10))[1]
    assert np.mean(symbols != a[500:]) == pytest.approx(best, abs=2e-3)
    if name != "half":
        symbols = applied(VITERBINET, "--plain", y=y[500:])[1]
        assert np.mean(symbols != a[500:]) > 2 * best + 0.01


@pytest.mark.parametrize("scale", by_day(2.0**-40, 2.0**-7, 2.0**40))
def test_the_scale_of_a_channel_decides_nothing(applied, tmp_path, scale):
    taps = OTHERS["random"]
    y, a = over(taps, 3000, 8.0, 5)
    found = []
    for factor in (1.0, scale):
        np.savez(tmp_path / f"pilots-{factor}.npz", y=factor * y[:500], symbols=a[:500])
        learned = applied(VITERBINET, "--pilots", tmp_path / f"pilots-{factor}.npz", y=factor * y[500:])
        told = applied(VITERBINET, y=factor * y[500:], taps=factor * taps, noise_variance=factor**2 * 10**-0.8)
        assert (learned[0], told[0]) == (0, 0)
        np.testing.assert_allclose(learned[2]["taps_by_least_squares"], factor * taps, atol=0.1 * factor)
        found.append((learned[1], told[1]))
    assert all(np.array_equal(*pair) for pair in zip(*found, strict=True))


def test_sequences_of_its_own_channel_pass_at_any_length_and_with_less_noise(applied):
    task = SequenceDetection(held_out=1000)
    y = task.test[0].data.y.numpy()
    for snr, count in ((8.0, 30), (8.0, 150), (8.0, 3000), (7.0, 3000), (12.0, 3000), (20.0, 3000)):
        y, a = over(OWN, count, snr, 6)
        status, symbols, facts, _ = applied(VITERBINET, y=y)
        assert status == 0, (snr, count)
        assert np.mean(symbols != a) < 0.04
        assert bool(facts["warnings"]) == (count < 100)
        assert values(facts)["SNR for the weights' taps"] == pytest.approx(snr, abs=2.5 if count < 1000 else 1)


def test_what_is_no_pilot_and_no_tap(applied, tmp_path):
    y, a = over(OWN, 300, 8.0, 7)
    for arrays, words in (
        ({"y": y}, "symbols is missing"),
        ({"y": y, "symbols": a[:-1]}, "y and symbols are alike"),
        ({"y": y, "symbols": 2 * a}, "the pilots' symbols are among"),
        ({"y": y[:9], "symbols": a[:9]}, "too few for 4 taps"),
    ):
        np.savez(tmp_path / "pilots.npz", **arrays)
        status, symbols, _, errors = applied(VITERBINET, "--pilots", tmp_path / "pilots.npz", y=y)
        assert (status, symbols) == (2, None)
        assert words in errors
    for options, words in (
        (("--taps", "1,a"), "--taps are finite numbers"),
        (("--taps", "0,0"), "--taps are finite numbers"),
        (("--taps", "1,0.5", "--noise-variance", "0"), "noise_variance is sigma^2, positive"),
    ):
        status, _, _, errors = applied(VITERBINET, *options, y=y)
        assert status == 2
        assert words in errors
