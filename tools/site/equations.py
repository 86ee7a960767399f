"""The equations of a ``SYSTEM``, plain text, as HTML with Greek letters, sub- and superscripts.

Nothing is interpreted beyond the spelling: ``W_e`` has a subscript, ``A^T`` a superscript, ``x[t+1]`` the number of the
layer in brackets above, ``theta`` is a letter. What is no spelling of a formula stays as it is written.
"""

from __future__ import annotations

import re
from html import escape

NAMES = (
    "alpha beta gamma delta epsilon eps zeta eta theta kappa lambda mu nu xi pi rho sigma tau phi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega"
)
GREEK = dict(zip(NAMES.split(), "αβγδεεζηθκλμνξπρστφχψωΓΔΘΛΞΠΣΦΨΩ", strict=True))
WORDS = {"sqrt": "√", "What": "Ŵ", **GREEK}
FUNCTIONS = {"max", "min", "argmin", "argmax", "log", "clip"}  # that may have a subscript
SIGNS = {"<-": "←", "->": "→", "...": "…", "'": "′", "<=": "≤", ">=": "≥"}
INDEX = r"\[[a-z](?:[+-]1)?\]"
# Of a subscript: k, theta, p, s', 1; a Greek letter takes its layer along, S_theta[t],p[t], another leaves it, K_i[t].
ATOM = rf"(?:(?:{'|'.join(GREEK)})(?:{INDEX})?(?:,[a-z]+(?:{INDEX})?)*|[A-Za-z]+[0-9]*'?|[0-9]+)"
TOKEN = re.compile(
    rf"""
    (?P<index>\[(?:[a-zA-Z0-9](?:[+-][0-9])?|:,\ [a-z])\])
  | _(?P<sub>\([^()]*(?:\([^()]*\))?[^()]*\)|\{{[^{{}}]*\}}|\+|{ATOM})
  | \^(?P<sup>\([^()]*\)|[+-]?[0-9]+|[A-Za-z]\b|\+)
  | (?P<sum>sum(?=_))
  | (?P<gap>\ \ +)
  | (?P<word>[A-Za-z]+[0-9]*)
  | (?P<sign><-|->|\.\.\.|<=|>=|')
  | (?P<spaced>\ (?:-|\.|\*|\(x\))\ )
  | (?P<other>.)
    """,
    re.VERBOSE,
)
SPACED = {" - ": " − ", " . ": " · ", " * ": " ∗ ", " (x) ": " ⊗ "}


def html(equations: str) -> str:
    """All lines, one below the other."""
    lines = [f"<p>{line_html(line)}</p>" for line in equations.splitlines() if line.strip()]
    return '<div class="equations">\n' + "\n".join(lines) + "\n</div>"


def line_html(line: str) -> str:
    """A line; ``x[t+1] = S_theta[t](W_e y)`` becomes x⁽ᵗ⁺¹⁾ = S with a subscript, and so on."""
    parts: list[str] = []
    symbol = False  # whether what stands before may have an index
    for found in TOKEN.finditer(line):
        kind, value = found.lastgroup or "other", found.group(found.lastgroup or 0)
        if kind == "index" and symbol:
            parts.append(f"<sup>({_inner(value[1:-1])})</sup>")
        elif kind == "sub" and symbol:
            parts.append(f"<sub>{_inner(value.removeprefix('{').removesuffix('}'))}</sub>")
        elif kind == "sup" and symbol:
            parts.append(f"<sup>{_inner(value)}</sup>")
        elif kind == "word":
            parts.append(_word(value))
            symbol = len(value.rstrip("0123456789")) == 1 or value in WORDS or value in FUNCTIONS or value in ("STFT",)
            continue
        elif kind == "sum":
            parts.append("Σ")
            symbol = True
            continue
        elif kind == "gap":
            parts.append(" &emsp; ")
        elif kind == "sign":
            parts.append("’" if value == "'" and not symbol else SIGNS[value])
            symbol = symbol and value == "'"
            continue
        elif kind == "spaced":
            parts.append(SPACED[value])
        else:
            parts.append(escape(_minus(found.group(), line, found.start())))
            symbol = found.group() in ")|]>"
            continue
        symbol = kind in ("index", "sub", "sup")
    return "".join(parts).replace("&lt;η", "⟨η").replace("]&gt;", "]⟩").replace("</sup>&gt; ", "</sup>⟩ ")


def symbol_html(symbol: str) -> str:
    """A symbol by itself: ``W_e``, ``theta``."""
    return line_html(symbol)


def _word(value: str) -> str:
    letters = value.rstrip("0123456789")
    digits = value[len(letters) :]
    if value in WORDS:
        return WORDS[value]
    if digits and (len(letters) == 1 or letters in GREEK):
        return f"{WORDS.get(letters, letters)}<sub>{digits}</sub>"
    return escape(value)


def _inner(value: str) -> str:
    """What stands in a subscript or superscript."""
    return line_html(value).replace("-", "−") if value not in ("T", "H") else value


def _minus(character: str, line: str, place: int) -> str:
    """A minus sign before a number or a symbol: ``-310``, ``(t-1)``, ``^-1``; a hyphen stays."""
    if character != "-":
        return character
    before, after = line[place - 1 : place], line[place + 1 : place + 2]
    return "−" if (before in ("", " ", "(", "[", "=", "^") and after.strip()) else character
