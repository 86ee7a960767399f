"""Photographs that come inside scikit-image and scikit-learn, split once and for all, or from a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unrolling._extras import extra

# Disjoint by photograph. Textures, microscopy and deep-sky pictures are photographs too, and are trained on.
TRAINING = ("china", "flower", "chelsea", "motorcycle", "coins", "brick", "gravel", "grass", "moon")
VALIDATION = ("coffee", "rocket")
TEST = ("astronaut", "camera")
COLOUR = ("immunohistochemistry",)  # further ones, for tasks on colours
Drawn = Mapping[str, Mapping[str, np.ndarray]]  # pictures in memory by part and name
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


def photograph(name: str, convert: Callable[[np.ndarray], Tensor] | None = None) -> Tensor:
    """A photograph of the packages as luma in [0, 1], (height, width); or what ``convert`` makes of it.

    Raises:
        ValueError: an unknown name.
        ImportError: scikit-image or scikit-learn is missing.
    """
    known = TRAINING + VALIDATION + TEST + COLOUR
    if name not in known:
        raise ValueError(f"no photograph {name!r}; there are {', '.join(known)}")
    if name in ("china", "flower"):
        with extra("a photograph of scikit-learn"):
            from sklearn.datasets import load_sample_image

        return (convert or luma)(np.asarray(load_sample_image(f"{name}.jpg")))
    with extra("a photograph of scikit-image"):
        import skimage.data

    picture = skimage.data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(skimage.data, name)()
    return (convert or luma)(np.asarray(picture))


def drawn(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth picture with texture, uint8: squares of 8 x 8 pixels and noise."""
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.uniform(60, 190, (height // 8 + 1, width // 8 + 1)), np.ones((8, 8)))[:height, :width]
    return (coarse + rng.normal(0, 12, (height, width))).clip(0, 255).astype(np.uint8)


def few_drawn() -> Drawn:
    """A drawn picture for each part, large enough to be blurred: for tests."""
    sizes = {"train": (104, 96), "validation": (104, 102), "test": (102, 110)}
    return {part: {f"{part}.png": drawn(*size, seed=80 + number)} for number, (part, size) in enumerate(sizes.items())}


def split(
    data: str | Path | Drawn | None,
    training: tuple[str, ...] = TRAINING,
    convert: Callable[[np.ndarray], Tensor] | None = None,
) -> dict[str, dict[str, Tensor]]:
    """Photographs by part (train, validation, test) and name: the packages', with those of a folder in their place.

    Args:
        data: None; or a folder whose sub-folders train, validation and test replace those parts; or a folder of test
            photographs; or pictures in memory by part and name, for all parts.
        training: which of the packages' photographs to train on.
        convert: (height, width[, channels]) to a tensor; ``luma`` by default.
    """
    if isinstance(data, Mapping):
        return {part: {name: (convert or luma)(p) for name, p in pictures.items()} for part, pictures in data.items()}
    parts = {"train": training, "validation": VALIDATION, "test": TEST}
    root = None if data is None else Path(data)
    own = {part: root / part for part in parts if root is not None and (root / part).is_dir()}
    if root is not None and not own:
        own = {"test": root}
    return {
        part: folder(own[part], convert) if part in own else {name: photograph(name, convert) for name in names}
        for part, names in parts.items()
    }


def luma(picture: np.ndarray) -> Tensor:
    """(height, width[, channels]) of any integer or float type to luma 0.2125 R + 0.7154 G + 0.0721 B in [0, 1]; alpha
    is dropped.
    """
    with extra("a photograph"):
        from skimage import color, util

    if picture.ndim not in (2, 3) or (picture.ndim == 3 and picture.shape[2] > 4):
        raise ValueError(
            f"a picture has two dimensions, or three of which the last are 1 to 4 channels; got shape {picture.shape}"
        )
    values = util.img_as_float32(picture)
    if not (values.min() >= 0 and values.max() <= 1):  # NaN fails too
        raise ValueError(
            "values must lie in [0, 1] (floats) or be non-negative (integers); they go from "
            f"{values.min():.4g} to {values.max():.4g}"
        )
    if values.ndim == 3:
        values = values[..., :3] if values.shape[-1] >= 3 else values[..., :1].repeat(3, axis=-1)
        values = color.rgb2gray(values)
    if values.ndim != 2:
        raise ValueError(f"a picture has two dimensions, or three with its channels; got shape {picture.shape}")
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def colours(picture: np.ndarray) -> Tensor:
    """(height, width[, channels]) of any integer or float type to (3, height, width) in [0, 1]; grey is repeated, alpha
    is dropped.

    Raises:
        ValueError: as for ``luma``.
    """
    with extra("a photograph"):
        from skimage import util

    luma(picture)  # whatever is no picture is refused in one place
    values = util.img_as_float32(picture)
    values = values[..., None] if values.ndim == 2 else values
    values = values[..., :3] if values.shape[-1] >= 3 else values[..., :1].repeat(3, axis=-1)
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1), dtype=np.float32))


def folder(path: str | Path, convert: Callable[[np.ndarray], Tensor] | None = None) -> dict[str, Tensor]:
    """All pictures of a folder and its sub-folders as luma, or what ``convert`` makes of them, by file name in order.

    Raises:
        ValueError: no folder, none in it, or one that cannot be read (its name is in the message).
    """
    root = Path(path)
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder")
    files = sorted(file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(f"{root} holds no picture ({', '.join(SUFFIXES)})")
    return {str(file.relative_to(root)): read(file, convert) for file in files}


def read(file: Path, convert: Callable[[np.ndarray], Tensor] | None = None) -> Tensor:
    """A picture from a file as luma, or what ``convert`` makes of it.

    Raises:
        ValueError: it cannot be read; its name is in the message.
    """
    with extra("reading pictures"):
        from skimage import io

    try:
        return (convert or luma)(np.asarray(io.imread(file)))
    except Exception as error:
        raise ValueError(f"{file} cannot be read as a picture: {error}") from error
