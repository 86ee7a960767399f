"""Random fields behind a network that scores pixels: what they gain on street scenes, back ends, time.

    python -m benchmarks.vision --part back_ends      # window, grid and matrix: how far apart, and seconds a step
    python -m benchmarks.vision --part shapes         # drawn shapes with coarse noisy scores: no file needed
    python -m benchmarks.vision --part scenes --data DIR/camvid_small --seeds 1      # CamVid, 120 x 160, 11 classes
    python -m benchmarks.vision --part scenes --data DIR/camvid_small --keep FOLDER  # goes on where it was ended

Part ``scenes``: for each seed one network of 0.4 million numbers is trained alone (``--alone`` steps of 4 pictures).
From it start: the network trained for ``--together`` further steps, which any gain must be held against; a random field
with weights chosen on validation pictures (post-hoc); CRF-RNN of 5 steps and of 1, the Deep Parsing Network, and a head
of convolutions of as many numbers as the latter, each trained together with the network for as many steps. mIoU, mIoU
within 3 pixels of a border and pixel accuracy on all test pictures.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import record
from unrolling import Stage, fit, unroll
from unrolling.algorithms.vision.dense_crf import CRFPotentials, DenseCRF, ScoredPicture
from unrolling.algorithms.vision.gaussian_filters import ExactFilter, GridFilter, WindowFilter
from unrolling.algorithms.vision.parsing_network import ParsingNetwork
from unrolling.networks.fully_convolutional import FullyConvolutional, LocalHead
from unrolling.tasks.base import Samples
from unrolling.tasks.vision.pixel_labels import further_scores
from unrolling.tasks.vision.segmentation import KERNELS, Refinement, Segmentation, head_width
from unrolling.training.stages import Cosine

WEIGHTS = [(s, b) for s in (0.0, 0.5, 1.5) for b in (0.5, 1.0, 2.0)]  # of the random field, w_s and w_b
FIELDS = [(s, b, c) for s in (0.0, 0.5) for b in (1.0, 2.0, 4.0) for c in (8.0, 30.0)]  # and the width of colours
Field = tuple[float, float, float]
LEARNED = ("spatial_weight", "bilateral_weight", "compatibility")


class Scores(nn.Module):
    """Log chances of a network's scores, after a head where there is one."""

    def __init__(self, network: nn.Module, head: nn.Module | None = None) -> None:
        super().__init__()
        self.network, self.head = network, head

    def forward(self, data: Tensor) -> Tensor:
        scores = self.network(data)
        return torch.log_softmax(scores if self.head is None else self.head(scores, data), 1)


@torch.no_grad()
def scored(run: Callable[[Any], Tensor], task: Segmentation, batches: Sequence[Samples]) -> dict[str, float]:
    """Metrics on pictures."""
    found = [run(batch.data).half().float() for batch in batches]
    pieces = torch.cat([task.metric.pieces(f, batch) for f, batch in zip(found, batches, strict=True)])
    more = further_scores(found, batches, task.classes)
    return {
        "miou": task.metric.value(pieces),
        "trimap": more["mIoU within 3 pixels of a border"],
        "accuracy": more["pixel accuracy"],
    }


def kept(given: argparse.Namespace, name: str, network: nn.Module, train: Callable[[], None]) -> float:
    """Trains a network, or takes what an earlier run kept; CPU seconds."""
    path = None if given.keep is None else Path(given.keep) / f"{name}.pt"
    if path is not None and path.is_file():
        held = torch.load(path, weights_only=True)
        network.load_state_dict(held["state"])
        return float(held["seconds"])
    began = time.process_time()
    train()
    seconds = time.process_time() - began
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"state": network.state_dict(), "seconds": seconds}, path)
    return seconds


def scenes(given: argparse.Namespace) -> list[dict[str, Any]]:
    """All methods from one network, seed by seed."""
    if given.data is None:
        print("scenes: no --data, a folder with train, val and test; not measured", file=sys.stderr)
        return []
    rows: list[dict[str, Any]] = []
    task = Segmentation(void=given.void, data=given.data)
    for seed in range(given.first, given.first + given.seeds):
        network = FullyConvolutional(task.classes, seed=seed)
        alone = Scores(network)
        cosine = Cosine(0.05, 0.05)
        stage = Stage(given.alone, rate=3e-3, batch=4, annealing=cosine, clip=1.0)
        count = sum(p.numel() for p in network.parameters())
        cost = kept(given, f"alone-{seed}", alone, lambda s=stage, a=alone, k=seed: train(a, task, s, k))
        start = {name: value.clone() for name, value in network.state_dict().items()}
        rows.append(row("network alone", seed, scored(alone.eval(), task, task.test), count, cost))
        best = chosen(network, task)
        field = DenseCRF(potentials(best, network), spatial_weight=best[0], bilateral_weight=best[1])
        post = unroll(field, 10)
        rows.append(row(f"post-hoc CRF {best}", seed, scored(post, task, task.test), count, cost))
        plain = Stage(given.together, rate=1e-5, batch=4, annealing=cosine, clip=1.0)
        head = head_width(25 * 5 * task.classes**2, task.classes)
        ways: dict[str, tuple[Callable[[], nn.Module], Stage]] = {
            "CRF-RNN, 5 steps": (lambda b=best: crf_rnn(task, b, 5), faster(plain, LEARNED)),
            "DPN": (lambda b=best: parsing(task, b), faster(plain, ("contexts",))),
            "CRF-RNN, 1 step": (lambda b=best: crf_rnn(task, b, 1), faster(plain, LEARNED)),
            "network, as much longer": (lambda: Scores(FullyConvolutional(task.classes)), plain),
            "head of convolutions": (lambda h=head: headed(task, h), plain),
        }
        for name, (make, how) in ways.items():
            if given.only and name not in given.only:
                continue
            net = make()
            part = next(p for p in net.modules() if isinstance(p, FullyConvolutional))
            part.load_state_dict(start)
            file = f"{name.replace(' ', '-').replace(',', '')}-{seed}"
            spent = kept(given, file, net, lambda n=net, s=how, k=seed: train(n, task, s, 100 + k))
            numbers = sum(p.numel() for p in net.parameters() if p.requires_grad)
            rows.append(row(name, seed, scored(net.eval(), task, task.test), numbers, spent))
    return rows


