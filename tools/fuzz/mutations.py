"""What becomes of files on bad disks and in bad hands."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

NUMBERS = (0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 65536)
HEADER = 128  # bytes that matter most
KINDS = 12


def mutated(content: bytes, seed: int, others: Sequence[bytes] = ()) -> bytes:
    """The content with bits, bytes, numbers or pieces changed, lost, doubled, moved or taken from other files.

    Args:
        content: of a whole file.
        seed: of what is done to it.
        others: files that pieces may come from.
    """
    draw = random.Random(seed)
    if draw.random() < 0.01:
        return draw.choice((b"", content[:1], b"\0" * len(content), draw.randbytes(len(content))))
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 8))):
        if not changed:
            break
        place = draw.randrange(min(len(changed), HEADER) if draw.random() < 0.5 else len(changed))
        _change(changed, place, draw.randrange(KINDS), draw, others)
    return bytes(changed)


def _change(changed: bytearray, place: int, kind: int, draw: random.Random, others: Sequence[bytes]) -> None:
    length = draw.randrange(1, 64)
    if kind == 0:
        changed[place] ^= 1 << draw.randrange(8)
    elif kind == 1:
        changed[place] = draw.choice((0, 1, 127, 128, 255))
    elif kind == 2:  # a size
        changed[place : place + 4] = struct.pack(draw.choice("<>") + "I", draw.choice(NUMBERS))
    elif kind == 3:
        del changed[place : place + length]
    elif kind == 4:
        changed[place:place] = changed[place : place + length]
    elif kind == 5:
        del changed[place:]
    elif kind == 6:
        changed[place : place + 16] = draw.randbytes(16)
    elif kind == 7:
        changed[place : place + length] = bytes(len(changed[place : place + length]))
    elif kind == 8:  # two pieces change places
        other = draw.randrange(len(changed))
        first, second = sorted((place, other))
        length = min(length, second - first, len(changed) - second)
        changed[first : first + length], changed[second : second + length] = (
            changed[second : second + length],
            changed[first : first + length],
        )
    elif kind == 9:
        changed += draw.choice((b"\0" * length, draw.randbytes(length), changed[place:]))
    elif kind == 10 and others:  # the head of this and the tail of another
        other = draw.choice(others)
        changed[place:] = other[min(place, len(other)) :]
    else:  # letters and digits of headers that are text
        digits = [k for k in range(place, min(place + 400, len(changed))) if chr(changed[k]).isdigit()]
        if digits:
            changed[draw.choice(digits)] = ord(draw.choice("0123456789-.eE"))


def renamed(suffix: str, known: Sequence[str], seed: int) -> str:
    """A suffix: mostly the file's own, one time in twenty another's."""
    draw = random.Random(~seed)
    return draw.choice(list(known)) if draw.random() < 0.05 else suffix
