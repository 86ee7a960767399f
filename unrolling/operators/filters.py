"""A bank of small filters: the analysis operator of learned regularisers."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core.arguments import check_count, keep
from unrolling.core.execution import transformed
from unrolling.core.refusals import explain
from unrolling.operators import transforms
from unrolling.operators.borders import Boundary, Margins, check_boundary, extend, fold
from unrolling.operators.dct import dct_matrix
from unrolling.operators.linear import LinearOperator
from unrolling.operators.spectral import Circulant, wrap


def correlate(
    x: Float[Tensor, "batch height width"], filters: Float[Tensor, "count kh kw"], boundary: Boundary
) -> Float[Tensor, "batch count height width"]:
    """y_i[p] = sum_a k_i[a] x[p + a - c], c = (kh // 2, kw // 2): what convolutional networks call convolution; complex
    images with real filters.
    """
    if x.is_complex():
        parts = correlate(torch.stack([x.real, x.imag], 1).flatten(0, 1), filters, boundary)
        return torch.complex(*parts.unflatten(0, (-1, 2)).unbind(1))
    analyse = _analyse if transformed() else _Analysis.apply
    return analyse(extend(x, margins(filters), boundary), filters)  # pyright: ignore[reportReturnType]


def correlate_adjoint(
    y: Float[Tensor, "batch count height width"], filters: Float[Tensor, "count kh kw"], boundary: Boundary
) -> Float[Tensor, "batch height width"]:
    """The exact adjoint of ``correlate``: sum_i of the convolution of y_i with k_i, what falls beyond the border folded
    back.
    """
    if y.is_complex():
        parts = correlate_adjoint(torch.stack([y.real, y.imag], 1).flatten(0, 1), filters, boundary)
        return torch.complex(*parts.unflatten(0, (-1, 2)).unbind(1))
    if transformed():
        return fold(nn.functional.conv_transpose2d(y, filters.unsqueeze(1)).squeeze(1), margins(filters), boundary)
    return fold(_Synthesis.apply(y, filters), margins(filters), boundary)  # pyright: ignore[reportArgumentType]


class _Analysis(torch.autograd.Function):
    """Valid correlation (batch, height + kh - 1, width + kw - 1) -> (batch, count, height, width) whose backward pass
    takes ``_synthesise``.
    """

    @staticmethod
    def forward(x: Tensor, filters: Tensor) -> Tensor:
        return _analyse(x, filters)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:  # pyright: ignore
        x, filters = ctx.saved_tensors
        by_x = _Synthesis.apply(grad, filters) if ctx.needs_input_grad[0] else None
        return by_x, _by_filters(x, grad, filters) if ctx.needs_input_grad[1] else None  # pyright: ignore


class _Synthesis(torch.autograd.Function):
    """The adjoint of ``_Analysis``: (batch, count, height, width) -> (batch, height + kh - 1, width + kw - 1)."""

    @staticmethod
    def forward(y: Tensor, filters: Tensor) -> Tensor:
        return _synthesise(y, filters)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:  # pyright: ignore
        y, filters = ctx.saved_tensors
        by_y = _Analysis.apply(grad, filters) if ctx.needs_input_grad[0] else None
        return by_y, _by_filters(grad, y, filters) if ctx.needs_input_grad[1] else None  # pyright: ignore


def _analyse(x: Tensor, filters: Tensor) -> Tensor:
    return nn.functional.conv2d(x.unsqueeze(1), filters.unsqueeze(1))


def _synthesise(y: Tensor, filters: Tensor) -> Tensor:
    if torch.compiler.is_exporting():  # a shifted sum for each tap would be dozens of operators in a file
        before, beside = filters.shape[1] - 1, filters.shape[2] - 1
        padded = nn.functional.pad(y, (beside, beside, before, before))
        return nn.functional.conv2d(padded, filters.flip((1, 2)).unsqueeze(0)).squeeze(1)
    # torch's transposed convolution with one output channel takes seven times as long on a processor as a product and
    # shifted sums.
    count, rows, columns = filters.shape
    batch, _, height, width = y.shape
    # Not matmul, which sums in another order when gradients are wanted.
    taps = filters.reshape(count, rows * columns).T.expand(batch, -1, -1)
    patches = torch.bmm(taps, y.reshape(batch, count, height * width)).reshape(batch, rows * columns, height, width)
    total = y.new_zeros(batch, height + rows - 1, width + columns - 1)
    for i in range(rows):
        for j in range(columns):
            total[:, i : i + height, j : j + width] += patches[:, i * columns + j]
    return total


def _by_filters(x: Tensor, y: Tensor, filters: Tensor) -> Tensor:
    """The gradient of <y, k * x> in the filters."""
    wanted = [False, True, False]
    return torch.ops.aten.convolution_backward(
        y, x.unsqueeze(1), filters.unsqueeze(1), None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, wanted
    )[1].squeeze(1)


def margins(filters: Tensor) -> Margins:
    """Rows and columns that filters (count, kh, kw) see beyond a pixel."""
    rows, columns = filters.shape[-2:]
    return rows // 2, rows - 1 - rows // 2, columns // 2, columns - 1 - columns // 2


@explain
class BasisFilters(nn.Module):
    """k_i = sum_j c_ij B_j, or that divided by |c_i|: filters within the span of some atoms, of unit norm where these
    are orthonormal.

    With the DCT less its constant atom (``zero_mean_atoms``) every filter has zero mean, whatever the coefficients
    (Chen and Pock 2017, doi:10.1109/TPAMI.2016.2596743).

    Parameters: ``coefficients`` c, (count, atoms).

    Args:
        atoms: B, (atoms, kh, kw), fixed.
        coefficients: c at the start; by default the identity, filter i being atom i.
        unit_norm: whether to divide by |c_i|.

    Raises:
        ValueError: shapes that do not fit; with ``unit_norm``, coefficients that are all zero.
    """

    atoms: Tensor

    def __init__(
        self,
        atoms: Float[Tensor, "atoms kh kw"],
        coefficients: Float[Tensor, "count atoms"] | None = None,
        *,
        unit_norm: bool = True,
    ) -> None:
        super().__init__()
        if atoms.ndim != 3:
            raise ValueError(f"atoms are (atoms, kh, kw); got shape {tuple(atoms.shape)}")
        start = torch.eye(atoms.shape[0], dtype=atoms.dtype) if coefficients is None else coefficients.detach().clone()
        if start.ndim != 2 or start.shape[1] != atoms.shape[0]:
            raise ValueError(
                f"coefficients are (count, {atoms.shape[0]}), one for each atom; got shape {tuple(start.shape)}"
            )
        if unit_norm and not bool((start != 0).any(1).all()):
            raise ValueError("the coefficients of a filter of unit norm cannot all be zero")
        self.unit_norm = unit_norm
        keep(self, "atoms", atoms)
        self.coefficients = nn.Parameter(start)

    def forward(self) -> Float[Tensor, "count kh kw"]:
        """The filters."""
        c = self.coefficients
        if self.unit_norm:
            c = c / torch.linalg.vector_norm(c, dim=1, keepdim=True)
        return torch.tensordot(c, self.atoms, 1)


def zero_mean_atoms(size: int, dtype: torch.dtype = torch.float32) -> Float[Tensor, "atoms size size"]:
    """The two-dimensional DCT-II basis of a square patch without its constant atom, (size^2 - 1, size, size), row by
    row in frequency.
    """
    check_count(size, "size", 2)
    matrix = dct_matrix(size)
    return torch.einsum("ai,bj->abij", matrix, matrix).reshape(-1, size, size)[1:].to(dtype)


class FilterBank(LinearOperator):
    """y_i = k_i (correlated with) x for every filter: (batch, height, width) -> (batch, count, height, width).

    ``CircularFilterBank`` has a closed form of ``solve_normal`` besides.

    Args:
        filters: (count, kh, kw), real; an ``nn.Parameter`` is learned, any other tensor is fixed; or a module that
            gives them, such as ``BasisFilters``.
        boundary: ``symmetric`` (mirrored, the border pixel twice), ``zero`` or ``circular``.

    Raises:
        ValueError: filters of another shape, an unknown boundary; when applied, an image smaller than half a filter.
        TypeError: complex filters.
    """

    filters: Any

    def __init__(self, filters: Float[Tensor, "count kh kw"] | nn.Module, boundary: Boundary = "symmetric") -> None:
        given = filters() if isinstance(filters, nn.Module) else filters
        if given.ndim != 3 or 0 in given.shape:
            raise ValueError(f"filters are (count, kh, kw); got shape {tuple(given.shape)}")
        if given.is_complex():
            raise TypeError("filters must be real; complex images are filtered in their real and imaginary parts")
        check_boundary(boundary)
        super().__init__((None, None), (given.shape[0], None, None))
        self.boundary: Boundary = boundary
        if isinstance(filters, nn.Module):
            self.filters = filters
        else:
            keep(self, "filters", filters)

    def taps(self) -> Float[Tensor, "count kh kw"]:
        """The filters."""
        return self.filters() if isinstance(self.filters, nn.Module) else self.filters

    def forward(self, x: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch count height width"]:
        """The responses of all filters."""
        return correlate(x, self.taps(), self.boundary)

    def adjoint(self, y: Float[Tensor, "batch count height width"]) -> Float[Tensor, "batch height width"]:
        """The sum over filters of what each sends back."""
        return correlate_adjoint(y, self.taps(), self.boundary)


class CircularFilterBank(FilterBank, Circulant):
    """A ``FilterBank`` on periodic images.

    Args:
        filters: as for ``FilterBank``.
    """

    def __init__(self, filters: Float[Tensor, "count kh kw"] | nn.Module) -> None:
        super().__init__(filters, "circular")

    def gram_spectrum(self, height: int, width: int) -> Float[Tensor, "batch height width"]:
        """sum_i |F k_i|^2."""
        return self.weighted_spectrum(torch.ones(1, 1, 1), height, width)

    def weighted_spectrum(self, weight: Tensor, height: int, width: int) -> Float[Tensor, "batch height width"]:
        """sum_i w_i |F k_i|^2, by one FFT: it is the spectrum of the weighted sum of the filters' autocorrelations. The
        weights are (channels, 1, 1), or (batch, channels, 1, 1) with those of each image.
        """
        taps = self.taps()
        count, rows, columns = taps.shape
        weight = weight.to(taps)
        weight = weight if weight.ndim == 4 else weight.reshape(1, -1, 1, 1)
        wide = nn.functional.pad(taps, (columns - 1, columns - 1, rows - 1, rows - 1)).unsqueeze(0)
        correlation = (weight * nn.functional.conv2d(wide, taps.unsqueeze(1), groups=count)).sum(1)
        return transforms.fft2(wrap(correlation, height, width)).real
