"""``unroll apply`` on pictures: what comes out, and how it refuses."""

import json
import os
from unittest.mock import patch

import numpy as np
import pytest
import torch
from pictured import scene, small_task, uint8
from PIL import Image
from test_files_pictures import make_bad

from unrolling.algorithms.images.diffusion import Compressed
from unrolling.files import pictures as pixels
from unrolling.systems.catalogue import find
from unrolling.systems.imaging import _blind as blind
from unrolling.systems.imaging import _denoising as denoising
from unrolling.systems.imaging import _files as applications
from unrolling.tasks.images.deblocking import coefficients_of
from unrolling.training.weights import load_weights, save_weights

TNRD, JPEG, LARGER, BLIND, CSNET = (
    "imaging/tnrd",
    "imaging/tnrd_jpeg",
    "imaging/tnrd_sr",
    "imaging/dublid",
    "medical/admm_csnet",
)
DEPTH = 2


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """Networks at their initial values with their weights files, by system; of every one the first recipe."""
    folder, made = tmp_path_factory.mktemp("weights"), {}
    for name in (TNRD, JPEG, LARGER, BLIND, CSNET):
        system = find(name)
        task_name, recipe = system.recipe(None)
        task = small_task(task_name)
        network = system.network(recipe, task, DEPTH).eval()
        path = folder / f"{name.rsplit('/', 1)[-1]}.safetensors"
        save_weights(network, path, {"system": name, "task": task.identity(), "seed": 0}, task.fixed_tensors())
        made[name] = (network, path)
    return made


@pytest.fixture
def apply(unroll, held):
    """Applies a system with its initial weights."""
    return lambda name, *arguments: unroll("apply", name, *arguments, "--weights", held[name][1])


def save(path, planes, mode=None):
    """A drawn picture as a file."""
    values = uint8(planes.movedim(0, -1).numpy())
    image = Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values)
    (image.convert(mode) if mode else image).save(path, **({"quality": 10} if path.suffix == ".jpg" else {}))
    return path


# What comes out


def test_a_grey_picture_is_what_the_network_makes_of_it(apply, held, tmp_path):
    source = save(tmp_path / "a.png", scene())
    assert apply(TNRD, source, "-o", tmp_path / "b.png", "--sigma", 25)[0] == 0
    with torch.no_grad():
        wanted = held[TNRD][0](torch.from_numpy(np.asarray(Image.open(source), dtype=np.float32) / 255).unsqueeze(0))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "b.png")), uint8(wanted[0].numpy()))


def test_a_strength_between_those_trained_for_scales_the_picture(apply, held, tmp_path):
    """What is trained for 25 does at 50 to a picture what it does at 25 to half of it."""
    source = save(tmp_path / "a.png", scene())
    assert apply(TNRD, source, "-o", tmp_path / "b.png", "--sigma", 50)[0] == 0
    y = torch.from_numpy(np.asarray(Image.open(source), dtype=np.float32) / 255).unsqueeze(0)
    with torch.no_grad():
        wanted = 2 * held[TNRD][0](y / 2)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "b.png")), uint8(wanted[0].numpy()))


def test_the_colours_of_a_grey_picture_stay_equal(apply, tmp_path):
    save(tmp_path / "grey.png", scene())
    save(tmp_path / "colour.png", scene().repeat(3, 1, 1))
    for name in ("grey", "colour"):
        assert apply(TNRD, tmp_path / f"{name}.png", "-o", tmp_path / f"{name}-out.png", "--sigma", 25)[0] == 0
    grey, colour = (np.asarray(Image.open(tmp_path / f"{name}-out.png")).astype(int) for name in ("grey", "colour"))
    # The brightness channel is sqrt(3) times the grey one, so that the two are not the same; but no tint may come in.
    assert np.abs(colour - colour[..., :1]).max() <= 1
    assert np.abs(colour[..., 0] - grey).mean() < 8


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_depth_and_alpha_stay(apply, tmp_path, suffix):
    alpha = torch.linspace(0, 1, 40 * 56).reshape(40, 56)
    pixels.write(tmp_path / f"a{suffix}", pixels.Picture(scene(channels=3), alpha, 16))
    assert apply(TNRD, tmp_path / f"a{suffix}", "-o", tmp_path / f"b{suffix}", "--sigma", 10)[0] == 0
    before, after = (pixels.read(tmp_path / f"{name}{suffix}") for name in "ab")
    assert after.depth == 16
    assert torch.equal(after.alpha, before.alpha)
    assert after.pixels.shape == before.pixels.shape
    assert len(after.pixels.unique()) > 256


