"""LVAMP: VAMP with learned shrinkages (Borgerding, Schniter and Rangan 2017)."""

from __future__ import annotations

from pathlib import Path

from unrolling.systems.base import System, Tying
from unrolling.systems.sparse_coding import family, messages

SYSTEM = System(
    name="sparse_coding/lvamp",
    title="LVAMP",
    summary="sparse recovery near the Bayesian limit, for ill-conditioned dictionaries too: VAMP with a learned "
    "Bernoulli-Gaussian prior in each layer.",
    equations=(
        "linear stage, A = U S V^T: d = s^2 v2 / (s^2 v2 + sigma^2), z = n / sum(d), r1 = r2 + z V (d / s) (U^T y - S "
        "V^T r2), v1 = (z - 1) v2\nshrinkage: x = eta[t](r1; v1), a = <eta'[t]>, r2 = (x - a r1) / (1 - a), v2 = v1 a "
        "/ (1 - a)\neta[t]: the posterior mean of x ~ p N(0, s^2) + (1 - p) delta_0, p and s^2 learned for each "
        "layer; sigma^2 is fitted to each signal in each layer."
    ),
    references=(messages.BORGERDING, messages.RANGAN),
    home=Path(__file__).parent,
    recipes={
        "recovery": family.recipe(
            messages.vamp(),
            Tying(untied=("denoiser",)),
            messages.schedule(300, 5e-2),
            parent_name="VAMP, told nothing",
            notes=messages.NOTES,
        )
    },
)
