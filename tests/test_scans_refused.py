"""Files of scanners that hold nothing to work on, or were made to do harm: refused by name, in bounded memory."""

import gzip
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from tools.fuzz import mutations, seeds
from unrolling.files import read_scan, write_scan

pydicom = pytest.importorskip("pydicom")
nibabel = pytest.importorskip("nibabel")
h5py = pytest.importorskip("h5py")
scipy_io = pytest.importorskip("scipy.io")
pytest.importorskip("ismrmrd")

CORPUS = seeds.scans()
KSPACE = np.ones((2, 8, 6), np.complex64)


def bundled(name):
    return pydicom.data.get_testdata_file(name, download=False)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rtplan.dcm", "holds no pixels (RT Plan Storage)"),
        ("test-SR.dcm", "holds no pixels (Comprehensive SR Storage)"),
        ("waveform_ecg.dcm", "holds no pixels (12-lead ECG Waveform Storage)"),
        ("MR_small_jpeg_ls_lossless.dcm", "is compressed (JPEG-LS Lossless Image Compression)"),
        ("JPEG-lossy.dcm", "is compressed (JPEG Extended"),
        ("SC_rgb_small_odd.dcm", "holds colours (RGB)"),
        ("MR_truncated.dcm", "less than expected"),
        ("no_meta.dcm", "is no DICOM file"),
    ],
)
def test_a_dicom_file_without_an_image_says_what_it_is(name, words):
    with pytest.raises(ValueError) as caught:
        read_scan(bundled(name))
    assert words in str(caught.value)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_decoder_that_is_there_is_used_and_compressed_pixels_are_the_same():
    plain = read_scan(bundled("MR_small.dcm")).values
    for name in ("MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "MR_small_jp2klossless.dcm"):
        assert read_scan(bundled(name)).values.equal(plain), name


def test_another_modality_or_kind_than_is_wanted_is_refused(tmp_path):
    with pytest.raises(ValueError, match="of the modality MR, and CT is wanted"):
        read_scan(bundled("MR_small.dcm"), modality="CT")
    with pytest.raises(ValueError, match=r"holds an image .a DICOM file., and k-space is wanted"):
        read_scan(bundled("MR_small.dcm"), "kspace")
    (tmp_path / "a.nii").write_bytes(CORPUS["volume.nii"])
    with pytest.raises(ValueError, match=r"holds an image .a NIfTI file., and a sinogram is wanted"):
        read_scan(tmp_path / "a.nii", "sinogram")


def test_a_file_without_preamble_is_read_and_any_other_is_not(tmp_path):
    data = pydicom.dcmread(bundled("CT_small.dcm"))
    plain = read_scan(bundled("CT_small.dcm")).values
    whole = Path(bundled("CT_small.dcm")).read_bytes()
    group = int(data.file_meta.FileMetaInformationGroupLength)
    (tmp_path / "bare.dcm").write_bytes(whole[132 + 12 + group :])
    assert read_scan(tmp_path / "bare.dcm").values.equal(plain)
    (tmp_path / "text.dcm").write_text("no DICOM at all, but a text of some length" * 10)
    with pytest.raises(ValueError, match=r"text\.dcm"):
        read_scan(tmp_path / "text.dcm")


def test_several_volumes_are_refused_until_one_is_named(tmp_path):
    values = np.random.default_rng(0).standard_normal((4, 5, 3, 2)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(ValueError, match=r"holds 2 volumes, shape \(4, 5, 3, 2\); name one of them"):
        read_scan(tmp_path / "a.nii")
    found = read_scan(tmp_path / "a.nii", volume=1)
    np.testing.assert_array_equal(found.values.numpy(), values[..., 1].transpose(2, 1, 0))
    with pytest.raises(ValueError, match="has no volume 2"):
        read_scan(tmp_path / "a.nii", volume=2)


def hdf5(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return path


def test_hdf5_without_kspace_or_with_real_numbers_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.h5 has no dataset kspace.*it holds images"):
        read_scan(hdf5(tmp_path / "a.h5", images=np.ones((2, 3))), "kspace")
    with pytest.raises(ValueError, match="kspace holds float64; k-space is complex"):
        read_scan(hdf5(tmp_path / "b.h5", kspace=np.ones((2, 3, 4))), "kspace")
    for name, mask, words in (
        ("c", np.zeros(6), "zero everywhere"),
        ("d", np.ones(5), r"it is \(6,\)"),
        ("e", np.full(6, 0.5), "other values than 0 and 1"),
    ):
        with pytest.raises(ValueError, match=words):
            read_scan(hdf5(tmp_path / f"{name}.h5", kspace=KSPACE, mask=mask), "kspace")
    np.save(tmp_path / "pairs.npy", np.ones((8, 6, 2)))
    with pytest.raises(ValueError, match=r"pairs of real and imaginary parts are joined by a\[..., 0\] \+ 1j"):
        read_scan(tmp_path / "pairs.npy", "kspace")


def test_negative_counts_and_a_spacing_that_is_none_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", counts=np.array([[3.0, -1.0]]))
    with pytest.raises(ValueError, match="negative counts, the smallest -1"):
        read_scan(tmp_path / "a.npz", "sinogram")
    np.savez(tmp_path / "b.npz", sinogram=np.ones((2, 3)), spacing=-1.0)
    with pytest.raises(ValueError, match="spacing is in mm and positive"):
        read_scan(tmp_path / "b.npz", "sinogram")
    np.savez(tmp_path / "c.npz", sinogram=np.ones((2, 3)), units="furlongs")
    with pytest.raises(ValueError, match="units are HU"):
        read_scan(tmp_path / "c.npz", "sinogram")
    np.savez(tmp_path / "d.npz", sinogram=np.ones((2, 3)))
    scan = read_scan(tmp_path / "d.npz", "sinogram")
    with pytest.warns(UserWarning, match=r"d\.npz does not say its spacing; 1 mm is assumed"):
        assert scan.spacing_or((1.0,)) == (1.0,)


def test_what_lies_in_other_files_is_not_read(tmp_path):
    hdf5(tmp_path / "other.h5", kspace=KSPACE)
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(range(96)) * 8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["kspace"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/kspace")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["kspace"] = h5py.SoftLink("/elsewhere")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file.create_dataset("kspace", (2, 8, 6), np.complex64, external=[(str(secret), 0, 768)])
    with h5py.File(tmp_path / "d.h5", "w") as file:
        layout = h5py.VirtualLayout((2, 8, 6), np.complex64)
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "kspace", (2, 8, 6))
        file.create_virtual_dataset("kspace", layout)
    for name, words in (("a", "is a link"), ("b", "is a link"), ("c", "in other files"), ("d", "in other files")):
        with pytest.raises(ValueError, match=words):
            read_scan(tmp_path / f"{name}.h5", "kspace")


def test_objects_and_entities_are_not_read(tmp_path):
    cells = np.empty(2, object)
    cells[:] = ["a", np.ones(3)]
    scipy_io.savemat(tmp_path / "a.mat", {"cells": cells, "structure": {"x": 1.0}})
    with pytest.raises(ValueError, match=r"a\.mat holds cells \(cell\), structure \(struct\), and no array of numbers"):
        read_scan(tmp_path / "a.mat")
    np.savez(tmp_path / "b.npz", image=cells)
    with pytest.raises(ValueError, match="holds objects of Python"):
        read_scan(tmp_path / "b.npz")
    bomb = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><ismrmrdHeader>&c;</ismrmrdHeader>'
    with pytest.raises(ValueError, match="declares a document type"):
        read_scan(hdf5(tmp_path / "c.h5", kspace=KSPACE, ismrmrd_header=bomb), "kspace")


def huge(path):
    """A file of each format that says it holds gigabytes, and is small."""
    with h5py.File(path / "empty.h5", "w") as file:
        file.create_dataset("kspace", (1 << 12, 1 << 10, 1 << 10), np.complex64, chunks=(1, 1 << 10, 1 << 10))
    with h5py.File(path / "packed.h5", "w") as file:
        held = file.create_dataset("kspace", (1, 1 << 13, 1 << 13), np.complex64, chunks=True, compression=9)
        held[0, :4] = 0
    header = nibabel.Nifti1Header()
    header.set_data_shape((2048, 2048, 512))
    header.set_data_dtype(np.float32)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    with gzip.open(path / "packed.nii.gz", "wb", 1) as file:
        file.write(header.binaryblock + bytes(4 + (16 << 20)))
    (path / "short.nii").write_bytes(header.binaryblock + bytes(4))
    data = pydicom.dcmread(bundled("CT_small.dcm"))
    data.Rows = data.Columns = 65535
    data.save_as(path / "large.dcm")


READ = """
import resource, sys
from pathlib import Path
from unrolling.files import read_scan
folder = Path(sys.argv[1])
for path in sorted((folder / "small").iterdir()):
    read_scan(path)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted((folder / "huge").iterdir()):
    try:
        print(path.name, "read", read_scan(path, slices=[0]).values.shape)
    except ValueError as error:
        print(" ".join(str(error).split()))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.nightly
def test_what_is_made_to_fill_the_memory_does_not(tmp_path):
    (tmp_path / "huge").mkdir()
    (tmp_path / "small").mkdir()
    for name, content in CORPUS.items():
        (tmp_path / "small" / name).write_bytes(content)
    huge(tmp_path / "huge")
    command = [sys.executable, "-c", READ, str(tmp_path)]
    *said, taken = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(said) == 5
    for line in said:
        assert "made to fill the memory" in line or "truncated" in line or "less than expected" in line, line
    assert int(taken) < 150  # MiB


def test_what_unpacks_to_much_more_than_it_is_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("unrolling.files.decoding.LARGE", 1 << 20)
    scipy_io.savemat(tmp_path / "a.mat", {"image": np.zeros((1 << 10, 1 << 8), np.float32)}, do_compression=True)
    data = pydicom.dcmread(bundled("CT_small.dcm"))
    data.Rows = data.Columns = 2000
    data.PixelData = bytes(2 * 2000 * 2000)
    data.remove_private_tags()
    data.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    data.save_as(tmp_path / "a.dcm")
    for name in ("a.mat", "a.dcm"):
        with pytest.raises(ValueError, match=rf"{name} says that it holds .* made to fill the memory"):
            read_scan(tmp_path / name)


def read_or_refused(path):
    """What is in a file, or what is said about it, which names it in one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return read_scan(path), ""
        except ValueError as error:
            return None, str(error)


# Formats whose values are whole without their last bytes: the end of a sequence, bytes that fill up.
TRAILERS = {"deflated.dcm": 8, "rle.dcm": 30}


@pytest.mark.parametrize("name", CORPUS)
def test_what_is_truncated_or_empty_is_refused_by_its_name(tmp_path, name):
    content, path = CORPUS[name], tmp_path / name
    for cut in (0, 1, 200, len(content) // 2, len(content) - TRAILERS.get(name, 1)):
        path.write_bytes(content[:cut])
        found, said = read_or_refused(path)
        assert found is None, cut
        assert str(path) in said
        assert "\n" not in said


@pytest.mark.parametrize("name", CORPUS)
def test_what_is_damaged_is_read_or_refused_by_its_name(tmp_path, name):
    path = tmp_path / name
    for seed in range(20):
        path.write_bytes(mutations.mutated(CORPUS[name], seed))
        found, said = read_or_refused(path)
        assert found is not None or (str(path) in said and "\n" not in said), (seed, said)
        assert found is None or found.values.isfinite().all()


# Found by the fuzzer in the libraries behind HDF5 and MATLAB: memory that is not their own, and a loop without an end.
FOUND = {
    "matlab.mat": {725: bytes(8) + b"\1" + bytes(45)},
    "seven.mat": {1464: b"\xfd"},
    "ismrmrd.h5": {3928: b"\0\0", 9825: b"\x40\x0a"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FOUND)
def test_what_would_end_the_process_ends_another_one(tmp_path, name):
    content = bytearray(CORPUS[name])
    for place, changed in FOUND[name].items():
        content[place : place + len(changed)] = changed
    (tmp_path / name).write_bytes(content)
    found, said = read_or_refused(tmp_path / name)
    assert found is not None or f"{tmp_path / name} cannot be read as" in said
    (tmp_path / name).write_bytes(CORPUS[name])
    assert read_or_refused(tmp_path / name)[0] is not None


def test_an_output_that_cannot_be_written_leaves_what_was_there(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"old")
    with pytest.raises(ValueError, match="not finite"):
        write_scan(tmp_path / "a.nii", np.array([[1.0, np.nan]]))
    with pytest.raises(ValueError, match="nothing is written"):
        write_scan(tmp_path / "a.nii", np.ones((2, 2, 2, 2)))
    with pytest.raises(ValueError, match=r"images are written as NIfTI.*\.mat is none of them"):
        write_scan(tmp_path / "a.mat", np.ones((2, 2)))
    assert (tmp_path / "a.nii").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii"]


def test_a_header_that_lies_about_its_extensions_is_refused(tmp_path):
    content = bytearray(CORPUS["volume.nii"])
    content[108:112] = struct.pack("<f", 2e9)
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(ValueError, match="damaged header"):
        read_scan(tmp_path / "a.nii")
