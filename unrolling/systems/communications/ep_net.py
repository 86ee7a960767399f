"""EPNet: expectation propagation for MIMO detection with a learned damping in each layer (Zhang, He, Li, Wen and Jin
2021).
"""

from __future__ import annotations

from unrolling.algorithms.messages.expectation_propagation import ExpectationPropagation
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.communications import _vectors
from unrolling.training.losses import MSE
from unrolling.training.stages import Cosine, Schedule, Stage


def schedule(depth: int) -> Schedule:
    return [Stage(400, rate=3e-2, batch=512, loss=MSE(), annealing=Cosine(0.02, 1e-2), clip=1.0)]


SYSTEM = System(
    name="communications/ep_net",
    title="EPNet",
    paradigm="hyperparameters",
    summary="symbols of many users from many antennas, nearly as well as can be, with one learned number in each "
    "layer: expectation propagation.",
    equations=(
        "Lambda = (1 - d[k]) (1 / p - 1 / h) + d[k] Lambda, gamma = (1 - d[k]) (x / p - t / h) + d[k] gamma;  x, p = "
        "mean and variance of s | t, h\n"
        "S = (G / sigma^2 + Diag(Lambda))^-1, mu = S (b / sigma^2 + gamma);  h = 1 / (1 / S_kk - Lambda), t = h (mu / "
        "S_kk - gamma)\n"
        "b = H^T y, G = H^T H; a step that would make Lambda negative is left out. Lambda = 1, gamma = 0 at first: t "
        "is the unbiased LMMSE estimate. d = 0.5 in all layers before training."
    ),
    references=("zhang2021meta", "cespedes2014expectation"),
    recipes={
        "detection": Recipe(
            parent=lambda task: ExpectationPropagation(task.levels, damping=0.5),
            tying=Tying(untied=("damping",)),
            depth=5,
            schedule=schedule,
            range=_vectors.ranges,
        )
    },
    apply={"detection": _vectors.detection()},
    not_exported={
        "detection": {"onnx": "it factorises a matrix in every layer, and ONNX has no Cholesky factorisation"}
    },
)
