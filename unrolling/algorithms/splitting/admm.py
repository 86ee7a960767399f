"""The alternating direction method of multipliers with any number of splittings."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from unrolling.algorithms.sparse.dictionary import check_weight
from unrolling.algorithms.sparse.ista import penalty_of
from unrolling.algorithms.splitting.data_terms import DataTerm, Problem
from unrolling.algorithms.splitting.objectives import objective_of
from unrolling.core import Iteration, Positive, constrain
from unrolling.core.arguments import check_count, check_range
from unrolling.core.refusals import explain
from unrolling.operators.fourier import KSpace, fft, ifft
from unrolling.operators.linear import LinearOperator
from unrolling.operators.normal_equations import solve_positive
from unrolling.operators.spectral import Identity, has_spectrum

Prox = Callable[..., Tensor]


class ADMMState(NamedTuple):
    """The state of ``ADMM``."""

    x: Tensor  # (batch, height, width)
    z: tuple[Tensor, ...]  # one per splitting, of the shape of D x
    dual: tuple[Tensor, ...]  # the scaled multipliers alpha


@explain
class Splitting(nn.Module):
    """lambda g(D x), with z = D x split off.

    Parameters: ``penalty`` rho and ``rate`` eta, positive; ``weight`` lambda, positive, where there is one; those of
    ``transform``, ``prox`` and ``synthesis``.

    Args:
        transform: D, a linear operator.
        prox: (z, threshold) -> the prox of g, called with lambda / rho; (z) -> what takes its place, such as a learned
            shrinkage, where ``weight`` is None.
        weight: lambda >= 0, a number or a tensor that broadcasts to D x.
        penalty: rho > 0, a number, or (channels, 1, 1) for filters.
        rate: eta of the multipliers, likewise; 1 is ADMM.
        synthesis: an operator of the same shape that takes the place of D in the equation for x; D itself by default.

    Raises:
        ValueError: a penalty or a rate that is not positive, a negative weight, a synthesis of another shape.
    """

    weight: Tensor | None
    penalty: Tensor
    rate: Tensor
    added: tuple[str, ...] = ()  # parameters at whose classical values it is a Splitting

    def __init__(
        self,
        transform: LinearOperator,
        prox: Prox,
        weight: float | Tensor | None = None,
        *,
        penalty: float | Tensor = 1.0,
        rate: float | Tensor = 1.0,
        synthesis: LinearOperator | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("penalty", penalty), ("rate", rate)):
            if not bool((torch.as_tensor(value) > 0).all()):
                raise ValueError(f"{name} must be positive; got {value}")
        if synthesis is not None and synthesis.output_shape != transform.output_shape:
            raise ValueError(
                f"synthesis gives {synthesis.output_shape}, and the transform {transform.output_shape}; they must agree"
            )
        self.transform, self.prox, self.synthesis = transform, prox, synthesis
        like = next(
            (t for t in [*transform.parameters(), *transform.buffers()] if t.is_floating_point()), torch.zeros(())
        )
        self.penalty, self.rate = (nn.Parameter(torch.as_tensor(v, dtype=like.dtype).clone()) for v in (penalty, rate))
        constrain(self, "penalty", Positive())
        constrain(self, "rate", Positive())
        if weight is None:
            self.weight = None
        else:
            self.weight = nn.Parameter(check_weight(weight).to(like.dtype).clone())
            constrain(self, "weight", Positive())

    @property
    def back(self) -> LinearOperator:
        """What stands for D in the equation for x."""
        return self.transform if self.synthesis is None else self.synthesis

    def at(self, problem: Problem) -> Any:
        """The splitting for a problem: itself, unless its parameters depend on the data."""
        return self

    def shrink(self, u: Tensor) -> Tensor:
        """prox of (lambda / rho) g, or what takes its place."""
        return self.prox(u) if self.weight is None else self.prox(u, self.weight / self.penalty)


class ADMM(Iteration):
    """ADMM for min_x 0.5 |A x - y|^2 + sum_i lambda_i g_i(D_i x), in scaled form (survey (12)-(15)):

        z_i <- prox_{(lambda_i / rho_i) g_i}(D_i x + alpha_i),    alpha_i <- alpha_i + eta_i (D_i x - z_i),
        x <- (A^H A + sum_i rho_i D_i^H D_i)^-1 (A^H y + sum_i rho_i D_i^H (z_i - alpha_i)).

    Boyd, Parikh, Chu, Peleato and Eckstein 2011, doi:10.1561/2200000016; Yang, Sun, Li and Xu 2020 (ADMM-CSNet),
    doi:10.1109/TPAMI.2018.2883941. A step begins with z and ends with x, which is the estimate; it starts at the x that
    z = alpha = 0 lead to. (The penalty in (14) belongs inside the sum over i; the scaled form leaves out the constant
    -(rho_i / 2) |alpha_i|^2.)

    The equation for x is solved in the Fourier basis where A and all D_i allow that, in closed form where D is the
    identity alone, else by conjugate gradients (``inner``).

    Parameters: those of ``splittings`` by number, ``splittings.0.penalty``; with ``separate_start``, also those of
    ``first``.

    Args:
        data_term: 0.5 |A x - y|^2.
        splittings: the penalties on x.
        dual_update: ``survey`` as above, or ``damped``: alpha_i <- eta_i alpha_i + (D_i x - z_i).
        start: ``zero`` starts at the x that z = alpha = 0 lead to, ``data`` at the data term's own start, such as a
            linear estimate.
        separate_start: with ``zero``, whether the first x has penalties and operators of its own, which then are
            parameters of ``first``.
        hard_consistency: whether the estimate has its measured frequencies replaced by the data, which must be
            ``KSpace``.
        inner: tolerance and largest number of iterations of conjugate gradients.

    Raises:
        ValueError: no splitting, an unknown dual update or start.
    """

    def __init__(
        self,
        data_term: DataTerm,
        splittings: Sequence[Splitting],
        *,
        dual_update: Literal["survey", "damped"] = "survey",
        start: Literal["zero", "data"] = "zero",
        separate_start: bool = False,
        hard_consistency: bool = False,
        inner: tuple[float, int] = (1e-6, 50),
    ) -> None:
        super().__init__()
        if not splittings:
            raise ValueError("ADMM splits at least one penalty off; splittings is empty")
        if dual_update not in ("survey", "damped"):
            raise ValueError(f"dual_update is {dual_update!r}; it is 'survey' or 'damped'")
        if start not in ("zero", "data") or (start == "data" and separate_start):
            raise ValueError(f"start is 'zero' or 'data', and a separate start is one at zero; got {start!r}")
        check_range(inner[0], "inner's tolerance", 0.0)
        check_count(inner[1], "inner's iterations")
        self.data_term = data_term
        self.prepare = data_term
        self.splittings = nn.ModuleList(splittings)
        self.first = (
            nn.ModuleList(_Quadratic(copy.deepcopy(s.back), s.penalty.detach()) for s in splittings)
            if separate_start
            else None
        )
        self.dual_update, self.begin, self.hard_consistency, self.inner = dual_update, start, hard_consistency, inner

    def atoms(self) -> Tensor | None:
        """The filters of the first splitting as pictures, (count, height, width); None where it has none."""
        taps = getattr(self.splittings[0].transform, "taps", None)
        return None if taps is None else taps()

    def start(self, problem: Problem) -> ADMMState:
        """z = alpha = 0 and the x that they lead to, or that of the data term."""
        quadratics: Any = [part.at(problem) for part in self._parts()] if self.first is None else self.first
        x = self.data_term.start(problem) if self.begin == "data" else self._solve(problem.back, quadratics, problem)
        zeros = tuple(torch.zeros_like(part.transform(x)) for part in self._parts())
        return ADMMState(x, zeros, zeros)

    def forward(self, state: ADMMState, problem: Problem) -> ADMMState:
        z, dual, right = [], [], problem.back
        parts = [part.at(problem) for part in self._parts()]
        for part, alpha in zip(parts, state.dual, strict=True):
            image = part.transform(state.x)
            shrunk = part.shrink(image + alpha)
            change = image - shrunk
            alpha = alpha + part.rate * change if self.dual_update == "survey" else part.rate * alpha + change
            right = right + part.back.adjoint(part.penalty * (shrunk - alpha))
            z.append(shrunk)
            dual.append(alpha)
        x = self._solve(right, parts, problem)
        return ADMMState(x, tuple(z), tuple(dual))

    def estimate(self, state: ADMMState, problem: Problem) -> Tensor:
        """x, or that with the measured frequencies put back."""
        if not self.hard_consistency:
            return state.x
        samples, mask = problem.data
        found = ifft(torch.where(mask > 0, samples, fft(state.x)))
        return found if state.x.is_complex() else found.real

    @property
    def added(self) -> tuple[str, ...]:
        """Names of parameters that weights may lack, since splittings without them are the same."""
        return tuple(f"splittings.{k}.{name}" for k, part in enumerate(self._parts()) for name in part.added)

    @property
    def objective(self) -> Callable[[ADMMState, Problem], Tensor]:
        """0.5 |A x - y|^2 + sum_i lambda_i g_i(D_i x), (batch,), of a state and a problem; |.|_1 for proxes that do not
        know their ``penalty``.

        Raises:
            AttributeError: a splitting without weight, or with a denoiser, whose penalty nobody knows.
        """
        if any(part.weight is None for part in self._parts()):
            raise AttributeError("a splitting whose prox has no weight has no known penalty, and ADMM no objective")
        return objective_of(self, self._objective, *(part.prox for part in self._parts()))

    def _objective(self, state: ADMMState, problem: Problem) -> Tensor:
        total = self.data_term.value(state.x, problem)
        for part in self._parts():
            image = part.transform(state.x)
            total = total + penalty_of(part.prox, image, part.weight)
        return total

    def check(self, data: Any) -> None:
        super().check(data)
        self.data_term.check(data)
        if self.hard_consistency and not isinstance(data, KSpace):
            raise TypeError(
                "hard_consistency puts measured frequencies back; data must be KSpace(samples, mask), "
                f"not {type(data).__name__}"
            )

    def advice(self) -> str:
        return "give the multipliers a rate below 1.6, or larger penalties"

    def _parts(self) -> Any:
        return self.splittings

    def _solve(self, right: Tensor, quadratics: Any, problem: Problem) -> Tensor:
        """(A^H A + sum_i rho_i D_i^H D_i) x = right."""
        if all(isinstance(q.back, Identity) for q in quadratics):
            return self.data_term.solve(right, sum(q.penalty for q in quadratics), problem)
        if problem.spectrum is not None and all(has_spectrum(q.back) for q in quadratics):
            size = right.shape[-2:]
            weights = sum(q.back.weighted_spectrum(q.penalty, *size).to(right.real) for q in quadratics)
            return self.data_term.solve(right, weights, problem)

        def apply(x: Tensor) -> Tensor:
            image = self.data_term.gradient(x, problem) + problem.back
            return image + sum(q.back.adjoint(q.penalty * q.back(x)) for q in quadratics)

        tolerance, iterations = self.inner
        return solve_positive(apply, right, tolerance=tolerance, max_iterations=iterations)


class _Quadratic(nn.Module):
    """rho D^H D of the first equation for x."""

    penalty: Tensor

    def __init__(self, back: LinearOperator, penalty: Tensor) -> None:
        super().__init__()
        self.back = back
        self.penalty = nn.Parameter(penalty.clone())
        constrain(self, "penalty", Positive())
