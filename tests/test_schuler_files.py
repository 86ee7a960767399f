"""``unroll apply imaging/schuler`` on pictures: the kernel, colours, what is flat, what is too small."""

import json

import numpy as np
import pytest
import torch
from pictured import scene, small_task, uint8
from PIL import Image

from unrolling.operators import convolve_valid
from unrolling.systems.catalogue import find
from unrolling.tasks import kernel_error, shake
from unrolling.training.weights import save_weights

NAME = "imaging/schuler"


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """The network before training, and its weights file."""
    system, task = find(NAME), small_task("deblurring", kind="shake", size=17)
    network = system.network(system.recipes["deblurring"], task).eval()
    path = tmp_path_factory.mktemp("weights") / "schuler.safetensors"
    save_weights(network, path, {"system": NAME, "task": task.identity(), "seed": 0}, task.fixed_tensors())
    return network, path


@pytest.fixture
def apply(unroll, held):
    return lambda *arguments: unroll("apply", NAME, *arguments, "--weights", held[1], "--json")


def blurred(channels=1):
    """A drawn picture, what a trembling hand makes of it, and the kernel."""
    kernel = shake(17, torch.Generator().manual_seed(4)).unsqueeze(0)
    wide = scene(24, 28, channels=channels).repeat_interleave(5, 1).repeat_interleave(5, 2)
    return convolve_valid(wide, kernel.expand(channels, -1, -1)), kernel


def test_the_kernel_that_is_shown_is_that_of_the_network_and_near_the_true_one(apply, held, tmp_path):
    y, kernel = blurred()
    Image.fromarray(uint8(y[0].numpy())).save(tmp_path / "a.png")
    status, out, error = apply(tmp_path / "a.png", "-o", tmp_path / "b.png", "--show-kernel")
    assert status == 0, error
    read = torch.from_numpy(np.asarray(Image.open(tmp_path / "a.png"), dtype=np.float32) / 255).unsqueeze(0)
    with torch.no_grad():
        found = held[0].run(read).kernel
    shown = np.asarray(Image.open(tmp_path / "b-kernel.png"))[4::8, 4::8]
    np.testing.assert_array_equal(shown, uint8((found[0] / found.max()).numpy()))
    assert float(kernel_error(found, kernel) / kernel.square().sum()) < 0.7
    assert np.asarray(Image.open(tmp_path / "b.png")).shape == y.shape[1:]
    assert str(tmp_path / "b-kernel.png") in out


def test_colours_are_deblurred_one_by_one_with_one_kernel(apply, tmp_path):
    y, _ = blurred(3)
    Image.fromarray(uint8(y.movedim(0, -1).numpy())).save(tmp_path / "a.png")
    status, out, error = apply(tmp_path / "a.png", "-o", tmp_path / "b.png")
    assert status == 0, error
    assert np.asarray(Image.open(tmp_path / "b.png")).shape == (*y.shape[1:], 3)
    assert not (tmp_path / "b-kernel.png").exists()
    assert json.loads(out)["channels"] == 3


def test_a_flat_picture_has_no_motion_and_comes_back(apply, tmp_path):
    Image.fromarray(np.full((60, 50), 90, np.uint8)).save(tmp_path / "a.png")
    status, out, error = apply(tmp_path / "a.png", "-o", tmp_path / "b.png")
    assert status == 0, error
    assert "it is sharp" in out
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "b.png")), 90)


def test_a_picture_smaller_than_the_kernel_is_refused(apply, tmp_path):
    Image.fromarray(np.full((20, 50), 90, np.uint8)).save(tmp_path / "a.png")
    status, _, error = apply(tmp_path / "a.png", "-o", tmp_path / "b.png")
    assert status != 0
    assert "25 x 25" in error
    assert not (tmp_path / "b.png").exists()
