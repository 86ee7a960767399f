"""``unroll apply`` on photographs in the rain: colour, grey, alpha, 16 bits, tiny and large ones, and the rain."""

import json

import numpy as np
import pytest
import torch
from pictured import scene, small_task, uint8
from PIL import Image
from tiny import moved

from unrolling.files import pictures as pixels
from unrolling.systems.catalogue import find
from unrolling.systems.imaging import _rain as rain
from unrolling.training.weights import save_weights

NAMES = ("imaging/derain", "imaging/rcdnet")


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """Networks that do something, with their weights files."""
    folder, made = tmp_path_factory.mktemp("weights"), {}
    for name in NAMES:
        system, task = find(name), small_task("rain")
        network = moved(system.network(system.recipes["rain"], task, 2), size=0.02).eval()
        path = folder / f"{name.rsplit('/', 1)[-1]}.safetensors"
        save_weights(network, path, {"system": name, "task": task.identity(), "seed": 0}, task.fixed_tensors())
        made[name] = (network, path)
    return made


@pytest.fixture
def apply(unroll, held):
    """Applies a system with these weights: what was printed, or, where it should refuse, the error."""

    def run(name, *arguments, refused=False):
        status, out, error = unroll("apply", name, *arguments, "--weights", held[name][1])
        assert bool(status) == refused, error
        return error if refused else out

    return run


def save(path, channels=3, height=30, width=37, mode=None):
    values = uint8(scene(height, width, channels=channels).movedim(0, -1).numpy())
    image = Image.fromarray(values[..., 0] if channels == 1 else values)
    (image.convert(mode) if mode else image).save(path)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_a_photograph_is_taken_apart_as_the_network_does_it(name, apply, held, tmp_path, monkeypatch):
    monkeypatch.setitem(rain.RAINY, name, 0.0)
    source, clean, streaks = save(tmp_path / "photo.png"), tmp_path / "clean.png", tmp_path / "rain.png"
    told = json.loads(apply(name, source, "-o", clean, "--rain", streaks, "--json"))
    photo = pixels.read(source).pixels
    with torch.no_grad():
        found = held[name][0].supervised(photo.unsqueeze(0))
    for path, wanted in ((clean, found.background), (streaks, found.rain)):
        got = np.asarray(Image.open(path)).transpose(2, 0, 1)
        assert int(np.abs(got.astype(int) - uint8(wanted[0].numpy()).astype(int)).max()) <= 1
    assert told["more"] == {str(streaks): "the rain"}
    assert told["rain"] > 0


def test_a_photograph_of_which_hardly_anything_would_be_taken_stays_to_the_bit(apply, tmp_path, monkeypatch):
    """As one without rain; below the threshold it is the network's answer that is written."""
    source, clean, streaks = save(tmp_path / "photo.png"), tmp_path / "clean.png", tmp_path / "rain.png"
    arguments = (NAMES[1], source, "-o", clean, "--rain", streaks, "--json", "--overwrite")
    monkeypatch.setitem(rain.RAINY, NAMES[1], 0.0)
    apply(*arguments)
    assert not torch.equal(pixels.read(clean).pixels, pixels.read(source).pixels)
    monkeypatch.setitem(rain.RAINY, NAMES[1], 255.0)
    told = json.loads(apply(*arguments))
    assert told["unchanged"] == "no more was found than there is in photographs without rain"
    assert torch.equal(pixels.read(clean).pixels, pixels.read(source).pixels)
    assert float(pixels.read(streaks).pixels.max()) == 0


