"""Losses for estimation and restoration, as values that name themselves in a schedule's record.

Each is called with estimates and targets (batch, ...) and gives a scalar; where it is a mean over samples, ``each``
gives the samples' own (batch,). Means over samples do not depend on how a batch is divided among processes;
``LogNMSE``, a ratio of sums, does.

A loss that needs more than these two says so by the names of further parameters, and is given what it names:

- ``data``: what the network was given;
- ``network``: the network itself, to be run again on other data (equivariance, Stein's unbiased risk estimate, data
  split in two) or asked for its children (a critic);
- ``run``: data -> the network's estimate after as many layers as this one;
- ``state``: the state of an unrolled network that the estimate was read from (``Energy``);
- ``measurement``: how the task's data come about (``tasks.measurements``); ``draws``: random numbers of the step; and
  ``kept``: what the loss's own ``show`` kept from the network. Those of ``training.without_truth`` ask for these.

One that says ``takes_estimate = False`` is given None for it, and the network is not run.

The target is None where the task's samples have none.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass
from itertools import permutations
from math import log
from typing import Any

import torch
from torch import Tensor, nn

from unrolling.core import scale, tree
from unrolling.tasks.speech.speech_metrics import si_sdr

Loss = Callable[..., Tensor]
MORE = (
    "data",
    "network",
    "run",
    "state",
    "measurement",
    "draws",
    "kept",
)  # what a loss may ask for besides estimate and target


def asked(loss: Loss) -> tuple[str, ...]:
    """Which of ``MORE`` a loss takes; one of many parts says it by ``asks``."""
    if hasattr(loss, "asks"):
        return tuple(loss.asks)  # pyright: ignore[reportFunctionMemberAccess]
    try:
        parameters = list(inspect.signature(loss).parameters)
    except (TypeError, ValueError):  # a function of C without a signature
        return ()
    return tuple(name for name in parameters[2:] if name in MORE)


def compute(loss: Loss, estimate: Any, target: Any, **more: Any) -> Tensor:
    """A loss, given what it asks for of ``more``."""
    return loss(estimate, target, **{name: more[name] for name in asked(loss)})


def describe(loss: Any) -> Any:
    """A loss as plain values: what a checkpoint compares and a card shows."""
    if loss is None:
        return "of the task"
    return repr(loss) if is_dataclass(loss) or hasattr(loss, "asks") else getattr(loss, "__name__", type(loss).__name__)


class SampleLoss:
    """A loss that is the mean of one number per sample; a subclass writes ``each``."""

    def each(self, estimate: Tensor, target: Tensor) -> Tensor:
        """The loss of each sample, (batch,)."""
        raise TypeError(f"{type(self).__name__} is a SampleLoss without `each`")

    def __call__(self, estimate: Tensor, target: Tensor) -> Tensor:
        _same_shape(self, estimate, target)
        return self.each(estimate, target).mean()


@dataclass(frozen=True)
class MSE(SampleLoss):
    """|x' - x|^2 / n, n numbers in a sample."""

    def each(self, estimate: Tensor, target: Tensor) -> Tensor:
        return _energy(estimate - target) / target.shape[1:].numel()


@dataclass(frozen=True)
class RelativeMSE(SampleLoss):
    """|x' - x|^2 / |x|^2, every sample counting the same whatever its size.

    Attributes:
        floor: smallest |x|^2 that is divided by, so that near silent targets do not rule the batch; those of zeros are
            divided by one.
    """

    floor: float = 0.0

    def each(self, estimate: Tensor, target: Tensor) -> Tensor:
        unit = scale.unit(target, tuple(range(1, target.ndim)))
        energy = _energy(target / unit)
        floor = self.floor / unit.flatten() / unit.flatten()
        energy = torch.maximum(energy, floor)
        return _energy((estimate - target) / unit) / torch.where(energy == 0, 1, energy)


@dataclass(frozen=True)
class LogNMSE:
    """10 log10(sum |x' - x|^2 / sum |x|^2) in dB, sums over the batch: its gradient does not fade as the error does.

    Attributes:
        floor: added to the ratio, so that an error of zero has a loss and a gradient.
    """

    floor: float = 1e-12

    def __call__(self, estimate: Tensor, target: Tensor) -> Tensor:
        _same_shape(self, estimate, target)
        unit = scale.unit(target, tuple(range(target.ndim)))
        energy = _energy(target / unit).sum()
        ratio = _energy((estimate - target) / unit).sum() / torch.where(energy == 0, 1, energy)
        return (10 / log(10)) * torch.log(ratio + self.floor)


