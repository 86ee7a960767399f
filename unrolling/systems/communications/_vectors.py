"""How detectors are applied to files of vectors with their channels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from math import log10
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolling.algorithms.detection.mimo import Received, complex_symbols, decide, gram, real_form
from unrolling.algorithms.detection.mmnet import MMNetLayer, ScaledAdjoint
from unrolling.algorithms.detection.received_noise import AlphabetFit, NoiseEstimate, judge_alphabet, judge_noise
from unrolling.algorithms.detection.safeguarded import Safeguard, SafeguardedDetector, blocks
from unrolling.algorithms.detection.soft_detection import NETWORK, soft_bits
from unrolling.core import Unrolled
from unrolling.core.scale import divide, power_of_two
from unrolling.files.decoding import Arrays
from unrolling.files.gate import checked
from unrolling.files.received import check_output, read_vectors, whitened, write_symbols
from unrolling.systems.base import Application
from unrolling.systems.conditions import Condition, Range
from unrolling.systems.options import Option
from unrolling.tasks.communications.channels import read_channels
from unrolling.tasks.communications.detection import GIVEN, Detection

FOREIGN = 100.0  # times the energy of y that decided symbols leave where y and channel do not belong together
# of a column's energy: what the other columns leave of it where they determine it, in a channel of single precision
DEPENDENT = 1e-10
SAME = 1e-4  # largest relative difference of two channels that are one
MARGIN = 2.0  # dB on either side of a file's SNR that a network for its channel is trained for
TRIALS = 2000  # vectors that are drawn for the factor of soft bits
COUNTED = 500  # channels whose condition numbers are looked at

SOFT = Option("soft", bool, "log-likelihood ratios of bits in the place of symbols, (batch, streams, bits of a symbol)")
PLAIN = Option("plain", bool, "the network's decisions as they are, without LMMSE where it is likelier")
ADAPT = (
    Option("adapt", bool, "train a network for the file's channel first"),
    Option("channel", Path, "a .npy file with the channel (N, K) to train for, where the input holds none"),
    Option("seed", int, "of that training", default="0"),
)
Training = Callable[[Detection, int], Unrolled]


class Content(NamedTuple):
    """What a file holds, and the channel that was named beside it."""

    arrays: Arrays
    channel: Tensor | None  # (1, N, K), real or complex


def detection(train: Training | None = None) -> Application:
    """Of vectors with their channels: ``y`` and ``channel``, and where the detector asks for it ``noise_variance``.

    Args:
        train: (task, seed) -> a network trained for the task's channel, for detectors that are made for one.
    """
    if train is None:
        run, options = _detect, (PLAIN, SOFT)
    else:

        def run(*given: Any, **more: Any) -> Mapping[str, Any]:
            return _detect(*given, train=train, **more)

        options = (PLAIN, SOFT, *ADAPT)
    return Application(
        "a .npz file with y (batch, N), channel (N, K) or (batch, N, K), and for most detectors noise_variance, E "
        "|n_i|^2: a number or (batch,)",
        ("the symbols", "the estimates before the decision"),
        _read,
        run,
        suffixes=(".npz",),
        default_suffixes=("-symbols.npy", "-estimates.npy"),
        options=options,
        check=check_output,
    )


def ranges(task: Detection) -> dict[str, Any]:
    """What weights trained on a task are good for."""
    channel = task.draw(200, torch.Generator().manual_seed(0)).data.channel
    low, high = _spreads(channel).aminmax()
    slack = 1.01
    return {
        "modulation": (task.modulation.name,),
        "streams": (task.streams,),
        "antennas": (task.antennas,),
        "SNR": Range(task.low, task.high),
        "condition number of the channel": Range(
            float(f"{float(low) / slack:.4g}"), float(f"{float(high) * slack:.4g}")
        ),
    }


def _read(path: Path, options: Mapping[str, Any]) -> Content:
    file = options.get("channel")
    named = None if file is None else read_channels(file)
    if named is not None and len(named) > 1:
        raise ValueError(f"{file} holds {len(named)} channels; a network is trained for one")
    return Content(Arrays(path), named)


def _detect(
    network: Unrolled,
    task: Detection,
    content: Content,
    outputs: Sequence[Path],
    *,
    plain: bool = False,
    soft: bool = False,
    adapt: bool = False,
    channel: Path | None = None,
    seed: int = 0,
    train: Training | None = None,
) -> Mapping[str, Any]:
    path = content.arrays.path
    adapt = adapt or channel is not None
    data, single = received(content, network, task, other=adapt)
    alphabet = _alphabet(next(iter(blocks(data))), task)
    if alphabet.likelier is not None:
        raise ValueError(
            f"{path}: the symbols are not {task.modulation.name}, they fit {alphabet.likelier} better (as many levels "
            "in a real dimension); choose weights for them (--set modulation=..., --weights)"
        )
    if alphabet.certain:
        scale, noise = alphabet.power**0.5, data.noise_variance
        data = Received(data.y / scale, data.channel, None if noise is None else noise / alphabet.power)
    facts: dict[str, Any] = {}
    if adapt:
        assert train is not None
        network, facts["trained"] = _adapted(data, task, path, train, seed)
    count = data.y.shape[0]
    parts: list[Safeguard] = []
    dependent = 0
    with torch.no_grad():
        for part in blocks(data):
            if part.channel.shape[0] > 1 or not parts:
                dependent += int(_dependent(part.channel).sum())
            if plain:
                x = network(part)
                none = torch.zeros(len(x), dtype=torch.bool)
                parts.append(Safeguard(x, none, none, judge_noise(part)))
            else:
                parts.append(SafeguardedDetector(network, task.levels).detect(part))
    if dependent:
        which = "the channel has" if data.channel.shape[0] == 1 else f"{dependent} of {count} channels have"
        warnings.warn(
            f"{path}: {which} columns that depend on each other; their symbols cannot be told apart", stacklevel=2
        )
    estimate = checked(torch.cat([part.x for part in parts]), "the estimates")
    distrusted = sum(int(part.distrusted.sum()) for part in parts)
    if distrusted:
        warnings.warn(
            f"{path}: on vectors that were drawn over {_many(distrusted, count)} channels, the network makes more "
            "errors than LMMSE, whose decisions are taken there (--plain: the network's)",
            stacklevel=2,
        )
    levels = task.levels
    _check_scale(data, levels[decide(estimate, levels)], path)
    written = [levels[decide(estimate, levels)], estimate]
    if task.modulation.complex:
        written = [complex_symbols(x) for x in written]
    if soft:
        found = soft_bits(network, data._replace(noise_variance=_variance(data, parts)), trials=0 if plain else TRIALS)
        if found.source != NETWORK:
            warnings.warn(
                f"{path}: on vectors that were drawn over these channels, the ratios of the {found.source} tell "
                "more of the bits than the network's, and are what is written (--plain: the network's)",
                stacklevel=2,
            )
        written[0] = torch.cat(found.llrs.chunk(2, 1), 2) if task.modulation.complex else found.llrs
        facts["holds"] = {str(outputs[0]): f"log p(0) / p(1) of the bits, by the {found.source}"}
        facts["soft_bits"] = {
            "source": found.source,
            "factor": found.factor,
            **{f"bits told by {name}": told for name, told in found.information.items()},
        }
    for out, x in zip(outputs, written, strict=False):
        write_symbols(out, x[0] if single else x)
    linear = sum(int(part.linear.sum()) for part in parts)
    conditions = _conditions(data, task, parts[0].noise, alphabet, told=data.noise_variance is not None)
    if adapt:  # the training's own
        own = {"modulation", "noise variance, shown over told", "mean square of the symbols"}
        conditions = [each for each in conditions if each.name in own]
    if not plain:
        conditions.append(Condition("decided by LMMSE", f"{linear} of {count}", "read"))
    streams = data.channel.shape[2] // (2 if task.modulation.complex else 1)
    return {
        **facts,
        "vectors": count,
        "streams": streams,
        "modulation": task.modulation.name,
        "dependent_channels": dependent,
        "decided_by_lmmse": linear,
        "network_distrusted": distrusted,
        "conditions": conditions,
    }


def _variance(data: Received, parts: Sequence[Safeguard]) -> Tensor:
    """sigma^2 as told, or shown where that is the likelier one."""
    told = torch.cat([part.noise.variance for part in parts])
    return told.to(data.y) if len(told) == len(data.y) else told[:1].to(data.y)


def _check_scale(data: Received, symbols: Tensor, path: Path) -> None:
    """Refuses symbols that explain y much worse than none would: y and the channel are on different scales."""
    left = kept = 0.0
    first = 0
    for part in blocks(data):
        count = part.y.shape[0]
        rest = part.y - torch.einsum("bnk,bk->bn", part.channel.expand(count, -1, -1), symbols[first : first + count])
        left, kept = left + float(rest.double().square().sum()), kept + float(part.y.double().square().sum())
        first += count
    if left > FOREIGN * kept:
        raise ValueError(
            f"{path}: y is not what the channel makes of symbols: what they leave of it has "
            f"{left / max(kept, 1e-300):.2g} times its energy; y and channel may be on different scales, or symbols of "
            "another size were sent"
        )


def received(content: Content, network: Unrolled, task: Detection, *, other: bool = False) -> tuple[Received, bool]:
    """What a file holds, as a network takes it, and whether it was a single vector.

    Each vector is divided by a power of two with its channel, so that these have entries of about one: the symbols are
    the same.

    Args:
        content: of a ``.npz`` file; real or complex, of any precision.
        network: the detector.
        task: the weights' own: its alphabet, and its channel where it has one, which a file may then leave out.
        other: whether another channel than that of the weights will do.

    Raises:
        ValueError: arrays that are missing, of the wrong shape, or no finite numbers; real numbers for a
            complex alphabet and the other way round; more streams than antennas; a noise variance that is needed and
            missing, or not positive; another channel than that of the weights.
    """
    layer: Any = network.layers[0]
    own = task.fixed_tensors().get("channel")
    complex_ = task.modulation.complex
    known = None if own is None else as_complex(own.double()) if complex_ else own.double()
    if content.channel is not None:
        if content.channel.is_complex() and not complex_:
            raise ValueError(f"--channel is complex, and {task.modulation.name} is sent over real channels")
        known = content.channel.to(torch.complex128 if complex_ else torch.float64)
    vectors = read_vectors(content.arrays, "complex" if complex_ else "real", layer.needs_noise, known)
    y, channel, noise, single = whitened(content.arrays, vectors)
    size = power_of_two(channel.abs().amax((1, 2))).unsqueeze(1)
    y, channel = y / size, channel / size.unsqueeze(2)
    noise = None if noise is None else (noise / size) / size
    data = real_form(y, channel, noise) if complex_ else Received(y, channel, noise)
    if isinstance(layer, MMNetLayer) and not isinstance(layer.linear, ScaledAdjoint) and own is not None and not other:
        factor = _same(data.channel, own)
        if factor is None:
            raise ValueError(
                f"{content.arrays.path} holds another channel than the one that these weights were trained for; "
                "--adapt trains a network for it first, which takes seconds (or unroll train communications/mmnet "
                "--data CHANNEL.npy, and --weights)"
            )
        variance = data.noise_variance
        data = Received(data.y / factor, data.channel / factor, None if variance is None else variance / factor**2)
    return Received(*(None if t is None else t.float() for t in data)), single  # pyright: ignore[reportArgumentType]


def as_complex(channel: Tensor) -> Tensor:
    """The complex channels (count, N, K) of real forms [[Re, -Im], [Im, Re]] / sqrt(2), (count, 2 N, 2 K)."""
    real, imaginary = channel.chunk(2, dim=2)[0].chunk(2, dim=1)
    return 2**0.5 * torch.complex(real, imaginary)


def _adapted(
    data: Received, task: Detection, path: Path, train: Training, seed: int
) -> tuple[Unrolled, dict[str, Any]]:
    """A network for the file's channel, and what it was trained on."""
    if data.channel.shape[0] > 1 and float((data.channel - data.channel[:1]).abs().max()) > 0:
        raise ValueError(
            f"{path} holds {data.channel.shape[0]} channels, and a network is trained for one; a detector for channels "
            "that change is communications/ep_net or communications/oamp_net"
        )
    channel = data.channel[:1]
    noise = judge_noise(data).variance.double()
    energy = float(channel.double().square().sum()) / channel.shape[2]
    low, high = (10 * log10(energy / float(value)) for value in (noise.max(), noise.min()))
    low, high = round(low - MARGIN, 1), round(high + MARGIN, 1)
    own = Detection(
        modulation=task.modulation.name,
        channel=GIVEN,
        low=low,
        high=high,
        snr=(low + high) / 2,
        held_out=1,
        fixed={"channel": channel},
    )
    network = train(own, seed)
    network.eval()
    return network, {"seed": seed, "low": low, "high": high}


