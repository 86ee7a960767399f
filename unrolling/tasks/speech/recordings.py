"""Speech and noise to train and test on: generated, or from folders of recordings; no speaker and no stretch of noise
is on both sides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from unrolling.core.scale import divide, norm
from unrolling.files import sound as audio
from unrolling.tasks.speech import voices
from unrolling.tasks.speech.noises import draw_noise

SUFFIXES = (".wav", ".flac", ".ogg", ".aiff", ".aif")
DIGITS = re.compile(r"\d_(\w+)_\d+")  # the names of the Free Spoken Digit Dataset
SPEECH_FOLDERS, NOISE_FOLDER = ("speech", "fsdd", "speech_16k"), "noise"
# Of a recording of noise: the first part is trained on, a stretch in the middle validated, the last tested, with gaps
# between them.
NOISE_PARTS = {"train": (0.0, 0.5), "validation": (0.5, 0.6), "test": (0.7, 1.0)}
PAUSE = (0.04, 0.25)  # seconds between two recordings in a row

Speakers = Mapping[str, Sequence[Tensor]]
Value = TypeVar("Value")


class Corpus(NamedTuple):
    """By part (train, validation, test): recordings of each speaker, and recordings of noise, all of root mean square
    1.
    """

    speakers: Mapping[str, Speakers]
    noises: Mapping[str, Sequence[Tensor]]


class Lazily(Mapping[str, Value]):
    """Values that are made each time they are asked for.

    Args:
        keys: theirs.
        make: key -> value.
    """

    def __init__(self, keys: Iterable[str], make: Callable[[str], Value]) -> None:
        self._keys, self._make = tuple(keys), make

    def __getitem__(self, key: str) -> Value:
        if key not in self._keys:
            raise KeyError(key)
        return self._make(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def generated(
    rate: int, seed: int, part: str, *, speakers: int, utterances: int, noises: int, seconds: float = 3.5
) -> Corpus:
    """Voices and noises of one part, drawn anew for each part.

    Args:
        rate: in Hz.
        seed: of everything.
        part: train, validation or test.
        speakers: how many.
        utterances: of each.
        noises: how many recordings of noise, twice as long as an utterance.
        seconds: of an utterance.
    """
    rng = np.random.default_rng([seed, sum(map(ord, part))])
    people = {f"voice {k}": voices.draw_voice(rng) for k in range(speakers)}
    spoken = {
        name: [torch.from_numpy(voices.speak(voice, seconds, rng, rate)) for _ in range(utterances)]
        for name, voice in people.items()
    }
    return Corpus({part: spoken}, {part: [torch.from_numpy(draw_noise(2 * seconds, rng, rate)) for _ in range(noises)]})


def find_folders(data: str | Path) -> tuple[Path, Path | None]:
    """The folders of speech and of noise in a folder: its sub-folders ``speech`` (or ``fsdd``, ``speech_16k``) and
    ``noise``, or itself with no noise.

    Raises:
        ValueError: no folder.
    """
    root = Path(data)
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder of recordings")
    speech = next((root / name for name in SPEECH_FOLDERS if (root / name).is_dir()), root)
    noise = root / NOISE_FOLDER
    return speech, noise if noise.is_dir() else None


def speaker_of(file: Path, root: Path) -> str:
    """Who speaks: in ``DIGIT_SPEAKER_INDEX.wav`` the middle, else the sub-folder (other than train, validation, test),
    else the name up to its last ``_``.
    """
    digits = DIGITS.fullmatch(file.stem)
    if digits:
        return digits.group(1)
    inside = [part for part in file.relative_to(root).parts[:-1] if part not in ("train", "validation", "test")]
    return inside[-1] if inside else file.stem.rpartition("_")[0] or file.stem


def read_speakers(root: Path, rate: int) -> dict[str, dict[str, Tensor]]:
    """All recordings below a folder by speaker and name, mono, of root mean square 1; silent ones are left out.

    Raises:
        ValueError: none there, or none with a sound, or one that cannot be read (its name is in the message).
    """
    files = sorted(file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(f"{root} holds no recording ({', '.join(SUFFIXES)})")
    found: dict[str, dict[str, Tensor]] = {}
    for file in files:
        samples = unit_level(audio.read(file, rate).samples.mean(0))
        if bool((samples != 0).any()):
            found.setdefault(speaker_of(file, root), {})[str(file.relative_to(root))] = samples
    if not found:
        raise ValueError(f"every recording in {root} is silent ({len(files)} of them)")
    return found


def split_speakers(
    found: Mapping[str, Mapping[str, Tensor]], unseen: Sequence[str]
) -> dict[str, dict[str, list[Tensor]]]:
    """Speakers by part: the unseen ones are tested on; of the others every fifth recording is validated on, the rest
    trained on. Of a speaker with one recording its last fifth is validated on.

    Args:
        found: recordings by speaker and name.
        unseen: names of speakers; by default the last third of them.

    Raises:
        ValueError: an unknown speaker, fewer than two left on either side, a single recording with silent parts.
    """
    names = sorted(found)
    unknown = [name for name in unseen if name not in found]
    if unknown:
        raise ValueError(f"there is no speaker {unknown[0]!r}; there are {', '.join(names)}")
    held = list(unseen) or names[len(names) - max(2, len(names) // 3) :]
    seen = [name for name in names if name not in held]
    if len(seen) < 2 or len(held) < 2:
        raise ValueError(
            f"training and test need two speakers each at least; {', '.join(names)} are there, and "
            f"{', '.join(held)} held out (a speaker is a sub-folder, or a name up to its last _)"
        )
    parts: dict[str, dict[str, list[Tensor]]] = {"train": {}, "validation": {}, "test": {}}
    for name in held:
        parts["test"][name] = list(found[name].values())
    for name in seen:
        recordings = list(found[name].values())
        if len(recordings) == 1:
            recordings = list(recordings[0].tensor_split((len(recordings[0]) - len(recordings[0]) // 5,)))[::-1]
            if not all(bool((r != 0).any()) for r in recordings):
                raise ValueError(f"the one recording of {name} is silent in its first four fifths or in its last")
            recordings = [unit_level(r) for r in recordings]
        parts["validation"][name] = recordings[::5]
        parts["train"][name] = [r for k, r in enumerate(recordings) if k % 5]
    return parts


def read_noises(root: Path, rate: int) -> dict[str, list[Tensor]]:
    """Recordings of noise by part, each cut in time.

    Raises:
        ValueError: none there, or one shorter than ten seconds.
    """
    parts: dict[str, list[Tensor]] = {part: [] for part in NOISE_PARTS}
    for recordings in read_speakers(root, rate).values():
        for name, samples in recordings.items():
            if len(samples) < 10 * rate:
                raise ValueError(
                    f"{root / name} lasts {len(samples) / rate:.1f} s; a recording of noise is cut into "
                    "parts and lasts 10 s at least"
                )
            for part, (first, last) in NOISE_PARTS.items():
                parts[part].append(unit_level(samples[int(first * len(samples)) : int(last * len(samples))]))
    return parts


def unit_level(samples: Tensor) -> Tensor:
    """Divided by the root mean square, if that is not zero."""
    return divide(samples, norm(samples, 0) * max(len(samples), 1) ** -0.5)


def stretch(
    recordings: Sequence[Tensor],
    count: int,
    rate: int,
    generator: torch.Generator,
    pause: tuple[float, float] = PAUSE,
) -> Tensor:
    """``count`` samples of one speaker: a random place in a long recording, or short ones in a row with pauses of so
    many seconds between them.
    """

    def draw(high: int) -> int:
        return int(torch.randint(max(1, high), (), generator=generator))

    first = recordings[draw(len(recordings))]
    if len(first) >= count:
        at = draw(len(first) - count + 1)
        return first[at : at + count]
    pieces, length = [first[draw(len(first) // 2) :]], 0
    length = len(pieces[0])
    while length < count:
        low, high = (round(s * rate) for s in pause)
        more = recordings[draw(len(recordings))]
        pieces += [torch.zeros(low + draw(high - low)), more]
        length += len(pieces[-1]) + len(pieces[-2])
    return torch.cat(pieces)[:count]
