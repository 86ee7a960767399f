"""Pictures as data URIs: 8-bit grey PNG."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Grey = NDArray[np.uint8]

GAP = 255  # the level that separates atoms; drawn transparent


def grey(image: NDArray) -> Grey:
    """(height, width) in [0, 1] as 8-bit levels; what is outside is clipped, what is not a number is black."""
    return np.rint(np.nan_to_num(np.clip(np.asarray(image, dtype=np.float64), 0, 1)) * 255).astype(np.uint8)


def png(image: Grey, *, transparent: int | None = None) -> bytes:
    """A grey PNG: each row filtered as makes its numbers smallest, then deflated."""
    height, width = image.shape
    levels = np.pad(image.astype(np.int16), ((1, 0), (1, 0)))
    here, left, above, corner = levels[1:, 1:], levels[1:, :-1], levels[:-1, 1:], levels[:-1, :-1]
    # None, Sub, Up, Average, Paeth of the PNG specification, section 9.
    guesses = [np.zeros_like(here), left, above, (left + above) // 2, _paeth(left, above, corner)]
    filtered = np.stack([(here - guess).astype(np.uint8) for guess in guesses])
    cost = np.abs(filtered.astype(np.int8).astype(np.int32)).sum(2)
    best = cost.argmin(0)
    rows = np.concatenate([best[:, None].astype(np.uint8), filtered[best, np.arange(height)]], axis=1)
    parts = [_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))]
    parts += [] if transparent is None else [_chunk(b"tRNS", struct.pack(">H", transparent))]
    parts += [_chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _paeth(left: NDArray, above: NDArray, corner: NDArray) -> NDArray:
    """Whichever of the three is nearest to left + above - corner."""
    near_left, near_above, near_corner = (
        np.abs(above - corner),
        np.abs(left - corner),
        np.abs(left + above - 2 * corner),
    )
    first = (near_left <= near_above) & (near_left <= near_corner)
    return np.where(first, left, np.where(near_above <= near_corner, above, corner))


def _chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def _smaller(image: Grey, width: int, height: int) -> Grey:
    """Reduced by bicubic interpolation without aliasing."""
    levels = torch.from_numpy(image.astype(np.float32))[None, None]
    found = nn.functional.interpolate(levels, (height, width), mode="bicubic", antialias=True, align_corners=False)
    return found[0, 0].clamp(0, 255).round().to(torch.uint8).numpy()


def data_uri(content: bytes) -> str:
    """A PNG for the ``src`` of an image."""
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")


def png_within(images: Sequence[Grey], limit: int) -> tuple[list[bytes], float]:
    """PNGs of together at most ``limit`` bytes, and the factor by which all sides were reduced for it: 1 when they fit
    as they are.
    """
    scale, encoded = 1.0, [png(image) for image in images]
    while sum(map(len, encoded)) > limit and scale > 0.05:
        scale *= min(0.9, math.sqrt(limit / sum(map(len, encoded))))
        sizes = [(max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))) for image in images]
        encoded = [png(_smaller(image, *size)) for image, size in zip(images, sizes, strict=True)]
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
