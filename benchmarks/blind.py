"""Blind deblurring: learned alternating minimisation (Schuler et al.) and DUBLID beside their classical parents.

Bars: kernel error of imaging/schuler at the best shift below that of alternating minimisation with as many stages on
80 of 100 held-out pairs of BSD68; PSNR at the best shift at least 1 dB above the blurred image; DUBLID on straight
motions without noise beside the published 3.4 dB.

Parts: kernels (kernels of 17 x 17 pixels from Gaussian processes over pictures of BSD68, noise 0.01), levin (the
recordings of levin2009, ratio of errors, for kernels that fit into 17 and into 25 pixels), survey (straight motions
over 5 to 20 pixels as the authors of DUBLID drew them, without noise and with 0.01, over BSD68), cameras (straight
motion, trembling, defocus and none as files of 8 bits, for `imaging/dublid --task camera_blur`; bars: straight motion
with noise of 0, 1 and 3 % +1.5, +3.0 and +1.0 dB, trembling with 1 % +1.5 dB and on no picture below -0.3 dB, defocus
+1.5 dB, sharp pictures within 45 dB of themselves).

--data names a folder with the sets bsd68 and levin2009. Settings of the classical methods come from the validation
photographs of the tasks.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.blind_cameras import cameras
from benchmarks.image_methods import Row, beside, network, psnr
from benchmarks.images import SHIFT, non_blind, with_true_kernel
from unrolling import Unrolled
from unrolling.core import Iteration, unroll
from unrolling.operators.convolution import convolve_valid
from unrolling.systems.catalogue import find
from unrolling.systems.imaging import _blind
from unrolling.tasks.images import sources as images
from unrolling.tasks.images.alignment import aligned
from unrolling.tasks.images.deblurring import kernel_error

NAME, DUBLID = "imaging/schuler", "imaging/dublid"
NOISE_SEED = 5_000_003
EDGE = 32  # pixels by which a picture is continued before another library deconvolves it
RATIO_WEIGHT = 2e-4  # of total variation for the recordings of levin2009, which are nearly free of noise


def score(estimate: Tensor, target: Tensor) -> float:
    """PSNR at the best shift within 12 pixels, 12 pixels from the border."""
    return psnr(*aligned(estimate.clamp(0, 1), target, SHIFT))


def relative_error(found: Tensor, true: Tensor) -> float:
    """|k' - k|^2 / |k|^2 at the best shift that keeps the true kernel inside."""
    return float(kernel_error(found, true) / true.square().sum((-2, -1)))


@torch.no_grad()
def outcome(iteration: Iteration | Unrolled, y: Tensor, stages: int) -> tuple[Tensor, Tensor]:
    """Image and kernel after so many stages."""
    net = iteration if isinstance(iteration, Unrolled) else unroll(iteration, stages)
    image, state = net(y, return_state=True)
    return image, state.kernel


@torch.no_grad()
def kernel_of(iteration: Iteration | Unrolled, y: Tensor, stages: int) -> Tensor:
    """The kernel after so many stages, for which no image is needed."""
    net = iteration if isinstance(iteration, Unrolled) else unroll(iteration, stages)
    return net.run(y).kernel


def chosen_parent(task: Any, system: Any, stages: int) -> tuple[Iteration, Any]:
    """Alternating minimisation with the features whose kernels are nearest on validation photographs, and the weight of
    total variation whose images are best with them.
    """
    (method,) = system.baselines["deblurring"](system, task)
    held = list(zip(task.validation, task.kernels_of("validation"), strict=True))[::2]

    def error(setting: Any) -> float:
        return float(np.mean([relative_error(kernel_of(method.make(setting), b.data, stages), k) for b, k in held]))

    def quality(setting: Any) -> float:
        return float(np.mean([score(outcome(method.make(setting), b.data, stages)[0], b.target) for b, _ in held]))

    features = min({setting[:-1]: setting for setting in method.settings}.values(), key=error)[:-1]
    best = max((setting for setting in method.settings if setting[:-1] == features), key=quality)
    return method.make(best), best


