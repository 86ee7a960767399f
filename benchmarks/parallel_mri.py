"""Magnetic resonance images from several simulated coils: every system with weights for the task multicoil, beside
CG-SENSE, sparse wavelets, total variation and ADMM-CSNet coil by coil.

Bars: the systems are 2 dB above CG-SENSE and above ADMM-CSNet at acceleration 4.

--data names a folder with the sets mri_chest and mri_brain. Images of the chest are divided as in their description,
training, validation and test; of the brains every --every-th is taken. Settings of classical methods are chosen on
validation chests. Maps, masks, phases and noise of an image are drawn anew for each seed; intervals resample images.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.image_methods import Run
from unrolling.evaluation.classical import steps_of
from unrolling.systems.catalogue import catalogue, find
from unrolling.systems.medical._coils import coil_by_coil
from unrolling.tasks.base import Samples
from unrolling.tasks.baselines import Iterative
from unrolling.tasks.medical.coils import Coils
from unrolling.tasks.medical.slices import magnitude_errors, read_slices

TASK = "multicoil"
RIVALS = ("CG-SENSE", "ADMM-CSNet, coil by coil")
SHIFTS: dict[str, Sequence[Any]] = {
    "acceleration": (2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 12.0),
    "mask": ("cartesian", "equispaced", "poisson", "radial"),
    "noise": (0.0, 0.005, 0.01, 0.02, 0.04),
    "coils": (1, 2, 4, 8, 12, 16),
    "maps": ("true", "estimated"),
}


def systems(named: Sequence[str]) -> dict[str, Run]:
    """Networks with shipped weights for the task, by the systems' titles."""
    found: dict[str, Run] = {}
    for name in named or sorted(catalogue()):
        system = find(name)
        if TASK not in system.recipes:
            continue
        try:
            found[system.title] = system.pretrained(TASK)
        except ValueError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    return found


def classical(task: Coils, tuning: int, only: Sequence[str] = ()) -> dict[str, Run]:
    """Iterative methods with the setting that is best on the first validation slices."""
    found: dict[str, Run] = {}
    for method in task.baselines(1):
        if isinstance(method, Iterative) and (not only or method.name.startswith((*only, RIVALS[0]))):
            runs = {setting: _run(method, setting) for setting in method.settings}
            levels = {
                setting: score(run, task, task.validation[:tuning]).mean().item() for setting, run in runs.items()
            }
            best = max(levels, key=lambda setting: levels[setting])
            if best in (method.settings[0], method.settings[-1]):
                print(f"{method.name}: {best} is at the end of {method.settings}", file=sys.stderr)
            found[method.name] = runs[best]
    found["zero-filled"] = task.zero_filled
    return found


def _run(method: Iterative, setting: Any) -> Run:
    return steps_of(method.make(setting), method.iterations)


def score(run: Run, task: Coils, batches: Sequence[Samples]) -> Tensor:
    """PSNR of each image, dB."""
    with torch.no_grad():
        return torch.cat([task.metric.singles(task.pieces(run(batch.data), batch)) for batch in batches])


def sets(folder: Path, every: int) -> Iterator[tuple[str, list[Tensor]]]:
    """The test images."""
    chests = folder / "mri_chest" / "chest_100.npz"
    if chests.is_file():
        yield "chest 91-100", read_slices(chests)[90:]
    brains = sorted((folder / "mri_brain" / "png50").glob("*.png"))[::every]
    if brains:
        yield f"brain, every {every}th of 50", [image for path in brains for image in read_slices(path)]


def measured(task: Coils, images: Sequence[Tensor], seed: int) -> list[Samples]:
    """Each image with maps, mask, phase and noise of its own."""
    return [
        task.measure(image.unsqueeze(0), torch.Generator().manual_seed(9_000_011 + 7919 * seed + number))
        for number, image in enumerate(images)
    ]


def table(task: Coils, images: Sequence[Tensor], methods: dict[str, Run], seeds: int) -> dict[str, Any]:
    """PSNR, SSIM and relative error of every method, and gains over the rivals with 95 % intervals over images."""
    batches = [measured(task, images, seed) for seed in range(seeds)]
    levels, rows = {}, {}
    for name, run in methods.items():
        with torch.no_grad():
            estimates = [[run(batch.data) for batch in each] for each in batches]
        pairs = list(zip(batches, estimates, strict=True))
        of_seeds = [
            torch.cat([task.metric.singles(task.pieces(e, b)) for b, e in zip(each, found, strict=True)])
            for each, found in pairs
        ]
        levels[name] = torch.stack(of_seeds)  # (seeds, images)
        more = magnitude_errors([e for found in estimates for e in found], [b for each in batches for b in each])
        rows[name] = {
            "psnr": round(float(levels[name].mean()), 2),
            "by seed": [round(float(each.mean()), 2) for each in levels[name]],
            **{key: round(value, 4) for key, value in more.items()},
        }
    for name, row in rows.items():
        for rival in RIVALS:
            if rival in rows and name != rival:
                row[f"over {rival}"] = resampled((levels[name] - levels[rival]).mean(0))
    return rows


