"""All layers of a CORONA network on one set of real channels: what a deployed network runs in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from unrolling.algorithms.splitting.robust_pca import Separated


class MovieSteps:
    """The layers of a frozen network in the survey's form, whose kernels have one frame.

    D, L and S are six real channels of every frame, (batch, frames, 6, height, width); a layer convolves them to four,
    multiplies those of L by a matrix of frames by frames and those of S by a factor for each pixel.

    Args:
        layers: of the network, ``CORONA`` steps.
    """

    def __init__(self, layers: Sequence[Any]) -> None:
        self.first = layers[0]
        self.steps = []
        for layer in layers:
            weight, bias = (part.detach().contiguous() for part in layer.merged())
            levels = float(layer.low_rank_threshold), float(layer.sparse_threshold)
            self.steps.append((weight.squeeze(-1), bias, *levels))

    def __call__(self, data: Tensor, state: Separated | None) -> Separated | None:
        """The state after the last layer; None for data that it is not made for: on a graphics card, not in single
        precision, empty, or not finite.
        """
        if data.dtype is not torch.complex64 or not data.is_cpu or data.numel() == 0:
            return None
        problem = self.first.prepare(data)
        level = problem.level
        batch, height, width, frames = data.shape
        channels = data.real.new_zeros(batch, frames, 6, height, width)
        for number, part in enumerate((data,) if state is None else (data, *state)):
            channels[:, :, 2 * number] = part.real.permute(0, 3, 1, 2)
            channels[:, :, 2 * number + 1] = part.imag.permute(0, 3, 1, 2)
        for weight, bias, low, sparse in self.steps:
            sides = [size // 2 for size in weight.shape[2:]]
            found = conv2d(channels.flatten(0, 1), weight, padding=sides).unflatten(0, (batch, frames))
            found += level.unsqueeze(1) * bias.reshape(-1, 1, 1)
            rows = found[:, :, :2].transpose(1, 2).reshape(batch, 2 * frames, height * width)
            shrink = _shrinking(rows, frames, low * level.reshape(-1, 1).double())
            if shrink is None:
                return None
            channels[:, :, 2:4] = (shrink @ rows).reshape(batch, 2, frames, height, width).transpose(1, 2)
            lengths = found[:, :, 2:].square().sum((1, 2)).sqrt()
            factor = torch.where(lengths > 0, (1 - sparse * level[..., 0] / lengths).clamp_min(0), 0)
            torch.mul(found[:, :, 2:], factor[:, None, None], out=channels[:, :, 4:])
        parts = channels.permute(0, 2, 3, 4, 1)
        return Separated(*(torch.complex(parts[:, k], parts[:, k + 1]) for k in (2, 4)))


def _shrinking(rows: Tensor, frames: int, level: Tensor) -> Tensor | None:
    """What real and imaginary parts of frames (batch, 2 frames, pixels) are multiplied by to shrink the singular values
    of the complex movie by the level (batch, 1): (batch, 2 frames, 2 frames). None where they are not finite.
    """
    wide = rows.double()
    products = wide @ wide.mT
    if not bool(torch.isfinite(products).all()):
        return None
    real = products[:, :frames, :frames] + products[:, frames:, frames:]
    imaginary = products[:, frames:, :frames] - products[:, :frames, frames:]
    squares, vectors = torch.linalg.eigh(torch.complex(real, imaginary))
    values = squares.clamp_min(0).sqrt()
    factor = torch.where((values <= level) & (level > 0), 0, 1 - level / torch.where(values > 0, values, 1))
    matrix = ((vectors * factor.unsqueeze(-2)) @ vectors.mH).to(torch.complex64)
    return torch.cat(
        [torch.cat([matrix.real, -matrix.imag], -1), torch.cat([matrix.imag, matrix.real], -1)], -2
    ).contiguous()
