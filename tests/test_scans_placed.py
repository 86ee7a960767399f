"""Where slices lie: series in order, derived series, ISMRMRD, MATLAB's order, pictures upright."""

import warnings

import numpy as np
import pytest
import torch

from unrolling.files import read_scan, write_scan
from unrolling.files.scan import Scan

pydicom = pytest.importorskip("pydicom")
nibabel = pytest.importorskip("nibabel")
ismrmrd = pytest.importorskip("ismrmrd")
h5py = pytest.importorskip("h5py")
scipy_io = pytest.importorskip("scipy.io")

RNG = np.random.default_rng(0)
CT = pydicom.data.get_testdata_file("CT_small.dcm", download=False)
SLANTED = [1, 0, 0, 0, 0.8, 0.6]
NORMAL = np.cross(SLANTED[:3], SLANTED[3:])


def series(folder, order=(2, 0, 3, 1), step=2.5, **changes):
    """Slices of a series, whose file names say nothing of their places; their values are these."""
    folder.mkdir()
    uid = pydicom.uid.generate_uid()
    for name, place in enumerate(order):
        data = pydicom.dcmread(CT)
        data.remove_private_tags()
        data.Rows, data.Columns, data.SeriesInstanceUID = 6, 8, uid
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        data.PixelData = np.full((6, 8), 100 * place, np.int16).tobytes()
        data.ImageOrientationPatient = SLANTED
        data.ImagePositionPatient = list(np.array([10.0, -20.0, 30.0]) + place * step * NORMAL)
        data.PixelSpacing, data.InstanceNumber = [0.5, 0.7], 9 - place
        for key, value in changes.items():
            setattr(data, key, value(place))
        data.save_as(folder / f"{name}")
    return folder


def test_a_series_is_in_the_order_of_its_positions(tmp_path):
    scan = read_scan(series(tmp_path / "a"), "image", modality="CT")
    slope, intercept = 1.0, -1024.0
    np.testing.assert_array_equal(scan.values[:, 0, 0], slope * 100 * np.arange(4) + intercept)
    np.testing.assert_allclose(scan.spacing, (2.5, 0.5, 0.7), rtol=1e-6)
    # DICOM's own formula, from column and row to (left, posterior, superior)
    column, row, k = 3, 5, 2
    place = np.array([10.0, -20.0, 30.0]) + k * 2.5 * NORMAL
    place = place + np.array(SLANTED[:3]) * 0.7 * column + np.array(SLANTED[3:]) * 0.5 * row
    np.testing.assert_allclose((scan.affine @ [column, row, k, 1])[:3], place * [-1, -1, 1], atol=1e-4)
    (path,) = write_scan(tmp_path / "a.nii", scan)
    np.testing.assert_allclose(nibabel.load(path).affine, scan.affine, atol=1e-4)


