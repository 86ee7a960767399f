"""What the sparse-coding networks for super-resolution start from."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn.functional import pad

from unrolling.algorithms.images.coupled_dictionary import pursued
from unrolling.algorithms.images.coupled_patches import (
    CoupledSparseCoding,
    NormalisedSparseCoding,
    patch_features,
    stages_for,
)
from unrolling.core import Unrolled
from unrolling.files import pictures as pixels
from unrolling.operators.resize import resize
from unrolling.systems.base import Application
from unrolling.systems.imaging._enlarging import TRAINED, super_resolution
from unrolling.systems.options import Option
from unrolling.tasks.baselines import Baseline, Iterative, Method
from unrolling.tasks.images.baselines import srcnn_on
from unrolling.training import files

ATOMS, FEATURE, PATCH = 128, 9, 5
START = Path(__file__).parent / "dictionaries" / "scn.safetensors"
# lambda of the parents, chosen on validation photographs
WEIGHT, NORMALISED = 0.02, 0.05
RANGE = TRAINED
MARGIN = 6  # pixels of the small image that an output depends on, in each direction: 2 of bicubic weights, 3 of patches
LEAST = 4  # pixels along a side that a network is given
FACTOR = Option("factor", int, "by how much the picture becomes larger: 2, 3 or 4", default="as the weights, 2")
# Everything that a step of either form uses
LEARNED = ("features", "encoder", "inhibition", "decoder", "mean", "overlap")


@cache
def dictionaries() -> tuple[Tensor, Tensor]:
    """D_y (100, 128) and D_x (25, 128), learned from photographs enlarged two times by `python -m
    tools.coupled_dictionary`, float32.
    """
    held, _ = files.read(START)
    return held["low"].float(), held["high"].float()


def exact(task: Any, weight: float = WEIGHT) -> CoupledSparseCoding:
    """Coupled sparse coding by ISTA."""
    return CoupledSparseCoding(patch_features(FEATURE, PATCH).float(), *dictionaries(), weight, factor=task.factor)


def normalised(task: Any, weight: float = NORMALISED) -> NormalisedSparseCoding:
    """The same of patches of unit contrast."""
    return NormalisedSparseCoding(patch_features(FEATURE, PATCH).float(), *dictionaries(), weight, factor=task.factor)


def classical(task: Any, parent: Callable[..., CoupledSparseCoding]) -> list[Baseline]:
    """The parent run to convergence, orthogonal matching pursuit with the same dictionary, and SRCNN."""
    size = sum(p.numel() for p in parent(task).parameters())
    usual = NORMALISED if parent is normalised else WEIGHT
    rows: list[Baseline] = [
        Iterative("coupled sparse coding, ISTA", lambda w: parent(task, w), (usual,), 80),
        Method(
            "coupled sparse coding, orthogonal matching pursuit",
            lambda atoms: lambda data: pursued(parent(task), data, atoms),
            (3,),
            "scikit-learn; {setting} atoms a patch, a patch at every third pixel",
            kind="library",
        ),
        srcnn_on(task.operator.enlarge, size),
    ]
    return rows


def _cascaded(network: Unrolled, task: Any, luma: Tensor, factor: int) -> Tensor:
    """Stage after stage, each in tiles, and back by bicubic interpolation where that goes too far."""
    height, width = luma.shape
    short = (0, max(0, LEAST - width), 0, max(0, LEAST - height))
    large = pad(luma[None, None], short, mode="replicate")[0] if any(short) else luma.unsqueeze(0)
    wanted = (factor * large.shape[-2], factor * large.shape[-1])
    for _ in range(stages_for(factor, task.factor)):
        large = pixels.in_tiles(network, large, margin=MARGIN, tile=256 // task.factor, scale=task.factor)
    large = large if large.shape[-2:] == wanted else resize(large, *wanted)
    return large[:, : factor * height, : factor * width]


def application() -> Application:
    """Of pictures, two, three or four times as large."""
    return super_resolution(_cascaded, (FACTOR,))
