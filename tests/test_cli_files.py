"""``unroll apply`` on folders and several files of every field: what is done, left out, kept and refused."""

import errno
import io
import json
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from families import by_day
from PIL import Image

from tools.fuzz import mutations, seeds
from unrolling.cli.main import main
from unrolling.files import pictures, sound, whole
from unrolling.systems.base import System
from unrolling.systems.catalogue import catalogue, find

PICTURES, SOUNDS, ARRAYS = seeds.pictures(), seeds.sounds(), seeds.arrays()
TNRD, DETNET, VITERBINET, NMF = "imaging/tnrd", "communications/detnet", "communications/viterbinet", "speech/deep_nmf"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def put(folder, files):
    for name, content in files.items():
        (folder / name).write_bytes(content)


def received(folder, *files):
    draw = np.random.default_rng(0)
    for name in files:
        channel = draw.standard_normal((4, 6, 3)) / 6**0.5
        symbols = draw.choice((-1.0, 1.0), (4, 3))
        np.savez(folder / name, y=np.einsum("bnk,bk->bn", channel, symbols), channel=channel, noise_variance=0.01)


# What is taken and what is left out


def test_a_folder_says_what_it_leaves_out(unroll, tmp_path):
    put(tmp_path, {"a.png": PICTURES["rgb.png"], "b.GIF": PICTURES["palette.gif"], "notes.txt": b"", "c": b""})
    (tmp_path / "more").mkdir()
    (tmp_path / ".hidden").touch()
    status, output, errors = unroll("apply", TNRD, tmp_path)
    assert status == 0
    assert [line.split(":")[0].rsplit("/")[-1] for line in output.splitlines()] == ["a-denoised.png", "b-denoised.png"]
    assert "left out for their suffixes: c, notes.txt; name them to have them done" in errors
    assert "folders inside it are left out: more" in errors
    assert "hidden" not in errors


@pytest.mark.parametrize("name", ["palette.gif", "rgb.ppm", "rgb.jp2", "rgb.avif"])
def test_pictures_that_are_read_are_taken_from_folders_and_come_out_as_png(unroll, tmp_path, name):
    put(tmp_path, {name: PICTURES[name]})
    assert unroll("apply", TNRD, tmp_path, "-o", tmp_path / "out")[0] == 0
    assert names(tmp_path / "out") == [name.split(".")[0] + ".png"]


def test_a_system_does_not_take_its_own_outputs(unroll, tmp_path):
    put(
        tmp_path, {"a.png": PICTURES["rgb.png"], "b.jpg": PICTURES["rgb.jpg"], "lone-denoised.png": PICTURES["rgb.png"]}
    )
    assert unroll("apply", TNRD, tmp_path)[0] == 0
    first = names(tmp_path)
    assert "lone-denoised-denoised.png" in first  # its source is not there: it is somebody's picture
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    status, output, errors = unroll("apply", TNRD, tmp_path)
    assert (status, output) == (1, "")
    assert "left out as outputs of this system: a-denoised.png, b-denoised.png" in errors
    assert errors.count("exists; it stays as it is (--overwrite replaces it)") == 3
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert unroll("apply", TNRD, *sorted(tmp_path.glob("*.png")), "--overwrite")[0] == 0
    assert names(tmp_path) == first


@pytest.mark.parametrize(("system", "ending"), [(DETNET, "-symbols.npy"), (NMF, "-speech.wav")])
def test_sounds_and_received_symbols_come_from_folders_patterns_and_several_files(unroll, tmp_path, system, ending):
    if system == DETNET:
        received(tmp_path, "a.npz", "b.npz")
    else:
        put(tmp_path, {"a.flac": SOUNDS["a.flac"], "b.wav": SOUNDS["pcm16.wav"]})
    paths = sorted(tmp_path.iterdir())
    wanted = [f"{name}{ending}" for name in "ab"]
    for given in (tmp_path,), (tmp_path / "*",), paths:
        status, output, _ = unroll("apply", system, *given, "--overwrite")
        assert status == 0
        assert [line.split(":")[0].rsplit("/")[-1] for line in output.splitlines()] == wanted
    assert unroll("apply", system, tmp_path, "-o", tmp_path / "out")[0] == 0
    assert len(names(tmp_path / "out")) == 2


