"""Slices of one's own for tomography: from pictures, arrays and scans, from 0 to 1, square and of one size."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor
from torch.nn import functional

from unrolling.files.decoding import Arrays
from unrolling.files.scan import Scan
from unrolling.files.scans import SUFFIXES as SCANS
from unrolling.files.scans import read_scan
from unrolling.operators.attenuation import from_hounsfield
from unrolling.tasks.images import sources as images

PARTS = ("train", "validation", "test")
SHARES = (0.8, 0.1)  # of the slices of one file: training, validation; the rest are tested on
NAMES = (
    "image",
    "img",
    "volume",
    "hu",
    "reconstruction",
    "recon",
    "x",
    "spacing",
    "units",
    "affine",
)  # of files of one
AIR = -100.0  # values below are Hounsfield units: nothing else is as far below 0


def ct_by_part(path: str | Path, size: int) -> dict[str, list[Tensor]]:
    """Slices (size, size) in [0, 1] to train, validate and test on.

    Of a folder with sub-folders ``train``, ``validation`` and ``test`` each is its part, and one that is missing is
    empty; all of another folder are tested on; those of a file are divided 80 / 10 / 10 in their order.

    Raises:
        ValueError: nothing there, or a file that cannot be read.
    """
    root = Path(path)
    if root.is_dir():
        own = {part: root / part for part in PARTS if (root / part).is_dir()} or {"test": root}
        found = {part: _folder(own[part], size) if part in own else [] for part in PARTS}
        if not found["test"]:
            raise ValueError(f"{root} has no sub-folder test with slices to test on")
        return found
    held = read_ct(root, size)
    count = len(held)
    if count < 3:
        raise ValueError(f"{root} holds {count} slices; at least 3 are needed, to train, validate and test on")
    train = min(count - 2, max(1, round(SHARES[0] * count)))
    validation = train + min(count - train - 1, max(1, round(SHARES[1] * count)))
    return {"train": held[:train], "validation": held[train:validation], "test": held[validation:]}


def read_ct(path: str | Path, size: int) -> list[Tensor]:
    """The slices of a picture, or of a file of arrays or a scanner, brought to ``size`` by averaging or interpolation,
    narrow ones between columns or rows of zeros.

    Hounsfield units become (1 + HU / 1000) / 2, cut to [0, 1]: air 0, water 0.5; whether values are such is told by the
    file, or by one below -100. Others are divided by their largest where that is above 1.

    Raises:
        ValueError: the file cannot be read, or holds no image; negative values that are no Hounsfield units.
    """
    path = Path(path)
    if path.suffix.lower() in images.SUFFIXES:
        return [_fitted(images.read(path), size)]
    return [fit for scan in _scans(path) for fit in _normalised(scan, path, size)]


def _scans(path: Path) -> list[Scan]:
    """One; of a ``.npz`` file without an array that is called image, one for each array."""
    if path.suffix.lower() == ".npz":
        names = Arrays(path).names
        if len(names) > 1 and not {name.lower() for name in names} & {*NAMES}:
            return [read_scan(path, "image", array=name) for name in names]
    return [read_scan(path, "image")]


def _normalised(scan: Scan, path: Path, size: int) -> list[Tensor]:
    values = scan.values.abs() if scan.values.is_complex() else scan.values
    if scan.units == "HU" or float(values.min()) < AIR:
        values = from_hounsfield(values, 0.5).clamp_max(1)
    elif float(values.min()) < 0:
        raise ValueError(
            f"{path} holds values down to {float(values.min()):.4g}; slices are from 0 on, or in Hounsfield units"
        )
    return [_fitted(each / max(1.0, float(each.max())), size) for each in values]


def _fitted(image: Tensor, size: int) -> Tensor:
    """An image (height, width) as (size, size)."""
    height, width = image.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    image = functional.pad(image, (left, side - width - left, top, side - height - top))
    if side == size:
        return image.contiguous()
    resized = functional.interpolate(image[None, None], size=(size, size), mode="bilinear", antialias=True)
    return resized[0, 0].clamp(0, 1)


def _folder(path: Path, size: int) -> list[Tensor]:
    suffixes = (*SCANS, *images.SUFFIXES)
    files = sorted(file for file in path.rglob("*") if file.name.lower().endswith(suffixes))
    if not files:
        raise ValueError(f"{path} holds no slices ({', '.join(dict.fromkeys(suffixes))})")
    return [each for file in files for each in read_ct(file, size)]
