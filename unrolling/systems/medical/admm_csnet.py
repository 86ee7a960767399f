"""ADMM-CSNet: ADMM with learned filters and shrinkages for compressive magnetic resonance and compressive imaging
(survey, box "ADMM-CSNet").
"""

from __future__ import annotations

from typing import Any

import torch

from unrolling.algorithms.splitting.admm import ADMM, Splitting
from unrolling.algorithms.splitting.data_terms import LeastSquares, SampledFourier
from unrolling.networks.shrinkage import ConvolutionalShrinkage
from unrolling.operators import BlockSensing, CircularFilterBank, Identity
from unrolling.operators.filters import BasisFilters, zero_mean_atoms
from unrolling.prox import soft_threshold
from unrolling.prox.influence import LinearSpline
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.medical._files import RANGE, application
from unrolling.tasks.medical.compressive import Compressive
from unrolling.tasks.medical.mri import MRI
from unrolling.training.stages import Cosine, Schedule, Stage

SIZE, KNOTS, THRESHOLD = 3, 101, 0.05  # of the filters, of the shrinkages and where these start
PENALTY, RATE = 0.2, 1.6
MRI_STEPS, COMPRESSIVE_STEPS = 6000, 2000


def mri_parent(task: MRI) -> ADMM:
    """ADMM for the zero-mean cosine patterns as filters and the soft threshold, sampled on the knots of a piecewise
    linear function.
    """

    def bank() -> CircularFilterBank:
        return CircularFilterBank(BasisFilters(zero_mean_atoms(SIZE), unit_norm=False))

    count = SIZE**2 - 1
    shrinkage = LinearSpline(count, KNOTS, values=soft_threshold(torch.linspace(-1, 1, KNOTS), THRESHOLD))
    each = torch.ones(count, 1, 1)
    splitting = Splitting(bank(), shrinkage, penalty=PENALTY * each, rate=RATE * each, synthesis=bank())
    return ADMM(SampledFourier(real=task.real), [splitting], separate_start=True)


def mri_schedule(depth: int) -> Schedule:
    """Four tenths of the steps while the network grows layer by layer, the rest all together; an image of 256 x 256
    pixels at a time.
    """
    rates = {"splittings.0.prox.values": 1e-3, "splittings.0.penalty": 1e-2, "splittings.0.rate": 1e-2}
    options: dict[str, Any] = {"rate": 3e-3, "rates": rates, "batch": 1, "clip": 1.0}
    each = max(1, 2 * MRI_STEPS // (5 * depth))
    grown = [Stage(each, depth=k + 1, inherit={}, annealing=Cosine(0.05, 0.3), **options) for k in range(depth)]
    return [*grown, Stage(MRI_STEPS - each * depth, annealing=Cosine(0.02, 1e-2), **options)]


def compressive_parent(task: Compressive) -> ADMM:
    """ADMM with the identity as transform, and shrinkage in the frame of the zero-mean cosine patterns in the place of
    its prox.
    """
    initial = BlockSensing(task.initial.T.contiguous()).H
    splitting = Splitting(Identity(), ConvolutionalShrinkage(48, start="cosine"), penalty=0.1, rate=1.0)
    return ADMM(LeastSquares(task.sensing, initial=initial), [splitting], start="data")


def compressive_schedule(depth: int) -> Schedule:
    return [
        Stage(
            COMPRESSIVE_STEPS,
            rate=1e-3,
            rates={"splittings.0.penalty": 1e-2},
            batch=4,
            annealing=Cosine(0.02, 1e-2),
            clip=1.0,
        )
    ]


SYSTEM = System(
    name="medical/admm_csnet",
    title="ADMM-CSNet",
    summary="magnetic resonance images from part of their k-space, photographs from random projections: ADMM with "
    "learned filters and shrinkages.",
    equations=(
        "z_i = S_i(D_i x + a_i),    a_i <- a_i + eta_i (D_i x - z_i),    x = (Phi^H Phi + sum_i rho_i H_i^H H_i)^-1 "
        "(Phi^H y + sum_i rho_i H_i^H (z_i - a_i))\n"
        "S_i piecewise linear, 101 knots from -1 to 1; D_i, H_i eight filters of 3 x 3; all of these, rho and eta in "
        "each layer.\n"
        "Magnetic resonance: Phi = m . F; at the start D_i = H_i the zero-mean cosine patterns, S_i the soft "
        "threshold at 0.05, rho = 0.2, eta = 1.6.\n"
        "compressive: D = I, S(u) = u - c2(s(c1(u))), c1 and c2 of 5 x 5 pixels and 48 channels, from the linear "
        "estimate of the blocks."
    ),
    references=("yang2020admm", "yang2016deep", "boyd2011distributed"),
    recipes={
        "mri": Recipe(
            parent=mri_parent,
            tying=Tying(tied=("first",), untied=("splittings",)),
            depth=14,
            schedule=mri_schedule,
            range=RANGE,
        ),
        "compressive": Recipe(
            parent=compressive_parent,
            tying=Tying(untied=("splittings",)),
            depth=6,
            schedule=compressive_schedule,
        ),
    },
    apply={"mri": application()},
    not_exported={
        "mri": {
            "aoti": "the compiler of torch 2.13 does not come to an end over its complex Fourier transforms; torch "
            "does",
            # Against the network in double precision: torch's float32 is off by up to 5e-3 of the largest value, ONNX
            # Runtime by 2e-3 to 1e-2.
            "onnx": "its shipped weights magnify rounding ten thousand times, and ONNX Runtime's Fourier transforms "
            "round two to three times more than torch's: the images differ by up to 1e-2 of the largest value",
        }
    },
)
