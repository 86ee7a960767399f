"""Sound files: formats, rates, lengths, and long ones in blocks."""

import struct
import warnings

import numpy as np
import pytest
import soundfile
import torch
from iterations import gaussian

from unrolling.files import sound as audio

# and the largest error of a sample
SUBTYPES = {"PCM_U8": 2**-7, "PCM_16": 2**-15, "PCM_24": 2**-23, "PCM_32": 2**-24, "FLOAT": 0.0}


def tone(count, rate, frequency=440.0, phase=0.0):
    return torch.sin(2 * torch.pi * frequency * torch.arange(count) / rate + phase).float()


def sounds(channels=2, count=5000, seed=0):
    return (0.2 * gaussian(channels, count, seed=seed)).clamp(-0.95, 0.95).float()


def halves(x):
    """Two sources that depend on 3 samples to either side, the whole being their sum."""
    smooth = torch.nn.functional.avg_pool1d(torch.nn.functional.pad(x, (3, 3)).unsqueeze(1), 7, 1).squeeze(1)
    return torch.stack([smooth, x - smooth], dim=1)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(("subtype", "error"), SUBTYPES.items())
def test_what_is_written_is_read_back(tmp_path, subtype, error, channels):
    samples = sounds(channels, 777)
    audio.write(tmp_path / "a.wav", samples, 22_050, subtype)
    found = audio.read(tmp_path / "a.wav")
    assert found.rate == 22_050
    assert found.samples.shape == samples.shape
    assert (found.samples - samples).abs().max() <= error
    assert audio.inspect(tmp_path / "a.wav") == audio.SoundFormat(22_050, channels, 777, subtype)
    assert soundfile.info(tmp_path / "a.wav").subtype == subtype


def test_a_wav_of_24_bits_is_read_by_its_bytes(tmp_path):
    values = [0, 1, -1, 2**23 - 1, -(2**23)]
    data = b"".join(struct.pack("<i", v)[:3] for v in values)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 24_000, 3, 24)
    content = b"WAVE" + form + struct.pack("<4sI", b"data", len(data)) + data + b"\0"
    (tmp_path / "a.wav").write_bytes(struct.pack("<4sI", b"RIFF", len(content)) + content)
    found = audio.read(tmp_path / "a.wav").samples
    assert found.tolist() == [[v / 2**23 for v in values]]


@pytest.mark.parametrize("suffix", [".flac", ".aiff"])
def test_other_kinds_of_files_keep_their_samples(tmp_path, suffix):
    samples = sounds(1, 300)
    audio.write(tmp_path / f"a{suffix}", samples, 8000)
    assert (audio.read(tmp_path / f"a{suffix}").samples - samples).abs().max() <= 2**-15


# Sampling rates


@pytest.mark.parametrize(
    ("rate", "to"), [(16_000, 8000), (44_100, 8000), (8000, 44_100), (11_025, 8000), (8000, 48_000), (8000, 8000)]
)
def test_a_tone_at_another_rate_is_the_same_tone(rate, to):
    x = audio.resample(tone(rate, rate).unsqueeze(0), rate, to)
    assert x.shape == (1, to)
    inner = slice(to // 10, -to // 10)
    assert (x[0, inner] - tone(to, to)[inner]).abs().max() < 5e-3


def test_a_tone_that_the_lower_rate_cannot_hold_is_gone():
    x = audio.resample(tone(16_000, 16_000, 6000.0), 16_000, 8000)
    assert x[800:-800].abs().max() < 5e-3


def test_the_reach_of_resampling_is_what_a_unit_impulse_reaches():
    for rate, to in ((44_100, 8000), (8000, 44_100), (16_000, 8000)):
        x = torch.zeros(4001, dtype=torch.float64)
        x[2000] = 1
        reached = audio.resample(x, rate, to).nonzero().flatten().double() * rate / to
        assert (reached - 2000).abs().max() <= audio.reach(rate, to)


# Block by block


@pytest.mark.parametrize("rate", [8000, 16_000, 11_025, 44_100])
@pytest.mark.parametrize("channels", [1, 2])
def test_blocks_give_what_the_whole_gives(tmp_path, rate, channels):
    audio.write(tmp_path / "in.wav", sounds(channels, 3 * rate + 17), rate, "FLOAT")
    processor = audio.Processor(halves, 8000, 4, 3)
    names = [tmp_path / "a.wav", tmp_path / "b.wav"]
    audio.apply(processor, tmp_path / "in.wav", names, block=100.0)
    whole = [audio.read(name).samples for name in names]
    facts = audio.apply(processor, tmp_path / "in.wav", names, block=0.3)
    assert facts.blocks >= 4
    for name, before in zip(names, whole, strict=True):
        found = audio.read(name)
        assert found.rate == rate
        assert found.samples.shape == (channels, 3 * rate + 17)
        torch.testing.assert_close(found.samples, before, rtol=0, atol=2e-6)
    assert not [path for path in tmp_path.iterdir() if "tmp" in path.name]


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 44_100, 96_000])
def test_the_sources_add_up_to_the_recording_at_any_rate(tmp_path, rate):
    """Above the model's band too, of which it knows nothing."""
    samples = sounds(2, 9000)
    audio.write(tmp_path / "in.wav", samples, rate, "FLOAT")
    audio.apply(
        audio.Processor(halves, 8000, 64, 3), tmp_path / "in.wav", [tmp_path / "a.wav", tmp_path / "b.wav"], block=0.25
    )
    total = audio.read(tmp_path / "a.wav").samples + audio.read(tmp_path / "b.wav").samples
    torch.testing.assert_close(total, samples, rtol=0, atol=1e-6)


