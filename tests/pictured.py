"""Tasks on images small enough to test on, from pictures that are drawn."""

import numpy as np
import torch
from PIL import Image
from tiny import picture

from unrolling.tasks.catalogue import find_task
from unrolling.tasks.images.sources import few_drawn

SIZES = {"train": [(104, 96)], "validation": [(104, 102)], "test": [(102, 110)]}


def write_scenes(root, sizes=SIZES):
    """Folders train, validation and test of pictures, large enough to be blurred."""
    for part, shapes in sizes.items():
        (root / part).mkdir()
        for number, (height, width) in enumerate(shapes):
            Image.fromarray(picture(height, width, seed=30 + 10 * len(part) + number)).save(
                root / part / f"{part}{number}.png"
            )
    return root


def small_task(name, **changes):
    """A task of an imaging or medical system by name, with other options."""
    kind = find_task(name)
    if not changes:
        return kind.small()
    given = {"deblurring": {"crop": 48, "each": 1}, "compressive": {"block": 8, "crop": 24}, "mri": {"size": 32}}
    options = given.get(name, {"crop": 24})
    return kind(**{**options, **({} if name == "mri" else {"data": few_drawn()}), **changes})


def uint8(array):
    """Levels of 8 bits, rounded."""
    return np.round(np.clip(array, 0, 1) * 255).astype(np.uint8)


def scene(height=40, width=56, seed=0, channels=1):
    """A drawn picture as (channels, height, width) in [0, 1]."""
    planes = [picture(height, width, seed=seed + c) for c in range(channels)]
    return torch.from_numpy(np.stack(planes).astype(np.float32) / 255)