def test_two_inputs_may_have_two_outputs_after_one_o(unroll, tmp_path):
    put(tmp_path, {"a.png": PICTURES["rgb.png"], "b.png": PICTURES["rgb.jpg"]})
    inputs, outputs = [[tmp_path / f"{name}.png" for name in pair] for pair in ("ab", "xy")]
    assert unroll("apply", TNRD, *inputs, "-o", *outputs)[0] == 0
    assert names(tmp_path) == ["a.png", "b.png", "x.png", "y.png"]
    for path in outputs:
        path.unlink()
    assert unroll("apply", TNRD, "-o", tmp_path / "out", *inputs)[0] == 0  # what follows the first name are inputs
    assert names(tmp_path / "out") == ["a.png", "b.png"]
    status, _, errors = unroll("apply", TNRD, *inputs, "-o", outputs[0])
    assert status == 2 or (tmp_path / "x.png").is_dir()
    status, _, errors = unroll("apply", TNRD, *inputs, "-o", *outputs, tmp_path / "z.png")
    assert status == 2
    assert "for each of 2 inputs, and 3 are named" in errors


def test_an_empty_name_is_no_folder(unroll, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path, {"a.png": PICTURES["rgb.png"]})
    for arguments in ([""], ["a.png", "-o", ""], ["a.png", "--weights="]):
        status, output, errors = unroll("apply", TNRD, *arguments)
        assert (status, output) == (2, "")
        assert errors.startswith("unroll: an argument is empty")
    assert names(tmp_path) == ["a.png"]


# What is kept


@pytest.mark.parametrize("system", [TNRD, DETNET, NMF])
def test_a_file_that_exists_stays(unroll, tmp_path, system):
    kind = {TNRD: ".png", DETNET: ".npy", NMF: ".wav"}[system]
    source, output = tmp_path / {TNRD: "a.png", DETNET: "a.npz", NMF: "a.wav"}[system], tmp_path / f"out{kind}"
    if system == DETNET:
        received(tmp_path, "a.npz")
    else:
        source.write_bytes(PICTURES["rgb.png"] if system == TNRD else SOUNDS["pcm16.wav"])
    output.write_bytes(b"theirs")
    status, _, errors = unroll("apply", system, source, "-o", output)
    assert (status, errors) == (2, f"unroll: {output} exists; it stays as it is (--overwrite replaces it)\n")
    assert output.read_bytes() == b"theirs"
    assert unroll("apply", system, source, "-o", output, "--overwrite")[0] == 0
    assert output.read_bytes() != b"theirs"


@pytest.mark.parametrize("broken", ["write", "fsync"])
@pytest.mark.parametrize("system", [TNRD, DETNET, NMF, "medical/admm_csnet"])
def test_on_a_full_disk_the_old_file_stays_and_one_line_says_so(unroll, tmp_path, monkeypatch, system, broken):
    kind = {TNRD: ".png", DETNET: ".npy", NMF: ".flac", "medical/admm_csnet": ".npy"}[system]
    output = tmp_path / f"out{kind}"
    source = tmp_path / "a.npz"
    if system == DETNET:
        received(tmp_path, "a.npz")
    else:
        source = tmp_path / {TNRD: "a.png", NMF: "a.wav"}.get(system, "a.npy")
        content = {TNRD: PICTURES["rgb.png"], NMF: SOUNDS["pcm16.wav"]}.get(system, ARRAYS["kspace.npy"])
        source.write_bytes(content)
    output.write_bytes(b"old")
    before = names(tmp_path)

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    if broken == "fsync":
        monkeypatch.setattr(whole.os, "fsync", full)
        status, said, errors = unroll("apply", system, source, "-o", output, "--overwrite")
    else:  # a limit on the size of files, as the disk's end is
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        before_signal = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
        try:
            status, said, errors = unroll("apply", system, source, "-o", output, "--overwrite")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, before_signal)
    assert (status, said) == (2, ""), errors
    assert errors.startswith("unroll: ")
    assert errors.count("\n") == 1
    assert output.read_bytes() == b"old"
    assert names(tmp_path) == before


