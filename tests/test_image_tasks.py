"""Tasks on images: blurs, shifts, masks, data and scores against what they are said to be."""

import math

import numpy as np
import pytest
import torch
from iterations import gaussian
from pictured import small_task

from unrolling.tasks.images.alignment import aligned, best_shift, shift_errors
from unrolling.tasks.images.blurs import linear_motion, shake
from unrolling.tasks.images.deblurring import kernel_error
from unrolling.tasks.medical import sampling
from unrolling.tasks.medical.mri import MRI, read_mask
from unrolling.tasks.medical.slices import read_slices
from unrolling.tasks.samples import Samples


def test_the_best_shift_is_found_and_its_error_is_that_of_the_loop():
    x = gaussian(2, 30, 28)
    moved = torch.stack([x[0].roll((3, -2), (0, 1)), x[1].roll((-4, 1), (0, 1))]) + 0.01 * gaussian(2, 30, 28, seed=1)
    assert best_shift(moved, x, 5).tolist() == [[3, -2], [-4, 1]]
    errors = shift_errors(moved, x, 5)
    for i in (-5, 0, 3):
        for j in (-2, 4):
            wanted = (moved[:, 5 + i : 25 + i, 5 + j : 23 + j] - x[:, 5:25, 5:23]).square().sum((1, 2))
            torch.testing.assert_close(errors[:, i + 5, j + 5], wanted)
    one, two = aligned(moved, x, 5)
    assert float((one - two).abs().max()) < 0.1


@pytest.mark.parametrize("length", [1.0, 5.0, 17.5, 31.0])
@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 2, 2.5])
def test_a_straight_motion_has_its_length_and_its_angle(length, angle):
    kernel = linear_motion(length, angle, 31).double()
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-6)
    assert float(kernel.min()) >= 0
    place = torch.arange(31, dtype=torch.float64) - 15
    rows, columns = (kernel.sum(1) * place).sum(), (kernel.sum(0) * place).sum()
    assert float(rows.abs() + columns.abs()) < 1e-5
    # Variance along the motion: that of a segment, and of the bilinear spread across it.
    along = -math.sin(angle) * place.unsqueeze(1) + math.cos(angle) * place
    assert float((kernel * along.square()).sum()) == pytest.approx((length - 1) ** 2 / 12, abs=0.3)


def test_shakes_are_kernels_that_differ():
    made = [shake(21, torch.Generator().manual_seed(n)) for n in range(3)]
    for kernel in made:
        assert float(kernel.sum()) == pytest.approx(1, abs=1e-6)
        assert float(kernel.min()) >= 0
    assert float((made[0] - made[1]).abs().max()) > 0.01
    assert torch.equal(made[0], shake(21, torch.Generator().manual_seed(0)))


def test_the_error_of_a_kernel_is_that_at_its_best_shift():
    kernel = shake(9, torch.Generator().manual_seed(3)).unsqueeze(0)
    wide = torch.nn.functional.pad(kernel, (3, 3, 3, 3))
    assert float(kernel_error(wide, kernel)) == 0
    assert float(kernel_error(wide.roll((2, -3), (1, 2)), kernel)) == pytest.approx(0, abs=1e-9)
    assert float(kernel_error(torch.zeros_like(wide), kernel)) == pytest.approx(float(kernel.square().sum()))


def test_in_deblurring_ten_times_the_error_costs_the_same_wherever_it_starts():
    """As in decibels: easy images count as much as hard ones."""
    task = small_task("deblurring")
    target = task.test[0].target
    error = gaussian(*target.shape).float()
    small, large, huge = (float(task.loss(target + scale * error, target)) for scale in (0.1, 1.0, 10.0))
    assert large - small == pytest.approx(2 * math.log(10), abs=0.05)
    assert huge - large == pytest.approx(2 * math.log(10), abs=0.05)


def test_the_kernels_behind_the_test_images_are_told():
    from unrolling.operators.convolution import convolve_valid

    task = small_task("deblurring", noise=0.0)
    for part in ("validation", "test"):
        (picture,) = task.photographs[part].values()
        for batch, kernel in zip(getattr(task, part), task.kernels_of(part), strict=True):
            torch.testing.assert_close(batch.data, convolve_valid(picture.unsqueeze(0), kernel))


