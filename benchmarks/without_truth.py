"""Networks that were trained without truth beside the same ones with it, for as many steps on the same data.

Parts: ``chest`` (ADMM-CSNet of eight layers on chests 1 to 80 of mri_chest, masks of 20 to 30 % drawn anew for each;
scored on chests 91 to 100 with radial_20 and radial_30), ``curve`` (the same with 1, 5, 20 and 80 chests to train on),
``compressive`` (imaging/compressive with six layers at 25 % of the measurements, scored on Set11; the denoiser that it
begins with has seen clean photographs, whatever the loss, so that the untrained network is a row too),
``denoising`` (TNRD at 25 of 255, scored on BSD68), ``adaptation`` (ADMM-CSNet as it ships, fitted to single scans:
another mask, noise, another anatomy). --data names a folder with the sets; pictures to train on are those of the task
unless --photographs names a folder (``extra`` in it).

Every run has a folder of its own in --out: the same command goes on after an interruption, and what is finished is not
trained again. --estimate prints about how long the parts take here. Classical rivals are tuned on validation data.

Bars: within 0.5 dB of supervised training on chests at 20 and 30 % and on compressive imaging, and above total
variation; SURE within 0.2 dB of supervised training at sigma 25.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.mri import STEPS, VARIATION, measured, present, psnr, tuned, variation
from unrolling import fit, pretrained
from unrolling.algorithms import SampledFourier
from unrolling.evaluation.classical import steps_of
from unrolling.operators import KSpace
from unrolling.operators.fourier import fft
from unrolling.systems.catalogue import find
from unrolling.tasks.base import Samples, evaluate
from unrolling.tasks.images import sources
from unrolling.tasks.measurements import Gaussian, SampledMeasurement
from unrolling.training import Cosine, Machine, Splitting, Stage, adapt, find_loss, with_loss
from unrolling.training.plan import estimate_seconds
from unrolling.training.stages import scaled

TRUTH, COMPRESSIVE = "supervised", "imaging/compressive"
SIZES = (1, 5, 20, 80)
CHEST_MASKS = ("radial_20", "radial_30")
DEPTHS = {"chest": 8, "curve": 8, "compressive": 6, "denoising": 5}
LENGTHS = {"chest": 3000, "curve": 1500, "compressive": 400, "denoising": 4500}
LOSSES = {
    "chest": (TRUTH, "split", "equivariant"),
    "curve": (TRUTH, "split"),
    "compressive": (TRUTH, "split", "equivariant"),
    "denoising": (TRUTH, "sure", "recorrupted", "neighbours"),
}
ADAPTED = ("radial_10", "cartesian1d_20", "radial_30 with noise of 0.02")
SCANS = 2  # of each set that is adapted to


class Run(NamedTuple):
    """One training."""

    part: str
    loss: str
    images: int | None  # to train on; None: all

    @property
    def name(self) -> str:
        """Of its folder."""
        return "-".join([self.part, self.loss, *([] if self.images is None else [str(self.images)])])


def runs(part: str) -> list[Run]:
    """The trainings of a part, in order."""
    sizes = SIZES if part == "curve" else (None,)
    return [Run(part, loss, size) for size in sizes for loss in LOSSES[part]]


def task_of(run: Run, given: argparse.Namespace) -> Any:
    """The task of a run with its training data."""
    if run.part in ("chest", "curve"):
        options = {"mask": "any", "rate": 0.3, "lowest": 0.2, "varied": 0}
        task = find("medical/admm_csnet").task("mri", data=given.data / "mri_chest" / "chest_100.npz", **options)
        if run.images is not None:
            task.slices["train"] = task.slices["train"][: run.images]
        return task
    if run.part == "compressive":
        return find(COMPRESSIVE).task("compressive_rates", least=0.25, most=0.25, data=given.photographs)
    return find("imaging/tnrd").task("denoising", sigma=25.0, data=given.photographs)


def network_of(run: Run, task: Any) -> Any:
    """Untrained, the same for all losses."""
    system = find({"compressive": COMPRESSIVE, "denoising": "imaging/tnrd"}.get(run.part, "medical/admm_csnet"))
    torch.manual_seed(0)
    return system.network(system.recipe(task.name)[1], task, DEPTHS[run.part])


def schedule_of(run: Run, task: Any, network: Any, steps: int | None) -> list[Stage]:
    """Of as many steps for every loss of a part, each of which the optimizer scales by itself."""
    count = LENGTHS[run.part] if steps is None else steps
    end = Cosine(0.02, 1e-2)
    if run.part == "denoising":
        stages = find("imaging/tnrd").recipe("denoising")[1].schedule(DEPTHS[run.part])
        stages = scaled(stages, count)
    elif run.part == "compressive":
        stages = scaled(find(COMPRESSIVE).recipe("compressive_rates")[1].schedule(DEPTHS[run.part]), count)
    else:
        names = {"prox.values": 1e-4, "penalty": 5e-4, "rate": 5e-4, "penalty_slope": 5e-4, "scale_slope": 5e-4}
        rates = {f"splittings.0.{name}": 4 * rate for name, rate in names.items()}
        stages = [Stage(count, rate=1e-3, rates=rates, batch=1, annealing=end, clip=1.0)]
    return stages if run.loss == TRUTH else with_loss(stages, find_loss(run.loss, task, network))


def trained(run: Run, given: argparse.Namespace) -> tuple[Any, Any]:
    """The network of a run and its task; the run is begun, gone on with, or read."""
    task = task_of(run, given)
    network = network_of(run, task)
    folder = given.out / run.name
    history = fit(
        network,
        task,
        schedule_of(run, task, network, given.steps),
        folder,
        validations=4,
        quiet=given.quiet,
        name=run.name,
    )
    print(f"{run.name}: {history.steps} steps, {history.seconds / 60:.1f} min", file=sys.stderr, flush=True)
    return network, task


def chest_scores(given: argparse.Namespace) -> Callable[[Any], dict[str, float]]:
    """PSNR on chests 91 to 100 by mask, of a method on k-space."""
    images = present(given.data)["chests 91-100"]
    masks = masks_of(given.data)

    def scores(run: Any) -> dict[str, float]:
        found = {}
        for name in CHEST_MASKS:
            values = [psnr(run(measured(each, masks[name])), each) for each in images.split(1)]
            found[name] = float(torch.cat(values).mean())
        return found

    return scores


def masks_of(root: Path) -> dict[str, Tensor]:
    """By name, (1, height, width), zero frequency at (0, 0)."""
    with np.load(root / "mri_masks" / "masks_256.npz") as held:
        return {
            name: torch.fft.ifftshift(torch.from_numpy(held[name].astype(np.float32))).unsqueeze(0)
            for name in held.files
        }


def set_scores(task: Any, folder: Path, rate: float | None) -> Callable[[Any], dict[str, float]]:
    """PSNR over a folder of pictures, with the measurements or the noise of a task."""
    batches: list[Samples] = []
    for number, picture in enumerate(sources.folder(folder).values()):
        if rate is not None:
            side = task.block
            picture = picture[: picture.shape[0] // side * side, : picture.shape[1] // side * side]
            batches.append(task.spoil(picture.unsqueeze(0), torch.Generator(), task.matrix(rate)))
        else:
            batches.append(task.spoil(picture.unsqueeze(0), torch.Generator().manual_seed(2_000_003 + number)))
    metric = task.metric
    return lambda run: {folder.name: float(metric.value(evaluate(run, task, batches)))}


@torch.no_grad()
def part_rows(part: str, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of a part: the classical rival, then each training."""
    rows: list[dict[str, Any]] = []
    chosen = [run for run in runs(part) if not given.only or run.loss in given.only]
    first = task_of(chosen[0], given)
    if part in ("chest", "curve"):
        scores = chest_scores(given)
        if part == "chest" and not given.only:
            images, masks = present(given.data)["tuning"], masks_of(given.data)
            tests = present(given.data)["chests 91-100"]
            best = {
                name: tuned(variation, VARIATION, STEPS["total variation"], images, masks[name]) for name in CHEST_MASKS
            }
            values = {
                name: float(torch.cat([psnr(run(measured(x, masks[name])), x) for x in tests.split(1)]).mean())
                for name, run in best.items()
            }
            rows.append({"part": part, "method": "total variation", "images": None, **values})
    elif part == "compressive":
        scores = set_scores(first, given.data / "set11", 0.25)
        if not given.only:
            rival = next(b for b in first.baselines(10_000) if "total variation, FISTA" in b.name)
            weight = max(
                rival.settings, key=lambda w: metric_of(first, steps_of(rival.make(w), rival.tuning), first.validation)
            )
            rows.append(
                {
                    "part": part,
                    "method": rival.name,
                    "images": None,
                    **scores(steps_of(rival.make(weight), rival.iterations)),
                }
            )
            start = network_of(chosen[0], first).eval()
            rows.append({"part": part, "method": "untrained", "images": None, **scores(start)})
    else:
        scores = set_scores(first, given.data / "bsd68", None)
    for run in chosen:
        with torch.enable_grad():
            network, _ = trained(run, given)
        rows.append({"part": part, "method": run.loss, "images": run.images, **scores(network)})
    return rows


