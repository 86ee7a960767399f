"""A filter over a stream, piece by piece, as a module whose state is tensors alone, such as an exported file keeps."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from unrolling.algorithms.dynamics.kalman import Filter
from unrolling.algorithms.dynamics.state_space import Recording
from unrolling.core import Unrolled
from unrolling.core.refusals import explain_call

OF_A_PIECE = ("moment", "trajectory")  # what of a filter's state is of the piece, and not of the stream


@explain_call
class FilterStream(nn.Module):
    """(recording, state) -> (means (batch, T, n), state at its end), for a filter or a network of one: what ``track``
    does, for pieces that do not say where in the stream they begin.

    The state is what a piece leaves for the next one, tensors alone, (batch, ...): mean and covariance, of
    ``KalmanNet`` also what its network remembers. So ``export(FilterStream(network), path, recording, state=...)``
    writes a file that goes on from piece to piece; with pieces of one moment it filters as measurements come.

    Args:
        network: a filter, or a network of one in which nothing is untied.

    Raises:
        TypeError: something else.
        ValueError: a network with parameters for each layer.
    """

    def __init__(self, network: Filter | Unrolled[Any]) -> None:
        super().__init__()
        if isinstance(network, Unrolled) and network.untied:
            raise ValueError(
                f"a stream needs one step for all moments, and this network has {', '.join(network.untied)} for each "
                "layer; tie them"
            )
        step = network.layers[0] if isinstance(network, Unrolled) else network
        if not isinstance(step, Filter):
            raise TypeError(f"a stream goes through a filter, or a network of one; got a {type(network).__name__}")
        self.step = step

    def start(self, recording: Recording) -> Any:
        """The state before the first moment, for as many streams as there are trajectories."""
        return self._kept(self.step.start(recording._replace(begin=0)))

    def forward(self, recording: Recording, state: Any = None) -> tuple[Float[Tensor, "batch T n"], Any]:
        """The means at the moments of a piece, and what the next one goes on from."""
        step, recording = self.step, recording._replace(begin=0)
        step.check(recording)
        problem = step.prepare(recording)
        full = step.start(problem)
        if state is not None:
            full = full._replace(**state._asdict())
        for _ in range(recording.values.shape[1]):
            full = step(full, problem)
        return step.estimate(full, problem), self._kept(full)

    def _kept(self, state: Any) -> Any:
        fields = tuple(name for name in state._fields if name not in OF_A_PIECE)
        return _carried(fields)(*(getattr(state, name) for name in fields))


@cache
def _carried(fields: tuple[str, ...]) -> Any:
    """The type of such a state."""
    return NamedTuple("Carried", [(name, Tensor) for name in fields])  # pyright: ignore
