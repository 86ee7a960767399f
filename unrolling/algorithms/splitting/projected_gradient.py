"""Projected gradient for detection: the iteration that DetNet unrolls."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from unrolling.algorithms.detection.mimo import Detector, MatchedFilter, MatchedFiltering, adjoint
from unrolling.algorithms.sparse.dictionary import scalar_parameter
from unrolling.core import Positive, constrain


class ProjectedGradient(Detector):
    """x' = Pi(x + delta (H^T y - H^T H x) / g), x <- alpha x + (1 - alpha) x', for min |y - H x|^2 over the box of the
    levels.

    Pi clips to [-top, top], g = tr(H^T H) / K. Samuel, Diskin and Wiesel 2017, doi:10.1109/SPAWC.2017.8227772; survey,
    section V-B (where alpha = 0). It needs no noise variance. Its limit is the box relaxation of maximum likelihood.

    Parameters: ``step_size`` delta, positive.

    Args:
        levels: (M,) of a real dimension; only the largest counts.
        step_size: delta; convergence needs delta < 2 g / |H^T H|, which for independent entries is about 2 / (1 +
            sqrt(K / N))^2.
        damping: alpha in [0, 1), the fraction of the old x that stays.

    Raises:
        ValueError: levels that are none, a step size that is not positive, a damping outside [0, 1).
    """

    def __init__(self, levels: Float[Tensor, " M"], *, step_size: float = 0.5, damping: float = 0.0) -> None:
        super().__init__(levels, needs_noise=False)
        if not 0 < step_size < float("inf"):
            raise ValueError(f"step_size must be positive and finite; got {step_size}")
        if not 0 <= damping < 1:
            raise ValueError(f"damping must lie in [0, 1), 0 for none; got {damping}")
        self.prepare = MatchedFiltering()
        self.step_size = scalar_parameter(step_size, levels)
        constrain(self, "step_size", Positive())
        self.damping = damping
        self.top = float(levels[-1])

    def start(self, problem: MatchedFilter) -> Float[Tensor, "batch K"]:
        """x = 0."""
        return problem.matched.new_zeros(problem.matched.shape)

    def forward(self, state: Float[Tensor, "batch K"], problem: MatchedFilter) -> Float[Tensor, "batch K"]:
        """One step."""
        moved = (state + self.step_size * (problem.matched - adjoint(problem.gram, state))).clamp(-self.top, self.top)
        return self.damping * state + (1 - self.damping) * moved if self.damping else moved

    def objective(self, state: Tensor, problem: MatchedFilter) -> Float[Tensor, " batch"]:
        """(x^T H^T H x / 2 - x^T H^T y) / g, (batch,): half of |y - H x|^2 / g, less what no x changes."""
        return (state * (0.5 * adjoint(problem.gram, state) - problem.matched)).sum(1)

    def advice(self) -> str:
        return f"its step size {float(self.step_size):.4g} must stay below 2 g / |H^T H|, g = tr(H^T H) / K"
