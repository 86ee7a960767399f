"""Compressive imaging at any rate: plug-and-play ADMM with the shipped denoiser, trained through."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import log
from typing import Any

import torch

from unrolling.algorithms.splitting.admm import ADMM
from unrolling.algorithms.splitting.block_projections import BlockProjections
from unrolling.algorithms.splitting.learned_projections import LearnedProjections
from unrolling.algorithms.splitting.rated_splitting import RatedSplitting
from unrolling.operators import Identity
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.conditions import Range
from unrolling.systems.imaging._block_samples import NO_ONNX, application, recovered
from unrolling.systems.imaging._plug_and_play import shipped, through
from unrolling.tasks.baselines import Baseline, Iterative
from unrolling.training.stages import Schedule

DEPTH = 10
PENALTY, LEVEL = 0.1, 0.03  # rho, and the level that the denoiser is told at 25 %
AT_RATES = (2.4, 1.7, 1.35, 1.0, 0.7)  # times these at 1, 4, 10, 25 and 50 %: about as the linear estimate errs
MATRIX, DENOISER = "data_term.matrix", "splittings.0.prox"
OWN = ("penalty", "rate", "weight", "penalty_slope", "weight_slope")
STEPS, LEARNED_STEPS = 4_500, 3_000
REFERENCES = ("venkatakrishnan2013plug", "yang2020admm", "mohan2020robust")
EQUATIONS = (
    "z = D(x + a, s_k),    a <- a + eta_k (x - z),    x = (Phi^T Phi + rho_k I)^-1 (Phi^T y + rho_k (z - a))\n"
    "{matrix} x at the start: the best linear estimate for pixels of covariance 1 + exp(-distance / 40); a = 0.\n"
    "D: the denoiser of imaging/denoise, one for all steps, which is trained on; s_k = (lambda_k e^(c_k.f) / (rho_k "
    "e^(b_k.f)))^(1/2) the level that it is told, rho_k e^(b_k.f) in the place of rho_k, f the weights of five rates, "
    "1 to 50 %. At the start eta = 1, rho = 0.1, b = 0, and s is 0.03 at 25 %."
)
KNOWN = "Phi: the matrix of the data for every block of 33 x 33 pixels, orthonormal rows."
CHOSEN = "y = W b of every block b, {entries}; Phi = L^-1 W with W W^T = L L^T and L^-1 y in the place of W and y."


def plug_and_play(term: BlockProjections, level: float) -> ADMM:
    """With the shipped denoiser as it is."""
    splitting = RatedSplitting(Identity(), shipped(), PENALTY * level**2, penalty=PENALTY)
    with torch.no_grad():
        splitting.weight_slope.copy_(torch.tensor([2 * log(factor) for factor in AT_RATES]))
    return ADMM(term, [splitting], start="data")


def parent(task: Any, level: float = LEVEL) -> ADMM:
    """Of matrices that come with the data."""
    return plug_and_play(BlockProjections(task.block), level)


def learned_parent(task: Any, level: float = LEVEL, *, binary: bool = False) -> ADMM:
    """Of measurements that begin as the principal components of pixels that resemble their neighbours."""
    return plug_and_play(LearnedProjections(task.m, task.block, binary=binary), level)


def schedule(steps: int, **rates: float) -> Callable[[int], Schedule]:
    """Two crops of 99 x 99 pixels at a time."""
    return through(steps, DENOISER, 2, {f"splittings.0.{name}": 1e-2 for name in OWN} | rates)


def baselines(system: System, task: Any) -> list[Baseline]:
    """Plug-and-play ADMM with the denoiser as it is, at one level."""

    recipe: Any = system.recipes[task.name]
    method: Any = partial(recipe.parent, task)
    return [Iterative("plug-and-play ADMM, the same denoiser", method, (0.02, 0.03, 0.05), 30)]


def _learned(name: str, title: str, summary: str, entries: str, binary: bool) -> System:
    return System(
        name=name,
        title=title,
        paradigm="inductive-bias",
        summary=summary,
        equations=EQUATIONS.format(matrix=CHOSEN.format(entries=entries)),
        references=(*REFERENCES, "shi2017deep", "zhang2020optimization"),
        recipes={
            "compressive_learned": Recipe(
                parent=partial(learned_parent, binary=binary),
                tying=Tying(tied=(DENOISER, MATRIX), untied=tuple(f"splittings.0.{name}" for name in OWN)),
                depth=DEPTH,
                schedule=schedule(LEARNED_STEPS, **{MATRIX: 2e-3}),
            )
        },
        baselines={"compressive_learned": baselines},
        not_exported={"compressive_learned": {"onnx": NO_ONNX}},
    )


SYSTEM = System(
    name="imaging/compressive",
    title="Compressive imaging with the shipped denoiser",
    paradigm="inductive-bias",
    summary="photographs from 1 to 50 % of their measurements through random projections of blocks, with one set of "
    "weights for all rates and matrices: plug-and-play ADMM with the shipped denoiser, trained through.",
    equations=EQUATIONS.format(matrix=KNOWN),
    references=(*REFERENCES, "zhang2018ista"),
    recipes={
        "compressive_rates": Recipe(
            parent=parent,
            tying=Tying(tied=(DENOISER,), untied=tuple(f"splittings.0.{name}" for name in OWN)),
            depth=DEPTH,
            schedule=schedule(STEPS),
            range=lambda task: {"measured": Range(100 * task.rates[0], 100 * task.rates[1])},
        )
    },
    baselines={"compressive_rates": baselines},
    apply={"compressive_rates": application(recovered)},
    not_exported={"compressive_rates": {"onnx": NO_ONNX}},
    variants=(
        _learned(
            "imaging/compressive_learned",
            "Learned measurements with the shipped denoiser",
            "photographs from a quarter of their measurements, which are learned with the network that recovers them: "
            "plug-and-play ADMM trained through.",
            "W (272, 1089) of real numbers learned with the network",
            False,
        ),
        _learned(
            "imaging/compressive_binary",
            "Learned binary measurements with the shipped denoiser",
            "photographs from a quarter of their measurements, each a sum and difference of pixels as mirrors that are "
            "flipped give it, which are learned with the network that recovers them.",
            "W (272, 1089) of -1 and 1 over 33 learned with the network",
            True,
        ),
    ),
)
