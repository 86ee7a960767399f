"""JPEG artefacts of any quality with a learned multiscale prior; what the file says of every coefficient stays true."""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolling.algorithms.images.multiscale_restoration import MultiscaleDeblocking
from unrolling.networks.multiscale import MultiscaleResidual
from unrolling.systems.base import Recipe, System
from unrolling.systems.conditions import Range
from unrolling.systems.imaging._files import JPEGWay, deblocking
from unrolling.systems.imaging._multiscale import (
    DEPTH,
    EQUATIONS,
    MARGIN,
    OFTEN,
    REFERENCES,
    TILE,
    build,
    schedule,
    tying,
)
from unrolling.tasks.baselines import Baseline, Iterative

PERIOD = 4  # cells of 2 x 2 pixels in a block of 8 x 8
# The part of the network's change that is taken, by quality: at high ones a few photographs of those that are held out
# from training would lose thousandths of a dB by all of it. Above, the file comes back.
PARTS = ((80.0, 1.0), (90.0, 0.5), (95.0, 0.4))


def _part(quality: float) -> float:
    """All of the change up to quality 80, none above 95."""
    if quality > PARTS[-1][0]:
        return 0.0
    return float(np.interp(quality, [x for x, _ in PARTS], [part for _, part in PARTS]))


def parent(task: Any) -> MultiscaleDeblocking:
    """Projections onto what the file says alone, which give the decoded picture back."""
    return MultiscaleDeblocking(MultiscaleResidual(period=PERIOD))


def baselines(system: System, task: Any) -> list[Baseline]:
    """The parent."""
    return [Iterative("projections onto the file alone", lambda _: parent(task), (0.0,), DEPTH)]


SYSTEM = System(
    name="imaging/deblock",
    title="Multiscale deblocking",
    paradigm="inductive-bias",
    summary="photographs without the blocks and ringing of JPEG, whatever the quality: three projections onto what the "
    "file says of every coefficient, in turn with small networks on two scales, averaged over mirror images.",
    equations=EQUATIONS.format(
        often=OFTEN,
        side="2 x 2",
        wide=24,
        deep=32,
        known="H brings each cosine coefficient into [q - 1/2, q + 1/2] Q;    l: the root mean square of the file's "
        "nine lowest quantisation steps over 12^(1/2). R_k is told where in a block of 8 x 8 a cell lies; 97,008 "
        "numbers.",
    ),
    references=(*REFERENCES, "chen2017trainable"),
    recipes={
        "deblocking_qualities": Recipe(
            parent=parent,
            build=build(parent),
            tying=tying(),
            depth=DEPTH,
            schedule=schedule(10_000, 9_000, again=(10_000, 8_000, 6_000)),
            range=lambda task: {"quality": Range(task.lowest, task.highest)},
        )
    },
    baselines={"deblocking_qualities": baselines},
    apply={
        "deblocking_qualities": deblocking(
            JPEGWay(_part, lambda network: MARGIN, lambda task: f"{task.lowest} to {task.highest}", TILE)
        )
    },
)
