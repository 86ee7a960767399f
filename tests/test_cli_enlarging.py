"""``unroll apply imaging/scn``: networks that double pictures, one after the other."""

import numpy as np
import pytest
import torch
from pictured import scene, small_task, uint8
from PIL import Image
from test_cli_images import save

from unrolling.algorithms.images.coupled_patches import EnlargingCascade
from unrolling.operators.resize import resize
from unrolling.systems.catalogue import find
from unrolling.systems.imaging._files import rgb, ycbcr
from unrolling.training.weights import save_weights


@pytest.fixture(scope="module")
def doubling(tmp_path_factory):
    """SCN at its initial values, and its weights file."""
    system = find("imaging/scn")
    task = small_task("super_resolution", factor=2)
    network = system.network(system.recipe(None)[1], task).eval()
    path = tmp_path_factory.mktemp("scn") / "scn.safetensors"
    save_weights(network, path, {"system": "imaging/scn", "task": task.identity(), "seed": 0}, task.fixed_tensors())
    return network, path


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_picture_is_doubled_until_it_is_large_enough(unroll, doubling, tmp_path, factor):
    """Luma of colours, in tiles, the same as by the network called by hand; chroma is interpolated."""
    smooth = resize(scene(5, 6, channels=3), 19, 23)  # neither noise nor blocks, for which less would be taken
    source, out = save(tmp_path / "a.png", smooth), tmp_path / "b.png"
    assert unroll("apply", "imaging/scn", source, "-o", out, "--factor", factor, "--weights", doubling[1])[0] == 0
    colours = torch.from_numpy(np.asarray(Image.open(source), dtype=np.float32) / 255).movedim(-1, 0)
    luma, *chroma = ycbcr(colours)
    with torch.no_grad():
        wanted = EnlargingCascade([doubling[0]] * (1 if factor == 2 else 2), factor)(luma.unsqueeze(0))
    planes = [resize(c, factor * 19, factor * 23) for c in chroma]
    difference = np.asarray(Image.open(out)).astype(int) - uint8(rgb(wanted[0], *planes).movedim(0, -1).numpy())
    assert difference.shape == (factor * 19, factor * 23, 3)
    assert np.abs(difference).max() <= 1


def test_pictures_of_a_pixel_are_doubled_and_other_factors_refused(unroll, doubling, tmp_path):
    source, out = save(tmp_path / "a.png", torch.full((1, 1, 3), 0.5)), tmp_path / "b.png"
    assert unroll("apply", "imaging/scn", source, "-o", out, "--weights", doubling[1])[0] == 0
    assert np.asarray(Image.open(out)).tolist() == [[128] * 6] * 2
    for factor in (1, 5):
        other = ("--factor", factor, "-o", tmp_path / "c.png", "--weights", doubling[1])
        status, _, said = unroll("apply", "imaging/scn", source, *other)
        assert status == 2
        assert f"--factor is {factor}; it is 2, 3 or 4" in said
        assert not (tmp_path / "c.png").exists()
