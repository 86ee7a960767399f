"""The tasks on speech: generated voices, recordings from folders, metrics, and the systems on them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from iterations import gaussian
from spoken import write_recordings

from unrolling.evaluation.measure import interval
from unrolling.files import sound as audio
from unrolling.systems.catalogue import find
from unrolling.systems.conditions import outside
from unrolling.systems.speech import deep_nmf
from unrolling.systems.speech._caution import cautious, following, ratio
from unrolling.tasks.samples import Samples
from unrolling.tasks.speech import voices
from unrolling.tasks.speech.enhancement import Enhancement
from unrolling.tasks.speech.recordings import unit_level
from unrolling.tasks.speech.separation import Separation
from unrolling.tasks.speech.speech_metrics import SI_SDR_IMPROVEMENT, best_order, improvement_pieces, sdr, si_sdr
from unrolling.training.losses import NegativeSISDR, PermutationInvariant


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_recordings(tmp_path_factory.mktemp("recordings"))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# Mixtures


def test_mixtures_are_what_the_task_says(folder):
    task = Enhancement(data=folder, low=-5.0, high=5.0, seconds=1.0, held_out=8, vary=0)
    for samples in (task.draw(64, generator()), task.test[0], task.validation[0]):
        torch.testing.assert_close(samples.target.sum(1), samples.data, rtol=0, atol=1e-5)
        torch.testing.assert_close(samples.data.square().mean(1), torch.ones(len(samples.data)), rtol=1e-4, atol=0)
        ratio = 10 * torch.log10(samples.target[:, 0].square().mean(1) / samples.target[:, 1].square().mean(1))
        noisy = ratio < 49  # a tenth of what is trained on is clean
        assert int((~noisy).sum()) < len(ratio) / 3
        assert float(ratio.min()) > -5.01
        assert float(ratio[noisy].max()) < 5.01
    assert float(task.draw(64, generator()).target[:, 0].square().mean(1).log10().std()) > 0.1
    assert torch.equal(task.draw(3, generator(5)).data, task.draw(3, generator(5)).data)


def test_two_speakers_are_two_and_their_levels_differ_within_limits(folder):
    task = Separation(data=folder, levels=4.0, seconds=0.5, held_out=4)
    target = task.draw(40, generator()).target
    difference = 10 * torch.log10(target[:, 0].square().mean(1) / target[:, 1].square().mean(1))
    assert float(difference.abs().max()) < 4.01
    assert float(difference.std()) > 1.5
    plain = Separation(data=folder, seconds=0.5, held_out=4, vary=0)
    for seed in range(20):
        name, _ = plain._speaker("train", generator(seed))
        other, _ = plain._speaker("train", generator(seed), besides=name)
        assert name != other


def test_the_dictionaries_are_of_their_kind_and_the_weights_files_are_used(folder):
    task = Enhancement(data=folder, atoms=6, seconds=1.0, held_out=8, vary=0)
    for dictionary in task.dictionaries:
        assert dictionary.shape == (129, 6)
        assert (dictionary > 0).all()
        torch.testing.assert_close(torch.linalg.vector_norm(dictionary, dim=0), torch.ones(6))
    again = Enhancement(atoms=6, fixed=task.fixed_tensors())
    assert all(torch.equal(a, b) for a, b in zip(task.dictionaries, again.dictionaries, strict=True))
    assert "corpus" not in again.__dict__, "shipped weights need no speech"


# Metrics


@given(st.integers(0, 99), st.floats(0.1, 10), st.floats(-20, 40))
def test_si_sdr_ignores_scale_and_counts_an_orthogonal_error(seed, scale, level):
    x, noise = gaussian(2, 50, seed=seed)
    noise = noise - (noise @ x) / (x @ x) * x
    estimate = scale * (x + noise * x.norm() / noise.norm() * 10 ** (-level / 20))
    assert float(si_sdr(estimate, x)) == pytest.approx(level, abs=1e-6)
    assert float(sdr(x + noise * x.norm() / noise.norm() * 10 ** (-level / 20), x)) == pytest.approx(level, abs=1e-6)
    assert float(sdr(2 * x, x)) == pytest.approx(0, abs=1e-9)


def test_si_sdr_is_that_of_torchmetrics_and_of_the_loss():
    from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

    estimate, target = gaussian(4, 300), gaussian(4, 300, seed=1)
    torch.testing.assert_close(
        si_sdr(estimate, target), scale_invariant_signal_distortion_ratio(estimate, target), rtol=1e-6, atol=1e-6
    )
    torch.testing.assert_close(-si_sdr(estimate, target), NegativeSISDR().each(estimate, target), rtol=1e-6, atol=1e-6)


def test_the_losses_are_those_of_the_training_room(folder):
    task = Separation(data=folder, seconds=0.2, held_out=4)
    estimate, target = gaussian(3, 2, 100), gaussian(3, 2, 100, seed=1)
    torch.testing.assert_close(
        task.loss(estimate, target), PermutationInvariant(NegativeSISDR())(estimate, target), rtol=1e-6, atol=1e-6
    )
    task = Enhancement(data=folder, seconds=0.2, held_out=4)
    ratio = NegativeSISDR().each(estimate[:, 0], target[:, 0])
    expected = 10 * torch.log10(10 ** (ratio / 10) + 10**-3.5)  # an error of -35 dB besides
    torch.testing.assert_close(task.loss(estimate, target), expected.mean(), rtol=1e-6, atol=1e-6)


def test_the_improvement_is_the_mean_gain_over_the_mixture_with_an_interval():
    target = gaussian(40, 2, 200)
    mixture = target.sum(1)
    estimate = (target + 0.3 * gaussian(40, 2, 200, seed=1)).flip(1)
    gains = [
        float((si_sdr(e.flip(0), t) - si_sdr(m.expand(2, -1), t)).mean())
        for e, t, m in zip(estimate, target, mixture, strict=True)
    ]
    pieces = improvement_pieces(best_order(estimate, target), target, mixture)
    assert SI_SDR_IMPROVEMENT.value(pieces) == pytest.approx(np.mean(gains), abs=1e-9)
    found = interval(SI_SDR_IMPROVEMENT, pieces)
    standard = np.std(gains) / 40**0.5
    assert found.high - found.low == pytest.approx(2 * 1.96 * standard, rel=0.2)
    assert SI_SDR_IMPROVEMENT.value(
        improvement_pieces(mixture.unsqueeze(1).expand_as(target), target, mixture)
    ) == pytest.approx(0, abs=1e-9)


def test_rows_and_their_assembly_are_masks(folder):
    """With the shares of the sources as masks most of the mixture goes where it belongs, and nothing is lost."""
    task = Separation(data=folder, seconds=1.0, held_out=4)
    data, target = task.draw(4, generator())
    rows = task.target_rows(target)
    assert task.rows(data).shape == (4 * task.stft.frames(len(data[0])), 3 * 129)
    assert rows.shape == (4 * task.stft.frames(len(data[0])), 2 * 129)
    assert float(rows.min()) >= 0
    assert float(rows.max()) <= 1
    estimate = task.assemble(rows, data)
    # 1/(1 + exp(2 - 4 m)) and that of 1 - m are one in sum
    torch.testing.assert_close(estimate.sum(1), data, rtol=0, atol=1e-4)
    assert task.metric.value(task.pieces(estimate, Samples(None, target))) > 5


# The systems


@pytest.mark.parametrize("depth", [1, 4])
def test_the_weights_of_the_last_layers_alone_are_trained_in_deep_nmf(folder, depth):
    system = find("speech/deep_nmf")
    recipe = system.recipes["enhancement"]
    stage = recipe.schedule(depth)[0]
    assert stage.layers == tuple(range(max(0, depth - 3), depth))


def test_deep_nmf_before_training_is_sparse_nmf_with_the_dictionaries_of_the_task(folder):
    task = Enhancement(data=folder, atoms=5, seconds=0.5, held_out=4)
    system = find("speech/deep_nmf")
    net = system.network(system.recipes["enhancement"], task)
    x = task.draw(2, generator()).data
    W = torch.cat(task.dictionaries, dim=1)
    X = task.stft(x)
    M = X.abs()
    H = (M.sum(1, keepdim=True) / W.sum()).repeat(1, 10, 1) + 1e-8
    for _ in range(10):
        H = H * (W.T @ (M / (W @ H).clamp_min(1e-8))) / (W.sum(0).reshape(1, 10, 1) + 0.3)
    speech = W[:, :5] @ H[:, :5] / (W @ H).clamp_min(1e-12)
    torch.testing.assert_close(net(x)[:, 0].detach(), task.stft.inverse(speech * X, x.shape[1]), rtol=0, atol=2e-3)


@pytest.mark.parametrize("name", ["speech/deep_nmf", "speech/misi"])
def test_a_system_applied_in_blocks_gives_what_it_gives_at_once(folder, tmp_path, name):
    system = find(name)
    task_name, recipe = system.recipe(None)
    task = system.task(
        task_name, data=folder, seconds=0.5, held_out=4, **({"atoms": 5} if task_name == "enhancement" else {})
    )
    net = system.network(recipe, task, 3)
    samples = torch.stack([gaussian(1, 60_000, seed=k)[0] for k in range(2)]).float() * 0.1
    audio.write(tmp_path / "in.wav", samples, 16_000, "FLOAT")
    outputs = [tmp_path / "a.wav", tmp_path / "b.wav"]
    system.apply[task_name].run(net, task, tmp_path / "in.wav", outputs)  # blocks of 30 s: one
    whole = [audio.read(path).samples for path in outputs]
    if name == "speech/deep_nmf":
        processor = audio.Processor(lambda x: cautious(net(x)), 8000, 64, deep_nmf.context(net, task), False)
    else:
        context = net.layers[0].magnitudes.network.memory * 64 + 8 * 256
        processor = audio.Processor(net, 8000, 64, context, False)
    facts = audio.apply(processor, tmp_path / "in.wav", outputs, block=1.0)
    assert facts.blocks == 4
    for path, before in zip(outputs, whole, strict=True):
        torch.testing.assert_close(audio.read(path).samples, before, rtol=0, atol=2e-5)
    assert audio.inspect(outputs[0]) == audio.SoundFormat(16_000, 2, 60_000, "FLOAT")


def test_a_shift_has_the_ratio_that_it_is_called_by(folder):
    for task, first in (
        (Enhancement(data=folder, seconds=0.5, held_out=4), 40.0),
        (Separation(data=folder, seconds=0.5, held_out=4), 0.0),
    ):
        (shift,) = task.shifts()
        assert shift.values[0] == first
        for value in shift.values:
            target = shift.make(value).target
            ratio = 10 * torch.log10(target[:, 0].square().mean(1) / target[:, 1].square().mean(1))
            torch.testing.assert_close(ratio, torch.full_like(ratio, value), rtol=0, atol=1e-3)


def test_further_scores_are_of_the_signals_that_count(folder):
    task = Enhancement(data=folder, seconds=0.5, held_out=6)
    estimates = [batch.target + 0.3 * gaussian(*batch.target.shape).float() for batch in task.test]
    found = task.more(estimates, task.test)
    speech, true = torch.cat([e[:, 0] for e in estimates]), torch.cat([batch.target[:, 0] for batch in task.test])
    assert found["SI-SDR (dB)"] == pytest.approx(float(si_sdr(speech, true).mean()))
    assert found["SDR (dB)"] == pytest.approx(float(sdr(speech, true).mean()))
    pytest.importorskip("pystoi")
    pytest.importorskip("pesq")
    task = Enhancement(data=folder, seconds=2.0, held_out=2, perceptual=1)
    found = task.more([batch.target for batch in task.test], task.test)
    assert found["STOI"] == pytest.approx(1, abs=1e-6)
    assert found["PESQ"] > 4.4


def test_held_out_mixtures_do_not_depend_on_how_they_are_divided(folder):
    task = Separation(data=folder, seconds=0.2, held_out=30)
    assert [len(batch.data) for batch in task.test] == [25, 5]
    whole = task._draw("test", 30, torch.Generator().manual_seed(2_000_003))
    assert torch.equal(torch.cat([batch.data for batch in task.test]), whole.data)


# What is given back of the noise


def test_speech_and_noise_add_up_after_what_is_given_back():
    sources = gaussian(3, 2, 20_000).float()
    torch.testing.assert_close(cautious(sources).sum(1), sources.sum(1), rtol=0, atol=1e-5)


def test_noise_that_follows_the_speech_is_given_back_and_noise_that_does_not_is_kept_away():
    envelope = torch.sin(torch.arange(32_000) / 2000).square()
    speech = gaussian(1, 32_000)[0].float() * envelope
    noise = gaussian(1, 32_000, seed=1)[0].float()
    leaked, steady, little = 0.2 * noise * envelope, 0.7 * noise, 0.002 * noise
    kept = [
        float(cautious(torch.stack([speech, each])[None])[0, 1].norm() / each.norm())
        for each in (leaked, steady, little)
    ]
    assert kept[0] < 0.2  # 14 dB below, and it comes and goes with the speech
    assert kept[1] > 0.95
    assert kept[2] < 0.01


def test_ratio_and_correlation_are_those_of_their_definitions():
    power = torch.rand(1, 2, 251, generator=generator()) + 0.1
    power[:, 1] += power[:, 0]
    level = power[0].sqrt()
    assert float(ratio(power)[0, 0, 125]) == pytest.approx(float(0.5 * (power[0, 0].mean() / power[0, 1].mean()).log()))
    expected = torch.corrcoef(level)[0, 1]
    assert float(following(power)[0, 0, 125]) == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize("scale", [0.0, 2.0**-66, 2.0**50])
@pytest.mark.parametrize("count", [1, 80, 9000])
def test_what_is_given_back_has_no_scale(scale, count):
    sources = gaussian(1, 2, count).float()
    torch.testing.assert_close(cautious(scale * sources), scale * cautious(sources), rtol=1e-4, atol=1e-6 * scale)


# The shipped weights, as they are applied


@pytest.mark.parametrize("level", [20.0, 40.0])
def test_a_recording_that_is_all_but_clean_comes_back_all_but_as_it_was(tmp_path, level):
    """Weights for less than 9 dB left 10 dB of such voices."""
    speech = torch.from_numpy(voices.speak(voices.draw_voice(np.random.default_rng(7)), 3.0, np.random.default_rng(7)))
    noise = gaussian(1, len(speech))[0].float()
    mixture = unit_level(speech) + 10 ** (-level / 20) * unit_level(noise)
    audio.write(tmp_path / "in.wav", 0.1 * mixture[None], 8000, "FLOAT")
    facts = apply_shipped(tmp_path / "in.wav", tmp_path / "out.wav")
    found = audio.read(tmp_path / "out.wav").samples[0]
    assert float(si_sdr(found, speech)) > level - 1
    snr, rate = facts["conditions"]
    assert snr.name == "signal-to-noise ratio"
    assert snr.value > 10
    assert (rate.name, rate.value, outside(rate)) == ("sampling rate", 8000, None)


@pytest.mark.parametrize(
    "samples",
    [
        pytest.param(torch.zeros(1, 4000), id="silence"),
        pytest.param(1e-20 * gaussian(1, 4000).float(), id="tiny"),
        pytest.param((3 * gaussian(1, 4000).float()).clamp(-1, 1), id="clipped"),
        pytest.param(0.5 + 0.05 * gaussian(1, 4000).float(), id="offset"),
        pytest.param(0.1 * gaussian(8, 4000).float(), id="channels"),
        pytest.param(0.1 * gaussian(1, 80).float(), id="short"),
        pytest.param(torch.cat([0.1 * gaussian(1, 4000).float(), torch.zeros(1, 9000)], 1), id="pause"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*at full scale")
def test_odd_recordings_give_numbers(tmp_path, samples):
    audio.write(tmp_path / "in.wav", samples, 8000, "FLOAT")
    apply_shipped(tmp_path / "in.wav", tmp_path / "out.wav", tmp_path / "noise.wav")
    found = [audio.read(tmp_path / name).samples for name in ("out.wav", "noise.wav")]
    torch.testing.assert_close(sum(found), samples, rtol=1e-4, atol=1e-5 * float(samples.abs().max()))


def apply_shipped(source, *outputs):
    system = find("speech/deep_nmf")
    application = system.apply["enhancement"]
    return application.run(system.pretrained("enhancement"), Enhancement(), application.read(source, {}), list(outputs))
