"""Sparse recovery, R: m = 250, n = 500, a tenth of the entries not zero. NMSE by layer on 1,000 unseen signals of
networks and classical methods, without noise and at 40, 30 and 20 dB, and for dictionaries with condition numbers;
CPU-seconds of training, numbers learned. Means over dictionaries and training seeds. Then signals whose density differs
from one to the next, dictionaries with blocks of coherent columns (F1 of the support beside orthogonal matching pursuit
told the number of non-zeros), and such as change with the data.

Everything is chosen on validation data: a network's schedule is its system's own, a classical method's weight and
damping are tuned, and test data give scores alone. A cell is a method, a setting, a dictionary and a training seed;
``--resume DIR`` keeps finished ones, so that the same command goes on. NMSE of a layer is 10 log10(sum |x' - x|^2 / sum
|x|^2) over the signals; it is averaged over cells in dB. ``--only alista lvamp --settings noiseless "SNR 30"`` does a
part.

Below the layers: what the same network, or method, makes of signals of other densities than the one it was trained on,
or told (prior mismatch); without noise, how many iterations FISTA with continuation needs for an error, its weight and
rate chosen for that error on validation data.
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
from unrolling.algorithms import FISTA, GramISTA
from unrolling.algorithms.messages.state_evolution import oracle_nmse
from unrolling.systems.base import Recipe, System
from unrolling.systems.catalogue import find
from unrolling.tasks.base import Samples, Task
from unrolling.tasks.sparse.baselines import FIRST_WEIGHT
from unrolling.tasks.sparse.recovery import Recovery
from unrolling.training.fit import fit

MIXED = ("density 0.05 to 0.2",)
COHERENT, VARYING = ("coherent columns",), ("permuted columns", "noisy dictionary")
SETTINGS: dict[str, dict[str, float]] = {
    "noiseless": {},
    "SNR 40": {"snr": 40.0},
    "SNR 30": {"snr": 30.0},
    "SNR 20": {"snr": 20.0},
    **{f"condition {c}, SNR 30": {"condition": float(c), "snr": 30.0} for c in (1, 5, 30, 50)},
    **{f"condition {c}, noiseless": {"condition": float(c)} for c in (1, 5, 30, 50)},
    "density 0.05 to 0.2": {"probability": 0.05, "densest": 0.2},
    "coherent columns": {"m": 50, "n": 100, "probability": 0.05, "coherence": 0.9},
    "permuted columns": {"permute": 1, "dictionary_snr": inf},
    "noisy dictionary": {"permute": 0, "dictionary_snr": 25.0},
}
COUPLED = ("lista_cp", "lista_ss", "lista_cpss", "tilista", "alista", "hyperlista", "gated_lista", "na_alista")
NETWORKS = ("lista", *COUPLED, "lamp_l1", "lamp", "lamp_pwl", "lvamp", "lvamp_pwl")
# Message passing is within half a decibel of its limit in the twelfth layer where there is noise.
SHORT = {"lamp": 12, "lamp_pwl": 12, "lvamp": 12, "lvamp_pwl": 12}
CLASSICAL = (
    "ISTA",
    "FISTA",
    "FISTA with continuation",
    "AMP, told the prior",
    "VAMP, told prior and noise",
    "VAMP, told nothing",
)
LIMIT, PURSUIT = "the support told (least squares)", "OMP, told the number of non-zeros"
DEPTH, END = 16, {"ISTA": 3000, "FISTA": 1500, "FISTA with continuation": 1000}
DENSITIES = (0.05, 0.075, 0.1, 0.125, 0.15, 0.2)  # of signals, all methods knowing or having seen 0.1
LEVELS = (-20.0, -40.0, -55.0)  # dB
# of the continuation, from which the fastest is taken
PATHS = [(weight, rate) for weight in (1e-4, 3e-4, 5e-4, 1e-3) for rate in (0.8, 0.85, 0.9, 0.95)]
EVERY = (*CLASSICAL, LIMIT, *NETWORKS, "IHT", PURSUIT, "liht", "liht_k", "ada_lista")


def methods_of(setting: str) -> tuple[str, ...]:
    """Whose numbers a setting asks for."""
    if setting in COHERENT:
        return ("IHT", PURSUIT, "liht", "liht_k")
    if setting in MIXED:
        return (*CLASSICAL[:3], CLASSICAL[-1], *NETWORKS)
    return (*CLASSICAL[:3], "ada_lista") if setting in VARYING else (*CLASSICAL, LIMIT, *NETWORKS)


def system_of(setting: str) -> System:
    """A system with the setting's task and classical methods."""
    return find("sparse_coding/" + ("liht" if setting in COHERENT else "ada_lista" if setting in VARYING else "alista"))


def recipe_of(system: System) -> Recipe:
    (recipe,) = (recipe for name, recipe in system.recipes.items() if name in ("recovery", "varying_dictionary"))
    return recipe


