"""FBPConvNet: filtered back-projection and a U-Net that finds what is missing (Jin, McCann, Froustey and Unser 2017;
survey, section on connections to other networks).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from unrolling.algorithms.images.post_processing import PostProcessing
from unrolling.networks.batch_norm_unet import BatchNormUNet
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.medical._tomography import application, ranges
from unrolling.tasks.baselines import Baseline, Iterative
from unrolling.tasks.medical.tomography import Tomography
from unrolling.training.losses import LogNMSE
from unrolling.training.stages import Cosine, Schedule, Stage

WIDTH, PUBLISHED_WIDTH = 8, 64  # channels of the first level; with the second there are 34,562,945 parameters
TYING = Tying(tied=("network",))


def parent(task: Tomography, *, width: int = WIDTH) -> PostProcessing:
    """Filtered back-projection to the bit: the last layer of the network is zero."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = BatchNormUNet(width)
    return PostProcessing(task.fbp, network, homogeneous=True)


def schedule(depth: int) -> Schedule:
    """Whole slices, one at a time, as the published network was trained; Adam.

    The loss counts bright slices and dim ones alike, as the score does and the squared error does not.
    """
    return [Stage(8000, rate=2e-3, batch=1, loss=LogNMSE(), annealing=Cosine(0.02, 0.005), clip=1.0)]


def alone(system: System, task: Tomography) -> Sequence[Baseline]:
    """What it is before training."""
    name = "filtered back-projection, without window"
    return [Iterative(name, lambda _: PostProcessing(task.fbp, BatchNormUNet(1, 1)), (None,), 1, setting="")]


SYSTEM = System(
    name="medical/fbpconvnet",
    title="FBPConvNet",
    paradigm="inductive-bias",
    summary="slices from few projections: a U-Net adds to the filtered back-projection what is missing in it.",
    equations=(
        "x = U(B y) + B y,    B the filtered back-projection, U a U-Net with batch normalisation, four halvings; at "
        "the start U = 0 and x = B y.\n"
        "It is no unrolled iteration. Its authors compare it with ISTA, x <- S(W^T A^T y / L + (I - W^T A^T A W / L) "
        "x): where A^T A is nearly a convolution, so is each step, followed by a threshold, as in the layers of a "
        "U-Net. The classical algorithm that stands beside it here, and that it equals before training, is filtered "
        "back-projection."
    ),
    references=("jin2017deep", "ronneberger2015u"),
    recipes={
        "tomography": Recipe(
            parent=parent,
            tying=TYING,
            depth=1,
            schedule=schedule,
            range=ranges,
            options={"size": 256, "views": 60},
        )
    },
    apply={"tomography": application(parent, TYING)},
    baselines={"tomography": alone},
)
