"""Learning to deblur: alternating minimisation for blind deblurring with learned features (Schuler, Hirsch, Harmeling
and Schoelkopf 2016; survey, section III-A).
"""

from __future__ import annotations

from functools import partial

from unrolling.algorithms.images.alternating_deblurring import AlternatingDeblurring
from unrolling.algorithms.images.sharp_features import LearnedFeatures, ThresholdedGradients
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.conditions import Range
from unrolling.systems.imaging._blind import application
from unrolling.tasks.baselines import Iterative
from unrolling.tasks.images.deblurring import Deblurring, kernel_loss
from unrolling.training.optimizers import Muon
from unrolling.training.stages import Cosine, Schedule, Stage

DEPTH = 3
SLACK = 8  # pixels by which kernels are larger than those of the task, so that they may lie anywhere
BATCH = 4
OPTIONS = {"kind": "shake", "size": 17}
# threshold, kernel_ridge, shocks, variation
SETTINGS = tuple((*features, v) for features in ((1.0, 1.0, 0), (2.0, 1.0, 3)) for v in (0.006, 0.02))
RANGE = {"noise": Range(2, 3.3)}  # of 255, about the 1 % of the task
STEPS = 500, 1500, 9000  # of each stage alone, of all together, and again
AGAIN = 0.6  # of the first rate, where all together begin again
RATES = {"kernel_ridge": 1e-2, "image_ridge": 1e-2}


def parent(task: Deblurring, *, activation: str = "tanh", layers: int = 2) -> AlternatingDeblurring:
    """Alternating minimisation with thresholded gradients.

    Raises:
        ValueError: pictures with colours.
    """
    if task.colour:
        raise ValueError(
            "this network deblurs grey pictures (colour=0); unroll apply does the colours of a picture one by one"
        )
    features = LearnedFeatures(activation=activation, layers=layers)  # pyright: ignore[reportArgumentType]
    return AlternatingDeblurring(features, kernel_size=task.size + SLACK)


def schedule(depth: int) -> Schedule:
    """Stage by stage, each from the one before it, then all together, twice, by Muon; the loss is the kernel's."""
    one = {"batch": BATCH, "loss": kernel_loss, "rates": RATES, "clip": 1.0, "optimizer": Muon(kernels=True)}
    alone = [
        Stage(
            STEPS[0],
            rate=5e-3,
            depth=k + 1,
            layers=(k,),
            inherit={} if k else None,
            annealing=Cosine(0.02, 1e-1),
            **one,
        )
        for k in range(depth)
    ]
    together = [
        Stage(steps, rate=rate, annealing=Cosine(0.02, 1e-2), **one)
        for steps, rate in zip(STEPS[1:], (5e-3, AGAIN * 5e-3), strict=True)
    ]
    return [*alone, *together]


def classical(system: System, task: Deblurring) -> list[Iterative]:
    """Alternating minimisation with the features of Cho and Lee."""

    def made(setting: tuple[float, float, int, float]) -> AlternatingDeblurring:
        threshold, ridge, shocks, variation = setting
        features = ThresholdedGradients(threshold, shocks=shocks)
        return AlternatingDeblurring(features, kernel_size=task.size + SLACK, kernel_ridge=ridge, variation=variation)

    name = "alternating minimisation, thresholded gradients"
    return [Iterative(name, made, SETTINGS, DEPTH, setting="threshold, ridge, shocks, variation")]


def recipe(activation: str) -> Recipe:
    """The rectifier has thresholds that are learned, tanh has none."""
    kept = ("filters", "mixing", "to_blurred", "to_sharp", *(("offset",) if activation == "relu" else ()))
    return Recipe(
        parent=partial(parent, activation=activation),
        tying=Tying(untied=(*(f"features.{name}" for name in kept), "kernel_ridge", "image_ridge")),
        depth=DEPTH,
        schedule=schedule,
        options=OPTIONS,
        range=RANGE,
    )


MODULES = (
    "y_j = sum_l alpha_jl h_l,    x_j = sum_l beta_jl h_l,    j = 1 ... 8\n"
    "k = [F^-1 { sum_j conj(X_j) Y_j / (sum_j |X_j|^2 + beta_k) }]_+ / sum,    x <- F^-1 { conj(K) Y / (|K|^2 + "
    "beta_x) }\nf (32 filters of 9 x 9 for each of y and x), M, alpha, beta, beta_k, beta_x in each of three stages; "
    "at the start derivatives, those of x thresholded. The image: total variation with the last k."
)
SYSTEM = System(
    name="imaging/schuler",
    title="Learning to deblur",
    paradigm="objective",
    summary="the motion of a camera that trembled, and the photograph without it: three stages of features, kernel "
    "and image, the features learned.",
    equations="h = tanh(M tanh(f * [y, x])),    " + MODULES,
    references=("schuler2016learning", "cho2009fast"),
    recipes={"deblurring": recipe("tanh")},
    baselines={"deblurring": classical},
    apply={"deblurring": application()},
    variants=(
        System(
            name="imaging/schuler_relu",
            title="Learning to deblur, with rectifiers",
            paradigm="objective",
            summary="as imaging/schuler, with rectifiers and thresholds in the features: exactly thresholded gradients "
            "before training.",
            equations="h = [M [f * [y, x] + b]_+]_+,    " + MODULES,
            references=("schuler2016learning", "cho2009fast"),
            recipes={"deblurring": recipe("relu")},
            baselines={"deblurring": classical},
            apply={"deblurring": application()},
        ),
    ),
)