def task_of(setting: str, dictionary: int) -> Task:
    name = "varying_dictionary" if setting in VARYING else "recovery"
    return system_of(setting).task(name, seed=dictionary, **SETTINGS[setting])


def decibels(error: Tensor, energy: Tensor) -> float:
    """Infinite when an estimate has diverged."""
    value = float(10 * torch.log10(error / energy))
    return value if isfinite(value) else inf


@torch.inference_mode()
def path(iteration: Iteration | Unrolled, batches: Sequence[Samples], steps: int) -> list[float]:
    """NMSE after each layer or iteration."""
    error = torch.zeros(steps, dtype=torch.float64)
    energy = sum((batch.target.double().square().sum() for batch in batches), torch.zeros((), dtype=torch.float64))
    for data, target in batches:
        if isinstance(iteration, Unrolled):
            for k, estimate in enumerate(iteration.estimates(data)):
                error[k] += (estimate.double() - target).square().sum()
            continue
        problem = iteration.prepare(data)
        state = iteration.start(problem)
        for k in range(steps):
            state = iteration(state, problem)
            error[k] += (iteration.estimate(state, problem).double() - target).square().sum()
    return [decibels(value, energy) for value in error]


def mismatch(iteration: Iteration | Unrolled, task: Task, setting: str, steps: int) -> dict[str, Any]:
    """NMSE in the last layer for signals of other densities."""
    if not isinstance(task, Recovery) or setting in COHERENT:
        return {}

    def one(density: float) -> float:
        batch = task.draw(500, torch.Generator().manual_seed(2_000_003 + task.seed), probability=density)
        return path(iteration, [batch], steps)[-1]

    return {"mismatch": {f"{density:g}": one(density) for density in DENSITIES}}


def fewest(task: Recovery) -> dict[str, float]:
    """Iterations of FISTA with continuation to an error, each with the fastest of ``PATHS`` on validation data."""

    def run(choice: tuple[float, float], batch: Samples) -> list[float]:
        weight, rate = choice
        return path(FISTA(GramISTA(task.dictionary, weight), continuation=(FIRST_WEIGHT / weight, rate)), [batch], 300)

    def first(values: list[float], level: float) -> float:
        return next((float(k) for k, value in enumerate(values, 1) if value <= level), inf)

    y, x = task.validation[0]
    tried = {choice: run(choice, Samples(y[:300], x[:300])) for choice in PATHS}
    best = {level: min(tried, key=lambda choice, level=level: first(tried[choice], level)) for level in LEVELS}
    return {f"{level:g}": first(run(choice, task.test[0]), level) for level, choice in best.items()}


def train(name: str, setting: str, dictionary: int, seed: int) -> dict[str, Any]:
    """A network, trained by its own schedule."""
    system, task = find(f"sparse_coding/{name}"), task_of(setting, dictionary)
    recipe = recipe_of(system)
    short = setting.startswith("SNR")
    depth = SHORT.get(name, DEPTH) if short else DEPTH
    network = system.network(recipe, task, depth)
    before = path(network, task.test, depth)
    begin = time.process_time()
    fit(network, task, recipe.schedule(depth), seed=seed, validations=0, quiet=True)
    seconds = time.process_time() - begin
    learned = sum(p.numel() for p in network.parameters() if p.requires_grad)
    found = {"layers": path(network, task.test, depth), "before": before[-1], "seconds": seconds, "numbers": learned}
    if setting in COHERENT:
        with torch.inference_mode():
            found["F1"] = task.more([network(task.test[0].data)], task.test)["support F1"]
    return found | mismatch(network, task, setting, depth)


def pursuit(task: Task) -> dict[str, Any]:
    """Orthogonal matching pursuit, scikit-learn's, told each signal's number of non-zeros."""
    from sklearn.linear_model import orthogonal_mp

    assert isinstance(task, Recovery)
    y, x = task.test[0]
    dictionary, estimate = task.dictionary.double().numpy(), torch.zeros_like(x, dtype=torch.float64)
    for row, (measured, count) in enumerate(zip(y.double().numpy(), (x != 0).sum(1).tolist(), strict=True)):
        if count:
            estimate[row] = torch.from_numpy(orthogonal_mp(dictionary, measured, n_nonzero_coefs=count))
    value = decibels((estimate - x).square().sum(), x.double().square().sum())
    return {"layers": [], "end": value, "F1": task.more([estimate], task.test)["support F1"]}


