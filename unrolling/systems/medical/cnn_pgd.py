"""CNN-PGD: relaxed projected gradient descent with a network that was trained to be a projection (Gupta, Jin, Nguyen,
McCann and Unser 2018; survey, section on connections to other networks).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unrolling.algorithms.splitting.data_terms import LeastSquares
from unrolling.algorithms.splitting.relaxed_projection import GradientProjection, RelaxedProjection
from unrolling.networks.unet import UNet
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.medical._tomography import application, ranges
from unrolling.tasks.baselines import Baseline, Iterative
from unrolling.tasks.medical.tomography import Tomography
from unrolling.training.projection import projection_schedule
from unrolling.training.stages import Cosine, Schedule, Stage

WIDTH, LEVELS = 12, 3  # of the U-Net
STEP, CONTRACTION = 1.9, 0.3  # gamma |A|^2, which must stay below 2, and c
TYING = Tying(tied=("step.projector",))


def parent(task: Tomography) -> RelaxedProjection:
    """Relaxed gradient descent from the filtered back-projection: the last layer of the network is zero, so that it
    changes nothing. The others are normal as He, Zhang, Ren and Sun 2015, arXiv:1502.01852, have them: from torch's
    usual values it learns several times more slowly.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        projector = UNet(WIDTH, LEVELS)
        for part in projector.modules():
            if isinstance(part, nn.Conv2d) and part is not projector.last:
                nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
                nn.init.zeros_(part.bias)  # pyright: ignore[reportArgumentType]
    return projected(task, projector, CONTRACTION)


def schedule(depth: int) -> Schedule:
    """The network alone, as a projection, in three stages."""
    return projection_schedule(Stage(4500, rate=2e-3, batch=2, annealing=Cosine(0.02, 0.01), clip=1.0))


class Nonnegative(nn.Module):
    """The projection onto x >= 0."""

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp_min(0)


def projected(task: Tomography, projector: nn.Module, contraction: float) -> RelaxedProjection:
    """From the filtered back-projection."""
    term = LeastSquares(task.radon, initial=task.fbp)
    step = GradientProjection(term, projector, step_size=STEP / task.radon.norm(1e-3) ** 2)
    return RelaxedProjection(step, contraction=contraction)


def classical(system: System, task: Tomography) -> Sequence[Baseline]:
    """Projected gradient descent, with nothing to be relaxed."""
    name = "projected gradient, x >= 0"
    return [Iterative(name, lambda _: projected(task, Nonnegative(), 1.0), (None,), 300, setting="")]


SYSTEM = System(
    name="medical/cnn_pgd",
    title="CNN-PGD",
    paradigm="inductive-bias",
    summary="slices from few projections: gradient steps on the data, each followed by a network trained as a "
    "projection, relaxed so that it converges.",
    equations=(
        "z = F(x - gamma A^T (A x - y)),    x <- (1 - alpha) x + alpha z,    x the filtered back-projection at the "
        "start, alpha = 1 in the first layer;\n"
        "alpha[k] = c alpha[k-1] |z[k-1] - x[k-1]| / |z[k] - x[k]| where |z[k] - x[k]| > c |z[k-1] - x[k-1]|, else "
        "alpha[k-1]: then |x[k+1] - x[k]| <= c |x[k] - x[k-1]| whatever F does.\n"
        "F, one U-Net for all layers, is trained to send to x the filtered back-projection, what F makes of it, and x "
        "itself; at the start F(x) = x."
    ),
    references=("gupta2018cnn", "jin2017deep"),
    recipes={
        "tomography": Recipe(
            parent=parent,
            tying=TYING,
            depth=8,
            schedule=schedule,
            range=ranges,
        )
    },
    apply={"tomography": application(parent, TYING)},
    baselines={"tomography": classical},
)
