"""Gated LISTA: coupled weights, an estimate that is enlarged before each step and steps that are lengthened (Wu, Guo,
Li and Zhang 2020).
"""

from __future__ import annotations

from unrolling.algorithms.sparse.analytic import analytic_weights
from unrolling.algorithms.sparse.dictionary import lipschitz
from unrolling.algorithms.sparse.gated import GatedISTA
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.sparse_coding._common import FIRST_THRESHOLD, freed
from unrolling.tasks.sparse.recovery import Recovery


def parent(task: Recovery) -> GatedISTA:
    """ISTA with analytic weights, its gates shut. Gains do what support selection does for the other systems, and
    nothing is selected.
    """
    dictionary = task.dictionary
    return GatedISTA(
        dictionary,
        FIRST_THRESHOLD * lipschitz(dictionary),
        encoder=analytic_weights(dictionary),
        prox=task.prox,
    )


SYSTEM = System(
    name="sparse_coding/gated_lista",
    title="Gated LISTA",
    paradigm="objective",
    summary="sparse recovery with a matrix and gates per layer: small entries are enlarged before a step, and the "
    "step is lengthened.",
    equations=(
        "g = x[t] (1 + mu[t] 0.2 / (0.001 + nu[t] |x[t]|)),    x' = S_theta[t](g + gamma[t] W[t] (y - A g))\n"
        "x[t+1] = x' + o[t] theta[t] (x' - x[t]) / (|x' - x[t]| + 0.1)\n"
        "W[t] starts at the analytic weights of ALISTA; mu = o = 0 at the start, where it is LISTA-CP."
    ),
    references=("wu2020sparse", "chen2018theoretical"),
    recipes={
        "recovery": Recipe(
            parent=parent,
            tying=Tying(untied=("encoder", "step_size", "threshold", "gain", "sharpness", "overshoot")),
            depth=16,
            schedule=freed(2000, 300, 2e-2, 1e-4),
        )
    },
)
