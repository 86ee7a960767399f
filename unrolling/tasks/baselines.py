"""What networks are compared with: methods whose settings are chosen on validation data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor, nn

from unrolling.core import Iteration


@runtime_checkable
class Baseline(Protocol):
    """A method of a comparison.

    Attributes:
        name: for the table.
        settings: candidates, one of which is chosen on validation data; one where there is nothing to choose.
        make: the method for a setting.
    """

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> Sequence[Any]: ...

    @property
    def make(self) -> Callable[[Any], Any]: ...


@dataclass(frozen=True)
class Iterative:
    """A classical algorithm, run to convergence.

    Attributes:
        name: for the table.
        make: the iteration for a setting.
        settings: numbers or tuples of numbers, or the one setting that the task prescribes.
        iterations: the most it is run for; enough to converge.
        tuning: iterations on validation data for each setting; as many by default.
        setting: what the settings are, for the table; empty where the method has nothing to choose.
    """

    name: str
    make: Callable[[Any], Iteration]
    settings: tuple[Any, ...]
    iterations: int
    tuning: int | None = None
    setting: str = "weight"


@dataclass(frozen=True)
class Method:
    """A method that is not run step by step, or of another library.

    Attributes:
        name: for the table.
        make: for a setting, data -> estimates.
        settings: candidates.
        note: what a reader should know; ``{setting}`` in it becomes the setting that was chosen.
        limit: largest number of samples of a batch it is given, for methods that take long.
        kind: ``library`` for another library's.
        linear: whether it is the best linear estimate, or the data themselves: no generic network below it stands for
            its kind.
    """

    name: str
    make: Callable[[Any], Callable[[Any], Tensor]]
    settings: tuple[Any, ...] = (None,)
    note: str = ""
    limit: int | None = None
    kind: Literal["classical", "library"] = "classical"
    linear: bool = False


@dataclass(frozen=True)
class Generic:
    """A network of the field that knows nothing of the problem, trained on the task.

    Attributes:
        name: for the table.
        network: the untrained network, from data to estimates.
        steps: optimizer steps; by default as many as the network that it is compared with trains for.
        batch: samples per step; by default that network's.
        rates: learning rates, one of which is chosen.
    """

    name: str
    network: Callable[[], nn.Module]
    steps: int | None = None
    batch: int | None = None
    rates: tuple[float, ...] = (1e-3, 3e-3)

    @property
    def settings(self) -> tuple[float, ...]:
        """The learning rates."""
        return self.rates

    @property
    def make(self) -> Callable[[Any], nn.Module]:
        """The untrained network, the same for every rate."""
        return lambda rate: self.network()


@dataclass(frozen=True)
class ThreeRuns:
    """How the step of a trained network, whose layers are all the same, is also run to its fixed point in a comparison:
    by ``solve``, which is plug-and-play where a denoiser stands for a prox, and as ``Equilibrium``, trained further
    there by implicit gradients where the budget allows it. The network itself is the third run.

    Attributes:
        contraction: (step, data) -> what is known of whether it contracts, in words.
        iterations: the most that the fixed point is sought for.
        tolerance: of the residual, for ``solve``.
        steps: of training at the fixed point.
        batch: samples of such a step.
        rate: of learning there.
    """

    contraction: Callable[[Any, Any], str]
    iterations: int = 200
    tolerance: float = 1e-4
    steps: int = 50
    batch: int = 2
    rate: float = 1e-4


def algorithm(iteration: Iteration) -> str:
    """The classical algorithm that an iteration is a form of: the one that its class names, or its class."""
    named = getattr(iteration, "algorithm", "")
    return named or type(iteration).__name__.removeprefix("Parametrized")


def parent_among(baselines: Sequence[Baseline], parent: Iteration) -> Iterative | None:
    """The first baseline that is run step by step and is the parent's algorithm; one that cannot be made is nobody's
    parent.
    """
    for baseline in baselines:
        if isinstance(baseline, Iterative):
            try:
                found = is_algorithm(baseline, parent)
            except Exception:  # its row will say why
                continue
            if found:
                return baseline
    return None


def is_algorithm(baseline: Iterative, parent: Iteration) -> bool:
    """Whether a baseline is the parent's algorithm, from whatever start."""
    return algorithm(baseline.make(baseline.settings[0])) == algorithm(parent)
