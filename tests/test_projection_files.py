"""Networks on files of projections: what is read, what comes out, and what is refused. SIRT is the network."""

import math

import numpy as np
import pytest
import torch

from unrolling.algorithms.images import SIRT
from unrolling.core import unroll
from unrolling.files import read_scan
from unrolling.operators import FanBeam, ParallelBeam, Radon, photon_counts
from unrolling.systems.base import Tying
from unrolling.systems.conditions import outside, with_ranges
from unrolling.systems.medical._tomography import application, noise_level, ranges
from unrolling.tasks.medical import Tomography, random_head, shepp_logan

TYING = Tying(untied=("relaxation",))
WATER = 0.02


def parent(task):
    return SIRT(task.radon)


@pytest.fixture(scope="module")
def network():
    task = Tomography(size=24, views=30)
    net = unroll(parent(task), 60, untied=("relaxation",)).eval()
    net.trained_for = ranges(task)
    return net, task


def sinogram(geometry):
    """Of the phantom as dense as water, dimensionless."""
    return Radon(geometry)(WATER * shepp_logan(geometry.image[0]).unsqueeze(0))[0].numpy()


def applied(network, source, output, **given):
    app = application(parent, TYING)
    facts = app.run(*network, app.read(source, given), [output], **given)
    return facts, {each.name: each for each in with_ranges(facts["conditions"], network[0])}


def psnr(estimate, target):
    return -10 * math.log10(float((torch.as_tensor(estimate) - target).square().mean()))


@pytest.mark.parametrize("pixel", [1.0, 0.5])
def test_a_slice_comes_out_in_its_units_whatever_the_size_of_its_pixels(tmp_path, network, pixel):
    geometry = ParallelBeam.even(30, 24, pixel)
    np.save(tmp_path / "y.npy", sinogram(geometry))
    facts, conditions = applied(
        network, tmp_path / "y.npy", tmp_path / "x.npy", spacing=pixel, size=24, units="integrals"
    )
    found = np.load(tmp_path / "x.npy") / WATER
    assert psnr(found, shepp_logan(24)) > 18
    assert facts["pixel"] == pixel
    assert facts["units"] == "1/mm"
    assert conditions["views over"].value == 180
    assert conditions["views"].value == 30
    assert all(outside(each) is None for each in conditions.values() if each.name != "noise")


def test_a_fan_of_counts_described_in_its_file_comes_out_in_hounsfield_units(tmp_path, network):
    geometry = FanBeam.even(40, 24, source=60.0, detector=30.0)
    counts = photon_counts(torch.from_numpy(sinogram(geometry)), 1e5, torch.Generator().manual_seed(0))
    np.savez(
        tmp_path / "y.npz",
        counts=counts.numpy(),
        angles=np.degrees(geometry.angles),
        beam="fan",
        source=60.0,
        detector=30.0,
        spacing=geometry.spacing,
        photons=1e5,
    )
    _, conditions = applied(network, tmp_path / "y.npz", tmp_path / "x.nii", size=24, hounsfield=True)
    scan = read_scan(tmp_path / "x.nii")
    assert scan.units == "HU"
    assert scan.spacing[1:] == pytest.approx((1.0, 1.0))
    assert psnr(scan.values[0] / 1000 + 1, shepp_logan(24)) > 18
    assert "fan" in outside(conditions["beam"])
    assert "40" in outside(conditions["views"])
    assert outside(conditions["angles"]) is None


def test_the_level_of_the_noise_is_found():
    slices = torch.stack([random_head(128, torch.Generator().manual_seed(n)) for n in range(4)])
    for level in (0.0, 0.03, 0.05, 0.1):
        sinograms = Tomography(noise=level).measure(slices, torch.Generator().manual_seed(1)).data
        assert all(0.9 * level <= noise_level(y) <= 1.4 * level + 0.005 for y in sinograms)


def test_missing_views_are_said(tmp_path, network):
    geometry = ParallelBeam([math.radians(4 * k) for k in range(30)], 35, 24)
    np.save(tmp_path / "y.npy", sinogram(geometry))
    _, conditions = applied(
        network, tmp_path / "y.npy", tmp_path / "x.png", spacing=1.0, size=24, units="integrals", angles="0:120"
    )
    assert "64 degrees missing" in outside(conditions["angles"])
    (tmp_path / "angles.txt").write_text("\n".join(str(4.0 * k) for k in range(30)))
    _, other = applied(
        network,
        tmp_path / "y.npy",
        tmp_path / "x.png",
        spacing=1.0,
        size=24,
        units="integrals",
        angles=str(tmp_path / "angles.txt"),
    )
    assert other["angles"].value == conditions["angles"].value


GOOD = {"spacing": 1.0, "units": "integrals"}


@pytest.mark.parametrize(
    ("content", "given", "words"),
    [
        ({}, {"units": "integrals"}, "does not say how far its bins are from one another: give --spacing, in mm"),
        ({}, {"spacing": 1.0}, "does not say its units: give --units"),
        ({}, {**GOOD, "units": "HU"}, "units are integrals or counts; got 'HU'"),
        ({}, {**GOOD, "units": "counts"}, "holds counts; give --photons"),
        ({"y": -np.ones((8, 35))}, {**GOOD, "units": "counts", "photons": 10.0}, "counts holds 280 negative numbers"),
        ({}, {**GOOD, "beam": "cone"}, "beam is 'cone'"),
        ({}, {**GOOD, "beam": "fan"}, "give --source and --detector, in mm"),
        ({}, {**GOOD, "size": 99}, "is shorter than the slice"),
        ({}, {**GOOD, "spacing": -1.0}, "spacing is -1"),
        ({}, {**GOOD, "angles": "0:0"}, "two different angles"),
        ({}, {**GOOD, "angles": "0;180"}, "no such file, and it is not FIRST:END"),
        ({"angles": np.arange(7.0)}, GOOD, "7 angles, and .*y.npz has 8 views of 35 bins"),
        ({"angles": np.full(8, np.nan)}, GOOD, "one finite number for each view"),
        ({"y": np.zeros((8, 35))}, GOOD, "holds projections of nothing"),
        ({}, {**GOOD, "slice": 3}, "has no slice 3"),
    ],
)
def test_what_does_not_fit_is_refused_by_the_name_of_the_file(tmp_path, network, content, given, words):
    content = {"y": sinogram(ParallelBeam.even(8, 24)), **content}
    np.savez(tmp_path / "y.npz", **{"sinogram" if k == "y" else k: v for k, v in content.items()})
    with pytest.raises(ValueError, match=words) as found:
        applied(network, tmp_path / "y.npz", tmp_path / "x.npy", **given)
    assert "y.npz" in str(found.value) or "--angles" in str(found.value)
    assert not (tmp_path / "x.npy").exists()