@dataclass(frozen=True)
class ShiftInvariantMSE(SampleLoss):
    """min over shifts s of mean (x'(. + s) - x)^2 over the interior that every shift leaves inside; blind deconvolution
    knows its image up to a shift.

    Attributes:
        shift: largest shift in each of the last two dimensions, in pixels.
    """

    shift: int = 5

    def __post_init__(self) -> None:
        if self.shift < 0:
            raise ValueError(f"shift is {self.shift}; the largest shift is at least 0 pixels")

    def each(self, estimate: Tensor, target: Tensor) -> Tensor:
        r = self.shift
        height, width = target.shape[-2:]
        if min(height, width) <= 2 * r:
            raise ValueError(f"a shift of {r} pixels needs images larger than {2 * r}; got {height} x {width}")
        inner = target[..., r : height - r, r : width - r]
        count = inner.shape[1:].numel()
        # The best shift carries no gradient, so that all but one of the candidates are compared without keeping
        # anything.
        with torch.no_grad():
            errors = torch.stack(
                [_energy(self._moved(estimate, i, j) - inner) for i in range(2 * r + 1) for j in range(2 * r + 1)],
                dim=1,
            )
            best = errors.argmin(1)
        rows = [
            _energy(self._moved(estimate[k : k + 1], int(s) // (2 * r + 1), int(s) % (2 * r + 1)) - inner[k : k + 1])
            for k, s in enumerate(best)
        ]
        return torch.cat(rows) / count

    def _moved(self, images: Tensor, i: int, j: int) -> Tensor:
        height, width = images.shape[-2:]
        return images[..., i : i + height - 2 * self.shift, j : j + width - 2 * self.shift]


@dataclass(frozen=True)
class NegativeSISDR(SampleLoss):
    """-10 log10(|a x|^2 / |a x - x'|^2) in dB, a = <x', x> / |x|^2: scale-invariant signal-to-distortion ratio (Le Roux
    et al. 2019, arXiv:1811.02508).

    Attributes:
        zero_mean: subtract the means first.
    """

    zero_mean: bool = False

    def each(self, estimate: Tensor, target: Tensor) -> Tensor:
        return -si_sdr(estimate.flatten(1), target.flatten(1), self.zero_mean)


@dataclass(frozen=True)
class PermutationInvariant(SampleLoss):
    """min over permutations p of the mean over sources s of loss(x'_p(s), x_s), (batch, sources, ...): which output
    holds which source is free.

    Attributes:
        loss: of one source; a mean over samples.
    """

    loss: SampleLoss

    def each(self, estimate: Tensor, target: Tensor) -> Tensor:
        if target.ndim < 3:
            raise ValueError(f"PermutationInvariant needs (batch, sources, ...); got shape {tuple(target.shape)}")
        sources = range(target.shape[1])
        pairs = [[self.loss.each(estimate[:, i], target[:, j]) for j in sources] for i in sources]
        values = [torch.stack([pairs[i][j] for j, i in enumerate(order)]).mean(0) for order in permutations(sources)]
        return torch.stack(values).amin(0)


@dataclass(frozen=True)
class Energy:
    """The parent's own objective at the estimate, batch mean: training without targets (Sprechmann, Bronstein and
    Sapiro 2015, doi:10.1109/TPAMI.2015.2392779).

    It is the classical objective, with the parent's parameters, whatever the network has learned; an objective that
    moved with them could be lowered by making it trivial.
    """

    def __call__(self, estimate: Any, target: Any, *, data: Any, network: Any, state: Any) -> Tensor:
        parent = network.parent
        with _frozen(parent):
            return parent.objective(state, parent.prepare(data)).mean()


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """No gradient flows into the module's parameters from what is computed meanwhile."""
    moving = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in moving:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in moving:
            parameter.requires_grad_(True)


@dataclass(frozen=True)
class WeightedSum:
    """sum_i w_i loss_i(x'_i, x_i) over named estimates, for networks that are trained together (``networks.Joint``).

    Attributes:
        terms: name of an estimate to its weight and loss.
    """

    terms: tuple[tuple[str, float, Any], ...]

    def __call__(self, estimate: Any, target: Any) -> Tensor:
        return torch.stack(
            [weight * loss(_field(estimate, name), _field(target, name)) for name, weight, loss in self.terms]
        ).sum()


def _field(values: Any, name: str) -> Tensor:
    """Of a dict or a NamedTuple; a tensor is the target of every term."""
    if isinstance(values, Tensor):
        return values
    if name not in (values if isinstance(values, dict) else getattr(values, "_fields", ())):
        raise ValueError(
            f"WeightedSum names {name!r}; there are {', '.join(values if isinstance(values, dict) else values._fields)}"
        )
    return values[name] if isinstance(values, dict) else getattr(values, name)


def trajectory(
    loss: Loss, weights: list[float], estimates: list[Tensor], target: Tensor, more: Sequence[Mapping[str, Any]] = ()
) -> Tensor:
    """sum_k w_k loss(x_k, x) over the estimates of several layers; a layer of weight 0 costs nothing.

    Args:
        loss: of one estimate.
        weights: of the layers.
        estimates: of the layers.
        target: of all.
        more: what the loss takes besides, for each layer.
    """
    if len(weights) != len(estimates):
        raise ValueError(f"there are {len(weights)} weights and {len(estimates)} estimates")
    rows = zip(weights, estimates, more or [{}] * len(weights), strict=True)
    terms = [weight * loss(estimate, target, **given) for weight, estimate, given in rows if weight]
    if not terms:
        raise ValueError("all layers have weight 0: no estimate is left to compare with the target")
    return torch.stack(terms).sum() if len(terms) > 1 else terms[0]


def _energy(x: Tensor) -> Tensor:
    """|x|^2 of each sample, (batch,)."""
    return tree.rows(torch.view_as_real(x) if x.is_complex() else x).square().sum(1)


def _same_shape(loss: Any, estimate: Tensor, target: Tensor) -> None:
    # Broadcasting would give a number all the same, and a wrong one.
    if target is None:
        raise ValueError(f"{type(loss).__name__} compares estimates with targets, and these samples have none")
    if estimate.shape != target.shape:
        raise ValueError(
            f"{type(loss).__name__} compares tensors of one shape; got estimates {tuple(estimate.shape)} "
            f"and targets {tuple(target.shape)}"
        )
