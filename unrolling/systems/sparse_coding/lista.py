"""LISTA: ISTA with learned matrices and thresholds (Gregor and LeCun 2010; survey, box "Learned ISTA")."""

from __future__ import annotations

from pathlib import Path

import torch

from unrolling.algorithms import GramISTA, SynthesisISTA, ThinISTA
from unrolling.core import Iteration
from unrolling.operators import BlockSensing, PatchDictionary, dct_atoms
from unrolling.systems.base import Reference, System, Tying
from unrolling.systems.sparse_coding import baselines
from unrolling.systems.sparse_coding.spike_baselines import spikes_parent, spikes_recipe
from unrolling.tasks.images.photographs import Photographs
from unrolling.tasks.sparse.codes import Codes
from unrolling.training.stages import Cosine, Schedule, Stage

ATOM_SIDE, STRIDE = 8, 4


def patch_dictionary() -> PatchDictionary:
    """The 8 x 8 DCT at every fourth pixel, scaled to a tight frame: D D^T = I."""
    return PatchDictionary(dct_atoms(ATOM_SIDE) / (ATOM_SIDE // STRIDE), STRIDE)


def photograph_weight(weight: float) -> torch.Tensor:
    """One weight for all atoms but the constant one, which is free."""
    weights = torch.full((ATOM_SIDE**2,), weight)
    weights[0] = 0
    return weights


def photograph_parent(task: Photographs) -> SynthesisISTA:
    """ISTA over overlapping DCT patches, started at the linear estimate."""
    initial = BlockSensing(task.linear_gain().T.contiguous()).H
    return SynthesisISTA(task.sensing, patch_dictionary(), photograph_weight(0.01), initial=initial)


def photograph_schedule(depth: int) -> Schedule:
    return [Stage(2000, rate=3e-3, rates={"threshold": 1e-1}, batch=4, annealing=Cosine(0.1, 1e-3), clip=0.05)]


def codes_parent(task: Codes) -> Iteration:
    """The general form; for more atoms than pixels with the weights coupled, W_t = I - W_e A, which 100,000 patches
    determine better (validation).
    """
    return ThinISTA(task.dictionary, task.alpha) if _coupled(task) else GramISTA(task.dictionary, task.alpha)


def _coupled(task: Codes) -> bool:
    return task.dictionary.shape[1] > task.dictionary.shape[0]


def codes_tying(task: Codes) -> Tying:
    return Tying(untied=("encoder", "threshold") if _coupled(task) else ("encoder", "inhibition", "threshold"))


def codes_schedule(depth: int) -> Schedule:
    return [
        Stage(
            10_000, rate=3e-3 if depth < 5 else 2e-3, rates={"threshold": 3e-2}, batch=500, annealing=Cosine(0.05, 1e-3)
        )
    ]


def recovery_schedule(depth: int) -> Schedule:
    return [Stage(4000, rate=1e-3, rates={"threshold": 1e-2}, batch=128, annealing=Cosine(0.05, 1e-2), clip=1.0)]


def spikes_schedule(depth: int) -> Schedule:
    return [Stage(4000, rate=1e-3, rates={"inner.threshold": 1e-2}, batch=256, annealing=Cosine(0.05, 1e-2), clip=1.0)]


SYSTEM = System(
    name="sparse_coding/lista",
    title="LISTA",
    summary="sparse codes, and photographs from few measurements, in a few layers: ISTA with learned matrices and "
    "thresholds.",
    equations=(
        "x[t+1] = S_theta[t](W_e y + W_t x[t]),    S_theta(z) = sign(z) max(|z| - theta, 0)\n"
        "at the start W_e = mu A^T, W_t = I - mu A^T A, theta = mu lambda, mu = 1/|A|^2: ISTA for 0.5 |y - A x|^2 + "
        "lambda |x|_1.\n"
        "codes with more atoms than pixels: the weights are coupled, W_t = I - W_e A, x[t+1] = S_theta[t](x[t] + "
        "W_e[t] (y - A x[t])).\n"
        "photographs: z[t+1] = S_theta[t](z[t] + E[t] H[t] (y - Phi D[t] z[t])), picture D z; at the start E = mu "
        "D^T, H = Phi^T, D overlapping DCT patches."
    ),
    references=(
        Reference("Gregor, K. and LeCun, Y.", "Learning fast approximations of sparse coding", "ICML", 2010),
        Reference(
            "Beck, A. and Teboulle, M.",
            "A fast iterative shrinkage-thresholding algorithm for linear inverse problems",
            "SIAM J. Imaging Sciences 2(1)",
            2009,
            "10.1137/080716542",
        ),
    ),
    home=Path(__file__).parent,
    recipes={
        "photographs": baselines.photographs_recipe(
            parent=photograph_parent,
            depth=5,
            tying=lambda task: Tying(
                tied=("initial", "analysis"), untied=("dictionary", "encoder", "back_projection", "threshold")
            ),
            schedule=photograph_schedule,
            parent_name="ISTA",
            generic_steps=5000,
            generic_batch=16,
            atoms=lambda layer: layer.dictionary.atoms(),
            notes=(
                "ISTA and FISTA start at zero; the network starts at the code of the linear estimate, which its first "
                "row before training shows. All end by adding what the measurements say about the remaining error.",
                "Convergence means that the last third of the iterations, two hundred at least, has moved the PSNR by "
                "less than 0.05 dB. "
                "ISTA and FISTA pass through better pictures on their way to the minimiser of their objective than "
                "the minimiser is.",
            ),
        ),
        "codes": baselines.codes_recipe(
            parent=codes_parent,
            depth=3,
            tying=codes_tying,
            schedule=codes_schedule,
            parent_name="ISTA",
            generic_steps=10_000,
            generic_batch=500,
            atoms=400,
        ),
        "spikes": spikes_recipe(
            parent=spikes_parent,
            depth=6,
            tying=lambda task: Tying(untied=("inner",)),
            schedule=spikes_schedule,
            parent_name="ISTA",
            generic_steps=4000,
            generic_batch=256,
        ),
        "recovery": baselines.recovery_recipe(
            parent=lambda task: GramISTA(task.dictionary, 0.1),
            depth=16,
            tying=lambda task: Tying(tied=("encoder", "inhibition"), untied=("threshold",)),
            schedule=recovery_schedule,
            parent_name="ISTA",
            generic_steps=4000,
            generic_batch=128,
        ),
    },
)
