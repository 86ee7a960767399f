"""How detectors are applied to files of what was received."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolling.algorithms.detection.mimo import Received, complex_symbols, decide, gram, real_form
from unrolling.algorithms.detection.mmnet import MMNetLayer, ScaledAdjoint
from unrolling.algorithms.detection.trellis import Observed
from unrolling.core import Unrolled
from unrolling.systems.base import Application
from unrolling.tasks.communications.detection import Detection
from unrolling.tasks.communications.sequence import SequenceDetection
from unrolling.training.files import write_bytes

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
        _detect,
    )


def sequence() -> Application:
    """Of sequences that one channel with memory put out: ``y``."""
    return Application("a .npz file with y (batch, T), or y alone as .npy", ("the symbols",), _decode)


def _detect(network: Unrolled, task: Detection, source: Path, outputs: Sequence[Path]) -> Mapping[str, Any]:
    _check_outputs(source, outputs)
    data, single = read_received(source, network, task)
    count = data.y.shape[0]
    estimates, dependent = [], 0
    with torch.no_grad():
        for first in range(0, count, BLOCK):
            part = Received(*(t[first : first + BLOCK] if t is not None and t.shape[0] > 1 else t for t in data))  # pyright: ignore[reportArgumentType]
            if part.channel.shape[0] > 1 or first == 0:
                dependent += int(_dependent(part.channel).sum())
            estimates.append(network(part))
    if dependent:
        which = "the channel has" if data.channel.shape[0] == 1 else f"{dependent} of {count} channels have"
        warnings.warn(
            f"{source}: {which} columns that depend on each other; their symbols cannot be told apart", stacklevel=2
        )
    estimate = torch.cat(estimates)
    levels = task.levels
    for path, x in zip(outputs, (levels[decide(estimate, levels)], estimate), strict=False):
        x = complex_symbols(x) if task.modulation.complex else x
        _write(path, x[0] if single else x)
    streams = data.channel.shape[2] // (2 if task.modulation.complex else 1)
    return {"vectors": count, "streams": streams, "modulation": task.modulation.name, "dependent_channels": dependent}


def read_received(path: Path, network: Unrolled, task: Detection) -> tuple[Received, bool]:
    """What a file holds, as a network takes it, and whether it was a single vector.

    Args:
        path: a ``.npz`` file; real or complex, of any precision.
        network: the detector.
        task: the weights' own: its alphabet, and its channel where it has one, which a file may then leave out.

    Raises:
        ValueError: no such file; arrays that are missing, of the wrong shape, or no finite numbers; real numbers for a
            complex alphabet and the other way round; more streams than antennas; a noise variance that is needed and
            missing, or not positive; another channel than that of the weights.
    """
    held = _arrays(path)
    layer: Any = network.layers[0]
    own = task.fixed().get("channel")
    needed = ["y"] + ([] if own is not None else ["channel"]) + (["noise_variance"] if layer.needs_noise else [])
    missing = [name for name in needed if name not in held]
    if missing:
        raise ValueError(f"{path} holds {', '.join(held) or 'nothing'}; this detector needs {', '.join(needed)}")
    field = "complex" if task.modulation.complex else "real"
    y = _numbers(path, "y", held["y"], field)
    single = y.ndim == 1
    y = y.unsqueeze(0) if single else y
    if "channel" in held:
        channel = _numbers(path, "channel", held["channel"], field)
        channel = channel.unsqueeze(0) if channel.ndim == 2 else channel
    else:
        assert own is not None
        channel = as_complex(own.double()) if task.modulation.complex else own.double()
    if (
        y.ndim != 2
        or 0 in y.shape
        or channel.ndim != 3
        or channel.shape[1] != y.shape[1]
        or channel.shape[0] not in (1, y.shape[0])
    ):
        shapes = f"{tuple(y.shape)} and {tuple(channel.shape)}{'' if 'channel' in held else ', that of the weights'}"
        raise ValueError(
            f"{path}: y is (batch, N) and channel (batch, N, K), antennas by streams, or (N, K) for all "
            f"vectors; got {shapes}"
        )
    if not 1 <= channel.shape[2] <= channel.shape[1]:
        raise ValueError(
            f"{path}: the channel has {channel.shape[2]} streams and {channel.shape[1]} antennas; it is "
            "(N, K) with at least as many antennas"
        )
    noise = None
    if "noise_variance" in held:
        noise = _numbers(path, "noise_variance", held["noise_variance"], "real")
        if noise.numel() not in (1, y.shape[0]):
            raise ValueError(
                f"{path}: noise_variance is one number, or one for each of {y.shape[0]} vectors; got "
                f"{tuple(noise.shape)}"
            )
        if not bool((noise > 0).all()):
            raise ValueError(
                f"{path}: noise_variance is E |n_i|^2 and positive; the smallest is {float(noise.min()):g}"
            )
        noise = noise.reshape(-1, 1)
    data = real_form(y, channel, noise) if task.modulation.complex else Received(y, channel, noise)
    if (
        isinstance(layer, MMNetLayer)
        and not isinstance(layer.linear, ScaledAdjoint)
        and own is not None
        and not _same(data.channel, own)
    ):
        raise ValueError(
            f"{path} holds another channel than the one that these weights were trained for; "
            "train some for it (unroll train communications/mmnet --data CHANNEL.npy) and name them with --weights"
        )
    return Received(
        data.y.float(), data.channel.float(), None if data.noise_variance is None else data.noise_variance.float()
    ), single


def as_complex(channel: Tensor) -> Tensor:
    """The complex channels (count, N, K) of real forms [[Re, -Im], [Im, Re]] / sqrt(2), (count, 2 N, 2 K)."""
    real, imaginary = channel.chunk(2, dim=2)[0].chunk(2, dim=1)
    return 2**0.5 * torch.complex(real, imaginary)


def _decode(network: Unrolled, task: SequenceDetection, source: Path, outputs: Sequence[Path]) -> Mapping[str, Any]:
    _check_outputs(source, outputs)
    held = _arrays(source)
    if "y" not in held:
        raise ValueError(f"{source} holds {', '.join(held) or 'nothing'}; this detector needs y")
    y = _numbers(source, "y", held["y"], "real")
    single = y.ndim == 1
    y = (y.unsqueeze(0) if single else y).float()
    if y.ndim != 2 or 0 in y.shape:
        raise ValueError(f"{source}: y is (batch, T), or (T,) for one sequence; got {tuple(y.shape)}")
    with torch.no_grad():
        states = torch.cat([network(Observed(part)).argmax(2) for part in y.split(max(1, BLOCK * 16 // y.shape[1]))])
    symbols = task.levels[task.trellis.newest(states)]
    _write(outputs[0], symbols[0] if single else symbols)
    return {"sequences": y.shape[0], "length": y.shape[1]}


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a ``.npz`` file by name; that of a ``.npy`` file is y."""
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return {"y": content}
        with content:
            return {name: content[name] for name in content.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a .npz file of arrays: {error}") from error


def _numbers(path: Path, name: str, array: np.ndarray, field: str) -> Tensor:
    """An array in double precision."""
    if array.dtype.kind not in "iufc":
        raise ValueError(f"{path}: {name} holds {array.dtype}, and not numbers")
    given = "complex" if array.dtype.kind == "c" else "real"
    if given != field:
        if name == "noise_variance":
            raise ValueError(f"{path}: noise_variance is real, E |n_i|^2; got {array.dtype}")
        alphabet = "BPSK over real channels" if field == "real" else "a complex alphabet over complex channels"
        other = (
            "unrolling.algorithms.detection.mimo.real_form makes real ones"
            if field == "real"
            else ("give y and channel as complex numbers")
        )
        raise ValueError(
            f"{path}: {name} is {given}, and these weights are for {alphabet}: {other}, or choose other "
            "weights (--set modulation=..., --weights)"
        )
    if not np.isfinite(array).all():
        place = tuple(map(int, np.argwhere(~np.isfinite(array))[0]))
        raise ValueError(f"{path}: {name} holds NaN or infinite values, the first at {place}")
    return torch.from_numpy(array.astype(np.complex128 if given == "complex" else np.float64))


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


def _check_outputs(source: Path, outputs: Sequence[Path]) -> None:
    """Refuses outputs that cannot be written, before any work."""
    for path in outputs:
        if path.suffix.lower() != ".npy":
            raise ValueError(f"{path}: symbols are written as .npy")
        if not path.parent.is_dir() or path.is_dir():
            raise ValueError(
                f"{path} cannot be written: {f'{path.parent} is not' if not path.parent.is_dir() else 'it is'} a folder"
            )
        if path.resolve() == source.resolve():
            raise ValueError(f"{path} is the input; the output needs another name")
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise ValueError(f"{outputs[0]} is named twice; each output needs a name of its own")


def _write(path: Path, symbols: Tensor) -> None:
    """As a ``.npy`` file, whole or not at all."""
    content = io.BytesIO()
    np.save(content, symbols.numpy())
    write_bytes(path, content.getvalue())
