"""How the systems for magnetic resonance are applied to measured k-space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolling.core import Unrolled
from unrolling.files import pictures as pixels
from unrolling.operators.fourier import KSpace, ifft
from unrolling.systems.base import Application
from unrolling.systems.options import Option
from unrolling.tasks.medical.mri import MRI, read_mask

MASK = Option("mask", Path, "a .npy file with what was measured of k-space, zero frequency in its middle")
READS = "k-space in a .npy file, complex (height, width) or (coils, height, width)"
# part of the energy of the zero-filled image in its imaginary part from which on an image is taken to be complex
COMPLEX = 0.02


def read_kspace(path: Path) -> Tensor:
    """(coils, height, width) complex64, zero frequency where the file has it.

    Raises:
        ValueError: no such file, not an array of complex numbers of two or three dimensions, NaN or infinity, no
            frequency at all.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist; the input is {READS}")
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"{path} is not a .npy file of numbers; the input is {READS}: {error}") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind != "c":
        kind = values.dtype if isinstance(values, np.ndarray) else "several arrays"
        raise ValueError(f"{path} holds {kind}; k-space is complex")
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise ValueError(
            f"{path} holds an array of shape {values.shape}; k-space is (height, width) or (coils, height, width)"
        )
    bad = ~np.isfinite(values)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(f"{path} holds {int(bad.sum())} values that are NaN or infinite, the first at index {where}")
    if not values.any():
        raise ValueError(f"{path} is zero everywhere: nothing was measured")
    samples = torch.from_numpy(np.ascontiguousarray(values.astype(np.complex64)))
    return samples if samples.ndim == 3 else samples.unsqueeze(0)


def is_centred(samples: Tensor) -> bool:
    """Whether the zero frequency is in the middle, where then most of the energy is, and not at (0, 0)."""
    energy = samples.abs().square().sum(0)
    height, width = energy.shape
    return float(_around(energy.roll((-(height // 2), -(width // 2)), (0, 1)))) > float(_around(energy))


def _around(energy: Tensor) -> Tensor:
    """The energy within an eighth of the sides of (0, 0), periodic."""
    rows, columns = (max(1, side // 16) for side in energy.shape)
    return energy.roll((rows, columns), (0, 1))[: 2 * rows + 1, : 2 * columns + 1].sum()


def _reconstruct(
    network: Unrolled, task: MRI, source: Path, outputs: Sequence[Path], mask: Path | None = None
) -> Mapping[str, Any]:
    samples = read_kspace(source)
    shape = (int(samples.shape[1]), int(samples.shape[2]))
    centred = is_centred(samples)
    if centred:
        samples = torch.fft.ifftshift(samples, (-2, -1))
    if mask is None:
        sampled = (samples != 0).any(0).float()
    else:
        drawn = read_mask(mask, shape)
        shifted = torch.fft.ifftshift(drawn)
        # Masks are drawn with the zero frequency in the middle; of one that is not, the measured energy would lie
        # outside.
        energy = samples.abs().square().sum(0)
        sampled = shifted if float((energy * shifted).sum()) >= float((energy * drawn).sum()) else drawn
    samples = sampled * samples
    zero_filled = ifft(samples)
    peak = float(zero_filled.abs().max())
    if peak == 0:
        raise ValueError(f"the mask {mask} leaves nothing of the k-space in {source}")
    share = float(zero_filled.imag.square().sum() / zero_filled.abs().square().sum())
    real = bool(task.real) and share < COMPLEX and samples.shape[0] == 1
    layer: Any
    for layer in network.layers:  # the filters and shrinkages are real; on complex images they act on both parts
        layer.data_term.real = real
    with torch.no_grad():
        # Not a call, which may have been put in the hands of a copy that was made before.
        data, state = KSpace(samples / peak, sampled.unsqueeze(0)), None
        for layer, problem, state in network.walk(data):  # noqa: B007
            pass
        images = layer.estimate(state, problem) * peak
    combined = images[0] if len(images) == 1 else torch.linalg.vector_norm(images, dim=0)
    path = outputs[0]
    if path.suffix.lower() == ".npy":
        with path.open("wb") as file:
            np.save(file, combined.numpy())
    else:
        magnitude = combined.abs()
        pixels.write(path, pixels.Picture((magnitude / magnitude.max()).unsqueeze(0), depth=16))
    return {
        "height": shape[0],
        "width": shape[1],
        "coils": len(samples),
        "measured": round(float(sampled.mean()), 4),
        "zero_frequency": "in the middle" if centred else "at (0, 0)",
        "image": "real" if real else "complex",
    }


def check_output(path: Path) -> None:
    """Refuses an output that is neither a picture nor a ``.npy`` file.

    Raises:
        ValueError: it is not, or cannot be written.
    """
    pixels.check_output(path.with_suffix(".png") if path.suffix.lower() == ".npy" else path)


def application() -> Application:
    """Of k-space in ``.npy`` files."""
    return Application(
        READS,
        ("the image: its magnitude as a picture, or all of it as .npy",),
        _reconstruct,
        options=(MASK,),
        suffixes=(".npy",),
        default_suffix="-image.png",
        check=check_output,
    )
