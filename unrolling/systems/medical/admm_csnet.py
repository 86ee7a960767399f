"""ADMM-CSNet: ADMM with learned filters and shrinkages for compressive magnetic resonance and compressive imaging
(survey, box "ADMM-CSNet").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.algorithms.sparse.fista import FISTA
from unrolling.algorithms.splitting.admm import ADMM, Splitting
from unrolling.algorithms.splitting.data_terms import Linear, SampledFourier
from unrolling.algorithms.splitting.proximal_gradient import ProximalGradient
from unrolling.networks.shrinkage import ConvolutionalShrinkage
from unrolling.networks.unet import UNet, unet_width
from unrolling.operators import BlockSensing, CircularFilterBank, FiniteDifferences, Identity, KSpace
from unrolling.operators.filters import BasisFilters, zero_mean_atoms
from unrolling.operators.fourier import ifft
from unrolling.prox import soft_threshold
from unrolling.prox.analysis import AnalysisProx
from unrolling.prox.influence import LinearSpline
from unrolling.prox.isotropic import IsotropicShrink
from unrolling.systems.base import Classical, Direct, Recipe, Reference, Rival, System, Tying
from unrolling.systems.medical.scanner import application
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


def mri_classical(task: MRI) -> list[Classical]:
    """Total variation by ADMM, the parent with one penalty for all filters, and by FISTA; weights from validation
    images.
    """
    weights = (0.0005, 0.001, 0.002, 0.004)

    def variation(weight: float) -> ADMM:
        splitting = Splitting(FiniteDifferences("circular"), IsotropicShrink(), weight, penalty=10 * weight)
        return ADMM(SampledFourier(real=task.real), [splitting])

    def accelerated(weight: float) -> FISTA:
        return FISTA(
            ProximalGradient(
                SampledFourier(real=task.real), AnalysisProx(FiniteDifferences(), 8.0, iterations=10), weight
            )
        )

    return [
        Classical("total variation, ADMM", variation, weights, 300, tuning=100),
        Classical("total variation, FISTA", accelerated, weights, 100, tuning=50),
    ]


def zero_filled(task: MRI) -> Callable[[KSpace], Tensor]:
    """The image with zeros for what was not measured."""
    return (lambda data: ifft(data.samples).real) if task.real else (lambda data: ifft(data.samples))


class _FromMeasurements(nn.Module):
    """A U-Net on a linear estimate; complex images as two channels."""

    def __init__(self, linear: Callable[[Any], Tensor], width: int, *, real: bool = True) -> None:
        super().__init__()
        self.linear, self.real = linear, real
        self.network = UNet(width, levels=3, inputs=1 if real else 2)

    def forward(self, data: Any) -> Tensor:
        image = self.linear(data)
        if self.real:
            return self.network(image)
        return torch.view_as_complex(
            self.network(torch.view_as_real(image).movedim(-1, 1).contiguous()).movedim(1, -1).contiguous()
        )


def mri_rivals(task: MRI, parameters: int) -> Sequence[Rival]:
    """A U-Net on the zero-filled image, with as many parameters."""
    real = task.real
    width = unet_width(parameters, 3, 1 if real else 2)
    return [
        Rival(
            f"U-Net, width {width}",
            lambda: _FromMeasurements(zero_filled(task), width, real=real),
            MRI_STEPS,
            1,
            (1e-3, 3e-3),
        )
    ]


def compressive_parent(task: Compressive) -> ADMM:
    """ADMM with the identity as transform, and shrinkage in the frame of the zero-mean cosine patterns in the place of
    its prox.
    """
    initial = BlockSensing(task.initial.T.contiguous()).H
    splitting = Splitting(Identity(), ConvolutionalShrinkage(48, start="cosine"), penalty=0.1, rate=1.0)
    return ADMM(Linear(task.sensing, initial=initial), [splitting], start="data")


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


def compressive_classical(task: Compressive) -> list[Classical]:
    """Total variation from the linear estimate."""

    def variation(weight: float) -> ADMM:
        splitting = Splitting(FiniteDifferences(), IsotropicShrink(), weight, penalty=10 * weight)
        initial = BlockSensing(task.initial.T.contiguous()).H
        return ADMM(Linear(task.sensing, initial=initial), [splitting], start="data", inner=(1e-4, 15))

    return [Classical("total variation, ADMM", variation, (0.003, 0.01, 0.03), 200, tuning=60)]


def compressive_rivals(task: Compressive, parameters: int) -> Sequence[Rival]:
    """A U-Net on the linear estimate, with as many parameters."""
    width = unet_width(parameters, 3)
    return [
        Rival(
            f"U-Net, width {width}", lambda: _FromMeasurements(task.linear, width), COMPRESSIVE_STEPS, 4, (1e-3, 3e-3)
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
    references=(
        Reference(
            "Yang, Y., Sun, J., Li, H. and Xu, Z.",
            "ADMM-CSNet: A deep learning approach for image compressive sensing",
            "IEEE Transactions on Pattern Analysis and Machine Intelligence 42(3)",
            2020,
            "10.1109/TPAMI.2018.2883941",
        ),
        Reference("Yang, Y., Sun, J., Li, H. and Xu, Z.", "Deep ADMM-Net for compressive sensing MRI", "NeurIPS", 2016),
        Reference(
            "Boyd, S., Parikh, N., Chu, E., Peleato, B. and Eckstein, J.",
            "Distributed optimization and statistical learning via the alternating direction method of multipliers",
            "Foundations and Trends in Machine Learning 3(1)",
            2011,
            "10.1561/2200000016",
        ),
    ),
    home=Path(__file__).parent,
    recipes={
        "mri": Recipe(
            task=MRI,
            parent=mri_parent,
            depth=14,
            not_exported={
                "aoti": "the compiler of torch 2.13 does not come to an end over its complex Fourier "
                "transforms; onnx and torch do"
            },
            tying=lambda task: Tying(tied=("first",), untied=("splittings",)),
            schedule=mri_schedule,
            classical=mri_classical,
            direct=lambda task: [Direct("zero-filled", zero_filled(task))],
            rivals=mri_rivals,
            parent_name="total variation, ADMM",
            generic_steps=MRI_STEPS,
            generic_batch=1,
            vectors=False,
            threads=1,
            atoms=lambda layer: layer.splittings[0].transform.taps().detach(),
            notes=("Errors count magnitudes with a peak of 1; every image counts equally.",),
            apply=application(),
            options={"mask": "radial", "rate": 0.2, "real": 1, "noise": 0.0},
            tag=lambda options: f"{options['mask']}{100 * options['rate']:g}{'' if options['real'] else '-complex'}",
        ),
        "compressive": Recipe(
            task=Compressive,
            parent=compressive_parent,
            depth=6,
            tying=lambda task: Tying(untied=("splittings",)),
            schedule=compressive_schedule,
            classical=compressive_classical,
            direct=lambda task: [Direct("linear estimate", task.linear)],
            rivals=compressive_rivals,
            parent_name="total variation, ADMM",
            generic_steps=COMPRESSIVE_STEPS,
            generic_batch=4,
            vectors=False,
            threads=1,
            notes=("Estimates are clipped to [0, 1]; every photograph counts equally.",),
            options={"ratio": 0.25, "block": 33},
            tag=lambda options: (
                f"ratio{options['ratio']:g}" + ("" if options["block"] == 33 else f"-block{options['block']}")
            ),
        ),
    },
)
