"""Unfolded MISI on two speakers, with one layer (masks alone) and with four: SI-SDR improvement, how many mixtures come
out worse than they went in, what four layers gain over one, and whether anything that can be seen without the true
signals tells which mixtures come out worse.

Speakers are generated ones that were not trained on; with --data also recorded ones: two speakers of the folder's fsdd
and the readers of its speech_16k, whom no shipped weights have heard, and the other speakers of fsdd, whom they have
heard, in recordings that they have not. The ideal ratio mask, which knows the true signals, is the most that such masks
could do.

Bars: on speakers that were not heard an improvement above zero; four layers at least 0.3 dB above one, its interval
above zero.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import combinations, product
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.speech_scores import Row, estimates, joined
from unrolling.evaluation.measure import interval
from unrolling.evaluation.significance import paired
from unrolling.operators.stft import masked
from unrolling.systems.catalogue import find
from unrolling.tasks.base import Samples
from unrolling.tasks.speech import recordings
from unrolling.tasks.speech.mixtures import RATE
from unrolling.tasks.speech.recordings import stretch, unit_level
from unrolling.tasks.speech.separation import Separation

SPREAD = 5.0  # dB that levels differ by at most
UNSEEN = ("jackson", "yweweler")  # of fsdd: nothing that ships was trained or validated on them
NAMELESS = "arctic"  # of speech_16k: a speaker who may be another one of it
Pairs = Sequence[tuple[Sequence[Tensor], Sequence[Tensor]]]


def recorded(data: Path) -> dict[str, Pairs]:
    """Pairs of speakers, each with their recordings, by what they are."""
    digits = {name: list(found.values()) for name, found in recordings.read_speakers(data / "fsdd", RATE).items()}
    unseen = [digits[name] for name in UNSEEN]
    heard = [found[::5] for name, found in digits.items() if name not in UNSEEN]  # what is validated on
    sets: dict[str, Pairs] = {
        "digits, heard speakers": list(combinations(heard, 2)),
        "digits": [(unseen[0], unseen[1])],
    }
    if (data / "speech_16k").is_dir():
        found = recordings.read_speakers(data / "speech_16k", RATE)
        readers = [list(sentences.values()) for name, sentences in found.items() if name != NAMELESS]
        sets |= {"sentences": list(combinations(readers, 2)), "digits and sentences": list(product(unseen, readers))}
    return sets


def mixtures(pairs: Pairs, count: int, task: Separation) -> tuple[Tensor, Tensor]:
    """Mixtures (count, samples) and their speakers (count, 2, samples), every pair in turn."""
    generator = torch.Generator().manual_seed(7)
    targets = []
    for k in range(count):
        both = [unit_level(stretch(each, task.count, RATE, generator)) for each in pairs[k % len(pairs)]]
        gain = 10 ** (SPREAD * (2 * float(torch.rand((), generator=generator)) - 1) / 40)
        targets.append(torch.stack([both[0] * gain, both[1] / gain]))
    target = torch.stack(targets)
    level = target.sum(1).square().mean(1).sqrt()
    return target.sum(1) / level[:, None], target / level[:, None, None]


def ideal(task: Separation, data: Tensor, target: Tensor) -> Tensor:
    """The mixture under the true shares of the magnitudes."""
    magnitudes = task.stft(target.flatten(0, 1)).abs().unflatten(0, target.shape[:2])
    shares = magnitudes / magnitudes.sum(1, keepdim=True).clamp_min(1e-8)
    found = masked(shares, task.stft(data).unsqueeze(1))
    return task.stft.inverse(found.flatten(0, 1), data.shape[1]).unflatten(0, target.shape[:2])


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
    """One for each number of layers, one for what the more gain, one for the ideal ratio mask."""
    pieces: dict[int, Tensor] = {}
    for depth in (1, 4):
        found = estimates(find("speech/misi").pretrained("separation", depth), data)
        pieces[depth] = task.pieces(found, Samples(data, target))
        gain = pieces[depth][:, 0]
        worse, value = gain < 0, interval(task.metric, pieces[depth])
        told = {name: precedence(sign, worse) for name, sign in signs(data, found).items()} if worse.any() else {}
        yield {
            "speakers": what,
            "layers": depth,
            "mixtures": len(data),
            "gain": value.mean,
            "low": value.low,
            "high": value.high,
            "worst": float(gain.min()),
            "worse": float(worse.float().mean()),
            "told by": told,
        }
    more = paired(task.metric, pieces[4], pieces[1])
    assert more is not None
    yield {"speakers": what, "four over one": more.difference, "low": more.low, "high": more.high}
    best = task.pieces(ideal(task, data, target), Samples(data, target))
    yield {"speakers": what, "ideal ratio mask": task.metric.value(best)}


def text(row: Row) -> str:
    """A line."""
    what = f"{row['speakers']} speakers" if row["speakers"] == "generated" else row["speakers"]
    if "ideal ratio mask" in row:
        return f"{what}: ideal ratio mask {row['ideal ratio mask']:.2f} dB"
    interval_ = f"[{row['low']:.2f}, {row['high']:.2f}]"
    if "four over one" in row:
        return f"{what}: four layers over one {row['four over one']:.2f} dB {interval_}"
    told = ", ".join(f"{name} {value:.2f}" for name, value in row["told by"].items())
    return (
        f"{what}, {row['layers']} layers, {row['mixtures']} mixtures: gain {row['gain']:.2f} dB {interval_}, worst "
        f"{row['worst']:.2f} dB, worse {row['worse']:.0%}; told by: {told}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with recordings: sub-folders fsdd and speech_16k")
    parser.add_argument("--mixtures", type=int, default=200, help="of each kind")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.data is not None and not (Path(options.data) / "fsdd").is_dir():
        raise SystemExit(f"{options.data} has no folder fsdd; nothing measured")
    task = Separation(levels=SPREAD, held_out=options.mixtures)
    sets = {"generated": joined(task.test)}
    if options.data is not None:
        for what, pairs in recorded(Path(options.data)).items():
            sets[what] = mixtures(pairs, options.mixtures, task)
    found = []
    for what, (data, target) in sets.items():
        for row in rows(what, task, data, target):
            found.append(row)
            if not options.json:
                print(text(row), flush=True)
    if options.json:
        print(json.dumps({"benchmark": "speech_speakers", "rows": found}, indent=1))


if __name__ == "__main__":
    main()
