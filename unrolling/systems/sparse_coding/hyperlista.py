"""HyperLISTA: three learned numbers for all layers (Chen, Liu, Wang and Yin 2021)."""

from __future__ import annotations

from dataclasses import replace

from unrolling.algorithms.sparse.hyper import HyperLISTA
from unrolling.systems.base import Recipe, System, Tying
from unrolling.training.losses import LogNMSE
from unrolling.training.optimizers import NelderMead
from unrolling.training.stages import Constant, Schedule, Stage

# The middle of the first draws, which go from 2 / 9 to 9 / 2 times these: chosen on validation data. From much smaller
# values the search may end where hardly any entry passes unshrunk, 35 dB above the best.
CENTRE = (1.3e-2, 3e-3, 2e-1)
RATE = 1.5


def schedule(depth: int) -> Schedule:
    """A wide search on one batch; then a narrow one on a batch that is larger, and denser, so that it holds signals as
    dense as those that decide the error of 20,000.
    """
    wide = Stage(1, rate=RATE, batch=400, loss=LogNMSE(), optimizer=NelderMead(draws=48), annealing=Constant())
    narrow = NelderMead(draws=12, evaluations=40, simplex=0.3)
    return [wide, replace(wide, rate=0.5, batch=2000, optimizer=narrow, draw={"denser": 1.2})]


SYSTEM = System(
    name="sparse_coding/hyperlista",
    title="HyperLISTA",
    paradigm="hyperparameters",
    summary="sparse recovery with three learned numbers: threshold, momentum and support follow each signal's own "
    "residual.",
    equations=(
        "x[t+1] = S_theta,k(x[t] + W (y - A x[t]) + beta (x[t] - x[t-1])),    e = |A^+ (y - A x[t])|_1 of each signal\n"
        "theta = c1 e,  beta = c2 |x[t]|_0,  k = n clip(c3 log(|A^+ y|_1 / e), 0, 1) entries pass unshrunk; W are the "
        "analytic weights of ALISTA.\nc1, c2 and c3 are searched for without gradients."
    ),
    references=("chen2021hyperparameter", "liu2019alista"),
    recipes={
        "recovery": Recipe(
            parent=lambda task: HyperLISTA(task.dictionary, *CENTRE),
            tying=Tying(tied=("threshold_scale", "momentum_scale", "support_scale")),
            depth=16,
            schedule=schedule,
        )
    },
)
