"""Super-resolution from movies of blinking emitters: every network on the task ``microscopy`` that has weights, beside
SPARCOM after 100 iterations of FISTA, Richardson-Lucy and the interpolated variance.

Parts: ``quality`` (test movies: Jaccard index with the interval of a bootstrap over movies, recall, precision, PSNR),
``time`` (one movie, and four; of the processor, on one thread), ``psf`` (a point spread function that is narrower or
wider than the one trained for: as it is, and told to the network), ``frames`` (shorter and longer movies), ``tiles`` (a
large field in parts of several sizes), ``memory`` (the most memory that ``unroll apply`` takes for stacks of several
lengths).

Bars: a Jaccard index above that of SPARCOM after 100 iterations, at a tenth of its time; memory that does not grow with
the length of a stack.

All data are simulated. Settings of the classical methods come from the task's validation movies. --weights names a
folder of weights files to use before the shipped ones. --encoder-decoder STEPS trains a network of the shape of
Deep-STORM's for ``quality`` and ``time``, 8 movies a step as the others; --runs names the folder that it is kept in.
"""

from __future__ import annotations

import argparse
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor

from benchmarks.image_methods import Row, Run, chosen, direct, methods_of, network
from benchmarks.record import publish
from benchmarks.timing import alternate, compared
from unrolling import Unrolled, deploy
from unrolling.algorithms import FISTA, LeastSquares, Problem, ProximalGradient
from unrolling.algorithms.images.sparcom import accelerated_sparcom, temporal_variance
from unrolling.evaluation.classical import steps_of
from unrolling.operators.radial import RadialConvolution, gaussian_profile, radius_index
from unrolling.operators.resize import resize
from unrolling.prox import nonnegative
from unrolling.systems.catalogue import catalogue
from unrolling.systems.medical._stacks import super_resolved
from unrolling.tasks.base import Samples
from unrolling.tasks.baselines import Generic, Iterative
from unrolling.tasks.medical.microscopy import FACTOR, ITERATIONS, Microscopy
from unrolling.training.fit import fit
from unrolling.training.stages import Cosine, Stage

PSF = (0.7, 0.85, 1.0, 1.15, 1.3)  # of the trained width
FRAMES = (20, 50, 150, 350, 1000)
FIELD, TILES = 64, (16, 24, 32, 64)  # camera pixels
LENGTHS = (200, 2000)  # frames of 64 x 64 pixels
MOVIES = 40


def networks(weights: Path | None) -> dict[str, Unrolled]:
    """Those that there are weights for."""
    names = [name for name, system in catalogue().items() if "microscopy" in system.recipes]
    found = {name: network(name, "microscopy", weights) for name in names}
    return {name: made for name, made in found.items() if made is not None}


class _OnVariance(LeastSquares):
    """The least squares of the interpolated variances of movies."""

    def forward(self, data: Tensor) -> Problem:
        enlarged = resize(temporal_variance(data), *(FACTOR * side for side in data.shape[-2:]))
        return super().forward(enlarged)

    def check(self, data: Tensor) -> None:
        """Movies are the task's own."""


def by_convolutions(task: Microscopy) -> Iterative:
    """SPARCOM on the fine grid, by the operators of the network: convolutions with the square of any radial point
    spread function, where the task's own methods use that a Gaussian one is a product of two small matrices.
    """
    profile = gaussian_profile(25, FACTOR * task.psf / math.sqrt(2.0))
    kernel = RadialConvolution((profile / profile[radius_index(25)].sum()).float())

    def made(weight: float) -> FISTA:
        return FISTA(ProximalGradient(_OnVariance(kernel), nonnegative, weight))

    return Iterative("SPARCOM, variances, by convolutions", made, (0.02, 0.04, 0.08, 0.16), ITERATIONS)


def classical(task: Microscopy) -> dict[str, Run]:
    """Tuned on the task's validation movies."""
    methods: dict[str, Run] = {}
    for method in [*methods_of(task, Iterative), by_convolutions(task)]:
        iteration, setting = chosen(method, task)
        methods[f"{method.name}, {ITERATIONS} iterations, weight {setting:g}"] = steps_of(iteration, ITERATIONS)
    return methods | direct(task, "classical", "library")


