"""Least squares that alternate with a denoiser: the iteration of MoDL and of unrolled optimisation with deep priors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from unrolling.algorithms.sparse.dictionary import check_weight, scalar_parameter
from unrolling.algorithms.splitting.data_terms import DataTerm, Problem
from unrolling.core import Iteration, Positive, constrain
from unrolling.core.arguments import check_count, check_range
from unrolling.operators.normal_equations import conjugate_gradients, solve_positive


class DenoisedLeastSquares(Iteration):
    """x+ = (A^H A + lambda I)^-1 (A^H y + lambda D(x)): the minimiser of |A x - y|^2 + lambda |x - D(x_before)|^2.

    Aggarwal, Mani and Jacob 2019 (MoDL), doi:10.1109/TMI.2018.2865356, with one D for all layers; Diamond, Sitzmann,
    Heide and Wetzstein 2017 (unrolled optimisation with deep priors, ODP), arXiv:1705.08041, in its proximal gradient
    form, x[k+1/2] = CNN_k(x[k]), x[k+1] = argmin alpha_k |A x - y|^2 + |x - x[k+1/2]|^2, with alpha_k = 1 / lambda and
    D of each layer. ``HalfQuadraticSplitting`` with the identity as transform and a constant penalty lambda is the same
    iteration with a prox as D. With D the identity this is Tikhonov's regularisation iterated, which tends to the
    least-squares solution: the proximal point algorithm (Rockafellar 1976, doi:10.1137/0314056).

    Where A^H A is diagonal in the Fourier basis (a known periodic blur, a sampled Fourier transform, denoising) the
    equation is solved in closed form; else by at most ``steps`` conjugate gradients, which start at D(x). The step is
    computed as D(x) + (A^H A + lambda I)^-1 A^H (y - A D(x)), whose second term vanishes as lambda grows.

    For noise of standard deviation sigma and an error tau that D(x) still has, lambda = (sigma / tau)^2 weighs the two
    as their variances do: the level of the noise enters here and nowhere else.

    Parameters: ``weight`` lambda, positive; those of ``denoiser``.

    Args:
        data_term: 0.5 |A x - y|^2.
        denoiser: D, images to images; a module may have parameters. None is the identity.
        weight: lambda > 0.
        start: ``adjoint``, x = A^H y, or ``regularised``, the step that D(x) = the data term's own start (A^H y, or the
            blurred image) leads to.
        steps: of conjugate gradients, at most.
        tolerance: relative residual at which they stop.
        real: whether D takes real images alone, so that complex data are refused.
        gradient: ``implicit``, by one more such equation in the backward pass, exact where both are solved; or
            ``unrolled``, through the steps, which are stored. Closed forms are differentiated as they are.

    Raises:
        ValueError: a weight that is not positive, an unknown start, fewer than one step, an unknown gradient.
    """

    weight: Tensor

    def __init__(
        self,
        data_term: DataTerm,
        denoiser: Callable[[Tensor], Tensor] | None = None,
        weight: float | Tensor = 0.05,
        *,
        start: Literal["adjoint", "regularised"] = "adjoint",
        steps: int = 10,
        tolerance: float = 1e-5,
        real: bool = False,
        gradient: Literal["implicit", "unrolled"] = "implicit",
    ) -> None:
        super().__init__()
        check_count(steps, "steps")
        check_range(tolerance, "tolerance", 0.0)
        if gradient not in ("implicit", "unrolled"):
            raise ValueError(f"gradient is {gradient!r}; it is 'implicit' or 'unrolled'")
        if start not in ("adjoint", "regularised"):
            raise ValueError(f"start is {start!r}; it is 'adjoint' or 'regularised'")
        value = check_weight(weight)
        if not bool((value > 0).all()):
            raise ValueError(f"weight must be positive; got {weight}")
        self.data_term = data_term
        self.prepare = data_term
        self.denoiser = denoiser
        self.weight = scalar_parameter(value, torch.zeros(()))
        constrain(self, "weight", Positive())
        self.real = real
        self.begin, self.steps, self.tolerance, self.through = start, steps, tolerance, gradient

    def start(self, problem: Problem) -> Tensor:
        """A^H y, or the least-squares step from the data term's own start."""
        if self.begin == "adjoint":
            return problem.back
        return self._agreed(self.data_term.start(problem), problem)

    def forward(self, state: Tensor, problem: Problem) -> Tensor:
        return self._agreed(state if self.denoiser is None else self.denoiser(state), problem)

    def _agreed(self, aim: Tensor, problem: Problem) -> Tensor:
        """The minimiser of |A x - y|^2 + lambda |x - aim|^2: (A^H A + lambda I) (x - aim) = A^H (y - A aim)."""
        if problem.spectrum is not None:
            return aim - self.data_term.solve(self.data_term.gradient(aim, problem), self.weight, problem)
        left = problem.back - self._gram(aim, problem)

        def apply(x: Tensor) -> Tensor:
            return self._gram(x, problem) + self.weight * x

        if self.through == "unrolled":
            # to the last step: what stopped early would differ between the samples of a batch
            return aim + conjugate_gradients(apply, left, tolerance=0.0, max_iterations=self.steps)
        return aim + solve_positive(apply, left, tolerance=self.tolerance, max_iterations=self.steps)

    def check(self, data: Any) -> None:
        super().check(data)
        self.data_term.check(data)
        kind = self.data_term.measured(data).dtype
        if self.real and kind.is_complex:
            raise TypeError(f"the image in data is {kind}, and the denoiser takes real ones: use image.real")

    def advice(self) -> str:
        return "a larger weight or more steps of conjugate gradients"

    def _gram(self, x: Tensor, problem: Problem) -> Tensor:
        return self.data_term.adjoint(self.data_term.image(x, problem.data), problem.data)