def _alphabet(data: Received, task: Detection) -> AlphabetFit:
    """Where nothing shows the noise, a wrong variance looks like a wrong alphabet."""
    if data.channel.shape[1] <= data.channel.shape[2]:
        return AlphabetFit(1.0, False, None)
    return judge_alphabet(data, judge_noise(data).variance, task.levels)


def _conditions(
    data: Received, task: Detection, noise: NoiseEstimate, alphabet: AlphabetFit, *, told: bool
) -> list[Condition]:
    """What detectors depend on, in a file."""
    dimensions = 2 if task.modulation.complex else 1
    energy = data.channel.double().square().sum((1, 2)) / data.channel.shape[2]
    count = max(len(energy), len(noise.variance))
    snr = 10 * torch.log10(energy.expand(count)[: len(noise.variance)] / noise.variance.double().squeeze(1))
    known = told and not noise.replaced
    found = [
        Condition("modulation", task.modulation.name, "given"),
        Condition("streams", data.channel.shape[2] // dimensions, "read"),
        Condition("antennas", data.channel.shape[1] // dimensions, "read"),
        Condition("SNR", round(float(snr.median()), 1), "given" if known else "estimated", "dB"),
        Condition("condition number of the channel", float(f"{float(_spreads(data.channel).median()):.3g}"), "read"),
    ]
    if noise.ratio is not None:
        effect = "what the vectors show is used" if noise.replaced else ""
        trained = Range(0.67, 1.5) if noise.replaced else None
        ratio = float(f"{noise.ratio:.3g}")
        found.append(Condition("noise variance, shown over told", ratio, "estimated", trained=trained, effect=effect))
    if alphabet.certain:
        power = float(f"{alphabet.power:.3g}")
        effect = (
            "channel and symbols do not belong together: symbols have mean square one, and all scale is the channel's"
        )
        found.append(
            Condition("mean square of the symbols", power, "estimated", trained=Range(0.9, 1.1), effect=effect)
        )
    return found


def _spreads(channel: Tensor) -> Tensor:
    """Condition numbers, of at most 500 channels."""
    step = max(1, len(channel) // COUNTED)
    values = torch.linalg.svdvals(channel[::step].double())
    largest = values[:, 0]
    return divide(largest, torch.maximum(values[:, -1], torch.finfo(torch.float64).eps * largest))


def _same(channel: Tensor, own: Tensor) -> float | None:
    """c where channels are all c times one channel, but for their precision; None where they are not."""
    if channel.shape[1:] != own.shape[1:]:
        return None
    own = own.to(channel)
    factor = float((channel[0] * own[0]).sum() / own.square().sum())
    if not factor > 0 or float((channel - factor * own).abs().max()) > SAME * factor * float(own.abs().max()):
        return None
    return factor


def _dependent(channel: Tensor) -> Tensor:
    """Which channels (count, N, K) have columns that depend on each other, by what a Cholesky factor leaves of their
    energies.
    """
    products = gram(channel.double())
    energy = products.diagonal(dim1=1, dim2=2)
    scale = energy.clamp_min(torch.finfo(energy.dtype).tiny).rsqrt()
    factor, failed = torch.linalg.cholesky_ex(scale.unsqueeze(2) * products * scale.unsqueeze(1))
    return (failed > 0) | (energy.amin(1) == 0) | (factor.diagonal(dim1=1, dim2=2).square().amin(1) < DEPENDENT)


def _many(some: int, count: int) -> str:
    return "these" if some == count else f"the {some} of {count}"
