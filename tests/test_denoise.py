"""``imaging/denoise`` with the weights that ship: levels, colours, pieces, and what it leaves alone."""

import numpy as np
import pytest
import torch
from PIL import Image

from unrolling import pretrained
from unrolling.algorithms import NoisyImage
from unrolling.systems.imaging._denoising import Found, denoise, told_levels
from unrolling.tasks import photograph
from unrolling.tasks.images.sources import colours


@pytest.fixture(scope="module")
def network():
    return pretrained("imaging/denoise")


def psnr(x, y):
    return -10 * float((x - y).square().mean().log10())


def crop():
    return photograph("camera")[80:128, 200:248].unsqueeze(0)


def test_it_has_the_numbers_that_its_card_says(network):
    assert sum(p.numel() for p in network.parameters()) == 96_242


@pytest.mark.parametrize(("sigma", "gain"), [(5, 2.0), (15, 4.5), (25, 6.0), (50, 7.5), (75, 8.0)])
def test_every_level_gains(network, sigma, gain):
    clean = crop()
    noisy = clean + sigma / 255 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = network(NoisyImage(noisy, torch.tensor([sigma / 255])))
    assert psnr(found, clean) > psnr(noisy, clean) + gain


def test_a_picture_without_noise_stays(network):
    clean = crop()
    with torch.no_grad():
        assert psnr(network(NoisyImage(clean, torch.zeros(1))), clean) > 60


def test_pieces_with_the_margin_of_apply_are_the_whole(network):
    """The margin is less than what an output could depend on; what it does depend on is within a tenth of a level."""
    clean = photograph("camera")[80:112, 100:300].unsqueeze(0)
    noisy = clean + 20 / 255 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    way, level = told_levels(48, 64), Found(("white",), (20.0,), (None,), 0.0, 0.0)
    clean_of = way.clean(network, type("Task", (), {"most": 75.0}))
    with torch.no_grad():
        whole, pieces = (denoise(clean_of, 48, noisy, level, tile) for tile in (1000, 64))
    assert 255 * float((whole - pieces).abs().max()) < 0.1


def test_files_in_colour_and_stronger_noise_than_it_knows(tmp_path, unroll):
    import skimage.data

    clean = colours(skimage.data.astronaut()[60:108, 200:248])
    for sigma in (20, 100):
        noise = sigma / 255 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
        noisy = ((clean + noise).clamp(0, 1) * 255).round().to(torch.uint8)
        Image.fromarray(noisy.movedim(0, -1).numpy()).save(tmp_path / "a.png")
        unroll(
            "apply", "imaging/denoise", tmp_path / "a.png", "--sigma", sigma, "-o", tmp_path / "b.png", "--overwrite"
        )
        with Image.open(tmp_path / "b.png") as file:
            found = torch.from_numpy(np.asarray(file) / 255).movedim(-1, 0)
        assert psnr(found, clean) > psnr(noisy / 255, clean) + 5
