"""Operators of other libraries as operators of this one; each library is imported when its adapter is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unrolling.operators.linear import LinearOperator


def from_deepinv(physics: Any, shape: tuple[int, ...], *, dtype: torch.dtype = torch.float32) -> LinearOperator:
    """A linear physics of deepinv: images (batch, channels, height, width), A = ``physics.A``, A^H =
    ``physics.A_adjoint``.

    Args:
        physics: a ``deepinv.physics.LinearPhysics``; its noise model is left out.
        shape: of one image, (channels, height, width).
        dtype: of the images, which the shape of the measurements is found with.

    Raises:
        ImportError: deepinv is missing.
        TypeError: a physics that is not linear.
    """
    deepinv = _library("deepinv", "deepinv")
    if not isinstance(physics, deepinv.physics.LinearPhysics):
        raise TypeError(
            f"{type(physics).__name__} is not a deepinv.physics.LinearPhysics; only linear operators have an adjoint"
        )
    return _Deepinv(physics, shape, dtype)


def to_deepinv(what: LinearOperator | nn.Module) -> Any:
    """An operator or a network of this library for deepinv: its solvers, losses and metrics take them.

    Args:
        what: a linear operator, which becomes a ``deepinv.physics.LinearPhysics`` with ``physics.A`` and
            ``physics.A_adjoint`` (images with channels, (batch, channels, height, width), go through an operator on
            (batch, height, width) channel by channel); or a network from data to estimates, which becomes a
            ``deepinv.models.Reconstructor`` called as ``model(y, physics)``. The network holds its own forward model,
            so that ``physics`` is not looked at.

    Raises:
        ImportError: deepinv is missing.
        TypeError: something else.
    """
    deepinv = _library("deepinv", "deepinv")
    if isinstance(what, LinearOperator):
        size = None if None in what.input_shape else what.input_shape
        physics = deepinv.physics.LinearPhysics(
            A=lambda x, **_: _by_channel(what, x, len(what.input_shape)),
            A_adjoint=lambda y, **_: _by_channel(what.adjoint, y, len(what.output_shape)),
            img_size=size,
        )
        physics.operator = what  # its parameters and buffers move and are saved with the physics
        return physics
    if not isinstance(what, nn.Module):
        raise TypeError(f"a {type(what).__name__} is neither a LinearOperator nor a network (an nn.Module)")

    class Reconstructor(deepinv.models.Reconstructor):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, y: Any, physics: Any = None, **_: Any) -> Tensor:
            return self.network(y)

    return Reconstructor(what)


def from_pylops(operator: Any) -> LinearOperator:
    """A linear operator of PyLops: (batch, *dims) -> (batch, *dimsd), sample by sample through NumPy, on the CPU.

    Differentiable in x, since the gradient of A x is A^H; not in the operator's own numbers.

    Args:
        operator: a ``pylops.LinearOperator``.

    Raises:
        ImportError: PyLops is missing.
        TypeError: something else.
    """
    pylops = _library("pylops", "pylops")
    if not isinstance(operator, pylops.LinearOperator):
        raise TypeError(f"{type(operator).__name__} is not a pylops.LinearOperator")
    return _PyLops(operator)


def _library(module: str, package: str) -> Any:
    try:
        return __import__(module)
    except ImportError as error:
        raise ImportError(f"this adapter needs the package {package}: pip install {package}") from error


def _by_channel(act: Callable[[Tensor], Tensor], x: Tensor, dimensions: int) -> Tensor:
    """A linear map of (batch, *shape), also of (batch, channels, *shape)."""
    return act(x) if x.ndim < dimensions + 2 else act(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class _Deepinv(LinearOperator):
    def __init__(self, physics: Any, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        with torch.no_grad():
            found = physics.A(torch.zeros(1, *shape, dtype=dtype))
        if not isinstance(found, Tensor):
            raise TypeError(
                f"{type(physics).__name__} gives a {type(found).__name__}; an operator here gives one tensor"
            )
        super().__init__(shape, tuple(found.shape[1:]))
        self.physics = physics

    def forward(self, x: Tensor) -> Tensor:
        return self.physics.A(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.physics.A_adjoint(y)


class _PyLops(LinearOperator):
    def __init__(self, operator: Any) -> None:
        super().__init__(tuple(map(int, operator.dims)), tuple(map(int, operator.dimsd)))
        self.__dict__["operator"] = operator  # no module of torch

    def forward(self, x: Tensor) -> Tensor:
        return _ByNumPy.apply(x, self.operator, False, self.output_shape)  # pyright: ignore[reportReturnType]

    def adjoint(self, y: Tensor) -> Tensor:
        return _ByNumPy.apply(y, self.operator, True, self.input_shape)  # pyright: ignore[reportReturnType]


class _ByNumPy(torch.autograd.Function):
    """A x or A^H y of an operator that knows vectors of NumPy; the backward pass is the other of the two."""

    @staticmethod
    def forward(x: Tensor, operator: Any, adjoint: bool, shape: tuple[int, ...]) -> Tensor:
        rows = x.detach().cpu().resolve_conj().resolve_neg().reshape(x.shape[0], -1).numpy()
        act = operator.rmatvec if adjoint else operator.matvec
        found = [np.asarray(act(row)) for row in rows]
        result = torch.from_numpy(np.stack(found) if found else np.zeros((0, int(np.prod(shape)))))
        # NumPy's operators often work in double precision; the caller's precision is kept, complex where the operator
        # made it so.
        dtype = x.dtype if x.is_complex() or not result.is_complex() else x.dtype.to_complex()
        return result.to(x.device, dtype).reshape(x.shape[0], *shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Any, bool, tuple[int, ...]], output: Tensor) -> None:
        x, ctx.operator, ctx.adjoint, ctx.to = inputs
        ctx.shape, ctx.dtype = tuple(x.shape[1:]), x.dtype

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:  # pyright: ignore
        back = _ByNumPy.apply(grad, ctx.operator, not ctx.adjoint, ctx.shape)
        same: Any = back if ctx.dtype.is_complex or not back.is_complex() else back.real  # pyright: ignore
        return same, None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _ByNumPy.apply(tangent, ctx.operator, ctx.adjoint, ctx.to)  # pyright: ignore[reportReturnType]

    @staticmethod
    def vmap(
        info: Any, dims: tuple[int | None, ...], x: Tensor, operator: Any, adjoint: bool, shape: tuple[int, ...]
    ) -> tuple[Tensor, int]:
        rows = x.movedim(dims[0] or 0, 0)
        image: Any = _ByNumPy.apply(rows.flatten(0, 1), operator, adjoint, shape)
        return image.unflatten(0, rows.shape[:2]), 0
