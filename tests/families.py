"""One system for each family of operators, one step of each kind: `make test` compiles and exports these, the nightly
run all.
"""

import pytest
import torch

from unrolling.systems.catalogue import catalogue, find

REPRESENTATIVES = {
    "communications/ep_net": "matrices factored for each sample (Cholesky), learned damping",
    "communications/oamp_net": "eigenvectors of complex channels, posterior means over an alphabet",
    "communications/viterbinet": "trellis",
    "graphs/message_passing": "messages along lists of edges: gather, scatter, logarithms of sums of exponentials",
    "imaging/tnrd": "convolutions with tables of radial basis functions",
    "medical/admm_csnet": "Fourier transforms of complex images, piecewise linear functions",
    "medical/learned_pdhg": "sparse matrices (the Radon transform), 3 x 3 convolutions with PReLU",
    "sparse_coding/hyperlista": "sorting, the largest entries, support selection",
    "sparse_coding/lcod": "one entry of many: argmax, gather, scatter",
    "sparse_coding/lista": "dense matrices, soft threshold",
    "sparse_coding/na_alista": "recurrent networks (LSTM cells)",
    "speech/misi": "short-time Fourier transforms, strided and transposed convolutions",
    "tracking/kalmannet_alone": "a layer for each moment, written into its place; recurrent networks (GRU cells)",
}


def in_turn(which, of=3):
    """Every third of the representatives: `make test` compiles one third and exports the others in a form each, the
    nightly run all in every way.
    """
    return sorted(REPRESENTATIVES)[which::of]


def by_day(*values, count=1):
    """Parameters of a test: the first, or so many, and the others in the nightly run."""
    return [
        pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=() if k < count else pytest.mark.nightly)
        for k, value in enumerate(values)
    ]


def some(names, *chosen):
    """Parameters of a test: those chosen, one for each kind of step, and in the nightly run all."""
    assert set(chosen) <= set(names)
    return [pytest.param(name, marks=() if name in chosen else pytest.mark.nightly) for name in names]


def some_recipes():
    """(system, task) of every recipe: those of the representatives, and in the nightly run all."""
    return [
        pytest.param(name, task, marks=() if name in REPRESENTATIVES else pytest.mark.nightly)
        for name in catalogue()
        for task in find(name).recipes
    ]


def of_each(held):
    """Parameters of a test of every recipe: variants, which differ from a system in little, in the nightly run."""
    variants = {variant.name for system in catalogue().values() for variant in system.variants}
    return [pytest.param(*each, marks=pytest.mark.nightly if each[0] in variants else ()) for each in held]


def shape_of(target):
    """That of an estimate, as far as the target has it: of several tensors the batch alone."""
    return target.shape if isinstance(target, torch.Tensor) else target[0].shape[:1]


def answers(estimate, shape):
    """Whether an estimate has the shape of a target; scores of classes have one more, the last or the second."""
    return estimate.shape[: len(shape)] == shape or (*estimate.shape[:1], *estimate.shape[2:]) == tuple(shape)
