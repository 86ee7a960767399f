"""ALISTA: analytic weights, two learned numbers per layer (Liu, Chen, Wang and Yin 2019; survey, section IV-E)."""

from __future__ import annotations

from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.sparse_coding._common import DENSER, analytic_parent, grown

SYSTEM = System(
    name="sparse_coding/alista",
    title="ALISTA",
    paradigm="hyperparameters",
    summary="sparse recovery with analytic weights: a step size and a threshold per layer are all that is learned.",
    equations=(
        "x[t+1] = S_theta[t],p[t](x[t] + gamma[t] W (y - A x[t])),    S_theta,p: soft-thresholding, the p percent "
        "largest entries unshrunk\n"
        "W minimises |W A|_F^2 subject to w_i a_i = 1: w_i = (A A^T)^-1 a_i / (a_i^T (A A^T)^-1 a_i), in closed form "
        "and fixed."
    ),
    references=("liu2019alista", "chen2018theoretical"),
    recipes={
        "recovery": Recipe(
            parent=analytic_parent,
            tying=Tying(untied=("step_size", "threshold")),
            depth=16,
            schedule=grown(2000, 2e-2, {"threshold": 2e-2}, denser=DENSER),
        )
    },
)
