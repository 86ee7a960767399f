"""What was measured of k-space, told from the file: rate, kind of mask, coils, images with few edges."""

import json

import numpy as np
import pytest
import torch

from unrolling.operators.fourier import fft
from unrolling.systems.medical._files import flat_share
from unrolling.tasks.medical import sampling

CSNET = "medical/admm_csnet"


def masks(size, rate):
    generator = torch.Generator().manual_seed(0)
    radius = torch.linalg.vector_norm(
        torch.stack(torch.meshgrid(*[torch.arange(size) - size // 2.0] * 2, indexing="ij")), dim=0
    )
    lines = torch.rand(size, 1, generator=generator) < rate
    return {
        "radial lines": sampling.radial_mask(size, rate),
        "lines": lines.float().expand(size, size),
        "points": (torch.rand(size, size, generator=generator) < rate).float(),
        "rings": (radius % (1 / rate) < 1).float(),
        "all": torch.ones(size, size),
    }


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.3])
@pytest.mark.parametrize("size", [64, 128])
def test_the_kind_of_a_mask_is_told(size, rate):
    for kind, mask in masks(size, rate).items():
        assert sampling.mask_kind(mask) == kind
    assert sampling.mask_kind(masks(size, rate)["lines"].T) == "lines"


def test_points_that_thin_out_are_no_lines():
    size = 64
    radius = torch.linalg.vector_norm(
        torch.stack(torch.meshgrid(*[torch.arange(size) - size // 2.0] * 2, indexing="ij")), dim=0
    )
    thinning = (torch.rand(size, size, generator=torch.Generator().manual_seed(1)) < (-radius / 10).exp()).float()
    assert sampling.mask_kind(thinning) == "points"
    assert (
        sampling.mask_kind(torch.zeros(5, 7).index_put((torch.tensor(2), torch.tensor(3)), torch.tensor(1.0)))
        == "points"
    )


@pytest.mark.parametrize(
    ("kind", "rate", "outside"),
    [("radial lines", 0.2, []), ("radial lines", 0.05, ["measured"]), ("points", 0.2, ["mask"])],
)
def test_what_does_not_fit_is_said(unroll, tmp_path, kind, rate, outside):
    x = torch.rand(64, 64, generator=torch.Generator().manual_seed(0))
    mask = masks(64, rate)[kind]
    np.save(tmp_path / "k.npy", (mask * torch.fft.fftshift(fft(x[None])[0])).numpy())
    status, out, said = unroll("apply", CSNET, tmp_path / "k.npy", "-o", tmp_path / "x.png", "--json")
    assert status == 0, said
    found = {each["name"]: each for each in json.loads(out)["conditions"]}
    assert found["mask"]["value"] == kind
    assert found["measured"]["value"] == pytest.approx(100 * float(mask.mean()), abs=0.1)
    assert [name for name, each in found.items() if each["outside"]] == outside


def test_flat_images_are_told_from_textured_ones():
    drawn = (
        torch.rand(8, 8, generator=torch.Generator().manual_seed(0)).repeat_interleave(12, 0).repeat_interleave(12, 1)
    )
    assert flat_share(drawn) > 0.7
    assert flat_share(drawn + 0.02 * torch.rand(drawn.shape)) < 0.3
    assert flat_share(torch.zeros(4, 4)) == 0
    assert flat_share(torch.ones(1, 1)) == 0
