"""Convolutional ALISTA: analytic weights for a convolutional dictionary on whole images (Liu, Chen, Wang and Yin
2019).
"""

from __future__ import annotations

from unrolling.algorithms.sparse.convolutional import ConvolutionalISTA
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.sparse_coding._common import convolutional, on_pictures

SYSTEM = System(
    name="sparse_coding/conv_alista",
    title="Convolutional ALISTA",
    paradigm="hyperparameters",
    summary="whole photographs from few measurements with a fixed convolutional dictionary: a step size and a "
    "threshold per atom are all that is learned.",
    equations=(
        "z[t+1] = S_theta[t](z[t] + gamma[t] W (y - Phi D z[t])),    picture D z; D: the DCT of 8 x 8 pixels at every "
        "second pixel, a tight frame\n"
        "W = D^T Phi^T, fixed: the analytic weights, up to the scale of their rows, of a tight frame behind "
        "measurements with orthonormal rows."
    ),
    references=("liu2019alista", "sreter2018learned"),
    recipes={
        "photographs": Recipe(
            parent=convolutional(ConvolutionalISTA),
            tying=Tying(untied=("step_size", "threshold")),
            depth=6,
            schedule=on_pictures(1000, 3e-2),
        )
    },
)
