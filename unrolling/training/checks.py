"""What is refused before a training begins."""

from __future__ import annotations

from torch import nn

from unrolling.core import Unrolled
from unrolling.tasks.base import Task
from unrolling.training.batches import check_draw
from unrolling.training.losses import Energy
from unrolling.training.stages import Last, Learnable, Schedule, Stage, groups, matching, trained_by


def check_schedule(network: nn.Module, schedule: Schedule, task: Task) -> None:
    """Refuses a schedule that does not fit the network or the task.

    Raises:
        ValueError: no stage; what ``trained_by`` refuses; a curriculum on what the task does not draw with; weights of
            another number of layers; a projection onto a constraint that the parameter has already; a setting that is
            no number of the layers; an energy that the network's parent does not have.
    """
    if not schedule:
        raise ValueError("the schedule has no stage")
    for number, stage in enumerate(schedule):
        chosen = trained_by(stage, network, number)
        check_draw(task, stage, number)
        stage.optimizer.make(groups(stage, chosen))
        if isinstance(network, Unrolled):
            stage.supervision.weights(stage.depth or len(network))
            _check_inheritance(stage, network, number)
        elif not isinstance(stage.supervision, Last):
            raise ValueError(f"stage {number} supervises layers, and {type(network).__name__} has none")
        _check_projection(stage, network, chosen, number)
        for name in stage.settings:
            value = getattr(network.layers[0], name, None) if isinstance(network, Unrolled) else None
            if not isinstance(value, float):
                kind = type(network.parent if isinstance(network, Unrolled) else network).__name__.removeprefix(
                    "Parametrized"
                )
                raise ValueError(f"stage {number} sets {name!r}, which is no number of {kind}")
        if isinstance(stage.loss, Energy) and not (
            isinstance(network, Unrolled) and hasattr(network.parent, "objective")
        ):
            name = type(network.parent if isinstance(network, Unrolled) else network).__name__.removeprefix(
                "Parametrized"
            )
            raise ValueError(f"stage {number} trains on the energy, and {name} has no `objective`")


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
