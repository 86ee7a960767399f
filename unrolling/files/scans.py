"""Files that scanners and their software write: k-space, sinograms and images, with where they lie in the patient.

The format is told by a file's first bytes, and by its suffix only where these say nothing.
"""

from __future__ import annotations

import gzip
import io
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolling._extras import extra
from unrolling.files import pictures
from unrolling.files._views import of_image, placed, shown, suffix_of
from unrolling.files.decoding import decoding
from unrolling.files.gate import checked
from unrolling.files.scan import WORDS, Contents, Kind, Scan, values_of
from unrolling.files.whole import check_place, write_bytes, writing

READS = (
    "k-space, a sinogram or an image: HDF5 (fastMRI, ISMRMRD), DICOM (a file, or the folder of a series), NIfTI, "
    "MATLAB, .npy, .npz or TIFF"
)
SUFFIXES = (".h5", ".hdf5", ".mrd", ".dcm", ".ima", ".nii", ".nii.gz", ".mat", ".npy", ".npz", ".tif", ".tiff")
PICTURES = pictures.WRITTEN
WRITTEN = (".nii", ".nii.gz", ".dcm", ".h5", ".npy", ".npz", *PICTURES)
WRITES = "as NIfTI (.nii, .nii.gz), DICOM (.dcm), HDF5 (.h5, as fastMRI takes submissions), .npy, .npz or a picture"


def read_scan(
    path: str | Path,
    kind: Kind | None = None,
    *,
    slices: Sequence[int] | None = None,
    modality: str | None = None,
    volume: int | None = None,
    array: str | None = None,
) -> Scan:
    """Read a file, or a folder that holds the DICOM files of a series.

    Args:
        path: of it.
        kind: what is wanted. What does not say what it is (``.npy``, ``.npz``, MATLAB, TIFF) is taken to be that;
            without it, complex arrays to be k-space and real ones images.
        slices: numbers of those that are read; all by default. With none, ``()``, the rest is there, and ``Scan.part``
            reads the slices that are wanted.
        modality: of a DICOM file, where only one can be meant: ``CT``.
        volume: the number of one volume of a NIfTI file with several.
        array: the name of one array of a file with several.

    Raises:
        ValueError: no such file, one that is damaged or of a format that is not read, or what it holds is another kind
            or modality, is not finite, or was made to fill the memory. The message names the file.
        ImportError: a package is missing; the message names it.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path} does not exist; the input is {READS}")
    if kind is not None and kind not in WORDS:
        raise ValueError(f"kind is {kind!r}; it is one of {', '.join(WORDS)}")
    what, opened = _format(path)
    with decoding(path, what), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pydicom")  # of what the file itself has wrong
        found = opened(path, kind=kind, modality=modality, volume=volume, array=array)
    if kind is not None and found.kind not in (None, kind):
        raise ValueError(f"{path} holds {WORDS[str(found.kind)]} ({found.what}), and {WORDS[kind]} is wanted")
    if found.count < 1:
        raise ValueError(f"{path} holds no slices")
    numbers = tuple(range(found.count)) if slices is None else tuple(slices)
    actual = kind or found.kind or _guessed(path, found)
    values = values_of(path, found, actual, numbers)
    return Scan(values, actual, path=path, count=found.count, numbers=numbers, source=found, **found.facts)


def _format(path: Path) -> tuple[str, Callable[..., Contents]]:
    """The name of a file's format and what opens it."""
    from unrolling.files import _arrays, _dicom, _hdf5, _matlab, _nifti

    if path.is_dir():
        return "a folder of DICOM files", _dicom.open_series
    if not path.is_file():
        raise ValueError(f"{path} is no ordinary file; the input is {READS}")
    with decoding(path, "a scan"), path.open("rb") as file:
        start = file.read(1024)
    if not start:
        raise ValueError(f"{path} is empty")
    suffix, name = path.suffix.lower(), path.name.lower()
    if start.startswith(b"MATLAB") or suffix == ".mat":
        return "a MATLAB file", _matlab.open_matlab
    if start.startswith(b"\x89HDF\r\n\x1a\n") or suffix in (".h5", ".hdf5", ".mrd"):
        return "an HDF5 file", _hdf5.open_hdf5
    if start.startswith((b"\x93NUMPY", b"PK\x03\x04", b"PK\x05\x06")) or suffix in (".npy", ".npz"):
        return "a .npy or .npz file of arrays", _arrays.open_arrays
    if start[128:132] == b"DICM" or suffix in (".dcm", ".ima"):
        return "a DICOM file", _dicom.open_file
    if _nifti.is_nifti(start) or name.endswith((".nii", ".nii.gz")):
        return "a NIfTI file", _nifti.open_nifti
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "a TIFF file", _arrays.open_tiff
    if not suffix or suffix[1:].isdigit():  # as files of scanners are called: IM00001, 1.2.840.10008
        return "a DICOM file", _dicom.open_file
    raise ValueError(f"{path} is of no format that is read; the input is {READS}")


def _guessed(path: Path, found: Contents) -> Kind:
    values = found.read([0])
    return "kspace" if values.dtype.kind == "c" else "image"


