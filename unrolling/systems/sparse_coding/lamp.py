"""LAMP: AMP with learned shrinkages (Borgerding, Schniter and Rangan 2017)."""

from __future__ import annotations

from pathlib import Path

from unrolling.systems.base import System, Tying
from unrolling.systems.sparse_coding import family, messages

SYSTEM = System(
    name="sparse_coding/lamp",
    title="LAMP",
    summary="sparse recovery near the Bayesian limit: AMP with a learned Bernoulli-Gaussian prior in each layer.",
    equations=(
        "v[t+1] = y - A x[t] + (n/m) <eta'[t]> v[t],  x[t+1] = eta[t](x[t] + B v[t+1]; tau^2 = |v[t+1]|^2 / m)\n"
        "eta[t]: the posterior mean of x ~ p N(0, s^2) + (1 - p) delta_0 in noise of variance tau^2, p and s^2 "
        "learned for each layer; B, the same in all\nlayers, starts at A^T."
    ),
    references=(messages.BORGERDING, messages.DONOHO),
    home=Path(__file__).parent,
    recipes={
        "recovery": family.recipe(
            messages.amp(messages.bernoulli_gaussian),
            Tying(tied=("encoder",), untied=("denoiser",)),
            messages.schedule(600, 5e-2, {"encoder": 1e-4}),
            parent_name="AMP, told the prior",
            notes=messages.NOTES,
        )
    },
)
