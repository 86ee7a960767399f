"""Convolution of images with a kernel for all or one for each, periodic or without what the border would have to be
guessed for.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from unrolling.core.arguments import keep
from unrolling.operators.linear import LinearOperator, Shape
from unrolling.operators.spectral import Circulant, check_kernel, convolve, fast_size, per_image, transfer


def _take_kernel(module: LinearOperator, kernel: Tensor) -> None:
    if kernel.ndim not in (2, 3) or 0 in kernel.shape:
        raise ValueError(
            f"a kernel is (kh, kw), or (batch, kh, kw) with one per image; got shape {tuple(kernel.shape)}"
        )
    keep(module, "kernel", kernel)
    module.batch_size = kernel.shape[0] if kernel.ndim == 3 and kernel.shape[0] > 1 else None


class CircularConvolution(Circulant):
    """y[p] = sum_a k[a] x[p - a + c], indices modulo the image's sides and c = (kh // 2, kw // 2) the kernel's centre;
    (batch, height, width) to the same.

    Computed by FFT. ``solve_normal`` has a closed form.

    Args:
        kernel: (kh, kw) for all images, or (batch, kh, kw), one for each; real or complex. An ``nn.Parameter`` is
            learned, any other tensor is fixed.
        shape: (height, width) of the images, where only one size will do.

    Raises:
        ValueError: a kernel of another shape; when applied, one that is larger than the image.
    """

    kernel: Tensor

    def __init__(self, kernel: Float[Tensor, "... kh kw"], shape: Shape = (None, None)) -> None:
        super().__init__(shape, shape)
        _take_kernel(self, kernel)
        self.real = not kernel.is_complex()

    def forward(self, x: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
        """k * x."""
        return convolve(x, self.kernel)

    def adjoint(self, y: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
        """Correlation with k."""
        return convolve(y, self.kernel, adjoint=True)

    def gram_spectrum(self, height: int, width: int) -> Float[Tensor, "batch height width"]:
        """|F k|^2."""
        square = transfer(self.kernel, height, width).abs().square()
        return square if square.ndim == 3 else square.unsqueeze(0)


class ValidConvolution(LinearOperator):
    """The part of k * x that no pixel outside the image has a say in: (batch, height, width) -> (batch, height - kh +
    1, width - kw + 1).

    What a camera records of a larger scene. Computed by FFT; the adjoint is the full correlation.

    Args:
        kernel: (kh, kw) for all images, or (batch, kh, kw), one for each. An ``nn.Parameter`` is learned, any other
            tensor is fixed.
        shape: (height, width) of the images, where only one size will do.

    Raises:
        ValueError: a kernel of another shape; when applied, one that is larger than the image.
    """

    kernel: Tensor

    def __init__(self, kernel: Float[Tensor, "... kh kw"], shape: Shape = (None, None)) -> None:
        rows, columns = kernel.shape[-2:]
        if None not in shape:
            check_kernel(kernel, *shape)
        super().__init__(shape, (None, None) if None in shape else (shape[0] - rows + 1, shape[1] - columns + 1))
        _take_kernel(self, kernel)

    def forward(self, x: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch valid_height valid_width"]:
        """The valid part of k * x."""
        return convolve_valid(x, self.kernel)

    def adjoint(self, y: Float[Tensor, "batch valid_height valid_width"]) -> Float[Tensor, "batch height width"]:
        """Correlation with k of y with zeros around it."""
        rows, columns = self.kernel.shape[-2:]
        height, width = y.shape[-2] + rows - 1, y.shape[-1] + columns - 1
        # Where forward reads its values from: the image's corner (kh - 1, kw - 1), seen from the kernel's origin in its
        # middle.
        top, left = rows - 1 - rows // 2, columns - 1 - columns // 2
        fast = fast_size(height), fast_size(width)
        embedded = nn.functional.pad(y, (left, fast[1] - left - y.shape[-1], top, fast[0] - top - y.shape[-2]))
        return convolve(embedded, per_image(self.kernel, y), adjoint=True)[..., :height, :width]


def convolve_valid(
    x: Float[Tensor, "... height width"], kernel: Float[Tensor, "... kh kw"]
) -> Float[Tensor, "... valid_height valid_width"]:
    """The valid part of the convolution of images with a kernel (kh, kw) or one per image (batch, kh, kw).

    Raises:
        ValueError: a kernel larger than the image.
    """
    height, width = x.shape[-2:]
    check_kernel(kernel, height, width)
    rows, columns = kernel.shape[-2:]
    fast = fast_size(height), fast_size(width)
    padded = nn.functional.pad(x, (0, fast[1] - width, 0, fast[0] - height))
    whole = convolve(padded, per_image(kernel, x))
    top, left = rows - 1 - rows // 2, columns - 1 - columns // 2
    return whole[..., top : top + height - rows + 1, left : left + width - columns + 1]
