"""Convolutional LISTA: one learned convolutional dictionary for whole images (Sreter and Giryes 2018)."""

from __future__ import annotations

from unrolling.algorithms import SynthesisISTA
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.sparse_coding._common import convolutional, on_pictures

SYSTEM = System(
    name="sparse_coding/conv_lista",
    title="Convolutional LISTA",
    paradigm="objective",
    summary="whole photographs from few measurements: one learned convolutional dictionary and encoder, thresholds "
    "per layer and atom.",
    equations=(
        "z[t+1] = S_theta[t](z[t] + E Phi^T (y - Phi D z[t])),    picture D z; D: atoms of 8 x 8 pixels at every "
        "second pixel, across the whole image\n"
        "D and E are learned, the same in all layers; they start at the DCT as a tight frame and its adjoint, theta "
        "at lambda: ISTA."
    ),
    references=("sreter2018learned", "liu2019alista"),
    recipes={
        "photographs": Recipe(
            parent=convolutional(SynthesisISTA),
            tying=Tying(tied=("dictionary", "encoder"), untied=("threshold",)),
            depth=6,
            schedule=on_pictures(2500, 2e-3),
        )
    },
)
