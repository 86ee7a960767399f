"""What can be drawn, and the drawing."""

from __future__ import annotations

import re
from typing import Any

from unrolling.core.drawing.blocks import describe
from unrolling.core.drawing.svg import picture


class Drawing(str):
    """An SVG drawing as text; a notebook shows it. ``Path("network.svg").write_text(drawing)`` keeps it."""

    __slots__ = ()

    def _repr_svg_(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        found = re.search(r"<title[^>]*>(.*?)</title>.*?<desc[^>]*>(.*?\.)", self)
        size = re.search(r'viewBox="0 0 (\d+) (\d+)"', self)
        words = f"{found[1]}: {found[2]}" if found else "?"
        return f"<Drawing of {words}{f' {size[1]} x {size[2]}' if size else ''}>"


def draw(network: Any, data: Any = None, title: str = "") -> Drawing:
    """A drawing of a network: its layers, what of them is learned and what is fixed, what all share and what each has
    for itself, with names, sizes and numbers.

    It fits a column of 390 pixels, follows the reader's light or dark colours, and says itself to a screen reader. Of
    many layers the first two and the last are drawn.

    Args:
        network: an unrolled network, an equilibrium, a safeguarded or deployed network, an iteration; of any other
            module its sub-modules are drawn.
        data: what it is called with, a few samples: then the sizes of data, problem, state and estimate are drawn too,
            and sub-modules of other modules stand in the order in which they are called.
        title: above the drawing; by default the name of the algorithm.

    Raises:
        TypeError: no network.
    """
    chain = describe(network, data)
    chain.title = title or chain.title
    return Drawing(picture(chain))


class Drawn:
    """A network with a drawing."""

    def draw(self, data: Any = None, title: str = "") -> Drawing:
        """A drawing of the network, an SVG that notebooks show; arguments as for ``unrolling.core.draw``."""
        return draw(self, data, title)
