"""Folders of pictures with a class for each pixel."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unrolling.files import pictures as pixels
from unrolling.files.pictures import opened

PARTS = ("train", "val", "test")


class LabelledPicture(NamedTuple):
    """A picture and the labels of its pixels."""

    name: str
    picture: Tensor  # (3, height, width) uint8
    labels: Tensor  # (height, width) uint8


def read_labels(path: str | Path) -> Tensor:
    """The values of a grey or palette picture of 8 bits as labels, (height, width) uint8.

    Raises:
        ValueError: another kind of file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; it is the labels of a picture")
    with opened(path) as file:
        if file is None or file.mode not in ("L", "P"):
            kind = "a TIFF file of more than 8 bits" if file is None else f"of the kind {file.mode}"
            raise ValueError(f"{path} is {kind}; labels are a grey or palette picture of 8 bits, a class each value")
        return torch.from_numpy(np.array(file, dtype=np.uint8))


def read_labelled_picture(picture: str | Path, labels: str | Path) -> LabelledPicture:
    """A picture and its labels.

    Raises:
        ValueError: their sizes differ; labels that are no grey or palette picture.
    """
    values, found = pixels.read(picture).pixels, read_labels(labels)
    if values.shape[-2:] != found.shape:
        raise ValueError(
            f"{labels} has {found.shape[0]} x {found.shape[1]} pixels and {picture} has {values.shape[-2]} x "
            f"{values.shape[-1]}: each pixel has a label"
        )
    levels = (255 * values).round().to(torch.uint8)
    return LabelledPicture(Path(picture).stem, levels.expand(3, -1, -1).contiguous(), found)


def read_labelled_pictures(folder: str | Path) -> dict[str, list[LabelledPicture]]:
    """The parts of a folder with ``train``, ``val`` and ``test``, each with ``images/NAME.png`` and
    ``labels/NAME.png``, in the order of names.

    Raises:
        ValueError: a part without pictures; a picture without labels.
    """
    found: dict[str, list[LabelledPicture]] = {}
    for part in PARTS:
        images = sorted(p for p in (Path(folder) / part / "images").glob("*") if p.suffix.lower() in pixels.SUFFIXES)
        if not images:
            raise ValueError(
                f"{Path(folder) / part / 'images'} has no pictures; a folder has train, val and test, each with "
                "images/NAME.png and labels/NAME.png"
            )
        found[part] = [read_labelled_picture(p, Path(folder) / part / "labels" / f"{p.stem}.png") for p in images]
    return found
