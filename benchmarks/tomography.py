"""Slices from projections: every network on the task ``tomography`` that has weights, beside filtered back-projection
and total variation, on real slices, at other numbers of views and doses, and in time and memory on 512 x 512 pixels.

Parts: ``slices`` (simulated projections of real slices, the mean over scans, with the interval of a bootstrap over
scans), ``views`` (the phantom of Shepp and Logan and ellipses), ``large``, ``noise`` (medical/cnn_pgd and its network
by itself, once on the filtered back-projection, from the noise of training to four times as much).

Bars: applied to a sinogram of 512 x 512 pixels at most 1.5 GB; on real slices above total variation; at the highest
noise medical/cnn_pgd at least its network by itself.

--data names a folder with ``human8bit`` (pictures, each its own scan) and ``hu.npz`` (slices in Hounsfield units; names
that differ in digits only are of one scan). Settings of the classical methods come from the task's validation
ellipses, anew for each number of views and dose. --weights names a folder of weights files to use before the shipped
ones.
"""

from __future__ import annotations

import argparse
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from benchmarks.image_methods import Row, Run, chosen, direct, methods_of, network
from benchmarks.record import publish
from unrolling import Unrolled, solve
from unrolling.evaluation.classical import steps_of
from unrolling.files.decoding import Arrays
from unrolling.operators import ParallelBeam
from unrolling.systems.catalogue import catalogue, find
from unrolling.tasks.base import Samples
from unrolling.tasks.baselines import Iterative
from unrolling.tasks.images import sources as images
from unrolling.tasks.medical.ct import read_ct
from unrolling.tasks.medical.tomography import Tomography

VIEWS, DOSES = (15, 30, 60, 120), (0.02, 0.05, 0.1)
NOISES, RELAXED = (0.05, 0.1, 0.2), "medical/cnn_pgd"
LARGE = 512
MEMORY = 1.5e9  # bytes


def systems() -> list[str]:
    """Those on sinograms."""
    return [name for name, system in catalogue().items() if "tomography" in system.recipes]


def networks(weights: Path | None, only: list[str] | None) -> dict[str, Unrolled]:
    """Those that there are weights for."""
    found = {name: network(name, "tomography", weights) for name in only or systems()}
    return {name: made for name, made in found.items() if made is not None}


def rebuilt(name: str, net: Unrolled, task: Tomography) -> Unrolled:
    """The same network around the projections of another task."""
    system = find(name)
    made = system.network(system.recipes["tomography"], task, len(net.layers))
    made.load_learned(net.learned())
    return made.eval()


def classical(task: Tomography) -> dict[str, Run]:
    """Tuned on the task's validation slices."""
    methods = direct(task, "classical")
    for method in methods_of(task, Iterative):
        iteration, setting = chosen(method, task)
        methods[f"{method.name}, {setting:g}"] = steps_of(iteration, method.iterations)
    return methods


def scans(root: Path, size: int) -> dict[str, list[Tensor]]:
    """Slices by scan."""
    found: dict[str, list[Tensor]] = {}
    folder, file = root / "human8bit", root / "hu.npz"
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in images.SUFFIXES:
                found[f"human8bit {path.stem}"] = read_ct(path, size)
    if file.is_file():
        for name, slices in zip(Arrays(file).names, [[x] for x in read_ct(file, size)], strict=True):
            found.setdefault(f"hu {re.sub(r'_?[0-9]+$', '', name)}", []).extend(slices)
    if not found:
        print(f"{root} holds neither human8bit nor hu.npz: left out", file=sys.stderr)
    return found


def values(task: Tomography, run: Run, samples: Samples) -> list[float]:
    """The PSNR of each slice."""
    with torch.no_grad():
        return task.metric.singles(task.pieces(run(samples.data), samples)).tolist()


def of_slices(options: argparse.Namespace) -> list[Row]:
    """The mean over scans, each the mean over its slices."""
    rows: list[Row] = []
    if options.data is None:
        print("--data is not given: real slices are left out", file=sys.stderr)
        return rows
    done: dict[tuple[Any, ...], dict[str, Run]] = {}
    for name, net in networks(options.weights, options.only).items():
        task: Any = find(name).task("tomography")
        key = (task.size, task.views, task.beam, task.noise, task.photons)
        first = key not in done
        methods = done.setdefault(key, classical(task) if first else {})
        held = scans(options.data, task.size)
        generator = torch.Generator().manual_seed(1)
        measured = {scan: task.measure(torch.stack(x), generator) for scan, x in held.items()}
        for kind in ("human8bit", "hu"):
            own = {scan: batch for scan, batch in measured.items() if scan.split()[0] == kind}
            for method, run in {**(methods if first else {}), name: net}.items():
                means = np.array([np.mean(values(task, run, batch)) for batch in own.values()])
                low, high = interval(means)
                rows.append(
                    {
                        "part": "slices",
                        "set": f"{kind}, {task.size} x {task.size}, {task.views} views",
                        "method": method,
                        "scans": len(means),
                        "value": float(means.mean()) if len(means) else float("nan"),
                        "low": low,
                        "high": high,
                    }
                )
    return rows


def interval(means: np.ndarray) -> tuple[float, float]:
    """95 % of the bootstrap over scans."""
    if not len(means):
        return float("nan"), float("nan")
    drawn = np.random.default_rng(0).choice(means, (2000, len(means))).mean(1)
    return float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


