"""OAMP-Net: orthogonal AMP for MIMO detection with two learned numbers in each layer (He, Wen, Jin and Li 2018), and
with four (2020).
"""

from __future__ import annotations

from collections.abc import Callable

from unrolling.algorithms.messages.oamp import OAMP
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.communications import _vectors
from unrolling.training.losses import MSE
from unrolling.training.stages import Cosine, Schedule, Stage

NUMBERS = ("step_size", "variance_scale")
NOT_EXPORTED = {"detection": {"onnx": "it diagonalises the channel, and ONNX has no eigenvalue decomposition"}}


def recipe(learned: tuple[str, ...], steps: int) -> Recipe:
    """OAMP with these numbers learned in each layer."""
    return Recipe(
        parent=lambda task: OAMP(task.levels),
        tying=Tying(untied=learned),
        depth=10,
        schedule=schedule(steps),
        range=_vectors.ranges,
    )


def schedule(steps: int) -> Callable[[int], Schedule]:
    """All layers at once."""
    return lambda depth: [Stage(steps, rate=1e-2, batch=512, loss=MSE(), annealing=Cosine(0.02, 1e-2), clip=1.0)]


SYSTEM = System(
    name="communications/oamp_net",
    title="OAMP-Net",
    paradigm="hyperparameters",
    summary="symbols of many users from many antennas, with two learned numbers in each layer: orthogonal AMP.",
    equations=(
        "z = x + gamma[t] W r,  r = y - H x;  x = E[s | z, tau^2]\n"
        "v^2 = (|r|^2 - N sigma^2) / |H|_F^2;  W = K What / tr(What H), What = (H^T H + (sigma^2 / v^2) I)^-1 H^T\n"
        "tau^2 = (v^2 |I - theta[t] W H|_F^2 + theta[t]^2 sigma^2 |W|_F^2) / K;  gamma = theta = 1 at the start: OAMP"
    ),
    references=("he2018model", "he2020model", "ma2017orthogonal"),
    recipes={"detection": recipe(NUMBERS, 1500)},
    apply={"detection": _vectors.detection()},
    not_exported=NOT_EXPORTED,
    variants=(
        System(
            name="communications/oamp_net2",
            title="OAMP-Net2",
            paradigm="hyperparameters",
            summary="symbols of many users from many antennas, with four learned numbers in each layer: orthogonal AMP "
            "and its denoiser.",
            equations=(
                "as OAMP-Net, with x = phi[t] (E[s | z, tau^2] - xi[t] z); phi = 1, xi = 0 at the start.\n"
                "xi is what keeps the error of a denoiser uncorrelated with its input (a divergence of zero), phi "
                "scales what remains."
            ),
            references=("he2020model", "ma2017orthogonal"),
            recipes={"detection": recipe((*NUMBERS, "gain", "divergence"), 3000)},
            apply={"detection": _vectors.detection()},
            not_exported=NOT_EXPORTED,
        ),
    ),
)
