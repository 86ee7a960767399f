"""Iterative shrinkage and thresholding, in its two algebraically equal forms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.kernels.packed_steps import FEWEST, run_packed_steps
from unrolling.algorithms.kernels.thin_step import ThinStep, run_thin_steps, thin_step
from unrolling.algorithms.sparse.dictionary import (
    as_operator,
    check_dictionary,
    check_step_size,
    check_weight,
    check_width,
    scalar_parameter,
    step_advice,
)
from unrolling.core import Iteration, Positive, Scratch, Way, constrain, tree
from unrolling.operators import LinearOperator, Matrix
from unrolling.prox import soft_threshold

Prox = Callable[[Tensor, Tensor], Tensor]


def penalty_of(prox: Prox, x: Tensor, weight: Tensor) -> Float[Tensor, " batch"]:
    """What a prox is the prox of, (batch,): its own ``penalty`` where it has one (``BlockSoftThreshold``), sum_i
    weight_i |x_i| otherwise.
    """
    own = getattr(prox, "penalty", None)
    return tree.rows(weight * x.abs()).sum(1) if own is None else own(x, weight)


class ISTA(Iteration):
    """x <- S_theta(x + mu A^H (y - A x)) for min_x 0.5 |y - A x|^2 + lambda |x|_1, mu = 1/L, theta = lambda mu.

    Beck and Teboulle 2009, doi:10.1137/080716542; survey (2)-(4). (Survey (3) thresholds at lambda; the proximal step
    needs lambda / mu in its notation, which is theta here.)

    Parameters: ``step_size`` mu and ``threshold`` theta, both positive.

    Args:
        dictionary: A, a matrix (m, n) or a linear operator.
        weight: lambda >= 0, a number or a tensor that broadcasts to x (such as one per coefficient).
        step_size: mu; by default 1/L with L = |A|^2. Convergence needs mu < 2/L.
        prox: proximal operator of the penalty; ``soft_threshold`` for |.|_1, ``nonnegative`` for the non-negative
            lasso.

    Raises:
        ValueError: a zero column, a negative weight, a step size that is not positive.
    """

    def __init__(
        self,
        dictionary: Tensor | LinearOperator,
        weight: float | Tensor,
        *,
        step_size: float | None = None,
        prox: Prox = soft_threshold,
    ) -> None:
        super().__init__()
        self.dictionary = as_operator(dictionary)
        step_size = check_step_size(step_size, self.dictionary)
        like = next(iter([*self.dictionary.parameters(), *self.dictionary.buffers()]), torch.zeros(()))
        self.step_size = scalar_parameter(step_size, like)
        self.threshold = scalar_parameter(check_weight(weight) * self.step_size.detach(), like)
        constrain(self, "step_size", Positive())
        constrain(self, "threshold", Positive())
        self.prox = prox

    def start(self, problem: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """x = 0."""
        return problem.new_zeros(problem.shape[0], *self.dictionary.input_shape)

    def forward(
        self, state: Float[Tensor, "batch ..."], problem: Float[Tensor, "batch ..."], scale: float = 1.0
    ) -> Float[Tensor, "batch ..."]:
        """One step; ``scale`` multiplies the threshold (continuation)."""
        threshold = self.threshold if scale == 1.0 else scale * self.threshold
        # The step size goes to the residual, which is mostly the smaller of the two.
        return self.prox(
            state + self.dictionary.adjoint(self.step_size * (problem - self.dictionary(state))), threshold
        )

    def inference(self, shared: frozenset[str]) -> Way | None:
        """For a real matrix: two products a step into memory that is used again, the step size a part of one of them,
        the threshold taken in place.
        """
        if (
            self.prox is not soft_threshold
            or type(self.dictionary) is not Matrix
            or self.threshold.ndim > 1
            or type(self) is not ISTA
        ):
            return None
        matrix = self.dictionary.matrix
        return (
            None
            if matrix.is_complex()
            else thin_way(self, matrix.T, matrix, self.threshold, scale=float(self.step_size))
        )

    def objective(self, state: Tensor, problem: Tensor) -> Float[Tensor, " batch"]:
        """0.5 |y - A x|^2 + sum_i lambda_i |x_i|, or the penalty of another prox, (batch,)."""
        residual = (problem - self.dictionary(state)).flatten(1)
        return 0.5 * residual.abs().square().sum(1) + penalty_of(self.prox, state, self.threshold / self.step_size)

    def check(self, data: Tensor) -> None:
        super().check(data)
        self.dictionary.check_output(data)

    def advice(self) -> str:
        return step_advice(float(self.step_size), self.dictionary)


class _MatrixISTA(Iteration):
    """What the forms of ISTA with free matrices have in common: a fixed dictionary, the encoder mu A^H and a threshold
    per coefficient.
    """

    dictionary: Tensor

    def __init__(
        self, dictionary: Tensor, weight: float | Tensor, *, step_size: float | None = None, prox: Prox = soft_threshold
    ) -> None:
        super().__init__()
        self.register_buffer("dictionary", check_dictionary(dictionary.detach()))
        self.step_size = check_step_size(step_size, dictionary)
        self.encoder = Matrix(nn.Parameter((self.step_size * self.dictionary.mH).contiguous()))
        self.threshold = scalar_parameter(check_weight(weight).expand(dictionary.shape[1]) * self.step_size, dictionary)
        constrain(self, "threshold", Positive())
        self.prox = prox

    def _scaled_threshold(self, scale: float) -> Tensor:
        return self.threshold if scale == 1.0 else scale * self.threshold

    def _penalty(self, state: Tensor) -> Tensor:
        return penalty_of(self.prox, state, self.threshold / self.step_size)

    def check(self, data: Tensor) -> None:
        super().check(data)
        check_width(data, self.dictionary)

    def advice(self) -> str:
        return step_advice(self.step_size, self.dictionary)


class GramISTA(_MatrixISTA):
    """x <- S_theta(W_e y + W_t x), W_e = mu A^H, W_t = I - mu A^H A: survey (3), the form that Gregor and LeCun
    unrolled (doi:10.5555/3104322.3104374).

    W_e y is computed once, and a step is one product with an (n, n) matrix: cheaper than ``ISTA`` when n < 2 m.

    Parameters: ``encoder`` W_e (n, m), ``inhibition`` W_t (n, n), ``threshold`` theta (n,), positive, one per
    coefficient.

    Args:
        dictionary: A (m, n).
        weight: lambda >= 0, a number or (n,).
        step_size: mu; by default 1/L with L = |A|^2. Convergence needs mu < 2/L.
        prox: proximal operator of the penalty.

    Raises:
        ValueError: a zero column, a negative weight, a step size that is not positive.
    """

    def __init__(
        self, dictionary: Tensor, weight: float | Tensor, *, step_size: float | None = None, prox: Prox = soft_threshold
    ) -> None:
        super().__init__(dictionary, weight, step_size=step_size, prox=prox)
        # `prepare` is the encoder, so that W_e y is computed once for all layers unless the encoder is untied.
        self.prepare = self.encoder
        identity = torch.eye(dictionary.shape[1], dtype=dictionary.dtype, device=dictionary.device)
        self.inhibition = nn.Parameter(identity - self.encoder.matrix.detach() @ self.dictionary)

    def start(self, problem: Float[Tensor, "batch ... n"]) -> Float[Tensor, "batch ... n"]:
        """x = 0."""
        return torch.zeros_like(problem)

    def forward(
        self, state: Float[Tensor, "batch ... n"], problem: Float[Tensor, "batch ... n"], scale: float = 1.0
    ) -> Float[Tensor, "batch ... n"]:
        """One step; ``scale`` multiplies the threshold (continuation)."""
        return self.prox(self.mix(state, problem), self._scaled_threshold(scale))

    def inference(self, shared: frozenset[str]) -> Way | None:
        """One product a step into memory that is used again, the threshold taken in place; the first step needs no
        product.
        """
        if self.prox is not soft_threshold or type(self) is not GramISTA or self.dictionary.is_complex():
            return None
        transposed, shrink, memory = self.inhibition.detach().T, shrinker(self.threshold), Scratch()

        def step(state: Tensor, problem: Tensor, fresh: bool) -> Tensor:
            if problem.ndim != 2:
                return self(state, problem)
            return shrink(
                torch.addmm(problem, state, transposed, out=memory.next(problem, problem.shape[1], state, fresh))
            )

        return Way(
            self.prepare,
            step,
            id(self._modules.get("prepare")),
            lambda problem, fresh: self.prox(problem, self.threshold),
        )

    def mix(
        self, x: Float[Tensor, "batch ... n"], problem: Float[Tensor, "batch ... n"]
    ) -> Float[Tensor, "batch ... n"]:
        """W_e y + W_t x."""
        # fused where torch can
        return x @ self.inhibition.T + problem if x.ndim > 2 else torch.addmm(problem, x, self.inhibition.T)

    def objective(self, state: Tensor, problem: Tensor) -> Float[Tensor, " batch"]:
        """0.5 |A x|^2 - Re <A^H y, x> + sum_i lambda_i |x_i|, (batch,): the lasso less 0.5 |y|^2, which no x changes
        and the problem W_e y does not hold.
        """
        image = tree.rows(state @ self.dictionary.T)
        correlation = (
            tree.rows((problem.conj() * state).real if problem.is_complex() else problem * state).sum(1)
            / self.step_size
        )
        return 0.5 * image.abs().square().sum(1) - correlation + self._penalty(state)


class ThinISTA(_MatrixISTA):
    """x <- S_theta(x + W (y - A x)), W = mu A^H: ISTA with the matrix of its gradient step freed.

    In the form of ``GramISTA`` its weights are coupled, W_t = I - W_e A (Chen, Liu, Wang and Yin 2018,
    arXiv:1808.10038; survey, section IV-E). Two products with (m, n) matrices a step: cheaper than ``GramISTA`` when n
    > 2 m.

    Parameters: ``encoder`` W (n, m), ``threshold`` theta (n,), positive, one per coefficient. A is fixed.

    Args:
        dictionary: A (m, n).
        weight: lambda >= 0, a number or (n,).
        step_size: mu; by default 1/L with L = |A|^2. Convergence needs mu < 2/L.
        prox: proximal operator of the penalty.

    Raises:
        ValueError: a zero column, a negative weight, a step size that is not positive.
    """

    def inference(self, shared: frozenset[str]) -> Way | None:
        """Two products a step into memory that is used again, the threshold taken in place."""
        if self.prox is not soft_threshold or self.dictionary.is_complex():
            return None
        return thin_way(self, self.encoder.matrix.detach(), self.dictionary, self.threshold)

    def start(self, problem: Float[Tensor, "batch ... m"]) -> Float[Tensor, "batch ... n"]:
        """x = 0."""
        return problem.new_zeros(*problem.shape[:-1], self.dictionary.shape[1])

    def forward(
        self, state: Float[Tensor, "batch ... n"], problem: Float[Tensor, "batch ... m"], scale: float = 1.0
    ) -> Float[Tensor, "batch ... n"]:
        """One step; ``scale`` multiplies the threshold (continuation)."""
        return self.prox(state + self.encoder(problem - state @ self.dictionary.T), self._scaled_threshold(scale))

    def objective(self, state: Tensor, problem: Tensor) -> Float[Tensor, " batch"]:
        """0.5 |y - A x|^2 + sum_i lambda_i |x_i|, (batch,)."""
        return 0.5 * tree.rows(problem - state @ self.dictionary.T).abs().square().sum(1) + self._penalty(state)


def shrinker(threshold: Tensor) -> Callable[[Tensor], Tensor]:
    """Soft-thresholding in place with a threshold that is known beforehand: as one number where all are the same."""
    level = threshold.detach()
    first = float(level.reshape(-1)[0])
    if bool((level == first).all()):
        return lambda z: torch.ops.aten.softshrink.out(z, first, out=z)
    scratch = Scratch()
    low = -level

    def shrink(z: Tensor) -> Tensor:
        return z.sub_(torch.clamp(z, low, level, out=scratch.next(z, z.shape[1], None, False)))

    return shrink


class _Residual(NamedTuple):
    """The problem of the residual form: y, with memory for y - A x that all layers write into."""

    y: Tensor  # (batch, m), or of more dimensions
    gap: Tensor  # the same


def thin_way(
    layer: Iteration,
    encoder: Tensor,
    dictionary: Tensor,
    threshold: Tensor,
    *,
    scale: float = 1.0,
    shrink: Callable[[Tensor], Tensor] | None = None,
) -> Way:
    """x <- S_theta(x + s W (y - A x)) for data (batch, m): the first step is S_theta(s W y), in new memory, and all
    others write into that.

    Args:
        layer: whose step it is, for data of more dimensions.
        encoder: W (n, m).
        dictionary: A (m, n).
        threshold: theta, a number or (n,).
        scale: s.
        shrink: in the place of soft-thresholding, in place.
    """
    down, up = dictionary.T, encoder.T
    part = thin_step(encoder, dictionary, threshold if shrink is None else torch.zeros_like(threshold), scale)
    single = None if part is None or shrink is None else run_thin_steps([part])
    finish = shrinker(threshold) if shrink is None else shrink

    def step(state: Tensor, problem: _Residual, fresh: bool) -> Tensor:
        y, gap = problem
        if y.ndim != 2:
            return layer(state, y)
        if single is not None and y.shape[0] == 1:
            return finish(single(state, y))
        torch.addmm(y, state, down, alpha=-1, out=gap)
        return finish(state.addmm_(gap, up, alpha=scale))

    def first(problem: _Residual, fresh: bool) -> Tensor:
        y = problem.y
        if y.ndim != 2:
            return layer(layer.start(y), y)
        moved = torch.mm(y, up)
        return finish(moved if scale == 1.0 else moved.mul_(scale))

    return Way(
        lambda y: _Residual(y, torch.empty_like(y)),
        step,
        "residual form",
        first,
        part if shrink is None else None,
        _at_once,
    )


def _at_once(steps: Sequence[ThinStep]) -> Callable[[Tensor], Tensor | None]:
    """The whole network from zero, for a single y (1, m) and for many."""
    run, weights, packed = run_thin_steps(steps), steps[0].encoder, run_packed_steps(steps)

    def estimate(y: Tensor) -> Tensor | None:
        if y.ndim != 2 or y.dtype != weights.dtype or not y.is_cpu:
            return None
        if y.shape[0] == 1:
            return run(y.new_zeros(1, weights.shape[0]), y)
        return packed(y) if packed is not None and y.shape[0] >= FEWEST else None

    return estimate
