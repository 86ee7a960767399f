"""Deep NMF: multiplicative updates with a dictionary per layer, trained to separate (Hershey, Le Roux and Weninger
2014; survey, box "Deep (Unrolled) NMF").
"""

from __future__ import annotations

from unrolling.algorithms.sound.nmf_separation import NMFSeparation
from unrolling.core import Unrolled
from unrolling.systems.base import Recipe, System, Tying
from unrolling.systems.speech._files import application
from unrolling.tasks.speech.enhancement import Enhancement
from unrolling.tasks.speech.mixtures import Mixtures
from unrolling.training.stages import Cosine, Schedule, Stage

SPARSITY = 0.3  # of the parent; chosen on validation data at ten iterations
TRAINED = 3  # the last so many layers have dictionaries of their own; those before keep the one that sparse NMF learned


def parent(
    task: Enhancement, *, beta: float = 1.0, sparsity: float = SPARSITY, constrained: bool = True
) -> NMFSeparation:
    """Sparse NMF with the dictionaries of speech and noise side by side, and its Wiener-like estimate."""
    return NMFSeparation(
        task.stft, task.dictionaries, beta=beta, sparsity=sparsity, context=task.context, constrained=constrained
    )


def schedule(depth: int) -> Schedule:
    """Discriminative: on the separated signal. The last layers' dictionaries and sparsities, and the dictionary of the
    estimate.
    """
    last = tuple(range(max(0, depth - TRAINED), depth))
    return [
        Stage(
            800,
            rate=3e-2,
            batch=8,
            layers=last,
            parameters=("dictionary", "sparsity", "reconstruction"),
            annealing=Cosine(0.05, 1e-2),
            clip=10.0,
        )
    ]


def context(network: Unrolled, task: Mixtures) -> int:
    """Samples that an estimate depends on: of a frame, and of its neighbours."""
    layer = network.layers[0]
    assert isinstance(layer, NMFSeparation)
    return task.stft.size + layer.context // 2 * task.stft.hop


SYSTEM = System(
    name="speech/deep_nmf",
    title="Deep NMF",
    summary="speech out of noise: sparse non-negative matrix factorisation with a dictionary per layer, trained for "
    "the separated signal.",
    equations=(
        "H[k+1] = H[k] . (W[k]^T (M . (W[k] H[k])^(b-2))) / (W[k]^T (W[k] H[k])^(b-1) + mu[k]),    M = |STFT x|, b = "
        "1,  |w_r| = 1\nspeech = STFT^-1( (V_s H_s) / (V_s H_s + V_n H_n) STFT x )\n"
        "at the start W[k] = V = [W_s W_n], the dictionaries that sparse NMF finds in speech and in noise: sparse NMF "
        "with W fixed.\n"
        "W[k] = exp(R) scaled to unit columns (or moved by multiplicative updates); the last three layers, V and "
        "their mu are learned."
    ),
    references=("hershey2014deep", "eggert2004sparse"),
    recipes={
        "enhancement": Recipe(
            parent=parent,
            tying=Tying(tied=("reconstruction",), untied=("dictionary", "sparsity")),
            depth=10,
            schedule=schedule,
        )
    },
    apply={"enhancement": application(("the speech", "the noise"), context, ("-speech.wav", "-noise.wav"))},
)
