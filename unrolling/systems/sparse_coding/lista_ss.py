"""LISTA-SS: LISTA with support selection (Chen, Liu, Wang and Yin 2018; survey, section IV-E)."""

from __future__ import annotations

from unrolling.algorithms.sparse.coupled import SelectiveGramISTA
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.sparse_coding._common import FIRST_THRESHOLD, grown, selection
from unrolling.tasks.sparse.recovery import Recovery


def parent(task: Recovery) -> SelectiveGramISTA:
    """ISTA with support selection."""
    return SelectiveGramISTA(task.dictionary, FIRST_THRESHOLD, selection=selection(task))


SYSTEM = System(
    name="sparse_coding/lista_ss",
    title="LISTA-SS",
    paradigm="objective",
    summary="LISTA with tied matrices, thresholds per layer and unit, and the surest entries unshrunk.",
    equations=(
        "x[t+1] = S_theta[t],p[t](W_e y + W_t x[t]),    S_theta,p: soft-thresholding, the p percent largest entries "
        "unshrunk\nW_e and W_t, one of each for all layers, start at A^T / L and I - A^T A / L, and are not coupled."
    ),
    references=("chen2018theoretical",),
    recipes={
        "recovery": Recipe(
            parent=parent,
            tying=Tying(tied=("encoder", "inhibition"), untied=("threshold",)),
            depth=16,
            schedule=grown(2000, 1e-3, {"threshold": 2e-2}, batch=128),
        )
    },
)
