"""``unroll apply``: from a file to files, and how it refuses."""

import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from iterations import gaussian
from spoken import write_recordings

from unrolling.files import sound as audio
from unrolling.systems.catalogue import find
from unrolling.systems.speech._caution import cautious
from unrolling.tasks.speech.enhancement import Enhancement
from unrolling.tasks.speech.separation import Separation
from unrolling.training.weights import save_weights

DEEP_NMF, MISI = "speech/deep_nmf", "speech/misi"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Of networks at their initial values, by system."""
    folder = tmp_path_factory.mktemp("weights")
    recordings = write_recordings(folder)
    made = {}
    for name, task in (
        (DEEP_NMF, Enhancement(data=recordings, atoms=4, seconds=0.5, held_out=4)),
        (MISI, Separation(data=recordings, seconds=0.5, held_out=4)),
    ):
        system = find(name)
        _, recipe = system.recipe(None)
        made[name] = folder / f"{name.rsplit('/', 1)[-1]}.safetensors"
        save_weights(
            system.network(recipe, task, 2),
            made[name],
            {"system": name, "task": task.identity(), "seed": 0},
            task.fixed_tensors(),
        )
    return made


@pytest.fixture
def noisy(tmp_path):
    path = tmp_path / "noisy.wav"
    audio.write(path, (0.1 * gaussian(2, 30_000)).float(), 44_100, "PCM_24")
    return path


def test_a_recording_becomes_another_of_the_same_kind(unroll, weights, noisy, tmp_path):
    status, output, errors = unroll(
        "apply", DEEP_NMF, noisy, "-o", tmp_path / "clean.wav", "--weights", weights[DEEP_NMF]
    )
    assert status == 0
    assert "sampling rate 44100 Hz is not 8000 that the weights were trained for" in errors
    assert re.fullmatch(rf"{re.escape(str(tmp_path / 'clean.wav'))}: the speech \(.*[0-9] s\)\n", output)
    assert audio.inspect(tmp_path / "clean.wav") == audio.SoundFormat(44_100, 2, 30_000, "PCM_24")


def test_it_is_what_the_network_gives(unroll, weights, tmp_path):
    samples = (0.1 * gaussian(1, 9000)).float()
    audio.write(tmp_path / "in.wav", samples, 8000, "FLOAT")
    outputs = [tmp_path / "speech.wav", tmp_path / "noise.wav"]
    status, _, _ = unroll(
        "apply", "speech/deep-nmf", tmp_path / "in.wav", "-o", *outputs, "--weights", weights[DEEP_NMF]
    )
    assert status == 0
    system = find(DEEP_NMF)
    _, recipe = system.recipe(None)
    from unrolling.training.weights import load_weights, read_weights

    net = system.network(recipe, Enhancement(atoms=4, fixed=read_weights(weights[DEEP_NMF])[1]), 2)
    load_weights(net, weights[DEEP_NMF])
    level = samples.square().mean().sqrt()
    wanted = cautious(net(samples / level).detach())[0] * level
    for path, each in zip(outputs, wanted, strict=True):
        torch.testing.assert_close(audio.read(path).samples[0], each, rtol=0, atol=1e-6)


@pytest.mark.parametrize("form", ["one -o", "an -o for each"])
def test_two_speakers_go_to_two_files(unroll, weights, noisy, tmp_path, form):
    names = [tmp_path / "speaker1.wav", tmp_path / "speaker2.flac"]
    given = ["-o", *names] if form == "one -o" else ["-o", names[0], "-o", names[1]]
    status, output, _ = unroll("apply", MISI, noisy, *given, "--weights", weights[MISI], "--json")
    assert status == 0
    found = json.loads(output)
    assert (found["system"], found["outputs"], found["rate"], found["channels"], found["warnings"]) == (
        MISI,
        list(map(str, names)),
        44_100,
        2,
        [],
    )
    for name in names:
        assert audio.inspect(name)[:3] == (44_100, 2, 30_000)


def test_a_warning_is_a_line_on_the_error_output(unroll, weights, tmp_path):
    audio.write(tmp_path / "in.wav", (4 * gaussian(1, 8000)).clamp(-1, 1).float(), 8000)
    status, _, errors = unroll(
        "apply", DEEP_NMF, tmp_path / "in.wav", "-o", tmp_path / "out.wav", "--weights", weights[DEEP_NMF]
    )
    assert status == 0
    assert errors.startswith("unroll: ")
    assert "the recording is clipped" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((MISI, "noisy.wav", "-o", "a.wav"), ["writes 2 files (one speaker, the other), and 1 are named"]),
        (
            (DEEP_NMF, "noisy.wav", "-o", "a.wav", "b.wav", "c.wav"),
            ["writes 1 to 2 files (the speech, the noise), and 3 are named"],
        ),
        ((DEEP_NMF, "none.wav", "-o", "a.wav"), ["none.wav does not exist", "a sound file"]),
        ((DEEP_NMF, "noisy.wav", "-o", "noisy.wav"), ["is the input; the output needs another name"]),
        ((DEEP_NMF, "text.wav", "-o", "a.wav"), ["text.wav cannot be read as a sound file"]),
        (
            (DEEP_NMF, "nan.wav", "-o", "a.wav"),
            ["nan.wav holds 1 samples that are NaN or infinite, the first at sample 7 of channel 0"],
        ),
        ((DEEP_NMF, "short.wav", "-o", "a.wav"), ["short.wav is truncated"]),
        (("sparse_coding/lista", "noisy.wav", "-o", "a.wav"), ["cannot be applied to files for the task photographs"]),
        ((DEEP_NMF, "noisy.wav", "-o", "a.wav", "--task", "codes"), ["no task 'codes'"]),
    ],
)
def test_mistakes_get_one_line_before_anything_is_written(
    unroll, weights, noisy, tmp_path, monkeypatch, arguments, words
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.wav").write_text("no sound")
    samples = torch.zeros(1, 50)
    audio.write(tmp_path / "short.wav", samples, 8000)
    (tmp_path / "short.wav").write_bytes((tmp_path / "short.wav").read_bytes()[:-10])
    samples[0, 7] = np.nan
    import soundfile

    soundfile.write(tmp_path / "nan.wav", samples.T.numpy(), 8000, subtype="FLOAT")
    before = sorted(path.name for path in tmp_path.iterdir())
    chosen = ("--weights", weights[arguments[0]]) if arguments[0] in weights else ()
    status, output, errors = unroll("apply", *arguments, *chosen)
    assert (status, output) == (2, "")
    assert errors.startswith("unroll: ")
    assert errors.count("\n") == 1
    for word in words:
        assert word in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_weights_of_another_system_are_refused(unroll, weights, noisy, tmp_path):
    status, _, errors = unroll(
        "apply", MISI, noisy, "-o", tmp_path / "a.wav", tmp_path / "b.wav", "--weights", weights[DEEP_NMF]
    )
    assert status == 2
    assert "holds weights of speech/deep_nmf" in errors


def test_without_soundfile_the_extra_is_named(unroll, weights, noisy, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    status, _, errors = unroll("apply", DEEP_NMF, noisy, "-o", tmp_path / "a.wav", "--weights", weights[DEEP_NMF])
    assert status == 2
    assert "pip install 'unrolling[audio]'" in errors


def test_a_system_of_somebody_elses_names_its_own_files(unroll, weights, monkeypatch, tmp_path):
    """What is read and written is the system's business."""
    from unrolling.systems import catalogue as module
    from unrolling.systems.base import Application

    def run(network, task, content, outputs):
        outputs[0].write_text(content.upper())
        return {"letters": len(content)}

    application = Application(
        "a text", ("the same, louder",), lambda path, _: path.read_text(), run, (".txt",), ("-louder.txt",)
    )
    system = find(DEEP_NMF)
    louder = replace(system, apply={"enhancement": application})
    monkeypatch.setattr(module, "catalogue", lambda: {DEEP_NMF: louder})
    (tmp_path / "a.txt").write_text("speech")
    status, output, _ = unroll(
        "apply", DEEP_NMF, tmp_path / "a.txt", "-o", tmp_path / "b.txt", "--weights", weights[DEEP_NMF], "--json"
    )
    assert status == 0
    assert json.loads(output)["letters"] == 6
    assert (tmp_path / "b.txt").read_text() == "SPEECH"


