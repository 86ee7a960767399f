"""Compressive imaging on the published test sets: photographs from random projections of blocks of 33 x 33 pixels, at
every rate of the literature, beside classical methods and published networks.

As published: pictures whole, their sides filled up with zeros to multiples of 33, scores over the picture itself,
estimates clipped to [0, 1]; the mean over pictures of the PSNR of each. Matrices are random ones with orthonormal rows,
drawn by seed; none was trained with. Bars: 32.6 dB on Set11 at 25 %, and no less than ISTA-Net+ (a network for each
rate) at 10 and 50 %, all with one network.

Networks that learn what is measured (--learned) are given the pictures, at a quarter of the measurements; the bar is
34.0 dB on Set11.

--classical adds plug-and-play ADMM with the denoiser that imaging/compressive begins with.

--data names a folder with the sets set11 and bsd68; what is not there is left out with a word. Weights of the classical
methods come from validation photographs of the task. --file names a weights file in the place of the shipped one.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.image_methods import Row, Run, beside, chosen, methods_of, psnr, sets
from unrolling.algorithms.splitting.block_projections import BLOCK, BlockProjections, BlockSamples, measure_blocks
from unrolling.evaluation.classical import steps_of
from unrolling.systems.catalogue import find
from unrolling.tasks.baselines import Iterative
from unrolling.training.weights import load_weights, read_weights

RATES = (0.01, 0.04, 0.1, 0.25, 0.3, 0.4, 0.5)
NAMES, TASK = ("imaging/compressive", "imaging/ista_net"), "compressive_rates"
TABLES = {"set11": "set11", "bsd68": "bsd68, compressive"}  # of published figures


def whole(picture: Tensor, block: int = BLOCK) -> Tensor:
    """A picture (height, width) filled up with zeros to whole blocks, as a batch of one."""
    height, width = picture.shape
    return torch.nn.functional.pad(picture, (0, -width % block, 0, -height % block)).unsqueeze(0)


def measured(picture: Tensor, matrix: Tensor) -> BlockSamples:
    """Its samples."""
    return BlockSamples(measure_blocks(whole(picture), matrix), matrix)


def score(run: Run, picture: Tensor, matrix: Tensor | None) -> tuple[float, float]:
    """PSNR, and seconds of this thread's processor; without a matrix, of what measures by itself."""
    data = whole(picture) if matrix is None else measured(picture, matrix)
    begun = time.process_time()
    with torch.no_grad():
        found = run(data)[0, : picture.shape[0], : picture.shape[1]]
    return psnr(found, picture), time.process_time() - begun


def row_of(method: str, run: Run, task: Any, pictures: list[Tensor], rate: float, matrices: int) -> Row:
    """The means over pictures and matrices."""
    pairs = [score(run, picture, task.matrix(rate, k)) for k in range(matrices) for picture in pictures]
    value, seconds = (sum(column) / len(pairs) for column in zip(*pairs, strict=True))
    return {"method": method, "psnr": value, "seconds": seconds}


def network(name: str, file: Path | None) -> Any:
    """With the shipped weights, or those of a file; None where there are none."""
    system = find(name)
    task, recipe = system.recipe(None)
    path = file or system.weights_path(task, recipe.depth, {})
    if not path.is_file():
        print(f"no weights for {name}: left out", file=sys.stderr)
        return None
    card = read_weights(path)[2]
    found = system.network(recipe, system.task(task), card["depth"])
    load_weights(found, path, system=name)
    return found.eval()


def learned(name: str, file: Path | None, pictures: list[Tensor]) -> list[Row]:
    """A network that learned what is measured, and the principal components of the training photographs."""
    task: Any = find(name).task("compressive_learned")
    methods: dict[str, Run] = {"principal components": task.principal, "random, linear estimate": task.random}
    found = network(name, file)
    if found is not None:
        methods[name] = found
    rows: list[Row] = []
    for method, run in methods.items():
        pairs = [score(run, picture, None) for picture in pictures]
        value, seconds = (sum(column) / len(pairs) for column in zip(*pairs, strict=True))
        rows.append({"method": method, "psnr": value, "seconds": seconds})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--file", type=Path, help="a weights file, of imaging/compressive or of --learned")
    parser.add_argument("--learned", metavar="NAME", help="imaging/compressive_learned or another that learns, alone")
    parser.add_argument("--sets", nargs="+", default=["set11", "bsd68"])
    parser.add_argument("--rates", nargs="+", type=float, default=list(RATES))
    parser.add_argument("--every", type=int, default=1, help="only every so many pictures")
    parser.add_argument("--matrices", type=int, default=1, help="so many random matrices for each rate")
    parser.add_argument("--classical", action="store_true", help="total variation and wavelets too, which take long")
    parser.add_argument("--untrained", action="store_true", help="imaging/compressive before training, too")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    task: Any = find(NAMES[0]).task(TASK)
    term = BlockProjections()
    methods: dict[str, Run] = {
        "linear estimate, training blocks": task.linear,
        "linear estimate, formula": lambda data: term.start(term(data)),
    }
    if options.classical:
        own = find(NAMES[0]).baselines[TASK](find(NAMES[0]), task)
        for method in [*methods_of(task, Iterative), *own]:
            iteration, setting = chosen(method, task)
            methods[f"{method.name}, {setting}"] = steps_of(iteration, method.iterations)
    for name in NAMES:
        found = network(name, options.file if options.learned is None and name == NAMES[0] else None)
        if found is not None:
            methods[name] = found
    if options.untrained:
        system = find(NAMES[0])
        methods[f"{NAMES[0]}, untrained"] = system.network(system.recipes[TASK], task, None).eval()
    rows: list[Row] = []
    for name, pictures in sets(options.data, *options.sets).items():
        held = list(pictures.values())[:: options.every]
        table = TABLES.get(name) if options.every == 1 else None
        for rate in options.rates if options.learned is None else (0.25,):
            if options.learned is None:
                found_here = [row_of(each, run, task, held, rate, options.matrices) for each, run in methods.items()]
            else:
                found_here = learned(options.learned, options.file, held)
            if table is not None and rate in RATES:
                found_here += beside({}, table, f"{rate:.0%}".replace("%", " %"))
            for row in found_here:
                rows.append({"set": name, "rate": rate, "images": len(held), **row})
                if not options.json:
                    took = f"{row['seconds']:7.2f} s a picture" if "seconds" in row else ""
                    print(f"{name:6s} {rate:5.0%}  {row['method']:56s} {row['psnr']:6.2f} dB {took}", flush=True)
    if options.json:
        print(json.dumps({"benchmark": "compressive", "threads": options.threads, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
