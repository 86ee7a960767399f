"""Sounds on a comparison's page: players, spectrograms, and a whole comparison of a system on speech."""

import base64
import io
import re
import wave

import numpy as np
import pytest
from families import some
from PIL import Image
from spoken import write_recordings

from unrolling.evaluation.compare import compare
from unrolling.report.page import render
from unrolling.report.sounds import groups, spectrogram, wav_uri
from unrolling.systems.catalogue import find
from unrolling.tasks.baselines import Iterative
from unrolling.tasks.exhibits import Sound
from unrolling.tasks.speech.enhancement import Enhancement
from unrolling.tasks.speech.separation import Separation


def decoded(uri, kind):
    head, content = uri.split(",")
    assert head == f"data:{kind};base64"
    return base64.b64decode(content)


def tone(frequency, count=4000, rate=8000):
    return np.sin(2 * np.pi * frequency * np.arange(count) / rate)


def test_a_player_holds_the_samples():
    samples = np.random.default_rng(0).uniform(-1, 1, 500)
    with wave.open(io.BytesIO(decoded(wav_uri(samples, 11_025), "audio/wav"))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth(), file.getnframes()) == (11_025, 1, 2, 500)
        found = np.frombuffer(file.readframes(500), dtype="<i2") / 32_767
    assert abs(found - samples).max() <= 0.5 / 32_767 + 1e-9
    with wave.open(io.BytesIO(decoded(wav_uri(np.array([3.0, -3.0, np.nan]), 8000), "audio/wav"))) as file:
        assert np.frombuffer(file.readframes(3), dtype="<i2").tolist() == [32_767, -32_767, 0]


@pytest.mark.parametrize("frequency", [500, 1000, 3000])
def test_a_tone_is_a_line_at_its_height(frequency):
    grey = spectrogram(tone(frequency), 0.0)
    assert grey.shape[0] == 129
    rows = grey[:, 10:-10].astype(float).mean(1).argsort()[-3:]
    assert 128 - frequency / (8000 / 256) in rows


def test_players_of_a_group_share_a_scale():
    made = groups(
        [
            Sound("a", "loud", tone(500), 8000),
            Sound("a", "quiet", 0.1 * tone(500), 8000),
            Sound("b", "alone", 0.1 * tone(500), 8000),
        ]
    )
    assert [(group["name"], len(group["players"])) for group in made] == [("a", 2), ("b", 1)]

    def peak(player):
        with wave.open(io.BytesIO(decoded(player["wav"], "audio/wav"))) as file:
            return abs(np.frombuffer(file.readframes(-1), dtype="<i2").astype(float)).max()

    def brightest(player):
        return np.asarray(Image.open(io.BytesIO(decoded(player["picture"], "image/png")))).max()

    (loud, quiet), (alone,) = (group["players"] for group in made)
    assert peak(quiet) / peak(loud) == pytest.approx(0.1, rel=1e-2)
    assert peak(alone) == pytest.approx(peak(loud), rel=1e-2)
    assert brightest(loud) == brightest(alone) == 255
    assert brightest(quiet) == pytest.approx(255 * (1 - 20 / 60), abs=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", some(["speech/deep_nmf", "speech/misi"], "speech/misi"))
@pytest.mark.nightly
def test_a_comparison_plays_what_it_compares(tmp_path, name):
    recordings = write_recordings(tmp_path)
    system = find(name)
    task_name, recipe = system.recipe(None)
    task = (
        Enhancement(data=recordings, atoms=4, seconds=0.4, held_out=12)
        if task_name == "enhancement"
        else Separation(data=recordings, seconds=0.4, held_out=12)
    )
    own = task.baselines(0)[:1]
    if task_name == "enhancement":
        own = [Iterative(own[0].name, own[0].make, (0.1, 1.0), 20)]
    network = system.network(recipe, task, 3)
    found = compare(system, task_name, recipe, task, network, quiet=True, baselines=own, generic=(6, 4))
    captions = [sound.caption for sound in found.sounds if sound.group == "mixture 1"]
    assert captions[0] == "mixture"
    for source in task.sources[: 1 if task_name == "enhancement" else 2]:
        assert f"{source}, as it was" in captions
        assert any(caption.startswith(f"{source}: {system.title}, 3 layers") for caption in captions)
    # The mixture that is heard is the one that was separated.
    assert np.array_equal(found.sounds[0].samples, task.test[0].data[0].numpy())
    assert {"SI-SDR (dB)", "SDR (dB)"} <= set(found.rows[0].more)
    page = render(found)
    assert len(re.findall(r"<audio controls", page)) == len(found.sounds)
    assert "media-src data:" in page