def resampled(gains: Tensor, draws: int = 5000) -> list[float]:
    """Mean of gains, and the ends of its 95 % interval by bootstrap over images."""
    chosen = torch.randint(len(gains), (draws, len(gains)), generator=torch.Generator().manual_seed(0))
    means = gains[chosen].mean(1).sort().values
    ends = means[int(0.025 * draws)], means[int(0.975 * draws)]
    return [round(float(value), 2) for value in (gains.mean(), *ends)]


def printed(title: str, rows: dict[str, Any]) -> None:
    """As a table."""
    print(f"\n{title}\n{'':32}{'PSNR dB':>9}{'SSIM':>8}{'error':>8}   over CG-SENSE [95 %]   over ADMM-CSNet [95 %]")
    for name, row in sorted(rows.items(), key=lambda pair: -pair[1]["psnr"]):
        gains = [row.get(f"over {rival}") for rival in RIVALS]
        words = [f"{g[0]:+6.2f} [{g[1]:.2f}, {g[2]:.2f}]" if g else "" for g in gains]
        print(f"{name:32}{row['psnr']:9.2f}{row['SSIM']:8.3f}{row['relative error']:8.3f}   {words[0]:23}{words[1]}")
    sys.stdout.flush()


def shifted(data: Path, images: Sequence[Tensor], methods: dict[str, Run], tuning: int) -> dict[str, Any]:
    """PSNR where one option of the task is another than that of training; CG-SENSE tuned for each."""
    found: dict[str, Any] = {}
    for option, values in SHIFTS.items():
        for value in values:
            task = Coils(data=data, **{option: value})
            runs = {"CG-SENSE": classical_only(task, "CG-SENSE", tuning), **methods}
            batches = measured(task, images, 0)
            levels = {name: round(float(score(run, task, batches).mean()), 2) for name, run in runs.items()}
            found[f"{option} {value}"] = levels
            print(
                f"{option} {value}: " + ", ".join(f"{name} {level:.2f}" for name, level in levels.items()), flush=True
            )
    return found


def classical_only(task: Coils, name: str, tuning: int) -> Run:
    """One iterative method, tuned."""
    method = next(b for b in task.baselines(1) if b.name == name)
    assert isinstance(method, Iterative)
    runs = [_run(method, setting) for setting in method.settings]
    return max(runs, key=lambda run: float(score(run, task, task.validation[:tuning]).mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--systems", nargs="*", default=[], help="by default all that have weights for the task")
    parser.add_argument("--accelerations", nargs="*", type=float, default=[4.0, 8.0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--every", type=int, default=10, help="of the brains")
    parser.add_argument("--images", type=int, default=100, help="of each set, at most")
    parser.add_argument("--tuning", type=int, default=3, help="validation slices that settings are chosen on")
    parser.add_argument(
        "--only", nargs="*", default=[], help="classical methods, by the beginning of their names; besides CG-SENSE"
    )
    parser.add_argument("--shifts", action="store_true", help="other accelerations, masks, noise, coils and maps")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    held = {name: found[: options.images] for name, found in sets(options.data, options.every)}
    chests = options.data / "mri_chest" / "chest_100.npz"
    if not chests.is_file():
        sys.exit(f"{chests} is missing: it is what classical methods are tuned on")
    networks = systems(options.systems)
    found: dict[str, Any] = {}
    if options.shifts:
        found["shifts"] = shifted(chests, held["chest 91-100"][:4], networks, options.tuning)
    else:
        for acceleration in options.accelerations:
            task = Coils(acceleration=acceleration, data=chests)
            methods = {**networks, **classical(task, options.tuning, options.only)}
            methods |= {method.name: method.make(None) for method in coil_by_coil(find("medical/modl"), task)}
            for name, images in held.items():
                title = f"{name}, acceleration {acceleration:g}, {options.seeds} seeds"
                found[title] = table(task, images, methods, options.seeds)
                printed(title, found[title])
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
