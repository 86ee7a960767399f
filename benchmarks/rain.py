"""Rain removal: the networks on Rain100L and on heavy rain, beside their classical parents, what becomes of pictures
without rain, and a recurrent network trained here with as many multiply-adds.

Bars on Rain100L (all 100 pictures, luma from 16 to 235): imaging/rcdnet at least 5 dB above the input, imaging/derain
at least 3.5 dB, and that at least 1 dB above ADMM with directional total variation after as many steps.

Beside each network stands what ``unroll apply`` writes: the photograph itself where hardly anything would be taken.

Parts: ``guard`` (how the photographs that ``unroll apply`` leaves as they are are told from others: crops of the
training and validation photographs, dry and in drawn rain, a third of it at random, the others faint; the mean gain
over all crops in the rain and the part of the dry ones that are changed, for several bounds of two measures);
``rain100l``; ``heavy`` (rain_train_small without norain-1 and norain-10, whose scenes are in Rain100L too),
``dry`` (the clean pictures of Rain100L as input: what is left of them), ``rival`` (PReNet with as many numbers as
imaging/rcdnet, trained on the same crops for as many multiply-adds or for --steps; on Rain100L, in the rain and dry).

--data names a folder with the sets rain100l and rain_train_small; what is not there is left out with a word. Settings
of the classical methods come from the task's validation pictures. Intervals are those of a bootstrap over scenes: nine
backgrounds of Rain100L occur twice. --weights names a folder of weights files to use before the shipped ones.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from benchmarks.image_methods import Row, chosen, methods_of, network
from benchmarks.record import publish
from unrolling import Unrolled
from unrolling.evaluation.classical import steps_of
from unrolling.evaluation.contenders import training
from unrolling.evaluation.cost import cost_of
from unrolling.systems.catalogue import find
from unrolling.systems.imaging import _rain
from unrolling.tasks.baselines import Generic, Iterative
from unrolling.tasks.images.pictures import similarity
from unrolling.tasks.images.rain import Rain, read_pairs, video_luma
from unrolling.training.fit import fit
from unrolling.training.machine import Machine
from unrolling.training.stages import Cosine, Stage

Run = Callable[[Tensor], Tensor]
SYSTEMS = ("imaging/derain", "imaging/rcdnet")
BARS = {"imaging/derain": 3.5, "imaging/rcdnet": 5.0}  # dB above the input
TWICE = {3: 4, 5: 14, 6: 25, 7: 36, 8: 47, 9: 58, 10: 69, 11: 80, 12: 91}  # pictures of Rain100L of one scene
GUARD, CROPS = 256, 4  # side of the crops that the bound is chosen on, and how many of a photograph
KINDS = ({}, {"brightness": 0.1}, {"brightness": 0.2})  # of the rain on them
UNCHANGED = 119.0  # dB, beyond which a picture counts as equal to the bit; 120 is the most that is told
SHARED = ("norain-1.png", "norain-10.png")
# Of the papers, trained on the 200 pairs that belong to Rain100L, whose rain is drawn as that of the test pictures is
PUBLISHED = (
    ("JORDER (Yang et al. 2017), trained on the set's own pairs", 36.61, 0.974),
    ("PReNet (Ren et al. 2019), trained on the set's own pairs", 37.48, 0.979),
    ("RCDNet (Wang et al. 2020), trained on the set's own pairs", 40.00, 0.986),
)

Pairs = Mapping[str, tuple[Tensor, Tensor]]


def pairs_of(root: Path, name: str, limit: int | None) -> Pairs:
    """Pictures in the rain and without it, by name."""
    folders = {
        "rain100l": ("rain100l/rain", "rain100l/clean"),
        "heavy": ("rain_train_small/train/small/rain", "rain_train_small/train/small/norain"),
    }[name]
    rainy, clean = (root / folder for folder in folders)
    if not (rainy.is_dir() and clean.is_dir()):
        print(f"{rainy} is not there: left out", file=sys.stderr)
        return {}
    found = {key: pair for key, pair in read_pairs(rainy, clean).items() if key not in SHARED}
    return dict(list(found.items())[:limit])


def scenes(names: Sequence[str]) -> list[int]:
    """A number for the scene of each picture."""
    first = {second: first for first, second in TWICE.items()}
    numbers = [int("".join(filter(str.isdigit, name)) or 0) for name in names]
    return [first.get(number, number) for number in numbers] if len(names) == 100 else list(range(len(names)))


def score(run: Run, data: Tensor, target: Tensor) -> tuple[float, float]:
    """PSNR and SSIM of luma."""
    found, wanted = video_luma(run(data).clamp(0, 1)), video_luma(target)
    return float(-10 * (found - wanted).square().mean().clamp_min(1e-12).log10()), similarity([found], [wanted])


@torch.no_grad()
def scored(part: str, methods: Mapping[str, Run], pairs: Pairs) -> list[Row]:
    """Means over pictures, with intervals over scenes."""
    rows: list[Row] = []
    groups = scenes(list(pairs))
    inputs: float | None = None
    each: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    for rainy, clean in pairs.values():
        data, target = rainy.unsqueeze(0), clean.unsqueeze(0)
        for name, run in methods.items():
            each[name].append(score(run, data, target))
    for name, scores in each.items():
        found = np.array(scores)
        low, high = interval(found[:, 0], groups)
        row: Row = {"part": part, "method": name, "pictures": len(found), "ssim": float(found[:, 1].mean())}
        row |= {"psnr": float(found[:, 0].mean()), "low": low, "high": high, "worst": float(found[:, 0].min())}
        if part.endswith("dry"):
            row["kept"] = int((found[:, 0] > UNCHANGED).sum())
        if "input" in methods:
            inputs = row["psnr"] if inputs is None else inputs
            row["gain"] = row["psnr"] - inputs
        if part == "rain100l" and name in BARS:
            row |= {"value": row["gain"], "bar": BARS[name], "better": "high"}
        rows.append(row)
        print(line(row), file=sys.stderr, flush=True)
    return rows


def interval(values: np.ndarray, groups: Sequence[int]) -> tuple[float, float]:
    """95 % of the means of pictures whose scenes are drawn again."""
    rng, number = np.random.default_rng(0), np.array(groups)
    held = [values[number == each] for each in sorted(set(groups))]
    sums, counts = np.array([each.sum() for each in held]), np.array([len(each) for each in held])
    drawn = rng.integers(len(held), size=(2000, len(held)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def classical(task: Rain, steps: int, converged: bool) -> dict[str, Run]:
    """The parents after as many steps as the networks have, and if asked for after so many that little changes;
    settings from validation pictures for either.
    """
    found: dict[str, Run] = {}
    rcdnet = find("imaging/rcdnet")
    for method in [*methods_of(task, Iterative), *rcdnet.baselines["rain"](rcdnet, task)]:
        for count in (steps, method.iterations) if converged else (steps,):
            tuned = Iterative(method.name, method.make, method.settings, count, count if count == steps else None)
            iteration, setting = chosen(tuned, task, len(task.validation))
            found[f"{method.name}, {count} steps, {setting}"] = steps_of(iteration, count)
    return found


def rival(task: Rain, like: Unrolled, steps: int | None) -> tuple[str, Run]:
    """PReNet with as many numbers, trained on the same crops, for as many multiply-adds where no steps are given."""
    size = sum(p.numel() for p in like.parameters())
    generic = next(each for each in task.baselines(size) if isinstance(each, Generic))
    torch.manual_seed(0)
    made: Any = generic.network()
    least, batch = training(find("imaging/rcdnet").recipes["rain"].schedule(len(like)))
    if steps is None:
        ours, its = (cost_of(each, task.example()).multiply_adds or 1 for each in (like, made))
        steps = round(least * ours / its)
    stage = Stage(steps, rate=generic.rates[0], batch=batch, annealing=Cosine(0.02, 1e-2), clip=1.0)
    fit(made, task, [stage], quiet=True, machine=Machine(precision="auto"))
    return f"{generic.name}, {steps} training steps of {batch} crops", made.eval()


def remembered(network: Run) -> Run:
    """As it is, but for the same pictures as the last time it does not run again."""
    last: list[tuple[Tensor, Tensor]] = []

    def run(data: Tensor) -> Tensor:
        if not last or last[0][0] is not data:
            last[:] = [(data, network(data))]
        return last[0][1]

    return run


def applied(network: Run, bound: float) -> Run:
    """As ``unroll apply`` has it."""

    def run(data: Tensor) -> Tensor:
        clean = network(data)
        return clean if _rain.detail_taken(clean[0], data[0] - clean[0]) > bound else data

    return run


def typical(_: Tensor, taken: Tensor) -> float:
    """Root mean square of what was taken in the middle one of its blocks by size, of 255."""
    height, width = (max(1, side // _rain.BLOCK) for side in taken.shape[-2:])
    squares = taken.square().mean(0, keepdim=True).unsqueeze(0)
    return 255 * float(adaptive_avg_pool2d(squares, (height, width)).sqrt().median())


MEASURES = {  # bounds beyond which a photograph counts as rainy
    "taken in the typical block, of 255": (typical, (2.0, 3.0, 4.0, 5.0, 6.0, 8.0)),
    "detail taken, of that which stays": (_rain.detail_taken, (0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5)),
}


@torch.no_grad()
def of_guard(networks: Mapping[str, Run], task: Rain) -> list[Row]:
    """The mean gain of rainy crops, and which part of the dry ones is changed, for every measure and bound."""
    photographs = {**task.photographs["train"], **task.photographs["validation"]}
    generator = torch.Generator().manual_seed(5)
    found: dict[tuple[str, str], list[tuple[float, float | None]]] = {}
    for picture in photographs.values():
        for turn in range(CROPS):
            top, left = (int(torch.randint(side - GUARD + 1, (), generator=generator)) for side in picture.shape[-2:])
            clean = picture[None, :, top : top + GUARD, left : left + GUARD]
            clean = clean.mT if turn % 2 else clean
            rains = [task.spoil(clean, generator, **kind).data for kind in KINDS]
            for name, run in networks.items():
                for data in (clean, *rains):
                    estimate = run(data)
                    gain = None if data is clean else score(run, data, clean)[0] - score(lambda x: x, data, clean)[0]
                    for measure, (value, _) in MEASURES.items():
                        found.setdefault((name, measure), []).append((value(estimate[0], data[0] - estimate[0]), gain))
    rows: list[Row] = []
    for (name, measure), values in found.items():
        dry, rainy = [v for v, gain in values if gain is None], [v for v in values if v[1] is not None]
        for bound in MEASURES[measure][1]:
            row: Row = {"part": "guard", "method": f"{name}, {measure}: more than {bound:g}"}
            row["gain"] = sum(gain for value, gain in rainy if gain is not None and value > bound) / len(rainy)
            rows.append(row | {"changed": sum(value > bound for value in dry) / len(dry)})
    return rows


def line(row: Mapping[str, Any]) -> str:
    """A row as text."""
    spread = f" [{row['low']:.2f}, {row['high']:.2f}], worst {row['worst']:.2f}" if "low" in row else ""
    gain = f" ({row['gain']:+.2f})" if "gain" in row else ""
    if "changed" in row:
        return f"{row['part']:9s} {row['method']:75s} {row['gain']:+.2f} dB, changes {row['changed']:.1%} of dry crops"
    kept = f", {row['kept']} of {row['pictures']} as they were" if "kept" in row else ""
    return f"{row['part']:9s} {row['method']:75s} {row['psnr']:6.2f} dB{gain}{spread}, SSIM {row['ssim']:.3f}{kept}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of the sets; `guard` needs none")
    parser.add_argument("--weights", type=Path, metavar="DIR")
    parser.add_argument(
        "--photographs", type=Path, metavar="DIR", help="of `rival` and `guard`, beside those of the packages"
    )
    parser.add_argument("--only", choices=SYSTEMS, action="append", help="several may be named; both by default")
    parser.add_argument("--part", choices=("guard", "rain100l", "heavy", "dry", "rival"), action="append")
    parser.add_argument("--without", choices=("parents",), action="append", default=[], help="what is left out")
    parser.add_argument("--converged", action="store_true", help="the parents after more steps, too")
    parser.add_argument("--pictures", type=int, metavar="N", help="the first N of every set only")
    parser.add_argument("--steps", type=int, help="that the rival is trained for")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", nargs="?", type=Path, const=Path("-"), metavar="FILE")
    options = parser.parse_args()
    options.device = "cpu"
    if options.data is None and options.part != ["guard"]:
        parser.error("--data DIR is needed, the folder of the sets")
    torch.set_num_threads(options.threads)
    parts = options.part or ["rain100l", "heavy", "dry"]
    found = {name: network(name, "rain", options.weights) for name in options.only or SYSTEMS}
    networks = {name: net for name, net in found.items() if net is not None}
    runs: dict[str, Run] = {name: remembered(net) for name, net in networks.items()}
    runs |= {f"{name}, `unroll apply`": applied(run, _rain.RAINY[name]) for name, run in runs.items()}
    methods: dict[str, Run] = {"input": lambda data: data}
    if "parents" not in options.without and {"rain100l", "heavy"} & set(parts):
        methods |= classical(Rain(), max((len(net) for net in networks.values()), default=5), options.converged)
    methods |= runs
    rows: list[Row] = []
    for part in parts:
        if part == "guard":
            rows += of_guard(networks, Rain(data=options.photographs))
            continue
        pairs = pairs_of(options.data or Path(), "heavy" if part == "heavy" else "rain100l", options.pictures)
        if not pairs:
            continue
        dry = {name: (clean, clean) for name, (_, clean) in pairs.items()}
        if part == "dry":
            rows += scored(part, runs, dry)
        elif part == "rival" and "imaging/rcdnet" in networks:
            task = Rain(data=options.photographs)
            held = dict([rival(task, networks["imaging/rcdnet"], options.steps)])
            rows += [*scored(part, {"input": methods["input"], **held}, pairs), *scored("rival dry", held, dry)]
        elif part != "rival":
            rows += scored(part, methods, pairs)
        if part == "rain100l":
            rows += [{"part": part, "method": name, "psnr": psnr, "ssim": ssim} for name, psnr, ssim in PUBLISHED]
    publish("rain", options, rows, line)


if __name__ == "__main__":
    main()