def test_a_system_brings_its_own_options(unroll, tmp_path):
    _, tnrd, _ = unroll("apply", "imaging/tnrd", "--help")
    assert "--sigma" in tnrd
    assert "of 255" in " ".join(tnrd.replace("│", " ").split())
    assert "--show-kernel" not in tnrd
    assert "--mask" not in tnrd
    _, dublid, _ = unroll("apply", "imaging/dublid", "--task", "deblurring", "--help")
    assert "--show-kernel" in dublid
    assert "of 255" not in dublid


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["imaging/tnrd", "a.png", "--mask", "m.npy"], "imaging/tnrd has no option --mask; it has --sigma"),
        (["--show-kernel", "imaging/tnrd", "a.png"], "imaging/tnrd has no option --show-kernel; it has --sigma"),
        (["imaging/tnrd", "a.png", "--wieghts", "w"], "it has --sigma; did you mean --weights?"),
        (["imaging/tnrdd", "a.png", "--sigma", "3"], "no system 'imaging/tnrdd'; did you mean imaging/tnrd?"),
        (["imaging/dublid", "a.png", "--set", "kernel=1"], "colour=0, show_kernel"),
        (["imaging/dublid", "a.png", "--set", "show_kernel=2"], "show_kernel is 0 or 1"),
    ],
)
def test_options_that_a_system_does_not_have(unroll, arguments, said):
    status, output, errors = unroll("apply", *arguments)
    assert (status, output) == (2, "")
    assert said in errors


def test_options_as_keys_and_values():
    from unrolling.systems.options import Option, separate

    options = (Option("sigma", float, "noise"), Option("show_kernel", bool, "kernel"))
    assert separate(["show-kernel=1", "kind=both", "sigma=3"], options, {"kind": "linear"}) == (
        {"show_kernel": True, "sigma": 3.0},
        ["kind=both"],
    )
    # A task's option of the same name keeps its meaning.
    assert separate(["sigma=3"], options, {"sigma": 25.0}) == ({}, ["sigma=3"])


def test_claims_are_measured_where_a_task_has_some(unroll):
    status, output, errors = unroll("theory", "imaging/tnrd")
    assert (status, output) == (2, "")
    assert "nothing is proved about networks for denoising, the tasks of imaging/tnrd" in errors
