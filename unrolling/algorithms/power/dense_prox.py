"""The prox-linear network as its authors released it: dense layers with weights of their own."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.power.meters import PowerMeasurement
from unrolling.algorithms.power.prox_linear import Estimated, StateEstimator
from unrolling.core.arguments import check_count, check_input, check_range
from unrolling.core.refusals import explain_call

ACTIVATIONS = ("relu", "soft")


@explain_call
class DenseProxMaps(nn.Module):
    """z (batch, M) -> v (batch, n) in I groups of K layers of width M:

    m_1 = B_1 z,  m_i = C_i u + B_i z;  u = s(m_i), then K - 1 times u = s(m_i + W u);  v = P (u + D z); every map with
    a bias. s is ReLU, or the soft threshold at ``threshold``. Weights uniform as Glorot and Bengio 2010 have them,
    biases zero.

    Args:
        measured: M.
        size: n.
        outer: I.
        inner: K.
        activation: relu or soft.
        threshold: of ``soft``.
        seed: of the weights.

    Raises:
        ValueError: a count below 1, an unknown activation, a threshold that is negative.
    """

    def __init__(
        self,
        measured: int,
        size: int,
        outer: int = 2,
        inner: int = 3,
        activation: Literal["relu", "soft"] = "relu",
        threshold: float = 0.2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for value, name in ((measured, "measured"), (size, "size"), (outer, "outer"), (inner, "inner")):
            check_count(value, name)
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is {activation!r}; there are {', '.join(ACTIVATIONS)}")
        check_range(threshold, "threshold", 0.0)
        self.measured, self.activation, self.threshold = measured, activation, threshold

        def maps(count: int) -> nn.ModuleList:
            return nn.ModuleList(nn.Linear(measured, measured) for _ in range(count))

        self.inputs, self.between = maps(outer), maps(outer - 1)
        self.mixing = nn.ModuleList(maps(inner - 1) for _ in range(outer))
        self.direct, self.readout = nn.Linear(measured, measured), nn.Linear(measured, size)
        generator = torch.Generator().manual_seed(seed)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight, generator=generator)
                nn.init.zeros_(layer.bias)

    def forward(self, data: Float[Tensor, "batch M"]) -> tuple[Float[Tensor, "batch n"], Float[Tensor, "batch M"]]:
        """v, and u of the last layer."""
        check_input(self, data, "data", self.measured)
        u = None
        for i, enter in enumerate(self.inputs):
            m = enter(data) if u is None else self.between[i - 1](u) + enter(data)
            u = self.active(m)
            for mix in self.mixing[i]:  # pyright: ignore[reportGeneralTypeIssues]
                u = self.active(m + mix(u))
        assert u is not None
        return self.readout(u + self.direct(data)), u

    def active(self, m: Tensor) -> Tensor:
        """s."""
        return torch.relu(m) if self.activation == "relu" else torch.nn.functional.softshrink(m, self.threshold)


class DenseProxLinear(StateEstimator):
    """The whole of ``DenseProxMaps`` as one step, whose estimate does not depend on where it starts: the released form
    of prox-linear networks (Zhang, Wang and Giannakis 2019, doi:10.1109/TSP.2019.2926023), with I = 2 and K = 3.

    It knows meters and grid from training data alone. What it sees are readings less those at the nominal state, over
    the standard deviations that readings had in training, and what it gives is added to the nominal state; none of it
    is learned, and the released network, which has none of it, is this one with other first and last maps.

    Parameters: ``maps``, 8 (M^2 + M) + n (M + 1) numbers with I = 2 and K = 3.

    Args:
        measurement: h.
        nominal: v, such as the mean of past states.
        maps: from what it sees to v.
        scale: standard deviations of readings (M,).
        change: that of the numbers of a state.
    """

    algorithm = "ProxLinear"
    scale: Tensor

    def __init__(
        self, measurement: PowerMeasurement, nominal: Tensor, maps: DenseProxMaps, scale: Tensor, change: float = 1.0
    ) -> None:
        super().__init__(measurement, nominal)
        self.maps = maps
        scale = scale.detach().to(self.nominal)
        self.register_buffer("scale", torch.where(scale == 0, 1, scale))  # a reading that never changed
        check_range(change, "change", 0.0, above=True)
        self.change = float(change)

    def forward(self, state: Estimated, problem: Float[Tensor, "batch M"]) -> Estimated:
        change, dual = self.maps((problem - self.measurement(self.nominal)) / self.scale)
        return Estimated(self.nominal + self.change * change, dual)
