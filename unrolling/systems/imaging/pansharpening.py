"""Pan-sharpening by unrolled projected gradient descent (Lohit, Liu, Mansour and Boufounos 2019; survey, Table I)."""

from __future__ import annotations

import torch

from unrolling.algorithms.images.pan_sharpening import GuidedProjection, LearnedProjection, MultispectralFit
from unrolling.networks.conv_block import ConvBlock
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.imaging._bands import TRAINED, application
from unrolling.tasks.images.pansharpening import Pansharpening
from unrolling.training.stages import Cosine, Schedule, Stage

DEPTH, WIDTH, LAYERS = 4, 28, 3
INPUTS = 4  # the band, the panchromatic image, its details, and what the bands do not explain of it
STEPS = 5000


def parent(task: Pansharpening) -> GuidedProjection:
    """Gradient descent on 0.5 |A x - y|^2 from the bicubic enlargement: the last convolution is zero, so that the
    projection is the identity.
    """
    block = ConvBlock(INPUTS, 1, WIDTH, LAYERS, linear=torch.zeros(1, INPUTS))
    return GuidedProjection(MultispectralFit(task.operator), LearnedProjection(block))


def schedule(depth: int) -> Schedule:
    """All layers at once, two scenes at a time."""
    return [Stage(STEPS, rate=2e-3, batch=2, rates={"step_size": 2e-2}, annealing=Cosine(0.02, 1e-3), clip=1.0)]


SYSTEM = System(
    name="imaging/pansharpening",
    title="Pan-sharpening",
    paradigm="inductive-bias",
    summary="a satellite's bands with the pixels of its panchromatic image: gradient steps on what the sensor saw, "
    "each followed by a small network that knows the panchromatic image.",
    equations=(
        "z = x - alpha[t] A^T (A x - y),    x_b <- z_b + s_b N[t]((z_b - m_b) / s_b, c_b (p - m) / s_b, c_b (p - p_L) "
        "/ s_b, c_b (p - I(z)) / s_b) for every band b;    x the bicubic enlargement of y at the start\n"
        "A: each band blurred by a Gaussian with the sensor's transfer at the Nyquist frequency, every r-th pixel. p: "
        "the panchromatic image, p_L at the resolution of the bands, I(z) its regression on the bands. m_b, s_b: mean "
        "and deviation of y_b, c_b the slope of its regression on p_L.\n"
        "N: three convolutions of 3 x 3 with 28 channels, the same for all bands, of which there may be any number; at "
        "the start N = 0 and alpha = r^2."
    ),
    references=("lohit2019unrolled", "wald1997fusion", "aiazzi2006mtf", "vivone2015critical"),
    recipes={
        "pansharpening": Recipe(
            parent=parent,
            tying=Tying(untied=("step_size", "projector")),
            depth=DEPTH,
            schedule=schedule,
            range=TRAINED,
        )
    },
    apply={"pansharpening": application()},
)
