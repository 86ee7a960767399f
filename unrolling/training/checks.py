"""What is refused before a training begins."""

from __future__ import annotations

from contextlib import suppress
from operator import attrgetter

from torch import nn

from unrolling.core import Unrolled
from unrolling.tasks.base import Task
from unrolling.training.batches import check_draw
from unrolling.training.learnables import Learnable, groups, matching, of_turn, trained_by
from unrolling.training.losses import Energy, Loss, asked, describe
from unrolling.training.losses_by_name import check_measured
from unrolling.training.stages import Last, Schedule, Stage


def check_schedule(network: nn.Module, schedule: Schedule, task: Task) -> None:
    """Refuses a schedule that does not fit the network or the task.

    Raises:
        ValueError: no stage; what ``trained_by`` refuses; a curriculum on what the task does not draw with; weights of
            another number of layers; a projection onto a constraint that the parameter has already; a setting that is
            no number of the layers; an energy that the network's parent does not have; a loss of states where there
            are none; a network that has no ``forward``.
    """
    if not schedule:
        raise ValueError("the schedule has no stage")
    if type(network).forward is nn.Module.forward:
        raise ValueError(
            f"{type(network).__name__} has no `forward`: write a module whose forward(data) is the answer, with the "
            "networks as its children"
        )
    for number, stage in enumerate(schedule):
        chosen = trained_by(stage, network, number)
        check_draw(task, stage, number)
        for each in [of_turn(stage, turn) for turn in stage.turns] or [stage]:
            each.optimizer.make(groups(each, trained_by(each, network, number)))
        if isinstance(network, Unrolled):
            stage.supervision.weights(stage.depth or len(network))
            _check_inheritance(stage, network, number)
        elif not isinstance(stage.supervision, Last):
            raise ValueError(f"stage {number} supervises layers, and {type(network).__name__} has none")
        _check_projection(stage, network, chosen, number)
        for name in stage.settings:
            value = None
            if isinstance(network, Unrolled):
                with suppress(AttributeError):
                    value = attrgetter(name)(network.layers[0])
            if not isinstance(value, float):
                kind = type(network.parent if isinstance(network, Unrolled) else network).__name__.removeprefix(
                    "Parametrized"
                )
                raise ValueError(f"stage {number} sets {name!r}, which is no number of {kind}")
        for loss in [turn.loss for turn in stage.turns] or [stage.loss or task.loss]:
            _check_loss(loss, network, number)
            check_measured(loss, task)


def _check_loss(loss: Loss, network: nn.Module, number: int) -> None:
    name = type(network.parent if isinstance(network, Unrolled) else network).__name__.removeprefix("Parametrized")
    if isinstance(loss, Energy) and not (isinstance(network, Unrolled) and hasattr(network.parent, "objective")):
        raise ValueError(f"stage {number} trains on the energy, and {name} has no `objective`")
    if "state" in asked(loss) and not isinstance(network, Unrolled):
        raise ValueError(f"stage {number} trains on {describe(loss)}, which asks for a state, and {name} has none")


def _check_inheritance(stage: Stage, network: Unrolled, number: int) -> None:
    tied = [
        name
        for name in stage.inherit or ()
        if name not in network.untied and not any(full.startswith(name + ".") for full in network.untied)
    ]
    if tied:
        raise ValueError(
            f"stage {number} lets a layer inherit {tied[0]!r}, which is not untied; untied are "
            f"{', '.join(network.untied) or 'none'}"
        )


def _check_projection(stage: Stage, network: nn.Module, chosen: list[Learnable], number: int) -> None:
    plain = (
        {id(row.value) for row in network.parameter_table()}
        if isinstance(network, Unrolled)
        else {id(p) for p in network.parameters()}
    )
    for name, constraint in stage.project.items():
        if not hasattr(constraint, "project"):
            raise ValueError(f"stage {number} projects {name!r} with {constraint!r}, which has no `project`")
        for item in matching(name, chosen):
            if id(item.tensor) not in plain:
                raise ValueError(
                    f"stage {number} projects {name!r}, which the iteration constrains already: a "
                    "constrained parameter needs no projection"
                )
