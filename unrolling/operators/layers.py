"""Convolutions of networks as linear operators: what a layer does to images, without its bias."""

from __future__ import annotations

from math import cos, pi
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from unrolling.core.refusals import explained
from unrolling.operators.linear import LinearOperator
from unrolling.operators.norms import spectral_norm

GRID = 32  # frequencies along an axis for each degree of a symbol: its bound then is at most 1 % too large


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
        if not isinstance(layer, nn.Conv2d):
            raise TypeError(f"layer is {type(layer).__name__}; LayerConvolution is that of an nn.Conv2d")
        sides = [
            (size + before + after - dilation * (taps - 1) - 1) // stride + 1
            for size, (before, after), dilation, taps, stride in zip(
                shape, _padding(layer), layer.dilation, layer.kernel_size, layer.stride, strict=True
            )
        ]
        super().__init__((layer.in_channels, *shape), (layer.out_channels, *sides))
        self.layer = layer

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs rows columns"]:
        """W x."""
        return convolved(self.layer, self.layer.weight, x)

    def adjoint(self, y: Float[Tensor, "batch outputs rows columns"]) -> Float[Tensor, "batch inputs height width"]:
        """W^T y."""
        return correlated(self.layer, self.layer.weight, y, tuple(self.input_shape[1:]))


def convolved(layer: nn.Conv2d, weight: Tensor, x: Tensor) -> Tensor:
    """What a layer with this weight makes of images, without its bias."""
    return functional.conv2d(_padded(layer, x), weight, None, layer.stride, 0, layer.dilation, layer.groups)


def correlated(layer: nn.Conv2d, weight: Tensor, y: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The adjoint of ``convolved`` on images of a shape (height, width)."""
    (top, bottom), (left, right) = _padding(layer)
    height, width = shape
    wide = (y.shape[0], layer.in_channels, height + top + bottom, width + left + right)
    grown = torch.nn.grad.conv2d_input(wide, weight, y, layer.stride, 0, layer.dilation, layer.groups)
    if layer.padding_mode == "zeros":
        return grown[..., top : top + height, left : left + width]
    grown = _folded(grown.mT, height, top, bottom, layer.padding_mode).mT
    return _folded(grown, width, left, right, layer.padding_mode)


def _padding(layer: nn.Conv2d) -> tuple[tuple[int, int], tuple[int, int]]:
    """(top, bottom), (left, right)."""
    left, right, top, bottom = layer._reversed_padding_repeated_twice
    return (top, bottom), (left, right)


def _padded(layer: nn.Conv2d, x: Tensor) -> Tensor:
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return functional.pad(x, layer._reversed_padding_repeated_twice, mode=mode)


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
    return weight_norm(layer, layer.weight, shape, tolerance=tolerance)


@torch.no_grad()
def weight_norm(
    layer: nn.Conv2d, weight: Tensor, shape: tuple[int, int] | None = None, *, tolerance: float = 1e-4
) -> float:
    """``convolution_norm`` of a layer with another weight."""
    weight = weight.detach()
    if not bool(torch.isfinite(weight).all()):
        raise ArithmeticError("the weight of a convolution holds values that are NaN or infinite; it has no norm")
    if shape is not None:
        operator = _Weighted(layer, weight.double(), shape)
        return spectral_norm(
            operator, (layer.in_channels, *shape), weight.new_empty((), dtype=torch.float64), tolerance
        )
    if not has_size_free_norm(layer):
        raise ValueError(
            f"the norm of a convolution with padding {layer.padding_mode!r} of {layer.padding} depends on the images' "
            "size without bound: give shape=(height, width)"
        )
    return symbol_bound(weight, layer.groups)


def has_size_free_norm(layer: nn.Conv2d) -> bool:
    """Whether there is a bound for images of every size."""
    if layer.padding_mode == "zeros":
        return True
    whole = [
        before + after == dilation * (taps - 1)
        for (before, after), dilation, taps in zip(_padding(layer), layer.dilation, layer.kernel_size, strict=True)
    ]
    return layer.padding_mode == "circular" and all(whole)


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

    def __init__(self, layer: nn.Conv2d, weight: Tensor, shape: tuple[int, int]) -> None:
        self.layer, self.weight, self.shape = layer, weight, shape

    def __call__(self, x: Tensor) -> Any:
        return convolved(self.layer, self.weight, x)

    def adjoint(self, y: Tensor) -> Any:
        return correlated(self.layer, self.weight, y, self.shape)
