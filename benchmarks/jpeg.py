"""JPEG files: networks that take blocks and ringing away, on the published sets beside published figures, and that no
file becomes worse.

Bars, one file of weights for every quality: Classic5 at qualities 10, 20 and 30 at least 29.28, 31.47 and 32.78 dB
(TNRD as published), aims 29.4, 31.6 and 32.9 (DnCNN-3); at 80, 90, 95 and 98 never below the file.

Parts: ``sets`` (Classic5 and LIVE1 at 10, 20, 30 and 40: luma of 8 bits before and after, the mean of the PSNR of each
picture; sides are cut to multiples of 8), ``file`` (colour files through the code of ``unroll apply``: Classic5, and 20
free photographs in the packages and of the set photos_cc, at most 800 pixels wide; the PSNR of RGB of 8 bits, the gain
over the file in its worst case, and how many files became worse by more than 0.001 dB, which is what rounding colours
otherwise than libjpeg can cost; many of these photographs were trained on).

--data names a folder with classic5, live1 and photos_cc; what is not there is left out with a word. --weights names a
weights file, or a folder of them, to use before the shipped ones.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.image_enlarging import video_luma
from benchmarks.image_methods import Row, absent, beside, line, network, psnr, scored
from benchmarks.record import options, publish, start
from unrolling.systems.catalogue import find
from unrolling.systems.imaging._files import part_of
from unrolling.tasks.images import sources as images
from unrolling.tasks.images.deblocking import compress

TASKS = {"imaging/deblock": "deblocking_qualities", "imaging/tnrd_jpeg": "deblocking"}
QUALITIES, HIGH = (10, 20, 30, 40), (80, 90, 95, 98)
PACKAGES = (*images.TRAINING[:5], *images.VALIDATION, *images.TEST, *images.COLOUR)  # no textures
WIDEST, ROUNDING = 800, 1e-3  # pixels, dB


def rounded(estimate: Tensor, target: Tensor) -> float:
    """The PSNR of an estimate of 8 bits."""
    return psnr((estimate.clamp(0, 1) * 255).round() / 255, target)


def luma(picture: np.ndarray) -> Tensor:
    """Grey as it is, Y of BT.601 of colours; 8 bits, whole blocks."""
    values = video_luma(picture) if picture.ndim == 3 else images.luma(picture)
    whole = values[: values.shape[0] // 8 * 8, : values.shape[1] // 8 * 8]
    return (whole * 255).round() / 255


def of_sets(root: Path, weights: Path | None, every: int = 1) -> list[Row]:
    """The published sets, of large ones every so many pictures."""
    nets = {name: network(name, task, weights) for name, task in TASKS.items()}
    rows: list[Row] = []
    for name in ("classic5", "live1"):
        if absent(root / name):
            continue
        pictures = list(images.folder(root / name, luma).values())
        chosen = pictures[::every]
        for quality in QUALITIES:
            methods: dict[str, Callable[[Any], Tensor]] = {"the file": lambda data: data.image}
            for title, net in nets.items():
                if net is not None:
                    part = part_of(quality) if title == "imaging/tnrd_jpeg" else 1.0
                    methods[title] = lambda data, net=net, part=part: torch.lerp(data.image, net(data), part)
            pairs = [(compress(x.unsqueeze(0), quality), x.unsqueeze(0)) for x in chosen]
            found = scored("sets", f"{name}, quality {quality}", methods, pairs, rounded)
            row = {"part": "sets", "set": f"{name}, quality {quality}", "images": len(chosen)}
            found += [{**row, "method": f"{title}, no weights"} for title, net in nets.items() if net is None]
            rows += found + (beside(row, name, str(quality)) if every == 1 else [])
    return rows


def free(root: Path) -> dict[str, np.ndarray]:
    """Free photographs, 8 bits."""
    found = {name: images.photograph(name, images.colours) for name in PACKAGES}
    if not absent(root / "photos_cc"):
        found |= images.folder(root / "photos_cc", images.colours)
    return {name: _smaller(x) for name, x in found.items()}


def _smaller(x: Tensor) -> np.ndarray:
    """(height, width, 3), at most 800 pixels wide and high."""
    step = -(-max(x.shape[1:]) // WIDEST)
    small = torch.nn.functional.avg_pool2d(x.unsqueeze(0), step)[0] if step > 1 else x
    return (small.clamp(0, 1) * 255).round().to(torch.uint8).movedim(0, -1).numpy()


def of_files(root: Path, weights: Path | None, every: int = 1) -> list[Row]:
    """What ``unroll apply`` makes of files of high quality."""
    from PIL import Image

    pictures: dict[str, dict[str, np.ndarray]] = {"free photographs": dict(list(free(root).items())[::every])}
    if not absent(root / "classic5"):
        five = images.folder(root / "classic5")
        levels = {name: (x * 255).round().to(torch.uint8).numpy() for name, x in list(five.items())[::every]}
        pictures = {"classic5": levels, **pictures}
    rows: list[Row] = []
    for name, task_name in TASKS.items():
        net, system = network(name, task_name, weights), find(name)
        task = system.task(task_name)
        for title, of_set in pictures.items():
            for quality in HIGH:
                row = {"part": "file", "set": f"{title}, quality {quality}", "images": len(of_set)}
                if net is None:
                    rows.append({**row, "method": f"{name}, no weights"})
                    continue
                before: dict[str, float] = {}
                gains: dict[str, float] = {}
                with tempfile.TemporaryDirectory() as folder, torch.no_grad():
                    source, result = Path(folder) / "a.jpg", Path(folder) / "b.png"
                    for key, picture in of_set.items():
                        Image.fromarray(picture).save(source, quality=quality)
                        application = system.apply[task_name]
                        application.run(net, task, application.read(source, {}), [result])
                        before[key] = _levels(source, picture)
                        gains[key] = _levels(result, picture) - before[key]
                worst = min(gains, key=lambda key: gains[key])
                rows.append({**row, "method": "the file", "psnr": float(np.mean(list(before.values())))})
                rows.append(
                    {
                        **row,
                        "method": f"{name}, the worst is {worst}",
                        "psnr": float(np.mean([before[key] + gains[key] for key in gains])),
                        "gain": float(np.mean(list(gains.values()))),
                        "worst": gains[worst],
                        "below": sum(gain < -ROUNDING for gain in gains.values()),
                        "value": gains[worst],
                        "bar": -ROUNDING,
                        "better": "high",
                    }
                )
    return rows


def _levels(path: Path, picture: np.ndarray) -> float:
    from PIL import Image

    with Image.open(path) as file:
        values = np.asarray(file, dtype=np.float64)
    return float(-10 * np.log10(max(np.square((values - picture) / 255).mean(), 1e-12)))


PARTS: dict[str, Callable[..., list[Row]]] = {"sets": of_sets, "file": of_files}


def main() -> None:
    parser = options(__doc__, seconds=5.0, threads=1)
    parser.add_argument("--data", type=Path, default=Path(), metavar="DIR")
    parser.add_argument("--weights", type=Path, metavar="FILE")
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every Nth picture alone")
    given = parser.parse_args()
    start(given)
    parts = {name: partial(part, every=given.every) for name, part in PARTS.items()}
    rows = [row for name in given.part or PARTS for row in parts[name](given.data, given.weights)]
    publish("jpeg", given, rows, line)


if __name__ == "__main__":
    main()
