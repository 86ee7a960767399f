"""Deep NMF: multiplicative updates with a dictionary per layer, trained to separate (Hershey, Le Roux and Weninger
2014; survey, box "Deep (Unrolled) NMF").
"""

from __future__ import annotations

from unrolling.algorithms.sound.nmf_enhancement import NMFEnhancement
from unrolling.core import Unrolled
from unrolling.files.sound import Applied
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.conditions import Condition, Range
from unrolling.systems.speech._caution import REACH, cautious
from unrolling.systems.speech._files import application, ratio
from unrolling.tasks.speech.enhancement import Enhancement
from unrolling.tasks.speech.mixtures import Mixtures
from unrolling.training.stages import Cosine, Schedule, Stage

RATIO = "signal-to-noise ratio"
SPARSITY = 0.3  # of the parent; chosen on validation data at ten iterations
TIED = ("reconstruction", "exponent", "offset", "models", "signs")
TRAINED = 3  # the last so many layers have dictionaries of their own; those before keep the one that sparse NMF learned


def parent(
    task: Enhancement, *, beta: float = 1.0, sparsity: float = SPARSITY, constrained: bool = True
) -> NMFEnhancement:
    """Sparse NMF with the dictionaries of speech and noise side by side, and its Wiener-like estimate."""
    return NMFEnhancement(
        task.stft,
        task.dictionaries,
        beta=beta,
        sparsity=sparsity,
        context=task.context,
        constrained=constrained,
        detached=True,
    )


def schedule(depth: int) -> Schedule:
    """Discriminative: on the separated signal. The last layers' dictionaries and sparsities, and the dictionary of the
    estimate.
    """
    last = tuple(range(max(0, depth - TRAINED), depth))
    return [
        Stage(
            1200,
            rate=3e-2,
            batch=8,
            layers=last,
            parameters=("dictionary", "sparsity", *TIED),
            annealing=Cosine(0.05, 1e-2),
            clip=10.0,
        )
    ]


def context(network: Unrolled, task: Mixtures) -> int:
    """Samples that an estimate depends on: of a frame, of its neighbours, and of what is given back of the noise."""
    layer = network.layers[0]
    assert isinstance(layer, NMFEnhancement)
    return task.stft.size + (layer.context // 2 + layer.reach) * task.stft.hop + REACH


def trained_range(task: Enhancement) -> dict[str, Range]:
    """The signal-to-noise ratios of the mixtures."""
    return {RATIO: Range(task.low, task.high)}


def found(applied: Applied) -> list[Condition]:
    """The ratio of what was taken for speech and what was taken for noise."""
    return ratio(
        RATIO, applied, "below it speech is lost with the noise; above it there is next to nothing to take away"
    )


SYSTEM = System(
    name="speech/deep_nmf",
    title="Deep NMF",
    paradigm="objective",
    summary="speech out of noise: sparse non-negative matrix factorisation with a dictionary per layer, trained for "
    "the separated signal.",
    equations=(
        "H[k+1] = H[k] . (W[k]^T (M . (W[k] H[k])^(b-2))) / (W[k]^T (W[k] H[k])^(b-1) + mu[k]),    M = |STFT x|, b = "
        "1,  |w_r| = 1\n"
        "speech = STFT^-1( STFT x / (1 + exp(-z)) ),    z = p log(V_s H_s / V_n H_n) + sum_k v_k m_k + sum_k u_k r_k "
        "+ a\n"
        "m: ratios of the two models over longer times and all frequencies; r: how far the recording lies above its "
        "own floor,\nand how far what is taken for noise follows the speech.\n"
        "at the start W[k] = V = [W_s W_n], the dictionaries that sparse NMF finds in speech and in noise, p = 1 and v "
        "= u = a = 0: sparse NMF with W fixed and the mask V_s H_s / (V_s H_s + V_n H_n).\n"
        "W[k] = exp(R) scaled to unit columns (or moved by multiplicative updates); the last three layers and their "
        "mu, V, p, v, u and a are learned."
    ),
    references=("hershey2014deep", "eggert2004sparse"),
    recipes={
        "enhancement": Recipe(
            parent=parent,
            tying=Tying(tied=TIED, untied=("dictionary", "sparsity")),
            depth=10,
            schedule=schedule,
            range=trained_range,
        )
    },
    apply={
        "enhancement": application(
            ("the speech", "the noise"), context, ("-speech.wav", "-noise.wav"), found=found, after=cautious
        )
    },
)
