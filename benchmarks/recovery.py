"""Sparse recovery, R: m = 250, n = 500, a tenth of the entries not zero. NMSE by layer on 1,000 unseen signals of networks and classical methods, without noise
and at 40, 30 and 20 dB, and for dictionaries with condition numbers; CPU-seconds of training, numbers learned. Means over dictionaries and training seeds.

Everything is chosen on validation data: a network's schedule is its system's own, a classical method's weight and damping are tuned, and test data give scores
alone. A cell is a method, a setting, a dictionary and a training seed; ``--resume DIR`` keeps finished ones, so that the same command goes on. NMSE of a layer
is 10 log10(sum |x' - x|^2 / sum |x|^2) over the signals; it is averaged over cells in dB. ``--only alista lvamp --settings noiseless "SNR 30"`` does a part.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import pairwise, product
from math import inf, isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling import Iteration, Unrolled
from unrolling.algorithms.state_evolution import oracle_nmse
from unrolling.systems.catalogue import find
from unrolling.systems.sparse_coding import baselines
from unrolling.tasks.base import Samples
from unrolling.tasks.recovery import Recovery
from unrolling.training.fit import fit

SETTINGS: dict[str, dict[str, float]] = {
    "noiseless": {},
    "SNR 40": {"snr": 40.0},
    "SNR 30": {"snr": 30.0},
    "SNR 20": {"snr": 20.0},
    **{f"condition {c}, SNR 30": {"condition": float(c), "snr": 30.0} for c in (1, 5, 30, 50)},
    **{f"condition {c}, noiseless": {"condition": float(c)} for c in (1, 5, 30, 50)},
}
NETWORKS = ("lista", "lista_cp", "lista_ss", "lista_cpss", "tilista", "alista", "hyperlista", "lamp_l1", "lamp", "lamp_pwl", "lvamp", "lvamp_pwl")
# Message passing is within half a decibel of its limit in the twelfth layer where there is noise.
SHORT = {"lamp": 12, "lamp_pwl": 12, "lvamp": 12, "lvamp_pwl": 12}
CLASSICAL = ("ISTA", "FISTA", "FISTA with continuation", "AMP, told the prior", "VAMP, told prior and noise", "VAMP, told nothing")
DEPTH, END = 16, {"ISTA": 3000, "FISTA": 1500, "FISTA with continuation": 1000}
LIMIT = "the support told (least squares)"


def task_of(setting: str, dictionary: int) -> Recovery:
    options: Any = SETTINGS[setting]
    return Recovery(seed=dictionary, **options)


def score(estimate: Tensor, batch: Samples) -> float:
    """NMSE in dB; infinite when it has diverged."""
    value = 10 * torch.log10((estimate.double() - batch.target).square().sum() / batch.target.double().square().sum())
    return float(value) if isfinite(float(value)) else inf


@torch.inference_mode()
def path(iteration: Iteration | Unrolled, batch: Samples, steps: int) -> list[float]:
    """NMSE after each layer or iteration."""
    if isinstance(iteration, Unrolled):
        pairs: Any = zip(iteration.layers, iteration.trajectory(batch.data), strict=True)
        return [score(layer.estimate(state), batch) for layer, state in pairs]
    problem, values = iteration.prepare(batch.data), []
    state = iteration.start(problem)
    for _ in range(steps):
        state = iteration(state, problem)
        values.append(score(iteration.estimate(state), batch))
    return values


def train(name: str, setting: str, dictionary: int, seed: int) -> dict[str, Any]:
    """A network, trained by its own schedule."""
    system, task = find(f"sparse_coding/{name}"), task_of(setting, dictionary)
    recipe = system.recipes["recovery"]
    short = "condition" not in setting and setting != "noiseless"
    depth = SHORT.get(name, DEPTH) if short else DEPTH
    network = system.network(recipe, task, depth)
    before = path(network, task.test[0], depth)
    begin = time.process_time()
    fit(network, task, recipe.schedule(depth), seed=seed, validations=0, quiet=True)
    seconds = time.process_time() - begin
    learned = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return {"layers": path(network, task.test[0], depth), "before": before[-1], "seconds": seconds, "numbers": learned}


def tune(name: str, setting: str, dictionary: int) -> dict[str, Any]:
    """A classical method: one weight for 16 iterations and one for the end, each the best of its candidates on validation data."""
    task = task_of(setting, dictionary)
    if name == LIMIT:
        y, x = task.test[0]
        return {"layers": [], "end": oracle_nmse(y, task.dictionary, x)}
    (method,) = [method for method in baselines.recovery(task) if method.name == name]
    steps = END.get(name, 100)
    validation = Samples(task.validation[0].data[:300], task.validation[0].target[:300])  # enough to choose among a handful
    runs = {weight: path(method.make(weight), validation, steps) for weight in method.weights}
    soon, late = (min(runs, key=lambda weight, k=k: runs[weight][k]) for k in (DEPTH - 1, -1))
    layers = path(method.make(soon), task.test[0], DEPTH)
    whole = path(method.make(late), task.test[0], steps)
    settled = next((k for k, value in enumerate(whole, 1) if value <= whole[-1] + 0.5), steps)
    return {"layers": layers, "end": whole[-1], "within_half_dB": settled, "chosen": [soon, late]}


def kept(folder: Path | None, key: Sequence[Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A cell, from its file or made now."""
    file = folder and folder / (re.sub(r"[^\w.]+", "-", "_".join(map(str, key))) + ".json")
    if file and file.is_file():
        return json.loads(file.read_text())
    found = make()
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found))
    return found


