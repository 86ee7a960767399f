"""LISTA-CP: LISTA with coupled weights (Chen, Liu, Wang and Yin 2018; survey, box "Convergence and Optimality Analysis
of LISTA").
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from unrolling.systems.base import System, Tying
from unrolling.systems.sparse_coding import family
from unrolling.training.stages import Power

SYSTEM = System(
    name="sparse_coding/lista_cp",
    title="LISTA-CP",
    summary="sparse recovery at a linear rate: a matrix and a threshold per layer, W_t coupled to the encoder.",
    equations=(
        "x[t+1] = S_theta[t](x[t] + gamma[t] W[t] (y - A x[t])),    that is W_t = I - W_e A, which exact recovery "
        "asks of W_t in the limit\n"
        "W[t] starts at the analytic weights of ALISTA; gamma[t], a number that W[t] could hold itself, lets its "
        "scale be learned first."
    ),
    references=(family.CHEN,),
    home=Path(__file__).parent,
    recipes={
        "recovery": family.recipe(
            partial(family.analytic_parent, selective=False),
            Tying(untied=("encoder", "step_size", "threshold")),
            family.freed(1200, 800, 2e-2, 4e-4, supervision=Power(2.0), joint=Power(2.0)),
        )
    },
)
