"""Pictures as cameras blur them, as files of 8 bits: weights that are told the noise beside the older ones, each as
``unroll apply`` works with them, blind total variation, and total variation that is told the blur.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.found_conditions import opened, saved, shifted
from benchmarks.image_methods import Row, network
from benchmarks.images import non_blind
from unrolling.core import solve
from unrolling.systems.catalogue import find
from unrolling.tasks.baselines import Iterative
from unrolling.tasks.images import sources as images
from unrolling.tasks.images.camera_blur import HELD_OUT, Blur, CameraBlur

NAME = "imaging/dublid"
SETTINGS = (*HELD_OUT, ("none", 0.0), ("none", 0.01))
WEIGHTS = (5e-4, 1e-3, 2e-3, 4e-3, 8e-3)  # of total variation that is told the blur
VARIATION = (0.0003, 0.5)  # of blind total variation: the best on validation photographs (benchmarks.images)
ITERATIONS = 100
SEED = 6_000_003


class Applied:
    """What ``unroll apply`` makes of a file for a task.

    Args:
        task: its name.
        weights: a folder of files to use before the shipped ones.
    """

    def __init__(self, task: str, weights: Path | None) -> None:
        self.system, self.task, self.weights = find(NAME), task, weights
        self.application = self.system.application(task)
        self.networks: dict[tuple[Any, ...], Any] = {}
        self.folder = tempfile.TemporaryDirectory()
        self.there = task == "deblurring" or self._network({}) is not None

    def _network(self, options: dict[str, Any]) -> Any:
        key = tuple(options.items())
        if key not in self.networks:
            self.networks[key] = network(NAME, self.task, self.weights, **options)
        return self.networks[key]

    def __call__(self, held: bytes) -> tuple[Tensor, bool]:
        """The picture, and whether it is the one in the file."""
        source, output = (Path(self.folder.name) / name for name in ("input.png", "output.png"))
        source.write_bytes(held)
        content = self.application.read(source, {})
        choose = self.application.settings
        wanted = {} if choose is None else dict(choose(self.system, self.task, content, {}))
        facts = self.application.run(self._network(wanted), self.system.task(self.task, **wanted), content, [output])
        return opened(output.read_bytes()), "unchanged" in facts


def cameras(root: Path, weights: Path | None, pairs: int) -> list[Row]:
    """Gains over the blurred picture at the best shift, mean and worst: the photographs that are held out of training,
    two blurs of each, and ``pairs`` pictures of BSD68.
    """
    task: Any = CameraBlur()
    sets: dict[str, list[Tensor]] = {"photographs": [p for p in task.photographs["test"].values() for _ in range(2)]}
    if (root / "bsd68").is_dir() and pairs:
        found = list(images.folder(root / "bsd68").values())
        sets["bsd68"] = found[:: max(1, len(found) // pairs)][:pairs]
    ways = {"new": Applied("camera_blur", weights), "old": Applied("deblurring", weights)}
    variation = next(method for method in task.baselines(1) if isinstance(method, Iterative)).make(VARIATION)
    told = {setting: _weight(task, setting) for setting in HELD_OUT}
    rows: list[Row] = []
    for name, pictures in sets.items():
        for place, setting in enumerate(SETTINGS):
            before: list[float] = []
            after: dict[str, list[float]] = {}
            kept = dict.fromkeys(ways, 0)
            for number, picture in enumerate(pictures):
                generator = torch.Generator().manual_seed(SEED + 101 * place + number)
                kernel = task.kernel(setting[0], generator)
                data, target = task.blurred(picture.unsqueeze(0), kernel, Blur(*setting), generator)[:2]
                x = target[0]
                before.append(shifted(data.image[0], x))
                for way, applied in ways.items():
                    if applied.there:
                        result, same = applied(saved(data.image[0]))
                        kept[way] += same
                        after.setdefault(way, []).append(shifted(result, x))
                if setting[0] == "none":
                    continue
                with torch.no_grad():
                    blind = solve(variation, data, tolerance=1e-4, max_iterations=ITERATIONS).estimate
                    oracle = non_blind(data.image, kernel.unsqueeze(0), told[setting])
                after.setdefault("blind total variation", []).append(shifted(blind[0], x))
                after.setdefault("total variation, told the blur", []).append(shifted(oracle[0], x))
            label = f"{name}, {setting[0]}, noise {setting[1]:.0%}"
            rows.append({"part": "cameras", "set": label, "method": "blurred", "psnr": float(np.mean(before))})
            for way, values in after.items():
                gains = np.array(values) - np.array(before)
                row: Row = {"part": "cameras", "set": label, "method": way, "psnr": float(np.mean(values))}
                row |= {"gain": float(gains.mean()), "worst": float(gains.min()), "least": float(min(values))}
                rows.append(row | {"given back": float(kept.get(way, 0))})
    return rows


def _weight(task: Any, setting: tuple[str, float]) -> float:
    """Of total variation that is told the blur: the best on the validation photographs of a setting."""
    held = list(zip(task.validation, task.kernels_of("validation"), strict=True))[
        HELD_OUT.index(setting) :: len(HELD_OUT)
    ]

    def quality(weight: float) -> float:
        return sum(shifted(non_blind(b.data.image, kernel, weight)[0], b.target[0]) for b, kernel in held)

    with torch.no_grad():
        return max(WEIGHTS, key=quality)