def rivals(task: Microscopy, options: argparse.Namespace) -> dict[str, Run]:
    """The encoder-decoder, with its best weights on the validation movies."""
    if not options.encoder_decoder:
        return {}
    generic = methods_of(task, Generic)[0]
    torch.manual_seed(0)
    made, steps = generic.network(), options.encoder_decoder
    schedule = [Stage(steps, rate=generic.rates[0], batch=generic.batch, annealing=Cosine(0.05), clip=1.0)]
    history = fit(made, task, schedule, options.runs, validations=10, choose="best", quiet=True)
    name = f"{generic.name}, {steps} steps"
    if history.steps:
        print(f"{name}: trained {history.seconds:.0f} s", file=sys.stderr)
    return {name: made.eval()}


def measured(task: Microscopy, run: Run, batches: list[Samples]) -> Row:
    """The metrics of a method, and the interval of the first."""
    with torch.no_grad():
        estimates = [run(batch.data) for batch in batches]
    values = torch.cat([task.pieces(e, b) for e, b in zip(estimates, batches, strict=True)])[:, 0].numpy()
    drawn = np.random.default_rng(0).choice(values, (2000, len(values))).mean(1)
    more = task.more(estimates, batches)
    return {
        "movies": len(values),
        "value": float(values.mean()),
        "low": float(np.quantile(drawn, 0.025)),
        "high": float(np.quantile(drawn, 0.975)),
        **{name.split()[0].lower(): value for name, value in more.items()},
    }


def of_quality(options: argparse.Namespace) -> list[Row]:
    """The task's test movies."""
    task = Microscopy()
    methods = {**classical(task), **networks(options.weights), **rivals(task, options)}
    return [
        {"part": "quality", "set": "test movies", "method": name, **measured(task, run, task.test)}
        for name, run in methods.items()
    ]


def of_time(options: argparse.Namespace) -> list[Row]:
    """From the movie to the image, all over those of each network, which is deployed."""
    task = Microscopy()
    nets = {name: deploy(net, "plain") for name, net in networks(options.weights).items()}
    methods = {**classical(task), **nets, **rivals(task, options)}
    rows: list[Row] = []
    for count in (1, 4):
        data = task.timing.data[:count]
        with torch.no_grad():
            times = alternate(
                {name: lambda run=run, data=data: run(data) for name, run in methods.items()},
                seconds=options.seconds,
                least=9,
                warm=True,
                clock=time.process_time if options.threads == 1 else time.perf_counter,
            )
        for ours in nets:
            where = f"{count} at a time, over {ours}"
            rows += [
                {"part": "time", "set": where, "method": name, **compared(times, name, ours)}
                for name in methods
                if name != ours
            ]
            rows.append({"part": "time", "set": f"{count} at a time", "method": ours, "seconds": median(times[ours])})
    return rows


def told(net: Unrolled, task: Microscopy, psf: float) -> Run:
    """The network on movies of another point spread function, which it is told."""

    def run(movie: torch.Tensor) -> torch.Tensor:
        return torch.stack([super_resolved(net, each, task.psf, psf, 0) for each in temporal_variance(movie)])

    return run


def of_psf(options: argparse.Namespace) -> list[Row]:
    """Movies of another point spread function than the one trained for; SPARCOM in both ways too."""
    task = Microscopy()
    method = next(m for m in methods_of(task, Iterative))
    weight = chosen(method, task)[1]
    nets = networks(options.weights)
    rows: list[Row] = []
    for factor in PSF:
        psf = round(factor * task.psf, 4)
        batch = task.simulate(MOVIES, torch.Generator().manual_seed(7_000_003), psf=psf)
        methods: dict[str, Run] = {
            f"{method.name}, not told": steps_of(method.make(weight), ITERATIONS),
            f"{method.name}, told": steps_of(accelerated_sparcom(task.fluctuations(psf=psf), weight), ITERATIONS),
        }
        for name, net in nets.items():
            methods |= {f"{name}, not told": net, f"{name}, told": told(net, task, psf)}
        rows += [
            {"part": "psf", "set": f"{psf:g} pixels", "method": name, **measured(task, run, [batch])}
            for name, run in methods.items()
        ]
    return rows


