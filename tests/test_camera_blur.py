"""Deblurring for cameras: weights that are told the noise, blurs of four kinds, and files of all kinds."""

import json
from unittest.mock import patch

import numpy as np
import pytest
import tifffile
import torch
from pictured import scene, uint8
from PIL import Image

from unrolling import unroll
from unrolling.algorithms.images.blind_steps import sharpen
from unrolling.algorithms.images.dublid import DUBLID
from unrolling.algorithms.images.dublid_levels import DUBLIDLevels, variance
from unrolling.algorithms.sparse.strided import NoisyImage
from unrolling.cli.prepare import prepare
from unrolling.files import pictures as pixels
from unrolling.systems.base import System
from unrolling.systems.catalogue import find
from unrolling.tasks.images.blurs import disc, linear_motion
from unrolling.tasks.images.camera_blur import KINDS, ROUNDING, Blur, CameraBlur
from unrolling.training.weights import load_weights, save_weights

NAME = "imaging/dublid"
SMALL = {"kernel_size": 7, "start": "derivatives"}


def levels(*sigmas):
    return NoisyImage(torch.stack([scene(24, 20, seed=n)[0] for n, _ in enumerate(sigmas)]), torch.tensor(sigmas))


def network(**values):
    """Of three layers; slopes and the like are set by name."""
    found = unroll(DUBLIDLevels(3, 3, **SMALL), 3, untied=("threshold", "threshold_slope"))
    with torch.no_grad():
        for key, parameter in found.named_parameters():
            if key.rsplit(".", 1)[-1] in values:
                parameter.copy_(torch.tensor(values[key.rsplit(".", 1)[-1]]))
    return found


# The iteration


@pytest.mark.parametrize("sigma", [0.0, 0.01, 0.2])
def test_at_the_start_it_is_dublid_to_the_bit_at_any_level(sigma):
    data = levels(sigma)
    with torch.no_grad():
        one, state = unroll(DUBLID(3, 3, **SMALL), 3)(data.image, return_state=True)
        net = network()
        layer, problem, found = list(net.walk(data))[-1]
    assert torch.equal(found.kernel, state.kernel)
    assert torch.equal(layer.restored(found, problem).image, one)


def test_each_picture_of_a_batch_is_worked_on_at_its_own_level():
    net = network(threshold_slope=0.7, coupling_slope=-0.4, kernel_step_slope=0.3, retrieval_slope=0.5)
    data = levels(0.002, 0.01, 0.04)
    with torch.no_grad():
        together = net(data)
        alone = torch.cat([net(NoisyImage(data.image[n : n + 1], data.sigma[n : n + 1])) for n in range(3)])
        unlike = net(data._replace(sigma=torch.full((3,), 0.01)))
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    assert float((together - unlike)[0].abs().max()) > 1e-3
    torch.testing.assert_close(together[1], unlike[1], atol=1e-6, rtol=0)


def test_a_coefficient_goes_with_a_power_of_the_level():
    layer = DUBLIDLevels(3, 3, **SMALL)
    with torch.no_grad():
        layer.threshold_slope.fill_(0.5)
        layer.kernel_threshold_slope.fill_(2.0)
    problem = layer.prepare(levels(0.04, 0.01))
    torch.testing.assert_close(layer.at("threshold", problem)[0], 2 * layer.threshold)
    torch.testing.assert_close(layer.at("threshold", problem)[1], layer.threshold)
    assert layer.at("kernel_threshold", problem).flatten().tolist() == pytest.approx([2 * np.log(4), 0.0], abs=1e-6)


