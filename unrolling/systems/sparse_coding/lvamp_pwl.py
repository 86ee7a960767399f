"""LVAMP with piecewise linear shrinkages (Borgerding, Schniter and Rangan 2017)."""

from __future__ import annotations

from pathlib import Path

from unrolling.systems.base import System, Tying
from unrolling.systems.sparse_coding import family, messages

SYSTEM = System(
    name="sparse_coding/lvamp_pwl",
    title="LVAMP, piecewise linear",
    summary="sparse recovery by VAMP with a learned piecewise linear shrinkage in each layer, with no prior behind it.",
    equations=(
        "the linear stage of LVAMP, and x = eta[t](r1; v1) with eta[t] odd, of slope s1 up to k1 sqrt(v1), s2 up to "
        "k2 sqrt(v1) and s3 beyond,\nfive learned numbers for each layer; sigma^2 is fitted to each signal in each "
        "layer."
    ),
    references=(messages.BORGERDING, messages.RANGAN),
    home=Path(__file__).parent,
    recipes={
        "recovery": family.recipe(
            messages.vamp(messages.piecewise_linear),
            Tying(untied=("denoiser",)),
            messages.schedule(1000, 3e-2),
            parent_name="VAMP, told nothing",
            notes=messages.NOTES,
        )
    },
)
