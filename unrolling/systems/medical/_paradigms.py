"""The other paradigms of deep unfolding on the iteration of CORONA, robust principal component analysis: learned
hyperparameters, a learned correction, networks as inductive bias (Shlezinger et al. 2025).

CORONA itself is the learned objective. Settings are ours: of the paper's own study only the abstract was at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unrolling.algorithms.splitting.robust_pca import RobustPCA
from unrolling.core import Convergent
from unrolling.networks._movie_filters import MovieCorrection, MovieShrink
from unrolling.systems.base import Recipe, System, Tying
from unrolling.tasks.medical.clutter import Clutter
from unrolling.training.stages import Cosine, Schedule, Stage

DEPTH = 10
LEVELS = 0.33, 0.25  # lambda1 over sqrt(pixels) + sqrt(frames), lambda2 over sqrt(frames): as singular values of noise
REACH, DECAY = 1.0, 0.8  # of all corrections together, over the first step; of what is left, after each step
NUMBERS = ("step_size", "low_rank_threshold", "sparse_threshold")
REFERENCES = ("shlezinger2025deep", "solomon2020deep")
NOT_EXPORTED = {
    "clutter": {"onnx": "ONNX has no eigenvalues, which singular values are thresholded with (aten::_linalg_eigh)"}
}


def weights(task: Clutter) -> tuple[float, float]:
    """lambda1 and lambda2 of the parent for movies of the task's size."""
    return LEVELS[0] * (task.size + task.frames**0.5), LEVELS[1] * task.frames**0.5


def classical(task: Clutter, **proxes: Any) -> RobustPCA:
    """ISTA for robust principal component analysis."""
    return RobustPCA(*weights(task), **proxes, volumes=True)


def corrected(task: Clutter) -> Convergent:
    """ISTA, with a correction that is zero at the start."""
    return Convergent(classical(task), MovieCorrection(), reach=REACH, decay=DECAY)


def networked(task: Clutter) -> RobustPCA:
    """ISTA, with a network in the place of the shrinkage of S: the identity at the start."""
    return classical(task, sparse_prox=MovieShrink())


def schedule(*numbers: str) -> Callable[[int], Schedule]:
    """All layers at once, on both parts; these parameters at a rate of their own."""
    stage = Stage(1500, rate=3e-3, rates=dict.fromkeys(numbers, 1e-2), batch=4, annealing=Cosine(0.02, 1e-2), clip=1.0)
    return lambda depth: [stage]


STEP = "L' = L - m G,  S' = S - m G,  G = L + S - D;    "
VARIANTS = (
    System(
        name="medical/corona_hyperparameters",
        title="Robust PCA, learned hyperparameters",
        paradigm="hyperparameters",
        summary="as medical/corona, but the algorithm as it is, with a step size and two thresholds of its own in "
        "every layer: 30 learned numbers.",
        equations=STEP + "L <- T_t1[l](L'),  S <- S_t2[l](S'),  m = m[l]\n"
        "T shrinks singular values, S_t the row of each pixel by its norm. At the start m = 0.5, t1 = m lambda1, t2 = "
        "m lambda2: ISTA for 0.5 |D - L - S|^2 + lambda1 |L|_* + lambda2 |S|_{1,2}.",
        references=REFERENCES,
        recipes={"clutter": Recipe(classical, Tying(untied=NUMBERS), DEPTH, schedule(*NUMBERS))},
        not_exported=NOT_EXPORTED,
    ),
    System(
        name="medical/corona_correction",
        title="Robust PCA, learned correction",
        paradigm="correction",
        summary="as medical/corona, but the algorithm as it is, and a learned term added to every step that vanishes "
        "with depth: it converges to what the algorithm does, whatever was learned.",
        equations="(L, S) <- h(L, S) + e[l],    h the step of ISTA for 0.5 |D - L - S|^2 + lambda1 |L|_* + lambda2 "
        "|S|_{1,2}\ne[l] = min(1, b[l] / |d|) d,    d = C[l](D, h(L, S)),    b[l] = (1 - q) q^l r |h(0) - 0|,  q = "
        "0.8, r = 1\nC[l]: two convolutions of 3 x 3 x 3 with 8 channels and a ReLU between them; zero at the start.",
        references=(*REFERENCES, "combettes2001quasi"),
        recipes={"clutter": Recipe(corrected, Tying(untied=("correction",)), DEPTH, schedule())},
        not_exported=NOT_EXPORTED,
    ),
    System(
        name="medical/corona_inductive_bias",
        title="Robust PCA, network as inductive bias",
        paradigm="inductive-bias",
        summary="as medical/corona, but a small network in the place of the shrinkage of the sparse part, in every "
        "layer.",
        equations=STEP + "L <- T_t1[l](L'),  S <- S' + C[l](S'),  m = m[l]\n"
        "C[l]: two convolutions of 3 x 3 x 3 with 8 channels and a ReLU between them; zero at the start.",
        references=REFERENCES,
        recipes={
            "clutter": Recipe(networked, Tying(untied=(*NUMBERS[:2], "sparse_prox")), DEPTH, schedule(*NUMBERS[:2]))
        },
        not_exported=NOT_EXPORTED,
    ),
)
