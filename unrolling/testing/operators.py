"""Conformance checks for a linear operator."""

from __future__ import annotations

import torch
from torch import Tensor

from unrolling.operators import LinearOperator, RealOutputs
from unrolling.testing.compare import close


def check_operator(
    operator: LinearOperator,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: torch.dtype | None = None,
    batch: int = 3,
    dense_limit: int = 500_000,
) -> None:
    """Everything that this library asks of a linear operator.

    One between real and complex vectors, such as the Fourier transform of real signals, is linear over the real numbers
    and has the adjoint of Re <A x, y>: norm and algebra are then those of the real matrix, complex numbers being pairs.

    Args:
        operator: it is not changed.
        shape: of one input, where the operator takes any size.
        dtype: of the inputs, real or complex; by default that of the operator's tensors.
        batch: number of vectors at a time.
        dense_limit: largest number of entries up to which the norm and the algebra are compared with the dense matrix.

    Raises:
        AssertionError: what is wrong.
    """
    check_linearity(operator, shape=shape, dtype=dtype, batch=batch)
    check_adjoint(operator, shape=shape, dtype=dtype, batch=batch)
    if type(operator).solve_normal is not LinearOperator.solve_normal:
        check_normal_equations(operator, shape=shape, dtype=dtype, batch=batch)
    operator, shape, dtype = _over_reals(operator, shape, dtype)
    inputs, outputs = _shapes(operator, shape, dtype)
    entries = torch.Size(inputs).numel() * torch.Size(outputs).numel()
    if entries <= dense_limit:
        check_norm(operator, shape=shape, dtype=dtype)
        check_algebra(operator, shape=shape, dtype=dtype, batch=batch)


def check_linearity(
    operator: LinearOperator, *, shape: tuple[int, ...] | None = None, dtype: torch.dtype | None = None, batch: int = 3
) -> None:
    """A(a x + b z) = a A x + b A z with a shape as promised, sample by sample, and the same for the adjoint."""
    dtype = dtype or _dtype(operator)
    inputs, outputs = _shapes(operator, shape, dtype)
    there_dtype = _output_dtype(operator, inputs, dtype)
    complex_linear = dtype.is_complex and there_dtype.is_complex
    for name, side, here, there, kind in (
        ("A", operator, inputs, outputs, dtype),
        ("A.H", operator.H, outputs, inputs, there_dtype),
    ):
        x, z = (_random(batch, here, kind, seed) for seed in (0, 1))
        a, b = (1.5 - 0.5j, -0.75 + 2j) if complex_linear else (1.5, -0.75)
        image = side(x)
        wanted = (batch, *there)
        assert tuple(image.shape) == wanted, (
            f"{name}(x) has shape {tuple(image.shape)} for x {tuple(x.shape)}; it should be {wanted}"
        )
        close(
            side(a * x + b * z),
            a * image + b * side(z),
            f"{name}(a x + b z), compared with a {name} x + b {name} z,",
            tolerance=_rounding(x, image),
        )
        for sample in range(batch):
            close(
                side(x[sample : sample + 1]),
                image[sample : sample + 1],
                f"{name} of sample {sample} alone",
                tolerance=_rounding(x, image),
            )


def check_adjoint(
    operator: LinearOperator, *, shape: tuple[int, ...] | None = None, dtype: torch.dtype | None = None, batch: int = 3
) -> None:
    """<A x, y> = <x, A^H y>, between real and complex vectors in its real part, and the gradient of Re <A x, y> in x is
    A^H y: automatic differentiation sees the same operator.
    """
    dtype = dtype or _dtype(operator)
    inputs, outputs = _shapes(operator, shape, dtype)
    there = _output_dtype(operator, inputs, dtype)
    x, y = _random(batch, inputs, dtype, 2).requires_grad_(), _random(batch, outputs, there, 3)
    image, back = operator(x), operator.adjoint(y)
    assert back.dtype == dtype, f"`adjoint` gives {back.dtype} where the operator takes {dtype}"
    left, right = _inner(image.detach(), y), _inner(x.detach(), back.detach())
    if there.is_complex != dtype.is_complex:
        left, right = left.real, right.real
    scale = (_norms(image) * _norms(y) + _norms(x) * _norms(back)).max()
    error = float((left - right).abs().max())
    assert error <= _rounding(x, y) * float(scale), (
        f"<A x, y> and <x, A^H y> differ by {error:.3g} of {float(scale):.3g}: `adjoint` is not the adjoint"
    )
    (gradient,) = torch.autograd.grad(_inner(image, y).real.sum(), x)
    close(gradient, back.detach(), "the gradient of Re <A x, y> in x, compared with A^H y,", tolerance=_rounding(x, y))


def check_norm(
    operator: LinearOperator,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: torch.dtype | None = None,
    tolerance: float = 1e-3,
) -> None:
    """``A.norm()`` is the largest singular value of the dense matrix, from below."""
    dtype = dtype or _dtype(operator)
    A = dense(operator, dtype, shape)
    exact = float(torch.linalg.matrix_norm(A, 2))
    found = operator.norm(dtype=dtype) if shape is None else operator.norm(shape=shape, dtype=dtype)
    assert abs(found - exact) <= tolerance * exact, (
        f"A.norm() is {found:.6g}, and the largest singular value is {exact:.6g}"
    )
    assert found <= exact * (1 + _rounding(A)), f"A.norm() is {found:.9g}, above the largest singular value {exact:.9g}"


