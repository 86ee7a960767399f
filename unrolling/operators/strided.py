"""Images as sums of small pictures at every few pixels: a convolutional dictionary with a stride, written as a dense
convolution.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from unrolling.core.arguments import check_count, keep
from unrolling.operators.linear import LinearOperator


class StridedDictionary(LinearOperator):
    """image = sum over positions of the codes there times atoms; (batch, atoms, rows, columns) -> (batch, channels,
    height, width).

    Atoms of p x p pixels lie at every s-th pixel, also across the borders, where what is outside is cut off: an image
    of H x W pixels has (H + p) / s - 1 rows of positions, and as many columns from W.

    Pixels are put into cells of s x s, which turns it into a convolution with p / s x p / s taps and no stride, and
    that is what processors are fast at. ``PatchDictionary`` is the same map with codes last and one channel.

    Args:
        atoms: (count, channels, p, p); an ``nn.Parameter`` is learned, any other tensor is fixed. Stored as ``kernel``
            (count, channels s s, p / s, p / s), see ``atoms()``.
        stride: s, divides p and the image's sides.

    Raises:
        ValueError: atoms that are not square, or a stride that does not divide p.
    """

    kernel: Tensor

    def __init__(self, atoms: Float[Tensor, "count channels p p"], stride: int) -> None:
        if atoms.ndim != 4 or atoms.shape[2] != atoms.shape[3]:
            raise ValueError(f"atoms are (count, channels, p, p); got shape {tuple(atoms.shape)}")
        check_count(stride, "stride")
        if atoms.shape[2] % stride:
            raise ValueError(f"stride {stride} must divide the atoms' side {atoms.shape[2]}")
        super().__init__((atoms.shape[0], None, None), (atoms.shape[1], None, None))
        self.patch, self.stride, self.overlap = atoms.shape[2], stride, atoms.shape[2] // stride
        keep(self, "kernel", to_cells(atoms.detach(), stride).contiguous(), atoms)

    def atoms(self) -> Float[Tensor, "count channels p p"]:
        """The atoms as little images."""
        return from_cells(self.kernel.detach(), self.stride)

    def forward(self, x: Float[Tensor, "batch atoms rows columns"]) -> Float[Tensor, "batch channels height width"]:
        """The image of a code."""
        if min(x.shape[-2:]) < self.overlap:
            raise ValueError(
                f"an image has {self.overlap} x {self.overlap} positions at least; StridedDictionary got a code of "
                f"shape {tuple(x.shape)}"
            )
        return from_cells(self.cells(x), self.stride)

    def adjoint(self, y: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch atoms rows columns"]:
        """The inner product of every atom with the image at every position."""
        if y.shape[-2] % self.stride or y.shape[-1] % self.stride:
            raise ValueError(
                f"the stride {self.stride} must divide the image's sides; got {y.shape[-2]} x {y.shape[-1]} pixels"
            )
        return self.correlate(to_cells(y, self.stride))

    def cells(self, x: Tensor) -> Tensor:
        """The image of a code in cells, (batch, channels s s, height / s, width / s)."""
        return functional.conv_transpose2d(x, self.kernel, padding=self.overlap - 1)

    def correlate(self, cells: Tensor) -> Tensor:
        """The adjoint, from cells."""
        return functional.conv2d(cells, self.kernel, padding=self.overlap - 1)


def to_cells(
    image: Float[Tensor, "batch channels height width"], stride: int
) -> Float[Tensor, "batch cell_channels rows columns"]:
    """Pixels in cells of s x s, (batch, channels s s, height / s, width / s), in the layout that convolutions with many
    channels are fast in.
    """
    batch, channels, height, width = image.shape
    rows, columns = height // stride, width // stride
    cells = image.reshape(batch, channels, rows, stride, columns, stride).permute(0, 1, 3, 5, 2, 4)
    return cells.reshape(batch, channels * stride**2, rows, columns).contiguous(memory_format=torch.channels_last)


def from_cells(
    cells: Float[Tensor, "*batch cell_channels rows columns"], stride: int
) -> Float[Tensor, "*batch channels height width"]:
    """The inverse of ``to_cells``, for any number of dimensions before the channels."""
    *batch, deep, rows, columns = cells.shape
    channels = deep // stride**2
    order = [*range(len(batch)), *(len(batch) + k for k in (0, 3, 1, 4, 2))]
    pixels = cells.reshape(*batch, channels, stride, stride, rows, columns).permute(order)
    return pixels.reshape(*batch, channels, rows * stride, columns * stride)
