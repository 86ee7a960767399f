"""The end-to-end variational network, small: descent on the k-space of several coils with a U-Net in every step, and
one for the coils' sensitivity maps (Sriram et al. 2020).
"""

from __future__ import annotations

from typing import Any

from unrolling.algorithms.splitting.kspace_descent import KSpaceDescent
from unrolling.networks.normalised_unet import NormalisedUNet
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.conditions import Range
from unrolling.systems.medical._coils import application, coil_by_coil, combine_unmapped
from unrolling.training.similarity import Dissimilarity
from unrolling.training.stages import Cosine, Schedule, Stage

DEPTH = 4
WIDTH, POOLS = 10, 2  # of the U-Nets of the steps
MAPS_WIDTH, MAPS_POOLS = 4, 3  # of the one for the maps
STEPS, LAST, CROP = 2000, 2400, 128  # on crops, on whole images
RANGE = {"acceleration": Range(4, 8), "mask": ("lines",), "coils": (8,), "noise": Range(0.005, 0.02)}
LOSS = Dissimilarity(absolute=20.0)


def parent(task: Any) -> KSpaceDescent:
    """Nothing but consistency with the data, and the maps of the auto-calibration lines. These combine the coils too:
    the root of the sum of squares adds up the noise of all of them where there is no signal.
    """
    maps = NormalisedUNet(MAPS_WIDTH, MAPS_POOLS, offset="image")
    return KSpaceDescent(NormalisedUNet(WIDTH, POOLS, offset="zero"), maps, output="maps")


def published() -> tuple[KSpaceDescent, int]:
    """The step and the depth of the network as published, of 29,936,966 parameters, with its random first values; the
    root of the sum of squares combines its coils.
    """
    return KSpaceDescent(NormalisedUNet(18, 4), NormalisedUNet(8, 4)), 12


def schedule(depth: int) -> Schedule:
    """Squares out of the images, then whole ones; accelerations between the task's own and twice as much."""
    rates = {"step_size": 1e-2}
    crops = Stage(
        STEPS,
        rate=3e-3,
        rates=rates,
        batch=1,
        loss=LOSS,
        clip=1.0,
        annealing=Cosine(0.02, 0.2),
        draw={"crop": CROP, "spread": 2.0},
    )
    whole = Stage(LAST, rate=2e-3, batch=1, loss=LOSS, clip=1.0, annealing=Cosine(0.02, 1e-2), draw={"spread": 2.0})
    return [crops, whole]


SYSTEM = System(
    name="medical/varnet",
    title="E2E-VarNet, small",
    paradigm="inductive-bias",
    summary="magnetic resonance images from several coils whose sensitivities nobody knows: four steps of descent on "
    "k-space with U-Nets, one more for the maps.",
    equations=(
        "k[t+1] = k[t] - eta[t] M (k[t] - k0) - F E U[t](R F^-1 k[t]),    k[0] = k0,    x = |R F^-1 k[T]|\n"
        "E x = (S_c x)_c,    R = E^H,    S_c = V(F^-1 A k0_c) / sqrt(sum_c |V(F^-1 A k0_c)|^2),    A the "
        "auto-calibration lines\n"
        "U[t], V: U-Nets on images of mean 0 and deviation 1, 10 and 4 channels at first, two and three halvings "
        "(published: 12 steps, 18 and 8 channels, four halvings, x = sqrt(sum_c |F^-1 k_c|^2)). At the start "
        "eta = 1, U = 0, V = I."
    ),
    references=("sriram2020end", "hammernik2018learning"),
    recipes={
        "multicoil": Recipe(
            parent=parent,
            tying=Tying(tied=("prepare",), untied=("step_size", "regulariser")),
            depth=DEPTH,
            schedule=schedule,
            range=RANGE,
        )
    },
    baselines={"multicoil": coil_by_coil},
    apply={"multicoil": application(combine_unmapped)},
    not_exported={
        "multicoil": {
            "onnx": "of k-space of zeros ONNX Runtime makes another image than the network; torch holds there too"
        }
    },
)
