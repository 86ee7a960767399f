"""Which losses without truth a task supports, by the names of the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from unrolling.core import Unrolled
from unrolling.tasks.base import Task
from unrolling.tasks.measurements import Measurement
from unrolling.training.losses import Energy, Loss, asked
from unrolling.training.without_truth import SURE, Consistency, Equivariance, Neighbours, Recorrupted, Splitting, Sum


def _equivariant(measurement: Measurement) -> Sum:
    """Equivariance with what keeps the estimate at the data: ``SURE`` where there is noise, else ``Consistency``."""
    if measurement.noisy:
        return Sum((1.0, SURE()), (1.0, Equivariance()))
    return Sum((1.0, Consistency(relative=True)), (1.0, Equivariance(relative=True)))


def _split(measurement: Measurement) -> Loss:
    """Splitting; without noise the estimate is held to all measurements besides, to those that the network saw too."""
    kept = Splitting(0.8, relative=True, weighted=True)
    return kept if measurement.noisy else Sum((1.0, kept), (3.0, Consistency(relative=True)))


LOSSES: Mapping[str, Callable[[Measurement], Loss]] = {
    "split": _split,
    "equivariant": _equivariant,
    "sure": lambda _: SURE(),
    "recorrupted": lambda _: Recorrupted(),
    "neighbours": lambda _: Neighbours(),
}
ENERGY = "energy"


def check_measured(loss: Loss, task: Task) -> None:
    """Refuses a loss without truth that a task does not support.

    Raises:
        ValueError: the task has no operator, or not what the loss needs; the message says what.
    """
    if "measurement" not in asked(loss) and not hasattr(loss, "show"):
        return
    measurement = task.measurement()
    if hasattr(loss, "check"):
        try:
            loss.check(measurement)  # pyright: ignore[reportFunctionMemberAccess]
        except ValueError as error:
            raise ValueError(f"{loss!r} is no loss for the task {task.name}: {error}") from None


def supported(task: Task, network: Any = None) -> dict[str, Loss]:
    """The losses without truth that a task supports, by name; with the energy where the network's parent has one."""
    found: dict[str, Loss] = {}
    try:
        measurement = task.measurement()
    except ValueError:
        measurement = None
    for name, make in LOSSES.items() if measurement is not None else ():
        loss = make(measurement)  # pyright: ignore[reportArgumentType]
        try:
            check_measured(loss, task)
        except ValueError:
            continue
        found[name] = loss
    if isinstance(network, Unrolled) and hasattr(network.parent, "objective"):
        found[ENERGY] = Energy()
    return found


def find_loss(name: str, task: Task, network: Any = None) -> Loss:
    """A loss without truth by its name.

    Raises:
        ValueError: an unknown name, or one that the task does not support; the message lists those it does.
    """
    known = [*LOSSES, ENERGY]
    held = supported(task, network)
    listed = f"the task {task.name} supports {', '.join(held) or 'none of them'}"
    if name not in known:
        near = get_close_matches(name, known, 1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(
            f"there is no loss without truth {name!r}; there are {', '.join(known)}, of which {listed}{meant}"
        )
    if name in held:
        return held[name]
    if name == ENERGY:
        kind = type(getattr(network, "parent", network)).__name__.removeprefix("Parametrized")
        raise ValueError(f"{kind} has no `objective` whose energy could be trained on; {listed}")
    try:
        check_measured(LOSSES[name](task.measurement()), task)
    except ValueError as error:
        raise ValueError(f"{error}; {listed}") from None
    raise AssertionError(name)


def with_loss(schedule: list[Any], loss: Loss) -> list[Any]:
    """A schedule whose stages are trained on a loss without truth in the place of their own.

    Raises:
        ValueError: a stage that trains several networks in turn, each by a loss of its own.
    """
    for number, stage in enumerate(schedule):
        if stage.turns:
            raise ValueError(f"stage {number} trains several networks in turn, each by a loss of its own")
    return [replace(stage, loss=loss) for stage in schedule]
