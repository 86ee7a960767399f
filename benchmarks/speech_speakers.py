"""Unfolded MISI on two speakers, with one layer (masks alone) and with four: SI-SDR improvement, how many mixtures come
out worse than they went in, and whether anything that can be seen without the true signals tells which.

Speakers are generated ones that were not trained on; with --data also the recorded ones of the folder's fsdd/train,
whom no shipped weights have heard.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.speech_scores import Row, estimates, joined
from unrolling.systems.catalogue import find
from unrolling.tasks.base import Samples
from unrolling.tasks.speech import recordings
from unrolling.tasks.speech.mixtures import RATE
from unrolling.tasks.speech.recordings import stretch, unit_level
from unrolling.tasks.speech.separation import Separation

SPREAD = 5.0  # dB that levels differ by at most


def recorded(data: Path, count: int, task: Separation) -> tuple[Tensor, Tensor]:
    """Mixtures (count, samples) and their speakers (count, 2, samples), every pair of speakers in turn."""
    speakers = recordings.read_speakers(data / "fsdd" / "train", RATE)
    generator = torch.Generator().manual_seed(7)
    pairs = torch.combinations(torch.arange(len(speakers)))
    names, targets = sorted(speakers), []
    for k in range(count):
        both = [
            unit_level(stretch(list(speakers[names[int(n)]].values()), task.count, RATE, generator))
            for n in pairs[k % len(pairs)]
        ]
        gain = 10 ** (SPREAD * (2 * float(torch.rand((), generator=generator)) - 1) / 40)
        targets.append(torch.stack([both[0] * gain, both[1] / gain]))
    target = torch.stack(targets)
    level = target.sum(1).square().mean(1).sqrt()
    return target.sum(1) / level[:, None], target / level[:, None, None]


def signs(mixture: Tensor, found: Tensor) -> dict[str, Tensor]:
    """What can be seen in the outputs, each larger where they may be worse: how far apart their levels are and how
    little they add up to the mixture, in dB, the correlation of the two and that of their levels from frame to frame.
    """
    power = found.square().mean(2)
    level = torch.nn.functional.avg_pool1d(found.square(), 256, 128).sqrt()
    return {
        "difference of levels": 10 * torch.log10(power.amax(1) / power.amin(1)),
        "missing from the mixture": 10
        * torch.log10((mixture - found.sum(1)).square().mean(1) / mixture.square().mean(1)),
        "correlation": _correlation(found),
        "correlation of levels": _correlation(level - level.mean(2, keepdim=True)),
    }


def _correlation(pairs: Tensor) -> Tensor:
    return pairs.prod(1).sum(1) / pairs.square().sum(2).prod(1).sqrt()


def precedence(sign: Tensor, worse: Tensor) -> float:
    """How often a mixture that comes out worse has the larger sign, of all pairs of a worse and another one: 0.5 where
    it tells nothing.
    """
    above = sign[worse][:, None] - sign[~worse][None]
    return float(((above > 0).float() + 0.5 * (above == 0).float()).mean())


def rows(what: str, task: Separation, data: Tensor, target: Tensor) -> Iterator[Row]:
    """One for each number of layers."""
    for depth in (1, 4):
        found = estimates(find("speech/misi").pretrained("separation", depth), data)
        gain = task.pieces(found, Samples(data, target))[:, 0]
        worse = gain < 0
        told = {name: precedence(sign, worse) for name, sign in signs(data, found).items()} if worse.any() else {}
        yield {
            "speakers": what,
            "layers": depth,
            "mixtures": len(data),
            "gain": float(gain.mean()),
            "worst": float(gain.min()),
            "worse": float(worse.float().mean()),
            "told by": told,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with recordings: a sub-folder fsdd")
    parser.add_argument("--mixtures", type=int, default=150)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.data is not None and not (Path(options.data) / "fsdd" / "train").is_dir():
        raise SystemExit(f"{options.data} has no folder fsdd/train; nothing measured")
    task = Separation(levels=SPREAD, held_out=options.mixtures)
    sets = {"generated": joined(task.test)}
    if options.data is not None:
        sets["recorded"] = recorded(Path(options.data), options.mixtures, task)
    found = []
    for what, (data, target) in sets.items():
        for row in rows(what, task, data, target):
            found.append(row)
            if not options.json:
                told = ", ".join(f"{name} {value:.2f}" for name, value in row["told by"].items())
                print(
                    f"{what} speakers, {row['layers']} layers, {row['mixtures']} mixtures: gain {row['gain']:.2f} dB, "
                    f"worst {row['worst']:.2f} dB, worse {row['worse']:.0%}; told by: {told}",
                    flush=True,
                )
    if options.json:
        print(json.dumps({"benchmark": "speech_speakers", "rows": found}, indent=1))


if __name__ == "__main__":
    main()
