"""``unroll apply`` with a mask: the known pixels stay, the others are the network's, and what is no mask is refused."""

import json

import numpy as np
import pytest
import torch
from pictured import scene, small_task, uint8
from PIL import Image
from tiny import moved

from unrolling.algorithms.images.inpainting import Masked, fill_missing
from unrolling.files import pictures as pixels
from unrolling.systems.catalogue import find
from unrolling.training.weights import save_weights

NAME = "imaging/nlr_mrf"


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """A network that does something, with its weights file."""
    system, task = find(NAME), small_task("inpainting")
    network = moved(system.network(system.recipes["inpainting"], task, 2), size=0.02).eval()
    path = tmp_path_factory.mktemp("weights") / "nlr_mrf.safetensors"
    save_weights(network, path, {"system": NAME, "task": task.identity(), "seed": 0}, task.fixed_tensors())
    return network, path


def write(path, values, mode=None):
    image = Image.fromarray(values)
    (image.convert(mode) if mode else image).save(path)
    return path


def photo(path, channels=3, height=30, width=37):
    values = uint8(scene(height, width, channels=channels).movedim(0, -1).numpy())
    return write(path, values[..., 0] if channels == 1 else values)


def missing(height=30, width=37):
    values = np.zeros((height, width), dtype=np.uint8)
    values[8:14, 5:30] = 255
    values[20:, 33] = 255
    return values


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", [None, "1", "RGB", "P"])
def test_missing_pixels_are_the_networks_and_the_others_stay(unroll, held, tmp_path, channels, mode):
    """Without --task, as the option says which one is meant."""
    source, output = photo(tmp_path / "photo.png", channels), tmp_path / "filled.png"
    mask = write(tmp_path / "mask.png", missing(), mode)
    status, out, error = unroll("apply", NAME, source, "-o", output, "--mask", mask, "--weights", held[1], "--json")
    assert status == 0, error
    assert json.loads(out)["task"] == "inpainting"
    planes, known = pixels.read(source).pixels, torch.from_numpy(1 - missing() / 255).float()
    with torch.no_grad():
        wanted = held[0](Masked(fill_missing(planes, known[None]), known[None]))
    got = torch.from_numpy(np.asarray(Image.open(output)).astype(np.float32))
    got = got.unsqueeze(0) if channels == 1 else got.movedim(-1, 0)
    assert torch.equal(got[:, known > 0], (255 * planes[:, known > 0]).round())
    assert float((got - 255 * wanted.clamp(0, 1)).abs().max()) < 0.51


def test_a_mask_without_missing_pixels_gives_the_picture_back(unroll, held, tmp_path):
    source, output = photo(tmp_path / "photo.png"), tmp_path / "filled.png"
    mask = write(tmp_path / "mask.png", np.zeros((30, 37), dtype=np.uint8))
    status, out, _ = unroll("apply", NAME, source, "-o", output, "--mask", mask, "--weights", held[1])
    assert status == 0
    assert "the mask is black everywhere" in out
    assert output.read_bytes() == source.read_bytes()


def test_several_pictures_have_their_masks_in_a_folder(unroll, held, tmp_path):
    for folder in ("photos", "masks"):
        (tmp_path / folder).mkdir()
    for name in ("a.png", "b.png"):
        photo(tmp_path / "photos" / name, 1)
    write(tmp_path / "masks" / "a.png", missing())
    arguments = ("apply", NAME, tmp_path / "photos", "-o", tmp_path / "out", "--mask", tmp_path / "masks")
    status, _, error = unroll(*arguments, "--weights", held[1])
    assert status == 1
    assert f"{tmp_path / 'masks' / 'b.png'} does not exist" in error
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (missing(29, 37), "mask.png has 29 x 37 pixels and"),
        (np.full((30, 37), 255, dtype=np.uint8), "is white everywhere: every pixel of"),
        (np.full((30, 37), 1, dtype=np.uint8), "has 1110 pixels that are neither black nor white"),
        (np.stack([missing(), 0 * missing(), missing()], -1), "pixels that are neither black nor white"),
    ],
)
def test_what_is_no_mask_is_refused(unroll, held, tmp_path, values, words):
    source, mask = photo(tmp_path / "photo.png"), write(tmp_path / "mask.png", values)
    arguments = ("apply", NAME, source, "-o", tmp_path / "filled.png", "--weights", held[1])
    status, _, error = unroll(*arguments, "--mask", mask)
    assert status == 2
    assert words in error
    assert not (tmp_path / "filled.png").exists()
    assert "is the input itself" in unroll(*arguments, "--mask", source)[2]
    assert "with --mask FILE" in unroll(*arguments, "--task", "inpainting")[2]
    assert "does not exist" in unroll(*arguments, "--mask", tmp_path / "none.png")[2]