def test_the_gradient_of_couplings_of_each_picture_is_that_of_the_formula():
    generator = torch.Generator().manual_seed(0)

    def numbers(*shape):
        parts = torch.randn(2, *shape, dtype=torch.float64, generator=generator)
        return torch.complex(*parts).requires_grad_()

    zeta = (0.5 + torch.rand(2, 3, dtype=torch.float64, generator=generator)).requires_grad_()
    inputs = (numbers(2, 3, 4, 3), numbers(2, 3, 4, 3), numbers(2, 4, 3), zeta)
    features, sparse, kernel, _ = inputs
    k, each = kernel.unsqueeze(1), zeta.reshape(2, 3, 1, 1)
    plain = (each * k.conj() * features + sparse) / (each * k.abs().square() + 1)
    outer = numbers(2, 3, 4, 3).detach()
    for one, two in zip(
        torch.autograd.grad(sharpen(*inputs), inputs, outer), torch.autograd.grad(plain, inputs, outer), strict=True
    ):
        torch.testing.assert_close(one, two, atol=1e-12, rtol=1e-12)


def test_a_picture_whose_kernel_is_a_point_comes_back():
    """As long as nothing moves the kernel: a flat picture has no features that could."""
    y = torch.full((1, 24, 20), 0.4)
    with torch.no_grad():
        found = network()(NoisyImage(y, torch.tensor([0.01])))
        trusting = network(keeping=[9.0, 0, 0, 0, 0])(NoisyImage(y, torch.tensor([0.01])))
    torch.testing.assert_close(found, y, atol=1e-6, rtol=0)
    assert float((trusting - y).abs().max()) > 0.01  # without that the border darkens


def test_the_variance_of_kernels_is_known():
    """A disc has r^2 / 2, a segment L^2 / 12, both directions added."""
    kernels = torch.stack([disc(6.0, 31), linear_motion(20, 0.7, 31), disc(0.0, 31)])
    assert variance(kernels).tolist() == pytest.approx([18.0, 19**2 / 12 + 1 / 3, 0.0], rel=0.02, abs=1e-4)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: DUBLIDLevels(colours=3), ValueError, "grey images"),
        (lambda: network()(NoisyImage(scene(24, 20), torch.tensor([25.0]))), ValueError, "part of white"),
        (lambda: network()(NoisyImage(scene(24, 20), torch.zeros(2))), ValueError, "one for each picture"),
        (lambda: network()(NoisyImage(scene(6, 20), torch.zeros(1))), ValueError, "more than the image"),
        (lambda: disc(16.0, 31), ValueError, "does not fit"),
        (lambda: disc(3.0, 30), ValueError, "odd"),
        (lambda: disc(-1.0, 31), ValueError, "radius"),
    ],
)
def test_what_does_not_fit_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


# The task


def test_training_pictures_are_of_all_kinds_rounded_and_told_about_right():
    task, generator = CameraBlur.small(), torch.Generator().manual_seed(0)
    blurs = [task.drawn_blur(generator) for _ in range(600)]
    for kind, part in KINDS.items():
        assert np.mean([blur.kind == kind for blur in blurs]) == pytest.approx(part, abs=0.05)
    strong = [blur.sigma for blur in blurs if blur.sigma]
    assert 0.002 <= min(strong) < 0.003
    assert 0.04 < max(strong) <= 0.05
    assert np.mean([blur.quality is not None for blur in blurs]) == pytest.approx(0.3, abs=0.05)
    samples = task.draw(3, torch.Generator().manual_seed(1))
    assert samples.data.image.shape == samples.target.image.shape == (3, 48, 48)
    assert samples.data.sigma.shape == (3,)
    steps = 255 * samples.data.image
    torch.testing.assert_close(steps, steps.round(), atol=1e-4, rtol=0)
    again = task.draw(3, torch.Generator().manual_seed(1))
    assert torch.equal(samples.data.image, again.data.image)


