"""LISTA-CP: LISTA with coupled weights (Chen, Liu, Wang and Yin 2018; survey, box "Convergence and Optimality Analysis
of LISTA").
"""

from __future__ import annotations

from functools import partial

from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.sparse_coding._common import analytic_parent, freed
from unrolling.training.stages import Power

SYSTEM = System(
    name="sparse_coding/lista_cp",
    title="LISTA-CP",
    paradigm="objective",
    summary="sparse recovery at a linear rate: a matrix and a threshold per layer, W_t coupled to the encoder.",
    equations=(
        "x[t+1] = S_theta[t](x[t] + gamma[t] W[t] (y - A x[t])),    that is W_t = I - W_e A, which exact recovery "
        "asks of W_t in the limit\n"
        "W[t] starts at the analytic weights of ALISTA; gamma[t], a number that W[t] could hold itself, lets its "
        "scale be learned first."
    ),
    references=("chen2018theoretical",),
    recipes={
        "recovery": Recipe(
            parent=partial(analytic_parent, selective=False),
            tying=Tying(untied=("encoder", "step_size", "threshold")),
            depth=16,
            schedule=freed(1200, 800, 2e-2, 4e-4, supervision=Power(2.0), joint=Power(2.0)),
        )
    },
)