def metric_of(task: Any, run: Any, batches: Sequence[Samples]) -> float:
    """The metric of a method on batches."""
    return float(task.metric.value(evaluate(run, task, batches)))


def adaptation_rows(given: argparse.Namespace) -> list[dict[str, Any]]:
    """The network as it ships before and after adaptation to each scan; thresholds and penalties alone, and all."""
    network, sets, masks = pretrained("medical/admm_csnet"), present(given.data), masks_of(given.data)
    small = ("splittings.0.prox.values", "splittings.0.penalty", "splittings.0.rate")
    rows: list[dict[str, Any]] = []
    for which in [name for name in ("chests 91-100", "47 brains") if name in sets]:
        for label in ADAPTED:
            mask, noise = masks[label.split()[0]], 0.02 if "noise" in label else 0.0
            measurement = SampledMeasurement(SampledFourier(real=True), Gaussian(noise) if noise else None, paired=True)
            for learned in (small, None):
                before, after, steps = [], [], []
                for number, image in enumerate(sets[which][:: max(1, len(sets[which]) // SCANS)][:SCANS].split(1)):
                    generator = torch.Generator().manual_seed(number)
                    white = torch.view_as_complex(torch.randn(*image.shape, 2, generator=generator))
                    data = KSpace(mask * (fft(image) + noise * white), mask)
                    found = adapt(
                        network, data, Splitting(0.85, relative=True), measurement, learned=learned, rate=given.rate
                    )
                    with torch.no_grad():
                        before.append(float(psnr(network(data), image)))
                        after.append(float(psnr(found.network(data), image)))
                    steps.append(found.step)
                row = {
                    "part": "adaptation",
                    "set": which,
                    "mask": label,
                    "learned": "all" if learned is None else "shrinkage, penalty and rate",
                    "before": sum(before) / len(before),
                    "after": sum(after) / len(after),
                    "worst change": min(a - b for a, b in zip(after, before, strict=True)),
                    "steps": sum(steps) / len(steps),
                }
                rows.append(row)
                print(json.dumps(row), file=sys.stderr, flush=True)
    return rows


def estimate(part: str, given: argparse.Namespace) -> float:
    """About how many seconds the trainings of a part take here."""
    total = 0.0
    for run in runs(part):
        if given.only and run.loss not in given.only:
            continue
        task = task_of(run, given)
        network = network_of(run, task)
        total += estimate_seconds(network, task, schedule_of(run, task, network, given.steps), Machine())
    return total


def line(row: dict[str, Any]) -> str:
    """A row as text."""
    texts = [f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values() if value is not None]
    return "  ".join(text.ljust(18) for text in texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--photographs", type=Path, metavar="DIR", help="to train on, as for unroll train --data")
    parser.add_argument("--part", nargs="+", choices=(*LOSSES, "adaptation"), default=[*LOSSES, "adaptation"])
    parser.add_argument("--only", nargs="*", help="losses; all of a part by default, and total variation")
    parser.add_argument("--steps", type=int, help="of every training, instead of the part's own")
    parser.add_argument("--rate", type=float, default=1e-4, help="of adaptation")
    parser.add_argument("--out", type=Path, default=Path("runs/without_truth"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--estimate", action="store_true")
    parser.add_argument("--quiet", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    for part in given.part:
        begin = time.perf_counter()
        if given.estimate:
            if part != "adaptation":
                print(f"{part}: about {estimate(part, given) / 60:.0f} min", flush=True)
            continue
        rows = adaptation_rows(given) if part == "adaptation" else part_rows(part, given)
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / f"{part}.json").write_text(json.dumps(rows, indent=1))
        for row in rows:
            print(line(row))
        print(f"{part}: {(time.perf_counter() - begin) / 60:.1f} min", flush=True)


if __name__ == "__main__":
    main()
