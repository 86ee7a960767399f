"""DICOM files and series: images in Hounsfield units, placed in the patient."""

from __future__ import annotations

import logging
import math
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unrolling._extras import extra
from unrolling.files._dicom_place import Slice, common, floats, placed, placed_frames
from unrolling.files.decoding import PIECE, check_size, decoding
from unrolling.files.scan import Contents, Kind

DEFLATED = "1.2.840.10008.1.2.1.99"
IMPLICIT = "1.2.840.10008.1.2"
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
TOLERANCE = 0.02  # part of the distance of slices that it may differ by


def load(path: Path, pixels: bool = True) -> Any:
    """A data set, also of a file without preamble or without the group that says how it is written.

    Raises:
        ValueError: no DICOM file.
    """
    with extra("a DICOM file"):
        import pydicom
        from pydicom.errors import InvalidDicomError
        from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
    logging.getLogger("pydicom").addHandler(logging.NullHandler())
    with decoding(path, "a DICOM file"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _check_deflated(path)
        try:
            data = pydicom.dcmread(path, stop_before_pixels=not pixels)
        except InvalidDicomError:
            # Old files begin with the data at once; anything at all is then read as if it were some.
            data = pydicom.dcmread(path, stop_before_pixels=not pixels, force=True)
            if "SOPClassUID" not in data and "Rows" not in data:
                raise ValueError(f"{path} is no DICOM file") from None
        if "TransferSyntaxUID" not in data.file_meta:
            implicit, little = data.original_encoding
            explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
            data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return data


def _check_deflated(path: Path) -> None:
    """A deflated file may hold much more than it seems to."""
    from pydicom.filereader import read_file_meta_info

    with path.open("rb") as file:
        if file.read(132)[128:] != b"DICM":
            return
    meta = read_file_meta_info(str(path))
    if str(meta.get("TransferSyntaxUID", "")) != DEFLATED:
        return
    held, decoded = path.stat().st_size, 0
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    start = 132 + 12 + int(meta.get("FileMetaInformationGroupLength", 0))
    with path.open("rb") as file:
        file.seek(start)
        while content := file.read(1 << 14):
            while content and not unpacker.eof:
                decoded += len(unpacker.decompress(content, PIECE))
                content = unpacker.unconsumed_tail
                check_size(path, decoded, held, f"more than {decoded} bytes")


def check_kind(path: Path, data: Any, modality: str | None) -> None:
    """Refuses what holds no image of the modality that is wanted.

    Raises:
        ValueError: no pixels, colours, another modality.
    """
    found = str(data.get("Modality", ""))
    if modality is not None and found != modality:
        raise ValueError(f"{path} holds an image of the modality {found or 'unknown'}, and {modality} is wanted")
    if not all(name in data for name in ("Rows", "Columns")):
        from pydicom.uid import UID

        kind = UID(str(data.get("SOPClassUID", ""))).name or "a DICOM file"
        raise ValueError(f"{path} holds no pixels ({kind})")
    if int(data.get("SamplesPerPixel", 1) or 1) != 1 or "PALETTE" in str(data.get("PhotometricInterpretation", "")):
        kind = data.get("PhotometricInterpretation", "colours")
        raise ValueError(f"{path} holds colours ({kind}), and no measured values")
    if not (data.Rows and data.Columns):
        raise ValueError(f"{path} has {data.Rows} x {data.Columns} pixels; there is nothing to work on")


def open_file(path: Path, kind: Kind | None, modality: str | None = None, **_: Any) -> Contents:
    """One file: a slice, or several frames of one size.

    Raises:
        ValueError: no DICOM file, no pixels, colours, another modality.
    """
    data = load(path, pixels=False)
    check_kind(path, data, modality)
    frames = int(data.get("NumberOfFrames", 1) or 1)
    facts = common(data)
    if frames > 1:
        facts |= placed_frames(data, frames)
    else:
        facts |= placed([_slice(path, data)], data)

    def read(slices: Sequence[int]) -> np.ndarray:
        values = pixels(path, frames)
        return values[list(slices)]

    return Contents("a DICOM file", frames, read, "image", {**facts, "more": {**facts["more"], "files": (path,)}})


def open_series(path: Path, kind: Kind | None, modality: str | None = None, **_: Any) -> Contents:
    """The files of one series in a folder, by their position along the normal of the slices.

    Raises:
        ValueError: no DICOM files, several series, slices of several sizes or orientations, two at one position.
    """
    slices, other = [], 0
    first = None
    for each in sorted(path.iterdir()):
        if not each.is_file() or each.name.startswith(".") or each.name == "DICOMDIR":
            continue
        try:
            data = load(each, pixels=False)
            check_kind(each, data, None)
        except ValueError:
            other += 1
            continue
        if int(data.get("NumberOfFrames", 1) or 1) > 1:
            raise ValueError(f"{each} holds several frames; name this file, and not its folder")
        first = data if first is None else first
        slices.append(_slice(each, data))
    if not slices or first is None:
        raise ValueError(f"{path} holds no DICOM files with pixels" + (f", and {other} others" if other else ""))
    check_kind(path, first, modality)
    if other:
        warnings.warn(f"{path}: {other} files that are no DICOM files with pixels are left out", stacklevel=4)
    slices = _ordered(path, _one_series(path, slices))
    facts = common(load(slices[0].path, pixels=False)) | placed(slices, first)

    def read(numbers: Sequence[int]) -> np.ndarray:
        return np.concatenate([pixels(slices[number].path, 1) for number in numbers])

    files = tuple(each.path for each in slices)
    return Contents("a DICOM series", len(slices), read, "image", {**facts, "more": {**facts["more"], "files": files}})


def _slice(path: Path, data: Any) -> Slice:
    number = data.get("InstanceNumber")
    return Slice(
        path,
        str(data.get("SeriesInstanceUID", "")),
        str(data.get("SeriesDescription", "") or data.get("SeriesNumber", "")),
        (int(data.Rows), int(data.Columns)),
        floats(data, "ImageOrientationPatient", 6),
        floats(data, "ImagePositionPatient", 3),
        None if number is None or str(number) == "" else float(number),
    )


def _one_series(path: Path, slices: list[Slice]) -> list[Slice]:
    groups: dict[str, list[Slice]] = {}
    for each in slices:
        groups.setdefault(each.series, []).append(each)
    if len(groups) > 1:
        words = "; ".join(
            f"{group[0].description or 'without a name'}, {len(group)} files, such as {group[0].path.name}"
            for group in list(groups.values())[:5]
        )
        raise ValueError(f"{path} holds {len(groups)} series ({words}); put the one that is meant into its own folder")
    shapes = {each.shape for each in slices}
    if len(shapes) > 1:
        sizes = ", ".join(f"{height} x {width}" for height, width in sorted(shapes))
        raise ValueError(f"{path} holds slices of several sizes: {sizes}")
    turned = [each for each in slices if not _alike(each.orientation, slices[0].orientation)]
    if turned:
        raise ValueError(f"{path} holds slices of several orientations, such as {turned[0].path.name}")
    return slices


def _alike(one: tuple[float, ...] | None, other: tuple[float, ...] | None) -> bool:
    if one is None or other is None:
        return one is other
    return bool(np.allclose(one, other, atol=1e-3))


def _ordered(path: Path, slices: list[Slice]) -> list[Slice]:
    """By position; by the number of the file where that is not known."""
    places = [each.along() for each in slices]
    if len(slices) == 1:
        return slices
    if any(place is None for place in places):
        if any(each.number is None for each in slices):
            raise ValueError(f"{path} holds slices without a position or a number; their order is not known")
        warnings.warn(
            f"{path}: its slices have no position; they are taken in the order of their numbers", stacklevel=6
        )
        return sorted(slices, key=lambda each: each.number or 0)
    order = np.argsort(np.array(places, float), kind="stable")
    ordered, sorted_places = [slices[k] for k in order], np.array(places, float)[order]
    steps = np.diff(sorted_places)
    if (steps < 1e-3).any():
        k = int(np.argmin(steps))
        raise ValueError(
            f"{path} holds several slices at one position ({ordered[k].path.name}, {ordered[k + 1].path.name}), of "
            "several times or echoes perhaps; put those of one into a folder of their own"
        )
    middle = float(np.median(steps))
    if (np.abs(steps - middle) > TOLERANCE * middle).any():
        k = int(np.argmax(np.abs(steps - middle)))
        warnings.warn(
            f"{path}: its slices are not evenly spaced: {steps[k]:.4g} mm after {ordered[k].path.name}, mostly "
            f"{middle:.4g} mm; one may be missing",
            stacklevel=6,
        )
    return ordered


def pixels(path: Path, frames: int) -> np.ndarray:
    """(frames, rows, columns), rescaled.

    Raises:
        ValueError: no pixels, fewer than the file speaks of, or compressed in a way that cannot be decoded here.
    """
    data = load(path)
    if not any(name in data for name in PIXELS):
        from pydicom.uid import UID

        raise ValueError(f"{path} holds no pixels ({UID(str(data.get('SOPClassUID', ''))).name or 'a DICOM file'})")
    sides = (frames, int(data.Rows), int(data.Columns))
    held = max(len(data.get(name) or b"") if name in data else 0 for name in PIXELS)
    bits = int(data.get("BitsAllocated", 16) or 16)
    check_size(path, math.prod(sides) * max(1, bits // 8), held, f"{' x '.join(map(str, sides))} pixels")
    syntax = data.file_meta.TransferSyntaxUID
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            values = np.asarray(data.pixel_array)
        except (RuntimeError, NotImplementedError, AttributeError) as error:
            if not syntax.is_compressed:
                raise
            raise ValueError(
                f"{path} is compressed ({syntax.name}), and cannot be decoded here (pylibjpeg with "
                f"pylibjpeg-libjpeg and pylibjpeg-openjpeg decodes more kinds): {_shortened(error)}"
            ) from error
        if values.size != math.prod(sides):
            raise ValueError(
                f"{path} holds {values.size} pixels, and its header speaks of {' x '.join(map(str, sides))}"
            )
        return _rescaled(data, values.reshape(sides))


def _shortened(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _rescaled(data: Any, values: np.ndarray) -> np.ndarray:
    """In the units of the file: slope and intercept of it all or of each frame, or a table."""
    if data.get("ModalityLUTSequence"):
        from pydicom.pixels.processing import apply_modality_lut

        return np.asarray(apply_modality_lut(values, data), np.float64)
    shared = (data.get("SharedFunctionalGroupsSequence") or [None])[0]
    each = data.get("PerFrameFunctionalGroupsSequence") or []
    made = values.astype(np.float64)
    for number in range(len(values)):
        holders = [*([each[number]] if number < len(each) else []), *([] if shared is None else [shared]), data]
        for holder in holders:
            groups = holder.get("PixelValueTransformationSequence")
            source = groups[0] if groups else holder
            if "RescaleSlope" in source:
                made[number] = made[number] * float(source.RescaleSlope) + float(source.get("RescaleIntercept", 0) or 0)
                break
        else:
            if "DoseGridScaling" in data:
                made[number] = made[number] * float(data.DoseGridScaling)
    return made
