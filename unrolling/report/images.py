"""Pictures as data URIs: 8-bit grey PNG."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unrolling._extras import extra

Grey = NDArray[np.uint8]

GAP = 255  # the level that separates atoms; drawn transparent


def grey(image: NDArray) -> Grey:
    """(height, width) in [0, 1] as 8-bit levels; what is outside is clipped, what is not a number is black."""
    return np.rint(np.nan_to_num(np.clip(np.asarray(image, dtype=np.float64), 0, 1)) * 255).astype(np.uint8)


def png(image: Grey, *, transparent: int | None = None) -> bytes:
    """A grey PNG."""
    with extra("a page with pictures"):
        from PIL import Image

    buffer = io.BytesIO()
    options = {} if transparent is None else {"transparency": transparent}
    Image.fromarray(image).save(buffer, "png", optimize=True, **options)
    return buffer.getvalue()


def data_uri(content: bytes) -> str:
    """A PNG for the ``src`` of an image."""
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")


def png_within(images: Sequence[Grey], limit: int) -> tuple[list[bytes], float]:
    """PNGs of together at most ``limit`` bytes, and the factor by which all sides were reduced for it: 1 when they fit
    as they are.
    """
    with extra("a page with pictures"):
        from PIL import Image

    scale, encoded = 1.0, [png(image) for image in images]
    while sum(map(len, encoded)) > limit and scale > 0.05:
        scale *= min(0.9, math.sqrt(limit / sum(map(len, encoded))))
        smaller = [(max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))) for image in images]
        encoded = [
            png(np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)))
            for image, size in zip(images, smaller, strict=True)
        ]
    return encoded, scale


def busiest_window(image: NDArray, side: int) -> tuple[int, int]:
    """Top and left of the square with the largest sum of squared differences between neighbours."""
    image = np.nan_to_num(np.asarray(image, dtype=np.float64))
    energy = np.zeros_like(image)
    energy[1:] += np.diff(image, axis=0) ** 2
    energy[:, 1:] += np.diff(image, axis=1) ** 2
    table = np.pad(energy, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    sums = table[side:, side:] - table[:-side, side:] - table[side:, :-side] + table[:-side, :-side]
    top, left = np.unravel_index(int(np.argmax(sums)), sums.shape)
    return int(top), int(left)


def mosaic(atoms: NDArray, limit: int = 400) -> Grey:
    """Atoms (count, height, width) in a near-square grid: each scaled to its own largest magnitude around mid-grey,
    ``GAP`` between them.
    """
    atoms = np.nan_to_num(np.asarray(atoms, dtype=np.float64))[:limit]
    count, height, width = atoms.shape
    columns = math.ceil(math.sqrt(count * height / width))
    rows = math.ceil(count / columns)
    sheet = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), GAP, dtype=np.uint8)
    for k, atom in enumerate(atoms):
        top, left = k // columns * (height + 1), k % columns * (width + 1)
        sheet[top : top + height, left : left + width] = np.rint(
            127 + 127 * atom / max(np.abs(atom).max(initial=0), 1e-300)
        )
    return sheet
