"""Files of what receivers got: vectors with their channels, sequences, and the symbols decided on."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unrolling.files.decoding import Arrays
from unrolling.files.gate import checked
from unrolling.files.whole import check_place, write_bytes

COVARIANCE = "noise_covariance"


class Vectors(NamedTuple):
    """Received vectors, in double precision."""

    y: Tensor  # (batch, N)
    channel: Tensor  # (batch, N, K), or (1, N, K) for all vectors
    noise_variance: Tensor | None  # (batch, 1) or (1, 1): E |n_i|^2
    single: bool  # whether the file held one vector without a batch


def read_vectors(arrays: Arrays, field: str, needs_noise: bool, own: Tensor | None = None) -> Vectors:
    """The vectors of a ``.npz`` file with y, channel and noise_variance, of any precision.

    Args:
        arrays: of the file.
        field: what its numbers have to be, real or complex.
        needs_noise: whether it has to hold a noise variance.
        own: (1, N, K), the channel that is meant where the file holds none.

    Raises:
        ValueError: arrays that are missing, of the wrong shape, or no finite numbers of the field; more
            streams than antennas; a noise variance that is missing or not positive.
    """
    path = arrays.path
    needed = (
        ["y"]
        + ([] if own is not None else ["channel"])
        + (["noise_variance"] if needs_noise and COVARIANCE not in arrays else [])
    )
    missing = [name for name in needed if name not in arrays]
    if missing:
        raise ValueError(f"{path} holds {', '.join(arrays) or 'nothing'}; this detector needs {', '.join(needed)}")
    y = numbers(path, "y", arrays["y"], field)
    single = y.ndim == 1
    y = y.unsqueeze(0) if single else y
    if "channel" in arrays:
        channel = numbers(path, "channel", arrays["channel"], field)
        channel = channel.unsqueeze(0) if channel.ndim == 2 else channel
    else:
        assert own is not None
        channel = own
    if (
        y.ndim != 2
        or 0 in y.shape
        or channel.ndim != 3
        or channel.shape[1] != y.shape[1]
        or channel.shape[0] not in (1, y.shape[0])
    ):
        shapes = f"{tuple(y.shape)} and {tuple(channel.shape)}{'' if 'channel' in arrays else ', that of the weights'}"
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
    if "noise_variance" in arrays:
        noise = numbers(path, "noise_variance", arrays["noise_variance"], "real")
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
    return Vectors(y, channel, noise, single)


def whitened(arrays: Arrays, vectors: Vectors) -> Vectors:
    """L^-1 y and L^-1 H where the file holds the covariance of the noise, ``noise_covariance`` C = L L^H, (N, N) or
    (batch, N, N), with noise of variance one; what is given where it does not.

    Raises:
        ValueError: another shape, or no covariance: not Hermitian, or not positive definite.
    """
    if COVARIANCE not in arrays:
        return vectors
    path, antennas = arrays.path, vectors.y.shape[1]
    given = arrays[COVARIANCE]
    covariance = numbers(path, COVARIANCE, given, "complex" if given.dtype.kind == "c" else "real")
    covariance = (covariance.unsqueeze(0) if covariance.ndim == 2 else covariance).to(
        torch.complex128 if vectors.y.is_complex() else torch.float64
    )
    if (
        covariance.ndim != 3
        or covariance.shape[1:] != (antennas, antennas)
        or len(covariance)
        not in (
            1,
            len(vectors.y),
        )
    ):
        raise ValueError(f"{path}: {COVARIANCE} is (N, N), or (batch, N, N), N {antennas}; got {tuple(given.shape)}")
    size = covariance.abs().amax()
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if bool((covariance - covariance.mH).abs().amax() > 1e-6 * size) or bool((failed > 0).any()):
        raise ValueError(f"{path}: {COVARIANCE} is E n n^H, Hermitian and positive definite, and this is not")
    y = torch.linalg.solve_triangular(factor, vectors.y.unsqueeze(2), upper=False).squeeze(2)
    channel = torch.linalg.solve_triangular(factor, vectors.channel, upper=False)
    return Vectors(y, channel, torch.ones(1, 1, dtype=torch.float64), vectors.single)


def read_sequences(arrays: Arrays) -> tuple[Tensor, bool]:
    """Received sequences (batch, T) in single precision, of a ``.npz`` file with y or a ``.npy`` file, and whether it
    held a single one, (T,).

    Raises:
        ValueError: no y in it, of another shape, or no real numbers that are finite in single precision.
    """
    path = arrays.path
    if "y" not in arrays:
        raise ValueError(f"{path} holds {', '.join(arrays) or 'nothing'}; this detector needs y")
    y = numbers(path, "y", arrays["y"], "real")
    single = y.ndim == 1
    y = (y.unsqueeze(0) if single else y).float()
    if y.ndim != 2 or 0 in y.shape:
        raise ValueError(f"{path}: y is (batch, T), or (T,) for one sequence; got {tuple(y.shape)}")
    if not bool(torch.isfinite(y).all()):
        raise ValueError(f"{path}: y holds values that are too large for single precision (3.4e38)")
    return y, single


def numbers(path: Path, name: str, array: np.ndarray, field: str) -> Tensor:
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


def check_output(path: Path) -> None:
    """Finds out before the work whether symbols can be written.

    Raises:
        ValueError: they cannot.
    """
    if path.suffix.lower() != ".npy":
        raise ValueError(f"{path}: symbols are written as .npy")
    check_place(path)


def write_symbols(path: Path, symbols: Tensor) -> None:
    """As a ``.npy`` file, whole or not at all.

    Raises:
        ValueError: no finite numbers, or none.
    """
    content = io.BytesIO()
    np.save(content, checked(symbols, "the symbols").numpy())
    write_bytes(path, content.getvalue())