def test_a_picture_that_lies_on_its_side_comes_out_upright(apply, tmp_path):
    image, exif = Image.fromarray(uint8(scene(24, 40)[0].numpy())), Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.png", exif=exif)
    save(tmp_path / "upright.png", scene(24, 40).rot90(-1, (1, 2)))
    for name in ("a", "upright"):
        assert apply(TNRD, tmp_path / f"{name}.png", "-o", tmp_path / f"{name}-out.png", "--sigma", 20)[0] == 0
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "a-out.png")), np.asarray(Image.open(tmp_path / "upright-out.png"))
    )


@pytest.mark.parametrize("mode", ["1", "P", "CMYK"])
def test_one_bit_palette_and_ink_pictures_are_worked_on(apply, tmp_path, mode):
    source = save(tmp_path / "a.tif", scene(channels=3), mode)
    status, _, said = apply(TNRD, source, "-o", tmp_path / "b.png", "--sigma", 25)
    assert status == 0
    assert ("four inks" in said) == (mode == "CMYK")
    with Image.open(tmp_path / "b.png") as file:
        assert file.size == (56, 40)
        assert file.mode == ("L" if mode == "1" else "RGB")


def test_without_sigma_it_is_estimated_to_a_tenth(apply, tmp_path):
    smooth = scene(8, 10).repeat_interleave(32, 1).repeat_interleave(32, 2)
    noisy = 0.2 + 0.6 * smooth + 15 / 255 * torch.randn(smooth.shape, generator=torch.Generator().manual_seed(0))
    source = save(tmp_path / "a.png", noisy)
    status, out, _ = apply(TNRD, source, "-o", tmp_path / "b.png", "--json")
    assert status == 0
    facts = json.loads(out)
    assert facts["sigma_is"] == "estimated"
    assert facts["sigma"] == pytest.approx(15, rel=0.1)


def test_the_opponent_colours_are_orthonormal():
    torch.testing.assert_close(denoising.OPPONENT @ denoising.OPPONENT.T, torch.eye(3))


@pytest.mark.parametrize("shape", [(40, 56), (37, 51)])
def test_a_jpeg_file_keeps_what_it_says_of_its_coefficients(apply, held, tmp_path, shape):
    """Of whole blocks, each coefficient of the result lies within half a step of the stored one, up to the rounding of
    pixels.
    """
    source = save(tmp_path / "a.jpg", scene(*shape))
    assert apply(JPEG, source, "-o", tmp_path / "b.png")[0] == 0
    with Image.open(source) as file:
        decoded = torch.from_numpy(np.asarray(file, dtype=np.float32) / 255).unsqueeze(0)
        steps = torch.from_numpy(np.asarray(file.quantization[0], dtype=np.float32).reshape(1, 8, 8) / 255)
    result = torch.from_numpy(np.asarray(Image.open(tmp_path / "b.png"), dtype=np.float32) / 255).unsqueeze(0)
    assert result.shape == decoded.shape
    height, width = shape[0] // 8 * 8, shape[1] // 8 * 8
    one, two = (cosines(x[0, :height, :width]) for x in (decoded, result))
    stored = (one / steps[0]).round() * steps[0]
    assert float(((two - stored).abs() - steps[0] / 2).max()) < 8 * 0.5 / 255 + 1e-6
    if shape == (40, 56):
        with torch.no_grad():
            wanted = held[JPEG][0](Compressed(decoded, coefficients_of(decoded, steps), steps, torch.ones(1, *shape)))
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "b.png")), uint8(wanted[0].numpy()))


