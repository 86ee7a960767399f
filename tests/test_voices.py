"""Generated voices, and recordings in folders."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from iterations import gaussian
from spoken import write_recordings

from unrolling.files import sound as audio
from unrolling.tasks.speech import noises, recordings, voices
from unrolling.tasks.speech.enhancement import Enhancement
from unrolling.tasks.speech.mixtures import RATE
from unrolling.tasks.speech.separation import Separation


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_recordings(tmp_path_factory.mktemp("recordings"))


# Generated voices


def spectrum(signal, size=1024):
    pieces = np.lib.stride_tricks.sliding_window_view(signal, size)[:: size // 4] * np.hanning(size)
    return np.abs(np.fft.rfft(pieces, axis=1))


def test_a_voice_has_the_pitch_it_is_said_to_have():
    """The strongest lag of the autocorrelation, where there is voice, is the period, to within the liveliness."""
    for pitch in (100.0, 210.0):
        voice = voices.Voice(pitch, 0.05, 1.0, 9.0, 0.01, 1.0, 1.0, (1.0,) * 5)
        signal = voices.speak(voice, 4.0, np.random.default_rng(0), 16_000)
        found = []
        for start in range(0, len(signal) - 1600, 800):
            piece = signal[start : start + 1600].astype(float)
            if np.mean(piece**2) < 0.3:
                continue
            correlation = np.correlate(piece, piece, "full")[1599:]
            lags = np.arange(40, 260)
            best = lags[correlation[lags].argmax()]
            if correlation[best] > 0.6 * correlation[0]:
                found.append(16_000 / best)
        assert len(found) > 10
        assert np.median(found) == pytest.approx(pitch, rel=0.12)


def test_a_longer_vocal_tract_has_lower_formants():
    """The spectral envelope, averaged over an utterance, moves down by the ratio of the tracts."""
    centres = []
    for tract in (0.9, 1.2):
        voice = voices.Voice(110.0, 0.1, tract, 9.0, 0.01, 1.0, 1.0, (1.0,) * 5)
        power = (spectrum(voices.speak(voice, 4.0, np.random.default_rng(3), 16_000)) ** 2).mean(0)
        frequency = np.fft.rfftfreq(1024, 1 / 16_000)
        inside = (frequency > 200) & (frequency < 3500)
        centres.append(np.exp((np.log(power[inside]) * np.log(frequency[inside])).sum() / np.log(power[inside]).sum()))
        logs = np.log(power[inside])
        weights = np.exp(logs - logs.max())
        centres[-1] = (weights * frequency[inside]).sum() / weights.sum()
    assert centres[1] > 1.1 * centres[0]


def test_speech_has_pauses_and_unit_level_where_there_is_sound():
    signal = voices.speak(voices.draw_voice(np.random.default_rng(1)), 5.0, np.random.default_rng(1))
    assert signal.shape == (40_000,)
    assert signal.dtype == np.float32
    frames = np.sqrt((signal[: 40_000 // 160 * 160].reshape(-1, 160).astype(float) ** 2).mean(1))
    assert 0.03 < np.mean(frames < 0.01) < 0.6
    assert 0.8 < np.sqrt((frames[frames > 0.1] ** 2).mean()) < 1.4


def test_the_same_seed_says_the_same_and_another_something_else():
    one, same, other = (
        recordings.generated(RATE, seed, "train", speakers=1, utterances=1, noises=1, seconds=1.0) for seed in (0, 0, 1)
    )
    assert torch.equal(one.speakers["train"]["voice 0"][0], same.speakers["train"]["voice 0"][0])
    assert torch.equal(one.noises["train"][0], same.noises["train"][0])
    assert not torch.equal(one.speakers["train"]["voice 0"][0], other.speakers["train"]["voice 0"][0])


def test_no_generated_voice_is_in_two_parts():
    parts = [
        recordings.generated(RATE, 0, part, speakers=3, utterances=1, noises=1, seconds=0.5)
        for part in ("train", "validation", "test")
    ]
    flat = [
        tuple(samples[0].tolist())
        for corpus, part in zip(parts, ("train", "validation", "test"), strict=True)
        for samples in corpus.speakers[part].values()
    ]
    assert len(set(flat)) == 9


def test_noise_has_unit_level_and_no_two_are_alike():
    rng = np.random.default_rng(0)
    drawn = [noises.draw_noise(2.0, rng) for _ in range(4)]
    for noise in drawn:
        assert np.sqrt(np.mean(noise.astype(float) ** 2)) == pytest.approx(1, rel=1e-5)
    envelopes = [spectrum(noise).mean(0) for noise in drawn]
    assert all(np.corrcoef(a, b)[0, 1] < 0.99 for k, a in enumerate(envelopes) for b in envelopes[:k])


# Recordings


@pytest.mark.parametrize(
    ("name", "speaker"),
    [
        ("7_jackson_32.wav", "jackson"),
        ("train/0_theo_1.wav", "theo"),
        ("anna/one.wav", "anna"),
        ("test/anna/one.wav", "anna"),
        ("cmu_arctic_us_aew_a0001.wav", "cmu_arctic_us_aew"),
        ("word.wav", "word"),
    ],
)
def test_the_speaker_is_in_the_name(tmp_path, name, speaker):
    assert recordings.speaker_of(tmp_path / name, tmp_path) == speaker


def test_speakers_of_the_test_are_heard_nowhere_else(folder):
    task = Enhancement(data=folder, unseen="dora,carl", held_out=4)
    parts = {part: set(task.corpus.speakers[part]) for part in ("train", "validation", "test")}
    assert parts == {"train": {"anna", "bert"}, "validation": {"anna", "bert"}, "test": {"carl", "dora"}}
    for name, validated in task.corpus.speakers["validation"].items():
        trained = [tuple(r.tolist()) for r in task.corpus.speakers["train"][name]]
        assert not {tuple(r.tolist()) for r in validated} & set(trained)
    # Noise is cut in time, with gaps: train, validation and test hold other samples.
    ends = recordings.NOISE_PARTS
    assert ends["train"][1] <= ends["validation"][0]
    assert ends["validation"][1] < ends["test"][0]
    assert [len(task.corpus.noises[part][0]) for part in ("train", "validation", "test")] == [
        round(12 * RATE * (b - a)) for a, b in ends.values()
    ]


def test_the_last_third_of_the_speakers_is_held_out_by_default(folder):
    assert set(Separation(data=folder, held_out=4).corpus.speakers["test"]) == {"carl", "dora"}


def test_of_one_recording_the_last_fifth_is_validated_on():
    x = torch.arange(1.0, 101)
    parts = recordings.split_speakers({name: {"only": x} for name in "abcd"}, ("c", "d"))
    for part, expected in (("train", x[:80]), ("validation", x[80:])):
        (found,) = parts[part]["a"]
        torch.testing.assert_close(found, recordings.unit_level(expected))
    with pytest.raises(ValueError, match="the one recording of a is silent"):
        recordings.split_speakers({name: {"only": x * (x < 70)} for name in "abcd"}, ("c", "d"))


def test_short_recordings_are_put_in_a_row_with_pauses():
    words = [torch.full((300,), float(k + 1)) for k in range(4)]
    row = recordings.stretch(words, 6000, RATE, torch.Generator().manual_seed(0))
    assert row.shape == (6000,)
    runs = torch.unique_consecutive(row)
    assert 0 in runs
    assert all(not (a == 0 and b == 0) for a, b in pairwise(runs))
    long = torch.arange(10_000.0)
    piece = recordings.stretch([long], 100, RATE, torch.Generator().manual_seed(0))
    assert torch.equal(piece, long[int(piece[0]) : int(piece[0]) + 100])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"unseen": "anna,eve"}, "there is no speaker 'eve'; there are anna, bert, carl, dora"),
        (
            {"unseen": "anna,bert,carl"},
            "two speakers each at least; anna, bert, carl, dora are there, and anna, bert, carl held out",
        ),
        ({"seconds": 0.001}, "longer than a frame"),
        ({"levels": -1.0}, "levels is -1"),
        ({"mixed": 1.5}, "mixed is 1.5; the part of generated voices is 0 to 1"),
    ],
)
def test_separations_that_cannot_be_are_refused(folder, options, words):
    with pytest.raises(ValueError, match=words):
        Separation(data=folder, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"low": 3.0, "high": 0.0}, "low 3.0 and high 0.0"),
        ({"atoms": 0}, "atoms 0"),
        ({"context": 4}, "context odd; got atoms 50, context 4"),
    ],
)
def test_enhancements_that_cannot_be_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Enhancement(**options)


def test_folders_without_recordings_are_refused_early(tmp_path):
    with pytest.raises(ValueError, match="is not a folder of recordings"):
        Separation(data=tmp_path / "none")
    with pytest.raises(ValueError, match="holds no recording"):
        Separation(data=tmp_path)
    audio.write(tmp_path / "silence.wav", torch.zeros(1, 800), RATE)
    with pytest.raises(ValueError, match=r"every recording in .* is silent \(1 of them\)"):
        Separation(data=tmp_path)
    (tmp_path / "broken.wav").write_bytes(b"RIFF and no more")
    with pytest.raises(ValueError, match=r"broken\.wav"):
        Separation(data=tmp_path)
    write_recordings(tmp_path)
    audio.write(tmp_path / "noise" / "short.wav", 0.1 * gaussian(1, 8000).float(), RATE)
    with pytest.raises(
        ValueError,
        match=r"short\.wav lasts 1\.0 s; a recording of noise is cut into parts and lasts "
        r"10 s",
    ):
        Enhancement(data=tmp_path)


def test_what_is_tested_on_takes_no_voices_of_training(monkeypatch):
    asked = []
    monkeypatch.setattr(Separation, "parts", {"train": (2, 1, 1), "validation": (2, 1, 1), "test": (2, 1, 1)})
    generated = recordings.generated

    def noted(rate, seed, part, **counts):
        asked.append(part)
        return generated(rate, seed, part, **counts)

    monkeypatch.setattr(recordings, "generated", noted)
    task = Separation(seconds=0.2, held_out=2)
    assert len(task.test[0].data) == 2
    assert len(task.test[0].data) == 2
    assert asked == ["test"]
    assert set(task.corpus.noises) == {"train", "validation", "test"}
