"""Convolution of volumes and movies along three dimensions, real or complex."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv3d, pad

from unrolling.core.arguments import keep
from unrolling.operators.linear import LinearOperator, Shape


class VolumeConvolution(LinearOperator):
    """y[p] = sum_a k[a] x[p - a + c], c = (kh // 2, kw // 2, kt // 2) the kernel's centre: (batch, height, width,
    frames) to the same.

    Computed directly, as kernels are small: kh kw kt products for each entry. Complex kernels and complex movies in any
    combination; a complex kernel makes a real movie complex, so that its adjoint then leaves the real numbers.

    Args:
        kernel: (kh, kw, kt) for all movies, or (batch, kh, kw, kt), one for each; real or complex. An
            ``nn.Parameter`` is learned, any other tensor is fixed.
        boundary: what lies beyond the border: ``zero``, or ``circular``, where indices are modulo the sides.
        shape: (height, width, frames), where only one size will do.

    Raises:
        ValueError: a kernel of another shape, another boundary; when applied, a kernel larger than the movie.
    """

    kernel: Tensor

    def __init__(
        self,
        kernel: Float[Tensor, "... kh kw kt"],
        boundary: Literal["zero", "circular"] = "zero",
        shape: Shape = (None, None, None),
    ) -> None:
        super().__init__(shape, shape)
        if kernel.ndim not in (3, 4) or 0 in kernel.shape:
            raise ValueError(
                f"a kernel is (kh, kw, kt), or (batch, kh, kw, kt) with one per movie; got shape {tuple(kernel.shape)}"
            )
        if boundary not in ("zero", "circular"):
            raise ValueError(f"boundary is {boundary!r}; it is 'zero' or 'circular'")
        keep(self, "kernel", kernel)
        self.boundary = boundary
        self.batch_size = kernel.shape[0] if kernel.ndim == 4 and kernel.shape[0] > 1 else None

    def forward(self, x: Float[Tensor, "batch height width frames"]) -> Float[Tensor, "batch height width frames"]:
        """k * x."""
        before = [size - 1 - size // 2 for size in self.kernel.shape[-3:]]
        return self._correlated(x, self.kernel.flip((-3, -2, -1)), before)

    def adjoint(self, y: Float[Tensor, "batch height width frames"]) -> Float[Tensor, "batch height width frames"]:
        """Correlation with the conjugate of k."""
        before = [size // 2 for size in self.kernel.shape[-3:]]
        return self._correlated(y, self.kernel.conj().resolve_conj(), before)

    def _correlated(self, x: Tensor, taps: Tensor, before: list[int]) -> Tensor:
        if any(k > n for k, n in zip(taps.shape[-3:], x.shape[-3:], strict=True)):
            raise ValueError(
                f"the kernel has {' x '.join(map(str, taps.shape[-3:]))} entries, more than the movie, which has "
                f"{' x '.join(map(str, x.shape[-3:]))}"
            )
        after = [size - 1 - b for size, b in zip(taps.shape[-3:], before, strict=True)]
        return correlate_volumes(_extended(x, before, after, self.boundary), taps)


def correlate_volumes(x: Tensor, taps: Tensor) -> Tensor:
    """y[p] = sum_a k[a] x[p + a] where no entry beyond the border is asked for, of volumes (batch, depth, height,
    width) with a kernel (kd, kh, kw) or one for each (batch, kd, kh, kw); real or complex.
    """
    if x.is_complex() and not taps.is_complex():
        parts = torch.cat([x.real, x.imag])
        return torch.complex(*correlate_volumes(parts, taps.repeat(2, 1, 1, 1) if _many(taps) else taps).chunk(2))
    signals, weight = x.unsqueeze(1), taps.reshape(-1, 1, 1, *taps.shape[-3:])
    if taps.is_complex():
        real, imag = weight.real, weight.imag
        if x.is_complex():
            signals = torch.stack([x.real, x.imag], 1)
            weight = torch.cat([torch.cat([real, -imag], 2), torch.cat([imag, real], 2)], 1)
        else:
            weight = torch.cat([real, imag], 1)
    count = weight.shape[0]  # (kernels, outputs, inputs, kd, kh, kw)
    if count == 1:
        found = conv3d(signals, weight[0])
    else:  # a group of channels for each sample
        found = conv3d(signals.reshape(1, -1, *signals.shape[2:]), weight.flatten(0, 1), groups=count)
        found = found.reshape(count, -1, *found.shape[2:])
    return torch.complex(found[:, 0], found[:, 1]) if taps.is_complex() else found.squeeze(1)


def _many(taps: Tensor) -> bool:
    return taps.ndim == 4 and taps.shape[0] > 1


def _extended(x: Tensor, before: list[int], after: list[int], boundary: str) -> Tensor:
    if boundary == "zero":
        return pad(x, [side for pair in zip(reversed(before), reversed(after), strict=True) for side in pair])
    for dim, (first, last) in enumerate(zip(before, after, strict=True), start=-3):
        size = x.shape[dim]
        x = torch.cat([x.narrow(dim, size - first, first), x, x.narrow(dim, 0, last)], dim)
    return x