def test_above_the_models_band_a_sound_goes_where_the_top_of_the_band_goes(tmp_path):
    """A burst at 3.5 and 6 kHz, then one at 1 and 6 kHz over noise at 3.5 kHz that the model takes for the second
    source: the first at 6 kHz stays with the first source, the second one does not.
    """
    rate, count = 16_000, 16_000
    early = (torch.arange(count) < count // 2).float()
    samples = early * (tone(count, rate, 3500) + tone(count, rate, 6000))
    samples = samples + (1 - early) * (tone(count, rate, 1000) + tone(count, rate, 3500) + tone(count, rate, 6000))
    audio.write(tmp_path / "in.wav", 0.1 * samples.unsqueeze(0), rate, "FLOAT")

    def model(x):
        first = torch.where(torch.arange(x.shape[1]) < 4000, x, torch.zeros_like(x))
        return torch.stack([first, x - first], 1)

    audio.apply(audio.Processor(model, 8000, 64, 0), tmp_path / "in.wav", [tmp_path / "a.wav", tmp_path / "b.wav"])
    found = audio.read(tmp_path / "a.wav").samples[0]
    high = 20 * found * tone(count, rate, 6000)
    level = [float(high[500:7000].mean()), float(high[9000:15500].mean())]
    assert level[0] == pytest.approx(1, abs=0.02)
    assert level[1] == pytest.approx(0, abs=0.02)


def test_what_a_model_sees_has_unit_level_and_its_answer_the_recordings(tmp_path):
    levels = []

    def model(x):
        levels.append(x.square().mean(1).sqrt())
        return x.unsqueeze(1)

    samples = torch.stack([1e-3 * tone(8000, 8000), 0.5 * tone(8000, 8000)])
    audio.write(tmp_path / "in.wav", samples, 8000, "FLOAT")
    audio.apply(audio.Processor(model, 8000, 64, 0), tmp_path / "in.wav", [tmp_path / "out.wav"])
    torch.testing.assert_close(levels[0], torch.ones(2), rtol=1e-4, atol=0)
    torch.testing.assert_close(audio.read(tmp_path / "out.wav").samples, samples, rtol=0, atol=1e-6)


def test_memory_does_not_grow_with_the_file(tmp_path):
    """The model never sees more than a block with its context on both sides."""
    seen = []

    def model(x):
        seen.append(x.shape[1])
        return x.unsqueeze(1)

    audio.write(tmp_path / "in.wav", sounds(1, 80_000), 8000)
    audio.apply(audio.Processor(model, 8000, 64, 100), tmp_path / "in.wav", [tmp_path / "out.wav"], block=1.0)
    assert len(seen) == 10
    assert max(seen) <= 8000 + 2 * 128


def test_speakers_that_change_places_between_channels_are_put_back(tmp_path):
    first, second = 0.3 * tone(24_000, 8000, 300.0), 0.3 * tone(24_000, 8000, 1100.0)

    def swapping(x):
        """By the sum of the channel's extremes: the left channel in one order, the right in the other."""
        low = torch.nn.functional.avg_pool1d(torch.nn.functional.pad(x, (3, 3)).unsqueeze(1), 7, 1).squeeze(1)
        return torch.stack([torch.stack([low[0], low[1] - x[1]]), torch.stack([x[0] - low[0], -low[1]])], dim=1)

    audio.write(tmp_path / "in.wav", torch.stack([first + second, first + second]), 8000, "FLOAT")
    names = [tmp_path / "a.wav", tmp_path / "b.wav"]
    audio.apply(audio.Processor(swapping, 8000, 64, 3, interchangeable=True), tmp_path / "in.wav", names, block=0.5)
    for name in names:
        left, right = audio.read(name).samples
        torch.testing.assert_close(left.abs(), right.abs(), rtol=0, atol=1e-5)


# Bad input


def test_silence_comes_out_silent(tmp_path):
    audio.write(tmp_path / "in.wav", torch.zeros(2, 4000), 16_000)
    audio.apply(audio.Processor(halves, 8000, 4, 3), tmp_path / "in.wav", [tmp_path / "out.wav"])
    found = audio.read(tmp_path / "out.wav")
    assert (found.rate, found.samples.shape, float(found.samples.abs().max())) == (16_000, (2, 4000), 0.0)


@pytest.mark.parametrize("rate", [8000, 44_100])
def test_a_single_sample_is_a_recording(tmp_path, rate):
    audio.write(tmp_path / "in.wav", torch.tensor([[0.5]]), rate, "FLOAT")
    audio.apply(audio.Processor(halves, 8000, 4, 3), tmp_path / "in.wav", [tmp_path / "a.wav", tmp_path / "b.wav"])
    found = audio.read(tmp_path / "a.wav")
    assert found.samples.shape == (1, 1)
    assert torch.isfinite(found.samples).all()


def test_a_clipped_recording_is_said_to_be(tmp_path):
    audio.write(tmp_path / "in.wav", (3 * tone(4000, 8000)).clamp(-1, 1).unsqueeze(0), 8000)
    with pytest.warns(UserWarning, match=r"7\d\.\d% of the samples are at full scale; the recording is clipped"):
        facts = audio.apply(audio.Processor(halves, 8000, 4, 3), tmp_path / "in.wav", [tmp_path / "out.wav"])
    assert 0.7 < facts.clipped < 0.8
    audio.write(tmp_path / "in.wav", 0.9 * tone(4000, 8000).unsqueeze(0), 8000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        audio.apply(audio.Processor(halves, 8000, 4, 3), tmp_path / "in.wav", [tmp_path / "out.wav"])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_samples_that_are_no_numbers_are_refused_with_their_place(tmp_path, bad):
    samples = sounds(2, 400)
    samples[1, 123] = bad
    soundfile.write(tmp_path / "in.wav", samples.T.numpy(), 8000, subtype="FLOAT")
    for call in (
        lambda: audio.read(tmp_path / "in.wav"),
        lambda: audio.apply(audio.Processor(halves, 8000, 4, 3), tmp_path / "in.wav", [tmp_path / "o.wav"]),
    ):
        with pytest.raises(
            ValueError,
            match=r"holds 1 samples that are NaN or infinite, the first at sample 123 of "
            r"channel 1",
        ):
            call()
    assert not (tmp_path / "o.wav").exists()


@pytest.mark.parametrize("kept", [20, 44, 500, 843])
def test_a_truncated_file_is_refused(tmp_path, kept):
    audio.write(tmp_path / "in.wav", sounds(1, 400), 8000)
    content = (tmp_path / "in.wav").read_bytes()
    assert len(content) == 844
    (tmp_path / "in.wav").write_bytes(content[:kept])
    with pytest.raises(ValueError, match="truncated"):
        audio.read(tmp_path / "in.wav")


def test_a_stream_that_did_not_know_its_length_is_read(tmp_path):
    audio.write(tmp_path / "in.wav", sounds(1, 400), 8000)
    content = bytearray((tmp_path / "in.wav").read_bytes())
    where = content.index(b"data") + 4
    content[where : where + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "in.wav").write_bytes(content)
    assert audio.read(tmp_path / "in.wav").samples.shape == (1, 400)


def test_files_that_are_no_sound_are_refused_by_name(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"no sound at all, not in the least")
    with pytest.raises(ValueError, match=r"a\.wav cannot be read as a sound file"):
        audio.read(tmp_path / "a.wav")
    with pytest.raises(FileNotFoundError, match=r"b\.wav does not exist"):
        audio.read(tmp_path / "b.wav")
    soundfile.write(tmp_path / "c.wav", np.zeros((0, 1)), 8000)
    with pytest.raises(ValueError, match="holds no samples"):
        audio.read(tmp_path / "c.wav")


def test_outputs_that_cannot_be_are_refused_before_the_work(tmp_path):
    audio.write(tmp_path / "in.wav", sounds(1, 400), 8000)

    def never(x):
        pytest.fail("the work began")

    processor = audio.Processor(never, 8000, 4, 3)
    for outputs, words in (
        ([tmp_path / "in.wav"], "is the input; the output needs another name"),
        ([tmp_path / "a.wav", tmp_path / "a.wav"], "two outputs have the same name"),
        ([tmp_path / "none" / "a.wav"], "none is not a folder"),
        ([tmp_path / "a.xyz"], r"written as \.wav, \.flac, \.ogg or \.aiff; \.xyz is none of them"),
        ([tmp_path / "a"], "no suffix is none of them"),
        ([], "no output is named"),
    ):
        with pytest.raises(ValueError, match=words):
            audio.apply(processor, tmp_path / "in.wav", outputs)


def test_an_error_in_the_middle_leaves_nothing_behind(tmp_path):
    audio.write(tmp_path / "in.wav", sounds(1, 24_000), 8000)
    (tmp_path / "out.wav").write_bytes(b"as it was")
    calls = []

    def breaks(x):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("out of memory")
        return x.unsqueeze(1)

    with pytest.raises(RuntimeError, match="out of memory"):
        audio.apply(audio.Processor(breaks, 8000, 64, 0), tmp_path / "in.wav", [tmp_path / "out.wav"], block=0.5)
    assert (tmp_path / "out.wav").read_bytes() == b"as it was"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.wav", "out.wav"]