def others(task: Any) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """scikit-image's methods for a known kernel, their settings from validation photographs."""
    from skimage import restoration as library

    restoration: Any = library

    def framed(run: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[Tensor, Tensor], Tensor]:
        def deblurred(y: Tensor, kernel: Tensor) -> Tensor:
            wide = np.pad(y[0].double().numpy(), EDGE, mode="symmetric")
            found = run(wide, kernel[0].double().numpy())[EDGE:-EDGE, EDGE:-EDGE]
            return torch.from_numpy(np.ascontiguousarray(found)).float().unsqueeze(0)

        return deblurred

    families: dict[str, tuple[Callable[[Any], Any], tuple[Any, ...]]] = {
        "scikit-image wiener": (
            lambda b: framed(lambda y, k: restoration.wiener(y, k, b, clip=False)),
            (0.01, 0.03, 0.1, 0.3),
        ),
        "scikit-image unsupervised_wiener": (
            lambda _: framed(lambda y, k: restoration.unsupervised_wiener(y, k, clip=False, rng=0)[0]),
            (None,),
        ),
        "scikit-image richardson_lucy": (
            lambda n: framed(lambda y, k: restoration.richardson_lucy(y, k, num_iter=n)),
            (5, 10, 20),
        ),
    }
    held = list(zip(task.validation, task.kernels_of("validation"), strict=True))[::4]
    found = {}
    for name, (make, settings) in families.items():

        def mean(setting: Any, make: Any = make) -> float:
            return float(np.mean([score(make(setting)(b.data, k), b.target) for b, k in held]))

        best = max(settings, key=mean) if len(settings) > 1 else settings[0]
        found[f"{name}{'' if best is None else f', {best}'}, true kernel"] = make(best)
    return found


def kernels(root: Path, weights: Path | None, pairs: int) -> list[Row]:
    """The bar: errors of kernels pair by pair, and PSNR."""
    pictures = pictures_of(root)
    if not pictures:
        return []
    system = find(NAME)
    task: Any = system.task("deblurring")
    stages = system.recipes["deblurring"].depth
    parent, setting = chosen_parent(task, system, stages)
    start = system.recipes["deblurring"].parent(task)
    ways: dict[str, tuple[Iteration | Unrolled, int]] = {
        f"alternating minimisation, {stages} stages, {setting}": (parent, stages),
        f"{NAME}, untrained": (start, stages),
    }
    for name, found in (
        (NAME, network(NAME, "deblurring", weights)),
        (f"{DUBLID}, kind=both", network(DUBLID, "deblurring", weights, kind="both")),
    ):
        if found is not None:
            ways[name] = (found, len(found))
    known = {"total variation, true kernel": with_true_kernel(task, score)}
    known |= {name: lambda data, run=run: run(*data) for name, run in others(task).items()}
    held = blurred_pairs(task, pictures, pairs)
    errors: dict[str, list[float]] = {name: [] for name in ways}
    quality: dict[str, list[float]] = {name: [] for name in ("blurred", *ways, *known)}
    for y, x, kernel in held:
        quality["blurred"].append(score(y, x))
        for name, (way, count) in ways.items():
            image, found = outcome(way, y, count)
            errors[name].append(relative_error(found, kernel))
            quality[name].append(score(image, x))
        for name, run in known.items():
            with torch.no_grad():
                quality[name].append(score(run((y, kernel)), x))
    first = next(iter(ways))
    rows: list[Row] = []
    for name, values in quality.items():
        row: Row = {"part": "kernels", "set": f"{pairs} pairs of bsd68", "method": name, "psnr": float(np.mean(values))}
        row["gain"] = row["psnr"] - float(np.mean(quality["blurred"]))
        if name in errors:
            row["kernel error"] = float(np.mean(errors[name]))
            row["below the parent"] = float(np.mean(np.array(errors[name]) < np.array(errors[first])))
        rows.append(row)
    return rows


def pictures_of(root: Path) -> dict[str, Tensor]:
    """BSD68, where it is there."""
    if not (root / "bsd68").is_dir():
        print(f"{root / 'bsd68'} is not there: left out", file=sys.stderr)
        return {}
    return images.folder(root / "bsd68")


