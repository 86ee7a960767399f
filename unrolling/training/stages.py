"""A schedule is a list of stages: which layers and parameters, which loss on which estimates, how, and for how long."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from math import cos, isfinite, log, pi
from typing import Any, NamedTuple

from torch import nn

from unrolling.core import Unrolled
from unrolling.training.losses import Loss, describe
from unrolling.training.optimizers import Adam, Optimizer


@dataclass(frozen=True)
class Annealing:
    """What the learning rates are multiplied by along a stage: ``warmup`` is the fraction of the steps over which they
    rise evenly from zero.
    """

    warmup: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.warmup <= 1:
            raise ValueError(f"warmup is a fraction between 0 and 1; got {self.warmup}")

    def factor(self, step: int, steps: int) -> float:
        """At a step counted from 0 of so many."""
        if self.warmup == 0:
            return self.fall(step / steps)
        rise = max(1, round(self.warmup * steps))
        return (step + 1) / rise if step < rise else self.fall((step - rise) / max(1, steps - rise))

    def fall(self, progress: float) -> float:
        """After the rise, ``progress`` going from 0 to 1."""
        return 1.0


@dataclass(frozen=True)
class Constant(Annealing):
    """The same rate throughout."""


@dataclass(frozen=True)
class Cosine(Annealing):
    """Half a cosine down to ``final`` of the rate (Loshchilov and Hutter 2017, arXiv:1608.03983)."""

    final: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.final <= 1:
            raise ValueError(f"final is a fraction between 0 and 1; got {self.final}")

    def fall(self, progress: float) -> float:
        return self.final + (1 - self.final) * 0.5 * (1 + cos(pi * progress))


@dataclass(frozen=True)
class Exponential(Annealing):
    """Geometric fall to ``final`` of the rate."""

    final: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.final <= 1:
            raise ValueError(f"final is a fraction above 0 and at most 1; got {self.final}")

    def fall(self, progress: float) -> float:
        return self.final**progress


class Supervision:
    """How much each layer's estimate counts in the loss."""

    def weights(self, depth: int) -> list[float]:
        """Of the first ``depth`` layers, summing to one."""
        raise TypeError(f"{type(self).__name__} is a Supervision without `weights`")


@dataclass(frozen=True)
class Last(Supervision):
    """The last layer alone."""

    def weights(self, depth: int) -> list[float]:
        return [0.0] * (depth - 1) + [1.0]


@dataclass(frozen=True)
class Power(Supervision):
    """Layer k of K counts as (k / K)^power: 0 weighs all layers the same, a large power the last ones."""

    power: float = 1.0

    def __post_init__(self) -> None:
        if not (isfinite(self.power) and self.power >= 0):
            raise ValueError(f"power must be finite and at least 0; got {self.power}")

    def weights(self, depth: int) -> list[float]:
        return _normalised([((k + 1) / depth) ** self.power for k in range(depth)])


@dataclass(frozen=True)
class Logarithmic(Supervision):
    """Layer k counts as log k (Samuel, Diskin and Wiesel 2019, arXiv:1805.07631, eq. 14): the first layer is left
    alone.
    """

    def weights(self, depth: int) -> list[float]:
        return _normalised([log(k + 1) for k in range(depth)]) if depth > 1 else [1.0]


