"""A bank of small filters: the analysis operator of learned regularisers."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.operators.borders import Boundary, Margins, check_boundary, extend, fold
from unrolling.operators.spectral import Circulant, transfer


def correlate(x: Float[Tensor, "batch height width"], filters: Float[Tensor, "count kh kw"], boundary: Boundary) -> Float[Tensor, "batch count height width"]:
    """y_i[p] = sum_a k_i[a] x[p + a - c], c = (kh // 2, kw // 2): what convolutional networks call convolution; complex images with real filters."""
    if x.is_complex():
        parts = correlate(torch.view_as_real(x).movedim(-1, 1).flatten(0, 1), filters, boundary)
        return torch.view_as_complex(parts.unflatten(0, (-1, 2)).movedim(1, -1).contiguous())
    return nn.functional.conv2d(extend(x, margins(filters), boundary).unsqueeze(1), filters.unsqueeze(1))


def correlate_adjoint(
    y: Float[Tensor, "batch count height width"], filters: Float[Tensor, "count kh kw"], boundary: Boundary
) -> Float[Tensor, "batch height width"]:
    """The exact adjoint of ``correlate``: sum_i of the convolution of y_i with k_i, what falls beyond the border folded back."""
    if y.is_complex():
        parts = correlate_adjoint(torch.view_as_real(y).movedim(-1, 1).flatten(0, 1), filters, boundary)
        return torch.view_as_complex(parts.unflatten(0, (-1, 2)).movedim(1, -1).contiguous())
    return fold(nn.functional.conv_transpose2d(y, filters.unsqueeze(1)).squeeze(1), margins(filters), boundary)


def margins(filters: Tensor) -> Margins:
    """Rows and columns that filters (count, kh, kw) see beyond a pixel."""
    rows, columns = filters.shape[-2:]
    return rows // 2, rows - 1 - rows // 2, columns // 2, columns - 1 - columns // 2


class FilterBank(Circulant):
    """y_i = k_i (correlated with) x for every filter: (batch, height, width) -> (batch, count, height, width).

    With a circular boundary ``solve_normal`` has a closed form.

    Args:
        filters: (count, kh, kw), real; an ``nn.Parameter`` is learned, any other tensor is fixed.
        boundary: ``circular``, ``symmetric`` (mirrored, the border pixel twice) or ``zero``.

    Raises:
        ValueError: filters of another shape, an unknown boundary; when applied, an image smaller than half a filter.
        TypeError: complex filters; ``solve_normal`` where the boundary is not circular.
    """

    filters: Tensor

    def __init__(self, filters: Float[Tensor, "count kh kw"], boundary: Boundary = "circular") -> None:
        if filters.ndim != 3 or 0 in filters.shape:
            raise ValueError(f"filters are (count, kh, kw); got shape {tuple(filters.shape)}")
        if filters.is_complex():
            raise TypeError("filters must be real; complex images are filtered in their real and imaginary parts")
        check_boundary(boundary)
        super().__init__((None, None), (filters.shape[0], None, None))
        self.boundary: Boundary = boundary
        if isinstance(filters, nn.Parameter):
            self.filters = filters
        else:
            self.register_buffer("filters", filters)

    def forward(self, x: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch count height width"]:
        """The responses of all filters."""
        return correlate(x, self.filters, self.boundary)

    def adjoint(self, y: Float[Tensor, "batch count height width"]) -> Float[Tensor, "batch height width"]:
        """The sum over filters of what each sends back."""
        return correlate_adjoint(y, self.filters, self.boundary)

    def gram_spectrum(self, height: int, width: int) -> Float[Tensor, "batch height width"]:
        """sum_i |F k_i|^2."""
        return self.channel_spectrum(height, width).sum(1)

    def channel_spectrum(self, height: int, width: int) -> Float[Tensor, "batch count height width"]:
        """|F k_i|^2 of each filter.

        Raises:
            TypeError: a boundary that is not circular, for which there is none.
        """
        if self.boundary != "circular":
            raise TypeError(f"a filter bank with a {self.boundary} boundary has no spectrum; use boundary='circular'")
        return transfer(self.filters, height, width).abs().square().unsqueeze(0)
