"""LAMP with piecewise linear shrinkages (Borgerding, Schniter and Rangan 2017)."""

from __future__ import annotations

from pathlib import Path

from unrolling.systems.base import System, Tying
from unrolling.systems.sparse_coding import family, messages

SYSTEM = System(
    name="sparse_coding/lamp_pwl",
    title="LAMP, piecewise linear",
    summary="sparse recovery by AMP with a learned piecewise linear shrinkage in each layer, which no prior is behind.",
    equations=(
        "v[t+1] = y - A x[t] + (n/m) <eta'[t]> v[t],  x[t+1] = eta[t](x[t] + B v[t+1]; tau = |v[t+1]| / sqrt(m))\n"
        "eta[t] is odd and has the slope s1 up to k1 tau, s2 up to k2 tau and s3 beyond, five learned numbers for "
        "each layer; B starts at A^T."
    ),
    references=(messages.BORGERDING, messages.DONOHO),
    home=Path(__file__).parent,
    recipes={
        "recovery": family.recipe(
            messages.amp(messages.piecewise_linear),
            Tying(tied=("encoder",), untied=("denoiser",)),
            messages.schedule(1000, 3e-2, {"encoder": 1e-4}),
            parent_name="AMP, told the prior",
            notes=messages.NOTES,
        )
    },
)
