"""Between tensors and NumPy's arrays: foreign operators that know arrays, and ours for libraries that know them."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolling.core.refusals import kind_of
from unrolling.operators.linear import LinearOperator

Product = Callable[[np.ndarray], Any]  # (k, *shape) -> (k, *shape)


class Products:
    """A x and A^H y on arrays, k vectors at a time; copies of an operator share them, as they hold fixed numbers."""

    def __init__(self, forward: Product, adjoint: Product) -> None:
        self.forward, self.adjoint = forward, adjoint

    def __deepcopy__(self, memo: dict[int, Any]) -> Products:
        return self


def row_by_row(act: Product) -> Product:
    """Of a product that knows one vector, (*shape) -> (*shape)."""
    return lambda rows: np.stack([np.asarray(act(row)) for row in rows])


class ArrayOperator(LinearOperator):
    """A on NumPy's arrays, through the processor: differentiable in x as often as wanted, since the gradient of A x is
    A^H; not in the numbers that A holds. Results have the precision of x, complex ones where A makes them so.

    Args:
        products: with arrays (k, *input_shape) and (k, *output_shape).
        input_shape, output_shape: of one vector, without None.
    """

    def __init__(self, products: Products, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> None:
        super().__init__(tuple(map(int, input_shape)), tuple(map(int, output_shape)))
        self.__dict__["products"] = products  # no module of torch

    def forward(self, x: Tensor) -> Tensor:
        return _ByNumPy.apply(x, self.products, False, self.output_shape)  # pyright: ignore[reportReturnType]

    def adjoint(self, y: Tensor) -> Tensor:
        return _ByNumPy.apply(y, self.products, True, self.input_shape)  # pyright: ignore[reportReturnType]


class _ByNumPy(torch.autograd.Function):
    """A x or A^H y; the backward pass is the other of the two."""

    @staticmethod
    def forward(x: Tensor, products: Products, adjoint: bool, shape: tuple[int, ...]) -> Tensor:
        if not len(x):
            return x.new_zeros(0, *shape)
        half = x.dtype in (torch.float16, torch.bfloat16)  # NumPy has no bfloat16, and libraries no float16
        rows = (x.detach().float() if half else x.detach()).cpu().resolve_conj().resolve_neg().numpy()
        result = torch.from_numpy(np.ascontiguousarray((products.adjoint if adjoint else products.forward)(rows)))
        # NumPy's operators often work in double precision; the caller's precision is kept, complex where the operator
        # made it so.
        dtype = x.dtype if x.is_complex() or not result.is_complex() else x.dtype.to_complex()
        return result.to(x.device, dtype).reshape(x.shape[0], *shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Any, bool, tuple[int, ...]], output: Tensor) -> None:
        x, ctx.products, ctx.adjoint, ctx.to = inputs
        ctx.shape, ctx.dtype = tuple(x.shape[1:]), x.dtype

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:  # pyright: ignore
        back = _ByNumPy.apply(grad, ctx.products, not ctx.adjoint, ctx.shape)
        same: Any = back if ctx.dtype.is_complex or not back.is_complex() else back.real  # pyright: ignore
        return same, None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _ByNumPy.apply(tangent, ctx.products, ctx.adjoint, ctx.to)  # pyright: ignore[reportReturnType]

    @staticmethod
    def vmap(
        info: Any, dims: tuple[int | None, ...], x: Tensor, products: Products, adjoint: bool, shape: tuple[int, ...]
    ) -> tuple[Tensor, int]:
        rows = x.movedim(dims[0] or 0, 0)
        image: Any = _ByNumPy.apply(rows.flatten(0, 1), products, adjoint, shape)
        return image.unflatten(0, rows.shape[:2]), 0


class OnArrays:
    """One of our operators for a library that knows NumPy's arrays: (k, n) -> (k, m) and back, without gradients.

    What comes is cast to ``dtype``; where that is real, the real and the imaginary part of complex vectors go through
    one after the other.

    Attributes:
        dtype: of torch, in which products are taken; ``kind`` is NumPy's name of it.
        input_shape, output_shape: of one vector.

    Args:
        operator: A.
        shape: of one x, where the operator takes any size.
        dtype: by default that of the operator's tensors, of an operator without any torch's default.

    Raises:
        TypeError: no operator; one between real and complex vectors, which other libraries do not know.
        ValueError: one with parameters for several samples, or of any size where no shape is given.
    """

    def __init__(
        self, operator: LinearOperator, shape: tuple[int, ...] | None = None, dtype: torch.dtype | None = None
    ) -> None:
        if not isinstance(operator, LinearOperator):
            raise TypeError(f"operator is {kind_of(operator)}; it is a LinearOperator of this library")
        if dtype is not None and not isinstance(dtype, torch.dtype):
            raise TypeError(f"dtype is {dtype!r}; it is one of torch, such as torch.float64")
        name, count = type(operator).__name__, operator.batch_size
        if count is not None and count > 1:
            raise ValueError(
                f"{name} has parameters for {count} samples, and libraries of arrays know operators on one vector: "
                "build one for each sample"
            )
        given = tuple(operator.input_shape if shape is None else shape)
        if any(size is None for size in given):
            raise ValueError(f"{name} takes inputs of any size; say which, shape=(...)")
        tensors = [t for t in [*operator.parameters(), *operator.buffers()] if t.is_floating_point() or t.is_complex()]
        self.operator, self.input_shape, self.single = operator, given, count is not None
        self.device = tensors[0].device if tensors else torch.device("cpu")
        self.dtype = dtype or (tensors[0].dtype if tensors else torch.get_default_dtype())
        image, back = self._tried(self.dtype)
        if image.is_complex() and not self.dtype.is_complex and back.is_complex():
            self.dtype = self.dtype.to_complex()  # such as a Fourier transform with a real mask
            image, back = self._tried(self.dtype)
        if not image.dtype == back.dtype == self.dtype:
            raise TypeError(
                f"{name} maps {self.dtype} to {image.dtype} and back to {back.dtype}, and operators of other libraries "
                "are linear over one kind of numbers: give RealOutputs(A), which writes complex outputs as pairs "
                "(complex inputs: RealOutputs(A.H).H)"
            )
        self.output_shape = tuple(image.shape[1:])
        self.kind = np.dtype(str(self.dtype).removeprefix("torch."))
        self.shape = (prod(self.output_shape), prod(self.input_shape))

    @torch.no_grad()
    def _tried(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        image = self.operator(torch.zeros(1, *self.input_shape, dtype=dtype, device=self.device))
        return image, self.operator.adjoint(image)

    def forward(self, rows: np.ndarray) -> np.ndarray:
        """A x of each row, (k, n) -> (k, m)."""
        return self._applied(self.operator, rows, self.input_shape)

    def adjoint(self, rows: np.ndarray) -> np.ndarray:
        """A^H y of each row, (k, m) -> (k, n)."""
        return self._applied(self.operator.adjoint, rows, self.output_shape)

    @torch.no_grad()
    def _applied(self, act: Callable[[Tensor], Tensor], rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        x = torch.from_numpy(np.array(rows)).to(self.device).reshape(-1, *shape)  # a copy: arrays may be read-only
        if x.is_complex() and not self.dtype.is_complex:
            real, imaginary = (self._product(act, part) for part in (x.real, x.imag))
            image = torch.complex(real, imaginary)
        else:
            image = self._product(act, x)
        return image.flatten(1).resolve_conj().resolve_neg().cpu().numpy()

    def _product(self, act: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        x = x.to(self.dtype)
        return torch.cat([act(row) for row in x.split(1)]) if self.single and len(x) > 1 else act(x)