@dataclass(frozen=True)
class Weighted(Supervision):
    """Weights of your own, one per layer."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not (self.values and all(isfinite(v) and v >= 0 for v in self.values) and sum(self.values) > 0):
            raise ValueError(f"weights of layers are finite, at least 0 and not all 0; got {self.values}")

    def weights(self, depth: int) -> list[float]:
        if len(self.values) != depth:
            raise ValueError(f"there are {len(self.values)} weights of layers for {depth} layers")
        return _normalised(list(self.values))


def _normalised(weights: list[float]) -> list[float]:
    total = sum(weights)
    return [weight / total for weight in weights]


@dataclass(frozen=True)
class Ramp:
    """A number that goes evenly from ``first`` to ``last`` over the first ``part`` of a stage, and stays: a
    curriculum.
    """

    first: float
    last: float
    part: float = 1.0

    def __post_init__(self) -> None:
        if not (0 < self.part <= 1 and isfinite(self.first) and isfinite(self.last)):
            raise ValueError(f"a Ramp has finite ends and a part in (0, 1]; got {self}")

    def value(self, step: int, steps: int) -> float:
        """At a step counted from 0 of so many."""
        return self.first + (self.last - self.first) * min(1.0, step / max(1, round(self.part * steps) - 1))


class Patience(NamedTuple):
    """Ends a stage once the metric on the validation set has gained less than ``gain`` (in its unit) for ``steps``
    steps, looked at ``every`` so many.
    """

    steps: int
    every: int = 100
    gain: float = 0.0


@dataclass(frozen=True)
class Stage:
    """One stage of training.

    Attributes:
        steps: optimizer steps, at most.
        rate: learning rate at its highest.
        rates: learning rates of parameters that need another one, by name in the algorithm (``{"threshold": 1e-2}``).
        batch: samples per step, over all processes.
        depth: run the first so many layers; all by default.
        layers: train the untied parameters of these layers (numbered from 0) and nothing tied; by default everything in
            the first ``depth``.
        parameters: train only these, by names or keys of ``parameter_table`` (``threshold``, ``layers.3.threshold``) or
            of a sub-module; tied ones too.
        loss: of an estimate; by default the task's. ``Energy()`` needs no targets.
        supervision: whose estimates it is taken of.
        optimizer: a value of ``training.optimizers``.
        annealing: how the rates rise and fall.
        layer_decay: layer k of K layers has its rates multiplied by layer_decay^(K - k): earlier layers learn more
            slowly (LISTA-CPSS).
        clip: largest gradient norm; None leaves gradients alone.
        project: after each step these parameters, by name, are replaced by the nearest values that a constraint allows
            (``{"threshold": Positive()}``).
        draw: values that the task draws batches with, such as ``{"snr": Ramp(40, 20)}``: a curriculum on noise.
        settings: plain numbers of the layers, by attribute name, that are set before each step: ``{"surrogate_width":
            Ramp(1.0, 0.2)}`` narrows a surrogate gradient. They are not saved with weights, and should not change what
            a trained layer computes.
        repeat: steps taken on one batch before the next is drawn.
        inherit: before the first step the last of the layers takes the values of the one before it, those named here
            times a factor (``{"threshold": 0.8}``; {} copies): the warm start of greedy training. None leaves it as it
            is.
        stop: ends the stage before ``steps``.
    """

    steps: int
    rate: float = 1e-3
    rates: Mapping[str, float] = field(default_factory=dict)
    batch: int = 128
    depth: int | None = None
    layers: tuple[int, ...] | None = None
    parameters: tuple[str, ...] | None = None
    loss: Loss | None = None
    supervision: Supervision = Last()
    optimizer: Optimizer = Adam()  # noqa: RUF009 (frozen)
    annealing: Annealing = Cosine()
    layer_decay: float = 1.0
    clip: float | None = None
    project: Mapping[str, nn.Module] = field(default_factory=dict)
    draw: Mapping[str, float | Ramp] = field(default_factory=dict)
    settings: Mapping[str, float | Ramp] = field(default_factory=dict)
    repeat: int = 1
    inherit: Mapping[str, float] | None = None
    stop: Patience | None = None

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or self.repeat < 1:
            raise ValueError(
                "a stage needs at least one step, one sample per step and one step per batch; got steps "
                f"{self.steps}, batch {self.batch}, repeat {self.repeat}"
            )
        if not (self.rate > 0 and all(rate > 0 for rate in self.rates.values())):
            raise ValueError(f"learning rates must be positive; got rate {self.rate}, rates {dict(self.rates)}")
        if not (isfinite(self.rate) and all(map(isfinite, self.rates.values()))):
            raise ValueError(f"learning rates must be finite; got rate {self.rate}, rates {dict(self.rates)}")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay is a factor above 0 and at most 1; got {self.layer_decay}")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip must be positive; got {self.clip}")
        if self.depth is not None and self.depth < 1:
            raise ValueError(f"depth is {self.depth}; a stage runs at least one layer")
        if self.stop is not None and (self.stop.steps < 1 or self.stop.every < 1):
            raise ValueError(f"Patience counts in steps, at least 1; got {self.stop}")

    def drawn(self, step: int) -> dict[str, float]:
        """What the task draws the batch of a step with."""
        return _values(self.draw, step, self.steps)

    def set(self, step: int) -> dict[str, float]:
        """What the layers' numbers are set to before a step."""
        return _values(self.settings, step, self.steps)

    def describe(self) -> dict[str, Any]:
        """Plain values of what differs from a stage's defaults, for a checkpoint or a weights card."""
        plain = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name in _ALWAYS or getattr(self, f.name) != _DEFAULTS[f.name]
        }
        return {name: _plain(name, value) for name, value in plain.items()}