def test_deblurring_trains_on_crops_with_something_in_them():
    task = small_task("deblurring")
    flat, textured = torch.full((110, 110), 0.5), torch.rand(110, 110, generator=torch.Generator().manual_seed(0))
    task.photographs["train"] = {"sky": flat, "gravel": textured}
    crops = task.crops(40, torch.Generator().manual_seed(1))
    # half of them without the rule, all but one in a thousand with it
    assert int((crops.flatten(1).std(1) > 0.1).sum()) >= 39
    task.photographs["train"] = {"sky": flat}
    # where there is nothing else, sky it is
    assert task.crops(2, torch.Generator().manual_seed(1)).shape == (2, 78, 78)


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.4])
@pytest.mark.parametrize("size", [64, 65, 256])
def test_a_radial_mask_has_its_rate_and_is_symmetric(rate, size):
    mask = sampling.radial_mask(size, rate)
    assert float(mask.mean()) == pytest.approx(rate, abs=0.03)
    unshifted = torch.fft.ifftshift(mask)
    assert torch.equal(unshifted, unshifted.flip((0, 1)).roll((1, 1), (0, 1)))
    assert mask[size // 2, size // 2] == 1


def test_a_cartesian_mask_measures_whole_columns_and_the_middle():
    mask = sampling.cartesian_mask(40, 100, 0.3)
    assert float(mask.mean()) == pytest.approx(0.3)
    assert torch.equal(mask, mask[:1].expand(40, 100))
    assert bool((mask[:, 48:52] == 1).all())


def test_heads_are_as_large_as_the_mask_of_the_weights_and_slices_of_another_size_are_refused(tmp_path):
    mask = small_task("mri").mask
    assert MRI(fixed={"mask": mask}).test[0].target.shape[-2:] == mask.shape[-2:] == (32, 32)
    np.save(tmp_path / "slices.npy", np.random.default_rng(0).random((10, 24, 32)).astype(np.float32))
    with pytest.raises(ValueError, match="32 x 32 pixels, and the slices 24 x 32"):
        MRI(fixed={"mask": mask}, data=tmp_path / "slices.npy")


def test_mri_data_are_the_masked_transform_and_the_full_mask_gives_the_image():
    task = small_task("mri", rate=1.0)
    data, target = task.test[0]
    torch.testing.assert_close(torch.fft.ifft2(data.samples, norm="ortho").real, target, atol=1e-5, rtol=0)
    part = small_task("mri").draw(2, torch.Generator().manual_seed(0))
    np.testing.assert_allclose(
        part.data.samples, part.data.mask * np.fft.fft2(part.target.numpy().astype(np.float64), norm="ortho"), atol=1e-4
    )


def test_compressive_measurements_are_those_of_blocks_and_the_linear_estimate_satisfies_its_equation():
    task = small_task("compressive")
    data, target = task.test[0]
    block = target[0, 8:16, 16:24].flatten()
    torch.testing.assert_close(data[0, 1, 2], task.sensing.matrix @ block)
    identity = task.sensing.matrix @ task.sensing.matrix.T
    torch.testing.assert_close(identity, torch.eye(len(identity)), atol=1e-5, rtol=0)
    # Q y has the measurements of y, nearly: the ridge is small.
    torch.testing.assert_close(task.sensing(task.linear(data)), data, atol=2e-2, rtol=0)


def test_noise_and_scores_are_those_that_are_said():
    task = small_task("denoising", sigma=25.0)
    noise = torch.cat([(batch.data - batch.target).flatten() for batch in task.test])
    assert float(noise.std()) == pytest.approx(25 / 255, rel=0.05)
    data, target = task.test[0]
    mse = (data.clamp(0, 1) - target).square().mean()
    assert task.metric.value(task.pieces(data, Samples(None, target))) == pytest.approx(-10 * math.log10(mse), abs=1e-4)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: small_task("denoising", sigma=0.0), "above 0"),
        (lambda: small_task("deblocking", quality=0), "between 1 and 95"),
        (lambda: small_task("deblocking", crop=20), "whole blocks"),
        (lambda: small_task("super_resolution", factor=5), "2, 3 or 4"),
        (lambda: small_task("deblurring", kind="round"), "one of linear"),
        (lambda: small_task("deblurring", shortest=20.0, longest=10.0), "from shortest to longest"),
        (lambda: small_task("deblurring", noise=-1.0), "at least 0"),
        (lambda: small_task("compressive", ratio=0.0), "measurements per block"),
        (lambda: small_task("mri", rate=0.0), "lies in"),
        (lambda: small_task("mri", noise=-1.0), "at least 0"),
        (lambda: linear_motion(9.0, 0.0, 7), "does not fit"),
        (lambda: aligned(torch.ones(1, 8, 8), torch.ones(1, 8, 8), 4), "larger than"),
    ],
)
def test_what_makes_no_sense_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_slices_and_masks_that_are_none_are_refused_by_name(tmp_path):
    path = tmp_path / "a.npy"
    for values, words in (
        (np.full((4, 4), np.nan), "NaN"),
        (np.zeros(5), "images are"),
        (np.array(["x"]), "images are"),
    ):
        np.save(path, values)
        with pytest.raises(ValueError, match=words):
            read_slices(path)
    with pytest.raises(ValueError, match="does not exist"):
        read_slices(tmp_path / "none.npy")
    np.save(path, np.eye(4))
    assert torch.equal(read_mask(path, (4, 4)), torch.eye(4))
    with pytest.raises(ValueError, match="must agree"):
        read_mask(path, (4, 5))
