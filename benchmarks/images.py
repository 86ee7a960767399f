"""Images: the systems for photographs and magnetic resonance on the published test sets, beside classical methods.

Bars: TNRD 5 x 5 at sigma 25 on BSD68 at least 28.6 dB trained on the 400 published crops, 28.45 dB trained on free
photographs alone (the shipped weights), and 20 times faster than BM3D; JPEG of quality 10 on classic5 at least 29.1 dB;
Set5 x3 at least 33.0 dB; SCN on Set5 x2 at least 2.9 dB above bicubic interpolation, 0.3 dB above as many iterations
of ISTA with the dictionary that it starts from, and not below their limit; ADMM-CSNet at 20 % at least 1.5 dB above
TV-ADMM on chest and brain images and five times faster; DUBLID at least 3.4 dB above the blurred image on straight
motions and 1.5 dB above total variation, more than 1.19 dB on levin2009.

--data names a folder with the sets bsd68, set12, classic5, set5, set14, mri_chest, mri_brain, mri_masks and levin2009;
what is not there is left out with a word. Settings of the classical methods come from validation data of the tasks,
never from the sets that are scored. --weights names a folder of weights files to use before the shipped ones.
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

from benchmarks.image_enlarging import enlarging, rival
from benchmarks.image_methods import Row, Run, beside, chosen, direct, methods_of, network, psnr, scored, sets, speed
from unrolling import Unrolled, solve
from unrolling.algorithms.splitting.data_terms import Blurred, KnownBlur
from unrolling.algorithms.splitting.half_quadratic import HalfQuadraticSplitting
from unrolling.core import Iteration
from unrolling.evaluation.classical import steps_of
from unrolling.evaluation.contenders import training
from unrolling.evaluation.generic import train_generic
from unrolling.operators import FiniteDifferences, KSpace
from unrolling.operators.fourier import fft
from unrolling.prox.isotropic import IsotropicShrink
from unrolling.systems.base import System
from unrolling.systems.catalogue import find
from unrolling.tasks.baselines import Generic, Iterative
from unrolling.tasks.images import sources as images
from unrolling.tasks.images.alignment import aligned
from unrolling.tasks.images.deblocking import compress
from unrolling.tasks.medical.mri import MRI

SHIFT = 12
MARGIN = 64  # pixels by which a blurred image is continued before it is deconvolved with a known kernel


def denoising(root: Path, weights: Path | None, seconds: float) -> list[Row]:
    """White noise of 25 / 255: in floating point, neither clipped nor rounded, seed 1."""
    task: Any = find("imaging/tnrd").task("denoising")
    methods: dict[str, Run] = {"noisy": lambda data: data}
    for method in methods_of(task, Iterative):
        iteration, setting = chosen(method, task)
        methods[f"{method.name}, {setting}"] = steps_of(iteration, method.iterations)
    methods |= direct(task, "classical", "library")
    for name in ("imaging/tnrd", "imaging/tnrd_7x7"):
        found = network(name, "denoising", weights)
        if found is not None:
            methods[name] = found
    rows: list[Row] = []
    for name, pictures in sets(root, "bsd68", "set12").items():
        generator = torch.Generator().manual_seed(1)
        pairs = [
            ((x + 25 / 255 * torch.randn(x.shape, generator=generator)).unsqueeze(0), x.unsqueeze(0))
            for x in pictures.values()
        ]
        used = methods if name == "bsd68" else {key: run for key, run in methods.items() if key != "BM3D"}
        rows += scored("denoising", name, used, pairs)
        rows += beside({"part": "denoising", "set": name}, name, "25")
    if "imaging/tnrd" in methods:
        rows += speed(
            "denoising",
            methods,
            torch.rand(1, 256, 256, generator=torch.Generator().manual_seed(0)),
            "imaging/tnrd",
            seconds,
        )
    return rows


def jpeg(root: Path, weights: Path | None, seconds: float) -> list[Row]:
    """Quality 10, 8 bits before and after."""
    task: Any = find("imaging/tnrd_jpeg").task("deblocking")
    methods: dict[str, Run] = {"decoded": lambda data: data.image}
    for method in methods_of(task, Iterative):
        iteration, setting = chosen(method, task)
        methods[f"{method.name}, {setting}"] = steps_of(iteration, method.iterations)
    found = network("imaging/tnrd_jpeg", "deblocking", weights)
    if found is not None:
        methods["imaging/tnrd_jpeg"] = found
    rows: list[Row] = []
    for name, pictures in sets(root, "classic5").items():
        pairs = [
            (compress(x.unsqueeze(0), 10), x.unsqueeze(0))
            for x in (p[: p.shape[0] // 8 * 8, : p.shape[1] // 8 * 8] for p in pictures.values())
        ]
        rows += scored("jpeg", name, methods, pairs, lambda e, t: psnr((e.clamp(0, 1) * 255).round() / 255, t))
        rows += beside({"part": "jpeg", "set": name}, name, "10")
    return rows


def mri(root: Path, weights: Path | None, seconds: float) -> list[Row]:
    """The published pseudo-radial mask of 20 %; weights of the classical methods from the chest images 81 to 90."""
    if not all((root / name).is_dir() for name in ("mri_chest", "mri_brain", "mri_masks")):
        print("mri_chest, mri_brain and mri_masks are needed: left out", file=sys.stderr)
        return []
    drawn = np.load(root / "mri_masks" / "masks_256.npz")["radial_20"].astype(np.float32)
    mask = torch.fft.ifftshift(torch.from_numpy(drawn)).unsqueeze(0)
    task = MRI(data=root / "mri_chest" / "chest_100.npz", fixed={"mask": mask})
    methods: dict[str, Run] = direct(task, "classical")
    for method in methods_of(task, Iterative):
        iteration, setting = chosen(method, task)
        methods[f"{method.name}, {setting}"] = steps_of(iteration, method.iterations)
    parent = next(name for name in methods if name.startswith("total variation, ADMM"))
    found = network("medical/admm_csnet", "mri", weights)
    if found is not None:
        methods["medical/admm_csnet"] = found
    brain = np.load(root / "mri_brain" / "brain_mat.npz")
    own = {name: torch.from_numpy(brain[name].astype(np.float32)).unsqueeze(0) for name in ("brain1", "brain2")}
    rows = scored("mri", "chest 91-100", methods, [(batch.data, batch.target) for batch in task.test])
    for name, image in own.items():
        rows += scored("mri", name, methods, [(KSpace(mask * fft(image), mask), image)])
    if found is not None:
        pair = {name: methods[name] for name in (parent, "medical/admm_csnet")}
        rows += speed("mri", pair, KSpace(mask * fft(own["brain1"]), mask), "medical/admm_csnet", seconds)
    return rows


def mri_unet(root: Path, weights: Path | None, seconds: float) -> list[Row]:
    """A U-Net with as many parameters on the zero-filled image, trained here for as many steps with the better of two
    rates, under a pseudo-radial mask of 20 %.
    """
    found = network("medical/admm_csnet", "mri", weights)
    if found is None or not (root / "mri_chest").is_dir():
        return []
    system = find("medical/admm_csnet")
    options = {"mask": "radial", "rate": 0.2, "varied": 0}
    task = system.task("mri", data=root / "mri_chest" / "chest_100.npz", **options)
    methods: dict[str, Run] = {"medical/admm_csnet": found}
    budget = training(system.recipes["mri"].schedule(len(found)))
    for generic in task.baselines(sum(p.numel() for p in found.parameters() if p.requires_grad)):
        if isinstance(generic, Generic):
            methods[generic.name] = train_generic(task, generic, *budget).run
    return scored("mri-unet", "chest 91-100", methods, [(batch.data, batch.target) for batch in task.test])


def compressive(root: Path, weights: Path | None, seconds: float) -> list[Row]:
    """25 % of the measurements of blocks of 33 x 33 pixels; images are brought to whole blocks."""
    found = network("medical/admm_csnet", "compressive", weights)
    task: Any = find("medical/admm_csnet").task("compressive")
    methods: dict[str, Run] = {"linear estimate": task.linear}
    for method in methods_of(task, Iterative):
        iteration, setting = chosen(method, task)
        methods[f"{method.name}, {setting}"] = steps_of(iteration, 60)
    if found is not None:
        methods["medical/admm_csnet"] = found
    rows: list[Row] = []
    for name, pictures in sets(root, "set12").items():
        whole = [x[: x.shape[0] // 33 * 33, : x.shape[1] // 33 * 33].unsqueeze(0) for x in pictures.values()]
        rows += scored("compressive", name, methods, [(task.sensing(x), x) for x in whole])
    return rows


def deblurring(root: Path, weights: Path | None, seconds: float) -> list[Row]:
    """Aligned PSNR; straight motions over held-out photographs of the packages, and the recordings of levin2009 with
    the ratio of errors.
    """
    system = find("imaging/dublid")
    task: Any = system.task("deblurring")
    methods: dict[str, Run] = {"blurred": lambda data: data}
    (method,) = methods_of(task, Iterative)
    iteration, setting = chosen(method, task)
    parent = f"{method.name}, {setting}"
    methods[parent] = steps_of(iteration, method.iterations)
    found = network("imaging/dublid", "deblurring", weights)
    trembling = network("imaging/dublid", "deblurring", weights, kind="both")
    methods |= {
        name: net
        for name, net in (("imaging/dublid", found), ("imaging/dublid, kind=both", trembling))
        if net is not None
    }

    def score(estimate: Tensor, target: Tensor) -> float:
        return psnr(*aligned(estimate.clamp(0, 1), target, SHIFT))

    oracle = with_true_kernel(task, score)
    rows: list[Row] = []
    for name, held in {"straight motions": task, **elsewhere(root, system)}.items():
        pairs = [(batch.data, batch.target) for batch in held.test]
        rows += scored("deblurring", name, methods, pairs, score)
        known = [
            ((batch.data, kernel), batch.target)
            for batch, kernel in zip(held.test, held.kernels_of("test"), strict=True)
        ]
        rows += scored("deblurring", name, {"total variation with the true kernel": oracle}, known, score)
    folder = root / "levin2009"
    if folder.is_dir():
        sharp, blurry = images.folder(folder / "gt"), images.folder(folder / "blurred")
        truth = np.load(folder / "kernels.npz")
        pairs = [(y.unsqueeze(0), sharp[f"{name.split('_')[0]}.png"].unsqueeze(0)) for name, y in blurry.items()]
        rows += scored("deblurring", "levin2009", methods, pairs, score)
        kernels = [torch.from_numpy(truth[name.split("_")[1].replace("kernel", "k")]).float() for name in blurry]
        rows += error_ratios(pairs, kernels, iteration, method.iterations, trembling)
    else:
        print(f"{folder} is not there: left out", file=sys.stderr)
    if found is not None:
        rows += speed(
            "deblurring",
            {name: methods[name] for name in (parent, "imaging/dublid")},
            task.test[0].data[:, :255, :255],
            "imaging/dublid",
            seconds,
        )
    return rows


def elsewhere(root: Path, system: System) -> dict[str, Any]:
    """The same motions over every fourth picture of BSD68."""
    if not (root / "bsd68").is_dir():
        print(f"{root / 'bsd68'} is not there: left out", file=sys.stderr)
        return {}
    found: Any = system.task("deblurring", each=1)
    found.photographs["test"] = dict(list(images.folder(root / "bsd68").items())[::4])
    return {"straight motions, bsd68": found}


def with_true_kernel(task: Any, score: Callable[[Tensor, Tensor], float]) -> Run:
    """What remains when the motion is known: total variation, its weight from validation photographs; data are the
    blurred image and its kernel.
    """
    held = list(zip(task.validation, task.kernels_of("validation"), strict=True))[::3]

    def mean(weight: float) -> float:
        return sum(score(non_blind(batch.data, kernel, weight), batch.target) for batch, kernel in held)

    with torch.no_grad():
        best = max((1e-3, 1.5e-3, 2e-3, 3e-3, 4e-3), key=mean)
    return lambda data: non_blind(*data, best)


def non_blind(blurred: Tensor, kernel: Tensor, weight: float) -> Tensor:
    """The image that total variation finds for a known kernel; the border is mirrored."""
    solver = HalfQuadraticSplitting(KnownBlur(), FiniteDifferences("circular"), IsotropicShrink(), weight, penalty=0.01)
    wide = torch.nn.functional.pad(blurred.unsqueeze(1), (MARGIN,) * 4, mode="reflect").squeeze(1)
    return solve(solver, Blurred(wide, kernel), tolerance=0.0, max_iterations=20).estimate[
        :, MARGIN:-MARGIN, MARGIN:-MARGIN
    ]


def error_ratios(
    pairs: list[tuple[Tensor, Tensor]], kernels: list[Tensor], parent: Iteration, count: int, found: Unrolled | None
) -> list[Row]:
    """Levin et al. 2009: the squared error with the estimated kernel over that with the true one, both by one non-blind
    solver; the share below some ratios.
    """

    @torch.no_grad()
    def of_parent(y: Tensor) -> Tensor:
        problem = parent.prepare(y)
        state = parent.start(problem)
        for _ in range(count):
            state = parent(state, problem)
        return state.kernel

    ways: dict[str, Callable[[Tensor], Tensor]] = {"total variation": of_parent}
    if found is not None:
        ways["imaging/dublid, kind=both"] = lambda y: found.run(y).kernel.detach()

    def error(y: Tensor, x: Tensor, kernel: Tensor) -> float:
        one, two = aligned(non_blind(y, kernel, 2e-4), x, SHIFT)
        return float((one - two).square().sum())

    with torch.no_grad():
        best = [error(y, x, k.unsqueeze(0)) for (y, x), k in zip(pairs, kernels, strict=True)]
        rows: list[Row] = []
        for name, way in ways.items():
            ratios = np.array([error(y, x, way(y)) / least for (y, x), least in zip(pairs, best, strict=True)])
            curve = {f"below {limit:g}": float((ratios <= limit).mean()) for limit in (1.5, 2, 3, 5)}
            rows.append(
                {
                    "part": "deblurring",
                    "set": "levin2009, ratio of errors",
                    "method": name,
                    "median": float(np.median(ratios)),
                    **curve,
                }
            )
    return rows


PARTS = {
    "denoising": denoising,
    "jpeg": jpeg,
    "enlarging": enlarging,
    "enlarging-srcnn": rival,
    "mri": mri,
    "mri-unet": mri_unet,
    "compressive": compressive,
    "deblurring": deblurring,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--weights", type=Path, metavar="DIR")
    parser.add_argument("--part", choices=PARTS, action="append", help="several may be named; all by default")
    parser.add_argument("--seconds", type=float, default=10.0, help="of timing, per comparison")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: list[Row] = []
    for part in options.part or PARTS:
        found = PARTS[part](options.data, options.weights, options.seconds)
        rows += found
        if not options.json:
            for row in found:
                numbers = ", ".join(f"{key} {value:.4g}" for key, value in row.items() if isinstance(value, float))
                print(f"{row['part']:12s} {row['set']:28s} {row['method']:44s} {numbers}", flush=True)
    if options.json:
        print(
            json.dumps(
                {"benchmark": "images", "threads": options.threads, "torch": torch.__version__, "rows": rows}, indent=1
            )
        )


if __name__ == "__main__":
    main()
