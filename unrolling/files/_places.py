"""Where an image lies on the Earth: the tags of GeoTIFF (OGC 19-008), and what becomes of them with smaller pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

SCALE, TIES, MATRIX, KEYS, DOUBLES, TEXTS, METADATA, NODATA = 33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113
KEPT = (SCALE, TIES, MATRIX, KEYS, DOUBLES, TEXTS, METADATA, NODATA)
RASTER_TYPE, POINT = 1025, 2  # the key of what a raster coordinate means, and: the middle of a pixel


class Tag(NamedTuple):
    """An entry of a TIFF file."""

    code: int
    dtype: int  # of its values, as TIFF numbers them
    value: tuple[float, ...] | str | bytes


def number_of(tags: Sequence[Tag]) -> float | None:
    """The number that stands for no data; None where there is none."""
    text = next((tag.value for tag in tags if tag.code == NODATA), None)
    if text is None:
        return None
    words = text.decode("latin-1") if isinstance(text, bytes) else str(text)
    try:
        return float(words.strip().strip("\0"))
    except ValueError:
        return None


def is_point(tags: Sequence[Tag]) -> bool:
    """Whether coordinates are those of the middles of pixels, and not of their corners."""
    keys = next((tag.value for tag in tags if tag.code == KEYS), ())
    numbers = [keys[place : place + 4] for place in range(4, len(keys), 4)] if isinstance(keys, tuple) else []
    return any(entry[0] == RASTER_TYPE and entry[1] == 0 and entry[3] == POINT for entry in numbers if len(entry) == 4)


def finer(tags: Sequence[Tag], factor: int) -> tuple[Tag, ...]:
    """The same place for pixels that are ``factor`` times smaller: the corner of the first pixel stays where it is."""
    shift = (factor - 1) / 2 if is_point(tags) else 0.0  # of the middle of the first pixel, in small ones
    found = []
    for tag in tags:
        if isinstance(tag.value, (str, bytes)):
            found.append(tag)
        elif tag.code == SCALE and len(tag.value) >= 2:
            found.append(tag._replace(value=(tag.value[0] / factor, tag.value[1] / factor, *tag.value[2:])))
        elif tag.code == TIES:
            ties = [tag.value[place : place + 6] for place in range(0, len(tag.value), 6)]
            moved = [(factor * t[0] + shift, factor * t[1] + shift, *t[2:]) for t in ties if len(t) == 6]
            found.append(tag._replace(value=tuple(number for tie in moved for number in tie)))
        elif tag.code == MATRIX and len(tag.value) == 16:
            m = list(tag.value)
            for row in range(0, 16, 4):
                m[row], m[row + 1] = m[row] / factor, m[row + 1] / factor
                m[row + 3] -= shift * (m[row] + m[row + 1])
            found.append(tag._replace(value=tuple(m)))
        else:
            found.append(tag)
    return tuple(found)


def corner(tags: Sequence[Tag]) -> tuple[float, float, float, float] | None:
    """x and y of the outer corner of the first pixel, and the sides of a pixel, where scale and tie point or a matrix
    tell them; None elsewhere.
    """
    held = {tag.code: tag.value for tag in tags if isinstance(tag.value, tuple)}
    half = 0.5 if is_point(tags) else 0.0
    if SCALE in held and TIES in held and len(held[SCALE]) >= 2 and len(held[TIES]) >= 6:
        (sx, sy), (i, j, _, x, y, _) = held[SCALE][:2], held[TIES][:6]
        return x - (i + half) * sx, y + (j + half) * sy, sx, sy
    if MATRIX in held and len(held[MATRIX]) == 16:
        m = held[MATRIX]
        x, y = m[3] - half * (m[0] + m[1]), m[7] - half * (m[4] + m[5])
        return x, y, math.hypot(m[0], m[4]), math.hypot(m[1], m[5])
    return None
