"""``unroll apply imaging/learned_prox`` with the blur kernel in a file."""

import json

import numpy as np
import pytest
import torch
from pictured import small_task, uint8
from PIL import Image
from tiny import moved

from unrolling import unroll as unrolled
from unrolling.algorithms import DenoisedPrimalDual, KnownBlur
from unrolling.algorithms.splitting.data_terms import Blurred
from unrolling.files import pictures as pixels
from unrolling.operators import FiniteDifferences
from unrolling.operators.spectral import convolve
from unrolling.prox.analysis import AnalysisProx
from unrolling.systems.catalogue import find
from unrolling.systems.imaging._known_blur import read_kernel, tapered, told_noise
from unrolling.tasks.images.sources import photograph
from unrolling.training.weights import save_weights

NAME = "imaging/learned_prox"
KERNEL = np.array([[0, 1, 2], [1, 3, 0], [2, 0, 0]], dtype=np.float32)


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """A network with its weights file."""
    system, task = find(NAME), small_task("known_deblurring")
    network = moved(system.network(system.recipes["known_deblurring"], task, 3), size=0.01).eval()
    path = tmp_path_factory.mktemp("weights") / "learned_prox.safetensors"
    save_weights(network, path, {"system": NAME, "task": task.identity(), "seed": 0}, task.fixed_tensors())
    return network, path


def blurred(path, colours=3):
    clean = photograph("coffee")[100:170, 200:290] if colours == 1 else None
    planes = photograph("camera")[100:170, 200:290].expand(colours, -1, -1) if clean is None else clean[None]
    scaled = planes * torch.linspace(0.6, 1, colours)[:, None, None]
    values = uint8(convolve(scaled, torch.from_numpy(KERNEL / KERNEL.sum())[None]).movedim(0, -1).numpy())
    Image.fromarray(values[..., 0] if colours == 1 else values).save(path)
    return path


@pytest.mark.parametrize("colours", [1, 3])
def test_the_file_holds_what_the_network_makes_of_picture_and_kernel(unroll, held, tmp_path, colours):
    source, output = blurred(tmp_path / "photo.png", colours), tmp_path / "sharp.png"
    np.save(tmp_path / "kernel.npy", 5 * KERNEL)  # of any sum
    arguments = ("apply", NAME, source, "-o", output, "--weights", held[1], "--json", "--sigma", "2")
    status, out, error = unroll(*arguments, "--kernel", tmp_path / "kernel.npy")
    assert status == 0, error
    told = json.loads(out)
    assert told["task"] == "known_deblurring"
    planes, kernel = pixels.read(source).pixels, torch.from_numpy(KERNEL / KERNEL.sum())[None]
    network = told_noise(held[0], 2 / 255, 0.02)
    assert float(network.layers[0].fidelity) == pytest.approx((0.02 * 255 / 2) ** 2)
    with torch.no_grad():
        wanted = network(Blurred(tapered(planes, kernel, 3), kernel))[:, 3:-3, 3:-3]
    got = torch.from_numpy(np.asarray(Image.open(output)).astype(np.float32))
    got = got.unsqueeze(0) if colours == 1 else got.movedim(-1, 0)
    assert float((got - 255 * wanted.clamp(0, 1)).abs().max()) < 0.51
    # the same kernel as a picture
    Image.fromarray((80 * KERNEL).astype(np.uint8)).save(tmp_path / "kernel.png")
    assert unroll(*arguments, "--overwrite", "--kernel", tmp_path / "kernel.png")[0] == 0
    assert told["noise"] == 2
    again = np.asarray(Image.open(output)).astype(np.float32)
    assert np.abs(again - (got[0] if colours == 1 else got.movedim(0, -1)).numpy()).max() <= 1


def test_pictures_whose_blur_goes_on_outside_are_tapered():
    """Total variation with the periodic blur does much better on them, and the inside stays as it was."""
    clean, kernel = photograph("camera")[None, 100:180, 200:290], torch.ones(1, 7, 7) / 49
    given = convolve(photograph("camera")[None, 80:200, 180:310], kernel)[:, 20:-20, 20:-20]
    wide = tapered(given, kernel, 7)
    torch.testing.assert_close(wide[:, 14:-14, 14:-14], given[:, 7:-7, 7:-7], rtol=0, atol=1e-4)
    prox = AnalysisProx(FiniteDifferences(), 8.0, iterations=10)
    network = unrolled(DenoisedPrimalDual(KnownBlur(), prox, 1e-4, primal_step=5.0), 40)
    with torch.no_grad():
        found = network(Blurred(wide, kernel))[:, 7:-7, 7:-7]
        periodic = network(Blurred(given, kernel))
    errors = [float((x - clean).square().mean()) for x in (found, periodic, given)]
    assert errors[0] < 0.1 * errors[1], errors
    assert errors[0] < 0.7 * errors[2], errors


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((3, 3)), "is zero everywhere; a kernel sums to one"),
        (-np.eye(3), "has numbers that are negative or not finite"),
        (np.full((3, 3), np.nan), "has numbers that are negative or not finite"),
        (np.ones((3, 3, 3)), r"of shape (3, 3, 3); a kernel is a real matrix"),
        (np.ones((70, 3)), "has 70 x 3 pixels, and"),
    ],
)
def test_what_is_no_kernel_is_refused(unroll, held, tmp_path, values, words):
    source, kernel = blurred(tmp_path / "photo.png"), tmp_path / "kernel.npy"
    np.save(kernel, values)
    arguments = ("apply", NAME, source, "-o", tmp_path / "sharp.png", "--weights", held[1])
    status, _, error = unroll(*arguments, "--kernel", kernel)
    assert status == 2
    assert words in error
    assert not (tmp_path / "sharp.png").exists()


def test_a_kernel_is_asked_for(unroll, held, tmp_path):
    source = blurred(tmp_path / "photo.png")
    arguments = ("apply", NAME, source, "-o", tmp_path / "sharp.png", "--weights", held[1])
    assert "name the file of the blur kernel with --kernel FILE" in unroll(*arguments)[2]
    assert "is the input itself" in unroll(*arguments, "--kernel", source)[2]
    assert "does not exist" in unroll(*arguments, "--kernel", tmp_path / "none.npy")[2]
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(ValueError, match="is no file of NumPy"):
        read_kernel(tmp_path / "broken.npy")
    np.save(tmp_path / "kernel.npy", KERNEL)
    status, _, error = unroll(*arguments, "--kernel", tmp_path / "kernel.npy", "--sigma", "-1")
    assert status == 2
    assert "sigma is -1" in error


def test_noise_that_is_not_told_is_estimated(unroll, held, tmp_path):
    """Twice on the same blurred picture, with noise of 5 and without."""
    clean = blurred(tmp_path / "clean.png", 1)
    values = np.asarray(Image.open(clean)).astype(np.float32)
    noisy = values + 5 * np.random.default_rng(0).normal(size=values.shape)
    Image.fromarray(uint8(noisy / 255)).save(tmp_path / "noisy.png")
    np.save(tmp_path / "kernel.npy", KERNEL)
    found = []
    for name in ("clean", "noisy"):
        arguments = ("apply", NAME, tmp_path / f"{name}.png", "-o", tmp_path / f"{name}-sharp.png", "--json")
        status, out, error = unroll(*arguments, "--weights", held[1], "--kernel", tmp_path / "kernel.npy")
        assert status == 0, error
        found.append(json.loads(out)["noise"])
    assert found[0] < 2
    assert found[1] == pytest.approx(5, rel=0.15)
