"""LISTA-CPSS: coupled weights and support selection (Chen, Liu, Wang and Yin 2018; survey, section IV-E)."""

from __future__ import annotations

from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.sparse_coding._common import DENSER, analytic_parent, freed

SYSTEM = System(
    name="sparse_coding/lista_cpss",
    title="LISTA-CPSS",
    paradigm="objective",
    summary="sparse recovery at a linear rate: a matrix and a threshold per layer, the surest entries unshrunk.",
    equations=(
        "x[t+1] = S_theta[t],p[t](x[t] + gamma[t] W[t] (y - A x[t])),    S_theta,p: soft-thresholding, the p percent "
        "largest entries unshrunk\n"
        "W[t] starts at the analytic weights of ALISTA; gamma[t], a number that W[t] could hold itself, lets its "
        "scale be learned first.\np[t] = min(2.5 t, 15) without noise and min(1.2 t, 13) with it, for signals with a "
        "tenth of non-zeros."
    ),
    references=("chen2018theoretical",),
    recipes={
        "recovery": Recipe(
            parent=analytic_parent,
            tying=Tying(untied=("encoder", "step_size", "threshold")),
            depth=16,
            schedule=freed(2000, 300, 2e-2, 1e-4, denser=DENSER),
        )
    },
)
