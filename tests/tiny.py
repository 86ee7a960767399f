"""Tasks, networks and systems small enough to train and compare within a test."""

from dataclasses import fields, replace

import torch
from PIL import Image

import unrolling.evaluation.compare as compare
from unrolling import unroll
from unrolling.algorithms import FISTA, GramISTA
from unrolling.systems.base import System
from unrolling.systems.catalogue import find
from unrolling.tasks.baselines import Iterative
from unrolling.tasks.images.sources import drawn as picture
from unrolling.tasks.sparse.baselines import scikit_learn
from unrolling.tasks.sparse.recovery import Recovery
from unrolling.training.stages import scaled

compare.LEAST_STEPS = 24  # of generic networks: enough to have a row
ALL = ("encoder", "inhibition", "threshold")


def recovery(kind=Recovery, **changes):
    """8 measurements of 16 unknowns."""
    return kind(**{"m": 8, "n": 16, "probability": 0.2, "held_out": 16, **changes})


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


class FewMethods(Recovery):
    """Recovery with three methods to compare with."""

    name = "recovery"

    def baselines(self, size):
        return [
            Iterative("ISTA", lambda w: GramISTA(self.dictionary, w), (0.1,), 60),
            Iterative("FISTA", lambda w: FISTA(GramISTA(self.dictionary, w)), (0.01, 0.1), 260),
            scikit_learn(self, self.dictionary, "lasso_cd", "lasso, coordinate descent", "alpha", (0.003,), limit=50),
        ]


class Small(System):
    """A system whose task has few samples and few methods to compare with."""

    def task(self, name, **options):
        return FewMethods(**{"held_out": 120, **options})


def system():
    """LISTA on small recovery, with a short training."""
    lista = find("sparse_coding/lista")
    recipe = lista.recipes["recovery"]
    short = replace(recipe, schedule=lambda depth: scaled(recipe.schedule(depth), 24))
    own = {field.name: getattr(lista, field.name) for field in fields(lista)}
    return Small(**{**own, "recipes": {"recovery": short}})
