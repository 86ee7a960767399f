"""Convolutions of networks as linear operators: what a layer does to images, without its bias."""

from __future__ import annotations

from math import cos, pi
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_input

from unrolling.core.refusals import explained
from unrolling.operators.linear import LinearOperator
from unrolling.operators.norms import spectral_norm

GRID = 32  # frequencies along an axis for each degree of a symbol: its bound then is at most 1 % too large


class Geometry(NamedTuple):
    """How an ``nn.Conv2d`` lays its weight over images."""

    inputs: int
    groups: int
    taps: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    rows: tuple[int, int]  # of padding, above and below
    columns: tuple[int, int]  # of padding, left and right
    mode: str

    @classmethod
    def of(cls, layer: nn.Conv2d) -> Geometry:
        """That of a layer.

        Raises:
            TypeError: another layer.
        """
        if not isinstance(layer, nn.Conv2d):
            raise TypeError(f"layer is {type(layer).__name__}; it must be an nn.Conv2d")
        left, right, top, bottom = layer._reversed_padding_repeated_twice
        pairs: Any = (layer.kernel_size, layer.stride, layer.dilation)
        taps, stride, dilation = ((int(a), int(b)) for a, b in pairs)
        return cls(
            layer.in_channels, layer.groups, taps, stride, dilation, (top, bottom), (left, right), layer.padding_mode
        )

    def output(self, shape: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of the result for images of a shape."""
        sizes = [
            (size + before + after - dilation * (taps - 1) - 1) // stride + 1
            for size, (before, after), dilation, taps, stride in zip(
                shape, (self.rows, self.columns), self.dilation, self.taps, self.stride, strict=True
            )
        ]
        return sizes[0], sizes[1]

    @property
    def is_bounded(self) -> bool:
        """Whether there is a bound of its norm for images of every size."""
        whole = [
            sum(padding) == dilation * (taps - 1)
            for padding, dilation, taps in zip((self.rows, self.columns), self.dilation, self.taps, strict=True)
        ]
        return self.mode == "zeros" or (self.mode == "circular" and all(whole))


class LayerConvolution(LinearOperator):
    """y = W x, the convolution of an ``nn.Conv2d`` without its bias, (batch, inputs, height, width) -> (batch, outputs,
    ...), with its stride, dilation, groups and padding.

    The adjoint is the exact one: what the padding repeats is added up where it came from.

    Args:
        layer: the convolution; it is kept, and read again at each call.
        shape: (height, width) of the images.

    Raises:
        TypeError: another layer.
    """

    def __init__(self, layer: nn.Conv2d, shape: tuple[int, int]) -> None:
        geometry = Geometry.of(layer)
        super().__init__((layer.in_channels, *shape), (layer.out_channels, *geometry.output(shape)))
        self.geometry = geometry
        self.layer = layer

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs rows columns"]:
        """W x."""
        return convolved(self.geometry, self.layer.weight, x)

    def adjoint(self, y: Float[Tensor, "batch outputs rows columns"]) -> Float[Tensor, "batch inputs height width"]:
        """W^T y."""
        return correlated(self.geometry, self.layer.weight, y, tuple(self.input_shape[1:]))


def convolved(geometry: Geometry, weight: Tensor, x: Tensor) -> Tensor:
    """What a layer with this weight makes of images, without its bias."""
    mode = "constant" if geometry.mode == "zeros" else geometry.mode
    wide = functional.pad(x, (*geometry.columns, *geometry.rows), mode=mode)
    return functional.conv2d(wide, weight, None, geometry.stride, 0, geometry.dilation, geometry.groups)


def correlated(geometry: Geometry, weight: Tensor, y: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The adjoint of ``convolved`` on images of a shape (height, width)."""
    (top, bottom), (left, right) = geometry.rows, geometry.columns
    height, width = shape
    wide = (y.shape[0], geometry.inputs, height + top + bottom, width + left + right)
    laid: Any = (geometry.stride, 0, geometry.dilation, geometry.groups)
    grown = conv2d_input(wide, weight, y, *laid)
    if geometry.mode == "zeros":
        return grown[..., top : top + height, left : left + width]
    grown = _folded(grown.mT, height, top, bottom, geometry.mode).mT
    return _folded(grown, width, left, right, geometry.mode)


def _folded(wide: Tensor, size: int, before: int, after: int, mode: str) -> Tensor:
    """The adjoint of padding along the last dimension: every entry goes back to the one that it repeats."""
    index = torch.arange(-before, size + after, device=wide.device)
    if mode == "circular":
        index = index % size
    elif mode == "replicate":
        index = index.clamp(0, size - 1)
    else:
        index = index.abs()
        index = torch.where(index >= size, 2 * (size - 1) - index, index)
    return wide.new_zeros(*wide.shape[:-1], size).index_add(-1, index, wide)


@explained
def convolution_norm(layer: nn.Conv2d, shape: tuple[int, int] | None = None, *, tolerance: float = 1e-4) -> float:
    """The spectral norm of a layer's convolution: at one size of images, from below within the tolerance; without a
    size a bound for images of every size, at most 1 % above the norm on large ones.

    With zeros around them, images are what an infinite plane is restricted to, so that no size has a larger norm than
    the plane, max over frequencies w of |K(w)|_2, K(w) = sum_a W[:, :, a] exp(-i <w, a>) the layer's symbol; with a
    circular border and a result of the images' size the norm is that maximum over some of the frequencies. It is taken
    on a grid of N frequencies along each axis and divided by cos(pi d / N) for each, d = (taps - 1) / 2: between the
    points of a grid no trigonometric polynomial of degree d rises further (Ehlich and Zeller 1964, Mathematische
    Zeitschrift 86). A stride leaves rows out, and dilation stretches the symbol: neither raises the bound.

    (The norm of the weight as a matrix (outputs, inputs taps), which ``torch.nn.utils.spectral_norm`` divides by, is
    no such bound: every pixel is seen by several taps.)

    Args:
        layer: the convolution.
        shape: (height, width).
        tolerance: relative, where a shape is given.

    Raises:
        ValueError: no shape, and a border for which there is no bound: of another size than the image, reflected or
            repeated pixels.
    """
    return weight_norm(Geometry.of(layer), layer.weight, shape, tolerance=tolerance)


@torch.no_grad()
def weight_norm(
    geometry: Geometry, weight: Tensor, shape: tuple[int, int] | None = None, *, tolerance: float = 1e-4
) -> float:
    """``convolution_norm`` of a layer with another weight."""
    weight = weight.detach()
    if not bool(torch.isfinite(weight).all()):
        raise ArithmeticError("the weight of a convolution holds values that are NaN or infinite; it has no norm")
    if shape is not None:
        like = weight.new_empty((), dtype=torch.float64)
        return spectral_norm(_Weighted(geometry, weight.double(), shape), (geometry.inputs, *shape), like, tolerance)
    if not geometry.is_bounded:
        raise ValueError(
            f"the norm of a convolution with padding {geometry.mode!r} of {geometry.rows} rows and {geometry.columns} "
            "columns depends on the images' size without bound: give shape=(height, width)"
        )
    return symbol_bound(weight, geometry.groups)


def symbol_bound(weight: Float[Tensor, "outputs inputs rows columns"], groups: int = 1) -> float:
    """max over w of |K(w)|_2 from above."""
    wide = weight.dtype if weight.dtype in (torch.float32, torch.float64) else torch.float32
    blocks = weight.to(wide).chunk(groups, 0)
    degrees = [(taps - 1) / 2 for taps in weight.shape[-2:]]
    sizes = [max(1, int(GRID * degree + 0.5)) for degree in degrees]
    slack = 1.0
    for degree, size in zip(degrees, sizes, strict=True):
        slack *= cos(pi * degree / size)
    largest = 0.0
    for block in blocks:
        symbol = torch.fft.rfft2(block, s=sizes).movedim((0, 1), (-2, -1))
        gram = symbol @ symbol.mH if symbol.shape[-2] <= symbol.shape[-1] else symbol.mH @ symbol
        largest = max(largest, float(torch.linalg.eigvalsh(gram).amax().clamp_min(0).sqrt()))
    return largest / slack


class _Weighted:
    """A layer's convolution with another weight, for ``spectral_norm``."""

    def __init__(self, geometry: Geometry, weight: Tensor, shape: tuple[int, int]) -> None:
        self.geometry, self.weight, self.shape = geometry, weight, shape

    def __call__(self, x: Tensor) -> Tensor:
        return convolved(self.geometry, self.weight, x)

    def adjoint(self, y: Tensor) -> Tensor:
        return correlated(self.geometry, self.weight, y, self.shape)
