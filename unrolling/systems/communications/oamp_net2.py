"""OAMP-Net2: OAMP-Net with two more learned numbers in each layer, in its denoiser (He, Wen, Jin and Li 2020)."""

from __future__ import annotations

from pathlib import Path

from unrolling.algorithms.messages.oamp import OAMP
from unrolling.systems.base import System, Tying
from unrolling.systems.communications import baselines
from unrolling.training.losses import MSE
from unrolling.training.stages import Cosine, Schedule, Stage


def schedule(depth: int) -> Schedule:
    return [Stage(3000, rate=1e-2, batch=512, loss=MSE(), annealing=Cosine(0.02, 1e-2), clip=1.0)]


SYSTEM = System(
    name="communications/oamp_net2",
    title="OAMP-Net2",
    summary="symbols of many users from many antennas, with four learned numbers in each layer: orthogonal AMP and "
    "its denoiser.",
    equations=(
        "as OAMP-Net, with x = phi[t] (E[s | z, tau^2] - xi[t] z); phi = 1, xi = 0 at the start.\n"
        "xi is what keeps the error of a denoiser uncorrelated with its input (a divergence of zero), phi scales what "
        "remains."
    ),
    references=(baselines.HE_2020, baselines.MA_PING),
    home=Path(__file__).parent,
    recipes={
        "detection": baselines.detection_recipe(
            parent=lambda task: OAMP(task.levels),
            depth=10,
            tying=lambda task: Tying(untied=("step_size", "variance_scale", "gain", "divergence")),
            schedule=schedule,
            parent_name="OAMP",
            generic_steps=3000,
            generic_batch=512,
            not_exported={"onnx": "it diagonalises the channel, and ONNX has no eigenvalue decomposition"},
        )
    },
)
