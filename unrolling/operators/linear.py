"""Linear operators with adjoints and their algebra."""

from __future__ import annotations

import copy
from collections.abc import Callable
from numbers import Number
from typing import Any, overload

import torch
from torch import Tensor, nn

from unrolling.core.arguments import Shape, check_argument, check_count, check_numbers, check_range, guarded, keep
from unrolling.core.refusals import explain, explained, kind_of
from unrolling.operators.norms import spectral_norm

_SIDES = {
    "forward": ("input",),
    "adjoint": ("output",),
    "solve_normal": ("input",),
    "gradient_step": ("input", "output"),
}


class LinearOperator(nn.Module):
    """y = A x on batches; a subclass writes ``forward`` and ``adjoint``.

    ``A(x)`` and ``A @ x`` are A x, ``A.adjoint(y)`` is A^H y, and ``A.H``, ``A @ B``, ``A + B``, ``A - B``, ``c * A``,
    ``A * c``, ``A / c``, ``-A`` are operators again. Operators act on the dimensions after the batch and are
    differentiable in x and in their own parameters; <A x, y> = <x, A^H y>.

    Every method is given (batch, *input_shape) or (batch, *output_shape) and refuses anything else: nothing is
    broadcast, and no dimension goes in between. That holds for subclasses too, which need not check.

    Attributes:
        input_shape: shape of one x, without batch; None where any size will do.
        output_shape: shape of one y, without batch.
        batch_size: how many samples the operator has kernels, masks or maps for, one for each; None where all share
            them.
        multiplies: whether it is a product with a matrix, which is real for real vectors only.
        leading: whether dimensions may lie between the batch and these, each entry of which is mapped by itself.

    Raises:
        TypeError: from its methods: no tensor, or of a dtype that does not fit, by the argument's name.
        ValueError: from its methods: another shape.
    """

    input_shape: Shape
    output_shape: Shape
    batch_size: int | None = None
    leading: bool = False
    multiplies: bool = False
    # `gradient_step` without its guard, for iterations that have checked their data before the first step
    step: Callable[[Any, Tensor, Tensor, Tensor | float], Tensor]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        explain(cls)
        for name, sides in _SIDES.items():
            if name in cls.__dict__:
                if name == "gradient_step":
                    cls.step = cls.__dict__[name]
                setattr(cls, name, guarded(cls.__dict__[name], sides))

    def __init__(self, input_shape: Shape, output_shape: Shape) -> None:
        super().__init__()
        self.input_shape, self.output_shape = tuple(input_shape), tuple(output_shape)
        for size in (*self.input_shape, *self.output_shape):
            if isinstance(size, (Tensor, float, str)):
                raise TypeError(f"shape has {kind_of(size)} in it; sizes are whole numbers, or None for any")
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

    @overload
    def __matmul__(self, other: LinearOperator) -> LinearOperator: ...

    @overload
    def __matmul__(self, other: Tensor) -> Tensor: ...

    def __matmul__(self, other: LinearOperator | Tensor) -> LinearOperator | Tensor:
        return Composition(self, other) if isinstance(other, LinearOperator) else self(other)

    def __add__(self, other: LinearOperator) -> LinearOperator:
        return Sum(self, other) if isinstance(other, LinearOperator) else NotImplemented

    def __sub__(self, other: LinearOperator) -> LinearOperator:
        return Sum(self, Scaled(-1, other)) if isinstance(other, LinearOperator) else NotImplemented

    def __neg__(self) -> LinearOperator:
        return Scaled(-1, self)

    def __mul__(self, factor: complex | Tensor) -> LinearOperator:
        if isinstance(factor, LinearOperator):
            raise TypeError("A * B multiplies an operator by a number; the product of two operators is A @ B")
        return Scaled(factor, self) if isinstance(factor, (Number, Tensor)) else NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, divisor: complex | Tensor) -> LinearOperator:
        return Scaled(divisor, self, inverse=True) if isinstance(divisor, (Number, Tensor)) else NotImplemented

    @explained
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
        check_range(tolerance, "tolerance", 0.0)
        check_count(max_iterations, "max_iterations")
        shape = self.input_shape if shape is None else shape
        if any(size is None for size in shape):
            raise ValueError(f"{type(self).__name__} takes inputs of any size; say which, norm(shape=...)")
        like = like.new_empty((), dtype=dtype or like.dtype)
        return spectral_norm(self, shape, like, tolerance, max_iterations)

    def check_input(self, x: Tensor, name: str = "x") -> None:
        """Refuses an x that does not fit, from its kind, dtype and shape alone; ``name`` is that of the argument."""
        self._check(x, "input", name)

    def check_output(self, y: Tensor, name: str = "y") -> None:
        """Refuses a y that does not fit, from its kind, dtype and shape alone; ``name`` is that of the argument."""
        self._check(y, "output", name)

    def _check(self, value: Tensor, side: str, name: str) -> None:
        shape = self.input_shape if side == "input" else self.output_shape
        if (
            isinstance(value, Tensor)
            and value.is_floating_point()
            and value.shape[1:] == shape
            and self.batch_size is None
        ):
            return  # what mostly comes, in a few comparisons
        check_numbers(value, name, type(self).__name__)
        if self.multiplies and value.is_complex():
            real = not any(t.is_complex() for t in [*self.parameters(False), *self.buffers(False)])
            check_numbers(value, name, type(self).__name__, real=real)
        check_argument(self, value, side, name)