def summary(method: str, setting: str, cells: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over cells."""
    layers = [statistics.fmean(values) for values in zip(*(cell["layers"] for cell in cells), strict=True)]
    rises = [after - before for before, after in pairwise(layers)]
    last = [cell["layers"][-1] if cell["layers"] else cell["end"] for cell in cells]
    row: dict[str, Any] = {"method": method, "setting": setting, "cells": len(cells), "layers": layers, "nmse": statistics.fmean(last)}
    row |= {"worst": max(last), "best": min(last), "largest_rise": max(rises, default=0.0)}
    for name in ("seconds", "numbers", "end", "within_half_dB"):
        if name in cells[0]:
            row[name] = statistics.fmean(cell[name] for cell in cells)
    return row


def line(row: dict[str, Any]) -> str:
    head = f"{row['setting']:24s} {row['method']:32s} {row['nmse']:7.1f} [{row['best']:.1f}, {row['worst']:.1f}] of {row['cells']}"
    if "seconds" in row:
        head += f"  {row['seconds']:4.0f} s {row['numbers']:9,.0f} numbers, largest rise {row['largest_rise']:+.1f} dB:"
    elif row["layers"]:
        head += f"  end {row['end']:.1f}, near it after {row['within_half_dB']:.0f}:"
    return head + "".join(f" {value:.1f}" for value in row["layers"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", nargs="*", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--only", nargs="*", help=f"some of {', '.join([*NETWORKS, *CLASSICAL])}, or of them those that begin so")
    parser.add_argument("--dictionaries", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2], help="of the training batches")
    parser.add_argument("--resume", type=Path, help="folder that keeps finished cells")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    methods = [*CLASSICAL, LIMIT, *NETWORKS]
    if options.only:
        methods = [name for name in methods if any(name == part or (part not in methods and name.startswith(part)) for part in options.only)]
    rows = []
    for setting in options.settings:
        for method in methods:
            make = train if method in NETWORKS else tune
            axes = (options.dictionaries, options.seeds) if method in NETWORKS else (options.dictionaries,)
            keys = [(method, setting, *numbers) for numbers in product(*axes)]
            cells = [kept(options.resume, key, lambda make=make, key=key: make(*key)) for key in keys]
            rows.append(summary(method, setting, cells))
            if not options.json:
                print(line(rows[-1]), flush=True)
    if options.json:
        print(json.dumps({"benchmark": "recovery", "threads": options.threads, "torch": torch.__version__, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
