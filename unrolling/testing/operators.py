"""Conformance checks for a linear operator."""

from __future__ import annotations

import torch
from torch import Tensor

from unrolling.operators import LinearOperator
from unrolling.testing.compare import close


def check_operator(operator: LinearOperator, *, dtype: torch.dtype | None = None, batch: int = 3, dense_limit: int = 500_000) -> None:
    """Everything that this library asks of a linear operator.

    Args:
        operator: it is not changed.
        dtype: of the inputs, real or complex; by default that of the operator's tensors.
        batch: number of vectors at a time.
        dense_limit: largest number of entries up to which the norm and the algebra are compared with the dense matrix.

    Raises:
        AssertionError: what is wrong.
    """
    check_linearity(operator, dtype=dtype, batch=batch)
    check_adjoint(operator, dtype=dtype, batch=batch)
    entries = torch.Size(operator.input_shape).numel() * torch.Size(operator.output_shape).numel()
    if entries <= dense_limit:
        check_norm(operator, dtype=dtype)
        check_algebra(operator, dtype=dtype, batch=batch)
    if type(operator).solve_normal is not LinearOperator.solve_normal:
        check_normal_equations(operator, dtype=dtype, batch=batch)


def check_linearity(operator: LinearOperator, *, dtype: torch.dtype | None = None, batch: int = 3) -> None:
    """A(a x + b z) = a A x + b A z with a shape as promised, sample by sample, and the same for the adjoint."""
    dtype = dtype or _dtype(operator)
    for name, side in (("A", operator), ("A.H", operator.H)):
        x, z = (_random(batch, side.input_shape, dtype, seed) for seed in (0, 1))
        a, b = (1.5 - 0.5j, -0.75 + 2j) if dtype.is_complex else (1.5, -0.75)
        image = side(x)
        wanted = (batch, *side.output_shape)
        assert tuple(image.shape) == wanted, f"{name}(x) has shape {tuple(image.shape)} for x {tuple(x.shape)}; its output_shape promises {wanted}"
        close(side(a * x + b * z), a * image + b * side(z), f"{name}(a x + b z), compared with a {name} x + b {name} z,", tolerance=_rounding(side, dtype))
        for sample in range(batch):
            close(side(x[sample : sample + 1]), image[sample : sample + 1], f"{name} of sample {sample} alone", tolerance=_rounding(side, dtype))


def check_adjoint(operator: LinearOperator, *, dtype: torch.dtype | None = None, batch: int = 3) -> None:
    """<A x, y> = <x, A^H y>, and the gradient of Re <A x, y> in x is A^H y: automatic differentiation sees the same operator."""
    dtype = dtype or _dtype(operator)
    x, y = _random(batch, operator.input_shape, dtype, 2).requires_grad_(), _random(batch, operator.output_shape, dtype, 3)
    image, back = operator(x), operator.adjoint(y)
    left, right = _inner(image.detach(), y), _inner(x.detach(), back.detach())
    scale = (_norms(image) * _norms(y) + _norms(x) * _norms(back)).max()
    error = float((left - right).abs().max())
    assert error <= _rounding(operator, dtype) * float(scale), (
        f"<A x, y> and <x, A^H y> differ by {error:.3g} of {float(scale):.3g}: `adjoint` is not the adjoint"
    )
    (gradient,) = torch.autograd.grad(_inner(image, y).real.sum(), x)
    close(gradient, back.detach(), "the gradient of Re <A x, y> in x, compared with A^H y,", tolerance=_rounding(operator, dtype))


def check_norm(operator: LinearOperator, *, dtype: torch.dtype | None = None, tolerance: float = 1e-3) -> None:
    """``A.norm()`` is the largest singular value of the dense matrix, from below."""
    dtype = dtype or _dtype(operator)
    exact = float(torch.linalg.matrix_norm(dense(operator, dtype), 2))
    found = operator.norm(dtype=dtype)
    assert abs(found - exact) <= tolerance * exact, f"A.norm() is {found:.6g}, and the largest singular value is {exact:.6g}"
    assert found <= exact * (1 + _rounding(operator, dtype)), f"A.norm() is {found:.9g}, above the largest singular value {exact:.9g}"


def check_algebra(operator: LinearOperator, *, dtype: torch.dtype | None = None, batch: int = 3) -> None:
    """A.H, A.H @ A, A + A, A - c A, c A and -A are the operators of the dense algebra, each with its adjoint."""
    dtype = dtype or _dtype(operator)
    A = dense(operator, dtype)
    c = 0.5 - 2j if dtype.is_complex else -1.5
    scalar = torch.tensor(c, dtype=dtype, device=A.device)
    cases = {
        "A.H": (operator.H, A.mH),
        "A.H.H": (operator.H.H, A),
        "A.H @ A": (operator.H @ operator, A.mH @ A),
        "A @ A.H": (operator @ operator.H, A @ A.mH),
        "A + A": (operator + operator, 2 * A),
        "A - c A": (operator - c * operator, (1 - c) * A),
        "c A": (c * operator, c * A),
        "c A, c a tensor": (scalar * operator, c * A),
        "-A": (-operator, -A),
        "(c A).H": ((c * operator).H, (c * A).mH),
    }
    for name, (made, wanted) in cases.items():
        close(dense(made, dtype), wanted, f"the dense matrix of {name}", tolerance=_rounding(operator, dtype))
        try:
            check_adjoint(made, dtype=dtype, batch=batch)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error


def check_normal_equations(operator: LinearOperator, *, dtype: torch.dtype | None = None, batch: int = 3, rho: float = 0.5) -> None:
    """(A^H A + rho I) ``solve_normal``(b, rho) = b."""
    dtype = dtype or _dtype(operator)
    b = _random(batch, operator.input_shape, dtype, 4)
    x = operator.solve_normal(b, rho)
    condition = 1 + operator.norm(dtype=dtype) ** 2 / rho
    close(operator.adjoint(operator(x)) + rho * x, b, "(A^H A + rho I) applied to solve_normal(b, rho)", tolerance=condition * _rounding(operator, dtype))


def dense(operator: LinearOperator, dtype: torch.dtype | None = None) -> Tensor:
    """The matrix of an operator, (outputs, inputs), from its action on the unit vectors."""
    dtype = dtype or _dtype(operator)
    size = torch.Size(operator.input_shape).numel()
    units = torch.eye(size, dtype=dtype, device=_device(operator)).reshape(size, *operator.input_shape)
    with torch.no_grad():
        return operator(units).reshape(size, -1).T


def _tensors(operator: LinearOperator) -> list[Tensor]:
    return [t for t in [*operator.parameters(), *operator.buffers()] if t.is_floating_point() or t.is_complex()]


def _dtype(operator: LinearOperator) -> torch.dtype:
    return next((t.dtype for t in _tensors(operator)), torch.get_default_dtype())


def _device(operator: LinearOperator) -> torch.device:
    return next((t.device for t in _tensors(operator)), torch.device("cpu"))


def _random(batch: int, shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> Tensor:
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.promote_types(dtype, torch.float64)).to(dtype)


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """<a, b>, conjugate in a, per sample."""
    return (a.conj() * b).flatten(1).sum(1)


def _norms(a: Tensor) -> Tensor:
    return torch.linalg.vector_norm(a.detach().flatten(1), dim=1)


def _rounding(operator: LinearOperator, dtype: torch.dtype) -> float:
    size = max(torch.Size(operator.input_shape).numel(), torch.Size(operator.output_shape).numel())
    return 100 * torch.finfo(dtype).eps * max(10.0, size**0.5)
