"""How wide text is, from a table of its own: a drawing is laid out before anybody knows the reader's fonts.

The widths are those of DejaVu Sans, the widest face that a reader without the faces of ``FAMILY`` is likely to have, so
that a line takes this room or less.
"""

from __future__ import annotations

import re

FAMILY = '"Helvetica Neue", Arial, "Liberation Sans", Roboto, "Segoe UI", "Noto Sans", sans-serif'
BOLD = 1.16  # of bold letters over regular ones, at most over a word

# Hundredths of the size of the type.
_BY_WIDTH = {
    30: "'ijlIJ",
    36: " ,./:;\\|ιf·’",
    40: "-t()[]!²³",
    50: 'r"*_`‖–',
    58: "szεζ“”?ckFLνξΓυφχ",
    62: "vxyPaoTYeγκλπτδθο",
    66: "bdghnpquESKηρσμαβψ0123456789${}ΞΣφ",
    70: "AVBRXZCΔΛ",
    82: "UHNDGOQ&ΠΩΘΦΨw",
    88: "#+<=>^~ω×−→≤≥≠M∞",
    100: "%mW@…⋮—",
}
_WIDTH = {letter: width / 100 for width, letters in _BY_WIDTH.items() for letter in letters}

_SPELLED = (
    "alpha beta gamma delta eps zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau phi chi psi omega "
    "Gamma Delta Theta Lambda Pi Sigma Phi Psi Omega"
)
_LETTERS = "αβγδεζηθικλμνξπρστφχψωΓΔΘΛΠΣΦΨΩ"
_GREEK: dict[str, str] = dict(zip(_SPELLED.split(), _LETTERS, strict=True))
_NAMES = re.compile(rf"(?<![A-Za-z])({'|'.join(sorted(_GREEK, key=len, reverse=True))})(?![A-Za-z])")


def greek(text: str) -> str:
    """``theta[t]`` -> ``θ[t]``: letters that plain text spells out."""
    return _NAMES.sub(lambda found: _GREEK[found[0]], text)


def width(text: str, size: float, bold: bool = False) -> float:
    """The room that a line takes at a size of type, in the same unit."""
    return sum(_WIDTH.get(letter, 1.0) for letter in text) * size * (BOLD if bold else 1.0)


def wrap(text: str, size: float, room: float, bold: bool = False) -> list[str]:
    """Lines that fit the room: broken at spaces, within a long word after a dot, an underscore or a slash, else
    anywhere.
    """
    lines = [""]
    for word in text.split():
        for k, piece in enumerate(_pieces(word, size, room, bold)):
            joined = lines[-1] + (" " if lines[-1] and k == 0 else "") + piece
            if lines[-1] and width(joined, size, bold) > room:
                lines.append(piece)
            else:
                lines[-1] = joined
    return [line for line in lines if line]


def _pieces(word: str, size: float, room: float, bold: bool) -> list[str]:
    """A word whole where it fits; in pieces that do, where it does not."""
    if width(word, size, bold) <= room:
        return [word]
    pieces = []
    for part in re.findall(r"[^._/]*[._/]|[^._/]+", word):
        piece = ""
        for letter in part:
            if piece and width(piece + letter, size, bold) > room:
                pieces.append(piece)
                piece = ""
            piece += letter
        pieces.append(piece)
    return pieces
