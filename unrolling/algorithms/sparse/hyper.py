"""ISTA with momentum whose threshold, momentum and support follow each sample's own residual: three numbers steer all
steps.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from unrolling.algorithms.messages.amp import check_real
from unrolling.algorithms.sparse.analytic import analytic_weights
from unrolling.algorithms.sparse.dictionary import check_width, scalar_parameter
from unrolling.core import Iteration, Positive, constrain, tree
from unrolling.prox import support_select


class HyperState(NamedTuple):
    """The state of ``HyperLISTA``."""

    x: Tensor  # (batch, n)
    previous: Tensor  # (batch, n): x one step before


class HyperProblem(NamedTuple):
    """The problem of ``HyperLISTA``."""

    y: Tensor  # (batch, m)
    first: Tensor  # (batch, 1): |A^+ y|_1, the error with which the sample began


class HyperLISTA(Iteration):
    """x+ = S_theta,k(x + W (y - A x) + beta (x - x_previous)): three numbers for all layers.

    With e = |A^+ (y - A x)|_1 of each sample,
    theta = c_1 e,  beta = c_2 |x|_0,  k = n min(max(c_3 log(|A^+ y|_1 / e), 0), 1) entries that pass unshrunk
    (``support_select``).

    Chen, Liu, Wang and Yin 2021, arXiv:2110.15900. A^+ (y - A x) estimates the error x* - x in norm, so that thresholds
    shrink and the support grows as fast as the sample converges: f(s y) = s f(y) for s > 0. W are the analytic weights
    of ALISTA, w_i = (A A^T)^+ a_i / d_i with d_i = a_i^T (A A^T)^+ a_i; as A^+ = diag(d) W, the error costs no product
    of its own. The counts |x|_0 and k carry no gradient: c_2 has that of the momentum, c_3 has none, and the three
    numbers are searched for (``training.optimizers.NelderMead``).

    Parameters: ``threshold_scale`` c_1, ``momentum_scale`` c_2, ``support_scale`` c_3, all positive.

    Args:
        dictionary: A (m, n), real.
        threshold_scale: c_1.
        momentum_scale: c_2; 0 for no momentum, which then cannot be learned.
        support_scale: c_3; 0 for no support selection, which then cannot be learned.

    Raises:
        TypeError: a complex dictionary, or one that is not floating point.
        ValueError: a zero column, a number that is negative or not finite.
    """

    algorithm = "ISTA"

    dictionary: Tensor
    encoder: Tensor
    leverage: Tensor
    threshold_scale: Tensor
    momentum_scale: Tensor
    support_scale: Tensor

    def __init__(
        self,
        dictionary: Float[Tensor, "m n"],
        threshold_scale: float = 2e-3,
        momentum_scale: float = 1.5e-3,
        support_scale: float = 5e-2,
    ) -> None:
        super().__init__()
        dictionary = check_real(dictionary, "HyperLISTA")
        self.register_buffer("dictionary", dictionary)
        encoder = analytic_weights(dictionary.double())
        pseudo_inverse = torch.linalg.pinv(dictionary.double())
        # Row i of A^+ is d_i w_i: their ratio, over the whole row.
        self.register_buffer("leverage", ((pseudo_inverse * encoder).sum(1) / encoder.square().sum(1)).to(dictionary))
        self.register_buffer("encoder", encoder.to(dictionary))
        for name, value in (
            ("threshold_scale", threshold_scale),
            ("momentum_scale", momentum_scale),
            ("support_scale", support_scale),
        ):
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be finite and at least 0; got {value}")
            setattr(self, name, scalar_parameter(value, dictionary))
            constrain(self, name, Positive())

    def prepare(self, data: Float[Tensor, "batch ... m"]) -> HyperProblem:
        """y with its error at x = 0."""
        return HyperProblem(data, self._error(data @ self.encoder.T))

    def start(self, problem: HyperProblem) -> HyperState:
        """x = 0."""
        x = problem.y.new_zeros(*problem.y.shape[:-1], self.dictionary.shape[1])
        return HyperState(x, x)

    def forward(self, state: HyperState, problem: HyperProblem) -> HyperState:
        """One step."""
        y, first = problem
        x, previous = state
        n = x.shape[-1]
        direction = (y - x @ self.dictionary.T) @ self.encoder.T
        error = self._error(direction)
        momentum = self.momentum_scale * (x != 0).to(x.dtype).sum(-1, keepdim=True)
        with torch.no_grad():
            tiny = torch.finfo(x.dtype).tiny
            share = torch.clamp(self.support_scale * torch.log(first.clamp_min(tiny) / error.clamp_min(tiny)), 0, 1)
            # NaN is no count; it comes through by the threshold.
            count = (n * share).squeeze(-1).nan_to_num(0.0).to(torch.int64)
        moved = x + direction + momentum * (x - previous)
        return HyperState(support_select(moved, self.threshold_scale * error, count), x)

    def residual(self, new: HyperState, old: HyperState, problem: HyperProblem) -> Tensor:
        """Of x."""
        return tree.relative_change(new.x, old.x)

    def _error(self, direction: Tensor) -> Float[Tensor, "batch ... 1"]:
        """|A^+ r|_1 from W r."""
        return (direction.abs() * self.leverage).sum(-1, keepdim=True)

    def check(self, data: Tensor) -> None:
        super().check(data)
        check_width(data, self.dictionary)

    def advice(self) -> str:
        return "use a smaller momentum_scale, or a larger threshold_scale"
