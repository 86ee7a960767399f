"""Tasks on images small enough to test on, from pictures that are drawn."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from tiny import picture

from unrolling.tasks.images.deblocking import Deblocking
from unrolling.tasks.images.deblurring import Deblurring
from unrolling.tasks.images.denoising import Denoising
from unrolling.tasks.images.super_resolution import SuperResolution
from unrolling.tasks.medical.compressive import Compressive
from unrolling.tasks.medical.mri import MRI

SMALL = {
    "denoising": (Denoising, {"crop": 24}),
    "deblocking": (Deblocking, {"crop": 24}),
    "super_resolution": (SuperResolution, {"crop": 24}),
    "deblurring": (Deblurring, {"crop": 48, "each": 1}),
    "compressive": (Compressive, {"block": 8, "crop": 24}),
    "mri": (MRI, {"size": 32}),
}


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
    """A task of an imaging or medical system by name."""
    kind, options = SMALL[name]
    if kind is MRI:
        return MRI(**{**options, **changes})
    with TemporaryDirectory() as folder:
        task = kind(data=write_scenes(Path(folder)), **{**options, **changes})
        task.identity()  # read while the files are there
        return task


def uint8(array):
    """Levels of 8 bits, rounded."""
    return np.round(np.clip(array, 0, 1) * 255).astype(np.uint8)


def scene(height=40, width=56, seed=0, channels=1):
    """A drawn picture as (channels, height, width) in [0, 1]."""
    planes = [picture(height, width, seed=seed + c) for c in range(channels)]
    return torch.from_numpy(np.stack(planes).astype(np.float32) / 255)
