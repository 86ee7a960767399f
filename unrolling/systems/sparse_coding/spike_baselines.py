"""The recipe for ``Spikes`` and the methods that networks are compared with there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms import FISTA, Decoded, GramISTA
from unrolling.operators import Matrix
from unrolling.prox import hard_threshold
from unrolling.systems.base import Classical, Direct, Recipe
from unrolling.tasks.sparse.spikes import WINDOW, Spikes, running_median


def spikes_recipe(**own: Any) -> Recipe:
    """A recipe for ``Spikes``."""
    return Recipe(
        task=Spikes,
        classical=spikes,
        direct=lambda task: [
            Direct(
                "running median",
                _median_spikes(task),
                "differences below a level chosen on validation data are set to zero",
            )
        ],
        options={"density": 0.04},
        tag=lambda options: "" if options["density"] == 0.04 else f"density{options['density']:g}",
        **own,
    )


def spikes_parent(task: Spikes, weights: tuple[float, float] = (0.1, 0.3)) -> Decoded:
    """The lasso over smooth atoms and single samples, each kind with its weight; the estimate is the part of the single
    samples.
    """
    smooth, single = weights
    weight = torch.cat([torch.full((WINDOW,), smooth), torch.full((WINDOW,), single)])
    weight[0] = 0.0  # the mean is free
    part = torch.cat([torch.zeros(WINDOW, WINDOW), torch.eye(WINDOW)], dim=1)
    return Decoded(GramISTA(task.dictionary, weight), Matrix(part))


def spikes(task: Spikes) -> list[Classical]:
    """Both weights are chosen on validation data."""
    weights = tuple((a, b) for a in (0.03, 0.1, 0.3) for b in (0.03, 0.1, 0.2, 0.4))

    def accelerated(setting: tuple[float, float]) -> Decoded:
        parent = spikes_parent(task, setting)
        return Decoded(FISTA(parent.inner), parent.decoder)  # pyright: ignore[reportArgumentType]

    return [
        Classical("ISTA", lambda w: spikes_parent(task, w), weights, 1000, setting="weights"),
        Classical("FISTA", accelerated, weights, 400, setting="weights"),
    ]


def _median_spikes(task: Spikes) -> Callable[[Tensor], Tensor]:
    batch = task.validation[0]
    found = running_median(batch.data)

    def score(level: float) -> float:
        return float((hard_threshold(found, level) - batch.target).square().sum())

    level = min((0.1 * k for k in range(1, 20)), key=score)
    return lambda data: hard_threshold(running_median(data), level)
