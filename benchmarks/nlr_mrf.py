"""What non-local cliques are worth: imaging/nlr_mrf, whose cliques are groups of five patches, beside the same field
with one, imaging/local_mrf, trained alike with several seeds; white noise of 25 grey levels on the middle of 20
pictures of BSD68, and inpainting.

Bar: five patches above one by 0.1 dB over the seeds, and both above what they are before training.

--data names a folder with ``bsd400_train180``, which the networks are trained on here, and ``bsd68``, whose first 20
pictures are scored (middle 180 x 180 pixels; noise neither clipped nor rounded, the same for all; estimates clipped to
[0, 1]; the mean of the pictures' PSNR). Settings of the classical methods come from validation photographs of the
packages. --out keeps the runs, which another call goes on with. ``--part shipped`` scores the weights that ship
instead, and ``--part tiles`` says what cutting a picture into tiles changes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.image_methods import Row, chosen, direct, methods_of, network, psnr
from unrolling import Unrolled, fit
from unrolling.algorithms.images.inpainting import Masked
from unrolling.evaluation.classical import steps_of
from unrolling.files.pictures import in_tiles
from unrolling.systems.catalogue import find
from unrolling.systems.imaging._files import reach
from unrolling.tasks.baselines import Iterative
from unrolling.tasks.images import sources as images
from unrolling.tasks.images.denoising import Denoising
from unrolling.tasks.images.inpainting import Inpainting, pixel_mask, stroke_mask

SYSTEMS = ("imaging/nlr_mrf", "imaging/local_mrf")
SIDE, COUNT, SIGMA = 180, 20, 25.0
SEEDS = (0, 1, 2)


def middles(root: Path, count: int = COUNT) -> list[Tensor]:
    """The middle pixels of the first pictures of BSD68, (1, 180, 180)."""
    found = []
    for picture in list(images.folder(root / "bsd68").values())[:count]:
        top, left = ((side - SIDE) // 2 for side in picture.shape)
        found.append(picture[top : top + SIDE, left : left + SIDE].unsqueeze(0).contiguous())
    return found


def noisy(clean: list[Tensor]) -> list[tuple[Any, Tensor]]:
    """With noise of its own on each picture."""
    return [
        (x + SIGMA / 255 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1000 + k)), x)
        for k, x in enumerate(clean)
    ]


def masked(clean: list[Tensor], make: Callable[..., Tensor], missing: float) -> list[tuple[Any, Tensor]]:
    """With pixels missing."""
    masks = [make(*x.shape, missing, torch.Generator().manual_seed(2000 + k)) for k, x in enumerate(clean)]
    return [(Masked(x * mask, mask), x) for x, mask in zip(clean, masks, strict=True)]


@torch.no_grad()
def scores(run: Callable[[Any], Tensor], pairs: list[tuple[Any, Tensor]]) -> Tensor:
    """The PSNR of each picture."""
    return torch.tensor([psnr(run(data), target) for data, target in pairs], dtype=torch.float64)


def pictures(root: Path) -> dict[str, dict[str, np.ndarray]]:
    """BSD400 to train on; photographs of the packages to validate on."""
    parts = images.split(None, ())
    train = {name: p.numpy() for name, p in images.folder(root / "bsd400_train180").items()}
    held = {part: {n: p[:128, :128].numpy() for n, p in parts[part].items()} for part in ("validation", "test")}
    return {"train": train, **held}


def trained(name: str, seed: int, held: Any, steps: int, out: Path) -> tuple[Unrolled, Unrolled]:
    """The network before and after training."""
    system = find(name)
    recipe = system.recipes["denoising"]
    task = Denoising(SIGMA, seed, held)
    first, net = (system.network(recipe, task) for _ in range(2))
    (stage,) = recipe.schedule(recipe.depth)
    stages = [type(stage)(**{**vars(stage), "steps": steps})]
    fit(net, task, stages, out / f"{name.rsplit('/', 1)[-1]}_{seed}", seed=seed, validations=1, quiet=True)
    return first.eval(), net.eval()


def of_seeds(options: argparse.Namespace, out: Path) -> list[Row]:
    """Both systems, trained alike, for each seed."""
    held, pairs = pictures(options.data), noisy(middles(options.data))
    after: dict[str, list[Tensor]] = {name: [] for name in SYSTEMS}
    rows: list[Row] = []
    for seed in SEEDS[: options.seeds]:
        for name in SYSTEMS:
            first, net = trained(name, seed, held, options.steps, out)
            found = scores(net, pairs)
            after[name].append(found)
            before = float(scores(first, pairs).mean())
            rows.append({"part": "seeds", "method": name, "seed": seed, "before": before, "psnr": float(found.mean())})
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    gains = torch.stack(after[SYSTEMS[0]]) - torch.stack(after[SYSTEMS[1]])
    each = gains.mean(1)
    rows.append(
        {
            "part": "seeds",
            "method": "five patches above one",
            "gain": float(gains.mean()),
            "least of a seed": float(each.min()),
            "pictures that gain": float((gains.mean(0) > 0).double().mean()),
        }
    )
    return rows


def of_shipped(options: argparse.Namespace, out: Path) -> list[Row]:
    """Weights that ship, and what the tasks compare with, on the same pictures."""
    clean = middles(options.data)
    kinds = {
        "noise of 25": ("denoising", noisy(clean)),
        "70 % missing": ("inpainting", masked(clean, pixel_mask, 0.7)),
        "strokes over 10 %": ("inpainting", masked(clean, stroke_mask, 0.1)),
    }
    rows: list[Row] = []
    methods: dict[str, dict[str, Callable[[Any], Tensor]]] = {}
    for kind, (task_name, pairs) in kinds.items():
        if task_name not in methods:
            task: Any = Denoising(SIGMA) if task_name == "denoising" else Inpainting()
            own = direct(task, "classical", "library")
            for method in methods_of(task, Iterative):
                iteration, setting = chosen(method, task)
                own[f"{method.name}, {setting}"] = steps_of(iteration, method.iterations)
            for name in SYSTEMS:
                if (net := network(name, task_name, options.weights)) is not None:
                    own[name] = net
            methods[task_name] = own
        for method, run in methods[task_name].items():
            rows.append({"part": "shipped", "set": kind, "method": method, "psnr": float(scores(run, pairs).mean())})
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def of_tiles(options: argparse.Namespace, out: Path) -> list[Row]:
    """A picture of BSD68 as a whole, and in tiles of 96 pixels with the margin that files are worked on with."""
    net = network(SYSTEMS[0], "denoising", options.weights)
    if net is None:
        return []
    x = next(iter(images.folder(options.data / "bsd68").values())).unsqueeze(0)
    y = x + SIGMA / 255 * torch.randn(x.shape, generator=torch.Generator().manual_seed(7))
    whole = net(y).detach()
    rows = []
    for wide in (16, 32, reach(net)):
        apart = 255 * (in_tiles(net, y, margin=wide, tile=96) - whole).abs()
        rows.append(
            {"part": "tiles", "margin": wide, "largest": float(apart.max()), "rms": float(apart.square().mean().sqrt())}
        )
    return rows


PARTS = {"seeds": of_seeds, "shipped": of_shipped, "tiles": of_tiles}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--part", choices=PARTS, action="append", help="several may be named; seeds by default")
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--weights", type=Path, metavar="DIR")
    parser.add_argument("--out", type=Path, metavar="DIR")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        for part in options.part or ["seeds"]:
            for row in PARTS[part](options, options.out or Path(folder)):
                print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}), flush=True)


if __name__ == "__main__":
    main()
