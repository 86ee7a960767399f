"""OAMP-Net: orthogonal AMP for MIMO detection with two learned numbers in each layer (He, Wen, Jin and Li 2018,
2020).
"""

from __future__ import annotations

from pathlib import Path

from unrolling.algorithms.messages.oamp import OAMP
from unrolling.systems.base import Reference, System, Tying
from unrolling.systems.communications import baselines
from unrolling.training.losses import MSE
from unrolling.training.stages import Cosine, Schedule, Stage

HE_2018 = Reference(
    "He, H., Wen, C.-K., Jin, S. and Li, G. Y.",
    "A model-driven deep learning network for MIMO detection",
    "IEEE GlobalSIP",
    2018,
    "10.1109/GlobalSIP.2018.8646357",
)


def schedule(depth: int) -> Schedule:
    return [Stage(1500, rate=1e-2, batch=512, loss=MSE(), annealing=Cosine(0.02, 1e-2), clip=1.0)]


SYSTEM = System(
    name="communications/oamp_net",
    title="OAMP-Net",
    summary="symbols of many users from many antennas, with two learned numbers in each layer: orthogonal AMP.",
    equations=(
        "z = x + gamma[t] W r,  r = y - H x;  x = E[s | z, tau^2]\n"
        "v^2 = (|r|^2 - N sigma^2) / |H|_F^2;  W = K What / tr(What H), What = (H^T H + (sigma^2 / v^2) I)^-1 H^T\n"
        "tau^2 = (v^2 |I - theta[t] W H|_F^2 + theta[t]^2 sigma^2 |W|_F^2) / K;  gamma = theta = 1 at the start: OAMP"
    ),
    references=(HE_2018, baselines.HE_2020, baselines.MA_PING),
    home=Path(__file__).parent,
    recipes={
        "detection": baselines.detection_recipe(
            parent=lambda task: OAMP(task.levels),
            depth=10,
            tying=lambda task: Tying(untied=("step_size", "variance_scale")),
            schedule=schedule,
            parent_name="OAMP",
            generic_steps=1500,
            generic_batch=512,
            not_exported={"onnx": "it diagonalises the channel, and ONNX has no eigenvalue decomposition"},
        )
    },
)
