"""TNRD with larger filters: 48 of 7 x 7 pixels."""

from __future__ import annotations

from pathlib import Path

from unrolling.systems.base import System
from unrolling.systems.imaging.reaction_diffusion import CHEN, PERONA
from unrolling.systems.imaging.tnrd import EQUATIONS, recipe

SYSTEM = System(
    name="imaging/tnrd_7x7",
    title="TNRD, 7 x 7",
    summary="photographs without noise: as imaging/tnrd, with 48 filters of 7 x 7 pixels in every step; about three "
    "times the work.",
    equations=EQUATIONS,
    references=(CHEN, PERONA),
    home=Path(__file__).parent,
    recipes={"denoising": recipe(7, 20_000)},
)
