"""How much of what Deep NMF takes for noise is given back to the speech: the four numbers of
``unrolling/systems/speech/_caution.py``, fitted so that SI-SDR gains most on average over mixtures of -6 to 40 dB,
losses counted fivefold and generated mixtures half as much as recorded ones.

--data is a folder with fsdd (the digits of its train folder, of the speakers that the weights have not heard) and noise
(the first half of each recording), of which nothing is tested on. A few minutes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.speech_speakers import UNSEEN
from unrolling.files import sound as audio
from unrolling.systems.catalogue import find
from unrolling.systems.speech import _caution
from unrolling.tasks.speech import recordings
from unrolling.tasks.speech.enhancement import Enhancement
from unrolling.tasks.speech.mixtures import RATE
from unrolling.tasks.speech.other_voices import TAIL, coloured, in_a_room
from unrolling.tasks.speech.recordings import stretch, unit_level
from unrolling.tasks.speech.speech_metrics import si_sdr

SNRS = (-6.0, 0.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0)
STEPS, COUNT, LOSSES = 45, 36, 5.0
LENGTH = 3 * RATE  # samples
SPEEDS = ((1, 1), (4, 5), (5, 4), (10, 11), (11, 10), (7, 6))


def recorded(data: Path, count: int) -> tuple[Tensor, Tensor]:
    """Digits in a row, most without pauses, some at another speed, through a microphone or in a room, and noise,
    (count, samples) each, of unit level; every third noise is white.
    """
    read = recordings.read_speakers(data / "fsdd" / "train", RATE)
    if absent := [name for name in UNSEEN if name not in read]:
        raise SystemExit(f"{data / 'fsdd' / 'train'} has no recordings of {', '.join(absent)}; nothing fitted")
    speakers = {name: read[name] for name in UNSEEN}
    generator = torch.Generator().manual_seed(3)
    noises = [*recordings.read_noises(data / "noise", RATE)["train"], torch.randn(20 * RATE, generator=generator)]
    names, pairs = sorted(speakers), []
    for k in range(count):
        spoken = list(speakers[names[k % len(names)]].values())
        up, down = SPEEDS[k % len(SPEEDS)]
        row = _without_pauses(spoken, generator) if k % 4 else stretch(spoken, 5 * LENGTH // 4, RATE, generator)
        speech = audio.resample(row, down, up)[:LENGTH]
        speech = coloured(speech, RATE, generator) if k % 2 else speech
        speech = speech if k % 3 else in_a_room(speech, RATE, TAIL, generator)
        noise = stretch([noises[k % len(noises)]], LENGTH, RATE, generator)
        pairs.append(torch.stack([unit_level(speech), unit_level(noise)]))
    together = torch.stack(pairs)
    return together[:, 0], together[:, 1]


def _without_pauses(spoken: list[Tensor], generator: torch.Generator) -> Tensor:
    """Digits in a row, what lies 20 dB below their loudest sound cut off at both ends: people do not stop at words."""
    pieces: list[Tensor] = []
    while sum(len(piece) for piece in pieces) < 5 * LENGTH // 4:
        one = spoken[int(torch.randint(len(spoken), (), generator=generator))]
        power = torch.nn.functional.avg_pool1d(one.square().reshape(1, 1, -1), 161, 1, 80).flatten()
        loud = (power > 1e-2 * power.max()).nonzero().flatten()
        pieces.append(unit_level(one[int(loud[0]) : int(loud[-1]) + 1]))
    return torch.cat(pieces)[: 5 * LENGTH // 4]


class Held:
    """Mixtures of one ratio: what the network finds, and how much of the noise is given back."""

    def __init__(self, network: torch.nn.Module, speech: Tensor, mixture: Tensor) -> None:
        level = mixture.square().mean(1, keepdim=True).sqrt()
        with torch.no_grad():
            self.sources = torch.cat([network(part) for part in (mixture / level).split(8)])
        self.speech, self.before = speech, si_sdr(mixture, speech)

    def gain(self, numbers: Tensor) -> Tensor:
        """Of SI-SDR over the mixture."""
        return si_sdr(_caution.cautious(self.sources, *numbers)[:, 0], self.speech) - self.before


def fit(held: list[tuple[float, Held]]) -> Tensor:
    """The four numbers."""
    numbers = torch.tensor([-5.4, 2.5, 1.6, 2.2], requires_grad=True)
    optimizer = torch.optim.Adam([numbers], lr=0.2)
    for step in range(STEPS):
        gains = [(weight, each.gain(numbers)) for weight, each in held]
        loss = sum(weight * ((LOSSES - 1) * torch.relu(-gain) - gain).mean() for weight, gain in gains)
        optimizer.param_groups[0]["lr"] = 0.2 * 0.96**step
        optimizer.zero_grad()
        loss.backward()  # pyright: ignore[reportAttributeAccessIssue]
        optimizer.step()
    return numbers.detach()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with recordings: sub-folders fsdd and noise")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = Path(options.data)
    missing = [name for name in ("fsdd/train", "noise") if not (data / name).is_dir()]
    if missing:
        raise SystemExit(f"{data} has no folder {missing[0]}; nothing fitted")
    network, task = find("speech/deep_nmf").pretrained("enhancement"), Enhancement()
    speech, noise = recorded(data, COUNT)
    held: list[tuple[float, Held]] = []
    for snr in SNRS:
        held.append((1.0, Held(network, speech, speech + 10 ** (-snr / 20) * noise)))
        made = task._held("validation", 12, 99, snr=snr)[0]
        held.append((0.5, Held(network, made.target[:, 0], made.data)))
    numbers = fit(held)
    print("CONSTANT, RATIO, FOLLOWING, ABOVE =", ", ".join(f"{float(value):.2f}" for value in numbers))
    with torch.no_grad():
        for k, snr in enumerate(SNRS):
            rows = [each.gain(numbers) for _, each in held[2 * k : 2 * k + 2]]
            words = (f"{float(gain.mean()):.2f} dB (worst {float(gain.min()):.2f})" for gain in rows)
            print(f"{snr:g} dB: gain on recordings and on generated mixtures", " and ".join(words))


if __name__ == "__main__":
    main()
