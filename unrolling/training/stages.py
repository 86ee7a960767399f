"""A schedule is a list of stages: which layers and parameters, which loss on which estimates, how, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from math import isfinite
from typing import Any

from torch import nn

from unrolling.training.annealing import Annealing, Constant, Cosine, Exponential, Patience, Ramp
from unrolling.training.losses import Loss, describe
from unrolling.training.optimizers import Adam, Optimizer
from unrolling.training.supervision import Last, Logarithmic, Power, Supervision, Weighted

__all__ = [
    "Annealing", "Constant", "Cosine", "Exponential", "Last", "Logarithmic", "Patience", "Power", "Ramp", "Schedule",
    "Stage", "Supervision", "Turn", "Weighted", "scaled",
]  # fmt: skip


@dataclass(frozen=True)
class Turn:
    """One network's part of a stage that trains several in turn, as the two of a generative adversarial network
    (Goodfellow et al. 2014, arXiv:1406.2661) or the blocks of an alternating scheme.

    Attributes:
        network: name of a child of the module that ``fit`` is given, or of parameters; nothing else moves.
        loss: of the whole module's estimate; it sees the other networks if it takes ``network`` (see
            ``training.losses``).
        steps: optimizer steps before it is the next one's turn.
        rate: learning rate; by default the stage's.
    """

    network: str
    loss: Loss
    steps: int = 1
    rate: float | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"the turn of {self.network!r} has {self.steps} steps; at least 1 is taken")
        if self.rate is not None and not (self.rate > 0 and isfinite(self.rate)):
            raise ValueError(f"learning rates are positive and finite; the turn of {self.network!r} has {self.rate}")

    def describe(self) -> dict[str, Any]:
        """Plain values."""
        return {"network": self.network, "loss": describe(self.loss), "steps": self.steps, "rate": self.rate}


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
        settings: plain numbers of the layers or of their parts, by dotted name, that are set before each step:
            ``{"surrogate_width": Ramp(1.0, 0.2)}`` narrows a surrogate gradient. They are not saved with weights, and
            after the stage the layers have their own again.
        repeat: steps taken on one batch before the next is drawn.
        inherit: before the first step the last of the layers takes the values of the one before it, those named here
            times a factor (``{"threshold": 0.8}``; {} copies): the warm start of greedy training. None leaves it as it
            is.
        stop: ends the stage before ``steps``.
        turns: networks trained in turn, each by a loss of its own and an optimizer of its own: step after step the
            first takes its steps, then the next, and again from the first. ``repeat`` of as many steps as all turns
            take together gives them one batch. Then ``loss`` and ``parameters`` are the turns'.
    """

    steps: int
    rate: float = 1e-3
    rates: Mapping[str, float] = field(default_factory=dict)
    batch: int = 128
    depth: int | None = None
    layers: tuple[int, ...] | None = None
    parameters: tuple[str, ...] | None = None
    loss: Loss | None = None
    supervision: Supervision = Last()  # noqa: RUF009 (frozen)
    optimizer: Optimizer = Adam()  # noqa: RUF009 (frozen)
    annealing: Annealing = Cosine()  # noqa: RUF009 (frozen)
    layer_decay: float = 1.0
    clip: float | None = None
    project: Mapping[str, nn.Module] = field(default_factory=dict)
    draw: Mapping[str, float | Ramp] = field(default_factory=dict)
    settings: Mapping[str, float | Ramp] = field(default_factory=dict)
    repeat: int = 1
    inherit: Mapping[str, float] | None = None
    stop: Patience | None = None
    turns: tuple[Turn, ...] = ()

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
        if self.turns and (self.loss is not None or self.parameters is not None):
            raise ValueError(
                "a stage with turns takes losses and parameters from them; leave its own `loss` and `parameters` out"
            )

    def turn(self, step: int) -> int:
        """Whose turn a step is, counted from 0; 0 where there are none."""
        if not self.turns:
            return 0
        left = step % sum(turn.steps for turn in self.turns)
        for number, turn in enumerate(self.turns):
            left -= turn.steps
            if left < 0:
                return number
        return 0

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
_DEFAULTS = (
    {
        f.name: f.default if isinstance(f.default, int | float | Supervision | Optimizer | Annealing) else None
        for f in fields(Stage)
    }
    | {name: {} for name in ("rates", "project", "draw", "settings")}
    | {"turns": ()}
)


def _plain(name: str, value: Any) -> Any:
    if name == "loss":
        return describe(value)
    if name == "turns":
        return [turn.describe() for turn in value]
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
