"""Noise that is taken away before weights that were trained with less of it are used."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.systems.imaging import tnrd
from unrolling.systems.imaging._denoising import denoise, find_noise
from unrolling.systems.imaging._files import reach

TRAINED = 25.0  # of 255, the noise of the weights


@lru_cache(maxsize=1)
def _network() -> Any:
    # The catalogue, which sets a system's home, imports this file.
    return replace(tnrd.SYSTEM, home=Path(__file__).parent).pretrained("denoising", sigma=TRAINED)


@torch.no_grad()
def without_noise(planes: Tensor, level: float) -> tuple[Tensor, float]:
    """A picture (1 or 3, height, width) without its noise where that is above a level of 255, and the level found; the
    picture itself and 0 where there is less, or none that can be told from texture.
    """
    found = find_noise(planes)
    if found is None or found.kind == "none" or found.level <= level:
        return planes, 0.0
    network = _network()

    def clean(values: Tensor, levels: Tensor) -> Tensor:
        ratio = (TRAINED / levels).reshape(-1, 1, 1)
        return network(values * ratio) / ratio

    return denoise(clean, reach(network), planes, found), found.level