def check_algebra(
    operator: LinearOperator, *, shape: tuple[int, ...] | None = None, dtype: torch.dtype | None = None, batch: int = 3
) -> None:
    """A.H, A.H @ A, A + A, A - c A, c A and -A are the operators of the dense algebra, each with its adjoint."""
    dtype = dtype or _dtype(operator)
    inputs, outputs = _shapes(operator, shape, dtype)
    A = dense(operator, dtype, inputs)
    c = 0.5 - 2j if dtype.is_complex else -1.5
    scalar = torch.tensor(c, dtype=dtype, device=A.device)
    cases = {
        "A.H": (operator.H, A.mH, outputs),
        "A.H.H": (operator.H.H, A, inputs),
        "A.H @ A": (operator.H @ operator, A.mH @ A, inputs),
        "A @ A.H": (operator @ operator.H, A @ A.mH, outputs),
        "A + A": (operator + operator, 2 * A, inputs),
        "A - c A": (operator - c * operator, (1 - c) * A, inputs),
        "c A": (c * operator, c * A, inputs),
        "c A, c a tensor": (scalar * operator, c * A, inputs),
        "-A": (-operator, -A, inputs),
        "(c A).H": ((c * operator).H, (c * A).mH, outputs),
    }
    for name, (made, wanted, side) in cases.items():
        close(dense(made, dtype, side), wanted, f"the dense matrix of {name}", tolerance=_rounding(A))
        try:
            check_adjoint(made, shape=side, dtype=dtype, batch=batch)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error


def check_normal_equations(
    operator: LinearOperator,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: torch.dtype | None = None,
    batch: int = 3,
    rho: float = 0.5,
) -> None:
    """(A^H A + rho I) ``solve_normal``(b, rho) = b."""
    dtype = dtype or _dtype(operator)
    b = _random(batch, _shapes(operator, shape, dtype)[0], dtype, 4)
    x = operator.solve_normal(b, rho)
    condition = 1 + float(torch.linalg.matrix_norm(dense(operator, dtype, shape), 2)) ** 2 / rho
    close(
        operator.adjoint(operator(x)) + rho * x,
        b,
        "(A^H A + rho I) applied to solve_normal(b, rho)",
        tolerance=condition * _rounding(b),
    )


def dense(operator: LinearOperator, dtype: torch.dtype | None = None, shape: tuple[int, ...] | None = None) -> Tensor:
    """The matrix of an operator, (outputs, inputs), from its action on the unit vectors; ``shape`` of one input, where
    the operator takes any size.
    """
    dtype = dtype or _dtype(operator)
    inputs, _ = _shapes(operator, shape, dtype)
    size = torch.Size(inputs).numel()
    units = torch.eye(size, dtype=dtype, device=_device(operator)).reshape(size, *inputs)
    with torch.no_grad():
        return operator(units).reshape(size, -1).T


def _shapes(
    operator: LinearOperator, shape: tuple[int, ...] | None, dtype: torch.dtype | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of one input and one output; where the operator takes any size, those that belong to ``shape``."""
    inputs = tuple(operator.input_shape if shape is None else shape)
    if any(size is None for size in inputs):
        raise ValueError(f"{type(operator).__name__} takes inputs of any size; say which to check, shape=(...)")
    outputs = tuple(operator.output_shape)
    if any(size is None for size in outputs):
        with torch.no_grad():
            outputs = tuple(
                operator(torch.zeros(1, *inputs, dtype=dtype or _dtype(operator), device=_device(operator))).shape[1:]
            )
    return inputs, outputs


def _output_dtype(operator: LinearOperator, inputs: tuple[int, ...], dtype: torch.dtype) -> torch.dtype:
    with torch.no_grad():
        return operator(torch.zeros(1, *inputs, dtype=dtype, device=_device(operator))).dtype


def _over_reals(
    operator: LinearOperator, shape: tuple[int, ...] | None, dtype: torch.dtype | None
) -> tuple[LinearOperator, tuple[int, ...] | None, torch.dtype]:
    """An operator between real and complex vectors as one between real ones, with the shape and dtype of its inputs."""
    dtype = dtype or _dtype(operator)
    inputs, _ = _shapes(operator, shape, dtype)
    there = _output_dtype(operator, inputs, dtype)
    if there.is_complex == dtype.is_complex:
        return operator, shape, dtype
    if there.is_complex:
        return RealOutputs(operator), shape, dtype
    return RealOutputs(operator.H).H, (*inputs, 2), there


def _tensors(operator: LinearOperator) -> list[Tensor]:
    return [t for t in [*operator.parameters(), *operator.buffers()] if t.is_floating_point() or t.is_complex()]


def _dtype(operator: LinearOperator) -> torch.dtype:
    return next((t.dtype for t in _tensors(operator)), torch.get_default_dtype())


def _device(operator: LinearOperator) -> torch.device:
    return next((t.device for t in _tensors(operator)), torch.device("cpu"))


def _random(batch: int, shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> Tensor:
    return torch.randn(
        batch, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.promote_types(dtype, torch.float64)
    ).to(dtype)


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """<a, b>, conjugate in a, per sample."""
    return (a.conj() * b).flatten(1).sum(1)


def _norms(a: Tensor) -> Tensor:
    return torch.linalg.vector_norm(a.detach().flatten(1), dim=1)


def _rounding(*vectors: Tensor) -> float:
    size = max(t[0].numel() for t in vectors)
    return 100 * torch.finfo(vectors[0].dtype).eps * max(10.0, size**0.5)