def test_a_picture_without_blur_is_its_own_answer_noise_and_all():
    task, generator = CameraBlur.small(), torch.Generator().manual_seed(0)
    clean = task.crops(1, generator)
    sharp = task.blurred(clean, task.kernel("none", generator), Blur("none", 0.03), generator)
    assert torch.equal(sharp.data.image, sharp.target)
    assert float((sharp.target - clean[..., 15:-15, 15:-15]).std()) == pytest.approx(0.03, rel=0.1)
    blurred = task.blurred(clean, task.kernel("defocus", generator), Blur("defocus", 0.0, 80), generator)
    assert torch.equal(blurred.target, clean[..., 15:-15, 15:-15])
    assert float(blurred.data.sigma) == pytest.approx(ROUNDING)


def test_held_out_pictures_are_those_that_their_kernels_make():
    task = CameraBlur.small()
    assert [round(float(batch.data.sigma), 4) for batch in task.test] == [0.0011, 0.0101, 0.03, 0.0101, 0.0101]
    kernels = task.kernels_of("test")
    quiet, kernel = task.test[0], kernels[0]
    whole = task.photographs["test"]["test.png"]
    y = task.blurred(whole.unsqueeze(0), kernel, Blur("straight", 0.0), torch.Generator()).data.image
    assert torch.equal(y, quiet.data.image)


@pytest.mark.parametrize("most", [0.0, 0.001, 12.75, float("nan")])
def test_levels_that_are_none_are_refused(most):
    with pytest.raises(ValueError, match="most is"):
        CameraBlur(most=most)


# Weights


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """Weights files of two layers: of the usual task and of this one, at their initial values."""
    folder, system = tmp_path_factory.mktemp("weights"), find(NAME)
    found = {}
    for name, task in (("deblurring", find(NAME).task("deblurring", crop=48)), ("camera_blur", CameraBlur.small())):
        net = system.network(system.recipes[name], task, 2).eval()
        path = folder / f"{name}.safetensors"
        save_weights(net, path, {"system": NAME, "task": {"name": name}, "seed": 0})
        found[name] = (net, path)
    return found


def test_training_starts_from_the_weights_of_the_usual_task(held):
    job = prepare(NAME, "camera_blur", None, 2, 0, None, None, None, "", weights=held["deblurring"][1], start=True)
    card = load_weights(job.network, job.weights, system=NAME)
    assert card["iteration"] == "DUBLID"
    data = levels(0.03)._replace(image=scene(60, 50))
    with torch.no_grad():
        layer, problem, state = list(job.network.walk(data))[-1]
        assert torch.equal(layer.restored(state, problem).image, held["deblurring"][0](data.image))


def test_weights_of_another_task_are_refused_elsewhere(held):
    with pytest.raises(ValueError, match="for the task deblurring, not"):
        prepare(NAME, "camera_blur", None, 2, 0, None, None, None, "", weights=held["deblurring"][1], write=False)
    with pytest.raises(ValueError, match="iteration is DUBLIDLevels there and DUBLID here"):
        load_weights(held["deblurring"][0], held["camera_blur"][1])


def test_files_are_worked_on_with_these_weights_once_they_are_shipped(tmp_path):
    system = find(NAME)
    with patch.object(System, "weights_files", lambda self, task=None: [tmp_path] if task == "camera_blur" else []):
        assert system.applied(None) == "camera_blur"
        assert system.applied(None, ["show_kernel"]) == system.applied(None, ["sigma"]) == "camera_blur"
        assert system.applied(None, ["kind"]) == system.applied("deblurring") == "deblurring"
    with patch.object(System, "weights_files", lambda self, task=None: []):
        assert system.applied(None) == "deblurring"
        assert system.applied("camera_blur") == "camera_blur"


# Files


@pytest.fixture
def apply(unroll, held, tmp_path):
    """Applies initial weights that change everything, so that something is seen."""
    net, path = held["camera_blur"]

    def run(source, *arguments, output="out.png", trust=9.0):
        with torch.no_grad():
            net.get_parameter("layers.0.keeping").copy_(torch.tensor([trust, 0.0, 0.0, 0.0, 0.0]))
        save_weights(net, path, {"system": NAME, "task": {"name": "camera_blur"}, "seed": 0})
        return unroll(
            "apply", NAME, source, "-o", tmp_path / output, "--task", "camera_blur", "--weights", path, *arguments
        )

    return run