def tune(name: str, setting: str, dictionary: int) -> dict[str, Any]:
    """A classical method: one weight for 16 iterations and one for the end, each the best of its candidates on
    validation data.
    """
    task = task_of(setting, dictionary)
    if name == LIMIT:
        assert isinstance(task, Recovery)
        y, x = task.test[0]
        return {"layers": [], "end": oracle_nmse(y, task.dictionary, x)}
    if name == PURSUIT:
        return pursuit(task)
    (method,) = [method for method in task.baselines(0) if method.name == name]
    steps = END.get(name, 100)
    # Enough to choose among a handful.
    validation = (
        task.validation[:6]
        if setting in VARYING
        else [Samples(task.validation[0].data[:300], task.validation[0].target[:300])]
    )
    runs = {weight: path(method.make(weight), validation, steps) for weight in method.settings}
    soon, late = (min(runs, key=lambda weight, k=k: runs[weight][k]) for k in (DEPTH - 1, -1))
    layers = path(method.make(soon), task.test, DEPTH)
    whole = path(method.make(late), task.test, steps)
    settled = next((k for k, value in enumerate(whole, 1) if value <= whole[-1] + 0.5), steps)
    found: dict[str, Any] = {"layers": layers, "end": whole[-1], "within_half_dB": settled, "chosen": [soon, late]}
    if setting == "noiseless" and name == "FISTA with continuation":
        assert isinstance(task, Recovery)
        found["iterations_to"] = fewest(task)
    return found | mismatch(method.make(soon), task, setting, DEPTH)


def cell_file(folder: Path, key: Sequence[Any]) -> Path:
    """Where a cell is kept."""
    return folder / (re.sub(r"[^\w.]+", "-", "_".join(map(str, key))) + ".json")


def kept(folder: Path | None, key: Sequence[Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A cell, from its file or made now."""
    file = None if folder is None else cell_file(folder, key)
    if file is not None and file.is_file():
        return json.loads(file.read_text())
    found = make()
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found))
    return found


def summary(method: str, setting: str, cells: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over cells."""
    layers = [statistics.fmean(values) for values in zip(*(cell["layers"] for cell in cells), strict=True)]
    rises = [after - before for before, after in pairwise(layers)]
    last = [cell["layers"][-1] if cell["layers"] else cell["end"] for cell in cells]
    row: dict[str, Any] = {
        "method": method,
        "setting": setting,
        "cells": len(cells),
        "layers": layers,
        "nmse": statistics.fmean(last),
    }
    row |= {"worst": max(last), "best": min(last), "largest_rise": max(rises, default=0.0)}
    for name in ("seconds", "numbers", "end", "within_half_dB", "F1"):
        if name in cells[0]:
            row[name] = statistics.fmean(cell[name] for cell in cells)
    for name in ("mismatch", "iterations_to"):
        if name in cells[0]:
            row[name] = {key: statistics.fmean(cell[name][key] for cell in cells) for key in cells[0][name]}
    return row


def line(row: dict[str, Any]) -> str:
    head = (
        f"{row['setting']:24s} {row['method']:33s} {row['nmse']:7.1f} [{row['best']:.1f}, {row['worst']:.1f}] of "
        f"{row['cells']}"
    )
    if "F1" in row:
        head += f"  support F1 {row['F1']:.3f}"
    if "seconds" in row:
        head += f"  {row['seconds']:4.0f} s {row['numbers']:9,.0f} numbers, largest rise {row['largest_rise']:+.1f} dB:"
    elif row["layers"]:
        head += f"  end {row['end']:.1f}, near it after {row['within_half_dB']:.0f}:"
    lines = [head + "".join(f" {value:.1f}" for value in row["layers"])]
    if "mismatch" in row:
        lines.append(
            "    at densities " + ", ".join(f"{density}: {value:.1f}" for density, value in row["mismatch"].items())
        )
    if "iterations_to" in row:
        lines.append(
            "    iterations to "
            + ", ".join(f"{level} dB: {count:.0f}" for level, count in row["iterations_to"].items())
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="*", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--only", nargs="*", help=f"some of {', '.join(EVERY)}, or of them those that begin so")
    parser.add_argument("--dictionaries", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2], help="of the training batches")
    parser.add_argument("--resume", type=Path, help="folder that keeps finished cells")
    parser.add_argument(
        "--finished", action="store_true", help="train and tune nothing: means over the cells that there are"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.finished and options.resume is None:
        parser.error("--finished reads the folder of --resume: give both")
    torch.set_num_threads(options.threads)
    rows = []
    for setting in options.settings:
        for method in methods_of(setting):
            if options.only and not any(
                method == part or (part not in EVERY and method.startswith(part)) for part in options.only
            ):
                continue
            trained = method not in (*CLASSICAL, LIMIT, PURSUIT, "IHT")
            axes = (options.dictionaries, options.seeds) if trained else (options.dictionaries,)
            keys: list[tuple[Any, ...]] = [(method, setting, *numbers) for numbers in product(*axes)]
            if options.finished:
                keys = [key for key in keys if cell_file(options.resume, key).is_file()]
            make: Callable[..., dict[str, Any]] = train if trained else tune
            cells = [kept(options.resume, key, lambda make=make, key=key: make(*key)) for key in keys]
            if not cells:
                continue
            rows.append(summary(method, setting, cells))
            if not options.json:
                print(line(rows[-1]), flush=True)
    if options.json:
        print(
            json.dumps(
                {"benchmark": "recovery", "threads": options.threads, "torch": torch.__version__, "rows": rows},
                indent=1,
            )
        )


if __name__ == "__main__":
    main()
