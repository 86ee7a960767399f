"""Linear operators with adjoints and their algebra."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.operators.norms import spectral_norm

Shape = tuple[Any, ...]  # whole numbers, and None where any size will do


class LinearOperator(nn.Module):
    """y = A x on batches; a subclass writes ``forward`` and ``adjoint``.

    ``A(x)`` is A x, ``A.adjoint(y)`` is A^H y, and ``A.H``, ``A @ B``, ``A + B``, ``A - B``, ``c * A``, ``-A`` are
    operators again. Operators act on the dimensions after the batch and are differentiable in x and in their own
    parameters; <A x, y> = <x, A^H y>.

    Attributes:
        input_shape: shape of one x, without batch; None where any size will do.
        output_shape: shape of one y, without batch.
    """

    input_shape: Shape
    output_shape: Shape

    def __init__(self, input_shape: Shape, output_shape: Shape) -> None:
        super().__init__()
        self.input_shape, self.output_shape = tuple(input_shape), tuple(output_shape)
        for method in ("forward", "adjoint"):
            if getattr(type(self), method) in (nn.Module.forward, LinearOperator.adjoint):
                raise TypeError(f"{type(self).__name__} is a LinearOperator without `{method}`")

    def adjoint(self, y: Tensor) -> Tensor:
        """A^H y."""
        raise TypeError(f"{type(self).__name__} has no adjoint")

    def gradient_step(self, x: Tensor, y: Tensor, step_size: Tensor | float) -> Tensor:
        """x + A^H (mu (y - A x)): a step of length mu down the gradient of 0.5 |y - A x|^2.

        Args:
            x: (batch, *input_shape).
            y: (batch, *output_shape).
            step_size: mu, one number.
        """
        # The step size goes to the residual, which is mostly the smaller of the two.
        return x + self.adjoint(step_size * (y - self(x)))

    def solve_normal(self, b: Tensor, rho: Tensor | float) -> Tensor:
        """(A^H A + rho I)^-1 b, where the operator has a closed form.

        Raises:
            TypeError: it has none.
        """
        raise TypeError(f"{type(self).__name__} has no closed form for (A^H A + rho I)^-1; solve it iteratively")

    @property
    def H(self) -> LinearOperator:  # noqa: N802 (the field's name)
        """The adjoint operator A^H."""
        return Adjoint(self)

    def __matmul__(self, other: LinearOperator) -> LinearOperator:
        return Composition(self, other)

    def __add__(self, other: LinearOperator) -> LinearOperator:
        return Sum(self, other)

    def __sub__(self, other: LinearOperator) -> LinearOperator:
        return Sum(self, -1 * other)

    def __neg__(self) -> LinearOperator:
        return Scaled(-1, self)

    def __rmul__(self, factor: complex | Tensor) -> LinearOperator:
        return Scaled(factor, self)

    def norm(
        self,
        tolerance: float = 1e-6,
        max_iterations: int = 10_000,
        *,
        shape: tuple[int, ...] | None = None,
        dtype: torch.dtype | None = None,
    ) -> float:
        """The spectral norm |A|_2 = max |A x| / |x|: from below, and within ``tolerance`` but for one random start in
        10^9, by ``operators.norms.spectral_norm``.

        Args:
            tolerance: relative.
            max_iterations: products with A^H A after which to give up.
            shape: of the vectors; needed when the operator takes any size.
            dtype: of the vectors; by default that of the operator's tensors.

        Raises:
            ArithmeticError: not known to the tolerance after so many products; the message holds the last estimate.
        """
        like = next(
            (t for t in [*self.parameters(), *self.buffers()] if t.is_floating_point() or t.is_complex()),
            torch.zeros(()),
        )
        shape = self.input_shape if shape is None else shape
        if any(size is None for size in shape):
            raise ValueError(f"{type(self).__name__} takes inputs of any size; say which, norm(shape=...)")
        return spectral_norm(self, shape, like.new_empty((), dtype=dtype or like.dtype), tolerance, max_iterations)

    def check_input(self, x: Tensor) -> None:
        """Refuses an x whose shape does not fit, from shapes alone."""
        _check_shape(self, "input", x, self.input_shape)

    def check_output(self, y: Tensor) -> None:
        """Refuses a y whose shape does not fit, from shapes alone."""
        _check_shape(self, "output", y, self.output_shape)


def _check_shape(operator: LinearOperator, side: str, tensor: Tensor, shape: Shape) -> None:
    if tensor.shape[1:] == shape:
        return
    if tensor.ndim != len(shape) + 1 or any(
        want not in (None, size) for want, size in zip(shape, tensor.shape[1:], strict=True)
    ):
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(
            f"{type(operator).__name__} needs an {side} of shape (batch, {wanted}), and got {tuple(tensor.shape)}"
        )


class Matrix(LinearOperator):
    """y = A x with a dense matrix, (batch, n) -> (batch, m), as ``x @ A.T``.

    Args:
        matrix: A, (m, n), real or complex; an ``nn.Parameter`` is learned, any other tensor is fixed.
    """

    matrix: Tensor

    def __init__(self, matrix: Tensor) -> None:
        if matrix.ndim != 2:
            raise ValueError(f"a matrix has two dimensions; got shape {tuple(matrix.shape)}")
        super().__init__((matrix.shape[1],), (matrix.shape[0],))
        if isinstance(matrix, nn.Parameter):
            self.matrix = matrix
        else:
            self.register_buffer("matrix", matrix)

    def forward(self, x: Tensor) -> Tensor:
        """A x, (batch, m)."""
        return x @ self.matrix.T

    def adjoint(self, y: Tensor) -> Tensor:
        """A^H y, (batch, n)."""
        return y @ self.matrix.conj()

    def gradient_step(self, x: Tensor, y: Tensor, step_size: Tensor | float) -> Tensor:
        """x + A^H (mu (y - A x)), the sums taken along with the products."""
        watched = self._forward_hooks or self._forward_pre_hooks or self._backward_hooks or self._backward_pre_hooks
        if type(self) is not Matrix or x.ndim != 2 or watched:  # a subclass may have another `forward`
            return super().gradient_step(x, y, step_size)
        matrix = self._buffers.get("matrix")  # without Module.__getattr__, which takes as long as a small product
        matrix = self.matrix if matrix is None else matrix
        return torch.addmm(
            x, step_size * torch.addmm(y, x, matrix.T, alpha=-1), matrix.conj() if matrix.is_complex() else matrix
        )

    def solve_normal(self, b: Tensor, rho: Tensor | float) -> Tensor:
        """(A^H A + rho I)^-1 b by a Cholesky factorisation, (batch, n); rho > 0, or A of full column rank."""
        gram = self.matrix.mH @ self.matrix
        factor = torch.linalg.cholesky(gram + rho * torch.eye(gram.shape[0], dtype=gram.dtype, device=gram.device))
        return torch.cholesky_solve(b.mT if b.ndim > 1 else b.unsqueeze(1), factor).mT


def learnable(operator: LinearOperator, scale: float = 1.0) -> LinearOperator:
    """A copy whose fixed tensors have become parameters, times a number (for operators that are linear in each of their
    tensors).
    """
    own = copy.deepcopy(operator)
    for part in own.modules():
        for name, buffer in list(part.named_buffers(recurse=False)):
            delattr(part, name)
            part.register_parameter(
                name, nn.Parameter(scale * buffer.detach() if scale != 1.0 else buffer.detach().clone())
            )
    return own


class Adjoint(LinearOperator):
    """A^H."""

    def __init__(self, operator: LinearOperator) -> None:
        super().__init__(operator.output_shape, operator.input_shape)
        self.operator = operator

    def forward(self, x: Tensor) -> Tensor:
        return self.operator.adjoint(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.operator(y)

    @property
    def H(self) -> LinearOperator:  # noqa: N802
        return self.operator


class Composition(LinearOperator):
    """A B x."""

    def __init__(self, outer: LinearOperator, inner: LinearOperator) -> None:
        if outer.input_shape != inner.output_shape:
            raise ValueError(f"A @ B needs A's input {outer.input_shape} to be B's output {inner.output_shape}")
        super().__init__(inner.input_shape, outer.output_shape)
        self.outer, self.inner = outer, inner

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(self.inner(x))

    def adjoint(self, y: Tensor) -> Tensor:
        return self.inner.adjoint(self.outer.adjoint(y))


class Sum(LinearOperator):
    """A x + B x."""

    def __init__(self, left: LinearOperator, right: LinearOperator) -> None:
        if (left.input_shape, left.output_shape) != (right.input_shape, right.output_shape):
            raise ValueError(
                f"A + B needs equal shapes; got {left.input_shape} -> {left.output_shape} and "
                f"{right.input_shape} -> {right.output_shape}"
            )
        super().__init__(left.input_shape, left.output_shape)
        self.left, self.right = left, right

    def forward(self, x: Tensor) -> Tensor:
        return self.left(x) + self.right(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.left.adjoint(y) + self.right.adjoint(y)


class Scaled(LinearOperator):
    """c A x, c a number or a scalar tensor."""

    factor: Tensor

    def __init__(self, factor: complex | Tensor, operator: LinearOperator) -> None:
        super().__init__(operator.input_shape, operator.output_shape)
        self.operator = operator
        if isinstance(factor, nn.Parameter):
            self.factor = factor
        elif isinstance(factor, Tensor):
            self.register_buffer("factor", factor)
        else:
            self.number = factor

    def _factor(self) -> Tensor | complex:
        return self.factor if "factor" in self._parameters or "factor" in self._buffers else self.number

    def forward(self, x: Tensor) -> Tensor:
        return self._factor() * self.operator(x)

    def adjoint(self, y: Tensor) -> Tensor:
        factor = self._factor()
        return (factor.conj() if isinstance(factor, Tensor) else factor.conjugate()) * self.operator.adjoint(y)