def saved(path, planes, **options):
    values = uint8(planes.movedim(0, -1).numpy())
    Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values).save(path, **options)
    return path


def test_a_picture_is_what_the_network_makes_of_it_and_the_kernel_is_shown(apply, tmp_path):
    status, out, said = apply(saved(tmp_path / "a.png", scene(60, 64)), "--json", "--show-kernel", "--sigma", 2.55)
    assert status == 0, said
    facts = json.loads(out)
    assert (facts["noise"], facts["conditions"][0]["how"]) == (2.55, "given")
    assert facts["trust"] > 0.99
    found = np.asarray(Image.open(tmp_path / "out.png")).astype(int)
    assert found.shape == (60, 64)
    assert np.abs(found - np.asarray(Image.open(tmp_path / "a.png"))).max() > 2
    assert Image.open(tmp_path / "out-kernel.png").size == (360, 360)


def test_a_picture_that_the_network_does_not_trust_itself_on_is_given_back_to_the_byte(apply, tmp_path):
    source = saved(tmp_path / "a.png", scene(60, 64, channels=3))
    status, out, _ = apply(source, "--json", trust=-5.0)
    assert status == 0
    assert "it is sharp" in json.loads(out)["unchanged"]
    assert (tmp_path / "out.png").read_bytes() == source.read_bytes()


def test_depth_alpha_and_orientation_stay(apply, tmp_path):
    alpha = torch.linspace(0, 1, 60 * 64).reshape(60, 64)
    pixels.write(tmp_path / "deep.png", pixels.Picture(scene(60, 64, channels=3), alpha, 16))
    assert apply(tmp_path / "deep.png")[0] == 0
    found = pixels.read(tmp_path / "out.png")
    assert (found.depth, found.pixels.shape) == (16, (3, 60, 64))
    assert torch.equal(found.alpha, pixels.read(tmp_path / "deep.png").alpha)
    exif = Image.Exif()
    exif[0x0112] = 6
    assert apply(saved(tmp_path / "side.jpg", scene(60, 70), exif=exif), output="turned.png")[0] == 0
    assert Image.open(tmp_path / "turned.png").size == (60, 70)


def test_a_black_picture_stays_black(apply, tmp_path):
    Image.fromarray(np.zeros((60, 64), np.uint8)).save(tmp_path / "a.png")
    assert apply(tmp_path / "a.png")[0] == 0
    assert np.asarray(Image.open(tmp_path / "out.png")).max() == 0


@pytest.mark.parametrize(("height", "width"), [(1, 90), (90, 1), (44, 90), (3, 3)])
def test_pictures_smaller_than_the_kernel_are_refused(apply, tmp_path, height, width):
    status, _, said = apply(saved(tmp_path / "a.png", torch.rand(1, height, width)))
    assert status != 0
    assert f"the kernel has 45 x 45 pixels, more than the picture, which has {height} x {width}" in said
    assert not (tmp_path / "out.png").exists()


def test_what_cannot_be_is_refused(apply, tmp_path):
    values = scene(60, 64)[0].numpy().copy()
    values[3, 4] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", values)
    status, _, said = apply(tmp_path / "a.tif")
    assert status != 0
    assert len(said.strip().splitlines()) == 1
    for sigma in (-1, 255, "nan"):
        status, _, said = apply(saved(tmp_path / "b.png", scene(60, 64)), "--sigma", sigma)
        assert status != 0
        assert "--sigma is" in said


def test_options_of_the_other_task_are_refused_with_its_name(unroll, held, tmp_path):
    source = saved(tmp_path / "a.png", scene(60, 64))
    status, _, said = unroll("apply", NAME, source, "-o", tmp_path / "b.png", "--sigma", 5, "--task", "deblurring")
    assert status != 0
    assert "has no option --sigma" in said
