"""When plug-and-play methods converge: what Ryu et al. 2019 ask of the data term, the denoiser and the step, measured
on the problem at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unrolling.algorithms.splitting.data_terms import DataTerm, Problem
from unrolling.core import tree
from unrolling.core.arguments import check_count, check_numbers
from unrolling.core.refusals import explained
from unrolling.operators.norms import spectral_norm

NOTHING = 1e-6  # of L, below which mu is no more than rounding


@dataclass(frozen=True)
class PlugAndPlayConditions:
    """What is known of the convergence of plug-and-play methods; ``str()`` says it in words.

    Ryu, Liu, Wang, Chen, Wang and Yin 2019, arXiv:1905.05406, theorems 1 and 2, for f mu-strongly convex with an
    L-Lipschitz gradient and D - I epsilon-Lipschitz.

    Attributes:
        mu: smallest eigenvalue of A^H A; 0 where it is no more than rounding.
        largest: L, the largest.
        estimate: of epsilon: the largest norm of the Jacobian of D - I at the images that were given. It is a lower
            bound: other images may have a larger one. None without images.
        bound: an upper bound of epsilon that the layers guarantee; None where there is none.
    """

    mu: float
    largest: float
    estimate: float | None = None
    bound: float | None = None

    @property
    def epsilon(self) -> float | None:
        """What is reckoned with: the bound where there is one, else the estimate."""
        return self.estimate if self.bound is None else self.bound

    @property
    def gradient_steps(self) -> tuple[float, float] | None:
        """The open range of steps alpha with which PnP-FBS contracts, epsilon / (mu (1 + epsilon)) < alpha < 2 / L -
        epsilon / (L (1 + epsilon)); None where no step does: it exists for epsilon < 2 mu / (L - mu).
        """
        e = self.epsilon
        if e is None or self.mu <= 0:
            return None
        low, high = e / (self.mu * (1 + e)), (2 - e / (1 + e)) / self.largest
        return (low, high) if low < high else None

    @property
    def least_splitting_step(self) -> float | None:
        """The step alpha above which PnP-DRS and PnP-ADMM contract, epsilon / ((1 + epsilon - 2 epsilon^2) mu); None
        where none does: it takes epsilon < 1 and mu > 0.
        """
        e = self.epsilon
        if e is None or self.mu <= 0 or e >= 1:
            return None
        return e / ((1 + e - 2 * e * e) * self.mu)

    def gradient_rate(self, step: float) -> float | None:
        """(1 + epsilon) max(|1 - alpha mu|, |1 - alpha L|): by how much a step of PnP-FBS at most multiplies distances;
        below one it contracts.
        """
        e = self.epsilon
        return None if e is None else (1 + e) * max(abs(1 - step * self.mu), abs(1 - step * self.largest))

    def __str__(self) -> str:
        lines = [f"data term: mu = {self.mu:.4g}, L = {self.largest:.4g}"]
        if self.bound is not None:
            lines.append(f"denoiser: epsilon <= {self.bound:.4g} for all images, by the norms of its layers")
        if self.estimate is not None:
            lines.append(
                f"denoiser: epsilon about {self.estimate:.4g}, an estimate at the images given; others may have more"
            )
        if self.epsilon is None:
            lines.append("denoiser: epsilon unknown; give images to estimate it")
            return "\n".join(lines)
        basis = "" if self.bound is not None else ", if the estimate held everywhere"
        if self.mu <= 0:
            lines.append(
                "mu = 0: the data do not see all of the image, f is not strongly convex, and no step is known to make "
                "a plug-and-play method contract. A firmly non-expansive denoiser (Averaged) still makes PnP-FBS with "
                "a step below 2 / L, PnP-DRS and PnP-ADMM converge where they have a fixed point."
            )
            return "\n".join(lines)
        steps = self.gradient_steps
        if steps is None:
            ratio = 2 * self.mu / (self.largest - self.mu)
            lines.append(f"PnP-FBS: no step is known to contract; epsilon < 2 mu / (L - mu) = {ratio:.4g} would be")
        else:
            lines.append(f"PnP-FBS: contracts for steps in ({steps[0]:.4g}, {steps[1]:.4g}){basis}")
        least = self.least_splitting_step
        if least is None:
            lines.append("PnP-DRS, PnP-ADMM: no step is known to contract; epsilon < 1 would be")
        else:
            lines.append(
                f"PnP-DRS, PnP-ADMM: contract for steps above {least:.4g}, ADMM's penalty below 1 / that{basis}"
            )
        return "\n".join(lines)


@explained
def plug_and_play_conditions(
    data_term: DataTerm,
    data: Any,
    denoiser: Callable[[Tensor], Tensor] | None = None,
    images: Tensor | None = None,
    *,
    bound: float | None = None,
    iterations: int = 30,
) -> PlugAndPlayConditions:
    """mu, L and epsilon of a problem.

    Args:
        data_term: f = 0.5 |A x - y|^2.
        data: of the problem; kernels, masks and sizes count, and of several samples the worst.
        denoiser: D, images to images at the level in use; one with ``residual_bound()`` (``LipschitzDnCNN``) says what
            its layers guarantee.
        images: where the Jacobian of D - I is looked at; best those that the method meets, such as its result.
        bound: an upper bound of epsilon that is known from elsewhere.
        iterations: power iterations on the Jacobian.

    Raises:
        TypeError, ValueError: what the data term refuses.
    """
    check_count(iterations, "iterations")
    data_term.check(data)
    with torch.no_grad():
        mu, largest = curvature(data_term, data_term(data))
    if bound is None and hasattr(denoiser, "residual_bound"):
        bound = denoiser.residual_bound()  # pyright: ignore[reportFunctionMemberAccess, reportOptionalMemberAccess]
    estimate = None
    if denoiser is not None and images is not None:
        estimate = float(residual_lipschitz(denoiser, images, iterations=iterations).amax())
    return PlugAndPlayConditions(mu, largest, estimate, bound)


def curvature(data_term: DataTerm, problem: Problem) -> tuple[float, float]:
    """The smallest and the largest eigenvalue of A^H A, of all samples."""
    if problem.spectrum is not None:
        low, high = float(problem.spectrum.amin()), float(problem.spectrum.amax())
        return (low if low > NOTHING * high else 0.0), high
    gram = _Gram(data_term, problem)
    shape, like = tuple(problem.back.shape), problem.back.new_empty(())
    # A^H A is its own adjoint, so that its norm is L; that of L I - A^H A is L - mu.
    largest = spectral_norm(gram, shape, like, 1e-4)
    gram.shift = largest
    low = largest - spectral_norm(gram, shape, like, 1e-4)
    return (low if low > 3e-4 * largest else 0.0), largest


class _Gram:
    """A^H A, or c I - A^H A, of all samples together as one operator on (1, batch, ...)."""

    shift: float | None = None

    def __init__(self, data_term: DataTerm, problem: Problem) -> None:
        self.data_term, self.problem = data_term, problem

    def __call__(self, x: Tensor) -> Tensor:
        image = x.squeeze(0)
        seen = self.data_term.gradient(image, self.problem) + self.problem.back
        return (seen if self.shift is None else self.shift * image - seen).unsqueeze(0)

    adjoint = __call__


@explained
def residual_lipschitz(denoiser: Callable[[Tensor], Tensor], images: Tensor, *, iterations: int = 30) -> Tensor:
    """|J|_2 of D - I at each image, (batch,), from below by power iterations v <- J^T J v / |J^T J v|.

    Args:
        denoiser: D, differentiable; each sample is denoised for itself.
        images: (batch, ...).
        iterations: of the power method.
    """
    check_numbers(images, "images", "residual_lipschitz", real=True)
    point = images.detach().clone().requires_grad_()
    vector = torch.randn(images.shape, generator=torch.Generator().manual_seed(0), dtype=images.dtype)
    vector = _unit(vector.to(images.device))
    with torch.enable_grad():
        moved = denoiser(point) - point
        # J v is the derivative of J^T w in w along v.
        weights = torch.zeros_like(moved).requires_grad_()
        (pulled,) = torch.autograd.grad(moved, point, weights, create_graph=True, retain_graph=True)
        found = images.new_zeros(images.shape[0])
        for _ in range(iterations):
            (image,) = torch.autograd.grad(pulled, weights, vector, retain_graph=True)
            found = torch.linalg.vector_norm(tree.rows(image), dim=1)
            (back,) = torch.autograd.grad(moved, point, image, retain_graph=True)
            vector = _unit(back)
    return found.detach()


def _unit(x: Tensor) -> Tensor:
    """Each sample over its norm; zeros stay."""
    norm = torch.linalg.vector_norm(tree.rows(x), dim=1)
    return x / torch.where(norm == 0, 1, norm).reshape(-1, *[1] * (x.ndim - 1))