LinearOperator.step = LinearOperator.gradient_step
for _name in ("solve_normal", "gradient_step"):
    setattr(LinearOperator, _name, guarded(getattr(LinearOperator, _name), _SIDES[_name]))


class Matrix(LinearOperator):
    """y = A x with a dense matrix, (batch, n) -> (batch, m), as ``x @ A.T``.

    Args:
        matrix: A, (m, n), real or complex; an ``nn.Parameter`` is learned, any other tensor is fixed.
    """

    matrix: Tensor
    multiplies = True

    def __init__(self, matrix: Tensor) -> None:
        if matrix.ndim != 2:
            raise ValueError(f"a matrix has two dimensions; got shape {tuple(matrix.shape)}")
        super().__init__((matrix.shape[1],), (matrix.shape[0],))
        keep(self, "matrix", matrix)

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


class RowMatrix(Matrix):
    """``Matrix`` along the last dimension, (batch, ..., n) -> (batch, ..., m): the patches of an image, say.

    Args:
        matrix: as for ``Matrix``.
    """

    leading = True


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
        self.operator, self.batch_size = operator, operator.batch_size

    def forward(self, x: Tensor) -> Tensor:
        return self.operator.adjoint(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.operator(y)

    @property
    def H(self) -> LinearOperator:  # noqa: N802
        return self.operator


class Composition(LinearOperator):
    """A B x.

    Raises:
        ValueError: B's output is not A's input, or they have parameters for another number of samples each.
    """

    def __init__(self, outer: LinearOperator, inner: LinearOperator) -> None:
        if joined(outer.input_shape, inner.output_shape) is None:
            raise ValueError(f"A @ B needs A's input {outer.input_shape} to be B's output {inner.output_shape}")
        first, last = inner.input_shape, outer.output_shape
        # What one of them leaves open the other may settle.
        if None in first and None not in outer.input_shape:
            first = joined(first, _image(inner.adjoint, outer.input_shape)) or first
        if None in last and None not in inner.output_shape:
            last = joined(last, _image(outer, inner.output_shape)) or last
        super().__init__(first, last)
        self.outer, self.inner = outer, inner
        self.batch_size = _common_batch(outer, inner)

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(self.inner(x))

    def adjoint(self, y: Tensor) -> Tensor:
        return self.inner.adjoint(self.outer.adjoint(y))


class Sum(LinearOperator):
    """A x + B x.

    Raises:
        ValueError: other shapes, or parameters for another number of samples each.
    """

    def __init__(self, left: LinearOperator, right: LinearOperator) -> None:
        first = joined(left.input_shape, right.input_shape)
        last = joined(left.output_shape, right.output_shape)
        if first is None or last is None:
            raise ValueError(
                f"A + B needs equal shapes; got {left.input_shape} -> {left.output_shape} and "
                f"{right.input_shape} -> {right.output_shape}"
            )
        super().__init__(first, last)
        self.left, self.right = left, right
        self.batch_size = _common_batch(left, right)

    def forward(self, x: Tensor) -> Tensor:
        return self._added(self.left(x), self.right(x))

    def adjoint(self, y: Tensor) -> Tensor:
        return self._added(self.left.adjoint(y), self.right.adjoint(y))

    def _added(self, left: Tensor, right: Tensor) -> Tensor:
        if left.shape != right.shape:
            raise ValueError(
                f"A + B needs equal shapes; {type(self.left).__name__} gave {tuple(left.shape)}, and "
                f"{type(self.right).__name__} {tuple(right.shape)}"
            )
        return left + right


class Scaled(LinearOperator):
    """c A x, or A x / c; c a number or a scalar tensor, learned where it is an ``nn.Parameter``.

    Raises:
        ValueError: a tensor of several numbers.
        ZeroDivisionError: A / 0.
    """

    factor: Tensor

    def __init__(self, factor: complex | Tensor, operator: LinearOperator, *, inverse: bool = False) -> None:
        super().__init__(operator.input_shape, operator.output_shape)
        self.operator, self.inverse, self.batch_size = operator, inverse, operator.batch_size
        if isinstance(factor, Tensor):
            if factor.ndim:
                raise ValueError(
                    f"an operator is multiplied by one number; got shape {tuple(factor.shape)}: another one "
                    "for each entry is a Matrix(torch.diag(...)), or an operator of your own"
                )
            keep(self, "factor", factor)
        else:
            if inverse and factor == 0:
                raise ZeroDivisionError("factor is 0: no operator can be divided by it")
            self.number: Any = 1 / factor if inverse else factor

    def _factor(self) -> Tensor | complex:
        if "factor" not in self._parameters and "factor" not in self._buffers:
            return self.number
        return 1 / self.factor if self.inverse else self.factor

    def forward(self, x: Tensor) -> Tensor:
        return self._factor() * self.operator(x)

    def adjoint(self, y: Tensor) -> Tensor:
        factor = self._factor()
        return (factor.conj() if isinstance(factor, Tensor) else factor.conjugate()) * self.operator.adjoint(y)


def joined(left: Shape, right: Shape) -> Shape | None:
    """The sizes that two shapes agree on, where one may leave open what the other knows; None if they do not agree."""
    if len(left) != len(right) or any(None not in (a, b) and a != b for a, b in zip(left, right, strict=True)):
        return None
    return tuple(b if a is None else a for a, b in zip(left, right, strict=True))


@torch.no_grad()
def _image(method: Any, shape: Shape) -> Shape:
    """The shape that a method makes of one sample; nothing where it does not work on zeros."""
    operator = getattr(method, "__self__", method)
    numbers = [t for t in [*operator.parameters(), *operator.buffers()] if t.is_floating_point() or t.is_complex()]
    like = numbers[0] if numbers else torch.zeros(())
    try:
        return tuple(method(like.new_zeros(operator.batch_size or 1, *shape)).shape[1:])
    except (RuntimeError, TypeError, ValueError):
        return ()


def _common_batch(one: LinearOperator, other: LinearOperator) -> int | None:
    if one.batch_size is None or other.batch_size is None or one.batch_size == other.batch_size:
        return other.batch_size if one.batch_size is None else one.batch_size
    names, counts = (type(one).__name__, type(other).__name__), (one.batch_size, other.batch_size)
    raise ValueError(f"{names[0]} has parameters for {counts[0]} samples, and {names[1]} for {counts[1]}")