def _values(values: Mapping[str, float | Ramp], step: int, steps: int) -> dict[str, float]:
    return {name: value.value(step, steps) if isinstance(value, Ramp) else value for name, value in values.items()}


_ALWAYS = ("steps", "rate", "batch")
_DEFAULTS = {
    f.name: f.default if isinstance(f.default, int | float | Supervision | Optimizer | Annealing) else None
    for f in fields(Stage)
} | {name: {} for name in ("rates", "project", "draw", "settings")}


def _plain(name: str, value: Any) -> Any:
    if name == "loss":
        return describe(value)
    if name == "optimizer":
        return value.describe()
    if name == "stop":
        return None if value is None else value._asdict()
    if name == "project":
        return {key: repr(constraint) for key, constraint in value.items()}
    if name in ("draw", "settings"):
        return {key: asdict(item) if isinstance(item, Ramp) else item for key, item in value.items()}
    if isinstance(value, Annealing | Supervision):
        return {"name": type(value).__name__, **asdict(value)}  # pyright: ignore[reportArgumentType]
    return dict(value) if isinstance(value, Mapping) else list(value) if isinstance(value, tuple) else value


Schedule = list[Stage]


def scaled(schedule: Schedule, steps: int) -> Schedule:
    """The same stages with ``steps`` optimizer steps in all, shared out as before.

    Raises:
        ValueError: fewer steps than stages.
    """
    if steps < len(schedule):
        raise ValueError(f"steps is {steps}; this schedule has {len(schedule)} stages of at least one step each")
    total = sum(stage.steps for stage in schedule)
    shares = [stage.steps * steps / total for stage in schedule]
    counts = [max(1, int(share)) for share in shares]
    # of the rounding, one step at a time to the stage that is furthest from its share
    while left := steps - sum(counts):
        sign = 1 if left > 0 else -1
        candidates = [k for k, count in enumerate(counts) if sign > 0 or count > 1]
        counts[max(candidates, key=lambda k: sign * (shares[k] - counts[k]))] += sign
    return [replace(stage, steps=count) for stage, count in zip(schedule, counts, strict=True)]


class Learnable(NamedTuple):
    """A tensor that an optimizer may move."""

    name: str  # in the algorithm
    layer: int | None  # None when tied, or of a network without layers
    tensor: nn.Parameter  # of a constrained parameter its free tensor

    @property
    def key(self) -> str:
        """As in ``parameter_table``."""
        return self.name if self.layer is None else f"layers.{self.layer}.{self.name}"


