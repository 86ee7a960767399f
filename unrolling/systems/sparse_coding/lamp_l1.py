"""LAMP with soft thresholds (Borgerding, Schniter and Rangan 2017)."""

from __future__ import annotations

from pathlib import Path

from unrolling.prox.denoisers import SoftDenoiser
from unrolling.systems.base import System, Tying
from unrolling.systems.sparse_coding import family, messages

SYSTEM = System(
    name="sparse_coding/lamp_l1",
    title="LAMP-l1",
    summary="sparse recovery by AMP with learned soft thresholds: ISTA with an Onsager term.",
    equations=(
        "v[t+1] = y - A x[t] + beta[t] (|x[t]|_0 / m) v[t],  x[t+1] = beta[t] S_theta(x[t] + B v[t+1]),  theta = "
        "alpha[t] |v[t+1]| / sqrt(m)\n"
        "alpha and beta, a number each, are learned for each layer; B, the same in all, starts at A^T. At the start "
        "alpha = 1.14, beta = 1: AMP."
    ),
    references=(messages.BORGERDING, messages.DONOHO),
    home=Path(__file__).parent,
    recipes={
        "recovery": family.recipe(
            messages.amp(lambda: SoftDenoiser(1.14)),
            Tying(tied=("encoder",), untied=("denoiser",)),
            messages.schedule(1000, 3e-2, {"encoder": 3e-4}),
            parent_name="AMP, told the prior",
            notes=messages.NOTES,
        )
    },
)
