"""A prox of grey images on colour images: brightness and two differences of colours, each by itself."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from unrolling.core.arguments import check_numbers, check_range
from unrolling.core.refusals import explain_call

MIDDLE = 0.5  # grey, about which differences of colours are shown to a denoiser of images in [0, 1]


@explain_call
class OpponentProx(nn.Module):
    """prox of h(m) + c h(u + 1/2) + c h(v + 1/2), m = (r + g + b) / 3, u = (r - b) / sqrt(2), v = (r - 2 g + b) /
    sqrt(6), from the prox of h: colour images (batch, 3, height, width) by a prox, or a denoiser, of grey ones.

    The change of colours is orthogonal, so that white noise stays white: of brightness with a third of the variance, of
    u and v as it was. These are smooth where brightness is not, which c says.

    Parameters: those of ``prox``.

    Args:
        prox: (z, threshold) -> the prox of h on (batch, height, width), such as a ``DenoiserProx``.
        chroma: c >= 0.

    Raises:
        ValueError: a negative chroma; when run, images without three colours.
    """

    mixing: Tensor

    def __init__(self, prox: Callable[..., Tensor], *, chroma: float = 1.0) -> None:
        super().__init__()
        check_range(chroma, "chroma", 0.0, float("inf"), below=True)
        self.prox, self.chroma = prox, float(chroma)
        rows = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]], dtype=torch.float64)
        self.register_buffer("mixing", (rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)).float())
        if hasattr(prox, "penalty"):
            self.penalty = None if prox.penalty is None else self._penalty

    def forward(self, z: Tensor, threshold: Tensor | float | None = None) -> Tensor:
        """The image of the prox.

        Args:
            z: (batch, 3, height, width), real.
            threshold: t >= 0, one number; not needed where the prox needs none.
        """
        brightness, differences = self._mixed(z)
        batch = z.shape[0]
        first = self.prox(brightness, None if threshold is None else threshold / 3)
        second = self.prox(differences.flatten(0, 1), None if threshold is None else self.chroma * threshold)
        second = second.reshape(batch, 2, *z.shape[-2:]) - MIDDLE
        mixed = torch.cat([3**0.5 * first.unsqueeze(1), second], 1)
        return torch.einsum("ij,bihw->bjhw", self._matrix(z), mixed)

    def _penalty(self, x: Tensor, threshold: Tensor | float) -> Tensor:
        """t times the penalty of each sample, (batch,)."""
        brightness, differences = self._mixed(x)
        own = self.prox.penalty  # pyright: ignore[reportFunctionMemberAccess]
        second = own(differences.flatten(0, 1), self.chroma * threshold).reshape(-1, 2).sum(1)
        return own(brightness, threshold) + second

    def _mixed(self, z: Tensor) -> tuple[Tensor, Tensor]:
        check_numbers(z, "z", "OpponentProx")
        if z.is_complex():
            raise TypeError(f"z is {z.dtype}; colours are real images (batch, 3, height, width)")
        if z.ndim != 4 or z.shape[1] != 3:
            raise ValueError(f"z holds images of three colours (batch, 3, height, width); got {tuple(z.shape)}")
        mixed = torch.einsum("ij,bjhw->bihw", self._matrix(z), z)
        return mixed[:, 0] / 3**0.5, mixed[:, 1:] + MIDDLE

    def _matrix(self, like: Tensor) -> Tensor:
        return self.mixing.to(like.dtype)
