"""DICOM files of images that were reconstructed: a new series of the study that they come from."""

from __future__ import annotations

import datetime
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from unrolling._extras import extra
from unrolling._version import __version__
from unrolling.files.scan import Scan
from unrolling.files.whole import writing

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
# What belongs to the pixels of the source, and is not true of new ones.
DROPPED = (
    "SmallestImagePixelValue",
    "LargestImagePixelValue",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "WindowCenterWidthExplanation",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
    "IconImageSequence",
    "DataSetTrailingPadding",
)


def write_series(paths: Sequence[Path], volume: Tensor, like: Scan | None, title: str = "") -> list[Path]:
    """A file for each slice; all of them or none.

    Values are kept to half a rescale slope: one Hounsfield unit, or the range of the values in 65,535 steps.

    Args:
        paths: one for each slice.
        volume: (slices, height, width).
        like: what was read; of a DICOM series, its patient, study and geometry go into the new files, whose pixels,
            UIDs and rescale are their own.
        title: of the series.
    """
    with extra("a DICOM file"):
        from pydicom.uid import generate_uid
    series, study, frame = (str(generate_uid()) for _ in range(3))
    slope, intercept, dtype = _scale(volume, like)
    contents = []
    for number, image in enumerate(volume.numpy()):
        data = _dataset(number, volume, like, study, frame, title)
        stored = np.round((image.astype(np.float64) - intercept) / slope)
        limits = np.iinfo(dtype)
        data.SeriesInstanceUID, data.SOPInstanceUID = series, str(generate_uid())
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        data.InstanceNumber = number + 1
        data.Rows, data.Columns = image.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
        data.PixelRepresentation = int(limits.min < 0)
        data.RescaleSlope, data.RescaleIntercept = _decimal(slope), _decimal(intercept)
        data.RescaleType = "HU" if like is not None and like.units == "HU" else "US"
        data.PixelData = stored.clip(limits.min, limits.max).astype(dtype.newbyteorder("<")).tobytes()
        _window(data, volume, like)
        content = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the source's own faults
            data.save_as(content, enforce_file_format=True)
        contents.append(content.getvalue())
    with writing(*paths) as temporary:
        for place, content in zip(temporary, contents, strict=True):
            with place.open("r+b") as file:
                file.write(content)
    return list(paths)


def _scale(volume: Tensor, like: Scan | None) -> tuple[float, float, np.dtype]:
    """Slope, intercept and kind of the stored numbers."""
    low, high = float(volume.min()), float(volume.max())
    if like is not None and like.units == "HU" and low >= -32768 and high <= 32767:
        return 1.0, 0.0, np.dtype(np.int16)
    slope = (high - low) / 65535 or 1.0
    # As the file will hold them, so that no value falls outside by the rounding of the text.
    slope = float(_decimal(slope * (1 + 1e-6)))
    return slope, float(_decimal(low)), np.dtype(np.uint16)


def _decimal(value: float) -> str:
    """A number in the 16 letters that DICOM allows."""
    for digits in range(16, 0, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= 16:
            return text
    raise ValueError(f"{value} is no number of 16 letters")


def _dataset(number: int, volume: Tensor, like: Scan | None, study: str, frame: str, title: str) -> Any:
    """All but the pixels of a slice."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    files = () if like is None else tuple(like.more.get("files", ()))
    chosen = () if like is None else like.numbers
    source = None
    if len(files) > 0 and like is not None and len(chosen) == len(volume):
        from unrolling.files._dicom import load

        place = chosen[number] if len(files) > 1 else 0
        source = load(files[place], pixels=False)
        if int(source.get("NumberOfFrames", 1) or 1) > 1:
            source = None
    data = Dataset() if source is None else Dataset(source)
    for name in DROPPED:
        if name in data:
            del data[name]
    for tag in [each.tag for each in data if each.tag.group & 0xFF00 == 0x6000 or each.tag.is_private]:
        del data[tag]
    now = datetime.datetime.now()
    if source is None:
        data.SOPClassUID, data.StudyInstanceUID, data.FrameOfReferenceUID = SECONDARY_CAPTURE, study, frame
        known = "" if like is None else like.modality or ("CT" if like.units in ("HU", "1/mm") else "")
        data.Modality = known or "OT"
        data.PatientName = data.PatientID = data.StudyID = data.AccessionNumber = ""
        data.PatientBirthDate = data.PatientSex = data.ReferringPhysicianName = ""
        data.StudyDate, data.StudyTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
        data.ConversionType = "WSD"
        _place(data, number, len(volume), like)
    else:
        reference = Dataset()
        reference.ReferencedSOPClassUID = source.get("SOPClassUID", SECONDARY_CAPTURE)
        reference.ReferencedSOPInstanceUID = source.get("SOPInstanceUID", "")
        data.SourceImageSequence = [reference]
        _resized(data, source, volume, like)
    data.ImageType = ["DERIVED", "SECONDARY", *(data.get("ImageType") or ())[2:]]
    data.SeriesDescription = (title or "reconstructed by unrolling")[:64]
    data.DerivationDescription = f"reconstructed by unrolling {__version__}"
    data.SeriesNumber = int(data.get("SeriesNumber") or 0) + 1000
    data.InstanceCreationDate, data.InstanceCreationTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    data.file_meta = meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(str(data.SOPClassUID))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return data


def _place(data: Any, number: int, slices: int, like: Scan | None) -> None:
    """Spacing, position and orientation where they are known."""
    from unrolling.files._views import placed

    if like is None or like.spacing is None or len(like.spacing) != 3:
        return
    spacing, affine = placed(like, slices)
    data.PixelSpacing = [_decimal(spacing[1]), _decimal(spacing[2])]
    data.SliceThickness = data.SpacingBetweenSlices = _decimal(spacing[0])
    if affine is None:
        return
    turned = np.diag([-1.0, -1, 1, 1]) @ affine
    axes = turned[:3, :3] / np.linalg.norm(turned[:3, :3], axis=0)
    data.ImageOrientationPatient = [_decimal(each) for each in (*axes[:, 0], *axes[:, 1])]
    data.ImagePositionPatient = [_decimal(each) for each in turned[:3, 3] + number * turned[:3, 2]]


def _resized(data: Any, source: Any, volume: Tensor, like: Scan | None) -> None:
    """An image of another size than its source is of the same field of view."""
    rows, columns = int(source.Rows), int(source.Columns)
    if (rows, columns) == tuple(volume.shape[-2:]) or like is None or like.spacing is None:
        return
    data.PixelSpacing = [_decimal(like.spacing[1]), _decimal(like.spacing[2])]


def _window(data: Any, volume: Tensor, like: Scan | None) -> None:
    """What a viewer shows first."""
    from unrolling.files._views import limits

    low, high = limits(volume, like)
    if high > low:
        data.WindowCenter, data.WindowWidth = _decimal((low + high) / 2), _decimal(high - low)
