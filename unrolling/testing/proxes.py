"""Conformance checks for a proximal operator ``prox(z, threshold)`` of a separable penalty."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError

from unrolling.testing.compare import close

Prox = Callable[..., Tensor]


def check_prox(
    prox: Prox,
    penalty: Callable[[Tensor], Tensor],
    threshold: float,
    *,
    dtype: torch.dtype = torch.float64,
    convex: bool = True,
    conjugate: Prox | None = None,
    span: float = 4.0,
) -> None:
    """Everything that this library asks of a prox of a separable penalty.

    Args:
        prox: z, threshold -> argmin_x 0.5 |x - z|^2 + threshold penalty(x), elementwise.
        penalty: of one entry, elementwise and real; infinity where x is forbidden.
        threshold: t > 0.
        dtype: of z, real or complex; double precision.
        convex: whether the penalty is convex, so that the prox is firmly non-expansive.
        conjugate: z, s -> prox of s f*, f being the penalty; checked against Moreau's decomposition when it is given.
        span: largest magnitude of z, well above the threshold.

    Raises:
        AssertionError: what is wrong.
    """
    check_minimiser(prox, penalty, threshold, dtype=dtype, span=span)
    check_thresholds(prox, threshold, dtype=dtype, span=span)
    if convex:
        check_firmly_nonexpansive(prox, threshold, dtype=dtype, span=span)
    if conjugate is not None:
        check_moreau(prox, conjugate, threshold, dtype=dtype, span=span)


def check_minimiser(
    prox: Prox,
    penalty: Callable[[Tensor], Tensor],
    threshold: float,
    *,
    dtype: torch.dtype = torch.float64,
    span: float = 4.0,
) -> None:
    """No point of a fine grid, nor zero, nor z itself, has a smaller 0.5 |x - z|^2 + t penalty(x) than the prox."""
    z = _points(dtype, span)
    axis = torch.linspace(-1.5 * span, 1.5 * span, 161 if dtype.is_complex else 20_001, dtype=torch.float64)
    grid = torch.complex(*torch.meshgrid(axis, axis, indexing="ij")).flatten() if dtype.is_complex else axis
    found = prox(z, threshold)
    assert found.shape == z.shape, f"the prox of a tensor {tuple(z.shape)} has shape {tuple(found.shape)}"

    def objective(x: Tensor, z: Tensor) -> Tensor:
        return 0.5 * (x - z).abs().square() + threshold * penalty(x)

    for point, value in zip(z, found, strict=True):
        candidates = torch.cat([grid, point.reshape(1), torch.zeros(1, dtype=dtype)])
        values = objective(candidates, point)
        best = int(values.argmin())
        reached = float(objective(value, point))
        assert reached <= float(values[best]) + 1e-12 * max(1.0, span**2), (
            f"prox({_text(point)}, {threshold}) = {_text(value)} has the objective {reached:.9g}, "
            f"and x = {_text(candidates[best])} has {float(values[best]):.9g}"
        )


def check_thresholds(prox: Prox, threshold: float, *, dtype: torch.dtype = torch.float64, span: float = 4.0) -> None:
    """A number, a tensor, and one threshold per entry give the same; the gradient in z and in the threshold agrees with
    finite differences off the kinks.
    """
    z = _points(dtype, span)
    real = torch.empty(0, dtype=dtype).real.dtype
    one, many = torch.tensor(threshold, dtype=real), torch.linspace(0.5, 1.5, len(z), dtype=real) * threshold
    wanted = prox(z, threshold)
    close(prox(z, one), wanted, "the prox with a tensor as threshold, compared with a number,", tolerance=1e-14)
    close(
        prox(z, one.expand(len(z))),
        wanted,
        "the prox with one threshold per entry, compared with a number,",
        tolerance=1e-14,
    )
    by_entry = torch.cat([prox(z[i : i + 1], float(t)) for i, t in enumerate(many)])
    close(
        prox(z, many),
        by_entry,
        "the prox with different thresholds, compared with one entry at a time,",
        tolerance=1e-14,
    )
    for t in (one.clone(), many.clone()):
        try:
            torch.autograd.gradcheck(prox, (z.clone().requires_grad_(), t.requires_grad_()), eps=1e-7, atol=1e-5)
        except GradcheckError as error:
            raise AssertionError(f"the gradient of the prox disagrees with finite differences: {error}") from error


def check_firmly_nonexpansive(
    prox: Prox, threshold: float, *, dtype: torch.dtype = torch.float64, span: float = 4.0, pairs: int = 2000
) -> None:
    """|P x - P y|^2 <= Re <P x - P y, x - y> for random pairs: true of the prox of every convex penalty."""
    generator = torch.Generator().manual_seed(1)
    x, y = (span * torch.randn(pairs, 3, generator=generator, dtype=dtype) for _ in range(2))
    y[: pairs // 2] = x[: pairs // 2] + 0.1 * y[: pairs // 2]  # near pairs find steep places
    moved = prox(x, threshold) - prox(y, threshold)
    excess = (moved.abs().square() - (moved.conj() * (x - y)).real).sum(1)
    worst = int(excess.argmax())
    assert float(excess[worst]) <= 1e-10 * span**2, (
        f"the prox is not firmly non-expansive: |P x - P y|^2 exceeds <P x - P y, x - y> by {float(excess[worst]):.3g} "
        f"at x = {_text(x[worst])}, y = {_text(y[worst])}"
    )


def check_moreau(
    prox: Prox, conjugate: Prox, threshold: float, *, dtype: torch.dtype = torch.float64, span: float = 4.0
) -> None:
    """Moreau's decomposition: z = prox_{t f}(z) + t prox_{f* / t}(z / t)."""
    z = _points(dtype, span)
    close(
        prox(z, threshold) + threshold * conjugate(z / threshold, 1 / threshold),
        z,
        "prox_{t f}(z) + t prox_{f*/t}(z/t), compared with z,",
        tolerance=1e-12,
    )


def _points(dtype: torch.dtype, span: float) -> Tensor:
    """Numbers on both sides of every threshold, none of them round."""
    generator = torch.Generator().manual_seed(0)
    if dtype.is_complex:
        return (
            span
            * torch.complex(*(2 * torch.rand(2, 12, generator=generator, dtype=torch.float64) - 1)).to(dtype)
            / 2**0.5
        )
    return span * (2 * torch.rand(60, generator=generator, dtype=dtype) - 1)


def _text(values: Tensor) -> str:
    return str(values.tolist())
