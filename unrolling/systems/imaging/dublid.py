"""DUBLID: blind deblurring by half-quadratic splitting with learned filters (Li et al. 2020; survey, box "DUBLID"), in
the form its authors released.
"""

from __future__ import annotations

from pathlib import Path

from unrolling.algorithms.images.dublid import DUBLID
from unrolling.systems.base import System, Tying
from unrolling.systems.imaging.blind import LI, recipe
from unrolling.tasks.images.deblurring import Deblurring
from unrolling.training.stages import Cosine, Schedule, Stage

STEPS = 4000
ONCE = ("cascade", "initial_threshold", "final_threshold", "retrieval")
EACH = ("threshold", "coupling", "kernel_step", "kernel_threshold")
DEPTH = 10


def parent(task: Deblurring, *, channels: int = 16, layers: int = DEPTH) -> DUBLID:
    """Half-quadratic splitting with the patterns of the cosine transform as filters, ever more blurred ones in the
    earlier steps.
    """
    return DUBLID(channels, layers, colours=3 if task.colour else 1, start="derivatives")


def schedule(depth: int) -> Schedule:
    """All layers at once, on the image and the kernel."""
    numbers = (
        "threshold",
        "coupling",
        "kernel_step",
        "kernel_threshold",
        "retrieval",
        "initial_threshold",
        "final_threshold",
    )
    return [
        Stage(STEPS, rate=2e-3, rates=dict.fromkeys(numbers, 2e-2), batch=2, annealing=Cosine(0.02, 1e-2), clip=1.0)
    ]


SYSTEM = System(
    name="imaging/dublid",
    title="DUBLID",
    summary="photographs sharp again after an unknown motion of the camera, and the motion: ten layers of "
    "half-quadratic splitting with learned filters.",
    equations=(
        "g_i = F^-1[(zeta_i conj(k) f_i y + z_i) / (zeta_i |k|^2 + 1)],    z_i <- S_b[l](g_i),    y_i = f_i[l] * y, l "
        "= 0 ... L-1 (products in frequency)\nk' = F^-1[(tau sum_i conj(z_i) y_i + k) / (tau sum_i |z_i|^2 + 1)],    "
        "k <- [k' - 0.01 a max k']_+ / sum\nx = argmin 0.5 |y - k * x|^2 + sum_i (eta_i / 2) |f_i[L] * x - g_i|^2\n"
        "f[l]: L - l filters of 3 x 3 in a row, shared by the layers; at the start the cosine patterns, blurred. "
        "Zeta, b, tau, a in each layer."
    ),
    references=(LI,),
    home=Path(__file__).parent,
    recipes={"deblurring": recipe(parent, Tying(tied=ONCE, untied=EACH), schedule, steps=STEPS, batch=2)},
)