def faster(stage: Stage, names: tuple[str, ...]) -> Stage:
    """With these parameters faster."""
    return replace(stage, rates=dict.fromkeys(names, 3e-3))


def potentials(best: Field, network: nn.Module | None = None) -> CRFPotentials:
    """With the kernels of a field."""
    return CRFPotentials(network, **{**KERNELS, "colour_width": best[2]})


def headed(task: Segmentation, width: int) -> nn.Module:
    """A head of convolutions behind the network."""
    return Scores(FullyConvolutional(task.classes), LocalHead(task.classes, width))


def crf_rnn(task: Segmentation, best: Field, depth: int) -> nn.Module:
    """From the weights that were chosen for the post-hoc field."""
    field = DenseCRF(
        potentials(best, FullyConvolutional(task.classes)),
        classes=task.classes,
        spatial_weight=best[0],
        bilateral_weight=best[1],
    )
    return unroll(field, depth, tied=("potentials", *LEARNED))


def parsing(task: Segmentation, best: Field) -> nn.Module:
    """Five contexts, from the same weight in all."""
    parent = ParsingNetwork(task.classes, potentials(best, FullyConvolutional(task.classes)), weight=best[0] + best[1])
    return unroll(parent, 1, tied=("potentials", "contexts"))


def train(network: nn.Module, task: Segmentation, stage: Stage, seed: int) -> None:
    """Without a look at validation pictures: all take as many steps."""
    fit(network, task, [stage], seed=seed, validations=0, quiet=True)


@torch.no_grad()
def chosen(network: nn.Module, task: Segmentation) -> Field:
    """Weights and width of colours of a post-hoc field: the best mIoU on every sixth batch of validation pictures."""
    batches = task.validation[::6]
    given = [Samples(ScoredPicture(network(b.data), b.data), b.target) for b in batches]
    values = []
    for best in FIELDS:
        field = DenseCRF(potentials(best), spatial_weight=best[0], bilateral_weight=best[1])
        values.append((scored(unroll(field, 5), task, given)["miou"], best))
    return max(values)[1]