def cosines(image):
    """The coefficients of the blocks of an image (height, width), about the middle grey of JPEG."""
    import scipy.fft

    blocks = (image.numpy() - 128 / 255).reshape(image.shape[0] // 8, 8, -1, 8).transpose(0, 2, 1, 3).reshape(-1, 8, 8)
    return torch.from_numpy(scipy.fft.dctn(blocks, axes=(1, 2), norm="ortho"))


def test_a_colour_jpeg_file_keeps_its_chroma(apply, tmp_path):
    source = save(tmp_path / "a.jpg", scene(channels=3))
    assert apply(JPEG, source, "-o", tmp_path / "b.png")[0] == 0
    before, after = (np.asarray(Image.open(path).convert("YCbCr")).astype(int) for path in (source, tmp_path / "b.png"))
    inside = (np.asarray(Image.open(tmp_path / "b.png")) % 255 != 0).all(-1)  # where nothing was clipped
    assert np.abs(after[..., 1:] - before[..., 1:])[inside].max() <= 2


def test_super_resolution_enlarges_alpha_and_all(apply, tmp_path):
    alpha = torch.ones(20, 24)
    pixels.write(tmp_path / "a.png", pixels.Picture(scene(20, 24, channels=3), alpha))
    assert apply(LARGER, tmp_path / "a.png", "-o", tmp_path / "b.png")[0] == 0
    found = pixels.read(tmp_path / "b.png")
    assert found.pixels.shape == (3, 60, 72)
    assert found.alpha.shape == (60, 72)


def test_deblurring_shows_its_kernel(apply, held, tmp_path):
    # With the noise that the weights are for, none is added or taken away.
    smooth = 0.3 + 0.4 * scene(9, 8).repeat_interleave(8, 1).repeat_interleave(8, 2)
    source = save(tmp_path / "a.png", smooth + 2.7 / 255 * torch.randn(smooth.shape))
    status, out, _ = apply(BLIND, source, "-o", tmp_path / "b.png", "--show-kernel")
    assert status == 0
    assert "blur kernel" in out
    y = torch.from_numpy(np.asarray(Image.open(source), dtype=np.float32) / 255).unsqueeze(0)
    net = held[BLIND][0]
    with torch.no_grad():
        kernels = [state.kernel for state in net.trajectory(y)]
        # The picture with a mirrored border goes through the layers with the kernels that it has led to itself.
        margin = kernels[-1].shape[-1] // 2
        (layer, problem), *_ = walk = net.prepared(torch.nn.functional.pad(y, (margin,) * 4, mode="reflect"))
        state = layer.start(problem)
        for (layer, problem), kernel in zip(walk, kernels, strict=True):
            state = layer(state, problem)._replace(kernel=kernel)
        wanted = layer.estimate(state, problem)[0, margin:-margin, margin:-margin]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "b.png")), uint8(wanted.numpy()))
    shown = np.asarray(Image.open(tmp_path / "b-kernel.png"))[4::8, 4::8]
    np.testing.assert_array_equal(shown, uint8((kernels[-1][0] / kernels[-1].max()).numpy()))


def test_deblurring_does_not_darken_the_border(apply, held, tmp_path):
    """A network sees zeros around a picture, and makes the border of a flat one dark; what the command gives it is
    mirrored there.
    """
    level = 180
    Image.fromarray(np.full((90, 100), level, np.uint8)).save(tmp_path / "a.png")
    assert apply(BLIND, tmp_path / "a.png", "-o", tmp_path / "b.png")[0] == 0
    found = np.asarray(Image.open(tmp_path / "b.png")).astype(float)
    with torch.no_grad():
        alone = 255 * held[BLIND][0](torch.full((1, 90, 100), level / 255))[0].numpy()
    unevenness, before = (np.abs(image - image[45, 50]).max() for image in (found, alone))
    assert before > 10
    assert unevenness < before / 2


@pytest.mark.parametrize("name", [TNRD, JPEG, LARGER])
def test_tiles_change_nothing(apply, held, tmp_path, name):
    source = save(tmp_path / ("a.jpg" if name == JPEG else "a.png"), scene(72, 96))
    real = pixels.in_tiles
    seen = {}

    def small_tiles(run, image, **options):
        whole = run(image)
        found = real(run, image, **{**options, "tile": 24})
        seen["gap"] = float((found - whole).abs().max())
        return found

    with patch.object(pixels, "in_tiles", small_tiles):
        assert apply(name, source, "-o", tmp_path / "b.png")[0] == 0
    assert seen["gap"] < 1e-5


def test_a_large_picture_is_deblurred_in_tiles_with_one_kernel(apply, tmp_path, monkeypatch):
    source = save(tmp_path / "a.png", scene(150, 130))
    assert apply(BLIND, source, "-o", tmp_path / "whole.png", "--show-kernel")[0] == 0
    monkeypatch.setattr(blind, "LARGEST", 140)
    monkeypatch.setattr(blind, "MARGIN", 50)
    assert apply(BLIND, source, "-o", tmp_path / "tiles.png", "--show-kernel")[0] == 0
    whole, tiles = (
        np.asarray(Image.open(tmp_path / f"{name}.png")).astype(int)[20:-20, 20:-20] for name in ("whole", "tiles")
    )
    assert np.abs(whole - tiles).mean() < 4


# k-space


# Several files


