"""The task of tomography: its slices, its noise, its classical methods; and what is refused."""

import math

import numpy as np
import pytest
import torch
from iterations import gaussian
from PIL import Image

from unrolling.algorithms.images import SIRT
from unrolling.core import solve
from unrolling.operators import Matrix, ParallelBeam, Radon, from_hounsfield
from unrolling.tasks.medical import Tomography, random_ellipses, random_head, read_ct, shepp_logan
from unrolling.testing import check_iteration


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_phantom_is_that_of_scikit_image():
    data = pytest.importorskip("skimage.data")
    other = torch.from_numpy(data.shepp_logan_phantom()).float()
    differs = (shepp_logan(400) - other).abs() > 0.01
    assert float(differs.float().mean()) < 0.02  # pixels on outlines
    values = shepp_logan(64).unique()
    assert values.min() == 0
    assert values.max() == 1


@pytest.mark.parametrize("draw", [random_ellipses, random_head])
def test_random_slices_lie_in_the_unit_interval_and_follow_from_the_generator(draw):
    one, other = (torch.stack([draw(48, g) for _ in range(12)]) for g in (generator(1), generator(1)))
    assert torch.equal(one, other)
    assert float(one.min()) >= 0
    assert float(one.max()) <= 1
    assert (one.flatten(1).std(1) > 0.01).all()
    assert not torch.equal(one[0], one[1])


def test_noise_is_that_of_the_dose():
    task = Tomography(size=32, views=400, noise=0.1)
    slices = torch.stack([shepp_logan(32), 0.1 * shepp_logan(32)])
    clean = task.radon(slices)
    found = task.measure(slices, generator()).data - clean
    torch.testing.assert_close(found.std((1, 2)), 0.1 * clean.abs().mean((1, 2)), rtol=0.05, atol=0)
    counted = Tomography(size=32, views=400, photons=1e4)
    found = counted.measure(slices, generator()).data - clean
    # of log(I / n) the variance is 1 / mean(n), and data are divided by the attenuation of water, 0.02 per mm
    wanted = (torch.exp(0.02 * clean) / 1e4).mean((1, 2)).sqrt() / 0.02
    torch.testing.assert_close(found.std((1, 2)), wanted, rtol=0.05, atol=0)


def test_the_phantom_is_tested_on_and_never_validated_on():
    task = Tomography.small()
    phantom = shepp_logan(task.size)
    assert torch.equal(task.test[0].target, phantom.expand_as(task.test[0].target))
    others = torch.cat([batch.target for batch in task.validation])
    assert not (others == phantom).flatten(1).all(1).any()
    assert len(others) == 16
    found = task.more([batch.target + 0.1 for batch in task.test], task.test)
    assert found["PSNR of Shepp-Logan (dB)"] == pytest.approx(20, abs=1e-3)
    assert found["PSNR of ellipses (dB)"] == pytest.approx(20, abs=1e-3)


def test_classical_methods_improve_on_back_projection():
    task = Tomography(size=32, views=12)
    batch = task.validation[1]
    variation, sirt, fbp, _ = task.baselines(10_000)

    def psnr(estimate):
        return task.metric.value(task.pieces(estimate, batch))

    linear = max(psnr(fbp.make(window)(batch.data)) for window in fbp.settings)
    algebraic = max(psnr(sirt.make(count)(batch.data)) for count in (20, 80))
    tv = max(psnr(solve(variation.make(w), batch.data, max_iterations=100, tolerance=0.0).estimate) for w in (0.6, 2.5))
    assert linear + 1 < algebraic < tv - 0.5


def test_sirt_passes_every_check():
    radon = Radon(ParallelBeam.even(3, 3))
    check_iteration(SIRT(radon, 1.5).double(), gaussian(3, *radon.output_shape, seed=1), skip="compile")


def test_sirt_converges_to_weighted_least_squares_over_what_is_not_negative():
    A = torch.cat([torch.eye(4), 0.5 * torch.eye(4) + 0.1]).double()
    data = gaussian(3, 8, seed=1)
    weighted, target = A / A.sum(1, keepdim=True).sqrt(), data / A.sum(1).sqrt()
    wanted = torch.linalg.lstsq(weighted, target.T).solution.T
    free = solve(SIRT(Matrix(A), 1.5, nonnegative=False), data, tolerance=1e-12, max_iterations=2000).estimate
    torch.testing.assert_close(free, wanted)
    bounded = solve(SIRT(Matrix(A)), data, tolerance=1e-12, max_iterations=2000).estimate
    slope = (bounded @ weighted.T - target) @ weighted
    assert (bounded >= 0).all()
    assert (slope[bounded > 0].abs() < 1e-6).all()
    assert (slope[bounded == 0] > -1e-6).all()


def test_slices_of_ones_own_come_from_pictures_arrays_and_hounsfield_units(tmp_path):
    hu = np.full((3, 20, 20), -1000.0, dtype=np.float32)
    hu[:, 5:15, 5:15] = 200.0
    np.save(tmp_path / "hu.npy", hu)
    found = read_ct(tmp_path / "hu.npy", 20)
    assert len(found) == 3
    torch.testing.assert_close(found[0][10, 10], from_hounsfield(torch.tensor(200.0), 0.5))
    assert float(found[0][0, 0]) == 0
    Image.fromarray(np.full((10, 16), 128, dtype=np.uint8)).save(tmp_path / "a.png")
    (wide,) = read_ct(tmp_path / "a.png", 8)
    assert wide.shape == (8, 8)
    torch.testing.assert_close(float(wide[4].mean()), 128 / 255)
    assert float(wide[0].max()) == 0
    task = Tomography(size=16, views=6, data=tmp_path / "hu.npy")
    assert [len(part) for part in task.slices.values()] == [1, 1, 1]
    assert task.draw(2, generator()).data.shape == (2, *task.geometry.shape)
    folder = Tomography(size=16, views=6, data=tmp_path)
    assert len(folder.test) == 4
    with pytest.raises(ValueError, match="no slices to train on"):
        folder.draw(1, generator())
    np.save(tmp_path / "b.npy", np.full((3, 8, 8), -5.0))
    with pytest.raises(ValueError, match=r"b\.npy holds values down to -5"):
        read_ct(tmp_path / "b.npy", 8)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 4}, "size is 4"),
        ({"views": 0}, "views is 0"),
        ({"beam": "cone"}, "beam is 'cone'; it is one of parallel, fan"),
        ({"noise": -0.1}, "noise is -0.1"),
        ({"photons": -1.0}, "photons is -1"),
        ({"photons": math.nan}, "photons is nan"),
        ({"data": "nowhere.npy"}, "nowhere.npy does not exist"),
    ],
)
def test_what_is_no_setting_is_refused_by_name(options, words):
    with pytest.raises(ValueError, match=words):
        Tomography(**{"size": 16, **options})


@pytest.mark.parametrize("relaxation", [0.0, 2.0])
def test_sirt_refuses_what_would_not_converge(relaxation):
    with pytest.raises(ValueError, match="between 0 and 2"):
        SIRT(Matrix(torch.ones(2, 2)), relaxation)
