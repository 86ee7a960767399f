"""TiLISTA: one learned matrix for all layers, two numbers per layer (Liu, Chen, Wang and Yin 2019)."""

from __future__ import annotations

from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.sparse_coding._common import DENSER, analytic_parent, freed

SYSTEM = System(
    name="sparse_coding/tilista",
    title="TiLISTA",
    paradigm="objective",
    summary="sparse recovery with one learned matrix for all layers, a step size and a threshold per layer.",
    equations=(
        "x[t+1] = S_theta[t],p[t](x[t] + gamma[t] W (y - A x[t])),    S_theta,p: soft-thresholding, the p percent "
        "largest entries unshrunk\nW is learned and the same in all layers; it starts at the analytic weights of "
        "ALISTA."
    ),
    references=("liu2019alista", "chen2018theoretical"),
    recipes={
        "recovery": Recipe(
            parent=analytic_parent,
            tying=Tying(tied=("encoder",), untied=("step_size", "threshold")),
            depth=16,
            schedule=freed(2000, 400, 2e-2, 3e-4, denser=DENSER),
        )
    },
)