def test_a_series_that_is_none_is_refused(tmp_path):
    for name, changes, words in (
        ("two", {"SeriesInstanceUID": lambda place: f"1.2.{place // 2}"}, "holds 2 series"),
        ("sizes", {"Rows": lambda place: 6 if place else 4}, "slices of several sizes: 4 x 8, 6 x 8"),
        (
            "turned",
            {"ImageOrientationPatient": lambda place: [0, 1, 0, 0, 0, 1] if place == 1 else SLANTED},
            "several or",
        ),
        ("twice", {"ImagePositionPatient": lambda place: list(place // 2 * NORMAL)}, "several slices at one position"),
        ("nowhere", {"ImagePositionPatient": lambda _: None, "InstanceNumber": lambda _: None}, "order is not known"),
    ):
        with pytest.raises(ValueError, match=words):
            read_scan(series(tmp_path / name, **changes))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no DICOM files with pixels"):
        read_scan(tmp_path / "empty")
    with pytest.warns(UserWarning, match="not evenly spaced: 5 mm after"):
        read_scan(series(tmp_path / "gap", order=(0, 1, 3, 4)))
    (series(tmp_path / "more") / "notes.txt").write_text("of the scanner")
    with pytest.warns(UserWarning, match="1 files that are no DICOM files with pixels are left out"):
        assert read_scan(tmp_path / "more").count == 4


def test_a_derived_series_is_a_new_one_of_the_same_study(tmp_path):
    scan = read_scan(series(tmp_path / "a"))
    paths = write_scan(tmp_path / "b.dcm", scan.values + 0.3, scan, title="denoised")
    sources = {float(each.ImagePositionPatient[2]): each for each in map(pydicom.dcmread, (tmp_path / "a").iterdir())}
    made = [pydicom.dcmread(path) for path in paths]
    assert len({each.SeriesInstanceUID for each in made}) == 1
    assert len({each.SOPInstanceUID for each in made}) == 4
    for data in made:
        source = sources[float(data.ImagePositionPatient[2])]
        assert data.SeriesInstanceUID != source.SeriesInstanceUID
        assert (data.StudyInstanceUID, data.PatientID) == (source.StudyInstanceUID, source.PatientID)
        assert list(data.ImageType[:2]) == ["DERIVED", "SECONDARY"]
        assert data.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert data.SeriesDescription == "denoised"
        # to half a Hounsfield unit
        assert (data.RescaleSlope, data.RescaleIntercept, data.RescaleType) == (1, 0, "HU")
        assert data.pixel_array[0, 0] == source.pixel_array[0, 0] - 1024
    again = scan.part([3])
    (path,) = write_scan(tmp_path / "c.dcm", again.values, again)
    np.testing.assert_allclose(read_scan(path).affine[:3, 3], (scan.affine @ [0, 0, 3, 1])[:3], atol=1e-4)


def test_values_without_units_keep_to_a_65535th_of_their_range(tmp_path):
    image = torch.from_numpy(RNG.standard_normal((2, 7, 5)).astype(np.float32)) * 1e-3
    paths = write_scan(tmp_path / "a.dcm", image)
    found = torch.cat([read_scan(path).values for path in paths])
    assert float((found - image).abs().max()) <= 0.51 * float(image.max() - image.min()) / 65535
    flat = torch.full((7, 5), -3.25)
    (path,) = write_scan(tmp_path / "flat.dcm", flat)
    torch.testing.assert_close(read_scan(path).values[0], flat)


def test_a_picture_is_upright_as_radiologists_look_at_it(tmp_path):
    from unrolling.files.pictures import read

    image = torch.zeros(1, 8, 8)
    image[0, 1, 2] = 1
    axial = {
        "as DICOM has it": np.diag([-1.0, -1, 1, 1]),  # columns to the left, rows to the back
        "as NIfTI often has it": np.diag([1.0, 1, 1, 1]),  # columns to the right, rows to the front
    }
    for name, affine in axial.items():
        write_scan(tmp_path / f"{name}.png", image, Scan(image, "image", affine=affine))
    pixels = {name: read(tmp_path / f"{name}.png").pixels[0] for name in axial}
    assert pixels["as DICOM has it"][1, 2] == 1
    assert pixels["as NIfTI often has it"][6, 5] == 1
    ramp = torch.linspace(-1000, 1000, 64).reshape(1, 8, 8)
    write_scan(tmp_path / "hu.png", ramp, Scan(ramp, "image", units="HU"))
    np.testing.assert_allclose(read(tmp_path / "hu.png").pixels, ((ramp + 160) / 400).clamp(0, 1), atol=1e-4)
    write_scan(tmp_path / "lung.png", ramp, window=(-600, 1500))
    np.testing.assert_allclose(read(tmp_path / "lung.png").pixels, ((ramp + 1350) / 1500).clamp(0, 1), atol=1e-4)


SIZE = "<matrixSize><x>{}</x><y>{}</y><z>1</z></matrixSize><fieldOfView_mm><x>{}</x><y>{}</y><z>5</z></fieldOfView_mm>"
LIMITS = "<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>5</maximum><center>{}</center>"


def recording(
    path, kspace, *, trajectory="cartesian", centre=3, skipped=(), noise=None, averages=1, flags=(), encoded=0
):
    """(slices, coils, readout, lines) as the package of the format writes it."""
    slices, _, readout, lines = kspace.shape
    encoded = encoded or lines
    header = (
        '<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding><encodedSpace>'
        f"{SIZE.format(readout, encoded, 32, 12)}</encodedSpace><reconSpace>"
        f"{SIZE.format(readout // 2, encoded, 16, 12)}</reconSpace>{LIMITS.format(centre)}"
        "</kspace_encoding_step_1></encodingLimits>"
        f"<trajectory>{trajectory}</trajectory></encoding></ismrmrdHeader>"
    )
    held = ismrmrd.Dataset(str(path), "dataset", create_if_needed=True)
    held.write_xml_header(header.encode())
    for samples in [] if noise is None else [noise]:
        acquisition = ismrmrd.Acquisition.from_array(samples)
        acquisition.set_flag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
        held.append_acquisition(acquisition)
    for number in range(slices):
        for line in range(lines):
            for average in range(averages):
                if line in skipped:
                    continue
                weight = 2 * average / max(averages - 1, 1) if averages > 1 else 1  # of mean one
                values = np.ascontiguousarray(weight * kspace[number, :, :, line]).astype(np.complex64)
                acquisition = ismrmrd.Acquisition.from_array(values)
                acquisition.idx.slice, acquisition.idx.kspace_encode_step_1 = number, line
                acquisition.center_sample = readout // 2
                acquisition.position[:] = [1, 2, 10 * number]
                acquisition.read_dir[:], acquisition.phase_dir[:] = [0, 1, 0], [1, 0, 0]
                acquisition.slice_dir[:] = [0, 0, 1]
                for flag in flags:
                    acquisition.set_flag(flag)
                held.append_acquisition(acquisition)
    held.close()
    return path


KSPACE = (RNG.standard_normal((2, 3, 16, 6)) + 1j * RNG.standard_normal((2, 3, 16, 6))).astype(np.complex64)


def test_ismrmrd_lines_are_put_where_they_belong(tmp_path):
    noise = (RNG.standard_normal((3, 400)) + 1j * RNG.standard_normal((3, 400))).astype(np.complex64)
    noise[1] += noise[0]
    scan = read_scan(recording(tmp_path / "a.h5", KSPACE, noise=noise, skipped=(1,), averages=2), "kspace")
    wanted = KSPACE.copy()
    wanted[..., 1] = 0
    np.testing.assert_allclose(scan.values.numpy(), wanted, atol=1e-5)
    assert scan.mask[:, 1].sum() == 0
    assert scan.mask.sum() == 16 * 5
    assert (scan.image_size, scan.centred) == ((8, 6), True)
    assert scan.spacing == (10, 2, 2)
    np.testing.assert_allclose(scan.noise, noise @ noise.conj().T / 400, rtol=1e-4)
    # The pixel in the middle of the image lies where the header says.
    np.testing.assert_allclose((scan.affine @ [3, 4, 1, 1])[:3], [-1, -2, 10], atol=1e-4)
    np.testing.assert_array_equal(scan.part([1]).values.numpy(), scan.values[1:].numpy())
    # Of four of six lines, the second of which is the middle.
    shifted = read_scan(recording(tmp_path / "b.h5", KSPACE[..., :4], centre=1, encoded=6), "kspace").values
    np.testing.assert_array_equal(shifted[..., 2:].numpy(), KSPACE[..., :4])
    assert not shifted[..., :2].any()


def test_an_ismrmrd_file_that_is_not_cartesian_is_refused(tmp_path):
    with pytest.raises(ValueError, match="along the trajectory spiral; only cartesian ones are read"):
        read_scan(recording(tmp_path / "a.h5", KSPACE, trajectory="spiral"))
    with pytest.raises(ValueError, match="read backwards"):
        read_scan(recording(tmp_path / "b.h5", KSPACE, flags=(ismrmrd.ACQ_IS_REVERSE,)))
    with pytest.raises(ValueError, match="none of them is a line of an image"):
        read_scan(recording(tmp_path / "c.h5", KSPACE, flags=(ismrmrd.ACQ_IS_NAVIGATION_DATA,)))
    with pytest.raises(ValueError, match="lies outside the 6 that are encoded"):
        read_scan(recording(tmp_path / "d.h5", KSPACE, centre=1))


def test_matlab_has_rows_columns_and_then_coils_and_slices(tmp_path):
    order = KSPACE.transpose(2, 3, 1, 0)  # height, width, coils, slices
    scipy_io.savemat(tmp_path / "five.mat", {"kspace": order, "other": np.ones(3)})
    with h5py.File(tmp_path / "seven.mat", "w", userblock_size=512) as file:
        pairs = np.empty(order.T.shape, [("real", "f4"), ("imag", "f4")])
        pairs["real"], pairs["imag"] = order.T.real, order.T.imag
        file["kspace"] = pairs
    (tmp_path / "seven.mat").write_bytes(
        b"MATLAB 7.3 MAT-file".ljust(512) + (tmp_path / "seven.mat").read_bytes()[512:]
    )
    for name in ("five.mat", "seven.mat"):
        np.testing.assert_array_equal(read_scan(tmp_path / name, "kspace").values.numpy(), KSPACE, err_msg=name)
    scipy_io.savemat(
        tmp_path / "sinogram.mat", {"R": np.arange(12.0).reshape(4, 3)}
    )  # as radon gives it: (bins, views)
    assert read_scan(tmp_path / "sinogram.mat", "sinogram").values.shape == (1, 3, 4)
    scipy_io.savemat(tmp_path / "other.mat", {"kspace": np.ones((8, 80, 90), complex)})
    with pytest.raises(ValueError, match="would hold 90 coils of 8 x 80; k-space in MATLAB's order is"):
        read_scan(tmp_path / "other.mat", "kspace")


def test_stacks_of_tiff_and_dicom_frames_are_volumes(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    values = RNG.standard_normal((3, 6, 5)).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack")
    np.testing.assert_array_equal(read_scan(tmp_path / "a.tif", "sinogram").values.numpy(), values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = pydicom.data.get_testdata_file("rtdose.dcm", download=False)
        data = pydicom.dcmread(path)
    dose = read_scan(path)
    np.testing.assert_allclose(dose.values, data.pixel_array * float(data.DoseGridScaling), rtol=1e-6)
    assert dose.spacing == (5.0, 10.0, 10.0)
