"""Deep NMF as `unroll apply` runs it, at signal-to-noise ratios from -6 to 40 dB and without noise: SI-SDR in and out
on average, the worst mixture, and how many come out worse than they went in.

Speech and noise are generated ones that were not trained on, or with --data recordings that none of the weights have
heard: the folder's speech_16k (or speech) at 16 kHz, and the last 30 % of its recordings of noise.

Bars: at -6 to 20 dB the output is never more than 0.1 dB below the input on average.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from benchmarks.speech_scores import Row
from unrolling.files import sound as audio
from unrolling.systems.catalogue import find
from unrolling.systems.speech import deep_nmf
from unrolling.systems.speech._caution import cautious
from unrolling.tasks.speech import recordings
from unrolling.tasks.speech.enhancement import Enhancement
from unrolling.tasks.speech.mixtures import RATE
from unrolling.tasks.speech.recordings import NOISE_PARTS, unit_level
from unrolling.tasks.speech.speech_metrics import si_sdr
from unrolling.tasks.speech.wiener import DecisionDirected

LEVELS = (-6.0, -5.0, 0.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0)
WORSE = 0.1  # dB below the input from which on a mixture counts as worse
Pairs = list[tuple[Tensor, Tensor]]


def recorded(data: str, rate: int = 16_000) -> Pairs:
    """Every sentence in every noise, and in white noise, both of unit level."""
    speech, noise = Path(data) / "speech_16k", Path(data) / "noise"
    generator = torch.Generator().manual_seed(5)
    sentences = [audio.read(path, rate).samples.mean(0) for path in sorted(speech.glob("*.wav"))]
    noises = [audio.read(path, rate).samples.mean(0) for path in sorted(noise.glob("*.wav"))]
    noises = [samples[int(NOISE_PARTS["test"][0] * len(samples)) :] for samples in noises]
    noises.append(torch.randn(10 * rate, generator=generator))
    return [_pair(sentence, samples, generator) for sentence in sentences for samples in noises]


def made(count: int, rate: int = RATE) -> Pairs:
    """Generated voices and noises of the test part."""
    corpus = recordings.generated(rate, 1, "test", speakers=count, utterances=1, noises=count)
    voices = [samples[0] for samples in corpus.speakers["test"].values()]
    generator = torch.Generator().manual_seed(5)
    return [_pair(*each, generator) for each in zip(voices, corpus.noises["test"], strict=True)]


def _pair(speech: Tensor, noise: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    first = int(torch.randint(max(1, len(noise) - len(speech)), (), generator=generator))
    return unit_level(speech), unit_level(noise[first : first + len(speech)])


def through(run: Callable[[Tensor], Tensor], context: int, task: Enhancement, mixture: Tensor, rate: int) -> Tensor:
    """What becomes of a mixture as a file."""
    with TemporaryDirectory() as folder:
        source, output = Path(folder) / "in.wav", Path(folder) / "out.wav"
        audio.write(source, 0.05 * mixture.unsqueeze(0), rate, "FLOAT")
        audio.apply(audio.Processor(run, RATE, task.stft.hop, context), source, [output])
        return audio.read(output).samples[0]


def levels(pairs: Pairs, rate: int, snrs: Sequence[float] = LEVELS) -> Iterator[Row]:
    """Of the shipped weights, and of the decision-directed Wiener filter, for each ratio."""
    task, network = Enhancement(), find("speech/deep_nmf").pretrained("enhancement")
    methods = {
        "Deep NMF": lambda x: cautious(network(x)),
        "decision-directed Wiener filter": DecisionDirected(task.stft, RATE),
    }
    context = deep_nmf.context(network, task)
    for snr in snrs:
        mixtures = [(speech, speech + 10 ** (-snr / 20) * noise) for speech, noise in pairs]
        before = torch.stack([si_sdr(mixture, speech) for speech, mixture in mixtures])
        for name, run in methods.items():
            found = [(through(run, context, task, mixture, rate), speech) for speech, mixture in mixtures]
            after = torch.stack([si_sdr(estimate, speech) for estimate, speech in found])
            gain = after - before
            yield {
                "SNR in dB": snr,
                "method": name,
                "mixtures": len(pairs),
                "SI-SDR in": float(before.mean()),
                "SI-SDR out": float(after.mean()),
                "gain": float(gain.mean()),
                "worst": float(gain.min()),
                "worse": float((gain < -WORSE).float().mean()),
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with recordings: sub-folders speech_16k and noise")
    parser.add_argument("--mixtures", type=int, default=24, help="how many, where they are generated")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.data is not None and not (Path(options.data) / "speech_16k").is_dir():
        raise SystemExit(f"{options.data} has no folder speech_16k; nothing measured")
    pairs, rate = (made(options.mixtures), RATE) if options.data is None else (recorded(options.data), 16_000)
    rows = []
    for row in levels(pairs, rate):
        rows.append(row)
        if not options.json:
            numbers = ", ".join(
                f"{key} {row[key]:.2f}" for key in ("SI-SDR in", "SI-SDR out", "gain", "worst", "worse")
            )
            print(f"{row['SNR in dB']:g} dB, {row['method']}: {numbers}", flush=True)
    if options.json:
        print(
            json.dumps({"benchmark": "speech_levels", "recordings": options.data is not None, "rows": rows}, indent=1)
        )


if __name__ == "__main__":
    main()