def check_scan_output(path: str | Path) -> None:
    """Finds out before the work whether an image can be written.

    Raises:
        ValueError: an unknown suffix, a place that takes no files.
        ImportError: the format needs a package that is missing.
    """
    path = Path(path)
    suffix = suffix_of(path)
    if suffix not in WRITTEN:
        raise ValueError(f"{path}: images are written {WRITES}; {path.suffix or 'no suffix'} is none of them")
    with extra("a NIfTI file"):
        if suffix.startswith(".nii"):
            import nibabel  # noqa: F401
    with extra("a DICOM file"):
        if suffix == ".dcm":
            import pydicom  # noqa: F401
    with extra("an HDF5 file"):
        if suffix == ".h5":
            import h5py  # noqa: F401
    if suffix in PICTURES:
        pictures.pillow()
    check_place(path)


def scan_files(path: str | Path, slices: int) -> list[Path]:
    """The files that ``write_scan`` makes: the path itself, but one for each slice of a DICOM volume."""
    path = Path(path)
    if suffix_of(path) != ".dcm" or slices == 1:
        return [path]
    places = max(4, len(str(slices)))
    return [path.with_name(f"{path.stem}-{number + 1:0{places}d}{path.suffix}") for number in range(slices)]


def write_scan(
    path: str | Path,
    values: Scan | Tensor | np.ndarray,
    like: Scan | None = None,
    *,
    window: tuple[float, float] | None = None,
    title: str = "",
) -> list[Path]:
    """Write an image or a volume, whole or not at all.

    ``.nii`` and ``.nii.gz`` hold float32 and the affine; ``.dcm`` a file for each slice, 16 bits with a rescale slope,
    as a new series of the study that it was read from; ``.h5`` the dataset ``reconstruction``; ``.npy`` the values
    alone, ``.npz`` spacing, units and affine too; a picture the slice in the middle in a window, upright. Of complex
    values all but ``.npy`` and ``.npz`` hold the magnitude.

    Args:
        path: whose suffix says the format.
        values: (height, width) or (slices, height, width), or a scan of an image.
        like: what was read, whose spacing, units and affine the image has: those of its slices ``numbers``.
        window: centre and width of the values that a picture shows from black to white; by default those of ``like``,
            soft tissue for Hounsfield units, else from 0 (or the smallest value) to the largest.
        title: what a new DICOM series is called.

    Returns:
        The files that were written: several for the slices of a DICOM volume.

    Raises:
        ValueError: another shape, values that are not finite, a suffix or a place that cannot be written.
        OSError: it cannot be written.
    """
    path = Path(path)
    if isinstance(values, Scan):
        like, values = values if like is None else like, values.values
    image = torch.as_tensor(values).detach().cpu()
    if image.ndim not in (2, 3):
        raise ValueError(
            f"an image is (height, width) or (slices, height, width); got the shape {tuple(image.shape)}; nothing is "
            "written"
        )
    checked(image, "the image")
    volume = image if image.ndim == 3 else image.unsqueeze(0)
    suffix = suffix_of(path)
    if suffix not in WRITTEN:
        raise ValueError(f"{path}: images are written {WRITES}; {path.suffix or 'no suffix'} is none of them")
    if like is not None and like.kind != "image":
        like = of_image(like, volume)
    if suffix == ".npy":
        content = io.BytesIO()
        np.save(content, image.numpy())
        write_bytes(path, content.getvalue())
        return [path]
    if suffix == ".npz":
        _write_npz(path, image, like)
        return [path]
    real = (volume.abs() if volume.is_complex() else volume).float()
    if suffix in PICTURES:
        _write_picture(path, real[len(real) // 2], like, window)
        return [path]
    if suffix == ".h5":
        _write_hdf5(path, real)
        return [path]
    if suffix == ".dcm":
        from unrolling.files._derived import write_series

        return write_series(scan_files(path, len(real)), real, like, title)
    _write_nifti(path, real, like)
    return [path]


def _write_nifti(path: Path, volume: Tensor, like: Scan | None) -> None:
    with extra("a NIfTI file"):
        import nibabel
    from unrolling.files._nifti import NOTE

    spacing, affine = placed(like, len(volume))
    array = np.ascontiguousarray(volume.numpy().transpose(2, 1, 0))
    # Without an affine, its codes stay 0: the sizes of the voxels are known, and not where they lie.
    image = nibabel.Nifti1Image(array, affine)  # pyright: ignore
    if affine is None:
        image.header.set_zooms(tuple(reversed(spacing)))
    image.header.set_xyzt_units("mm")
    if like is not None and like.units:
        image.header["descrip"] = (NOTE + like.units).encode()
    content = image.to_bytes()
    # Without a time and a name, the same image gives the same bytes.
    write_bytes(path, gzip.compress(content, 6, mtime=0) if suffix_of(path) == ".nii.gz" else content)


def _write_hdf5(path: Path, volume: Tensor) -> None:
    with extra("an HDF5 file"):
        import h5py
    with writing(path) as (temporary,), h5py.File(temporary, "w") as file:
        file.create_dataset("reconstruction", data=volume.numpy())


def _write_npz(path: Path, image: Tensor, like: Scan | None) -> None:
    arrays: dict[str, Any] = {"image": image.numpy()}
    if like is not None:
        spacing, affine = placed(like, image.shape[0] if image.ndim == 3 else 1)
        if like.spacing is not None and len(like.spacing) == 3:
            arrays["spacing"] = np.array(spacing)
        if affine is not None:
            arrays["affine"] = affine
        if like.units:
            arrays["units"] = np.array(like.units)
    content = io.BytesIO()
    np.savez(content, **arrays)
    write_bytes(path, content.getvalue())


def _write_picture(path: Path, image: Tensor, like: Scan | None, window: tuple[float, float] | None) -> None:
    pictures.write(path, pictures.Picture(shown(image, like, window).unsqueeze(0), depth=16))
