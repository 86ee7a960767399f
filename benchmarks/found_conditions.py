"""Pictures and k-space that are not what the weights were trained for, as ``unroll apply`` works on them: the gain over
the input in dB, mean and worst, at every setting.

Bars: on average no setting is worse than its input; clean pictures come back at 45 dB and more; sharp ones as they are.

--data names a folder with the sets bsd68, set12, cbsd68, classic5, set5, levin2009, mri_chest, mri_masks; what is not
there is left out with a word. --every takes every so manieth picture of a set.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.image_methods import Row, psnr
from unrolling.evaluation.classical import steps_of
from unrolling.operators.fourier import KSpace, fft, ifft
from unrolling.operators.resize import resize
from unrolling.systems.catalogue import find
from unrolling.tasks.baselines import Iterative
from unrolling.tasks.images import sources as images
from unrolling.tasks.images.alignment import aligned
from unrolling.tasks.images.blurs import linear_motion, shake
from unrolling.tasks.images.deblurring import convolve_valid
from unrolling.tasks.medical.mri import MRI
from unrolling.tasks.medical.sampling import radial_mask

INTERPOLATED = torch.tensor([[0.25, 0.5, 0.25], [0.5, 1.0, 0.5], [0.25, 0.5, 0.25]])
BOX = torch.ones(3, 3)
NOISES = {
    "none": (0,),
    "white": (1, 2, 3, 5, 10, 15, 25, 50, 75),
    "bilinear": (2, 5, 10, 25, 50),
    "box": (2, 5, 10, 25),
    "counts": (2, 5, 10, 25, 50),
    "jpeg 80": (5, 10, 25),
    "jpeg 95": (5, 10, 25),
    "demosaicked": (2, 5, 10, 25),
}


class Applied:
    """What ``unroll apply`` makes of a file, its networks built once."""

    def __init__(self, system: str) -> None:
        self.system = find(system)
        self.task = self.system.applied(None)
        self.application = self.system.application(self.task)
        self.networks: dict[tuple[Any, ...], Any] = {}
        self.folder = tempfile.TemporaryDirectory()

    def __call__(self, held: bytes, suffix: str = ".png", **options: Any) -> tuple[Tensor, dict[str, Any]]:
        source, output = (Path(self.folder.name) / name for name in ("input" + suffix, "output.png"))
        source.write_bytes(held)
        content = self.application.read(source, options)
        choose = self.application.settings
        wanted = {} if choose is None else dict(choose(self.system, self.task, content, options))
        key = tuple(wanted.items())
        if key not in self.networks:
            self.networks[key] = self.system.pretrained(self.task, **wanted), self.system.task(self.task, **wanted)
        facts = dict(self.application.run(*self.networks[key], content, [output], **options))
        return opened(output.read_bytes()), facts


def rounded(x: Tensor) -> Tensor:
    return (255 * x.clamp(0, 1)).round() / 255


def saved(picture: Tensor, kind: str = "PNG", **options: Any) -> bytes:
    """(height, width) or (3, height, width) as a file."""
    from PIL import Image

    values = (255 * picture.clamp(0, 1)).round().to(torch.uint8)
    held = io.BytesIO()
    Image.fromarray((values.movedim(0, -1) if values.ndim == 3 else values).numpy()).save(held, kind, **options)
    return held.getvalue()


def opened(held: bytes) -> Tensor:
    from PIL import Image

    with Image.open(io.BytesIO(held)) as file:
        values = torch.from_numpy(np.asarray(file, dtype=np.float32) / (65535 if "I" in file.mode else 255))
    return values.movedim(-1, 0) if values.ndim == 3 else values


def filtered(noise: Tensor, kernel: Tensor) -> Tensor:
    """White noise through a filter, of the same strength."""
    planes = noise.reshape(-1, 1, *noise.shape[-2:])
    padded = torch.nn.functional.pad(planes, (1, 1, 1, 1), mode="circular")
    found = torch.nn.functional.conv2d(padded, (kernel / kernel.square().sum().sqrt())[None, None])
    return found.reshape(noise.shape)


def demosaicked(x: Tensor) -> Tensor:
    """(3, height, width) through the colour filters of Bayer, interpolated bilinearly."""
    sampled = torch.zeros_like(x)
    sampled[0, ::2, ::2], sampled[2, 1::2, 1::2] = x[0, ::2, ::2], x[2, 1::2, 1::2]
    sampled[1, ::2, 1::2], sampled[1, 1::2, ::2] = x[1, ::2, 1::2], x[1, 1::2, ::2]
    green = torch.tensor([[0, 0.25, 0], [0.25, 1, 0.25], [0, 0.25, 0]])
    kernels = torch.stack([INTERPOLATED, green, INTERPOLATED]).unsqueeze(1)
    padded = torch.nn.functional.pad(sampled[None], (1, 1, 1, 1), mode="reflect")
    return torch.nn.functional.conv2d(padded, kernels, groups=3)[0]


def noisy(x: Tensor, kind: str, level: float, generator: torch.Generator) -> Tensor:
    noise = level / 255 * torch.randn(x.shape, generator=generator)
    if kind == "counts":
        return x + noise * x.sqrt()
    if kind == "demosaicked":
        return demosaicked(x + noise)
    if kind.startswith("jpeg"):
        return opened(saved(x + noise, "JPEG", quality=int(kind.split()[1])))
    return x + (noise if kind in ("white", "none") else filtered(noise, BOX if kind == "box" else INTERPOLATED))


def row(part: str, name: str, setting: str, before: list[float], after: list[float], unchanged: int = 0) -> Row:
    gains = np.array(after) - np.array(before)
    return {
        "part": part,
        "set": name,
        "setting": setting,
        "pictures": len(gains),
        "input": float(np.mean(before)),
        "gain": float(gains.mean()),
        "worst": float(gains.min()),
        "unchanged": unchanged,
    }


def noise(root: Path, every: int) -> Iterator[Row]:
    """The level estimated, 8 bits before and after; without noise the gain is the PSNR of what comes back, less 99."""
    applied = Applied("imaging/tnrd")
    for name in present(root, "bsd68", "set12", "cbsd68"):
        pictures = list(images.folder(root / name, images.colours if name == "cbsd68" else None).values())[::every]
        for kind, levels in NOISES.items():
            if kind == "demosaicked" and name != "cbsd68":
                continue
            for level in levels:
                generator = torch.Generator().manual_seed(1)
                scores: list[tuple[float, float, int]] = []
                for picture in pictures:
                    x = rounded(picture)
                    held = saved(noisy(x, kind, level, generator))
                    found, facts = applied(held)
                    scores.append((capped(opened(held), x), capped(found, x), "unchanged" in facts))
                before, after, same = map(list, zip(*scores, strict=True))
                yield row("noise", name, f"{kind} {level}", before, after, sum(same))


def capped(found: Tensor, x: Tensor) -> float:
    """PSNR, at most 99."""
    return 99.0 if torch.equal(found, x) else min(99.0, psnr(found, x))


def jpeg(root: Path, every: int) -> Iterator[Row]:
    """Grey files of every quality."""
    applied = Applied("imaging/tnrd_jpeg")
    for name in present(root, "classic5", "set12"):
        pictures = [rounded(x) for x in images.folder(root / name).values()][::every]
        for quality in (5, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 95):
            held = [saved(x, "JPEG", quality=quality) for x in pictures]
            results = [applied(each, ".jpg") for each in held]
            before = [capped(opened(each), x) for each, x in zip(held, pictures, strict=True)]
            after = [capped(found, x) for (found, _), x in zip(results, pictures, strict=True)]
            yield row("jpeg", name, f"quality {quality}", before, after, sum("unchanged" in f for _, f in results))


def blur(root: Path, every: int) -> Iterator[Row]:
    """Motions over pictures of bsd68 with noise of 0 to 3 %, the recordings of levin2009, and sharp pictures."""
    applied = Applied("imaging/dublid")

    def scores(setting: str, name: str, pairs: list[tuple[Tensor, Tensor]]) -> Row:
        results = [applied(saved(y)) for y, _ in pairs]
        before = [shifted(y, x) for y, x in pairs]
        after = [shifted(found, x) for (found, _), (_, x) in zip(results, pairs, strict=True)]
        return row("blur", name, setting, before, after, sum("unchanged" in facts for _, facts in results))

    for name in present(root, "bsd68"):
        pictures = list(images.folder(root / name).values())[::every]
        for kind in ("straight", "trembling", "sharp"):
            for share in (0.0, 0.005, 0.01, 0.02, 0.03):
                generator = torch.Generator().manual_seed(2)
                pairs = [spoiled(x, kind, share, generator) for x in pictures]
                yield scores(f"{kind}, noise {share:.1%}", name, pairs)
    for name in present(root, "levin2009"):
        sharp = images.folder(root / name / "gt")
        recorded = images.folder(root / name / "blurred")
        pairs = [(y, sharp[f"{file.split('_')[0]}.png"]) for file, y in list(recorded.items())[:: max(1, every // 2)]]
        yield scores("recorded", name, pairs)


def spoiled(x: Tensor, kind: str, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A picture blurred, noisy and rounded; and what is to be found."""
    y, true = x, x
    if kind != "sharp":
        length, angle = (
            5 + 26 * float(torch.rand((), generator=generator)),
            math.pi * float(torch.rand((), generator=generator)),
        )
        kernel = linear_motion(length, angle, 31) if kind == "straight" else shake(31, generator)
        y, true = convolve_valid(x[None], kernel[None])[0], x[15:-15, 15:-15].contiguous()
    return rounded(y + share * torch.randn(y.shape, generator=generator)), true