def learnables(network: nn.Module) -> list[Learnable]:
    """Every tensor that training may move, tied ones first, then layer by layer; of a network without layers, all that
    take gradients.
    """
    if not isinstance(network, Unrolled):
        return [
            Learnable(name, None, parameter)
            for name, parameter in network.named_parameters()
            if parameter.requires_grad
        ]
    return [Learnable(name, layer, parameter) for name, layer, parameter in network.located_learned()]


def trained_by(
    stage: Stage, network: nn.Module, number: int = 0, known: list[Learnable] | None = None
) -> list[Learnable]:
    """The tensors that a stage trains.

    Args:
        stage: which layers and parameters.
        network: whose.
        number: of the stage, for messages.
        known: what ``learnables`` gave, where gradients have been switched off since.

    Raises:
        ValueError: a layer or depth beyond the network, a name that is unknown or fixed, or nothing left to train.
    """
    known = learnables(network) if known is None else known
    layered = isinstance(network, Unrolled)
    if not layered and (stage.depth is not None or stage.layers is not None or stage.inherit is not None):
        raise ValueError(f"stage {number} speaks of layers, and {type(network).__name__} is not an unrolled network")
    depth = stage.depth
    if layered:
        depth = len(network) if depth is None else depth
        if depth > len(network):
            raise ValueError(f"stage {number} runs {depth} layers, and the network has {len(network)}")
        outside = [layer for layer in stage.layers or () if not 0 <= layer < depth]
        if outside:
            raise ValueError(f"stage {number} trains layer {outside[0]}, and it runs layers 0 to {depth - 1}")
    for name in (*(stage.parameters or ()), *stage.rates, *stage.project, *(stage.inherit or ())):
        if not any(_means(name, item) for item in known):
            raise ValueError(f"stage {number} names {name!r}, {_why_not(name, network, known)}")
    chosen = [
        item for item in known if stage.parameters is None or any(_means(name, item) for name in stage.parameters)
    ]
    if stage.layers is not None:
        named = stage.parameters is not None
        chosen = [item for item in chosen if item.layer in stage.layers or (item.layer is None and named)]
    elif layered:
        chosen = [item for item in chosen if item.layer is None or item.layer < (depth or 0)]
    if not chosen:
        where = "" if stage.layers is None else f" in layers {', '.join(map(str, stage.layers))}"
        raise ValueError(
            f"stage {number} trains nothing: no untied parameter is learned{where}; learned are {_names(known)}"
        )
    return chosen


def matching(name: str, items: Iterable[Learnable]) -> list[Learnable]:
    """Those that a name, a key, or the name of a sub-module means."""
    return [item for item in items if _means(name, item)]


def _means(name: str, item: Learnable) -> bool:
    """Whether a name, a key, or the name of a sub-module means a tensor."""
    return any(full == name or full.startswith(name + ".") for full in (item.name, item.key))


def _why_not(name: str, network: nn.Module, known: list[Learnable]) -> str:
    fixed = network.fixed() if isinstance(network, Unrolled) else dict(network.named_parameters())
    if any(full == name or full.startswith(name + ".") for full in fixed):
        return (
            "which is fixed in this network: name it in unroll's `tied` or `untied` to learn it; learned are "
            f"{_names(known)}"
        )
    return f"which is not learned; learned are {_names(known)}"


def _names(known: Iterable[Learnable]) -> str:
    return ", ".join(dict.fromkeys(item.name for item in known)) or "none"


def groups(stage: Stage, chosen: list[Learnable]) -> list[dict[str, Any]]:
    """Tensors by learning rate, as torch's optimizers take them."""
    last = max((item.layer for item in chosen if item.layer is not None), default=0)
    found: dict[float, list[nn.Parameter]] = {}
    for item in chosen:
        rate = next((rate for key, rate in stage.rates.items() if _means(key, item)), stage.rate)
        if item.layer is not None:
            rate *= stage.layer_decay ** (last - item.layer)
        found.setdefault(rate, []).append(item.tensor)
    return [{"params": tensors, "lr": rate} for rate, tensors in found.items()]