def test_a_pole_is_not_typical_and_what_falls_everywhere_is_measured_by_the_detail_that_it_crosses():
    """The ratio of both details, whatever the contrast; flat things, rows without neighbours and nothing are 0."""
    torch.manual_seed(0)
    clean = torch.rand(3, 96, 130)
    pole = torch.zeros(3, 96, 130)
    pole[:, :, 60:62] = 0.5
    assert rain.detail_taken(clean, pole) == 0
    mean = clean.mean(0, keepdim=True)
    streaks = mean.roll((17, 31), (1, 2))
    assert rain.detail_taken(mean, 0.4 * streaks) == pytest.approx(0.4, rel=0.05)
    assert rain.detail_taken(0.1 * mean, 0.04 * streaks) == pytest.approx(0.4, rel=0.08)
    assert rain.detail_taken(clean, torch.full_like(clean, 0.1)) == 0
    assert rain.detail_taken(torch.rand(1, 5, 1), torch.rand(1, 5, 1)) == 0
    assert rain.detail_taken(torch.zeros(3, 40, 40), torch.zeros(3, 40, 40)) == 0


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("LA", 1), ("RGBA", 3), ("P", 3), ("1", 1)])
def test_grey_photographs_and_those_with_alpha_are_worked_on(mode, channels, apply, held, tmp_path, monkeypatch):
    monkeypatch.setitem(rain.RAINY, NAMES[0], 0.0)
    source = save(tmp_path / "photo.png", channels, mode=mode)
    apply(NAMES[0], source, "-o", tmp_path / "clean.png", "--rain", tmp_path / "rain.png")
    before, after = pixels.read(source), pixels.read(tmp_path / "clean.png")
    assert after.pixels.shape == before.pixels.shape
    assert (after.alpha is None) == (before.alpha is None)
    assert before.alpha is None or torch.equal(after.alpha, before.alpha)
    if channels == 1:
        with torch.no_grad():
            wanted = held[NAMES[0]][0](before.pixels.expand(3, -1, -1).unsqueeze(0)).mean(1)
        torch.testing.assert_close(after.pixels, wanted.clamp(0, 1), atol=0.003, rtol=0)


def test_sixteen_bits_stay_sixteen_bits(apply, tmp_path):
    picture = pixels.Picture(scene(20, 24, channels=3), depth=16)
    pixels.write(tmp_path / "deep.png", picture)
    apply(NAMES[1], tmp_path / "deep.png", "-o", tmp_path / "clean.png", "--rain", tmp_path / "rain.tif")
    for path in (tmp_path / "clean.png", tmp_path / "rain.tif"):
        assert pixels.read(path).depth == 16


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (17, 2)])
def test_tiny_photographs_have_an_answer(size, apply, tmp_path):
    source = save(tmp_path / "tiny.png", 3, *size)
    for name in NAMES:
        apply(name, source, "-o", tmp_path / "clean.png", "--overwrite")
        assert pixels.read(tmp_path / "clean.png").pixels.shape == (3, *size)


@pytest.mark.nightly
@pytest.mark.parametrize("name", NAMES)
def test_pieces_of_a_large_photograph_are_those_of_the_whole(name, held, monkeypatch):
    network, photo = held[name][0], scene(90, 100, channels=3)
    margin = rain.reach(network)
    whole = rain.take_apart(network, photo)
    in_tiles = pixels.in_tiles
    monkeypatch.setattr(pixels, "in_tiles", lambda *given, **options: in_tiles(*given, **{**options, "tile": 8}))
    assert margin < 41
    for found, wanted in zip(rain.take_apart(network, photo), whole, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def test_rain_of_several_photographs_goes_into_a_folder_and_never_over_another_file(apply, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "rains").mkdir()
    for name in ("one.png", "two.png"):
        save(tmp_path / "in" / name)
    apply(NAMES[0], tmp_path / "in", "-o", tmp_path / "out", "--rain", tmp_path / "rains")
    assert sorted(path.name for path in (tmp_path / "rains").iterdir()) == ["one-rain.png", "two-rain.png"]
    source, out = tmp_path / "in" / "one.png", tmp_path / "clean.png"
    for given, words in (
        (source, "is the input; name another file"),
        (out, "is the output; name another file"),
        (tmp_path / "rains" / "one-rain.png", "exists; it stays as it is"),
        (tmp_path / "rain.xyz", "pictures are written as"),
        (tmp_path / "none" / "rain.png", "is not a folder"),
    ):
        assert words in apply(NAMES[0], source, "-o", out, "--rain", given, refused=True)
        assert not out.exists()
