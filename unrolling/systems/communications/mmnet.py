"""MMNet: detection on a correlated channel by a network that is trained for it (Khani, Alizadeh, Hoydis and Fleming
2020).
"""

from __future__ import annotations

from unrolling.algorithms.detection.mmnet import FreeMatrix, MMNetLayer, ScaledAdjoint, fixed_oamp
from unrolling.core import Unrolled, unroll
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.communications import _vectors
from unrolling.tasks.communications.detection import Detection
from unrolling.training.fit import fit
from unrolling.training.losses import MSE
from unrolling.training.stages import Cosine, Power, Schedule, Stage

TYING = Tying(untied=("linear", "precision"))
DEPTH = 10
ONLINE = 400  # steps of a training on the spot


def parent(task: Detection) -> MMNetLayer:
    """A free matrix for a fixed channel, started at OAMP's at the middle of the SNRs; a multiple of H^T where each
    sample has a channel of its own.
    """
    channel = task.fixed_tensors().get("channel")
    streams = task.streams * (2 if task.modulation.complex else 1)
    if channel is None:
        return MMNetLayer(task.levels, ScaledAdjoint(task.levels), streams)
    variance = float(channel.square().sum()) / streams * 10 ** (-(task.low + task.high) / 20)
    return MMNetLayer(
        task.levels, FreeMatrix(fixed_oamp(channel[0], variance), complex=task.modulation.complex), streams
    )


def schedule(depth: int) -> Schedule:
    return [
        Stage(4000, rate=1e-2, batch=256, loss=MSE(), supervision=Power(2.0), annealing=Cosine(0.02, 1e-2), clip=1.0)
    ]


def adapt(task: Detection, seed: int) -> Unrolled:
    """A network for the channel of a task, trained in seconds: a tenth of the steps of weights that ship."""
    tying = TYING
    network = unroll(parent(task), DEPTH, tied=tying.tied, untied=tying.untied)
    stage = Stage(
        ONLINE, rate=1e-2, batch=128, loss=MSE(), supervision=Power(2.0), annealing=Cosine(0.02, 1e-2), clip=1.0
    )
    fit(network, task, [stage], seed=seed, validations=0, quiet=True)
    return network


SYSTEM = System(
    name="communications/mmnet",
    title="MMNet",
    paradigm="objective",
    summary="symbols of many users over one correlated channel: a linear step that is learned for it, and the "
    "posterior mean of a symbol.",
    equations=(
        "z = x + Theta[t] r,  r = y - H x;  x_k = E[s | z_k, tau^2 / theta_k[t]]\n"
        "tau^2 = (v^2 |I - Theta[t] H|_F^2 + sigma^2 |Theta[t]|_F^2) / K,  v^2 = (|r|^2 - N sigma^2) / |H|_F^2\n"
        "at the start Theta is the matrix of OAMP's first step and theta = 1. Weights are for one channel, and "
        "training is part of receiving: 4,000 steps take about a minute. For channels that change with each sample "
        "Theta = theta_1[t] H^T, theta_1 = 1 at the start."
    ),
    references=("khani2020adaptive", "he2020model"),
    recipes={
        "detection": Recipe(
            parent=parent,
            tying=TYING,
            depth=DEPTH,
            schedule=schedule,
            range=_vectors.ranges,
            options={
                "streams": 8,
                "antennas": 16,
                "modulation": "qpsk",
                "channel": "kronecker-fixed",
                "correlation": 0.6,
            },
        )
    },
    apply={"detection": _vectors.detection(adapt)},
)