def shapes(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Coarse noisy scores of drawn shapes."""
    rows = []
    for seed in range(given.first, given.first + given.seeds):
        task = Refinement(seed=seed)
        rows.append(row("scores", seed, scored(lambda d: torch.log_softmax(d.scores, 1), task, task.test), 0, 0.0))
        values = []
        for weights in WEIGHTS:
            field = DenseCRF(task.potentials(), spatial_weight=weights[0], bilateral_weight=weights[1])
            values.append((scored(unroll(field, 5), task, task.validation[::3])["miou"], weights))
        best = max(values)[1]
        fixed = DenseCRF(task.potentials(), spatial_weight=best[0], bilateral_weight=best[1])
        rows.append(row(f"fixed CRF {best}", seed, scored(unroll(fixed, 5), task, task.test), 2, 0.0))
        learned = DenseCRF(task.potentials(), classes=4, spatial_weight=best[0], bilateral_weight=best[1])
        nets = {
            "two numbers a step, 5 steps": unroll(fixed, 5, untied=LEARNED[:2]),
            "CRF-RNN, 5 steps": unroll(learned, 5, tied=LEARNED),
            "CRF-RNN, 1 step": unroll(learned, 1, tied=LEARNED),
            "DPN": unroll(ParsingNetwork(4, task.potentials(), weight=sum(best)), 1, tied=("contexts",)),
        }
        for name, net in nets.items():
            began = time.process_time()
            train(net, task, Stage(given.steps, rate=3e-2, batch=8, annealing=Cosine(0.05, 0.05), clip=1.0), seed)
            count = sum(p.numel() for _, p in net.named_learned())
            rows.append(row(name, seed, scored(net.eval(), task, task.test), count, time.process_time() - began))
    return rows


@torch.no_grad()
def back_ends(given: argparse.Namespace) -> list[dict[str, Any]]:
    """How far window and grid are from the matrix on a small photograph, and CPU seconds for a step on a large one."""
    import skimage.data

    picture = torch.from_numpy(skimage.data.astronaut()[:448:8, :448:8] / 255).movedim(-1, 0).unsqueeze(0)
    generator = torch.Generator().manual_seed(0)
    scores = 2 * torch.randn(1, 7, 7, 7, generator=generator).double()
    scores = torch.nn.functional.interpolate(scores, (56, 56), mode="bilinear", align_corners=False)
    field = torch.softmax(scores, 1)
    rows: list[dict[str, Any]] = []
    a, b = 4.0, 40 / 255
    exact = ExactFilter(a, b)
    true = exact.apply(exact.prepare(picture), field)
    data = ScoredPicture(scores, picture)
    widths = {"position_width": a, "colour_width": 255 * b}
    marginals = _marginals(data, back_end="exact", **widths)
    ways: dict[str, tuple[Any, dict[str, Any]]] = {
        f"window of {2 * r + 1}": (WindowFilter(a, b, radius=r), {"back_end": "window", "radius": r})
        for r in (5, 8, 12, 16)
    } | {
        f"grid, {c:g} cells a width": (GridFilter(a, b, cells_per_width=c), {"back_end": "grid", "cells_per_width": c})
        for c in (1.0, 1.5, 2.0)
    }
    for name, (way, options) in ways.items():
        off = way.apply(way.prepare(picture), field) - true
        change = (_marginals(data, **widths, **options) - marginals).abs()
        rows.append(
            {"name": name, "field": float(off.norm() / true.norm()), "marginals": float(change.max()),
             "mean": float(change.mean())}
        )  # fmt: skip
    large = torch.rand(1, 3, 240, 320, generator=generator)
    scores = torch.randn(1, 21, 240, 320, generator=generator)
    for name, options in {
        "window of 11": {"back_end": "window", "radius": 5},
        "grid": {"back_end": "grid", "position_width": 40.0},
    }.items():
        step = DenseCRF(CRFPotentials(**{"colour_width": 40.0, **options}))
        began = time.process_time()
        problem = step.prepare(ScoredPicture(scores, large))
        prepared = time.process_time() - began
        state = step.start(problem)
        step(state, problem)
        began, runs = time.process_time(), 0
        while time.process_time() - began < given.seconds:
            step(state, problem)
            runs += 1
        seconds = (time.process_time() - began) / runs
        rows.append(
            {"name": f"{name}, 240 x 320, 21 classes", "prepared": prepared, "value": seconds}
            | ({"bar": 0.2, "better": "low"} if "window" in name else {})
        )
    return rows


def _marginals(data: ScoredPicture, **options: Any) -> Tensor:
    net = unroll(DenseCRF(CRFPotentials(spatial_width=2.0, **options)).double(), 5)
    return net(data).exp()


def row(name: str, seed: int, scores: Mapping[str, float], numbers: int, seconds: float) -> dict[str, Any]:
    made = {"name": name, "seed": seed, **scores, "numbers": numbers, "cpu_seconds": seconds}
    print(line(made), file=sys.stderr, flush=True)  # the whole takes long
    return made


def line(row: Mapping[str, Any]) -> str:
    if "field" in row:
        return (
            f"{row['name']:28} field off by {row['field']:.1e}, marginals after 5 steps by {row['marginals']:.1e} at "
            f"most, {row['mean']:.1e} on average"
        )
    if "prepared" in row:
        return f"{row['name']:38} {row['value']:.3f} CPU-s a step, {row['prepared']:.2f} CPU-s for the kernels"
    return (
        f"seed {row['seed']}  {row['name']:30} mIoU {100 * row['miou']:5.2f}, within 3 px {100 * row['trimap']:5.2f}, "
        f"pixels {100 * row['accuracy']:5.2f} %, {row['numbers']:7} numbers, {row['cpu_seconds']:.0f} CPU-s"
    )


def main() -> None:
    parser = record.options(__doc__, seconds=2.0, threads=1)
    parser.add_argument("--part", choices=("all", "back_ends", "shapes", "scenes"), default="all")
    parser.add_argument("--data", default=None, help="a folder with train, val, test, each with images and labels")
    parser.add_argument("--void", type=int, default=11, help="the label of what nobody knows")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="of the seeds")
    parser.add_argument("--alone", type=int, default=3000, help="steps of the network alone")
    parser.add_argument("--together", type=int, default=500, help="steps of what starts from it")
    parser.add_argument("--steps", type=int, default=150, help="of training on shapes")
    parser.add_argument("--only", nargs="*", default=(), help="which of the methods that start from the network")
    parser.add_argument("--keep", default=None, help="a folder for trained networks, taken up again")
    given = parser.parse_args()
    record.start(given)
    parts = {"back_ends": back_ends, "shapes": shapes, "scenes": scenes}
    rows = [row for name, part in parts.items() if given.part in ("all", name) for row in part(given)]
    record.publish("vision", given, rows, line)


if __name__ == "__main__":
    main()
