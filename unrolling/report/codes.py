"""Sparse codes as stems."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray


@dataclass
class Code:
    """A code as stems."""

    caption: str
    svg: str


@dataclass
class CodeGroup:
    """Codes of one sample, drawn to one scale."""

    name: str
    codes: list[Code]


def code_groups(codes: Sequence[tuple[str, NDArray]]) -> list[CodeGroup]:
    """Stem plots, grouped by what stands before a colon in the caption; in a group the first is the target, ringed
    behind the others.
    """
    grouped: dict[str, list[tuple[str, NDArray]]] = {}
    for caption, code in codes:
        head, colon, tail = caption.partition(":")
        grouped.setdefault(head.strip() if colon else "", []).append(
            (tail.strip() if colon else caption, magnitudes(code).reshape(-1))
        )
    groups = []
    for name, members in grouped.items():
        finite = np.concatenate([c[np.isfinite(c)] for _, c in members])
        scale = float(np.abs(finite).max(initial=0)) or 1.0
        target = members[0][1] if name else None
        drawn = []
        for position, (caption, code) in enumerate(members):
            behind = target if position and target is not None and target.shape == code.shape else None
            label = f"{name}, {caption}" if name else caption
            drawn.append(
                Code(
                    caption,
                    stems(
                        code,
                        behind,
                        scale,
                        f"{label}: {np.count_nonzero(code):,} of {code.size:,} entries are not zero",
                    ),
                )
            )
        groups.append(CodeGroup(name, drawn))
    return groups


def stems(code: NDArray, target: NDArray | None, scale: float, description: str) -> str:
    """Entries as stems from a zero line; stretches to its box, so its strokes do not scale."""

    def heads(values: NDArray) -> list[tuple[float, float]]:
        return [
            ((k + 0.5) / values.size * 1000, 50 - 44 * float(values[k]) / scale)
            for k in np.flatnonzero(values)
            if math.isfinite(values[k])
        ]

    parts = [
        '<svg class="stems" viewBox="0 0 1000 100" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(description)}">'
    ]
    parts.append('<path class="axis" d="M0 50H1000"/>')
    if target is not None:
        dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in heads(target))
        parts.append(f'<path class="ring-out" d="{dots}"/><path class="ring-in" d="{dots}"/>')
    own = heads(code)
    kind = "estimate" if target is not None else "target"
    parts.append(f'<path class="stem {kind}" d="{"".join(f"M{x:.1f} 50V{y:.1f}" for x, y in own)}"/>')
    parts.append(f'<path class="head {kind}" d="{"".join(f"M{x:.1f} {y:.1f}h0" for x, y in own)}"/>')
    return "".join(parts) + "</svg>"


def magnitudes(value: NDArray) -> NDArray:
    """Real numbers in double precision: of complex ones their absolute values."""
    value = np.asarray(value)
    return np.abs(value) if np.iscomplexobj(value) else value.astype(np.float64)
