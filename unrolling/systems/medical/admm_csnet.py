"""ADMM-CSNet: ADMM with learned filters and shrinkages for compressive magnetic resonance and compressive imaging
(survey, box "ADMM-CSNet").
"""

from __future__ import annotations

from typing import Any

import torch

from unrolling.algorithms.splitting.admm import ADMM, Splitting
from unrolling.algorithms.splitting.conditioned import ConditionedSplitting, sampling_features
from unrolling.algorithms.splitting.data_terms import CoilSampling, DataTerm, LeastSquares, SampledFourier
from unrolling.networks.shrinkage import ConvolutionalShrinkage
from unrolling.operators import BlockSensing, CircularFilterBank, Identity
from unrolling.operators.filters import BasisFilters, zero_mean_atoms
from unrolling.prox import soft_threshold
from unrolling.prox.influence import LinearSpline
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.medical._files import RANGE, application
from unrolling.tasks.medical.coils import Coils
from unrolling.tasks.medical.compressive import Compressive
from unrolling.tasks.medical.mri import MRI
from unrolling.training.stages import Cosine, Schedule, Stage

SIZE, KNOTS, THRESHOLD = 3, 101, 0.05  # of the filters, of the shrinkages and where these start
PENALTY, RATE = 0.2, 1.6
MRI_STEPS, COILS_STEPS, COMPRESSIVE_STEPS = 8000, 1500, 2000
CROP, INNER = 128, (1e-5, 15)  # of coils: pixels along a side that are trained on, tolerance and conjugate gradients


def filters_parent(data_term: DataTerm, **options: Any) -> ADMM:
    """ADMM for the zero-mean cosine patterns as filters and the soft threshold, sampled on the knots of a piecewise
    linear function.
    """

    def bank() -> CircularFilterBank:
        return CircularFilterBank(BasisFilters(zero_mean_atoms(SIZE), unit_norm=False))

    count = SIZE**2 - 1
    shrinkage = LinearSpline(count, KNOTS, values=soft_threshold(torch.linspace(-1, 1, KNOTS), THRESHOLD))
    each = torch.ones(count, 1, 1)
    splitting = ConditionedSplitting(bank(), shrinkage, penalty=PENALTY * each, rate=RATE * each, synthesis=bank())
    return ADMM(data_term, [splitting], separate_start=True, **options)


def mri_parent(task: MRI) -> ADMM:
    """Of one coil."""
    return filters_parent(SampledFourier(real=task.real, features=sampling_features))


def coils_parent(task: Coils) -> ADMM:
    """Of several coils; the equation for x by at most fifteen conjugate gradients."""
    return filters_parent(CoilSampling(features=sampling_features), inner=INNER)


def mri_schedule(depth: int) -> Schedule:
    """A quarter of the steps while the network grows layer by layer, the rest all together; two images at a time, of
    which three quarters of the height and width are taken.
    """
    rates = {"prox.values": 1e-4, "penalty": 5e-4, "rate": 5e-4, "penalty_slope": 5e-4, "scale_slope": 5e-4}

    def stage(steps: int, annealing: Cosine, factor: float = 1.0, **more: Any) -> Stage:
        own = {f"splittings.0.{name}": factor * rate for name, rate in rates.items()}
        options: dict[str, Any] = {"batch": 2, "clip": 1.0, "draw": {"part": 0.75}}
        return Stage(max(1, steps), rate=factor * 3e-4, rates=own, annealing=annealing, **options, **more)

    each = MRI_STEPS // (4 * depth)
    grown = [stage(each, Cosine(0.05, 0.3), 10, depth=k + 1, inherit={}) for k in range(depth)]
    return [*grown, stage(MRI_STEPS - each * depth, Cosine(0.02, 1e-2))]


def coils_schedule(depth: int) -> Schedule:
    """A third of the steps while the network grows layer by layer, the rest all together; one slice at a time, of
    accelerations up to twice that of the task.
    """
    rates = {"splittings.0.prox.values": 1e-3, "splittings.0.penalty": 1e-2, "splittings.0.rate": 1e-2}
    options: dict[str, Any] = {"rates": rates, "batch": 1, "clip": 1.0, "draw": {"spread": 2.0, "crop": CROP}}
    each = max(1, COILS_STEPS // (3 * depth))
    grown = [
        Stage(each, rate=3e-3, depth=k + 1, inherit={}, annealing=Cosine(0.05, 0.3), **options) for k in range(depth)
    ]
    return [*grown, Stage(COILS_STEPS - each * depth, rate=3e-3, annealing=Cosine(0.02, 1e-2), **options)]


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
    paradigm="objective",
    summary="magnetic resonance images from part of their k-space, photographs from random projections: ADMM with "
    "learned filters and shrinkages.",
    equations=(
        "z_i = S_i(D_i x + a_i),    a_i <- a_i + eta_i (D_i x - z_i),    x = (Phi^H Phi + sum_i rho_i H_i^H H_i)^-1 "
        "(Phi^H y + sum_i rho_i H_i^H (z_i - a_i))\n"
        "S_i piecewise linear, 101 knots from -1 to 1; D_i, H_i eight filters of 3 x 3; all of these, rho and eta in "
        "each layer.\n"
        "Magnetic resonance: Phi = m . F, or with the maps of coils (m . F (S_c x))_c; at the start D_i = H_i the "
        "zero-mean cosine patterns, S_i the soft threshold at 0.05, rho = 0.2, eta = 1.6. rho exp(tanh(b . f)) in the "
        "place of rho, c S(u / c) with c = exp(tanh(w . f)) in that of S(u): f the logarithm of the rate over 0.2, "
        "whether whole lines were measured, the logarithm of the aliases' strength over 0.03; b = w = 0 at the start.\n"
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
            options={"mask": "any", "rate": 0.5, "varied": 1, "size": 256},
            range=RANGE,
        ),
        "multicoil": Recipe(
            parent=coils_parent,
            tying=Tying(tied=("first",), untied=("splittings",)),
            depth=6,
            schedule=coils_schedule,
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
        }
    },
)
