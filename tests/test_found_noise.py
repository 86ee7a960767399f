"""Noise that is told from a picture, and taken away as it is: photographs of scikit-image, drawn ones, small ones."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from unrolling.systems.catalogue import find
from unrolling.systems.imaging._denoising import find_noise
from unrolling.tasks.images.noise import Stabiliser, noise_levels, noise_of, stabiliser_of
from unrolling.tasks.images.sources import photograph

TNRD = "imaging/tnrd"
INTERPOLATED = torch.tensor([[0.25, 0.5, 0.25], [0.5, 1.0, 0.5], [0.25, 0.5, 0.25]]) / 1.5  # sum of squares 1


def rounded(x):
    """As a file of 8 bits holds it."""
    return (255 * x.clamp(0, 1)).round() / 255


def part(name, rows=slice(60, 256), columns=slice(60, 316)):
    return photograph(name)[rows, columns]


def noisy(x, kind, level, seed=0):
    """A picture with noise: white, as strong as the root of the brightness, or smoothed by an interpolation."""
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    if kind == "smoothed":
        padded = torch.nn.functional.pad(noise[None, None], (1, 1, 1, 1), mode="circular")
        noise = torch.nn.functional.conv2d(padded, INTERPOLATED[None, None])[0, 0]
    return rounded(x + level / 255 * noise * (x.sqrt() if kind == "counts" else 1))


def psnr(a, b):
    return float(-10 * (a.clamp(0, 1) - b).square().mean().clamp_min(1e-12).log10())


@pytest.fixture
def applied(unroll, tmp_path):
    """(picture) -> (what the command makes of it, its facts, what it said)."""

    def run(system, picture, *arguments, name="a.png"):
        values = (255 * picture).round().to(torch.uint8).numpy()
        Image.fromarray(values if values.ndim == 2 else values.transpose(1, 2, 0)).save(tmp_path / name)
        output = tmp_path / "b.png"
        status, out, said = unroll("apply", system, tmp_path / name, "-o", output, "--overwrite", "--json", *arguments)
        assert status == 0, said
        found = torch.from_numpy(np.asarray(Image.open(output), dtype=np.float32) / 255)
        return (found if found.ndim == 2 else found.movedim(-1, 0)), json.loads(out), said

    return run


@pytest.mark.parametrize("level", [3, 10, 25, 50])
@pytest.mark.parametrize("name", ["coffee", "chelsea", "camera"])
def test_the_level_of_white_noise_is_told_to_a_tenth(name, level):
    """Of a picture that is neither black nor white anywhere: clipped noise is weaker."""
    x = 0.25 + 0.5 * part(name)
    found = find_noise(noisy(x, "white", level)[None])
    assert found.kind == "white"
    assert found.level == pytest.approx(level, rel=0.1)
    assert found.stabilisers == (None,)


@pytest.mark.parametrize("level", [10, 25])
def test_noise_that_was_smoothed_is_told_from_white_noise(level):
    y = noisy(part("coffee"), "smoothed", level)
    levels = noise_levels(y)
    assert noise_of(y).kind == "smoothed"
    assert levels.middle == pytest.approx(level, rel=0.15)
    assert levels.top < 0.5 * level


def test_noise_of_counts_is_told_from_noise_of_one_level():
    x = part("coffee")
    stabiliser, dark, bright = stabiliser_of(noisy(x, "counts", 30))
    assert bright > 1.5 * dark
    z = stabiliser(torch.linspace(0, 1, 50))
    assert (z.diff() > 0).all()
    assert stabiliser_of(noisy(0.25 + 0.5 * x, "white", 30)) is None


def test_a_stabiliser_is_undone_to_second_order():
    """The mean of stabilised noisy values leads back to the brightness that they came from."""
    stabiliser = Stabiliser(np.array([0.0, 0.5, 1.0]), np.array([5.0, 20.0, 28.0]))
    generator = torch.Generator().manual_seed(0)
    for x in (0.2, 0.5, 0.8):
        level = float(np.interp(x, [0, 0.5, 1], [5, 20, 28])) / 255
        z = stabiliser(x + level * torch.randn(200_000, generator=generator))
        assert float(stabiliser.inverse(z.mean())) == pytest.approx(x, abs=2e-3)


@pytest.mark.parametrize("name", ["astronaut", "camera", "coffee", "rocket", "brick", "coins"])
def test_a_clean_photograph_comes_back(applied, name):
    x = photograph(name)[:256, :256]
    found, _, _ = applied(TNRD, rounded(x))
    assert psnr(found, rounded(x)) > 45


def test_a_level_that_the_picture_contradicts_is_said(applied):
    x = rounded(part("coffee"))
    _, facts, said = applied(TNRD, x, "--sigma", "25")
    assert "noise of 25 of 255 was given (--sigma), and at most" in said + str(facts["warnings"])
    _, facts, _ = applied(TNRD, noisy(0.25 + 0.5 * part("coffee"), "white", 25), "--sigma", "25")
    assert facts["warnings"] == []


@pytest.mark.parametrize(
    ("kind", "level", "gain"),
    [
        ("white", 5, 2.5),
        ("white", 25, 8),
        ("smoothed", 10, 2),
        ("smoothed", 25, 4),
        ("counts", 25, 6),
        ("counts", 50, 8),
    ],
)
def test_noise_of_every_kind_becomes_less(applied, kind, level, gain):
    """With one level for white noise, what was smoothed gained 0.3 to 0.6 dB, and counts 2 dB less."""
    x = part("coffee")
    y = noisy(x, kind, level)
    found, facts, _ = applied(TNRD, y)
    assert psnr(found, x) - psnr(y, x) > gain
    assert facts["noise"] == ("smoothed" if kind == "smoothed" else "white")


def test_colours_with_noise_of_their_own_level(applied):
    """Noise in red alone lies in all opponent colours; what is told is its root of the mean square."""
    x = torch.stack([0.2 + 0.6 * part("coffee")] * 3)
    y = x.clone()
    y[0] = noisy(x[0], "white", 30)
    found, facts, _ = applied(TNRD, rounded(y))
    assert facts["sigma"] == pytest.approx(30 / 3**0.5, rel=0.15)
    assert psnr(found, x) - psnr(y, x) > 3


@pytest.mark.parametrize("shape", [(1, 1), (1, 100), (3, 3), (9, 9), (7, 200)])
@pytest.mark.parametrize("options", [[], ["--sigma", "20"]])
def test_pictures_of_any_size(applied, shape, options):
    x = rounded(torch.rand(*shape, generator=torch.Generator().manual_seed(0)))
    found, facts, _ = applied(TNRD, x, *options)
    assert found.shape == shape
    if not options and min(shape) < 9:
        assert torch.equal(found, x)
        assert "too few to tell the noise" in facts["unchanged"]


@pytest.mark.parametrize("level", [0.0, 0.4, 1.0])
def test_constant_pictures_come_back(applied, level):
    x = torch.full((40, 50), round(255 * level) / 255)
    found, facts, _ = applied(TNRD, x)
    assert torch.equal(found, x)
    assert facts["unchanged"]


@pytest.mark.parametrize("noise", [0, 1])
@pytest.mark.parametrize("name", ["grass", "gravel", "brick"])
def test_grain_of_a_texture_is_no_noise(name, noise):
    """Its level at the highest frequencies in the flattest blocks of grass is 5: taken for noise, it lost 6 dB."""
    assert noise_of(noisy(photograph(name)[:256, :256], "white", noise)).kind == "none"


@pytest.mark.parametrize(
    ("kind", "level"), [("white", 2), ("white", 5), ("counts", 5), ("smoothed", 2), ("smoothed", 10)]
)
@pytest.mark.parametrize("name", ["grass", "gravel", "chelsea"])
def test_texture_does_not_become_worse(applied, name, kind, level):
    """What texture adds to the level is taken off it; before, grass lost up to 12 dB."""
    x = photograph(name)[:200, :200]
    y = noisy(x, kind, level)
    found, _, _ = applied(TNRD, y)
    assert psnr(found, x) - psnr(y, x) > -0.05


def test_what_the_weights_are_for_is_said(applied):
    ranges = find(TNRD).recipes["denoising"].ranges(find(TNRD).task("denoising"))
    assert 25.0 in ranges["noise"]
    _, facts, _ = applied(TNRD, (noisy(0.5 + 0 * part("coffee"), "white", 90) > 0.5).float())
    assert "lies outside" in facts["conditions"][0]["outside"]
    assert [c["name"] for c in facts["conditions"]][:2] == ["noise", "its kind"]
