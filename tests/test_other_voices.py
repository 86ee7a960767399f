"""Training on few recorded speakers: other voices made out of theirs, and generated ones among them."""

from shutil import copytree

import pytest
import torch
from iterations import gaussian
from spoken import write_recordings

from unrolling.files import sound as audio
from unrolling.operators.stft import STFT
from unrolling.tasks.speech import other_voices
from unrolling.tasks.speech.enhancement import Enhancement
from unrolling.tasks.speech.mixtures import FEW, RATE
from unrolling.tasks.speech.other_voices import coloured, in_a_room, moved_formants, other_speaker
from unrolling.tasks.speech.recordings import unit_level
from unrolling.tasks.speech.separation import Separation

STFT_ = STFT(256, 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_recordings(tmp_path_factory.mktemp("recordings"))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def buzz(pitch, formant, seconds=1.0):
    """Harmonics under one resonance."""
    time = torch.arange(round(seconds * RATE)) / RATE
    frequencies = torch.arange(pitch, 3900, pitch)
    levels = 1 / (1 + ((frequencies - formant) / 200).square())
    return (levels[:, None] * torch.cos(2 * torch.pi * frequencies[:, None] * time)).sum(0)


def peaks(samples):
    """The pitch, above 85 Hz, and the strongest frequency, in Hz."""
    power = torch.fft.rfft(samples * torch.hann_window(len(samples))).abs().square()
    scale = RATE / len(samples)
    correlation = torch.fft.irfft(power)
    low, high = round(RATE / 400), round(RATE / 85)
    period = low + int(correlation[low:high].argmax())
    return RATE / period, float(power.argmax()) * scale


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_formants_are_moved_and_the_pitch_stays(factor):
    x = buzz(100.0, 1500.0)
    pitch, formant = peaks(moved_formants(x, factor, STFT_))
    assert pitch == pytest.approx(100, rel=0.02)
    assert formant == pytest.approx(1500 * factor, rel=0.08)


def test_formants_that_are_left_alone_leave_the_samples_alone():
    x = gaussian(1, 5000)[0].float()
    torch.testing.assert_close(moved_formants(x, 1.0, STFT_), x, rtol=0, atol=1e-5)


def test_another_speaker_has_another_pitch_within_the_range(monkeypatch):
    monkeypatch.setattr(other_voices, "ROOMS", 0.0)
    monkeypatch.setattr(other_voices, "HISS", 0.0)
    found = [peaks(other_speaker([buzz(120.0, 700.0, 3.0)], 8000, RATE, STFT_, generator(k)))[0] for k in range(12)]
    low, high = (120 * 2**octaves for octaves in other_voices.PITCH)
    assert 0.9 * low < min(found) < 115
    assert 150 < max(found) < 1.1 * high


def test_another_speaker_has_unit_level_and_is_the_same_for_the_same_seed():
    recordings = [buzz(120.0, 700.0, 0.3), buzz(140.0, 900.0, 0.2)]
    first, again, other = (other_speaker(recordings, 6000, RATE, STFT_, generator(seed)) for seed in (3, 3, 4))
    assert first.shape == (6000,)
    assert float(first.square().mean()) == pytest.approx(1, rel=1e-4)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_microphones_and_rooms_keep_the_level():
    x = gaussian(1, 4000)[0].float()
    for heard in (coloured(x, RATE, generator()), in_a_room(x, RATE, (-10.0, -10.0), generator())):
        assert float(heard.square().mean()) == pytest.approx(1, rel=1e-4)
    click = unit_level(torch.nn.functional.pad(torch.ones(1), (0, 7999)))
    room = in_a_room(click, RATE, (-10.0, -10.0), generator())
    tail = room[1:].square().sum() / room[0].square()
    assert 10 * float(tail.log10()) == pytest.approx(-10, abs=0.2)


def test_training_hears_other_voices_and_tests_hear_the_recorded_ones(folder):
    task = Separation(data=folder, seconds=0.5, held_out=4)
    plain = Separation(data=folder, seconds=0.5, held_out=4, vary=0)
    assert torch.equal(task.test[0].data, plain.test[0].data)
    assert torch.equal(task.validation[0].data, plain.validation[0].data)
    assert not torch.equal(task.draw(2, generator()).data, plain.draw(2, generator()).data)
    assert torch.equal(task.draw(2, generator(5)).data, task.draw(2, generator(5)).data)
    again = Separation(data=folder, seconds=0.5, held_out=4)  # has made none so far: a run that was resumed
    assert torch.equal(task.draw(2, generator(9)).data, again.draw(2, generator(9)).data)
    assert task.identity() != plain.identity()


def test_generated_voices_are_as_many_as_is_said(folder, monkeypatch):
    monkeypatch.setattr(Separation, "parts", {"train": (2, 1, 1), "validation": (2, 1, 1), "test": (2, 1, 1)})
    for mixed, low, high in ((0.0, 0, 0), (0.5, 60, 140), (1.0, 200, 200)):
        task = Separation(data=folder, seconds=0.5, held_out=4, mixed=mixed, vary=0)
        draws = generator()
        count = sum(task._speaker("train", draws)[0].startswith("voice") for _ in range(200))
        assert low <= count <= high
        assert all(not task._speaker("test", draws)[0].startswith("voice") for _ in range(20))


def test_two_voices_are_both_recorded_or_both_generated(folder, monkeypatch):
    monkeypatch.setattr(Separation, "parts", {"train": (2, 1, 1), "validation": (2, 1, 1), "test": (2, 1, 1)})
    task = Separation(data=folder, seconds=0.2, held_out=4, mixed=0.5)
    draws, kinds = generator(), []
    for _ in range(30):
        name, first = task._speaker("train", draws)
        other, second = task._speaker("train", draws, besides=name)
        assert name.startswith("voice") == other.startswith("voice")
        assert not torch.equal(first, second)
        kinds.append(name.startswith("voice"))
    assert 5 < sum(kinds) < 25


def test_noises_are_mixed_too(folder, monkeypatch):
    monkeypatch.setattr(Enhancement, "parts", {"train": (2, 1, 1), "validation": (2, 1, 1), "test": (2, 1, 1)})
    task = Enhancement(data=folder, seconds=0.5, held_out=4, mixed=0.5)
    draws, (recorded,), (made,) = generator(), task.corpus.noises["train"], task._made("train").noises["train"]
    found = [task._noise_of("train", draws)[0] for _ in range(20)]
    assert 2 < sum(noise is recorded for noise in found) < 18
    assert 2 < sum(noise is made for noise in found) < 18
    target = task.draw(4, generator()).target
    assert bool(target.isfinite().all())


def test_an_attribution_goes_into_what_a_card_says(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(Separation, "parts", FEW)
    (tmp_path / "speech").symlink_to(folder / "speech")
    assert "attribution" not in Separation(data=tmp_path, held_out=4).identity()
    (tmp_path / "ATTRIBUTION.txt").write_text("spoken by anna and others")
    assert Separation(data=tmp_path, held_out=4).identity()["attribution"] == "spoken by anna and others"


def test_a_folder_of_a_sub_folder_for_each_speaker_is_trained_on(folder, tmp_path, unroll):
    status, output, errors = unroll(
        "train", "speech/misi", "--data", folder, "--depth", 1, "--steps", 2, "--validations", 0, "--out",
        tmp_path / "run", "--set", "seconds=0.3", "--set", "unseen=anna,bert",
    )  # fmt: skip
    assert status == 0, errors
    assert "SI-SDR improvement" in output
    audio.write(tmp_path / "both.wav", 0.1 * gaussian(1, 4000).float(), RATE)
    outputs = tmp_path / "one.wav", tmp_path / "other.wav"
    weights = tmp_path / "run" / "weights.safetensors"
    status, _, errors = unroll("apply", "speech/misi", tmp_path / "both.wav", "-o", *outputs, "--weights", weights)
    assert status == 0, errors
    assert all(audio.read(path).samples.shape == (1, 4000) for path in outputs)
    for name in ("anna", "bert"):
        copytree(folder / "speech" / name, tmp_path / "few" / "speech" / name)
    status, _, errors = unroll("train", "speech/misi", "--data", tmp_path / "few", "--steps", 3)
    assert status != 0
    assert errors.count("\n") == 1
    assert "two speakers each at least" in errors
