"""Operators made of two functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from unrolling.core.arguments import Shape
from unrolling.core.refusals import explained, kind_of
from unrolling.operators._arrays import ArrayOperator, Products, row_by_row
from unrolling.operators.linear import LinearOperator

On = Literal["batches", "samples", "arrays"]


@explained
def from_functions(
    forward: Callable[[Any], Any],
    adjoint: Callable[[Any], Any] | None,
    input_shape: Shape,
    output_shape: Shape | None = None,
    *,
    on: On = "batches",
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    check: bool = True,
) -> LinearOperator:
    """The operator of a forward model and its adjoint, as they stand in a program.

    Functions on tensors are differentiated as they are written, in x and in all tensors that they use. A function that
    is a module, or a method of one, gives the operator its parameters and buffers, which are then trained, moved and
    saved with it. Functions on arrays are differentiable in x, by each other.

    Args:
        forward: x -> A x, linear.
        adjoint: y -> A^H y; None derives it from a ``forward`` on tensors by automatic differentiation.
        input_shape: of one x, without batch; None in it where any size will do.
        output_shape: of one y; found by running ``forward`` once where it is left out.
        on: what the functions take: ``batches`` of tensors (batch, ...), ``samples`` that are tensors without a batch,
            one after the other, or ``arrays`` of NumPy, likewise.
        dtype: of the vectors x that the functions are tried on, torch's default without it; complex where A is made
            for complex x. Without an ``adjoint`` that of real vectors makes the real part of A^H y.
        device: of these vectors; by default that of the functions' modules.
        check: try <A x, y> = <x, A^H y> on random vectors now. Not done where sizes are left open.

    Raises:
        TypeError: what is no function, or arrays without an adjoint.
        ValueError: the shapes are others than promised, or the check fails: ``forward`` is not linear, or ``adjoint``
            not its adjoint.
    """
    if on not in get_args(On):
        raise ValueError(f"on is {on!r}; it is one of {', '.join(map(repr, get_args(On)))}")
    for name, act in (("forward", forward), ("adjoint", adjoint)):
        if not (callable(act) or (name == "adjoint" and act is None)):
            raise TypeError(f"{name} is {kind_of(act)}; it is a function")
    if on == "arrays" and adjoint is None:
        raise TypeError("adjoint is None, and functions on arrays are not differentiated: write one, or use tensors")
    open_size = None in tuple(input_shape)
    if open_size and (output_shape is None or on == "arrays"):
        raise ValueError("input_shape leaves sizes open: give output_shape too, and functions on tensors")
    dtype = dtype or torch.get_default_dtype()
    if open_size:
        assert output_shape is not None
        return _Functions(forward, adjoint, input_shape, output_shape, on, dtype)
    device = device or next((t.device for part in _modules(forward, adjoint) for t in _tensors(part)), "cpu")
    x = torch.randn(2, *input_shape, generator=torch.Generator().manual_seed(0), dtype=dtype).to(device)
    found = _tried(forward, x, on)
    if output_shape is not None and found != tuple(output_shape):
        raise ValueError(f"output_shape is {tuple(output_shape)}, and forward makes {found} of {tuple(input_shape)}")
    if on == "arrays":
        assert adjoint is not None
        operator = ArrayOperator(Products(row_by_row(forward), row_by_row(adjoint)), input_shape, found)
    else:
        operator = _Functions(forward, adjoint, input_shape, found, on, dtype)
    if check:
        _check(operator, x)
    return operator


class _Functions(LinearOperator):
    """Functions on tensors; modules among them are parts."""

    functions: Any

    def __init__(
        self, forward: Any, adjoint: Any, input_shape: Shape, output_shape: Shape, on: On, dtype: torch.dtype
    ) -> None:
        super().__init__(input_shape, output_shape)
        self.owners = nn.ModuleList(_modules(forward, adjoint))
        self.__dict__["functions"] = (forward, adjoint)  # a module here too would be saved twice
        self.on, self.complex = on, dtype.is_complex

    def forward(self, x: Tensor) -> Tensor:
        return self._applied(self.functions[0], x, self.output_shape, "forward")

    def adjoint(self, y: Tensor) -> Tensor:
        act = self.functions[1] or self._transposed
        return self._applied(act, y, self.input_shape, "adjoint")

    def _applied(self, act: Callable[[Tensor], Tensor], x: Tensor, shape: Shape, name: str) -> Tensor:
        if self.on == "batches" or act == self._transposed:
            image = act(x)
        elif len(x):
            image = torch.stack([act(sample) for sample in x])
        else:
            image = act(x.new_zeros(x.shape[1:])).unsqueeze(0)[:0]
        wanted = (len(x), *shape)
        if not isinstance(image, Tensor):
            raise TypeError(f"{name} gives {kind_of(image)}; it has to give a tensor")
        if len(image.shape) != len(wanted) or any(b not in (a, None) for a, b in zip(image.shape, wanted, strict=True)):
            raise ValueError(f"{name} makes {tuple(image.shape)} of {tuple(x.shape)}, and not {wanted}")
        return image

    def _transposed(self, y: Tensor) -> Tensor:
        if None in self.input_shape:
            raise TypeError("adjoint is None, and sizes are left open: nobody knows how large A^H y is")
        zeros = y.new_zeros(len(y), *self.input_shape, dtype=y.real.dtype if y.is_complex() else y.dtype)
        # Of a real operator complex y have complex x, of one between real and complex vectors real ones.
        if self.complex or (y.is_complex() and not self(zeros.detach()[:1]).is_complex()):
            zeros = zeros.to(zeros.dtype.to_complex())
        image, pull = torch.func.vjp(self.forward, zeros)  # pyright: ignore[reportAssignmentType]
        return pull(y.to(image.dtype))[0]


def _modules(*functions: Any) -> list[nn.Module]:
    """The modules that functions are, or are methods of, each once."""
    found = [act if isinstance(act, nn.Module) else getattr(act, "__self__", None) for act in functions]
    return [part for i, part in enumerate(found) if isinstance(part, nn.Module) and part not in found[:i]]


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


@torch.no_grad()
def _tried(forward: Callable[[Any], Any], x: Tensor, on: On) -> tuple[int, ...]:
    """The shape of one A x."""
    if on == "batches":
        image = forward(x)
        if getattr(image, "shape", ())[:1] != x.shape[:1]:
            raise ValueError(
                f"forward makes {tuple(getattr(image, 'shape', ()))} of a batch {tuple(x.shape)}; the first dimension "
                "stays the batch. A function on single samples is told by on='samples'"
            )
        return tuple(image.shape[1:])
    image = forward(x[0].cpu().numpy() if on == "arrays" else x[0])
    if not hasattr(image, "shape"):
        raise TypeError(
            f"forward gives {kind_of(image)}; it has to give {'an array' if on == 'arrays' else 'a tensor'}"
        )
    return tuple(map(int, image.shape))


@torch.no_grad()
def _check(operator: LinearOperator, x: Tensor) -> None:
    image = operator(x)
    y = torch.randn(image.shape, generator=torch.Generator().manual_seed(1), dtype=image.dtype).to(x.device)
    back = operator.adjoint(y)
    left, right = (image.conj() * y).sum(), (x.conj() * back).sum()
    if not (image.is_complex() and x.is_complex()):
        left, right = left.real, right.real
    size = float(image.norm() * y.norm() + x.norm() * back.norm())
    tolerance = 100 * torch.finfo(x.dtype).eps * max(10.0, max(x.numel(), y.numel()) ** 0.5)
    if not float((left - right).abs()) <= tolerance * size:  # NaN too
        raise ValueError(
            f"<A x, y> is {_short(left)} and <x, A^H y> is {_short(right)} for random x and y: adjoint is not the "
            "adjoint of forward, or forward is not linear"
        )


def _short(value: Tensor) -> str:
    return f"{value.item():.6g}"
