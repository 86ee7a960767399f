"""How ViterbiNet is applied to files of received sequences."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from math import log10
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unrolling.algorithms.detection.taps import ChannelEstimate, TapsFit, fit_to_taps, viterbi_data
from unrolling.algorithms.detection.trellis import GaussianLikelihood, Observed, Trellis, check_trellis
from unrolling.algorithms.detection.viterbi import viterbi_path
from unrolling.core import Unrolled
from unrolling.core.scale import unit
from unrolling.files.decoding import Arrays
from unrolling.files.gate import checked
from unrolling.files.received import check_output, numbers, read_sequences, write_symbols
from unrolling.systems.base import Application
from unrolling.systems.communications._pilots import Learned, learn
from unrolling.systems.conditions import Condition, Range
from unrolling.systems.options import Option
from unrolling.tasks.communications.sequence import SequenceDetection

BLOCK = 65_536  # symbols at a time
WORSE = 2.0  # dB of noise above that of the training symbols, under which taps still fit
FEWEST = 100  # symbols that tell whether they do
LAPPED = 8  # times the taps: how far two pieces of a long sequence reach into each other

OPTIONS = (
    Option("pilots", Path, "a .npz file with known symbols and the y they became: the likelihood is learned from them"),
    Option("memory", int, "taps of the channel of the pilots", default="that of the weights"),
    Option("taps", str, "taps of the channel, newest symbol first, as 1,0.6,0.36: the Viterbi algorithm with these"),
    Option("noise_variance", float, "of the noise, beside taps", default="the one under which y is likeliest"),
    Option("seed", int, "of learning from pilots", default="0"),
    Option("plain", bool, "the network, whether or not y fits its channel, and also where pilots' taps are likelier"),
)


class Content(NamedTuple):
    """What a file holds, and what was said about its channel."""

    path: Path
    y: Tensor  # (batch, T)
    single: bool
    taps: Tensor | None  # (1, L)
    noise_variance: float | None
    pilots: tuple[Tensor, Tensor] | None  # y and symbols, (batch, T)


def sequence(likelihood: Callable[[int], nn.Module]) -> Application:
    """Of sequences that one channel with memory put out: ``y``.

    Args:
        likelihood: (states) -> a network that has learned nothing, for pilots.
    """

    def run(*given: Any, **more: Any) -> Mapping[str, Any]:
        return _decode(*given, fresh=likelihood, **more)

    return Application(
        "a .npz file with y (batch, T), or y alone as .npy; it may hold taps (L,) and noise_variance",
        ("the symbols",),
        _read,
        run,
        suffixes=(".npz", ".npy"),
        default_suffixes=("-symbols.npy",),
        options=OPTIONS,
        check=check_output,
    )


def ranges(task: SequenceDetection) -> dict[str, Any]:
    """What weights trained on a task are good for: less noise changes little, and more is soon too much."""
    return {"SNR for the weights' taps": Range(task.snr - WORSE, 24.0)}


def _read(path: Path, options: Mapping[str, Any]) -> Content:
    arrays = Arrays(path)
    y, single = read_sequences(arrays)
    taps = options.get("taps")
    told = _parsed(taps) if taps is not None else _vector(arrays, "taps") if "taps" in arrays else None
    noise = options.get("noise_variance")
    if noise is None and told is not None and "noise_variance" in arrays:
        noise = float(numbers(path, "noise_variance", arrays["noise_variance"], "real").mean())
    if noise is not None and not 0 < noise < float("inf"):
        raise ValueError(f"noise_variance is sigma^2, positive and finite; got {noise:g}")
    file = options.get("pilots")
    if file is not None and told is not None:
        raise ValueError("taps are told, and pilots would find them; give one of the two")
    return Content(path, y, single, told, noise, None if file is None else _pilots(file))


def _decode(
    network: Unrolled,
    task: SequenceDetection,
    content: Content,
    outputs: Sequence[Path],
    *,
    fresh: Callable[[int], nn.Module],
    memory: int | None = None,
    seed: int = 0,
    plain: bool = False,
    **_: Any,
) -> Mapping[str, Any]:
    levels, (content, scale) = task.levels, _scaled(content)
    y = content.y
    facts: dict[str, Any] = {"sequences": y.shape[0], "length": y.shape[1]}
    conditions: list[Condition] = []
    trellis = task.trellis
    if content.taps is not None:
        trellis = check_trellis(len(levels), content.taps.shape[1])
        channel, snr = _told(content, levels, scale)
        symbols = _gaussian(y, channel, levels, trellis)
        facts["used"] = "the Viterbi algorithm with the taps that were told"
        conditions.append(Condition("SNR", snr, "given" if content.noise_variance else "estimated", "dB"))
    elif content.pilots is not None:
        trellis = check_trellis(len(levels), memory or task.trellis.memory)
        likelihood = fresh(trellis.states)
        learned = learn(likelihood, *content.pilots, levels, trellis.memory, seed=seed)
        facts |= _about(learned, scale)
        if plain or learned.network_is_better:
            facts["used"] = "the network, its likelihood learned from the pilots"
            symbols = _search(lambda part: likelihood(Observed(part)), y, trellis)
        else:
            facts["used"] = "the Viterbi algorithm with taps by least squares from the pilots"
            symbols = _gaussian(y, learned.channel, levels, trellis)
        conditions += [Condition("pilots", learned.count, "given"), Condition("used", facts["used"], "read")]
    else:
        fit = fit_to_taps(y, task.taps, levels)
        facts |= {"fit": {"snr": fit.snr, "distance": fit.distance, "limit": fit.limit, "symbols": fit.count}}
        conditions.append(_check(fit, content, task, plain))
        with torch.no_grad():
            parts = [network(Observed(part)) for part in y.split(max(1, BLOCK // y.shape[1]))]
        states = torch.cat([checked(part, "the scores of the states").argmax(2) for part in parts])
        symbols = trellis.newest(states)
        facts["used"] = "the network with its weights"
    found = levels[symbols]
    write_symbols(outputs[0], found[0] if content.single else found)
    return {**facts, "conditions": conditions}


def _check(fit: TapsFit, content: Content, task: SequenceDetection, plain: bool) -> Condition:
    """The condition that y came out of the weights' channel.

    Raises:
        ValueError: it did not.
    """
    least = task.snr - WORSE
    if content.y.numel() < FEWEST:
        warnings.warn(
            f"{content.path}: {content.y.numel()} symbols are too few to tell whether they came over the weights' "
            "channel",
            stacklevel=2,
        )
    elif (fit.snr < least or not fit.good) and not plain:
        taps = ", ".join(f"{tap:.3g}" for tap in task.taps[0].tolist())
        why = (
            f"they are likeliest with noise at {fit.snr:g} dB, and the weights are for {task.snr:g} dB"
            if fit.snr < least
            else f"the distribution of y is {fit.distance:.2g} from theirs, and chance makes up to {fit.limit:.2g}"
        )
        raise ValueError(
            f"{content.path} does not hold what the taps {taps} of these weights put out: {why}. --pilots FILE learns "
            "another channel from known symbols, --taps names it, --plain decides all the same"
        )
    return Condition("SNR for the weights' taps", fit.snr, "estimated", "dB", effect="symbols may be wrong")


def _scaled(content: Content) -> tuple[Content, float]:
    """A channel that is told or learned has any scale, which decides nothing: what is received is divided by the power
    of two below the largest tap, or below the largest pilot. The taps of the weights have theirs.
    """
    scaled = content.taps if content.taps is not None else content.pilots[0] if content.pilots else None
    if scaled is None:
        return content, 1.0
    scale = float(unit(scaled.double().flatten()))
    y, taps, noise, pilots = content.y, content.taps, content.noise_variance, content.pilots
    return content._replace(
        y=y / scale,
        taps=None if taps is None else taps / scale,
        noise_variance=None if noise is None else noise / scale / scale,
        pilots=None if pilots is None else (pilots[0] / scale, pilots[1]),
    ), scale


def _told(content: Content, levels: Tensor, scale: float) -> tuple[ChannelEstimate, float]:
    """The channel that was told, divided by a scale, and 1 / sigma^2 as the file has it, in dB."""
    assert content.taps is not None
    noise = content.noise_variance
    fit, shift = fit_to_taps(content.y, content.taps, levels), 20 * log10(scale)
    if noise is None:
        return ChannelEstimate(content.taps, torch.full((1, 1), 10 ** (-fit.snr / 10))), round(fit.snr - shift, 2)
    told = -10 * log10(noise)
    if abs(told - fit.snr) > 3 and content.y.numel() >= FEWEST:
        warnings.warn(
            f"{content.path}: with these taps y is likeliest at a SNR of {fit.snr - shift:.3g} dB, and "
            f"{told - shift:.3g} dB was told: "
            "the taps or the noise variance may be others",
            stacklevel=2,
        )
    return ChannelEstimate(content.taps, torch.full((1, 1), noise)), round(told - shift, 2)


def _about(learned: Learned, scale: float) -> dict[str, Any]:
    return {
        "pilots": learned.count,
        "cross_entropy_of_kept_pilots": {"network": learned.network, "least_squares_taps": learned.gaussian},
        "taps_by_least_squares": (scale * learned.channel.taps[0].double()).tolist(),
        "noise_variance_by_least_squares": scale * scale * float(learned.channel.noise_variance),
    }


def _gaussian(y: Tensor, channel: ChannelEstimate, levels: Tensor, trellis: Trellis) -> Tensor:
    """The newest symbols of the best path under known taps."""
    likelihood = GaussianLikelihood(levels, trellis.memory)
    return _search(lambda part: likelihood(viterbi_data(part, channel)), y, trellis)


@torch.no_grad()
def _search(scores: Callable[[Tensor], Tensor], y: Tensor, trellis: Trellis) -> Tensor:
    """The newest symbols of the best path, (batch, T)."""
    lap = LAPPED * trellis.memory
    batch, length = y.shape
    # Long sequences are searched in pieces side by side; what lies further away than some taps decides nothing.
    piece = max(16 * lap, 1)
    if length <= 2 * piece:
        return trellis.newest(viterbi_path(checked(scores(y), "the scores of the states"), trellis))
    count = -(-length // piece)
    padded = torch.nn.functional.pad(y, (lap, count * piece - length + lap), mode="replicate")
    likelihood = checked(scores(padded), "the scores of the states")
    # Beyond the ends nothing was received.
    likelihood[:, :lap] = 0
    likelihood[:, lap + length :] = 0
    windows = likelihood.unfold(1, piece + 2 * lap, piece).movedim(3, 2).flatten(0, 1)
    states = viterbi_path(windows, trellis)[:, lap : lap + piece]
    return trellis.newest(states.reshape(batch, -1)[:, :length])


def _parsed(text: str) -> Tensor:
    """Taps that were typed."""
    try:
        return _usable([float(part) for part in text.replace(";", ",").split(",")], "--taps")
    except ValueError as error:
        raise ValueError(f"--taps are finite numbers with commas between them, not all zero; got {text}") from error


def _vector(arrays: Arrays, name: str) -> Tensor:
    return _usable(numbers(arrays.path, name, arrays[name], "real").flatten().tolist(), f"{arrays.path}: {name}")


def _usable(values: Sequence[float], what: str) -> Tensor:
    taps = torch.tensor(values, dtype=torch.float32)
    if not bool(torch.isfinite(taps).all()) or not bool((taps != 0).any()):
        raise ValueError(f"{what} must be finite, and not all zero; got {list(values)}")
    return taps.unsqueeze(0)


def _pilots(path: Path) -> tuple[Tensor, Tensor]:
    """y and symbols of a file of pilots."""
    arrays = Arrays(path)
    if missing := [name for name in ("y", "symbols") if name not in arrays]:
        raise ValueError(
            f"{path} holds {', '.join(arrays) or 'nothing'}; pilots are y and symbols: {missing[0]} is missing"
        )
    y, _ = read_sequences(arrays)
    symbols = numbers(path, "symbols", arrays["symbols"], "real")
    symbols = symbols.unsqueeze(0) if symbols.ndim == 1 else symbols
    if symbols.shape != y.shape:
        raise ValueError(
            f"{path}: y and symbols are alike, (batch, T) or (T,); got {tuple(y.shape)} and {tuple(symbols.shape)}"
        )
    return y, symbols
