"""Coupled ISTA whose estimate is enlarged before a step and whose step is lengthened after it: the layer of Gated
LISTA.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.sparse.coupled import CoupledISTA, SelectedState, Selection
from unrolling.algorithms.sparse.dictionary import scalar_parameter
from unrolling.algorithms.sparse.ista import Prox
from unrolling.core import Positive, constrain
from unrolling.prox import soft_threshold

INVERSE = (0.2, 1e-3)  # numerator and least denominator of the inverse gain
OVERSHOOT = 0.1  # least denominator of the overshoot gate


class GatedISTA(CoupledISTA):
    """g = x + mu x f(nu |x|),    x' = S_theta,p(g + gamma W (y - A g)),    x+ = x' + o theta (x' - x) / (|x' - x| +
    0.1), entry by entry.

    Soft-thresholding leaves entries too small by about theta. The gain gate 1 + mu f(nu |x|) enlarges those that are
    there, small ones most: f(u) = max(1 - u, 0) (``piecewise``), 0.2 / (0.001 + u) (``inverse``) or exp(-u)
    (``exponential``). The overshoot gate goes on in the direction of the step by at most o theta. Wu, Guo, Li and Zhang
    2020 (openreview:BygPO2VKPH); their overshoot gate has the threshold of the step before, and a second form of it
    with matrices of its own is left out. With mu = o = 0, the start, it is ``CoupledISTA`` to the bit.

    Parameters: those of ``CoupledISTA``; ``gain`` mu and ``overshoot`` o, scalars; ``sharpness`` nu (n,), positive.

    Args:
        dictionary, weight, encoder, selection, prox: as for ``CoupledISTA``.
        gate: f.

    Raises:
        TypeError, ValueError: as ``CoupledISTA``; ValueError for an unknown gate.
    """

    sharpness: Tensor

    def __init__(
        self,
        dictionary: Float[Tensor, "m n"],
        weight: float | Tensor,
        *,
        encoder: Float[Tensor, "n m"] | None = None,
        selection: Selection | tuple[float, float] = Selection(),  # noqa: B008 (immutable)
        prox: Prox = soft_threshold,
        gate: Literal["piecewise", "inverse", "exponential"] = "inverse",
    ) -> None:
        super().__init__(dictionary, weight, encoder=encoder, selection=selection, prox=prox)
        if gate not in ("piecewise", "inverse", "exponential"):
            raise ValueError(f"gate is {gate!r}; it is piecewise, inverse or exponential")
        self.gate = gate
        self.gain, self.overshoot = scalar_parameter(0.0, dictionary), scalar_parameter(0.0, dictionary)
        self.sharpness = nn.Parameter(torch.ones_like(self.dictionary[0]))
        constrain(self, "sharpness", Positive())

    def forward(self, state: SelectedState, problem: Float[Tensor, "batch ... m"]) -> SelectedState:
        """One step."""
        x = state.x
        enlarged = x + self.gain * (x * self._decay(self.sharpness * x.abs()))
        shrunk, steps = super().forward(state._replace(x=enlarged), problem)
        change = shrunk - x
        return SelectedState(shrunk + self.overshoot * (self.threshold * change / (change.abs() + OVERSHOOT)), steps)

    def _decay(self, u: Tensor) -> Tensor:
        if self.gate == "piecewise":
            return torch.relu(1 - u)
        return torch.exp(-u) if self.gate == "exponential" else INVERSE[0] / (INVERSE[1] + u)
