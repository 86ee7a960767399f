"""How detectors are applied to files of what was received."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.detection.mimo import Received, complex_symbols, decide, gram, real_form
from unrolling.algorithms.detection.mmnet import MMNetLayer, ScaledAdjoint
from unrolling.algorithms.detection.trellis import Observed
from unrolling.core import Unrolled
from unrolling.files.decoding import Arrays
from unrolling.files.gate import checked
from unrolling.files.received import check_output, read_sequences, read_vectors, write_symbols
from unrolling.systems.base import Application
from unrolling.tasks.communications.detection import Detection
from unrolling.tasks.communications.sequence import SequenceDetection

BLOCK = 4096  # vectors at a time
# of a column's energy: what the other columns leave of it where they determine it, in a channel of single precision
DEPENDENT = 1e-10
SAME = 1e-4  # largest relative difference of two channels that are one


def detection() -> Application:
    """Of vectors with their channels: ``y`` and ``channel``, and where the detector asks for it ``noise_variance``."""
    return Application(
        "a .npz file with y (batch, N), channel (N, K) or (batch, N, K), and for most detectors noise_variance, E "
        "|n_i|^2: a number or (batch,)",
        ("the symbols", "the estimates before the decision"),
        _read,
        _detect,
        suffixes=(".npz",),
        default_suffixes=("-symbols.npy", "-estimates.npy"),
        check=check_output,
    )


def sequence() -> Application:
    """Of sequences that one channel with memory put out: ``y``."""
    return Application(
        "a .npz file with y (batch, T), or y alone as .npy",
        ("the symbols",),
        _read,
        _decode,
        suffixes=(".npz", ".npy"),
        default_suffixes=("-symbols.npy",),
        check=check_output,
    )


def _read(path: Path, options: Mapping[str, Any]) -> Arrays:
    return Arrays(path)


def _detect(network: Unrolled, task: Detection, content: Arrays, outputs: Sequence[Path]) -> Mapping[str, Any]:
    data, single = received(content, network, task)
    count = data.y.shape[0]
    estimates, dependent = [], 0
    with torch.no_grad():
        for first in range(0, count, BLOCK):
            parts: Any = (t[first : first + BLOCK] if t is not None and t.shape[0] > 1 else t for t in data)
            part = Received(*parts)
            if part.channel.shape[0] > 1 or first == 0:
                dependent += int(_dependent(part.channel).sum())
            estimates.append(network(part))
    if dependent:
        which = "the channel has" if data.channel.shape[0] == 1 else f"{dependent} of {count} channels have"
        warnings.warn(
            f"{content.path}: {which} columns that depend on each other; their symbols cannot be told apart",
            stacklevel=2,
        )
    estimate = checked(torch.cat(estimates), "the estimates")
    levels = task.levels
    for path, x in zip(outputs, (levels[decide(estimate, levels)], estimate), strict=False):
        x = complex_symbols(x) if task.modulation.complex else x
        write_symbols(path, x[0] if single else x)
    streams = data.channel.shape[2] // (2 if task.modulation.complex else 1)
    return {"vectors": count, "streams": streams, "modulation": task.modulation.name, "dependent_channels": dependent}


def received(content: Arrays, network: Unrolled, task: Detection) -> tuple[Received, bool]:
    """What a file holds, as a network takes it, and whether it was a single vector.

    Args:
        content: of a ``.npz`` file; real or complex, of any precision.
        network: the detector.
        task: the weights' own: its alphabet, and its channel where it has one, which a file may then leave out.

    Raises:
        ValueError: arrays that are missing, of the wrong shape, or no finite numbers; real numbers for a
            complex alphabet and the other way round; more streams than antennas; a noise variance that is needed and
            missing, or not positive; another channel than that of the weights.
    """
    layer: Any = network.layers[0]
    own = task.fixed_tensors().get("channel")
    known = None if own is None else as_complex(own.double()) if task.modulation.complex else own.double()
    field = "complex" if task.modulation.complex else "real"
    y, channel, noise, single = read_vectors(content, field, layer.needs_noise, known)
    data = real_form(y, channel, noise) if task.modulation.complex else Received(y, channel, noise)
    if (
        isinstance(layer, MMNetLayer)
        and not isinstance(layer.linear, ScaledAdjoint)
        and own is not None
        and not _same(data.channel, own)
    ):
        raise ValueError(
            f"{content.path} holds another channel than the one that these weights were trained for; "
            "train some for it (unroll train communications/mmnet --data CHANNEL.npy) and name them with --weights"
        )
    return Received(
        data.y.float(), data.channel.float(), None if data.noise_variance is None else data.noise_variance.float()
    ), single


def as_complex(channel: Tensor) -> Tensor:
    """The complex channels (count, N, K) of real forms [[Re, -Im], [Im, Re]] / sqrt(2), (count, 2 N, 2 K)."""
    real, imaginary = channel.chunk(2, dim=2)[0].chunk(2, dim=1)
    return 2**0.5 * torch.complex(real, imaginary)


def _decode(network: Unrolled, task: SequenceDetection, content: Arrays, outputs: Sequence[Path]) -> Mapping[str, Any]:
    y, single = read_sequences(content)
    with torch.no_grad():
        parts = [network(Observed(part)) for part in y.split(max(1, BLOCK * 16 // y.shape[1]))]
    states = torch.cat([checked(part, "the scores of the states").argmax(2) for part in parts])
    symbols = task.levels[task.trellis.newest(states)]
    write_symbols(outputs[0], symbols[0] if single else symbols)
    return {"sequences": y.shape[0], "length": y.shape[1]}


def _same(channel: Tensor, own: Tensor) -> bool:
    """Whether channels are one channel, but for their precision."""
    if channel.shape[1:] != own.shape[1:]:
        return False
    return float((channel - own.to(channel)).abs().max()) <= SAME * float(own.abs().max())


def _dependent(channel: Tensor) -> Tensor:
    """Which channels (count, N, K) have columns that depend on each other, by what a Cholesky factor leaves of their
    energies.
    """
    products = gram(channel.double())
    energy = products.diagonal(dim1=1, dim2=2)
    scale = energy.clamp_min(torch.finfo(energy.dtype).tiny).rsqrt()
    factor, failed = torch.linalg.cholesky_ex(scale.unsqueeze(2) * products * scale.unsqueeze(1))
    return (failed > 0) | (energy.amin(1) == 0) | (factor.diagonal(dim1=1, dim2=2).square().amin(1) < DEPENDENT)
