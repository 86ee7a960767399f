"""JPEG files as far as the weights help; small pictures with noise or blocks, enlarged."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from test_found_noise import psnr, rounded

from unrolling.operators.resize import resize
from unrolling.systems.imaging import _enlarging as enlarging
from unrolling.systems.imaging import _files as files
from unrolling.tasks.images.sources import colours, photograph

JPEG, LARGER = "imaging/tnrd_jpeg", "imaging/tnrd_sr"


def levels(picture):
    return (255 * picture).round().to(torch.uint8).numpy()


def opened(path):
    found = torch.from_numpy(np.asarray(Image.open(path), dtype=np.float32) / 255)
    return found if found.ndim == 2 else found.movedim(-1, 0)


@pytest.fixture
def applied(unroll, tmp_path):
    def run(system, source):
        status, out, said = unroll("apply", system, source, "-o", tmp_path / "b.png", "--overwrite", "--json")
        assert status == 0, said
        return opened(tmp_path / "b.png"), json.loads(out)

    return run


@pytest.mark.parametrize("quality", [5, 10, 30, 50, 70, 80, 85, 95])
def test_a_jpeg_file_is_never_worse_for_it(applied, tmp_path, quality):
    """On average over three photographs; above 80 the file comes back to the bit."""
    gains = []
    for name in ("coffee", "camera", "astronaut"):
        x = rounded(photograph(name)[100:228, 100:260])
        Image.fromarray(levels(x)).save(tmp_path / "a.jpg", quality=quality)
        before = opened(tmp_path / "a.jpg")
        after, facts = applied(JPEG, tmp_path / "a.jpg")
        assert facts["quality"] == quality
        if quality > 80:
            assert torch.equal(before, after)
            assert f"quality {facts['quality']}" in facts["unchanged"]
            assert "lies outside" in facts["conditions"][0]["outside"]
        gains.append(psnr(after, x) - psnr(before, x))
    assert np.mean(gains) >= (0.3 if quality <= 80 else 0)


def test_an_untouched_file_has_the_colours_that_it_shows(applied, tmp_path):
    x = photograph("coffee", colours)[:, 100:201, 100:233]
    Image.fromarray(levels(x).transpose(1, 2, 0)).save(tmp_path / "a.jpg", quality=92)
    after, facts = applied(JPEG, tmp_path / "a.jpg")
    assert facts["part"] == 0
    assert torch.equal(after, opened(tmp_path / "a.jpg"))


def test_what_is_won_is_not_compressed_again(unroll, tmp_path):
    (tmp_path / "in").mkdir()
    Image.fromarray(levels(photograph("coffee")[:64, :72])).save(tmp_path / "in" / "a.jpg", quality=30)
    status, _, said = unroll("apply", JPEG, tmp_path / "in" / "a.jpg", "-o", tmp_path / "b.jpg")
    assert status == 2
    assert "would be compressed by JPEG again" in said
    assert not (tmp_path / "b.jpg").exists()
    assert unroll("apply", JPEG, tmp_path / "in", "-o", tmp_path / "out")[0] == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]


def test_the_part_that_is_taken_falls_with_the_quality():
    parts = [files.part_of(quality) for quality in range(1, 101)]
    assert parts == sorted(parts, reverse=True)
    assert (parts[9], parts[79], parts[80]) == (1, 0.5, 0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 100), (3, 3)])
@pytest.mark.parametrize("system", [JPEG, LARGER])
def test_pictures_of_any_size(applied, tmp_path, system, shape):
    path = tmp_path / ("a.jpg" if system == JPEG else "a.png")
    Image.fromarray(np.full(shape, 90, np.uint8)).save(path, **({"quality": 20} if system == JPEG else {}))
    found, _ = applied(system, path)
    assert found.shape == (shape if system == JPEG else tuple(3 * side for side in shape))


@pytest.mark.parametrize("spoiled", ["noise", "blocks", "nothing"])
def test_an_enlarged_picture_is_not_worse_than_by_interpolation(applied, tmp_path, spoiled):
    """Noise of 10 levels and blocks of JPEG at quality 20 made it 2.9 and 0.4 dB worse."""
    x = photograph("coffee")[60:252, 60:300]
    small = rounded(resize(x[None], 64, 80)[0])
    path = tmp_path / "a.png"
    if spoiled == "noise":
        small = rounded(small + 10 / 255 * torch.randn(small.shape, generator=torch.Generator().manual_seed(0)))
    if spoiled == "blocks":
        Image.fromarray(levels(small)).save(tmp_path / "a.jpg", quality=20)
        path = tmp_path / "a.jpg"
    else:
        Image.fromarray(levels(small)).save(path)
    found, facts = applied(LARGER, path)
    interpolated = resize(opened(path)[None], *x.shape)[0]
    assert psnr(found, x) - psnr(interpolated, x) > {"noise": 1, "blocks": -0.05, "nothing": 0.8}[spoiled]
    outside = [c["name"] for c in facts["conditions"] if c["outside"]]
    assert outside == {"noise": ["noise"], "blocks": ["steps at blocks"], "nothing": []}[spoiled]


def test_blocks_are_told_from_their_borders(tmp_path):
    x = photograph("coffee")[:200, :240]
    assert enlarging.blockiness(x) == pytest.approx(1, abs=0.15)
    Image.fromarray(levels(x)).save(tmp_path / "a.jpg", quality=15)
    assert enlarging.blockiness(opened(tmp_path / "a.jpg")) > 1.5
    assert enlarging.blockiness(torch.zeros(3, 5)) == 1
    assert np.isfinite(enlarging.blockiness(torch.zeros(30, 50)))
