"""CORONA: blood and tissue of contrast ultrasound taken apart by unrolled robust principal component analysis (Solomon
et al. 2020; survey, box "Convolutional Robust Principal Component Analysis" and Table II).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from unrolling.algorithms.splitting.corona import CORONA
from unrolling.core import Unrolled, unroll
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.medical._movies import application, ranges
from unrolling.systems.medical._paradigms import VARIANTS
from unrolling.tasks.medical.clutter import Clutter
from unrolling.training.stages import Cosine, Schedule, Stage

DEPTH, WIDE = 10, 3  # layers; those with kernels of 5 x 5, the others have 3 x 3
WEIGHTS = (6.0, 0.75)  # lambda1, lambda2 of the parent, in units of a movie's root mean square
KERNELS = ("low_rank_kernels", "sparse_kernels", "low_rank_biases", "sparse_biases")
THRESHOLDS = ("low_rank_threshold", "sparse_threshold")
TYING = Tying(untied=(*KERNELS, *THRESHOLDS))
REFERENCES = ("solomon2020deep", "monga2021algorithm")

NOT_EXPORTED = {
    "clutter": {"onnx": "ONNX has no eigenvalues, which singular values are thresholded with (aten::_linalg_eigh)"}
}


def parent(task: Clutter, *, form: Any = "survey", size: tuple[int, int, int] = (5, 5, 1)) -> CORONA:
    """A step of ISTA for robust principal component analysis, movies divided by their root mean square."""
    return CORONA(*WEIGHTS, size=size, form=form, normalise=True)


def build(task: Clutter, depth: int, *, form: Any = "survey") -> Unrolled:
    """Layers with kernels of 5 x 5 pixels, then of 3 x 3."""
    sizes = [(5, 5, 1) if number < WIDE else (3, 3, 1) for number in range(depth)]
    each = [unroll(parent(task, form=form, size=size), 1, untied=TYING.untied) for size in sizes]
    first = each[0]
    return Unrolled(first.parent, [network.layers[0] for network in each], (), first.untied, first.gradient)


def schedule(depth: int, steps: int = 1600) -> Schedule:
    """All layers at once, on both parts."""
    return [
        Stage(
            steps,
            rate=3e-3,
            rates=dict.fromkeys(THRESHOLDS, 1e-2),
            batch=4,
            repeat=2,
            annealing=Cosine(0.02, 1e-2),
            clip=1.0,
        )
    ]


SYSTEM = System(
    name="medical/corona",
    title="CORONA",
    paradigm="objective",
    summary="blood without the tissue from a movie of contrast ultrasound: ten steps of robust principal component "
    "analysis with learned convolutions.",
    equations=(
        "L <- T_{t1[l]}{P1[l] * D + P5[l] * L + P3[l] * S},    S <- S_{t2[l]}{P2[l] * D + P4[l] * L + P6[l] * S},    "
        "l = 1 ... 10;    L = S = 0 at the start\n"
        "T shrinks singular values, S_t the row of each pixel by its norm. P: complex convolutions, 5 x 5 pixels in "
        "the first three layers, then 3 x 3; 1,796 numbers in all.\n"
        "At the start P1 = P2 = P5 = P6 = delta / 2, P3 = P4 = -delta / 2: ISTA for 0.5 |D - L - S|^2 + lambda1 |L|_* "
        "+ lambda2 |S|_{1,2}, survey (16)-(18)."
    ),
    references=REFERENCES,
    recipes={"clutter": Recipe(parent=parent, tying=TYING, depth=DEPTH, schedule=schedule, build=build, range=ranges)},
    apply={"clutter": application()},
    not_exported=NOT_EXPORTED,
    variants=(
        System(
            name="medical/corona_released",
            title="CORONA, the released form",
            paradigm="objective",
            summary="as medical/corona, with the thresholds of its authors' program: parts of the largest singular "
            "value, and of the mean energy.",
            equations=(
                "L <- T{P1[l] * D + P5[l] * L + P3[l] * S},    S <- G{P2[l] * D + P4[l] * L + P6[l] * S}\n"
                "T: (s - t1[l] s_max)_+ of the singular values s of the real matrix (Re, Im), t1 in [0, 0.4], 0.2 at "
                "the start; G: x (1 - t2[l] m / |x|^2)_+ of each entry, m the mean of |x|^2, t2 in [0, 1.8], 0.9 at "
                "the start."
            ),
            references=REFERENCES,
            recipes={
                "clutter": Recipe(
                    parent=partial(parent, form="released"),
                    tying=TYING,
                    depth=DEPTH,
                    schedule=partial(schedule, steps=3000),
                    build=partial(build, form="released"),
                    range=ranges,
                )
            },
            apply={"clutter": application()},
            not_exported=NOT_EXPORTED,
        ),
        *VARIANTS,
    ),
)
