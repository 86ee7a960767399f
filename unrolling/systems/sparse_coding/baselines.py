"""What sparse-coding systems have in common, by task: the recipe's task and the methods that every one of them is
compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms import AMP, FISTA, VAMP, CoordinateDescent, Decoded, GramISTA, SynthesisISTA
from unrolling.algorithms.messages.state_evolution import SparsePrior, measurement_noise
from unrolling.algorithms.sparse.ista import Prox
from unrolling.core import Iteration
from unrolling.operators import BlockSensing, PatchDictionary, dct_atoms
from unrolling.prox import BlockSoftThreshold, nonnegative, soft_threshold
from unrolling.prox.bernoulli_gaussian import BernoulliGaussian, TunedBernoulliGaussian
from unrolling.systems.base import Classical, Peer, Recipe
from unrolling.tasks.images.photographs import BLOCK, Photographs
from unrolling.tasks.sparse.codes import SIDE, Codes
from unrolling.tasks.sparse.recovery import Recovery

CODE_NOTES = (
    "How many iterations a network saves depends on the patches: whitening brings the dictionary close to orthogonal "
    "(L = |A|^2 is about 11 for 400 atoms "
    "and 4 for 100), and FISTA then converges fast. For 100 atoms it needs 6 and 12 iterations for the error of 1 and "
    "3 layers; without whitening (--set whiten=0, L about 14) it needs 17 and 32 (python -m benchmarks.codes).",
    "Layers are counted from x = 0; Gregor and LeCun start from S_theta(W_e y), so that their first iteration is the "
    "second layer here.",
)
# Weight continuation starts where all but the strongest coefficients are zero.
FIRST_WEIGHT, RATE = 0.4, 0.9
LEAST_NOISE = 1e-10  # the noise variance that a method is told where there is none


def photographs_recipe(**own: Any) -> Recipe:
    """A recipe for ``Photographs``; the system brings parent, depth, tying, schedule and the generic network's
    budget.
    """
    return Recipe(
        task=Photographs,
        classical=photographs,
        peers=photograph_peers,
        dictionary=block_dictionary,
        decode=block_decode,
        threads=1,
        options={"ratio": 0.25},
        tag=lambda options: "" if options["ratio"] == 0.25 else f"ratio{options['ratio']:g}",
        **own,
    )


def codes_recipe(atoms: int, notes: tuple[str, ...] = (), **own: Any) -> Recipe:
    """A recipe for ``Codes``."""
    return Recipe(
        task=Codes,
        classical=codes,
        peers=code_peers,
        dictionary=lambda task: task.dictionary,
        atoms=lambda layer: layer.encoder.matrix.detach().reshape(-1, SIDE, SIDE),
        notes=(*notes, *CODE_NOTES),
        options={"atoms": atoms, "alpha": 0.05, "whiten": 1, "train_patches": 100_000},
        tag=code_tag,
        **own,
    )


RECOVERY_OPTIONS: Mapping[str, Any] = {
    "m": 250,
    "n": 500,
    "probability": 0.1,
    "snr": float("inf"),
    "condition": 0.0,
    "coherence": 0.0,
    "block": 5,
    "group": 1,
    "nonnegative": 0,
    "densest": 0.0,
}


def recovery_recipe(
    *,
    options: Mapping[str, Any] | None = None,
    more: Callable[[Recovery], list[Classical]] = lambda task: [],
    **own: Any,
) -> Recipe:
    """A recipe for ``Recovery``.

    Args:
        options: where the defaults differ from those of the reference problem.
        more: classical methods beside those of every recipe.
        own: the rest of the recipe.
    """
    return Recipe(
        task=Recovery,
        classical=lambda task: [*recovery(task), *more(task)],
        peers=recovery_peers,
        dictionary=lambda task: task.dictionary,
        options={**RECOVERY_OPTIONS, **(options or {})},
        tag=recovery_tag,
        **own,
    )


def recovery(task: Recovery) -> list[Classical]:
    """The lasso, or its group or non-negative form, and message passing with a posterior mean; weights and damping are
    chosen on validation data.
    """
    weights = (0.001, 0.003, 0.01, 0.03, 0.1)
    return [*_lasso(task.dictionary, weights, 3000, 1000, penalty(task)), *message_passing(task)]


def penalty(task: Recovery) -> Prox:
    """The shrinkage that goes with what is known of the signals: their sign, their groups."""
    if task.group > 1:
        return BlockSoftThreshold(task.group, task.nonnegative)
    return nonnegative if task.nonnegative else soft_threshold


def message_passing(task: Recovery) -> list[Classical]:
    """AMP and VAMP that are told the prior, and VAMP the noise level too, and VAMP that is told nothing.

    What is told would be false of signals in groups, of one sign, or of different densities, so that only the last
    takes part there.
    """
    dictionary, fitted = task.dictionary, TunedBernoulliGaussian()
    untold = Classical(
        "VAMP, told nothing",
        lambda damping: VAMP(dictionary, fitted, damping=damping),
        (0.0, 0.2),
        200,
        setting="damping",
    )
    if not task.independent:
        return [untold]
    prior = SparsePrior(task.probability)
    told, m, n = BernoulliGaussian(*prior), *dictionary.shape
    noise = max(measurement_noise(task.snr, prior, m / n), LEAST_NOISE)
    return [
        Classical(
            "AMP, told the prior",
            lambda damping: AMP(dictionary, told, damping=damping),
            (0.0, 0.5, 0.8),
            200,
            setting="damping",
        ),
        Classical(
            "VAMP, told prior and noise",
            lambda damping: VAMP(dictionary, told, noise, damping=damping),
            (0.0, 0.2),
            200,
            setting="damping",
        ),
        untold,
    ]


def codes(task: Codes) -> list[Classical]:
    """The task prescribes the weight."""
    return _lasso(task.dictionary, (task.alpha,), 2000, 500)


def _lasso(
    dictionary: Tensor, weights: tuple[float, ...], slow: int, fast: int, prox: Prox = soft_threshold
) -> list[Classical]:
    def ista(weight: float) -> GramISTA:
        return GramISTA(dictionary, weight, prox=prox)

    def continued(setting: tuple[float, float, float]) -> Iteration:
        weight, ratio, rate = setting
        return FISTA(ista(weight), continuation=(ratio, rate))

    # Where the task prescribes the weight the path to it is tuned instead.
    paths = [(2.0, 0.7), (2.0, 0.8), (4.0, 0.7), (4.0, 0.8), (4.0, 0.85), (4.0, 0.9), (8.0, 0.8), (8.0, 0.9)]
    one = len(weights) == 1
    continuations = (
        tuple((weights[0], *path) for path in paths)
        if one
        else tuple((w, max(FIRST_WEIGHT / w, 1.0), RATE) for w in weights)
    )
    found = [
        Classical("ISTA", ista, weights, slow),
        Classical("FISTA", lambda w: FISTA(ista(w)), weights, fast),
        Classical("FISTA with continuation", continued, continuations, fast),
    ]
    if prox is soft_threshold:
        found.append(Classical("coordinate descent", lambda w: CoordinateDescent(dictionary, w), weights, slow))
    return found


def recovery_peers(task: Recovery) -> list[Peer]:
    """Lasso by coordinate descent, and orthogonal matching pursuit told a little more than the mean number of
    non-zeros.
    """
    count = round(1.4 * task.density * task.dictionary.shape[1])
    return [
        Peer("lasso_cd", "lasso, coordinate descent", {"alpha": 0.003}, 50),
        Peer("omp", "orthogonal matching pursuit", {"n_nonzero_coefs": count}, 50),
    ]


def code_peers(task: Codes) -> list[Peer]:
    """The same lasso, solved by scikit-learn."""
    return [
        Peer("lasso_cd", "lasso, coordinate descent", {"alpha": task.alpha}, 100),
        Peer("lasso_lars", "lasso, LARS", {"alpha": task.alpha}, 100),
    ]


def photographs(task: Photographs) -> list[Classical]:
    """The network's own lasso, over overlapping patches, and the one over disjoint blocks; weights are chosen on
    validation photographs.
    """

    def patches(weight: float) -> SynthesisISTA:
        atoms = dct_atoms(8)
        weights = torch.full((len(atoms),), weight)
        weights[0] = 0
        return SynthesisISTA(task.sensing, PatchDictionary(atoms / 2, 4), weights)

    def continued(weight: float) -> FISTA:
        return FISTA(patches(weight), continuation=(max(FIRST_WEIGHT / weight, 1.0), RATE))

    def blocks(inner: Callable[[float], Iteration]) -> Callable[[float], Decoded]:
        return lambda weight: Decoded(inner(weight), block_decoder(task))

    dictionary = block_dictionary(task)
    return [
        Classical("ISTA", patches, (0.01,), 200),
        Classical("FISTA", lambda w: FISTA(patches(w)), (0.003, 0.01), 1200, tuning=100),
        Classical("FISTA with continuation", continued, (0.01,), 600),
        Classical(
            "FISTA, disjoint blocks",
            blocks(lambda w: FISTA(GramISTA(dictionary, block_weight(w)))),
            (0.02, 0.04),
            600,
            tuning=100,
        ),
        Classical(
            "coordinate descent, disjoint blocks",
            blocks(lambda w: CoordinateDescent(dictionary, block_weight(w))),
            (0.02,),
            300,
        ),
    ]


def block_dictionary(task: Photographs) -> Tensor:
    """A = Phi times the DCT of a block, columns normalised, (m, 256)."""
    matrix = task.sensing.matrix @ _block_basis()
    return matrix / torch.linalg.vector_norm(matrix, dim=0)


def _block_basis() -> Tensor:
    """The DCT of a block as columns, (256, 256)."""
    return dct_atoms(BLOCK).reshape(BLOCK**2, -1).T.contiguous()


def block_weight(weight: float) -> Tensor:
    weights = torch.full((BLOCK**2,), weight)
    weights[0] = 0
    return weights


def _block_synthesis(task: Photographs) -> Tensor:
    """From codes over normalised columns to pixels, (256, 256)."""
    return _block_basis() / torch.linalg.vector_norm(task.sensing.matrix @ _block_basis(), dim=0)


def block_decoder(task: Photographs) -> BlockSensing:
    return BlockSensing(_block_synthesis(task).T.contiguous()).H  # pyright: ignore[reportReturnType]


def block_decode(task: Photographs) -> Callable[[Tensor], Tensor]:
    """Codes (rows, 256) to pixels (rows, 256)."""
    synthesis = _block_synthesis(task)
    return lambda codes: codes @ synthesis.T


def photograph_peers(task: Photographs) -> list[Peer]:
    """Orthogonal matching pursuit on disjoint blocks."""
    return [Peer("omp", "orthogonal matching pursuit, disjoint blocks", {"n_nonzero_coefs": 16}, 1)]


def code_tag(options: Mapping[str, Any]) -> str:
    """Number of atoms, and whether patches are whitened."""
    weight = "" if options["alpha"] == 0.05 else f"-alpha{options['alpha']:g}"
    return f"{options['atoms']}{'' if options['whiten'] else '-plain'}{weight}"


def recovery_tag(options: Mapping[str, Any]) -> str:
    """Sizes, density and noise, and what is unlike the reference problem."""
    density = f"{options['probability']:g}" + (f"to{options['densest']:g}" if options["densest"] else "")
    parts = [f"{options['m']}x{options['n']}-p{density}-snr{options['snr']:g}"]
    parts += [f"{name}{options[name]:g}" for name in ("condition", "coherence") if options[name]]
    parts += [f"block{options['block']}"] if options["coherence"] and options["block"] != 5 else []
    parts += [f"group{options['group']}"] if options["group"] > 1 else []
    return "-".join(parts + (["nonnegative"] if options["nonnegative"] else []))
