"""The prox of a norm of D x, which has no closed form: total variation is the best known. Solved in its dual."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from unrolling.core.arguments import check_count
from unrolling.core.refusals import explain_call
from unrolling.prox.isotropic import IsotropicShrink


class Transform(Protocol):
    """What is needed of D: its action and that of its adjoint."""

    def __call__(self, x: Tensor) -> Tensor: ...

    def adjoint(self, y: Tensor) -> Tensor: ...


@explain_call
class AnalysisProx(nn.Module):
    """prox of t sum_p |(D x)_p|: argmin_x 0.5 |x - z|^2 + t sum_p |(D x)_p|, D the gradient for isotropic total
    variation.

    x = z - D^H q, q the minimiser of 0.5 |z - D^H q|^2 over |q_p| <= t, found by accelerated projected gradient steps
    from q = 0 (Chambolle 2004, doi:10.1023/B:JMIV.0000011325.36760.1e; accelerated: Beck and Teboulle 2009,
    doi:10.1109/TIP.2009.2028250). The error of q falls as 1 / iterations^2.

    Args:
        transform: D, a linear operator (or anything with ``adjoint``).
        norm_square: |D|_2^2; 8 for finite differences of images.
        iterations: of the dual; the same for every call.
        dim: along which the entries of the vectors (D x)_p lie; None takes absolute values (anisotropic).

    Raises:
        ValueError: fewer than one iteration, a norm that is not positive.
    """

    def __init__(self, transform: Transform, norm_square: float, *, iterations: int = 20, dim: int | None = 1) -> None:
        super().__init__()
        check_count(iterations, "iterations")
        if not norm_square > 0:
            raise ValueError(f"norm_square is {norm_square}; it is |D|^2, which is positive")
        self.transform, self.norm_square, self.iterations, self.dim = transform, norm_square, iterations, dim

    def forward(self, z: Tensor, threshold: Tensor | float) -> Tensor:
        """The minimiser.

        Args:
            z: (batch, ...), as the transform takes it.
            threshold: t >= 0, a number or a real tensor that broadcasts to D z.
        """
        dual = ahead = torch.zeros_like(self.transform(z))
        t = 1.0
        for _ in range(self.iterations):
            x = z - self.transform.adjoint(ahead)
            new = self._project(ahead + self.transform(x) / self.norm_square, threshold)
            following = (1 + (1 + 4 * t * t) ** 0.5) / 2
            ahead = new + ((t - 1) / following) * (new - dual)
            dual, t = new, following
        return z - self.transform.adjoint(dual)

    def penalty(self, x: Tensor, threshold: Tensor | float) -> Tensor:
        """t sum_p |(D x)_p| of each sample, (batch,)."""
        image = self.transform(x)
        norms = image.abs() if self.dim is None else torch.linalg.vector_norm(image, dim=self.dim, keepdim=True)
        return (threshold * norms).flatten(1).sum(1)

    def _project(self, q: Tensor, threshold: Tensor | float) -> Tensor:
        """Onto |q_p| <= t: what a shrinkage takes away."""
        if self.dim is not None:
            return q - IsotropicShrink(self.dim)(q, threshold)
        if not q.is_complex():
            return (
                torch.minimum(torch.maximum(q, -threshold), threshold)
                if isinstance(threshold, Tensor)
                else (q.clamp(-threshold, threshold))
            )
        # Where the size is at most t, not where it exceeds it: NaN, in either, then is what comes out.
        return torch.where(q.abs() <= threshold, q, torch.sgn(q) * threshold)
