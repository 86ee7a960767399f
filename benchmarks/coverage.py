"""Error bars: how often half-widths that promise 90 % hold, over 20 random splits into samples to calibrate on and
samples to count on, and away from the calibration.

Bars: 90 +- 2 % on held-out images, codes and symbols (of the right symbol); on shifted data what is found, and the
warning where the promise is not kept.

Parts: ``codes`` (sparse_coding/lista, 200 and 800 codes), ``symbols`` (communications/mmnet, 200 and 800 vectors: the
right symbol within the half-width, and the size of the set of possible symbols), ``images`` (imaging/tnrd at sigma 25
on BSD68 and 180 pictures of BSD400, four fifths
and the rest; pieces of held-out photographs where there is no --data), ``scores`` (the same pictures
with each way to tell entries apart, whose half-widths differ), ``shifts`` (codes, symbols and images under the shifts
of their tasks, calibrated without).

--data names a folder with bsd68 and bsd400_train180.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.image_methods import Row, sets
from benchmarks.record import options, publish, start
from unrolling import pretrained
from unrolling.evaluation import Constant, LayerSpread, LearnedHalfWidth, NoiseSpread, learn_half_width, usual_score
from unrolling.evaluation.conformal import RARE, calibrate, coverage, symbol_sets
from unrolling.systems.catalogue import find
from unrolling.tasks.samples import Samples, count, select

LEVEL, SPLITS, SIGMA, PIECE = 0.9, 20, 25.0, 96
SETS = ("bsd68", "bsd400_train180")  # the weights saw neither
CODES, SYMBOLS, IMAGES = "sparse_coding/lista", "communications/mmnet", "imaging/tnrd"


def drawn(system: str, samples: int) -> tuple[Any, Any, Samples]:
    """Network, task, and samples that neither training nor the choice of weights has seen."""
    network = pretrained(system).eval()
    found = find(system)
    task = found.task(found.recipe(None)[0])
    return network, task, task.draw(samples, torch.Generator().manual_seed(9_000_011))


def pictures(root: Path) -> tuple[Any, Any, list[Samples]]:
    """Network, task, and noisy pictures one by one."""
    network, found = pretrained(IMAGES).eval(), find(IMAGES)
    task = found.task("denoising")
    clean = [x for named in sets(root, *SETS).values() for x in named.values()]
    if not clean:
        held_out = [batch.target[0] for batch in (*task.validation, *task.test)]
        clean = [
            piece
            for x in held_out
            for rows in x.unfold(0, PIECE, PIECE).unbind(0)
            for piece in rows.unfold(-1, PIECE, PIECE).permute(1, 0, 2).unbind(0)
        ]
    generator = torch.Generator().manual_seed(1)
    noisy = [x + SIGMA / 255 * torch.randn(x.shape, generator=generator) for x in clean]
    return network, task, [Samples(y.unsqueeze(0), x.unsqueeze(0)) for x, y in zip(clean, noisy, strict=True)]


class Kept(nn.Module):
    """A score that is worked out once for each sample, since splits ask for it again and again."""

    def __init__(self, score: nn.Module, samples: Sequence[Samples]) -> None:
        super().__init__()
        with torch.no_grad():
            self.found = {id(each.data): score(each.data) for each in samples}

    def forward(self, data: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return self.found[id(data)]


def split(
    score: nn.Module, samples: Sequence[Samples], calibration: int, constellation: torch.Tensor | None = None
) -> dict[str, Any]:
    """Coverage over random splits: mean, smallest and largest, mean half-width."""
    known = Kept(score, samples)
    covered, widths, sizes = [], [], []
    for seed in range(SPLITS):
        order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed)).tolist()
        chosen, rest = ([samples[k] for k in part] for part in (order[:calibration], order[calibration:]))
        made = calibrate(known, chosen, LEVEL, score=known)
        found = coverage(made, rest)
        covered.append(found.covered)
        widths.append(found.width)
        if constellation is not None:
            sizes.append(
                float(np.mean([symbol_sets(made(s.data), constellation).sum(-1).double().mean() for s in rest]))
            )
    row = {
        "samples": f"{calibration} + {len(samples) - calibration}",
        "covered": float(np.mean(covered)),
        "least": min(covered),
        "most": max(covered),
        "width": float(np.mean(widths)),
        "met": abs(float(np.mean(covered)) - LEVEL) <= 0.02,
    }
    return row | ({"symbols": float(np.mean(sizes))} if sizes else {})


def apart(samples: Samples) -> list[Samples]:
    """One by one."""
    return [select(samples, torch.tensor([k])) for k in range(count(samples))]


def of_codes(root: Path) -> list[Row]:
    """Codes of signals in the dictionary that the weights know."""
    network, _, samples = drawn(CODES, 1000)
    return [{"part": "codes", "method": CODES, **split(usual_score(network), apart(samples), 200)}]


def of_symbols(root: Path) -> list[Row]:
    """Symbols, of which the right one lies within."""
    network, _, samples = drawn(SYMBOLS, 1000)
    constellation = samples.target.unique()
    found = split(usual_score(network), apart(samples), 200, constellation)
    return [{"part": "symbols", "method": f"{SYMBOLS}, {len(constellation)} symbols", **found}]


def of_images(root: Path) -> list[Row]:
    """Pictures, of which pixels lie within."""
    network, _, samples = pictures(root)
    calibration = round(0.8 * len(samples))
    return [{"part": "images", "method": IMAGES, **split(usual_score(network), samples, calibration)}]


def of_scores(root: Path) -> list[Row]:
    """Ways to tell pixels apart."""
    network, task, samples = pictures(root)
    learned = LearnedHalfWidth(LayerSpread(network), spatial=True)

    def draw(generator: torch.Generator) -> tuple[Any, Any]:
        return tuple(task.draw(4, generator))

    learn_half_width(learned, draw, 300)
    ways = {
        "the same everywhere": Constant(network),
        "spread over the last layers": LayerSpread(network),
        "spread under noise": NoiseSpread(network, 0.05),
        "learned from the last layers": learned,
    }
    calibration = round(0.8 * len(samples))
    return [{"part": "scores", "method": name, **split(way, samples, calibration)} for name, way in ways.items()]


def of_shifts(root: Path) -> list[Row]:
    """Under the shifts of each task."""
    rows: list[Row] = []
    for system in (CODES, SYMBOLS, IMAGES):
        if system == IMAGES:
            network, task, samples = pictures(root)
            calibration = samples
        else:
            network, task, samples = drawn(system, 400)
            calibration = [samples]
        made = calibrate(network, calibration, LEVEL, score=usual_score(network))
        for shift in task.shifts():
            for value in shift.values:
                shifted = shift.make(value)
                if not isinstance(shifted.target, torch.Tensor):
                    continue
                found = coverage(made, [shifted])
                _, score = made.score(shifted.data)
                size = score.double().square().flatten(1).mean(1).sqrt()
                rare = 1.0 if made.unlike(size) else float((made.places(size) < RARE).double().mean())
                rows.append(
                    {
                        "part": "shifts",
                        "method": f"{system}, {shift.name}: {value:g}",
                        "covered": found.covered,
                        "width": found.width,
                        "warned": rare,
                    }
                )
    return rows


PARTS: dict[str, Callable[[Path], list[Row]]] = {
    "codes": of_codes,
    "symbols": of_symbols,
    "images": of_images,
    "scores": of_scores,
    "shifts": of_shifts,
}


def line(row: Mapping[str, Any]) -> str:
    """A row as text."""
    words = {"covered": "within {:.1%}", "least": "least {:.1%}", "most": "most {:.1%}", "width": "half-width {:.3g}"}
    words |= {"symbols": "{:.2f} symbols possible", "warned": "warned of {:.0%}"}
    text = ", ".join(form.format(row[key]) for key, form in words.items() if key in row)
    return f"{row['part']:8s} {row['method']:60s} {row.get('samples', ''):10s} {text}"


def main() -> None:
    parser = options(__doc__, seconds=1.0, threads=1)
    parser.add_argument("--data", type=Path, default=Path(), metavar="DIR")
    parser.add_argument("--part", choices=PARTS, action="append")
    given = parser.parse_args()
    start(given)
    with torch.no_grad() if given.part and "scores" not in given.part else torch.enable_grad():
        rows = [row for name in given.part or PARTS for row in PARTS[name](given.data)]
    publish("coverage", given, rows, line)


if __name__ == "__main__":
    main()
