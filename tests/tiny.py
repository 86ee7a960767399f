"""Tasks, networks and systems small enough to train and compare within a test."""

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from PIL import Image

from unrolling import unroll
from unrolling.algorithms import FISTA, GramISTA
from unrolling.systems.base import Classical
from unrolling.systems.catalogue import find
from unrolling.tasks.sparse.recovery import Recovery

ALL = ("encoder", "inhibition", "threshold")


def recovery(kind=Recovery, **changes):
    """8 measurements of 16 unknowns."""
    return kind(**{"m": 8, "n": 16, "probability": 0.2, "held_out": 16, **changes})


def picture(height, width, seed=0):
    """A smooth picture with texture, uint8."""
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.uniform(60, 190, (height // 8 + 1, width // 8 + 1)), np.ones((8, 8)))[:height, :width]
    return (coarse + rng.normal(0, 12, (height, width))).clip(0, 255).astype(np.uint8)


def write_pictures(root):
    """Folders train, validation and test of small pictures, of several sizes."""
    for part, sizes in {
        "train": [(80, 64), (64, 100)],
        "validation": [(48, 48)],
        "test": [(64, 100), (37, 52)],
    }.items():
        (root / part).mkdir()
        for number, (height, width) in enumerate(sizes):
            Image.fromarray(picture(height, width, seed=10 * len(part) + number)).save(
                root / part / f"{part}{number}.png"
            )
    return root


def network(task, depth=3, tied=(), untied=ALL):
    """LISTA."""
    return unroll(GramISTA(task.dictionary, 0.1), depth, tied=tied, untied=untied)


def moved(network, seed=0, size=0.1):
    """The network with every learned tensor away from its classical value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in network.named_learned():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return network


def bits(network):
    """A copy of everything a network holds."""
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(left, right):
    """Whether two dicts hold the same tensors to the bit."""
    return left.keys() == right.keys() and all(torch.equal(tensor, right[name]) for name, tensor in left.items())


def system():
    """LISTA with its recovery recipe cut down: two classical methods, two peers, a short training of the generic
    network.
    """
    lista = find("sparse_coding/lista")
    recipe = replace(
        lista.recipes["recovery"],
        task=partial(Recovery, held_out=120),
        classical=lambda task: [
            Classical("ISTA", lambda w: GramISTA(task.dictionary, w), (0.1,), 60),
            Classical("FISTA", lambda w: FISTA(GramISTA(task.dictionary, w)), (0.01, 0.1), 260),
        ],
        generic_steps=20,
        generic_batch=32,
    )
    return replace(lista, recipes={"recovery": recipe})