def shifted(found: Tensor, true: Tensor) -> float:
    """PSNR at the best shift, 99 at most."""
    return min(99.0, psnr(*aligned(found.clamp(0, 1)[None], true[None], 12)))


def enlarged(root: Path, every: int) -> Iterator[Row]:
    """Three times, beside bicubic interpolation of the same file."""
    applied = Applied("imaging/tnrd_sr")
    for name in present(root, "set5", "set14"):
        folder = root / name / "HR" if (root / name / "HR").is_dir() else root / name
        pictures = [x[: x.shape[0] // 3 * 3, : x.shape[1] // 3 * 3] for x in images.folder(folder).values()][::every]
        for kind in ("none 0", "white 2", "white 5", "white 10", "jpeg 95", "jpeg 85", "jpeg 70", "jpeg 50", "jpeg 20"):
            generator = torch.Generator().manual_seed(3)
            before, after = [], []
            for x in pictures:
                small = resize(x[None], x.shape[0] // 3, x.shape[1] // 3)[0]
                word, level = kind.split()
                held = saved(
                    noisy(
                        rounded(small),
                        kind if word == "jpeg" else word,
                        0 if word == "jpeg" else float(level),
                        generator,
                    )
                )
                before.append(psnr(resize(opened(held)[None], *x.shape)[0], x))
                after.append(psnr(applied(held)[0], x))
            yield row("enlarged", name, kind, before, after)


def kspace(root: Path, every: int) -> Iterator[Row]:
    """Rates and kinds of masks that the weights were not trained for, on chests and on piecewise constant heads, beside
    the zero-filled image; and total variation by ADMM, its weight for each setting chosen on other slices.
    """
    applied = Applied("medical/admm_csnet")
    others: dict[str, tuple[Tensor, Tensor]] = {}  # slices for the weight of total variation, and those of the scores
    heads = torch.stack([constant_head(256, torch.Generator().manual_seed(number)) for number in range(3)])
    others["heads"] = heads[:1], heads[1:]
    for name in present(root, "mri_chest"):
        with np.load(root / name / "chest_100.npz") as file:
            slices = torch.from_numpy(np.asarray(file[file.files[0]], dtype=np.float32))
        slices = slices / slices.amax((-2, -1), keepdim=True)
        others[name] = slices[84:85], slices[90 :: min(every, 5)]
    variation = next(m for m in MRI().baselines(1) if isinstance(m, Iterative) and "ADMM" in m.name)
    for name, (held_out, pictures) in others.items():
        side = pictures.shape[-1]
        generator = torch.Generator().manual_seed(4)
        for rate in (0.1, 0.2, 0.3, 0.5):
            lines = torch.rand(side, generator=generator) < rate - 0.08
            lines[side // 2 - side // 25 : side // 2 + side // 25] = True
            masks = {
                "radial": radial_mask(side, rate),
                "lines": lines.float().expand(side, side),
                "points": (torch.rand(side, side, generator=generator) < rate).float(),
            }
            for kind, mask in masks.items():
                sampled = torch.fft.ifftshift(mask)

                def by_variation(x: Tensor, weight: float, steps: int, sampled: Tensor = sampled) -> float:
                    data = KSpace(sampled * fft(x[None]), sampled[None])
                    return psnr(scaled(steps_of(variation.make(weight), steps)(data)[0], x), x)

                weight = max(WEIGHTS, key=lambda w: by_variation(held_out[0], w, 100))
                before, after, classical = [], [], []
                for x in pictures:
                    samples = sampled * fft(x[None])[0]
                    held = io.BytesIO()
                    np.save(held, samples.numpy())
                    found, _ = applied(held.getvalue(), ".npy")
                    zero = ifft(samples[None])[0].abs()
                    before.append(psnr(scaled(zero, x), x))
                    after.append(psnr(scaled(found, x), x))
                    classical.append(by_variation(x, weight, variation.iterations))
                yield row("kspace", name, f"{kind}, {rate:.0%}", before, after)
                yield row("kspace", name, f"{kind}, {rate:.0%}, TV {weight:g}", before, classical)


WEIGHTS = (0.0002, 0.0005, 0.001, 0.002, 0.004)  # of total variation


def constant_head(size: int, generator: torch.Generator) -> Tensor:
    """A random head in the manner of Shepp and Logan: constant inside ellipses, in [0, 1]."""
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    draw = torch.rand(12, 6, generator=generator)
    draw[:2, 1:3] = 0.5  # skull and brain about the middle
    image = torch.zeros(size, size)
    for number, (value, cy, cx, ry, rx, turn) in enumerate(draw.tolist()):
        angle = 0.3 * (turn - 0.5) if number < 2 else math.pi * turn
        v, u = y - (cy - 0.5), x - (cx - 0.5)
        v, u = v * math.cos(angle) + u * math.sin(angle), u * math.cos(angle) - v * math.sin(angle)
        axes = ((0.92, 0.69), (0.87, 0.66))[number] if number < 2 else (0.05 + 0.2 * ry, 0.03 + 0.15 * rx)
        image[(v / axes[0]) ** 2 + (u / axes[1]) ** 2 <= 1] = (1.0, 0.3)[number] if number < 2 else 0.1 + 0.6 * value
    return image


def scaled(found: Tensor, x: Tensor) -> Tensor:
    """With the factor that is best: pictures of scans are written with their largest value white."""
    return found * ((found * x).sum() / found.square().sum())


def present(root: Path, *names: str) -> list[str]:
    for name in names:
        if not (root / name).is_dir():
            print(f"{root / name} is not there: left out", file=sys.stderr)
    return [name for name in names if (root / name).is_dir()]


PARTS: dict[str, Callable[[Path, int], Iterator[Row]]] = {
    "noise": noise,
    "jpeg": jpeg,
    "blur": blur,
    "enlarged": enlarged,
    "kspace": kspace,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the test sets")
    parser.add_argument("--part", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--every", type=int, default=1, help="take every so manieth picture")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: list[Row] = []
    with torch.no_grad():
        for part in options.part:
            for found in PARTS[part](options.data, options.every):
                rows.append(found)
                if not options.json:
                    print(
                        f"{found['part']:9} {found['set']:10} {found['setting']:22} {found['pictures']:3} pictures, "
                        f"input {found['input']:5.2f} dB, gain {found['gain']:+6.2f} (worst {found['worst']:+.2f}), "
                        f"{found['unchanged']} given back",
                        flush=True,
                    )
    if options.json:
        print(json.dumps({"benchmark": "found_conditions", "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
