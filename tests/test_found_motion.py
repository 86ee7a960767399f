"""Blurred photographs of scikit-image with as much noise as they have: straight and trembling motions, none."""

import json
import math

import numpy as np
import pytest
import torch
from families import by_day
from PIL import Image
from test_found_noise import psnr, rounded

from unrolling.systems.imaging import _blind as blind
from unrolling.tasks.images.alignment import aligned
from unrolling.tasks.images.blurs import linear_motion, shake
from unrolling.tasks.images.deblurring import convolve_valid
from unrolling.tasks.images.sources import photograph

BLIND = "imaging/dublid"


def scored(found, true):
    return psnr(*aligned(found.clamp(0, 1)[None], true[None], 12))


def blurred(kernel, noise, seed=0):
    """A part of a photograph and what a motion and noise make of it, 8 bits."""
    x = photograph("coffee")[60:262, 90:312]
    y = convolve_valid(x[None], kernel[None])[0]
    generator = torch.Generator().manual_seed(seed)
    return rounded(y + noise * torch.randn(y.shape, generator=generator)), x[15:-15, 15:-15].contiguous()


@pytest.fixture
def applied(unroll, tmp_path):
    def run(picture, *arguments):
        Image.fromarray((255 * picture).round().to(torch.uint8).numpy()).save(tmp_path / "a.png")
        output = tmp_path / "b.png"
        status, out, said = unroll(
            "apply",
            BLIND,
            tmp_path / "a.png",
            "-o",
            output,
            "--task",
            "deblurring",
            "--overwrite",
            "--json",
            *arguments,
        )
        assert status == 0, said
        return torch.from_numpy(np.asarray(Image.open(output), dtype=np.float32) / 255), json.loads(out)

    return run


@pytest.mark.parametrize(("noise", "gain"), [(0.0, 1.0), (0.01, 1.0), (0.03, 1.0)])
def test_a_straight_motion_is_undone_whatever_the_noise(applied, noise, gain):
    """Without noise 0.4 dB were won, and at 3 % 1.8 lost."""
    y, x = blurred(linear_motion(15, math.pi / 5, 31), noise)
    found, facts = applied(y)
    assert scored(found, x) - scored(y, x) > gain
    assert facts["noise"] == pytest.approx(255 * noise, abs=0.8)  # texture is taken off
    assert bool(facts["conditions"][0]["outside"]) == (noise != 0.01)


def test_a_trembling_motion_gets_the_weights_for_it(applied):
    y, x = blurred(shake(31, torch.Generator().manual_seed(7)), 0.01)
    found, facts = applied(y)
    assert facts["conditions"][1]["value"] == "of all kinds"
    assert scored(found, x) > scored(y, x)


@pytest.mark.parametrize(
    ("name", "noise"),
    by_day(*((name, noise) for noise in (0.0, 0.03, 0.01) for name in ("astronaut", "camera")), count=3),
)
def test_a_sharp_picture_comes_back(applied, name, noise):
    x = photograph(name)[100:260, 60:240]
    y = rounded(x + noise * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)))
    found, facts = applied(y)
    assert torch.equal(found, y)
    assert "it is sharp" in facts["unchanged"]


@pytest.mark.nightly
def test_added_noise_is_the_same_on_every_run(applied):
    y, _ = blurred(linear_motion(12, 0.3, 31), 0.0)
    one, two = (applied(y, "--set", "kind=linear") for _ in range(2))
    assert one[1]["noise_added"] == pytest.approx(2.55, rel=0.05)
    assert torch.equal(one[0], two[0])


def test_the_spread_of_a_kernel_is_that_of_its_motion():
    """A segment of length L has a standard deviation of L / sqrt(12) along it."""
    shorter, longer = blind.spreads(linear_motion(20, 0.7, 31))
    assert longer == pytest.approx(19 / 12**0.5, rel=0.03)
    assert shorter < 0.6