def of_views(options: argparse.Namespace) -> list[Row]:
    """Other numbers of views at the dose that weights were trained for, and other doses at their number of views."""
    rows: list[Row] = []
    done: set[tuple[Any, ...]] = set()
    for name, net in networks(options.weights, options.only).items():
        base: Any = find(name).task("tomography")
        settings = {(views, base.noise) for views in VIEWS} | {(base.views, noise) for noise in DOSES}
        for views, noise in sorted(settings | {(base.views, base.noise)}):
            task = Tomography(base.size, views, base.beam, noise)
            methods: dict[str, Run] = {}
            if (base.size, base.beam, views, noise) not in done:
                done.add((base.size, base.beam, views, noise))
                methods = classical(task)
            methods[name] = rebuilt(name, net, task)
            for method, run in methods.items():
                for kind, batch in zip(("Shepp-Logan", "ellipses"), task.test, strict=True):
                    rows.append(
                        {
                            "part": "views",
                            "set": f"{kind}, {base.size} x {base.size}, {views} views, noise {noise:g}",
                            "method": method,
                            "value": float(np.mean(values(task, run, batch))),
                        }
                    )
    return rows


def of_large(options: argparse.Namespace) -> list[Row]:
    """One slice of 512 x 512 pixels: time of the network beside total variation to convergence, a relative change of
    1e-4, and the most memory that ``unroll apply`` takes.
    """
    rows: list[Row] = []
    for name, net in networks(options.weights, options.only).items():
        base: Any = find(name).task("tomography")
        task = Tomography(LARGE, base.views, base.beam, base.noise)
        batch = task.measure(task.slices["test"][:1][0].unsqueeze(0), torch.Generator().manual_seed(1))
        if options.weights is None:  # first: a process begins with the memory of the one that starts it
            peak = memory(name, batch.data[0], task)
            rows.append({"part": "large", "set": "memory", "method": name, "value": peak, "bar": MEMORY})
        made = rebuilt(name, net, task)
        setting = chosen(next(m for m in methods_of(base, Iterative)), base)[1]
        iteration = next(m for m in methods_of(task, Iterative)).make(setting)
        with torch.no_grad():
            ours = seconds(lambda made=made, y=batch.data: made(y))
            begin = time.process_time()
            found = solve(iteration, batch.data, tolerance=1e-4, max_iterations=5000)
            theirs = time.process_time() - begin
        counts = {"steps": int(found.iterations.max()), "seconds": ours, "variation_seconds": theirs}
        rows.append({"part": "large", "set": "time", "method": name, "ratio": ours / theirs, **counts})
    return rows


def of_noise(options: argparse.Namespace) -> list[Row]:
    """Relaxed projections beside one use of the network that they are made of."""
    rows: list[Row] = []
    found = networks(options.weights, [RELAXED])
    if not found or RELAXED not in (options.only or [RELAXED]):
        return rows
    base: Any = find(RELAXED).task("tomography")
    slices = [batch.target for batch in base.test]
    if options.data is not None:
        slices.append(torch.stack([x for of_scan in scans(options.data, base.size).values() for x in of_scan]))
    projector = cast("Any", found[RELAXED].layers[0]).step.projector
    methods: dict[str, Run] = {
        "filtered back-projection": base.fbp,
        "its network, once": lambda y: projector(base.fbp(y)),
        RELAXED: found[RELAXED],
    }
    for noise in NOISES:
        for kind, x in zip(("Shepp-Logan", "ellipses", "real slices"), slices, strict=False):
            batch = base.measure(x, torch.Generator().manual_seed(1), noise=noise)
            for method, run in methods.items():
                name = f"{kind}, {base.size} x {base.size}, {base.views} views, noise {noise:g}"
                level = float(np.mean(values(base, run, batch)))
                rows.append({"part": "noise", "set": name, "method": method, "value": level})
    return rows


def seconds(call: Callable[[], object]) -> float:
    """Processor time of the second call."""
    call()
    begin = time.process_time()
    call()
    return time.process_time() - begin


def memory(name: str, sinogram: Tensor, task: Tomography) -> float:
    """The most bytes of a process that applies the shipped network to a file."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "y.npy"
        np.save(source, 0.02 * sinogram.numpy())
        command = [
            sys.executable,
            "-m",
            "unrolling.cli.main",
            "apply",
            name,
            str(source),
            "-o",
            str(Path(folder) / "x.npy"),
        ]
        command += ["--units", "integrals", "--spacing", "1", "--pixel", "1", "--size", str(task.size)]
        if not isinstance(task.geometry, ParallelBeam):
            geometry = task.geometry
            command += ["--beam", "fan", "--source", str(geometry.source), "--detector", str(geometry.detector)]
            command[command.index("--spacing") + 1] = str(geometry.spacing)
        subprocess.run(command, check=True, capture_output=True)
    return 1024.0 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


PARTS = {"slices": of_slices, "views": of_views, "large": of_large, "noise": of_noise}


def line(row: Mapping[str, Any]) -> str:
    """A row as text."""
    head = f"{row['part']:7s} {row['set']:48s} {row['method']:36s}"
    if "ratio" in row:
        return f"{head} {row['ratio']:.3f} of {row['variation_seconds']:.1f} s, {row['steps']} steps"
    if row["set"] == "memory":
        return f"{head} {row['value'] / 1e9:.2f} GB"
    spread = f" [{row['low']:.2f}, {row['high']:.2f}], {row['scans']} scans" if "low" in row else ""
    return f"{head} {row['value']:6.2f} dB{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="DIR")
    parser.add_argument("--weights", type=Path, metavar="DIR")
    parser.add_argument("--only", action="append", metavar="SYSTEM", help="several may be named; all by default")
    parser.add_argument("--part", choices=PARTS, action="append", help="several may be named; all by default")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", nargs="?", type=Path, const=Path("-"), metavar="FILE")
    options = parser.parse_args()
    options.device = "cpu"
    torch.set_num_threads(options.threads)
    rows = [row for part in options.part or PARTS for row in PARTS[part](options)]
    publish("tomography", options, rows, line)


if __name__ == "__main__":
    main()