def blurred_pairs(task: Any, pictures: dict[str, Tensor], count: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Blurred and sharp pictures with their kernels, the pictures in turn."""
    found = []
    for n in range(count):
        x = list(pictures.values())[n % len(pictures)].unsqueeze(0)
        generator = torch.Generator().manual_seed(NOISE_SEED + n)
        kernel = task.kernels(1, generator)
        y = convolve_valid(x, kernel)
        edge = task.size // 2
        noisy = y + task.noise * torch.randn(y.shape, generator=generator)
        found.append((noisy, x[..., edge:-edge, edge:-edge], kernel))
    return found


def levin(root: Path, weights: Path | None, pairs: int) -> list[Row]:
    """The squared error with the kernel that is found over that with the true one, both by total variation."""
    folder = root / "levin2009"
    if not folder.is_dir():
        print(f"{folder} is not there: left out", file=sys.stderr)
        return []
    system = find(NAME)
    task: Any = system.task("deblurring")
    stages = system.recipes["deblurring"].depth
    ways: dict[str, tuple[Iteration | Unrolled, int]] = {
        f"alternating minimisation, {stages} stages": (chosen_parent(task, system, stages)[0], stages)
    }
    for name, found in (
        (NAME, network(NAME, "deblurring", weights)),
        (f"{DUBLID}, kind=both", network(DUBLID, "deblurring", weights, kind="both")),
    ):
        if found is not None:
            ways[name] = (found, len(found))
    sharp, blurry = images.folder(folder / "gt"), images.folder(folder / "blurred")
    truth = np.load(folder / "kernels.npz")
    ratios: dict[str, list[tuple[int, float]]] = {name: [] for name in ways}

    def error(y: Tensor, x: Tensor, kernel: Tensor) -> float:
        one, two = aligned(non_blind(y, kernel, RATIO_WEIGHT), x, SHIFT)
        return float((one - two).square().sum())

    with torch.no_grad():
        for name, picture in blurry.items():
            y, x = picture.unsqueeze(0), sharp[f"{name.split('_')[0]}.png"].unsqueeze(0)
            kernel = torch.from_numpy(truth[name.split("_")[1].replace("kernel", "k")]).float().unsqueeze(0)
            least = error(y, x, kernel)
            for way, (iteration, count) in ways.items():
                ratio = error(y, x, kernel_of(iteration, y, count)) / least
                ratios[way].append((kernel.shape[-1], ratio))
    rows: list[Row] = []
    for size in (task.size, task.size + 8):
        for way, found in ratios.items():
            values = np.array([ratio for side, ratio in found if side <= size])
            curve = {f"below {limit:g}": float((values <= limit).mean()) for limit in (1.5, 2, 3, 5)}
            label = f"levin2009, kernels up to {size} x {size}"
            median = float(np.median(values))
            rows.append(
                {"part": "levin", "set": label, "method": way, "images": len(values), "median": median, **curve}
            )
    return rows


def survey(root: Path, weights: Path | None, pairs: int) -> list[Row]:
    """DUBLID on straight motions, without noise and with that of its weights: as it is, and with the noise that is
    missing added where the kernel is sought, as ``unroll apply`` does.
    """
    pictures, found = pictures_of(root), network(DUBLID, "deblurring", weights)
    if not pictures or found is None:
        return []
    rows: list[Row] = []
    for noise in (0.0, _blind.LEVEL):
        task: Any = find(DUBLID).task("deblurring", shortest=5.0, longest=20.0, noise=noise)
        oracle = with_true_kernel(task, score)
        values: dict[str, list[float]] = {}
        for y, x, kernel in blurred_pairs(task, pictures, pairs):
            added = (_blind.LEVEL**2 - noise**2) ** 0.5 * torch.randn(
                y.shape, generator=torch.Generator().manual_seed(0)
            )
            with torch.no_grad():
                estimates = {
                    "blurred": y,
                    DUBLID: found(y),
                    f"{DUBLID}, noise added": _blind.with_kernels(found, y, _blind._kernels(found, y + added)),
                    "total variation, true kernel": oracle((y, kernel)),
                }
            for name, estimate in estimates.items():
                values.setdefault(name, []).append(score(estimate, x))
        for name, each in values.items():
            mean = float(np.mean(each))
            gain = mean - float(np.mean(values["blurred"]))
            rows.append({"part": "survey", "set": f"noise {noise:g}", "method": name, "psnr": mean, "gain": gain})
    # Their pictures are others, all test pictures of BSDS500.
    row = {"part": "survey", "set": "bsds500, noise 0"}
    return rows + beside(row, "bsds500, straight motions", "without noise")


PARTS = {"kernels": kernels, "levin": levin, "survey": survey, "cameras": cameras}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--weights", type=Path, metavar="DIR", help="weights files to use before the shipped ones")
    parser.add_argument("--part", choices=PARTS, action="append", help="several may be named; all by default")
    parser.add_argument(
        "--pairs",
        type=int,
        default=100,
        help="blurred pictures of the parts kernels and survey; of cameras, from BSD68",
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: list[Row] = []
    for part in options.part or PARTS:
        found = PARTS[part](options.data, options.weights, options.pairs)
        rows += found
        for row in found if not options.json else ():
            numbers = ", ".join(f"{key} {value:.4g}" for key, value in row.items() if isinstance(value, float))
            print(f"{row['part']:8s} {row['set']:34s} {row['method']:60s} {numbers}", flush=True)
    if options.json:
        about = {"benchmark": "blind", "threads": options.threads, "torch": torch.__version__}
        print(json.dumps({**about, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