def test_a_probe_deletes_nobodys_file(unroll, tmp_path):
    put(tmp_path, {"a.png": PICTURES["rgb.png"]})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".probe").write_text("mine")
    assert unroll("apply", TNRD, tmp_path, "-o", tmp_path / "out")[0] == 0
    assert (tmp_path / "out" / ".probe").read_text() == "mine"


# What fails


def test_one_that_fails_leaves_the_others_to_be_done(unroll, tmp_path):
    bad = mutations.mutated(PICTURES["packed16.tif"], 1)
    put(tmp_path, {"a.png": PICTURES["rgb.png"], "b.tif": bad[: len(bad) // 2], "c.jpg": PICTURES["rgb.jpg"]})
    status, output, errors = unroll("apply", TNRD, tmp_path, "--json")
    assert status == 1
    found = json.loads(output)["files"]
    assert ["error" in each for each in found] == [False, True, False]
    assert "b.tif" in errors
    assert "1 of 3 files failed" in errors
    assert (tmp_path / "c-denoised.png").is_file()


@pytest.mark.parametrize("error", [KeyError("ours"), MemoryError(), RecursionError("deep"), AssertionError()])
def test_even_a_mistake_of_ours_leaves_the_others_to_be_done(unroll, tmp_path, monkeypatch, error):
    put(tmp_path, {"a.png": PICTURES["rgb.png"], "b.png": PICTURES["rgb.png"]})
    real = pictures.read

    def read(path):
        if path.name == "a.png":
            raise error
        return real(path)

    monkeypatch.setattr(pictures, "read", read)
    status, _, errors = unroll("apply", TNRD, tmp_path)
    assert status == 1
    assert ("Traceback" in errors) == isinstance(error, (KeyError, AssertionError))  # those are seen in full
    assert "a.png" in errors
    assert (tmp_path / "b-denoised.png").is_file()


APPLIED = [(name, task) for name, system in catalogue().items() for task in system.apply if system.weights_files(task)]


@pytest.mark.parametrize(
    ("name", "task"), by_day(*APPLIED[::3], *APPLIED[1::3], *APPLIED[2::3], count=len(APPLIED[::3]))
)
def test_an_estimate_that_is_not_finite_is_never_written(unroll, tmp_path, monkeypatch, name, task):
    """Whatever the system: its weights are spoiled, so that its network gives NaN."""
    import unrolling.training.weights as weights

    real = weights.load_weights

    def spoiled(network, *given, **options):
        card = real(network, *given, **options)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.fill_(torch.nan)
        return card

    monkeypatch.setattr(weights, "load_weights", spoiled)
    field = name.split("/")[0]
    source = tmp_path / {"imaging": "a.jpg", "speech": "a.wav", "medical": "a.npy", "vision": "a.jpg"}.get(
        field, "a.npz"
    )
    if field == "tracking":
        np.savez(source, y=np.ones((2, 20, 2)))
    elif field == "power":
        np.savez(source, z=np.ones(54), time=np.arange(20.0), v=np.ones((20, 28)))
    elif field == "graphs":
        np.savez(source, values=np.ones(3), edges=np.array([[0, 1], [1, 2]]))
    elif field == "communications":
        system: System = find(name)
        drawn = system.task(task).draw(5, torch.Generator().manual_seed(0))
        fields = drawn.data._asdict() if hasattr(drawn.data, "_asdict") else {"y": drawn.data}
        fields = {key: value.numpy() for key, value in fields.items() if value is not None}
        if task == "sequence":
            fields = {"y": fields["y"]}  # without pilots
        if name.endswith("mmnet"):
            half = fields["y"].shape[1] // 2
            fields = {"y": fields["y"][:, :half] + 1j * fields["y"][:, half:], "noise_variance": np.float64(0.1)}
        np.savez(source, **fields)
    else:
        content = {"speech": SOUNDS["pcm16.wav"], "medical": ARRAYS["kspace.npy"]}
        source.write_bytes(content.get(field, PICTURES["rgb.jpg"]))
        if task in ("tomography", "nodules"):
            np.save(source, np.random.default_rng(0).random((30, 183), dtype=np.float32))
        if task == "clutter":
            movie = np.random.default_rng(0).standard_normal((2, 16, 16, 6))
            np.save(source, (movie[0] + 1j * movie[1]).astype(np.complex64))
        if task == "microscopy":
            source = source.with_suffix(".tif")
            source.write_bytes(seeds.stacks()["stack.tif"])
        if task == "compressive_rates":
            source = tmp_path / "a.npz"
            rows = np.linalg.qr(np.random.default_rng(0).standard_normal((1089, 20)))[0].T
            np.savez(source, samples=np.random.default_rng(1).random((2, 2, 20)), matrix=rows)
        if task in ("deblurring", "camera_blur"):
            Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(source)
    pan = []
    if "pan" in {option.name for option in find(name).apply[task].options}:
        pan = ["--pan", tmp_path / "pan.tif"]
        bands = np.random.default_rng(0).integers(1, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(bands[:8, :8]).save(source.with_suffix(".tif"))
        Image.fromarray(bands[..., 0]).save(pan[1])
        source = source.with_suffix(".tif")
    if task == "refinement":
        size = Image.open(source).size  # turned by its orientation
        np.save(tmp_path / "scores.npy", np.random.default_rng(0).standard_normal((4, *size)))
        pan = ["--unary", tmp_path / "scores.npy"]
    if task == "inpainting":
        mask = np.zeros(Image.open(source).size, dtype=np.uint8)  # turned by its orientation
        mask[4:9, 4:9] = 255
        Image.fromarray(mask).save(tmp_path / "mask.png")
        pan = ["--mask", tmp_path / "mask.png"]
    own = {option.name for option in find(name).apply[task].options}
    if task == "known_deblurring":
        np.save(tmp_path / "kernel.npy", np.full((3, 3), 1 / 9))
        pan = ["--kernel", tmp_path / "kernel.npy"]
    before = names(tmp_path)
    plain = ["--plain"] if "plain" in own else []  # what is there, without the classical method in its place
    plain += ["--spacing", 1] if "spacing" in own else []
    plain += ["--units", "integrals"] if "units" in own else []
    status, output, errors = unroll("apply", name, source, "--task", task, *plain, *pan)
    assert (status, output) == (2, ""), errors
    assert errors.startswith("unroll: ")
    assert "finite" in errors or "NaN" in errors
    assert names(tmp_path) == before


# The machine and the terminal


@pytest.mark.parametrize("threads", [100_000, 0])
def test_threads_that_no_machine_has_are_refused(unroll, tmp_path, threads):
    put(tmp_path, {"a.png": PICTURES["rgb.png"]})
    status, _, errors = unroll("apply", TNRD, tmp_path / "a.png", "--threads", threads)
    assert status == 2
    assert f"--threads is {threads}" in errors


@pytest.mark.parametrize("encoding", ["gbk", "ascii", "latin-1", "cp037", "idna"])
def test_any_encoding_of_the_terminal_will_do(tmp_path, monkeypatch, encoding):
    name = "größer \udc80.png"
    (tmp_path / name).write_bytes(PICTURES["rgb.png"])
    for words in (["cite", NMF], ["apply", TNRD, str(tmp_path / name), "--overwrite"], ["list"]):
        written = io.BytesIO()
        terminal = io.TextIOWrapper(written, encoding=encoding, errors="strict")
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setattr(sys, "argv", ["unroll", *words])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
        terminal.flush()
        assert written.getvalue()


def test_a_reader_that_goes_away_gets_no_traceback():
    program = [sys.executable, "-m", "unrolling.cli.main", "list"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        errors = process.stderr.read()
    assert b"Traceback" not in errors


@pytest.mark.parametrize("rate", [8000, 44_100, 96_000])
@pytest.mark.nightly
def test_a_long_ogg_is_encoded_piece_by_piece(tmp_path, rate):
    """Encoders that are given millions of samples at once keep them on their stack."""
    seconds = 35 if rate == 96_000 else 3
    samples = 0.1 * torch.randn(2, seconds * rate)
    sound.write(tmp_path / "a.ogg", samples, rate)
    assert sound.inspect(tmp_path / "a.ogg")[:3] == (rate, 2, seconds * rate)
    facts = sound.apply(sound.Processor(lambda x: x.unsqueeze(1), 8000, 4, 3), tmp_path / "a.ogg", [tmp_path / "b.ogg"])
    assert facts.seconds == seconds
    assert sound.inspect(tmp_path / "b.ogg")[:3] == (rate, 2, seconds * rate)
