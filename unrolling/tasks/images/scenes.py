"""One scene of a satellite, divided by columns to train, validate and test on."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from unrolling.files.scans import read_scan
from unrolling.operators.modulation_transfer import Imagery, ModulationTransfer, ratio_of

MATLAB = ".mat"
BANDS, PAN = "I_MS", "I_PAN"  # arrays of a MATLAB file
FILES = ("ms", "pan")  # names of the TIFF files in a folder, without suffix
TRAINED, VALIDATED, TESTED = 0.48, 0.6, 0.7  # parts of the columns where these end, end, and begin


def is_scene(data: str | Path) -> bool:
    """Whether data are one scene: a MATLAB file, or a folder with ``ms.tif`` and ``pan.tif``."""
    path = Path(data)
    return path.suffix.lower() == MATLAB or (path.is_dir() and all(_tiff(path, name) is not None for name in FILES))


def _tiff(folder: Path, name: str) -> Path | None:
    return next(
        (folder / f"{name}{suffix}" for suffix in (".tif", ".tiff") if (folder / f"{name}{suffix}").is_file()), None
    )


def read_scene(data: str | Path) -> Imagery:
    """The bands and the panchromatic image of a MATLAB file (arrays ``I_MS`` and ``I_PAN``) or of a folder with
    ``ms.tif`` and ``pan.tif``, from 0 on, divided by the power of two above the largest value of both.

    Raises:
        ValueError: they are not there or cannot be read, do not fit, or are negative or not finite.
    """
    path = Path(data)
    if path.suffix.lower() == MATLAB:
        bands, pan = (read_scan(path, "image", array=name).values.float() for name in (BANDS, PAN))
    else:
        from unrolling.files.rasters import read_raster

        bands, pan = (read_raster(file).values for file in (_tiff(path, name) for name in FILES) if file is not None)
    scene = Imagery(bands.unsqueeze(0), pan.unsqueeze(0))
    try:
        ratio_of(scene)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    for values in scene:
        if not bool(torch.isfinite(values).all()) or float(values.min()) < 0:
            raise ValueError(f"{path} holds values that are negative or not finite, and is trained on as a whole")
    top = max(float(values.max()) for values in scene)
    unit = 2.0 ** max(0, int(top).bit_length()) if top >= 1 else 1.0
    return Imagery(scene.multispectral / unit, scene.panchromatic / unit)


def scene_by_part(data: str | Path, operator: ModulationTransfer) -> dict[str, dict[str, Tensor]]:
    """A scene's columns by part and name, (bands + 1, height, width): the bands, and last the panchromatic image,
    reduced to their resolution.

    The left 48 % are trained on, the next 12 % validated on; after a gap of 10 % the right 30 % are tested on.

    Raises:
        ValueError: as ``read_scene``; another ratio than the operator's, fewer than 100 columns.
    """
    scene = read_scene(data)
    ratio = ratio_of(scene)
    if ratio != operator.factor:
        raise ValueError(
            f"{data}: the panchromatic image has {ratio} times the bands' pixels along a side, and factor is "
            f"{operator.factor}; set factor={ratio}"
        )
    stack = torch.cat([scene.multispectral, operator(scene.panchromatic)], 1)[0]
    columns = stack.shape[-1]
    if columns < 100:
        raise ValueError(f"{data} has {columns} columns; at least 100 are divided")
    places = [round(part * columns / ratio) * ratio for part in (0.0, TRAINED, VALIDATED, TESTED)]
    name = Path(data).stem
    return {
        "train": {name: stack[..., : places[1]]},
        "validation": {name: stack[..., places[1] : places[2]]},
        "test": {name: stack[..., places[3] :]},
    }
