"""Pan-sharpening by Wald's protocol: ERGAS, spectral angle and quality index of the networks that have weights beside
bicubic interpolation, Brovey, GSA, MTF-GLP, and projected gradient descent with total variation.

Parts: ``photographs`` (the test photographs as three bands), ``scenes`` (the right 30 % of columns of each scene of
--data, a folder of MATLAB files with arrays I_MS and I_PAN), ``shifts`` (other transfers and a shifted panchromatic
image), ``ratios`` (of the pixels; both on four pieces of 256 x 256 pixels of the test photographs).

Bars, on every scene: ERGAS of the network below that of bicubic interpolation, Brovey, GSA and total variation of the
bands, spectral angle not above that of bicubic interpolation.

Settings of the classical methods come from validation photographs, or from the columns of a scene beside those that are
tested. The shipped network was trained on photographs alone and is used on the scenes as it is; --trained DIR adds
networks that were trained further on each scene (``unroll train imaging/pansharpening --data SCENE.mat --from FILE
--out DIR/SCENE``), and --pnn STEPS a PNN of the published size that is trained on it here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.image_methods import Row, Run, chosen, direct, methods_of
from benchmarks.record import publish
from unrolling.evaluation.classical import steps_of
from unrolling.operators.modulation_transfer import Imagery, ModulationTransfer
from unrolling.systems.catalogue import catalogue, find
from unrolling.tasks.base import Samples
from unrolling.tasks.baselines import Iterative
from unrolling.tasks.images.fusion_metrics import ergas, spectral_angle, universal_quality
from unrolling.tasks.images.pansharpening import Pansharpening
from unrolling.training.fit import fit
from unrolling.training.stages import Cosine, Stage
from unrolling.training.weights import load_weights

TASK = "pansharpening"
BICUBIC, VARIATION = "bicubic interpolation", "total variation, projected gradient"
BARRED = (BICUBIC, "Brovey", "GSA", VARIATION)
GAINS, RATIOS, SHIFTS = (0.15, 0.2, 0.25, 0.3, 0.4), (2, 3, 4, 5, 8), (0, 1, 2, 3)


def networks(weights: Path | None, factor: int = 4) -> Iterator[tuple[str, Run]]:
    """Those on the task, with weights from a folder or the shipped ones, for any ratio."""
    for name, system in catalogue().items():
        if TASK not in system.recipes:
            continue
        recipe = system.recipes[TASK]
        shipped = system.weights_path(TASK, recipe.depth, {})
        path = weights / shipped.name if weights is not None and (weights / shipped.name).is_file() else shipped
        if not path.is_file():
            print(f"no weights for {name}: left out", file=sys.stderr)
            continue
        found = system.network(recipe, Pansharpening(factor), None)
        load_weights(found, path, system=name)
        yield name, found.eval()


@torch.no_grad()
def classical(task: Pansharpening, direct_only: bool = False) -> dict[str, Run]:
    """Tuned on what the task holds out for that."""
    methods = direct(task, "classical")
    for method in [] if direct_only else methods_of(task, Iterative):
        iteration, _ = chosen(method, task)
        methods[method.name] = steps_of(iteration, method.iterations)
    return methods


@torch.no_grad()
def scores(run: Run, samples: Samples, ratio: int) -> tuple[float, float, float]:
    """ERGAS, spectral angle in degrees, quality index."""
    found, target = run(samples.data), samples.target
    return (
        float(ergas(found, target, ratio)),
        float(spectral_angle(found, target)),
        float(universal_quality(found, target)),
    )


def table(part: str, name: str, methods: Mapping[str, Run], samples: Samples, ratio: int, barred: bool) -> list[Row]:
    """A row for each method; with the bars for networks."""
    rows: list[Row] = []
    for method, run in methods.items():
        value, angle, quality = scores(run, samples, ratio)
        rows.append({"part": part, "set": name, "method": method, "value": value, "angle": angle, "quality": quality})
    held = {row["method"]: row for row in rows}
    if barred:
        for row in rows:
            if row["method"].startswith("imaging/"):
                row["bar"] = min(held[rival]["value"] for rival in BARRED)
                row["angle_met"] = row["angle"] <= held[BICUBIC]["angle"]
    return rows


def of_photographs(options: argparse.Namespace) -> list[Row]:
    """Each test photograph."""
    task = Pansharpening()
    methods = {**classical(task), **dict(networks(options.weights))}
    names = list(task.photographs["test"])
    return [
        row
        for name, samples in zip(names, task.test, strict=True)
        for row in table("photographs", name, methods, samples, task.factor, False)
    ]


def trained_pnn(task: Pansharpening, steps: int) -> Run:
    """A PNN of 64 and 32 channels, trained on a scene."""
    torch.manual_seed(0)
    made = task.pnn(64, task.bands)
    schedule = [Stage(steps, rate=1e-3, batch=2, annealing=Cosine(0.02, 1e-2), clip=1.0)]
    fit(made, task, schedule, validations=1, quiet=True)
    return made.eval()


def of_scenes(options: argparse.Namespace) -> list[Row]:
    """The right columns of each scene."""
    if options.data is None:
        print("--data is not given: scenes are left out", file=sys.stderr)
        return []
    rows: list[Row] = []
    for path in sorted(options.data.glob("*.mat")):
        task = Pansharpening(data=path)
        methods = {**classical(task), **dict(networks(options.weights))}
        own = None if options.trained is None else options.trained / path.stem / "weights.safetensors"
        if own is not None and own.is_file():
            system = find("imaging/pansharpening")
            made = system.network(system.recipes[TASK], task)
            load_weights(made, own, system=system.name)
            methods[f"{system.name}, trained on the left"] = made.eval()
        if options.pnn:
            methods["PNN, trained on the left"] = trained_pnn(task, options.pnn)
        rows += table("scenes", path.stem, methods, task.test[0], task.factor, True)
    return rows


def mean_scores(
    part: str, name: str, methods: Mapping[str, Run], make: Callable[[Samples], Imagery], task: Pansharpening
) -> list[Row]:
    """A row for each method: the mean over the pieces of the test photographs, as a sensor might have seen them."""
    pieces = [Samples(Imagery(*(each[k : k + 1] for each in task.timing.data)), task.timing.target[k : k + 1])
              for k in range(len(task.timing.target))]  # fmt: skip
    rows: list[Row] = []
    for method, run in methods.items():
        found = [scores(run, Samples(make(s), s.target), task.factor) for s in pieces]
        value, angle, quality = torch.tensor(found).mean(0).tolist()
        rows.append({"part": part, "set": name, "method": method, "value": value, "angle": angle, "quality": quality})
    return rows


def compared_methods(task: Pansharpening, weights: Path | None) -> dict[str, Run]:
    """The direct methods that bars are set by, MTF-GLP, and the networks."""
    known = {**classical(task, True), **dict(networks(weights, task.factor))}
    return {name: run for name, run in known.items() if name in BARRED or name.startswith(("MTF", "imaging/"))}


def of_shifts(options: argparse.Namespace) -> list[Row]:
    """What a network does where a sensor is not what it takes it to be."""
    base = Pansharpening()
    methods = compared_methods(base, options.weights)

    def through(gain: float) -> Callable[[Samples], Imagery]:
        operator = ModulationTransfer(base.factor, gain)
        return lambda s: Imagery(operator(s.target), s.data.panchromatic)

    def moved(pixels: int) -> Callable[[Samples], Imagery]:
        return lambda s: Imagery(s.data.multispectral, s.data.panchromatic.roll(pixels, -1))

    sensors = {f"transfer {gain:g}": through(gain) for gain in GAINS}
    sensors |= {f"shift of {pixels} pixels": moved(pixels) for pixels in SHIFTS[1:]}
    return [row for name, make in sensors.items() for row in mean_scores("shifts", name, methods, make, base)]


def of_ratios(options: argparse.Namespace) -> list[Row]:
    """Another ratio of the pixels than the network was trained for."""
    rows: list[Row] = []
    for ratio in RATIOS:
        task = Pansharpening(ratio)
        methods = compared_methods(task, options.weights)
        rows += mean_scores("ratios", f"ratio {ratio}", methods, lambda s: s.data, task)
    return rows


PARTS = {"photographs": of_photographs, "scenes": of_scenes, "shifts": of_shifts, "ratios": of_ratios}


def line(row: Mapping[str, Any]) -> str:
    """A row as text."""
    angle = "" if row.get("angle_met", True) else " (above bicubic's: MISSED)"
    return (
        f"{row['part']:11s} {row['set']:22s} {row['method']:44s} ERGAS {row['value']:6.3f}  SAM {row['angle']:6.3f} "
        f"degrees{angle}  Q {row['quality']:.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of scenes, each a MATLAB file")
    parser.add_argument("--weights", type=Path, metavar="DIR", help="weights to take before the shipped ones")
    parser.add_argument("--trained", type=Path, metavar="DIR", help="folder of runs, one for each scene by its name")
    parser.add_argument("--pnn", type=int, default=0, metavar="STEPS")
    parser.add_argument("--part", choices=PARTS, action="append", help="several may be named; all by default")
    parser.add_argument("--shifts", dest="part", action="append_const", const="shifts", help="as --part shifts")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", nargs="?", type=Path, const=Path("-"), metavar="FILE")
    options = parser.parse_args()
    options.device = "cpu"
    torch.set_num_threads(options.threads)
    rows = [row for part in options.part or PARTS for row in PARTS[part](options)]
    publish(TASK, options, rows, line)


if __name__ == "__main__":
    main()