def of_frames(options: argparse.Namespace) -> list[Row]:
    """Movies of another length."""
    task = Microscopy()
    method = next(m for m in methods_of(task, Iterative))
    methods: dict[str, Run] = {method.name: steps_of(chosen(method, task)[0], ITERATIONS), **networks(options.weights)}
    rows: list[Row] = []
    for frames in FRAMES:
        batch = task.simulate(MOVIES, torch.Generator().manual_seed(8_000_009), frames=frames)
        rows += [
            {"part": "frames", "set": f"{frames} frames", "method": name, **measured(task, run, [batch])}
            for name, run in methods.items()
        ]
    return rows


def of_tiles(options: argparse.Namespace) -> list[Row]:
    """A field of 64 x 64 camera pixels made of sixteen movies of 16 x 16, of which some are empty but for noise, in
    parts of several sizes; 0 is the whole.
    """
    task, rows = Microscopy(), []
    for name, net in networks(options.weights).items():
        for empty in (0, 8):
            batch = task.simulate(16, torch.Generator().manual_seed(9_000_011))
            variance, target = temporal_variance(batch.data), batch.target.clone()
            for number in range(empty):
                noise = float(variance[number].min())
                level = 0.1 * noise * torch.randn(16, 16, generator=torch.Generator().manual_seed(number))
                variance[number], target[number] = noise + level, 0.0
            field = variance.view(4, 4, 16, 16).transpose(1, 2).reshape(FIELD, FIELD)
            truth = target.view(4, 4, 64, 64).transpose(1, 2).reshape(1, 4 * FIELD, 4 * FIELD)
            for tile in (*TILES, 0):
                found = super_resolved(net, field, task.psf, tile=tile).unsqueeze(0)
                row = measured(task, lambda _, found=found: found, [Samples(None, truth)])
                where = f"{empty} of 16 empty, parts of {tile or 'all'}"
                rows.append({"part": "tiles", "set": where, "method": name, **row})
    return rows


def of_memory(options: argparse.Namespace) -> list[Row]:
    """The most memory of a process that applies the first shipped network."""
    import tifffile

    rows: list[Row] = []
    name = next((n for n, s in catalogue().items() if "microscopy" in s.recipes and s.weights_files("microscopy")), "")
    for length in LENGTHS if name else ():
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "stack.tif"
            draw = np.random.default_rng(0)
            with tifffile.TiffWriter(source, bigtiff=True) as file:
                for _ in range(length):
                    frame = draw.poisson(100, (256, 256)).astype(np.uint16)
                    file.write(frame, photometric="minisblack", contiguous=True)
            size = source.stat().st_size
            command = [sys.executable, "-m", "unrolling.cli.main", "apply", name, str(source), "-o"]
            subprocess.run([*command, str(Path(folder) / "image.tif")], check=True, capture_output=True)
        peak = 1024.0 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        where = f"{length} frames of 256 x 256, {size / 1e6:.0f} MB"
        rows.append({"part": "memory", "set": where, "method": name, "bytes": peak})
    return rows


PARTS = {
    "memory": of_memory,  # first: a process begins with the memory of the one that starts it
    "quality": of_quality,
    "time": of_time,
    "psf": of_psf,
    "frames": of_frames,
    "tiles": of_tiles,
}


def line(row: Mapping[str, object]) -> str:
    """A row as text."""
    head = f"{row['part']:8s}{row['set']!s:44s}{row['method']!s:52s}"
    if "bytes" in row:
        return f"{head}{float(str(row['bytes'])) / 1e6:7.0f} MB"
    if "value" not in row:
        return head + "".join(f" {key} {value:.4g}" for key, value in row.items() if isinstance(value, float))
    return (
        f"{head}Jaccard {row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]  recall {row['recall']:.3f}  "
        f"precision {row['precision']:.3f}  PSNR {row['psnr']:.2f} dB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, metavar="DIR")
    parser.add_argument("--encoder-decoder", type=int, default=0, metavar="STEPS")
    parser.add_argument("--runs", type=Path, metavar="DIR")
    parser.add_argument("--part", choices=PARTS, action="append", help="several may be named; all by default")
    parser.add_argument("--seconds", type=float, default=2.0, help="measured for each time")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", nargs="?", type=Path, const=Path("-"), metavar="FILE")
    options = parser.parse_args()
    options.device = "cpu"
    torch.set_num_threads(options.threads)
    rows = [row for part in options.part or PARTS for row in PARTS[part](options)]
    publish("microscopy", options, rows, line)


if __name__ == "__main__":
    main()