def test_of_a_folder_all_are_done_but_a_bad_one_which_is_reported(apply, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for number in range(3):
        save(folder / f"{number}.png", scene(24, 30, seed=number))
    (folder / "bad.png").write_text("not a picture")
    status, printed, said = apply(TNRD, folder, "-o", out, "--sigma", 25)
    assert status == 1
    assert "bad.png is not a picture" in said
    assert "1 of 4 files failed" in said
    assert sorted(path.name for path in out.iterdir()) == ["0.png", "1.png", "2.png"]
    assert len(printed.splitlines()) == 3


def test_a_pattern_means_files_and_outputs_lie_beside_their_inputs(apply, tmp_path):
    for name in ("a.png", "b.png", "c.tif"):
        save(tmp_path / name, scene(24, 30))
    assert apply(TNRD, tmp_path / "*.png", "--sigma", 25)[0] == 0
    assert sorted(path.name for path in tmp_path.glob("*-denoised.png")) == ["a-denoised.png", "b-denoised.png"]


# Mistakes


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("text", "is not a picture"),
        ("empty", "is not a picture"),
        ("truncated", "is truncated"),
        ("no pixels", "picture|nothing"),
    ],
)
def test_what_is_no_picture_is_refused(apply, tmp_path, kind, words):
    path = make_bad(tmp_path, kind)
    status, _, said = apply(TNRD, path, "-o", tmp_path / "out.png", "--sigma", 25)
    assert status != 0
    assert len(said.strip().splitlines()) == 1
    assert any(word in said for word in words.split("|"))
    assert path.name in said
    assert not (tmp_path / "out.png").exists()


def test_an_output_that_cannot_be_written_is_found_before_the_work(apply, tmp_path):
    source = save(tmp_path / "a.png", scene())
    with patch.object(applications.pixels, "read", side_effect=AssertionError("work had begun")):
        for target, words in (
            (tmp_path / "out.gif", "pictures are written as"),
            (tmp_path / "none" / "out.png", "is not a folder"),
            (source, "the output needs another name"),
        ):
            status, _, said = apply(TNRD, source, "-o", target, "--sigma", 25)
            assert status != 0
            assert words in said


@pytest.mark.skipif(os.geteuid() == 0, reason="everything can be written by root")
def test_a_folder_without_permission_is_found_before_the_work(apply, tmp_path):
    source = save(tmp_path / "a.png", scene())
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    status, _, said = apply(TNRD, source, "-o", folder / "b.png", "--sigma", 25)
    assert status != 0
    assert "cannot be written" in said


def test_a_kernel_larger_than_the_picture_is_refused(apply, tmp_path):
    status, _, said = apply(BLIND, save(tmp_path / "a.png", scene(40, 90)), "-o", tmp_path / "b.png")
    assert status != 0
    assert "the kernel has 45 x 45 pixels, more than the picture, which has 40 x 90" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([TNRD, "a.png", "-o", "b.png", "--mask", "m.npy"], "has no option --mask"),
        ([TNRD, "a.png", "-o", "b.png", "--sigma", "-3"], "between 0 and 255"),
        ([JPEG, "a.png", "-o", "b.png", "--sigma", "3"], "has no option --sigma"),
        ([TNRD, "missing.png", "-o", "b.png"], "missing.png does not exist"),
        ([JPEG, "a.png", "-o", "b.png"], "known from a JPEG file alone"),
    ],
)
def test_other_mistakes_are_named(apply, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "a.png", scene())
    status, _, said = apply(*arguments)
    assert status != 0
    assert words in said
    assert not (tmp_path / "b.png").exists()


def test_weights_of_another_system_are_refused(unroll, held, tmp_path):
    source = save(tmp_path / "a.png", scene())
    status, _, said = unroll("apply", TNRD, source, "-o", tmp_path / "b.png", "--weights", held[JPEG][1], "--sigma", 25)
    assert status != 0
    assert "holds weights of imaging/tnrd_jpeg" in said


def test_a_network_that_is_loaded_again_is_the_same(held):
    network, path = held[TNRD]
    system = find(TNRD)
    again = system.network(system.recipes["denoising"], small_task("denoising"), DEPTH)
    load_weights(again, path, system=TNRD)
    assert torch.equal(again(scene()), network(scene()))


def test_a_picture_that_comes_back_as_it_is_is_the_file_itself(apply, tmp_path):
    """A JPEG file that was decoded and written again would not be."""
    clean = save(tmp_path / "clean.jpg", torch.full((3, 40, 48), 0.5))
    status, out, _ = apply(TNRD, clean, "-o", tmp_path / "same.jpg")
    assert status == 0
    assert "the input as it is" in out
    assert (tmp_path / "same.jpg").read_bytes() == clean.read_bytes()
