"""How the pictures of the gallery look: set before each example, so that the scripts need say nothing of it."""

from __future__ import annotations

from typing import Any

# Okabe and Ito 2008: told apart by the colour-blind. The order is that in which examples draw: the network, its parent,
# another method, a limit.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
WIDTH, HEIGHT = 6.0, 4.0  # inches: text of 12 points is legible where a telephone shows the picture at 390 pixels


def apply(gallery_conf: Any, name: str) -> None:
    """For ``reset_modules`` of sphinx-gallery, after "matplotlib", which brings back matplotlib's own defaults."""
    import matplotlib as mpl
    from cycler import cycler

    mpl.rcParams.update(
        {
            "axes.axisbelow": True,
            "axes.grid": True,
            "axes.prop_cycle": cycler(color=COLOURS),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlesize": 12,
            "figure.dpi": 160,
            "figure.figsize": (WIDTH, HEIGHT),
            "font.size": 12,
            "grid.alpha": 0.25,
            "image.cmap": "gray",
            "image.interpolation": "nearest",
            "legend.fontsize": 10.5,
            "legend.framealpha": 0.85,
            "legend.edgecolor": "none",
            "lines.linewidth": 2.2,
            "savefig.dpi": 160,
        }
    )
