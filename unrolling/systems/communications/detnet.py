"""DetNet: projected gradient for MIMO detection with a small network in each step (Samuel, Diskin and Wiesel 2017,
2019; survey, section V-B).
"""

from __future__ import annotations

from unrolling.algorithms.detection.detnet import DetNetLayer
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.communications import _vectors
from unrolling.tasks.communications.detection import Detection
from unrolling.training.stages import Adam, Cosine, Exponential, Logarithmic, Schedule, Stage

WEIGHTS = ("hidden", "update")


def parent(task: Detection) -> DetNetLayer:
    """Weights that all streams share."""
    return DetNetLayer(
        task.levels, hidden=16, auxiliary=4, head="soft_sign" if len(task.levels) == 2 else "one_hot", damping=0.5
    )


def published_2017(task: Detection) -> DetNetLayer:
    """Dense, the input concatenated, a soft sign; 25,821 numbers a layer for 20 streams."""
    streams = task.streams * (2 if task.modulation.complex else 1)
    return DetNetLayer(task.levels, streams, hidden=8 * streams, auxiliary=2 * streams, slope=0.1, initial="random")


def published_2019(task: Detection) -> DetNetLayer:
    """Dense, a gradient step as input, one-hot scores; 25,440 numbers a layer for 30 streams, and two step sizes."""
    streams = task.streams * (2 if task.modulation.complex else 1)
    return DetNetLayer(
        task.levels,
        streams,
        hidden=4 * streams,
        auxiliary=2 * streams,
        input="gradient",
        head="one_hot",
        initial="random",
    )


def tying(task: Detection) -> Tying:
    return Tying(untied=(*WEIGHTS, "slope") if len(task.levels) == 2 else WEIGHTS)


def schedule(depth: int) -> Schedule:
    return [Stage(6000, rate=1e-2, batch=512, supervision=Logarithmic(), annealing=Cosine(0.02, 3e-3), clip=1.0)]


def published_schedule(steps: int, rate: float, batch: int) -> Schedule:
    """As published, but for the loss, which was a squared error (divided, in 2017, by that of zero forcing): the rate
    falls to 0.97 in 1,000 steps.
    """
    return [
        Stage(
            steps,
            rate=rate,
            batch=batch,
            supervision=Logarithmic(),
            optimizer=Adam(),
            annealing=Exponential(final=0.97 ** (steps / 1000)),
        )
    ]


SYSTEM = System(
    name="communications/detnet",
    title="DetNet",
    paradigm="inductive-bias",
    summary="symbols of many users from many antennas without knowing the noise: projected gradient with a small "
    "network in each step.",
    equations=(
        "a = relu(W1[t] z + b1[t]);  [u; v'] = W2[t] a + b2[t];  x = alpha x + (1 - alpha) psi(u);  v = alpha v + (1 "
        "- alpha) v'\nz = [b; x; G x; v], b = H^T y / g, G = H^T H / g, g = tr(H^T H) / K;  psi(u) = clip(u / t, -1, "
        "1)\nat the start x' = clip(x + delta (b - G x), -1, 1): projected gradient for |y - H x|^2. All streams share "
        "one set of weights (W = A (x) I); as published (tasks published-2017 and published-2019) they are dense."
    ),
    references=("samuel2017deep", "samuel2019learning"),
    recipes={
        "detection": Recipe(parent=parent, tying=tying, depth=16, schedule=schedule, range=_vectors.ranges),
        "published-2017": Recipe(
            parent=published_2017,
            tying=Tying(untied=(*WEIGHTS, "slope")),
            depth=89,
            schedule=lambda depth: published_schedule(20_000, 1e-4, 5000),
            range=_vectors.ranges,
        ),
        "published-2019": Recipe(
            parent=published_2019,
            tying=Tying(untied=(*WEIGHTS, "step_size")),
            depth=29,
            schedule=lambda depth: published_schedule(200_000, 8e-4, 3000),
            range=_vectors.ranges,
            options={"streams": 30, "antennas": 60},
        ),
    },
    apply=dict.fromkeys(("detection", "published-2017", "published-2019"), _vectors.detection()),
)
