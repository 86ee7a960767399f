"""What a schedule will do, before it is done."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, NamedTuple

from torch import nn

from unrolling.core import Unrolled
from unrolling.tasks.base import Task
from unrolling.training.checks import check_schedule
from unrolling.training.fit import fit
from unrolling.training.learnables import groups, trained_by
from unrolling.training.losses import describe
from unrolling.training.machine import Machine
from unrolling.training.stages import Schedule, Stage

TIMED = 6  # stages whose steps are timed; those between them take something between


class StagePlan(NamedTuple):
    """One stage."""

    number: int
    steps: int
    depth: int | None  # layers run
    trained: str  # which parameters
    numbers: int  # how many numbers that are
    batch: int
    rate: str
    optimizer: str
    loss: str


def plan(network: nn.Module, schedule: Schedule, task: Task) -> list[StagePlan]:
    """The stages, resolved.

    Raises:
        ValueError: a schedule that does not fit.
    """
    check_schedule(network, schedule, task)
    rows = []
    for number, stage in enumerate(schedule):
        chosen = trained_by(stage, network, number)
        names = ", ".join(dict.fromkeys(item.name for item in chosen))
        layers = (
            ""
            if stage.layers is None
            else (f" of layer{'s' if len(stage.layers) > 1 else ''} {', '.join(map(str, stage.layers))}")
        )
        rates = sorted({group["lr"] for group in groups(stage, chosen)})
        rate = f"{rates[0]:.2g}" if len(rates) == 1 else f"{rates[0]:.2g} to {rates[-1]:.2g}"
        depth = (stage.depth or len(network)) if isinstance(network, Unrolled) else None
        size = sum(item.tensor.numel() for item in chosen)
        rows.append(
            StagePlan(
                number,
                stage.steps,
                depth,
                names + layers,
                size,
                stage.batch,
                rate,
                type(stage.optimizer).__name__,
                _loss(stage),
            )
        )
    return rows


def _loss(stage: Stage) -> str:
    return ", then ".join(f"{turn.network} by {describe(turn.loss)}" for turn in stage.turns) or str(
        describe(stage.loss)
    )


def estimate_seconds(network: nn.Module, task: Task, schedule: Schedule, machine: Machine, seed: int = 0) -> float:
    """About how long the schedule takes here: a few steps of some of its stages are taken on a copy of the network."""
    chosen = sorted({round(k * (len(schedule) - 1) / (TIMED - 1)) for k in range(TIMED)})
    costs = {
        number: _seconds_per_step(copy.deepcopy(network), task, schedule[number], machine, seed) for number in chosen
    }

    def cost(number: int) -> float:
        after = min(k for k in chosen if k >= number)
        before = max(k for k in chosen if k <= number)
        share = (number - before) / (after - before) if after > before else 0.0
        return costs[before] + share * (costs[after] - costs[before])

    return sum(stage.steps * cost(number) for number, stage in enumerate(schedule))


def _seconds_per_step(network: nn.Module, task: Task, stage: Stage, machine: Machine, seed: int) -> float:
    options: dict[str, Any] = {"seed": seed, "machine": machine, "validations": 0, "quiet": True}
    fit(network, task, [replace(stage, steps=1, stop=None, inherit=None)], **options)
    return fit(network, task, [replace(stage, steps=4, stop=None, inherit=None)], **options).seconds / 4
