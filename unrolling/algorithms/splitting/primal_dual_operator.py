"""The primal-dual hybrid gradient method with the data's operator among the dual terms: nothing is ever solved, so that
any operator with an adjoint will do, tomography's among them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolling.algorithms.sparse.dictionary import check_weight, scalar_parameter
from unrolling.algorithms.sparse.ista import penalty_of
from unrolling.algorithms.splitting.objectives import objective_of
from unrolling.core import Iteration, Positive, constrain, tree
from unrolling.core.arguments import check_range
from unrolling.operators.linear import LinearOperator

SAFE = 0.99  # of the largest steps that are known to converge


class PDHGState(NamedTuple):
    """The state of ``PDHG``."""

    x: Tensor  # (batch, *input_shape of A)
    ahead: Tensor  # the extrapolated x
    duals: tuple[Tensor, ...]  # of the shapes of A x and, with a transform, of D x


class PDHG(Iteration):
    """p <- (p + sigma (A x' - y)) / (1 + sigma),  q <- prox_{sigma_D (lambda g)*}(q + sigma_D D x'),
    x+ <- prox_{tau mu r}(x - tau (A^H p + D^H q)),  x' <- x+ + theta (x+ - x).

    For min 0.5 |A x - y|^2 + lambda g(D x) + mu r(x), which is min F(K x) + G(x) with K = (A, D): Chambolle and Pock
    2011, doi:10.1007/s10851-010-0251-1, Algorithm 1. Without a transform K = A. The first line is the prox of F* for
    F = 0.5 |. - y|^2, the second comes from the prox of g by Moreau's identity. Data y are (batch, *output_shape).

    It converges for theta = 1 and tau (sigma |A|^2 + sigma_D |D|^2) < 1. Steps may be arrays, one number for each
    entry of x, A x and D x (``diagonal_steps``); proxes are then asked for with an array of thresholds.

    Parameters: ``primal_step`` tau and ``dual_step`` sigma, positive; with a transform ``weight`` lambda and
    ``transform_step`` sigma_D, where it is given ``image_weight`` mu, all positive; those of the operators and
    proxes.

    Args:
        operator: A.
        transform: D; None for none.
        prox: (z, threshold) -> the prox of g; needed with a transform.
        weight: lambda >= 0.
        image_prox: (z, threshold) -> the prox of r, such as the projection ``Box``; None for r = 0.
        image_weight: mu >= 0; 1 by default, and no parameter.
        primal_step: tau; by default 1 / |A|^2 or, with a transform, half of it.
        dual_step: sigma; by default as large as converges, with a transform for half of the bound.
        transform_step: sigma_D; by default as large as converges, for half of the bound.
        extrapolation: theta, in [0, 1].
        initial: a linear estimate from y to x where the iteration starts; x = 0 by default.

    Raises:
        ValueError: steps that are not positive, an extrapolation outside [0, 1], a negative weight, a transform without
            a prox or the other way round.
    """

    weight: Tensor
    image_weight: Tensor
    primal_step: Tensor
    dual_step: Tensor
    transform_step: Tensor

    def __init__(
        self,
        operator: LinearOperator,
        transform: LinearOperator | None = None,
        prox: Callable[..., Tensor] | None = None,
        weight: float | Tensor = 0.0,
        *,
        image_prox: Callable[..., Tensor] | None = None,
        image_weight: float | Tensor | None = None,
        primal_step: float | Tensor | None = None,
        dual_step: float | Tensor | None = None,
        transform_step: float | Tensor | None = None,
        extrapolation: float = 1.0,
        initial: LinearOperator | None = None,
    ) -> None:
        super().__init__()
        if (transform is None) != (prox is None):
            raise ValueError("a transform D comes with the prox of a penalty on D x, and a prox with its transform")
        if image_weight is not None and image_prox is None:
            raise ValueError(f"image_weight is {image_weight}, and there is no image_prox that it would weigh")
        check_range(extrapolation, "extrapolation", 0, 1)
        self.operator, self.transform, self.prox, self.image_prox = operator, transform, prox, image_prox
        self.extrapolation, self.initial = extrapolation, initial
        share = 1.0 if transform is None else 0.5
        if primal_step is None or dual_step is None:
            if None in operator.input_shape:
                raise ValueError(f"{type(operator).__name__} takes any size: give primal_step and dual_step")
            square = operator.norm() ** 2
            primal_step = share / square if primal_step is None else primal_step
            dual_step = SAFE * share / (_largest(primal_step) * square) if dual_step is None else dual_step
        steps = {"primal_step": primal_step, "dual_step": dual_step}
        weights = {}
        if transform is not None:
            if transform_step is None:
                if None in operator.input_shape:
                    raise ValueError(f"{type(operator).__name__} takes any size: give transform_step")
                square = transform.norm(shape=operator.input_shape) ** 2
                transform_step = SAFE * share / (_largest(primal_step) * square)
            steps["transform_step"], weights["weight"] = transform_step, weight
        self.weighted = image_weight is not None
        if image_weight is not None:
            weights["image_weight"] = image_weight
        tensors = [*operator.parameters(), *operator.buffers()]
        like = next((t for t in tensors if t.is_floating_point() or t.is_complex()), torch.zeros(()))
        for name, step in steps.items():
            if not bool((torch.as_tensor(step) > 0).all()):
                raise ValueError(f"{name} must be positive; got {step}")
            setattr(self, name, scalar_parameter(step, like))
        for name, value in weights.items():
            setattr(self, name, scalar_parameter(check_weight(value), like))
        for name in (*steps, *weights):
            constrain(self, name, Positive())

    def start(self, problem: Tensor) -> PDHGState:
        """x the initial estimate or 0, p = 0, q = 0."""
        if self.initial is not None:
            x = self.initial(problem)
        elif None in self.operator.input_shape:
            x = torch.zeros_like(self.operator.adjoint(problem))
        else:
            x = problem.new_zeros(problem.shape[0], *self.operator.input_shape)
        duals = (torch.zeros_like(problem),)
        return PDHGState(x, x, duals if self.transform is None else (*duals, torch.zeros_like(self.transform(x))))

    def forward(self, state: PDHGState, problem: Tensor) -> PDHGState:
        tau, sigma = self.primal_step, self.dual_step
        dual = self.dual_prox(state.duals[0] + sigma * self.operator(state.ahead), problem, sigma)
        duals, slope = (dual,), self.operator.adjoint(dual)
        if self.transform is not None:
            assert self.prox is not None
            step = self.transform_step
            beyond = state.duals[1] / step + self.transform(state.ahead)
            other = step * (beyond - self.prox(beyond, self.weight / step))
            duals, slope = (dual, other), slope + self.transform.adjoint(other)
        x = state.x - tau * slope
        if self.image_prox is not None:
            x = self.image_prox(x, tau * self._image_weight())
        return PDHGState(x, x + self.extrapolation * (x - state.x), duals)

    @staticmethod
    def dual_prox(u: Tensor, y: Tensor, step: Tensor | float) -> Tensor:
        """(u - sigma y) / (1 + sigma): the prox of sigma F* for F = 0.5 |. - y|^2."""
        return (u - step * y) / (1 + step)

    @property
    def objective(self) -> Callable[[PDHGState, Tensor], Tensor]:
        """0.5 |A x - y|^2 + lambda g(D x) + mu r(x), (batch,), of a state and a problem;
        |.|_1 for a prox that does not know its ``penalty``.

        Raises:
            AttributeError: a denoiser in the place of a prox, whose penalty nobody knows.
        """
        return objective_of(self, self._objective, self.prox, self.image_prox)

    def _objective(self, state: PDHGState, problem: Tensor) -> Tensor:
        value = 0.5 * (self.operator(state.x) - problem).abs().square().flatten(1).sum(1)
        if self.transform is not None and self.prox is not None:
            value = value + penalty_of(self.prox, self.transform(state.x), self.weight)
        return value if self.image_prox is None else value + penalty_of(self.image_prox, state.x, self._image_weight())

    def residual(self, new: PDHGState, old: PDHGState, problem: Tensor) -> Tensor:
        """Of x and the duals, the largest."""
        pairs = zip((new.x, *new.duals), (old.x, *old.duals), strict=True)
        return torch.stack([tree.relative_change(after, before) for after, before in pairs]).amax(0)

    def _image_weight(self) -> Tensor | float:
        return self.image_weight if self.weighted else 1.0

    def check(self, data: Any) -> None:
        super().check(data)
        self.operator.check_output(data, "data")

    def advice(self) -> str:
        if None in self.operator.input_shape:
            return "primal_step (dual_step |A|^2 + transform_step |D|^2) must stay below 1"
        return (
            f"primal_step {_largest(self.primal_step):.4g} times dual_step {_largest(self.dual_step):.4g} times "
            f"|A|^2 = {self.operator.norm() ** 2:.4g} must stay below 1"
            + ("" if self.transform is None else ", together with primal_step transform_step |D|^2")
        )


def diagonal_steps(
    operator: LinearOperator, transform: LinearOperator | None = None, balance: float = 1.0
) -> dict[str, Tensor]:
    """The steps of ``PDHG`` for each entry: tau_j = 1 / (b sum_i |K_ij|), sigma_i = b / sum_j |K_ij|, with which it
    converges.

    Pock and Chambolle 2011, doi:10.1109/ICCV.2011.6126441, (10) with alpha = 1. A must have entries of one sign, as
    projections have; the rows of D are taken to be differences of two entries, as those of ``FiniteDifferences``.

    Args:
        operator: A, of known shapes.
        transform: D.
        balance: b, how much of the steps goes to the duals.

    Returns:
        ``primal_step``, ``dual_step`` and, with a transform, ``transform_step``, to be given to ``PDHG``.
    """
    like = next((t for t in [*operator.parameters(), *operator.buffers()] if t.is_floating_point()), torch.zeros(()))
    rows = operator(like.new_ones(1, *operator.input_shape)).abs()
    columns = operator.adjoint(like.new_ones(1, *operator.output_shape)).abs()
    seen = rows > 0  # a row of zeros has no say
    steps = {"dual_step": SAFE * balance / torch.where(seen, rows, rows.max())}
    if transform is not None:
        columns = columns + 2 * len(operator.input_shape)
        steps["transform_step"] = like.new_tensor(SAFE * balance / 2)
    steps["primal_step"] = 1 / (balance * columns)
    return {name: step.detach() for name, step in steps.items()}


def _largest(step: float | Tensor) -> float:
    return float(torch.as_tensor(step).max())
