"""Deep NMF: multiplicative updates with a dictionary per layer, trained to separate (Hershey, Le Roux and Weninger
2014; survey, box "Deep (Unrolled) NMF").
"""

from __future__ import annotations

from pathlib import Path

from unrolling.algorithms.sound.nmf_separation import NMFSeparation
from unrolling.core import Unrolled
from unrolling.systems.base import Classical, Recipe, Reference, System, Tying
from unrolling.systems.speech.sound import application
from unrolling.tasks.speech.mixtures import Enhancement, Mixtures
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


def classical(task: Enhancement) -> list[Classical]:
    """Sparse NMF with the sparsity chosen on validation data, for the two divergences in use."""
    weights = (0.03, 0.1, 0.3, 1.0, 3.0)
    return [
        Classical("sparse NMF, beta 1", lambda w: parent(task, sparsity=w), weights, 200),
        Classical("sparse NMF, beta 2", lambda w: parent(task, beta=2.0, sparsity=w), (*weights, 10.0), 200),
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
    references=(
        Reference(
            "Hershey, J. R., Le Roux, J. and Weninger, F.",
            "Deep unfolding: model-based inspiration of novel deep architectures",
            "arXiv",
            2014,
            "10.48550/arXiv.1409.2574",
        ),
        Reference(
            "Eggert, J. and Körner, E.",
            "Sparse coding and NMF",
            "IEEE Int. Joint Conf. Neural Networks",
            2004,
            "10.1109/IJCNN.2004.1381036",
        ),
    ),
    home=Path(__file__).parent,
    recipes={
        "enhancement": Recipe(
            task=Enhancement,
            parent=parent,
            depth=10,
            tying=lambda task: Tying(tied=("reconstruction",), untied=("dictionary", "sparsity")),
            schedule=schedule,
            classical=classical,
            parent_name="sparse NMF, beta 1",
            generic_steps=1500,
            generic_batch=8,
            threads=1,
            notes=(
                "SI-SDR improvement counts the speech alone, by utterance; the interval resamples utterances.",
                "The generic networks see a frame and its neighbours and give masks; they are trained on the same "
                "signals and loss.",
            ),
            apply=application(("the speech", "the noise"), context),
            options={
                "low": -6.0,
                "high": 9.0,
                "atoms": 50,
                "context": 1,
                "sparsity": 0.1,
                "seconds": 3.0,
                "unseen": "",
                "perceptual": 0,
            },
            tag=lambda options: "-".join(
                f"{key}{options[key]:g}"
                for key, usual in (("atoms", 50), ("context", 1), ("low", -6.0), ("high", 9.0))
                if options[key] != usual
            ),
        )
    },
)
