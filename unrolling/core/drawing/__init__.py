"""Drawings of networks as SVG, laid out here: no dependency, nothing to install."""

from unrolling.core.drawing.drawn import Drawing, Drawn, draw

__all__ = ["Drawing", "Drawn", "draw"]
