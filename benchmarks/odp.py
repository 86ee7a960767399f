"""Unrolled optimisation with deep priors (imaging/odp) where the blur is known: noise of 1 %, settings of the classical
methods from validation photographs.

Parts: ``held_out`` (pictures of Set12 with the recorded kernels of Levin et al. 2009, none of which was trained on),
``trained_kind`` (the same pictures with kernels that are drawn as those of training), ``borders`` (as held_out, but
what lies beyond the border of a picture shines into it: worked on as if it were periodic, and continued without a
step).

Bars: above the Wiener filter and total variation by half-quadratic splitting, 0.5 dB above the same networks without
the steps on the data. The best rival known here, half-quadratic splitting with the denoisers of imaging/cscnet
and imaging/denoise, is printed beside.

--data names a folder with ``set12`` (pictures) and ``blur_kernels/levin09.npz``; without it the photographs and kernels
of the task serve. --weights names a folder of weights files to use before the shipped ones. The networks without steps
on the data are trained in the folder that --rival names, as long as imaging/odp, on what --training names (the --data
of the system's own training), and taken from there once they are; without --rival they are left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.image_methods import Row, Run, chosen, network, psnr
from benchmarks.plug_and_play import middle, pairs_of, plugged
from benchmarks.record import publish
from unrolling.algorithms import Blurred
from unrolling.evaluation.baselines import run_method
from unrolling.evaluation.classical import steps_of
from unrolling.operators import convolve_valid, fast_size, join
from unrolling.systems.catalogue import find
from unrolling.systems.imaging import odp
from unrolling.tasks.baselines import Iterative, Method
from unrolling.tasks.images.known_deblurring import KnownDeblurring
from unrolling.training.fit import fit
from unrolling.training.stages import Cosine, Stage

NAME, TASK, NOISE = "imaging/odp", "known_deblurring", 0.01
GAIN = 0.5  # dB, over the networks without steps on the data
WIENER, SPLIT, RIVAL = "Wiener filter", "total variation, half-quadratic", "without data steps"
Pairs = Sequence[tuple[Any, Tensor]]


def trained_rival(options: argparse.Namespace) -> nn.Module | None:
    """The networks without steps on the data, trained as long as with them."""
    if options.rival is None:
        print(f"no --rival: the networks {RIVAL} are left out", file=sys.stderr)
        return None
    task = find(NAME).task(TASK, data=options.training)
    net = odp.without_data(task, odp.blurred)
    steps = options.steps or odp.STEPS
    stage = Stage(steps, rate=2e-3, batch=odp.BATCH, annealing=Cosine(0.03, 0.01), clip=1.0)
    fit(net, task, [stage], options.rival, quiet=True, validations=1)
    return net.eval()


def methods(options: argparse.Namespace, task: KnownDeblurring) -> dict[str, Run]:
    """All of them, the classical ones with their settings."""
    found: dict[str, Run] = {}
    for method in task.baselines(1):
        if isinstance(method, Method):
            found[method.name] = run_method(task, method).run
    variation = next(each for each in task.baselines(1) if isinstance(each, Iterative))
    for method in [odp.half_quadratic(task), variation, *plugged(options)]:
        iteration, setting = chosen(method, task)
        name = method.name if method.name == SPLIT else f"{method.name}, {method.setting} {setting:g}"
        found[name] = steps_of(iteration, method.iterations)
    if (rival := trained_rival(options)) is not None:
        found[RIVAL] = rival
    net = network(NAME, TASK, options.weights)
    if net is not None:
        found[NAME] = net
    return found


def rows_of(part: str, where: str, found: dict[str, Run], pairs: Pairs) -> list[Row]:
    """The mean PSNR of each method, and what the bars ask of ours."""
    with torch.no_grad():
        scores = {
            name: float(np.mean([psnr(run(data), target) for data, target in pairs])) for name, run in found.items()
        }
    rows: list[Row] = [
        {"part": part, "set": where, "method": name, "psnr": value, "images": len(pairs)}
        for name, value in scores.items()
    ]
    for rival, bar in ((WIENER, 0.0), (SPLIT, 0.0), (RIVAL, GAIN)):
        if NAME in scores and rival in scores:
            row: Row = {"part": part, "set": where, "method": f"{NAME} over {rival}"}
            rows.append({**row, "value": scores[NAME] - scores[rival], "bar": bar, "better": "high"})
    return rows


def of_held_out(options: argparse.Namespace, task: KnownDeblurring, found: dict[str, Run]) -> list[Row]:
    """Recorded kernels."""
    where, pairs = pairs_of(options, task)
    return rows_of("held_out", where, found, pairs)


def of_trained_kind(options: argparse.Namespace, task: KnownDeblurring, found: dict[str, Run]) -> list[Row]:
    """Drawn kernels, on the same pictures."""
    where, pairs = pairs_of(options, task)
    drawn = []
    for number, (_, target) in enumerate(pairs):
        sample = task.spoil(target, torch.Generator().manual_seed(9000 + number))
        drawn.append((sample.data, sample.target))
    return rows_of("trained_kind", where, found, drawn)


def of_borders(options: argparse.Namespace, task: KnownDeblurring, found: dict[str, Run]) -> list[Row]:
    """What is seen is the inside of what was blurred; scores leave out a margin of half a kernel, which nobody can
    know.
    """
    where, pairs = pairs_of(options, task)
    seen: list[tuple[Blurred, Tensor]] = []
    for number, (data, target) in enumerate(pairs):
        above, beside = (side // 2 for side in data.kernel.shape[-2:])
        inside = target[:, above : target.shape[-2] - above, beside : target.shape[-1] - beside]
        noise = NOISE * torch.randn(inside.shape, generator=torch.Generator().manual_seed(number))
        seen.append((Blurred(convolve_valid(target, data.kernel) + noise, data.kernel), inside))

    def continued(run: Run) -> Run:
        def on(data: Blurred) -> Tensor:
            height, width = data.image.shape[-2:]
            size = (fast_size(height + data.kernel.shape[-2]), fast_size(width + data.kernel.shape[-1]))
            return run(data._replace(image=join(data.image, size)))[:, :height, :width]

        return on

    def scored(run: Run, data: Blurred, target: Tensor) -> float:
        rows, columns = (side // 2 for side in data.kernel.shape[-2:])
        inner = (slice(None), slice(rows, target.shape[-2] - rows), slice(columns, target.shape[-1] - columns))
        return psnr(run(data)[inner], target[inner])

    rows: list[Row] = []
    for name in (WIENER, SPLIT, NAME):
        for how, change in (("as if periodic", lambda run: run), ("continued", continued)):
            if name in found:
                with torch.no_grad():
                    value = float(np.mean([scored(change(found[name]), *pair) for pair in seen]))
                rows.append({"part": "borders", "set": where, "method": f"{name}, {how}", "psnr": value})
    return rows


PARTS: dict[str, Callable[[argparse.Namespace, KnownDeblurring, dict[str, Run]], list[Row]]] = {
    "held_out": of_held_out,
    "trained_kind": of_trained_kind,
    "borders": of_borders,
}


def line(row: Mapping[str, Any]) -> str:
    """A row as text."""
    words = " ".join(f"{key} {row[key]:.2f}" for key in ("psnr", "value") if key in row)
    return f"{row['part']:12s} {row['set']:26s} {row['method']:52s} {words}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="DIR")
    parser.add_argument("--weights", type=Path, metavar="DIR")
    parser.add_argument("--rival", type=Path, metavar="DIR")
    parser.add_argument("--training", type=Path, metavar="DIR")
    parser.add_argument("--steps", type=int, help="of training the rival; by default those of imaging/odp")
    parser.add_argument("--part", choices=PARTS, action="append", help="several may be named; all by default")
    parser.add_argument("--crop", type=int, default=0, help="middle pixels of test pictures, 0 for all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", nargs="?", type=Path, const=Path("-"), metavar="FILE")
    options = parser.parse_args()
    options.device = "cpu"
    torch.set_num_threads(options.threads)
    task = find(NAME).task(TASK)
    assert isinstance(task, KnownDeblurring)
    small = [batch._replace(target=middle(batch.target, options.crop or 128)) for batch in task.validation[:2]]
    generator = torch.Generator().manual_seed(7)
    task.validation = [task.spoil(batch.target, generator) for batch in small]  # pyright: ignore[reportAttributeAccessIssue]
    found = methods(options, task)
    rows = [row for part in options.part or PARTS for row in PARTS[part](options, task, found)]
    publish("odp", options, rows, line)


if __name__ == "__main__":
    main()
