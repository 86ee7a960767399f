"""Pan-sharpening by unrolled projected gradient descent (Lohit, Liu, Mansour and Boufounos 2019; survey, Table I)."""

from __future__ import annotations

from functools import partial

import torch

from unrolling.algorithms.images.pan_sharpening import GuidedProjection, LearnedProjection, MultispectralFit
from unrolling.networks.conv_block import ConvBlock
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.imaging._bands import TRAINED, application
from unrolling.tasks.images.pansharpening import Pansharpening
from unrolling.training.stages import Cosine, Schedule, Stage

DEPTH, WIDTH, LAYERS = 4, 28, 3
STEPS = 6000
REFERENCES = ("lohit2019unrolled", "wald1997fusion", "aiazzi2006mtf", "vivone2015critical")
SENSOR = (
    "A: each band blurred by a Gaussian with the sensor's transfer at the Nyquist frequency, every r-th pixel. p: the "
    "panchromatic image, p_L at the resolution of the bands. m_b, s_b: mean and deviation of y_b, c_b the slope of its "
    "regression on p_L.\n"
)
NETWORK = (
    "N: three convolutions of 3 x 3 with 28 channels, the same for all bands, of which there may be any number; at the "
    "start N = 0, alpha = 16 and x is the bicubic enlargement of y."
)


def parent(task: Pansharpening, *, mixture: bool = False) -> GuidedProjection:
    """Gradient descent on 0.5 |A x - y|^2 from the bicubic enlargement: the last convolution is zero, so that the
    projection is the identity.
    """
    inputs = 4 if mixture else 3
    block = ConvBlock(inputs, 1, WIDTH, LAYERS, linear=torch.zeros(1, inputs))
    return GuidedProjection(MultispectralFit(task.operator), LearnedProjection(block, mixture=mixture))


def schedule(depth: int) -> Schedule:
    """All layers at once, two scenes at a time."""
    return [Stage(STEPS, rate=2e-3, batch=2, rates={"step_size": 2e-2}, annealing=Cosine(0.02, 1e-3), clip=1.0)]


def recipe(mixture: bool) -> Recipe:
    """A network of its own in each layer."""
    return Recipe(
        parent=partial(parent, mixture=mixture),
        tying=Tying(untied=("step_size", "projector")),
        depth=DEPTH,
        schedule=schedule,
        range=TRAINED,
    )


SYSTEM = System(
    name="imaging/pansharpening",
    title="Pan-sharpening",
    paradigm="inductive-bias",
    summary="a satellite's bands with the pixels of its panchromatic image: gradient steps on what the sensor saw, "
    "each followed by a small network that knows the panchromatic image.",
    equations=(
        "z = x - alpha[t] (r / 4)^2 A^T (A x - y),    x_b <- z_b + s_b N[t]((z_b - m_b) / s_b, c_b (p - m) / s_b, "
        "c_b (p - p_L) / s_b) for every band b\n" + SENSOR + NETWORK
    ),
    references=REFERENCES,
    recipes={"pansharpening": recipe(False)},
    apply={"pansharpening": application()},
    variants=(
        System(
            name="imaging/pansharpening_mixture",
            title="Pan-sharpening, all bands together",
            paradigm="inductive-bias",
            summary="a satellite's bands with the pixels of its panchromatic image: as imaging/pansharpening, and "
            "every band sees what of the panchromatic image the bands together leave unexplained.",
            equations=(
                "z = x - alpha[t] (r / 4)^2 A^T (A x - y),    x_b <- z_b + s_b N[t]((z_b - m_b) / s_b, "
                "c_b (p - m) / s_b, c_b (p - p_L) / s_b, c_b (p - I(z)) / s_b) for every band b\n"
                "I(z) = m + sum_b w_b (z_b - m_b), w the ridge regression of p_L on the bands.\n" + SENSOR + NETWORK
            ),
            references=REFERENCES,
            recipes={"pansharpening": recipe(True)},
            apply={"pansharpening": application()},
        ),
    ),
)
