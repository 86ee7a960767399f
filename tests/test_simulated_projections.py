"""Slices in the place of projections: what is simulated of them, and that the result lies where they lie."""

import numpy as np
import pytest
import torch

from unrolling.algorithms.images import SIRT
from unrolling.cli.inputs import plan
from unrolling.core import unroll
from unrolling.files import read_scan, write_scan
from unrolling.files.scan import Scan
from unrolling.operators import ParallelBeam, Radon, from_hounsfield
from unrolling.systems.base import Tying
from unrolling.systems.medical._tomography import application
from unrolling.tasks.medical import Tomography, shepp_logan

pytest.importorskip("pydicom")
AFFINE = np.array([[-2.0, 0, 0, 10], [0, -2.0, 0, 20], [0, 0, 5.0, 30], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def network():
    task = Tomography(size=24, views=30)
    return unroll(SIRT(task.radon), 40).eval(), task


@pytest.fixture(scope="module")
def app():
    return application(lambda task: SIRT(task.radon), Tying())


@pytest.fixture
def series(tmp_path):
    """Two slices of the phantom in Hounsfield units as a DICOM series, and they."""
    (tmp_path / "series").mkdir()
    slices = torch.stack([1000 * shepp_logan(24) - 1000, 800 * shepp_logan(24) - 1000]).round()
    scan = Scan(slices, "image", (5.0, 2.0, 2.0), "HU", AFFINE, modality="CT", count=2, numbers=(0, 1))
    write_scan(tmp_path / "series" / "a.dcm", scan)
    return tmp_path / "series", slices


def test_a_series_is_projected_and_comes_back_in_its_place(tmp_path, network, app, series):
    folder, slices = series
    scan = app.read(folder, {"simulate": 40})
    geometry = ParallelBeam.even(40, 24, 2.0)
    wanted = Radon(geometry)(from_hounsfield(slices))
    noise = scan.part([0, 1]).values - wanted
    for one, clean in zip(noise, wanted, strict=True):
        assert 0.045 < float(one.std() / clean.abs().mean()) < 0.055
    torch.testing.assert_close(scan.part([1]).values, scan.part([0, 1]).values[1:])
    facts = app.run(*network, scan, [tmp_path / "a.nii", tmp_path / "a.dcm"], simulate=40)
    assert (facts["units"], facts["slices"], facts["views"]) == ("HU", 2, 40)
    found = read_scan(tmp_path / "a.nii")
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-4)
    off = (found.values - slices).square().mean().sqrt()
    (said,) = (each.value for each in facts["conditions"] if each.name == "difference from the slices")
    assert abs(said - float(off)) < 0.01
    assert off < 150
    assert [path[-10:] for path in facts["files"][str(tmp_path / "a.dcm")]] == ["a-0001.dcm", "a-0002.dcm"]


def test_a_folder_of_a_series_is_one_input_and_others_are_not(tmp_path, app, series):
    folder, _ = series
    planned = plan("a/b", app, [folder], [tmp_path / "out.nii"])
    assert ([work.source for work in planned.works], planned.several) == ([folder], False)
    np.save(folder.parent / "y.npy", np.ones((3, 4)))
    planned = plan("a/b", app, [folder.parent], [])
    assert ([work.source.name for work in planned.works], planned.several) == (["y.npy"], True)


def test_slices_that_cannot_be_projected_are_refused(tmp_path, app, series):
    with pytest.raises(ValueError, match="--simulate VIEWS projects slices"):
        app.read(series[0], {})
    for name, values, more, words in (
        ("wide", np.ones((4, 6)), {"units": "HU", "spacing": 1.0}, "slices of 4 x 6; only square ones"),
        ("unknown", np.ones((4, 4)), {"spacing": 1.0}, "give --units HU or --units 1/mm"),
        ("size", np.ones((4, 4)), {"units": "HU"}, "give --pixel, in mm"),
        ("flat", np.ones((4, 4)), {"units": "HU", "spacing": [1.0, 2.0]}, "pixels of 1 x 2 mm"),
    ):
        np.savez(tmp_path / f"{name}.npz", image=values, **more)
        with pytest.raises(ValueError, match=words):
            app.read(tmp_path / f"{name}.npz", {"simulate": 10})
