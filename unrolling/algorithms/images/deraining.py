"""A photograph in the rain as background plus rain: ADMM with a prior for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from unrolling.algorithms.sparse.dictionary import check_weight, scalar_parameter
from unrolling.core import Iteration, Positive, constrain
from unrolling.core.arguments import check_range
from unrolling.core.refusals import explain_call
from unrolling.operators.differences import DirectionalDifferences
from unrolling.prox.directional import DirectionalTV

Prox = Callable[[Tensor, Tensor], Tensor]


class Parts(NamedTuple):
    """A photograph taken apart."""

    background: Tensor  # (batch, colours, height, width)
    rain: Tensor  # the same shape; what was added to it


class RainState(NamedTuple):
    """The state of ``RainADMM``; all fields are (batch, colours, height, width)."""

    background: Tensor  # P
    rain: Tensor  # Q >= 0
    background_dual: Tensor  # u
    rain_dual: Tensor  # v


class RainADMM(Iteration):
    """ADMM for min 0.5 |O - B - R|^2 + l_B Phi(B) + l_R Psi(R), R >= 0, with P = B and Q = R split off:

        (B, R) = argmin 0.5 |O - B - R|^2 + (r/2) |B - P + u|^2 + (r/2) |R - Q + v|^2,
        P <- prox_{(l_B / r) Phi}(B + u),    Q <- max(prox_{(l_R / r) Psi}(R + v), 0),
        u <- u + B - P,    v <- v + R - Q;    P = O, Q = u = v = 0 at the start.

    With e = O - (P - u) - (Q - v) the first is B = P - u + e / (2 + r), R = Q - v + e / (2 + r), for every pixel; with
    ``fidelity="equality"``, which asks for O = B + R, the divisor is 2. The answer is P, the rain Q; B - P and R - Q
    are how far u and v move.

    After Ding, Xue, Wang, Jiang, Fan and Luo 2018 (International Conference on Digital Home, pages 14-19), who unroll
    ADMM with networks as proxes (survey, Table I). Their energy is not at hand; the one above is a reading of it. Its
    classical form takes total variation across the streaks for Phi and along them for Psi, as Jiang, Huang, Zhao, Deng
    and Wang 2019 (doi:10.1109/TIP.2018.2880512) do for videos.

    Parameters: ``penalty`` r, ``background_weight`` l_B and ``rain_weight`` l_R, positive; those of both proxes.

    Args:
        background_prox: (z, t) -> prox of t Phi; a module may have parameters. Total variation along rows by default.
        rain_prox: (z, t) -> prox of t Psi. By default total variation along columns, on x >= 0.
        background_weight: l_B > 0.
        rain_weight: l_R > 0.
        penalty: r > 0.
        fidelity: ``least squares`` or ``equality``.

    Raises:
        ValueError: a weight or penalty that is not positive, an unknown fidelity.
    """

    background_weight: Tensor
    rain_weight: Tensor
    penalty: Tensor

    def __init__(
        self,
        background_prox: Prox | None = None,
        rain_prox: Prox | None = None,
        background_weight: float = 0.05,
        rain_weight: float = 0.05,
        *,
        penalty: float = 1.0,
        fidelity: Literal["least squares", "equality"] = "least squares",
    ) -> None:
        super().__init__()
        if fidelity not in ("least squares", "equality"):
            raise ValueError(f"fidelity is {fidelity!r}; it is 'least squares' or 'equality'")
        self.background_prox = across_streaks() if background_prox is None else background_prox
        self.rain_prox = along_streaks() if rain_prox is None else rain_prox
        given = {"background_weight": background_weight, "rain_weight": rain_weight, "penalty": penalty}
        for name, value in given.items():
            check_range(value, name, 0.0, above=True)
            setattr(self, name, scalar_parameter(check_weight(value), torch.zeros(())))
            constrain(self, name, Positive())
        self.fidelity = fidelity

    def start(self, problem: Tensor) -> RainState:
        """P = O, and no rain."""
        zero = torch.zeros_like(problem)
        return RainState(problem, zero, zero, zero)

    def forward(self, state: RainState, problem: Tensor) -> RainState:
        back, rain = self.split(state, problem)
        penalty = self.penalty
        smooth = self.background_prox(back + state.background_dual, self.background_weight / penalty)
        streaks = torch.relu(self.rain_prox(rain + state.rain_dual, self.rain_weight / penalty))
        return RainState(smooth, streaks, state.background_dual + back - smooth, state.rain_dual + rain - streaks)

    def split(self, state: RainState, problem: Tensor) -> Parts:
        """B and R of the first line."""
        back, rain = state.background - state.background_dual, state.rain - state.rain_dual
        share = 0.5 if self.fidelity == "equality" else 1 / (2 + self.penalty)
        both = share * (problem - back - rain)
        return Parts(back + both, rain + both)

    def estimate(self, state: RainState, problem: Tensor) -> Tensor:
        """P."""
        return state.background

    def supervised(self, state: RainState, problem: Tensor) -> Parts:
        """P and Q."""
        return Parts(state.background, state.rain)

    @property
    def objective(self) -> Callable[[RainState, Tensor], Tensor]:
        """0.5 |O - P - Q|^2 + l_B Phi(P) + l_R Psi(Q), (batch,), of a state and a problem; without the first under
        equality.

        Raises:
            AttributeError: a prox that does not know its penalty.
        """
        if not (hasattr(self.background_prox, "penalty") and hasattr(self.rain_prox, "penalty")):
            raise AttributeError("a prox without `penalty` has no known penalty, and RainADMM no objective")
        return self._objective

    def _objective(self, state: RainState, problem: Tensor) -> Tensor:
        priors: Any = self.background_prox, self.rain_prox
        total = priors[0].penalty(state.background, self.background_weight)
        total = total + priors[1].penalty(state.rain, self.rain_weight)
        if self.fidelity == "equality":
            return total
        return total + 0.5 * (problem - state.background - state.rain).square().flatten(1).sum(1)

    def check(self, data: Any) -> None:
        super().check(data)
        check_colours(data, type(self).__name__)

    def advice(self) -> str:
        return "take a larger penalty, or smaller weights"


def check_colours(data: Any, owner: str) -> None:
    """Refuses what is no batch of colour pictures.

    Raises:
        TypeError: no tensor, or complex numbers.
        ValueError: other dimensions.
    """
    if not isinstance(data, Tensor) or data.is_complex():
        kind = str(data.dtype) if isinstance(data, Tensor) else type(data).__name__
        raise TypeError(f"data is {kind}; {owner} works on real pictures (batch, colours, height, width)")
    if data.ndim != 4:
        raise ValueError(
            f"data has shape {tuple(data.shape)}; {owner} works on pictures (batch, colours, height, width): of grey "
            "ones give data.unsqueeze(1)"
        )


def across_streaks(step: tuple[int, int] = (0, 1), iterations: int = 20) -> DirectionalTV:
    """Total variation across streaks that fall along columns: small where the background is smooth."""
    return DirectionalTV(DirectionalDifferences(step), iterations=iterations)


def along_streaks(step: tuple[int, int] = (1, 0), sparsity: float = 0.1, iterations: int = 20) -> DirectionalTV:
    """Total variation along streaks, on x >= 0: small where all that is bright is long."""
    return DirectionalTV(DirectionalDifferences(step), sparsity=sparsity, nonnegative=True, iterations=iterations)


@explain_call
class LearnedProx(nn.Module):
    """z - t N(z): a network in the place of a prox, in which the threshold keeps its place as the size of the change.

    Args:
        network: N, images to images of the same shape; with a last layer of zeros the prox begins as the identity.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor, threshold: Tensor | float) -> Tensor:
        """The changed images."""
        return z - threshold * self.network(z).to(z.dtype)
